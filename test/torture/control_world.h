/* test/torture/control_world.h - a control port in this process, a client of it
 * and a target for it to probe, all on one thread.
 *
 * The port's code is what faults strike; the client and the target are the
 * test's own, and are spared. A client waits for its answer for long, but not
 * for one that a fault may have lost.
 */
#ifndef TEST_TORTURE_CONTROL_WORLD_H
#define TEST_TORTURE_CONTROL_WORLD_H

#include <uv.h>

#include "prober/daemon_control.h"
#include "prober/roster.h"

#define CW_TOKEN "0123456789abcdefghijkl"

enum cw_listen { CW_UNIX, CW_TLS };

struct cw {
    uv_loop_t loop;
    struct config *config;
    struct roster *roster;
    struct api_source api;
    struct control_port port;
    bool is_tls;
    bool is_spared;     /* nothing fails any more: wait for answers */
    uint64_t struck_ns; /* when a fault was first seen; 0: not yet */
    int conns[32];      /* of the target */
    unsigned n_conns, n_accepted;
};

/* Everything but the port; nothing of it fails. */
void cw_init(struct cw *w, enum cw_listen listen);
/* 0, or an error as control_port_open() has it. */
int cw_open(struct cw *w);
/* Close the port, if it is open, and all else. The claims about what the audit
 * log has to say are checked here. */
void cw_fini(struct cw *w);

/* A request as bytes, and what comes back until the server closes or `end`
 * stands in it. Returns whether it came to that; `answer` is cut. */
bool cw_ask(struct cw *w, const char *request, const char *end, char *answer,
            size_t size);
/* The same as a gRPC call; what is found is the trailing status, -1: none. */
int cw_call(struct cw *w, const char *target, unsigned count,
            unsigned *n_messages);

/* A configuration like that of cw_init(), with one more line. */
struct config *cw_config(const struct cw *w, const char *more);
struct roster *cw_roster(const struct config *c);

#endif /* TEST_TORTURE_CONTROL_WORLD_H */
