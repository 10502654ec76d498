#include "test/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/faults.h"
#include "test/sim/frames.h"
#include "test/sim/hostile.h"
#include "test/sim/net.h"
#include "test/sim/node.h"
#include "test/sim/oracle.h"
#include "test/sim/quality.h"

#define STABLE_NS (10 * SIM_S) /* agreement must last */

void *sim_alloc(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p) {
        fputs("sim: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

bool sim_chance(struct rng *r, uint32_t ppm)
{
    /* No dice for what cannot happen: a switched off fault costs nothing. */
    return ppm > 0 && rng_next(r) % 1000000 < ppm;
}

void sim_at(struct sim *s, uint64_t at_ns, enum sim_event kind, uint32_t who,
            uint32_t what, uint32_t gen, void *load)
{
    queue_put(&s->queue, (struct event){.at_ns = at_ns,
                                        .kind = kind,
                                        .who = who,
                                        .what = what,
                                        .gen = gen,
                                        .load = load});
}

/* ---- the hash of a run ---- */

void sim_mix_u64(struct sim *s, uint64_t v)
{
    uint64_t h = (s->hash ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    s->hash = h ^ h >> 29;
}

void sim_mix(struct sim *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    sim_mix_u64(s, len);
    while (len > 0) {
        uint64_t v = 0;
        size_t step = len < 8 ? len : 8;
        memcpy(&v, p, step);
        sim_mix_u64(s, v);
        p += step;
        len -= step;
    }
}

/* ---- reports ---- */

void sim_fail(struct sim *s, enum sim_verdict v, const char *format, ...)
{
    if (s->verdict != SIM_OK)
        return;
    s->verdict = v;
    s->failed_ns = s->now_ns;
    va_list args;
    va_start(args, format);
    vsnprintf(s->what, sizeof(s->what), format, args);
    va_end(args);
}

static const char *const effect_names[] = {
    [MESH_SEND] = "send",       [MESH_DIAL] = "dial",
    [MESH_WRITE] = "write",     [MESH_HANGUP] = "hangup",
    [MESH_RESOLVE] = "resolve", [MESH_USER] = "user",
    [MESH_EVENT] = "event",
};

static const char *const action_names[] = {
    [EV_TIMER] = "timer",       [EV_DATAGRAM] = "datagram",
    [EV_SERVED] = "served",     [EV_PIPE] = "pipe",
    [EV_RESOLVED] = "resolved", [EV_START] = "start",
    [EV_KILL] = "kill",         [EV_LEAVE] = "leave",
    [EV_META] = "meta",         [EV_FAULT] = "fault",
    [EV_KEYS] = "keys",         [EV_HOSTILE] = "hostile",
    [EV_SPREAD] = "spread",     [EV_CLOSE] = "close",
    [EV_LOOK] = "look",         [EV_PHASE] = "phase",
    [EV_MEASURE] = "measure",   [EV_WATCH] = "watch",
};

static void line_print(const struct trace_line *t)
{
    char to[ADDR_TEXT_SIZE];
    printf("%12.6f n-%-3u ", (double)t->at_ns / 1e9, t->node);
    if (t->kind >= 128) {
        printf("** %s %u", action_names[t->kind - 128], t->id);
        if (t->kind == 128 + EV_FAULT)
            printf(" %s", fault_name(t->event));
    } else if (t->kind == MESH_EVENT) {
        printf("%s", mesh_event_name(t->event));
        if (t->subject != SIM_NOBODY)
            printf(" n-%u @%u", t->subject, t->incarnation);
        else
            printf(" id %u", t->id);
    } else if (t->kind == MESH_SEND) {
        printf("send %u bytes to %s", t->len, addr_format(&t->to, to));
    } else if (t->kind == MESH_DIAL) {
        printf("dial %08x to %s", t->id, addr_format(&t->to, to));
    } else {
        printf("%s %08x, %u bytes", effect_names[t->kind], t->id, t->len);
    }
    printf("\n");
}

void sim_trace(struct sim *s, const struct trace_line *line)
{
    s->trace[s->n_trace++ % SIM_TRACE_MAX] = *line;
    if (s->prints)
        line_print(line);
}

void sim_print_trace(const struct sim *s)
{
    uint64_t first =
        s->n_trace > SIM_TRACE_MAX ? s->n_trace - SIM_TRACE_MAX : 0;
    for (uint64_t i = first; i < s->n_trace; i++)
        line_print(&s->trace[i % SIM_TRACE_MAX]);
}

uint32_t sim_subject(const struct sim *s, const char *name, size_t len)
{
    if (len < 3 || len > 9 || name[0] != 'n' || name[1] != '-')
        return SIM_NOBODY;
    uint32_t v = 0;
    for (size_t i = 2; i < len; i++) {
        if (name[i] < '0' || name[i] > '9' ||
            (i == 2 && name[i] == '0' && len > 3))
            return SIM_NOBODY;
        v = v * 10 + (uint32_t)(name[i] - '0');
    }
    return v < s->plan.n ? v : SIM_NOBODY;
}

/* ---- opening and closing ---- */

static uint32_t endpoints_needed(const struct plan *p)
{
    uint32_t moves = 0;
    for (size_t i = 0; i < p->n_faults; i++)
        moves += p->faults[i].kind == FAULT_MOVE ? p->faults[i].count : 0;
    return p->n + moves + 64;
}

void sim_open(struct sim *s, const struct plan *p, bool prints)
{
    *s = (struct sim){.plan = *p, .prints = prints, .loss_ppm = p->loss_ppm};
    queue_init(&s->queue);
    rng_seed(&s->dice, p->seed ^ UINT64_C(0x5eed));
    for (unsigned k = 0; k < SIM_KEYS; k++) {
        s->keys[k].len = 16;
        for (unsigned i = 0; i < 16; i++)
            s->keys[k].bytes[i] = (uint8_t)rng_next(&s->dice);
    }
    s->endpoints_max = endpoints_needed(p);
    s->endpoints = sim_alloc(s->endpoints_max, sizeof(*s->endpoints));
    s->nodes = sim_alloc(p->n, sizeof(*s->nodes));
    net_open(s);
    oracle_open(s);
    for (uint32_t i = 0; i < p->n; i++) {
        node_init(s, i, &s->dice);
        uint64_t at_ns =
            p->start_spread_ns ? rng_below(&s->dice, p->start_spread_ns) : 0;
        sim_at(s, i == 0 ? 0 : at_ns, EV_START, i, 0, 0, NULL);
    }
    sim_frames_open(s);
    hostile_open(s);
    faults_open(s);
    if (!p->is_measurement)
        sim_at(s, p->safety_ns, EV_PHASE, 0, 0, 0, NULL);
}

void sim_close(struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.n; i++)
        node_kill(s, &s->nodes[i]);
    sim_frames_close(s);
    hostile_close(s);
    oracle_close(s);
    net_close(s);
    queue_fini(&s->queue);
    free(s->nodes);
    free(s->endpoints);
}

/* ---- phases ---- */

static void enter(struct sim *s, enum sim_phase phase)
{
    s->phase = phase;
    s->phase_ns = s->now_ns;
    s->agreed_ns = 0;
}

static uint32_t pick_subject(struct sim *s)
{
    uint32_t first = (uint32_t)rng_below(&s->dice, s->plan.n);
    for (uint32_t i = 0; i < s->plan.n; i++) {
        uint32_t who = (first + i) % s->plan.n;
        if (s->nodes[who].is_core && s->nodes[who].mesh)
            return who;
    }
    return 0;
}

/* Agreed, for long enough? Fails the run when its time is up. */
static bool has_settled(struct sim *s, uint64_t patience_ns, const char *id)
{
    char why[200];
    uint64_t waited_ns = s->now_ns - s->phase_ns;
    if (oracle_agrees(s, why, sizeof(why))) {
        if (!s->agreed_ns)
            s->agreed_ns = s->now_ns;
        return s->now_ns - s->agreed_ns >= STABLE_NS;
    }
    s->agreed_ns = 0;
    if (waited_ns > patience_ns)
        sim_fail(s, SIM_LIVENESS, "%s: after %.0f s of calm: %s", id,
                 (double)waited_ns / 1e9, why);
    return false;
}

static void on_calm(struct sim *s)
{
    if (!has_settled(s, oracle_patience(s), "I6/I8"))
        return;
    s->heal_ns = s->agreed_ns - s->phase_ns;
    if (s->plan.n < 2) {
        s->is_over = true;
        return;
    }
    enter(s, PHASE_ACCUSED);
    s->subject = pick_subject(s);
    hostile_accuse(s, s->subject);
}

static void on_accused(struct sim *s)
{
    /* Among inventions, news goes mostly to nobody. */
    uint64_t patience_ns = oracle_push_pull(s, 5) + 2 * SIM_S;
    if (s->plan.hostile & 1u << HOSTILE_NAMES)
        patience_ns = oracle_patience(s);
    if (!has_settled(s, patience_ns, "I9"))
        return;
    s->refute_ns = s->agreed_ns - s->phase_ns;
    enter(s, PHASE_LEAVING);
    s->subject = pick_subject(s);
    node_leave(s, &s->nodes[s->subject]);
    s->nodes[s->subject].is_core = false;
}

static void on_leaving(struct sim *s)
{
    struct node *n = &s->nodes[s->subject];
    if (!n->has_left && s->now_ns - s->phase_ns > 6500 * SIM_MS)
        sim_fail(s, SIM_LIVENESS, "I22: n-%u has not left after 6.5 s",
                 s->subject);
    if (n->has_left)
        node_kill(s, n);
    if (has_settled(s, oracle_patience(s), "I22"))
        s->is_over = true;
}

static void on_phase(struct sim *s)
{
    switch (s->phase) {
    case PHASE_FAULTS:
        enter(s, PHASE_CALM);
        faults_heal(s);
        break;
    case PHASE_CALM:
        on_calm(s);
        break;
    case PHASE_ACCUSED:
        on_accused(s);
        break;
    case PHASE_LEAVING:
        on_leaving(s);
        break;
    }
    uint64_t step_ns = s->plan.n > 64 ? 5 * SIM_S : SIM_S;
    sim_at(s, s->now_ns + step_ns, EV_PHASE, 0, 0, 0, NULL);
}

/* ---- events ---- */

static void on_timer(struct sim *s, const struct event *e)
{
    struct node *n = &s->nodes[e->who];
    if (!n->mesh || n->life != e->gen || n->timer_ns != e->at_ns)
        return;
    if (n->timer_first ? s->now_ns + 1 < n->frozen_ns
                       : s->now_ns < n->frozen_ns) {
        /* Before or after the datagrams that wait: loops differ in this. */
        n->timer_ns = n->timer_first ? n->frozen_ns - 1 : n->frozen_ns + 1;
        sim_at(s, n->timer_ns, EV_TIMER, e->who, 0, e->gen, NULL);
        return;
    }
    node_on_timer(s, n);
}

static void on_resolved(struct sim *s, const struct event *e)
{
    struct node *n = &s->nodes[e->who];
    const char *text = e->load;
    if (!n->mesh || n->life != e->gen)
        return;
    if (n->frozen_ns > s->now_ns) {
        sim_at(s, n->frozen_ns, EV_RESOLVED, e->who, e->what, e->gen,
               strdup(text));
        return;
    }
    struct addr found[MESH_ADDRS_MAX];
    size_t n_found = 0;
    bool fails = s->phase == PHASE_FAULTS && rng_below(&s->dice, 8) == 0;
    if (!strncmp(text, "all.mesh", 8) && !fails) {
        for (uint32_t i = 0; i < s->plan.n && n_found < MESH_ADDRS_MAX; i++)
            found[n_found++] = s->endpoints[s->nodes[i].endpoint].addr;
    }
    node_on_resolved(s, n, e->what, found, n_found);
}

static void trace_action(struct sim *s, const struct event *e)
{
    struct trace_line t = {.at_ns = s->now_ns,
                           .node = e->who,
                           .kind = (uint8_t)(128 + e->kind),
                           .id = e->what,
                           .subject = SIM_NOBODY};
    if (e->kind == EV_FAULT)
        t.event = (uint8_t)s->plan.faults[e->who].kind;
    sim_trace(s, &t);
}

static void on_kill(struct sim *s, struct node *n)
{
    if (n->mesh && n->is_leaving && n->frozen_ns == 0 && n->slow_ns == 0 &&
        s->now_ns - n->stopped_ns > 6500 * SIM_MS && !n->has_left)
        sim_fail(s, SIM_LIVENESS, "I22: n-%u has not left after 6.5 s",
                 n->index);
    node_kill(s, n);
}

static void dispatch(struct sim *s, struct event *e)
{
    struct node *n = e->who < s->plan.n ? &s->nodes[e->who] : NULL;
    switch ((enum sim_event)e->kind) {
    case EV_TIMER:
        on_timer(s, e);
        return;
    case EV_DATAGRAM:
    case EV_SERVED:
        net_on_datagram(s, e);
        return;
    case EV_PIPE:
        net_on_pipe(s, e);
        return;
    case EV_RESOLVED:
        on_resolved(s, e);
        return;
    case EV_HOSTILE:
        hostile_move(s);
        return;
    case EV_PHASE:
        on_phase(s);
        return;
    case EV_WATCH:
        oracle_on_watch(s, e);
        return;
    case EV_SPREAD:
    case EV_CLOSE:
    case EV_LOOK:
        sim_frames_on_event(s, e);
        return;
    case EV_MEASURE:
        quality_on_measure(s, e);
        return;
    case EV_START:
    case EV_KILL:
    case EV_LEAVE:
    case EV_META:
    case EV_FAULT:
    case EV_KEYS:
        break;
    }
    bool is_asked =
        e->kind == EV_LEAVE || e->kind == EV_META || e->kind == EV_KEYS;
    if (is_asked && n->frozen_ns > s->now_ns) {
        sim_at(s, n->frozen_ns, (enum sim_event)e->kind, e->who, e->what,
               e->gen, NULL);
        return;
    }
    trace_action(s, e);
    if (e->kind == EV_FAULT)
        faults_switch(s, e);
    else if (e->kind == EV_START)
        node_start(s, n, e->what && s->phase == PHASE_FAULTS);
    else if (e->kind == EV_KILL && s->phase == PHASE_FAULTS)
        on_kill(s, n);
    else if (e->kind == EV_KILL)
        node_kill(s, n);
    else if (e->kind == EV_LEAVE && s->phase == PHASE_FAULTS)
        node_leave(s, n);
    else if (e->kind == EV_META)
        node_set_meta(s, n);
    else if (e->kind == EV_KEYS)
        node_set_keys(s, n, e->what);
}

void sim_run(struct sim *s)
{
    struct event e;
    while (!s->is_over && s->verdict == SIM_OK && queue_take(&s->queue, &e)) {
        if (s->plan.is_measurement && e.at_ns > s->plan.safety_ns) {
            free(e.load);
            break;
        }
        s->now_ns = e.at_ns;
        s->n_events++;
        dispatch(s, &e);
        free(e.load);
    }
    for (uint32_t i = 0; i < s->plan.n; i++) {
        struct node *n = &s->nodes[i];
        if (n->mesh)
            sim_mix_u64(s, mesh_digest(n->mesh));
    }
    if (s->verdict == SIM_OK)
        oracle_at_end(s);
    if (s->verdict == SIM_OK)
        sim_frames_at_end(s);
}
