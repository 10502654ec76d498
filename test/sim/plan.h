/* test/sim/plan.h - what one run is: drawn from its seed, or by name.
 *
 * Swarm testing: every run draws its own mix, and features are switched off
 * at random, so that rare mixes meet (Groce et al., "Swarm Testing", 2012).
 * A plan is plain data: the same plan gives the same run. A shrinker makes it
 * smaller by leaving faults out.
 */
#ifndef TEST_SIM_PLAN_H
#define TEST_SIM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/mesh.h"

#define SIM_MS UINT64_C(1000000)
#define SIM_S  UINT64_C(1000000000)

#define PLAN_FAULTS_MAX 24

enum fault_kind {
    /* Of the network, from at_ns until until_ns. */
    FAULT_HALVES,  /* two groups that do not hear each other */
    FAULT_ONE_WAY, /* the first group does not hear the second */
    FAULT_BRIDGE,  /* two groups and one node that hears and is heard by all */
    FAULT_RING,    /* neighbours only */
    FAULT_ISOLATE, /* one node alone */
    FAULT_NO_UDP,  /* `count` nodes have no datagrams */
    FAULT_NO_TCP,  /* ... no streams */
    FAULT_MTU,     /* datagrams above 1280 bytes with headers are lost */
    FAULT_LOSS,    /* `count` per cent more loss everywhere */
    /* Of `count` nodes. */
    FAULT_FREEZE, /* not running at all; its sockets queue */
    FAULT_SLOW,   /* messages wait, timers run */
    FAULT_CRASH,  /* killed at at_ns, started again at until_ns */
    FAULT_MOVE,   /* the same, with another address */
    FAULT_LEAVE,  /* leaves, and comes back */
    /* Of all. */
    FAULT_RESTART, /* all at once */
    FAULT_ROLLING, /* one after the other, within the time */
    FAULT_META,    /* other facts, `count` nodes */
    FAULT_ROTATE,  /* the mesh changes its key */
    FAULT_KIND_N,
};

struct fault {
    enum fault_kind kind;
    uint64_t at_ns, until_ns;
    unsigned count;
    uint64_t seed; /* whom it hits */
};

/* What an attacker does. Those up to HOSTILE_KEYED_N have the key. */
enum hostile_kind {
    HOSTILE_STORM,   /* suspects everybody */
    HOSTILE_LIMIT,   /* incarnations near 2^32 */
    HOSTILE_FORGE,   /* leaves in the name of others */
    HOSTILE_STEAL,   /* ... and takes their name */
    HOSTILE_NAMES,   /* invents members */
    HOSTILE_ACK,     /* answers for those who are down */
    HOSTILE_REFLECT, /* wants answers sent elsewhere */
    HOSTILE_OLD,     /* old news about the dead, in odd orders */
    HOSTILE_ODD,     /* any well-formed message with any contents */
    HOSTILE_KEYED_N,
    HOSTILE_NOISE = HOSTILE_KEYED_N, /* random bytes */
    HOSTILE_MUTANT,                  /* overheard packets, changed */
    HOSTILE_STREAM,                  /* streams that say nonsense, or nothing */
    HOSTILE_KIND_N,
};

struct plan {
    uint64_t seed;
    const char *scenario; /* "swarm", or a name */
    unsigned n;           /* nodes */
    uint64_t safety_ns;   /* how long there are faults */
    unsigned canary;      /* enum mesh_canary */

    /* wire */
    bool seals, has_label, is_v6;
    size_t meta_len;

    /* network */
    unsigned zones;
    uint64_t near_ns, far_ns, jitter_ns; /* one way */
    uint32_t loss_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm, replay_ppm;
    uint32_t calm_loss_ppm; /* after healing */

    /* hosts */
    int drift_ppm_max;
    uint64_t skew_s_max; /* of the wall clock */
    uint64_t service_ns; /* per datagram */
    size_t buffer_bytes; /* of a socket */
    bool vanishes;       /* a crash takes the host along: no refusals */

    /* joining */
    uint64_t start_spread_ns;
    unsigned n_seeds;
    bool seeds_by_name;

    unsigned hostile; /* bits 1 << enum hostile_kind */
    unsigned hostile_per_s;

    size_t n_faults;
    struct fault faults[PLAN_FAULTS_MAX];

    struct mesh_timing timing;
    size_t members_max;

    /* frames, test/sim/frames.h */
    unsigned frame_cells; /* 0: none are made */
    uint64_t frames_from_ns;
    bool has_liar_clock; /* one node is a minute off */

    /* oracles */
    bool is_measurement;  /* no oracles, no phases: just time */
    bool sees_wire;       /* decode what is delivered */
    unsigned check_every; /* mesh_check() after so many inputs; 0: never */
    bool all_core;        /* everybody heals */
};

/* Draw everything from the seed. `n` 0: that too. */
void plan_swarm(struct plan *p, uint64_t seed, unsigned n);

/* A named one; false if there is none of that name. */
bool plan_scenario(struct plan *p, const char *name, uint64_t seed, unsigned n);
void plan_list(void);

/* A mesh in which nothing happens. */
void plan_quiet(struct plan *p, uint64_t seed, unsigned n);

/* A plan aimed at a canary. */
void plan_canary(struct plan *p, unsigned canary, uint64_t seed, unsigned n);
const char *canary_name(unsigned canary);
unsigned canary_parse(const char *name); /* CANARY_N: none of that name */

const char *fault_name(enum fault_kind kind);
const char *hostile_name(enum hostile_kind kind);
void plan_print(const struct plan *p);

/* May a live node be called dead in this run (invariant I7)? */
bool plan_is_gentle(const struct plan *p);

/* Must a death be known in time, before healing (invariant I8)? */
bool plan_is_watched(const struct plan *p);
/* Can an attacker speak as a member? */
bool plan_has_insider(const struct plan *p);

#endif /* TEST_SIM_PLAN_H */
