#include "test/sim/faults.h"

#include "test/sim/net.h"
#include "test/sim/node.h"
#include "test/sim/oracle.h"

#define LEAVE_NS (8 * SIM_S) /* until a process that leaves is stopped */

void faults_open(struct sim *s)
{
    const struct plan *p = &s->plan;
    for (uint32_t i = 0; i < p->n_faults; i++) {
        sim_at(s, p->faults[i].at_ns, EV_FAULT, i, 1, 0, NULL);
        sim_at(s, p->faults[i].until_ns, EV_FAULT, i, 0, 0, NULL);
    }
}

/* Calls `hit` with `count` nodes, drawn; some may come twice. */
static void each_hit(struct sim *s, const struct fault *f, enum sim_event kind,
                     uint64_t at_ns, uint32_t what)
{
    struct rng dice;
    rng_seed(&dice, f->seed);
    for (unsigned i = 0; i < f->count; i++) {
        uint32_t who = (uint32_t)rng_below(&dice, s->plan.n);
        sim_at(s, at_ns, kind, who, what, 0, NULL);
    }
}

static void stop_running(struct sim *s, const struct fault *f)
{
    struct rng dice;
    rng_seed(&dice, f->seed);
    for (unsigned i = 0; i < f->count; i++) {
        struct node *n = &s->nodes[rng_below(&dice, s->plan.n)];
        if (f->kind == FAULT_FREEZE)
            node_freeze(s, n, f->until_ns, rng_below(&dice, 2));
        else if (n->mesh && n->slow_ns < f->until_ns)
            n->slow_ns = f->until_ns;
    }
}

static void restart_all(struct sim *s, const struct fault *f)
{
    uint32_t n = s->plan.n;
    uint64_t span_ns = f->until_ns - f->at_ns;
    struct rng dice;
    rng_seed(&dice, f->seed);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at_ns = s->now_ns;
        uint64_t down_ns = 100 * SIM_MS + rng_below(&dice, SIM_S);
        if (f->kind == FAULT_ROLLING)
            at_ns += span_ns * i / n;
        else
            at_ns += rng_below(&dice, SIM_S);
        sim_at(s, at_ns, EV_KILL, i, 0, 0, NULL);
        sim_at(s, at_ns + down_ns, EV_START, i, 0, 0, NULL);
    }
}

static void rotate(struct sim *s, const struct fault *f)
{
    uint64_t third_ns = (f->until_ns - f->at_ns) / 4;
    struct rng dice;
    rng_seed(&dice, f->seed);
    for (unsigned step = 1; step <= 3; step++) {
        for (uint32_t i = 0; i < s->plan.n; i++)
            sim_at(s, s->now_ns + step * third_ns + rng_below(&dice, third_ns),
                   EV_KEYS, i, step, 0, NULL);
    }
}

static void leave(struct sim *s, const struct fault *f, bool begins)
{
    if (!begins) {
        each_hit(s, f, EV_START, s->now_ns, 0);
        return;
    }
    each_hit(s, f, EV_LEAVE, s->now_ns, 0);
    uint64_t stop_ns = s->now_ns + LEAVE_NS;
    if (stop_ns >= f->until_ns)
        stop_ns = f->until_ns - 1;
    each_hit(s, f, EV_KILL, stop_ns, 0);
}

void faults_switch(struct sim *s, const struct event *e)
{
    const struct fault *f = &s->plan.faults[e->who];
    bool begins = e->what;
    if (s->phase != PHASE_FAULTS)
        return;
    switch (f->kind) {
    case FAULT_HALVES:
    case FAULT_ONE_WAY:
    case FAULT_BRIDGE:
    case FAULT_RING:
    case FAULT_ISOLATE:
    case FAULT_NO_UDP:
    case FAULT_NO_TCP:
    case FAULT_MTU:
    case FAULT_LOSS:
        net_fault(s, f, begins);
        break;
    case FAULT_FREEZE:
    case FAULT_SLOW:
        if (begins)
            stop_running(s, f);
        break;
    case FAULT_CRASH:
        each_hit(s, f, begins ? EV_KILL : EV_START, s->now_ns, 0);
        break;
    case FAULT_MOVE:
        each_hit(s, f, begins ? EV_KILL : EV_START, s->now_ns, 1);
        break;
    case FAULT_LEAVE:
        leave(s, f, begins);
        break;
    case FAULT_RESTART:
    case FAULT_ROLLING:
        if (begins)
            restart_all(s, f);
        break;
    case FAULT_META:
        if (begins)
            each_hit(s, f, EV_META, s->now_ns, 0);
        break;
    case FAULT_ROTATE:
        if (begins)
            rotate(s, f);
        break;
    case FAULT_KIND_N:
        break;
    }
}

static void pick_core(struct sim *s)
{
    const struct plan *p = &s->plan;
    for (uint32_t i = 0; i < p->n; i++)
        s->nodes[i].is_core = p->all_core || rng_below(&s->dice, 8) < 6;
    /* Two at least, and a seed, or those outside could not be found. */
    s->nodes[0].is_core = true;
    s->nodes[rng_below(&s->dice, p->n)].is_core = true;
}

void faults_heal(struct sim *s)
{
    const struct plan *p = &s->plan;
    net_heal(s);
    pick_core(s);
    for (uint32_t i = 0; i < p->n; i++)
        s->nodes[i].is_outside = !s->nodes[i].is_core;
    net_sever(s);
    s->loss_ppm = p->calm_loss_ppm;
    for (uint32_t i = 0; i < p->n; i++) {
        struct node *n = &s->nodes[i];
        if (n->frozen_ns > s->now_ns) {
            oracle_on_wake(s, n);
            n->frozen_ns = s->now_ns;
        }
        n->slow_ns = 0;
        if (n->key_step)
            node_set_keys(s, n, 3);
        if (!n->is_core) {
            if (rng_below(&s->dice, 2))
                node_kill(s, n);
            continue;
        }
        if (n->is_leaving)
            node_kill(s, n);
        if (!n->mesh)
            sim_at(s, s->now_ns + rng_below(&s->dice, 2 * SIM_S), EV_START, i,
                   0, 0, NULL);
    }
}
