#include "prober/remote_wire.h"

#include <string.h>

#include "proto/base/err.h"

#define IS_AUTO 1

static void put_short(struct wr *w, const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    wr_u8(w, (uint8_t)len);
    wr_bytes(w, text, len);
}

void remote_write_head(struct wr *w, const struct remote_head *h)
{
    wr_u8(w, REMOTE_TYPE);
    wr_u8(w, REMOTE_VERSION);
    wr_u8(w, h->kind);
    wr_bytes(w, h->id, sizeof(h->id));
    wr_be32(w, h->ask);
}

void remote_write_question(struct wr *w, const struct remote_question *q)
{
    const struct oneoff_request *r = &q->request;
    size_t len = strnlen(r->target, sizeof(r->target) - 1);
    put_short(w, q->node, sizeof(q->node) - 1);
    put_short(w, q->who, sizeof(q->who) - 1);
    wr_u8(w, r->is_auto ? IS_AUTO : 0);
    wr_u8(w, r->protocol);
    wr_u8(w, r->mode);
    wr_be32(w, r->count);
    wr_be64(w, r->interval_ns);
    wr_be64(w, r->timeout_ns);
    put_short(w, r->service, sizeof(r->service) - 1);
    wr_be16(w, (uint16_t)len);
    wr_bytes(w, r->target, len);
}

void remote_write_verdict(struct wr *w, const struct remote_verdict *v)
{
    wr_u8(w, v->state);
    wr_be32(w, v->samples);
    wr_be32(w, v->missed);
}

/* ---- reading ---- */

void remote_read_head(struct rd *r, struct remote_head *out)
{
    if (rd_u8(r) != REMOTE_TYPE || rd_u8(r) != REMOTE_VERSION)
        rd_fail(r, ERR_BAD);
    out->kind = rd_u8(r);
    const uint8_t *id = rd_bytes(r, sizeof(out->id));
    if (id)
        memcpy(out->id, id, sizeof(out->id));
    out->ask = rd_be32(r);
}

/* A text of `len` bytes into an array of `size`: never cut. */
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
    if (memchr(from, '\0', len))
        rd_fail(r, ERR_BAD);
    memcpy(out, from, len);
    out[len] = '\0';
}

/* It goes to a log: what is not text is not repeated. */
static void tidy(char *text)
{
    for (; *text; text++) {
        if (*text < 0x20 || *text >= 0x7f)
            *text = '?';
    }
}

void remote_read_question(struct rd *r, struct remote_question *out,
                          bool *is_bad)
{
    struct oneoff_request *q = &out->request;
    get_text(r, rd_u8(r), out->node, sizeof(out->node));
    get_text(r, rd_u8(r), out->who, sizeof(out->who));
    tidy(out->who);
    oneoff_request_init(q);
    uint8_t flags = rd_u8(r);
    if (flags & ~IS_AUTO)
        rd_fail(r, ERR_BAD);
    q->is_auto = flags & IS_AUTO;
    q->protocol = rd_u8(r);
    q->mode = rd_u8(r);
    q->count = rd_be32(r);
    q->interval_ns = rd_be64(r);
    q->timeout_ns = rd_be64(r);
    get_text(r, rd_u8(r), q->service, sizeof(q->service));
    get_text(r, rd_be16(r), q->target, sizeof(q->target));
    rd_end(r);
    *is_bad = !rd_err(r) && oneoff_request_check(q, NULL) != 0;
}

/* Whether it can be reached is not for an executor to say. */
static bool is_verdict(uint8_t state)
{
    return state < ONEOFF_STATE_N && state != ONEOFF_UNREACHABLE &&
           oneoff_state_is_end((enum oneoff_state)state);
}

void remote_read_verdict(struct rd *r, struct remote_verdict *out)
{
    out->state = rd_u8(r);
    out->samples = rd_be32(r);
    out->missed = rd_be32(r);
    if (!is_verdict(out->state) || out->samples > ONEOFF_COUNT_MAX ||
        out->missed > ONEOFF_COUNT_MAX - out->samples)
        rd_fail(r, ERR_BAD);
}
