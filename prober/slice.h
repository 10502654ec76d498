/* prober/slice.h - asking the scheduler to be let in soon.
 *
 * The measuring thread runs for microseconds at a time. Linux 6.12 and later
 * let any thread ask for a shorter time slice (sched_setattr(2),
 * sched_runtime with SCHED_OTHER): the share of the CPU stays the same, but
 * it comes in smaller pieces and therefore sooner after a wake-up. No
 * privilege is needed. Older kernels ignore it.
 */
#ifndef PROBER_SLICE_H
#define PROBER_SLICE_H

/* For the calling thread. Returns 0 or a negative errno; best effort. */
int slice_request_short(void);

#endif /* PROBER_SLICE_H */
