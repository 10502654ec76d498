#include "prober/sample_wire.h"

#include <string.h>

#include "proto/base/err.h"

#define HTTP_STATUS_MAX 999
#define CALENDAR_MAX    (INT64_C(1) << 53) /* seconds, far beyond any date */

/* Bits of the second byte; others are refused. */
enum {
    IS_RECONNECTED = 1,
    HAS_TARGET = 2,
    HAS_FROM_NODE = 4,
    HAS_FROM_ZONE = 8,
    HAS_TO_NODE = 16,
    HAS_TO_ZONE = 32,
    KNOWN_BITS = 63,
};

_Static_assert((INT64_MAX / SAMPLE_NS_MAX) > PHASE_N, "phases have a sum");

/* ---- writing ---- */

static void put_zigzag(struct wr *w, int64_t v)
{
    uint64_t bits = (uint64_t)v << 1;
    wr_varint(w, v < 0 ? ~bits : bits);
}

static void put_addr(struct wr *w, const struct addr *a)
{
    wr_u8(w, a->family);
    if (a->family == ADDR_NONE)
        return;
    wr_be16(w, a->port);
    wr_bytes(w, a->ip, a->family == ADDR_V4 ? 4 : 16);
}

static void put_text(struct wr *w, const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    wr_u8(w, (uint8_t)len);
    wr_bytes(w, text, len);
}

static void put_name(struct wr *w, const char *name)
{
    if (name)
        put_text(w, name, SAMPLE_NAME_SIZE - 1);
}

static uint8_t bits_of(const struct sample *s, const struct sample_names *names)
{
    unsigned bits = s->is_reconnected ? IS_RECONNECTED : 0;
    bits |= names->target ? HAS_TARGET : 0;
    bits |= names->from_node ? HAS_FROM_NODE : 0;
    bits |= names->from_zone ? HAS_FROM_ZONE : 0;
    bits |= names->to_node ? HAS_TO_NODE : 0;
    bits |= names->to_zone ? HAS_TO_ZONE : 0;
    return (uint8_t)bits;
}

static void put_times(struct wr *w, const struct sample *s)
{
    for (unsigned p = 0; p < PHASE_N; p++)
        put_zigzag(w, s->phases_ns[p]);
    put_zigzag(w, s->total_ns);
    put_zigzag(w, s->server_ns);
    put_zigzag(w, s->lag_ns);
    put_zigzag(w, s->start_lag_ns);
    put_zigzag(w, s->rtt_ns);
    put_zigzag(w, s->tls_cpu_ns);
    wr_varint(w, s->started_unix_ns);
}

static void put_facts(struct wr *w, const struct sample *s)
{
    put_addr(w, &s->peer);
    put_addr(w, &s->local);
    put_zigzag(w, s->retransmits);
    put_zigzag(w, s->http_status);
    wr_u8(w, s->http_minor);
    put_zigzag(w, s->grpc_status);
    put_zigzag(w, s->grpc_serving);
    put_zigzag(w, s->tls_not_after_unix_s);
    put_text(w, s->tls_version, sizeof(s->tls_version) - 1);
    put_text(w, s->tls_cipher, sizeof(s->tls_cipher) - 1);
    put_text(w, s->tls_alpn, sizeof(s->tls_alpn) - 1);
    put_text(w, s->error, sizeof(s->error) - 1);
}

void sample_wire_write(const struct sample *s, const struct sample_names *names,
                       struct wr *w)
{
    wr_u8(w, SAMPLE_WIRE_VERSION);
    wr_u8(w, bits_of(s, names));
    wr_u8(w, s->protocol);
    wr_u8(w, s->mode);
    wr_u8(w, s->outcome);
    wr_u8(w, s->clock);
    put_zigzag(w, s->failed_phase);
    put_times(w, s);
    put_facts(w, s);
    if (names->target) {
        size_t len = strnlen(names->target, SAMPLE_TARGET_SIZE - 1);
        wr_be16(w, (uint16_t)len);
        wr_bytes(w, names->target, len);
    }
    put_name(w, names->from_node);
    put_name(w, names->from_zone);
    put_name(w, names->to_node);
    put_name(w, names->to_zone);
}

/* ---- reading ---- */

/* Below `min` or above `max` the sender lies. */
static int64_t get_zigzag(struct rd *r, int64_t min, int64_t max)
{
    uint64_t raw = rd_varint(r);
    int64_t v = (int64_t)(raw >> 1);
    if (raw & 1)
        v = -v - 1;
    if (v < min || v > max)
        rd_fail(r, ERR_BAD);
    return rd_err(r) ? min : v;
}

static uint8_t get_below(struct rd *r, unsigned end)
{
    uint8_t v = rd_u8(r);
    if (v >= end)
        rd_fail(r, ERR_BAD);
    return v;
}

static int64_t get_ns(struct rd *r)
{
    return get_zigzag(r, SAMPLE_ABSENT, SAMPLE_NS_MAX);
}

static void get_addr(struct rd *r, struct addr *a)
{
    uint8_t family = rd_u8(r);
    *a = (struct addr){.family = ADDR_NONE};
    if (family == ADDR_NONE)
        return;
    if (family != ADDR_V4 && family != ADDR_V6) {
        rd_fail(r, ERR_BAD);
        return;
    }
    size_t len = family == ADDR_V4 ? 4 : 16;
    uint16_t port = rd_be16(r);
    const uint8_t *ip = rd_bytes(r, len);
    if (!ip)
        return;
    a->family = family;
    a->port = port;
    memcpy(a->ip, ip, len);
}

/* `size` is that of the array, its NUL included. */
static void get_text(struct rd *r, size_t len, char *out, size_t size)
{
    out[0] = '\0';
    if (len >= size) {
        rd_fail(r, ERR_TOOBIG);
        return;
    }
    const uint8_t *from = rd_bytes(r, len);
    if (!from)
        return;
    for (size_t i = 0; i < len; i++)
        out[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
    out[len] = '\0';
}

static const char *get_name(struct rd *r, bool is_there,
                            char out[SAMPLE_NAME_SIZE])
{
    if (!is_there)
        return NULL;
    get_text(r, rd_u8(r), out, SAMPLE_NAME_SIZE);
    return out;
}

static void get_times(struct rd *r, struct sample *s)
{
    for (unsigned p = 0; p < PHASE_N; p++)
        s->phases_ns[p] = get_ns(r);
    s->total_ns = get_zigzag(r, SAMPLE_ABSENT, PHASE_N * SAMPLE_NS_MAX);
    s->server_ns = get_ns(r);
    s->lag_ns = get_ns(r);
    s->start_lag_ns = get_ns(r);
    s->rtt_ns = get_ns(r);
    s->tls_cpu_ns = get_ns(r);
    s->started_unix_ns = rd_varint(r);
}

static void get_facts(struct rd *r, struct sample *s)
{
    get_addr(r, &s->peer);
    get_addr(r, &s->local);
    s->retransmits = (int32_t)get_zigzag(r, -1, INT32_MAX);
    s->http_status = (int16_t)get_zigzag(r, -1, HTTP_STATUS_MAX);
    s->http_minor = get_below(r, 10);
    s->grpc_status = (int16_t)get_zigzag(r, -1, INT16_MAX);
    s->grpc_serving = (int8_t)get_zigzag(r, -1, INT8_MAX);
    s->tls_not_after_unix_s = get_zigzag(r, -CALENDAR_MAX, CALENDAR_MAX);
    get_text(r, rd_u8(r), s->tls_version, sizeof(s->tls_version));
    get_text(r, rd_u8(r), s->tls_cipher, sizeof(s->tls_cipher));
    get_text(r, rd_u8(r), s->tls_alpn, sizeof(s->tls_alpn));
    get_text(r, rd_u8(r), s->error, sizeof(s->error));
}

/* The rest of what sample_check() asserts. */
static bool is_sound(const struct sample *s)
{
    if (s->outcome != OUTCOME_OK)
        return s->total_ns == SAMPLE_ABSENT;
    return s->failed_phase == -1 && s->error[0] == '\0' &&
           s->phases_ns[PHASE_LOCAL] >= 0 && s->total_ns == sample_sum_ns(s);
}

static void get_sample(struct rd *r, struct sample *s, unsigned *bits)
{
    if (rd_u8(r) != SAMPLE_WIRE_VERSION)
        rd_fail(r, ERR_BAD);
    *bits = rd_u8(r);
    if (*bits & ~(unsigned)KNOWN_BITS)
        rd_fail(r, ERR_BAD);
    sample_init(s);
    s->is_reconnected = *bits & IS_RECONNECTED;
    s->protocol = get_below(r, PROTOCOL_N);
    s->mode = get_below(r, MODE_N);
    s->outcome = get_below(r, OUTCOME_N);
    s->clock = get_below(r, STAMP_KERNEL + 1);
    s->failed_phase = (int8_t)get_zigzag(r, -1, PHASE_N - 1);
    get_times(r, s);
    get_facts(r, s);
    if (!rd_err(r) && !is_sound(s))
        rd_fail(r, ERR_BAD);
}

int sample_wire_read(struct rd *r, struct sample *s, struct sample_names *names,
                     struct sample_texts *texts)
{
    struct sample sample;
    struct sample_names n = {.target = NULL};
    struct sample_texts t;
    unsigned bits;
    get_sample(r, &sample, &bits);
    if (bits & HAS_TARGET) {
        get_text(r, rd_be16(r), t.target, sizeof(t.target));
        n.target = texts->target;
    }
    if (get_name(r, bits & HAS_FROM_NODE, t.from_node))
        n.from_node = texts->from_node;
    if (get_name(r, bits & HAS_FROM_ZONE, t.from_zone))
        n.from_zone = texts->from_zone;
    if (get_name(r, bits & HAS_TO_NODE, t.to_node))
        n.to_node = texts->to_node;
    if (get_name(r, bits & HAS_TO_ZONE, t.to_zone))
        n.to_zone = texts->to_zone;
    if (rd_err(r))
        return rd_err(r);
    *s = sample;
    *names = n;
    *texts = t;
    return 0;
}
