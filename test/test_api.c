/* The views, asked through their handler; JSON is read back with jansson. */
#include <malloc.h>

#include "test/api_ask.h"

/* ---- matrix ---- */

static void matrix_says_what_was_asked(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/matrix", 200);
    check_text(text(j, "generated_at"), "2026-01-01T00:00:05.000Z");
    check_text(text(j, "answered_by"), "a-1");
    check_text(text(j, "level"), "zone");
    check_i64(number(j, "window_s"), 300);
    check_text(text(j, "protocol"), "all");
    check_text(text(j, "mode"), "cold");
    check_text(text(j, "unit"), "ns");
    json_decref(j);

    j = ask_json(*state,
                 "/api/v1/matrix?level=node&window=90s&protocol=grpc&mode=warm",
                 200);
    check_text(text(j, "level"), "node");
    check_i64(number(j, "window_s"), 90);
    check_text(text(j, "protocol"), "grpc");
    check_text(text(j, "mode"), "warm");
    json_decref(j);
}

static void matrix_merges_a_measured_cell(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/matrix", 200);
    json_t *cell = find(json_object_get(j, "cells"), "from", "a", "to", "b");
    check_text(text(cell, "state"), "fresh");
    check_true(json_number_value(json_object_get(cell, "age_s")) <= 30);
    check_i64(number(cell, "attempts"), 18);
    check_i64(number(cell, "ok"), 12);
    check_i64(number(cell, "failed"), 6);
    check_i64(number(cell, "nodes"), 2);
    check_i64(number(cell, "retransmits"), 6);
    json_t *outcomes = json_object_get(cell, "outcomes");
    check_u64(json_object_size(outcomes), 2);
    check_i64(number(outcomes, "ok"), 12);
    check_i64(number(outcomes, "connect_timeout"), 6);
    /* 15 of 18 attempts were made in trusted windows. */
    double ratio = json_number_value(json_object_get(cell, "trusted_ratio"));
    check_true(ratio > 0.832 && ratio < 0.834);
    json_t *phases = json_object_get(cell, "phases");
    check_u64(json_object_size(phases), 2);
    json_t *total = json_object_get(phases, "total");
    check_i64(number(total, "count"), 12);
    check_i64(number(total, "max"), 2000000);
    int64_t p50 = number(total, "p50");
    check_true(p50 > 970000 && p50 < 1030000);
    json_decref(j);
}

static void matrix_never_calls_the_unknown_healthy(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/matrix", 200);
    json_t *cell = find(json_object_get(j, "cells"), "from", "b", "to", "c");
    check_text(text(cell, "state"), "unknown");
    check_true(json_is_null(json_object_get(cell, "age_s")));
    check_true(json_is_null(json_object_get(cell, "trusted_ratio")));
    check_u64(json_object_size(json_object_get(cell, "phases")), 0);
    check_u64(json_object_size(json_object_get(cell, "outcomes")), 0);
    check_i64(number(cell, "attempts"), 0);
    check_u64(json_array_size(json_object_get(j, "cells")), 9);
    json_decref(j);
}

static void matrix_names_the_silent(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/matrix", 200);
    json_t *origins = json_object_get(j, "origins");
    check_i64(number(origins, "expected"), 4);
    check_i64(number(origins, "reporting"), 2);
    json_t *missing = json_object_get(origins, "missing");
    check_u64(json_array_size(missing), 2);
    check_text(json_string_value(json_array_get(missing, 0)), "b-1");
    check_text(json_string_value(json_array_get(missing, 1)), "c-1");
    json_decref(j);
}

static uint64_t moving_now(void)
{
    return moving_ns;
}

static void matrix_is_shared_for_a_second(void **state)
{
    struct world *w = *state;
    w->source.now_ns = moving_now;
    moving_ns = world_now();
    struct reply one = ask(w, "/api/v1/matrix");
    moving_ns += 999999999;
    struct reply same = ask(w, "/api/v1/matrix?window=300s");
    struct reply other = ask(w, "/api/v1/matrix?window=1m");
    moving_ns += 1;
    struct reply later = ask(w, "/api/v1/matrix");
    check_true(one.is_cacheable && one.etag[0]);
    check_text(one.etag, same.etag);
    check_text(one.text, same.text);
    check_true(strcmp(one.etag, other.etag) != 0);
    check_true(strcmp(one.etag, later.etag) != 0);
    reply_fini(&one);
    reply_fini(&same);
    reply_fini(&other);
    reply_fini(&later);
}

static void begin_matrix(struct world *w, const char *target,
                         struct httpd_answer *a)
{
    struct httpd_query q;
    *a = (struct httpd_answer){0};
    check_i64(httpd_query_decode(&q, target, strlen(target), NULL), 0);
    api_handle(&w->source, &q.request, a);
    check_i64(a->prepare(a->state, a), 0);
}

static void matrices_kept_by_slow_readers_are_few(void **state)
{
    struct world *w = *state;
    struct httpd_answer slow[12];
    unsigned busy = 0;
    w->source.now_ns = moving_now;
    moving_ns = world_now();
    for (int i = 0; i < 12; i++) {
        moving_ns += 2000000000u; /* a build of its own for each */
        begin_matrix(w, "/api/v1/matrix", &slow[i]);
        busy += slow[i].status == 503;
    }
    check_u64(busy, 4);
    for (int i = 0; i < 12; i++)
        httpd_answer_fini(&slow[i]);
    begin_matrix(w, "/api/v1/matrix", &slow[0]);
    check_u64(slow[0].status, 200);
    /* A reader may outlive the cache. */
    api_cache_close(w->source.cache);
    w->source.cache = NULL;
    struct reply r = {0};
    slow[0].prepare = NULL;
    finish(&slow[0], &r);
    check_u64(r.status, 200);
    reply_fini(&r);
}

/* One that only waits to be freed does not take a reader's place. */
static void a_matrix_nobody_reads_is_no_burden(void **state)
{
    struct world *w = *state;
    struct httpd_answer slow[8];
    w->source.now_ns = moving_now;
    moving_ns = world_now();
    for (int i = 0; i < 8; i++) {
        moving_ns += 2000000000u;
        begin_matrix(w, "/api/v1/matrix", &slow[i]);
        check_u64(slow[i].status, 200);
    }
    httpd_answer_fini(&slow[7]); /* shared still, but too old next time */
    moving_ns += 2000000000u;
    begin_matrix(w, "/api/v1/matrix", &slow[7]);
    check_u64(slow[7].status, 200);
    for (int i = 0; i < 8; i++)
        httpd_answer_fini(&slow[i]);
}

static void matrix_comes_in_bounded_slices(void **state)
{
    struct world *w = *state;
    enum { N = 100 };
    static char names[N][8];
    static struct matrix_node nodes[N];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "n%02d", i);
        nodes[i] = (struct matrix_node){names[i], names[i], "r", false, true};
    }
    world_set_nodes(w, nodes, N);
    struct reply r = ask(w, "/api/v1/matrix");
    check_true(r.slices > 20);
    json_t *j = json_loadb(r.text, r.len, 0, NULL);
    /* The names in frames (a, b) join those that are expected. */
    check_u64(json_array_size(json_object_get(j, "from")), N + 1);
    check_u64(json_array_size(json_object_get(j, "cells")),
              json_array_size(json_object_get(j, "from")) *
                  json_array_size(json_object_get(j, "to")));
    json_decref(j);
    reply_fini(&r);
}

/* The bytes held in memory from malloc() now. */
static size_t bytes_in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Reads all of it; what it was, by its length and the number of cells, and how
 * much more memory than in the beginning there was at most. */
static size_t read_all(struct httpd_answer *a, size_t *n_cells)
{
    struct wr slice;
    size_t before = bytes_in_use();
    size_t most = before;
    int rc = 1;
    wr_init_grow(&slice, 65536);
    *n_cells = 0;
    while (rc == 1) {
        wr_reset(&slice);
        rc = a->body(a->state, &slice);
        check_true(rc >= 0);
        size_t now = bytes_in_use();
        most = now > most ? now : most;
        for (size_t i = 0; i < slice.len; i++)
            *n_cells += slice.data[i] == '{';
    }
    wr_fini(&slice);
    return most - before;
}

/* Each pair of nodes has a cell: in a large mesh these are millions, and as
 * text gigabytes. */
static void a_matrix_of_many_nodes_is_not_held_as_text(void **state)
{
    struct world *w = *state;
    enum { N = 500 };
    static char names[N][8];
    static struct matrix_node nodes[N];
    size_t cells[2];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "n%03d", i);
        nodes[i] = (struct matrix_node){names[i], names[i], "r", false, true};
    }
    world_set_nodes(w, nodes, N);
    const char *const targets[] = {"/api/v1/matrix?level=node",
                                   "/api/v1/matrix?level=zone"};
    for (int i = 0; i < 2; i++) {
        struct httpd_answer a, b;
        begin_matrix(w, targets[i], &a);
        begin_matrix(w, targets[i], &b);
        check_true(read_all(&a, &cells[0]) < 1u << 20);
        check_true(read_all(&b, &cells[1]) < 1u << 20);
        check_true(cells[0] > N * N);
        check_u64(cells[0], cells[1]);
        check_false(a.is_cacheable); /* no two need be alike */
        httpd_answer_fini(&a);
        httpd_answer_fini(&b);
    }
}

/* ---- turns ---- */

static void check_ok(struct world *w, const char *target)
{
    struct reply r = ask(w, target);
    check_u64(r.status, 200);
    check_text(r.text, "ok\n");
    reply_fini(&r);
}

static void begin(struct world *w, const char *target, struct httpd_answer *a)
{
    struct httpd_query q;
    *a = (struct httpd_answer){0};
    check_i64(httpd_query_decode(&q, target, strlen(target), NULL), 0);
    api_handle(&w->source, &q.request, a);
}

static int turn(struct httpd_answer *a)
{
    return a->prepare(a->state, a);
}

static void a_matrix_is_built_in_turns(void **state)
{
    struct world *w = *state;
    crowd(w);
    w->source.now_ns = moving_now; /* time stands still: one turn */
    struct reply whole = ask(w, "/api/v1/matrix?level=node");
    check_u64(whole.turns, 0);
    w->source.now_ns = slow_now;
    moving_ns += 2000000000u;

    struct httpd_answer a;
    struct reply r = {0};
    begin(w, "/api/v1/matrix?level=node", &a);
    unsigned turns = 0;
    for (; turn(&a) == 1; turns++)
        check_ok(w, "/readyz"); /* others are answered meanwhile */
    check_true(turns >= 10);
    a.prepare = NULL;
    finish(&a, &r);
    check_text(r.text, whole.text);
    reply_fini(&r);
    reply_fini(&whole);
}

static void who_asks_the_same_meanwhile_joins_the_build(void **state)
{
    struct world *w = *state;
    struct httpd_answer a, b;
    crowd(w);
    begin(w, "/api/v1/matrix", &a);
    begin(w, "/api/v1/matrix", &b);
    check_i64(turn(&a), 1);
    moving_ns += 5000000000u; /* however long it takes */
    check_i64(turn(&b), 1);
    unsigned turns = 0;
    while (turn(&b) == 1)
        turns++;
    check_true(turns > 3);
    check_i64(turn(&a), 0); /* nothing is left to do */
    check_true(a.etag[0] && strcmp(a.etag, b.etag) == 0);
    httpd_answer_fini(&a);
    struct reply r = {0};
    b.prepare = NULL;
    finish(&b, &r);
    check_u64(r.status, 200);
    reply_fini(&r);
}

static void a_build_that_was_given_up_is_taken_on_for_a_second(void **state)
{
    struct world *w = *state;
    struct httpd_answer a;
    crowd(w);
    begin(w, "/api/v1/matrix", &a);
    check_i64(turn(&a), 1);
    check_i64(turn(&a), 1);
    httpd_answer_fini(&a); /* hung up */
    begin(w, "/api/v1/matrix", &a);
    check_i64(turn(&a), 1);
    httpd_answer_fini(&a);

    moving_ns += 1000000000u; /* too old now: another is begun */
    struct reply r = ask(w, "/api/v1/matrix");
    check_true(strstr(r.etag, "-2") != NULL);
    reply_fini(&r);
}

static void a_large_matrix_is_freed_in_turns(void **state)
{
    struct world *w = *state;
    crowd(w);
    struct reply first = ask(w, "/api/v1/matrix?level=node");
    moving_ns += 2000000000u;
    struct reply second = ask(w, "/api/v1/matrix?level=node");
    /* 300 cells of 8 pieces, MATRIX_STEP a turn */
    check_true(second.turns >= first.turns + 300 * 8 / MATRIX_STEP);
    reply_fini(&first);
    reply_fini(&second);
}

static void a_cell_is_collected_in_turns(void **state)
{
    struct world *w = *state;
    crowd(w);
    w->source.now_ns = moving_now;
    struct reply whole = ask(w, "/api/v1/cells/a/b");
    check_u64(whole.turns, 0);
    w->source.now_ns = slow_now;
    struct reply sliced = ask(w, "/api/v1/cells/a/b");
    check_true(sliced.turns > 10);
    check_text(sliced.text, whole.text);
    reply_fini(&whole);
    reply_fini(&sliced);
}

static void frames_may_expire_between_turns(void **state)
{
    struct world *w = *state;
    static const char *const targets[] = {"/api/v1/matrix",
                                          "/api/v1/cells/a/b"};
    struct httpd_answer a[2];
    crowd(w);
    for (int i = 0; i < 2; i++) {
        begin(w, targets[i], &a[i]);
        for (int n = 0; n < 4; n++)
            check_i64(turn(&a[i]), 1);
    }
    frames_expire(w->frames, WORLD_UNIX_S + 100000);
    check_u64(frames_count(w->frames), 0);
    for (int i = 0; i < 2; i++) {
        struct reply r = {0};
        finish(&a[i], &r);
        check_u64(r.status, 200);
        check_true(strstr(r.text, "\"fresh\"") != NULL);
        reply_fini(&r);
    }
}

/* ---- cells ---- */

static void cell_shows_each_protocol_and_mode(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/cells/a/b", 200);
    json_t *cells = json_object_get(j, "cells");
    check_u64(json_array_size(cells), 4);
    json_t *cell = find(cells, "protocol", "http1", "mode", "cold");
    check_text(text(cell, "state"), "fresh");
    check_i64(number(cell, "attempts"), 18);
    check_i64(number(cell, "ok"), 12);
    check_i64(number(cell, "failed"), 6);
    check_i64(number(cell, "max_lag_ns"), 7000);
    check_i64(number(cell, "user_clock"), 0);
    check_i64(number(cell, "nodes"), 2);
    double ratio = json_number_value(json_object_get(cell, "trusted_ratio"));
    check_true(ratio > 0.832 && ratio < 0.834);
    json_t *connect =
        json_object_get(json_object_get(cell, "phases"), "connect");
    check_i64(number(connect, "count"), 12);
    check_i64(number(connect, "min"), 400000);
    check_i64(number(connect, "mean"), 500000);
    check_i64(number(connect, "max"), 600000);

    cell = find(cells, "protocol", "grpc", "mode", "warm");
    check_text(text(cell, "state"), "unknown");
    check_true(json_is_null(json_object_get(cell, "age_s")));
    check_true(json_is_null(json_object_get(cell, "trusted_ratio")));
    check_true(json_is_null(json_object_get(cell, "max_lag_ns")));
    check_u64(json_object_size(json_object_get(cell, "phases")), 0);
    check_u64(json_array_size(json_object_get(cell, "timeline")), 0);
    json_decref(j);
}

/* c-1 measures a-1 four times and "far" five times. */
static void post_from_c(struct world *w)
{
    char names[][8] = {"c-1", "c", "r2", "a-1", "a", "r1", "far"};
    struct frame_target targets[] = {{names[3], names[4], names[5]},
                                     {names[6], names[6], names[5]}};
    struct frame_cell cells[] = {
        {.target = 0, .attempts = 4, .outcomes = {[OUTCOME_EOF] = 4}},
        {.target = 1, .attempts = 5, .outcomes = {[OUTCOME_EOF] = 5}}};
    struct frame f = {.origin = names[0],
                      .zone = names[1],
                      .region = names[2],
                      .window = WORLD_WINDOW - 1,
                      .n_targets = 2,
                      .n_cells = 2,
                      .targets = targets,
                      .cells = cells};
    struct wr out;
    wr_init_grow(&out, 65536);
    check_i64(frame_encode(&f, &out), 0);
    check_i64(frames_add(w->frames, out.data, out.len), 0);
    wr_fini(&out);
}

static void check_attempts(struct world *w, const char *target, int64_t want)
{
    json_t *j = ask_json(w, target, 200);
    json_t *cell = json_array_get(json_object_get(j, "cells"), 0);
    check_i64(number(cell, "attempts"), want);
    json_decref(j);
}

static void cell_takes_neither_other_rows_nor_other_columns(void **state)
{
    struct world *w = *state;
    post_from_c(w);
    check_attempts(w, "/api/v1/cells/a-1/b-1?level=node", 9);
    check_attempts(w, "/api/v1/cells/a/b", 18);
    check_attempts(w, "/api/v1/cells/c/a", 4);
    check_attempts(w, "/api/v1/cells/c/far", 5);
    /* "far" is known, if only from what others measure. */
    check_attempts(w, "/api/v1/cells/a/far", 0);
    check_error(w, "/api/v1/cells/a/farther", 404, "unknown_name");
}

/* More than are listed: the sums are of all of them. */
static void a_cell_of_very_many_nodes_is_told(void **state)
{
    struct world *w = *state;
    enum { N = 4100 };
    const struct frames_limits limits = {.retention_s = 300,
                                         .bytes_max = 8u << 20};
    frames_set_limits(w->frames, &limits);
    check_attempts(w, "/api/v1/cells/a/b", 9 * 2);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof(name), "x-%d", i);
        world_frame(w->frames, name, WORLD_WINDOW - 1, true,
                    OUTCOME_CONNECT_TIMEOUT);
    }
    check_attempts(w, "/api/v1/cells/a/b", 9 * 2 + 3 * N);
    json_t *j = ask_json(w, "/api/v1/cells/a/b", 200);
    check_u64(json_array_size(json_object_get(j, "nodes")), 4096);
    json_decref(j);
}

static void cell_agrees_with_the_matrix(void **state)
{
    json_t *m = ask_json(*state, "/api/v1/matrix?protocol=http1", 200);
    json_t *c = ask_json(*state, "/api/v1/cells/a/b", 200);
    json_t *mc = find(json_object_get(m, "cells"), "from", "a", "to", "b");
    json_t *cc =
        find(json_object_get(c, "cells"), "protocol", "http1", "mode", "cold");
    static const char *const same[] = {
        "state",      "age_s",         "attempts",  "ok",
        "failed",     "outcomes",      "nodes",     "retransmits",
        "reconnects", "trusted_ratio", "user_clock"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        if (!json_equal(json_object_get(mc, same[i]),
                        json_object_get(cc, same[i])))
            fail_msg("%s differs", same[i]);
    }
    json_decref(m);
    json_decref(c);
}

static void timeline_has_one_entry_a_window(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/cells/a/b", 200);
    json_t *cell =
        find(json_object_get(j, "cells"), "protocol", "http1", "mode", "cold");
    json_t *line = json_object_get(cell, "timeline");
    check_u64(json_array_size(line), WORLD_WINDOWS);
    json_t *first = json_array_get(line, 0);
    check_text(text(first, "at"), "2025-12-31T23:59:30.000Z");
    check_i64(number(first, "attempts"), 6);
    check_i64(number(first, "ok"), 4);
    check_i64(number(first, "failed"), 2);
    json_t *phases = json_object_get(first, "phases");
    check_u64(json_object_size(phases), 2); /* total and connect ran */
    check_i64(number(json_object_get(phases, "total"), "p99"), 2000000);
    json_decref(j);
}

static void window_limits_what_is_shown(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/cells/a/b?window=10s", 200);
    json_t *cell =
        find(json_object_get(j, "cells"), "protocol", "http1", "mode", "cold");
    check_i64(number(cell, "attempts"), 6);
    json_decref(j);
}

static void cell_lists_who_measured_and_in_what_state(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/cells/a/b", 200);
    json_t *nodes = json_object_get(j, "nodes");
    check_u64(json_array_size(nodes), 2);
    json_t *node = find(nodes, "node", "a-2", "zone", "a");
    check_i64(number(node, "attempts"), 9);
    check_text(text(node, "window_at"), "2025-12-31T23:59:50.000Z");
    json_t *context = json_object_get(node, "context");
    check_true(json_number_value(json_object_get(context, "psi_cpu_percent")) ==
               1.5);
    check_true(json_is_null(json_object_get(context, "psi_io_percent")));
    check_i64(number(context, "throttled_ns"), 2000000);
    check_i64(number(context, "loop_lag_p99_ns"), 12000);
    json_decref(j);
}

static json_t *http1_cold(json_t *j)
{
    return find(json_object_get(j, "cells"), "protocol", "http1", "mode",
                "cold");
}

static void local_troubles_are_no_failures(void **state)
{
    struct world *w = *state;
    world_frame(w->frames, "a-3", WORLD_WINDOW - 1, true,
                OUTCOME_LOCAL_STARVED);
    json_t *j = ask_json(w, "/api/v1/cells/a/b", 200);
    check_i64(number(http1_cold(j), "attempts"), 21);
    check_i64(number(http1_cold(j), "ok"), 14);
    check_i64(number(http1_cold(j), "failed"), 6);
    json_t *line = json_object_get(http1_cold(j), "timeline");
    check_i64(number(json_array_get(line, 2), "failed"), 2);
    json_decref(j);
}

static void frames_from_the_far_future_do_not_count(void **state)
{
    struct world *w = *state;
    world_frame(w->frames, "a-3", WORLD_WINDOW + FRAMES_AHEAD_MAX + 1, true,
                OUTCOME_EOF);
    json_t *j = ask_json(w, "/api/v1/cells/a/b", 200);
    check_i64(number(http1_cold(j), "attempts"), 18);
    json_decref(j);
    world_frame(w->frames, "a-3", WORLD_WINDOW + FRAMES_AHEAD_MAX, true,
                OUTCOME_EOF);
    j = ask_json(w, "/api/v1/cells/a/b", 200);
    check_i64(number(http1_cold(j), "attempts"), 21);
    json_decref(j);
}

static void known_names_without_measurements_are_unknown(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/cells/c/a", 200);
    json_t *cell;
    size_t i;
    json_array_foreach(json_object_get(j, "cells"), i, cell)
        check_text(text(cell, "state"), "unknown");
    check_u64(json_array_size(json_object_get(j, "nodes")), 0);
    json_decref(j);
}

static void names_nobody_knows_are_not_found(void **state)
{
    struct reply r = ask(*state, "/api/v1/cells/a/zz");
    check_true(strstr(r.text, "no zone is named zz") != NULL);
    reply_fini(&r);
    check_error(*state, "/api/v1/cells/a/zz", 404, "unknown_name");
    check_error(*state, "/api/v1/cells/zz/b", 404, "unknown_name");
    check_error(*state, "/api/v1/cells/a/b?level=node", 404, "unknown_name");
    check_error(*state, "/api/v1/cells/a", 404, "not_found");
    check_error(*state, "/api/v1/cells/a/b/c", 404, "not_found");
}

static void names_in_frames_alone_are_known(void **state)
{
    struct world *w = *state;
    world_set_nodes(w, world_nodes, 1);
    json_t *j = ask_json(w, "/api/v1/cells/a-2/b-1?level=node", 200);
    json_decref(j);
}

static void a_draining_destination_drains_the_cell(void **state)
{
    struct world *w = *state;
    struct matrix_node nodes[4];
    memcpy(nodes, world_nodes, sizeof(nodes));
    nodes[2].is_draining = true;
    world_set_nodes(w, nodes, 4);
    json_t *j = ask_json(w, "/api/v1/cells/a/b", 200);
    json_t *cell =
        find(json_object_get(j, "cells"), "protocol", "http1", "mode", "cold");
    check_text(text(cell, "state"), "draining");
    json_decref(j);
}

/* ---- history ---- */

static void an_answer_says_what_time_it_covers(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/matrix", 200);
    json_t *covers = json_object_get(j, "covers");
    check_text(text(covers, "from"), "2025-12-31T23:59:30.000Z");
    check_text(text(covers, "to"), "2026-01-01T00:00:00.000Z");
    check_i64(number(covers, "step_s"), 10);
    json_decref(j);
    j = ask_json(*state, "/api/v1/matrix?at=2025-12-31T00:00:00Z", 200);
    check_true(json_is_null(json_object_get(j, "covers")));
    json_decref(j);
}

static void the_past_is_answered_as_of_then(void **state)
{
    /* At 23:59:45 one window of the three was over. */
    const char *const spellings[] = {
        "/api/v1/matrix?at=2025-12-31T23:59:45Z",
        "/api/v1/matrix?at=2026-01-01T01:59:45.000%2b02:00",
        "/api/v1/matrix?at=2026-01-01T01:59:45+02:00",
    };
    for (size_t i = 0; i < 3; i++) {
        json_t *j = ask_json(*state, spellings[i], 200);
        check_text(text(j, "generated_at"), "2026-01-01T00:00:05.000Z");
        check_text(text(j, "at"), "2025-12-31T23:59:45.000Z");
        json_t *cell =
            find(json_object_get(j, "cells"), "from", "a", "to", "b");
        check_i64(number(cell, "attempts"), 6);
        check_text(text(cell, "state"), "fresh");
        check_true(json_number_value(json_object_get(cell, "age_s")) == 5);
        json_t *origins = json_object_get(j, "origins");
        check_i64(number(origins, "expected"), 0);
        json_decref(j);
    }
    json_t *j =
        ask_json(*state, "/api/v1/cells/a/b?at=2025-12-31T23:59:50Z", 200);
    json_t *cell =
        find(json_object_get(j, "cells"), "protocol", "http1", "mode", "cold");
    check_i64(number(cell, "attempts"), 12);
    check_u64(json_array_size(json_object_get(cell, "timeline")), 2);
    json_decref(j);
}

static void a_cell_links_its_reverse(void **state)
{
    struct world *w = *state;
    json_t *j = ask_json(w, "/api/v1/cells/a/b", 200);
    check_text(text(j, "reverse"), "/api/v1/cells/b/a?level=zone");
    struct reply back = ask(w, text(j, "reverse"));
    check_u64(back.status, 200);
    reply_fini(&back);
    json_decref(j);
    const struct matrix_node odd[] = {{"x", "a/\"ü %", "", false, true},
                                      {"y", "b", "", false, true}};
    world_set_nodes(w, odd, 2);
    j = ask_json(w, "/api/v1/cells/a%2F%22%C3%BC%20%25/b", 200);
    check_text(text(j, "reverse"),
               "/api/v1/cells/b/a%2F%22%C3%BC%20%25?level=zone");
    json_decref(j);
}

static void times_are_read_strictly(void **state)
{
    (void)state;
    uint64_t ns = 7;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00Z",
        "2026-1-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01t00:00:00Z",
        "2026-01-01T00:00:00z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.0000000000Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "2026-01-01T00:00:00Zx",
        "2026-01-01T00:00:00+01:00x",
        "1969-12-31T23:59:59Z",
        "2201-01-01T00:00:00Z",
        "1970-01-01T00:00:00+01:00",
        "-026-01-01T00:00:00Z",
        "2100-02-29T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (api_parse_time(bad[i], &ns) == 0)
            fail_msg("%s was taken", bad[i]);
    }
    check_u64(ns, 7);
    check_i64(api_parse_time("1970-01-01T00:00:00Z", &ns), 0);
    check_u64(ns, 0);
    check_i64(api_parse_time("2024-02-29T12:34:56.789Z", &ns), 0);
    check_u64(ns, 1709210096789000000);
    check_i64(api_parse_time("2000-12-31T23:59:59.000000001-00:30", &ns), 0);
    check_u64(ns, 978309000000000001 - 1000000000);
}

static void status_says_how_far_back_it_reaches(void **state)
{
    struct world *w = *state;
    w->source.history_max_bytes = 1u << 25;
    json_t *j = ask_json(w, "/api/v1/matrix", 200); /* folds what waits */
    json_decref(j);
    j = ask_json(w, "/api/v1/status", 200);
    json_t *h = json_object_get(j, "history");
    check_i64(number(h, "memory_bytes"), 1 << 25);
    check_true(number(h, "bytes") > 0);
    check_i64(number(h, "cells"), 1);
    check_i64(number(h, "frames_folded"), 6);
    json_t *tiers = json_object_get(h, "tiers");
    check_u64(json_array_size(tiers), 3);
    json_t *windows = json_array_get(tiers, 0);
    check_i64(number(windows, "step_s"), 10);
    check_i64(number(windows, "held"), 3);
    check_text(text(windows, "from"), "2025-12-31T23:59:30.000Z");
    check_text(text(windows, "to"), "2026-01-01T00:00:00.000Z");
    check_true(json_is_null(json_object_get(json_array_get(tiers, 2), "from")));
    json_decref(j);
}

/* ---- samples ---- */

/* total_ns of each line, as text: "5 6 7". */
static void check_samples(struct world *w, const char *target, const char *want)
{
    struct reply r = ask(w, target);
    char got[256] = "";
    check_u64(r.status, 200);
    check_text(r.type, "application/x-ndjson");
    for (char *line = r.text, *end; (end = strchr(line, '\n'));
         line = end + 1) {
        json_t *j = json_loadb(line, (size_t)(end - line), 0, NULL);
        check_true(j != NULL);
        size_t n = strlen(got);
        snprintf(got + n, sizeof(got) - n, "%s%d", n ? " " : "",
                 (int)number(j, "total_ns"));
        json_decref(j);
    }
    check_text(got, want);
    reply_fini(&r);
}

static void samples_come_newest_last(void **state)
{
    check_samples(*state, "/api/v1/samples", "0 1 2 3 4 5 6 7");
    check_samples(*state, "/api/v1/samples?limit=3", "5 6 7");
    check_samples(*state, "/api/v1/samples?limit=1", "7");
}

static void samples_are_filtered_before_they_are_counted(void **state)
{
    struct world *w = *state;
    check_samples(w, "/api/v1/samples?target=b-1&limit=2", "4 6");
    check_samples(w, "/api/v1/samples?target=c", "1 3 5 7");
    check_samples(w, "/api/v1/samples?target=https://b-1:7443/probe&limit=2",
                  "6 7");
    check_samples(w, "/api/v1/samples?target=nobody", "");
    w->samples[2].outcome = OUTCOME_EOF;
    w->samples[2].total_ns = 2;
    check_samples(w, "/api/v1/samples?outcome=ok&limit=7", "0 1 3 4 5 6 7");
}

static void a_ring_that_has_wrapped_is_in_order(void **state)
{
    struct world *w = *state;
    w->source.samples_head = 3;
    w->source.samples_total = 1003;
    check_samples(w, "/api/v1/samples", "3 4 5 6 7 0 1 2");
    w->source.samples_count = 2;
    check_samples(w, "/api/v1/samples", "1 2");
    w->source.samples_count = 0;
    check_samples(w, "/api/v1/samples", "");
}

static void samples_overwritten_meanwhile_are_left_out(void **state)
{
    struct world *w = *state;
    struct httpd_query q;
    struct httpd_answer a = {0};
    struct reply r = {0};
    const char *target = "/api/v1/samples";
    check_i64(httpd_query_decode(&q, target, strlen(target), NULL), 0);
    api_handle(&w->source, &q.request, &a);
    w->source.samples_head = 6; /* six more came in */
    w->source.samples_total += 6;
    finish(&a, &r);
    unsigned lines = 0;
    for (size_t i = 0; i < r.len; i++)
        lines += r.text[i] == '\n';
    check_u64(lines, 2);
    reply_fini(&r);
}

/* ---- status and health ---- */

static void status_tells_what_is_known(void **state)
{
    struct world *w = *state;
    json_t *j = ask_json(w, "/api/v1/status", 200);
    check_text(text(j, "node"), "a-1");
    check_text(text(j, "started_at"), "2025-12-31T23:59:05.000Z");
    check_true(json_number_value(json_object_get(j, "uptime_s")) == 60);
    check_true(json_is_true(json_object_get(j, "ready")));
    check_true(json_is_true(json_object_get(j, "live")));
    check_i64(number(json_object_get(j, "memory"), "rss_bytes"), 4096);
    check_i64(number(json_object_get(j, "plane"), "attempts"), 18);
    check_i64(number(json_object_get(j, "frames"), "held"), 6);
    json_decref(j);

    w->plane.updated_ns = 0;
    w->source.memory_rss_bytes = 0;
    w->source.context = NULL;
    j = ask_json(w, "/api/v1/status", 200);
    check_true(json_is_null(json_object_get(j, "plane")));
    check_true(json_is_null(json_object_get(j, "context")));
    check_true(json_is_null(
        json_object_get(json_object_get(j, "memory"), "rss_bytes")));
    json_decref(j);
}

static void live_until_the_plane_is_silent_for_too_long(void **state)
{
    struct world *w = *state;
    w->source.now_ns = moving_now;
    moving_ns = w->plane.updated_ns + w->source.stall_after_ns;
    check_ok(w, "/livez");
    moving_ns++;
    check_error(w, "/livez", 503, "not_live");
    w->source.stall_after_ns = 0;
    check_ok(w, "/livez");
}

static void a_plane_never_heard_of_gets_time_to_start(void **state)
{
    struct world *w = *state;
    w->source.now_ns = moving_now;
    w->plane.updated_ns = 0;
    moving_ns = w->source.start_ns + w->source.stall_after_ns;
    check_ok(w, "/livez");
    moving_ns++;
    check_error(w, "/livez", 503, "not_live");
}

static void readiness_has_a_reason(void **state)
{
    struct world *w = *state;
    check_ok(w, "/readyz");
    w->source.is_draining = true;
    check_error(w, "/readyz", 503, "not_ready");
    w->source.is_draining = false;
    w->source.is_ready = false;
    check_error(w, "/readyz", 503, "not_ready");
    w->source.not_ready_reason = "no targets";
    struct reply r = ask(w, "/readyz");
    check_true(strstr(r.text, "no targets") != NULL);
    reply_fini(&r);
}

/* ---- refusals ---- */

static void what_is_not_understood_is_refused(void **state)
{
    static const struct {
        const char *target, *code;
    } cases[] = {
        {"/api/v1/matrix?levl=zone", "unknown_parameter"},
        {"/api/v1/matrix?limit=1", "unknown_parameter"},
        {"/api/v1/cells/a/b?mode=cold", "unknown_parameter"},
        {"/api/v1/samples?window=5m", "unknown_parameter"},
        {"/api/v1/status?x=1", "unknown_parameter"},
        {"/api/v1/members?level=zone", "unknown_parameter"},
        {"/livez?x", "unknown_parameter"},
        {"/readyz?verbose", "unknown_parameter"},
        {"/api/v1/matrix?at=2026-01-01T00:00:06Z", "bad_value"},
        {"/api/v1/matrix?at=yesterday", "bad_value"},
        {"/api/v1/samples?at=2026-01-01T00:00:00Z", "unknown_parameter"},
        {"/api/v1/matrix?level=", "bad_value"},
        {"/api/v1/matrix?level=Zone", "bad_value"},
        {"/api/v1/matrix?window=9s", "bad_value"},
        {"/api/v1/matrix?window=3601s", "bad_value"},
        {"/api/v1/matrix?window=2h", "bad_value"},
        {"/api/v1/matrix?window=5", "bad_value"},
        {"/api/v1/matrix?window=m", "bad_value"},
        {"/api/v1/matrix?window=-5m", "bad_value"},
        {"/api/v1/matrix?window=1e2s", "bad_value"},
        {"/api/v1/matrix?window=99999999999999999999s", "bad_value"},
        {"/api/v1/matrix?protocol=http2", "bad_value"},
        {"/api/v1/matrix?mode=all", "bad_value"},
        {"/api/v1/samples?limit=0", "bad_value"},
        {"/api/v1/samples?limit=4097", "bad_value"},
        {"/api/v1/samples?limit=+1", "bad_value"},
        {"/api/v1/samples?outcome=OK", "bad_value"},
        {"/api/v1/samples?target=", "bad_value"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_error(*state, cases[i].target, 400, cases[i].code);
}

static void limits_themselves_are_allowed(void **state)
{
    static const char *const targets[] = {
        "/api/v1/matrix?window=10s",   "/api/v1/matrix?window=3600s",
        "/api/v1/matrix?window=1h",    "/api/v1/matrix?window=60m",
        "/api/v1/matrix?protocol=all", "/api/v1/samples?limit=4096",
    };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct reply r = ask(*state, targets[i]);
        check_u64(r.status, 200);
        reply_fini(&r);
    }
}

static void everything_else_is_not_found(void **state)
{
    static const char *const targets[] = {
        "/",
        "/api",
        "/api/v1/matrix/",
        "/api/v1/Matrix",
        "/livez/",
        "//livez",
        "/../livez",
        "/api/v1/../../livez",
        "/api/v1/cells",
        "/api%2Fv1/matrix",
        "/%2e%2e/etc/passwd",
        "/metrics/x",
    };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        check_error(*state, targets[i], 404, "not_found");
}

static void hostile_names_stay_text(void **state)
{
    json_t *j = ask_json(*state, "/api/v1/cells/%3Cimg%20src=x%3E%22/b", 404);
    json_decref(j);
    j = ask_json(*state, "/api/v1/matrix?%ff%22%3c=1", 400);
    json_decref(j);
    j = ask_json(*state, "/%c3%28%f0%9f", 404);
    json_decref(j);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* The same where zones are answered for by a history. */
#define H(name)                                                \
    {                                                          \
        "history: " #name, name, setup_history, teardown, NULL \
    }
    const struct CMUnitTest tests[] = {
        T(matrix_says_what_was_asked),
        T(matrix_merges_a_measured_cell),
        T(matrix_never_calls_the_unknown_healthy),
        T(matrix_names_the_silent),
        T(matrix_is_shared_for_a_second),
        T(matrices_kept_by_slow_readers_are_few),
        T(a_matrix_nobody_reads_is_no_burden),
        T(matrix_comes_in_bounded_slices),
        T(a_matrix_of_many_nodes_is_not_held_as_text),
        T(a_matrix_is_built_in_turns),
        T(who_asks_the_same_meanwhile_joins_the_build),
        T(a_build_that_was_given_up_is_taken_on_for_a_second),
        T(a_large_matrix_is_freed_in_turns),
        T(a_cell_is_collected_in_turns),
        T(frames_may_expire_between_turns),
        T(cell_shows_each_protocol_and_mode),
        T(cell_takes_neither_other_rows_nor_other_columns),
        T(a_cell_of_very_many_nodes_is_told),
        T(cell_agrees_with_the_matrix),
        T(timeline_has_one_entry_a_window),
        T(window_limits_what_is_shown),
        T(cell_lists_who_measured_and_in_what_state),
        T(local_troubles_are_no_failures),
        T(frames_from_the_far_future_do_not_count),
        T(known_names_without_measurements_are_unknown),
        T(names_nobody_knows_are_not_found),
        T(names_in_frames_alone_are_known),
        T(a_draining_destination_drains_the_cell),
        T(samples_come_newest_last),
        T(samples_are_filtered_before_they_are_counted),
        T(a_ring_that_has_wrapped_is_in_order),
        T(samples_overwritten_meanwhile_are_left_out),
        T(status_tells_what_is_known),
        T(live_until_the_plane_is_silent_for_too_long),
        T(a_plane_never_heard_of_gets_time_to_start),
        T(readiness_has_a_reason),
        T(what_is_not_understood_is_refused),
        T(limits_themselves_are_allowed),
        T(everything_else_is_not_found),
        T(hostile_names_stay_text),
        T(the_past_is_answered_as_of_then),
        T(a_cell_links_its_reverse),
        T(times_are_read_strictly),
        H(matrix_says_what_was_asked),
        H(matrix_merges_a_measured_cell),
        H(matrix_never_calls_the_unknown_healthy),
        H(matrix_names_the_silent),
        H(matrix_is_shared_for_a_second),
        H(matrices_kept_by_slow_readers_are_few),
        H(a_matrix_nobody_reads_is_no_burden),
        H(matrix_comes_in_bounded_slices),
        H(a_matrix_of_many_nodes_is_not_held_as_text),
        H(cell_shows_each_protocol_and_mode),
        H(cell_takes_neither_other_rows_nor_other_columns),
        H(cell_agrees_with_the_matrix),
        H(timeline_has_one_entry_a_window),
        H(window_limits_what_is_shown),
        H(cell_lists_who_measured_and_in_what_state),
        H(local_troubles_are_no_failures),
        H(known_names_without_measurements_are_unknown),
        H(names_nobody_knows_are_not_found),
        H(names_in_frames_alone_are_known),
        H(a_draining_destination_drains_the_cell),
        H(hostile_names_stay_text),
        H(an_answer_says_what_time_it_covers),
        H(the_past_is_answered_as_of_then),
        H(a_cell_links_its_reverse),
        H(status_says_how_far_back_it_reaches),
        H(what_is_not_understood_is_refused),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
