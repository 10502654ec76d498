#include "mesh/origins.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define SAMPLE_NS UINT64_C(5000000000)
#define QUORUM    3 /* origins, before their middle is the common time */

int origins_init(struct origins *o, size_t max, uint64_t keep_ns)
{
    *o = (struct origins){.max = max, .keep_ns = keep_ns};
    o->scratch = calloc(max ? max : 1, sizeof(*o->scratch));
    return o->scratch ? 0 : ERR_NOMEM;
}

void origins_count_member(struct origins *o, struct origin *it)
{
    o->stranger_bytes -= it->stranger_bytes;
    o->n_strangers -= it->stranger_bytes > 0;
    it->stranger_bytes = 0;
}

static void forget(struct origins *o, struct origin *it)
{
    origins_count_member(o, it);
    free(it->name);
    free(it);
}

void origins_fini(struct origins *o)
{
    for (size_t i = 0; i < o->n; i++)
        forget(o, o->list[i]);
    free(o->list);
    free(o->scratch);
    *o = (struct origins){0};
}

static size_t place_of(const struct origins *o, const char *name)
{
    size_t first = 0, end = o->n;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (strcmp(o->list[middle]->name, name) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

struct origin *origins_find(const struct origins *o, const char *name)
{
    size_t at = place_of(o, name);
    return at < o->n && !strcmp(o->list[at]->name, name) ? o->list[at] : NULL;
}

static int grow(struct origins *o)
{
    if (o->n < o->size)
        return 0;
    size_t larger = o->size ? o->size * 2 : 16;
    struct origin **grown = reallocarray(o->list, larger, sizeof(*grown));
    if (!grown)
        return ERR_NOMEM;
    o->list = grown;
    o->size = larger;
    return 0;
}

static int insert(struct origins *o, const char *name, struct origin **out)
{
    if (o->n >= o->max)
        return ERR_BUSY;
    struct origin *it = calloc(1, sizeof(*it));
    char *copy = strdup(name);
    if (!it || !copy || grow(o)) {
        free(it);
        free(copy);
        return ERR_NOMEM;
    }
    it->name = copy;
    size_t at = place_of(o, name);
    memmove(&o->list[at + 1], &o->list[at], (o->n - at) * sizeof(o->list[0]));
    o->list[at] = *out = it;
    o->n++;
    return 0;
}

static int64_t best_of(const struct origin *it)
{
    int64_t best_ms = it->samples_ms[0];
    for (unsigned i = 1; i < it->n_samples; i++) {
        if (llabs(it->samples_ms[i]) < llabs(best_ms))
            best_ms = it->samples_ms[i];
    }
    return best_ms;
}

int origins_heard(struct origins *o, uint64_t now_ns, const char *name,
                  uint64_t window, int64_t closed_unix_ms)
{
    struct origin *it = origins_find(o, name);
    int err = it ? 0 : insert(o, name, &it);
    if (err)
        return err;
    /* Windows are numbers of others: no sum of them may overflow. */
    int64_t due_ms = INT64_MAX / 4;
    if (window < (uint64_t)due_ms / ORIGINS_SKEWED_MS)
        due_ms = (int64_t)(window + 1) * ORIGINS_SKEWED_MS + ORIGINS_CLOSE_MS;
    int64_t sample_ms = due_ms - closed_unix_ms;
    it->heard_ns = now_ns;
    /* Anybody can make up frames: what makes a clock look worse counts only as
     * often as true frames come, so that these keep their places. */
    if (it->n_samples && llabs(sample_ms) >= llabs(it->raw_ms) &&
        now_ns - it->sampled_ns < SAMPLE_NS)
        return 0;
    it->sampled_ns = now_ns;
    it->samples_ms[it->next_sample] = sample_ms;
    it->next_sample = (it->next_sample + 1) % ORIGINS_SAMPLES;
    if (it->n_samples < ORIGINS_SAMPLES)
        it->n_samples++;
    it->raw_ms = best_of(it);
    it->heard_ns = now_ns;
    return 0;
}

void origins_shift(struct origins *o, int64_t step_ms)
{
    for (size_t i = 0; i < o->n; i++) {
        struct origin *it = o->list[i];
        for (unsigned k = 0; k < it->n_samples; k++)
            it->samples_ms[k] -= step_ms;
        it->raw_ms -= step_ms;
    }
    o->common_ms = 0;
}

void origins_count_stranger(struct origins *o, struct origin *it, size_t bytes)
{
    o->n_strangers += it->stranger_bytes == 0 && bytes > 0;
    o->stranger_bytes += bytes;
    it->stranger_bytes += bytes;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Strangers have no say in what time it is: anybody can make up more. */
static int64_t middle_of(const struct origins *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (!o->list[i]->stranger_bytes)
            o->scratch[n++] = o->list[i]->raw_ms;
    }
    if (n < QUORUM)
        return 0;
    qsort(o->scratch, n, sizeof(o->scratch[0]), by_value);
    return o->scratch[n / 2];
}

void origins_settle(struct origins *o, uint64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (now_ns - o->list[i]->heard_ns > o->keep_ns)
            forget(o, o->list[i]);
        else
            o->list[kept++] = o->list[i];
    }
    o->n = kept;
    o->common_ms = middle_of(o);
    for (size_t i = 0; i < o->n; i++) {
        struct origin *it = o->list[i];
        it->offset_ms = it->raw_ms - o->common_ms;
        it->is_skewed = llabs(it->offset_ms) > ORIGINS_SKEWED_MS;
    }
}

void origins_check(const struct origins *o)
{
    size_t bytes = 0, strangers = 0;
    assert(o->n <= o->max && o->n <= o->size);
    for (size_t i = 0; i < o->n; i++) {
        const struct origin *it = o->list[i];
        assert(i == 0 || strcmp(o->list[i - 1]->name, it->name) < 0);
        assert(it->n_samples > 0 && it->n_samples <= ORIGINS_SAMPLES);
        bytes += it->stranger_bytes;
        strangers += it->stranger_bytes > 0;
    }
    assert(bytes == o->stranger_bytes);
    assert(strangers == o->n_strangers);
}
