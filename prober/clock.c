#include "prober/clock.h"

#include <time.h>

/* A step smaller than this is not told apart from the reading's own error. */
#define STEP_MIN_NS 100000

/* A pair of readings is good if nothing got in between them. */
#define PAIR_WIDTH_MAX_NS 2000
#define PAIR_TRIES        8

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_now_unix_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t clock_thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* Read both clocks back to back. We may be preempted between the readings for
 * many milliseconds, so the narrowest of a few tries counts. Returns its
 * width. */
static uint64_t read_pair(uint64_t *now_ns, int64_t *offset_ns)
{
    uint64_t best = UINT64_MAX;
    *now_ns = 0;
    *offset_ns = 0;
    for (int i = 0; i < PAIR_TRIES && best > PAIR_WIDTH_MAX_NS; i++) {
        uint64_t before = clock_now_ns();
        uint64_t real = clock_now_unix_ns();
        uint64_t after = clock_now_ns();
        uint64_t width = after - before;
        *now_ns = after;
        if (width < best) {
            best = width;
            *offset_ns = (int64_t)(real - before - width / 2);
        }
    }
    return best;
}

void clock_map_init(struct clock_map *m)
{
    uint64_t now_ns;
    read_pair(&now_ns, &m->offset_ns);
    m->epoch = 1;
}

uint64_t clock_map_update(struct clock_map *m)
{
    uint64_t now_ns;
    int64_t offset_ns;
    uint64_t width = read_pair(&now_ns, &offset_ns);
    int64_t moved = offset_ns - m->offset_ns;
    int64_t allowed = STEP_MIN_NS + (int64_t)width;
    if (moved > allowed || moved < -allowed) {
        m->offset_ns = offset_ns;
        m->epoch++;
    }
    return now_ns;
}

struct stamp clock_map_stamp(const struct clock_map *m, uint64_t real_ns,
                             uint64_t now_ns)
{
    uint64_t ns = real_ns - (uint64_t)m->offset_ns;
    /* now_ns is read before the socket is, so what arrives in between is
     * rightly a little later; only a stamp far ahead is nonsense. */
    if (real_ns == 0 || (int64_t)(ns - now_ns) > 1000000000)
        return (struct stamp){0};
    return (struct stamp){.ns = ns, .source = STAMP_KERNEL};
}
