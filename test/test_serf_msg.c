/* Payloads that Serf sent first, then what else may come. */
#include "proto/serf_msg.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"
#include "test/vectors.h"

#define TEXT(text) span_of_text(text)
/* Bytes of a literal, which may hold zeros. */
#define BYTES(text) span_of((text), sizeof(text) - 1)

#define check_span(got, want) \
    check_span_at((got), (want), #got, __FILE__, __LINE__)

static void check_span_at(struct span got, struct span want, const char *what,
                          const char *file, int line)
{
    if (!span_equal(got, want)) {
        print_error("%s differs, %zu bytes for %zu\n", what, got.len, want.len);
        _fail(file, line);
    }
}

/* --- known vectors ------------------------------------------------------ */

static void check_intent(const char *id, bool is_leave, bool is_prune,
                         uint64_t ltime, const char *node)
{
    struct vector v = vector_get(id);
    struct span bytes = span_of(v.bytes, v.len);
    struct serf_intent i;
    check_i64(serf_intent_read(bytes, &i), 0);
    check_u64(i.is_leave, is_leave);
    check_u64(i.is_prune, is_prune);
    check_u64(i.ltime, ltime);
    check_span(i.node, TEXT(node));

    uint8_t out[VECTOR_SIZE];
    struct wr w;
    wr_init_fixed(&w, out, sizeof(out));
    serf_intent_write(&w, &i);
    check_i64(wr_err(&w), 0);
    check_span(span_of(out, w.len), bytes);
}

static void reads_and_writes_intents_as_serf_does(void **state)
{
    (void)state;
    check_intent("S1", true, false, 4, "f1");
    check_intent("S2", true, true, 4, "f2");
    check_intent("S3", false, false, 2, "f2");
}

static void check_event(const char *id, uint8_t type, uint64_t ltime,
                        uint32_t flags, const char *name)
{
    struct vector v = vector_get(id);
    struct serf_event e;
    check_i64(serf_event_read(span_of(v.bytes, v.len), &e), 0);
    check_u64(e.type, type);
    check_u64(e.ltime, ltime);
    check_u64(e.flags, flags);
    check_span(e.name, TEXT(name));
}

static void reads_events_and_queries(void **state)
{
    (void)state;
    check_event("S4", SERF_USER_EVENT, 1, 0, "deploy");
    check_event("S5", SERF_QUERY, 1, 1, "hi");
    check_event("S6", SERF_QUERY, 2, 0, "hi2");
    check_event("S7", SERF_QUERY, 3, 1, "_serf_ping");
}

static void reads_and_writes_tags_as_serf_does(void **state)
{
    (void)state;
    const char *ids[] = {"S8", "S9"};
    for (size_t i = 0; i < 2; i++) {
        struct vector v = vector_get(ids[i]);
        struct serf_tag tags[SERF_TAGS_MAX];
        size_t n = 99;
        int err =
            serf_tags_read(span_of(v.bytes, v.len), tags, SERF_TAGS_MAX, &n);
        check_i64(err, 0);
        check_u64(n, 1 - i);
        if (n) {
            check_span(tags[0].key, TEXT("role"));
            check_span(tags[0].value, TEXT("web"));
        }
        uint8_t out[VECTOR_SIZE];
        struct wr w;
        wr_init_fixed(&w, out, sizeof(out));
        serf_tags_write(&w, tags, n);
        check_span(span_of(out, w.len), span_of(v.bytes, v.len));
    }
}

/* S10: what the document of vectors shortens, in full. */
static size_t stock_state(uint8_t out[1024])
{
    static const char head[] = "\x02\x86\xaa"
                               "EventLTime\x01\xa6"
                               "Events\xdc\x02\x00";
    static const char tail[] = "\xa5LTime\x01\xabLeftMembers\x90\xaaQueryLTime"
                               "\x01\xacStatusLTimes\x81\xa2s1\x00";
    struct wr w;
    wr_init_fixed(&w, out, 1024);
    wr_bytes(&w, head, sizeof(head) - 1);
    for (size_t i = 0; i < 512; i++)
        wr_u8(&w, 0xc0);
    wr_bytes(&w, tail, sizeof(tail) - 1);
    check_i64(wr_err(&w), 0);
    return w.len;
}

static void reads_the_state_of_a_stock_agent(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t len = stock_state(bytes);
    check_u64(len, 586); /* what P14 carries */

    struct serf_state s;
    struct span name;
    uint64_t ltime;
    check_i64(serf_state_read(span_of(bytes, len), &s), 0);
    check_u64(s.ltime, 1);
    check_u64(s.event_ltime, 1);
    check_u64(s.query_ltime, 1);
    check_u64(s.n_left, 0);
    check_u64(s.n_status, 1);
    check_i64(serf_status_read(&s.status, &name, &ltime), 0);
    check_span(name, TEXT("s1"));
    check_u64(ltime, 0);
}

/* --- tags ---------------------------------------------------------------- */

static int read_tags(struct span meta, struct serf_tag *tags, size_t max,
                     size_t *n)
{
    *n = 99;
    int err = serf_tags_read(meta, tags, max, n);
    if (err)
        check_u64(*n, 99);
    return err;
}

static void takes_meta_of_another_kind_for_a_role(void **state)
{
    (void)state;
    struct serf_tag tags[SERF_TAGS_MAX];
    size_t n;
    check_i64(read_tags(TEXT("web"), tags, SERF_TAGS_MAX, &n), 0);
    check_u64(n, 1);
    check_span(tags[0].key, TEXT("role"));
    check_span(tags[0].value, TEXT("web"));
    check_i64(read_tags(TEXT("web"), tags, 0, &n), ERR_TOOBIG);

    check_i64(read_tags(span_of(NULL, 0), tags, SERF_TAGS_MAX, &n), 0);
    check_u64(n, 0);
    check_i64(read_tags(TEXT("\xff\xc0"), tags, SERF_TAGS_MAX, &n), 0);
    check_u64(n, 0);
}

static void reads_tags_in_any_order_and_encoding(void **state)
{
    (void)state;
    struct serf_tag tags[SERF_TAGS_MAX];
    size_t n;
    check_i64(read_tags(BYTES("\xff\xde\x00\x04\xa1z\xd9\x01"
                              "1\xda\x00\x01"
                              "a\xc4\x01"
                              "2\xc4\x01z\xa1"
                              "3\xa1n\xc0"
                              "trailing"),
                        tags, SERF_TAGS_MAX, &n),
              0);
    check_u64(n, 3);
    check_span(tags[0].key, TEXT("z"));
    check_span(tags[0].value, TEXT("3")); /* the last one of two */
    check_span(tags[1].key, TEXT("a"));
    check_span(tags[1].value, TEXT("2"));
    check_span(tags[2].key, TEXT("n"));
    check_u64(tags[2].value.len, 0);
}

static void refuses_tags_that_are_not_text(void **state)
{
    (void)state;
    struct serf_tag tags[SERF_TAGS_MAX];
    size_t n;
    static const struct {
        struct span meta;
        int err;
    } cases[] = {
        {{(const uint8_t *)"\xff", 1}, ERR_TRUNC},
        {{(const uint8_t *)"\xff\x90", 2}, ERR_BAD},
        {{(const uint8_t *)"\xff\xc1", 2}, ERR_BAD},
        {{(const uint8_t *)"\xff\x05", 2}, ERR_BAD},
        {{(const uint8_t *)"\xff\x81\x01\xa1x", 5}, ERR_BAD},
        {{(const uint8_t *)"\xff\x81\xa1x\x01", 5}, ERR_BAD},
        {{(const uint8_t *)"\xff\x81\xa1x\x91\xa1y", 7}, ERR_BAD},
        {{(const uint8_t *)"\xff\x81\xa1x\xa2y", 6}, ERR_TRUNC},
        {{(const uint8_t *)"\xff\x81\xa1x", 4}, ERR_TRUNC},
        {{(const uint8_t *)"\xff\xdf\xff\xff\xff\xff", 6}, ERR_TOOBIG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        check_i64(read_tags(cases[i].meta, tags, SERF_TAGS_MAX, &n),
                  cases[i].err);
}

static void reads_as_many_tags_as_there_is_room_for(void **state)
{
    (void)state;
    for (size_t count = 0; count < 40; count++) {
        struct serf_tag tags[40];
        struct serf_tag got[SERF_TAGS_MAX];
        char keys[40];
        uint8_t meta[256];
        struct wr w;
        size_t n;
        for (size_t i = 0; i < count; i++) {
            keys[i] = (char)('0' + i);
            tags[i] = (struct serf_tag){span_of(&keys[i], 1), TEXT("v")};
        }
        wr_init_fixed(&w, meta, sizeof(meta));
        serf_tags_write(&w, tags, count);
        check_i64(wr_err(&w), 0);
        int err = read_tags(span_of(meta, w.len), got, SERF_TAGS_MAX, &n);
        check_i64(err, count <= SERF_TAGS_MAX ? 0 : ERR_TOOBIG);
        for (size_t i = 0; !err && i < count; i++)
            check_span(got[i].key, tags[i].key);
    }
}

static void reads_no_tags_beyond_a_smaller_room(void **state)
{
    (void)state;
    struct serf_tag tags[4] = {[2] = {TEXT("kept"), TEXT("")}};
    size_t n;
    struct span meta = BYTES("\xff\x83\xa1"
                             "a\xa1"
                             "1\xa1"
                             "b\xa1"
                             "2\xa1"
                             "c\xa1"
                             "3");
    check_i64(read_tags(meta, tags, 2, &n), ERR_TOOBIG);
    check_span(tags[2].key, TEXT("kept"));
    check_i64(read_tags(meta, tags, 3, &n), 0);
    check_u64(n, 3);
}

/* --- messages ------------------------------------------------------------ */

static void reads_intents_in_odd_encodings(void **state)
{
    (void)state;
    struct serf_intent i;
    /* of an older peer, without Prune; LTime of 64 bits, signed */
    check_i64(serf_intent_read(BYTES("\x00\x82\xa4Node\xc4\x01"
                                     "a\xa5LTime\xd3\x7f\xff\xff\xff\xff\xff"
                                     "\xff\xff"),
                               &i),
              0);
    check_true(i.is_leave);
    check_false(i.is_prune);
    check_u64(i.ltime, INT64_MAX);
    check_span(i.node, TEXT("a"));

    /* a join cannot prune, whatever it says there */
    check_i64(serf_intent_read(BYTES("\x01\x83\xa5Prune\xa1y\xa5LTime\xcf\xff"
                                     "\xff\xff\xff\xff\xff\xff\xff\xa1x\x92\x01"
                                     "\x02"),
                               &i),
              0);
    check_false(i.is_leave);
    check_false(i.is_prune);
    check_u64(i.ltime, UINT64_MAX);
    check_u64(i.node.len, 0);

    check_i64(serf_intent_read(BYTES("\x00\xc0"), &i), 0);
    check_u64(i.ltime, 0);
    check_i64(serf_intent_read(BYTES("\x00\x81\xa5Prune\x01"), &i), 0);
    check_true(i.is_prune);
}

static void refuses_what_is_no_intent(void **state)
{
    (void)state;
    struct serf_intent i = {.ltime = 77};
    check_i64(serf_intent_read(BYTES(""), &i), ERR_TRUNC);
    check_i64(serf_intent_read(BYTES("\x00"), &i), ERR_TRUNC);
    check_i64(serf_intent_read(BYTES("\x00\x90"), &i), ERR_BAD);
    check_i64(serf_intent_read(BYTES("\x00\x81\xa5LTime\xff"), &i), ERR_BAD);
    check_i64(serf_intent_read(BYTES("\x00\x81\xa5LTime\xa1x"), &i), ERR_BAD);
    check_i64(serf_intent_read(BYTES("\x00\x81\xa4Node\x05"), &i), ERR_BAD);
    check_i64(serf_intent_read(BYTES("\x00\x81\xa5Prune\x02"), &i), ERR_BAD);
    check_i64(serf_intent_read(BYTES("\x00\x81\x05\x05"), &i), ERR_BAD);
    check_i64(serf_intent_read(BYTES("\x00\xdf\x00\x00\x00\x41"), &i),
              ERR_TOOBIG);
    check_i64(serf_intent_read(BYTES("\x00\x81\xd9\x21"
                                     "0123456789abcdef0123456789abcdef0\x00"),
                               &i),
              ERR_TOOBIG);
    for (unsigned type = 2; type < 256; type++) {
        uint8_t bytes[2] = {(uint8_t)type, 0x80};
        check_i64(serf_intent_read(span_of(bytes, 2), &i), ERR_BAD);
    }
    check_u64(i.ltime, 77);
}

static void refuses_what_is_no_event(void **state)
{
    (void)state;
    struct serf_event e = {.ltime = 77};
    for (unsigned type = 0; type < 256; type++) {
        uint8_t bytes[2] = {(uint8_t)type, 0x80};
        bool is_event = type == SERF_USER_EVENT || type == SERF_QUERY;
        struct serf_event got;
        check_i64(serf_event_read(span_of(bytes, 2), &got),
                  is_event ? 0 : ERR_BAD);
    }
    check_i64(serf_event_read(BYTES(""), &e), ERR_TRUNC);
    check_i64(serf_event_read(BYTES("\x04\x81\xa5"
                                    "Flags\xcf\x00\x00\x00\x01\x00\x00\x00"
                                    "\x00"),
                              &e),
              ERR_BAD);
    check_i64(serf_event_read(BYTES("\x03\x81\xa4Name\x01"), &e), ERR_BAD);
    check_u64(e.ltime, 77);
    /* An event has no flags: what stands there is passed over. */
    check_i64(serf_event_read(BYTES("\x03\x81\xa5"
                                    "Flags\xa1x"),
                              &e),
              0);
    check_u64(e.flags, 0);
    check_i64(serf_event_read(BYTES("\x04\x81\xa5"
                                    "Flags\xce\xff\xff\xff\xff"),
                              &e),
              0);
    check_u64(e.flags, UINT32_MAX);
}

/* --- states -------------------------------------------------------------- */

static void reads_who_is_known_and_who_has_left(void **state)
{
    (void)state;
    struct serf_state s;
    struct span name;
    uint64_t ltime;
    check_i64(serf_state_read(BYTES("\x02\x85\xacStatusLTimes\x82\xa1"
                                    "a\x05\xa1"
                                    "b\xcd\x01\x00\xabLeftMembers\x92\xa1"
                                    "b\xa1"
                                    "c\xa5LTime\x09\xaa"
                                    "EventLTime\x08\xaaQueryLTime\x07"),
                              &s),
              0);
    check_u64(s.ltime, 9);
    check_u64(s.event_ltime, 8);
    check_u64(s.query_ltime, 7);
    check_u64(s.n_status, 2);
    check_i64(serf_status_read(&s.status, &name, &ltime), 0);
    check_span(name, TEXT("a"));
    check_u64(ltime, 5);
    check_i64(serf_status_read(&s.status, &name, &ltime), 0);
    check_span(name, TEXT("b"));
    check_u64(ltime, 256);
    check_u64(s.n_left, 2);
    check_i64(serf_left_read(&s.left, &name), 0);
    check_span(name, TEXT("b"));
    check_i64(serf_left_read(&s.left, &name), 0);
    check_span(name, TEXT("c"));
}

static void reads_states_without_members(void **state)
{
    (void)state;
    struct serf_state s;
    struct span name;
    uint64_t ltime;
    static const struct span cases[] = {
        {(const uint8_t *)"\x02\x80", 2},
        {(const uint8_t *)"\x02\xc0", 2},
        {(const uint8_t *)"\x02\x82\xacStatusLTimes\xc0\xabLeftMembers\xc0",
         29},
        /* the last of repeated keys counts */
        {(const uint8_t *)"\x02\x82\xabLeftMembers\x91\xa1"
                          "a\xabLeftMembers\x90",
         30},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        check_i64(serf_state_read(cases[i], &s), 0);
        check_u64(s.n_status + s.n_left, 0);
    }
    /* Asked for more than there is, the readers fail and nothing else. */
    check_i64(serf_state_read(cases[0], &s), 0);
    check_i64(serf_status_read(&s.status, &name, &ltime), ERR_TRUNC);
    check_i64(serf_left_read(&s.left, &name), ERR_TRUNC);
}

static void refuses_states_that_are_broken_anywhere(void **state)
{
    (void)state;
    struct serf_state s = {.ltime = 77};
    static const struct {
        struct span bytes;
        int err;
    } cases[] = {
        {{(const uint8_t *)"", 0}, ERR_TRUNC},
        {{(const uint8_t *)"\x02", 1}, ERR_TRUNC},
        {{(const uint8_t *)"\x01\x80", 2}, ERR_BAD},
        {{(const uint8_t *)"\x7f\x80", 2}, ERR_BAD},
        {{(const uint8_t *)"\x02\x90", 2}, ERR_BAD},
        {{(const uint8_t *)"\x02\x81\xa5LTime\xff", 9}, ERR_BAD},
        {{(const uint8_t *)"\x02\x81\xacStatusLTimes\x81\xa1"
                           "a\xff",
          19},
         ERR_BAD},
        {{(const uint8_t *)"\x02\x81\xacStatusLTimes\x81\x01\x01", 18},
         ERR_BAD},
        {{(const uint8_t *)"\x02\x81\xacStatusLTimes\x90", 16}, ERR_BAD},
        {{(const uint8_t *)"\x02\x81\xacStatusLTimes\xdf\xff\xff\xff\xff", 20},
         ERR_TRUNC},
        {{(const uint8_t *)"\x02\x81\xabLeftMembers\xdd\xff\xff\xff\xff", 19},
         ERR_TRUNC},
        {{(const uint8_t *)"\x02\x81\xabLeftMembers\x80", 15}, ERR_BAD},
        {{(const uint8_t *)"\x02\x81\xabLeftMembers\x91\x05", 16}, ERR_BAD},
        {{(const uint8_t *)"\x02\xde\x00\x41", 4}, ERR_TOOBIG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        check_i64(serf_state_read(cases[i].bytes, &s), cases[i].err);
        check_u64(s.ltime, 77);
    }
}

static void reads_more_members_than_a_map_may_have_keys(void **state)
{
    (void)state;
    static uint8_t bytes[8192];
    struct serf_state s;
    struct span name;
    uint64_t ltime;
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_text(&w, "\x02\x81\xacStatusLTimes\xde");
    wr_be16(&w, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        wr_u8(&w, 0xa2);
        wr_be16(&w, (uint16_t)i);
        wr_u8(&w, 0xcd);
        wr_be16(&w, (uint16_t)(i * 3));
    }
    check_i64(serf_state_read(span_of(bytes, w.len), &s), 0);
    check_u64(s.n_status, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        check_i64(serf_status_read(&s.status, &name, &ltime), 0);
        check_u64(name.data[0] << 8 | name.data[1], i);
        check_u64(ltime, i * 3);
    }
}

/* --- properties ---------------------------------------------------------- */

/* Whatever decodes can be gone through to its end. */
static int read_any(struct span bytes)
{
    struct serf_tag tags[SERF_TAGS_MAX];
    struct serf_intent i;
    struct serf_event e;
    struct serf_state s;
    struct span name;
    uint64_t ltime;
    size_t n;
    serf_tags_read(bytes, tags, SERF_TAGS_MAX, &n);
    if (bytes.len > 0 && bytes.data[0] < SERF_PUSH_PULL)
        return serf_intent_read(bytes, &i);
    if (bytes.len > 0 && bytes.data[0] > SERF_PUSH_PULL)
        return serf_event_read(bytes, &e);
    int err = serf_state_read(bytes, &s);
    for (size_t k = 0; !err && k < s.n_status; k++)
        check_i64(serf_status_read(&s.status, &name, &ltime), 0);
    for (size_t k = 0; !err && k < s.n_left; k++)
        check_i64(serf_left_read(&s.left, &name), 0);
    return err;
}

static void check_cuts_and_bits(uint8_t *bytes, size_t len)
{
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut + 1); /* ends where it ends */
        check_true(copy != NULL);
        memcpy(copy, bytes, cut);
        check_i64(read_any(span_of(copy, cut)), ERR_TRUNC);
        free(copy);
    }
    check_i64(read_any(span_of(bytes, len)), 0);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read_any(span_of(bytes, len));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void finds_cuts_and_survives_flipped_bits(void **state)
{
    (void)state;
    const char *ids[] = {"S1", "S2", "S3", "S4", "S5", "S6", "S7"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        struct vector v = vector_get(ids[i]);
        check_cuts_and_bits(v.bytes, v.len);
    }
    uint8_t bytes[1024];
    size_t len = stock_state(bytes);
    check_cuts_and_bits(bytes, len);
}

static void writes_back_random_intents(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        uint8_t name[200];
        uint8_t bytes[256];
        struct wr w;
        struct serf_intent got;
        struct serf_intent i = {
            .is_leave = rng_below(&rng, 2),
            .ltime = rng_next(&rng) >> rng_below(&rng, 64),
            .node = span_of(name, rng_below(&rng, sizeof(name))),
        };
        i.is_prune = i.is_leave && rng_below(&rng, 2);
        for (size_t k = 0; k < sizeof(name); k++)
            name[k] = (uint8_t)rng_next(&rng);
        wr_init_fixed(&w, bytes, sizeof(bytes));
        serf_intent_write(&w, &i);
        check_i64(wr_err(&w), 0);
        check_i64(serf_intent_read(span_of(bytes, w.len), &got), 0);
        check_u64(got.is_leave, i.is_leave);
        check_u64(got.is_prune, i.is_prune);
        check_u64(got.ltime, i.ltime);
        check_span(got.node, i.node);
        wr_init_fixed(&w, bytes, rng_below(&rng, w.len));
        serf_intent_write(&w, &i);
        check_i64(wr_err(&w), ERR_TOOBIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_intents_as_serf_does),
        cmocka_unit_test(reads_events_and_queries),
        cmocka_unit_test(reads_and_writes_tags_as_serf_does),
        cmocka_unit_test(reads_the_state_of_a_stock_agent),
        cmocka_unit_test(takes_meta_of_another_kind_for_a_role),
        cmocka_unit_test(reads_tags_in_any_order_and_encoding),
        cmocka_unit_test(refuses_tags_that_are_not_text),
        cmocka_unit_test(reads_as_many_tags_as_there_is_room_for),
        cmocka_unit_test(reads_no_tags_beyond_a_smaller_room),
        cmocka_unit_test(reads_intents_in_odd_encodings),
        cmocka_unit_test(refuses_what_is_no_intent),
        cmocka_unit_test(refuses_what_is_no_event),
        cmocka_unit_test(reads_who_is_known_and_who_has_left),
        cmocka_unit_test(reads_states_without_members),
        cmocka_unit_test(refuses_states_that_are_broken_anywhere),
        cmocka_unit_test(reads_more_members_than_a_map_may_have_keys),
        cmocka_unit_test(finds_cuts_and_survives_flipped_bits),
        cmocka_unit_test(writes_back_random_intents),
    };
    return cmocka_run_group_tests_name("serf_msg", tests, NULL, NULL);
}
