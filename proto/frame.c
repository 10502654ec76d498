#include "proto/frame.h"

#include <assert.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/msgpack_rd.h"

#define FLAG_STARVED 1u

#define FRAME_FIELDS   9
#define CONTEXT_FIELDS 13
#define TARGET_FIELDS  3
#define CELL_FIELDS    11

/* The fewest bytes these can take, to hold counts against the input: an array
 * head and one byte for each field, one more for a name that is not empty. */
#define TARGET_BYTES_MIN (1 + TARGET_FIELDS + 1)
#define CELL_BYTES_MIN   (1 + CELL_FIELDS)

#define FIXARRAY 0x90u
#define BIN_8    0xc4u
#define BIN_16   0xc5u

static void target_fini(struct frame_target *t)
{
    free(t->name);
    free(t->zone);
    free(t->region);
}

void frame_cell_fini(struct frame_cell *c)
{
    for (size_t i = 0; i < SERIES_N; i++)
        hist_fini(&c->series[i]);
}

void frame_fini(struct frame *f)
{
    for (size_t i = 0; i < f->n_targets; i++)
        target_fini(&f->targets[i]);
    for (size_t i = 0; i < f->n_cells; i++)
        frame_cell_fini(&f->cells[i]);
    free(f->targets);
    free(f->cells);
    free(f->origin);
    free(f->zone);
    free(f->region);
    *f = (struct frame){0};
}

/* --- encoding ----------------------------------------------------------- */

static int write_to(void *arg, const char *data, size_t len)
{
    struct wr *w = arg;
    wr_bytes(w, data, len);
    return wr_err(w);
}

static void pack_text(msgpack_packer *p, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    msgpack_pack_str(p, len);
    msgpack_pack_str_body(p, text, len);
}

static void pack_context(msgpack_packer *p, const struct frame_context *c)
{
    msgpack_pack_array(p, CONTEXT_FIELDS);
    msgpack_pack_unsigned_int(p, c->is_starved ? FLAG_STARVED : 0);
    msgpack_pack_int32(p, c->psi_cpu);
    msgpack_pack_int32(p, c->psi_memory);
    msgpack_pack_int32(p, c->psi_io);
    msgpack_pack_int64(p, c->throttled_us);
    msgpack_pack_int64(p, c->nr_throttled);
    msgpack_pack_int64(p, c->memory_used);
    msgpack_pack_int64(p, c->memory_limit);
    msgpack_pack_int64(p, c->runq_wait_us);
    msgpack_pack_int64(p, c->lag_p99_us);
    msgpack_pack_int64(p, c->missed_slots);
    msgpack_pack_int64(p, c->in_flight_max);
    msgpack_pack_int64(p, c->queue_drops);
}

static void pack_outcomes(msgpack_packer *p, const uint32_t *outcomes)
{
    size_t n = 0;
    for (size_t i = 0; i < OUTCOME_N; i++)
        n += outcomes[i] > 0;
    msgpack_pack_array(p, 2 * n);
    for (unsigned i = 0; i < OUTCOME_N; i++) {
        if (outcomes[i] > 0) {
            msgpack_pack_unsigned_int(p, i);
            msgpack_pack_uint32(p, outcomes[i]);
        }
    }
}

/* A histogram as msgpack's bin, whose head depends on its length. Almost all
 * are short: it is written in place, and moved if it was not. */
static void put_hist(struct wr *w, const struct hist *h)
{
    size_t at = w->len;
    wr_be16(w, BIN_8 << 8);
    hist_encode(h, w);
    if (wr_err(w))
        return;
    size_t len = w->len - at - 2;
    assert(len <= UINT16_MAX); /* 416 buckets of 2 + 5 bytes, and the head */
    if (len <= UINT8_MAX) {
        w->data[at + 1] = (uint8_t)len;
        return;
    }
    wr_u8(w, 0);
    if (wr_err(w))
        return;
    uint8_t *p = w->data + at;
    memmove(p + 3, p + 2, len);
    p[0] = BIN_16;
    p[1] = (uint8_t)(len >> 8);
    p[2] = (uint8_t)len;
}

void frame_put_series(struct wr *w, const struct hist series[SERIES_N])
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    size_t n = 0;
    for (size_t i = 0; i < SERIES_N; i++)
        n += series[i].count > 0;
    msgpack_pack_array(&p, 2 * n);
    for (unsigned i = 0; i < SERIES_N; i++) {
        if (series[i].count == 0)
            continue;
        msgpack_pack_unsigned_int(&p, i);
        put_hist(w, &series[i]);
    }
}

/* All of a cell but its last field, the series. */
static void pack_counts(msgpack_packer *p, const struct frame_cell *c)
{
    msgpack_pack_array(p, CELL_FIELDS);
    msgpack_pack_uint32(p, c->target);
    msgpack_pack_uint8(p, c->protocol);
    msgpack_pack_uint8(p, c->mode);
    msgpack_pack_uint32(p, c->attempts);
    pack_outcomes(p, c->outcomes);
    msgpack_pack_uint32(p, c->retransmits);
    msgpack_pack_uint32(p, c->reconnects);
    msgpack_pack_uint32(p, c->user_clock);
    msgpack_pack_uint64(p, c->max_lag_us);
    if (c->is_trusted)
        msgpack_pack_true(p);
    else
        msgpack_pack_false(p);
}

void frame_put_cell(struct wr *w, const struct frame_cell *c,
                    const void *series, size_t series_len)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    pack_counts(&p, c);
    wr_bytes(w, series, series_len);
}

void frame_put_cells(struct wr *w, size_t n)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    msgpack_pack_array(&p, n);
}

void frame_put_target(struct wr *w, const struct frame_target *t)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    msgpack_pack_array(&p, TARGET_FIELDS);
    pack_text(&p, t->name);
    pack_text(&p, t->zone);
    pack_text(&p, t->region);
}

void frame_put_head(struct wr *w, const struct frame *f)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    msgpack_pack_array(&p, FRAME_FIELDS);
    msgpack_pack_unsigned_int(&p, FRAME_VERSION);
    pack_text(&p, f->origin);
    msgpack_pack_uint64(&p, f->epoch_ms);
    msgpack_pack_uint64(&p, f->window);
    pack_text(&p, f->zone);
    pack_text(&p, f->region);
    pack_context(&p, &f->context);
    msgpack_pack_array(&p, f->n_targets);
}

static bool is_name_fitting(const char *text)
{
    return !text || strnlen(text, FRAME_NAME_MAX + 1) <= FRAME_NAME_MAX;
}

static bool is_fitting(const struct frame *f)
{
    if (f->n_targets > FRAME_TARGETS_MAX || f->n_cells > FRAME_CELLS_MAX)
        return false;
    if (!is_name_fitting(f->origin) || !is_name_fitting(f->zone) ||
        !is_name_fitting(f->region))
        return false;
    for (size_t i = 0; i < f->n_targets; i++) {
        const struct frame_target *t = &f->targets[i];
        if (!is_name_fitting(t->name) || !is_name_fitting(t->zone) ||
            !is_name_fitting(t->region))
            return false;
    }
    return true;
}

int frame_encode(const struct frame *f, struct wr *w)
{
    if (!is_fitting(f))
        return ERR_TOOBIG;

    frame_put_head(w, f);
    for (size_t i = 0; i < f->n_targets; i++)
        frame_put_target(w, &f->targets[i]);
    frame_put_cells(w, f->n_cells);
    for (size_t i = 0; i < f->n_cells && !wr_err(w); i++) {
        frame_put_cell(w, &f->cells[i], NULL, 0);
        frame_put_series(w, f->cells[i].series);
    }
    return wr_err(w);
}

/* --- decoding ----------------------------------------------------------- */

/* Most numbers and heads are of one byte, and there are many: these save the
 * longer way for them. */
static bool is_next_below(const struct rd *r, unsigned first, unsigned end)
{
    return !r->err && r->pos < r->len && r->data[r->pos] >= first &&
           r->data[r->pos] < end;
}

static uint64_t read_uint(struct rd *r)
{
    if (is_next_below(r, 0, 0x80))
        return r->data[r->pos++];
    return msgpack_rd_uint(r);
}

static size_t read_head(struct rd *r)
{
    if (is_next_below(r, FIXARRAY, FIXARRAY + 16) &&
        (r->data[r->pos] & 15u) < r->len - r->pos)
        return r->data[r->pos++] & 15u;
    return msgpack_rd_array(r);
}

static const uint8_t *read_bin(struct rd *r, size_t *len)
{
    if (is_next_below(r, BIN_8, BIN_8 + 1) && r->len - r->pos > 2 &&
        r->data[r->pos + 1] <= r->len - r->pos - 2) {
        const uint8_t *bytes = r->data + r->pos + 2;
        *len = r->data[r->pos + 1];
        r->pos += 2 + *len;
        return bytes;
    }
    return msgpack_rd_bin(r, len);
}

/* An array of at least `known` elements; what is beyond them is passed over
 * by read_rest() when they have been read. */
static size_t read_array(struct rd *r, size_t known)
{
    size_t n = read_head(r);
    if (n < known)
        rd_fail(r, ERR_BAD);
    return rd_err(r) ? known : n;
}

static void read_rest(struct rd *r, size_t n, size_t known)
{
    for (; n > known && !rd_err(r); n--)
        msgpack_rd_skip(r);
}

static uint32_t read_u32(struct rd *r)
{
    uint64_t v = read_uint(r);
    if (v > UINT32_MAX)
        rd_fail(r, ERR_BAD);
    return rd_err(r) ? 0 : (uint32_t)v;
}

static int32_t read_i32(struct rd *r)
{
    int64_t v = msgpack_rd_int(r);
    if (v < INT32_MIN || v > INT32_MAX)
        rd_fail(r, ERR_BAD);
    return rd_err(r) ? 0 : (int32_t)v;
}

static void read_name(struct rd *r, char name[FRAME_NAME_MAX + 1],
                      bool may_be_empty)
{
    size_t len;
    const char *text = msgpack_rd_str(r, &len);
    name[0] = '\0';
    if (!text)
        return;
    if (len > FRAME_NAME_MAX)
        rd_fail(r, ERR_TOOBIG);
    else if (memchr(text, 0, len) || (len == 0 && !may_be_empty))
        rd_fail(r, ERR_BAD);
    if (rd_err(r))
        return;
    memcpy(name, text, len);
    name[len] = '\0';
}

static void read_context(struct rd *r, struct frame_context *c)
{
    size_t n = read_array(r, CONTEXT_FIELDS);
    c->is_starved = read_uint(r) & FLAG_STARVED;
    c->psi_cpu = read_i32(r);
    c->psi_memory = read_i32(r);
    c->psi_io = read_i32(r);
    c->throttled_us = msgpack_rd_int(r);
    c->nr_throttled = msgpack_rd_int(r);
    c->memory_used = msgpack_rd_int(r);
    c->memory_limit = msgpack_rd_int(r);
    c->runq_wait_us = msgpack_rd_int(r);
    c->lag_p99_us = msgpack_rd_int(r);
    c->missed_slots = msgpack_rd_int(r);
    c->in_flight_max = msgpack_rd_int(r);
    c->queue_drops = msgpack_rd_int(r);
    read_rest(r, n, CONTEXT_FIELDS);
}

/* The head of a list of things: at most `max`, and no more than the bytes
 * left can hold, so that it may be believed. */
static size_t read_list(struct rd *r, size_t max, size_t bytes_min)
{
    size_t n = read_head(r);
    if (n > max)
        rd_fail(r, ERR_TOOBIG);
    else if (n > rd_left(r) / bytes_min)
        rd_fail(r, ERR_TRUNC);
    return rd_err(r) ? 0 : n;
}

/* Ascending numbers, each with a value: *before is the last one, -1 at first.
 * Any number may be one that only a newer program knows. */
static uint64_t read_number(struct rd *r, int64_t *before)
{
    uint64_t number = read_uint(r);
    if (number > UINT32_MAX || (int64_t)number <= *before)
        rd_fail(r, ERR_BAD);
    *before = (int64_t)(number & UINT32_MAX);
    return number;
}

static size_t read_pairs(struct rd *r)
{
    size_t n = read_head(r);
    if (n % 2)
        rd_fail(r, ERR_BAD);
    return n / 2;
}

/* Returns false if there are outcomes that we do not know. */
static bool read_outcomes(struct rd *r, struct frame_cell *c)
{
    bool is_known = true;
    uint64_t sum = 0;
    int64_t before = -1;
    for (size_t n = read_pairs(r); n > 0 && !rd_err(r); n--) {
        uint64_t outcome = read_number(r, &before);
        uint32_t count = read_u32(r);
        if (count == 0)
            rd_fail(r, ERR_BAD);
        sum += count; /* fewer than 2^32 of them */
        if (outcome < OUTCOME_N)
            c->outcomes[outcome] = count;
        else
            is_known = false;
    }
    if (sum != c->attempts)
        rd_fail(r, ERR_BAD);
    return is_known;
}

static void read_hist(struct rd *r, struct hist *h, const uint8_t *bytes,
                      size_t len)
{
    struct rd in;
    rd_init(&in, bytes, len);
    int err = hist_read(h, &in);
    if (err == ERR_NOMEM)
        rd_fail(r, ERR_NOMEM);
    else if (err || rd_end(&in) || h->count == 0)
        rd_fail(r, ERR_BAD); /* its end is known: cut is broken too */
}

/* Into `series`, or all of them one after the other into `scratch` if that is
 * given: then they are only looked at. */
static void read_series(struct rd *r, uint64_t ok, struct hist *series,
                        struct hist *scratch)
{
    int64_t before = -1;
    for (size_t n = read_pairs(r); n > 0 && !rd_err(r); n--) {
        uint64_t number = read_number(r, &before);
        size_t len;
        const uint8_t *bytes = read_bin(r, &len);
        if (!bytes || number >= SERIES_N)
            continue;
        struct hist *h = scratch ? scratch : &series[number];
        read_hist(r, h, bytes, len);
        if (h->count > ok)
            rd_fail(r, ERR_BAD);
    }
}

static void reset_series(struct hist series[SERIES_N])
{
    for (size_t i = 0; i < SERIES_N; i++)
        hist_reset(&series[i]);
}

int frame_get_series(struct hist series[SERIES_N], const void *data, size_t len)
{
    struct rd r;
    rd_init(&r, data, len);
    reset_series(series);
    read_series(&r, UINT64_MAX, series, NULL);
    int err = rd_end(&r);
    assert(!err || err == ERR_NOMEM);
    return err;
}

/* --- piece by piece ----------------------------------------------------- */

int frame_reader_open(struct frame_reader *r, const void *data, size_t len)
{
    if (len > FRAME_BYTES_MAX)
        return ERR_TOOBIG;

    struct rd *in = &r->in;
    rd_init(in, data, len);
    r->fields = read_array(in, FRAME_FIELDS);
    if (read_uint(in) != FRAME_VERSION)
        rd_fail(in, ERR_BAD);
    read_name(in, r->origin, false);
    r->epoch_ms = read_uint(in);
    r->window = read_uint(in);
    read_name(in, r->zone, true);
    read_name(in, r->region, true);
    read_context(in, &r->context);
    r->n_targets = read_list(in, FRAME_TARGETS_MAX, TARGET_BYTES_MIN);
    r->targets = r->n_targets;
    r->cells = 0;
    r->pending = 0;
    r->is_in_cells = false;
    return rd_err(in);
}

int frame_reader_target(struct frame_reader *r, struct frame_reader_target *t)
{
    struct rd *in = &r->in;
    if (rd_err(in) || r->targets == 0)
        return rd_err(in);
    r->targets--;
    size_t fields = read_array(in, TARGET_FIELDS);
    read_name(in, t->name, false);
    read_name(in, t->zone, true);
    read_name(in, t->region, true);
    read_rest(in, fields, TARGET_FIELDS);
    return rd_err(in) ? rd_err(in) : 1;
}

/* All of a cell but its series and what follows them, which are pending then.
 * Returns false if the cell is one that we cannot understand. */
static bool read_counts(struct frame_reader *r, struct frame_cell *c)
{
    struct rd *in = &r->in;
    reset_series(c->series);
    memset(c, 0, offsetof(struct frame_cell, series));
    r->pending = read_array(in, CELL_FIELDS);
    c->target = read_u32(in);
    uint64_t protocol = read_uint(in);
    uint64_t mode = read_uint(in);
    c->attempts = read_u32(in);
    bool is_known = read_outcomes(in, c);
    c->retransmits = read_u32(in);
    c->reconnects = read_u32(in);
    c->user_clock = read_u32(in);
    c->max_lag_us = read_uint(in);
    c->is_trusted = msgpack_rd_bool(in);

    if (c->target >= r->n_targets || c->user_clock > c->attempts)
        rd_fail(in, ERR_BAD);
    if (protocol >= PROTOCOL_N || mode >= MODE_N)
        return false;
    c->protocol = (uint8_t)protocol;
    c->mode = (uint8_t)mode;
    return is_known;
}

static void finish_cell(struct frame_reader *r, struct frame_cell *c,
                        struct hist *scratch)
{
    read_series(&r->in, c->outcomes[OUTCOME_OK], c->series, scratch);
    read_rest(&r->in, r->pending, CELL_FIELDS);
    r->pending = 0;
}

static void skip_series(struct rd *r)
{
    int64_t before = -1;
    size_t len;
    for (size_t n = read_pairs(r); n > 0 && !rd_err(r); n--) {
        read_number(r, &before);
        read_bin(r, &len);
    }
}

/* Pass over what was not asked for, up to the next cell. */
static void skip_pending(struct frame_reader *r)
{
    struct frame_reader_target t;
    while (r->targets > 0 && frame_reader_target(r, &t) == 1)
        ;
    if (!rd_err(&r->in) && !r->is_in_cells) {
        r->cells = read_list(&r->in, FRAME_CELLS_MAX, CELL_BYTES_MIN);
        r->is_in_cells = true;
    }
    if (r->pending > 0) {
        skip_series(&r->in);
        read_rest(&r->in, r->pending, CELL_FIELDS);
        r->pending = 0;
    }
}

/* The next cell, known or not; as frame_reader_cell(). */
static int next_cell(struct frame_reader *r, struct frame_cell *c,
                     bool *is_known)
{
    struct rd *in = &r->in;
    skip_pending(r);
    if (rd_err(in))
        return rd_err(in);
    if (r->cells == 0) {
        read_rest(in, r->fields, FRAME_FIELDS);
        r->fields = FRAME_FIELDS;
        return rd_end(in);
    }
    r->cells--;
    *is_known = read_counts(r, c);
    return rd_err(in) ? rd_err(in) : 1;
}

int frame_reader_cell(struct frame_reader *r, struct frame_cell *c)
{
    bool is_known = false;
    int rc;
    do
        rc = next_cell(r, c, &is_known);
    while (rc == 1 && !is_known);
    return rc;
}

int frame_reader_series(struct frame_reader *r, struct frame_cell *c)
{
    assert(r->pending > 0);
    finish_cell(r, c, NULL);
    return rd_err(&r->in);
}

int frame_reader_check(struct frame_reader *r)
{
    struct hist_bucket buckets[HIST_BUCKETS];
    struct hist scratch = {.buckets = buckets, .size = HIST_BUCKETS};
    struct frame_cell c = {0};
    bool is_known;
    int rc;
    while ((rc = next_cell(r, &c, &is_known)) == 1)
        finish_cell(r, &c, &scratch);
    return rc;
}

/* --- all at once -------------------------------------------------------- */

static int keep_name(char **name, const char *text)
{
    *name = strdup(text);
    return *name ? 0 : ERR_NOMEM;
}

static int take_targets(struct frame *f, struct frame_reader *r)
{
    struct frame_reader_target t;
    int rc;
    f->targets = calloc(r->n_targets + 1, sizeof(*f->targets));
    if (!f->targets)
        return ERR_NOMEM;
    while ((rc = frame_reader_target(r, &t)) == 1) {
        struct frame_target *to = &f->targets[f->n_targets++];
        if (keep_name(&to->name, t.name) || keep_name(&to->zone, t.zone) ||
            keep_name(&to->region, t.region))
            return ERR_NOMEM;
    }
    return rc;
}

static int take_cells(struct frame *f, struct frame_reader *r)
{
    bool is_known = false;
    int rc;
    skip_pending(r); /* now the number of cells is known */
    f->cells = calloc(r->cells + 1, sizeof(*f->cells));
    if (!f->cells)
        return ERR_NOMEM;
    /* One more than there can be: what is not kept is read into it. */
    struct frame_cell *c = f->cells;
    while ((rc = next_cell(r, c, &is_known)) == 1) {
        finish_cell(r, c, NULL);
        if (is_known) {
            f->n_cells++;
            c++;
        }
    }
    frame_cell_fini(c); /* read, but not kept, or broken */
    return rc;
}

int frame_decode(struct frame *f, const void *data, size_t len)
{
    struct frame_reader r;
    int err = frame_reader_open(&r, data, len);
    if (err)
        return err;

    struct frame got = {
        .epoch_ms = r.epoch_ms, .window = r.window, .context = r.context};
    err = keep_name(&got.origin, r.origin);
    if (!err)
        err = keep_name(&got.zone, r.zone);
    if (!err)
        err = keep_name(&got.region, r.region);
    if (!err)
        err = take_targets(&got, &r);
    if (!err)
        err = take_cells(&got, &r);
    if (err) {
        frame_fini(&got);
        return err;
    }

    frame_fini(f);
    *f = got;
    return 0;
}
