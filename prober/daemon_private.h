/* prober/daemon_private.h - the control plane: all that runs on the main loop.
 *
 * Shared by daemon.c (its life and its wiring) and the files daemon_*.c, each
 * with one part of it. Not for others.
 */
#ifndef PROBER_DAEMON_PRIVATE_H
#define PROBER_DAEMON_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "prober/api.h"
#include "prober/backfill_uv.h"
#include "prober/config.h"
#include "prober/daemon_control.h"
#include "prober/follow.h"
#include "prober/gossip.h"
#include "prober/httpd_uv.h"
#include "prober/intake.h"
#include "prober/metrics.h"
#include "prober/plane_uv.h"
#include "prober/spread_uv.h"
#include "prober/stores_uv.h"

struct daemon {
    uv_loop_t *loop;
    struct config *config;   /* its content changes with a reload, its place
                              * does not: who borrows it sees the new one */
    const char *config_path; /* NULL: only the environment */
    struct plane *plane;
    struct addr_policy policy; /* on addresses that others named */
    struct follow follow;
    struct gossip *gossip;        /* NULL: there is no mesh */
    struct spread_uv *spread;     /* the same */
    struct backfill_uv *backfill; /* the same */
    struct api_mesh mesh;
    struct httpd *httpd;
    struct addr api_listen; /* as bound */
    struct stores stores;
    struct control_port control;
    struct api_source source;
    struct metrics_source metrics;
    uint64_t stop_ns;           /* when the end began; 0: running */
    uint64_t stop_inquiries_ns; /* when those have to end; 0: not known yet */
    bool is_census_due;
    bool is_plane_ending, is_plane_stopped;
    bool is_watched; /* by a service manager's watchdog */
    int exit_code;
    uv_timer_t drain_timer, housekeep_timer, end_timer;
    uv_signal_t terminate, interrupt, hangup;
    struct intake intake;
};

/* daemon.c: end, as if told to by a signal; `why` goes to the log. */
void daemon_begin_end(struct daemon *d, const char *why);

void daemon_log_warnings(const char *warnings); /* of a configuration */

/* daemon_reload.c: read the configuration again, and apply it all or leave all
 * as it was; logs which. Lines, to be freed or NULL: *errors, the complaints
 * if it was not applied; *changed, if it was, the keys that differ. 0, ERR_BAD,
 * ERR_CLOSED, ERR_SYS or ERR_NOMEM. `arg` is the daemon. */
int daemon_reload(void *arg, char **errors, char **changed);

/* daemon_views.c: what the API shows. */
void daemon_fill_source(struct daemon *d);
/* Everybody there is, for whoever asks. Kept if there is no memory for a new
 * one: ERR_NOMEM. */
int daemon_publish_nodes(struct daemon *d);

/* daemon_mesh.c: gossip, and what travels by it. */
int daemon_open_mesh(struct daemon *d, struct errmsg *msg);
void daemon_close_mesh(struct daemon *d);

#endif /* PROBER_DAEMON_PRIVATE_H */
