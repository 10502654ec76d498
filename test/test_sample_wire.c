/* Samples as bytes: what they look like, what comes back, what is refused. */
#include "prober/sample_wire.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define NEW_YEAR_NS UINT64_C(1767225600000000000)

static const struct sample_names all_names = {
    .target = "https://host:7443/probe",
    .from_node = "a-1",
    .from_zone = "a",
    .to_node = "b-1",
    .to_zone = "b",
};

static void fill(struct sample *s)
{
    sample_init(s);
    s->protocol = PROTOCOL_GRPC;
    s->mode = MODE_WARM;
    s->clock = STAMP_KERNEL;
    s->is_reconnected = true;
    s->phases_ns[PHASE_DNS] = 812345;
    s->phases_ns[PHASE_CONNECT] = 401200;
    s->phases_ns[PHASE_TLS] = 930100;
    s->phases_ns[PHASE_TTFB] = 420000;
    s->phases_ns[PHASE_TRANSFER] = 0;
    s->phases_ns[PHASE_LOCAL] = 310000;
    s->total_ns = 2873645;
    s->server_ns = 52000;
    s->lag_ns = 11000;
    s->start_lag_ns = 9000;
    s->started_unix_ns = NEW_YEAR_NS;
    check_i64(addr_parse(&s->peer, "10.0.0.7:7443"), 0);
    check_i64(addr_parse(&s->local, "[fd00::5]:40312"), 0);
    s->rtt_ns = 400000;
    s->retransmits = 3;
    s->http_status = 200;
    s->http_minor = 1;
    s->grpc_status = 0;
    s->grpc_serving = 1;
    strcpy(s->tls_version, "TLSv1.3");
    strcpy(s->tls_cipher, "TLS_AES_128_GCM_SHA256");
    strcpy(s->tls_alpn, "h2");
    s->tls_not_after_unix_s = 1767225600;
    s->tls_cpu_ns = 250000;
}

static size_t encode(const struct sample *s, const struct sample_names *n,
                     uint8_t out[SAMPLE_WIRE_MAX])
{
    struct wr w;
    wr_init_fixed(&w, out, SAMPLE_WIRE_MAX);
    sample_wire_write(s, n, &w);
    check_i64(wr_err(&w), 0);
    return w.len;
}

static int decode(const void *bytes, size_t len, struct sample *s,
                  struct sample_names *n, struct sample_texts *t)
{
    struct rd r;
    rd_init(&r, bytes, len);
    int rc = sample_wire_read(&r, s, n, t);
    check_i64(rd_err(&r), rc);
    return rc ? rc : rd_end(&r);
}

static void same_text(const char *a, const char *b)
{
    check_u64(a == NULL, b == NULL);
    if (a)
        check_text(a, b);
}

static void same_addr(const struct addr *a, const struct addr *b)
{
    check_u64(a->family, b->family);
    check_u64(a->port, b->port);
    check_true(!memcmp(a->ip, b->ip, sizeof(a->ip)));
}

static void same(const struct sample *a, const struct sample *b)
{
    check_u64(a->protocol, b->protocol);
    check_u64(a->mode, b->mode);
    check_u64(a->outcome, b->outcome);
    check_i64(a->failed_phase, b->failed_phase);
    check_u64(a->clock, b->clock);
    check_u64(a->is_reconnected, b->is_reconnected);
    for (unsigned p = 0; p < PHASE_N; p++)
        check_i64(a->phases_ns[p], b->phases_ns[p]);
    check_i64(a->total_ns, b->total_ns);
    check_i64(a->server_ns, b->server_ns);
    check_i64(a->lag_ns, b->lag_ns);
    check_i64(a->start_lag_ns, b->start_lag_ns);
    check_u64(a->started_unix_ns, b->started_unix_ns);
    same_addr(&a->peer, &b->peer);
    same_addr(&a->local, &b->local);
    check_i64(a->rtt_ns, b->rtt_ns);
    check_i64(a->retransmits, b->retransmits);
    check_i64(a->http_status, b->http_status);
    check_u64(a->http_minor, b->http_minor);
    check_i64(a->grpc_status, b->grpc_status);
    check_i64(a->grpc_serving, b->grpc_serving);
    check_text(a->tls_version, b->tls_version);
    check_text(a->tls_cipher, b->tls_cipher);
    check_text(a->tls_alpn, b->tls_alpn);
    check_i64(a->tls_not_after_unix_s, b->tls_not_after_unix_s);
    check_i64(a->tls_cpu_ns, b->tls_cpu_ns);
    check_text(a->error, b->error);
}

static void same_names(const struct sample_names *a,
                       const struct sample_names *b)
{
    same_text(a->target, b->target);
    same_text(a->from_node, b->from_node);
    same_text(a->from_zone, b->from_zone);
    same_text(a->to_node, b->to_node);
    same_text(a->to_zone, b->to_zone);
}

/* Through bytes and back. */
static void round_trip(const struct sample *s, const struct sample_names *n)
{
    uint8_t bytes[SAMPLE_WIRE_MAX], again[SAMPLE_WIRE_MAX];
    struct sample got;
    struct sample_names names;
    struct sample_texts texts;
    size_t len = encode(s, n, bytes);
    check_i64(decode(bytes, len, &got, &names, &texts), 0);
    sample_check(&got);
    same(&got, s);
    same_names(&names, n);
    check_u64(encode(&got, &names, again), len);
    check_true(!memcmp(bytes, again, len));
}

/* ---- cases ---- */

static void an_empty_sample_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        1, 0,   0,   0,   OUTCOME_EOF, 0, 1,    /* failed phase: absent */
        1, 1,   1,   1,   1,           1, 1,    /* phases, total */
        1, 1,   1,   1,   1,           0,       /* server .. cpu, started_at */
        0, 0,   1,   1,   0,           1, 1, 0, /* no addresses .. not after */
        0, 0,   0,                              /* tls */
        3, 'e', 'o', 'f',
    };
    const struct sample_names none = {.target = NULL};
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s;
    sample_init(&s);
    s.outcome = OUTCOME_EOF;
    strcpy(s.error, "eof");
    check_u64(encode(&s, &none, bytes), sizeof(want));
    check_true(!memcmp(bytes, want, sizeof(want)));
    round_trip(&s, &none);
}

static void a_full_sample_comes_back(void **state)
{
    (void)state;
    struct sample s;
    fill(&s);
    round_trip(&s, &all_names);
}

static void target_and_job_stay_at_home(void **state)
{
    (void)state;
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    fill(&s);
    s.target = 7;
    s.target_gen = 8;
    s.job = 9;
    size_t len = encode(&s, &all_names, bytes);
    check_i64(decode(bytes, len, &got, &names, &texts), 0);
    check_u64(got.target, SAMPLE_TARGET_NONE);
    check_u64(got.target_gen, 0);
    check_u64(got.job, 0);
}

static void each_name_may_be_absent(void **state)
{
    (void)state;
    struct sample s;
    fill(&s);
    for (unsigned bits = 0; bits < 32; bits++) {
        struct sample_names n = {
            .target = bits & 1 ? "http://h/" : NULL,
            .from_node = bits & 2 ? "n" : NULL,
            .from_zone = bits & 4 ? "" : NULL,
            .to_node = bits & 8 ? "m" : NULL,
            .to_zone = bits & 16 ? "z" : NULL,
        };
        round_trip(&s, &n);
    }
}

static void the_longest_one_fits(void **state)
{
    (void)state;
    char target[SAMPLE_TARGET_SIZE], name[SAMPLE_NAME_SIZE];
    struct sample_names n = {target, name, name, name, name};
    struct sample s;
    memset(target, 't', sizeof(target));
    target[sizeof(target) - 1] = '\0';
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    fill(&s);
    s.outcome = OUTCOME_HTTP_STATUS;
    s.failed_phase = PHASE_TRANSFER;
    s.total_ns = SAMPLE_ABSENT;
    for (unsigned p = 0; p < PHASE_N; p++)
        s.phases_ns[p] = SAMPLE_NS_MAX;
    s.server_ns = s.lag_ns = s.start_lag_ns = SAMPLE_NS_MAX;
    s.rtt_ns = s.tls_cpu_ns = SAMPLE_NS_MAX;
    s.started_unix_ns = UINT64_MAX;
    s.retransmits = INT32_MAX;
    s.tls_not_after_unix_s = INT64_C(1) << 53;
    memset(s.error, 'e', sizeof(s.error) - 1);
    memset(s.tls_cipher, 'c', sizeof(s.tls_cipher) - 1);
    memset(s.tls_alpn, 'a', sizeof(s.tls_alpn) - 1);
    check_i64(addr_parse(&s.peer, "[fd00::5]:40312"), 0);
    round_trip(&s, &n);
}

static void names_that_are_too_long_are_cut(void **state)
{
    (void)state;
    static char target[3000], name[300];
    const struct sample_names n = {target, name, name, name, name};
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    memset(target, 't', sizeof(target) - 1);
    memset(name, 'n', sizeof(name) - 1);
    fill(&s);
    size_t len = encode(&s, &n, bytes);
    check_i64(decode(bytes, len, &got, &names, &texts), 0);
    check_u64(strlen(names.target), SAMPLE_TARGET_SIZE - 1);
    check_u64(strlen(names.to_zone), SAMPLE_NAME_SIZE - 1);
}

static void texts_become_printable(void **state)
{
    (void)state;
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    const struct sample_names n = {.target = "http://h/\n\x1b[2J\x7f\xc3\xa9~ ",
                                   .to_zone = "<\x80>"};
    fill(&s);
    s.outcome = OUTCOME_RESET;
    s.total_ns = SAMPLE_ABSENT;
    strcpy(s.error, "a\tb");
    size_t len = encode(&s, &n, bytes);
    check_i64(decode(bytes, len, &got, &names, &texts), 0);
    check_text(names.target, "http://h/??[2J???~ ");
    check_text(names.to_zone, "<?>");
    check_text(got.error, "a?b");
}

/* ---- lies ---- */

/* What the decoder says of this sample, which no honest node sends. */
static int verdict_on(const struct sample *s)
{
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample got;
    struct sample_names names;
    struct sample_texts texts;
    return decode(bytes, encode(s, &all_names, bytes), &got, &names, &texts);
}

#define REFUSES(change)                     \
    do {                                    \
        struct sample s;                    \
        fill(&s);                           \
        change;                             \
        check_i64(verdict_on(&s), ERR_BAD); \
    } while (0)

static void lies_are_refused(void **state)
{
    (void)state;
    REFUSES(s.protocol = PROTOCOL_N);
    REFUSES(s.mode = MODE_N);
    REFUSES(s.outcome = OUTCOME_N);
    REFUSES(s.clock = STAMP_KERNEL + 1);
    REFUSES(s.failed_phase = PHASE_N);
    REFUSES(s.failed_phase = -2);
    REFUSES(s.server_ns = -2);
    REFUSES(s.lag_ns = INT64_MIN);
    REFUSES(s.start_lag_ns = SAMPLE_NS_MAX + 1);
    REFUSES(s.rtt_ns = INT64_MAX);
    REFUSES(s.tls_cpu_ns = -2);
    REFUSES(s.retransmits = -2);
    REFUSES(s.http_status = 1000);
    REFUSES(s.http_status = -2);
    REFUSES(s.http_minor = 10);
    REFUSES(s.grpc_status = -2);
    REFUSES(s.grpc_serving = -2);
    REFUSES(s.tls_not_after_unix_s = INT64_MAX);
    REFUSES(s.tls_not_after_unix_s = INT64_MIN);
    REFUSES(s.peer.family = 5);
    REFUSES(s.local.family = 255);
}

static void sums_that_do_not_add_up_are_refused(void **state)
{
    (void)state;
    REFUSES(s.total_ns++);
    REFUSES(s.total_ns = SAMPLE_ABSENT);
    REFUSES(s.phases_ns[PHASE_DNS] = SAMPLE_ABSENT);
    REFUSES(s.phases_ns[PHASE_LOCAL] = SAMPLE_ABSENT; s.total_ns -= 310000);
    REFUSES(s.failed_phase = PHASE_DNS);
    REFUSES(strcpy(s.error, "but"));
    REFUSES(s.outcome = OUTCOME_RESET); /* with a total */
    REFUSES(for (unsigned p = 0; p < PHASE_N; p++) s.phases_ns[p] = INT64_MAX);
    /* The largest sum that there can be is one. */
    struct sample s;
    fill(&s);
    for (unsigned p = 0; p < PHASE_N; p++)
        s.phases_ns[p] = SAMPLE_NS_MAX;
    s.total_ns = PHASE_N * SAMPLE_NS_MAX;
    check_i64(verdict_on(&s), 0);
}

static void other_versions_and_bits_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    fill(&s);
    size_t len = encode(&s, &all_names, bytes);
    bytes[0]++;
    check_i64(decode(bytes, len, &got, &names, &texts), ERR_BAD);
    bytes[0]--;
    for (unsigned bit = 64; bit < 256; bit *= 2) {
        bytes[1] ^= (uint8_t)bit;
        check_i64(decode(bytes, len, &got, &names, &texts), ERR_BAD);
        bytes[1] ^= (uint8_t)bit;
    }
    check_i64(decode(bytes, len, &got, &names, &texts), 0);
}

/* The text that is last in an encoded sample without names is the error. */
static void texts_longer_than_their_arrays_are_refused(void **state)
{
    (void)state;
    const struct sample_names none = {.target = NULL};
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    sample_init(&s);
    s.outcome = OUTCOME_EOF;
    size_t len = encode(&s, &none, bytes);
    memset(bytes + len, 'x', sizeof(bytes) - len);
    bytes[len - 1] = SAMPLE_ERROR_SIZE - 1;
    check_i64(decode(bytes, len + SAMPLE_ERROR_SIZE - 1, &got, &names, &texts),
              0);
    bytes[len - 1] = SAMPLE_ERROR_SIZE;
    check_i64(decode(bytes, len + SAMPLE_ERROR_SIZE, &got, &names, &texts),
              ERR_TOOBIG);
    bytes[1] = 32; /* a zone of the other end */
    bytes[len - 1] = 0;
    bytes[len] = SAMPLE_NAME_SIZE - 1;
    check_i64(decode(bytes, len + SAMPLE_NAME_SIZE, &got, &names, &texts), 0);
    bytes[len] = SAMPLE_NAME_SIZE;
    check_i64(decode(bytes, len + 1 + SAMPLE_NAME_SIZE, &got, &names, &texts),
              ERR_TOOBIG);
    bytes[1] = 2; /* a target */
    bytes[len] = SAMPLE_TARGET_SIZE >> 8;
    bytes[len + 1] = (uint8_t)(SAMPLE_TARGET_SIZE & 0xff);
    check_i64(decode(bytes, sizeof(bytes), &got, &names, &texts), ERR_TOOBIG);
}

/* ---- properties ---- */

static int64_t maybe_ns(struct rng *rng)
{
    unsigned bits = (unsigned)rng_below(rng, 54);
    return rng_below(rng, 3) ? (int64_t)rng_below(rng, UINT64_C(1) << bits)
                             : SAMPLE_ABSENT;
}

static void random_text(struct rng *rng, char *out, size_t size)
{
    size_t len = rng_below(rng, size);
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(0x20 + rng_below(rng, 0x5f));
    out[len] = '\0';
}

static void random_addr(struct rng *rng, struct addr *a)
{
    static const uint8_t families[] = {ADDR_NONE, ADDR_V4, ADDR_V6};
    *a = (struct addr){.family = families[rng_below(rng, 3)]};
    size_t len = a->family == ADDR_V4 ? 4 : a->family == ADDR_V6 ? 16 : 0;
    for (size_t i = 0; i < len; i++)
        a->ip[i] = (uint8_t)rng_next(rng);
    a->port = len ? (uint16_t)rng_next(rng) : 0;
}

static void random_sample(struct rng *rng, struct sample *s)
{
    sample_init(s);
    s->protocol = (uint8_t)rng_below(rng, PROTOCOL_N);
    s->mode = (uint8_t)rng_below(rng, MODE_N);
    s->outcome = rng_below(rng, 2) ? (uint8_t)rng_below(rng, OUTCOME_N) : 0;
    s->clock = (uint8_t)rng_below(rng, 3);
    s->is_reconnected = rng_below(rng, 2);
    for (unsigned p = 0; p < PHASE_N; p++)
        s->phases_ns[p] = maybe_ns(rng);
    if (s->outcome == OUTCOME_OK) {
        s->phases_ns[PHASE_LOCAL] = (int64_t)rng_below(rng, 1000000);
        s->total_ns = sample_sum_ns(s);
    } else {
        s->failed_phase = (int8_t)((int)rng_below(rng, PHASE_N + 1) - 1);
        random_text(rng, s->error, sizeof(s->error));
    }
    s->server_ns = maybe_ns(rng);
    s->lag_ns = maybe_ns(rng);
    s->start_lag_ns = maybe_ns(rng);
    s->rtt_ns = maybe_ns(rng);
    s->tls_cpu_ns = maybe_ns(rng);
    s->started_unix_ns = rng_next(rng);
    random_addr(rng, &s->peer);
    random_addr(rng, &s->local);
    s->retransmits = (int32_t)rng_below(rng, 100) - 1;
    s->http_status = (int16_t)((int)rng_below(rng, 1001) - 1);
    s->http_minor = (uint8_t)rng_below(rng, 10);
    s->grpc_status = (int16_t)((int)rng_below(rng, 20) - 1);
    s->grpc_serving = (int8_t)((int)rng_below(rng, 6) - 1);
    random_text(rng, s->tls_version, sizeof(s->tls_version));
    random_text(rng, s->tls_cipher, sizeof(s->tls_cipher));
    random_text(rng, s->tls_alpn, sizeof(s->tls_alpn));
    s->tls_not_after_unix_s = (int64_t)rng_below(rng, 1 << 30) - (1 << 29);
}

static void any_sample_comes_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 20000; i++) {
        char target[SAMPLE_TARGET_SIZE], name[4][SAMPLE_NAME_SIZE];
        struct sample s;
        random_sample(&rng, &s);
        sample_check(&s);
        random_text(&rng, target, i % 8 ? 64 : sizeof(target));
        for (int k = 0; k < 4; k++)
            random_text(&rng, name[k], sizeof(name[k]));
        struct sample_names n = {
            .target = rng_below(&rng, 4) ? target : NULL,
            .from_node = rng_below(&rng, 4) ? name[0] : NULL,
            .from_zone = rng_below(&rng, 4) ? name[1] : NULL,
            .to_node = rng_below(&rng, 4) ? name[2] : NULL,
            .to_zone = rng_below(&rng, 4) ? name[3] : NULL,
        };
        round_trip(&s, &n);
    }
}

static void cut_anywhere_it_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    fill(&s);
    size_t len = encode(&s, &all_names, bytes);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, bytes, cut);
        memset(&got, 0xa5, sizeof(got));
        memset(&names, 0xa5, sizeof(names));
        memset(&texts, 0xa5, sizeof(texts));
        check_i64(decode(copy, cut, &got, &names, &texts), ERR_TRUNC);
        for (size_t i = 0; i < sizeof(got); i++)
            check_u64(((uint8_t *)&got)[i], 0xa5);
        for (size_t i = 0; i < sizeof(names); i++)
            check_u64(((uint8_t *)&names)[i], 0xa5);
        check_u64((uint8_t)texts.target[0], 0xa5);
        free(copy);
    }
}

static void with_any_bit_flipped_it_is_sound_or_refused(void **state)
{
    (void)state;
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct sample s, got;
    struct sample_names names;
    struct sample_texts texts;
    unsigned taken = 0, refused = 0;
    fill(&s);
    size_t len = encode(&s, &all_names, bytes);
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (decode(bytes, len, &got, &names, &texts)) {
            refused++;
        } else {
            taken++;
            sample_check(&got);
            round_trip(&got, &names);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_true(taken > 100);
    check_true(refused > 100);
}

/* One behind the other, as messages carry them. */
static void many_are_read_in_a_row(void **state)
{
    (void)state;
    struct rng rng;
    struct wr w;
    struct rd r;
    struct sample s[50], got;
    struct sample_names names;
    struct sample_texts texts;
    rng_seed(&rng, check_seed());
    wr_init_grow(&w, 1 << 20);
    for (int i = 0; i < 50; i++) {
        random_sample(&rng, &s[i]);
        sample_wire_write(&s[i], &all_names, &w);
    }
    rd_init(&r, w.data, w.len);
    for (int i = 0; i < 50; i++) {
        check_i64(sample_wire_read(&r, &got, &names, &texts), 0);
        same(&got, &s[i]);
    }
    check_i64(rd_end(&r), 0);
    wr_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_sample_has_these_bytes),
        cmocka_unit_test(a_full_sample_comes_back),
        cmocka_unit_test(target_and_job_stay_at_home),
        cmocka_unit_test(each_name_may_be_absent),
        cmocka_unit_test(the_longest_one_fits),
        cmocka_unit_test(names_that_are_too_long_are_cut),
        cmocka_unit_test(texts_become_printable),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(sums_that_do_not_add_up_are_refused),
        cmocka_unit_test(other_versions_and_bits_are_refused),
        cmocka_unit_test(texts_longer_than_their_arrays_are_refused),
        cmocka_unit_test(any_sample_comes_back),
        cmocka_unit_test(cut_anywhere_it_is_refused_and_changes_nothing),
        cmocka_unit_test(with_any_bit_flipped_it_is_sound_or_refused),
        cmocka_unit_test(many_are_read_in_a_row),
    };
    return cmocka_run_group_tests_name("sample_wire", tests, NULL, NULL);
}
