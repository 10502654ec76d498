#include "prober/spread_uv.h"

#include <stdlib.h>
#include <string.h>

#include "prober/clock.h"
#include "proto/base/due.h"
#include "proto/base/rng.h"

#define NS_PER_MS UINT64_C(1000000)

struct spread_uv {
    struct gossip *gossip;
    struct spread *spread;
    struct frames *frames;
    uv_timer_t timer;
};

/* Hand over what is to be sent, and wait for the next deadline. */
static void carry_out(struct spread_uv *u);

static void on_timer(uv_timer_t *timer)
{
    struct spread_uv *u = timer->data;
    spread_on_timer(u->spread, clock_now_ns());
    carry_out(u);
}

static void carry_out(struct spread_uv *u)
{
    struct spread_effect e;
    bool has_sent = false;
    while (spread_next(u->spread, &e)) {
        /* What cannot be sent is asked for again. */
        (void)gossip_send(u->gossip, e.member, e.data, e.by_stream);
        has_sent = true;
    }
    if (has_sent)
        gossip_kick(u->gossip);
    uint64_t wait_ms = due_ms(spread_deadline(u->spread), clock_now_ns());
    uv_timer_start(&u->timer, on_timer, wait_ms, 0);
}

static uint64_t seed_of(const struct config *c, uint64_t now_unix_ns)
{
    return hash_bytes(now_unix_ns, c->node.name, strlen(c->node.name));
}

struct spread_uv *spread_uv_open(const struct spread_uv_config *c)
{
    struct spread_uv *u = calloc(1, sizeof(*u));
    uint64_t now_unix_ns = clock_now_unix_ns();
    if (!u)
        return NULL;
    struct spread_config config = {
        .name = c->config->node.name,
        .zone = c->config->node.zone,
        .members = gossip_members(c->gossip),
        .frames = c->frames,
        .seed = seed_of(c->config, now_unix_ns),
        .timing = spread_timing_default,
        .limits = spread_limits_default,
    };
    u->gossip = c->gossip;
    u->frames = c->frames;
    u->spread = spread_open(&config, clock_now_ns(),
                            (int64_t)(now_unix_ns / NS_PER_MS));
    if (!u->spread) {
        free(u);
        return NULL;
    }
    uv_timer_init(c->loop, &u->timer);
    u->timer.data = u;
    carry_out(u);
    return u;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void spread_uv_close(struct spread_uv *u)
{
    if (!u)
        return;
    spread_close(u->spread);
    u->spread = NULL;
    uv_close((uv_handle_t *)&u->timer, on_closed);
}

int spread_uv_own(struct spread_uv *u, const void *data, size_t len)
{
    int rc = spread_on_own(u->spread, clock_now_ns(), data, len);
    carry_out(u);
    return rc;
}

void spread_uv_message(struct spread_uv *u, const struct addr *from,
                       struct span message)
{
    spread_on_message(u->spread, clock_now_ns(), from, message);
    carry_out(u);
}

uint64_t spread_uv_tick(struct spread_uv *u, uint64_t now_unix_ns)
{
    uint64_t now_ns = clock_now_ns();
    spread_on_clock(u->spread, now_ns, (int64_t)(now_unix_ns / NS_PER_MS));
    int64_t unix_ms = spread_unix_ms(u->spread, now_ns);
    uint64_t unix_s = unix_ms > 0 ? (uint64_t)unix_ms / 1000 : 0;
    frames_expire(u->frames, unix_s);
    return unix_s;
}

const struct spread *spread_uv_spread(const struct spread_uv *u)
{
    return u->spread;
}
