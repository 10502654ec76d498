/* prober/schedule.h - who is probed when, on a fixed cadence.
 *
 * Slot k of an entry is at k * interval + offset on the monotonic clock. The
 * offset is hash(self, target, protocol, mode) mod interval, so that nodes do
 * not beat in step, rounded down to a grid, so that several entries are due
 * at one wake-up (which is what makes a low rate cheap, and safe because
 * phases are the kernel's). Slots count from the intended start, never from
 * completion: a slow target is sampled no less. A slot that cannot be served
 * (the loop was late by more than an interval, too many in flight) is counted
 * as missed and skipped; there is never a burst to catch up.
 *
 * Pure; one thread.
 */
#ifndef PROBER_SCHEDULE_H
#define PROBER_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/heap.h"

#define SCHEDULE_GRID_NS 50000000u /* 50 ms; finer for short intervals */

struct schedule_entry {
    struct heap_node due; /* first: a node is its entry */
    uint64_t interval_ns, offset_ns;
    uint32_t target; /* index, the caller's */
    uint8_t protocol, mode;
    uint16_t in_flight, in_flight_max;

    /* The schedule's own. */
    bool is_removed;    /* waiting for its attempts to end */
    uint32_t next_free; /* index, one more; 0: none */
};

struct schedule {
    struct heap heap;
    size_t n, size; /* n: entries ever used, the first ones */
    struct schedule_entry *entries;
    uint32_t free_entries; /* index of the first one, one more; 0: none */
    uint64_t missed;       /* slots, since the beginning */
};

/* Room for `size` entries, below UINT32_MAX; memory is touched only as they are
 * used. 0 or ERR_NOMEM. */
int schedule_init(struct schedule *s, size_t size);
void schedule_fini(struct schedule *s);

/* Add an entry; its first slot is the first one after `now_ns`. `self` and
 * `name` seed the offset. Returns its index or ERR_BUSY when full. */
int schedule_add(struct schedule *s, const char *self, const char *name,
                 const struct schedule_entry *e, uint64_t now_ns);

/* No more slots for entry `index`. Attempts of it that are in flight still end
 * with schedule_done(); only then is the index given out again. It may be read
 * until the next schedule_add(). */
void schedule_remove(struct schedule *s, size_t index);

/* Another interval for entry `index`, which is in force: its next slot is the
 * first one of the new cadence after `now_ns`. Attempts in flight go on. */
void schedule_retime(struct schedule *s, size_t index, const char *self,
                     const char *name, uint64_t interval_ns,
                     uint16_t in_flight_max, uint64_t now_ns);

/* When the next slot is due; UINT64_MAX if there are no entries. */
uint64_t schedule_next(const struct schedule *s);

/* Take one entry that is due at `now_ns`, with the slot it is for. The entry
 * moves on to its next slot, in_flight is counted up. NULL: none is due.
 * Entries with in_flight_max attempts running are skipped and counted. */
struct schedule_entry *schedule_take(struct schedule *s, uint64_t now_ns,
                                     uint64_t *intended_ns);

/* An attempt of entry `index` ended (or could not be started: then
 * `was_missed`). */
void schedule_done(struct schedule *s, size_t index, bool was_missed);

static inline size_t schedule_index(const struct schedule *s,
                                    const struct schedule_entry *e)
{
    return (size_t)(e - s->entries);
}

#endif /* PROBER_SCHEDULE_H */
