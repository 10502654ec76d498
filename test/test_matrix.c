/* Small meshes by hand, then a random one against a naive sum. */
#include "mesh/matrix.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  1000000ull
#define SEC (1000 * MS)

/* Window 100 is 1000 s .. 1010 s. NOW is 4.5 s after its end. */
#define NOW (1014 * SEC + 500 * MS)

static const struct frames_limits limits = {.retention_s = 36000,
                                            .bytes_max = 64u << 20};

/* A frame in the making, on fixed memory. */
struct sheet {
    struct frame f;
    struct frame_target targets[64];
    struct frame_cell cells[64];
    char names[256][FRAME_NAME_MAX + 1];
    size_t n_names;
};

static char *keep(struct sheet *s, const char *text)
{
    check_true(s->n_names < 256);
    char *p = s->names[s->n_names++];
    snprintf(p, FRAME_NAME_MAX + 1, "%s", text);
    return p;
}

static void sheet_init(struct sheet *s, const char *origin, const char *zone,
                       const char *region, uint64_t window)
{
    memset(s, 0, sizeof(*s));
    s->f = (struct frame){.origin = keep(s, origin),
                          .zone = keep(s, zone),
                          .region = keep(s, region),
                          .epoch_ms = 1,
                          .window = window,
                          .targets = s->targets,
                          .cells = s->cells};
}

/* A cell with `ok` good attempts of `ns` each. */
static struct frame_cell *put(struct sheet *s, const char *name,
                              const char *zone, const char *region, unsigned ok,
                              uint64_t ns)
{
    struct frame *f = &s->f;
    s->targets[f->n_targets] =
        (struct frame_target){keep(s, name), keep(s, zone), keep(s, region)};
    struct frame_cell *c = &s->cells[f->n_cells++];
    c->target = (uint32_t)f->n_targets++;
    c->is_trusted = true;
    c->attempts = c->outcomes[OUTCOME_OK] = ok;
    for (unsigned i = 0; i < ok; i++)
        check_i64(hist_add(&c->series[SERIES_TOTAL], ns), 0);
    return c;
}

static void fail_with(struct frame_cell *c, enum probe_outcome o, uint32_t n)
{
    c->attempts += n;
    c->outcomes[o] += n;
}

static void post(struct frames *set, struct sheet *s)
{
    struct wr w;
    wr_init_grow(&w, FRAME_BYTES_MAX);
    check_i64(frame_encode(&s->f, &w), 0);
    check_i64(frames_add(set, w.data, w.len), 0);
    wr_fini(&w);
    for (size_t i = 0; i < s->f.n_cells; i++) {
        for (size_t k = 0; k < SERIES_N; k++)
            hist_fini(&s->cells[i].series[k]);
    }
}

/* One cell from `origin` in zone `from` to `name` in zone `to`. */
static void post_one(struct frames *set, const char *origin, const char *from,
                     const char *name, const char *to, uint64_t window,
                     unsigned ok)
{
    static struct sheet s;
    sheet_init(&s, origin, from, "r", window);
    put(&s, name, to, "r", ok, MS);
    post(set, &s);
}

static const struct matrix_query zones = {.level = LEVEL_ZONE,
                                          .window_s = 300,
                                          .protocol = -1,
                                          .mode = -1,
                                          .now_unix_ns = NOW};

static struct matrix *build(const struct frames *set,
                            const struct matrix_query *q)
{
    struct matrix *m = matrix_build(set, q, NULL, 0);
    check_true(m != NULL);
    return m;
}

/* The cell by its names, which must be there. */
static const struct matrix_cell *at(const struct matrix *m, const char *from,
                                    const char *to)
{
    for (size_t r = 0; r < matrix_rows(m); r++) {
        for (size_t c = 0; c < matrix_columns(m); c++) {
            if (!strcmp(matrix_row_name(m, r), from) &&
                !strcmp(matrix_column_name(m, c), to))
                return matrix_at(m, r, c);
        }
    }
    print_error("no cell %s %s\n", from, to);
    check_true(false);
    return NULL;
}

static void check_age(const struct matrix_cell *c, double want)
{
    check_true(c->age_s > want - 1e-6 && c->age_s < want + 1e-6);
}

static void check_names(const struct matrix *m, const char *rows,
                        const char *columns)
{
    char text[512] = "";
    for (size_t i = 0; i < matrix_rows(m); i++)
        strcat(strcat(text, matrix_row_name(m, i)), " ");
    check_text(text, rows);
    text[0] = '\0';
    for (size_t i = 0; i < matrix_columns(m); i++)
        strcat(strcat(text, matrix_column_name(m, i)), " ");
    check_text(text, columns);
}

/* --- merging ------------------------------------------------------------ */

static void a_cell_adds_up_nodes_and_windows(void **state)
{
    (void)state;
    static struct sheet s;
    struct frames *set = frames_open(&limits);
    sheet_init(&s, "a-1", "a", "r", 99);
    struct frame_cell *c = put(&s, "b-1", "b", "r", 3, MS);
    fail_with(c, OUTCOME_RESET, 2);
    fail_with(c, OUTCOME_CANCELLED, 4);
    fail_with(c, OUTCOME_LOCAL_STARVED, 1);
    fail_with(c, OUTCOME_LOCAL_RESOURCE, 1);
    c->retransmits = 5;
    c->reconnects = 2;
    c->user_clock = 3;
    c->max_lag_us = 70;
    put(&s, "b-2", "b", "r", 1, 2 * MS);
    post(set, &s);
    sheet_init(&s, "a-1", "a", "r", 100);
    c = put(&s, "b-1", "b", "r", 4, 4 * MS);
    c->is_trusted = false;
    c->retransmits = 1;
    c->max_lag_us = 60;
    post(set, &s);
    sheet_init(&s, "a-2", "a", "r", 100);
    put(&s, "b-1", "b", "r", 4, 8 * MS);
    post(set, &s);

    struct matrix *m = build(set, &zones);
    check_names(m, "a ", "b ");
    const struct matrix_cell *cell = at(m, "a", "b");
    check_u64(cell->attempts, 20);
    check_u64(cell->ok, 12);
    check_u64(cell->failed, 2); /* not the six that are our own */
    check_u64(cell->outcomes[OUTCOME_OK], 12);
    check_u64(cell->outcomes[OUTCOME_RESET], 2);
    check_u64(cell->outcomes[OUTCOME_CANCELLED], 4);
    check_u64(cell->retransmits, 6);
    check_u64(cell->reconnects, 2);
    check_u64(cell->user_clock, 3);
    check_u64(cell->max_lag_us, 70);
    check_u64(cell->nodes, 2);
    check_true(cell->trusted_ratio == 0.8);
    check_u64(cell->series[SERIES_TOTAL].count, 12);
    check_u64(cell->series[SERIES_TOTAL].sum_ns, (3 + 2 + 16 + 32) * MS);
    check_u64(cell->series[SERIES_TOTAL].min_ns, MS);
    check_u64(cell->series[SERIES_TOTAL].max_ns, 8 * MS);
    check_u64(cell->state, CELL_FRESH);
    check_age(cell, 4.5);
    check_u64(matrix_dropped(m), 0);
    matrix_close(m);
    frames_close(set);
}

static void directions_stay_apart(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    post_one(set, "a-1", "a", "b-1", "b", 100, 5);
    post_one(set, "b-1", "b", "a-1", "a", 100, 7);
    struct matrix *m = build(set, &zones);
    check_names(m, "a b ", "a b ");
    check_u64(at(m, "a", "b")->ok, 5);
    check_u64(at(m, "b", "a")->ok, 7);
    check_u64(at(m, "a", "a")->state, CELL_UNKNOWN);
    check_u64(at(m, "a", "a")->attempts, 0);
    check_true(at(m, "a", "a")->age_s < 0);
    check_true(at(m, "a", "a")->trusted_ratio == 1);
    matrix_close(m);
    frames_close(set);
}

static void levels_merge_more_and_more(void **state)
{
    (void)state;
    static struct sheet s;
    struct frames *set = frames_open(&limits);
    static const char *const origins[][3] = {
        {"a-1", "a", "r1"}, {"a-2", "a", "r1"}, {"b-1", "b", "r1"}};
    for (size_t i = 0; i < 3; i++) {
        sheet_init(&s, origins[i][0], origins[i][1], origins[i][2], 100);
        put(&s, "c-1", "c", "r2", 1, MS);
        put(&s, "c-2", "c", "r2", 2, MS);
        put(&s, "d-1", "d", "r2", 4, MS);
        post(set, &s);
    }
    struct matrix_query q = zones;
    q.level = LEVEL_NODE;
    struct matrix *m = build(set, &q);
    check_names(m, "a-1 a-2 b-1 ", "c-1 c-2 d-1 ");
    check_u64(at(m, "a-2", "c-2")->ok, 2);
    check_u64(at(m, "a-2", "c-2")->nodes, 1);
    matrix_close(m);

    m = build(set, &zones);
    check_names(m, "a b ", "c d ");
    check_u64(at(m, "a", "c")->ok, 6);
    check_u64(at(m, "a", "c")->nodes, 2);
    check_u64(at(m, "b", "d")->ok, 4);
    matrix_close(m);

    q.level = LEVEL_REGION;
    m = build(set, &q);
    check_names(m, "r1 ", "r2 ");
    check_u64(at(m, "r1", "r2")->ok, 21);
    check_u64(at(m, "r1", "r2")->nodes, 3);
    matrix_close(m);
    frames_close(set);
}

static void what_has_no_zone_is_called_by_its_name(void **state)
{
    (void)state;
    check_text(matrix_label(LEVEL_NODE, "n", "z", "r"), "n");
    check_text(matrix_label(LEVEL_ZONE, "n", "z", "r"), "z");
    check_text(matrix_label(LEVEL_REGION, "n", "z", "r"), "r");
    check_text(matrix_label(LEVEL_REGION, "n", "z", ""), "z");
    check_text(matrix_label(LEVEL_REGION, "n", NULL, NULL), "n");
    check_text(matrix_label(LEVEL_ZONE, "n", "", "r"), "n");

    struct frames *set = frames_open(&limits);
    post_one(set, "a-1", "a", "spanner", "", 100, 5);
    struct matrix *m = build(set, &zones);
    check_u64(at(m, "a", "spanner")->ok, 5);
    matrix_close(m);
    frames_close(set);
}

static void protocol_and_mode_select(void **state)
{
    (void)state;
    static struct sheet s;
    struct frames *set = frames_open(&limits);
    sheet_init(&s, "a-1", "a", "r", 100);
    for (unsigned i = 0; i < 4; i++) {
        struct frame_cell *c = put(&s, "b-1", "b", "r", 1u << i, MS);
        c->protocol = i & 1;
        c->mode = i >> 1 & 1;
    }
    post(set, &s);
    for (int protocol = -1; protocol < PROTOCOL_N; protocol++) {
        for (int mode = -1; mode < MODE_N; mode++) {
            struct matrix_query q = zones;
            q.protocol = protocol;
            q.mode = mode;
            unsigned want = 0;
            for (int i = 0; i < 4; i++) {
                if ((protocol < 0 || protocol == (i & 1)) &&
                    (mode < 0 || mode == (i >> 1 & 1)))
                    want += 1u << i;
            }
            struct matrix *m = build(set, &q);
            check_u64(at(m, "a", "b")->ok, want);
            matrix_close(m);
        }
    }
    frames_close(set);
}

/* --- time --------------------------------------------------------------- */

static void three_windows_make_a_cell_stale(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    post_one(set, "a-1", "a", "b-1", "b", 100, 5);
    static const struct {
        uint64_t now_ns;
        double age_s;
        enum matrix_state state;
    } cases[] = {
        {1005 * SEC, 0, CELL_FRESH}, /* our clock is behind */
        {1010 * SEC, 0, CELL_FRESH},
        {1013 * SEC, 3, CELL_FRESH},
        {1040 * SEC, 30, CELL_FRESH},
        {1040 * SEC + MS, 30.001, CELL_STALE},
        {1300 * SEC, 290, CELL_STALE},
        {9000 * SEC, 7990, CELL_STALE}, /* as long as the frame is kept */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct matrix_query q = zones;
        q.now_unix_ns = cases[i].now_ns;
        struct matrix *m = build(set, &q);
        check_u64(at(m, "a", "b")->state, cases[i].state);
        check_age(at(m, "a", "b"), cases[i].age_s);
        matrix_close(m);
    }
    frames_close(set);
}

static void the_newest_window_with_attempts_gives_the_age(void **state)
{
    (void)state;
    static struct sheet s;
    struct frames *set = frames_open(&limits);
    post_one(set, "a-1", "a", "b-1", "b", 96, 5);
    sheet_init(&s, "a-1", "a", "r", 100);
    put(&s, "b-1", "b", "r", 0, 0); /* a cell without attempts */
    post(set, &s);
    struct matrix *m = build(set, &zones);
    check_age(at(m, "a", "b"), 44.5);
    check_u64(at(m, "a", "b")->state, CELL_STALE);
    matrix_close(m);
    /* An older frame that comes later changes nothing. */
    post_one(set, "a-2", "a", "b-1", "b", 95, 5);
    m = build(set, &zones);
    check_age(at(m, "a", "b"), 44.5);
    matrix_close(m);
    frames_close(set);
}

static void only_the_windows_asked_for_are_added_up(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    for (uint64_t n = 0; n < 10; n++)
        post_one(set, "a-1", "a", "b-1", "b", 100 - n, 1u << n);
    static const struct {
        uint64_t window_s, now_ns, ok;
    } cases[] = {
        {10, 1014 * SEC, 1},     /* 100 ended four seconds ago */
        {10, 1014 * SEC - 1, 3}, /* not yet: 99 is the one, 100 is newer */
        {10, 1023 * SEC, 1},
        {10, 1024 * SEC, 0}, /* 101 is the one, and is not there */
        {20, 1014 * SEC, 3},
        {25, 1014 * SEC, 7},
        {30, 1014 * SEC, 7},
        {100, 1014 * SEC, 1023},
        {3600, 1014 * SEC, 1023},
        {UINT64_MAX / 2, 1014 * SEC, 1023},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct matrix_query q = zones;
        q.window_s = cases[i].window_s;
        q.now_unix_ns = cases[i].now_ns;
        struct matrix *m = build(set, &q);
        const struct matrix_cell *c = at(m, "a", "b");
        check_u64(c->ok, cases[i].ok);
        check_u64(c->nodes, cases[i].ok > 0);
        check_u64(c->series[SERIES_TOTAL].count, cases[i].ok);
        check_true(c->age_s >= 0); /* known from beyond the window */
        matrix_close(m);
    }
    frames_close(set);
}

static void frames_from_the_future_are_not_believed(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    post_one(set, "a-1", "a", "b-1", "b", 101 + FRAMES_AHEAD_MAX, 1);
    post_one(set, "x", "x", "b-1", "b", 102 + FRAMES_AHEAD_MAX, 1);
    post_one(set, "y", "y", "b-1", "b", UINT64_MAX, 1);
    struct matrix *m = build(set, &zones);
    check_names(m, "a ", "b ");
    matrix_close(m);
    frames_close(set);
}

/* --- what is expected --------------------------------------------------- */

static void what_is_expected_is_there_without_a_frame(void **state)
{
    (void)state;
    static const struct matrix_node nodes[] = {
        {"b-1", "b", "r", false, true},
        {"a-1", "a", "r", false, true},
        {"spanner", NULL, NULL, false, false}, /* a target only */
        {"a-1", "a", "r", false, true},        /* named twice */
    };
    struct matrix *m = matrix_build(NULL, &zones, nodes, 4);
    check_names(m, "a b ", "a b spanner ");
    check_u64(at(m, "a", "spanner")->state, CELL_UNKNOWN);
    check_u64(matrix_expected(m), 2);
    check_u64(matrix_missing(m), 2);
    check_text(matrix_missing_name(m, 0), "a-1");
    check_text(matrix_missing_name(m, 1), "b-1");
    matrix_close(m);
}

static void who_sends_any_frame_reports(void **state)
{
    (void)state;
    static struct sheet s;
    static const struct matrix_node nodes[] = {
        {"a-1", "a", "r", false, true},
        {"a-2", "a", "r", false, true},
        {"a-3", "a", "r", false, true},
        {"b-1", "b", "r", false, false},
    };
    struct frames *set = frames_open(&limits);
    sheet_init(&s, "a-2", "a", "r", 98); /* silent, and 24.5 s old */
    post(set, &s);
    post_one(set, "a-3", "a", "b-1", "b", 97, 1);  /* 34.5 s */
    post_one(set, "z-9", "z", "b-1", "b", 100, 1); /* not expected */
    struct matrix_query q = zones;
    q.protocol = PROTOCOL_GRPC; /* what is asked does not matter */
    struct matrix *m = matrix_build(set, &q, nodes, 4);
    check_names(m, "a z ", "a b ");
    check_u64(matrix_expected(m), 3);
    check_u64(matrix_missing(m), 2);
    check_text(matrix_missing_name(m, 0), "a-1");
    check_text(matrix_missing_name(m, 1), "a-3");
    matrix_close(m);
    frames_close(set);
}

static void a_drained_end_goes_before_all_else(void **state)
{
    (void)state;
    static const struct matrix_node nodes[] = {
        {"a-1", "a", "r", false, true}, {"a-2", "a", "r", true, true},
        {"b-1", "b", "r", true, true},  {"b-2", "b", "r", true, true},
        {"c-1", "c", "r", false, true},
    };
    struct frames *set = frames_open(&limits);
    post_one(set, "a-1", "a", "b-1", "b", 100, 5);
    post_one(set, "c-1", "c", "a-2", "a", 100, 5);
    struct matrix_query q = zones;
    struct matrix *m = matrix_build(set, &q, nodes, 5);
    /* All of b drains, only one of a. */
    check_u64(at(m, "a", "b")->state, CELL_DRAINING);
    check_u64(at(m, "a", "b")->ok, 5); /* the numbers stay */
    check_u64(at(m, "c", "a")->state, CELL_FRESH);
    check_u64(at(m, "b", "c")->state, CELL_DRAINING);
    check_u64(at(m, "b", "c")->attempts, 0);
    check_true(at(m, "b", "c")->age_s < 0);
    check_u64(at(m, "a", "c")->state, CELL_UNKNOWN);
    matrix_close(m);

    q.level = LEVEL_NODE;
    m = matrix_build(set, &q, nodes, 5);
    check_u64(at(m, "c-1", "a-2")->state, CELL_DRAINING);
    check_u64(at(m, "a-2", "c-1")->state, CELL_DRAINING);
    check_u64(at(m, "c-1", "a-1")->state, CELL_UNKNOWN);
    matrix_close(m);
    frames_close(set);
}

static void states_and_levels_have_names(void **state)
{
    (void)state;
    check_text(matrix_state_name(CELL_FRESH), "fresh");
    check_text(matrix_state_name(CELL_STALE), "stale");
    check_text(matrix_state_name(CELL_UNKNOWN), "unknown");
    check_text(matrix_state_name(CELL_DRAINING), "draining");
    for (int l = LEVEL_NODE; l <= LEVEL_REGION; l++)
        check_i64(matrix_level_parse(matrix_level_name((enum matrix_level)l)),
                  l);
    check_text(matrix_level_name(LEVEL_ZONE), "zone");
    check_i64(matrix_level_parse("zones"), -1);
    matrix_close(NULL);
}

/* --- limits ------------------------------------------------------------- */

static void names_are_bounded_and_the_expected_come_first(void **state)
{
    (void)state;
    static const struct matrix_node nodes[] = {{"b-1", "b", "r", false, true}};
    static char names[FRAME_TARGETS_MAX][8];
    static struct frame_target targets[FRAME_TARGETS_MAX];
    static struct frame_cell cells[FRAME_TARGETS_MAX];
    char none[] = "";
    char origin[] = "a-1";
    struct frames *set = frames_open(&limits);
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned i = 0; i < FRAME_TARGETS_MAX; i++) {
            snprintf(names[i], sizeof(names[i]), "%u",
                     k * FRAME_TARGETS_MAX + i);
            targets[i] = (struct frame_target){names[i], none, none};
            cells[i] = (struct frame_cell){.target = i, .attempts = 1};
            cells[i].outcomes[OUTCOME_OK] = 1;
        }
        struct frame f = {.origin = origin,
                          .zone = none,
                          .region = none,
                          .window = 98 + k,
                          .targets = targets,
                          .cells = cells,
                          .n_targets = FRAME_TARGETS_MAX,
                          .n_cells = FRAME_TARGETS_MAX};
        struct wr w;
        wr_init_grow(&w, FRAME_BYTES_MAX);
        check_i64(frame_encode(&f, &w), 0);
        check_i64(frames_add(set, w.data, w.len), 0);
        wr_fini(&w);
    }
    struct matrix *m = matrix_build(set, &zones, nodes, 1);
    check_u64(matrix_columns(m), MATRIX_NAMES_MAX);
    check_u64(matrix_dropped(m), 3 * FRAME_TARGETS_MAX + 1 - MATRIX_NAMES_MAX);
    check_u64(at(m, "b", "b")->state, CELL_UNKNOWN);
    check_u64(at(m, "a-1", "0")->ok, 1);
    matrix_close(m);
    frames_close(set);
}

/* A sum of 2^64 ns is not reached by honest means. */
static void a_counter_that_would_overflow_is_left_as_it_was(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    static struct sheet s;
    for (uint64_t n = 99; n <= 100; n++) {
        sheet_init(&s, "a-1", "a", "r", n);
        struct frame_cell *c = put(&s, "b-1", "b", "r", 1, UINT64_MAX - 1);
        check_i64(hist_add(&c->series[SERIES_SERVER], MS), 0);
        post(set, &s);
    }
    struct matrix *m = build(set, &zones);
    check_u64(at(m, "a", "b")->ok, 2);
    check_u64(at(m, "a", "b")->series[SERIES_TOTAL].count, 1);
    check_u64(at(m, "a", "b")->series[SERIES_SERVER].count, 2);
    check_u64(matrix_dropped(m), 1);
    matrix_close(m);
    frames_close(set);
}

/* --- property ----------------------------------------------------------- */

/* A random mesh: the cells add up to what was put in, at each level, and
 * outcomes add up to attempts. */
static void nothing_is_lost_at_any_level(void **state)
{
    (void)state;
    static struct sheet s;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 30; round++) {
        struct frames *set = frames_open(&limits);
        uint64_t attempts = 0;
        uint64_t sum_ns = 0;
        uint64_t oks[8][8] = {{0}};
        for (unsigned o = 0; o < 8; o++) {
            for (uint64_t window = 90; window <= 100; window++) {
                char origin[4] = {(char)('a' + o / 2), '-',
                                  (char)('1' + o % 2)};
                char zone[2] = {(char)('a' + o / 2)};
                char region[2] = {(char)('r' + o / 4)};
                if (rng_below(&rng, 4) == 0)
                    continue;
                sheet_init(&s, origin, zone, region, window);
                for (unsigned t = 0; t < 8; t++) {
                    char name[4] = {(char)('a' + t / 2), '-',
                                    (char)('1' + t % 2)};
                    char z[2] = {(char)('a' + t / 2)};
                    char r[2] = {(char)('r' + t / 4)};
                    unsigned ok = (unsigned)rng_below(&rng, 5);
                    uint64_t ns = rng_below(&rng, SEC);
                    struct frame_cell *c = put(&s, name, z, r, ok, ns);
                    fail_with(c, (enum probe_outcome)rng_below(&rng, OUTCOME_N),
                              (uint32_t)rng_below(&rng, 3));
                    attempts += c->attempts;
                    oks[o][t] += c->outcomes[OUTCOME_OK];
                    sum_ns += ok * ns;
                }
                post(set, &s);
            }
        }
        for (int level = LEVEL_NODE; level <= LEVEL_REGION; level++) {
            struct matrix_query q = zones;
            q.level = (enum matrix_level)level;
            struct matrix *m = build(set, &q);
            uint64_t found = 0;
            uint64_t found_ns = 0;
            for (size_t r = 0; r < matrix_rows(m); r++) {
                for (size_t c = 0; c < matrix_columns(m); c++) {
                    const struct matrix_cell *cell = matrix_at(m, r, c);
                    uint64_t sum = 0;
                    uint64_t local = 0;
                    for (unsigned o = 0; o < OUTCOME_N; o++) {
                        sum += cell->outcomes[o];
                        if (outcome_is_local((enum probe_outcome)o))
                            local += cell->outcomes[o];
                    }
                    check_u64(sum, cell->attempts);
                    check_u64(cell->ok + cell->failed + local, sum);
                    found += sum;
                    found_ns += cell->series[SERIES_TOTAL].sum_ns;
                    if (level == LEVEL_NODE)
                        check_u64(cell->ok, oks[r][c]);
                }
            }
            check_u64(found, attempts);
            check_u64(found_ns, sum_ns);
            matrix_close(m);
        }
        frames_close(set);
    }
}

/* Of a frame whose origin has no row nothing is kept, names neither. */
static void a_frame_without_a_row_leaves_no_names(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    char origin[16];
    for (unsigned i = 0; i < MATRIX_NAMES_MAX; i++) {
        snprintf(origin, sizeof(origin), "n-%u", i);
        post_one(set, origin, "z", "b-1", "b", 99, 1);
    }
    post_one(set, "late", "z", "c-1", "c", 100, 1);
    struct matrix_query q = zones;
    q.level = LEVEL_NODE;
    struct matrix *m = build(set, &q);
    check_u64(matrix_rows(m), MATRIX_NAMES_MAX);
    check_u64(matrix_columns(m), 1);
    check_u64(matrix_dropped(m), 1);
    matrix_close(m);
    frames_close(set);
}

/* --- steps -------------------------------------------------------------- */

static void check_same_cell(const struct matrix_cell *a,
                            const struct matrix_cell *b)
{
    check_u64(a->state, b->state);
    check_true(a->age_s == b->age_s && a->trusted_ratio == b->trusted_ratio);
    check_u64(a->attempts, b->attempts);
    check_u64(a->ok, b->ok);
    check_u64(a->failed, b->failed);
    check_u64(a->nodes, b->nodes);
    assert_memory_equal(a->outcomes, b->outcomes, sizeof(a->outcomes));
    for (size_t i = 0; i < SERIES_N; i++) {
        const struct hist *x = &a->series[i];
        const struct hist *y = &b->series[i];
        check_u64(x->count, y->count);
        check_u64(x->sum_ns, y->sum_ns);
        check_u64(hist_quantile(x, 0.5), hist_quantile(y, 0.5));
        check_u64(x->n, y->n);
        for (size_t k = 0; k < x->n; k++) {
            check_u64(x->buckets[k].index, y->buckets[k].index);
            check_u64(x->buckets[k].count, y->buckets[k].count);
        }
    }
}

static void check_same(const struct matrix *a, const struct matrix *b)
{
    check_u64(matrix_rows(a), matrix_rows(b));
    check_u64(matrix_columns(a), matrix_columns(b));
    check_u64(matrix_missing(a), matrix_missing(b));
    check_u64(matrix_dropped(a), matrix_dropped(b));
    for (size_t r = 0; r < matrix_rows(a); r++) {
        check_text(matrix_row_name(a, r), matrix_row_name(b, r));
        for (size_t c = 0; c < matrix_columns(a); c++) {
            check_text(matrix_column_name(a, c), matrix_column_name(b, c));
            check_same_cell(matrix_at(a, r, c), matrix_at(b, r, c));
        }
    }
}

/* Three origins in five windows, each with twenty targets in four zones. */
static struct frames *busy_set(struct rng *rng)
{
    static struct sheet s;
    struct frames *set = frames_open(&limits);
    for (uint64_t window = 96; window <= 100; window++) {
        for (char o = '1'; o <= '3'; o++) {
            char origin[] = {'a', '-', o, '\0'};
            sheet_init(&s, origin, "a", "r", window);
            for (unsigned t = 0; t < 20; t++) {
                char name[16];
                char zone[2] = {(char)('a' + t % 4)};
                snprintf(name, sizeof(name), "t-%u", t);
                put(&s, name, zone, "r", (unsigned)rng_below(rng, 4),
                    1 + rng_below(rng, SEC));
            }
            post(set, &s);
        }
    }
    return set;
}

static struct matrix *take_steps(struct matrix *m, size_t pieces,
                                 unsigned *steps)
{
    int rc = 1;
    check_true(m != NULL);
    for (*steps = 0; rc == 1; (*steps)++)
        rc = matrix_step(m, pieces);
    check_i64(rc, 0);
    check_i64(matrix_step(m, pieces), 0); /* once more does nothing */
    return m;
}

/* The smallest step is a cell with its eight histograms. */
static void steps_are_small_and_come_to_the_same(void **state)
{
    (void)state;
    static const struct matrix_node nodes[] = {{"a-1", "a", "r", false, true},
                                               {"x-1", "x", "r", true, true}};
    struct rng rng;
    unsigned steps;

    rng_seed(&rng, check_seed());
    struct frames *set = busy_set(&rng);
    struct matrix *whole = matrix_build(set, &zones, nodes, 2);
    static const size_t pieces[] = {1, 7, 64, 100000};
    /* 15 frames of 20 targets and cells at least, and the finishing */
    static const unsigned least[] = {15 * 41, 100, 20, 1};
    for (size_t i = 0; i < 4; i++) {
        struct matrix *m = matrix_open(set, &zones, nodes, 2);
        take_steps(m, pieces[i], &steps);
        check_true(steps >= least[i] && (i < 3 || steps == 1));
        check_same(m, whole);
        matrix_close(m);
    }
    matrix_close(whole);
    frames_close(set);
}

static void a_cell_merged_costs_more_than_one_passed_over(void **state)
{
    (void)state;
    struct rng rng;
    unsigned merged, passed;

    rng_seed(&rng, check_seed());
    struct frames *set = busy_set(&rng);
    struct matrix_query q = zones;
    matrix_close(take_steps(matrix_open(set, &q, NULL, 0), 10, &merged));
    q.protocol = PROTOCOL_GRPC; /* there is none */
    matrix_close(take_steps(matrix_open(set, &q, NULL, 0), 10, &passed));
    check_true(merged > 2 * passed);
    frames_close(set);
}

/* What is held all the while counts in full, whatever else comes and goes. */
static void the_set_may_change_between_steps(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 100; round++) {
        struct frames *set = frames_open(&limits);
        frames_expire(set, 36000 + 900); /* keeps windows from 90 */
        for (uint64_t n = 80; n < 100; n++) {
            if (n >= 90)
                post_one(set, "a-1", "a", "b-1", "b", n, 1u << (n - 90));
        }
        struct matrix_query q = zones;
        q.now_unix_ns = NOW;
        struct matrix *m = matrix_open(set, &q, NULL, 0);
        uint64_t first = 90;
        unsigned i = 0;
        int rc = 1;
        while (rc == 1) {
            rc = matrix_step(m, 1);
            if (rng_below(&rng, 8) == 0 && first < 95)
                frames_expire(set, 36000 + 10 * ++first);
            if (rng_below(&rng, 8) == 0) {
                char origin[16];
                snprintf(origin, sizeof(origin), "n-%u", i++);
                post_one(set, origin, "n", "b-1", "b", 96 + rng_below(&rng, 4),
                         1);
            }
        }
        check_i64(rc, 0);
        uint64_t ok = at(m, "a", "b")->ok;
        check_u64(ok & 0x3e0, 0x3e0); /* 95 to 99 stayed */
        check_true(ok < 1024);
        uint64_t sum = at(m, "a", "b")->series[SERIES_TOTAL].count;
        check_u64(sum, ok); /* a frame is in it wholly or not at all */
        matrix_close(m);
        frames_close(set);
    }
}

static void it_may_be_given_up_at_any_step(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    struct frames *set = busy_set(&rng);
    for (size_t n = 0; n < 1500; n += 1 + n / 4) {
        struct matrix *m = matrix_open(set, &zones, NULL, 0);
        matrix_step(m, n);
        if (n % 2)
            matrix_discard(m, 8);
        matrix_close(m);
    }
    struct matrix *m = matrix_open(set, &zones, NULL, 0);
    check_i64(matrix_step(m, 100), 1);
    frames_close(set); /* not needed to give up */
    matrix_close(m);
    matrix_close(NULL);
}

static void freeing_goes_in_steps_too(void **state)
{
    (void)state;
    struct frames *set = frames_open(&limits);
    for (char o = 'a'; o < 'a' + 6; o++) {
        char zone[2] = {o};
        post_one(set, zone, zone, "b-1", "b", 100, 1);
    }
    struct matrix *m = build(set, &zones);
    check_i64(matrix_discard(m, 1), 1); /* one cell at least */
    check_i64(matrix_discard(m, SERIES_N), 1);
    check_i64(matrix_discard(m, 3 * SERIES_N), 1);
    check_i64(matrix_discard(m, SERIES_N), 0);
    check_i64(matrix_discard(m, SERIES_N), 0);
    matrix_close(m);
    frames_close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cell_adds_up_nodes_and_windows),
        cmocka_unit_test(directions_stay_apart),
        cmocka_unit_test(levels_merge_more_and_more),
        cmocka_unit_test(what_has_no_zone_is_called_by_its_name),
        cmocka_unit_test(protocol_and_mode_select),
        cmocka_unit_test(three_windows_make_a_cell_stale),
        cmocka_unit_test(the_newest_window_with_attempts_gives_the_age),
        cmocka_unit_test(only_the_windows_asked_for_are_added_up),
        cmocka_unit_test(frames_from_the_future_are_not_believed),
        cmocka_unit_test(what_is_expected_is_there_without_a_frame),
        cmocka_unit_test(who_sends_any_frame_reports),
        cmocka_unit_test(a_drained_end_goes_before_all_else),
        cmocka_unit_test(states_and_levels_have_names),
        cmocka_unit_test(names_are_bounded_and_the_expected_come_first),
        cmocka_unit_test(a_counter_that_would_overflow_is_left_as_it_was),
        cmocka_unit_test(nothing_is_lost_at_any_level),
        cmocka_unit_test(a_frame_without_a_row_leaves_no_names),
        cmocka_unit_test(steps_are_small_and_come_to_the_same),
        cmocka_unit_test(a_cell_merged_costs_more_than_one_passed_over),
        cmocka_unit_test(the_set_may_change_between_steps),
        cmocka_unit_test(it_may_be_given_up_at_any_step),
        cmocka_unit_test(freeing_goes_in_steps_too),
    };
    return cmocka_run_group_tests_name("matrix", tests, NULL, NULL);
}
