/* test/sim/hostile.h - those who want the mesh to fail.
 *
 * One attacker with the key at an address of its own, who is no member, and
 * strangers without. They know everything (incarnations, addresses, what is
 * on the wire) and send any well-formed message; they cannot break the
 * cipher.
 */
#ifndef TEST_SIM_HOSTILE_H
#define TEST_SIM_HOSTILE_H

#include "test/sim/sim.h"

void hostile_open(struct sim *s);
void hostile_close(struct sim *s);
void hostile_move(struct sim *s); /* EV_HOSTILE */

/* A datagram passes by. */
void hostile_overhear(struct sim *s, uint32_t from, const void *data,
                      size_t len);

/* One accusation of `victim`, as the run's dice have it (I9). */
void hostile_accuse(struct sim *s, uint32_t victim);

#endif /* TEST_SIM_HOSTILE_H */
