/* prober/plane_status.h - what the measuring plane says about itself.
 *
 * Plain data; posted once a second through the plane's queue.
 */
#ifndef PROBER_PLANE_STATUS_H
#define PROBER_PLANE_STATUS_H

#include <stdint.h>

struct plane_status {
    uint64_t attempts, ok, failed, local; /* since start */
    uint64_t missed_slots;
    uint64_t in_flight, in_flight_max;
    uint64_t queue_drops; /* samples lost on the way to us */
    uint64_t user_clock;  /* attempts not timed by the kernel */
    uint64_t reconnects;
    uint64_t lag_p50_ns, lag_p99_ns, lag_max_ns; /* of its loop, last 10 s */
    uint64_t inbound_connections, inbound_requests, inbound_rejected;
    uint64_t updated_ns; /* monotonic, when this arrived; 0 never */
};

#endif /* PROBER_PLANE_STATUS_H */
