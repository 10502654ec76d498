/* test/sim/node.h - one mesh and the host that carries out what it wants. */
#ifndef TEST_SIM_NODE_H
#define TEST_SIM_NODE_H

#include "test/sim/sim.h"

void node_init(struct sim *s, uint32_t index, struct rng *dice);

/* A process starts: at its endpoint, or at a new one. Nothing if it runs. */
void node_start(struct sim *s, struct node *n, bool moves);
/* Killed: nobody is told. Nothing if it is down. */
void node_kill(struct sim *s, struct node *n);
void node_leave(struct sim *s, struct node *n);
void node_set_meta(struct sim *s, struct node *n);
/* A step of rotation: 0 old alone; 1 both, old first; 2 both, new first; 3 new
 * alone. */
void node_set_keys(struct sim *s, struct node *n, unsigned step);
/* Stop running until `until_ns`. */
void node_freeze(struct sim *s, struct node *n, uint64_t until_ns,
                 bool timer_first);

/* Inputs; each carries out what follows. */
void node_on_timer(struct sim *s, struct node *n);
void node_on_datagram(struct sim *s, struct node *n, const struct addr *from,
                      const struct datagram *d);
/* 0: refused. node_accepted() carries out what follows, when the caller knows
 * the id. */
uint32_t node_on_accept(struct sim *s, struct node *n, const struct addr *from);
void node_accepted(struct sim *s, struct node *n);
void node_on_connected(struct sim *s, struct node *n, uint32_t id);
void node_on_bytes(struct sim *s, struct node *n, uint32_t id, const void *data,
                   size_t len);
void node_on_gone(struct sim *s, struct node *n, uint32_t id);
void node_on_resolved(struct sim *s, struct node *n, uint32_t seed,
                      const struct addr *addrs, size_t count);

/* After a call of mesh_send(): carry out what follows. */
void node_kick(struct sim *s, struct node *n);

/* Its monotonic clock, and when that will show `local_ns`. */
uint64_t node_clock(const struct node *n, uint64_t now_ns);
uint64_t node_when(const struct node *n, uint64_t local_ns);

#endif /* TEST_SIM_NODE_H */
