/* prober/daemon_control.h - the control port in the daemon.
 *
 * Puts together what control.h, inquiry_uv.h and the rest are made for: who may
 * do what, the audit log, the target policy of this host, the one-off slots,
 * and the server that listens on a unix socket or on TCP. All of it but the
 * server is there even if nobody listens: other nodes may ask, too.
 *
 * A reload prepares everything that can fail, and then swaps. Control plane's
 * thread.
 */
#ifndef PROBER_DAEMON_CONTROL_H
#define PROBER_DAEMON_CONTROL_H

#include "prober/control.h"
#include "prober/control_socket.h"
#include "prober/gossip.h"
#include "prober/httpd_uv.h"
#include "prober/inquiry_uv.h"
#include "prober/metrics.h"
#include "prober/people.h"

struct control_port_config {
    uv_loop_t *loop;
    const struct config *config; /* these are borrowed until the end */
    const struct roster *roster;
    struct gossip *gossip; /* NULL: there is no mesh */
    const struct history *history;
    struct api_source *api;
    struct addr api_listen, gossip_listen; /* as bound; no targets */
    int (*reload)(void *arg, char **errors, char **changed);
    void (*drain)(void *arg);
    void *arg;
};

struct control_port {
    struct control_port_config given;
    struct target_policy policy;
    uint64_t policy_ns; /* when addresses were looked at */
    struct audit *audit;
    struct principals *principals;
    struct oneoffs *oneoffs;
    struct inquiries *inquiries;
    struct tls_context *tls; /* of TCP; NULL: none, or in the clear */
    struct httpd *httpd;     /* NULL: nobody listens */
    bool has_socket;
    struct control_socket socket;
    struct addr listen; /* as bound; ADDR_NONE: a unix socket, or none */
    struct control_source source;
    const char *hosts[CONFIG_HOSTS_MAX];
};

/* `c` is zeroed. If control.listen is what the file says, not being able to
 * listen is an error; with the default there is a warning. 0, or an error with
 * `msg`; control_port_close() and _fini() in any case. */
int control_port_open(struct control_port *c,
                      const struct control_port_config *given,
                      struct errmsg *msg);
/* Before the mesh is closed; the loop must run once more, then _fini(). */
void control_port_close(struct control_port *c);
void control_port_fini(struct control_port *c);

/* No new one-off probes. What runs may end, until control_port_stop(), with
 * which it ends as cancelled. */
void control_port_drain(struct control_port *c);
void control_port_stop(struct control_port *c);
/* Once a second. */
void control_port_tick(struct control_port *c, uint64_t now_ns);
/* A message of ours from the mesh; false: not of this. */
bool control_port_message(struct control_port *c, const struct addr *from,
                          struct span message);
void control_port_metrics(const struct control_port *c,
                          struct metrics_control *out);

/* ---- another configuration ---- */

struct control_change {
    bool has_people;
    struct people_lists people;
    struct target_policy *policy;
    struct tls_context *tls;
};
/* 0, or an error with `msg` that names the key or file; control_change_drop()
 * in any case but after control_port_apply(). `change` is zeroed. */
int control_port_prepare(struct control_port *c, const struct config *to,
                         struct control_change *change, struct errmsg *msg);
/* The configuration borrowed has the new content by now, and the roster. What
 * can fail is tried first; an error with `msg`: people and policy are as they
 * were, for the rest there is control_port_restore(). */
int control_port_apply(struct control_port *c, struct control_change *change,
                       struct errmsg *msg);
/* After control_port_apply() has failed, and the configuration's content is the
 * old one again. */
void control_port_restore(struct control_port *c);
void control_change_drop(struct control_change *change);

#endif /* PROBER_DAEMON_CONTROL_H */
