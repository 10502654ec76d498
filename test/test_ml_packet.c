/* Captured datagrams, then every layer on its own, then attacks. */
#include "proto/ml_packet.h"

#include "proto/base/crc32.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/lzw.h"
#include "test/vectors.h"

/* 00 01 .. 0b, the nonce of the D vectors. */
static int counting(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)i;
    return 0;
}

struct bed {
    struct ml_keyring *keys; /* the vectors' key K */
    struct ml_keyring *other;
    struct ml_scratch scratch;
    struct ml_parts parts;
    size_t n_odd;
    struct wr out;
    uint8_t *copy; /* of the last packet, which its parts lie in */
};

static struct ml_keyring *ring(uint8_t len, uint8_t first)
{
    struct ml_key key = {.len = len};
    for (uint8_t i = 0; i < len; i++)
        key.bytes[i] = (uint8_t)(first + i);
    struct errmsg msg;
    struct ml_keyring *k = ml_keyring_open(&key, 1, counting, NULL, &msg);
    assert_non_null(k);
    return k;
}

static int set_up(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    b->keys = ring(32, 0);
    b->other = ring(32, 1);
    wr_init_grow(&b->out, 1 << 20);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *b = *state;
    ml_keyring_close(b->keys);
    ml_keyring_close(b->other);
    ml_scratch_fini(&b->scratch);
    wr_fini(&b->out);
    free(b->copy);
    free(b);
    return 0;
}

static const struct ml_wire clear_wire;

static struct ml_wire wire_of(struct ml_keyring *keys, const char *label)
{
    return (struct ml_wire){.keys = keys, .label = span_of_text(label)};
}

static enum ml_drop open_bytes(struct bed *b, const struct ml_wire *wire,
                               const void *data, size_t len)
{
    /* An exact copy, so that a sanitizer sees the first byte behind it. */
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    free(b->copy);
    b->copy = copy;
    b->n_odd = 77;
    enum ml_drop why =
        ml_packet_open(wire, copy, len, &b->scratch, &b->parts, &b->n_odd);
    for (size_t i = 0; i < b->parts.n; i++) {
        uint8_t type = b->parts.part[i].data[0];
        check_true(b->parts.part[i].len > 0);
        check_true(type <= ML_DEAD || type == ML_USER || type == ML_NACK);
    }
    check_true(b->parts.n <= ML_PARTS_MAX);
    check_true(!why || (b->parts.n == 0 && b->n_odd == 0));
    return why;
}

static enum ml_drop open_out(struct bed *b, const struct ml_wire *wire)
{
    b->n_odd = 77;
    return ml_packet_open(wire, b->out.data, b->out.len, &b->scratch, &b->parts,
                          &b->n_odd);
}

static void check_part(const struct bed *b, size_t i, const void *data,
                       size_t len)
{
    check_true(i < b->parts.n);
    check_u64(b->parts.part[i].len, len);
    assert_memory_equal(b->parts.part[i].data, data, len);
}

/* --- what real peers send ------------------------------------------------ */

static void the_checksum_is_that_of_everybody(void **state)
{
    (void)state;
    check_u64(crc32_of("123456789", 9), 0xcbf43926);
    check_u64(crc32_of("", 0), 0);
    check_u64(crc32_of("a", 1), 0xe8b7be43);

    /* Bit by bit, at every length and every start. */
    uint8_t data[67];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 151 + 7);
    for (size_t from = 0; from < 4; from++) {
        uint32_t crc = UINT32_MAX;
        for (size_t i = from; i < sizeof(data); i++) {
            crc ^= data[i];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
            check_u64(crc32_of(data + from, i + 1 - from), ~crc);
        }
    }
}

struct captured {
    const char *id;
    const char *label;
    bool is_sealed;
    const char *types; /* of the messages, a letter each: 'a' is 0 */
    bool crc, compress;
};

static const struct captured captures[] = {
    {"C1", "", false, "a", false, false},
    {"C25", "", false, "bd", false, false},
    {"D1", "", true, "a", false, false},
    {"D3", "cluster-a", true, "a", false, false},
    {"P1", "", false, "a", false, false},
    {"P2", "", false, "ad", false, false},
    {"P3", "", false, "c", false, false},
    {"P4", "", false, "b", false, false},
    {"P5", "", false, "l", false, false},
    {"P6", "", false, "e", true, false},
    {"P7", "", false, "d", true, false},
    {"P8", "", false, "f", true, false},
    {"P9", "", false, "f", true, false},
    {"P10", "", false, "i", true, false},
    {"P11", "", false, "i", true, false},
    {"P12", "", false, "eeei", true, true},
    {"G3", "", false, "i", true, false},
    {"E1", "", true, "a", false, false},
    {"E2", "", true, "l", false, false},
    {"E3", "", true, "f", true, false},
    {"E4", "", true, "i", true, false},
    {"E5", "", true, "eeei", true, true},
    {"L1", "cluster-a", false, "a", false, false},
    {"L5", "cluster-a", true, "a", false, false},
};

/* The vector's own nonce. */
static int nonce_of(void *arg, uint8_t *out, size_t len)
{
    memcpy(out, arg, len);
    return 0;
}

static void check_capture(struct bed *b, const struct captured *c)
{
    struct vector v = vector_get(c->id);
    size_t nonce_at = 1 + (*c->label ? 2 + strlen(c->label) : 0);
    struct ml_key key = {.len = 32};
    for (uint8_t i = 0; i < 32; i++)
        key.bytes[i] = i;
    struct errmsg msg;
    struct ml_keyring *keys =
        ml_keyring_open(&key, 1, nonce_of, v.bytes + nonce_at, &msg);
    struct ml_wire wire = wire_of(c->is_sealed ? keys : NULL, c->label);

    check_i64(ml_packet_open(&wire, v.bytes, v.len, &b->scratch, &b->parts,
                             &b->n_odd),
              ML_DROP_NONE);
    check_u64(b->parts.n, strlen(c->types));
    check_u64(b->n_odd, 0);
    check_false(b->parts.is_cut);
    bool decodes = strcmp(c->id, "C25") != 0;
    for (size_t i = 0; i < b->parts.n; i++) {
        struct ml_msg m;
        check_u64(b->parts.part[i].data[0] + 'a', (uint64_t)c->types[i]);
        if (decodes)
            check_i64(
                ml_msg_decode(b->parts.part[i].data, b->parts.part[i].len, &m),
                0);
    }

    /* And back: the same bytes come out. */
    uint8_t copy[4096];
    size_t used = 0;
    struct span parts[ML_PARTS_MAX];
    for (size_t i = 0; i < b->parts.n; i++) {
        memcpy(copy + used, b->parts.part[i].data, b->parts.part[i].len);
        parts[i] = span_of(copy + used, b->parts.part[i].len);
        used += parts[i].len;
    }
    wr_reset(&b->out);
    check_i64(ml_packet_close(&wire, parts, b->parts.n, c->compress, c->crc,
                              &b->scratch, &b->out),
              0);
    check_u64(b->out.len, v.len);
    assert_memory_equal(b->out.data, v.bytes, v.len);
    ml_keyring_close(keys);
}

static void opens_and_writes_what_peers_sent(void **state)
{
    for (size_t i = 0; i < sizeof(captures) / sizeof(captures[0]); i++)
        check_capture(*state, &captures[i]);
}

static void opens_the_padded_seal_of_old_peers(void **state)
{
    struct bed *b = *state;
    struct ml_wire wire = wire_of(b->keys, "");
    struct vector ping = vector_get("C1");
    struct vector v = vector_get("D2");
    check_i64(open_out(b, &wire), ML_DROP_EMPTY);
    check_i64(
        ml_packet_open(&wire, v.bytes, v.len, &b->scratch, &b->parts, NULL),
        ML_DROP_NONE);
    check_part(b, 0, ping.bytes, ping.len);
    v = vector_get("V1");
    check_i64(
        ml_packet_open(&wire, v.bytes, v.len, &b->scratch, &b->parts, NULL),
        ML_DROP_NONE);
    check_u64(b->parts.part[0].data[0], ML_ACK);
}

static void a_compressed_message_may_be_a_single_one(void **state)
{
    struct bed *b = *state;
    struct vector v = vector_get("C24");
    /* "hello ..." begins with 'h', no type of ours. */
    check_i64(open_bytes(b, &clear_wire, v.bytes, v.len), ML_DROP_TYPE);

    uint8_t text[200] = {ML_USER};
    struct span part = span_of(text, sizeof(text));
    check_i64(ml_packet_close(&clear_wire, &part, 1, true, false, &b->scratch,
                              &b->out),
              0);
    check_u64(b->out.data[0], ML_COMPRESS);
    check_i64(open_out(b, &clear_wire), ML_DROP_NONE);
    check_u64(b->parts.n, 1);
    check_part(b, 0, text, sizeof(text));
}

/* --- one layer at a time ------------------------------------------------- */

/* Two parts, and each must come out under its own label only. */
static void the_label_must_be_ours(void **state)
{
    struct bed *b = *state;
    static const char *const labels[] = {"", "a", "b", "ab", "cluster-a"};
    uint8_t ping[] = {ML_PING, 0x80};
    struct span part = span_of(ping, sizeof(ping));

    for (int sealed = 0; sealed < 2; sealed++) {
        for (size_t i = 0; i < 5; i++) {
            struct ml_wire from = wire_of(sealed ? b->keys : NULL, labels[i]);
            wr_reset(&b->out);
            check_i64(ml_packet_close(&from, &part, 1, false, false,
                                      &b->scratch, &b->out),
                      0);
            for (size_t j = 0; j < 5; j++) {
                struct ml_wire to = wire_of(sealed ? b->keys : NULL, labels[j]);
                check_i64(open_out(b, &to),
                          i == j ? ML_DROP_NONE : ML_DROP_LABEL);
            }
        }
    }
}

static void a_broken_label_is_refused(void **state)
{
    struct bed *b = *state;
    struct ml_wire wire = wire_of(NULL, "ab");
    static const uint8_t bytes[][8] = {
        {1, 0xf4},
        {2, 0xf4, 0},
        {2, 0xf4, 2},
        {3, 0xf4, 0, 0},
        {3, 0xf4, 2, 'a'},
        {4, 0xf4, 1, 'a', 0},
        {5, 0xf4, 3, 'a', 'b', 0},
        {6, 0xf4, 2, 'a', 'c', 0, 0x80},
    };
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        check_i64(open_bytes(b, &wire, bytes[i] + 1, bytes[i][0]),
                  ML_DROP_LABEL);
        check_i64(open_bytes(b, &clear_wire, bytes[i] + 1, bytes[i][0]),
                  ML_DROP_LABEL);
    }
    uint8_t bare[] = {0xf4, 2, 'a', 'b'};
    check_i64(open_bytes(b, &wire, bare, sizeof(bare)), ML_DROP_EMPTY);
    uint8_t twice[] = {0xf4, 2, 'a', 'b', 0xf4, 2, 'a', 'b', 0, 0x80};
    check_i64(open_bytes(b, &wire, twice, sizeof(twice)), ML_DROP_NESTING);
}

/* A label under the seal would pass unnoticed if only the order of the bytes
 * were looked at: same key, other mesh. */
static void one_key_in_two_meshes_does_not_join_them(void **state)
{
    struct bed *b = *state;
    struct ml_wire one = wire_of(b->keys, "one");
    struct ml_wire two = wire_of(b->keys, "two");
    uint8_t ping[] = {ML_PING, 0x80};
    struct span part = span_of(ping, sizeof(ping));

    check_i64(
        ml_packet_close(&one, &part, 1, false, false, &b->scratch, &b->out), 0);
    check_i64(open_out(b, &two), ML_DROP_LABEL);
    memcpy(b->out.data + 2, "two", 3); /* relabelled on the way */
    check_i64(open_out(b, &two), ML_DROP_SEAL);
    struct ml_wire none = wire_of(b->keys, "");
    b->out.len -= 5;
    memmove(b->out.data, b->out.data + 5, b->out.len);
    check_i64(open_out(b, &none), ML_DROP_SEAL);
}

static void nothing_in_the_clear_is_heard_where_there_is_a_key(void **state)
{
    struct bed *b = *state;
    struct ml_wire strict = wire_of(b->keys, "");
    struct ml_wire moving = wire_of(b->keys, "");
    moving.accepts_clear = true;

    for (size_t i = 0; i < sizeof(captures) / sizeof(captures[0]); i++) {
        const struct captured *c = &captures[i];
        if (c->is_sealed || *c->label)
            continue;
        struct vector v = vector_get(c->id);
        check_i64(open_bytes(b, &strict, v.bytes, v.len), ML_DROP_CLEAR);
        check_i64(open_bytes(b, &moving, v.bytes, v.len), ML_DROP_NONE);
        check_u64(b->parts.n, strlen(c->types));
    }
    /* And with it, what is sealed is still opened. */
    struct vector v = vector_get("E5");
    check_i64(open_bytes(b, &moving, v.bytes, v.len), ML_DROP_NONE);
    check_u64(b->parts.n, 4);
}

static void tells_another_key_from_none(void **state)
{
    struct bed *b = *state;
    struct ml_wire wire = wire_of(b->other, "");
    static const char *const ids[] = {"D1", "D2", "E1", "E2", "E5", "V1"};
    for (size_t i = 0; i < 6; i++) {
        struct vector v = vector_get(ids[i]);
        check_i64(open_bytes(b, &wire, v.bytes, v.len), ML_DROP_SEAL);
    }
    check_i64(open_bytes(b, &wire, "\x01", 1), ML_DROP_SEAL);
    check_i64(open_bytes(b, &wire, "\xff", 1), ML_DROP_SEAL);
}

static void a_sealed_packet_means_nothing_without_a_key(void **state)
{
    struct bed *b = *state;
    struct vector v = vector_get("E2");
    /* It looks like an indirect ping, and is not one. */
    check_i64(open_bytes(b, &clear_wire, v.bytes, v.len), ML_DROP_NONE);
    struct ml_msg m;
    check_true(ml_msg_decode(b->parts.part[0].data, b->parts.part[0].len, &m) !=
               0);
}

static void a_wrong_checksum_drops_the_packet(void **state)
{
    struct bed *b = *state;
    struct vector v = vector_get("P12");
    for (size_t bit = 8; bit < v.len * 8; bit++) {
        v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_i64(open_bytes(b, &clear_wire, v.bytes, v.len), ML_DROP_CRC);
        v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 1; len < v.len; len++)
        check_i64(open_bytes(b, &clear_wire, v.bytes, len), ML_DROP_CRC);
    /* Of no bytes the checksum is zero. */
    check_i64(open_bytes(b, &clear_wire, "\x0c\0\0\0\0", 5), ML_DROP_EMPTY);
}

static void each_bit_of_a_sealed_packet_counts(void **state)
{
    struct bed *b = *state;
    struct ml_wire wire = wire_of(b->keys, "cluster-a");
    struct vector v = vector_get("L5");
    for (size_t bit = 0; bit < v.len * 8; bit++) {
        v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum ml_drop why = open_bytes(b, &wire, v.bytes, v.len);
        check_true(why == (bit < 88 ? ML_DROP_LABEL : ML_DROP_SEAL) ||
                   (bit < 96 && why == ML_DROP_CLEAR));
        v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_compound_is_cut_at_its_first_missing_part(void **state)
{
    struct bed *b = *state;
    struct vector v = vector_get("P2");
    size_t first = 6 + 0x3d;

    for (size_t len = 1; len < v.len; len++) {
        enum ml_drop why = open_bytes(b, &clear_wire, v.bytes, len);
        check_i64(why, len < 6 ? ML_DROP_CODEC : ML_DROP_NONE);
        check_u64(b->parts.n, len < first ? 0 : 1);
        check_true(why || b->parts.is_cut);
    }
    check_i64(open_bytes(b, &clear_wire, v.bytes, v.len), ML_DROP_NONE);
    check_false(b->parts.is_cut);
    check_u64(b->parts.n, 2);

    /* A middle part that reaches too far takes the last one with it, although
     * that one would still fit. */
    uint8_t lies[] = {7, 3, 0, 1, 0, 200, 0, 1, 2, 3, 4};
    check_i64(open_bytes(b, &clear_wire, lies, sizeof(lies)), ML_DROP_NONE);
    check_u64(b->parts.n, 1);
    check_true(b->parts.is_cut);
}

static void parts_of_no_length_are_left_out(void **state)
{
    struct bed *b = *state;
    check_i64(open_bytes(b, &clear_wire, "\7\1\0\0", 4), ML_DROP_NONE);
    check_u64(b->parts.n, 0);
    check_i64(open_bytes(b, &clear_wire, "\7\0", 2), ML_DROP_NONE);
    check_u64(b->parts.n, 0);
    check_i64(open_bytes(b, &clear_wire, "\7\3\0\0\0\1\0\0\2", 9),
              ML_DROP_NONE);
    check_u64(b->parts.n, 1);
    check_part(b, 0, "\2", 1);

    uint8_t all[2 + 255 * 2] = {7, 255};
    check_i64(open_bytes(b, &clear_wire, all, sizeof(all)), ML_DROP_NONE);
    check_u64(b->parts.n, 0);
    check_false(b->parts.is_cut);
}

static void every_type_has_its_place(void **state)
{
    struct bed *b = *state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t alone[] = {(uint8_t)type, 0x80, 0, 0, 0, 0, 0};
        uint8_t among[] = {7, 3, 0, 1, 0, 1, 0, 1, 2, (uint8_t)type, 3};
        bool is_message = type <= 5 || type == 8 || type == 11;
        bool is_wrapper = type == 7 || type == 9 || type == 12 || type == 244;

        enum ml_drop why = open_bytes(b, &clear_wire, alone, sizeof(alone));
        if (is_message) {
            check_i64(why, ML_DROP_NONE);
            check_u64(b->parts.n, 1);
        } else if (!is_wrapper) {
            check_i64(why, ML_DROP_TYPE);
        }
        why = open_bytes(b, &clear_wire, among, sizeof(among));
        check_i64(why, is_wrapper ? ML_DROP_NESTING : ML_DROP_NONE);
        check_u64(b->parts.n, is_wrapper ? 0 : is_message ? 3 : 2);
        check_u64(b->n_odd, is_wrapper || is_message ? 0 : 1);
    }
    uint8_t many[2 + 3 * 255] = {7, 255};
    for (size_t i = 0; i < 255; i++) {
        many[3 + 2 * i] = 1;
        many[2 + 2 * 255 + i] = 99;
    }
    check_i64(open_bytes(b, &clear_wire, many, sizeof(many)), ML_DROP_NONE);
    check_u64(b->n_odd, 255);
    check_u64(b->parts.n, 0);
    check_i64(ml_packet_open(&clear_wire, many, sizeof(many), &b->scratch,
                             &b->parts, NULL),
              ML_DROP_NONE);
}

/* --- wrappers in wrappers ------------------------------------------------ */

enum layer { COMPOUND, COMPRESS, CRC, LABEL, N_LAYERS };

static void wrap(struct wr *w, const uint8_t *in, size_t len, enum layer layer,
                 size_t fan)
{
    struct wr packed;

    wr_reset(w);
    switch (layer) {
    case COMPOUND:
        wr_u8(w, ML_COMPOUND);
        wr_u8(w, (uint8_t)fan);
        for (size_t i = 0; i < fan; i++)
            wr_be16(w, (uint16_t)len);
        for (size_t i = 0; i < fan; i++)
            wr_bytes(w, in, len);
        break;
    case COMPRESS:
        wr_init_grow(&packed, 1 << 22);
        lzw_encode(in, len, &packed);
        wr_u8(w, ML_COMPRESS);
        ml_compress_write(w, span_of(packed.data, packed.len));
        wr_fini(&packed);
        break;
    case CRC:
        wr_u8(w, ML_CRC);
        wr_be32(w, crc32_of(in, len));
        wr_bytes(w, in, len);
        break;
    case LABEL:
    case N_LAYERS:
        wr_text(w, "\xf4\x01l");
        wr_bytes(w, in, len);
        break;
    }
}

/* Every order of up to four layers, and which of them are meant to be: label,
 * then checksum, then compress, then compound, each at most once. */
static void only_the_order_of_the_peers_is_taken(void **state)
{
    struct bed *b = *state;
    struct ml_wire plain = wire_of(NULL, "");
    struct ml_wire labelled = wire_of(NULL, "l");
    unsigned n_taken = 0;

    for (unsigned code = 0; code < 5 * 5 * 5 * 5; code++) {
        enum layer layers[4];
        size_t n = 0;
        bool fits = true, has_gap = false, has_label = false;
        int outer = N_LAYERS;
        for (unsigned i = 0, c = code; i < 4; i++, c /= 5) {
            if (c % 5 == N_LAYERS) {
                has_gap = true;
                continue;
            }
            fits = fits && !has_gap;
            layers[n++] = (enum layer)(c % 5);
        }
        if (!fits)
            continue; /* the same as one without the gap */
        struct wr now, next;
        wr_init_grow(&now, 1 << 22);
        wr_init_grow(&next, 1 << 22);
        wr_text(&now, "\2\x80");
        for (size_t i = n; i > 0; i--) {
            wrap(&next, now.data, now.len, layers[i - 1], 1);
            struct wr swap = now;
            now = next;
            next = swap;
        }
        for (size_t i = 0; i < n; i++) {
            fits = fits && (int)layers[i] < outer;
            outer = (int)layers[i];
            has_label = has_label || (i == 0 && layers[i] == LABEL);
        }
        enum ml_drop why =
            open_bytes(b, has_label ? &labelled : &plain, now.data, now.len);
        check_i64(why, fits ? ML_DROP_NONE : ML_DROP_NESTING);
        check_u64(b->parts.n, fits ? 1 : 0);
        n_taken += why == ML_DROP_NONE;
        wr_fini(&now);
        wr_fini(&next);
    }
    check_u64(n_taken, 16);
}

static void nests_of_any_depth_and_fan_are_dropped(void **state)
{
    struct bed *b = *state;
    static const size_t fans[] = {1, 2, 16, 255};
    struct rng rng;
    rng_seed(&rng, check_seed());

    for (size_t f = 0; f < 4; f++) {
        struct wr now, next;
        wr_init_grow(&now, 1 << 26);
        wr_init_grow(&next, 1 << 26);
        wr_text(&now, "\2\x80");
        for (size_t depth = 1; depth <= 64; depth++) {
            enum layer layer = rng_below(&rng, 2) ? COMPRESS : COMPOUND;
            if (layer == COMPOUND && now.len * fans[f] > ML_PACKET_MAX - 600)
                layer = COMPRESS;
            if (now.len > ML_PACKET_MAX - 600)
                break;
            bool was_wrapped = depth > 1;
            bool was_compound = was_wrapped && now.data[0] == ML_COMPOUND;
            wrap(&next, now.data, now.len, layer, fans[f]);
            struct wr swap = now;
            now = next;
            next = swap;
            if (now.len > ML_PACKET_MAX)
                break;
            enum ml_drop why = open_bytes(b, &clear_wire, now.data, now.len);
            bool fits =
                depth == 1 || (depth == 2 && was_compound && layer == COMPRESS);
            check_i64(why, fits ? ML_DROP_NONE : ML_DROP_NESTING);
        }
        wr_fini(&now);
        wr_fini(&next);
    }
}

/* --- bombs and broken bytes ---------------------------------------------- */

/* A run of one letter is the densest there is: each code stands for a string
 * longer by one, up to the clear, and then from the start again. */
static void make_bomb(struct wr *w, size_t n)
{
    uint8_t *zeros = calloc(1, n);
    assert_non_null(zeros);
    struct wr packed;

    wr_init_grow(&packed, 1 << 20);
    lzw_encode(zeros, n, &packed);
    wr_u8(w, ML_COMPRESS);
    ml_compress_write(w, span_of(packed.data, packed.len));
    wr_fini(&packed);
    free(zeros);
}

static void bombs_stop_at_the_limit(void **state)
{
    struct bed *b = *state;
    make_bomb(&b->out, 615495);
    check_u64(b->out.len, 1400 + 15);
    check_i64(open_out(b, &clear_wire), ML_DROP_BOMB);
    check_u64(b->scratch.expanded.size, ML_PACKET_MAX);

    wr_reset(&b->out);
    make_bomb(&b->out, 88000000);
    check_u64(b->out.len, 64740);
    for (int i = 0; i < 1000; i++)
        check_i64(open_out(b, &clear_wire), ML_DROP_BOMB);
    check_u64(b->scratch.expanded.size, ML_PACKET_MAX);

    /* Exactly the limit is not a bomb. */
    static uint8_t full[ML_PACKET_MAX + 1] = {ML_USER};
    for (size_t more = 0; more < 2; more++) {
        struct wr packed;
        wr_init_grow(&packed, 1 << 20);
        lzw_encode(full, ML_PACKET_MAX + more, &packed);
        wr_reset(&b->out);
        wr_u8(&b->out, ML_COMPRESS);
        ml_compress_write(&b->out, span_of(packed.data, packed.len));
        wr_fini(&packed);
        check_i64(open_out(b, &clear_wire), more ? ML_DROP_BOMB : ML_DROP_NONE);
    }
    /* Nor is a sealed bomb any better. */
    wr_reset(&b->out);
    make_bomb(&b->out, 615495);
    struct wr sealed;
    struct ml_wire wire = wire_of(b->keys, "");
    wr_init_grow(&sealed, 1 << 20);
    check_i64(
        ml_seal(b->keys, wire.label, span_of(b->out.data, b->out.len), &sealed),
        0);
    check_i64(open_bytes(b, &wire, sealed.data, sealed.len), ML_DROP_BOMB);
    wr_fini(&sealed);
}

static void what_unpacks_to_nothing_is_dropped(void **state)
{
    struct bed *b = *state;
    struct ml_wire wire = wire_of(b->keys, "l");
    struct wr w;
    wr_init_grow(&w, 1 << 20);

    wrap(&w, NULL, 0, COMPRESS, 1);
    check_i64(open_bytes(b, &clear_wire, w.data, w.len), ML_DROP_EMPTY);
    /* Not even a clear and an end. */
    uint8_t none[] = {9, 0x81, 0xa3, 'B', 'u', 'f', 0xc0};
    check_i64(open_bytes(b, &clear_wire, none, sizeof(none)), ML_DROP_CODEC);
    check_i64(open_bytes(b, &clear_wire, "\x09\x80", 2), ML_DROP_CODEC);
    check_i64(open_bytes(b, &clear_wire, "", 0), ML_DROP_EMPTY);

    wr_reset(&w);
    wr_text(&w, "\xf4\1l");
    check_i64(ml_seal(b->keys, wire.label, (struct span){0}, &w), 0);
    check_i64(open_bytes(b, &wire, w.data, w.len), ML_DROP_EMPTY);
    wr_fini(&w);
}

/* Every frame of up to three bytes and a share of those of four, bare, sealed
 * and labelled: A10's "all frames of 0-4 bytes". */
static void every_short_frame_is_survived(void **state)
{
    struct bed *b = *state;
    struct ml_wire sealed = wire_of(b->keys, "");
    struct ml_wire labelled = wire_of(NULL, "l");
    uint8_t frame[7] = {0xf4, 1, 'l'};
    struct wr w;
    wr_init_grow(&w, 256);

    for (size_t len = 0; len <= 4; len++) {
        uint64_t n = 1ull << 8 * len, step = len == 4 ? 4093 : 1;
        for (uint64_t v = 0; v < n; v += step) {
            for (size_t i = 0; i < len; i++)
                frame[3 + i] = (uint8_t)(v >> 8 * i);
            enum ml_drop why = ml_packet_open(
                &clear_wire, frame + 3, len, &b->scratch, &b->parts, &b->n_odd);
            check_true(why < ML_DROP_N && b->parts.n <= 2);
            check_true(ml_packet_open(&labelled, frame, 3 + len, &b->scratch,
                                      &b->parts, &b->n_odd) == why ||
                       (len > 0 && frame[3] == 0xf4));
            bool is_new = len < 3 || v % 61 == 0;
            if (!is_new)
                continue;
            wr_reset(&w);
            check_i64(
                ml_seal(b->keys, sealed.label, span_of(frame + 3, len), &w), 0);
            enum ml_drop same = ml_packet_open(
                &sealed, w.data, w.len, &b->scratch, &b->parts, &b->n_odd);
            check_true(same == why || (len > 0 && frame[3] == 0xf4));
            check_true(ml_packet_open(&sealed, frame + 3, len, &b->scratch,
                                      &b->parts, &b->n_odd) != ML_DROP_NONE);
        }
    }
    wr_fini(&w);
}

static void any_change_of_a_captured_packet_is_survived(void **state)
{
    struct bed *b = *state;
    struct rng rng;
    rng_seed(&rng, check_seed());

    for (size_t i = 0; i < sizeof(captures) / sizeof(captures[0]); i++) {
        const struct captured *c = &captures[i];
        struct ml_wire wire = wire_of(c->is_sealed ? b->keys : NULL, c->label);
        struct vector v = vector_get(c->id);
        for (size_t len = 0; len <= v.len; len++)
            open_bytes(b, &wire, v.bytes, len);
        for (size_t bit = 0; bit < v.len * 8; bit++) {
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            open_bytes(b, &wire, v.bytes, v.len);
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        /* Below the checksum, too. */
        size_t skip = c->crc && !c->is_sealed ? 5 : 0;
        for (unsigned round = 0; round < 2000; round++) {
            struct vector w = v;
            for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
                w.bytes[skip + rng_below(&rng, w.len - skip)] =
                    (uint8_t)rng_next(&rng);
            open_bytes(b, &wire, w.bytes + skip, w.len - skip);
        }
    }
}

static void too_large_a_datagram_is_not_looked_at(void **state)
{
    struct bed *b = *state;
    static uint8_t data[ML_PACKET_MAX + 1] = {ML_USER};
    check_i64(open_bytes(b, &clear_wire, data, ML_PACKET_MAX), ML_DROP_NONE);
    check_i64(open_bytes(b, &clear_wire, data, ML_PACKET_MAX + 1),
              ML_DROP_TOOBIG);
}

/* --- writing ------------------------------------------------------------- */

static void room_is_what_is_left(void **state)
{
    struct bed *b = *state;
    struct ml_wire wires[] = {wire_of(NULL, ""), wire_of(NULL, "cluster-a"),
                              wire_of(b->keys, ""),
                              wire_of(b->keys, "cluster-a")};
    static const size_t costs[] = {5, 16, 34, 45};

    for (size_t i = 0; i < 4; i++) {
        check_u64(ml_packet_room(&wires[i], 1400, 1), 1400 - costs[i]);
        check_u64(ml_packet_room(&wires[i], 1400, 2), 1400 - costs[i] - 6);
        check_u64(ml_packet_room(&wires[i], 1400, 255), 1400 - costs[i] - 512);
        check_u64(ml_packet_room(&wires[i], costs[i], 1), 0);
        check_u64(ml_packet_room(&wires[i], costs[i] + 1, 1), 1);
        check_u64(ml_packet_room(&wires[i], 0, 1), 0);

        /* And it holds: filled to the last byte, it is just as large. */
        static uint8_t noise[2000];
        struct rng rng;
        rng_seed(&rng, check_seed());
        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (uint8_t)rng_next(&rng);
        for (size_t n = 1; n <= 40; n++) {
            size_t room = ml_packet_room(&wires[i], 1400, n);
            struct span parts[40];
            for (size_t k = 0; k < n; k++)
                parts[k] = span_of(noise + k, 1);
            parts[n - 1].len = room - (n - 1);
            wr_reset(&b->out);
            check_i64(ml_packet_close(&wires[i], parts, n, n % 2, true,
                                      &b->scratch, &b->out),
                      0);
            check_u64(b->out.len, 1400);
        }
    }
}

static void compresses_only_what_gets_smaller(void **state)
{
    struct bed *b = *state;
    uint8_t text[300];
    struct rng rng;
    rng_seed(&rng, check_seed());
    unsigned n_smaller = 0;

    for (unsigned round = 0; round < 3000; round++) {
        size_t len = 1 + rng_below(&rng, sizeof(text) - 1);
        unsigned letters = round % 3 == 0 ? 2 : round % 3 == 1 ? 8 : 256;
        text[0] = ML_USER;
        for (size_t i = 1; i < len; i++)
            text[i] = (uint8_t)rng_below(&rng, letters);
        struct span part = span_of(text, len);
        wr_reset(&b->out);
        check_i64(ml_packet_close(&clear_wire, &part, 1, true, false,
                                  &b->scratch, &b->out),
                  0);
        check_true(b->out.len <= len);
        bool is_packed = b->out.data[0] == ML_COMPRESS;
        check_true(is_packed == (b->out.len < len));
        /* By the other way round: how long would it have been? */
        struct wr whole;
        wr_init_grow(&whole, 1 << 20);
        wrap(&whole, text, len, COMPRESS, 1);
        check_true(is_packed == (whole.len < len));
        check_true(!is_packed || whole.len == b->out.len);
        wr_fini(&whole);
        n_smaller += is_packed;
        check_i64(open_out(b, &clear_wire), ML_DROP_NONE);
        check_part(b, 0, text, len);
    }
    check_true(n_smaller > 500 && n_smaller < 2500);

    struct span part = span_of(memset(text, ML_USER, sizeof(text)), 300);
    wr_reset(&b->out);
    check_i64(ml_packet_close(&clear_wire, &part, 1, false, false, &b->scratch,
                              &b->out),
              0);
    check_u64(b->out.len, 300); /* nobody asked */
}

static void comes_back_whatever_it_is_made_of(void **state)
{
    struct bed *b = *state;
    static uint8_t text[ML_PARTS_MAX][300];
    struct span parts[ML_PARTS_MAX];
    static const uint8_t types[] = {0, 1, 2, 3, 4, 5, 8, 11};
    struct rng rng;
    rng_seed(&rng, check_seed());

    for (unsigned round = 0; round < 2000; round++) {
        struct ml_wire wire =
            wire_of(round % 2 ? b->keys : NULL, round % 3 ? "" : "some label");
        size_t n = 1 + rng_below(&rng, round % 10 ? 12 : ML_PARTS_MAX);
        for (size_t i = 0; i < n; i++) {
            size_t len = 1 + rng_below(&rng, n > 100 ? 200 : 300);
            for (size_t k = 0; k < len; k++)
                text[i][k] = (uint8_t)rng_below(&rng, 30);
            text[i][0] = types[rng_below(&rng, sizeof(types))];
            parts[i] = span_of(text[i], len);
        }
        wr_reset(&b->out);
        wr_text(&b->out, "before");
        check_i64(ml_packet_close(&wire, parts, n, rng_below(&rng, 2),
                                  rng_below(&rng, 2), &b->scratch, &b->out),
                  0);
        assert_memory_equal(b->out.data, "before", 6);
        check_i64(ml_packet_open(&wire, b->out.data + 6, b->out.len - 6,
                                 &b->scratch, &b->parts, &b->n_odd),
                  ML_DROP_NONE);
        check_u64(b->parts.n, n);
        check_u64(b->n_odd, 0);
        for (size_t i = 0; i < n; i++)
            check_part(b, i, parts[i].data, parts[i].len);
    }
}

static void says_when_it_does_not_fit(void **state)
{
    struct bed *b = *state;
    static uint8_t large[ML_PACKET_MAX + 1] = {ML_USER};
    struct span parts[2] = {span_of(large, UINT16_MAX + 1), span_of(large, 1)};
    wr_text(&b->out, "before");

    check_i64(ml_packet_close(&clear_wire, parts, 2, false, false, &b->scratch,
                              &b->out),
              ERR_TOOBIG);
    check_i64(ml_packet_close(&clear_wire, parts, 1, false, false, &b->scratch,
                              &b->out),
              0);
    check_u64(b->out.len, 6 + ML_PACKET_MAX);
    b->out.len = 6;
    parts[0].len++;
    check_i64(ml_packet_close(&clear_wire, parts, 1, false, false, &b->scratch,
                              &b->out),
              ERR_TOOBIG);
    check_u64(b->out.len, 6);
    check_i64(wr_err(&b->out), 0);

    uint8_t room[60];
    struct wr small;
    parts[0].len = 100;
    for (size_t size = 0; size < sizeof(room); size++) {
        struct ml_wire wire = wire_of(size % 2 ? b->keys : NULL, "label");
        wr_init_fixed(&small, room, size);
        check_i64(
            ml_packet_close(&wire, parts, 1, false, true, &b->scratch, &small),
            ERR_TOOBIG);
        check_u64(small.len, 0);
    }
}

static int no_dice(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return ERR_SYS;
}

static void nothing_leaves_without_a_nonce(void **state)
{
    struct bed *b = *state;
    struct ml_key key = {.len = 16};
    struct errmsg msg;
    struct ml_keyring *keys = ml_keyring_open(&key, 1, no_dice, NULL, &msg);
    struct ml_wire wire = wire_of(keys, "label");
    struct span part = span_of("\2\x80", 2);
    wr_text(&b->out, "before");
    check_i64(
        ml_packet_close(&wire, &part, 1, true, true, &b->scratch, &b->out),
        ERR_SYS);
    check_u64(b->out.len, 6);
    ml_keyring_close(keys);
}

static void the_scratch_is_the_same_from_packet_to_packet(void **state)
{
    struct bed *b = *state;
    struct vector v = vector_get("E5");
    struct ml_wire wire = wire_of(b->keys, "");
    uint8_t text[1000] = {ML_USER};
    struct span part = span_of(text, sizeof(text));
    static uint8_t room[2000];
    struct wr out;
    check_i64(open_bytes(b, &wire, v.bytes, v.len), ML_DROP_NONE);
    struct ml_scratch was = b->scratch;
    check_u64(was.clear.size + was.expanded.size, 2 * ML_PACKET_MAX);

    for (int i = 0; i < 100; i++) {
        wr_init_fixed(&out, room, sizeof(room));
        check_i64(
            ml_packet_close(&wire, &part, 1, true, true, &b->scratch, &out), 0);
        check_i64(
            ml_packet_open(&wire, v.bytes, v.len, &b->scratch, &b->parts, NULL),
            ML_DROP_NONE);
        check_true(b->scratch.clear.data == was.clear.data);
        check_true(b->scratch.expanded.data == was.expanded.data);
    }
    check_u64(b->scratch.clear.size + b->scratch.expanded.size,
              2 * ML_PACKET_MAX);
}

static void every_drop_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < ML_DROP_N; i++) {
        for (int j = 0; j < i; j++)
            check_true(strcmp(ml_drop_name((enum ml_drop)i),
                              ml_drop_name((enum ml_drop)j)) != 0);
    }
    check_text(ml_drop_name(ML_DROP_SEAL), "seal");
    check_text(ml_drop_name(ML_DROP_N), "unknown");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_that_of_everybody),
        T(opens_and_writes_what_peers_sent),
        T(opens_the_padded_seal_of_old_peers),
        T(a_compressed_message_may_be_a_single_one),
        T(the_label_must_be_ours),
        T(a_broken_label_is_refused),
        T(one_key_in_two_meshes_does_not_join_them),
        T(nothing_in_the_clear_is_heard_where_there_is_a_key),
        T(tells_another_key_from_none),
        T(a_sealed_packet_means_nothing_without_a_key),
        T(a_wrong_checksum_drops_the_packet),
        T(each_bit_of_a_sealed_packet_counts),
        T(a_compound_is_cut_at_its_first_missing_part),
        T(parts_of_no_length_are_left_out),
        T(every_type_has_its_place),
        T(only_the_order_of_the_peers_is_taken),
        T(nests_of_any_depth_and_fan_are_dropped),
        T(bombs_stop_at_the_limit),
        T(what_unpacks_to_nothing_is_dropped),
        T(every_short_frame_is_survived),
        T(any_change_of_a_captured_packet_is_survived),
        T(too_large_a_datagram_is_not_looked_at),
        T(room_is_what_is_left),
        T(compresses_only_what_gets_smaller),
        T(comes_back_whatever_it_is_made_of),
        T(says_when_it_does_not_fit),
        T(nothing_leaves_without_a_nonce),
        T(the_scratch_is_the_same_from_packet_to_packet),
        cmocka_unit_test(every_drop_has_its_own_name),
    };
    return cmocka_run_group_tests_name("ml_packet", tests, NULL, NULL);
}
