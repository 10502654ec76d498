/* test/sim/net.h - datagrams and streams between endpoints.
 *
 * Datagrams are lost, doubled, delayed, reordered, changed and replayed.
 * Streams keep order: loss shows as delay, a partition as silence and then as
 * an end, a dead process as refusal, a dead host as silence.
 */
#ifndef TEST_SIM_NET_H
#define TEST_SIM_NET_H

#include "test/sim/sim.h"

void net_open(struct sim *s);
void net_close(struct sim *s);

/* A new endpoint for `host`; its address is its number. */
uint32_t net_endpoint(struct sim *s, enum endpoint_kind kind, uint32_t host);
/* SIM_NOBODY if there is none. */
uint32_t net_find(const struct sim *s, const struct addr *a);

/* Send from an endpoint. */
void net_send(struct sim *s, uint32_t from, const struct addr *to,
              const void *data, size_t len);
/* From an attacker: never lost or delayed by more than the near latency, and
 * with any source. */
void net_inject(struct sim *s, uint32_t from, uint32_t to, const void *data,
                size_t len);
void net_on_datagram(struct sim *s, struct event *e);

/* A node dials, writes, hangs up. */
void net_dial(struct sim *s, struct node *n, uint32_t id,
              const struct addr *to);
void net_write(struct sim *s, struct node *n, uint32_t id, const void *data,
               size_t len);
void net_hangup(struct sim *s, struct node *n, uint32_t id);
/* All streams of a process that ended; others learn it if the host lives. */
void net_kill(struct sim *s, struct node *n, bool is_silent);
void net_on_pipe(struct sim *s, struct event *e);

/* An attacker's stream: dials, sends `data`, stays for a while. */
void net_attack(struct sim *s, uint32_t from, uint32_t to, const void *data,
                size_t len);

/* Does the mesh at `to` hear `from` now? */
bool net_passes(const struct sim *s, uint32_t from_host, uint32_t to_host,
                bool is_stream, size_t len);

/* Overheard: the latest datagrams. NULL: none yet. */
const struct datagram *net_overheard(struct sim *s, struct rng *dice,
                                     uint32_t *to);

/* Switch a fault of the network. */
void net_fault(struct sim *s, const struct fault *f, bool begins);
void net_heal(struct sim *s);  /* all of them off */
void net_sever(struct sim *s); /* who is not core is heard no more */
size_t net_pipes(const struct sim *s);

#endif /* TEST_SIM_NET_H */
