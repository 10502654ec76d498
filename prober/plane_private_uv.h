/* prober/plane_private_uv.h - inside of prober/plane*_uv.c.
 *
 * Division of work: plane_thread_uv.c is the measuring thread: its schedule,
 * what goes out of it and the commands that come in; plane_changes_uv.c is what
 * a command changes there, a slice at a time; plane_uv.c is the control plane's
 * side, and opening.
 */
#ifndef PROBER_PLANE_PRIVATE_UV_H
#define PROBER_PLANE_PRIVATE_UV_H

#include <stdatomic.h>
#include <uv.h>

#include "prober/handover.h"
#include "prober/lag.h"
#include "prober/link_uv.h"
#include "prober/plane_uv.h"
#include "prober/probe_loop_uv.h"
#include "prober/resolve_uv.h"
#include "prober/responder_uv.h"
#include "prober/schedule.h"
#include "proto/base/rate.h"

#define SAMPLES_QUEUED  1024
#define COMMANDS_QUEUED 8

/* The part of the configuration that the measuring thread goes by: its own
 * copy, for the control plane's changes under its eyes. */
struct pace {
    uint64_t cold_ns, warm_ns, timeout_ns;
    uint64_t response_delay_ns, idle_timeout_ns;
    uint16_t per_target_max;
};

/* A change of it; changes owner through the commands. */
struct plane_change {
    struct pace pace;
    struct tls_context *client_tls, *server_tls; /* NULL: the one there is */
    struct resolver *resolver;                   /* the same */
};

/* One of these; if none: drain, then stop. */
struct command {
    struct handover *handover;
    struct plane_change *change;
    uint64_t grace_ns;
};

struct plane {
    /* Written before the thread starts, then read only. */
    const struct config *config;
    void (*on_stopped)(void *arg);
    void (*on_samples)(void *arg);
    void *arg;
    struct addr listen;
    char node[CONFIG_NAME_MAX + 1];
    size_t in_flight_max;

    /* The control plane's. */
    struct lineup *lineup;
    struct tls_context *aim_tls; /* the newest one, for new aims; borrowed */
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE]; /* the newest one's */
    struct plane_change *pending; /* for want of room in the queue */
    struct aim_policy *policy;    /* of the last aim that had one, or NULL */
    struct aim *released;         /* to be freed once all samples were taken */
    bool is_stopping;

    /* The queues. */
    struct link *samples, *status, *commands, *returned, *stopped;
    atomic_bool is_stop_told; /* by whom `commands` is not touched any more */

    /* The measuring thread's. */
    uv_loop_t loop;
    uv_thread_t thread;
    uv_sem_t started;
    long thread_id;
    struct probe_loop *probes;
    struct responder *responder;
    struct schedule schedule;
    struct tls_context *client_tls, *server_tls;
    struct pace pace;
    size_t retimed;            /* slots whose cadence is that of `pace` */
    struct handover *handover; /* being taken over */
    struct aim *retired;       /* to be sent back */
    bool is_closing;
    uv_timer_t schedule_timer, status_timer, stop_timer;
    uint64_t status_due_ns;
    struct rate setups;
    uint64_t stop_by_ns, stop_after_ns; /* 0: running */
    struct lag lag;
    struct plane_status counters;
    struct aim *aims[LINEUP_SLOTS_MAX]; /* by slot */
};

/* ---- the measuring thread (plane_thread_uv.c) ---- */

/* The parts of the thread's loop, before the thread runs: first the timers,
 * which cannot fail, so that plane_stop_now() may close all. */
void plane_init_timers(struct plane *p);
int plane_open_loop_parts(struct plane *p, struct errmsg *msg);
void plane_run_thread(void *plane);
/* The next attempt is due by the schedule as it is now. */
void plane_arm_schedule(struct plane *p);
/* Close all that the loop has. */
void plane_stop_now(struct plane *p);

/* ---- changes there (plane_changes_uv.c) ---- */

/* The attempt of this entry of the schedule is over. */
void plane_end_attempt(struct plane *p, size_t index, bool is_ok);
/* Aims of which nothing is in flight any more go back to the control plane. */
void plane_send_back(struct plane *p);
/* Begin with a command. */
void plane_take_change(struct plane *p, struct plane_change *c);
/* Is one still being carried out? */
bool plane_is_changing(const struct plane *p);
/* Do a slice of it. */
void plane_go_on_changing(struct plane *p);
void plane_change_free(struct plane_change *c); /* NULL is allowed */

#endif /* PROBER_PLANE_PRIVATE_UV_H */
