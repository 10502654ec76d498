#include "prober/inquiry_uv.h"

#include <stdlib.h>

#include "prober/clock.h"
#include "prober/inquiry_private.h"
#include "proto/base/due.h"

struct host {
    struct inquiries_config config;
    struct inquiries *core;
    struct remote_uv *remote; /* NULL: no mesh */
    uv_timer_t timer;
};

static int host_random(void *arg, void *out, size_t len)
{
    (void)arg;
    return uv_random(NULL, NULL, out, len, 0, NULL) ? ERR_SYS : 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct host *h = timer->data;
    inquiries_run(h->core);
}

static void host_arm(void *arg, uint64_t due_ns)
{
    struct host *h = arg;
    uint64_t wait_ms = due_ms(due_ns, clock_now_ns());
    /* Its idea of now is that of the loop's last turn. */
    uv_update_time(h->config.loop);
    uv_timer_start(&h->timer, on_timer, wait_ms, 0);
}

static int host_audit(void *arg, const char *event,
                      const struct audit_field *fields)
{
    struct host *h = arg;
    return audit_write(h->config.audit, event, fields);
}

static enum oneoff_state host_find(void *arg, const struct oneoff_request *r,
                                   struct oneoff_target *out)
{
    const struct host *h = arg;
    return oneoffs_find(h->config.oneoffs, r, out);
}

static struct oneoff *host_start(void *arg, const struct oneoff_request *r,
                                 const struct oneoff_sink *sink,
                                 enum oneoff_state *state)
{
    struct host *h = arg;
    return oneoff_start(h->config.oneoffs, r, sink, state);
}

static void host_cancel(void *arg, struct oneoff *e)
{
    (void)arg;
    oneoff_cancel(e);
}

static void host_stats(void *arg, struct oneoffs_stats *out)
{
    const struct host *h = arg;
    oneoffs_stats(h->config.oneoffs, out);
}

static bool host_has_mesh(void *arg)
{
    const struct host *h = arg;
    return h->config.gossip != NULL;
}

static size_t host_choose(void *arg, const struct remote_from *from,
                          unsigned per_zone, uint64_t dice,
                          struct remote_executor *out)
{
    const struct host *h = arg;
    const struct config *config = h->core->config;
    return remote_choose(gossip_members(h->config.gossip), config->node.name,
                         config->node.zone, from, per_zone, dice, out);
}

static bool host_can_ask(void *arg)
{
    const struct host *h = arg;
    return h->remote && remote_uv_is_possible(h->remote);
}

static int host_ask(void *arg, const uint8_t id[REMOTE_ID_SIZE],
                    uint32_t member, const struct oneoff_request *request,
                    const char *who, uint32_t *ask)
{
    struct host *h = arg;
    return remote_uv_ask(h->remote, id, member, request, who, ask);
}

static void host_drop(void *arg, uint32_t ask)
{
    struct host *h = arg;
    remote_uv_drop(h->remote, ask);
}

static const struct inquiry_ops ops = {
    .now_ns = clock_now_ns,
    .now_unix_ns = clock_now_unix_ns,
    .random = host_random,
    .arm = host_arm,
    .audit = host_audit,
    .find = host_find,
    .start = host_start,
    .cancel = host_cancel,
    .oneoff_stats = host_stats,
    .has_mesh = host_has_mesh,
    .choose = host_choose,
    .can_ask = host_can_ask,
    .ask = host_ask,
    .drop = host_drop,
};

static void on_taken(void *arg, uint32_t ask)
{
    (void)arg;
    (void)ask; /* its silence would be told, that it speaks is not */
}

static void on_sample(void *arg, uint32_t ask, const struct sample *s,
                      const struct sample_names *names)
{
    struct host *h = arg;
    inquiries_remote_sample(h->core, ask, s, names);
}

static void on_end(void *arg, uint32_t ask, enum oneoff_state state,
                   uint32_t missed, uint32_t lost)
{
    struct host *h = arg;
    inquiries_remote_lost(h->core, ask, lost);
    inquiries_remote_end(h->core, ask, state, missed);
}

static struct remote_uv *open_remote(struct host *h)
{
    const struct remote_uv_config config = {
        .loop = h->config.loop,
        .config = h->config.config,
        .gossip = h->config.gossip,
        .oneoffs = h->config.oneoffs,
        .audit = h->config.audit,
    };
    const struct remote_sink sink = {
        .on_taken = on_taken,
        .on_sample = on_sample,
        .on_end = on_end,
        .arg = h,
    };
    return remote_uv_open(&config, &sink);
}

struct inquiries *inquiries_open(const struct inquiries_config *c,
                                 struct errmsg *msg)
{
    struct host *h = calloc(1, sizeof(*h));
    if (!h)
        goto out;
    h->config = *c;
    const struct inquiries_core_config core = {
        .ops = &ops,
        .ops_arg = h,
        .config = c->config,
        .principals = c->principals,
        .history = c->history,
    };
    h->core = inquiries_new(&core);
    if (!h->core)
        goto out;
    if (c->gossip) {
        h->remote = open_remote(h);
        if (!h->remote)
            goto out;
    }
    uv_timer_init(c->loop, &h->timer);
    h->timer.data = h;
    return h->core;

out:
    errmsg_set(msg, "control: out of memory");
    if (h && h->core)
        inquiries_end(h->core);
    free(h);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void inquiries_close(struct inquiries *i)
{
    if (!i)
        return;
    struct host *h = i->ops_arg;
    inquiries_end(i);
    remote_uv_close(h->remote);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}

void inquiries_set_config(struct inquiries *i, const struct config *config)
{
    const struct host *h = i->ops_arg;
    i->config = config;
    if (h->remote)
        remote_uv_reload(h->remote, config);
}

void inquiries_drain(struct inquiries *i)
{
    const struct host *h = i->ops_arg;
    i->is_draining = true;
    if (h->remote)
        remote_uv_drain(h->remote);
}

bool inquiries_remote_stats(const struct inquiries *i, struct remote_stats *out)
{
    const struct host *h = i->ops_arg;
    if (h->remote)
        remote_stats(remote_uv_remote(h->remote), out);
    return h->remote != NULL;
}

bool inquiries_message(struct inquiries *i, const struct addr *from,
                       struct span message)
{
    const struct host *h = i->ops_arg;
    return h->remote && remote_uv_message(h->remote, from, message);
}
