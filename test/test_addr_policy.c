/* Ranges by their ends, then the forms that hide an IPv4 address. */
#include "proto/addr_policy.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

static const struct addr_policy strict = {0};
static const struct addr_policy with_loopback = {.allows_loopback = true};

static struct addr ip_of(const char *text)
{
    struct addr a;
    if (addr_parse_ip(&a, text))
        print_error("not an address: %s\n", text);
    check_i64(addr_parse_ip(&a, text), 0);
    a.port = 80;
    return a;
}

static enum addr_verdict judge(const struct addr_policy *p, const char *ip)
{
    struct addr a = ip_of(ip);
    return addr_policy_check(p, &a);
}

static void check_verdict(const struct addr_policy *p, const char *ip,
                          enum addr_verdict want)
{
    if (judge(p, ip) != want)
        print_error("%s: not %s\n", ip, addr_verdict_name(want));
    check_text(addr_verdict_name(judge(p, ip)), addr_verdict_name(want));
}

/* NULL: there is no neighbour, or it is in the next range. */
static const struct range {
    const char *before, *first, *last, *after;
    enum addr_verdict verdict;
} v4_ranges[] = {
    {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0", ADDR_DENIED_UNSPECIFIED},
    {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0",
     ADDR_DENIED_LOOPBACK},
    {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0",
     ADDR_DENIED_LINK_LOCAL},
    {"169.254.0.0", "169.254.169.254", "169.254.170.23", "169.254.255.255",
     ADDR_DENIED_LINK_LOCAL},
    {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0",
     ADDR_DENIED_RESERVED},
    {"223.255.255.255", "224.0.0.0", "239.255.255.255", NULL,
     ADDR_DENIED_MULTICAST},
    {NULL, "240.0.0.0", "255.255.255.255", NULL, ADDR_DENIED_RESERVED},
    {"100.100.100.199", "100.100.100.200", "100.100.100.200", "100.100.100.201",
     ADDR_DENIED_METADATA},
    {"168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17",
     ADDR_DENIED_METADATA},
};
#define N_V4 (sizeof(v4_ranges) / sizeof(*v4_ranges))

static const struct range v6_ranges[] = {
    {NULL, "::", "::", NULL, ADDR_DENIED_UNSPECIFIED},
    {NULL, "::1", "::1", NULL, ADDR_DENIED_LOOPBACK},
    {"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fec0::", ADDR_DENIED_LINK_LOCAL},
    {"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL, ADDR_DENIED_MULTICAST},
    {"fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff",
     "fd00:ec2::", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff",
     "fd00:ec3::", ADDR_DENIED_METADATA},
    {"fd20:ce::253", "fd20:ce::254", "fd20:ce::254", "fd20:ce::255",
     ADDR_DENIED_METADATA},
    {"fd00:c1::a9fe:a9fd", "fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe",
     "fd00:c1::a9fe:a9ff", ADDR_DENIED_METADATA},
    {"fd00:100::100:1ff", "fd00:100::100:200", "fd00:100::100:200",
     "fd00:100::100:201", ADDR_DENIED_METADATA},
    {"fd00:a9fe:a9fe::", "fd00:a9fe:a9fe::1", "fd00:a9fe:a9fe::1",
     "fd00:a9fe:a9fe::2", ADDR_DENIED_METADATA},
    {"fd00:42::41", "fd00:42::42", "fd00:42::42", "fd00:42::43",
     ADDR_DENIED_METADATA},
};
#define N_V6 (sizeof(v6_ranges) / sizeof(*v6_ranges))

static void check_ranges(const struct range *ranges, size_t n,
                         const char *prefix)
{
    char text[80];
    for (size_t i = 0; i < n; i++) {
        const struct range *r = &ranges[i];
        const char *inside[] = {r->first, r->last};
        const char *outside[] = {r->before, r->after};
        for (size_t k = 0; k < 2; k++) {
            snprintf(text, sizeof(text), "%s%s", prefix, inside[k]);
            check_verdict(&strict, text, r->verdict);
            if (!outside[k] || r->verdict == ADDR_DENIED_LINK_LOCAL)
                continue;
            snprintf(text, sizeof(text), "%s%s", prefix, outside[k]);
            check_verdict(&strict, text, ADDR_ALLOWED);
        }
    }
}

static void denies_each_range_to_its_ends(void **state)
{
    (void)state;
    check_ranges(v4_ranges, N_V4, "");
    check_ranges(v6_ranges, N_V6, "");
    check_verdict(&strict, "169.253.255.255", ADDR_ALLOWED);
    check_verdict(&strict, "169.255.0.0", ADDR_ALLOWED);
    check_verdict(&strict, "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                  ADDR_ALLOWED);
    check_verdict(&strict, "fec0::", ADDR_ALLOWED);
}

static void allows_what_meshes_live_in(void **state)
{
    (void)state;
    static const char *const good[] = {
        "10.0.0.1",      "172.16.0.1",
        "192.168.1.1",   "100.64.0.1",
        "8.8.8.8",       "192.0.1.1",
        "fc00::1",       "fd12:3456::1",
        "2001:db8::1",   "2600::1",
        "1.0.0.1",       "2001:1::1",
        "2003:a00:1::1", "64:ff9c::a9fe:a9fe",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        check_verdict(&strict, good[i], ADDR_ALLOWED);
}

static void denies_what_is_no_address(void **state)
{
    (void)state;
    struct addr a = ip_of("10.0.0.1");
    a.port = 0;
    check_u64(addr_policy_check(&strict, &a), ADDR_DENIED_NONE);
    a = ip_of("2600::1");
    check_u64(addr_policy_check(&strict, &a), ADDR_ALLOWED);
    a.port = 0;
    check_u64(addr_policy_check(&strict, &a), ADDR_DENIED_NONE);
    a.port = 80;
    for (unsigned family = 0; family < 256; family++) {
        a.family = (uint8_t)family;
        bool is_one = family == ADDR_V4 || family == ADDR_V6;
        check_u64(addr_policy_check(&strict, &a) == ADDR_DENIED_NONE, !is_one);
    }
}

static void lifts_loopback_and_nothing_else(void **state)
{
    (void)state;
    check_verdict(&with_loopback, "127.0.0.1", ADDR_ALLOWED);
    check_verdict(&with_loopback, "127.255.255.255", ADDR_ALLOWED);
    check_verdict(&with_loopback, "::1", ADDR_ALLOWED);
    check_verdict(&with_loopback, "::ffff:127.0.0.1", ADDR_ALLOWED);
    check_verdict(&with_loopback, "0.0.0.0", ADDR_DENIED_UNSPECIFIED);
    check_verdict(&with_loopback, "::", ADDR_DENIED_UNSPECIFIED);
    check_verdict(&with_loopback, "169.254.169.254", ADDR_DENIED_LINK_LOCAL);
    check_verdict(&with_loopback, "fe80::1", ADDR_DENIED_LINK_LOCAL);
    check_verdict(&with_loopback, "224.0.0.1", ADDR_DENIED_MULTICAST);
    check_verdict(&with_loopback, "255.255.255.255", ADDR_DENIED_RESERVED);
    check_verdict(&with_loopback, "100.100.100.200", ADDR_DENIED_METADATA);
}

/* --- forms of IPv6 that carry an IPv4 address ---------------------------- */

static void check_unwraps(const char *v6, const char *want)
{
    char text[ADDR_TEXT_SIZE];
    struct addr a = ip_of(v6);
    a.port = 8443;
    struct addr plain = addr_unwrap(&a);
    check_text(addr_format_ip(&plain, text), want);
    check_u64(plain.port, 8443);
}

static void unwraps_each_form(void **state)
{
    (void)state;
    check_unwraps("::ffff:1.2.3.4", "1.2.3.4");
    check_unwraps("::1.2.3.4", "1.2.3.4");
    check_unwraps("::2", "0.0.0.2");
    check_unwraps("::ffff:0:1.2.3.4", "1.2.3.4");
    check_unwraps("64:ff9b::1.2.3.4", "1.2.3.4");
    check_unwraps("64:ff9b:1::1.2.3.4", "1.2.3.4");
    check_unwraps("64:ff9b:1:abcd::1.2.3.4", "1.2.3.4");
    check_unwraps("2002:102:304::", "1.2.3.4");
    check_unwraps("2002:102:304:ffff:ffff:ffff:ffff:ffff", "1.2.3.4");
    /* Teredo has the client's address with all bits flipped. */
    check_unwraps("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45");
    check_unwraps("2001::fefd:fcfb", "1.2.3.4");
}

static void leaves_other_addresses_as_they_are(void **state)
{
    (void)state;
    static const char *const same[] = {
        "1.2.3.4",
        "0.0.0.0",
        "::",
        "::1",
        "::1:0:0",        /* one bit beside ::/96 */
        "::fffe:102:304", /* beside the mapped form */
        "::1:ffff:102:304",
        "::fffe:0:102:304", /* beside the translated form */
        "::ffff:1:102:304",
        "64:ff9a::102:304",
        "64:ff9b::1:102:304",
        "64:ff9b:2::102:304",
        "65:ff9b::102:304",
        "2003:102:304::",
        "2001:1::fefd:fcfb",
        "2000::fefd:fcfb",
    };
    char text[ADDR_TEXT_SIZE];
    for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
        struct addr a = ip_of(same[i]);
        struct addr plain = addr_unwrap(&a);
        check_text(addr_format_ip(&plain, text), same[i]);
        check_true(addr_equal(&plain, &a));
    }
}

/* Whatever is denied as IPv4 is in each of the forms; ends included. */
static void judges_each_form_as_what_it_carries(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:7::"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
        check_ranges(v4_ranges, N_V4, forms[i]);
    /* The compatible form of 0.0.0.0 and 0.0.0.1 are :: and ::1. */
    check_ranges(v4_ranges + 1, N_V4 - 1, "::");
    check_verdict(&strict, "::0.0.0.2", ADDR_DENIED_UNSPECIFIED);

    for (size_t i = 0; i < N_V4; i++) {
        struct addr first = ip_of(v4_ranges[i].first);
        struct addr six = {ADDR_V6, 80, {0x20, 0x02}};
        memcpy(six.ip + 2, first.ip, 4);
        check_u64(addr_policy_check(&strict, &six), v4_ranges[i].verdict);

        struct addr teredo = {ADDR_V6, 80, {0x20, 0x01, 0, 0, 8, 8, 8, 8}};
        for (size_t k = 0; k < 4; k++)
            teredo.ip[12 + k] = first.ip[k] ^ 0xff;
        check_u64(addr_policy_check(&strict, &teredo), v4_ranges[i].verdict);
    }
    check_verdict(&strict, "2002:808:808::1", ADDR_ALLOWED);
}

/* Teredo packets may go by way of the server. */
static void judges_a_teredo_server_too(void **state)
{
    (void)state;
    check_verdict(&strict, "2001:0:808:808::fefd:fcfb", ADDR_ALLOWED);
    check_verdict(&strict, "2001:0:a9fe:a9fe::fefd:fcfb",
                  ADDR_DENIED_LINK_LOCAL);
    check_verdict(&strict, "2001:0:7f00:1::fefd:fcfb", ADDR_DENIED_LOOPBACK);
}

/* With a prefix of 48, 56 or 64 bits a translator looks for the address of the
 * metadata service elsewhere than at the end. */
static void denies_site_nat64_that_can_be_read_in_two_ways(void **state)
{
    (void)state;
    static const char *const two_ways[] = {
        "64:ff9b:1:a9fe:a9:fe00:808:808", /* /48: bytes 6, 7, 9, 10 */
        "64:ff9b:1:a9:fe:a9fe:808:808",   /* /56: bytes 7, 9, 10, 11 */
        "64:ff9b:1:0:a9:fea9:fe08:808",   /* /64: bytes 9 to 12 */
        "64:ff9b:1:0:100:0:808:808",      "64:ff9b:1:0:0:1:808:808",
    };
    for (size_t i = 0; i < sizeof(two_ways) / sizeof(*two_ways); i++) {
        check_verdict(&strict, two_ways[i], ADDR_DENIED_RESERVED);
        check_verdict(&with_loopback, two_ways[i], ADDR_DENIED_RESERVED);
    }
    check_verdict(&strict, "64:ff9b:1::808:808", ADDR_ALLOWED);
}

/* Whatever stands in an IPv4 address behind its four bytes. */
static void looks_at_four_bytes_of_ipv4(void **state)
{
    (void)state;
    struct addr a = ip_of("169.254.169.254");
    memset(a.ip + 4, 0xff, 12);
    check_u64(addr_policy_check(&strict, &a), ADDR_DENIED_LINK_LOCAL);
    a = ip_of("100.100.100.200");
    memset(a.ip + 4, 0xff, 12);
    check_u64(addr_policy_check(&strict, &a), ADDR_DENIED_METADATA);
}

/* --- networks ----------------------------------------------------------- */

static struct addr_policy policy_of(const char *const *networks)
{
    struct addr_policy p = {0};
    for (; networks[p.n_networks]; p.n_networks++)
        check_i64(addr_network_parse(&p.networks[p.n_networks],
                                     networks[p.n_networks]),
                  0);
    return p;
}

static void allows_only_its_networks_if_there_are_any(void **state)
{
    (void)state;
    static const char *const networks[] = {"10.1.0.0/16", "fd00:1::/32",
                                           "192.168.7.9", NULL};
    struct addr_policy p = policy_of(networks);
    check_verdict(&p, "10.0.255.255", ADDR_DENIED_NETWORK);
    check_verdict(&p, "10.1.0.0", ADDR_ALLOWED);
    check_verdict(&p, "10.1.255.255", ADDR_ALLOWED);
    check_verdict(&p, "10.2.0.0", ADDR_DENIED_NETWORK);
    check_verdict(&p, "192.168.7.8", ADDR_DENIED_NETWORK);
    check_verdict(&p, "192.168.7.9", ADDR_ALLOWED);
    check_verdict(&p, "fd00:0:ffff::", ADDR_DENIED_NETWORK);
    check_verdict(&p, "fd00:1::", ADDR_ALLOWED);
    check_verdict(&p, "fd00:1:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_ALLOWED);
    check_verdict(&p, "fd00:2::", ADDR_DENIED_NETWORK);
    /* in whatever form */
    check_verdict(&p, "::ffff:10.1.0.1", ADDR_ALLOWED);
    check_verdict(&p, "64:ff9b::10.2.0.1", ADDR_DENIED_NETWORK);
    /* Teredo: client and server */
    check_verdict(&p, "2001:0:a01:1::f5fe:fffe", ADDR_ALLOWED);
    check_verdict(&p, "2001:0:a02:1::f5fe:fffe", ADDR_DENIED_NETWORK);
    check_verdict(&p, "2001:0:a01:1::f5fd:fffe", ADDR_DENIED_NETWORK);
}

static void denies_always_what_a_network_includes(void **state)
{
    (void)state;
    static const char *const all[] = {"0.0.0.0/0", "::/0", NULL};
    struct addr_policy p = policy_of(all);
    check_verdict(&p, "8.8.8.8", ADDR_ALLOWED);
    check_verdict(&p, "2600::1", ADDR_ALLOWED);
    check_verdict(&p, "127.0.0.1", ADDR_DENIED_LOOPBACK);
    check_verdict(&p, "169.254.169.254", ADDR_DENIED_LINK_LOCAL);
    check_verdict(&p, "fd00:ec2::254", ADDR_DENIED_METADATA);

    static const char *const ten[] = {"10.0.0.0/8", NULL};
    p = policy_of(ten);
    p.allows_loopback = true;
    check_verdict(&p, "127.0.0.1", ADDR_DENIED_NETWORK);
    check_verdict(&p, "::1", ADDR_DENIED_NETWORK);
}

/* All of IPv4 does not stand for IPv6, nor the other way round. */
static void keeps_the_families_apart(void **state)
{
    (void)state;
    static const char *const four[] = {"0.0.0.0/0", NULL};
    static const char *const six[] = {"::/0", NULL};
    struct addr_policy p = policy_of(four);
    check_verdict(&p, "2600::1", ADDR_DENIED_NETWORK);
    check_verdict(&p, "::ffff:8.8.8.8", ADDR_ALLOWED);
    p = policy_of(six);
    check_verdict(&p, "8.8.8.8", ADDR_DENIED_NETWORK);
    check_verdict(&p, "::ffff:8.8.8.8", ADDR_DENIED_NETWORK);
}

static void parses_networks_strictly(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0.0.0.0/0",   "10.0.0.0/8",     "10.0.0.1/32", "10.0.0.1",
        "128.0.0.0/1", "::/0",           "fd00::/8",    "fd00::1/128",
        "fd00::1",     "fe80::/10",      "::/95",       "::1/128",
        "2000::/15",   "64:ff9b:0::/47", "2001::/31",   "::1",
    };
    static const char *const bad[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/08",
        "10.0.0.0/00",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.0/ 8",
        "10.0.0.0/8 ",
        "10.0.0.0 /8",
        "10.0.0.0/8/8",
        "10.0.0.0/33",
        "10.0.0.0/256",
        "10.0.0.0/4294967304", /* 8 in 32 bits */
        "10.0.0.0/99999999999999999999999999",
        "10.0.0.0/0x8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/a",
        "10.0.0.1/31", /* bits behind the prefix */
        "10.0.0.1/8",
        "128.0.0.0/0",
        "10/8",
        "010.0.0.0/8",
        "0x0a.0.0.0/8",
        "10.0.0/24",
        "10.0.0.256",
        "::/129",
        "fd00::1/127",
        "fd00::/7",
        "fe80::%eth0/64",
        "[fd00::]/8",
        "localhost",
        "10.0.0.0:80",
        "::ffff:10.0.0.0/104", /* what is meant is 10.0.0.0/8 */
        "::ffff:0:0/96",
        "::10.0.0.1",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2002:a00::/24",
        "2001::/32",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aa/8",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct addr_network n;
        if (addr_network_parse(&n, good[i]))
            print_error("refused: %s\n", good[i]);
        check_i64(addr_network_parse(&n, good[i]), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct addr_network n = {.prefix = 99};
        if (!addr_network_parse(&n, bad[i]))
            print_error("accepted: %s\n", bad[i]);
        check_i64(addr_network_parse(&n, bad[i]), ERR_BAD);
        check_u64(n.prefix, 99);
    }
    struct addr_network n;
    check_i64(addr_network_parse(&n, "10.0.0.0/8"), 0);
    check_u64(n.prefix, 8);
    check_u64(n.base.family, ADDR_V4);
    check_u64(n.base.ip[0], 10);
    check_i64(addr_network_parse(&n, "fd00::7"), 0);
    check_u64(n.prefix, 128);
}

/* Bit by bit, against the comparison done the slow way. */
static void contains_what_shares_its_prefix(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 100000; i++) {
        bool is_v4 = rng_below(&rng, 2);
        unsigned bits = is_v4 ? 32 : 128;
        struct addr_network n = {.base.family = is_v4 ? ADDR_V4 : ADDR_V6};
        n.prefix = (uint8_t)rng_below(&rng, bits + 1);
        for (unsigned k = 0; k < n.prefix; k++)
            n.base.ip[k / 8] |=
                (uint8_t)(rng_below(&rng, 2) ? 0x80u >> k % 8 : 0);
        struct addr a = n.base;
        unsigned flip = (unsigned)rng_below(&rng, bits);
        a.ip[flip / 8] ^= (uint8_t)(0x80u >> flip % 8);
        for (unsigned k = n.prefix; k < bits; k++)
            a.ip[k / 8] ^= (uint8_t)(rng_below(&rng, 2) ? 0x80u >> k % 8 : 0);
        check_true(addr_network_contains(&n, &n.base));
        check_u64(addr_network_contains(&n, &a), flip >= n.prefix);
        a.family = is_v4 ? ADDR_V6 : ADDR_V4;
        check_false(addr_network_contains(&n, &a));
    }
}

static struct addr_policy one_of(const char *network)
{
    const char *const networks[] = {network, NULL};
    return policy_of(networks);
}

static void policies_are_equal_if_they_were_filled_alike(void **state)
{
    (void)state;
    struct addr_policy p = one_of("10.0.0.0/8"), q = p;
    check_true(addr_policy_equal(&p, &q));
    q.allows_loopback = true;
    check_false(addr_policy_equal(&p, &q));
    q = one_of("10.0.0.0/9");
    check_false(addr_policy_equal(&p, &q));
    q = one_of("11.0.0.0/8");
    check_false(addr_policy_equal(&p, &q));
    q = one_of(NULL);
    check_false(addr_policy_equal(&p, &q));
    memset(&q.networks, 0xff, sizeof(q.networks)); /* of no account */
    p = one_of(NULL);
    check_true(addr_policy_equal(&p, &q));
}

static void knows_the_server_of_a_teredo_address(void **state)
{
    (void)state;
    char text[ADDR_TEXT_SIZE];
    struct addr server = ip_of("9.9.9.9");
    struct addr a = ip_of("2001:1:808:808::fefd:fcfb");
    check_false(addr_teredo_server(&a, &server));
    check_text(addr_format_ip(&server, text), "9.9.9.9");
    a = ip_of("2001:0:808:404::fefd:fcfb");
    a.port = 8443;
    check_true(addr_teredo_server(&a, &server));
    check_text(addr_format_ip(&server, text), "8.8.4.4");
    check_u64(server.port, 8443);
}

static void names_each_verdict(void **state)
{
    (void)state;
    for (int v = ADDR_ALLOWED; v <= ADDR_DENIED_NETWORK; v++) {
        const char *name = addr_verdict_name((enum addr_verdict)v);
        check_true(name && name[0]);
        for (int w = ADDR_ALLOWED; w < v; w++)
            check_true(strcmp(name, addr_verdict_name((enum addr_verdict)w)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denies_each_range_to_its_ends),
        cmocka_unit_test(allows_what_meshes_live_in),
        cmocka_unit_test(denies_what_is_no_address),
        cmocka_unit_test(lifts_loopback_and_nothing_else),
        cmocka_unit_test(unwraps_each_form),
        cmocka_unit_test(leaves_other_addresses_as_they_are),
        cmocka_unit_test(judges_each_form_as_what_it_carries),
        cmocka_unit_test(judges_a_teredo_server_too),
        cmocka_unit_test(denies_site_nat64_that_can_be_read_in_two_ways),
        cmocka_unit_test(looks_at_four_bytes_of_ipv4),
        cmocka_unit_test(allows_only_its_networks_if_there_are_any),
        cmocka_unit_test(denies_always_what_a_network_includes),
        cmocka_unit_test(keeps_the_families_apart),
        cmocka_unit_test(parses_networks_strictly),
        cmocka_unit_test(contains_what_shares_its_prefix),
        cmocka_unit_test(policies_are_equal_if_they_were_filled_alike),
        cmocka_unit_test(knows_the_server_of_a_teredo_address),
        cmocka_unit_test(names_each_verdict),
    };
    return cmocka_run_group_tests_name("addr_policy", tests, NULL, NULL);
}
