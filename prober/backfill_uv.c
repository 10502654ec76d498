#include "prober/backfill_uv.h"

#include <stdlib.h>
#include <string.h>

#include "prober/clock.h"
#include "proto/base/due.h"
#include "proto/base/rng.h"

struct backfill_uv {
    struct gossip *gossip;
    struct backfill *backfill;
    uv_timer_t timer;
};

/* Hand over what is to be sent, and wait for the next deadline. */
static void carry_out(struct backfill_uv *u);

static void on_timer(uv_timer_t *timer)
{
    struct backfill_uv *u = timer->data;
    backfill_on_timer(u->backfill, clock_now_ns());
    carry_out(u);
}

static void carry_out(struct backfill_uv *u)
{
    struct backfill_effect e;
    while (backfill_next(u->backfill, &e)) {
        /* What cannot be sent is asked for again. */
        (void)gossip_send(u->gossip, e.member, e.data, true);
        gossip_kick(u->gossip);
    }
    uint64_t wait_ms = due_ms(backfill_deadline(u->backfill), clock_now_ns());
    uv_timer_start(&u->timer, on_timer, wait_ms, 0);
}

struct backfill_uv *backfill_uv_open(const struct backfill_uv_config *c)
{
    const char *name = c->config->node.name;
    struct backfill_uv *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    struct backfill_config config = {
        .name = name,
        .members = gossip_members(c->gossip),
        .history = c->history,
        .seed = hash_bytes(~clock_now_unix_ns(), name, strlen(name)),
        .timing = backfill_timing_default,
        .limits = backfill_limits_default,
    };
    u->gossip = c->gossip;
    u->backfill = backfill_open(&config, clock_now_ns());
    if (!u->backfill) {
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

void backfill_uv_close(struct backfill_uv *u)
{
    if (!u)
        return;
    backfill_close(u->backfill);
    u->backfill = NULL;
    uv_close((uv_handle_t *)&u->timer, on_closed);
}

bool backfill_uv_message(struct backfill_uv *u, const struct addr *from,
                         struct span message)
{
    bool is_ours =
        backfill_on_message(u->backfill, clock_now_ns(), from, message);
    if (is_ours)
        carry_out(u);
    return is_ours;
}

const struct backfill *backfill_uv_backfill(const struct backfill_uv *u)
{
    return u->backfill;
}
