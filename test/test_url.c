/* Cases by hand first, then every byte, every length, random mutations. */
#include "proto/url.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

static void check_url(const char *text, enum url_scheme scheme,
                      const char *host, uint16_t port, const char *path)
{
    struct url u;
    struct errmsg msg = {""};
    int err = url_parse(&u, text, &msg);
    if (err)
        print_error("%s: %s\n", text, msg.text);
    check_i64(err, 0);
    check_u64(u.scheme, scheme);
    check_text(u.host, host);
    check_u64(u.port, port);
    check_text(u.path, path);
}

static void check_refused(const char *text, int want, const char *message)
{
    struct url before;
    memset(&before, 0x5a, sizeof(before));
    struct url u = before;
    struct errmsg msg = {""};
    int err = url_parse(&u, text, &msg);
    if (err != want)
        print_error("%s was judged %d\n", text, err);
    check_i64(err, want);
    check_text(msg.text, message);
    check_true(!memcmp(&u, &before, sizeof(u)));
    check_i64(url_parse(&u, text, NULL), want);
}

static void takes_the_four_schemes_and_their_ports(void **state)
{
    (void)state;
    check_url("http://h", URL_HTTP, "h", 80, "/");
    check_url("https://h", URL_HTTPS, "h", 443, "/");
    check_url("grpc://h", URL_GRPC, "h", 80, "/");
    check_url("grpcs://h", URL_GRPCS, "h", 443, "/");
    check_url("HttpS://h", URL_HTTPS, "h", 443, "/");

    struct url u;
    check_i64(url_parse(&u, "http://h", NULL), 0);
    check_false(u.is_tls);
    check_i64(url_parse(&u, "https://h", NULL), 0);
    check_true(u.is_tls);
    check_i64(url_parse(&u, "grpc://h", NULL), 0);
    check_false(u.is_tls);
    check_i64(url_parse(&u, "grpcs://h", NULL), 0);
    check_true(u.is_tls);
}

static void splits_host_port_and_path(void **state)
{
    (void)state;
    check_url("https://a-1.mesh.test:7443/probe?x=1&y=/", URL_HTTPS,
              "a-1.mesh.test", 7443, "/probe?x=1&y=/");
    check_url("http://h:1/", URL_HTTP, "h", 1, "/");
    check_url("http://h:65535", URL_HTTP, "h", 65535, "/");
    check_url("http://h?q", URL_HTTP, "h", 80, "/?q");
    check_url("http://h:8?", URL_HTTP, "h", 8, "/?");
    check_url("http://h//x/../%2e", URL_HTTP, "h", 80, "//x/../%2e");
    check_url("http://h/@:[]\\|", URL_HTTP, "h", 80, "/@:[]\\|");
    check_url("http://Host.Example.:80/P", URL_HTTP, "host.example", 80, "/P");
    check_url("http://1a.2b.3c9/", URL_HTTP, "1a.2b.3c9", 80, "/");
    check_url("http://10.0.0.7:81/", URL_HTTP, "10.0.0.7", 81, "/");
    check_url("http://[FE80::1]:81/", URL_HTTP, "fe80::1", 81, "/");
    check_url("http://[::ffff:1.2.3.4]", URL_HTTP, "::ffff:1.2.3.4", 80, "/");
    check_url("http://a--b.c", URL_HTTP, "a--b.c", 80, "/");
}

static void knows_literals_and_given_ports(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_literal, has_port;
    } cases[] = {
        {"http://1.2.3.4", true, false},  {"http://1.2.3.4:80", true, true},
        {"http://[::1]", true, false},    {"http://[::1]:80/", true, true},
        {"http://h.test/", false, false}, {"http://h.test:80/", false, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct url u;
        check_i64(url_parse(&u, cases[i].text, NULL), 0);
        check_u64(u.is_literal, cases[i].is_literal);
        check_u64(u.has_port, cases[i].has_port);
    }
}

static void refuses_and_says_what_and_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "no http://, https://, grpc:// or grpcs:// scheme at byte 1"},
        {"ftp://h", "no http://, https://, grpc:// or grpcs:// scheme at "
                    "byte 1"},
        {"http:/h", "no http://, https://, grpc:// or grpcs:// scheme at "
                    "byte 1"},
        {"h:80", "no http://, https://, grpc:// or grpcs:// scheme at byte 1"},
        {"http://", "malformed host at byte 8"},
        {"http:///x", "malformed host at byte 8"},
        {"http://:80", "malformed host at byte 8"},
        {"http://.", "malformed host at byte 8"},
        {"http://a..b", "malformed host at byte 8"},
        {"http://a..", "malformed host at byte 8"},
        {"http://.a", "malformed host at byte 8"},
        {"http://-a", "malformed host at byte 8"},
        {"http://a-", "malformed host at byte 8"},
        {"http://a.b-.c", "malformed host at byte 8"},
        {"http://a_b", "malformed host at byte 8"},
        {"http://a%41", "malformed host at byte 8"},
        {"http://a*", "malformed host at byte 8"},
        {"http://a,b", "malformed host at byte 8"},
        {"http://a\\b", "malformed host at byte 8"},
        {"http://u@h/", "user info at byte 8"},
        {"http://u:p@h/", "user info at byte 8"},
        {"http://h#f", "fragment at byte 9"},
        {"http://h/p#", "fragment at byte 11"},
        {"http://h/a b", "blank, control or non-ASCII byte at byte 11"},
        {" http://h", "blank, control or non-ASCII byte at byte 1"},
        {"http://h\n", "blank, control or non-ASCII byte at byte 9"},
        {"http://h/\x7f", "blank, control or non-ASCII byte at byte 10"},
        {"http://h\xc3\xa4", "blank, control or non-ASCII byte at byte 9"},
        {"http://h:", "malformed port at byte 10"},
        {"http://h:/", "malformed port at byte 10"},
        {"http://h:0", "malformed port at byte 10"},
        {"http://h:080", "malformed port at byte 10"},
        {"http://h:8a", "malformed port at byte 10"},
        {"http://h:+8", "malformed port at byte 10"},
        {"http://h:-1", "malformed port at byte 10"},
        {"http://h:65536", "port above 65535 at byte 10"},
        {"http://h:99999", "port above 65535 at byte 10"},
        {"http://h:100000", "malformed port at byte 10"},
        {"http://h:1:2", "malformed port at byte 10"},
        {"http://[::1", "bracket without its pair at byte 8"},
        {"http://[::1/]", "bracket without its pair at byte 8"},
        {"http://[]", "malformed host at byte 8"},
        {"http://[::1]x", "garbage after the host at byte 13"},
        {"http://[::1]]:80", "garbage after the host at byte 13"},
        {"http://[h]", "malformed host at byte 8"},
        {"http://[1.2.3.4]", "malformed host at byte 8"},
        {"http://[::1.]", "malformed host at byte 8"},
        {"http://[fe80::1%eth0]", "malformed host at byte 8"},
        {"http://[v1.x]", "malformed host at byte 8"},
        {"http://::1/", "malformed host at byte 8"},
        /* What inet_aton() or a browser would read as an address. */
        {"http://127.1", "malformed host at byte 8"},
        {"http://2130706433", "malformed host at byte 8"},
        {"http://0x7f000001", "malformed host at byte 8"},
        {"http://0X7F.0x1", "malformed host at byte 8"},
        {"http://a.0x", "malformed host at byte 8"},
        {"http://256.1.1.1", "malformed host at byte 8"},
        {"http://01.1.1.1", "malformed host at byte 8"},
        {"http://1.2.3.4.5", "malformed host at byte 8"},
        {"http://1.2.3.4.", "malformed host at byte 8"},
        {"http://h.test.1", "malformed host at byte 8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[ERRMSG_SIZE];
        snprintf(want, sizeof(want), "url: %s", cases[i].message);
        check_refused(cases[i].text, ERR_BAD, want);
    }
}

/* "aaa.aaa.": labels of `label` bytes, `len` in all. */
static void fill_name(char *at, size_t len, size_t label)
{
    for (size_t i = 0; i < len; i++)
        at[i] = i % (label + 1) == label ? '.' : 'a';
}

static void holds_each_limit_exactly(void **state)
{
    (void)state;
    char text[2048] = "http://";
    struct url u;

    fill_name(text + 7, 253, 63);
    text[7 + 253] = '\0';
    check_i64(url_parse(&u, text, NULL), 0);
    check_u64(strlen(u.host), 253);
    memcpy(text + 7 + 253, "./", 3); /* the final dot does not count */
    check_i64(url_parse(&u, text, NULL), 0);
    check_u64(strlen(u.host), 253);
    fill_name(text + 7, 254, 62);
    text[7 + 254] = '\0';
    check_refused(text, ERR_TOOBIG,
                  "url: host longer than 253 bytes at byte 8");

    fill_name(text + 7, 63, 63);
    text[7 + 63] = '\0';
    check_i64(url_parse(&u, text, NULL), 0);
    fill_name(text + 7, 64, 64);
    text[7 + 64] = '\0';
    check_refused(text, ERR_BAD, "url: malformed host at byte 8");

    memcpy(text + 7, "h/", 2);
    memset(text + 9, 'p', 1024);
    text[8 + 1024] = '\0';
    check_i64(url_parse(&u, text, NULL), 0);
    check_u64(strlen(u.path), 1024);
    memcpy(text + 8 + 1024, "p", 2);
    check_refused(text, ERR_TOOBIG,
                  "url: path longer than 1024 bytes at byte 9");

    text[8] = '?'; /* the slash that is put in front counts */
    text[8 + 1024] = '\0';
    check_refused(text, ERR_TOOBIG,
                  "url: path longer than 1024 bytes at byte 9");
    text[8 + 1023] = '\0';
    check_i64(url_parse(&u, text, NULL), 0);
    check_u64(strlen(u.path), 1024);
}

static void tells_hosts_from_other_text(void **state)
{
    (void)state;
    static const char *const good[] = {
        "h",       "H-1.test", "h.test.",
        "1.2.3.4", "::1",      "fe80::1",
        "1a",      "a.1b",     "xn--bcher-kva.example",
    };
    static const char *const bad[] = {
        "",        ".",    "[::1]",    "h:80", "1.2.3.4:80", "a_b", "-a",
        "a-.b",    "a b",  "127.1",    "0x1",  "1.",         "h/",  ":",
        "1::2::3", "a.12", "\xc3\xa4", "*.a",  "fe80::1%1",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        check_true(url_is_host(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_false(url_is_host(bad[i]));
}

static void authority_names_the_port_if_unusual(void **state)
{
    (void)state;
    static const struct {
        const char *text, *authority;
    } cases[] = {
        {"http://h", "h"},
        {"http://h:80/x", "h"},
        {"http://h:443", "h:443"},
        {"https://h:443", "h"},
        {"https://h:80", "h:80"},
        {"grpc://h:80", "h"},
        {"grpcs://h:443", "h"},
        {"grpcs://h:8443", "h:8443"},
        {"http://[::1]", "[::1]"},
        {"http://[::1]:8443", "[::1]:8443"},
        {"http://1.2.3.4:81", "1.2.3.4:81"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct url u;
        char text[URL_AUTHORITY_SIZE];
        check_i64(url_parse(&u, cases[i].text, NULL), 0);
        url_authority(&u, text);
        check_text(text, cases[i].authority);
    }
}

static void longest_authority_fits(void **state)
{
    (void)state;
    char text[300] = "http://";
    char authority[URL_AUTHORITY_SIZE];
    struct url u;
    fill_name(text + 7, 253, 63);
    memcpy(text + 7 + 253, ":65535", 7);
    check_i64(url_parse(&u, text, NULL), 0);
    url_authority(&u, authority);
    check_text(authority, text + 7);
}

/* Each byte at each place of a good URL is judged by what the place is. */
static void every_byte_in_a_label_is_judged(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char text[] = "http://a?b.test/";
        text[8] = (char)c;
        struct url u;
        bool is_ldh = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                      (c >= 'A' && c <= 'Z') || c == '-' || c == '.';
        bool ends_host = c == '/' || c == '?'; /* "http://a/b.test/" */
        check_u64(!url_parse(&u, text, NULL), is_ldh || ends_host);

        char path[] = "http://h/?";
        path[9] = (char)c;
        check_u64(!url_parse(&u, path, NULL), c > 0x20 && c < 0x7f && c != '#');
    }
}

/* Whatever is accepted obeys the header, and its parts make a URL that parses
 * to the same parts. */
static void what_is_accepted_is_canonical(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "http://host.example:8080/path?query",
        "https://[2001:db8::1]:443/",
        "grpc://10.1.2.3:50051",
        "grpcs://a-1.mesh.test./x",
        "http://h?x=1",
    };
    static const char alphabet[] = "aZ09-.:/?@[]#%_ \\x";
    static const char *const names[] = {"http", "https", "grpc", "grpcs"};
    struct rng rng;
    unsigned accepted = 0;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 100000; round++) {
        char text[64];
        snprintf(text, sizeof(text), "%s", seeds[rng_below(&rng, 5)]);
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
            char c = alphabet[rng_below(&rng, sizeof(alphabet))];
            text[rng_below(&rng, strlen(text) + 1)] = c;
            text[sizeof(text) - 1] = '\0';
        }
        struct url u;
        struct errmsg msg = {""};
        int err = url_parse(&u, text, &msg);
        check_true(!err == !msg.text[0]);
        if (err)
            continue;
        accepted++;
        check_true(url_is_host(u.host));
        check_true(u.port > 0);
        check_true(u.path[0] == '/');

        char authority[URL_AUTHORITY_SIZE];
        char again[2048];
        struct url v;
        url_authority(&u, authority);
        snprintf(again, sizeof(again), "%s://%s%s", names[u.scheme], authority,
                 u.path);
        check_i64(url_parse(&v, again, NULL), 0);
        check_text(v.host, u.host);
        check_text(v.path, u.path);
        check_u64(v.port, u.port);
        check_u64(v.is_literal, u.is_literal);
        check_u64(v.is_tls, u.is_tls);
    }
    check_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_four_schemes_and_their_ports),
        cmocka_unit_test(splits_host_port_and_path),
        cmocka_unit_test(knows_literals_and_given_ports),
        cmocka_unit_test(refuses_and_says_what_and_where),
        cmocka_unit_test(holds_each_limit_exactly),
        cmocka_unit_test(tells_hosts_from_other_text),
        cmocka_unit_test(authority_names_the_port_if_unusual),
        cmocka_unit_test(longest_authority_fits),
        cmocka_unit_test(every_byte_in_a_label_is_judged),
        cmocka_unit_test(what_is_accepted_is_canonical),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
