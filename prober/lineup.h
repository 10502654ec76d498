/* prober/lineup.h - the targets in force, each in a slot of its own.
 *
 * The control plane's book of what the measuring plane is probing. A complete
 * list of what is wanted comes in; what is different from before comes out as
 * a plan: slots to be filled and slots to be emptied. What stays the same
 * keeps its slot, and so its cadence and its held connections.
 *
 *     lineup_plan() ... the plan is handed over ... lineup_apply()
 *     ... nothing is in flight there any more ...   lineup_retire()
 *
 * A slot that is to be emptied is given out again only once it was retired,
 * and with another generation. So (slot, generation) names one target for
 * ever: a sample that carries the two is never taken for another's, however
 * fast lists follow each other. Records outlive their slot for as long as
 * somebody keeps them.
 *
 * Pure. One thread, the control plane's.
 */
#ifndef PROBER_LINEUP_H
#define PROBER_LINEUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/window.h"
#include "proto/frame.h"

#define LINEUP_TARGETS_MAX FRAME_TARGETS_MAX
/* As many again may be waiting for their last attempts to end. */
#define LINEUP_SLOTS_MAX (2 * LINEUP_TARGETS_MAX)

/* What is wanted. Two wants are the same target if `name` and `how` are equal;
 * zone and region may change while it is being probed. */
struct lineup_want {
    const char *name, *zone, *region; /* zone and region may be NULL */
    const char *text;                 /* URL, as shown */
    const char *how; /* all that changes how it is probed, as text */
};

/* Who a slot is or was. Read only; valid while in force or kept. */
struct lineup_target {
    uint32_t slot, generation;
    char *name, *zone, *region, *text, *how;

    /* The lineup's own. */
    struct lineup_target *older; /* of this slot, still kept by somebody */
    unsigned kept;
    bool is_current; /* in force or being emptied */
    bool is_leaving; /* being emptied */
    bool is_wanted;  /* while a plan is made */
};

struct lineup_addition {
    uint32_t want; /* index in the list */
    struct lineup_target *target;
};

struct lineup_rename {
    struct lineup_target *target;
    char *zone, *region;
};

struct lineup_plan {
    uint32_t generation;
    size_t n_added, n_removed, n_renamed;
    struct lineup_addition *added; /* target NULL: left out by the caller */
    uint32_t *removed;             /* slots */
    struct lineup_rename *renamed;
};

struct lineup; /* opaque */

struct lineup *lineup_open(void); /* NULL: no memory */
void lineup_close(struct lineup *l);

/* What has to change for `wants` to be in force. Nothing has changed yet; the
 * plan is to be applied or dropped before the next one is made. A want that
 * is there twice counts once. Returns 0, ERR_TOOBIG above LINEUP_TARGETS_MAX,
 * ERR_BUSY if too many slots wait to be retired, or ERR_NOMEM. */
int lineup_plan(struct lineup *l, const struct lineup_want *wants, size_t n,
                struct lineup_plan *plan);

/* Leave an addition out: it could not be made. */
void lineup_leave_out(struct lineup *l, struct lineup_plan *plan, size_t i);

static inline bool lineup_plan_is_empty(const struct lineup_plan *plan)
{
    return !plan->n_added && !plan->n_removed && !plan->n_renamed;
}

/* The plan was handed over: this is how it is now. Frees the plan. */
void lineup_apply(struct lineup *l, struct lineup_plan *plan);
/* It was not: all stays as it was. Frees the plan. */
void lineup_drop(struct lineup *l, struct lineup_plan *plan);

/* Nothing more comes from this slot, which was to be emptied. */
void lineup_retire(struct lineup *l, uint32_t slot);

size_t lineup_count(const struct lineup *l);   /* in force */
size_t lineup_leaving(const struct lineup *l); /* not retired yet */
size_t lineup_slots(const struct lineup *l);   /* ever used: 0..n-1 */

/* Whose a sample is; NULL if nobody knows any more. */
struct lineup_target *lineup_find(const struct lineup *l, uint32_t slot,
                                  uint32_t generation);
/* Who is in force in a slot; NULL: nobody. */
const struct lineup_target *lineup_in_force(const struct lineup *l,
                                            uint32_t slot);

/* Have a record stay although its slot is retired, and no longer. */
void lineup_keep(struct lineup_target *t);
void lineup_forget(struct lineup *l, struct lineup_target *t);

/* Who may still be sampled, by slot, for windows_set_targets(). Room for
 * lineup_slots(); names are borrowed until the lineup changes. */
void lineup_window_targets(const struct lineup *l, struct window_target *out);

/* Walk everything and assert its invariants. */
void lineup_check(const struct lineup *l);

#endif /* PROBER_LINEUP_H */
