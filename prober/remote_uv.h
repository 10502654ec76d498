/* prober/remote_uv.h - remote.h in this daemon: its timer, its clock, its way
 * to the members, and the one-off attempts that others ask for.
 *
 * Executions for others are audited here, before and after, as those that came
 * in by the control port are: a line that cannot be written refuses them. They
 * are refused as well while control.run_for_others is off and while this node
 * drains.
 *
 * Nothing is sent and nothing is heeded without keys for gossip, nor while
 * gossip.accept_plaintext is on: what came in the clear cannot be told from
 * what came sealed here. Whoever asks such a node hears nothing. Control plane.
 */
#ifndef PROBER_REMOTE_UV_H
#define PROBER_REMOTE_UV_H

#include <uv.h>

#include "prober/audit.h"
#include "prober/gossip.h"
#include "prober/oneoff_uv.h"
#include "prober/remote.h"

struct remote_uv; /* opaque */

struct remote_uv_config {
    uv_loop_t *loop;
    const struct config *config; /* borrowed while opening */
    struct gossip *gossip;       /* these three until remote_uv_close() */
    struct oneoffs *oneoffs;
    struct audit *audit;
};

/* Of an ask; as in oneoff_uv.h. on_taken: the executor has answered. */
struct remote_sink {
    void (*on_taken)(void *arg, uint32_t ask);
    void (*on_sample)(void *arg, uint32_t ask, const struct sample *s,
                      const struct sample_names *names);
    void (*on_end)(void *arg, uint32_t ask, enum oneoff_state state,
                   uint32_t missed, uint32_t lost);
    void *arg;
};

/* NULL without memory. The sink's functions are called on the loop, never from
 * within the functions below but for remote_uv_message(); they may call
 * remote_uv_ask() and remote_uv_drop(). */
struct remote_uv *remote_uv_open(const struct remote_uv_config *c,
                                 const struct remote_sink *sink);
/* What runs for others is cancelled, what others run is not asked for any more,
 * without a word to the sink. oneoffs and audit must still be open, or oneoffs
 * be closed already. The handle ends with the loop's next turn. NULL is
 * allowed. */
void remote_uv_close(struct remote_uv *u);
/* Take what this module needs of a new configuration. */
void remote_uv_reload(struct remote_uv *u, const struct config *config);
/* Begin nothing for others any more; what runs goes on. */
void remote_uv_drain(struct remote_uv *u);

/* Is gossip encrypted, and only that, so that others can be asked at all? */
bool remote_uv_is_possible(const struct remote_uv *u);
/* remote_ask() and remote_drop(). ERR_AUTH: it is not possible. */
int remote_uv_ask(struct remote_uv *u, const uint8_t id[REMOTE_ID_SIZE],
                  uint32_t member, const struct oneoff_request *request,
                  const char *who, uint32_t *ask);
void remote_uv_drop(struct remote_uv *u, uint32_t ask);

/* A message of ours came from the mesh; false: not of this module. */
bool remote_uv_message(struct remote_uv *u, const struct addr *from,
                       struct span message);
const struct remote *remote_uv_remote(const struct remote_uv *u);

#endif /* PROBER_REMOTE_UV_H */
