/* test/sim/oracle.h - what must hold, whatever happens.
 *
 * After each input: invariants of the node it went to, and of each event it
 * reports. After healing: agreement, polled until it is there or its time is
 * up. Their numbers stand in docs/gossip.md:
 *
 *     I6  agreement     I7  accuracy      I8  completeness  I9  refutation
 *     I10 incarnations  I11 no ghosts     I16 bounds        I17 amplification
 *     I19 determinism   I20 total         I22 clean stop
 */
#ifndef TEST_SIM_ORACLE_H
#define TEST_SIM_ORACLE_H

#include "test/sim/sim.h"

void oracle_open(struct sim *s);
void oracle_close(struct sim *s);

void oracle_on_start(struct sim *s, struct node *n);
/* It will stand still until `until_ns`; it goes on early. */
void oracle_on_freeze(struct sim *s, struct node *n, uint64_t until_ns);
void oracle_on_wake(struct sim *s, struct node *n);
/* A datagram is about to be given to the node, and was. */
void oracle_before_datagram(struct sim *s, struct node *n,
                            const struct datagram *d);
void oracle_after_datagram(struct sim *s, struct node *n,
                           const struct datagram *d);
/* The node reports an event. */
void oracle_on_event(struct sim *s, struct node *n, const struct mesh_effect *e,
                     enum sim_call call);
/* It sends a datagram. */
void oracle_on_send(struct sim *s, struct node *n, uint32_t to_endpoint,
                    const struct mesh_effect *e);
/* One is killed; it must be known after a while (EV_WATCH). */
void oracle_on_kill(struct sim *s, const struct node *n);
void oracle_on_watch(struct sim *s, const struct event *e);
/* After each input, when all effects were taken. */
void oracle_after(struct sim *s, struct node *n);

/* Do all of the core agree (I6, I8)? If not, `why` says so. */
bool oracle_agrees(const struct sim *s, char *why, size_t size);
/* How long agreement may take after healing, at most. */
uint64_t oracle_patience(const struct sim *s);
uint64_t oracle_push_pull(const struct sim *s, unsigned rounds);
/* Is nobody in doubt about it? */
bool oracle_is_trusted(const struct sim *s, uint32_t subject);
/* Everything at the end of a run. */
void oracle_at_end(struct sim *s);

#endif /* TEST_SIM_ORACLE_H */
