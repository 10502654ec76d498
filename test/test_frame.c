/* A frame by hand, then random ones, then broken ones. */
#include "proto/frame.h"

#include <msgpack.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS 1000000ull

static char *text(const char *s)
{
    char *copy = strdup(s);
    check_true(copy != NULL);
    return copy;
}

/* One target, one cell with three good attempts and two bad ones. */
static void small_frame(struct frame *f)
{
    *f = (struct frame){
        .origin = text("a-1"),
        .zone = text("a"),
        .region = text("r1"),
        .epoch_ms = 1767225600000,
        .window = 176722561,
        .context = {.is_starved = true, .psi_cpu = 123, .psi_memory = -1},
        .n_targets = 1,
        .n_cells = 1,
    };
    f->targets = calloc(1, sizeof(*f->targets));
    f->cells = calloc(1, sizeof(*f->cells));
    check_true(f->targets && f->cells);
    f->targets[0] = (struct frame_target){text("b-1"), text("b"), text("r1")};
    struct frame_cell *c = &f->cells[0];
    c->protocol = PROTOCOL_GRPC;
    c->mode = MODE_WARM;
    c->is_trusted = true;
    c->attempts = 5;
    c->outcomes[OUTCOME_OK] = 3;
    c->outcomes[OUTCOME_CANCELLED] = 2;
    c->retransmits = 7;
    c->max_lag_us = 300;
    for (uint64_t i = 1; i <= 3; i++)
        check_i64(hist_add(&c->series[PHASE_TTFB], i * MS), 0);
}

static void check_same_hist(const struct hist *a, const struct hist *b)
{
    uint8_t x[4096];
    uint8_t y[4096];
    struct wr wx;
    struct wr wy;
    wr_init_fixed(&wx, x, sizeof(x));
    wr_init_fixed(&wy, y, sizeof(y));
    hist_encode(a, &wx);
    hist_encode(b, &wy);
    check_u64(wx.len, wy.len);
    assert_memory_equal(x, y, wx.len);
}

static void check_same_cell(const struct frame_cell *a,
                            const struct frame_cell *b)
{
    check_u64(a->target, b->target);
    check_u64(a->protocol, b->protocol);
    check_u64(a->mode, b->mode);
    check_u64(a->is_trusted, b->is_trusted);
    check_u64(a->attempts, b->attempts);
    assert_memory_equal(a->outcomes, b->outcomes, sizeof(a->outcomes));
    check_u64(a->retransmits, b->retransmits);
    check_u64(a->reconnects, b->reconnects);
    check_u64(a->user_clock, b->user_clock);
    check_u64(a->max_lag_us, b->max_lag_us);
    for (size_t i = 0; i < SERIES_N; i++)
        check_same_hist(&a->series[i], &b->series[i]);
}

static void check_same_context(const struct frame_context *a,
                               const struct frame_context *b)
{
    check_u64(a->is_starved, b->is_starved);
    check_i64(a->psi_cpu, b->psi_cpu);
    check_i64(a->psi_memory, b->psi_memory);
    check_i64(a->psi_io, b->psi_io);
    check_i64(a->throttled_us, b->throttled_us);
    check_i64(a->nr_throttled, b->nr_throttled);
    check_i64(a->memory_used, b->memory_used);
    check_i64(a->memory_limit, b->memory_limit);
    check_i64(a->runq_wait_us, b->runq_wait_us);
    check_i64(a->lag_p99_us, b->lag_p99_us);
    check_i64(a->missed_slots, b->missed_slots);
    check_i64(a->in_flight_max, b->in_flight_max);
    check_i64(a->queue_drops, b->queue_drops);
}

static void check_same(const struct frame *a, const struct frame *b)
{
    check_text(a->origin, b->origin);
    check_text(a->zone, b->zone);
    check_text(a->region, b->region);
    check_u64(a->epoch_ms, b->epoch_ms);
    check_u64(a->window, b->window);
    check_same_context(&a->context, &b->context);
    check_u64(a->n_targets, b->n_targets);
    for (size_t i = 0; i < a->n_targets; i++) {
        check_text(a->targets[i].name, b->targets[i].name);
        check_text(a->targets[i].zone, b->targets[i].zone);
        check_text(a->targets[i].region, b->targets[i].region);
    }
    check_u64(a->n_cells, b->n_cells);
    for (size_t i = 0; i < a->n_cells; i++)
        check_same_cell(&a->cells[i], &b->cells[i]);
}

static void encode(const struct frame *f, struct wr *w)
{
    wr_init_grow(w, FRAME_BYTES_MAX);
    check_i64(frame_encode(f, w), 0);
}

static void the_encoding_is_this(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        0x99, 1,    0xa3, 'a',  '-',  '1', /* version origin */
        0xcf, 0,    0,    0x01, 0x9b, 0x76, 0xda, 0xa8, 0x00, /* epoch */
        0xce, 0x0a, 0x88, 0x92, 0x81,                         /* window */
        0xa1, 'a',  0xa2, 'r',  '1',                          /* zone region */
        0x9d, 1,    0x7b, 0xff, 0,    0,    0,    0,    0,    0,    0,
        0,    0,    0, /* context */
        0x91, 0x93, 0xa3, 'b',  '-',  '1',  0xa1, 'b',  0xa2, 'r',  '1',
        0x91, 0x9b, 0,    1,    1,    5,          /* cell: target grpc warm 5 */
        0x94, 0,    3,    30,   2,                /* 3 ok, 2 cancelled */
        7,    0,    0,    0xcd, 0x01, 0x2c, 0xc3, /* counts, lag, trusted */
        0x92, 3,    0xc4, 21,                     /* ttfb, 21 bytes */
        3,    0,    0,    0x80, 0x9b, 0xee, 0x02, 0xc0, 0x84, 0x3d, 0x80,
        0x89, 0x7a, 3,    0xa0, 0x01, 1,    16,   1,    9,    1,
    };
    struct frame f;
    struct wr w;
    small_frame(&f);
    encode(&f, &w);
    for (size_t i = 0; i < w.len && i < sizeof(want); i++) {
        if (w.data[i] != want[i])
            print_error("byte %zu: %02x, expected %02x\n", i, w.data[i],
                        want[i]);
    }
    check_u64(w.len, sizeof(want));
    assert_memory_equal(w.data, want, sizeof(want));

    struct frame got = {0};
    check_i64(frame_decode(&got, want, sizeof(want)), 0);
    check_same(&got, &f);
    frame_fini(&got);
    frame_fini(&f);
    wr_fini(&w);
}

/* --- random frames ------------------------------------------------------ */

static char *random_text(struct rng *rng, size_t least)
{
    char name[FRAME_NAME_MAX + 1];
    size_t max = rng_below(rng, 20) ? 12 : FRAME_NAME_MAX;
    size_t len = least + (size_t)rng_below(rng, max - least + 1);
    for (size_t i = 0; i < len; i++)
        name[i] = (char)(1 + rng_below(rng, 255));
    name[len] = '\0';
    return text(name);
}

static int64_t random_i64(struct rng *rng)
{
    return (int64_t)rng_next(rng) >> rng_below(rng, 64);
}

static void random_cell(struct rng *rng, struct frame_cell *c, size_t n_targets)
{
    c->target = (uint32_t)rng_below(rng, n_targets);
    c->protocol = (uint8_t)rng_below(rng, PROTOCOL_N);
    c->mode = (uint8_t)rng_below(rng, MODE_N);
    c->is_trusted = rng_below(rng, 2);
    c->retransmits = (uint32_t)(rng_next(rng) >> rng_below(rng, 64));
    c->reconnects = (uint32_t)rng_below(rng, 10);
    c->max_lag_us = rng_next(rng) >> rng_below(rng, 64);
    c->outcomes[OUTCOME_OK] = (uint32_t)rng_below(rng, 20);
    c->attempts = c->outcomes[OUTCOME_OK];
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        uint32_t count = (uint32_t)(rng_next(rng) >> (40 + rng_below(rng, 24)));
        c->outcomes[1 + rng_below(rng, OUTCOME_N - 1)] += count;
        c->attempts += count;
    }
    c->user_clock = (uint32_t)rng_below(rng, (uint64_t)c->attempts + 1);
    for (size_t s = 0; s < SERIES_N; s++) {
        uint64_t n = rng_below(rng, (uint64_t)c->outcomes[OUTCOME_OK] + 1);
        for (; n > 0; n--) {
            uint64_t ns = rng_next(rng) >> (24 + rng_below(rng, 40));
            check_i64(hist_add(&c->series[s], ns), 0);
        }
    }
}

static void random_frame(struct rng *rng, struct frame *f)
{
    *f = (struct frame){
        .origin = random_text(rng, 1),
        .zone = random_text(rng, 0),
        .region = random_text(rng, 0),
        .epoch_ms = rng_next(rng) >> rng_below(rng, 64),
        .window = rng_next(rng) >> rng_below(rng, 64),
    };
    struct frame_context *c = &f->context;
    c->is_starved = rng_below(rng, 2);
    c->psi_cpu = (int32_t)random_i64(rng);
    c->psi_memory = (int32_t)random_i64(rng);
    c->psi_io = (int32_t)random_i64(rng);
    int64_t *const values[] = {
        &c->throttled_us, &c->nr_throttled,  &c->memory_used,
        &c->memory_limit, &c->runq_wait_us,  &c->lag_p99_us,
        &c->missed_slots, &c->in_flight_max, &c->queue_drops};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        *values[i] = random_i64(rng);

    f->n_targets = (size_t)rng_below(rng, 5);
    f->n_cells = f->n_targets ? (size_t)rng_below(rng, 8) : 0;
    f->targets = calloc(f->n_targets + 1, sizeof(*f->targets));
    f->cells = calloc(f->n_cells + 1, sizeof(*f->cells));
    check_true(f->targets && f->cells);
    for (size_t i = 0; i < f->n_targets; i++)
        f->targets[i] = (struct frame_target){
            random_text(rng, 1), random_text(rng, 0), random_text(rng, 0)};
    for (size_t i = 0; i < f->n_cells; i++)
        random_cell(rng, &f->cells[i], f->n_targets);
}

static void decoding_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct rng rng;
    struct frame got = {0};

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 1500; round++) {
        struct frame f;
        struct wr w;
        struct wr again;
        random_frame(&rng, &f);
        encode(&f, &w);
        check_i64(frame_decode(&got, w.data, w.len), 0);
        check_same(&got, &f);
        encode(&got, &again);
        check_u64(again.len, w.len);
        assert_memory_equal(again.data, w.data, w.len);
        frame_fini(&f);
        wr_fini(&w);
        wr_fini(&again);
    }
    frame_fini(&got);
}

static void a_cut_one_is_refused_at_every_length(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 30; round++) {
        struct frame f;
        struct wr w;
        random_frame(&rng, &f);
        encode(&f, &w);
        for (size_t len = 0; len < w.len; len++) {
            struct frame got = {.window = 77};
            check_i64(frame_decode(&got, w.data, len), ERR_TRUNC);
            check_u64(got.window, 77); /* untouched */
        }
        frame_fini(&f);
        wr_fini(&w);
    }
}

/* What the header promises of every decoded frame. */
static void check_promises(const struct frame *f)
{
    check_true(f->origin && f->origin[0] && f->zone && f->region);
    check_true(f->n_targets <= FRAME_TARGETS_MAX);
    check_true(f->n_cells <= FRAME_CELLS_MAX);
    for (size_t i = 0; i < f->n_targets; i++) {
        const struct frame_target *t = &f->targets[i];
        check_true(t->name[0] && strlen(t->name) <= FRAME_NAME_MAX);
        check_true(t->zone && t->region);
    }
    for (size_t i = 0; i < f->n_cells; i++) {
        const struct frame_cell *c = &f->cells[i];
        uint64_t sum = 0;
        for (size_t o = 0; o < OUTCOME_N; o++)
            sum += c->outcomes[o];
        check_u64(sum, c->attempts);
        check_true(c->target < f->n_targets);
        check_true(c->protocol < PROTOCOL_N && c->mode < MODE_N);
        check_true(c->user_clock <= c->attempts);
        for (size_t s = 0; s < SERIES_N; s++) {
            hist_check(&c->series[s]);
            check_true(c->series[s].count <= c->outcomes[OUTCOME_OK]);
        }
    }
}

static void a_flipped_bit_never_breaks_a_promise(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 30; round++) {
        struct frame f;
        struct wr w;
        random_frame(&rng, &f);
        encode(&f, &w);
        for (size_t bit = 0; bit < w.len * 8; bit++) {
            w.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct frame got = {0};
            if (frame_decode(&got, w.data, w.len) == 0)
                check_promises(&got);
            frame_fini(&got);
            w.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        frame_fini(&f);
        wr_fini(&w);
    }
}

static void msgpack_c_reads_it_too(void **state)
{
    (void)state;
    struct frame f;
    struct wr w;
    msgpack_unpacked theirs;
    size_t off = 0;

    small_frame(&f);
    encode(&f, &w);
    msgpack_unpacked_init(&theirs);
    check_i64(msgpack_unpack_next(&theirs, (const char *)w.data, w.len, &off),
              MSGPACK_UNPACK_SUCCESS);
    check_u64(off, w.len);
    check_i64(theirs.data.type, MSGPACK_OBJECT_ARRAY);
    const msgpack_object *o = theirs.data.via.array.ptr;
    check_u64(theirs.data.via.array.size, 9);
    check_u64(o[3].via.u64, 176722561);
    check_u64(o[8].via.array.ptr[0].via.array.ptr[3].via.u64, 5);
    msgpack_unpacked_destroy(&theirs);
    frame_fini(&f);
    wr_fini(&w);
}

/* --- frames written by hand --------------------------------------------- */

/* A frame in pieces, so that a test changes one of them. */
struct parts {
    const char *version, *origin, *numbers, *zones, *context, *targets, *cells,
        *rest;
    uint8_t fields;
};

static const char context[] = "9d00000000000000000000000000";
static const char target[] = "9193a162a0a0";
static const char cell[] = "919b000000029400010101000000 00c3 90";

static const struct parts plain = {
    .fields = 9,
    .version = "01",
    .origin = "a161",
    .numbers = "0102",
    .zones = "a0a0",
    .context = context,
    .targets = target,
    .cells = cell,
    .rest = "",
};

static void put_hex(struct wr *w, const char *hex)
{
    while (*hex) {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        char digits[3] = {hex[0], hex[1], '\0'};
        wr_u8(w, (uint8_t)strtoul(digits, NULL, 16));
        hex += 2;
    }
}

static int decode_parts(const struct parts *p, struct frame *got)
{
    struct wr w;
    wr_init_grow(&w, FRAME_BYTES_MAX);
    wr_u8(&w, (uint8_t)(0x90 + p->fields));
    put_hex(&w, p->version);
    put_hex(&w, p->origin);
    put_hex(&w, p->numbers);
    put_hex(&w, p->zones);
    put_hex(&w, p->context);
    put_hex(&w, p->targets);
    put_hex(&w, p->cells);
    put_hex(&w, p->rest);
    check_i64(wr_err(&w), 0);
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *copy = malloc(w.len);
    check_true(copy != NULL);
    memcpy(copy, w.data, w.len);
    int err = frame_decode(got, copy, w.len);
    free(copy);
    wr_fini(&w);
    return err;
}

static void what_a_later_version_appends_is_passed_over(void **state)
{
    (void)state;
    struct frame got = {0};
    struct parts p = plain;
    check_i64(decode_parts(&p, &got), 0);
    check_u64(got.n_cells, 1);
    p.fields = 11;
    p.rest = "92a378797a c0 8101cb0000000000000000";
    p.context = "9f 00 ff ff ff d3fffffffffffffffe 00000000000000 05 c0 91c0";
    p.targets = "9195a162a0a0 c0 93010203";
    p.cells = "919d 00 00 00 02 9400010101 00 00 00 00 c3 90 a178 c0";
    check_i64(decode_parts(&p, &got), 0);
    check_i64(got.context.throttled_us, -2);
    check_i64(got.context.queue_drops, 5);
    check_u64(got.n_targets, 1);
    check_u64(got.cells[0].attempts, 2);
    frame_fini(&got);
}

static void a_cell_that_is_not_understood_is_left_out(void **state)
{
    (void)state;
    static const char *const cells[] = {
        "939b000000029400010101 00000000c3 90" /* known */
        "9b000200029400010101 00000000c3 90"   /* protocol 2 */
        "9b000100029400010101 00000000c2 90",  /* known, grpc */
        "929b000000029400010101 00000000c3 90"
        "9b000002029400010101 00000000c3 90", /* mode 2 */
        "929b000000029400010101 00000000c3 90"
        "9b00000002940001cc8001 00000000c3 92 00 c407 01 00 01 0505 00 00",
        "929b0000000392 0003 00000000c3 9208c40100" /* series 8 */
        "9b000000029400010101 00000000c3 90",
    };
    static const size_t n_cells[] = {2, 1, 0, 2};
    struct frame got = {0};
    for (size_t i = 0; i < 4; i++) {
        struct parts p = plain;
        p.cells = cells[i];
        int err = decode_parts(&p, &got);
        if (i == 2) { /* its histogram is broken: refused, known or not */
            check_i64(err, ERR_BAD);
            continue;
        }
        check_i64(err, 0);
        check_u64(got.n_cells, n_cells[i]);
        check_promises(&got);
    }
    check_u64(got.cells[0].attempts, 3);

    /* An unknown outcome beside a good histogram, which must be freed. */
    struct parts p = plain;
    p.cells = "929b00000002 940001cc8001 00000000c3 9200c40b 01 00 00 e807 "
              "e807 00 01 01 01 9b000100029400010101 00000000c2 90";
    check_i64(decode_parts(&p, &got), 0);
    check_u64(got.n_cells, 1);
    check_u64(got.cells[0].protocol, PROTOCOL_GRPC);
    check_u64(got.cells[0].series[0].count, 0);
    frame_fini(&got);
}

/* "lie" replaces one part of the plain frame. */
static void lies_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t part; /* offset in struct parts */
        const char *lie;
        int err;
    } lies[] = {
#define PART(name) offsetof(struct parts, name)
        {PART(version), "00", ERR_BAD},
        {PART(version), "02", ERR_BAD},
        {PART(version), "a131", ERR_BAD},
        {PART(origin), "a0", ERR_BAD},       /* empty */
        {PART(origin), "a3610062", ERR_BAD}, /* NUL inside */
        {PART(origin), "c40161", ERR_BAD},   /* bin */
        {PART(origin), "dbffffffff61", ERR_TRUNC},
        {PART(numbers), "ff02", ERR_BAD}, /* negative */
        {PART(zones), "c0a0", ERR_BAD},
        {PART(zones), "a0a100", ERR_BAD},
        {PART(context), "9c00000000000000000000000000", ERR_BAD},
        {PART(context), "9d00ce8000000000000000000000000000000000", ERR_BAD},
        {PART(context), "9d00d3ffffffff00000000 000000000000000000000000",
         ERR_BAD},
        {PART(context), "9d00000000 cfffffffffffffffff 0000000000000000",
         ERR_BAD},
        {PART(targets), "90", ERR_BAD}, /* the cell's target is not there */
        {PART(targets), "9193a0a0a0", ERR_BAD}, /* no name */
        {PART(targets), "9192a162a0", ERR_BAD},
        {PART(targets), "dd0fffffff", ERR_TRUNC},
        {PART(targets), "dc1001 93a162a0a0", ERR_TRUNC},
        {PART(targets), "dc0fff 93a162a0a0", ERR_TRUNC},
        {PART(cells), "dd0fffffff", ERR_TRUNC},
        {PART(cells), "dc0040", ERR_TRUNC},
        {PART(cells), "919a000000029400010101 00000000c3", ERR_BAD},
        {PART(cells), "919b010000029400010101 00000000c3 90", ERR_BAD},
        {PART(cells), "919b000000039400010101 00000000c3 90",
         ERR_BAD}, /* sum */
        {PART(cells), "919b000000019400010101 00000000c3 90", ERR_BAD},
        {PART(cells), "919b00000002 93000101 00000000c3 90", ERR_BAD}, /* odd */
        {PART(cells), "919b000000029401010001 00000000c3 90",
         ERR_BAD}, /* order */
        {PART(cells), "919b000000029400010001 00000000c3 90",
         ERR_BAD}, /* twice */
        {PART(cells), "919b000000029400020100 00000000c3 90", ERR_BAD}, /* 0 */
        {PART(cells), "919b00000001 94 00ceffffffff 0102 00000000c3 90",
         ERR_BAD}, /* 2^32 + 1 is not 1 */
        {PART(cells), "919b000000029400010101 00000300c3 90",
         ERR_BAD}, /* user */
        {PART(cells), "919b000000029400010101 0000000001 90", ERR_BAD},
        {PART(cells), "919b000000029400010101 00000000c3 9100", ERR_BAD},
        /* a histogram: empty, of two values with one ok, with a byte behind,
           cut, twice, and in the wrong order */
        {PART(cells), "919b000000029400010101 00000000c3 9200c40100", ERR_BAD},
        {PART(cells),
         "919b000000029400010101 00000000c3 9200c40702020000000000", ERR_BAD},
        {PART(cells),
         "919b000000029400010101 00000000c3 9200c4080101000000000000", ERR_BAD},
        {PART(cells), "919b000000029400010101 00000000c3 9200c406010100000000",
         ERR_BAD},
        {PART(cells),
         "919b000000029400010101 00000000c3 9400c40701010000000000"
         "00c40701010000000000",
         ERR_BAD},
        {PART(cells),
         "919b000000029400010101 00000000c3 9401c40701010000000000"
         "00c40701010000000000",
         ERR_BAD},
        {PART(cells), "919b00000002 93000200 000000 c3 90", ERR_BAD}, /* odd */
        {PART(rest), "c0", ERR_BAD}, /* bytes behind the frame */
    };
    struct frame got = {.window = 77};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct parts p = plain;
        *(const char **)(void *)((char *)&p + lies[i].part) = lies[i].lie;
        int err = decode_parts(&p, &got);
        if (err != lies[i].err)
            print_error("lie %zu, %s\n", i, lies[i].lie);
        check_i64(err, lies[i].err);
        check_u64(got.window, 77);
    }
    /* The last two but one are refused for what they say: this is not. */
    struct parts p = plain;
    p.cells = "919b000000029400010101 00000000c3 9400c40701010000000000"
              "01c40701010000000000";
    check_i64(decode_parts(&p, &got), 0);
    check_u64(got.cells[0].series[1].zero, 1);
    frame_fini(&got);
}

static void a_name_may_have_128_bytes_and_no_more(void **state)
{
    (void)state;
    struct frame got = {0};
    char name[FRAME_NAME_MAX + 2];
    for (size_t len = FRAME_NAME_MAX; len <= FRAME_NAME_MAX + 1; len++) {
        struct frame f;
        struct wr w;
        small_frame(&f);
        memset(name, 'x', len);
        name[len] = '\0';
        free(f.targets[0].zone);
        f.targets[0].zone = text(name);
        wr_init_grow(&w, FRAME_BYTES_MAX);
        bool fits = len == FRAME_NAME_MAX;
        check_i64(frame_encode(&f, &w), fits ? 0 : ERR_TOOBIG);
        if (fits)
            check_i64(frame_decode(&got, w.data, w.len), 0);
        frame_fini(&f);
        wr_fini(&w);
    }
    frame_fini(&got);

    char hex[600] = "d981";
    for (size_t i = 0; i < FRAME_NAME_MAX + 1; i++)
        strcat(hex, "61");
    struct parts p = plain;
    p.origin = hex;
    check_i64(decode_parts(&p, &got), ERR_TOOBIG);
}

static void a_frame_too_large_is_refused_unread(void **state)
{
    (void)state;
    struct frame got = {0};
    static uint8_t zeros[FRAME_BYTES_MAX + 1];
    check_i64(frame_decode(&got, zeros, sizeof(zeros)), ERR_TOOBIG);
    check_i64(frame_decode(&got, NULL, 0), ERR_TRUNC);

    struct frame f;
    struct wr w;
    small_frame(&f);
    wr_init_grow(&w, 64);
    check_i64(frame_encode(&f, &w), ERR_TOOBIG);
    size_t n = f.n_targets;
    f.n_targets = FRAME_TARGETS_MAX + 1;
    wr_reset(&w);
    check_i64(frame_encode(&f, &w), ERR_TOOBIG);
    check_u64(w.len, 0);
    f.n_targets = n;
    frame_fini(&f);
    wr_fini(&w);
}

static void counts_end_at_their_limits(void **state)
{
    (void)state;
    struct frame got = {0};
    static const struct {
        size_t n;
        bool is_cells;
        int err;
    } cases[] = {{FRAME_TARGETS_MAX, false, 0},
                 {FRAME_TARGETS_MAX + 1, false, ERR_TOOBIG},
                 {FRAME_CELLS_MAX, true, 0},
                 {FRAME_CELLS_MAX + 1, true, ERR_TOOBIG}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wr w;
        wr_init_grow(&w, FRAME_BYTES_MAX);
        put_hex(&w, "9901a1610102a0a0");
        put_hex(&w, context);
        put_hex(&w, cases[i].is_cells ? target : "");
        wr_u8(&w, 0xdc);
        wr_be16(&w, (uint16_t)cases[i].n);
        for (size_t k = 0; k < cases[i].n; k++)
            put_hex(&w, cases[i].is_cells ? "9b00000000 90 00000000 c3 90"
                                          : "93a162a0a0");
        put_hex(&w, cases[i].is_cells ? "" : "90");
        check_i64(frame_decode(&got, w.data, w.len), cases[i].err);
        wr_fini(&w);
    }
    frame_fini(&got);
}

/* What a reader finds, as a frame. Reads only what `wants` has a bit for:
 * 1 targets, 2 series; the rest must not matter. */
static int read_by_pieces(struct frame *f, const void *data, size_t len,
                          unsigned wants)
{
    struct frame_reader r;
    struct frame_reader_target t;
    struct frame_cell c = {0};
    struct frame got = {0};
    int rc = frame_reader_open(&r, data, len);
    if (rc)
        return rc;
    got.origin = text(r.origin);
    got.zone = text(r.zone);
    got.region = text(r.region);
    got.epoch_ms = r.epoch_ms;
    got.window = r.window;
    got.context = r.context;
    got.targets = calloc(len, sizeof(*got.targets));
    got.cells = calloc(len / 12 + 1, sizeof(*got.cells)); /* the least */
    while (wants & 1 && (rc = frame_reader_target(&r, &t)) == 1)
        got.targets[got.n_targets++] =
            (struct frame_target){text(t.name), text(t.zone), text(t.region)};
    while (rc >= 0 && (rc = frame_reader_cell(&r, &c)) == 1) {
        if (wants & 2 && (rc = frame_reader_series(&r, &c)))
            break;
        struct frame_cell *to = &got.cells[got.n_cells++];
        *to = c;
        for (size_t i = 0; i < SERIES_N; i++) {
            to->series[i] = (struct hist){0};
            check_i64(hist_merge(&to->series[i], &c.series[i]), 0);
        }
    }
    if (rc == 0)
        check_i64(frame_reader_cell(&r, &c), 0); /* again: still the end */
    frame_cell_fini(&c);
    if (rc < 0)
        frame_fini(&got);
    *f = got;
    return rc;
}

static void a_reader_finds_what_decoding_does(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 200; round++) {
        struct frame f, got;
        struct wr w;
        random_frame(&rng, &f);
        encode(&f, &w);
        check_i64(read_by_pieces(&got, w.data, w.len, 3), 0);
        check_same(&f, &got);
        frame_fini(&got);
        check_i64(read_by_pieces(&got, w.data, w.len, 2), 0);
        check_u64(got.n_cells, f.n_cells);
        for (size_t i = 0; i < f.n_cells; i++)
            check_same_cell(&f.cells[i], &got.cells[i]);
        frame_fini(&got);
        check_i64(read_by_pieces(&got, w.data, w.len, 1), 0);
        check_u64(got.n_cells, f.n_cells);
        for (size_t i = 0; i < f.n_cells; i++) {
            check_u64(got.cells[i].attempts, f.cells[i].attempts);
            for (size_t k = 0; k < SERIES_N; k++)
                check_u64(got.cells[i].series[k].count, 0);
        }
        frame_fini(&got);
        frame_fini(&f);
        wr_fini(&w);
    }
}

static int check_bytes(const void *data, size_t len)
{
    struct frame_reader r;
    int err = frame_reader_open(&r, data, len);
    return err ? err : frame_reader_check(&r);
}

/* Looking at a frame, reading it and decoding it refuse alike. */
static void a_check_refuses_what_decoding_does(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 30; round++) {
        struct frame f;
        struct wr w;
        random_frame(&rng, &f);
        encode(&f, &w);
        frame_fini(&f);
        check_i64(check_bytes(w.data, w.len), 0);
        for (int i = 0; i < 100; i++) {
            size_t at = (size_t)rng_below(&rng, w.len);
            uint8_t was = w.data[at];
            size_t len = rng_below(&rng, 4) ? w.len : at;
            w.data[at] = (uint8_t)rng_next(&rng);
            f = (struct frame){0};
            int err = frame_decode(&f, w.data, len);
            check_i64(check_bytes(w.data, len), err);
            frame_fini(&f);
            int read = read_by_pieces(&f, w.data, len, 3);
            if (!err) {
                check_i64(read, 0);
                frame_fini(&f);
            } else if (read == 0) { /* only in what is passed over */
                frame_fini(&f);
            }
            w.data[at] = was;
        }
        wr_fini(&w);
    }
}

static void unknown_cells_are_checked_and_passed_over(void **state)
{
    (void)state;
    struct wr w;
    struct frame got;
    static const char *const cells[] = {
        "929b000200029400010101 00000000c3 90" /* protocol 2 */
        "9b000100029400010101 00000000c2 90",
        "929b000200029400010101 00000000c3 9200c40705 01 00 01 0505 00"
        "9b000100029400010101 00000000c2 90", /* with a broken histogram */
    };
    for (size_t i = 0; i < 2; i++) {
        wr_init_grow(&w, FRAME_BYTES_MAX);
        put_hex(&w, "9901a1610102a0a0");
        put_hex(&w, context);
        put_hex(&w, target);
        put_hex(&w, cells[i]);
        check_i64(check_bytes(w.data, w.len), i ? ERR_BAD : 0);
        check_i64(read_by_pieces(&got, w.data, w.len, 3), 0);
        check_u64(got.n_cells, 1);
        check_u64(got.cells[0].protocol, PROTOCOL_GRPC);
        frame_fini(&got);
        wr_fini(&w);
    }
}

static void what_is_passed_over_may_have_grown_too(void **state)
{
    (void)state;
    struct wr w;
    struct frame got;
    wr_init_grow(&w, FRAME_BYTES_MAX);
    put_hex(&w, "9901a1610102a0a0");
    put_hex(&w, context);
    put_hex(&w, target);
    put_hex(&w, "929d000000029400010101 00000000c3 9200c40701010000000000 "
                "a178 c0"
                "9b000100029400010101 00000000c2 90");
    check_i64(read_by_pieces(&got, w.data, w.len, 1), 0);
    check_u64(got.n_cells, 2);
    check_u64(got.cells[1].protocol, PROTOCOL_GRPC);
    frame_fini(&got);
    wr_fini(&w);
}

/* 416 buckets: more than 255 bytes, so its head is a longer one. */
static void a_long_histogram_survives(void **state)
{
    (void)state;
    struct frame f;
    struct frame got = {0};
    struct wr w;
    struct hist *h;
    small_frame(&f);
    h = &f.cells[0].series[PHASE_TTFB];
    hist_reset(h);
    for (unsigned n = 0; n < HIST_BUCKETS; n++) {
        check_i64(hist_add(h, hist_bound_ns(n)), 0);
        f.cells[0].outcomes[OUTCOME_OK] = n + 1;
        f.cells[0].attempts = n + 3;
        encode(&f, &w);
        check_i64(frame_decode(&got, w.data, w.len), 0);
        check_same(&f, &got);
        wr_fini(&w);
    }
    frame_fini(&got);
    frame_fini(&f);
}

static void series_can_be_added_to_while_encoded(void **state)
{
    (void)state;
    struct hist series[SERIES_N] = {{0}};
    struct hist again[SERIES_N] = {{0}};
    struct wr w;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int i = 0; i < 500; i++) {
        size_t k = (size_t)rng_below(&rng, SERIES_N);
        check_i64(hist_add(&series[k], rng_next(&rng) >> 34), 0);
        wr_init_grow(&w, 65536);
        frame_put_series(&w, series);
        check_i64(frame_get_series(again, w.data, w.len), 0);
        for (size_t n = 0; n < SERIES_N; n++)
            check_same_hist(&series[n], &again[n]);
        wr_fini(&w);
    }
    check_i64(frame_get_series(again, "\x90", 1), 0);
    for (size_t n = 0; n < SERIES_N; n++) {
        check_u64(again[n].count, 0);
        hist_fini(&series[n]);
        hist_fini(&again[n]);
    }
}

static void deep_nests_are_refused(void **state)
{
    (void)state;
    struct frame got = {0};
    char hex[256] = "";
    for (int i = 0; i < 100; i++)
        strcat(hex, "91");
    strcat(hex, "c0");
    struct parts p = plain;
    p.fields = 10;
    p.rest = hex;
    check_i64(decode_parts(&p, &got), ERR_TOOBIG);
    p.rest = "9191919191919191c0";
    check_i64(decode_parts(&p, &got), 0);
    frame_fini(&got);
}

/* A cell as it is on a plain LAN target: warm, 10 attempts of 5 series. */
static void a_typical_cell_takes_about_a_hundred_bytes(void **state)
{
    (void)state;
    struct rng rng;
    struct frame f;
    struct wr with;
    struct wr without;

    rng_seed(&rng, check_seed());
    small_frame(&f);
    struct frame_cell *c = &f.cells[0];
    hist_reset(&c->series[PHASE_TTFB]);
    c->outcomes[OUTCOME_CANCELLED] = 0;
    c->outcomes[OUTCOME_OK] = c->attempts = 10;
    static const int series[] = {PHASE_TTFB, PHASE_TRANSFER, PHASE_LOCAL,
                                 SERIES_TOTAL, SERIES_SERVER};
    for (size_t i = 0; i < 5; i++) {
        for (int k = 0; k < 10; k++) {
            uint64_t ns = 200000 + rng_below(&rng, 40000);
            check_i64(hist_add(&c->series[series[i]], ns), 0);
        }
    }
    encode(&f, &with);
    f.n_cells = 0;
    encode(&f, &without);
    f.n_cells = 1;
    check_true(with.len - without.len < 180);
    frame_fini(&f);
    wr_fini(&with);
    wr_fini(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_encoding_is_this),
        cmocka_unit_test(decoding_gives_back_what_was_encoded),
        cmocka_unit_test(a_cut_one_is_refused_at_every_length),
        cmocka_unit_test(a_flipped_bit_never_breaks_a_promise),
        cmocka_unit_test(msgpack_c_reads_it_too),
        cmocka_unit_test(what_a_later_version_appends_is_passed_over),
        cmocka_unit_test(a_cell_that_is_not_understood_is_left_out),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(a_name_may_have_128_bytes_and_no_more),
        cmocka_unit_test(a_frame_too_large_is_refused_unread),
        cmocka_unit_test(counts_end_at_their_limits),
        cmocka_unit_test(a_reader_finds_what_decoding_does),
        cmocka_unit_test(a_check_refuses_what_decoding_does),
        cmocka_unit_test(unknown_cells_are_checked_and_passed_over),
        cmocka_unit_test(what_is_passed_over_may_have_grown_too),
        cmocka_unit_test(a_long_histogram_survives),
        cmocka_unit_test(series_can_be_added_to_while_encoded),
        cmocka_unit_test(deep_nests_are_refused),
        cmocka_unit_test(a_typical_cell_takes_about_a_hundred_bytes),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
