#include "mesh/wants.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

int wants_init(struct wants *w, size_t max, uint64_t hold_ns)
{
    *w = (struct wants){.max = max, .hold_ns = hold_ns};
    w->list = calloc(max ? max : 1, sizeof(*w->list));
    return w->list ? 0 : ERR_NOMEM;
}

void wants_fini(struct wants *w)
{
    free(w->list);
    *w = (struct wants){0};
}

/* The first place whose id is not below. */
static size_t place_of(const struct wants *w, uint64_t id)
{
    size_t first = 0, end = w->n;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (w->list[middle].id < id)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static void remove_at(struct wants *w, size_t at)
{
    w->n_refused -= w->list[at].is_refused;
    w->n--;
    memmove(&w->list[at], &w->list[at + 1], (w->n - at) * sizeof(w->list[0]));
}

static void make_room(struct wants *w)
{
    size_t oldest = 0;
    for (size_t i = 1; i < w->n; i++) {
        if (w->list[i].seen_ns < w->list[oldest].seen_ns)
            oldest = i;
    }
    remove_at(w, oldest);
}

struct want *wants_note(struct wants *w, uint64_t now_ns, uint64_t id,
                        uint64_t window, uint32_t bytes)
{
    size_t at = place_of(w, id);
    if (at == w->n || w->list[at].id != id) {
        if (w->n == w->max) {
            make_room(w);
            at = place_of(w, id);
        }
        memmove(&w->list[at + 1], &w->list[at],
                (w->n - at) * sizeof(w->list[0]));
        w->list[at] = (struct want){
            .id = id, .window = window, .bytes = bytes, .from = UINT32_MAX};
        w->n++;
    }
    w->list[at].seen_ns = now_ns;
    return &w->list[at];
}

void wants_remove(struct wants *w, uint64_t id)
{
    size_t at = place_of(w, id);
    if (at < w->n && w->list[at].id == id)
        remove_at(w, at);
}

void wants_refuse(struct wants *w, uint64_t now_ns, uint64_t id,
                  uint64_t window)
{
    struct want *it = wants_note(w, now_ns, id, window, 0);
    w->n_refused += !it->is_refused;
    it->is_refused = true;
}

void wants_expire(struct wants *w, uint64_t now_ns, uint64_t floor)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct want *it = &w->list[i];
        bool is_current = it->is_refused || it->until_ns > now_ns ||
                          now_ns - it->seen_ns < w->hold_ns;
        if (it->window >= floor && is_current)
            w->list[kept++] = *it;
        else
            w->n_refused -= it->is_refused;
    }
    w->n = kept;
}

const struct want *wants_find(const struct wants *w, uint64_t id)
{
    size_t at = place_of(w, id);
    return at < w->n && w->list[at].id == id ? &w->list[at] : NULL;
}

size_t wants_under_way(const struct wants *w, uint64_t now_ns, uint32_t from)
{
    size_t bytes = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct want *it = &w->list[i];
        if (it->until_ns > now_ns && !it->is_refused &&
            (from == UINT32_MAX || it->from == from))
            bytes += it->bytes;
    }
    return bytes;
}

size_t wants_missing(const struct wants *w)
{
    return w->n - w->n_refused;
}

bool wants_is_idle(const struct wants *w, uint64_t now_ns)
{
    for (size_t i = 0; i < w->n; i++) {
        if (!w->list[i].is_refused && w->list[i].until_ns <= now_ns)
            return true;
    }
    return false;
}

void wants_check(const struct wants *w)
{
    size_t n_refused = 0;
    assert(w->n <= w->max);
    for (size_t i = 0; i < w->n; i++) {
        n_refused += w->list[i].is_refused;
        assert(i == 0 || w->list[i - 1].id < w->list[i].id);
    }
    assert(n_refused == w->n_refused);
}
