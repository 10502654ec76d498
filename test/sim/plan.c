#include "test/sim/plan.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"

static const char *const fault_names[FAULT_KIND_N] = {
    [FAULT_HALVES] = "halves",   [FAULT_ONE_WAY] = "one-way",
    [FAULT_BRIDGE] = "bridge",   [FAULT_RING] = "ring",
    [FAULT_ISOLATE] = "isolate", [FAULT_NO_UDP] = "no-udp",
    [FAULT_NO_TCP] = "no-tcp",   [FAULT_MTU] = "mtu",
    [FAULT_LOSS] = "loss",       [FAULT_FREEZE] = "freeze",
    [FAULT_SLOW] = "slow",       [FAULT_CRASH] = "crash",
    [FAULT_MOVE] = "move",       [FAULT_LEAVE] = "leave",
    [FAULT_RESTART] = "restart", [FAULT_ROLLING] = "rolling",
    [FAULT_META] = "meta",       [FAULT_ROTATE] = "rotate",
};

static const char *const hostile_names[HOSTILE_KIND_N] = {
    [HOSTILE_STORM] = "storm",     [HOSTILE_LIMIT] = "limit",
    [HOSTILE_FORGE] = "forge",     [HOSTILE_STEAL] = "steal",
    [HOSTILE_NAMES] = "names",     [HOSTILE_ACK] = "ack",
    [HOSTILE_REFLECT] = "reflect", [HOSTILE_OLD] = "old",
    [HOSTILE_ODD] = "odd",         [HOSTILE_NOISE] = "noise",
    [HOSTILE_MUTANT] = "mutant",   [HOSTILE_STREAM] = "stream",
};

static const char *const canary_names[CANARY_N] = {
    [CANARY_NONE] = "none",
    [CANARY_REFUTE_SAME] = "refute-same",
    [CANARY_SUSPECT_STAYS] = "suspect-stays",
    [CANARY_BELIEVE_DEAD] = "believe-dead",
    [CANARY_OVERFLOW] = "overflow",
    [CANARY_TAKEOVER] = "takeover",
    [CANARY_NO_REJOIN] = "no-rejoin",
    [CANARY_REFLECT] = "reflect",
    [CANARY_STALL_ACCUSES] = "stall-accuses",
    [CANARY_UNBOUNDED] = "unbounded",
    [CANARY_OLD_EVIDENCE] = "old-evidence",
    [CANARY_START_LOW] = "start-low",
    [CANARY_ANY_ACK] = "any-ack",
    [CANARY_FRAMES_WANT_NOTHING] = "want-nothing",
    [CANARY_FRAMES_WRONG_SUM] = "wrong-sum",
    [CANARY_FRAMES_ALTER] = "alter",
};

const char *fault_name(enum fault_kind kind)
{
    return kind < FAULT_KIND_N ? fault_names[kind] : "?";
}

const char *hostile_name(enum hostile_kind kind)
{
    return kind < HOSTILE_KIND_N ? hostile_names[kind] : "?";
}

const char *canary_name(unsigned canary)
{
    return canary < CANARY_N ? canary_names[canary] : "?";
}

unsigned canary_parse(const char *name)
{
    unsigned i = 0;
    while (i < CANARY_N && strcmp(name, canary_names[i]) != 0)
        i++;
    return i;
}

void plan_quiet(struct plan *p, uint64_t seed, unsigned n)
{
    *p = (struct plan){
        .seed = seed,
        .scenario = "quiet",
        .n = n,
        .safety_ns = 60 * SIM_S,
        .meta_len = 1,
        .zones = 1,
        .near_ns = 200000,
        .far_ns = 200000,
        .buffer_bytes = 212992,
        .start_spread_ns = 2 * SIM_S,
        .n_seeds = 3,
        .timing = mesh_timing_lan,
        .members_max = n + 64,
        .sees_wire = n <= 16,
        .check_every = n <= 16    ? 1
                       : n <= 100 ? 64
                                  : 4096,
        .all_core = true,
    };
}

static bool coin(struct rng *r, unsigned in)
{
    return rng_below(r, in) == 0;
}

static uint64_t between(struct rng *r, uint64_t low, uint64_t high)
{
    return low + rng_below(r, high - low + 1);
}

static unsigned draw_nodes(struct rng *r)
{
    uint64_t u = rng_below(r, 100);
    if (u < 3)
        return 1;
    if (u < 60)
        return (unsigned)between(r, 2, 7);
    if (u < 92)
        return (unsigned)between(r, 8, 24);
    return (unsigned)between(r, 25, 60);
}

static void draw_network(struct plan *p, struct rng *r)
{
    p->zones = (unsigned)between(r, 1, 5);
    p->near_ns = between(r, 50000, SIM_MS);
    p->far_ns = between(r, SIM_MS, 60 * SIM_MS);
    p->jitter_ns = coin(r, 2) ? 0 : rng_below(r, 20 * SIM_MS);
    if (coin(r, 2))
        p->loss_ppm = (uint32_t)rng_below(r, coin(r, 2) ? 50000 : 300000);
    if (coin(r, 3))
        p->duplicate_ppm = (uint32_t)rng_below(r, 200000);
    if (coin(r, 3))
        p->reorder_ppm = (uint32_t)rng_below(r, 300000);
    if (coin(r, 3))
        p->corrupt_ppm = (uint32_t)rng_below(r, 50000);
    if (coin(r, 4))
        p->replay_ppm = (uint32_t)rng_below(r, 500000);
    if (coin(r, 4))
        p->calm_loss_ppm = (uint32_t)rng_below(r, 20000);
}

static void draw_hosts(struct plan *p, struct rng *r)
{
    p->drift_ppm_max = coin(r, 2) ? 200 : 0;
    p->skew_s_max = coin(r, 2) ? 0 : coin(r, 2) ? 3600 : 300000000;
    if (coin(r, 5))
        p->service_ns = between(r, 10000, 2 * SIM_MS);
    p->buffer_bytes = coin(r, 3) ? 16384 : 212992;
    p->vanishes = coin(r, 2);
    p->start_spread_ns = coin(r, 2) ? 0 : between(r, SIM_S, 20 * SIM_S);
    p->n_seeds = (unsigned)between(r, 1, 4);
    p->seeds_by_name = coin(r, 4);
}

/* When there are faults at all, a few kinds of them: a mix of everything hides
 * what two of them do. */
static void draw_faults(struct plan *p, struct rng *r)
{
    uint64_t span_ns = p->safety_ns;
    unsigned kinds = 0;
    for (unsigned i = 0; i < 4; i++)
        kinds |= 1u << rng_below(r, FAULT_KIND_N);
    size_t wanted = rng_below(r, 9);
    bool rotates = false;
    while (p->n_faults < wanted) {
        struct fault f = {.kind = (enum fault_kind)rng_below(r, FAULT_KIND_N),
                          .seed = rng_next(r)};
        f.at_ns = between(r, SIM_S, span_ns - 8 * SIM_S);
        uint64_t left_ns = span_ns - f.at_ns - 4 * SIM_S;
        f.until_ns = f.at_ns + 3 * SIM_S + rng_below(r, left_ns);
        f.count = (unsigned)between(r, 1, 1 + p->n / 3);
        if (f.kind == FAULT_LOSS)
            f.count = (unsigned)between(r, 5, 60);
        if (!(kinds & 1u << f.kind))
            continue;
        if (f.kind == FAULT_ROTATE && (rotates || !p->seals)) {
            wanted--;
            continue;
        }
        rotates = rotates || f.kind == FAULT_ROTATE;
        /* An address that is given up is a bad seed. */
        if (f.kind == FAULT_MOVE)
            p->seeds_by_name = true;
        p->faults[p->n_faults++] = f;
    }
}

static void draw_hostile(struct plan *p, struct rng *r)
{
    if (!coin(r, 3))
        return;
    for (unsigned i = 0; i < 3; i++)
        p->hostile |= 1u << rng_below(r, HOSTILE_KIND_N);
    p->hostile_per_s = (unsigned)between(r, 1, coin(r, 3) ? 50 : 5);
}

void plan_swarm(struct plan *p, uint64_t seed, unsigned n)
{
    struct rng r;
    rng_seed(&r, seed * 2 + 1);
    unsigned drawn = draw_nodes(&r);
    plan_quiet(p, seed, n ? n : drawn);
    p->scenario = "swarm";
    p->safety_ns = between(&r, 20, coin(&r, 4) ? 200 : 70) * SIM_S;
    p->seals = coin(&r, 2);
    p->has_label = coin(&r, 3);
    p->is_v6 = coin(&r, 4);
    p->meta_len = coin(&r, 3) ? rng_below(&r, ML_META_MAX + 1) : 1;
    p->all_core = coin(&r, 3);
    draw_network(p, &r);
    draw_hosts(p, &r);
    draw_faults(p, &r);
    draw_hostile(p, &r);
}

bool plan_is_gentle(const struct plan *p)
{
    if (p->loss_ppm > 50000 || p->hostile || p->replay_ppm ||
        p->service_ns > 100000 || p->corrupt_ppm > 10000)
        return false;
    for (size_t i = 0; i < p->n_faults; i++) {
        const struct fault *f = &p->faults[i];
        bool is_short = f->until_ns - f->at_ns <= 2 * SIM_S;
        if (f->kind <= FAULT_LOSS && f->kind != FAULT_MTU)
            return false;
        if ((f->kind == FAULT_FREEZE || f->kind == FAULT_SLOW) && !is_short)
            return false;
        if (f->kind == FAULT_MOVE || f->kind == FAULT_ROTATE)
            return false;
    }
    return true;
}

bool plan_is_watched(const struct plan *p)
{
    struct plan same = *p;
    same.hostile &= ~(1u << HOSTILE_ACK);
    for (size_t i = 0; i < p->n_faults; i++) {
        enum fault_kind kind = p->faults[i].kind;
        if (kind == FAULT_FREEZE || kind == FAULT_SLOW)
            return false;
    }
    return plan_is_gentle(&same);
}

bool plan_has_insider(const struct plan *p)
{
    unsigned keyed = (1u << HOSTILE_KEYED_N) - 1;
    return p->hostile & keyed ||
           (!p->seals && p->hostile & 1u << HOSTILE_MUTANT);
}

/* ---- by name ---- */

static void add_fault(struct plan *p, enum fault_kind kind, uint64_t at_s,
                      uint64_t until_s, unsigned count)
{
    p->faults[p->n_faults++] = (struct fault){
        .kind = kind,
        .at_ns = at_s * SIM_S,
        .until_ns = until_s * SIM_S,
        .count = count,
        .seed = p->seed * 31 + p->n_faults,
    };
}

static void hostile(struct plan *p, enum hostile_kind kind, unsigned per_s)
{
    p->hostile |= 1u << kind;
    p->hostile_per_s = per_s;
}

struct scenario {
    const char *name, *what;
    unsigned n;
    void (*draw)(struct plan *p);
};

static void quiet(struct plan *p)
{
    (void)p;
}

static void split(struct plan *p)
{
    p->safety_ns = 150 * SIM_S;
    add_fault(p, FAULT_HALVES, 20, 140, 0);
}

static void one_way(struct plan *p)
{
    p->safety_ns = 100 * SIM_S;
    add_fault(p, FAULT_ONE_WAY, 20, 90, 0);
}

static void crash(struct plan *p)
{
    add_fault(p, FAULT_CRASH, 10, 55, 1 + p->n / 4);
}

static void move(struct plan *p)
{
    add_fault(p, FAULT_MOVE, 10, 20, 1 + p->n / 4);
}

static void restart(struct plan *p)
{
    add_fault(p, FAULT_RESTART, 20, 30, 0);
}

static void rolling(struct plan *p)
{
    add_fault(p, FAULT_ROLLING, 10, 50, 0);
}

static void freeze(struct plan *p)
{
    p->safety_ns = 90 * SIM_S;
    add_fault(p, FAULT_FREEZE, 20, 50, 1 + p->n / 5);
    add_fault(p, FAULT_FREEZE, 30, 33, 1);
}

static void slow(struct plan *p)
{
    add_fault(p, FAULT_SLOW, 20, 40, 1 + p->n / 5);
}

static void leave(struct plan *p)
{
    add_fault(p, FAULT_LEAVE, 20, 45, 1 + p->n / 5);
}

static void flap(struct plan *p)
{
    for (unsigned i = 0; i < 10; i++)
        add_fault(p, FAULT_CRASH, 10 + 5 * i, 13 + 5 * i, 1 + p->n / 3);
    p->safety_ns = 70 * SIM_S;
}

static void rotate(struct plan *p)
{
    p->seals = true;
    add_fault(p, FAULT_ROTATE, 10, 50, 0);
}

static void no_udp(struct plan *p)
{
    add_fault(p, FAULT_NO_UDP, 10, 50, 1);
}

static void no_tcp(struct plan *p)
{
    add_fault(p, FAULT_NO_TCP, 10, 50, 1);
}

static void storm(struct plan *p)
{
    hostile(p, HOSTILE_STORM, p->n);
}

static void limit(struct plan *p)
{
    hostile(p, HOSTILE_LIMIT, 5);
}

static void steal(struct plan *p)
{
    hostile(p, HOSTILE_FORGE, 5);
    hostile(p, HOSTILE_STEAL, 5);
}

static void names(struct plan *p)
{
    hostile(p, HOSTILE_NAMES, 20);
    p->members_max = 256;
}

static void strangers(struct plan *p)
{
    hostile(p, HOSTILE_NOISE, 40);
    hostile(p, HOSTILE_MUTANT, 40);
    hostile(p, HOSTILE_STREAM, 40);
}

static void reflect(struct plan *p)
{
    hostile(p, HOSTILE_REFLECT, 20);
}

static void old(struct plan *p)
{
    add_fault(p, FAULT_CRASH, 10, 58, 1 + p->n / 4);
    hostile(p, HOSTILE_OLD, 10);
}

static void ack(struct plan *p)
{
    p->safety_ns = 120 * SIM_S;
    add_fault(p, FAULT_CRASH, 20, 118, 1 + p->n / 4);
    hostile(p, HOSTILE_ACK, 1);
}

static void odd(struct plan *p)
{
    hostile(p, HOSTILE_ODD, 50);
}

/* ---- frames ---- */

static void frames_on(struct plan *p)
{
    p->frame_cells = 4;
    p->zones = p->n < 25 ? 3 : 5;
    p->near_ns = SIM_MS / 2;
    p->far_ns = 20 * SIM_MS;
    p->jitter_ns = 5 * SIM_MS;
    p->meta_len = 0;
}

/* All of it at once, drawn from the seed. */
static void frames_swarm(struct plan *p)
{
    struct rng r;
    rng_seed(&r, p->seed ^ UINT64_C(0xf4a));
    frames_on(p);
    p->frame_cells = (unsigned)between(&r, 1, 12);
    p->safety_ns = 120 * SIM_S;
    p->loss_ppm = coin(&r, 3) ? 0 : (uint32_t)rng_below(&r, 300000);
    p->calm_loss_ppm = p->loss_ppm < 100000 ? p->loss_ppm : 100000;
    p->duplicate_ppm = coin(&r, 2) ? 20000 : 0;
    p->reorder_ppm = coin(&r, 2) ? 50000 : 0;
    p->corrupt_ppm = p->seals && coin(&r, 2) ? 10000 : 0;
    p->drift_ppm_max = coin(&r, 2) ? 100 : 0;
    p->has_liar_clock = coin(&r, 3);
    enum fault_kind kinds[] = {FAULT_HALVES,  FAULT_ONE_WAY, FAULT_ISOLATE,
                               FAULT_NO_UDP,  FAULT_NO_TCP,  FAULT_FREEZE,
                               FAULT_SLOW,    FAULT_CRASH,   FAULT_RESTART,
                               FAULT_ROLLING, FAULT_LEAVE};
    unsigned n = (unsigned)rng_below(&r, 4);
    for (unsigned i = 0; i < n; i++) {
        uint64_t at_s = between(&r, 10, 80);
        add_fault(p, kinds[rng_below(&r, sizeof(kinds) / sizeof(kinds[0]))],
                  at_s, at_s + between(&r, 5, 35), 1 + p->n / 5);
    }
}

static void frames_split(struct plan *p)
{
    split(p);
    frames_on(p);
}

static void frames_crash(struct plan *p)
{
    crash(p);
    frames_on(p);
}

static void frames_freeze(struct plan *p)
{
    freeze(p);
    frames_on(p);
}

static void frames_skew(struct plan *p)
{
    frames_on(p);
    p->safety_ns = 120 * SIM_S;
    p->has_liar_clock = true;
}

/* For figures: a mesh that has found itself, three windows, and loss. */
static void frames_figures(struct plan *p, unsigned loss_percent)
{
    frames_on(p);
    p->is_measurement = true;
    p->start_spread_ns = 5 * SIM_S;
    p->frames_from_ns = 40 * SIM_S;
    p->safety_ns = 71 * SIM_S;
    p->loss_ppm = loss_percent * 10000;
    p->sees_wire = false;
    p->check_every = 0;
}

static void frames_0(struct plan *p)
{
    frames_figures(p, 0);
}

static void frames_10(struct plan *p)
{
    frames_figures(p, 10);
}

static void frames_30(struct plan *p)
{
    frames_figures(p, 30);
}

static const struct scenario scenarios[] = {
    {"frames", "frames, and anything that hurts them", 10, frames_swarm},
    {"frames-split", "frames of two halves", 10, frames_split},
    {"frames-crash", "frames of those who come back", 10, frames_crash},
    {"frames-freeze", "frames of those who stand still", 10, frames_freeze},
    {"frames-skew", "frames of a node that is a minute off", 8, frames_skew},
    {"frames-0", "figures: no loss", 30, frames_0},
    {"frames-10", "figures: 10 % loss", 30, frames_10},
    {"frames-30", "figures: 30 % loss", 30, frames_30},
    {"quiet", "nothing happens", 5, quiet},
    {"split", "two halves for two minutes", 8, split},
    {"one-way", "half of them deaf to the rest", 8, one_way},
    {"crash", "a quarter is killed, and comes back", 8, crash},
    {"move", "a quarter comes back with another address", 8, move},
    {"restart", "all restart within a second", 12, restart},
    {"rolling", "all restart one by one", 12, rolling},
    {"freeze", "some do not run for half a minute", 8, freeze},
    {"slow", "messages of some wait for 20 s", 8, slow},
    {"leave", "some leave, and come back", 8, leave},
    {"flap", "a third up and down every five seconds", 30, flap},
    {"rotate", "the mesh changes its key", 8, rotate},
    {"no-udp", "one node has no datagrams", 8, no_udp},
    {"no-tcp", "one node has no streams", 8, no_tcp},
    {"storm", "an attacker suspects everybody every second", 10, storm},
    {"limit", "incarnations near 2^32", 6, limit},
    {"steal", "forged leaves, and stolen names", 6, steal},
    {"names", "invented members without end", 4, names},
    {"strangers", "noise without the key", 5, strangers},
    {"reflect", "answers wanted elsewhere", 5, reflect},
    {"old", "old news about the dead", 6, old},
    {"ack", "answers in the name of the dead", 8, ack},
    {"odd", "any well-formed message", 6, odd},
};

#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

bool plan_scenario(struct plan *p, const char *name, uint64_t seed, unsigned n)
{
    if (!strcmp(name, "swarm")) {
        plan_swarm(p, seed, n);
        return true;
    }
    for (size_t i = 0; i < N_SCENARIOS; i++) {
        if (strcmp(name, scenarios[i].name) != 0)
            continue;
        plan_quiet(p, seed, n ? n : scenarios[i].n);
        p->scenario = scenarios[i].name;
        p->seals = seed % 2;
        scenarios[i].draw(p);
        return true;
    }
    return false;
}

void plan_list(void)
{
    printf("%-10s everything drawn from the seed\n", "swarm");
    for (size_t i = 0; i < N_SCENARIOS; i++)
        printf("%-10s %s\n", scenarios[i].name, scenarios[i].what);
}

void plan_canary(struct plan *p, unsigned canary, uint64_t seed, unsigned n)
{
    static const char *const aims[CANARY_N] = {
        [CANARY_NONE] = "quiet",
        [CANARY_REFUTE_SAME] = "swarm",
        [CANARY_SUSPECT_STAYS] = "swarm",
        [CANARY_BELIEVE_DEAD] = "swarm",
        [CANARY_OVERFLOW] = "swarm",
        [CANARY_TAKEOVER] = "steal",
        [CANARY_NO_REJOIN] = "split",
        [CANARY_REFLECT] = "reflect",
        [CANARY_STALL_ACCUSES] = "swarm",
        [CANARY_UNBOUNDED] = "names",
        [CANARY_OLD_EVIDENCE] = "old",
        [CANARY_START_LOW] = "swarm",
        [CANARY_ANY_ACK] = "ack",
        [CANARY_FRAMES_WANT_NOTHING] = "frames",
        [CANARY_FRAMES_WRONG_SUM] = "frames-split",
        [CANARY_FRAMES_ALTER] = "frames",
    };
    plan_scenario(p, aims[canary], seed, n);
    p->canary = canary;
}

void plan_print(const struct plan *p)
{
    printf("plan %s seed %llu: %u nodes, %.0f s of faults%s%s%s, meta %zu\n",
           p->scenario, (unsigned long long)p->seed, p->n,
           (double)p->safety_ns / 1e9, p->seals ? ", sealed" : "",
           p->has_label ? ", label" : "", p->is_v6 ? ", v6" : "", p->meta_len);
    printf("  net: %u zones %.1f/%.1f ms jitter %.1f ms, loss %u dup %u "
           "reorder %u corrupt %u replay %u calm loss %u ppm\n",
           p->zones, (double)p->near_ns / 1e6, (double)p->far_ns / 1e6,
           (double)p->jitter_ns / 1e6, p->loss_ppm, p->duplicate_ppm,
           p->reorder_ppm, p->corrupt_ppm, p->replay_ppm, p->calm_loss_ppm);
    printf("  hosts: drift %d ppm, skew %llu s, service %.3f ms, buffer %zu, "
           "%s, start within %.1f s, seeds %s%u%s%s\n",
           p->drift_ppm_max, (unsigned long long)p->skew_s_max,
           (double)p->service_ns / 1e6, p->buffer_bytes,
           p->vanishes ? "vanish" : "refuse", (double)p->start_spread_ns / 1e9,
           p->seeds_by_name ? "by name " : "", p->n_seeds,
           p->all_core ? ", all core" : "",
           plan_is_gentle(p) ? ", gentle" : "");
    for (size_t i = 0; i < p->n_faults; i++)
        printf("  fault %zu: %s x%u from %.3f to %.3f s\n", i,
               fault_name(p->faults[i].kind), p->faults[i].count,
               (double)p->faults[i].at_ns / 1e9,
               (double)p->faults[i].until_ns / 1e9);
    for (unsigned i = 0; i < HOSTILE_KIND_N; i++) {
        if (p->hostile & 1u << i)
            printf("  hostile: %s, %u/s\n", hostile_name(i), p->hostile_per_s);
    }
}
