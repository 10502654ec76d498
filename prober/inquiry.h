/* prober/inquiry.h - "from these nodes to that target, now".
 *
 * What POST /v1/probes and prober.v1.Control/Probe have in common: admission
 * (role, rate, audit, gossip encryption), the executions on this node and on
 * others, their samples as events in the order in which they come, and a
 * summary in the end, which knows what the matrix says of the same pair of
 * zones. The transport only formats.
 *
 * Events wait in the inquiry until the transport takes them; when more than
 * INQUIRY_QUEUE_BYTES wait because nobody reads, or less if many do not read,
 * the inquiry is cancelled.
 *
 * Control plane, one thread.
 */
#ifndef PROBER_INQUIRY_H
#define PROBER_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/httpd.h"
#include "prober/oneoff.h"
#include "prober/principals.h"
#include "prober/remote.h"
#include "prober/sample.h"
#include "proto/hist.h"

#define INQUIRY_ID_SIZE     33 /* 32 hex digits */
#define INQUIRIES_MAX       128
#define INQUIRY_QUEUE_BYTES (1u << 20)
/* Of all queues together; beyond it each has its share, INQUIRIES_MAX-th. */
#define INQUIRIES_QUEUE_BYTES (8u << 20)
/* Executors of all that are open, whether they have ended or not. Of these, and
 * of the inquiries, one principal alone cannot have the last eighth. */
#define INQUIRIES_EXECUTORS_MAX 1024

struct inquiries; /* opaque: all of them */
struct inquiry;   /* one */

struct inquiry_ask {
    struct oneoff_request request;
    struct remote_from from;
    unsigned per_zone; /* 1..16 */
    struct principal who;
    const char *peer; /* where it came from, for the audit log */
};

enum inquiry_refusal {
    INQUIRY_OK,
    INQUIRY_BAD,       /* 400: msg says which field */
    INQUIRY_FORBIDDEN, /* 403: the role does not include this */
    INQUIRY_DENIED,    /* 403: fixed text */
    INQUIRY_UNKNOWN,   /* 404: no such node, zone, target name */
    INQUIRY_RATE,      /* 429: of this principal */
    INQUIRY_BUSY,      /* 429: too many inquiries at once */
    INQUIRY_NO_MESH,   /* 409: from elsewhere needs encrypted gossip */
    INQUIRY_NO_AUDIT,  /* 503: the audit log cannot be written */
    INQUIRY_DRAINING,  /* 503 */
    INQUIRY_FAILED,    /* 500: no memory */
    INQUIRY_REFUSAL_N,
};
/* "bad_request", ... and the HTTP status; the text of INQUIRY_DENIED and the
 * others that need no detail. */
const char *inquiry_refusal_code(enum inquiry_refusal r);
unsigned inquiry_refusal_status(enum inquiry_refusal r);
const char *inquiry_refusal_text(enum inquiry_refusal r);

enum inquiry_event_kind {
    INQUIRY_SAMPLE,
    INQUIRY_EXECUTOR, /* one has ended otherwise than DONE, or is unreachable */
    INQUIRY_SUMMARY,  /* the last one */
};

struct inquiry_phase { /* of ok attempts; count 0: none */
    uint64_t count;
    int64_t p50_ns, p90_ns, p99_ns, max_ns;
};

struct inquiry_executor {
    char node[129], zone[129];
    enum oneoff_state state;
    uint32_t attempts, ok, missed;
    uint32_t lost; /* samples that it took and that did not come */
    struct hist series[SERIES_N];
    /* What the matrix has for its zone and the target's zone, of the last
     * baseline_s; has_baseline false: nothing fresh. */
    bool has_baseline;
    uint32_t baseline_s;
    struct inquiry_phase baseline[SERIES_N];
};

struct inquiry_summary {
    const char *id, *target; /* borrowed */
    uint8_t protocol, mode;
    bool is_cancelled;
    uint64_t attempts, ok, failed, outcomes[OUTCOME_N];
    size_t n_executors;
    const struct inquiry_executor *executors;
};

struct inquiry_event {
    enum inquiry_event_kind kind;
    struct sample sample;
    struct sample_names names; /* valid until the next inquiry_next() */
    const struct inquiry_executor *executor;
    const struct inquiry_summary *summary;
};

/* Begin. `wake` (copied, may be called right after this returned, on the loop,
 * never from within inquiry_next()) says that there is an event. NULL with
 * *refusal and, for BAD and UNKNOWN, `msg`. */
struct inquiry *inquiry_start(struct inquiries *all,
                              const struct inquiry_ask *ask,
                              void (*wake)(void *arg), void *arg,
                              enum inquiry_refusal *refusal,
                              struct errmsg *msg);
const char *inquiry_id(const struct inquiry *q);
/* The next event: 1; 0: none now; ERR_CLOSED: there are no more (the summary
 * was taken). */
int inquiry_next(struct inquiry *q, struct inquiry_event *out);
/* Is it known that the only execution, on this node, was denied before any
 * sample? Then the transport may say so instead of streaming. */
bool inquiry_is_denied(const struct inquiry *q);
/* May that still come to be: is this node the only executor, and is there
 * nothing to be told yet? */
bool inquiry_is_undecided(const struct inquiry *q);
/* The transport is done with it, or has lost its client: what runs is
 * cancelled. Always called, once. */
void inquiry_close(struct inquiry *q);

/* Cancel all: whoever reads hears the ends of what ran, and a summary. */
void inquiries_stop(struct inquiries *all);
/* DELETE: cancel one by its id. INQUIRY_OK, UNKNOWN or FORBIDDEN (another
 * one's, and no admin). *is_news (or NULL): it was not cancelled before. */
enum inquiry_refusal inquiries_cancel(struct inquiries *all, const char *id,
                                      const struct principal *who,
                                      bool *is_news);

/* Somebody was turned away by the transport, with this code (static) and from
 * this peer (as in struct inquiry_ask): count it, and tell the audit log, where
 * a flood of them folds. `principal` "" : not known. */
void inquiries_turn_away(struct inquiries *all, const char *code,
                         const char *peer, const char *principal);
/* A line of the audit log about something that is no probe ("reload"). */
struct audit_field;
int inquiries_audit(struct inquiries *all, const char *event,
                    const struct audit_field *fields);

#define INQUIRY_CODES_MAX 32
struct inquiries_stats {
    uint64_t started, refused[INQUIRY_REFUSAL_N], cancelled, slow;
    size_t open;
    /* All that were turned away, by code, these included. */
    size_t n_codes;
    struct inquiries_code {
        const char *code;
        uint64_t count;
    } codes[INQUIRY_CODES_MAX];
    /* One-off attempts on this node, for whomever. */
    uint64_t attempts, denied;
    size_t running; /* executions of this node, for whomever */
    size_t in_flight;
    const char *listen; /* control.listen, borrowed from the configuration */
    bool is_draining;
};
void inquiries_stats(const struct inquiries *all, struct inquiries_stats *out);

#endif /* PROBER_INQUIRY_H */
