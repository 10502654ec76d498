/* Bytes of real peers first, then what else they may send. */
#include "proto/ml_msg.h"

#include <malloc.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"
#include "test/ml_oracle.h"
#include "test/vectors.h"

#define OUT_SIZE 70000

static const uint8_t v4[4] = {127, 0, 0, 1};
static const uint8_t v4_mapped[16] = {[10] = 255, [11] = 255, 127, 0, 0, 1};
static const uint8_t vsn[6] = {1, 5, 2, 2, 5, 5};

#define SPAN(array) span_of((array), sizeof(array))
#define TEXT(text)  span_of_text(text)

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

static void check_encodes_as(const struct ml_msg *m, const struct vector *v)
{
    uint8_t out[OUT_SIZE];
    struct wr w;
    wr_init_fixed(&w, out, sizeof(out));
    ml_msg_encode(&w, m);
    check_i64(wr_err(&w), 0);
    check_span(span_of(out, w.len), span_of(v->bytes, v->len));
}

/* Decodes what Go wrote and writes it again. */
static struct ml_msg golden(const struct vector *v, unsigned type)
{
    struct ml_msg m;
    check_i64(ml_msg_decode(v->bytes, v->len, &m), 0);
    check_u64(m.type, type);
    check_encodes_as(&m, v);
    return m;
}

static void reads_and_writes_pings_as_go_does(void **state)
{
    (void)state;
    struct vector v = vector_get("C1");
    struct ml_msg m = golden(&v, ML_PING);
    check_u64(m.ping.seq_no, 1);
    check_span(m.ping.node, TEXT("b"));
    check_u64(m.ping.source_addr.len + m.ping.source_node.len, 0);
    check_u64(m.ping.source_port, 0);

    v = vector_get("C2");
    m = golden(&v, ML_PING);
    check_u64(m.ping.seq_no, 300);
    check_span(m.ping.node, TEXT("node-b"));
    check_span(m.ping.source_addr, SPAN(v4));
    check_span(m.ping.source_node, TEXT("node-a"));
    check_u64(m.ping.source_port, 7946);

    v = vector_get("P1");
    m = golden(&v, ML_PING);
    check_span(m.ping.source_node, TEXT("s1"));
}

static void reads_and_writes_indirect_pings_as_go_does(void **state)
{
    (void)state;
    struct vector v = vector_get("C3");
    struct ml_msg m = golden(&v, ML_INDIRECT_PING);
    const struct ml_indirect_ping *p = &m.indirect_ping;
    check_u64(p->seq_no, 70000);
    check_span(p->target, SPAN(v4));
    check_u64(p->port, 7946);
    check_span(p->node, TEXT("node-b"));
    check_true(p->wants_nack);
    check_span(p->source_addr, SPAN(v4));
    check_span(p->source_node, TEXT("node-a"));
    check_u64(p->source_port, 7947);

    v = vector_get("C4");
    m = golden(&v, ML_INDIRECT_PING);
    check_u64(p->seq_no, 5);
    check_span(p->target, SPAN(v4_mapped));
    check_u64(p->port, 80);
    check_span(p->node, TEXT("n"));
    check_false(p->wants_nack);
    check_u64(p->source_addr.len + p->source_node.len + p->source_port, 0);

    v = vector_get("P4");
    golden(&v, ML_INDIRECT_PING);
}

static void reads_and_writes_answers_as_go_does(void **state)
{
    (void)state;
    struct vector v = vector_get("C5");
    struct ml_msg m = golden(&v, ML_ACK);
    check_u64(m.ack.seq_no, 5);
    check_u64(m.ack.payload.len, 0);
    check_false(m.ack.is_short);

    v = vector_get("C7");
    m = golden(&v, ML_ACK);
    check_u64(m.ack.seq_no, UINT32_MAX);
    check_span(m.ack.payload, TEXT("xyz"));

    v = vector_get("P3");
    m = golden(&v, ML_ACK);
    check_u64(m.ack.seq_no, 176);
    check_u64(m.ack.payload.len, 130);

    v = vector_get("C8");
    m = golden(&v, ML_NACK);
    check_u64(m.nack.seq_no, 128);
    v = vector_get("P5");
    m = golden(&v, ML_NACK);
    check_u64(m.nack.seq_no, 174);

    v = vector_get("C9");
    m = golden(&v, ML_ERR);
    check_span(m.err, TEXT("boom"));
}

/* An empty payload that Go did not write as nil is the same. */
static void takes_empty_for_nil(void **state)
{
    (void)state;
    struct vector v = vector_get("C6");
    struct vector nil = vector_get("C5");
    struct ml_msg m;
    check_i64(ml_msg_decode(v.bytes, v.len, &m), 0);
    check_u64(m.ack.payload.len, 0);
    check_encodes_as(&m, &nil);
}

static void leaves_out_an_empty_payload_when_told(void **state)
{
    (void)state;
    uint8_t out[64];
    struct wr w;
    struct ml_msg m = {.type = ML_ACK, .ack = {.seq_no = 5, .is_short = true}};
    wr_init_fixed(&w, out, sizeof(out));
    ml_msg_encode(&w, &m);
    check_span(span_of(out, w.len), TEXT("\x02\x81\xa5SeqNo\x05"));

    m.ack.payload = TEXT("x");
    wr_reset(&w);
    ml_msg_encode(&w, &m);
    check_span(span_of(out, w.len),
               TEXT("\x02\x82\xa7Payload\xa1x\xa5SeqNo\x05"));
}

static void check_accusation(const char *id, unsigned type, const char *from)
{
    struct vector v = vector_get(id);
    struct ml_msg m = golden(&v, type);
    check_u64(m.accusation.incarnation, 3);
    check_span(m.accusation.node, TEXT("b"));
    check_span(m.accusation.from, TEXT(from));
}

static void reads_and_writes_accusations_as_go_does(void **state)
{
    (void)state;
    check_accusation("C10", ML_SUSPECT, "a");
    check_accusation("C11", ML_DEAD, "a");
    check_accusation("C12", ML_DEAD, "b");
}

static void reads_and_writes_alives_as_go_does(void **state)
{
    (void)state;
    struct vector v = vector_get("C13");
    struct ml_msg m = golden(&v, ML_ALIVE);
    const struct ml_alive *a = &m.alive;
    check_u64(a->incarnation, 1);
    check_span(a->node, TEXT("b"));
    check_span(a->addr, SPAN(v4));
    check_u64(a->port, 7946);
    check_u64(a->meta.len, 0);
    check_span(a->vsn, SPAN(vsn));
    check_u64(a->state, ML_STATE_ALIVE);
    check_i64(ml_alive_check(a), 0);

    v = vector_get("C14");
    m = golden(&v, ML_ALIVE);
    check_span(a->addr, SPAN(v4_mapped));
    check_span(a->meta, TEXT("\xff\x80"));
    check_i64(ml_alive_check(a), 0);

    v = vector_get("C15");
    m = golden(&v, ML_ALIVE);
    check_u64(a->meta.len, 40);
    check_u64(a->port, 100);
}

static void check_header(const char *id, bool is_join, uint32_t n, uint32_t len,
                         bool is_ours)
{
    struct vector v = vector_get(id);
    struct ml_push_pull h;
    struct rd r;
    rd_init(&r, v.bytes + 1, v.len - 1);
    check_i64(ml_push_pull_read(&r, &h), 0);
    check_u64(rd_left(&r), 0);
    check_u64(h.is_join, is_join);
    check_u64(h.n_nodes, n);
    check_u64(h.user_state_len, len);

    uint8_t out[64];
    struct wr w;
    wr_init_fixed(&w, out, sizeof(out));
    wr_u8(&w, ML_PUSH_PULL);
    ml_push_pull_write(&w, &h);
    if (is_ours)
        check_span(span_of(out, w.len), span_of(v.bytes, v.len));
}

/* The newer codec writes lengths as signed numbers; we write as the older. */
static void reads_push_pull_headers_of_both_codecs(void **state)
{
    (void)state;
    check_header("C16", true, 2, 0, true);
    check_header("C17", false, 128, 255, true);
    check_header("C18", false, 128, 255, false);
    check_header("C19", false, 40000, 70000, true);
    check_header("C20", false, 40000, 70000, false);
    check_header("C26", false, 0, 0, true);
}

static void reads_and_writes_entries_as_go_does(void **state)
{
    (void)state;
    struct vector v = vector_get("C21");
    struct ml_alive a;
    struct rd r;
    rd_init(&r, v.bytes + 1, v.len - 1);
    check_i64(ml_entry_read(&r, &a), 0);
    check_u64(rd_left(&r), 0);
    check_span(a.node, TEXT("b"));
    check_span(a.addr, SPAN(v4));
    check_u64(a.port, 7946);
    check_u64(a.meta.len, 0);
    check_u64(a.incarnation, 1);
    check_u64(a.state, ML_STATE_LEFT);
    check_span(a.vsn, SPAN(vsn));

    uint8_t out[256];
    struct wr w;
    wr_init_fixed(&w, out, sizeof(out));
    wr_u8(&w, ML_PUSH_PULL);
    ml_entry_write(&w, &a);
    check_span(span_of(out, w.len), span_of(v.bytes, v.len));
}

/* A whole reply of a peer: header and entry one behind the other. */
static void leaves_the_reader_behind_what_it_read(void **state)
{
    (void)state;
    struct vector v = vector_get("L2");
    struct ml_push_pull h;
    struct ml_alive a;
    struct rd r;
    rd_init(&r, v.bytes + 1, v.len - 1);
    check_i64(ml_push_pull_read(&r, &h), 0);
    check_u64(h.n_nodes, 1);
    check_true(h.is_join);
    check_i64(ml_entry_read(&r, &a), 0);
    check_u64(rd_left(&r), 0);
    check_span(a.node, TEXT("go1"));
    check_u64(a.meta.len, 0);
    check_u64(a.state, ML_STATE_ALIVE);
    check_i64(ml_alive_check(&a), 0);
}

static void reads_user_lengths_of_both_codecs(void **state)
{
    (void)state;
    const char *ids[] = {"C22", "C23"};
    for (size_t i = 0; i < 2; i++) {
        struct vector v = vector_get(ids[i]);
        uint32_t len;
        struct rd r;
        rd_init(&r, v.bytes + 1, v.len - 1);
        check_i64(ml_user_len_read(&r, &len), 0);
        check_u64(len, 200);
    }
    struct vector v = vector_get("C22");
    uint8_t out[64];
    struct wr w;
    wr_init_fixed(&w, out, sizeof(out));
    wr_u8(&w, ML_USER);
    ml_user_len_write(&w, 200);
    check_span(span_of(out, w.len), span_of(v.bytes, v.len));
}

static void reads_and_writes_the_wrapper_as_go_does(void **state)
{
    (void)state;
    const char *ids[] = {"C24", "P13", "P14", "P15", "P16",
                         "P17", "P18", "P19", "G1",  "G2"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        struct vector v = vector_get(ids[i]);
        struct span buf;
        struct rd r;
        rd_init(&r, v.bytes + 1, v.len - 1);
        check_i64(ml_compress_read(&r, &buf), 0);
        check_u64(rd_left(&r), 0);
        check_true(buf.len > 0);

        uint8_t out[VECTOR_SIZE];
        struct wr w;
        wr_init_fixed(&w, out, sizeof(out));
        wr_u8(&w, ML_COMPRESS);
        ml_compress_write(&w, buf);
        check_span(span_of(out, w.len), span_of(v.bytes, v.len));
    }
}

static void writes_empty_text_and_empty_bytes_as_go_does(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        struct span body;
    } cases[] = {
        {ML_PING, {(const uint8_t *)"\x82\xa4Node\xa0\xa5SeqNo\x00", 14}},
        {ML_INDIRECT_PING,
         {(const uint8_t *)"\x85\xa4Nack\xc2\xa4Node\xa0\xa4Port\x00\xa5SeqNo"
                           "\x00\xa6Target\xc0",
          34}},
        {ML_SUSPECT,
         {(const uint8_t *)"\x83\xa4"
                           "From\xa0\xabIncarnation\x00\xa4Node\xa0",
          26}},
        {ML_ALIVE,
         {(const uint8_t *)"\x86\xa4"
                           "Addr\xc0\xabIncarnation\x00\xa4Meta\xc0\xa4Node"
                           "\xa0\xa4Port\x00\xa3Vsn\xc0",
          43}},
        {ML_ERR,
         {(const uint8_t *)"\x81\xa5"
                           "Error\xa0",
          8}},
    };
    uint8_t out[128];
    struct wr w;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ml_msg m = {.type = cases[i].type};
        wr_init_fixed(&w, out, sizeof(out));
        ml_msg_encode(&w, &m);
        check_u64(out[0], cases[i].type);
        check_span(span_of(out + 1, w.len - 1), cases[i].body);
    }

    struct ml_alive a = {.state = ML_STATE_DEAD};
    wr_init_fixed(&w, out, sizeof(out));
    ml_entry_write(&w, &a);
    check_span(span_of(out, w.len),
               span_of("\x87\xa4"
                       "Addr\xc0\xabIncarnation\x00\xa4Meta\xc0\xa4Name\xa0\xa4"
                       "Port\x00\xa5State\x02\xa3Vsn\xc0",
                       50));
    wr_reset(&w);
    ml_compress_write(&w, span_of(NULL, 0));
    check_span(span_of(out, w.len), span_of("\x82\xa4"
                                            "Algo\x00\xa3"
                                            "Buf\xc0",
                                            12));
}

/* --- odd but legal encodings -------------------------------------------- */

/* Messages are written out in pieces here: type, map head, pairs. */
static int decode(struct span bytes, struct ml_msg *m)
{
    return ml_msg_decode(bytes.data, bytes.len, m);
}
/* Of a literal, which may hold zeros. */
#define BYTES(text) span_of((text), sizeof(text) - 1)

static void takes_odd_but_legal_encodings_a08(void **state)
{
    (void)state;
    struct ml_msg m;
    /* any order, map16, str8, bin8, wide and signed numbers */
    check_i64(decode(BYTES("\x00\xde\x00\x02\xd9\x05SeqNo\xd3\x00\x00\x00\x00"
                           "\x00\x00\x00\x07\xc4\x04Node\xc6\x00\x00\x00\x01"
                           "b"),
                     &m),
              0);
    check_u64(m.ping.seq_no, 7);
    check_span(m.ping.node, TEXT("b"));

    /* the last of repeated keys wins, a nil too */
    check_i64(
        decode(BYTES("\x00\x83\xa5SeqNo\x01\xa5SeqNo\x02\xa5SeqNo\x03"), &m),
        0);
    check_u64(m.ping.seq_no, 3);
    check_i64(decode(BYTES("\x00\x82\xa4Node\xa1"
                           "b\xa4Node\xc0"),
                     &m),
              0);
    check_u64(m.ping.node.len, 0);

    /* missing keys, an empty map and a lone nil are zero */
    check_i64(decode(BYTES("\x03\x80"), &m), 0);
    check_u64(m.accusation.incarnation + m.accusation.node.len, 0);
    check_i64(decode(BYTES("\x03\xc0"), &m), 0);
    check_u64(m.accusation.incarnation + m.accusation.node.len, 0);

    /* unknown keys and their values, whatever they are; keys are exact */
    check_i64(decode(BYTES("\x0b\x84\xa5seqno\x09\xa5SeqN\x00\x09\xa0\x92\x81"
                           "\xa1x\xc7\x01\x05\x06\xcb\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\xa5SeqNo\x04"),
                     &m),
              0);
    check_u64(m.nack.seq_no, 4);

    /* bytes behind the map */
    check_i64(decode(BYTES("\x0b\x81\xa5SeqNo\x04\xff\xc1"), &m), 0);
    check_u64(m.nack.seq_no, 4);
}

static void takes_numbers_for_booleans(void **state)
{
    (void)state;
    struct ml_push_pull h;
    struct rd r;
    static const struct {
        const char *value;
        int err, is_join;
    } cases[] = {
        {"\xc2", 0, 0},   {"\xc3", 0, 1},
        {"\x01", 0, 1},   {"\xd1\xff\x01", -3, 0},
        {"\xc0", 0, 0},   {"\xcc\x01", 0, 1},
        {"\x02", -3, 0},  {"\xff", -3, 0},
        {"\xa1x", -3, 0}, {"\xcb\x01\x01\x01\x01\x01\x01\x01\x01", -3, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char bytes[32];
        int len =
            snprintf(bytes, sizeof(bytes), "\x81\xa4Join%s", cases[i].value);
        rd_init(&r, bytes, (size_t)len);
        check_i64(ml_push_pull_read(&r, &h), cases[i].err);
        if (!cases[i].err)
            check_u64(h.is_join, cases[i].is_join);
    }
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct ml_msg m;
    /* no map at all */
    check_i64(decode(BYTES(""), &m), ERR_TRUNC);
    check_i64(decode(BYTES("\x00"), &m), ERR_TRUNC);
    check_i64(decode(BYTES("\x00\x90"), &m), ERR_BAD);
    check_i64(decode(BYTES("\x00\xc1"), &m), ERR_BAD);
    check_i64(decode(BYTES("\x00\x05"), &m), ERR_BAD);
    check_i64(decode(BYTES("\x00\x95\xa1"
                           "b\x01\xc0\xc0\xc0"),
                     &m),
              ERR_BAD);
    /* keys that are no text */
    check_i64(decode(BYTES("\x0b\x81\x01\x01"), &m), ERR_BAD);
    /* numbers: negative, too large, of floating point, no numbers */
    check_i64(decode(BYTES("\x0b\x81\xa5SeqNo\xff"), &m), ERR_BAD);
    check_i64(decode(BYTES("\x0b\x81\xa5SeqNo\xcf\x00\x00\x00\x01\x00\x00\x00"
                           "\x00"),
                     &m),
              ERR_BAD);
    check_i64(decode(BYTES("\x0b\x81\xa5SeqNo\xca\x00\x00\x00\x00"), &m),
              ERR_BAD);
    check_i64(decode(BYTES("\x0b\x81\xa5SeqNo\xa1x"), &m), ERR_BAD);
    check_i64(decode(BYTES("\x00\x81\xaaSourcePort\xce\x00\x01\x00\x00"), &m),
              ERR_BAD);
    /* text: a number, an array of bytes */
    check_i64(decode(BYTES("\x00\x81\xa4Node\x01"), &m), ERR_BAD);
    check_i64(decode(BYTES("\x02\x81\xa7Payload\x92\x01\x02"), &m), ERR_BAD);
    /* an earlier one of repeated keys */
    check_i64(decode(BYTES("\x0b\x82\xa5SeqNo\xff\xa5SeqNo\x01"), &m), ERR_BAD);
}

static void knows_only_its_own_types(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t bytes[2] = {(uint8_t)type, 0x80};
        struct ml_msg m;
        bool is_known = type <= ML_DEAD || type == ML_USER || type == ML_NACK ||
                        type == ML_ERR;
        if (type == ML_INDIRECT_PING)
            is_known = false; /* one without a target */
        check_i64(decode(SPAN(bytes), &m), is_known ? 0 : ERR_BAD);
    }
}

static void gives_user_bytes_as_they_are(void **state)
{
    (void)state;
    struct ml_msg m;
    check_i64(decode(BYTES("\x08"), &m), 0);
    check_u64(m.user.len, 0);
    check_i64(decode(BYTES("\x08\x00\xff"), &m), 0);
    check_span(m.user, BYTES("\x00\xff"));

    uint8_t out[8];
    struct wr w;
    wr_init_fixed(&w, out, sizeof(out));
    ml_msg_encode(&w, &m);
    check_span(span_of(out, w.len), BYTES("\x08\x00\xff"));
}

static void refuses_lengths_that_are_negative_or_huge(void **state)
{
    (void)state;
    static const struct {
        struct span value;
        int err;
    } cases[] = {
        {{(const uint8_t *)"\xce\x7f\xff\xff\xff", 5}, 0},
        {{(const uint8_t *)"\xce\x80\x00\x00\x00", 5}, ERR_TOOBIG},
        {{(const uint8_t *)"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9},
         ERR_TOOBIG},
        {{(const uint8_t *)"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9}, ERR_BAD},
        {{(const uint8_t *)"\xd2\xff\xff\xff\xff", 5}, ERR_BAD},
        {{(const uint8_t *)"\xe0", 1}, ERR_BAD},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        static const char *const keys[] = {"Nodes", "UserStateLen",
                                           "UserMsgLen"};
        for (size_t k = 0; k < 3; k++) {
            uint8_t bytes[64];
            struct wr w;
            struct rd r;
            struct ml_push_pull h = {.n_nodes = 77};
            uint32_t len = 77;
            wr_init_fixed(&w, bytes, sizeof(bytes));
            wr_u8(&w, 0x81);
            wr_u8(&w, (uint8_t)(0xa0 + strlen(keys[k])));
            wr_text(&w, keys[k]);
            wr_bytes(&w, cases[i].value.data, cases[i].value.len);
            rd_init(&r, bytes, w.len);
            int err =
                k < 2 ? ml_push_pull_read(&r, &h) : ml_user_len_read(&r, &len);
            check_i64(err, cases[i].err);
            if (err) { /* untouched */
                check_u64(h.n_nodes, 77);
                check_u64(len, 77);
            } else {
                check_u64(k == 0   ? h.n_nodes
                          : k == 1 ? h.user_state_len
                                   : len,
                          INT32_MAX);
            }
        }
    }
}

static void gives_a_state_that_is_none_as_255(void **state)
{
    (void)state;
    static const struct {
        struct span value;
        unsigned got;
    } cases[] = {
        {{(const uint8_t *)"\x00", 1}, ML_STATE_ALIVE},
        {{(const uint8_t *)"\x02", 1}, ML_STATE_DEAD},
        {{(const uint8_t *)"\xd0\x03", 2}, ML_STATE_LEFT},
        {{(const uint8_t *)"\xc0", 1}, ML_STATE_ALIVE},
        {{(const uint8_t *)"\x04", 1}, 255},
        {{(const uint8_t *)"\xff", 1}, 255},
        {{(const uint8_t *)"\xcd\x01\x00", 3}, 255}, /* not 0 */
        {{(const uint8_t *)"\xd1\xff\x03", 3}, 255}, /* -253, not 3 */
        {{(const uint8_t *)"\xce\x7f\xff\xff\xff", 5}, 255},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint8_t bytes[32];
        struct wr w;
        struct rd r;
        struct ml_alive a;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        wr_text(&w, "\x81\xa5State");
        wr_bytes(&w, cases[i].value.data, cases[i].value.len);
        rd_init(&r, bytes, w.len);
        check_i64(ml_entry_read(&r, &a), 0);
        check_u64(a.state, cases[i].got);
    }
    /* An alive message has none. */
    struct ml_msg m;
    check_i64(decode(BYTES("\x04\x81\xa5State\x03"), &m), 0);
    check_u64(m.alive.state, ML_STATE_ALIVE);
}

static void decompresses_lzw_only(void **state)
{
    (void)state;
    struct span buf;
    struct rd r;
    rd_init(&r,
            "\x82\xa4"
            "Algo\x01\xa3"
            "Buf\xa1x",
            14);
    check_i64(ml_compress_read(&r, &buf), ERR_BAD);
    rd_init(&r,
            "\x82\xa4"
            "Algo\xcd\x00\x00\xa3"
            "Buf\xc4\x01x",
            17);
    check_i64(ml_compress_read(&r, &buf), 0);
    check_span(buf, TEXT("x"));
}

/* --- limits ------------------------------------------------------------- */

static size_t allocated(void)
{
    return mallinfo2().uordblks;
}

/* Puts a head that announces `n` of something in front of what is there. */
static void put_claim(struct wr *w, uint8_t head, uint64_t n)
{
    wr_u8(w, head);
    if (head == 0xc4 || head == 0xc7 || head == 0xd9)
        wr_u8(w, (uint8_t)n);
    else if (head == 0xc5 || head == 0xc8 || head == 0xda || head == 0xdc ||
             head == 0xde)
        wr_be16(w, (uint16_t)n);
    else
        wr_be32(w, (uint32_t)n);
}

/* As a value that we do not know: `n` says how much of it is there. An ext
 * has a type besides, a pair is two. */
static int read_claim(uint8_t head, uint64_t n, size_t there)
{
    uint8_t bytes[64];
    struct wr w;
    struct ml_msg m;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_text(&w, "\x0b\x81\xa1x");
    put_claim(&w, head, n);
    for (size_t i = 0; i < there; i++)
        wr_u8(&w, 1);
    check_i64(wr_err(&w), 0);
    return ml_msg_decode(bytes, w.len, &m);
}

static void believes_no_size_that_is_not_there_a07(void **state)
{
    (void)state;
    static const uint8_t heads[] = {0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9,
                                    0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf};
    size_t before = allocated();
    for (size_t i = 0; i < sizeof(heads); i++) {
        uint8_t h = heads[i];
        size_t each = h >= 0xde ? 2 : 1;
        size_t extra = h >= 0xc7 && h <= 0xc9;
        check_i64(read_claim(h, 0, extra), 0);
        check_i64(read_claim(h, 20, 20 * each + extra), 0);
        check_i64(read_claim(h, 21, 20 * each + extra), ERR_TRUNC);
        if (h == 0xc6 || h == 0xc9 || h == 0xdb || h == 0xdd || h == 0xdf) {
            check_true(read_claim(h, UINT32_C(1) << 31, 20) < 0);
            check_true(read_claim(h, UINT32_MAX, 20) < 0);
        }
    }
    check_u64(allocated(), before);
}

/* More bytes cannot help there, and whoever reads a stream need not wait. */
static void refuses_a_map_of_too_many_keys_by_its_head(void **state)
{
    (void)state;
    static const struct {
        struct span head;
        int err;
    } cases[] = {
        {{(const uint8_t *)"\xde\x00\x40", 3}, ERR_TRUNC},
        {{(const uint8_t *)"\xde\x00\x41", 3}, ERR_TOOBIG},
        {{(const uint8_t *)"\xdf\x00\x00\x00\x40", 5}, ERR_TRUNC},
        {{(const uint8_t *)"\xdf\x00\x00\x00\x41", 5}, ERR_TOOBIG},
        {{(const uint8_t *)"\xdf\x80\x00\x00\x00", 5}, ERR_TOOBIG},
        {{(const uint8_t *)"\xdf\xff\xff\xff\xff", 5}, ERR_TOOBIG},
        {{(const uint8_t *)"\xdd\xff\xff\xff\xff", 5}, ERR_BAD},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rd r;
        struct ml_alive a;
        struct ml_push_pull h;
        struct span buf;
        rd_init(&r, cases[i].head.data, cases[i].head.len);
        check_i64(ml_entry_read(&r, &a), cases[i].err);
        rd_init(&r, cases[i].head.data, cases[i].head.len);
        check_i64(ml_push_pull_read(&r, &h), cases[i].err);
        rd_init(&r, cases[i].head.data, cases[i].head.len);
        check_i64(ml_compress_read(&r, &buf), cases[i].err);
    }
}

static int read_keys(size_t n, size_t key_len)
{
    uint8_t bytes[4096];
    struct wr w;
    struct ml_msg m;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_u8(&w, ML_NACK);
    wr_u8(&w, 0xde);
    wr_be16(&w, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        wr_u8(&w, 0xd9);
        wr_u8(&w, (uint8_t)key_len);
        for (size_t k = 0; k < key_len; k++)
            wr_u8(&w, 'x');
        wr_u8(&w, 1);
    }
    check_i64(wr_err(&w), 0);
    return ml_msg_decode(bytes, w.len, &m);
}

static void limits_keys_in_number_and_length(void **state)
{
    (void)state;
    check_i64(read_keys(ML_KEYS_MAX, ML_KEY_MAX), 0);
    check_i64(read_keys(ML_KEYS_MAX + 1, ML_KEY_MAX), ERR_TOOBIG);
    check_i64(read_keys(ML_KEYS_MAX, ML_KEY_MAX + 1), ERR_TOOBIG);
    check_i64(read_keys(1, 255), ERR_TOOBIG);
}

/* `n` unknown values of `size` bytes each, as an array of nils. */
static int read_unknown(size_t n, size_t size, size_t cut)
{
    static uint8_t bytes[3 * ML_UNKNOWN_MAX];
    struct wr w;
    struct ml_msg m;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_u8(&w, ML_NACK);
    wr_u8(&w, (uint8_t)(0x80 + n));
    for (size_t i = 0; i < n; i++) {
        wr_text(&w, "\xa1x\xdc");
        wr_be16(&w, (uint16_t)(size - 3));
        for (size_t k = 3; k < size; k++)
            wr_u8(&w, 0xc0);
    }
    check_i64(wr_err(&w), 0);
    return ml_msg_decode(bytes, w.len - cut, &m);
}

static void limits_the_bytes_of_unknown_values(void **state)
{
    (void)state;
    check_i64(read_unknown(1, ML_UNKNOWN_MAX, 0), 0);
    check_i64(read_unknown(1, ML_UNKNOWN_MAX + 1, 0), ERR_TOOBIG);
    check_i64(read_unknown(2, ML_UNKNOWN_MAX / 2, 0), 0);
    check_i64(read_unknown(2, ML_UNKNOWN_MAX / 2 + 1, 0), ERR_TOOBIG);
    check_i64(read_unknown(1, ML_UNKNOWN_MAX, 1), ERR_TRUNC);
    check_i64(read_unknown(1, ML_UNKNOWN_MAX + 1, 1), ERR_TOOBIG);
    check_i64(read_unknown(1, ML_UNKNOWN_MAX + 1, 2), ERR_TRUNC);
}

static void limits_how_deep_unknown_values_nest(void **state)
{
    (void)state;
    for (size_t depth = 0; depth < 100; depth++) {
        uint8_t bytes[128];
        struct wr w;
        struct ml_msg m;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        wr_text(&w, "\x0b\x81\xa1x");
        for (size_t i = 0; i < depth; i++)
            wr_u8(&w, 0x91);
        wr_u8(&w, 0xc0);
        check_i64(ml_msg_decode(bytes, w.len, &m), depth <= 8 ? 0 : ERR_TOOBIG);
    }
}

/* --- lengths of fields (A09) -------------------------------------------- */

static uint8_t filler[512];

static int recode(const struct ml_msg *m, struct ml_msg *again)
{
    static uint8_t bytes[OUT_SIZE];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    ml_msg_encode(&w, m);
    check_i64(wr_err(&w), 0);
    return ml_msg_decode(bytes, w.len, again);
}

static void checks_field_lengths_from_0_to_300_a09(void **state)
{
    (void)state;
    memset(filler, 'x', sizeof(filler));
    for (size_t len = 0; len <= 300; len++) {
        struct span s = span_of(filler, len);
        bool is_addr = len == 4 || len == 16;
        struct ml_msg out;

        struct ml_msg ping = {.type = ML_PING, .ping = {.source_addr = s}};
        check_i64(recode(&ping, &out), len == 0 || is_addr ? 0 : ERR_BAD);
        ping.ping = (struct ml_ping){.node = s};
        check_i64(recode(&ping, &out), len <= 128 ? 0 : ERR_TOOBIG);
        ping.ping = (struct ml_ping){.source_node = s};
        check_i64(recode(&ping, &out), len <= 128 ? 0 : ERR_TOOBIG);

        struct ml_msg indirect = {.type = ML_INDIRECT_PING};
        struct ml_indirect_ping *p = &indirect.indirect_ping;
        p->target = s;
        check_i64(recode(&indirect, &out), is_addr ? 0 : ERR_BAD);
        p->target = SPAN(v4);
        p->source_addr = s;
        check_i64(recode(&indirect, &out), len == 0 || is_addr ? 0 : ERR_BAD);
        p->source_addr = SPAN(v4);
        p->node = s;
        check_i64(recode(&indirect, &out), len <= 128 ? 0 : ERR_TOOBIG);
        p->node = TEXT("n");
        p->source_node = s;
        check_i64(recode(&indirect, &out), len <= 128 ? 0 : ERR_TOOBIG);

        struct ml_msg suspect = {.type = ML_SUSPECT, .accusation = {.node = s}};
        check_i64(recode(&suspect, &out), len <= 128 ? 0 : ERR_TOOBIG);
        suspect.accusation = (struct ml_accusation){.from = s};
        check_i64(recode(&suspect, &out), len <= 128 ? 0 : ERR_TOOBIG);
    }
}

static struct ml_alive good_alive(void)
{
    return (struct ml_alive){
        .incarnation = 1,
        .node = span_of_text("b"),
        .addr = span_of(v4, 4),
        .port = 7946,
        .vsn = span_of(vsn, 6),
    };
}

/* An alive of any lengths decodes, so that one bad entry does not hide those
 * behind it; what may be kept is said by ml_alive_check(). */
static void keeps_only_records_of_fitting_lengths_a09(void **state)
{
    (void)state;
    memset(filler, 1, sizeof(filler));
    for (size_t len = 0; len <= 300; len++) {
        struct span s = span_of(filler, len);
        struct ml_msg out;
        struct ml_msg m = {.type = ML_ALIVE, .alive = good_alive()};
        m.alive.addr = s;
        check_i64(recode(&m, &out), 0);
        check_i64(ml_alive_check(&out.alive),
                  len == 4 || len == 16 ? 0 : ERR_BAD);
        m.alive = good_alive();
        m.alive.vsn = s;
        check_i64(recode(&m, &out), 0);
        check_i64(ml_alive_check(&out.alive), len == 6 ? 0 : ERR_BAD);
    }
    memset(filler, 'x', sizeof(filler));
    for (size_t len = 0; len <= 300; len++) {
        struct ml_msg out;
        struct ml_msg m = {.type = ML_ALIVE, .alive = good_alive()};
        m.alive.node = span_of(filler, len);
        check_i64(recode(&m, &out), 0);
        check_i64(ml_alive_check(&out.alive),
                  len >= 1 && len <= ML_NAME_MAX ? 0 : ERR_BAD);
    }
    struct ml_alive a = good_alive();
    uint8_t meta[ML_META_MAX + 1] = {0};
    a.meta = span_of(meta, ML_META_MAX);
    check_i64(ml_alive_check(&a), 0);
    a.meta = SPAN(meta);
    check_i64(ml_alive_check(&a), ERR_BAD);
}

static void keeps_no_names_with_control_characters(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t name[3] = {'a', 'b', (uint8_t)c};
        struct ml_alive a = good_alive();
        a.node = SPAN(name);
        bool is_control = c < 0x20 || c == 0x7f;
        check_i64(ml_alive_check(&a), is_control ? ERR_BAD : 0);
    }
}

static void keeps_only_addresses_of_one_node(void **state)
{
    (void)state;
    static const struct {
        const char *ip;
        bool is_good;
    } cases[] = {
        {"0.0.0.0", false},
        {"0.0.0.1", true},
        {"127.0.0.1", true},
        {"223.255.255.255", true},
        {"224.0.0.0", false},
        {"239.255.255.255", false},
        {"240.0.0.0", true},
        {"255.255.255.254", true},
        {"255.255.255.255", false},
        {"::", false},
        {"::1", true},
        {"feff::", true},
        {"ff00::", false},
        {"ff02::1", false},
        {"::ffff:0.0.0.0", false},
        {"::ffff:224.0.0.1", false},
        {"::ffff:10.0.0.1", true},
        {"::ffff:255.255.255.255", false},
        {"::fffe:224.0.0.1", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct addr ip;
        check_i64(addr_parse_ip(&ip, cases[i].ip), 0);
        struct ml_alive a = good_alive();
        a.addr = span_of(ip.ip, ip.family == ADDR_V4 ? 4 : 16);
        check_i64(ml_alive_check(&a), cases[i].is_good ? 0 : ERR_BAD);
    }
    struct ml_alive a = good_alive();
    a.port = 0;
    check_i64(ml_alive_check(&a), ERR_BAD);
    a.port = 65535;
    check_i64(ml_alive_check(&a), 0);
}

static void keeps_only_versions_that_agree_with_themselves(void **state)
{
    (void)state;
    static const struct {
        uint8_t vsn[6];
        bool is_good;
    } cases[] = {
        {{1, 5, 2, 2, 5, 5}, true},   {{1, 5, 2, 0, 0, 0}, true},
        {{1, 1, 1, 0, 255, 9}, true}, {{0, 5, 2, 2, 5, 5}, false},
        {{3, 5, 2, 2, 5, 5}, false},  {{1, 5, 6, 2, 5, 5}, false},
        {{5, 1, 3, 2, 5, 5}, false},  {{1, 5, 1, 2, 5, 2}, true},
        {{1, 5, 5, 2, 5, 1}, false},  {{1, 5, 2, 2, 5, 6}, false},
        {{1, 5, 2, 5, 2, 3}, false},  {{0, 0, 0, 0, 0, 0}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ml_alive a = good_alive();
        a.vsn = span_of(cases[i].vsn, 6);
        check_i64(ml_alive_check(&a), cases[i].is_good ? 0 : ERR_BAD);
    }
}

static void dials_the_mapped_form_as_ipv4(void **state)
{
    (void)state;
    char text[ADDR_TEXT_SIZE];
    struct addr a = ml_addr(SPAN(v4_mapped), 80);
    check_text(addr_format(&a, text), "127.0.0.1:80");
    check_span(ml_addr_bytes(&a), SPAN(v4));
    a = ml_addr(SPAN(v4), 80);
    check_text(addr_format(&a, text), "127.0.0.1:80");

    uint8_t v6[16] = {0x20, 0x01, [15] = 7};
    a = ml_addr(SPAN(v6), 65535);
    check_text(addr_format(&a, text), "[2001::7]:65535");
    check_span(ml_addr_bytes(&a), SPAN(v6));

    /* one form of an address goes out, whoever wrote it down */
    check_i64(addr_parse_ip(&a, "::ffff:127.0.0.1"), 0);
    check_span(ml_addr_bytes(&a), SPAN(v4));

    for (size_t len = 0; len < 20; len++) {
        a = ml_addr(span_of(filler, len), 80);
        if (len != 4 && len != 16) {
            check_u64(a.family, ADDR_NONE);
            check_u64(ml_addr_bytes(&a).len, 0);
        }
    }
}

/* --- properties --------------------------------------------------------- */

static bool is_single(const struct vector *v)
{
    return (v->id[0] == 'C' || v->id[0] == 'P') &&
           (v->bytes[0] <= ML_DEAD || v->bytes[0] == ML_NACK ||
            v->bytes[0] == ML_ERR);
}

static void finds_every_prefix_of_a_message_truncated(void **state)
{
    (void)state;
    struct vector v;
    size_t n = 0;
    FILE *f = vectors_open();
    while (vectors_next(f, &v)) {
        if (!is_single(&v))
            continue;
        n++;
        for (size_t len = 0; len < v.len; len++) {
            struct ml_msg m = {.type = 99};
            uint8_t *copy = malloc(len + 1); /* ends where it ends */
            check_true(copy != NULL);
            memcpy(copy, v.bytes, len);
            check_i64(ml_msg_decode(copy, len, &m), ERR_TRUNC);
            check_u64(m.type, 99);
            free(copy);
        }
    }
    fclose(f);
    check_true(n >= 18);
}

static int read_part(unsigned which, struct span bytes)
{
    struct rd r;
    struct ml_push_pull h;
    struct ml_alive a;
    struct span buf;
    uint32_t len;
    rd_init(&r, bytes.data, bytes.len);
    switch (which) {
    case 0:
        return ml_push_pull_read(&r, &h);
    case 1:
        return ml_entry_read(&r, &a);
    case 2:
        return ml_user_len_read(&r, &len);
    default:
        return ml_compress_read(&r, &buf);
    }
}

static void finds_every_prefix_of_a_stream_part_truncated(void **state)
{
    (void)state;
    const char *ids[] = {"C19", "C21", "C22", "C24"};
    for (unsigned i = 0; i < 4; i++) {
        struct vector v = vector_get(ids[i]);
        for (size_t len = 1; len < v.len; len++)
            check_i64(read_part(i, span_of(v.bytes + 1, len - 1)), ERR_TRUNC);
        check_i64(read_part(i, span_of(v.bytes + 1, v.len - 1)), 0);
    }
}

/* What decodes encodes, and that decodes to the same. */
static void survives_every_flipped_bit(void **state)
{
    (void)state;
    static struct oracle_out first;
    static struct oracle_out second;
    struct vector v;
    FILE *f = vectors_open();
    while (vectors_next(f, &v)) {
        for (size_t bit = 0; bit < 8 * v.len; bit++) {
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            for (unsigned i = 0; i < 4; i++)
                read_part(i, span_of(v.bytes + 1, v.len - 1));
            struct ml_msg m;
            struct ml_msg again;
            if (ml_msg_decode(v.bytes, v.len, &m) == 0) {
                check_i64(recode(&m, &again), 0);
                oracle_text(&m, &first);
                oracle_text(&again, &second);
                check_text(first.text, second.text);
            }
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    fclose(f);
}

static void agrees_with_msgpack_c_on_odd_messages_a08(void **state)
{
    (void)state;
    static struct oracle_out want;
    static struct oracle_out got;
    uint8_t bytes[32768];
    struct rng rng;
    size_t n_good = 0;
    size_t n_bad = 0;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 200000; i++) {
        struct wr w;
        struct ml_msg m;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        oracle_make(&w, &rng);
        check_i64(wr_err(&w), 0);
        bool is_good = oracle_read(bytes, w.len, &want);
        int err = ml_msg_decode(bytes, w.len, &m);
        if (is_good != (err == 0)) {
            print_error("message %d: %d, msgpack-c %d\n", i, err, is_good);
            for (size_t k = 0; k < w.len; k++)
                print_error("%02x", bytes[k]);
            print_error("\n");
        }
        check_u64(err == 0, is_good);
        n_good += is_good;
        n_bad += !is_good;
        if (!is_good)
            continue;
        oracle_text(&m, &got);
        check_text(got.text, want.text);
    }
    /* Both kinds are there, or nothing was compared. */
    check_true(n_good > 50000);
    check_true(n_bad > 20000);
}

/* What a stream that is read again at each new byte relies on. */
static void finds_every_prefix_of_odd_messages_truncated(void **state)
{
    (void)state;
    uint8_t bytes[32768];
    struct rng rng;
    size_t n_good = 0;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 20000; i++) {
        struct wr w;
        struct rd r;
        struct ml_alive a;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        oracle_make(&w, &rng);
        rd_init(&r, bytes + 1, w.len - 1);
        if (ml_entry_read(&r, &a) != 0)
            continue;
        n_good++;
        size_t end = r.pos;
        for (int k = 0; k < 10; k++) {
            size_t cut = k ? rng_below(&rng, end) : end - 1;
            rd_init(&r, bytes + 1, cut);
            check_i64(ml_entry_read(&r, &a), ERR_TRUNC);
        }
    }
    check_true(n_good > 5000);
}

static void writes_no_more_than_there_is_room_for(void **state)
{
    (void)state;
    struct vector v = vector_get("C14");
    struct ml_msg m;
    check_i64(ml_msg_decode(v.bytes, v.len, &m), 0);
    for (size_t size = 0; size < v.len; size++) {
        struct wr w;
        uint8_t *out = malloc(size + 1);
        check_true(out != NULL);
        wr_init_fixed(&w, out, size);
        ml_msg_encode(&w, &m);
        check_i64(wr_err(&w), ERR_TOOBIG);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_pings_as_go_does),
        cmocka_unit_test(reads_and_writes_indirect_pings_as_go_does),
        cmocka_unit_test(reads_and_writes_answers_as_go_does),
        cmocka_unit_test(takes_empty_for_nil),
        cmocka_unit_test(leaves_out_an_empty_payload_when_told),
        cmocka_unit_test(reads_and_writes_accusations_as_go_does),
        cmocka_unit_test(reads_and_writes_alives_as_go_does),
        cmocka_unit_test(reads_push_pull_headers_of_both_codecs),
        cmocka_unit_test(reads_and_writes_entries_as_go_does),
        cmocka_unit_test(leaves_the_reader_behind_what_it_read),
        cmocka_unit_test(reads_user_lengths_of_both_codecs),
        cmocka_unit_test(reads_and_writes_the_wrapper_as_go_does),
        cmocka_unit_test(writes_empty_text_and_empty_bytes_as_go_does),
        cmocka_unit_test(takes_odd_but_legal_encodings_a08),
        cmocka_unit_test(takes_numbers_for_booleans),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(knows_only_its_own_types),
        cmocka_unit_test(gives_user_bytes_as_they_are),
        cmocka_unit_test(refuses_lengths_that_are_negative_or_huge),
        cmocka_unit_test(gives_a_state_that_is_none_as_255),
        cmocka_unit_test(decompresses_lzw_only),
        cmocka_unit_test(believes_no_size_that_is_not_there_a07),
        cmocka_unit_test(refuses_a_map_of_too_many_keys_by_its_head),
        cmocka_unit_test(limits_keys_in_number_and_length),
        cmocka_unit_test(limits_the_bytes_of_unknown_values),
        cmocka_unit_test(limits_how_deep_unknown_values_nest),
        cmocka_unit_test(checks_field_lengths_from_0_to_300_a09),
        cmocka_unit_test(keeps_only_records_of_fitting_lengths_a09),
        cmocka_unit_test(keeps_no_names_with_control_characters),
        cmocka_unit_test(keeps_only_addresses_of_one_node),
        cmocka_unit_test(keeps_only_versions_that_agree_with_themselves),
        cmocka_unit_test(dials_the_mapped_form_as_ipv4),
        cmocka_unit_test(finds_every_prefix_of_a_message_truncated),
        cmocka_unit_test(finds_every_prefix_of_a_stream_part_truncated),
        cmocka_unit_test(survives_every_flipped_bit),
        cmocka_unit_test(agrees_with_msgpack_c_on_odd_messages_a08),
        cmocka_unit_test(finds_every_prefix_of_odd_messages_truncated),
        cmocka_unit_test(writes_no_more_than_there_is_room_for),
    };
    return cmocka_run_group_tests_name("ml_msg", tests, NULL, NULL);
}
