/* /api/v1/samples: this node's recent samples, one JSON object a line.
 *
 * Not a snapshot: the ring is read while the answer is being sent, by running
 * number, and what was overwritten in the meantime is left out. A copy for
 * each slow reader would be megabytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "prober/api_views.h"

struct samples_view {
    const struct api_source *source;
    uint64_t next, end; /* running numbers */
    int outcome;
    char *target; /* NULL: any */
};

/* NULL if it was overwritten. */
static const struct sample *sample_at(const struct api_source *s,
                                      uint64_t number)
{
    uint64_t back = s->samples_total - number; /* 1: the newest */
    if (back == 0 || back > s->samples_count || back > s->samples_size)
        return NULL;
    return &s->samples[(s->samples_head + s->samples_size - (size_t)back) %
                       s->samples_size];
}

static bool is_same(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static bool matches(const struct samples_view *v, const struct sample *sample,
                    const struct sample_names *names)
{
    if (v->outcome >= 0 && sample->outcome != v->outcome)
        return false;
    return !v->target || is_same(names->target, v->target) ||
           is_same(names->to_node, v->target) ||
           is_same(names->to_zone, v->target);
}

static void find_names(const struct api_source *s, const struct sample *sample,
                       struct sample_names *names)
{
    *names = (struct sample_names){0};
    if (s->names)
        s->names(s->names_arg, sample, names);
}

static int samples_body(void *state, struct wr *w)
{
    struct samples_view *v = state;
    for (; v->next < v->end; v->next++) {
        if (httpd_slice_is_full(w))
            return 1;
        const struct sample *sample = sample_at(v->source, v->next);
        struct sample_names names;
        if (!sample)
            continue;
        find_names(v->source, sample, &names);
        if (!matches(v, sample, &names))
            continue;
        struct json j;
        json_init(&j, w);
        sample_write_json(sample, &names, &j);
        wr_u8(w, '\n');
    }
    return wr_err(w);
}

static void samples_done(void *state)
{
    struct samples_view *v = state;
    free(v->target);
    free(v);
}

/* Go back from the newest until `limit` samples match. */
static void find_start(struct samples_view *v, size_t limit)
{
    const struct api_source *s = v->source;
    v->end = v->next = s->samples_total;
    while (limit > 0 && v->next > 0) {
        const struct sample *sample = sample_at(s, v->next - 1);
        struct sample_names names;
        if (!sample)
            break;
        v->next--;
        find_names(s, sample, &names);
        limit -= matches(v, sample, &names);
    }
}

void api_samples(const struct api_source *s, const struct httpd_request *r,
                 struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(s, r, API_LIMIT | API_TARGET | API_OUTCOME, &p, answer))
        return;
    struct samples_view *v = calloc(1, sizeof(*v));
    if (!v || (p.target && !(v->target = strdup(p.target)))) {
        free(v);
        api_no_memory(answer);
        return;
    }
    v->source = s;
    v->outcome = p.outcome;
    find_start(v, p.limit);
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "application/x-ndjson",
        .body = samples_body,
        .done = samples_done,
        .state = v,
    };
}
