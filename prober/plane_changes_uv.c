/* What the measuring thread is told to change, a slice at a time. */
#include <assert.h>
#include <stdlib.h>

#include "prober/clock.h"
#include "prober/plane_private_uv.h"

#define CHANGES_PER_TURN 32 /* targets taken over, below a tenth of a ms */

/* ---- targets in, and back ---- */

/* Nothing of it is in flight any more. It goes back with the next status, that
 * is, behind all of its samples. */
static void retire(struct plane *p, struct aim *aim)
{
    p->aims[aim->slot] = NULL;
    aim->next = p->retired;
    p->retired = aim;
}

void plane_send_back(struct plane *p)
{
    if (p->retired && link_post(p->returned, &p->retired))
        p->retired = NULL;
}

void plane_end_attempt(struct plane *p, size_t index, bool is_ok)
{
    const struct schedule_entry *e = &p->schedule.entries[index];
    struct aim *aim = p->aims[e->target];

    schedule_done(&p->schedule, index, false);
    aim->answers[aim_kind(e->protocol, e->mode)] = is_ok;
    aim->n_running--;
    /* When all is closed, the loop of the probes does it by itself. */
    if (!aim->is_removed || p->is_closing)
        return;
    if (e->mode == MODE_WARM) {
        probe_warm_close(aim->warm[e->protocol]);
        aim->warm[e->protocol] = NULL;
    }
    if (aim->n_running == 0)
        retire(p, aim);
}

static uint64_t interval_of(const struct plane *p, unsigned mode)
{
    return mode == MODE_COLD ? p->pace.cold_ns : p->pace.warm_ns;
}

static uint16_t in_flight_max_of(const struct plane *p, unsigned mode)
{
    return mode == MODE_COLD ? p->pace.per_target_max : 1;
}

static void add_entry(struct plane *p, struct aim *aim, unsigned protocol,
                      unsigned mode, uint64_t now_ns)
{
    struct schedule_entry e = {
        .interval_ns = interval_of(p, mode),
        .target = aim->slot,
        .protocol = (uint8_t)protocol,
        .mode = (uint8_t)mode,
        .in_flight_max = in_flight_max_of(p, mode),
    };
    int index = schedule_add(&p->schedule, p->node, aim->name, &e, now_ns);
    assert(index >= 0); /* there is room for all slots */
    aim->entries[aim_kind(protocol, mode)] = index;
}

static void add_aim(struct plane *p, struct aim *aim, uint64_t now_ns)
{
    assert(!p->aims[aim->slot]);
    p->aims[aim->slot] = aim;
    for (unsigned protocol = 0; protocol < PROTOCOL_N; protocol++) {
        if (!(aim->protocols & 1u << protocol))
            continue;
        for (unsigned mode = 0; mode < MODE_N; mode++)
            add_entry(p, aim, protocol, mode, now_ns);
    }
}

/* What is in flight ends by itself, and is reported: it was begun while this
 * was a target. */
static void remove_aim(struct plane *p, struct aim *aim)
{
    aim->is_removed = true;
    for (unsigned protocol = 0; protocol < PROTOCOL_N; protocol++) {
        int warm = aim->entries[aim_kind(protocol, MODE_WARM)];
        if (warm >= 0 && p->schedule.entries[warm].in_flight == 0) {
            probe_warm_close(aim->warm[protocol]);
            aim->warm[protocol] = NULL;
        }
    }
    for (size_t i = 0; i < AIM_KINDS; i++) {
        if (aim->entries[i] >= 0)
            schedule_remove(&p->schedule, (size_t)aim->entries[i]);
    }
    if (aim->n_running == 0)
        retire(p, aim);
}

/* A slice of it. True: that was the last one. */
static bool take_over(struct plane *p, struct handover *h)
{
    uint64_t now_ns = clock_now_ns();
    size_t n = h->n_removed + h->n_added;
    for (int i = 0; i < CHANGES_PER_TURN && h->done < n; i++, h->done++) {
        if (h->done < h->n_removed)
            remove_aim(p, p->aims[h->removed[h->done]]);
        else
            add_aim(p, h->added[h->done - h->n_removed], now_ns);
    }
    return h->done == n;
}
/* ---- another pace, other certificates ---- */

void plane_change_free(struct plane_change *c)
{
    if (!c)
        return;
    tls_context_close(c->client_tls);
    tls_context_close(c->server_tls);
    resolver_drop(c->resolver);
    free(c);
}

/* Sessions under way hold on to the contexts they began with. */
static void swap_tls(struct plane *p, struct plane_change *c)
{
    struct tls_context *client = p->client_tls, *server = p->server_tls;
    p->client_tls = c->client_tls;
    for (size_t i = 0; i < LINEUP_SLOTS_MAX; i++) {
        if (p->aims[i] && p->aims[i]->target.tls)
            p->aims[i]->target.tls = p->client_tls;
    }
    if (c->server_tls)
        p->server_tls = c->server_tls;
    c->client_tls = client;
    c->server_tls = c->server_tls ? server : NULL;
}

void plane_take_change(struct plane *p, struct plane_change *c)
{
    p->pace = c->pace;
    p->retimed = 0;
    swap_tls(p, c);
    if (c->resolver)
        probe_loop_set_resolver(p->probes, c->resolver);
    c->resolver = NULL;
    responder_set(p->responder, p->server_tls, p->pace.idle_timeout_ns,
                  p->pace.response_delay_ns);
    plane_change_free(c); /* with what was there before */
}

static void retime_aim(struct plane *p, const struct aim *aim, uint64_t now_ns)
{
    for (unsigned kind = 0; kind < AIM_KINDS && !aim->is_removed; kind++) {
        unsigned mode = kind % MODE_N;
        if (aim->entries[kind] >= 0)
            schedule_retime(&p->schedule, (size_t)aim->entries[kind], p->node,
                            aim->name, interval_of(p, mode),
                            in_flight_max_of(p, mode), now_ns);
    }
}

/* A slice of the targets is given the new cadence. */
static void retime(struct plane *p)
{
    uint64_t now_ns = clock_now_ns();
    int n = 0;
    for (; p->retimed < LINEUP_SLOTS_MAX && n < CHANGES_PER_TURN;
         p->retimed++) {
        if (!p->aims[p->retimed])
            continue;
        retime_aim(p, p->aims[p->retimed], now_ns);
        n++;
    }
}

bool plane_is_changing(const struct plane *p)
{
    return p->handover || p->retimed < LINEUP_SLOTS_MAX;
}

void plane_go_on_changing(struct plane *p)
{
    if (p->retimed < LINEUP_SLOTS_MAX) {
        retime(p);
    } else if (take_over(p, p->handover)) {
        handover_close(p->handover);
        p->handover = NULL;
    }
}
