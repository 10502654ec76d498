/* test/sim/frames.h - frames on the simulated mesh.
 *
 * Each node whom the topology lets probe closes a frame every ten seconds of
 * its own wall clock, and they are spread through the real mesh. What was made
 * is kept aside as the truth. Invariants, of reliability's I1 to I5:
 *
 *     F1  in the end all that are connected hold the same frames
 *     F3  every copy is byte by byte what its origin made
 *     F4  nobody holds a frame that was not made
 *     F5  who is skewed is known to be, and nobody else
 */
#ifndef TEST_SIM_FRAMES_H
#define TEST_SIM_FRAMES_H

#include "test/sim/sim.h"

/* All do nothing in a run without frames. */
void sim_frames_open(struct sim *s);
void sim_frames_close(struct sim *s);
void sim_frames_start(struct sim *s, struct node *n);
void sim_frames_stop(struct sim *s, struct node *n);
/* A message of ours came. */
void sim_frames_on_user(struct sim *s, struct node *n, const struct addr *from,
                        struct span message);
/* EV_SPREAD, EV_CLOSE, EV_LOOK */
void sim_frames_on_event(struct sim *s, const struct event *e);
void sim_frames_at_end(struct sim *s);
/* Figures of a measurement. */
void sim_frames_report(const struct sim *s);

#endif /* TEST_SIM_FRAMES_H */
