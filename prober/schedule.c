#include "prober/schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

int schedule_init(struct schedule *s, size_t size)
{
    assert(size < UINT32_MAX);
    *s = (struct schedule){.size = size};
    s->entries = calloc(size ? size : 1, sizeof(*s->entries));
    if (!s->entries)
        return ERR_NOMEM;
    if (heap_init(&s->heap, size)) {
        schedule_fini(s);
        return ERR_NOMEM;
    }
    return 0;
}

void schedule_fini(struct schedule *s)
{
    heap_fini(&s->heap);
    free(s->entries);
    *s = (struct schedule){0};
}

static uint64_t spread(const char *self, const char *name,
                       const struct schedule_entry *e)
{
    uint64_t h = hash_bytes(e->protocol * 2u + e->mode, self, strlen(self));
    h = hash_bytes(h, name, strlen(name));

    uint64_t grid_ns = SCHEDULE_GRID_NS;
    while (grid_ns > e->interval_ns / 20)
        grid_ns /= 2;
    if (grid_ns == 0)
        grid_ns = 1;
    uint64_t offset_ns = h % e->interval_ns;
    return offset_ns - offset_ns % grid_ns;
}

/* The first slot of `e` later than `t_ns`. */
static uint64_t slot_after(const struct schedule_entry *e, uint64_t t_ns)
{
    if (t_ns < e->offset_ns)
        return e->offset_ns;
    uint64_t k = (t_ns - e->offset_ns) / e->interval_ns + 1;
    return e->offset_ns + k * e->interval_ns;
}

/* One that was used before, else the lowest of the rest: memory that was never
 * needed stays untouched. */
static struct schedule_entry *take_entry(struct schedule *s)
{
    if (s->free_entries) {
        struct schedule_entry *e = &s->entries[s->free_entries - 1];
        s->free_entries = e->next_free;
        return e;
    }
    return s->n < s->size ? &s->entries[s->n++] : NULL;
}

int schedule_add(struct schedule *s, const char *self, const char *name,
                 const struct schedule_entry *e, uint64_t now_ns)
{
    assert(e->interval_ns > 0 && e->in_flight_max > 0);
    struct schedule_entry *mine = take_entry(s);
    if (!mine)
        return ERR_BUSY;
    *mine = *e;
    mine->due = (struct heap_node){0};
    mine->in_flight = 0;
    mine->is_removed = false;
    mine->next_free = 0;
    mine->offset_ns = spread(self, name, e);
    heap_set(&s->heap, &mine->due, slot_after(mine, now_ns));
    return (int)schedule_index(s, mine);
}

static void give_back(struct schedule *s, struct schedule_entry *e)
{
    e->next_free = s->free_entries;
    s->free_entries = (uint32_t)schedule_index(s, e) + 1;
}

void schedule_remove(struct schedule *s, size_t index)
{
    assert(index < s->n && !s->entries[index].is_removed);
    struct schedule_entry *e = &s->entries[index];
    heap_remove(&s->heap, &e->due);
    e->is_removed = true;
    if (e->in_flight == 0)
        give_back(s, e);
}

void schedule_retime(struct schedule *s, size_t index, const char *self,
                     const char *name, uint64_t interval_ns,
                     uint16_t in_flight_max, uint64_t now_ns)
{
    assert(index < s->n && !s->entries[index].is_removed);
    assert(interval_ns > 0 && in_flight_max > 0);
    struct schedule_entry *e = &s->entries[index];
    e->in_flight_max = in_flight_max;
    if (e->interval_ns == interval_ns)
        return; /* its slots are where they were */
    e->interval_ns = interval_ns;
    e->offset_ns = spread(self, name, e);
    heap_set(&s->heap, &e->due, slot_after(e, now_ns));
}

uint64_t schedule_next(const struct schedule *s)
{
    struct heap_node *first = heap_first(&s->heap);
    return first ? first->deadline_ns : UINT64_MAX;
}

struct schedule_entry *schedule_take(struct schedule *s, uint64_t now_ns,
                                     uint64_t *intended_ns)
{
    struct heap_node *first;
    while ((first = heap_first(&s->heap)) && first->deadline_ns <= now_ns) {
        struct schedule_entry *e = (struct schedule_entry *)(void *)first;
        uint64_t slot_ns = first->deadline_ns;
        uint64_t next_ns = slot_after(e, now_ns);
        uint64_t slots = (next_ns - slot_ns) / e->interval_ns;

        /* Late by whole intervals: only the latest slot is served. */
        s->missed += slots - 1;
        heap_set(&s->heap, &e->due, next_ns);
        if (e->in_flight >= e->in_flight_max) {
            s->missed++;
            continue;
        }
        e->in_flight++;
        *intended_ns = next_ns - e->interval_ns;
        return e;
    }
    return NULL;
}

void schedule_done(struct schedule *s, size_t index, bool was_missed)
{
    assert(index < s->n && s->entries[index].in_flight > 0);
    struct schedule_entry *e = &s->entries[index];
    e->in_flight--;
    if (was_missed)
        s->missed++;
    if (e->is_removed && e->in_flight == 0)
        give_back(s, e);
}
