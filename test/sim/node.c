#include "test/sim/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/frames.h"
#include "test/sim/net.h"
#include "test/sim/oracle.h"

#define RESOLVE_NS (30 * SIM_MS)

uint64_t node_clock(const struct node *n, uint64_t now_ns)
{
    int64_t drift_ns = (int64_t)(now_ns / 1000) * n->drift_ppm / 1000;
    return n->base_ns + now_ns + (uint64_t)drift_ns;
}

uint64_t node_when(const struct node *n, uint64_t local_ns)
{
    if (local_ns <= n->base_ns)
        return 0;
    /* 10^15 ns times 10^6 does not fit 64 bits; split at a second. */
    uint64_t span_ns = local_ns - n->base_ns;
    uint64_t rate = (uint64_t)(1000000 + n->drift_ppm);
    uint64_t now_ns =
        span_ns / rate * 1000000 + span_ns % rate * 1000000 / rate;
    while (node_clock(n, now_ns) < local_ns)
        now_ns++;
    return now_ns;
}

/* Random numbers that are the same in every run; never in production. */
static int nonce(void *arg, uint8_t *out, size_t len)
{
    struct rng *r = arg;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = rng_next(r);
        memcpy(out + i, &v, len - i < 8 ? len - i : 8);
    }
    return 0;
}

void node_init(struct sim *s, uint32_t index, struct rng *dice)
{
    const struct plan *p = &s->plan;
    struct node *n = &s->nodes[index];
    *n = (struct node){.index = index, .timer_ns = UINT64_MAX};
    snprintf(n->name, sizeof(n->name), "n-%u", index);
    n->zone = (unsigned)rng_below(dice, p->zones);
    n->base_ns = rng_below(dice, 1000 * SIM_S);
    unsigned spread = (unsigned)p->drift_ppm_max * 2 + 1;
    n->drift_ppm = (int)rng_below(dice, spread) - p->drift_ppm_max;
    n->skew_s = (int64_t)rng_below(dice, 2 * p->skew_s_max + 1) -
                (int64_t)p->skew_s_max;
    if (p->has_liar_clock && index == p->n - 1)
        n->skew_s = rng_below(dice, 2) ? 45 : -75;
    n->meta_len = p->meta_len;
    for (size_t i = 0; i < n->meta_len; i++)
        n->meta[i] = (uint8_t)('a' + rng_below(dice, 26));
    rng_seed(&n->nonces, rng_next(dice));
    n->endpoint = net_endpoint(s, ENDPOINT_NODE, index);
}

/* ---- effects ---- */

static void trace_effect(struct sim *s, const struct node *n,
                         const struct mesh_effect *e)
{
    struct trace_line t = {.at_ns = s->now_ns,
                           .node = n->index,
                           .kind = (uint8_t)e->kind,
                           .event = (uint8_t)e->event,
                           .id = e->id,
                           .subject = SIM_NOBODY,
                           .to = e->to,
                           .len = (uint32_t)e->data.len};
    if (e->kind == MESH_EVENT && e->id != UINT32_MAX) {
        const struct member *m = members_peek(mesh_members(n->mesh), e->id);
        if (m && m->name_len) {
            t.subject = sim_subject(s, m->name, m->name_len);
            t.incarnation = m->incarnation;
        }
    }
    sim_trace(s, &t);
}

static void mix_effect(struct sim *s, const struct node *n,
                       const struct mesh_effect *e)
{
    uint64_t head = (uint64_t)e->kind << 56 | (uint64_t)n->index << 32 | e->id;
    sim_mix_u64(s, head);
    if (e->kind == MESH_EVENT)
        sim_mix_u64(s, e->event);
    if (e->kind == MESH_SEND || e->kind == MESH_DIAL)
        sim_mix(s, e->to.ip, sizeof(e->to.ip));
    sim_mix(s, e->data.data, e->data.len);
}

static void send_datagram(struct sim *s, struct node *n,
                          const struct mesh_effect *e)
{
    uint32_t to = net_find(s, &e->to);
    oracle_on_send(s, n, to, e);
    net_send(s, n->endpoint, &e->to, e->data.data, e->data.len);
}

static void resolve(struct sim *s, struct node *n, const struct mesh_effect *e)
{
    /* "n-7.mesh" is a node, "all.mesh" are up to 16; others are not found. */
    char *text = strdup(e->text);
    sim_at(s, s->now_ns + RESOLVE_NS, EV_RESOLVED, n->index, e->id, n->life,
           text);
}

static void on_event(struct sim *s, struct node *n, const struct mesh_effect *e,
                     enum sim_call call)
{
    oracle_on_event(s, n, e, call);
    /* Whose name is taken stops; its supervisor starts it again. */
    if (e->event == MESH_NAME_TAKEN) {
        sim_at(s, s->now_ns, EV_KILL, n->index, 0, 0, NULL);
        sim_at(s, s->now_ns + 5 * SIM_S, EV_START, n->index, 0, 0, NULL);
    }
}

static void carry_out(struct sim *s, struct node *n,
                      const struct mesh_effect *e, enum sim_call call)
{
    s->n_effects++;
    mix_effect(s, n, e);
    trace_effect(s, n, e);
    switch (e->kind) {
    case MESH_SEND:
        send_datagram(s, n, e);
        break;
    case MESH_DIAL:
        net_dial(s, n, e->id, &e->to);
        break;
    case MESH_WRITE:
        net_write(s, n, e->id, e->data.data, e->data.len);
        break;
    case MESH_HANGUP:
        net_hangup(s, n, e->id);
        break;
    case MESH_RESOLVE:
        resolve(s, n, e);
        break;
    case MESH_USER:
        sim_frames_on_user(s, n, &e->from, e->data);
        break;
    case MESH_EVENT:
        on_event(s, n, e, call);
        break;
    }
}

static void arm(struct sim *s, struct node *n)
{
    uint64_t deadline_ns = mesh_deadline(n->mesh);
    if (deadline_ns == UINT64_MAX)
        return;
    /* Timers of event loops count milliseconds. An earlier one that is armed
     * stays: it looks again. */
    uint64_t at_ns = node_when(n, deadline_ns) / SIM_MS * SIM_MS + SIM_MS;
    at_ns += n->index % 1000 * 1000;
    if (at_ns < s->now_ns)
        at_ns = s->now_ns;
    if (at_ns >= n->timer_ns)
        return;
    n->timer_ns = at_ns;
    sim_at(s, at_ns, EV_TIMER, n->index, 0, n->life, NULL);
}

static void drain(struct sim *s, struct node *n, enum sim_call call)
{
    struct mesh_effect e;
    n->is_draining = true;
    while (mesh_next(n->mesh, &e))
        carry_out(s, n, &e, call);
    n->is_draining = false;
    n->inputs++;
    oracle_after(s, n);
    arm(s, n);
}

void node_kick(struct sim *s, struct node *n)
{
    if (!n->is_draining)
        drain(s, n, CALL_OTHER);
}

/* ---- a process ---- */

static void seeds_write(const struct sim *s, const struct node *n,
                        char (*seeds)[MESH_SEED_SIZE], size_t *count)
{
    *count = 0;
    if (s->plan.seeds_by_name) {
        snprintf(seeds[(*count)++], MESH_SEED_SIZE, "all.mesh");
        return;
    }
    for (unsigned i = 0; i < s->plan.n_seeds && i < s->plan.n; i++) {
        if (i != n->index)
            addr_format(&s->endpoints[i].addr, seeds[(*count)++]);
    }
}

static void apply_keys(struct sim *s, struct node *n, struct ml_key keys[2],
                       size_t *count)
{
    *count = s->plan.seals ? 1 : 0;
    keys[0] = s->keys[n->key_step >= 2 ? 1 : 0];
    if (n->key_step == 1 || n->key_step == 2) {
        keys[1] = s->keys[n->key_step == 2 ? 0 : 1];
        *count = s->plan.seals ? 2 : 0;
    }
}

void node_start(struct sim *s, struct node *n, bool moves)
{
    const struct plan *p = &s->plan;
    if (n->mesh)
        return;
    if (moves)
        n->endpoint = net_endpoint(s, ENDPOINT_NODE, n->index);
    char seeds[MESH_SEEDS_MAX][MESH_SEED_SIZE];
    struct ml_key keys[2];
    struct mesh_config c = {
        .name = n->name,
        .advertise = s->endpoints[n->endpoint].addr,
        .meta = span_of(n->meta, n->meta_len),
        .label = p->has_label ? "sim" : "",
        .keys = keys,
        .seeds = (const char(*)[MESH_SEED_SIZE])seeds,
        .timing = p->timing,
        .limits = mesh_limits_default,
        .now_unix_s = SIM_WALL_S + s->now_ns / SIM_S + (uint64_t)n->skew_s,
        .random = nonce,
        .random_arg = &n->nonces,
        .canary = p->canary,
    };
    c.limits.members_max = p->members_max;
    c.seed = rng_next(&n->nonces);
    seeds_write(s, n, seeds, &c.n_seeds);
    apply_keys(s, n, keys, &c.n_keys);

    struct errmsg msg = {.text = ""};
    n->life++;
    n->mesh = mesh_open(&c, node_clock(n, s->now_ns), &msg);
    if (!n->mesh) {
        sim_fail(s, SIM_CORRECTNESS, "mesh_open: %s", msg.text);
        return;
    }
    n->started_ns = s->now_ns;
    n->timer_ns = UINT64_MAX;
    n->frozen_ns = n->slow_ns = n->busy_ns = n->woken_ns = 0;
    n->held_bytes = 0;
    n->is_leaving = n->has_left = false;
    s->endpoints[n->endpoint].owner = n->index;
    oracle_on_start(s, n);
    sim_frames_start(s, n);
    drain(s, n, CALL_OTHER);
}

static void count_life(struct sim *s, struct node *n)
{
    s->node_ns += s->now_ns - n->started_ns;
    n->stopped_ns = s->now_ns;
}

void node_kill(struct sim *s, struct node *n)
{
    if (!n->mesh)
        return;
    count_life(s, n);
    net_kill(s, n, s->plan.vanishes);
    sim_frames_stop(s, n);
    mesh_close(n->mesh);
    n->mesh = NULL;
    s->endpoints[n->endpoint].owner = SIM_NOBODY;
    oracle_on_kill(s, n);
}

void node_leave(struct sim *s, struct node *n)
{
    if (!n->mesh || n->is_leaving)
        return;
    n->is_leaving = true;
    n->stopped_ns = s->now_ns;
    mesh_leave(n->mesh, node_clock(n, s->now_ns));
    drain(s, n, CALL_OTHER);
}

void node_set_meta(struct sim *s, struct node *n)
{
    if (!n->mesh || n->is_leaving || n->meta_len == 0)
        return;
    n->meta[0] = (uint8_t)('a' + (n->meta[0] - 'a' + 1) % 26);
    int err = mesh_set_meta(n->mesh, node_clock(n, s->now_ns),
                            span_of(n->meta, n->meta_len));
    if (err)
        sim_fail(s, SIM_CORRECTNESS, "mesh_set_meta: %s", err_name(err));
    drain(s, n, CALL_OTHER);
}

void node_set_keys(struct sim *s, struct node *n, unsigned step)
{
    n->key_step = step;
    if (!n->mesh || !s->plan.seals)
        return;
    struct ml_key keys[2];
    size_t count;
    apply_keys(s, n, keys, &count);
    struct errmsg msg = {.text = ""};
    if (mesh_set_keys(n->mesh, keys, count, &msg))
        sim_fail(s, SIM_CORRECTNESS, "mesh_set_keys: %s", msg.text);
}

void node_freeze(struct sim *s, struct node *n, uint64_t until_ns,
                 bool timer_first)
{
    if (!n->mesh || until_ns <= n->frozen_ns)
        return;
    oracle_on_freeze(s, n, until_ns);
    n->frozen_ns = until_ns;
    n->timer_first = timer_first;
}

/* ---- inputs ---- */

void node_on_timer(struct sim *s, struct node *n)
{
    n->timer_ns = UINT64_MAX;
    if (mesh_deadline(n->mesh) > node_clock(n, s->now_ns)) {
        arm(s, n);
        return;
    }
    mesh_on_timer(n->mesh, node_clock(n, s->now_ns));
    drain(s, n, CALL_TIMER);
}

void node_on_datagram(struct sim *s, struct node *n, const struct addr *from,
                      const struct datagram *d)
{
    oracle_before_datagram(s, n, d);
    mesh_on_packet(n->mesh, node_clock(n, s->now_ns), from, d->data, d->len);
    oracle_after_datagram(s, n, d);
    drain(s, n, CALL_PACKET);
}

uint32_t node_on_accept(struct sim *s, struct node *n, const struct addr *from)
{
    return mesh_on_accept(n->mesh, node_clock(n, s->now_ns), from);
}

void node_accepted(struct sim *s, struct node *n)
{
    drain(s, n, CALL_OTHER);
}

void node_on_connected(struct sim *s, struct node *n, uint32_t id)
{
    mesh_on_connected(n->mesh, node_clock(n, s->now_ns), id);
    drain(s, n, CALL_OTHER);
}

void node_on_bytes(struct sim *s, struct node *n, uint32_t id, const void *data,
                   size_t len)
{
    mesh_on_bytes(n->mesh, node_clock(n, s->now_ns), id, data, len);
    drain(s, n, CALL_BYTES);
}

void node_on_gone(struct sim *s, struct node *n, uint32_t id)
{
    n->gone_id = id;
    mesh_on_gone(n->mesh, node_clock(n, s->now_ns), id);
    drain(s, n, CALL_OTHER);
    n->gone_id = 0;
}

void node_on_resolved(struct sim *s, struct node *n, uint32_t seed,
                      const struct addr *addrs, size_t count)
{
    mesh_on_resolved(n->mesh, node_clock(n, s->now_ns), seed, addrs, count);
    drain(s, n, CALL_OTHER);
}
