/* test/sim/sim.h - the world of one run: nodes, network, time.
 *
 * Everything of a run hangs off struct sim; there is no other state, so runs
 * do not see each other. sim_run() goes through the phases: faults, healing,
 * an accusation, a leave. The parts:
 *
 *     queue    what happens next
 *     node     one struct mesh and its host: timer, clocks, pauses
 *     net      datagrams and streams between endpoints
 *     faults   what is broken when
 *     hostile  the attackers
 *     oracle   what must hold
 */
#ifndef TEST_SIM_SIM_H
#define TEST_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/mesh.h"
#include "proto/base/rng.h"
#include "test/sim/plan.h"
#include "test/sim/queue.h"

#define SIM_NOBODY     UINT32_MAX
#define SIM_TRACE_MAX  96
#define SIM_WALL_S     UINT64_C(1800000000)
#define SIM_KEYS       2
#define SIM_REPLAY_MAX 1024

enum sim_event {
    EV_TIMER,    /* who: node, gen: its life */
    EV_DATAGRAM, /* who: endpoint, load: struct datagram */
    EV_SERVED,   /* the same, after waiting for the processor */
    EV_PIPE,     /* who: pipe, gen; what: enum pipe_step, load: bytes */
    EV_RESOLVED, /* who: node, gen: its life, what: the question */
    EV_START,    /* who: node; what: 1 with another address */
    EV_KILL,     /* who: node, what: 1 it comes with new address later */
    EV_LEAVE,    /* who: node */
    EV_META,     /* who: node */
    EV_FAULT,    /* who: fault, what: 1 begins, 0 ends */
    EV_KEYS,     /* who: node, what: step of rotation */
    EV_HOSTILE,  /* the attackers' next move */
    EV_PHASE,    /* look whether the phase is over */
    EV_WATCH,    /* who: node, gen: its life; its death must be known */
    EV_MEASURE,  /* quality.c's */
    EV_SPREAD,   /* who: node, gen: its life; its frames' timer */
    EV_CLOSE,    /* the same; it closes a frame */
    EV_LOOK,     /* who has which frame */
};

enum sim_phase { PHASE_FAULTS, PHASE_CALM, PHASE_ACCUSED, PHASE_LEAVING };

enum sim_verdict {
    SIM_OK = 0,
    SIM_CRASH = 127, /* an assertion or a signal */
    SIM_LIVENESS = 128,
    SIM_CORRECTNESS = 129,
};

struct datagram {
    uint32_t from; /* endpoint */
    uint32_t len;
    bool is_held; /* counted in the receiver's buffer */
    bool is_intact;
    uint8_t data[];
};

/* Who sits at an address. */
enum endpoint_kind { ENDPOINT_NODE, ENDPOINT_HOSTILE, ENDPOINT_VICTIM };

struct endpoint {
    struct addr addr;
    uint8_t kind;   /* enum endpoint_kind */
    uint32_t owner; /* node, SIM_NOBODY: nobody listens */
    uint32_t host;  /* whose it is or was, for partitions */
    /* Datagrams, while it is no member (I17). */
    uint64_t bytes_to, bytes_from;
};

struct node {
    uint32_t index;
    struct mesh *mesh; /* NULL: down */
    uint32_t life;
    uint32_t endpoint;
    unsigned zone;
    char name[16];
    uint8_t meta[ML_META_MAX];
    size_t meta_len;

    int drift_ppm;
    uint64_t base_ns;
    int64_t skew_s;

    uint64_t timer_ns;           /* armed for, UINT64_MAX: not */
    uint64_t frozen_ns, slow_ns; /* until */
    bool timer_first;            /* after a freeze */
    uint64_t busy_ns;            /* until */
    size_t held_bytes;           /* in its receive buffer */

    uint64_t started_ns, stopped_ns;
    bool is_leaving, has_left, is_core;
    bool is_draining;         /* its effects are being carried out */
    bool is_outside;          /* cut off for good, when the rest heals */
    uint32_t incarnation;     /* seen last, in this life */
    uint32_t incarnation_max; /* of all lives */
    uint64_t inputs;
    uint64_t woken_ns;    /* end of the last freeze */
    uint64_t accusations; /* own suspicions when it was frozen */
    uint32_t gone_id;     /* the stream it is being told of, 0: none */
    struct rng nonces;
    unsigned key_step;
};

enum sim_call { CALL_TIMER, CALL_PACKET, CALL_BYTES, CALL_OTHER };

/* A line of the trace, for the report of a violation. */
struct trace_line {
    uint64_t at_ns;
    uint32_t node;
    uint8_t kind; /* enum mesh_effect_kind, or 128 + enum sim_event */
    uint8_t event;
    uint32_t id;
    uint32_t subject, incarnation;
    struct addr to;
    uint32_t len;
};

struct oracle;
struct hostile;
struct net;
struct quality;
struct sim_frames;

struct sim {
    struct plan plan;
    struct queue queue;
    uint64_t now_ns;
    struct rng dice; /* the network's */
    enum sim_phase phase;
    uint64_t phase_ns;  /* since */
    uint64_t agreed_ns; /* since when agreement has been seen, 0: not */
    uint32_t subject;   /* of the accusation, or who leaves */
    bool must_live;     /* the accusation is one it can refute */
    bool is_over;

    struct node *nodes;
    struct endpoint *endpoints;
    uint32_t n_endpoints, endpoints_max;
    struct ml_key keys[SIM_KEYS];
    uint32_t loss_ppm;

    struct net *net;
    struct oracle *oracle;
    struct hostile *hostile;
    struct sim_frames *frames; /* NULL: there are none */
    struct quality *quality;   /* NULL but in measurements */

    /* for reports */
    bool prints;
    uint64_t hash; /* of all effects and states */
    uint64_t n_events, n_effects;
    uint64_t node_ns;            /* time lived by all nodes */
    uint64_t heal_ns, refute_ns; /* how long these took */
    struct trace_line trace[SIM_TRACE_MAX];
    uint64_t n_trace;
    enum sim_verdict verdict;
    uint64_t failed_ns;
    char what[400];
};

/* Set up; run until it is over or something is violated; tear down. */
void sim_open(struct sim *s, const struct plan *p, bool prints);
void sim_run(struct sim *s);
void sim_close(struct sim *s);

/* Record the first violation and end the run. */
void sim_fail(struct sim *s, enum sim_verdict v, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void sim_trace(struct sim *s, const struct trace_line *line);
void sim_print_trace(const struct sim *s);
void sim_mix(struct sim *s, const void *data, size_t len);
void sim_mix_u64(struct sim *s, uint64_t v);

/* Put an event that owns `load`. */
void sim_at(struct sim *s, uint64_t at_ns, enum sim_event kind, uint32_t who,
            uint32_t what, uint32_t gen, void *load);

bool sim_chance(struct rng *r, uint32_t ppm);
/* Node index of a member's name; SIM_NOBODY for one that is no node's. */
uint32_t sim_subject(const struct sim *s, const char *name, size_t len);
void *sim_alloc(size_t n, size_t size); /* zeroed; ends the process */

#endif /* TEST_SIM_SIM_H */
