/* prober/window.h - folds samples into the cells of one window's frame.
 *
 * An attempt belongs to the window in which it started while that is still
 * open; after that to the earliest window that is open. A window is due to be
 * closed two seconds after its end, so that at most two are open at a time: a
 * caller who closes too late finds later attempts in the second one. Closing
 * writes the finished frame; it never changes afterwards.
 *
 * Window numbers only ever grow, whatever the clock does:
 *   - a window is closed once; no number comes twice;
 *   - a window without attempts gives a frame too, so that silence is visible;
 *     but of a gap longer than WINDOW_BACKLOG_MAX windows (the clock stepped
 *     forward, the machine slept) only the last ones do;
 *   - when the clock steps back, attempts go to the open window until the time
 *     has caught up with it. windows_lead_s() says how long that takes; for a
 *     long one cut what there is (windows_has_rest()) and open a new object,
 *     with another epoch.
 *
 * Failures have counters and never enter a histogram. Histograms are kept the
 * way the frame will have them, encoded: a fraction of the memory, and closing
 * a window copies bytes. In return each sample costs a microsecond. Lives on
 * the control plane, may allocate. Pure: the caller says what time it is.
 */
#ifndef PROBER_WINDOW_H
#define PROBER_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/sample.h"
#include "proto/frame.h"

#define WINDOW_CLOSE_AFTER_S 2
#define WINDOW_BACKLOG_MAX   6 /* silent windows made up for: one minute */

struct windows; /* opaque: the open windows of this node */

struct windows_config {
    const char *origin, *zone, *region; /* copied */
    uint64_t epoch_ms;
};

/* Returns NULL without memory. */
struct windows *windows_open(const struct windows_config *c);
void windows_close(struct windows *w);

/* Who a target of the samples means from now on (all of them, replacing what
 * was there): a sample is of targets[sample.target] if that has the generation
 * which the sample carries, else of nobody. So a place in the list may change
 * hands only with another generation, and only when no more samples of the one
 * before can come; then none is lost or taken for another's, however fast
 * lists follow each other (prober/lineup.h sees to both).
 *
 * Strings are copied; zone and region may be NULL, a name that is NULL is
 * nobody. Returns 0, ERR_NOMEM, or ERR_TOOBIG for a text above FRAME_NAME_MAX
 * or more than WINDOW_TARGETS_MAX places; the old list stays then. A target
 * that is the same in name, zone and region stays one and the same. A frame
 * has room for FRAME_TARGETS_MAX: if more than these are sampled in one
 * window, what comes last is refused. */
#define WINDOW_TARGETS_MAX (2 * FRAME_TARGETS_MAX)
struct window_target {
    const char *name, *zone, *region;
    uint32_t generation;
};
int windows_set_targets(struct windows *w, const struct window_target *targets,
                        size_t n);

/* Count a sample; one of a one-off request (job != 0) is passed over. Returns
 * 0, ERR_BAD (unknown target) or ERR_NOMEM: then the attempt is not counted,
 * or it is and some of its phases are not. */
int windows_add(struct windows *w, const struct sample *s,
                uint64_t now_unix_ns);

/* Is a window due to be closed? Returns its number or 0. Ask until it says 0.
 * The first call also starts the count, if no sample did. */
uint64_t windows_due(struct windows *w, uint64_t now_unix_ns);

/* Seconds until the start of the oldest open window: above 0 only after the
 * clock was set back. */
uint64_t windows_lead_s(const struct windows *w, uint64_t now_unix_ns);

/* For one who begins anew: is there still a window with attempts? It is the
 * next one to be cut, whatever the clock says. */
bool windows_has_rest(struct windows *w);

/* Close the oldest open window and append its frame, encoded, to *out.
 * `context` is put into it; cells of a starved window are marked not trusted.
 * Also cuts a frame when there were no samples, so that silence is visible.
 * Returns 0, ERR_NOMEM (nothing changed, and *out is as long as it was: try
 * again), ERR_TOOBIG (it does not fit *out: the window is closed and what it
 * held is lost) or ERR_BUSY (no window was ever open). */
int windows_cut(struct windows *w, const struct frame_context *context,
                struct wr *out);

#endif /* PROBER_WINDOW_H */
