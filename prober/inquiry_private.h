/* prober/inquiry_private.h - what the parts of inquiry.h share.
 *
 *     inquiry.c           the list of all, the public calls
 *     inquiry_admit.c     may it be asked, and who is to do it
 *     inquiry_run.c       executions: begin, samples, ends, time
 *     inquiry_queue.c     events that wait for the transport
 *     inquiry_baseline.c  what the matrix says of the same zones
 *     inquiry_audit.c     the lines of the audit log
 *     inquiry_uv.c        the host: clock, timer, one-offs, mesh
 *
 * The core knows the host by the functions below only. Nothing that comes in
 * calls the transport from within: what is to be told is marked, and
 * inquiries_run(), which the host calls when the time has come that arm() was
 * given, wakes those who wait. A transport may close anything in its wake().
 */
#ifndef PROBER_INQUIRY_PRIVATE_H
#define PROBER_INQUIRY_PRIVATE_H

#include "mesh/history.h"
#include "prober/audit.h"
#include "prober/config.h"
#include "prober/inquiry.h"
#include "prober/oneoff_uv.h"
#include "prober/refusals.h"

/* A denial takes so long, whatever it is that was denied and however it was
 * found: the time tells nothing. */
#define INQUIRY_DENIAL_NS UINT64_C(200000000)
/* Beyond the last slot's timeout, after which nothing is waited for. */
#define INQUIRY_GRACE_NS   UINT64_C(5000000000)
#define INQUIRY_BASELINE_S 900
#define INQUIRY_PEER_SIZE  REFUSAL_NAME_SIZE

struct inquiry_ops {
    uint64_t (*now_ns)(void);
    uint64_t (*now_unix_ns)(void);
    int (*random)(void *arg, void *out, size_t len); /* unguessable */
    /* Call inquiries_run() at that time, however often it is said. */
    void (*arm)(void *arg, uint64_t due_ns);
    int (*audit)(void *arg, const char *event,
                 const struct audit_field *fields);
    /* As in oneoff_uv.h. */
    enum oneoff_state (*find)(void *arg, const struct oneoff_request *r,
                              struct oneoff_target *out);
    struct oneoff *(*start)(void *arg, const struct oneoff_request *r,
                            const struct oneoff_sink *sink,
                            enum oneoff_state *state);
    void (*cancel)(void *arg, struct oneoff *e);
    void (*oneoff_stats)(void *arg, struct oneoffs_stats *out);
    /* Is there a mesh at all? If not, the rest is not called. */
    bool (*has_mesh)(void *arg);
    /* remote_choose() */
    size_t (*choose)(void *arg, const struct remote_from *from,
                     unsigned per_zone, uint64_t dice,
                     struct remote_executor *out);
    /* As in remote_uv.h. */
    bool (*can_ask)(void *arg);
    int (*ask)(void *arg, const uint8_t id[REMOTE_ID_SIZE], uint32_t member,
               const struct oneoff_request *request, const char *who,
               uint32_t *ask);
    void (*drop)(void *arg, uint32_t ask);
};

/* An event that waits. */
struct inquiry_item {
    struct inquiry_item *next;
    enum inquiry_event_kind kind;
    size_t bytes; /* allocated for it; 0: part of an execution */
};

struct inquiry_execution {
    struct inquiry_item item; /* its end */
    struct inquiry *inquiry;
    struct inquiry_executor *executor;
    uint32_t member; /* UINT32_MAX: this node */
    struct oneoff *local;
    bool is_asked; /* `ask` is one of remote.h's */
    uint32_t ask;
    bool is_over; /* nothing more comes; `end` is told at told_ns */
    bool is_told;
    enum oneoff_state end;
    uint64_t told_ns;
};

struct inquiry {
    struct inquiries *all;
    struct inquiry *next, *prev;
    uint8_t raw_id[REMOTE_ID_SIZE];
    char id[INQUIRY_ID_SIZE];
    struct oneoff_request request;
    struct principal who;
    char peer[INQUIRY_PEER_SIZE];
    char label[CONFIG_NAME_MAX + 1]; /* the target's in the matrix, or "" */
    uint8_t protocol;                /* as found, or as asked for */
    uint64_t deadline_ns, denial_ns;
    void (*wake)(void *arg);
    void *wake_arg;
    bool wants_wake, is_closed, is_cancelled, is_audited, is_summarised;

    size_t n, n_told;
    struct inquiry_execution *executions;
    struct inquiry_executor *executors;
    uint64_t attempts, ok, failed, outcomes[OUTCOME_N];
    struct inquiry_summary summary;

    struct inquiry_item *first, *last;
    struct inquiry_item *taken; /* by the last inquiry_next() */
    size_t queue_bytes;
};

struct inquiries {
    const struct inquiry_ops *ops;
    void *ops_arg;
    const struct config *config;
    struct principals *principals;
    const struct history *history;
    struct inquiry *list;
    bool is_draining, is_closed;
    uint64_t armed_ns;               /* what arm() was given last */
    size_t queue_bytes, n_executors; /* of all that are in the list */
    struct inquiries_stats stats;
    struct refusals refusals;
};

struct inquiries_core_config {
    const struct inquiry_ops *ops; /* and all below borrowed */
    void *ops_arg;
    const struct config *config;
    struct principals *principals;
    const struct history *history; /* or NULL */
};

/* ---- inquiry.c ---- */
struct inquiries *inquiries_new(const struct inquiries_core_config *c);
/* End all that runs and never call `ops` again; freed with the last one. */
void inquiries_end(struct inquiries *all);
/* Time has passed, or there is something to be told. */
void inquiries_run(struct inquiries *all);
void inquiries_arm(struct inquiries *all, uint64_t due_ns);
/* Free it if nobody needs it any more. */
void inquiry_release(struct inquiry *q);

/* ---- inquiry_admit.c ---- */
struct inquiry_admission {
    const struct inquiry_ask *ask;
    struct oneoff_target target;
    bool is_known;                     /* by this node */
    struct remote_executor *executors; /* owned */
    size_t n;
    bool needs_mesh;
};
/* Fill `a`, of which only `ask` is set. Whatever it says: the caller frees
 * a->executors. */
enum inquiry_refusal inquiry_admit(struct inquiries *all,
                                   struct inquiry_admission *a,
                                   struct errmsg *msg);

/* ---- inquiry_run.c ---- */
void inquiry_begin(struct inquiry *q, const struct remote_executor *executors);
void inquiry_cancel(struct inquiry *q);
void inquiry_expire(struct inquiry *q, uint64_t now_ns);
uint64_t inquiry_due(const struct inquiry *q);
/* What came from another node; unknown asks change nothing. */
void inquiries_remote_sample(struct inquiries *all, uint32_t ask,
                             const struct sample *s,
                             const struct sample_names *names);
void inquiries_remote_lost(struct inquiries *all, uint32_t ask, uint32_t lost);
void inquiries_remote_end(struct inquiries *all, uint32_t ask,
                          enum oneoff_state state, uint32_t missed);

/* ---- inquiry_queue.c ---- */
/* 0, ERR_BUSY (too much waits) or ERR_NOMEM; then nothing was added. */
int inquiry_put_sample(struct inquiry *q, const struct inquiry_execution *e,
                       const struct sample *s,
                       const struct sample_names *names);
void inquiry_put_end(struct inquiry *q, struct inquiry_execution *e);
/* False: none. Valid until the next call or inquiry_queue_fini(). */
bool inquiry_take(struct inquiry *q, struct inquiry_event *out);
void inquiry_queue_fini(struct inquiry *q);

/* ---- inquiry_baseline.c ---- */
void inquiry_find_baseline(struct inquiry *q, struct inquiry_executor *x);

/* ---- inquiry_audit.c ---- */
int inquiry_audit_begin(struct inquiry *q, const struct inquiry_ask *ask,
                        const char *rule);
void inquiry_audit_end(struct inquiry *q); /* once */

#endif /* PROBER_INQUIRY_PRIVATE_H */
