#include "proto/base/addr.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void text_and_address_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ip;
        uint8_t family;
        uint16_t port;
    } cases[] = {
        {"1.2.3.4:80", "1.2.3.4", ADDR_V4, 80},
        {"0.0.0.0:0", "0.0.0.0", ADDR_V4, 0},
        {"255.255.255.255:65535", "255.255.255.255", ADDR_V4, 65535},
        {"[::]:0", "::", ADDR_V6, 0},
        {"[::1]:80", "::1", ADDR_V6, 80},
        {"[2001:db8::a:b]:65535", "2001:db8::a:b", ADDR_V6, 65535},
        {"[::ffff:1.2.3.4]:9", "::ffff:1.2.3.4", ADDR_V6, 9},
        {"[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
         "1111:2222:3333:4444:5555:6666:7777:8888", ADDR_V6, 65535},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr a;
        struct addr b;
        char text[ADDR_TEXT_SIZE];
        check_i64(addr_parse(&a, cases[i].text), 0);
        check_u64(a.family, cases[i].family);
        check_u64(a.port, cases[i].port);
        check_text(addr_format(&a, text), cases[i].text);
        check_text(addr_format_ip(&a, text), cases[i].ip);
        check_i64(addr_parse_ip(&b, cases[i].ip), 0);
        check_u64(b.port, 0);
        check_true(!memcmp(a.ip, b.ip, sizeof(a.ip)));
    }
}

static void bytes_are_in_network_order(void **state)
{
    (void)state;
    static const uint8_t v4[16] = {1, 2, 3, 4};
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
    struct addr a;
    check_i64(addr_parse(&a, "1.2.3.4:5"), 0);
    check_true(!memcmp(a.ip, v4, 16)); /* the rest is zero */
    check_i64(addr_parse(&a, "[2001:db8::7]:5"), 0);
    check_true(!memcmp(a.ip, v6, 16));
}

static void odd_text_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:99999",
        "1.2.3.4:100000",
        "1.2.3.4:-1",
        "1.2.3.4:+1",
        "1.2.3.4: 1",
        "1.2.3.4:1 ",
        "1.2.3.4:0x1",
        "1.2.3.4:80:80",
        " 1.2.3.4:80",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "01.2.3.4:80",
        "256.2.3.4:80",
        "0x1.2.3.4:80",
        "1.2.3.4 :80",
        "16909060:80",
        "host:80",
        "::1",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1",
        "[::1:80",
        "[::1]x:80",
        "[]:80",
        "[1.2.3.4]:80",
        "[fe80::1%lo]:80",
        "[::1]:",
        "[[::1]]:80",
        "[:::1]:80",
        "[12345::]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]:1",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct addr before;
        memset(&before, 0x5a, sizeof(before));
        struct addr a = before;
        check_i64(addr_parse(&a, texts[i]), ERR_BAD);
        check_true(!memcmp(&a, &before, sizeof(a)));
    }
    static const char *const ips[] = {"",         "1.2.3",     "1.2.3.4:80",
                                      "[::1]",    "fe80::1%1", "1.2.3.04",
                                      "1.2.3.4 ", "127.1"};
    for (size_t i = 0; i < COUNT(ips); i++) {
        struct addr before;
        memset(&before, 0x5a, sizeof(before));
        struct addr a = before;
        check_i64(addr_parse_ip(&a, ips[i]), ERR_BAD);
        check_true(!memcmp(&a, &before, sizeof(a)));
    }
}

static void hosts_of_any_length_fit_or_are_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < 2 * ADDR_TEXT_SIZE; len++) {
        char text[2 * ADDR_TEXT_SIZE + 8] = "[";
        struct addr a;
        memset(text + 1, '1', len);
        memcpy(text + 1 + len, "]:80", 5);
        check_i64(addr_parse(&a, text), ERR_BAD);
        memcpy(text + 1 + len, ":80", 4);
        check_i64(addr_parse(&a, text + 1), ERR_BAD);
    }
}

static void no_address_is_a_dash(void **state)
{
    (void)state;
    struct addr none = {0};
    char text[ADDR_TEXT_SIZE];
    check_text(addr_format(&none, text), "-");
    check_text(addr_format_ip(&none, text), "-");
}

static void equality_sees_family_port_and_every_byte(void **state)
{
    (void)state;
    struct addr a;
    check_i64(addr_parse(&a, "[102:304::]:80"), 0);
    struct addr b = a;
    check_true(addr_equal(&a, &b));
    b.port = 81;
    check_false(addr_equal(&a, &b));
    b = a;
    b.family = ADDR_V4;
    check_false(addr_equal(&a, &b));
    for (size_t i = 0; i < sizeof(a.ip); i++) {
        b = a;
        b.ip[i] ^= 1;
        check_false(addr_equal(&a, &b));
    }
}

static void loopback_is_127_and_one(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.255.255.255", true},
        {"126.0.0.1", false},
        {"128.0.0.1", false},
        {"0.0.0.0", false},
        {"::1", true},
        {"::", false},
        {"::2", false},
        {"1::1", false},
        {"7f00::", false},
        {"::ffff:127.0.0.1", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr a;
        check_i64(addr_parse_ip(&a, cases[i].text), 0);
        check_u64(addr_is_loopback(&a), cases[i].is_loopback);
    }
    struct addr none = {.ip = {127, 0, 0, 1}};
    check_false(addr_is_loopback(&none));
}

static void kernel_form_round_trips(void **state)
{
    (void)state;
    struct sockaddr_storage ss;
    struct sockaddr_in in;
    struct addr a;
    struct addr b;

    check_i64(addr_parse(&a, "1.2.3.4:258"), 0);
    check_u64(addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_in));
    memcpy(&in, &ss, sizeof(in));
    check_u64(in.sin_family, AF_INET);
    check_u64(ntohs(in.sin_port), 258);
    check_u64(ntohl(in.sin_addr.s_addr), 0x01020304);
    check_i64(addr_from_sockaddr(&b, &ss), 0);
    check_true(addr_equal(&a, &b));

    check_i64(addr_parse(&a, "[2001:db8::7]:258"), 0);
    check_u64(addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_in6));
    check_u64(ss.ss_family, AF_INET6);
    check_i64(addr_from_sockaddr(&b, &ss), 0);
    check_true(addr_equal(&a, &b));

    ss.ss_family = AF_UNIX;
    check_i64(addr_from_sockaddr(&b, &ss), ERR_BAD);
    check_true(addr_equal(&a, &b)); /* untouched */
}

static void every_address_round_trips(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        struct addr a = {.family = round % 2 ? ADDR_V4 : ADDR_V6,
                         .port = (uint16_t)rng_next(&rng)};
        size_t n = round % 2 ? 4 : 16;
        uint64_t zeros = rng_next(&rng); /* so that "::" has its part */
        for (size_t i = 0; i < n; i++)
            a.ip[i] = zeros >> i & 1 ? (uint8_t)rng_next(&rng) : 0;
        char text[ADDR_TEXT_SIZE];
        struct sockaddr_storage ss;
        struct addr b;
        check_i64(addr_parse(&b, addr_format(&a, text)), 0);
        check_true(addr_equal(&a, &b));
        addr_to_sockaddr(&a, &ss);
        check_i64(addr_from_sockaddr(&b, &ss), 0);
        check_true(addr_equal(&a, &b));
    }
}

static void all_addresses_have_an_ipv4_form(void **state)
{
    (void)state;
    struct addr a, v4;
    char text[ADDR_TEXT_SIZE];
    check_i64(addr_parse(&a, "[::]:7443"), 0);
    check_true(addr_any_v4(&a, &v4));
    check_text(addr_format(&v4, text), "0.0.0.0:7443");
    check_i64(addr_parse(&a, "[::1]:7443"), 0);
    check_false(addr_any_v4(&a, &v4));
    check_i64(addr_parse(&a, "0.0.0.0:7443"), 0);
    check_false(addr_any_v4(&a, &v4));
}

static void compares_addresses_without_their_ports(void **state)
{
    (void)state;
    struct addr a, b;
    check_i64(addr_parse(&a, "10.0.0.1:80"), 0);
    check_i64(addr_parse(&b, "10.0.0.1:81"), 0);
    check_true(addr_same_ip(&a, &b));
    check_false(addr_equal(&a, &b));
    check_i64(addr_parse(&b, "10.0.0.2:80"), 0);
    check_false(addr_same_ip(&a, &b));
    check_i64(addr_parse(&b, "[a00:1::]:80"), 0); /* the same bytes */
    check_false(addr_same_ip(&a, &b));
    check_i64(addr_parse(&a, "[a00:1::]:7"), 0);
    check_true(addr_same_ip(&a, &b));
    b.ip[15] = 1;
    check_false(addr_same_ip(&a, &b));
}

static void knows_all_addresses_of_either_family(void **state)
{
    (void)state;
    struct addr a;
    check_i64(addr_parse(&a, "0.0.0.0:80"), 0);
    check_true(addr_is_any(&a));
    check_i64(addr_parse(&a, "[::]:0"), 0);
    check_true(addr_is_any(&a));
    check_i64(addr_parse(&a, "[::1]:0"), 0);
    check_false(addr_is_any(&a));
    check_i64(addr_parse(&a, "0.0.0.1:0"), 0);
    check_false(addr_is_any(&a));
    a = (struct addr){.family = ADDR_NONE};
    check_false(addr_is_any(&a));
}

static void only_the_mapped_form_is_unmapped(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[::ffff:1.2.3.4]:5", "1.2.3.4:5"},
        {"[::ffff:127.0.0.1]:0", "127.0.0.1:0"},
        {"[::1.2.3.4]:5", "[::1.2.3.4]:5"},
        {"[::fffe:1.2.3.4]:5", "[::fffe:1.2.3.4]:5"},
        {"[1::ffff:1.2.3.4]:5", "[1::ffff:1.2.3.4]:5"},
        {"[64:ff9b::1.2.3.4]:5", "[64:ff9b::1.2.3.4]:5"},
        {"[::1]:5", "[::1]:5"},
        {"1.2.3.4:5", "1.2.3.4:5"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr a, want;
        check_i64(addr_parse(&a, cases[i][0]), 0);
        check_i64(addr_parse(&want, cases[i][1]), 0);
        a = addr_unmap(&a);
        check_true(addr_equal(&a, &want));
    }
    struct addr none = {.family = ADDR_NONE};
    none = addr_unmap(&none);
    check_u64(none.family, ADDR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_addresses_without_their_ports),
        cmocka_unit_test(knows_all_addresses_of_either_family),
        cmocka_unit_test(text_and_address_round_trip),
        cmocka_unit_test(bytes_are_in_network_order),
        cmocka_unit_test(odd_text_is_refused_and_changes_nothing),
        cmocka_unit_test(hosts_of_any_length_fit_or_are_refused),
        cmocka_unit_test(no_address_is_a_dash),
        cmocka_unit_test(equality_sees_family_port_and_every_byte),
        cmocka_unit_test(loopback_is_127_and_one),
        cmocka_unit_test(only_the_mapped_form_is_unmapped),
        cmocka_unit_test(all_addresses_have_an_ipv4_form),
        cmocka_unit_test(kernel_form_round_trips),
        cmocka_unit_test(every_address_round_trips),
    };
    return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
