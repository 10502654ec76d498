/* prober/oneoff.h - one attempt or more, because somebody asked: the request,
 * and its pacing as a state machine.
 *
 * A request names a target, how it is to be probed, how often and how fast. A
 * node executes it in slots of its own (oneoff_uv.h); what comes out are
 * samples, which enter no histogram. Attempts start at begin + i * interval,
 * counted from the intended start; a slot for which there is no room within
 * its timeout is missed and counted, never caught up with.
 *
 *     while ((s = oneoff_pace_take(&p, now_ns, &intended_ns)) == OK) start one
 *     oneoff_pace_ended(&p)              when an attempt has ended
 *     arm a timer for oneoff_pace_due(&p)
 *
 * Pure. One thread.
 */
#ifndef PROBER_ONEOFF_H
#define PROBER_ONEOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/outcome.h"
#include "proto/url.h"

/* "grpcs://" + "[" host "]" + ":65535" + path, and NUL. */
#define ONEOFF_TARGET_SIZE  (8 + URL_HOST_MAX + 8 + URL_PATH_MAX + 1)
#define ONEOFF_SERVICE_SIZE 129

#define ONEOFF_COUNT_MAX       1000
#define ONEOFF_INTERVAL_MIN_NS UINT64_C(10000000)    /* 10 ms */
#define ONEOFF_INTERVAL_MAX_NS UINT64_C(60000000000) /* 1 min */
#define ONEOFF_TIMEOUT_MIN_NS  UINT64_C(1000000)     /* 1 ms */
#define ONEOFF_TIMEOUT_MAX_NS  UINT64_C(10000000000) /* 10 s */
#define ONEOFF_DURATION_MAX_NS                     \
    UINT64_C(600000000000) /* 10 min, of all slots \
                            */

/* What one node is to do. Plain data. */
struct oneoff_request {
    char target[ONEOFF_TARGET_SIZE];   /* a URL, or the name of a node, a static
                                        * peer or a configured target */
    char service[ONEOFF_SERVICE_SIZE]; /* gRPC health service; "" : server */
    bool is_auto;     /* grpc for grpc:// and grpcs://, else http1; of a name:
                       * http1 if it has that */
    uint8_t protocol; /* enum probe_protocol, if not is_auto */
    uint8_t mode;     /* enum probe_mode */
    uint32_t count;   /* attempts, 1.. */
    uint64_t interval_ns, timeout_ns;
};

/* count 1, interval 1 s, timeout 5 s, cold, auto; no target. */
void oneoff_request_init(struct oneoff_request *r);

/* Is all within the limits above, and is the target a URL that url_parse()
 * takes (no user info, no control bytes, strict host) or a name of A-Z a-z 0-9
 * . _ -? Returns 0, or ERR_BAD with `msg` naming the field ("count: ..."). */
int oneoff_request_check(const struct oneoff_request *r, struct errmsg *msg);

/* From the first slot to the end of the last one's timeout. */
uint64_t oneoff_request_lasts_ns(const struct oneoff_request *r);

/* How an execution ended, or stands. The names are those of the JSON. */
enum oneoff_state {
    ONEOFF_WAITING, /* asked, not heard of yet (another node) */
    ONEOFF_RUNNING,
    ONEOFF_DONE,        /* all slots were used, missed ones included */
    ONEOFF_CANCELLED,   /* by whoever asked, or because the node stops */
    ONEOFF_DENIED,      /* the target policy of the executing node */
    ONEOFF_BUSY,        /* too many requests there, or too many of one kind */
    ONEOFF_REFUSED,     /* one-off probing is off there: no audit log, no
                         * control section, draining, no gossip encryption */
    ONEOFF_BAD_TARGET,  /* no such node or target there, or a protocol that it
                         * does not have */
    ONEOFF_UNREACHABLE, /* it did not answer in time, or fell silent */
    ONEOFF_FAILED,      /* no memory, no TLS context, ... */
    ONEOFF_STATE_N,
};
const char *oneoff_state_name(enum oneoff_state s); /* "waiting", ... */
/* Is it over? All but WAITING and RUNNING. */
bool oneoff_state_is_end(enum oneoff_state s);

struct oneoff_pace {
    uint64_t interval_ns, timeout_ns;
    uint64_t next_ns; /* intended start of the next slot */
    uint32_t left;    /* slots not begun */
    uint32_t missed;
    uint32_t in_flight;
    bool is_serial; /* warm: one attempt at a time */
};

void oneoff_pace_init(struct oneoff_pace *p, const struct oneoff_request *r,
                      uint64_t now_ns);
/* Count those slots as missed whose timeout has passed while there was no room.
 * That may have been the last ones. */
void oneoff_pace_skip(struct oneoff_pace *p, uint64_t now_ns);
/* Is a slot due, and may it start? What is too late is skipped first. True:
 * start an attempt, intended at *intended_ns; it counts as in flight from now
 * on. */
bool oneoff_pace_take(struct oneoff_pace *p, uint64_t now_ns,
                      uint64_t *intended_ns);
/* The attempt just taken could not be started for want of room: it is due
 * again at once. */
void oneoff_pace_put_back(struct oneoff_pace *p, uint64_t intended_ns);
void oneoff_pace_ended(struct oneoff_pace *p);
/* No more slots are begun; they do not count as missed. */
void oneoff_pace_stop(struct oneoff_pace *p);
/* When oneoff_pace_take() is to be asked next, UINT64_MAX: not before an
 * attempt has ended. */
uint64_t oneoff_pace_due(const struct oneoff_pace *p);
bool oneoff_pace_is_done(const struct oneoff_pace *p);

#endif /* PROBER_ONEOFF_H */
