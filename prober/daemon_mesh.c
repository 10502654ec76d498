#include "prober/clock.h"
#include "prober/daemon_private.h"
#include "prober/log.h"

static void on_member_change(void *arg)
{
    struct daemon *d = arg;
    d->follow.is_due = d->is_census_due = true;
}

static void on_mesh_message(void *arg, const struct addr *from,
                            struct span message)
{
    struct daemon *d = arg;
    if (control_port_message(&d->control, from, message))
        return;
    if (d->backfill && backfill_uv_message(d->backfill, from, message))
        return;
    if (d->spread)
        spread_uv_message(d->spread, from, message);
}

static int open_spread(struct daemon *d, struct errmsg *msg)
{
    struct spread_uv_config c = {
        .loop = d->loop,
        .config = d->config,
        .gossip = d->gossip,
        .frames = d->stores.frames,
    };
    d->spread = spread_uv_open(&c);
    if (!d->spread) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    d->stores.spread = d->spread;
    d->source.spread = spread_uv_spread(d->spread);
    return 0;
}

static int open_backfill(struct daemon *d, struct errmsg *msg)
{
    struct backfill_uv_config c = {
        .loop = d->loop,
        .config = d->config,
        .gossip = d->gossip,
        .history = d->stores.history,
    };
    d->backfill = backfill_uv_open(&c);
    if (!d->backfill) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    d->source.backfill = backfill_uv_backfill(d->backfill);
    return 0;
}

int daemon_open_mesh(struct daemon *d, struct errmsg *msg)
{
    char address[ADDR_TEXT_SIZE];
    struct addr advertised;
    struct gossip_config c = {
        .loop = d->loop,
        .config = d->config,
        .policy = &d->policy,
        .on_change = on_member_change,
        .on_message = on_mesh_message,
        .arg = d,
    };
    plane_address(d->plane, &c.responder);
    plane_fingerprint(d->plane, c.fingerprint);
    d->gossip = gossip_open(&c, msg);
    if (!d->gossip)
        return ERR_SYS;
    gossip_address(d->gossip, &advertised);
    log_event(LOG_INFO, "gossip", "advertised",
              addr_format(&advertised, address), NULL);
    d->is_census_due = true;
    int rc = open_spread(d, msg);
    return rc ? rc : open_backfill(d, msg);
}

void daemon_close_mesh(struct daemon *d)
{
    d->source.spread = NULL;
    d->stores.spread = NULL;
    spread_uv_close(d->spread);
    d->spread = NULL;
    d->source.backfill = NULL;
    backfill_uv_close(d->backfill);
    d->backfill = NULL;
    gossip_close(d->gossip);
    d->gossip = NULL;
}
