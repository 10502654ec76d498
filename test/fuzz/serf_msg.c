/* What decodes is written again and decodes to the same; a state that decodes
 * can be gone through to its end. */
#include "proto/serf_msg.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX 1000000

static void check_tags(struct span meta)
{
    struct serf_tag tags[SERF_TAGS_MAX];
    struct serf_tag again[SERF_TAGS_MAX];
    struct wr w;
    size_t n;
    size_t n_again;
    if (serf_tags_read(meta, tags, SERF_TAGS_MAX, &n))
        return;
    wr_init_grow(&w, BYTES_MAX);
    serf_tags_write(&w, tags, n);
    assert(!wr_err(&w));
    int err =
        serf_tags_read(span_of(w.data, w.len), again, SERF_TAGS_MAX, &n_again);
    assert(!err && n == n_again);
    for (size_t i = 0; i < n; i++) {
        assert(span_equal(tags[i].key, again[i].key));
        assert(span_equal(tags[i].value, again[i].value));
    }
    wr_fini(&w);
}

static void check_intent(struct span payload)
{
    struct serf_intent i;
    struct serf_intent again;
    struct wr w;
    if (serf_intent_read(payload, &i))
        return;
    wr_init_grow(&w, BYTES_MAX);
    serf_intent_write(&w, &i);
    int err = serf_intent_read(span_of(w.data, w.len), &again);
    assert(!err && i.ltime == again.ltime && i.is_leave == again.is_leave &&
           i.is_prune == again.is_prune && span_equal(i.node, again.node));
    wr_fini(&w);
}

static void check_state(struct span state)
{
    struct serf_state s;
    struct span name;
    uint64_t ltime;
    if (serf_state_read(state, &s))
        return;
    for (size_t i = 0; i < s.n_status; i++) {
        int err = serf_status_read(&s.status, &name, &ltime);
        assert(!err);
    }
    for (size_t i = 0; i < s.n_left; i++) {
        int err = serf_left_read(&s.left, &name);
        assert(!err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of(data, size);
    struct serf_event e;
    check_tags(bytes);
    check_intent(bytes);
    check_state(bytes);
    if (!serf_event_read(bytes, &e))
        assert(e.type == SERF_USER_EVENT || e.type == SERF_QUERY);
    return 0;
}
