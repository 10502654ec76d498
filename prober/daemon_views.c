#include "prober/census.h"
#include "prober/clock.h"
#include "prober/daemon_private.h"
#include "prober/process.h"

#define STALL_AFTER_NS UINT64_C(10000000000) /* no status: /livez fails */
#define CENSUS_NS      UINT64_C(1000000000)  /* ages in the API are as old */

/* Everybody there is, for whoever asks. Kept if there is no memory for a new
 * one. */
int daemon_publish_nodes(struct daemon *d)
{
    struct census census = {.config = d->config, .roster = d->follow.roster};
    plane_address(d->plane, &census.responder);
    if (d->gossip) {
        gossip_describe(d->gossip, &d->mesh);
        d->mesh.is_holding = roster_is_holding(d->follow.roster);
        census.members = gossip_members(d->gossip);
        census.mesh = d->source.mesh = &d->mesh;
    }
    struct api_nodes *n =
        census_take(&census, clock_now_ns(), clock_now_unix_ns());
    if (!n)
        return ERR_NOMEM;
    api_source_set_nodes(&d->source, n);
    d->is_census_due = false;
    return 0;
}

/* Only when somebody asks: that is rarer than that members change. */
static void refresh_nodes(void *arg)
{
    struct daemon *d = arg;
    uint64_t made_ns = d->source.nodes ? api_nodes_made_ns(d->source.nodes) : 0;
    if (d->is_census_due ||
        (d->gossip && clock_now_ns() - made_ns >= CENSUS_NS))
        (void)daemon_publish_nodes(d);
}

static void refresh_metrics(void *arg)
{
    struct daemon *d = arg;
    process_read(&d->metrics.process);
    httpd_stats(d->httpd, &d->metrics.api);
    control_port_metrics(&d->control, &d->metrics.control);
    if (d->gossip)
        d->metrics.refused = *members_counters(gossip_members(d->gossip));
}

void daemon_fill_source(struct daemon *d)
{
    const struct config *c = d->config;
    struct api_source *s = &d->source;
    s->node = c->node.name;
    s->zone = c->node.zone;
    s->region = c->node.region;
    s->version = PROBER_VERSION;
    s->start_ns = clock_now_ns();
    s->start_unix_ns = clock_now_unix_ns();
    s->frames = d->stores.frames;
    s->history = d->stores.history;
    s->history_max_bytes = c->history.memory_bytes;
    s->retention_s = c->history.retention_ns / 1000000000u;
    s->is_usable = stores_is_usable;
    s->usable_arg = &d->stores;
    s->context = &d->stores.context;
    s->not_ready_reason = "starting";
    s->stall_after_ns = STALL_AFTER_NS;
    s->refresh = refresh_nodes;
    s->refresh_arg = d;
    d->metrics.totals = d->intake.totals;
    d->metrics.refresh = refresh_metrics;
    d->metrics.refresh_arg = d;
    d->metrics.reload.was_successful = true;
    d->metrics.reload.unix_ns = s->start_unix_ns;
    s->metrics = &d->metrics;
    s->now_ns = clock_now_ns;
    s->now_unix_ns = clock_now_unix_ns;
}
