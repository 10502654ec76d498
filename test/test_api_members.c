/* What the API says of members and of the gossip between them. */
#include "test/api_ask.h"

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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* The same where zones are answered for by a history. */
#define H(name)                                                \
    {                                                          \
        "history: " #name, name, setup_history, teardown, NULL \
    }
    const struct CMUnitTest tests[] = {
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
        H(a_matrix_begun_outlives_its_nodes),
    };
    return cmocka_run_group_tests_name("api_members", tests, NULL, NULL);
}
