/* Each line of the table in the header, each range to its ends, and a file of
 * hostile spellings none of which may be dialled. */
#include "prober/target_policy.h"

#include <stdio.h>
#include <string.h>

#include "prober/target.h"
#include "proto/base/rng.h"
#include "test/check.h"

static struct addr at(const char *ip, uint16_t port)
{
    struct addr a;
    check_i64(addr_parse_ip(&a, ip), 0);
    a.port = port;
    return a;
}

static void allow(struct target_policy *p, const char *text)
{
    struct errmsg msg = {""};
    check_i64(target_rule_parse(&p->rules[p->n_rules++], text, &msg), 0);
    check_text(msg.text, "");
}

static void lift(struct target_policy *p, const char *ip)
{
    p->dangerous[p->n_dangerous++] = at(ip, 0);
}

/* Large, so not on the stack; one at a time. */
static struct target_policy policy;

static struct target_policy *none(void)
{
    policy = (struct target_policy){0};
    return &policy;
}

static struct target_policy *anywhere(void)
{
    struct target_policy *p = none();
    allow(p, "0.0.0.0/0");
    allow(p, "::/0");
    return p;
}

static struct url url_of(const char *text)
{
    struct errmsg msg = {""};
    struct url u = {0};
    check_i64(url_parse(&u, text, &msg), 0);
    return u;
}

static void check_verdict(enum target_verdict got, enum target_verdict want,
                          const char *what)
{
    if (got != want)
        print_error("%s: %s\n", what, target_verdict_name(got));
    check_text(target_verdict_name(got), target_verdict_name(want));
}

/* The verdict on a URL when it is asked for. */
static void check_admit(const struct target_policy *p, enum target_standing s,
                        const char *text, enum target_verdict want)
{
    struct target_guard g = {.policy = NULL};
    struct url u = url_of(text);
    check_verdict(target_policy_admit(p, &u, s, &g), want, text);
    check_true(g.policy == (want == TARGET_ALLOWED ? p : NULL));
}

static struct target_guard guard_of(const struct target_policy *p,
                                    enum target_standing s, const char *text)
{
    struct target_guard g = {.policy = NULL};
    struct url u = url_of(text);
    check_verdict(target_policy_admit(p, &u, s, &g), TARGET_ALLOWED, text);
    return g;
}

static void check_guard(const struct target_guard *g, const char *ip,
                        enum target_verdict want)
{
    struct addr a = at(ip, g->pinned.port);
    check_verdict(target_guard_check(g, &a), want, ip);
    check_u64(target_guard_may_dial(g, &a), want == TARGET_ALLOWED);
}

/* A name that resolves to `ip`, and `ip` itself: both give `want`. */
static void check_both(const struct target_policy *p, enum target_standing s,
                       const char *ip, enum target_verdict want)
{
    char text[80];
    struct target_guard g = guard_of(p, s, "http://a.test/");
    check_guard(&g, ip, want);
    snprintf(text, sizeof(text), strchr(ip, ':') ? "http://[%s]/" : "http://%s",
             ip);
    check_admit(p, s, text, want);
}

/* --- what is denied, whoever names it --------------------------------------
 */

static const struct {
    const char *first, *last;
    const char *before, *after; /* NULL: denied as well, or there is none */
} ranges[] = {
    {"0.0.0.0", "0.255.255.255", NULL, "1.0.0.0"},
    {"127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"},
    {"169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"},
    {"100.100.100.200", "100.100.100.200", "100.100.100.199",
     "100.100.100.201"},
    {"168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"},
    {"192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"},
    {"224.0.0.0", "239.255.255.255", "223.255.255.255", NULL},
    {"240.0.0.0", "255.255.255.255", NULL, NULL},
    {"::", "::1", NULL, NULL},
    {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"},
    {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
    {"fd00:ec2::", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff",
     "fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec3::"},
    {"fd20:ce::254", "fd20:ce::254", "fd20:ce::253", "fd20:ce::255"},
};
#define N_RANGES (sizeof(ranges) / sizeof(*ranges))

static void denies_each_range_to_its_ends(void **state)
{
    (void)state;
    const struct target_policy *p = anywhere();
    for (size_t i = 0; i < N_RANGES; i++) {
        check_both(p, TARGET_OTHER, ranges[i].first, TARGET_DENIED_ADDRESS);
        check_both(p, TARGET_OTHER, ranges[i].last, TARGET_DENIED_ADDRESS);
        if (ranges[i].before)
            check_both(p, TARGET_OTHER, ranges[i].before, TARGET_ALLOWED);
        if (ranges[i].after)
            check_both(p, TARGET_OTHER, ranges[i].after, TARGET_ALLOWED);
    }
}

static void denies_members_and_configured_names_the_same(void **state)
{
    (void)state;
    const struct target_policy *p = none();
    for (size_t i = 0; i < N_RANGES; i++) {
        struct target_guard g =
            guard_of(p, TARGET_CONFIGURED, "http://a.test:1/");
        check_guard(&g, ranges[i].first, TARGET_DENIED_ADDRESS);
        check_guard(&g, ranges[i].last, TARGET_DENIED_ADDRESS);
        check_both(p, TARGET_MEMBER, ranges[i].first, TARGET_DENIED_ADDRESS);
        check_both(p, TARGET_MEMBER, ranges[i].last, TARGET_DENIED_ADDRESS);
        if (!ranges[i].after)
            continue;
        check_guard(&g, ranges[i].after, TARGET_ALLOWED);
        check_both(p, TARGET_MEMBER, ranges[i].after, TARGET_ALLOWED);
    }
}

/* Whatever is denied as IPv4 is denied in each form that carries it. */
static void denies_each_form_of_ipv6_as_what_it_carries(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:7::"};
    const struct target_policy *p = anywhere();
    char text[64], ip[ADDR_TEXT_SIZE];
    for (size_t i = 0; i < N_RANGES && !strchr(ranges[i].first, ':'); i++) {
        for (size_t k = 0; k < sizeof(forms) / sizeof(*forms); k++) {
            snprintf(text, sizeof(text), "%s%s", forms[k], ranges[i].first);
            check_both(p, TARGET_OTHER, text, TARGET_DENIED_ADDRESS);
            snprintf(text, sizeof(text), "%s%s", forms[k], ranges[i].last);
            check_both(p, TARGET_OTHER, text, TARGET_DENIED_ADDRESS);
        }
        struct addr v4 = at(ranges[i].last, 0);
        struct addr six = {ADDR_V6, 0, {0x20, 0x02}};
        memcpy(six.ip + 2, v4.ip, 4);
        check_both(p, TARGET_OTHER, addr_format_ip(&six, ip),
                   TARGET_DENIED_ADDRESS);
        struct addr teredo = {ADDR_V6, 0, {0x20, 0x01, 0, 0, 8, 8, 8, 8}};
        for (size_t k = 0; k < 4; k++)
            teredo.ip[12 + k] = v4.ip[k] ^ 0xff;
        check_both(p, TARGET_OTHER, addr_format_ip(&teredo, ip),
                   TARGET_DENIED_ADDRESS);
    }
    check_both(p, TARGET_OTHER, "::ffff:8.8.8.8", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "2002:808:808::", TARGET_ALLOWED);
}

static void denies_what_is_no_address(void **state)
{
    (void)state;
    struct target_policy *p = anywhere();
    lift(p, "127.0.0.1");
    static const enum target_standing all[] = {TARGET_OTHER, TARGET_MEMBER,
                                               TARGET_CONFIGURED};
    for (size_t i = 0; i < 3; i++) {
        struct target_guard g = guard_of(p, all[i], "http://a.test");
        struct addr a = {.port = 80};
        check_verdict(target_guard_check(&g, &a), TARGET_DENIED_ADDRESS, "-");
        a = at("10.0.0.1", 0);
        check_verdict(target_guard_check(&g, &a), TARGET_DENIED_ADDRESS, "0");
        a = at("127.0.0.1", 0);
        check_verdict(target_guard_check(&g, &a), TARGET_DENIED_ADDRESS, "0");
        a = at("10.0.0.1", 80);
        a.family = 5;
        check_verdict(target_guard_check(&g, &a), TARGET_DENIED_ADDRESS, "5");
    }
    struct target_guard g = {.policy = NULL};
    struct url u = url_of("http://10.0.0.1");
    u.port = 0;
    check_verdict(target_policy_admit(p, &u, TARGET_CONFIGURED, &g),
                  TARGET_DENIED_ADDRESS, "literal, port 0");
    u = url_of("http://a.test");
    u.port = 0;
    check_verdict(target_policy_admit(p, &u, TARGET_CONFIGURED, &g),
                  TARGET_DENIED_PORT, "name, port 0");
    check_true(g.policy == NULL);
}

/* --- dangerously_allow ------------------------------------------------------
 */

static void lifts_one_address_and_nothing_beside_it(void **state)
{
    (void)state;
    struct target_policy *p = anywhere();
    lift(p, "169.254.169.254");
    lift(p, "fe80::7");
    lift(p, "fd00:ec2::254");
    check_both(p, TARGET_OTHER, "169.254.169.254", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "fe80::7", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "fd00:ec2::254", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "169.254.169.253", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "169.254.169.255", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "fe80::6", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "127.0.0.1", TARGET_DENIED_ADDRESS);
    struct target_guard g = guard_of(p, TARGET_CONFIGURED, "http://a.test");
    check_guard(&g, "169.254.169.254", TARGET_ALLOWED);
    check_guard(&g, "169.254.169.253", TARGET_DENIED_ADDRESS);
}

/* The kernel dials ::ffff:a.b.c.d as a.b.c.d. All other forms go to somebody
 * who translates: what is asked of him was not lifted. */
static void lifts_the_mapped_form_and_no_other(void **state)
{
    (void)state;
    struct target_policy *p = anywhere();
    lift(p, "127.0.0.1");
    check_both(p, TARGET_OTHER, "127.0.0.1", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "::ffff:127.0.0.1", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "::127.0.0.1", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "::ffff:0:127.0.0.1", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "64:ff9b::127.0.0.1", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "64:ff9b:1::127.0.0.1", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "2002:7f00:1::", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "2001:0:808:808::80ff:fffe",
               TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_OTHER, "::1", TARGET_DENIED_ADDRESS);

    p = anywhere();
    lift(p, "::ffff:169.254.169.254");
    lift(p, "64:ff9b::169.254.0.1");
    check_both(p, TARGET_OTHER, "169.254.169.254", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "64:ff9b::169.254.0.1", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "169.254.0.1", TARGET_DENIED_ADDRESS);
}

static void lifting_lists_nothing(void **state)
{
    (void)state;
    struct target_policy *p = none();
    lift(p, "169.254.169.254");
    check_admit(p, TARGET_OTHER, "http://169.254.169.254/",
                TARGET_DENIED_NOT_LISTED);
    check_admit(p, TARGET_OTHER, "http://169.254.169.254:22/",
                TARGET_DENIED_PORT);
    allow(p, "10.0.0.0/8");
    check_both(p, TARGET_OTHER, "169.254.169.254", TARGET_DENIED_NOT_LISTED);
    allow(p, "169.254.169.254");
    check_both(p, TARGET_OTHER, "169.254.169.254", TARGET_ALLOWED);
}

/* Whose address another node chose. */
static void lifting_does_not_speak_for_members(void **state)
{
    (void)state;
    struct target_policy *p = anywhere();
    lift(p, "169.254.169.254");
    lift(p, "127.0.0.1");
    check_both(p, TARGET_MEMBER, "169.254.169.254", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_MEMBER, "127.0.0.1", TARGET_DENIED_ADDRESS);
}

/* --- our own listeners ------------------------------------------------------
 */

static struct target_policy *with_listeners(void)
{
    struct target_policy *p = anywhere();
    allow(p, "*.test");
    p->ports[p->n_ports++] = 80;
    p->ports[p->n_ports++] = 7070;
    p->ports[p->n_ports++] = 7946;
    p->ports[p->n_ports++] = 9901;
    p->own[p->n_own++] = at("::", 7070);
    p->own[p->n_own++] = at("10.1.2.3", 7946);
    p->own[p->n_own++] = at("127.0.0.1", 9901);
    p->local[p->n_local++] = at("127.0.0.1", 0);
    p->local[p->n_local++] = at("10.1.2.3", 0);
    p->local[p->n_local++] = at("10.4.5.6", 0);
    p->local[p->n_local++] = at("fd00:1:2::3", 0);
    p->local[p->n_local++] = at("2600::7", 0);
    p->is_local_known = true;
    lift(p, "127.0.0.1");
    lift(p, "127.9.9.9");
    lift(p, "::1");
    lift(p, "0.0.0.0");
    lift(p, "::");
    return p;
}

static const char *const here[] = {
    "10.1.2.3",
    "10.4.5.6",
    "fd00:1:2::3",
    "2600::7",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",
    "::",
    "::ffff:10.4.5.6",
    "::ffff:127.0.0.1",
    "::10.1.2.3",
    "2002:a01:203::5",
    "64:ff9b::10.4.5.6",
    "64:ff9b:1::10.1.2.3",
};
static const uint16_t own_ports[] = {7070, 7946, 9901};

/* Each of them at each address of this host, asked for as a name and as it
 * is, whoever says so. */
static void denies_each_own_listener_at_each_own_address(void **state)
{
    (void)state;
    const struct target_policy *p = with_listeners();
    char text[80];
    for (size_t i = 0; i < sizeof(here) / sizeof(*here); i++) {
        for (size_t k = 0; k < 3; k++) {
            snprintf(text, sizeof(text), "http://a.test:%u/", own_ports[k]);
            struct target_guard g = guard_of(p, TARGET_OTHER, text);
            check_guard(&g, here[i], TARGET_DENIED_OWN);
            snprintf(text, sizeof(text),
                     strchr(here[i], ':') ? "http://[%s]:%u" : "http://%s:%u",
                     here[i], own_ports[k]);
            check_admit(p, TARGET_OTHER, text, TARGET_DENIED_OWN);
            check_admit(p, TARGET_CONFIGURED, text, TARGET_DENIED_OWN);
        }
    }
    check_admit(p, TARGET_MEMBER, "http://10.4.5.6:7070", TARGET_DENIED_OWN);
    check_admit(p, TARGET_MEMBER, "http://[::ffff:10.1.2.3]:9901",
                TARGET_DENIED_OWN);
}

static void allows_other_ports_here_and_these_elsewhere(void **state)
{
    (void)state;
    const struct target_policy *p = with_listeners();
    char text[80];
    for (size_t i = 0; i < 4; i++) {
        snprintf(text, sizeof(text),
                 strchr(here[i], ':') ? "http://[%s]/" : "http://%s/", here[i]);
        check_admit(p, TARGET_OTHER, text, TARGET_ALLOWED);
    }
    check_admit(p, TARGET_OTHER, "http://127.0.0.1/", TARGET_ALLOWED);
    for (size_t k = 0; k < 3; k++) {
        snprintf(text, sizeof(text), "http://10.1.2.4:%u", own_ports[k]);
        check_admit(p, TARGET_OTHER, text, TARGET_ALLOWED);
        snprintf(text, sizeof(text), "http://[2600::8]:%u", own_ports[k]);
        check_admit(p, TARGET_OTHER, text, TARGET_ALLOWED);
    }
}

/* The list of this host's addresses may be a minute old. */
static void knows_a_listener_by_its_own_address_too(void **state)
{
    (void)state;
    struct target_policy *p = with_listeners();
    p->n_local = 0;
    check_admit(p, TARGET_OTHER, "http://10.1.2.3:7946", TARGET_DENIED_OWN);
    check_admit(p, TARGET_OTHER, "http://[::ffff:10.1.2.3]:7946",
                TARGET_DENIED_OWN);
    check_admit(p, TARGET_OTHER, "http://10.1.2.3:7070", TARGET_ALLOWED);
    p->local[p->n_local++] = at("2002:a06:606::1", 0); /* of a 6to4 relay */
    check_admit(p, TARGET_OTHER, "http://[2002:a06:606::1]:7070",
                TARGET_DENIED_OWN);
    check_admit(p, TARGET_OTHER, "http://10.6.6.6:7070", TARGET_DENIED_OWN);
    p->own[p->n_own++] = at("::ffff:10.7.7.7", 80);
    check_admit(p, TARGET_OTHER, "http://10.7.7.7", TARGET_DENIED_OWN);
}

static void takes_a_listener_to_be_everywhere_if_here_is_not_known(void **state)
{
    (void)state;
    struct target_policy *p = with_listeners();
    p->is_local_known = false;
    check_admit(p, TARGET_OTHER, "http://8.8.8.8:7070", TARGET_DENIED_OWN);
    check_admit(p, TARGET_OTHER, "http://[2600::8]:7070", TARGET_DENIED_OWN);
    check_admit(p, TARGET_MEMBER, "http://8.8.8.8:7070", TARGET_DENIED_OWN);
    /* The other two are on one address. */
    check_admit(p, TARGET_OTHER, "http://8.8.8.8:7946", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://8.8.8.8:9901", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://8.8.8.8:80", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://10.4.5.6:9901", TARGET_DENIED_OWN);
}

/* --- ports ------------------------------------------------------------------
 */

static void asks_for_the_port_of_others_alone(void **state)
{
    (void)state;
    struct target_policy *p = anywhere();
    check_admit(p, TARGET_OTHER, "http://10.0.0.7/", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "https://10.0.0.7/", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://10.0.0.7:7443/", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://10.0.0.7:81/", TARGET_DENIED_PORT);
    check_admit(p, TARGET_OTHER, "http://a.test:22/", TARGET_DENIED_PORT);
    check_admit(p, TARGET_MEMBER, "http://10.0.0.7:81/", TARGET_ALLOWED);
    check_admit(p, TARGET_MEMBER, "http://a.test:81/", TARGET_ALLOWED);
    check_admit(p, TARGET_CONFIGURED, "http://10.0.0.7:81/", TARGET_ALLOWED);
    check_admit(p, TARGET_CONFIGURED, "http://a.test:81/", TARGET_ALLOWED);
    p->ports[p->n_ports++] = 22;
    p->ports[p->n_ports++] = 65535;
    check_admit(p, TARGET_OTHER, "http://10.0.0.7:22/", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://a.test:65535/", TARGET_ALLOWED);
    check_admit(p, TARGET_OTHER, "http://10.0.0.7/", TARGET_DENIED_PORT);
}

/* What denies first is what the audit log tells. */
static void names_the_worst_first(void **state)
{
    (void)state;
    struct target_policy *p = none();
    p->own[p->n_own++] = at("10.1.2.3", 22);
    check_admit(p, TARGET_OTHER, "http://127.0.0.1:22", TARGET_DENIED_ADDRESS);
    check_admit(p, TARGET_OTHER, "http://10.1.2.3:22", TARGET_DENIED_OWN);
    check_admit(p, TARGET_OTHER, "http://10.1.2.4:22", TARGET_DENIED_PORT);
    check_admit(p, TARGET_OTHER, "http://10.1.2.4", TARGET_DENIED_NOT_LISTED);
    check_admit(p, TARGET_OTHER, "http://a.test:22", TARGET_DENIED_PORT);
    check_admit(p, TARGET_OTHER, "http://a.test", TARGET_DENIED_NOT_LISTED);
}

/* --- what control.allow names -----------------------------------------------
 */

static void allows_nothing_by_itself(void **state)
{
    (void)state;
    const struct target_policy *p = none();
    check_admit(p, TARGET_OTHER, "http://8.8.8.8/", TARGET_DENIED_NOT_LISTED);
    check_admit(p, TARGET_OTHER, "http://[2600::1]/", TARGET_DENIED_NOT_LISTED);
    check_admit(p, TARGET_OTHER, "http://a.test/", TARGET_DENIED_NOT_LISTED);
    check_admit(p, TARGET_CONFIGURED, "http://8.8.8.8/", TARGET_ALLOWED);
    check_admit(p, TARGET_CONFIGURED, "http://a.test/", TARGET_ALLOWED);
    check_admit(p, TARGET_MEMBER, "http://8.8.8.8/", TARGET_ALLOWED);
    check_admit(p, TARGET_MEMBER, "http://a.test/", TARGET_ALLOWED);
}

static void allows_networks_in_whatever_form(void **state)
{
    (void)state;
    struct target_policy *p = none();
    allow(p, "10.1.0.0/16");
    allow(p, "fd00:1::/32");
    allow(p, "192.168.7.9");
    static const char *const in[] = {"10.1.0.0",
                                     "10.1.255.255",
                                     "192.168.7.9",
                                     "fd00:1::",
                                     "fd00:1:ffff:ffff:ffff:ffff:ffff:ffff",
                                     "::ffff:10.1.0.1",
                                     "64:ff9b::10.1.0.1"};
    static const char *const out[] = {
        "10.0.255.255",  "10.2.0.0", "192.168.7.8",     "192.168.7.10",
        "fd00:0:ffff::", "fd00:2::", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1"};
    for (size_t i = 0; i < sizeof(in) / sizeof(*in); i++)
        check_both(p, TARGET_OTHER, in[i], TARGET_ALLOWED);
    for (size_t i = 0; i < sizeof(out) / sizeof(*out); i++)
        check_both(p, TARGET_OTHER, out[i], TARGET_DENIED_NOT_LISTED);
    /* Teredo: its server, and the client behind it. */
    check_both(p, TARGET_OTHER, "2001:0:a01:1::f5fe:fffe", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "2001:0:a02:1::f5fe:fffe",
               TARGET_DENIED_NOT_LISTED);
    check_both(p, TARGET_OTHER, "2001:0:a01:1::f5fd:fffe",
               TARGET_DENIED_NOT_LISTED);
}

/* The families do not stand for each other. */
static void allows_all_of_one_family_alone(void **state)
{
    (void)state;
    struct target_policy *p = none();
    allow(p, "0.0.0.0/0");
    check_both(p, TARGET_OTHER, "::ffff:8.8.8.8", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "2600::1", TARGET_DENIED_NOT_LISTED);
    p = none();
    allow(p, "::/0");
    check_both(p, TARGET_OTHER, "2600::1", TARGET_ALLOWED);
    check_both(p, TARGET_OTHER, "::ffff:8.8.8.8", TARGET_DENIED_NOT_LISTED);
    check_both(p, TARGET_OTHER, "8.8.8.8", TARGET_DENIED_NOT_LISTED);
}

/* A name that no rule has is looked up only if its address could be listed. */
static void allows_hosts_by_name(void **state)
{
    (void)state;
    struct target_policy *p = none();
    allow(p, "One.Example.");
    allow(p, "*.Two.example");
    static const char *const yes[] = {
        "http://one.example/",         "http://ONE.EXAMPLE./",
        "https://one.example",         "http://a.two.example/",
        "http://b.a.two.example./x?y", "http://x-1.TWO.example/"};
    static const char *const no[] = {
        "http://two.example/",     "http://a.one.example/",
        "http://one.example.com/", "http://xone.example/",
        "http://xtwo.example/",    "http://a.two.example.org/",
        "http://one.exampl/",      "http://example/",
        "http://8.8.8.8/",         "http://two-example/",
        "http://a-two.example/",   "http://ne.example/"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
        check_admit(p, TARGET_OTHER, yes[i], TARGET_ALLOWED);
    for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
        check_admit(p, TARGET_OTHER, no[i], TARGET_DENIED_NOT_LISTED);

    struct target_guard g = guard_of(p, TARGET_OTHER, "http://one.example/");
    check_guard(&g, "203.0.113.9", TARGET_ALLOWED);
    check_guard(&g, "2600::1", TARGET_ALLOWED);
    check_guard(&g, "169.254.169.254", TARGET_DENIED_ADDRESS);
    allow(p, "10.0.0.0/8");
    g = guard_of(p, TARGET_OTHER, "http://three.example/");
    check_guard(&g, "10.0.0.1", TARGET_ALLOWED);
    check_guard(&g, "203.0.113.9", TARGET_DENIED_NOT_LISTED);
}

/* A rule of localhost is one for a name, and lifts nothing. */
static void does_not_lift_loopback_by_name(void **state)
{
    (void)state;
    struct target_policy *p = none();
    allow(p, "localhost");
    allow(p, "*.localhost");
    static const char *const names[] = {"http://localhost/",
                                        "http://A.localhost./"};
    for (size_t i = 0; i < 2; i++) {
        struct target_guard g = guard_of(p, TARGET_OTHER, names[i]);
        check_guard(&g, "127.0.0.1", TARGET_DENIED_ADDRESS);
        check_guard(&g, "::1", TARGET_DENIED_ADDRESS);
        g.is_local_name = true; /* also if the hosts file has it */
        check_guard(&g, "127.0.0.1", TARGET_DENIED_ADDRESS);
    }
}

/* --- members and configured targets -----------------------------------------
 */

static void judges_members_as_gossip_does(void **state)
{
    (void)state;
    struct target_policy *p = none();
    check_i64(addr_network_parse(&p->mesh.networks[0], "10.0.0.0/8"), 0);
    check_i64(addr_network_parse(&p->mesh.networks[1], "127.0.0.0/8"), 0);
    p->mesh.n_networks = 2;
    check_both(p, TARGET_MEMBER, "10.9.9.9", TARGET_ALLOWED);
    check_both(p, TARGET_MEMBER, "8.8.8.8", TARGET_DENIED_MESH);
    check_both(p, TARGET_MEMBER, "2600::1", TARGET_DENIED_MESH);
    check_both(p, TARGET_MEMBER, "127.0.1.1", TARGET_DENIED_ADDRESS);
    check_both(p, TARGET_MEMBER, "169.254.169.254", TARGET_DENIED_ADDRESS);
    p->mesh.allows_loopback = true;
    check_both(p, TARGET_MEMBER, "127.0.1.1", TARGET_ALLOWED);
    check_both(p, TARGET_MEMBER, "::1", TARGET_DENIED_MESH);
    check_both(p, TARGET_MEMBER, "169.254.169.254", TARGET_DENIED_ADDRESS);
    /* control.allow says nothing about them, nor they about control.allow. */
    allow(p, "8.8.8.8");
    check_both(p, TARGET_MEMBER, "8.8.8.8", TARGET_DENIED_MESH);
    check_admit(p, TARGET_OTHER, "http://10.9.9.9", TARGET_DENIED_NOT_LISTED);
    check_admit(p, TARGET_OTHER, "http://127.0.1.1", TARGET_DENIED_ADDRESS);
    p->own[p->n_own++] = at("8.8.4.4", 80);
    check_both(p, TARGET_MEMBER, "8.8.4.4", TARGET_DENIED_OWN);
}

/* What the operator wrote as an address is meant. */
static void takes_a_configured_literal_at_its_word(void **state)
{
    (void)state;
    const struct target_policy *p = none();
    static const char *const literals[] = {
        "http://127.0.0.1:9/", "http://[::1]/", "http://169.254.169.254/",
        "http://[fe80::1]/", "http://[::ffff:127.0.0.1]"};
    for (size_t i = 0; i < sizeof(literals) / sizeof(*literals); i++) {
        check_admit(p, TARGET_CONFIGURED, literals[i], TARGET_ALLOWED);
        check_admit(p, TARGET_OTHER, literals[i], TARGET_DENIED_ADDRESS);
        check_admit(p, TARGET_MEMBER, literals[i], TARGET_DENIED_ADDRESS);
    }
}

/* What DNS says of a name is not the operator's word. */
static void takes_loopback_for_a_configured_name_from_this_host(void **state)
{
    (void)state;
    struct target_policy *p = none();
    struct target_guard g = guard_of(p, TARGET_CONFIGURED, "http://a.test/");
    check_false(g.is_local_name);
    check_guard(&g, "127.0.0.1", TARGET_DENIED_ADDRESS);
    check_guard(&g, "10.0.0.1", TARGET_ALLOWED);
    g.is_local_name = true; /* the hosts file has it */
    check_guard(&g, "127.0.0.1", TARGET_ALLOWED);
    check_guard(&g, "::1", TARGET_ALLOWED);
    check_guard(&g, "169.254.169.254", TARGET_DENIED_ADDRESS);
    check_guard(&g, "0.0.0.0", TARGET_DENIED_ADDRESS);

    static const char *const local[] = {
        "http://localhost/", "http://x.localhost:8080/", "http://LOCALHOST./"};
    for (size_t i = 0; i < 3; i++) {
        g = guard_of(p, TARGET_CONFIGURED, local[i]);
        check_true(g.is_local_name);
        check_guard(&g, "127.0.0.1", TARGET_ALLOWED);
    }
    static const char *const not_local[] = {
        "http://localhost.test/", "http://xlocalhost/", "http://localhos/"};
    for (size_t i = 0; i < 3; i++) {
        g = guard_of(p, TARGET_CONFIGURED, not_local[i]);
        check_false(g.is_local_name);
    }
    p->mesh.allows_loopback = true; /* the mesh is on one machine */
    g = guard_of(p, TARGET_CONFIGURED, "http://a.test/");
    check_guard(&g, "127.0.0.1", TARGET_ALLOWED);
    check_guard(&g, "fe80::1", TARGET_DENIED_ADDRESS);
    g = guard_of(anywhere(), TARGET_OTHER, "http://a.test/");
    policy.mesh.allows_loopback = true;
    check_guard(&g, "127.0.0.1", TARGET_DENIED_ADDRESS);
}

/* --- guards ------------------------------------------------------------------
 */

static void pins_the_literal_and_the_port(void **state)
{
    (void)state;
    struct target_policy *p = anywhere();
    static const enum target_standing all[] = {TARGET_OTHER, TARGET_MEMBER,
                                               TARGET_CONFIGURED};
    for (size_t i = 0; i < 3; i++) {
        struct target_guard g = guard_of(p, all[i], "http://10.0.0.1:443/");
        struct addr a = at("10.0.0.1", 443);
        check_true(g.is_literal);
        check_verdict(target_guard_check(&g, &a), TARGET_ALLOWED, "itself");
        a.port = 80;
        check_verdict(target_guard_check(&g, &a), TARGET_DENIED_PORT, ":80");
        check_guard(&g, "10.0.0.2", TARGET_DENIED_ADDRESS);
        check_guard(&g, "::ffff:10.0.0.1", TARGET_DENIED_ADDRESS);
        check_guard(&g, "127.0.0.1", TARGET_DENIED_ADDRESS);

        g = guard_of(p, all[i], "https://a.test/");
        check_false(g.is_literal);
        a = at("10.0.0.2", 443);
        check_verdict(target_guard_check(&g, &a), TARGET_ALLOWED, "by name");
        a.port = 80;
        check_verdict(target_guard_check(&g, &a), TARGET_DENIED_PORT, ":80");
    }
}

static void takes_an_unknown_standing_for_nobodys(void **state)
{
    (void)state;
    struct target_policy *p = none();
    enum target_standing odd = (enum target_standing)7;
    check_admit(p, odd, "http://10.0.0.1/", TARGET_DENIED_NOT_LISTED);
    check_admit(p, odd, "http://127.0.0.1/", TARGET_DENIED_ADDRESS);
}

static void names_each_verdict(void **state)
{
    (void)state;
    for (unsigned v = 0; v < TARGET_VERDICT_N; v++) {
        const char *name = target_verdict_name((enum target_verdict)v);
        check_true(name && name[0]);
        check_true(strcmp(name, "unknown"));
        for (unsigned w = 0; w < v; w++)
            check_true(
                strcmp(name, target_verdict_name((enum target_verdict)w)));
    }
    check_text(target_verdict_name(TARGET_VERDICT_N), "unknown");
}

/* --- rules -------------------------------------------------------------------
 */

static void parses_rules(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct target_rule r;
    check_i64(target_rule_parse(&r, "10.0.0.0/8", &msg), 0);
    check_true(r.is_network && !r.is_domain && r.network.prefix == 8);
    check_i64(target_rule_parse(&r, "fd00::7", &msg), 0);
    check_true(r.is_network && r.network.prefix == 128);
    check_text(r.host, "");
    check_i64(target_rule_parse(&r, "Host.Example.", &msg), 0);
    check_true(!r.is_network && !r.is_domain);
    check_text(r.host, "host.example");
    check_i64(target_rule_parse(&r, "*.Svc.cluster.local", &msg), 0);
    check_true(!r.is_network && r.is_domain);
    check_text(r.host, "svc.cluster.local");
    check_i64(target_rule_parse(&r, "host", &msg), 0);
    check_text(msg.text, "");

    char longest[URL_HOST_MAX + 4];
    memset(longest, 'a', sizeof(longest));
    for (size_t i = 63; i < URL_HOST_MAX; i += 64)
        longest[i] = '.';
    longest[URL_HOST_MAX] = '\0';
    check_i64(target_rule_parse(&r, longest, &msg), 0);
    check_text(r.host, longest);
    memcpy(longest + URL_HOST_MAX, ".", 2);
    check_i64(target_rule_parse(&r, longest, &msg), 0);
    memcpy(longest + URL_HOST_MAX, "a", 2);
    check_i64(target_rule_parse(&r, longest, &msg), ERR_BAD);
}

static void refuses_what_is_no_rule(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ".",
                                      "*",
                                      "*.",
                                      "*..",
                                      "**.a",
                                      "*a.test",
                                      "*ab.test",
                                      "a.*.test",
                                      "*.*.test",
                                      "a..test",
                                      "-a.test",
                                      "a_b.test",
                                      "a.test:80",
                                      "http://a.test",
                                      "a.test/",
                                      "a.test/8",
                                      "*.a/8",
                                      "10.0.0.0/33",
                                      "10.0.0.1/8",
                                      "10.0.0",
                                      "10.0.0.0/8/8",
                                      "10.1",
                                      "0x7f.1",
                                      "0x0a000001",
                                      "010.0.0.1",
                                      "127.0.1",
                                      "10.0.0.1.",
                                      "*.10.0.0.1",
                                      "*.10",
                                      "*.0x10",
                                      "*.fd00::1",
                                      "[fd00::1]",
                                      "fd00::1%eth0",
                                      "fe80::/9999",
                                      "::ffff:10.0.0.1",
                                      "::ffff:10.0.0.0/104",
                                      "64:ff9b::/96",
                                      "::10.0.0.1",
                                      "2002:a00::/24",
                                      "*.::ffff:10.0.0.1",
                                      "a test",
                                      " a.test",
                                      "a.test ",
                                      "a\ttest",
                                      "\xc3\xa4.test",
                                      "10.0.0.1,10.0.0.2",
                                      "10.0.0.1-10.0.0.9",
                                      "!a.test",
                                      "10.0.0.0 /8",
                                      "/8",
                                      "/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct target_rule r = {.host = "as it was"};
        struct errmsg msg = {""};
        if (!target_rule_parse(&r, bad[i], &msg))
            print_error("taken: %s\n", bad[i]);
        check_i64(target_rule_parse(&r, bad[i], &msg), ERR_BAD);
        check_true(msg.text[0]);
        check_u64(strstr(msg.text, "not a network") != NULL,
                  strchr(bad[i], '/') != NULL);
        check_text(r.host, "as it was");
    }
}

/* --- hostile spellings -------------------------------------------------------
 */

#define LINE_SIZE 20000

struct spelling {
    char *family, *target, *answers; /* answers: NULL if there are none */
    size_t len;                      /* of target, with NULs in it perhaps */
};

static size_t unescape(char *text)
{
    size_t n = 0;
    for (char *at_ = text; *at_;) {
        unsigned byte;
        if (at_[0] == '\\' && sscanf(at_, "\\x%2x", &byte) == 1) {
            text[n++] = (char)byte;
            at_ += 4;
        } else {
            text[n++] = *at_++;
        }
    }
    text[n] = '\0';
    return n;
}

static bool next_spelling(FILE *f, char line[LINE_SIZE], struct spelling *s)
{
    do {
        if (!fgets(line, LINE_SIZE, f))
            return false;
    } while (line[0] == '#');
    char *end = strchr(line, '\n'), *rest = line;
    check_true(end != NULL);
    *end = '\0';
    s->family = strsep(&rest, "\t");
    s->target = strsep(&rest, "\t");
    s->answers = strsep(&rest, "\t");
    check_true(s->target != NULL && !rest);
    s->len = unescape(s->target);
    return true;
}

/* All that an operator could allow for this URL, he has. */
static struct target_policy *generous(const struct url *u)
{
    struct target_policy *p = anywhere();
    struct addr a;
    if (addr_parse_ip(&a, u->host))
        allow(p, u->host);
    p->ports[p->n_ports++] = u->port;
    p->own[p->n_own++] = at("10.1.2.3", 9901);
    p->own[p->n_own++] = at("::", 9902);
    p->local[p->n_local++] = at("10.1.2.3", 0);
    p->local[p->n_local++] = at("10.4.5.6", 0);
    p->local[p->n_local++] = at("fd00:1:2::3", 0);
    p->is_local_known = true;
    return p;
}

static bool may_dial_all(const struct target_guard *g, char *answers,
                         uint16_t port)
{
    bool is_good = true;
    for (char *ip; (ip = strsep(&answers, ","));) {
        struct addr a = at(ip, port);
        is_good = is_good && target_guard_check(g, &a) == TARGET_ALLOWED;
    }
    return is_good;
}

/* Would a connection be made? By the way that a request takes: the URL, the
 * admission, then what the name stands for. */
static bool is_dialled(const struct spelling *s)
{
    struct target_guard g;
    struct target t;
    struct url u;
    struct errmsg msg;
    if (url_parse(&u, s->target, NULL))
        return false;
    const struct target_policy *p = generous(&u);
    if (target_policy_admit(p, &u, TARGET_OTHER, &g) != TARGET_ALLOWED)
        return false;
    u.is_tls = false;
    if (target_init(&t, &u, NULL, NULL, &msg))
        return false;
    bool is_found = target_use_hosts(&t, "", 0) || g.is_literal;
    bool is_good = true;
    if (is_found)
        is_good = target_guard_may_dial(&g, &t.address);
    else if (s->answers)
        is_good = may_dial_all(&g, s->answers, u.port);
    target_fini(&t);
    return is_good;
}

static void dials_none_of_the_hostile_spellings(void **state)
{
    (void)state;
    static char line[LINE_SIZE];
    char path[1024];
    const char *root = getenv("PROBER_SOURCE_ROOT");
    snprintf(path, sizeof(path), "%s/test/vectors/hostile_targets.txt",
             root ? root : ".");
    FILE *f = fopen(path, "r");
    check_true(f != NULL);
    struct spelling s;
    unsigned n = 0, dialled = 0;
    for (; next_spelling(f, line, &s); n++) {
        if (!is_dialled(&s))
            continue;
        print_error("dialled (%s): %s\n", s.family, s.target);
        dialled++;
    }
    fclose(f);
    check_u64(dialled, 0);
    check_true(n >= 300);
}

/* The same way lets through what is no trick: the test above is not red for
 * being deaf. */
static void dials_honest_spellings(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"http://10.0.0.7/", NULL},
        {"https://[2600::1]:8443/x?y", NULL},
        {"http://[::ffff:10.0.0.7]", NULL},
        {"http://good.test:8080/", "10.0.0.7"},
        {"grpc://GOOD.test.", "2600::1,10.0.0.7"},
        {"http://10.1.2.3:9903/", NULL},
        {"http://8.8.8.8:9901/", NULL},
        {"http://1and1.test/", "8.8.8.8"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        char text[64], answers[64] = "";
        snprintf(text, sizeof(text), "%s", good[i][0]);
        if (good[i][1])
            snprintf(answers, sizeof(answers), "%s", good[i][1]);
        struct spelling s = {.target = text,
                             .answers = good[i][1] ? answers : NULL};
        if (!is_dialled(&s))
            print_error("not dialled: %s\n", good[i][0]);
        snprintf(answers, sizeof(answers), "%s", good[i][1] ? good[i][1] : "");
        check_true(is_dialled(&s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denies_each_range_to_its_ends),
        cmocka_unit_test(denies_members_and_configured_names_the_same),
        cmocka_unit_test(denies_each_form_of_ipv6_as_what_it_carries),
        cmocka_unit_test(denies_what_is_no_address),
        cmocka_unit_test(lifts_one_address_and_nothing_beside_it),
        cmocka_unit_test(lifts_the_mapped_form_and_no_other),
        cmocka_unit_test(lifting_lists_nothing),
        cmocka_unit_test(lifting_does_not_speak_for_members),
        cmocka_unit_test(denies_each_own_listener_at_each_own_address),
        cmocka_unit_test(allows_other_ports_here_and_these_elsewhere),
        cmocka_unit_test(knows_a_listener_by_its_own_address_too),
        cmocka_unit_test(
            takes_a_listener_to_be_everywhere_if_here_is_not_known),
        cmocka_unit_test(asks_for_the_port_of_others_alone),
        cmocka_unit_test(names_the_worst_first),
        cmocka_unit_test(allows_nothing_by_itself),
        cmocka_unit_test(allows_networks_in_whatever_form),
        cmocka_unit_test(allows_all_of_one_family_alone),
        cmocka_unit_test(allows_hosts_by_name),
        cmocka_unit_test(does_not_lift_loopback_by_name),
        cmocka_unit_test(judges_members_as_gossip_does),
        cmocka_unit_test(takes_a_configured_literal_at_its_word),
        cmocka_unit_test(takes_loopback_for_a_configured_name_from_this_host),
        cmocka_unit_test(pins_the_literal_and_the_port),
        cmocka_unit_test(takes_an_unknown_standing_for_nobodys),
        cmocka_unit_test(names_each_verdict),
        cmocka_unit_test(parses_rules),
        cmocka_unit_test(refuses_what_is_no_rule),
        cmocka_unit_test(dials_none_of_the_hostile_spellings),
        cmocka_unit_test(dials_honest_spellings),
    };
    return cmocka_run_group_tests_name("target_policy", tests, NULL, NULL);
}
