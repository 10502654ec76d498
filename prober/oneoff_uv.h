/* prober/oneoff_uv.h - one-off attempts on this node.
 *
 * Slots, sockets, resolver and TLS contexts of their own, on the control
 * plane's loop: the measuring plane is not touched, whatever is asked for.
 * Bounded: executions, attempts in flight over all, and attempts per second
 * towards one address and port, by whatever name. Which addresses may be
 * dialled is decided for each attempt, on what its own lookup returned
 * (target_policy.h).
 */
#ifndef PROBER_ONEOFF_UV_H
#define PROBER_ONEOFF_UV_H

#include <uv.h>

#include "prober/audit.h"
#include "prober/config.h"
#include "prober/oneoff_target.h"
#include "prober/roster.h"
#include "prober/sample.h"
#include "prober/target_policy.h"

struct oneoffs; /* opaque */
struct oneoff;  /* one execution, owned by the above */

/* Limits are those of config->control: executions (requests_max), attempts in
 * flight, attempts per second towards one address and port. */
struct oneoffs_config {
    uv_loop_t *loop;
    const struct config *config;        /* borrowed until oneoffs_close() */
    const struct roster *roster;        /* the same */
    const struct target_policy *policy; /* the same */
    /* The same; may be NULL. What is judged is written there: each denial, and
     * each address that a lookup gave, before it is dialled. What cannot be
     * written is not dialled either. */
    struct audit *audit;
};

struct oneoffs *oneoffs_open(const struct oneoffs_config *c,
                             struct errmsg *msg);
/* Cancels all (their on_end is called), then closes; the loop must run once
 * more. NULL is allowed. */
void oneoffs_close(struct oneoffs *o);
/* Take a new configuration, and roster: TLS contexts, DNS servers and limits
 * are made anew for executions that begin later; what runs goes on with the
 * old ones. All or nothing: ERR_BAD, ERR_SYS or ERR_NOMEM with `msg`. */
int oneoffs_reload(struct oneoffs *o, const struct config *config,
                   const struct roster *roster, struct errmsg *msg);

/* Both are called on the loop, never from within oneoff_start(). */
struct oneoff_sink {
    /* `names` and `s` are valid during the call. */
    void (*on_sample)(void *arg, const struct sample *s,
                      const struct sample_names *names);
    /* Once, the last call; the execution is gone afterwards. `missed`: slots
     * without an attempt. */
    void (*on_end)(void *arg, enum oneoff_state state, uint32_t missed);
    void *arg;
    const char *id; /* of the request, for the audit log; copied; may be NULL */
    uint64_t owner; /* who it is for, any number: of the places and of the slots
                     * a part is kept for others than one and the same */
};

/* Look it up; touches no network. Returns ONEOFF_RUNNING or why not. */
enum oneoff_state oneoffs_find(const struct oneoffs *o,
                               const struct oneoff_request *r,
                               struct oneoff_target *out);

/* Begin. `r` is checked and copied. Returns NULL with *state BUSY, DENIED
 * (by its name or literal address), BAD_TARGET, REFUSED or FAILED, and then
 * nothing is called. What a name resolves to is judged per attempt: a denial
 * there ends the execution as DENIED. */
struct oneoff *oneoff_start(struct oneoffs *o, const struct oneoff_request *r,
                            const struct oneoff_sink *sink,
                            enum oneoff_state *state);
/* on_end follows in a later turn, with CANCELLED. */
void oneoff_cancel(struct oneoff *e);

struct oneoffs_stats {
    uint64_t executions, attempts, denied, busy, missed;
    size_t running, in_flight;
};
void oneoffs_stats(const struct oneoffs *o, struct oneoffs_stats *out);

#endif /* PROBER_ONEOFF_UV_H */
