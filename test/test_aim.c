/* What an aim may dial, and who has which policy. */
#include "prober/aim.h"

#include <stdio.h>
#include <string.h>

#include "test/check.h"

static struct addr at(const char *text)
{
    struct addr a;
    check_i64(addr_parse(&a, text), 0);
    return a;
}

static struct addr_policy policy_of(const char *network)
{
    struct addr_policy p = {.n_networks = network != NULL};
    if (network)
        check_i64(addr_network_parse(&p.networks[0], network), 0);
    return p;
}

static struct aim *open_aim(const char *url, const struct addr_policy *policy,
                            struct aim_policy *latest, const char *hosts,
                            struct errmsg *msg)
{
    struct url u;
    int err = 1;
    check_i64(url_parse(&u, url, NULL), 0);
    struct aim_want want = {.name = "b-1",
                            .url = &u,
                            .protocols = 1,
                            .ip_first = 4,
                            .policy = policy};
    struct aim *a = aim_open(&want, NULL, hosts, hosts ? strlen(hosts) : 0,
                             latest, &err, msg);
    check_i64(err, a ? 0 : ERR_BAD);
    return a;
}

static bool may_dial(const struct aim *a, const char *text)
{
    struct addr to = at(text);
    return !a->target.dial.may_dial ||
           a->target.dial.may_dial(a->target.dial.arg, &to);
}

/* The gap that was: only addresses were judged, what DNS said was dialled. */
static void a_members_name_is_judged_when_it_is_resolved(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct addr_policy p = policy_of(NULL);
    struct aim *a = open_aim("http://b.test:7443/", &p, NULL, NULL, &msg);
    check_true(a != NULL);
    check_true(a->target.dial.may_dial != NULL);
    p.allows_loopback = true; /* the want's is not looked at any more */
    check_true(may_dial(a, "10.0.0.1:7443"));
    check_false(may_dial(a, "169.254.169.254:7443"));
    check_false(may_dial(a, "127.0.0.1:7443"));
    check_false(may_dial(a, "[::ffff:127.0.0.1]:7443"));
    aim_close(a);

    p = policy_of("10.1.0.0/16");
    a = open_aim("http://b.test:7443/", &p, NULL, NULL, &msg);
    check_true(may_dial(a, "10.1.0.1:7443"));
    check_false(may_dial(a, "10.0.0.1:7443"));
    aim_close(a);
}

static void without_a_policy_anybody_is_dialled(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct aim *a = open_aim("http://127.0.0.1/", NULL, NULL, NULL, &msg);
    check_true(a != NULL && !a->policy && !a->target.dial.may_dial);
    aim_close(a);
}

static void an_address_that_is_denied_makes_no_aim(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct addr_policy p = policy_of(NULL);
    check_true(!open_aim("http://127.0.0.1/", &p, NULL, NULL, &msg));
    check_true(strstr(msg.text, "loopback"));
    check_true(!open_aim("http://b.test/", &p, NULL, "169.254.169.254 b.test\n",
                         &msg));
    check_true(strstr(msg.text, "link_local"));
    struct aim *a =
        open_aim("http://b.test/", &p, NULL, "10.0.0.1 b.test\n", &msg);
    check_true(a != NULL && may_dial(a, "10.0.0.1:80"));
    aim_close(a);
}

/* Aims share while what they were asked for is the same, and keep what they
 * had when it changes. */
static void aims_share_a_policy_as_long_as_it_is_the_same(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct addr_policy one = policy_of("10.1.0.0/16");
    struct addr_policy same = one, other = policy_of("10.1.0.0/17");
    struct aim *a = open_aim("http://a.test/", &one, NULL, NULL, &msg);
    struct aim *b = open_aim("http://b.test/", &same, a->policy, NULL, &msg);
    struct aim *c = open_aim("http://c.test/", &other, a->policy, NULL, &msg);
    struct aim *d = open_aim("http://d.test/", NULL, a->policy, NULL, &msg);
    check_true(a->policy == b->policy && a->policy != c->policy && !d->policy);
    check_u64(a->policy->n_users, 2);
    check_u64(c->policy->n_users, 1);
    aim_close(a);
    check_u64(b->policy->n_users, 1);
    check_true(may_dial(b, "10.1.255.1:80") && !may_dial(c, "10.1.255.1:80"));
    aim_close(b);
    aim_close(c);
    aim_close(d);
    aim_policy_release(NULL);
}

static void how(const struct addr_policy *policy, char text[256])
{
    struct url u;
    struct wr w;
    check_i64(url_parse(&u, "http://a.test/", NULL), 0);
    struct aim_want want = {.name = "a",
                            .url = &u,
                            .protocols = 1,
                            .ip_first = 4,
                            .policy = policy};
    wr_init_fixed(&w, (uint8_t *)text, 255);
    aim_write_how(&want, &w);
    check_i64(wr_err(&w), 0);
    text[w.len] = '\0';
}

/* Else a target would go on with the old one after a reload. */
static void another_policy_is_another_way_to_probe(void **state)
{
    (void)state;
    struct addr_policy p[] = {policy_of(NULL),         policy_of(NULL),
                              policy_of("10.0.0.0/8"), policy_of("10.0.0.0/9"),
                              policy_of("11.0.0.0/8"), policy_of("::/0"),
                              policy_of("0.0.0.0/0")};
    p[1].allows_loopback = true;
    size_t n = sizeof(p) / sizeof(*p);
    char texts[8][256], again[256];
    for (size_t i = 0; i <= n; i++) {
        const struct addr_policy *policy = i < n ? &p[i] : NULL;
        how(policy, texts[i]);
        how(policy, again);
        check_text(texts[i], again);
        for (size_t k = 0; k < i; k++)
            check_true(strcmp(texts[i], texts[k]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_members_name_is_judged_when_it_is_resolved),
        cmocka_unit_test(without_a_policy_anybody_is_dialled),
        cmocka_unit_test(an_address_that_is_denied_makes_no_aim),
        cmocka_unit_test(aims_share_a_policy_as_long_as_it_is_the_same),
        cmocka_unit_test(another_policy_is_another_way_to_probe),
    };
    return cmocka_run_group_tests_name("aim", tests, NULL, NULL);
}
