/* What we write, what it looks like, and what hostile tags become. */
#include "mesh/facts.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/outcome.h"
#include "proto/serf_msg.h"
#include "test/check.h"

#define BOTH (1u << PROTOCOL_HTTP1 | 1u << PROTOCOL_GRPC)
/* Of a literal, which may hold zeros. */
#define BYTES(text) span_of((text), sizeof(text) - 1)

static struct facts sample(void)
{
    struct facts f = {
        .is_ours = true,
        .can_probe = true,
        .version = "0.3.0",
        .zone = "eu-1a",
        .region = "eu-1",
        .host = "a.example",
        .port = 8443,
        .protocols = BOTH,
        .tls = FACTS_TLS_PIN,
    };
    for (unsigned i = 0; i < 32; i++)
        f.fingerprint[i] = (uint8_t)(i * 9);
    return f;
}

static void check_same(const struct facts *a, const struct facts *b)
{
    check_u64(a->is_ours, b->is_ours);
    check_u64(a->can_probe, b->can_probe);
    check_text(a->version, b->version);
    check_text(a->zone, b->zone);
    check_text(a->region, b->region);
    check_text(a->host, b->host);
    check_u64(a->port, b->port);
    check_u64(a->protocols, b->protocols);
    check_u64(a->tls, b->tls);
    assert_memory_equal(a->fingerprint, b->fingerprint, 32);
}

static void writes_sorted_tags(void **state)
{
    (void)state;
    struct facts f = sample();
    uint8_t meta[ML_META_MAX];
    int len = facts_encode(&f, meta);
    static const char want[] =
        "\xff\x87"
        "\xa4host\xa9"
        "a.example"
        "\xa4port\xa4"
        "8443"
        "\xa6prober\xa5"
        "0.3.0"
        "\xa6protos\xaahttp1,grpc"
        "\xa6region\xa4"
        "eu-1"
        "\xa3tls\xda\x00\x47sha256:"
        "0009121b242d363f48515a636c757e879099a2abb4bdc6cfd8e1eaf3fc050e17"
        "\xa4zone\xa5"
        "eu-1a";
    check_i64(len, sizeof(want) - 1);
    assert_memory_equal(meta, want, sizeof(want) - 1);
}

static void leaves_out_what_is_empty_but_for_the_mark(void **state)
{
    (void)state;
    struct facts f = {.tls = FACTS_TLS_OFF};
    uint8_t meta[ML_META_MAX];
    int len = facts_encode(&f, meta);
    struct span want = BYTES("\xff\x82\xa6prober\xa0\xa3tls\xa3"
                             "off");
    check_u64(len, want.len);
    assert_memory_equal(meta, want.data, want.len);

    struct facts got;
    facts_decode(want, &got);
    check_true(got.is_ours);
    check_false(got.can_probe);
    check_text(got.zone, "");
}

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    uint8_t meta[ML_META_MAX];
    struct facts got;
    struct facts f = sample();
    int len = facts_encode(&f, meta);
    facts_decode(span_of(meta, (size_t)len), &got);
    check_same(&got, &f);

    f.tls = FACTS_TLS_CA;
    memset(f.fingerprint, 0, 32);
    f.host[0] = '\0';
    f.protocols = 1u << PROTOCOL_GRPC;
    len = facts_encode(&f, meta);
    facts_decode(span_of(meta, (size_t)len), &got);
    check_same(&got, &f);
}

static void says_when_meta_is_too_small(void **state)
{
    (void)state;
    struct facts f = sample();
    uint8_t meta[ML_META_MAX];
    memset(f.zone, 'z', FACTS_NAME_MAX);
    memset(f.region, 'r', FACTS_NAME_MAX);
    int fits = facts_encode(&f, meta);
    check_true(fits > 0);
    /* longer by one at a time until it does not fit */
    size_t room = ML_META_MAX - (size_t)fits;
    size_t len = strlen(f.host);
    memset(f.host, 'h', len + room - 2); /* the head grows by two at 32 */
    check_i64(facts_encode(&f, meta), ML_META_MAX);
    memset(f.host, 'h', len + room - 1);
    check_i64(facts_encode(&f, meta), ERR_TOOBIG);
}

/* --- reading ------------------------------------------------------------ */

/* One tag replaced in (or added to) meta that is otherwise good. */
static struct facts with(const char *key, const char *value, size_t len)
{
    struct serf_tag tags[8] = {
        {span_of_text("host"), span_of_text("a.example")},
        {span_of_text("port"), span_of_text("80")},
        {span_of_text("prober"), span_of_text("1")},
        {span_of_text("protos"), span_of_text("http1")},
        {span_of_text("region"), span_of_text("r")},
        {span_of_text("tls"), span_of_text("off")},
        {span_of_text("zone"), span_of_text("z")},
    };
    size_t i = 0;
    while (i < 7 && !span_is(tags[i].key, key))
        i++;
    tags[i] = (struct serf_tag){span_of_text(key), span_of(value, len)};

    uint8_t meta[2048];
    struct wr w;
    wr_init_fixed(&w, meta, sizeof(meta));
    serf_tags_write(&w, tags, i < 7 ? 7 : 8);
    check_i64(wr_err(&w), 0);
    struct facts f;
    memset(&f, 0xee, sizeof(f));
    facts_decode(span_of(meta, w.len), &f);
    check_true(facts_is_ours(span_of(meta, w.len)));
    check_true(f.is_ours);
    return f;
}

static struct facts with_text(const char *key, const char *value)
{
    return with(key, value, strlen(value));
}

static void ignores_tags_it_does_not_know(void **state)
{
    (void)state;
    struct facts f = with_text("role", "web");
    check_true(f.can_probe);
    check_text(f.version, "1");
    check_text(f.zone, "z");
    check_text(f.region, "r");
    check_text(f.host, "a.example");
    check_u64(f.port, 80);
    check_u64(f.protocols, 1u << PROTOCOL_HTTP1);
    check_u64(f.tls, FACTS_TLS_OFF);
}

static void probes_only_ports_that_are_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned port;
    } cases[] = {
        {"1", 1},          {"65535", 65535}, {"0", 0},    {"", 0},
        {"65536", 0},      {"99999", 0},     {"080", 0},  {"00080", 0},
        {"100000", 0},     {"-1", 0},        {"+80", 0},  {" 80", 0},
        {"80 ", 0},        {"8o", 0},        {"0x50", 0}, {"http", 0},
        {"4294967376", 0}, {"80\n", 0},      {"8/", 0},   {"8:", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct facts f = with_text("port", cases[i].text);
        check_u64(f.port, cases[i].port);
        check_u64(f.can_probe, cases[i].port > 0);
    }
    check_u64(with("port", "80\0", 3).port, 0);
}

static void probes_only_hosts_that_are_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_good;
    } cases[] = {
        {"", true},
        {"b", true},
        {"A.Example", true},
        {"10.0.0.1", true},
        {"fd00::1", true},
        {"a_b", false},
        {"a b", false},
        {"-a", false},
        {"a/b", false},
        {"a:80", false},
        {"[::1]", false},
        {"127.1", false},
        {"0x7f000001", false},
        {"user@a", false},
        {"a\r\nX: y", false},
        {"\xc3\xa4", false},
        {"..", false},
        {"1.2.3.4.5", false},
        {"%41", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct facts f = with_text("host", cases[i].text);
        check_u64(f.can_probe, cases[i].is_good);
        check_text(f.host, cases[i].is_good ? cases[i].text : "");
    }
    check_false(with("host", "a\0b", 3).can_probe);
    check_false(with("host", "a\0", 2).can_probe);
    check_text(with("host", "a\0", 2).host, "");

    char host[300];
    memset(host, 'a', sizeof(host));
    for (size_t i = 63; i < sizeof(host); i += 64)
        host[i] = '.';
    check_true(with("host", host, 253).can_probe);
    check_false(with("host", host, 254).can_probe);
    check_false(with("host", host, 300).can_probe);
}

static void makes_odd_names_unknown(void **state)
{
    (void)state;
    static const char *const keys[] = {"zone", "region", "prober"};
    for (size_t k = 0; k < 3; k++) {
        for (unsigned c = 0; c < 256; c++) {
            char value[3] = {'a', (char)c, 'b'};
            struct facts f = with(keys[k], value, 3);
            const char *got = k == 0 ? f.zone : k == 1 ? f.region : f.version;
            bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') ||
                           (c && strchr("._-", (int)c) != NULL);
            char same[4] = {'a', (char)c, 'b', 0};
            check_text(got, is_good ? same : "unknown");
            check_true(f.can_probe);
        }
        check_text(with_text("zone", "").zone, "");
        check_text(with_text("region", "").region, "");
        check_text(with_text("prober", "").version, "");
    }
    char name[200];
    memset(name, 'n', sizeof(name));
    check_u64(strlen(with("zone", name, FACTS_NAME_MAX).zone), FACTS_NAME_MAX);
    check_text(with("zone", name, FACTS_NAME_MAX + 1).zone, "unknown");
    check_u64(strlen(with("region", name, FACTS_NAME_MAX).region),
              FACTS_NAME_MAX);
    check_text(with("region", name, FACTS_NAME_MAX + 1).region, "unknown");
    check_u64(strlen(with("prober", name, FACTS_VERSION_MAX).version),
              FACTS_VERSION_MAX);
    check_text(with("prober", name, FACTS_VERSION_MAX + 1).version, "unknown");
}

static void takes_the_protocols_it_knows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned protocols;
    } cases[] = {
        {"http1", 1u << PROTOCOL_HTTP1},
        {"grpc", 1u << PROTOCOL_GRPC},
        {"grpc,http1", BOTH},
        {"http1,grpc", BOTH},
        {"http1,http1", 1u << PROTOCOL_HTTP1},
        {"http3,grpc,quic", 1u << PROTOCOL_GRPC},
        {",,grpc,", 1u << PROTOCOL_GRPC},
        {"", 0},
        {",", 0},
        {"http", 0},
        {"http11", 0},
        {"HTTP1", 0},
        {"http1 grpc", 0},
        {" grpc", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct facts f = with_text("protos", cases[i].text);
        check_u64(f.protocols, cases[i].protocols);
        check_u64(f.can_probe, cases[i].protocols != 0);
    }
}

#define HEX62 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"

static void probes_only_with_a_way_of_tls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int tls; /* -1: none */
    } cases[] = {
        {"off", FACTS_TLS_OFF},
        {"ca", FACTS_TLS_CA},
        {"sha256:" HEX62 "f0", FACTS_TLS_PIN},
        {"", -1},
        {"OFF", -1},
        {"off ", -1},
        {"of", -1},
        {"on", -1},
        {"cab", -1},
        {"sha256", -1},
        {"sha256:", -1},
        {"sha256:" HEX62, -1},
        {"sha256:" HEX62 "f", -1},
        {"sha256:" HEX62 "f00", -1},
        {"sha256:" HEX62 "fg", -1},
        {"sha256:" HEX62 "g0", -1},
        {"sha256:" HEX62 "f`", -1},
        {"sha256:" HEX62 "/0", -1},
        {"sha256:" HEX62 ":0", -1},
        {"sha256:" HEX62 "F0", -1},
        {"sha512:" HEX62 "f0", -1},
        {"SHA256:" HEX62 "f0", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct facts f = with_text("tls", cases[i].text);
        check_u64(f.can_probe, cases[i].tls >= 0);
        if (cases[i].tls >= 0)
            check_u64(f.tls, cases[i].tls);
        uint8_t sum = 0;
        for (size_t k = 0; k < 32; k++)
            sum |= f.fingerprint[k];
        check_u64(sum != 0, cases[i].tls == FACTS_TLS_PIN);
        if (cases[i].tls == FACTS_TLS_PIN) {
            check_u64(f.fingerprint[1], 0x11);
            check_u64(f.fingerprint[30], 0xee);
            check_u64(f.fingerprint[31], 0xf0);
        }
    }
}

static void is_not_ours_without_the_mark(void **state)
{
    (void)state;
    static const struct {
        struct span meta;
        bool is_ours;
    } cases[] = {
        {{(const uint8_t *)"", 0}, false},
        {{NULL, 0}, false},
        {{(const uint8_t *)"\xff", 1}, false},
        {{(const uint8_t *)"\xff\x80", 2}, false},
        {{(const uint8_t *)"\xff\xc0", 2}, false},
        {{(const uint8_t *)"\xff\xc1", 2}, false},
        {{(const uint8_t *)"prober", 6}, false},
        {{(const uint8_t *)"\xff\x81\xa4role\xa6prober", 14}, false},
        {{(const uint8_t *)"\xff\x81\xa6prober", 9}, false},
        {{(const uint8_t *)"\xff\x81\xa6prober\x01", 10}, false},
        {{(const uint8_t *)"\xff\x81\xa6Prober\xa0", 10}, false},
        {{(const uint8_t *)"\xff\x81\xa6prober\xa0", 10}, true},
        {{(const uint8_t *)"\xff\x81\xa6prober\xc0", 10}, true},
        {{(const uint8_t *)"\xff\x82\xa6prober\xa0\x01\xa0", 12}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct facts f;
        struct facts none = {0};
        memset(&f, 0xee, sizeof(f));
        facts_decode(cases[i].meta, &f);
        check_u64(f.is_ours, cases[i].is_ours);
        check_u64(facts_is_ours(cases[i].meta), cases[i].is_ours);
        none.is_ours = cases[i].is_ours;
        check_same(&f, &none);
    }
}

static void reads_nil_as_empty(void **state)
{
    (void)state;
    struct facts f;
    struct facts none = {.is_ours = true};
    struct span meta = BYTES("\xff\x87\xa4host\xc0\xa4port\xc0\xa6prober\xc0"
                             "\xa6protos\xc0\xa6region\xc0\xa3tls\xc0\xa4zone"
                             "\xc0");
    facts_decode(meta, &f);
    check_same(&f, &none);
}

static void survives_cuts_and_flipped_bits(void **state)
{
    (void)state;
    struct facts f = sample();
    uint8_t meta[ML_META_MAX];
    size_t len = (size_t)facts_encode(&f, meta);
    for (size_t cut = 0; cut < len; cut++) {
        struct facts got;
        facts_decode(span_of(meta, cut), &got);
        check_false(got.is_ours);
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct facts got;
        meta[bit / 8] ^= (uint8_t)(1u << bit % 8);
        facts_decode(span_of(meta, len), &got);
        check_u64(got.is_ours, facts_is_ours(span_of(meta, len)));
        check_true(strlen(got.host) <= URL_HOST_MAX);
        check_true(!got.can_probe || (got.is_ours && got.port));
        meta[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void reads_back_random_facts(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 20000; i++) {
        struct facts f = {.is_ours = true, .can_probe = true};
        struct facts got;
        uint8_t meta[ML_META_MAX];
        static const char letters[] = "abzAZ019._-";
        char *names[] = {f.zone, f.region, f.version};
        for (size_t k = 0; k < 3; k++) {
            size_t len = rng_below(&rng, k == 2 ? 33 : 80);
            for (size_t c = 0; c < len; c++)
                names[k][c] = letters[rng_below(&rng, sizeof(letters) - 1)];
        }
        f.port = (uint16_t)(1 + rng_below(&rng, 65535));
        f.protocols = 1 + (unsigned)rng_below(&rng, BOTH);
        f.tls = (uint8_t)rng_below(&rng, 3);
        if (rng_below(&rng, 2))
            memcpy(f.host, "fd00::1", sizeof("fd00::1"));
        for (size_t k = 0; k < 32 && f.tls == FACTS_TLS_PIN; k++)
            f.fingerprint[k] = (uint8_t)rng_next(&rng);
        int len = facts_encode(&f, meta);
        check_true(len > 0);
        facts_decode(span_of(meta, (size_t)len), &got);
        check_same(&got, &f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_sorted_tags),
        cmocka_unit_test(leaves_out_what_is_empty_but_for_the_mark),
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(says_when_meta_is_too_small),
        cmocka_unit_test(ignores_tags_it_does_not_know),
        cmocka_unit_test(probes_only_ports_that_are_numbers),
        cmocka_unit_test(probes_only_hosts_that_are_hosts),
        cmocka_unit_test(makes_odd_names_unknown),
        cmocka_unit_test(takes_the_protocols_it_knows),
        cmocka_unit_test(probes_only_with_a_way_of_tls),
        cmocka_unit_test(is_not_ours_without_the_mark),
        cmocka_unit_test(reads_nil_as_empty),
        cmocka_unit_test(survives_cuts_and_flipped_bits),
        cmocka_unit_test(reads_back_random_facts),
    };
    return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
