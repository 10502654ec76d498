/* prober/probe_loop_uv.h - runs attempts on a libuv loop.
 *
 * The only host of the pure state machine in probe.h: own sockets with kernel
 * time stamps (psock_uv.h), own resolver (resolve_uv.h), one timer for all
 * deadlines. Slots are allocated at opening; an attempt that finds none is
 * refused, never queued. Everything on the loop's thread.
 */
#ifndef PROBER_PROBE_LOOP_UV_H
#define PROBER_PROBE_LOOP_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "prober/sample.h"
#include "prober/target.h"

/* Called on the loop when an attempt has ended; `s` is valid during the
 * call. Starting further attempts from here is allowed. */
typedef void probe_done(void *arg, const struct sample *s);

struct probe_loop_config {
    uv_loop_t *loop;
    size_t in_flight_max; /* cold attempts at once; slots are made now */
    size_t warm_max;      /* held connections at most */
    const struct addr *dns_servers;
    size_t n_dns_servers; /* 0: the system's resolv.conf */
    probe_done *done;
    void *arg;
};

struct probe_loop; /* opaque */

/* Returns NULL with `msg` set. */
struct probe_loop *probe_loop_open(const struct probe_loop_config *c,
                                   struct errmsg *msg);

/* Ends all attempts as `cancelled` (their callbacks run), then closes. The
 * loop must run once more for libuv to finish. NULL is allowed. */
void probe_loop_close(struct probe_loop *l);

/* Another resolver, for a loop with so many attempts at once. Made on any
 * thread; NULL with `msg` set. resolver_drop() (resolve_uv.h) if it is not
 * given away. */
struct resolver;
struct resolver *probe_loop_resolver(const struct addr *servers,
                                     size_t n_servers, size_t in_flight_max,
                                     struct errmsg *msg);
/* Lookups that begin from now on are its, those under way end where they are.
 * Takes it over. Not from within probe_done. */
void probe_loop_set_resolver(struct probe_loop *l, struct resolver *r);

struct probe_attempt {
    const struct target *target; /* must outlive the attempt */
    uint8_t protocol;            /* enum probe_protocol */
    uint64_t timeout_ns;
    uint64_t intended_ns; /* monotonic (clock_now_ns): when it should
                           * have started; 0: now */
    uint32_t target_index, target_gen, job; /* copied into the sample */
};

/* Start a cold attempt: fresh connection. Returns 0, or ERR_BUSY when all
 * slots are taken (nothing is started, no sample). */
int probe_loop_cold(struct probe_loop *l, const struct probe_attempt *a);

struct probe_warm; /* one held connection to one target, one protocol */

/* NULL when warm_max connections are held already. Does not connect yet. */
struct probe_warm *probe_warm_open(struct probe_loop *l,
                                   const struct target *target,
                                   uint8_t protocol);
/* A running attempt ends as cancelled. NULL is allowed. */
void probe_warm_close(struct probe_warm *w);

/* Start a warm attempt: one request on the held connection. If there is none
 * (first time, or the peer closed it) one is made first, outside the sample,
 * which then says is_reconnected; if that fails the sample is that failure.
 * Returns 0 or ERR_BUSY when the previous attempt has not ended. */
int probe_warm_attempt(struct probe_warm *w, const struct probe_attempt *a);

/* Would an attempt begun now have to connect first? */
bool probe_warm_needs_setup(const struct probe_warm *w);

/* Counters since opening. */
struct probe_loop_stats {
    uint64_t started, finished, busy;
    size_t in_flight, in_flight_max_seen, warm_open;
};
void probe_loop_stats(const struct probe_loop *l, struct probe_loop_stats *s);

#endif /* PROBER_PROBE_LOOP_UV_H */
