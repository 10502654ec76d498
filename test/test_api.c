/* The views, asked through their handler; JSON is read back with jansson. */
/* First: proto/json.h keeps out of its way. */
#include <jansson.h>

#include "prober/api.h"

#include "prober/api_views.h"
#include "prober/httpd_query.h"
#include "test/api_world.h"
#include "test/check.h"

#define CONTENT_MAX (4u << 20)

/* What came back. */
struct reply {
    unsigned status;
    const char *type;
    char etag[40];
    bool is_cacheable;
    char *text; /* owned, NUL-terminated */
    size_t len;
    unsigned turns, slices;
};

static void reply_fini(struct reply *r)
{
    free(r->text);
}

static void finish(struct httpd_answer *a, struct reply *r)
{
    struct wr all;
    struct wr slice;
    wr_init_grow(&all, CONTENT_MAX);
    wr_init_grow(&slice, 65536);
    int rc = 1;
    while (a->prepare && (rc = a->prepare(a->state, a)) == 1)
        r->turns++;
    check_true(rc == 0 || !a->prepare);
    if (a->text)
        wr_text(&all, a->text);
    do {
        wr_reset(&slice);
        rc = a->body ? a->body(a->state, &slice) : 0;
        check_true(rc >= 0);
        check_i64(wr_err(&slice), 0);
        wr_bytes(&all, slice.data, slice.len);
        r->slices++;
    } while (rc == 1);
    wr_u8(&all, '\0');
    check_i64(wr_err(&all), 0);
    r->status = a->status;
    r->type = a->content_type;
    memcpy(r->etag, a->etag, sizeof(r->etag));
    r->is_cacheable = a->is_cacheable;
    r->text = (char *)all.data;
    r->len = all.len - 1;
    wr_fini(&slice);
    httpd_answer_fini(a);
}

static struct reply ask(struct world *w, const char *target)
{
    struct httpd_query q;
    struct httpd_answer a = {0};
    struct reply r = {0};
    if (w->source.history)
        world_fold(w); /* what the test has added to the frames */
    check_i64(httpd_query_decode(&q, target, strlen(target), NULL), 0);
    api_handle(&w->source, &q.request, &a);
    finish(&a, &r);
    return r;
}

static json_t *ask_json(struct world *w, const char *target, unsigned status)
{
    struct reply r = ask(w, target);
    json_error_t error;
    check_u64(r.status, status);
    check_text(r.type, "application/json");
    json_t *j = json_loadb(r.text, r.len, JSON_REJECT_DUPLICATES, &error);
    if (!j)
        print_error("%s: %s\n%s\n", target, error.text, r.text);
    check_true(j != NULL);
    reply_fini(&r);
    return j;
}

static void check_error(struct world *w, const char *target, unsigned status,
                        const char *code)
{
    json_t *j = ask_json(w, target, status);
    json_t *error = json_object_get(j, "error");
    check_text(json_string_value(json_object_get(error, "code")), code);
    check_true(json_string_length(json_object_get(error, "message")) > 0);
    json_decref(j);
}

static int64_t number(json_t *j, const char *key)
{
    json_t *v = json_object_get(j, key);
    check_true(json_is_integer(v));
    return json_integer_value(v);
}

static const char *text(json_t *j, const char *key)
{
    const char *v = json_string_value(json_object_get(j, key));
    return v ? v : "(none)";
}

/* The element whose `key` and `key2` have these values. */
static json_t *find(json_t *list, const char *key, const char *value,
                    const char *key2, const char *value2)
{
    size_t i;
    json_t *e;
    json_array_foreach(list, i, e)
    {
        if (strcmp(text(e, key), value) == 0 &&
            strcmp(text(e, key2), value2) == 0)
            return e;
    }
    fail_msg("no element %s=%s %s=%s", key, value, key2, value2);
    return NULL;
}

static int setup(void **state)
{
    struct world *w = malloc(sizeof(*w));
    if (!w)
        return -1;
    world_init(w);
    *state = w;
    return 0;
}

static int setup_history(void **state)
{
    int rc = setup(state);
    if (!rc)
        world_set_history(*state);
    return rc;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

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

static uint64_t moving_ns;

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

/* ---- turns ---- */

static void check_ok(struct world *w, const char *target)
{
    struct reply r = ask(w, target);
    check_u64(r.status, 200);
    check_text(r.text, "ok\n");
    reply_fini(&r);
}

/* A clock in whose eyes everything takes a millisecond, so that a turn is
 * over as soon as it is looked at. */
static uint64_t slow_now(void)
{
    return moving_ns += 1000000;
}

/* 300 more origins, "a-100" to "a-399", which fill some turns. */
static void crowd(struct world *w)
{
    for (unsigned i = 100; i < 400; i++) {
        char origin[16];
        snprintf(origin, sizeof(origin), "a-%u", i);
        world_frame(w->frames, origin, WORLD_WINDOW - 1, true, OUTCOME_EOF);
    }
    moving_ns = world_now();
    w->source.now_ns = slow_now;
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

/* ---- members ---- */

static json_t *object(json_t *j, const char *key)
{
    json_t *v = json_object_get(j, key);
    check_true(json_is_object(v));
    return v;
}

static bool is_null(json_t *j, const char *key)
{
    return json_is_null(json_object_get(j, key));
}

static bool is_true(json_t *j, const char *key)
{
    check_true(json_is_boolean(json_object_get(j, key)));
    return json_is_true(json_object_get(j, key));
}

static json_t *member(json_t *j, const char *name)
{
    return find(json_object_get(j, "members"), "name", name, "name", name);
}

static void members_say_what_the_mesh_says(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    json_t *j = ask_json(w, "/api/v1/members", 200);
    check_text(text(j, "answered_by"), "a-1");
    check_text(text(j, "generated_at"), "2026-01-01T00:00:05.000Z");
    json_t *mesh = object(j, "mesh");
    check_true(is_true(mesh, "is_on"));
    check_text(text(mesh, "state"), "ok");
    check_text(text(mesh, "label"), "prod");
    check_true(is_true(mesh, "encrypted"));
    check_true(!is_true(mesh, "accepts_plaintext"));
    check_true(!is_true(mesh, "is_holding"));
    check_i64(number(mesh, "health"), 1);
    json_t *counts = object(mesh, "members");
    check_i64(number(counts, "alive"), 2);
    check_i64(number(counts, "suspect"), 1);
    check_i64(number(counts, "left"), 0);
    check_i64(number(counts, "failed"), 1);
    /* An outside target is no member. */
    check_u64(json_array_size(json_object_get(j, "members")), 5);
    json_decref(j);
}

static void a_member_has_what_is_known_and_null_for_the_rest(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    json_t *j = ask_json(w, "/api/v1/members", 200);
    json_t *m = member(j, "b-1");
    check_text(text(m, "zone"), "b");
    check_text(text(m, "region"), "r1");
    check_text(text(m, "state"), "suspect");
    check_true(json_number_value(json_object_get(m, "state_age_s")) == 1.5);
    check_text(text(m, "address"), "[fd00::2]:7946");
    check_text(text(m, "probe"), "10.0.0.2:7443");
    check_text(text(m, "version"), "1.2.2");
    check_i64(number(m, "incarnation"), UINT32_MAX);
    check_i64(number(m, "rtt_ns"), 812000);
    check_true(!is_true(m, "is_self"));
    check_true(is_true(m, "is_ours"));
    check_true(is_true(m, "is_probed"));
    check_true(!is_true(m, "is_held"));
    check_true(is_null(m, "tags"));

    m = member(j, "a-2"); /* not in the mesh */
    check_text(text(m, "state"), "static");
    check_true(is_null(m, "state_age_s"));
    check_true(is_null(m, "address"));
    check_true(is_null(m, "version"));
    check_true(is_null(m, "incarnation"));
    check_true(is_null(m, "rtt_ns"));

    m = member(j, "a-1");
    check_true(is_true(m, "is_self"));
    check_true(is_null(m, "probe"));
    check_true(is_null(m, "rtt_ns"));

    m = member(j, "c-1");
    check_text(text(m, "state"), "failed");
    check_true(is_true(m, "is_held"));
    check_i64(number(m, "incarnation"), 0);
    json_decref(j);
}

/* Two tags whose names become equal stay two, and NUL, which readers refuse,
 * does not come through: no hostile node can make the answer unreadable. */
static void tags_of_strangers_stay_text(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    json_t *j = ask_json(w, "/api/v1/members", 200);
    json_t *m = member(j, "<\"agent\">\x7f\xef\xbf\xbd");
    check_true(!is_true(m, "is_ours"));
    check_true(is_null(m, "zone"));
    check_text(text(m, "state"), "leaving");
    json_t *tags = json_object_get(m, "tags");
    check_u64(json_array_size(tags), 3);
    json_t *t = json_array_get(tags, 0);
    check_text(text(t, "key"), "role");
    check_text(text(t, "value"), "\"\x1b[31m\xef\xbf\xbd");
    t = json_array_get(tags, 1);
    check_text(text(t, "key"), "r\xef\xbf\xbd");
    check_text(text(t, "value"), "web");
    t = json_array_get(tags, 2);
    check_text(text(t, "key"), "r\xef\xbf\xbd");
    check_text(text(t, "value"), "");
    json_decref(j);
    struct reply r = ask(w, "/api/v1/members");
    check_true(memchr(r.text, 0x1b, r.len) == NULL);
    reply_fini(&r);
}

static void meta_that_is_no_tags_is_null(void **state)
{
    static const uint8_t broken[] = {0xff, 0x81, 0xa4, 'r'};
    struct world *w = *state;
    struct api_nodes *n = api_nodes_open(world_now(), 0, NULL);
    struct api_node node = {.kind = API_KIND_MEMBER,
                            .name = "x",
                            .changed_ns = world_now() + 1,
                            .rtt_ns = UINT64_MAX,
                            .meta = {broken, sizeof(broken)}};
    check_i64(api_nodes_add(n, &node), 0);
    api_source_set_nodes(&w->source, n);
    json_t *j = ask_json(w, "/api/v1/members", 200);
    check_true(is_null(member(j, "x"), "tags"));
    check_true(is_null(member(j, "x"), "rtt_ns"));
    /* An age is never negative. */
    check_true(
        json_number_value(json_object_get(member(j, "x"), "state_age_s")) == 0);
    json_decref(j);
}

static void a_mesh_that_is_off_is_said_to_be(void **state)
{
    struct world *w = *state;
    json_t *j = ask_json(w, "/api/v1/members", 200);
    json_t *mesh = object(j, "mesh");
    check_true(!is_true(mesh, "is_on"));
    check_text(text(mesh, "state"), "off");
    check_true(is_null(mesh, "label"));
    check_true(is_null(mesh, "encrypted"));
    check_true(is_null(mesh, "members"));
    check_u64(json_array_size(json_object_get(j, "members")), 4);
    json_decref(j);
    api_source_set_nodes(&w->source, NULL);
    j = ask_json(w, "/api/v1/members", 200);
    check_u64(json_array_size(json_object_get(j, "members")), 0);
    json_decref(j);
}

static void mesh_state_is(struct world *w, const char *want)
{
    struct api_nodes *n = api_nodes_open(world_now(), 0, &w->mesh);
    api_source_set_nodes(&w->source, n);
    json_t *j = ask_json(w, "/api/v1/members", 200);
    check_text(text(object(j, "mesh"), "state"), want);
    json_decref(j);
    j = ask_json(w, "/api/v1/status", 200);
    check_text(text(object(j, "gossip"), "state"), want);
    json_decref(j);
}

static void leaving_goes_before_alone(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    mesh_state_is(w, "ok");
    w->mesh.stats.is_alone = true;
    mesh_state_is(w, "alone");
    w->mesh.stats.is_leaving = true;
    mesh_state_is(w, "leaving");
}

static void members_come_in_bounded_slices(void **state)
{
    enum { N = 4096 };
    struct world *w = *state;
    struct api_nodes *n = api_nodes_open(world_now(), 0, &w->mesh);
    char name[129];
    memset(name, 1, 128); /* six bytes each in JSON */
    name[128] = '\0';
    for (int i = 0; i < N; i++) {
        struct api_node node = {.kind = API_KIND_MEMBER,
                                .state = API_STATE_ALIVE,
                                .name = name,
                                .zone = name,
                                .region = name};
        check_i64(api_nodes_add(n, &node), 0);
    }
    api_source_set_nodes(&w->source, n);
    struct httpd_query q;
    struct httpd_answer a = {0};
    struct wr slice;
    check_i64(httpd_query_decode(&q, "/api/v1/members", 15, NULL), 0);
    api_handle(&w->source, &q.request, &a);
    wr_init_grow(&slice, 65536);
    unsigned slices = 0;
    int rc;
    do {
        wr_reset(&slice);
        rc = a.body(a.state, &slice);
        check_i64(wr_err(&slice), 0);
        slices++;
    } while (rc == 1);
    check_true(slices > 100);
    wr_fini(&slice);
    httpd_answer_fini(&a);
}

/* The list may be replaced while an answer is being sent: the answer goes on
 * with what it began with, all of it. */
static void an_answer_keeps_the_snapshot_it_began_with(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    struct reply want = ask(w, "/api/v1/members");
    struct httpd_query q;
    struct httpd_answer a = {0};
    struct reply r = {0};
    check_i64(httpd_query_decode(&q, "/api/v1/members", 15, NULL), 0);
    api_handle(&w->source, &q.request, &a);
    api_source_set_nodes(&w->source, NULL);
    finish(&a, &r);
    check_text(r.text, want.text);
    reply_fini(&r);
    reply_fini(&want);
}

static void a_matrix_begun_outlives_its_nodes(void **state)
{
    struct world *w = *state;
    crowd(w);
    struct reply want = ask(w, "/api/v1/matrix?level=node");
    world_fini(w); /* else the answer is the one just built */
    world_init(w);
    crowd(w);
    struct httpd_query q;
    struct httpd_answer a = {0};
    struct reply r = {0};
    const char *target = "/api/v1/matrix?level=node";
    check_i64(httpd_query_decode(&q, target, strlen(target), NULL), 0);
    api_handle(&w->source, &q.request, &a);
    w->source.now_ns = slow_now;
    check_i64(a.prepare(a.state, &a), 1);
    api_source_set_nodes(&w->source, NULL);
    finish(&a, &r);
    check_text(r.text, want.text);
    reply_fini(&r);
    reply_fini(&want);
}

static void each_snapshot_has_its_own_etag(void **state)
{
    struct world *w = *state;
    struct reply a = ask(w, "/api/v1/members");
    struct reply b = ask(w, "/api/v1/members");
    world_set_mesh(w);
    struct reply c = ask(w, "/api/v1/members");
    check_true(a.is_cacheable && a.etag[0]);
    check_text(a.etag, b.etag);
    check_text(a.text, b.text);
    check_true(strcmp(a.etag, c.etag) != 0);
    api_source_set_nodes(&w->source, NULL);
    struct reply none = ask(w, "/api/v1/members");
    check_true(!none.is_cacheable && !none.etag[0]);
    reply_fini(&a);
    reply_fini(&b);
    reply_fini(&c);
    reply_fini(&none);
}

static void refresh(void *arg)
{
    struct world *w = arg;
    w->mesh.stats.pings++;
    world_set_nodes(w, world_nodes, 1);
}

static void views_ask_for_fresh_nodes_first(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    w->source.refresh = refresh;
    w->source.refresh_arg = w;
    json_t *j = ask_json(w, "/api/v1/members", 200);
    check_u64(json_array_size(json_object_get(j, "members")), 1);
    json_decref(j);
    j = ask_json(w, "/api/v1/status", 200);
    check_i64(number(object(j, "gossip"), "pings"), 13);
    json_decref(j);
    world_set_mesh(w);
    j = ask_json(w, "/api/v1/matrix?level=node", 200);
    check_u64(json_array_size(json_object_get(j, "from")), 2);
    json_decref(j);
    world_set_mesh(w);
    check_error(w, "/api/v1/cells/c-1/a-1?level=node", 404, "unknown_name");
}

static void snapshots_copy_all_they_are_given(void **state)
{
    (void)state;
    char bytes[] = "name\0zone\0region\0version\0probe\0meta\0label";
    const struct api_mesh mesh = {.is_on = true, .label = &bytes[36]};
    const struct api_node node = {.name = &bytes[0],
                                  .zone = &bytes[5],
                                  .region = &bytes[10],
                                  .version = &bytes[17],
                                  .probe = &bytes[25],
                                  .meta = {(uint8_t *)&bytes[31], 4},
                                  .is_in_matrix = true,
                                  .is_draining = true};
    struct api_nodes *n = api_nodes_open(1, 2, &mesh);
    check_i64(api_nodes_add(n, &node), 0);
    memset(bytes, 'x', sizeof(bytes));
    check_true(api_nodes_hold(n) == n);
    api_nodes_release(n);
    const struct api_node *got = api_nodes_get(n, 0);
    check_text(got->name, "name");
    check_text(got->zone, "zone");
    check_text(got->region, "region");
    check_text(got->version, "version");
    check_text(got->probe, "probe");
    check_true(span_is(got->meta, "meta"));
    check_text(api_nodes_mesh(n)->label, "label");
    check_u64(api_nodes_made_ns(n), 1);
    check_u64(api_nodes_made_unix_ns(n), 2);
    size_t count;
    const struct matrix_node *m = api_nodes_matrix(n, &count);
    check_u64(count, 1);
    check_text(m->name, "name");
    check_true(m->is_draining && !m->is_source);
    api_nodes_release(n);
    api_nodes_release(NULL);
    check_true(api_nodes_hold(NULL) == NULL);
}

/* An agent of Serf's measures nothing and is not measured. */
static void the_matrix_has_only_what_belongs_there(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    size_t count;
    (void)api_nodes_matrix(w->source.nodes, &count);
    check_u64(count, 5);
    json_t *j = ask_json(w, "/api/v1/matrix?level=node", 200);
    check_u64(json_array_size(json_object_get(j, "to")), 5);
    check_u64(json_array_size(json_object_get(j, "from")), 4);
    json_decref(j);
}

static void a_snapshot_has_a_limit(void **state)
{
    (void)state;
    struct api_nodes *n = api_nodes_open(0, 0, NULL);
    const struct api_node node = {.name = "n"};
    for (int i = 0; i < API_NODES_MAX; i++)
        check_i64(api_nodes_add(n, &node), 0);
    check_i64(api_nodes_add(n, &node), ERR_TOOBIG);
    check_u64(api_nodes_count(n), API_NODES_MAX);
    api_nodes_release(n);
}

/* ---- gossip ---- */

static json_t *ask_gossip(struct world *w, json_t **whole)
{
    *whole = ask_json(w, "/api/v1/status", 200);
    return json_object_get(*whole, "gossip");
}

static void gossip_is_null_where_there_is_no_mesh(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        json_t *j = ask_json(w, "/api/v1/status", 200);
        check_true(is_null(j, "gossip"));
        json_decref(j);
        w->source.mesh = &w->mesh; /* there, but off */
    }
}

/* Every number in its own place: each is given another value. */
static void gossip_counts_each_thing_once(void **state)
{
    struct world *w = *state;
    json_t *j;
    world_set_mesh(w);
    w->mesh.left = 5;
    w->mesh.stats = (struct mesh_stats){.packets_in = 1,
                                        .packets_out = 2,
                                        .bytes_in = 3,
                                        .bytes_out = 4,
                                        .streams_in = 5,
                                        .streams_out = 6,
                                        .streams_refused = 7,
                                        .stream_bytes_in = 8,
                                        .stream_bytes_out = 9,
                                        .drops = {[ML_DROP_SEAL] = 10},
                                        .pings = 11,
                                        .ping_failures = 12,
                                        .suspicions = 13,
                                        .refutations = 14,
                                        .push_pulls = 15,
                                        .push_pull_failures = 16,
                                        .relays_refused = 17,
                                        .strangers = 18,
                                        .stalls = 19,
                                        .conflicts = 20,
                                        .effects_dropped = 21,
                                        .user_in = 22,
                                        .user_out = 23,
                                        .sealed = 24,
                                        .health = 6,
                                        .queue_items = 26,
                                        .queue_bytes = 27,
                                        .unproven_bytes = 28,
                                        .streams = 29,
                                        .incarnation = 30};
    json_t *g = ask_gossip(w, &j);
    static const struct {
        const char *object, *key;
        int64_t want;
    } cases[] = {
        {"packets", "in", 1},
        {"packets", "out", 2},
        {"packets", "bytes_in", 3},
        {"packets", "bytes_out", 4},
        {"streams", "in", 5},
        {"streams", "out", 6},
        {"streams", "refused", 7},
        {"streams", "bytes_in", 8},
        {"streams", "bytes_out", 9},
        {"drops", "seal", 10},
        {NULL, "pings", 11},
        {NULL, "ping_failures", 12},
        {NULL, "suspicions", 13},
        {NULL, "refutations", 14},
        {NULL, "push_pulls", 15},
        {NULL, "push_pull_failures", 16},
        {NULL, "relays_refused", 17},
        {NULL, "strangers", 18},
        {NULL, "stalls", 19},
        {NULL, "conflicts", 20},
        {"queue", "effects_dropped", 21},
        {NULL, "user_in", 22},
        {NULL, "user_out", 23},
        {NULL, "sealed", 24},
        {NULL, "health", 6},
        {"queue", "items", 26},
        {"queue", "bytes", 27},
        {"streams", "unproven_bytes", 28},
        {"streams", "open", 29},
        {NULL, "incarnation", 30},
        {NULL, "keys", 2},
        {"members", "alive", 2},
        {"members", "suspect", 1},
        {"members", "left", 5},
        {"members", "failed", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *o = cases[i].object ? object(g, cases[i].object) : g;
        check_i64(number(o, cases[i].key), cases[i].want);
    }
    /* What never happened is not listed. */
    check_u64(json_object_size(object(g, "drops")), 1);
    json_decref(j);
}

static void check_warnings(struct world *w, size_t n, const char *words,
                           bool accepts_plaintext, bool should_rotate)
{
    json_t *j;
    json_t *g = ask_gossip(w, &j);
    json_t *warnings = json_object_get(g, "warnings");
    check_u64(json_array_size(warnings), n);
    if (n > 0) {
        const char *last = json_string_value(json_array_get(warnings, n - 1));
        check_true(strstr(last, words) != NULL);
    }
    check_true(is_true(g, "accepts_plaintext") == accepts_plaintext);
    check_true(is_true(g, "should_rotate") == should_rotate);
    json_decref(j);
}

static void gossip_warns_of_what_should_be_changed(void **state)
{
    struct world *w = *state;
    world_set_mesh(w);
    check_warnings(w, 0, "", false, false);
    w->mesh.accepts_clear = true;
    check_warnings(w, 1, "accept_plaintext is on", true, false);
    w->mesh.accepts_clear = false;
    w->mesh.n_keys = 0;
    check_warnings(w, 1, "not encrypted", true, false);
    w->mesh.n_keys = 1;
    w->mesh.stats.sealed = (UINT64_C(1) << 30) - 1;
    check_warnings(w, 0, "", false, false);
    w->mesh.stats.sealed++;
    check_warnings(w, 1, "rotate", false, true);
    w->mesh.accepts_clear = true;
    check_warnings(w, 2, "rotate", true, true);
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
        T(a_matrix_is_built_in_turns),
        T(who_asks_the_same_meanwhile_joins_the_build),
        T(a_build_that_was_given_up_is_taken_on_for_a_second),
        T(a_large_matrix_is_freed_in_turns),
        T(a_cell_is_collected_in_turns),
        T(frames_may_expire_between_turns),
        T(cell_shows_each_protocol_and_mode),
        T(cell_takes_neither_other_rows_nor_other_columns),
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
        T(members_say_what_the_mesh_says),
        T(a_member_has_what_is_known_and_null_for_the_rest),
        T(tags_of_strangers_stay_text),
        T(meta_that_is_no_tags_is_null),
        T(a_mesh_that_is_off_is_said_to_be),
        T(leaving_goes_before_alone),
        T(members_come_in_bounded_slices),
        T(an_answer_keeps_the_snapshot_it_began_with),
        T(a_matrix_begun_outlives_its_nodes),
        T(each_snapshot_has_its_own_etag),
        T(views_ask_for_fresh_nodes_first),
        T(snapshots_copy_all_they_are_given),
        T(the_matrix_has_only_what_belongs_there),
        T(a_snapshot_has_a_limit),
        T(gossip_is_null_where_there_is_no_mesh),
        T(gossip_counts_each_thing_once),
        T(gossip_warns_of_what_should_be_changed),
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
        H(a_matrix_begun_outlives_its_nodes),
        H(hostile_names_stay_text),
        H(an_answer_says_what_time_it_covers),
        H(the_past_is_answered_as_of_then),
        H(a_cell_links_its_reverse),
        H(status_says_how_far_back_it_reaches),
        H(what_is_not_understood_is_refused),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
