/* From a configuration as text to verdicts. */
#include "prober/target_policy_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/local_addrs.h"
#include "test/check.h"

static char a_rule[][CONFIG_ENDPOINT_SIZE] = {"10.0.0.0/8", "*.Example",
                                              "one.test"};
static char lifted[][CONFIG_ENDPOINT_SIZE] = {"169.254.169.254", "fd00:ec2::1"};

/* Large, so not on the stack. */
static struct config config;
static struct target_policy policy;

static struct config *some_config(void)
{
    config = (struct config){0};
    config.gossip.listen = (struct addr){ADDR_V6, 7946, {0}};
    config.control.n_allow = 3;
    config.control.allow = a_rule;
    config.control.n_dangerous = 2;
    config.control.dangerous = lifted;
    config.control.n_ports = 2;
    config.control.ports[0] = 80;
    config.control.ports[1] = 9000;
    return &config;
}

static void takes_over_what_the_configuration_says(void **state)
{
    (void)state;
    struct config *c = some_config();
    struct errmsg msg = {""};
    const struct addr own[] = {{ADDR_V6, 7946, {0}},
                               {ADDR_V4, 0, {127, 0, 0, 1}}, /* not bound */
                               {.family = ADDR_NONE, .port = 7},
                               {ADDR_V4, 7070, {10, 1, 2, 3}}};
    check_i64(target_policy_fill(&policy, c, own, 4, &msg), 0);
    check_text(msg.text, "");
    check_u64(policy.n_rules, 3);
    check_true(policy.rules[0].is_network);
    check_text(policy.rules[1].host, "example");
    check_true(policy.rules[1].is_domain);
    check_text(policy.rules[2].host, "one.test");
    check_u64(policy.n_ports, 2);
    check_u64(policy.ports[1], 9000);
    check_u64(policy.n_dangerous, 2);
    check_u64(policy.dangerous[0].ip[3], 254);
    check_u64(policy.n_own, 2);
    check_u64(policy.own[1].port, 7070);
    check_u64(policy.n_local, 0);
    check_false(policy.mesh.allows_loopback);
    check_u64(policy.mesh.n_networks, 0);

    /* Nothing of the former one is left. */
    c->control.n_allow = c->control.n_ports = c->control.n_dangerous = 0;
    c->gossip.listen = (struct addr){ADDR_V4, 7946, {127, 0, 0, 1}};
    c->gossip.n_allow = 1;
    check_i64(addr_network_parse(&c->gossip.allow[0], "127.0.0.0/8"), 0);
    check_i64(target_policy_fill(&policy, c, NULL, 0, &msg), 0);
    check_u64(policy.n_rules + policy.n_ports + policy.n_dangerous, 0);
    check_u64(policy.n_own, 0);
    check_true(policy.mesh.allows_loopback);
    check_u64(policy.mesh.n_networks, 1);
}

static void says_which_key_is_wrong(void **state)
{
    (void)state;
    struct config *c = some_config();
    struct errmsg msg = {""};
    char bad[][CONFIG_ENDPOINT_SIZE] = {"10.0.0.0/8", "10.0.0.1/8"};
    c->control.allow = bad;
    c->control.n_allow = 2;
    check_i64(target_policy_fill(&policy, c, NULL, 0, &msg), ERR_BAD);
    check_true(!strncmp(msg.text, "control.allow: 10.0.0.1/8", 25));

    c = some_config();
    char no_address[][CONFIG_ENDPOINT_SIZE] = {"169.254.0.0/16"};
    c->control.dangerous = no_address;
    c->control.n_dangerous = 1;
    check_i64(target_policy_fill(&policy, c, NULL, 0, &msg), ERR_BAD);
    check_true(
        !strncmp(msg.text, "control.dangerously_allow: 169.254.0.0/16", 41));
}

static void has_limits(void **state)
{
    (void)state;
    struct config *c = some_config();
    struct errmsg msg = {""};
    struct addr own[TARGET_OWN_MAX + 1];
    for (size_t i = 0; i <= TARGET_OWN_MAX; i++)
        own[i] = (struct addr){ADDR_V4, (uint16_t)(i + 1), {10}};
    check_i64(target_policy_fill(&policy, c, own, TARGET_OWN_MAX, &msg), 0);
    check_u64(policy.n_own, TARGET_OWN_MAX);
    check_i64(target_policy_fill(&policy, c, own, TARGET_OWN_MAX + 1, &msg),
              ERR_TOOBIG);
    c->control.n_allow = TARGET_RULES_MAX + 1;
    check_i64(target_policy_fill(&policy, c, own, 0, &msg), ERR_TOOBIG);
    c = some_config();
    c->control.n_ports = TARGET_PORTS_MAX + 1;
    check_i64(target_policy_fill(&policy, c, own, 0, &msg), ERR_TOOBIG);
    c = some_config();
    c->control.n_dangerous = TARGET_DANGEROUS_MAX + 1;
    check_i64(target_policy_fill(&policy, c, own, 0, &msg), ERR_TOOBIG);
}

/* Whatever this host has: each address once, without a port. */
static void reads_the_addresses_of_this_host(void **state)
{
    (void)state;
    struct addr list[TARGET_LOCAL_MAX];
    bool is_all = false;
    int n = local_addrs_read(list, TARGET_LOCAL_MAX, &is_all);
    check_true(n >= 0 && n <= TARGET_LOCAL_MAX);
    for (int i = 0; i < n; i++) {
        check_true(list[i].family == ADDR_V4 || list[i].family == ADDR_V6);
        check_u64(list[i].port, 0);
        for (int k = 0; k < i; k++)
            check_false(addr_equal(&list[i], &list[k]));
    }
    if (n > 0 && is_all) {
        struct addr few[TARGET_LOCAL_MAX];
        check_i64(local_addrs_read(few, (size_t)n - 1, &is_all), n - 1);
        check_false(is_all);
        check_i64(local_addrs_read(few, (size_t)n, &is_all), n);
        check_true(is_all);
    }
    struct config *c = some_config();
    check_i64(target_policy_fill(&policy, c, NULL, 0, NULL), 0);
    check_false(policy.is_local_known);
    int rc = target_policy_read_local(&policy);
    check_u64(policy.is_local_known, rc == 0);
    if (rc == 0)
        check_u64(policy.n_local, n);

    /* A new policy begins with what is known; else all ports of ours would be
     * denied everywhere. */
    static struct target_policy next;
    check_i64(target_policy_fill(&next, c, NULL, 0, NULL), 0);
    target_policy_take_local(&next, &policy);
    check_u64(next.is_local_known, policy.is_local_known);
    check_u64(next.n_local, policy.n_local);
    for (size_t i = 0; i < next.n_local; i++)
        check_true(addr_equal(&next.local[i], &policy.local[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_over_what_the_configuration_says),
        cmocka_unit_test(says_which_key_is_wrong),
        cmocka_unit_test(has_limits),
        cmocka_unit_test(reads_the_addresses_of_this_host),
    };
    return cmocka_run_group_tests_name("target_policy_config", tests, NULL,
                                       NULL);
}
