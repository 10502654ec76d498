/* prober/control.h - what the control port answers (docs/api.md).
 *
 *     POST   /v1/probes        a one-off probe; NDJSON, a sample a line
 *     DELETE /v1/probes/{id}   cancel it
 *     POST   /v1/reload        read the configuration again
 *     POST   /v1/drain         as SIGTERM
 *     GET    /v1/status        this node, its control port, the last reload
 *     GET    /api/v1/..., /metrics   the read-only API
 *     GET    /-/healthy        200 while the loop runs; no credentials needed
 *
 * Checks, in this order, before anything of a request is looked at further:
 * Origin (there must be none), Host (an address, localhost, this node's name
 * or one of control.hosts; not on a unix socket), identity, role; for POST
 * with a body its content type (application/json). Shell's view: an
 * httpd_handler, plus the gRPC side in control_grpc.h.
 */
#ifndef PROBER_CONTROL_H
#define PROBER_CONTROL_H

#include "prober/api.h"
#include "prober/audit.h"
#include "prober/httpd.h"
#include "prober/inquiry.h"
#include "prober/principals.h"

struct control_source { /* borrowed while the server is open */
    struct inquiries *inquiries;
    struct principals *principals;
    struct audit *audit;
    struct api_source *api;
    const char *const *hosts; /* further Host names allowed */
    size_t n_hosts;
    /* Reload: all or nothing. Lines, to be freed or NULL: *errors, if it was
     * not applied, all complaints; *changed, if it was, the keys that
     * differ. ERR_BUSY: one is under way. ERR_CLOSED: the node stops. */
    int (*reload)(void *arg, char **errors, char **changed);
    void (*drain)(void *arg);
    void *arg;
    uint64_t (*now_ns)(void);
    uint64_t reloads, reload_failures; /* for status */
    uint64_t last_reload_unix_ns;
    bool is_last_reload_ok;
};

/* An httpd_handler; arg is a struct control_source *. */
void control_handle(void *arg, const struct httpd_request *request,
                    struct httpd_answer *answer);

/* The checks above, for the gRPC side as well. Returns 0 or the HTTP status to
 * refuse with, *code set. Refusals are audited. */
unsigned control_admit(struct control_source *s,
                       const struct httpd_request *request,
                       enum control_action action, struct principal *who,
                       const char **code);

#endif /* PROBER_CONTROL_H */
