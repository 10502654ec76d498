/* Small meshes by hand, then random ones against folding from scratch. */
#include "mesh/history.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  1000000ull
#define SEC (1000 * MS)

/* A window whose minute and ten minutes begin with it. */
#define W0 (60 * 3000000ull)

static struct history *open_with(size_t bytes_max)
{
    struct history_config config = {.bytes_max = bytes_max, .seed = 1};
    struct history *h = history_open(&config);
    check_true(h != NULL);
    return h;
}

static void work(struct history *h)
{
    while (history_work(h, 100)) {
    }
}

static void tick(struct history *h, uint64_t window)
{
    history_tick(h, window * FRAME_WINDOW_S);
    work(h);
}

/* --- frames ------------------------------------------------------------- */

struct sheet {
    struct frame f;
    struct frame_target targets[16];
    struct frame_cell cells[64];
    char names[64][FRAME_NAME_MAX + 1];
    size_t n_names;
};

static char *keep(struct sheet *s, const char *text)
{
    check_true(s->n_names < 64);
    char *p = s->names[s->n_names++];
    snprintf(p, FRAME_NAME_MAX + 1, "%s", text);
    return p;
}

static void sheet_init(struct sheet *s, const char *origin, const char *zone,
                       uint64_t window)
{
    memset(s, 0, sizeof(*s));
    s->f = (struct frame){.origin = keep(s, origin),
                          .zone = keep(s, zone),
                          .region = keep(s, ""),
                          .epoch_ms = 1,
                          .window = window,
                          .targets = s->targets,
                          .cells = s->cells};
}

static uint32_t target(struct sheet *s, const char *name, const char *zone)
{
    s->targets[s->f.n_targets] =
        (struct frame_target){keep(s, name), keep(s, zone), keep(s, "")};
    return (uint32_t)s->f.n_targets++;
}

static struct frame_cell *cell(struct sheet *s, uint32_t to, unsigned protocol,
                               unsigned mode)
{
    check_true(s->f.n_cells < 64);
    struct frame_cell *c = &s->cells[s->f.n_cells++];
    c->target = to;
    c->protocol = (uint8_t)protocol;
    c->mode = (uint8_t)mode;
    c->is_trusted = true;
    return c;
}

static void good(struct frame_cell *c, unsigned n, uint64_t ns)
{
    c->attempts += n;
    c->outcomes[OUTCOME_OK] += n;
    for (unsigned i = 0; i < n; i++)
        check_i64(hist_add(&c->series[SERIES_TOTAL], ns), 0);
}

static void encode(struct sheet *s, struct wr *w)
{
    wr_init_grow(w, FRAME_BYTES_MAX);
    check_i64(frame_encode(&s->f, w), 0);
    for (size_t i = 0; i < s->f.n_cells; i++) {
        for (size_t k = 0; k < SERIES_N; k++)
            hist_fini(&s->cells[i].series[k]);
    }
}

static void post(struct history *h, struct sheet *s)
{
    struct wr w;
    encode(s, &w);
    check_i64(history_add(h, w.data, w.len), 0);
    wr_fini(&w);
    work(h);
}

/* `n` good attempts of 1 ms from a node of zone a to zone b. */
static void post_one(struct history *h, const char *origin, uint64_t window,
                     unsigned n)
{
    static struct sheet s;
    sheet_init(&s, origin, "a", window);
    good(cell(&s, target(&s, "b-1", "b"), 0, 0), n, MS);
    post(h, &s);
}

/* --- asking ------------------------------------------------------------- */

static struct history_reader *ask(const struct history *h, uint64_t first,
                                  uint64_t last, bool is_past)
{
    struct history_question q = {.first = first,
                                 .last = last,
                                 .protocol = -1,
                                 .mode = -1,
                                 .is_past = is_past,
                                 .unknown_s = 300};
    struct history_reader *r = history_reader_open(h, &q);
    check_true(r != NULL);
    return r;
}

static uint64_t attempts(const struct history *h, uint64_t first, uint64_t last)
{
    struct history_reader *r = ask(h, first, last, false);
    const struct matrix_cell *c = history_read(r, "a", "b", last * 10 * SEC);
    check_true(c != NULL);
    uint64_t n = c->attempts;
    history_reader_close(r);
    return n;
}

static void check_cover(const struct history *h, uint64_t first, uint64_t last,
                        uint64_t covers_first, uint64_t covers_end,
                        uint64_t step)
{
    struct history_reader *r = ask(h, first, last, false);
    struct history_cover c = history_covered(r);
    check_u64(c.first, covers_first);
    check_u64(c.end, covers_end);
    check_u64(c.step, step);
    history_reader_close(r);
}

static size_t slots(const struct history *h, enum history_tier t)
{
    struct history_stats s;
    history_stats(h, &s);
    return s.tiers[t].slots;
}

/* --- by hand ------------------------------------------------------------ */

static void a_frame_is_folded_into_its_zones(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    static struct sheet s;
    tick(h, W0 + 1);
    sheet_init(&s, "a-1", "a", W0);
    uint32_t b1 = target(&s, "b-1", "b");
    uint32_t b2 = target(&s, "b-2", "b");
    uint32_t out = target(&s, "https://out/", "");
    good(cell(&s, b1, PROTOCOL_HTTP1, MODE_COLD), 2, MS);
    struct frame_cell *c = cell(&s, b2, PROTOCOL_HTTP1, MODE_COLD);
    good(c, 1, 3 * MS);
    c->is_trusted = false;
    c->attempts += 1;
    c->outcomes[OUTCOME_CONNECT_TIMEOUT] = 1;
    c->max_lag_us = 77;
    good(cell(&s, b1, PROTOCOL_GRPC, MODE_WARM), 5, MS);
    good(cell(&s, out, PROTOCOL_GRPC, MODE_WARM), 6, MS);
    post(h, &s);

    struct history_question q = {
        .first = W0, .last = W0, .protocol = PROTOCOL_HTTP1, .mode = 0};
    struct history_reader *r = history_reader_open(h, &q);
    const struct matrix_cell *got =
        history_read(r, "a", "b", (W0 + 1) * 10 * SEC + 4 * SEC);
    check_u64(got->attempts, 4);
    check_u64(got->ok, 3);
    check_u64(got->failed, 1);
    check_u64(got->outcomes[OUTCOME_CONNECT_TIMEOUT], 1);
    check_u64(got->max_lag_us, 77);
    check_u64(got->nodes, 1);
    check_true(got->trusted_ratio == 0.5);
    check_u64(got->state, CELL_FRESH);
    check_true(got->age_s == 4);
    const struct hist *total = &got->series[SERIES_TOTAL];
    check_u64(total->count, 3);
    check_u64(total->sum_ns, 5 * MS);
    check_u64(total->min_ns, MS);
    check_u64(total->max_ns, 3 * MS);
    check_u64(got->series[PHASE_DNS].count, 0);
    got = history_read(r, "b", "a", W0 * 10 * SEC);
    check_u64(got->attempts, 0);
    check_u64(got->state, CELL_UNKNOWN);
    check_true(got->age_s < 0);
    history_reader_close(r);
    check_u64(attempts(h, W0, W0), 9);
    history_close(h);
}

static void a_frame_counts_once_however_often_it_comes(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    struct history_stats s;
    tick(h, W0 + 1);
    for (int i = 0; i < 5; i++)
        post_one(h, "a-1", W0, 3);
    post_one(h, "a-2", W0, 1);
    check_u64(attempts(h, W0, W0), 4);
    tick(h, W0 + 9); /* its minute is made */
    check_u64(slots(h, HISTORY_MINUTE), 1);
    post_one(h, "a-1", W0, 3);
    check_u64(attempts(h, W0, W0 + 5), 4);
    history_stats(h, &s);
    check_u64(s.repeated, 5);
    check_u64(s.folded, 2);
    history_close(h);
}

/* Nodes with similar names that were started together. */
static void frames_of_neighbours_are_all_folded(void **state)
{
    (void)state;
    enum { NODES = 26, EPOCHS = 64 };
    struct history *h = open_with(1 << 24);
    struct history_stats stats;
    static struct sheet s;
    tick(h, W0 + 1);
    for (unsigned i = 0; i < NODES * EPOCHS; i++) {
        const char name[] = {(char)('a' + i % NODES), '-', '1', '\0'};
        sheet_init(&s, name, "a", W0);
        s.f.epoch_ms = UINT64_C(1700000000000) + i / NODES;
        good(cell(&s, target(&s, "b-1", "b"), 0, 0), 1, MS);
        post(h, &s);
    }
    history_stats(h, &stats);
    check_u64(stats.repeated, 0);
    check_u64(stats.folded, (uint64_t)NODES * EPOCHS);
    check_u64(attempts(h, W0, W0), (uint64_t)NODES * EPOCHS);
    history_close(h);
}

static void what_comes_late_is_in_all_its_slots(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    tick(h, W0 + 1);
    post_one(h, "a-1", W0, 1);
    for (uint64_t w = W0 + 2; w < W0 + 30; w++)
        tick(h, w);
    check_u64(slots(h, HISTORY_MINUTE), 1);
    post_one(h, "a-1", W0 + 1, 10);  /* into the minute made */
    post_one(h, "a-1", W0 + 7, 100); /* into one that was passed over */
    check_u64(slots(h, HISTORY_MINUTE), 2);
    check_u64(attempts(h, W0, W0 + 5), 11);
    check_cover(h, W0, W0 + 5, W0, W0 + 6, 6);
    check_u64(attempts(h, W0 + 6, W0 + 11), 100);
    check_cover(h, W0 + 6, W0 + 11, W0 + 7, W0 + 12, 6);
    post_one(h, "a-2", W0 + 6, 0); /* nothing in it, nothing covered */
    check_cover(h, W0 + 6, W0 + 11, W0 + 7, W0 + 12, 6);
    post_one(h, "a-3", W0 + 6, 1000);
    check_u64(attempts(h, W0 + 6, W0 + 11), 1100);
    check_cover(h, W0 + 6, W0 + 11, W0 + 6, W0 + 12, 6);
    /* Ten minutes are made of both. */
    for (uint64_t w = W0 + 30; w < W0 + 80; w++)
        tick(h, w);
    check_u64(slots(h, HISTORY_TEN), 1);
    check_u64(slots(h, HISTORY_WINDOW), 0);
    check_u64(attempts(h, W0, W0 + 59), 1111);
    check_cover(h, W0, W0 + 59, W0, W0 + 60, 60);
    history_close(h);
}

static void frames_out_of_reach_are_refused(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    struct history_stats s;
    tick(h, W0 + 100);
    post_one(h, "a-1", W0 + 100 - HISTORY_WINDOWS - 1, 1);
    post_one(h, "a-1", W0 + 100 + FRAMES_AHEAD_MAX + 1, 1);
    history_stats(h, &s);
    check_u64(s.late, 2);
    check_u64(s.lines, 0);
    post_one(h, "a-1", W0 + 100 - HISTORY_WINDOWS, 1);
    post_one(h, "a-1", W0 + 100 + FRAMES_AHEAD_MAX, 1);
    history_stats(h, &s);
    check_u64(s.folded, 2);
    history_close(h);
}

static bool is_not_a1(void *arg, const char *origin)
{
    (*(int *)arg)++;
    return strcmp(origin, "a-1") != 0;
}

static void who_is_not_usable_does_not_count(void **state)
{
    (void)state;
    int asked = 0;
    struct history_config config = {
        .bytes_max = 1 << 24, .is_usable = is_not_a1, .usable_arg = &asked};
    struct history *h = history_open(&config);
    struct history_stats s;
    tick(h, W0 + 1);
    post_one(h, "a-1", W0, 7);
    post_one(h, "a-2", W0, 1);
    check_u64(attempts(h, W0, W0), 1);
    check_i64(asked, 2);
    history_stats(h, &s);
    check_u64(s.unusable, 1);
    history_close(h);
}

static void ages_are_of_the_moment_of_reading(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    tick(h, W0 + 1);
    post_one(h, "a-1", W0, 1);
    uint64_t end_s = (W0 + 1) * 10;
    struct history_reader *r = ask(h, W0, W0 + 6, false);
    const struct matrix_cell *c = history_read(r, "a", "b", end_s * SEC);
    check_true(c->age_s == 0 && c->state == CELL_FRESH);
    c = history_read(r, "a", "b", (end_s - 5) * SEC);
    check_true(c->age_s == 0 && c->state == CELL_FRESH);
    c = history_read(r, "a", "b", (end_s + 30) * SEC);
    check_true(c->age_s == 30 && c->state == CELL_FRESH);
    c = history_read(r, "a", "b", (end_s + 31) * SEC);
    check_true(c->age_s == 31 && c->state == CELL_STALE);
    history_reader_close(r);
    /* Not within the windows asked for: known to be old, then unknown. */
    r = ask(h, W0 + 1, W0 + 6, false);
    c = history_read(r, "a", "b", (end_s + 300) * SEC);
    check_true(c->age_s == 300 && c->state == CELL_STALE);
    check_u64(c->attempts, 0);
    c = history_read(r, "a", "b", (end_s + 301) * SEC);
    check_true(c->age_s == 301 && c->state == CELL_UNKNOWN);
    history_reader_close(r);
    history_close(h);
}

static void the_past_knows_nothing_newer(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    for (uint64_t w = W0; w < W0 + 200; w++) {
        tick(h, w + 1);
        if (w < W0 + 10 || w > W0 + 150)
            post_one(h, "a-1", w, 1);
    }
    /* As of window W0 + 100, when there had been none for 91 windows. */
    struct history_reader *r = ask(h, W0 + 71, W0 + 100, true);
    const struct matrix_cell *c =
        history_read(r, "a", "b", (W0 + 101) * 10 * SEC);
    check_u64(c->attempts, 0);
    check_true(c->age_s == 910);
    check_u64(c->state, CELL_UNKNOWN);
    history_reader_close(r);
    /* As of W0 + 11. */
    r = ask(h, W0, W0 + 11, true);
    c = history_read(r, "a", "b", (W0 + 12) * 10 * SEC);
    check_u64(c->attempts, 10);
    check_true(c->age_s == 20);
    check_u64(c->state, CELL_FRESH);
    history_reader_close(r);
    history_close(h);
}

static void a_question_rounds_only_where_it_has_to(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    for (uint64_t w = W0; w < W0 + 100; w++) {
        tick(h, w + 1);
        post_one(h, "a-1", w, 1);
    }
    /* Windows are there: to the window, whatever slots answer. */
    check_u64(attempts(h, W0 + 69, W0 + 98), 30);
    check_cover(h, W0 + 69, W0 + 98, W0 + 69, W0 + 99, 6);
    /* They have gone before W0 + 64: whole minutes. */
    check_u64(attempts(h, W0 + 39, W0 + 68), 33);
    check_cover(h, W0 + 39, W0 + 68, W0 + 36, W0 + 69, 6);
    check_u64(attempts(h, W0 + 1, W0 + 60), 66);
    check_cover(h, W0 + 1, W0 + 60, W0, W0 + 66, 6);
    /* A slot of ten is only taken whole. */
    check_u64(attempts(h, W0, W0 + 59), 60);
    check_cover(h, W0, W0 + 59, W0, W0 + 60, 60);
    check_cover(h, W0 - 100, W0 - 1, 0, 0, 0);
    history_close(h);
}

static void nothing_is_lost_in_a_day_but_resolution(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    uint64_t end = W0 + 144 * 60;
    for (uint64_t w = W0; w < end; w++) {
        tick(h, w + 1);
        if (w % 7 != 3)
            post_one(h, "a-1", w, 1 + (unsigned)(w % 3));
    }
    tick(h, end + 8);
    uint64_t want = 0;
    uint64_t got = 0;
    for (uint64_t w = W0; w < end; w++)
        want += w % 7 != 3 ? 1 + w % 3 : 0;
    for (uint64_t w = W0; w < end; w += 60)
        got += attempts(h, w, w + 59);
    check_u64(got, want);
    check_u64(slots(h, HISTORY_MINUTE), HISTORY_MINUTES - 1); /* one is due */
    check_u64(slots(h, HISTORY_TEN), HISTORY_TENS);
    /* Another day of silence, and nothing is left, names included. */
    for (uint64_t w = end; w < end + 2 * 144 * 60; w += 3)
        tick(h, w);
    struct history_stats s;
    history_stats(h, &s);
    check_u64(s.lines, 0);
    check_false(history_knows(h, "a"));
    check_u64(history_reported(h, "a-1"), 0);
    history_close(h);
}

static void a_clock_set_back_does_not_stop_it(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    for (uint64_t w = W0 + 1000; w < W0 + 1100; w++) {
        tick(h, w);
        post_one(h, "a-1", w, 1);
    }
    for (uint64_t w = W0; w < W0 + 100; w++) {
        tick(h, w);
        post_one(h, "a-1", w, 1);
    }
    check_u64(attempts(h, W0 + 70, W0 + 99), 30);
    check_u64(attempts(h, W0, W0 + 59), 60);
    check_u64(attempts(h, W0 + 1000, W0 + 1010), 0);
    history_close(h);
}

/* What was measured in a time that is now to come is of the past. */
static void nothing_is_newer_than_a_clock_set_back(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    tick(h, W0 + 1000);
    post_one(h, "a-1", W0 + 999, 1);
    check_u64(history_reported(h, "a-1"), W0 + 999);
    tick(h, W0 + 995); /* near enough for the window to stay */
    check_u64(history_reported(h, "a-1"), W0 + 995);
    struct history_reader *r = ask(h, W0 + 900, W0 + 990, false);
    const struct matrix_cell *c =
        history_read(r, "a", "b", (W0 + 995) * 10 * SEC);
    check_u64(c->attempts, 0);
    check_true(c->age_s == 0);
    c = history_read(r, "a", "b", (W0 + 999) * 10 * SEC);
    check_true(c->age_s == 40);
    check_u64(c->state, CELL_STALE);
    history_reader_close(r);
    history_close(h);
}

static int count_name(void *arg, const char *name)
{
    (void)name;
    (*(unsigned *)arg)++;
    return 0;
}

static int is_silent(void *arg, const char *name)
{
    (void)arg;
    check_text(name, "c");
    return 0;
}

static void an_origin_that_measures_nothing_still_reports(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    static struct sheet s;
    unsigned columns = 0;
    tick(h, W0 + 1);
    sheet_init(&s, "c-1", "c", W0);
    cell(&s, target(&s, "b-1", "b"), 0, 0); /* without attempts */
    post(h, &s);
    check_u64(history_reported(h, "c-1"), W0);
    check_u64(history_reported(h, "c-2"), 0);
    check_i64(history_names(h, is_silent, count_name, &columns), 0);
    check_u64(columns, 0);
    tick(h, W0 + HISTORY_WINDOWS + 1);
    check_u64(history_reported(h, "c-1"), 0);
    history_close(h);
}

static void a_timeline_has_the_finest_slots_there_are(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    for (uint64_t w = W0; w < W0 + 100; w++) {
        tick(h, w + 1);
        post_one(h, "a-1", w, 1);
    }
    struct history_question q = {.first = W0 + 48,
                                 .last = W0 + 99,
                                 .protocol = 0,
                                 .mode = 0,
                                 .is_fine = true};
    struct history_reader *r = history_reader_open(h, &q);
    const struct matrix_cell *c;
    struct history_cover t;
    uint64_t at = 0;
    uint64_t sum = 0;
    unsigned minutes = 0;
    unsigned windows = 0;
    while (history_next_point(r, &at, "a", "b", &c, &t) == 1) {
        check_u64(c->attempts, t.end - t.first);
        check_u64(t.first, W0 + 48 + sum);
        sum += c->attempts;
        minutes += t.step == 6;
        windows += t.step == 1;
    }
    check_u64(sum, 52);
    check_u64(minutes, 3); /* windows begin at W0 + 64, within the third */
    check_u64(windows, 34);
    history_reader_close(r);
    history_close(h);
}

static void memory_is_bounded_and_the_oldest_goes_first(void **state)
{
    (void)state;
    size_t max = 300000;
    struct history *h = open_with(max);
    struct history_stats s;
    char name[16];
    static struct sheet sheet;
    for (uint64_t w = W0; w < W0 + 300; w++) {
        tick(h, w + 1);
        for (int i = 0; i < 12; i++) {
            snprintf(name, sizeof(name), "z%d", i);
            sheet_init(&sheet, name, name, w);
            for (unsigned k = 0; k < 12; k++) {
                char to[16];
                snprintf(to, sizeof(to), "z%u", k);
                good(cell(&sheet, target(&sheet, to, to), 0, 0), 2, k * MS);
            }
            post(h, &sheet);
        }
        history_tick(h, (w + 1) * 10);
        work(h);
        history_stats(h, &s);
        check_true(s.bytes <= max + 40000); /* the window that is growing */
    }
    check_true(s.tiers[HISTORY_WINDOW].slots < HISTORY_WINDOWS);
    check_true(s.tiers[HISTORY_WINDOW].slots > 2);
    check_true(s.tiers[HISTORY_MINUTE].slots > 2);
    check_true(s.tiers[HISTORY_TEN].slots > 0);
    check_u64(s.tiers[HISTORY_WINDOW].end, W0 + 300);
    check_true(s.tiers[HISTORY_WINDOW].oldest > s.tiers[HISTORY_MINUTE].oldest);
    check_true(s.tiers[HISTORY_MINUTE].oldest > s.tiers[HISTORY_TEN].oldest);
    /* What was dropped comes back from a peer: it is not folded twice. */
    sheet_init(&sheet, "z0", "z0", s.tiers[HISTORY_WINDOW].oldest - 1);
    post(h, &sheet);
    uint64_t late = s.late;
    history_stats(h, &s);
    check_u64(s.late, late + 1);
    history_limit(h, 0);
    tick(h, W0 + 301);
    history_stats(h, &s);
    check_u64(s.tiers[HISTORY_WINDOW].slots, 2);
    check_u64(s.tiers[HISTORY_TEN].slots, 0);
    history_close(h);
}

/* What has been dropped and is not yet freed is no reason to drop more. */
static void waiting_to_be_freed_is_not_waiting_to_be_dropped(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    struct history_stats s;
    for (uint64_t w = W0; w < W0 + 30; w++) {
        tick(h, w + 1);
        for (unsigned i = 0; i < 40; i++) {
            static struct sheet sheet;
            char name[16];
            snprintf(name, sizeof(name), "z%u", i);
            sheet_init(&sheet, name, name, w);
            good(cell(&sheet, target(&sheet, "b", "b"), 0, 0), 1, MS);
            post(h, &sheet);
        }
    }
    check_true(slots(h, HISTORY_WINDOW) == 30);
    history_stats(h, &s);
    size_t graves = s.bytes, held = 0;
    for (unsigned t = 0; t < HISTORY_TIERS; t++)
        held += s.tiers[t].bytes;
    size_t fixed = s.bytes - held;
    history_limit(h, fixed + held); /* half of it for the windows */
    history_tick(h, (W0 + 30) * 10);
    size_t left = slots(h, HISTORY_WINDOW);
    check_true(left < 30 && left > 10);
    history_stats(h, &s);
    check_u64(s.bytes, graves); /* all are still there */
    for (unsigned i = 0; i < 5; i++)
        history_tick(h, (W0 + 30) * 10);
    check_u64(slots(h, HISTORY_WINDOW), left);
    work(h);
    history_stats(h, &s);
    check_true(s.bytes < graves);
    check_u64(slots(h, HISTORY_WINDOW), left);
    history_close(h);
}

/* Of `n` pairs of zones. */
static void post_many(struct history *h, uint64_t window, unsigned n)
{
    static struct sheet s;
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        if (i % 15 == 0) {
            snprintf(name, sizeof(name), "o%u", i / 15);
            sheet_init(&s, name, name, window);
        }
        snprintf(name, sizeof(name), "t%u", i);
        struct frame_cell *c = cell(&s, target(&s, name, name), 0, 0);
        c->attempts = c->outcomes[OUTCOME_OK] = 1;
        check_i64(hist_add(&c->series[SERIES_TOTAL], MS), 0);
        if (i % 15 == 14 || i + 1 == n)
            post(h, &s);
    }
}

/* A quarter is for the tables of lines, so that there is room for time. */
static void made_up_names_leave_room_for_time(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 18);
    struct history_stats s;
    tick(h, W0 + 1);
    post_many(h, W0, 1024);
    history_stats(h, &s);
    check_u64(s.lines, 1024);
    check_u64(s.dropped, 0);
    history_close(h);

    h = open_with(1 << 16); /* so many there are always */
    tick(h, W0 + 1);
    post_many(h, W0, 1500);
    history_stats(h, &s);
    check_u64(s.lines, 1024);
    history_close(h);

    h = open_with(1 << 18);
    history_limit(h, 1 << 24); /* tables have the room of the beginning */
    tick(h, W0 + 1);
    post_many(h, W0, 1500);
    history_stats(h, &s);
    check_u64(s.lines, 1024);
    check_u64(s.dropped, 1500 - 1024);
    history_close(h);

    h = open_with(1 << 20);
    tick(h, W0 + 1);
    post_many(h, W0, 1500);
    history_stats(h, &s);
    check_u64(s.lines, 1500);
    history_close(h);
}

/* A slow reader: the slots it began with are freed in between. */
static void a_reader_outlives_slots(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    for (uint64_t w = W0; w < W0 + 30; w++) {
        tick(h, w + 1);
        post_one(h, "a-1", w, 1);
    }
    struct history_reader *r = ask(h, W0 + 2, W0 + 40, false);
    check_u64(history_read(r, "a", "b", 0)->attempts, 28);
    for (uint64_t w = W0 + 30; w < W0 + 120; w++)
        tick(h, w);
    check_u64(slots(h, HISTORY_WINDOW), 0);
    check_u64(history_read(r, "a", "b", 0)->attempts, 30); /* whole minutes */
    check_u64(history_covered(r).first, W0);
    tick(h, W0 + 3 * 144 * 60);
    check_u64(history_read(r, "a", "b", 0)->attempts, 0);
    check_u64(history_covered(r).end, 0);
    history_reader_close(r);
    history_close(h);
}

/* --- against folding from scratch --------------------------------------- */

static const char *const zones[] = {"a", "b", "c", "d"};

static void random_frame(struct rng *rng, struct sheet *s, unsigned node,
                         uint64_t window)
{
    char name[16];
    snprintf(name, sizeof(name), "n%u", node);
    sheet_init(s, name, zones[node % 4], window);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        target(s, name, zones[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct frame_cell *c =
            cell(s, (uint32_t)rng_below(rng, 4), (unsigned)rng_below(rng, 2),
                 (unsigned)rng_below(rng, 2));
        c->is_trusted = rng_below(rng, 4) > 0;
        c->retransmits = (uint32_t)rng_below(rng, 3);
        c->max_lag_us = rng_below(rng, 1000);
        c->user_clock = (uint32_t)rng_below(rng, 2);
        for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
            c->attempts++;
            c->outcomes[OUTCOME_OK]++;
            for (size_t k = 0; k < SERIES_N; k++) {
                uint64_t ns = rng_next(rng) >> (27 + rng_below(rng, 37));
                if (rng_below(rng, 3))
                    check_i64(hist_add(&c->series[k], ns), 0);
            }
        }
        if (rng_below(rng, 5) == 0) {
            c->attempts++;
            c->outcomes[rng_below(rng, OUTCOME_N)]++;
            if (c->outcomes[OUTCOME_OK] > c->attempts)
                c->attempts = c->outcomes[OUTCOME_OK];
        }
        c->attempts = 0;
        for (size_t k = 0; k < OUTCOME_N; k++)
            c->attempts += c->outcomes[k];
    }
}

static void check_hist(const struct hist *got, const struct hist *want)
{
    hist_check(got);
    check_u64(got->count, want->count);
    if (want->count == 0)
        return;
    check_u64(got->sum_ns, want->sum_ns);
    check_u64(got->min_ns, want->min_ns);
    check_u64(got->max_ns, want->max_ns);
    check_u64(got->zero, want->zero);
    check_u64(got->clamped, want->clamped);
    check_u64(got->n, want->n);
    for (size_t i = 0; i < want->n; i++) {
        check_u64(got->buckets[i].index, want->buckets[i].index);
        check_u64(got->buckets[i].count, want->buckets[i].count);
    }
}

static void check_cell(const struct matrix_cell *got,
                       const struct matrix_cell *want)
{
    check_u64(got->attempts, want->attempts);
    check_u64(got->ok, want->ok);
    check_u64(got->failed, want->failed);
    for (size_t i = 0; i < OUTCOME_N; i++)
        check_u64(got->outcomes[i], want->outcomes[i]);
    check_u64(got->retransmits, want->retransmits);
    check_u64(got->user_clock, want->user_clock);
    check_u64(got->max_lag_us, want->max_lag_us);
    check_u64(got->nodes, want->nodes);
    check_true(got->trusted_ratio == want->trusted_ratio);
    for (size_t k = 0; k < SERIES_N; k++)
        check_hist(&got->series[k], &want->series[k]);
}

/* Every pair, for one question, as the matrix of the frames has it. */
static void compare(const struct history *h, const struct frames *set,
                    const struct matrix_query *query)
{
    struct matrix *m = matrix_build(set, query, NULL, 0);
    struct matrix_windows w = matrix_windows(query);
    struct history_question q = {.first = w.first,
                                 .last = w.last,
                                 .protocol = query->protocol,
                                 .mode = query->mode,
                                 .is_past = query->is_past,
                                 .unknown_s = 3600};
    struct history_reader *r = history_reader_open(h, &q);
    check_true(m && r);
    for (size_t i = 0; i < matrix_rows(m); i++) {
        for (size_t k = 0; k < matrix_columns(m); k++) {
            const struct matrix_cell *want = matrix_at(m, i, k);
            const struct matrix_cell *got =
                history_read(r, matrix_row_name(m, i), matrix_column_name(m, k),
                             query->now_unix_ns);
            check_cell(got, want);
            /* Frames do not remember as long as the history does. */
            if (want->state != CELL_UNKNOWN) {
                check_u64(got->state, want->state);
                check_true(got->age_s == want->age_s);
            }
        }
    }
    history_reader_close(r);
    matrix_close(m);
}

static void compare_all(struct rng *rng, const struct history *h,
                        const struct frames *set, uint64_t window)
{
    struct matrix_query q = {.level = LEVEL_ZONE, .protocol = -1, .mode = -1};
    q.now_unix_ns = window * 10 * SEC + rng_below(rng, 10 * SEC);
    q.window_s = 10 + rng_below(rng, 291);
    compare(h, set, &q);
    q.window_s = 300;
    q.protocol = (int)rng_below(rng, 2);
    q.mode = (int)rng_below(rng, 2);
    compare(h, set, &q);
    q.window_s = 60;
    q.is_past = true;
    q.now_unix_ns -= rng_below(rng, 120) * SEC;
    compare(h, set, &q);
}

/* Frames come early, late, twice or never, in any order and in bulk; work is
 * done a little at a time: after all of it is done, the answer is the same as
 * that of the frames. */
static void agrees_with_the_frames_in_any_order(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 6; round++) {
        struct frames_limits limits = {
            .retention_s = (HISTORY_WINDOWS - 1) * 10, .bytes_max = 64u << 20};
        struct frames *set = frames_open(&limits);
        struct history *h = open_with(64u << 20);
        struct wr held[400];
        size_t n_held = 0;
        uint64_t start = W0 + rng_below(&rng, 60);
        for (uint64_t w = start; w < start + 150; w++) {
            static struct sheet s;
            frames_expire(set, w * 10);
            history_tick(h, w * 10 + 3);
            for (unsigned node = 0; node < 8; node++) {
                random_frame(&rng, &s, node, w - 1);
                check_true(n_held < 400);
                encode(&s, &held[n_held++]);
            }
            /* Now and then nothing arrives for long: a partition. */
            bool is_cut = w % 50 > 30 && w % 50 < 46;
            for (size_t i = n_held; i > 0 && !is_cut; i--) {
                if (rng_below(&rng, 3) == 0)
                    continue;
                struct wr *x = &held[rng_below(&rng, n_held)];
                int rc = frames_add(set, x->data, x->len);
                if (rc == 0 || rc == ERR_BUSY)
                    history_add(h, x->data, x->len);
                history_work(h, (size_t)rng_below(&rng, 200));
                if (rng_below(&rng, 4) == 0)
                    continue; /* it will come again */
                wr_fini(x);
                *x = held[--n_held];
            }
            while (n_held > 250)
                wr_fini(&held[--n_held]); /* lost */
            if (w % 7 == 0) {
                work(h);
                compare_all(&rng, h, set, w);
            }
        }
        while (n_held > 0)
            wr_fini(&held[--n_held]);
        frames_close(set);
        history_close(h);
    }
}

/* --- percentiles -------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void check_quantiles(const struct hist *h, uint64_t *raw, size_t n)
{
    static const double quantiles[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999, 1};
    qsort(raw, n, sizeof(*raw), by_size);
    check_u64(h->count, n);
    check_u64(h->max_ns, raw[n - 1]);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        size_t rank = (size_t)(quantiles[i] * (double)n + 0.9999999);
        double want = (double)raw[rank ? rank - 1 : 0];
        double got = (double)hist_quantile(h, quantiles[i]);
        check_true(got >= want * 0.978 - 1 && got <= want * 1.022 + 1);
    }
}

/* Two nodes hear the same frames, each in its own order and some twice; one of
 * them only keeps minutes. Both tell the samples' percentiles. */
static void percentiles_are_those_of_the_samples(void **state)
{
    (void)state;
    enum { FRAMES = 90, EACH = 20 };
    struct rng rng;
    static uint64_t raw[FRAMES * EACH];
    static struct sheet s;
    struct wr held[FRAMES];
    rng_seed(&rng, check_seed() + 1);
    for (size_t i = 0; i < FRAMES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "a-%zu", i % 3);
        sheet_init(&s, name, "a", W0 + i / 3);
        struct frame_cell *c = cell(&s, target(&s, "b-1", "b"), 0, 0);
        for (size_t k = 0; k < EACH; k++) {
            uint64_t ns =
                100000 + (rng_next(&rng) >> (30 + rng_below(&rng, 12)));
            raw[i * EACH + k] = ns;
            good(c, 1, ns);
        }
        encode(&s, &held[i]);
    }
    for (int node = 0; node < 4; node++) {
        struct history *h = open_with(16u << 20);
        tick(h, W0 + 30);
        for (size_t i = FRAMES; i > 0; i--) {
            size_t pick = (size_t)rng_below(&rng, i);
            struct wr last = held[i - 1];
            held[i - 1] = held[pick];
            held[pick] = last;
            history_add(h, held[i - 1].data, held[i - 1].len);
            const struct wr *again = &held[rng_below(&rng, FRAMES)];
            history_add(h, again->data, again->len);
        }
        for (uint64_t w = W0 + 31; w < W0 + (node % 2 ? 120 : 36); w++)
            tick(h, w);
        struct history_reader *r = ask(h, W0, W0 + 29, false);
        const struct matrix_cell *c = history_read(r, "a", "b", W0 * 10 * SEC);
        check_quantiles(&c->series[SERIES_TOTAL], raw, FRAMES * EACH);
        history_reader_close(r);
        history_close(h);
    }
    for (size_t i = 0; i < FRAMES; i++)
        wr_fini(&held[i]);
}

/* --- between nodes ------------------------------------------------------ */

/* Ten hours of four zones. */
static struct history *aged(uint64_t *now)
{
    struct history *h = open_with(64u << 20);
    struct rng rng;
    static struct sheet s;
    rng_seed(&rng, check_seed() + 2);
    for (uint64_t w = W0; w < W0 + 3600; w++) {
        tick(h, w + 1);
        random_frame(&rng, &s, (unsigned)(w % 4), w);
        post(h, &s);
    }
    *now = W0 + 3601;
    return h;
}

static size_t all_parts(const struct history *h, size_t bytes, struct wr *parts,
                        size_t max)
{
    struct history_cursor c = {.step = 0};
    size_t n = 0;
    for (;; n++) {
        check_true(n < max);
        wr_init_grow(&parts[n], HISTORY_PART_MAX);
        int rc = history_next_part(h, &c, bytes, &parts[n]);
        check_true(rc >= 0);
        if (rc == 0)
            return n;
    }
}

static void check_same(const struct history *a, const struct history *b,
                       uint64_t first, uint64_t last)
{
    struct history_reader *x = ask(a, first, last, true);
    struct history_reader *y = ask(b, first, last, true);
    for (int i = 0; i < 16; i++) {
        const char *from = zones[i / 4];
        const char *to = zones[i % 4];
        const struct matrix_cell *want =
            history_read(x, from, to, last * 10 * SEC);
        const struct matrix_cell *got =
            history_read(y, from, to, last * 10 * SEC);
        check_true(want->attempts > 0);
        check_cell(got, want);
        check_true(got->age_s == want->age_s);
    }
    history_reader_close(x);
    history_reader_close(y);
}

static void a_fresh_node_gets_all_from_a_peer(void **state)
{
    (void)state;
    enum { MAX = 4000 };
    static struct wr parts[MAX];
    uint64_t now;
    struct rng rng;
    struct history *old = aged(&now);
    rng_seed(&rng, check_seed() + 3);
    size_t n = all_parts(old, 3000, parts, MAX);
    check_true(n > 100);
    struct history *fresh = open_with(64u << 20);
    tick(fresh, now);
    for (size_t i = 0; i < 3 * n; i++) {
        const struct wr *p = &parts[i < n ? i : rng_below(&rng, n)];
        check_true(p->len < 3000 + 4096);
        check_i64(history_take_part(fresh, p->data, p->len), 0);
    }
    work(fresh);
    check_same(old, fresh, W0, W0 + 59);
    check_same(old, fresh, W0 + 3300, W0 + 3359);
    check_same(old, fresh, W0 + 3000, W0 + 3200);
    check_true(slots(fresh, HISTORY_MINUTE) > HISTORY_MINUTES - 10);
    check_true(slots(fresh, HISTORY_TEN) > 50);
    for (size_t i = 0; i <= n; i++)
        wr_fini(&parts[i]);
    history_close(old);
    history_close(fresh);
}

static void check_cursor(const struct history_cursor *c, unsigned step,
                         uint64_t start)
{
    check_u64(c->step, step);
    check_u64(c->start, start);
    check_true(c->is_begun);
    check_u64(c->line, 0);
}

static void a_walk_can_be_kept_to_some_time(void **state)
{
    (void)state;
    /* windows 100..130: minutes 96..126, and the tens 60 and 120 */
    struct history_cursor c = {.step = 0};
    check_true(history_narrow(&c, 100, 130));
    check_cursor(&c, 0, 126);
    c.line = 7; /* within a slot nothing changes */
    check_true(history_narrow(&c, 100, 130));
    check_u64(c.line, 7);
    c = (struct history_cursor){.start = 95, .is_begun = true};
    check_true(history_narrow(&c, 100, 130)); /* perhaps 95 is in one */
    check_cursor(&c, 0, 95);
    c = (struct history_cursor){.start = 94, .is_begun = true, .line = 3};
    check_true(history_narrow(&c, 100, 130));
    check_cursor(&c, 1, 120);
    c = (struct history_cursor){.step = 1}; /* a peer without minutes */
    check_true(history_narrow(&c, 100, 130));
    check_cursor(&c, 1, 120);
    c = (struct history_cursor){.step = 1, .start = 119, .is_begun = true};
    check_true(history_narrow(&c, 100, 130));
    check_cursor(&c, 1, 119);
    c.start = 40;
    check_false(history_narrow(&c, 100, 130));
    check_false(history_narrow(&c, 100, 130));
    c = (struct history_cursor){.step = 3};
    check_false(history_narrow(&c, 0, UINT32_MAX));
}

static void the_larger_of_two_records_stays(void **state)
{
    (void)state;
    struct history *h[2] = {open_with(1 << 24), open_with(1 << 24)};
    struct wr parts[2][8];
    for (int i = 0; i < 2; i++) {
        for (uint64_t w = W0; w < W0 + 60; w++) {
            tick(h[i], w + 1);
            if (w < W0 + 6)
                post_one(h[i], "a-1", w, i ? 5 : 3);
        }
        check_u64(all_parts(h[i], 3000, parts[i], 8), 1);
    }
    for (int i = 0; i < 2; i++) {
        const struct wr *p = &parts[!i][0];
        check_i64(history_take_part(h[i], p->data, p->len), 0);
        check_u64(attempts(h[i], W0, W0 + 5), 30);
    }
    for (int i = 0; i < 2; i++) {
        wr_fini(&parts[i][0]);
        wr_fini(&parts[i][1]);
        history_close(h[i]);
    }
}

static void time_that_we_measure_is_not_taken(void **state)
{
    (void)state;
    struct wr parts[8];
    struct history *peer = open_with(1 << 24);
    for (uint64_t w = W0; w < W0 + 12; w++) {
        tick(peer, w + 1);
        post_one(peer, "a-1", w, 1);
    }
    check_u64(all_parts(peer, 3000, parts, 8), 1);
    struct history *h = open_with(1 << 24);
    tick(h, W0 + 6 + HISTORY_WINDOWS - 1); /* frames of it may yet come */
    check_i64(history_take_part(h, parts[0].data, parts[0].len), 0);
    check_u64(slots(h, HISTORY_MINUTE), 0);
    tick(h, W0 + 6 + HISTORY_WINDOWS); /* but it is for us to make */
    check_i64(history_take_part(h, parts[0].data, parts[0].len), 0);
    check_u64(slots(h, HISTORY_MINUTE), 1);
    history_close(h);
    h = open_with(1 << 24);
    tick(h, W0 + 6 + HISTORY_MINUTES * 6 + 1); /* too old */
    check_i64(history_take_part(h, parts[0].data, parts[0].len), 0);
    check_u64(slots(h, HISTORY_MINUTE), 0);
    history_close(h);
    wr_fini(&parts[0]);
    wr_fini(&parts[1]);
    history_close(peer);
}

static void broken_parts_take_nothing(void **state)
{
    (void)state;
    enum { MAX = 4000 };
    static struct wr parts[MAX];
    uint64_t now;
    struct history *old = aged(&now);
    size_t n = all_parts(old, 1500, parts, MAX);
    struct history *h = open_with(64u << 20);
    tick(h, now);
    const struct wr *p = &parts[n / 2];
    struct history_stats s;
    for (size_t len = 0; len < p->len; len++)
        check_true(history_take_part(h, p->data, len) < 0);
    history_stats(h, &s);
    check_u64(s.lines, 0);
    check_true(history_take_part(h, p->data, HISTORY_PART_MAX + 1) < 0);
    /* Every bit flipped: good or not, nothing breaks. */
    unsigned refused = 0;
    for (size_t bit = 0; bit < p->len * 8; bit++) {
        p->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused += history_take_part(h, p->data, p->len) < 0;
        p->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_true(refused > p->len);
    work(h);
    for (size_t i = 0; i < 16; i++) {
        struct history_reader *r = ask(h, W0 + 3500, W0 + 3559, true);
        const struct matrix_cell *c =
            history_read(r, zones[i / 4], zones[i % 4], now * 10 * SEC);
        for (size_t k = 0; k < SERIES_N; k++)
            hist_check(&c->series[k]);
        history_reader_close(r);
    }
    for (size_t i = 0; i <= n; i++)
        wr_fini(&parts[i]);
    history_close(h);
    history_close(old);
}

/* A part with `n_names` names "a" and one cell of an unknown protocol, so that
 * its record is not looked at. */
static int take_odd(struct history *h, size_t n_names, uint64_t from,
                    uint64_t to, size_t n_cells)
{
    uint8_t data[16384];
    struct wr w;
    wr_init_fixed(&w, data, sizeof(data));
    wr_varint(&w, HISTORY_PART_VERSION);
    wr_varint(&w, HISTORY_MINUTE);
    wr_varint(&w, W0);
    wr_varint(&w, W0);
    wr_varint(&w, n_names);
    for (size_t i = 0; i < n_names; i++)
        wr_bytes(&w,
                 "\x01"
                 "a",
                 2);
    wr_varint(&w, n_cells);
    for (size_t i = 0; i < n_cells; i++) {
        wr_varint(&w, from);
        wr_varint(&w, to);
        wr_bytes(&w, "\x07\x00\x01x", 4);
    }
    check_i64(wr_err(&w), 0);
    return history_take_part(h, data, w.len);
}

static void numbers_outside_of_their_lists_are_refused(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    tick(h, W0 + 100);
    check_i64(take_odd(h, 2, 0, 1, 1), 0);
    check_i64(take_odd(h, 2, 2, 1, 1), ERR_BAD);
    check_i64(take_odd(h, 2, 1, 2, 1), ERR_BAD);
    check_i64(take_odd(h, 2, UINT64_MAX, 0, 1), ERR_BAD);
    check_i64(take_odd(h, 0, 0, 0, 1), ERR_BAD);
    check_i64(take_odd(h, 0, 0, 0, 0), 0);
    check_i64(take_odd(h, HISTORY_PART_NAMES, 0, 255, 1), 0);
    check_i64(take_odd(h, HISTORY_PART_NAMES + 1, 0, 0, 1), ERR_TOOBIG);
    check_i64(take_odd(h, 1, 0, 0, HISTORY_PART_CELLS), 0);
    check_i64(take_odd(h, 1, 0, 0, HISTORY_PART_CELLS + 1), ERR_TOOBIG);
    history_close(h);
}

/* [1, minute, W0, W0, 2 names, 1 cell: a to b], as docs have it. */
static void a_part_looks_like_this(void **state)
{
    (void)state;
    struct history *h = open_with(1 << 24);
    struct wr parts[2];
    tick(h, W0 + 1);
    static struct sheet s;
    sheet_init(&s, "a-1", "a", W0 + 2);
    good(cell(&s, target(&s, "b-1", "b"), 1, 1), 2, MS);
    post(h, &s);
    tick(h, W0 + 9);
    check_u64(all_parts(h, 1000, parts, 2), 1);
    uint8_t want[64];
    struct wr w;
    wr_init_fixed(&w, want, sizeof(want));
    wr_varint(&w, 1);
    wr_varint(&w, HISTORY_MINUTE);
    wr_varint(&w, W0);
    wr_varint(&w, W0 + 2);
    wr_bytes(&w,
             "\x02\x01"
             "a\x01"
             "b",
             5);
    wr_bytes(&w, "\x01\x00\x01\x01\x01", 5);
    wr_bytes(&w, "\x1e\x02\x02\x02\x00\x00\x00\x00", 8);
    wr_bytes(&w, "\x01\x00\x02\x01", 4); /* outcomes; one origin */
    wr_be32(&w, tally_origin("a-1"));
    wr_u8(&w, 1u << SERIES_TOTAL);
    wr_bytes(&w, "\x02\x00\x00", 3);
    wr_varint(&w, 2 * MS);
    wr_varint(&w, MS);
    wr_bytes(&w, "\x00\x01", 2);
    wr_varint(&w, hist_index(MS));
    wr_u8(&w, 2);
    check_i64(wr_err(&w), 0);
    check_u64(parts[0].len, w.len);
    check_true(memcmp(parts[0].data, want, w.len) == 0);
    wr_fini(&parts[0]);
    wr_fini(&parts[1]);
    history_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_folded_into_its_zones),
        cmocka_unit_test(a_frame_counts_once_however_often_it_comes),
        cmocka_unit_test(frames_of_neighbours_are_all_folded),
        cmocka_unit_test(what_comes_late_is_in_all_its_slots),
        cmocka_unit_test(frames_out_of_reach_are_refused),
        cmocka_unit_test(who_is_not_usable_does_not_count),
        cmocka_unit_test(ages_are_of_the_moment_of_reading),
        cmocka_unit_test(the_past_knows_nothing_newer),
        cmocka_unit_test(a_question_rounds_only_where_it_has_to),
        cmocka_unit_test(nothing_is_lost_in_a_day_but_resolution),
        cmocka_unit_test(a_clock_set_back_does_not_stop_it),
        cmocka_unit_test(an_origin_that_measures_nothing_still_reports),
        cmocka_unit_test(a_timeline_has_the_finest_slots_there_are),
        cmocka_unit_test(memory_is_bounded_and_the_oldest_goes_first),
        cmocka_unit_test(a_reader_outlives_slots),
        cmocka_unit_test(agrees_with_the_frames_in_any_order),
        cmocka_unit_test(percentiles_are_those_of_the_samples),
        cmocka_unit_test(a_fresh_node_gets_all_from_a_peer),
        cmocka_unit_test(a_walk_can_be_kept_to_some_time),
        cmocka_unit_test(the_larger_of_two_records_stays),
        cmocka_unit_test(time_that_we_measure_is_not_taken),
        cmocka_unit_test(broken_parts_take_nothing),
        cmocka_unit_test(numbers_outside_of_their_lists_are_refused),
        cmocka_unit_test(a_part_looks_like_this),
        cmocka_unit_test(nothing_is_newer_than_a_clock_set_back),
        cmocka_unit_test(waiting_to_be_freed_is_not_waiting_to_be_dropped),
        cmocka_unit_test(made_up_names_leave_room_for_time),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
