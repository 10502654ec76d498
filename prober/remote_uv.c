#include "prober/remote_uv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/clock.h"
#include "proto/base/due.h"
#include "proto/base/rng.h"

#define NS_PER_MS       UINT64_C(1000000)
#define ADDRESSES_SIZE  512
#define ID_TEXT_SIZE    (2 * REMOTE_ID_SIZE + 1)
#define TARGET_AT_MOST  ONEOFF_TARGET_SIZE
#define COORDINATOR_MAX 129

/* One execution for another node. It outlives its run, which may be stopped
 * before its attempts have ended. */
struct execution {
    struct remote_uv *owner; /* NULL: closed, nobody is interested */
    struct execution *next;
    struct oneoff *oneoff;
    uint32_t run, missed;
    uint64_t samples, ok;
    char id[ID_TEXT_SIZE]; /* as in the coordinator's audit log */
    char node[COORDINATOR_MAX], who[REMOTE_WHO_SIZE];
    char target[TARGET_AT_MOST];
    char addresses[ADDRESSES_SIZE]; /* that were dialled, " " between them */
};

struct remote_uv {
    struct gossip *gossip;
    struct oneoffs *oneoffs;
    struct audit *audit;
    struct remote *remote;
    struct remote_sink sink;
    struct execution *executions;
    uv_timer_t timer;
    bool runs_for_others, is_draining;
    bool is_carrying_out;
};

static void carry_out(struct remote_uv *u);

/* ---- executions: what is written about them ---- */

static const char *standing_name(enum target_standing s)
{
    switch (s) {
    case TARGET_OTHER:
        return "other";
    case TARGET_MEMBER:
        return "member";
    case TARGET_CONFIGURED:
        return "configured";
    }
    return "unknown";
}

/* Before anything is done. `state`: RUNNING, or why it is not. */
static int audit_begin(struct remote_uv *u, const struct execution *x,
                       const struct oneoff_request *r, enum oneoff_state state,
                       enum target_standing standing)
{
    bool is_allowed = state == ONEOFF_RUNNING;
    const struct audit_field fields[] = {
        {.key = "id", .text = x->id},
        {.key = "for_node", .text = x->node},
        {.key = "principal", .text = x->who},
        {.key = "target", .text = x->target},
        {.key = "count", .number = r->count},
        {.key = "interval_ms", .number = r->interval_ns / NS_PER_MS},
        {.key = "timeout_ms", .number = r->timeout_ns / NS_PER_MS},
        {.key = "decision",
         .text = is_allowed ? "allowed" : oneoff_state_name(state)},
        {.key = "rule", .text = is_allowed ? standing_name(standing) : "none"},
        {.key = NULL},
    };
    return audit_write(u->audit, "probe_begin", fields);
}

static void audit_end(struct remote_uv *u, const struct execution *x,
                      enum oneoff_state state)
{
    const struct audit_field fields[] = {
        {.key = "id", .text = x->id},
        {.key = "for_node", .text = x->node},
        {.key = "principal", .text = x->who},
        {.key = "target", .text = x->target},
        {.key = "state", .text = oneoff_state_name(state)},
        {.key = "attempts", .number = x->samples},
        {.key = "ok", .number = x->ok},
        {.key = "missed", .number = x->missed},
        {.key = "addresses", .text = x->addresses},
        {.key = NULL},
    };
    /* It did happen; that it is not written is counted and seen there. */
    (void)audit_write(u->audit, "probe_end", fields);
}

/* Each once, as many as there is room for. */
static void note_address(struct execution *x, const struct addr *a)
{
    char text[ADDR_TEXT_SIZE];
    if (a->family == ADDR_NONE)
        return;
    size_t used = strlen(x->addresses);
    size_t len = strlen(addr_format(a, text));
    for (const char *p = x->addresses; (p = strstr(p, text)); p += len) {
        if ((p == x->addresses || p[-1] == ' ') &&
            (p[len] == ' ' || p[len] == '\0'))
            return;
    }
    if (used + 1 + len >= sizeof(x->addresses))
        return;
    if (used > 0)
        x->addresses[used++] = ' ';
    memcpy(x->addresses + used, text, len + 1);
}

/* ---- executions: their course ---- */

static void unlink_execution(struct remote_uv *u, struct execution *x)
{
    struct execution **at = &u->executions;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
}

static void on_sample(void *arg, const struct sample *s,
                      const struct sample_names *names)
{
    struct execution *x = arg;
    struct remote_uv *u = x->owner;
    if (!u)
        return;
    x->samples++;
    x->ok += s->outcome == OUTCOME_OK;
    note_address(x, &s->peer);
    remote_sample(u->remote, clock_now_ns(), x->run, s, names);
    carry_out(u);
}

static void on_end(void *arg, enum oneoff_state state, uint32_t missed)
{
    struct execution *x = arg;
    struct remote_uv *u = x->owner;
    if (u) {
        x->missed = missed;
        audit_end(u, x, state);
        unlink_execution(u, x);
        remote_ended(u->remote, clock_now_ns(), x->run, state, missed);
    }
    free(x);
    if (u)
        carry_out(u);
}

static struct execution *make_execution(struct remote_uv *u,
                                        const struct remote_effect *e)
{
    struct execution *x = calloc(1, sizeof(*x));
    if (!x)
        return NULL;
    x->owner = u;
    x->run = e->run;
    for (size_t i = 0; i < e->data.len && i < REMOTE_ID_SIZE; i++)
        snprintf(x->id + 2 * i, 3, "%02x", e->data.data[i]);
    memcpy(x->node, e->text, strnlen(e->text, sizeof(x->node) - 1));
    memcpy(x->who, e->who, strnlen(e->who, sizeof(x->who) - 1));
    memcpy(x->target, e->request->target,
           strnlen(e->request->target, sizeof(x->target) - 1));
    return x;
}

/* Written down first; only then it may have an effect. */
static enum oneoff_state execute(struct remote_uv *u, struct execution *x,
                                 const struct oneoff_request *r)
{
    const struct oneoff_sink sink = {
        .on_sample = on_sample,
        .on_end = on_end,
        .arg = x,
        .id = x->id,
        .owner = hash_bytes(1, x->node, strlen(x->node)),
    };
    struct oneoff_target target = {.standing = TARGET_OTHER};
    enum oneoff_state state = ONEOFF_REFUSED;
    if (u->runs_for_others && !u->is_draining)
        state = oneoffs_find(u->oneoffs, r, &target);
    if (audit_begin(u, x, r, state, target.standing))
        return ONEOFF_REFUSED;
    if (state != ONEOFF_RUNNING)
        return state;
    x->oneoff = oneoff_start(u->oneoffs, r, &sink, &state);
    if (x->oneoff)
        return ONEOFF_RUNNING;
    audit_end(u, x, state);
    return state;
}

static void start(struct remote_uv *u, const struct remote_effect *e)
{
    enum oneoff_state state = ONEOFF_FAILED;
    struct execution *x = make_execution(u, e);
    if (x)
        state = execute(u, x, e->request);
    if (state == ONEOFF_RUNNING) {
        x->next = u->executions;
        u->executions = x;
    } else {
        free(x);
    }
    remote_started(u->remote, clock_now_ns(), e->run, state);
}

static void stop(struct remote_uv *u, uint32_t run)
{
    for (struct execution *x = u->executions; x; x = x->next) {
        if (x->run == run)
            oneoff_cancel(x->oneoff);
    }
}

/* ---- effects ---- */

bool remote_uv_is_possible(const struct remote_uv *u)
{
    struct api_mesh mesh;
    gossip_describe(u->gossip, &mesh);
    return mesh.n_keys > 0 && !mesh.accepts_clear;
}

static void send_message(struct remote_uv *u, const struct remote_effect *e)
{
    int rc = gossip_send(u->gossip, e->member, e->data, true);
    /* Whoever is gone is noticed there; a stream will be free again. */
    if (rc == ERR_BUSY)
        remote_unsent(u->remote, clock_now_ns());
    else if (!rc)
        gossip_kick(u->gossip);
}

static void carry_out_one(struct remote_uv *u, const struct remote_effect *e)
{
    const struct remote_sink *sink = &u->sink;
    switch (e->kind) {
    case REMOTE_SEND:
        send_message(u, e);
        break;
    case REMOTE_START:
        start(u, e);
        break;
    case REMOTE_STOP:
        stop(u, e->run);
        break;
    case REMOTE_TAKEN:
        sink->on_taken(sink->arg, e->ask);
        break;
    case REMOTE_SAMPLE:
        sink->on_sample(sink->arg, e->ask, e->sample, e->names);
        break;
    case REMOTE_END:
        sink->on_end(sink->arg, e->ask, e->state, e->missed, e->lost);
        break;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct remote_uv *u = timer->data;
    remote_on_timer(u->remote, clock_now_ns());
    carry_out(u);
}

static void arm(struct remote_uv *u)
{
    uint64_t due_ns = remote_deadline(u->remote);
    if (due_ns == UINT64_MAX)
        uv_timer_stop(&u->timer);
    else
        uv_timer_start(&u->timer, on_timer, due_ms(due_ns, clock_now_ns()), 0);
}

/* Sinks call back into this module while effects are taken: those then only
 * add to what the outermost call carries out. */
static void carry_out(struct remote_uv *u)
{
    struct remote_effect e;
    if (u->is_carrying_out)
        return;
    u->is_carrying_out = true;
    while (remote_next(u->remote, &e))
        carry_out_one(u, &e);
    u->is_carrying_out = false;
    arm(u);
}

/* ---- life ---- */

struct remote_uv *remote_uv_open(const struct remote_uv_config *c,
                                 const struct remote_sink *sink)
{
    const char *name = c->config->node.name;
    struct remote_uv *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    struct remote_config config = {
        .name = name,
        .members = gossip_members(c->gossip),
        .seed = hash_bytes(clock_now_unix_ns(), name, strlen(name)),
    };
    u->gossip = c->gossip;
    u->oneoffs = c->oneoffs;
    u->audit = c->audit;
    u->sink = *sink;
    u->remote = remote_open(&config);
    if (!u->remote) {
        free(u);
        return NULL;
    }
    remote_uv_reload(u, c->config);
    uv_timer_init(c->loop, &u->timer);
    u->timer.data = u;
    return u;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void remote_uv_close(struct remote_uv *u)
{
    if (!u)
        return;
    assert(!u->is_carrying_out);
    while (u->executions) {
        struct execution *x = u->executions;
        u->executions = x->next;
        audit_end(u, x, ONEOFF_CANCELLED);
        x->owner = NULL;
        oneoff_cancel(x->oneoff); /* it is freed when that has ended */
    }
    remote_close(u->remote);
    u->remote = NULL;
    uv_close((uv_handle_t *)&u->timer, on_closed);
}

void remote_uv_reload(struct remote_uv *u, const struct config *config)
{
    u->runs_for_others = config->control.runs_for_others;
}

void remote_uv_drain(struct remote_uv *u)
{
    u->is_draining = true;
}

/* ---- asking ---- */

int remote_uv_ask(struct remote_uv *u, const uint8_t id[REMOTE_ID_SIZE],
                  uint32_t member, const struct oneoff_request *request,
                  const char *who, uint32_t *ask)
{
    if (!remote_uv_is_possible(u))
        return ERR_AUTH;
    int rc =
        remote_ask(u->remote, clock_now_ns(), id, member, request, who, ask);
    /* From the timer: the caller does not know its number yet. */
    if (!rc && !u->is_carrying_out)
        uv_timer_start(&u->timer, on_timer, 0, 0);
    return rc;
}

void remote_uv_drop(struct remote_uv *u, uint32_t ask)
{
    remote_drop(u->remote, clock_now_ns(), ask);
    if (!u->is_carrying_out)
        uv_timer_start(&u->timer, on_timer, 0, 0);
}

bool remote_uv_message(struct remote_uv *u, const struct addr *from,
                       struct span message)
{
    if (message.len == 0 || message.data[0] != REMOTE_TYPE)
        return false;
    if (!remote_uv_is_possible(u))
        return true;
    remote_on_message(u->remote, clock_now_ns(), from, message);
    carry_out(u);
    return true;
}

const struct remote *remote_uv_remote(const struct remote_uv *u)
{
    return u->remote;
}
