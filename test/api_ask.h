/* test/api_ask.h - ask the API's handler, and read what comes back.
 *
 * For tests of the views: a request of the made-up control plane of
 * api_world.h, its answer as text or, with jansson, as JSON.
 */
#ifndef TEST_API_ASK_H
#define TEST_API_ASK_H

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

static inline void reply_fini(struct reply *r)
{
    free(r->text);
}

static inline void finish(struct httpd_answer *a, struct reply *r)
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

static inline struct reply ask(struct world *w, const char *target)
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

static inline json_t *ask_json(struct world *w, const char *target,
                               unsigned status)
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

static inline void check_error(struct world *w, const char *target,
                               unsigned status, const char *code)
{
    json_t *j = ask_json(w, target, status);
    json_t *error = json_object_get(j, "error");
    check_text(json_string_value(json_object_get(error, "code")), code);
    check_true(json_string_length(json_object_get(error, "message")) > 0);
    json_decref(j);
}

static inline int64_t number(json_t *j, const char *key)
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
static inline json_t *find(json_t *list, const char *key, const char *value,
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

static inline int setup(void **state)
{
    struct world *w = malloc(sizeof(*w));
    if (!w)
        return -1;
    world_init(w);
    *state = w;
    return 0;
}

static inline int setup_history(void **state)
{
    int rc = setup(state);
    if (!rc)
        world_set_history(*state);
    return rc;
}

static inline int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

/* What the clocks below show. */
static uint64_t moving_ns;

/* A clock in whose eyes everything takes a millisecond, so that a turn is
 * over as soon as it is looked at. */
static inline uint64_t slow_now(void)
{
    return moving_ns += 1000000;
}

/* 300 more origins, "a-100" to "a-399", which fill some turns. */
static inline void crowd(struct world *w)
{
    for (unsigned i = 100; i < 400; i++) {
        char origin[16];
        snprintf(origin, sizeof(origin), "a-%u", i);
        world_frame(w->frames, origin, WORLD_WINDOW - 1, true, OUTCOME_EOF);
    }
    moving_ns = world_now();
    w->source.now_ns = slow_now;
}

#endif /* TEST_API_ASK_H */
