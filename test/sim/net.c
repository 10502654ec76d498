#include "test/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "test/sim/hostile.h"
#include "test/sim/node.h"
#include "test/sim/oracle.h"

#define HANDLES    64 /* streams of one node: 32 in, 24 out */
#define TRIES_MAX  7
#define SYN_TRIES  4
#define RETRY_NS   (200 * SIM_MS)
#define SILENCE_NS (20 * SIM_S)

enum pipe_step { PIPE_SYN, PIPE_ACCEPT, PIPE_OPEN, PIPE_DATA, PIPE_END };
enum { DIALLER, ACCEPTOR };

struct side {
    uint32_t node; /* SIM_NOBODY: an attacker */
    uint32_t host; /* for partitions */
    uint32_t life, id;
    bool is_open;
    uint64_t last_ns; /* arrival of the latest bytes: order is kept */
    uint64_t hold_ns; /* nothing is delivered before */
};

struct pipe {
    bool is_used;
    uint32_t gen, refs;
    uint32_t to; /* endpoint */
    struct addr from;
    struct side side[2];
    struct chunk *attack; /* what an attacker sends when open */
};

struct chunk {
    uint32_t len;
    uint8_t data[];
};

struct handle {
    uint32_t id, pipe;
    uint8_t side;
};

struct active {
    const struct fault *fault;
    uint8_t *group; /* per node */
};

struct net {
    struct pipe *pipes;
    uint32_t n_pipes, pipes_max, n_used, next_free;
    struct handle (*handles)[HANDLES];
    struct active active[PLAN_FAULTS_MAX];
    size_t n_active;
    bool is_severed;
    bool overhears;
    uint32_t extra_loss_ppm;
    struct {
        struct datagram *datagram;
        uint32_t to;
    } kept[SIM_REPLAY_MAX];
    size_t n_kept;
};

void net_open(struct sim *s)
{
    struct net *net = sim_alloc(1, sizeof(*net));
    net->handles = sim_alloc(s->plan.n, sizeof(*net->handles));
    net->overhears =
        s->plan.replay_ppm || s->plan.hostile & 1u << HOSTILE_MUTANT;
    s->net = net;
}

void net_close(struct sim *s)
{
    struct net *net = s->net;
    for (uint32_t i = 0; i < net->n_pipes; i++)
        free(net->pipes[i].attack);
    for (size_t i = 0; i < net->n_active; i++)
        free(net->active[i].group);
    for (size_t i = 0; i < net->n_kept; i++)
        free(net->kept[i].datagram);
    free(net->pipes);
    free(net->handles);
    free(net);
}

size_t net_pipes(const struct sim *s)
{
    return s->net->n_used;
}

/* ---- addresses ---- */

uint32_t net_endpoint(struct sim *s, enum endpoint_kind kind, uint32_t host)
{
    if (s->n_endpoints == s->endpoints_max) {
        sim_fail(s, SIM_CRASH, "the simulator ran out of endpoints");
        return s->n_endpoints - 1;
    }
    uint32_t i = s->n_endpoints++;
    uint32_t number = i + 1;
    uint8_t tail[3] = {(uint8_t)(number >> 16), (uint8_t)(number >> 8),
                       (uint8_t)number};
    struct endpoint *e = &s->endpoints[i];
    *e = (struct endpoint){.kind = (uint8_t)kind,
                           .owner = SIM_NOBODY,
                           .host = host,
                           .addr.port = MESH_PORT};
    if (s->plan.is_v6) {
        e->addr.family = ADDR_V6;
        e->addr.ip[0] = 0xfd;
        memcpy(e->addr.ip + 13, tail, 3);
    } else {
        e->addr.family = ADDR_V4;
        e->addr.ip[0] = 10;
        memcpy(e->addr.ip + 1, tail, 3);
    }
    return i;
}

uint32_t net_find(const struct sim *s, const struct addr *a)
{
    const uint8_t *tail = a->ip + (a->family == ADDR_V6 ? 13 : 1);
    uint32_t number =
        (uint32_t)tail[0] << 16 | (uint32_t)tail[1] << 8 | tail[2];
    if (number == 0 || number > s->n_endpoints)
        return SIM_NOBODY;
    if (!addr_equal(&s->endpoints[number - 1].addr, a))
        return SIM_NOBODY;
    return number - 1;
}

/* ---- what is broken ---- */

static bool fault_passes(const struct sim *s, const struct active *a,
                         uint32_t from, uint32_t to, bool is_stream, size_t len)
{
    const uint8_t *g = a->group;
    uint32_t apart = from > to ? from - to : to - from;
    switch (a->fault->kind) {
    case FAULT_HALVES:
    case FAULT_ISOLATE:
        return g[from] == g[to];
    case FAULT_ONE_WAY:
        return !(g[from] == 0 && g[to] == 1);
    case FAULT_BRIDGE:
        return g[from] == g[to] || g[from] == 2 || g[to] == 2;
    case FAULT_RING:
        return apart <= 1 || apart == s->plan.n - 1;
    case FAULT_NO_UDP:
        return is_stream || !(g[from] || g[to]);
    case FAULT_NO_TCP:
        return !is_stream || !(g[from] || g[to]);
    case FAULT_MTU:
        return is_stream || len + (s->plan.is_v6 ? 48 : 28) <= 1280;
    case FAULT_LOSS:
    case FAULT_FREEZE:
    case FAULT_SLOW:
    case FAULT_CRASH:
    case FAULT_MOVE:
    case FAULT_LEAVE:
    case FAULT_RESTART:
    case FAULT_ROLLING:
    case FAULT_META:
    case FAULT_ROTATE:
    case FAULT_KIND_N:
        break;
    }
    return true;
}

bool net_passes(const struct sim *s, uint32_t from_host, uint32_t to_host,
                bool is_stream, size_t len)
{
    const struct net *net = s->net;
    if (from_host >= s->plan.n || to_host >= s->plan.n || from_host == to_host)
        return true;
    if (net->is_severed &&
        s->nodes[from_host].is_outside != s->nodes[to_host].is_outside)
        return false;
    for (size_t i = 0; i < net->n_active; i++) {
        if (!fault_passes(s, &net->active[i], from_host, to_host, is_stream,
                          len))
            return false;
    }
    return true;
}

static void group_nodes(struct sim *s, const struct fault *f, uint8_t *group)
{
    uint32_t n = s->plan.n;
    struct rng dice;
    rng_seed(&dice, f->seed);
    switch (f->kind) {
    case FAULT_HALVES:
    case FAULT_ONE_WAY:
    case FAULT_BRIDGE:
        /* Two halves, drawn; each has one at least. */
        for (uint32_t i = 0; i < n; i++)
            group[i] = (uint8_t)rng_below(&dice, 2);
        group[rng_below(&dice, n)] = 0;
        for (uint32_t i = 0; i < n / 2; i++)
            group[rng_below(&dice, n)] = (uint8_t)(i % 2);
        if (f->kind == FAULT_BRIDGE)
            group[rng_below(&dice, n)] = 2;
        break;
    case FAULT_ISOLATE:
    case FAULT_NO_UDP:
    case FAULT_NO_TCP:
        for (unsigned i = 0; i < f->count || i == 0; i++)
            group[rng_below(&dice, n)] = 1;
        break;
    case FAULT_RING:
    case FAULT_MTU:
    case FAULT_LOSS:
    case FAULT_FREEZE:
    case FAULT_SLOW:
    case FAULT_CRASH:
    case FAULT_MOVE:
    case FAULT_LEAVE:
    case FAULT_RESTART:
    case FAULT_ROLLING:
    case FAULT_META:
    case FAULT_ROTATE:
    case FAULT_KIND_N:
        break;
    }
}

void net_fault(struct sim *s, const struct fault *f, bool begins)
{
    struct net *net = s->net;
    if (f->kind == FAULT_LOSS) {
        uint32_t ppm = f->count * 10000;
        net->extra_loss_ppm = begins ? ppm : 0;
        return;
    }
    if (begins) {
        struct active *a = &net->active[net->n_active++];
        *a = (struct active){f, sim_alloc(s->plan.n, 1)};
        group_nodes(s, f, a->group);
        return;
    }
    for (size_t i = 0; i < net->n_active; i++) {
        if (net->active[i].fault != f)
            continue;
        free(net->active[i].group);
        net->active[i] = net->active[--net->n_active];
        return;
    }
}

void net_heal(struct sim *s)
{
    struct net *net = s->net;
    while (net->n_active > 0)
        free(net->active[--net->n_active].group);
    net->extra_loss_ppm = 0;
}

void net_sever(struct sim *s)
{
    s->net->is_severed = true;
}

static uint64_t latency(struct sim *s, uint32_t from_host, uint32_t to_host)
{
    const struct plan *p = &s->plan;
    uint64_t base_ns = p->near_ns;
    if (from_host < p->n && to_host < p->n) {
        unsigned a = s->nodes[from_host].zone;
        unsigned b = s->nodes[to_host].zone;
        /* A matrix without a table: zones differ, and so do directions. */
        if (a != b)
            base_ns = p->far_ns + p->far_ns / 4 * ((3 * a + b) % 4);
    }
    uint64_t u = rng_next(&s->dice) >> 54; /* 0..1023 */
    return base_ns + p->jitter_ns * u * u * 3 / (1 << 20);
}

static bool is_lost(struct sim *s)
{
    return sim_chance(&s->dice, s->loss_ppm + s->net->extra_loss_ppm);
}

/* ---- datagrams ---- */

static struct datagram *datagram_new(uint32_t from, const void *data,
                                     size_t len)
{
    struct datagram *d = sim_alloc(1, sizeof(*d) + len);
    d->from = from;
    d->len = (uint32_t)len;
    d->is_intact = true;
    if (len)
        memcpy(d->data, data, len);
    return d;
}

static void flip_bits(struct sim *s, struct datagram *d)
{
    uint64_t n = 1 + rng_below(&s->dice, 8);
    for (uint64_t i = 0; i < n && d->len > 0; i++) {
        uint64_t bit = rng_below(&s->dice, (uint64_t)d->len * 8);
        d->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    d->is_intact = false;
}

/* Keep a random sample of all that was ever sent, so that old ones last. */
static void keep(struct sim *s, uint32_t from, uint32_t to, const void *data,
                 size_t len)
{
    struct net *net = s->net;
    size_t slot = net->n_kept;
    if (slot < SIM_REPLAY_MAX)
        net->n_kept++;
    else
        slot = rng_below(&s->dice, SIM_REPLAY_MAX);
    free(net->kept[slot].datagram);
    net->kept[slot].datagram = datagram_new(from, data, len);
    net->kept[slot].to = to;
}

const struct datagram *net_overheard(struct sim *s, struct rng *dice,
                                     uint32_t *to)
{
    struct net *net = s->net;
    if (net->n_kept == 0)
        return NULL;
    size_t slot = rng_below(dice, net->n_kept);
    *to = net->kept[slot].to;
    return net->kept[slot].datagram;
}

static void replay(struct sim *s)
{
    uint32_t to;
    const struct datagram *old = net_overheard(s, &s->dice, &to);
    if (!old)
        return;
    uint64_t later_ns = rng_below(&s->dice, 5 * SIM_S);
    sim_at(s, s->now_ns + later_ns, EV_DATAGRAM, to, 0, 0,
           datagram_new(old->from, old->data, old->len));
}

void net_send(struct sim *s, uint32_t from, const struct addr *to_addr,
              const void *data, size_t len)
{
    const struct plan *p = &s->plan;
    struct net *net = s->net;
    uint32_t to = net_find(s, to_addr);
    if (to == SIM_NOBODY)
        return;
    uint32_t from_host = s->endpoints[from].host;
    uint32_t to_host = s->endpoints[to].host;
    if (p->hostile & 1u << HOSTILE_ACK && s->phase == PHASE_FAULTS)
        hostile_overhear(s, from, data, len);
    if (!net_passes(s, from_host, to_host, false, len) || is_lost(s))
        return;
    bool is_faulty = s->phase == PHASE_FAULTS;
    uint64_t start_ns = s->now_ns;
    if (from_host < p->n && s->nodes[from_host].slow_ns > start_ns)
        start_ns = s->nodes[from_host].slow_ns;
    unsigned copies = 1;
    if (is_faulty && sim_chance(&s->dice, p->duplicate_ppm))
        copies = 2;
    for (unsigned i = 0; i < copies; i++) {
        struct datagram *d = datagram_new(from, data, len);
        uint64_t at_ns = start_ns + latency(s, from_host, to_host);
        if (is_faulty && sim_chance(&s->dice, p->corrupt_ppm))
            flip_bits(s, d);
        if (is_faulty && sim_chance(&s->dice, p->reorder_ppm))
            at_ns += rng_below(&s->dice, 300 * SIM_MS);
        sim_at(s, at_ns, EV_DATAGRAM, to, 0, 0, d);
    }
    if (net->overhears && is_faulty) {
        keep(s, from, to, data, len);
        if (sim_chance(&s->dice, p->replay_ppm))
            replay(s);
    }
}

void net_inject(struct sim *s, uint32_t from, uint32_t to, const void *data,
                size_t len)
{
    s->endpoints[from].bytes_from += len;
    sim_at(s, s->now_ns + s->plan.near_ns, EV_DATAGRAM, to, 0, 0,
           datagram_new(from, data, len));
}

/* True if the datagram has to wait, and does, or was dropped. */
static bool waits(struct sim *s, struct node *n, struct event *e)
{
    struct datagram *d = e->load;
    uint64_t until_ns = n->frozen_ns > n->slow_ns ? n->frozen_ns : n->slow_ns;
    enum sim_event kind = e->kind;
    if (until_ns <= s->now_ns && kind == EV_DATAGRAM && s->plan.service_ns) {
        uint64_t start_ns = n->busy_ns > s->now_ns ? n->busy_ns : s->now_ns;
        until_ns = n->busy_ns = start_ns + s->plan.service_ns;
        kind = EV_SERVED;
    }
    if (until_ns <= s->now_ns)
        return false;
    if (!d->is_held) {
        /* The kernel charges for its own bookkeeping as well. */
        if (n->held_bytes + d->len + 512 > s->plan.buffer_bytes)
            return true;
        n->held_bytes += d->len + 512;
        d->is_held = true;
    }
    e->load = NULL;
    sim_at(s, until_ns, kind, e->who, 0, 0, d);
    return true;
}

void net_on_datagram(struct sim *s, struct event *e)
{
    struct datagram *d = e->load;
    const struct endpoint *to = &s->endpoints[e->who];
    if (to->owner == SIM_NOBODY || !s->nodes[to->owner].mesh)
        return;
    struct node *n = &s->nodes[to->owner];
    if (waits(s, n, e))
        return;
    if (d->is_held) {
        size_t held = d->len + 512;
        n->held_bytes -= held < n->held_bytes ? held : n->held_bytes;
    }
    node_on_datagram(s, n, &s->endpoints[d->from].addr, d);
}

/* ---- streams ---- */

static struct handle *handle_find(struct sim *s, uint32_t node, uint32_t id)
{
    struct handle *h = s->net->handles[node];
    for (size_t i = 0; i < HANDLES; i++) {
        if (h[i].id == id)
            return &h[i];
    }
    return NULL;
}

static void handle_add(struct sim *s, uint32_t node, uint32_t id, uint32_t pipe,
                       unsigned side)
{
    struct handle *h = handle_find(s, node, 0);
    if (!h) {
        sim_fail(s, SIM_CORRECTNESS, "I16: n-%u has more than %d streams", node,
                 HANDLES);
        return;
    }
    *h = (struct handle){id, pipe, (uint8_t)side};
}

static uint32_t pipe_new(struct sim *s)
{
    struct net *net = s->net;
    uint32_t i = 0;
    if (net->n_used == net->n_pipes) {
        if (net->n_pipes == net->pipes_max) {
            net->pipes_max = net->pipes_max ? 2 * net->pipes_max : 64;
            struct pipe *grown = sim_alloc(net->pipes_max, sizeof(*grown));
            if (net->n_pipes)
                memcpy(grown, net->pipes, net->n_pipes * sizeof(*grown));
            free(net->pipes);
            net->pipes = grown;
        }
        i = net->n_pipes++;
    } else {
        while (net->pipes[net->next_free % net->n_pipes].is_used)
            net->next_free++;
        i = net->next_free % net->n_pipes;
    }
    net->n_used++;
    struct pipe *p = &net->pipes[i];
    *p = (struct pipe){.is_used = true, .gen = p->gen + 1};
    return i;
}

static void pipe_put(struct sim *s, uint32_t i, enum pipe_step step,
                     unsigned side, unsigned tries, uint64_t at_ns,
                     struct chunk *load)
{
    struct pipe *p = &s->net->pipes[i];
    p->refs++;
    sim_at(s, at_ns, EV_PIPE, i, step | side << 8 | tries << 16, p->gen, load);
}

/* When something sent now by the other side arrives at `side`, in order. */
static uint64_t pipe_arrival(struct sim *s, struct pipe *p, unsigned side)
{
    struct side *to = &p->side[side];
    const struct side *from = &p->side[!side];
    uint64_t at_ns = s->now_ns + latency(s, from->host, to->host);
    for (unsigned k = 0; k < TRIES_MAX && is_lost(s); k++)
        at_ns += RETRY_NS << k;
    if (at_ns < to->last_ns)
        at_ns = to->last_ns;
    to->last_ns = at_ns;
    return at_ns;
}

static void side_close(struct sim *s, struct side *side)
{
    if (side->is_open && side->node != SIM_NOBODY) {
        struct handle *h = handle_find(s, side->node, side->id);
        if (h && h->id)
            h->id = 0;
    }
    side->is_open = false;
}

/* The side learns that it is over. */
static void side_end(struct sim *s, struct pipe *p, unsigned which)
{
    struct side side = p->side[which];
    side_close(s, &p->side[which]);
    if (side.is_open && side.node != SIM_NOBODY)
        node_on_gone(s, &s->nodes[side.node], side.id);
}

void net_dial(struct sim *s, struct node *n, uint32_t id, const struct addr *to)
{
    uint32_t endpoint = net_find(s, to);
    uint32_t i = pipe_new(s);
    struct pipe *p = &s->net->pipes[i];
    p->to = endpoint;
    p->from = s->endpoints[n->endpoint].addr;
    p->from.port = (uint16_t)(32768 + rng_below(&s->dice, 28000));
    p->side[DIALLER] = (struct side){.node = n->index,
                                     .host = n->index,
                                     .life = n->life,
                                     .id = id,
                                     .is_open = true};
    p->side[ACCEPTOR] = (struct side){.node = SIM_NOBODY, .host = SIM_NOBODY};
    handle_add(s, n->index, id, i, DIALLER);
    if (endpoint == SIM_NOBODY) {
        pipe_put(s, i, PIPE_END, DIALLER, 0, s->now_ns + SILENCE_NS, NULL);
        return;
    }
    p->side[ACCEPTOR].host = s->endpoints[endpoint].host;
    pipe_put(s, i, PIPE_SYN, ACCEPTOR, 0, pipe_arrival(s, p, ACCEPTOR), NULL);
}

void net_attack(struct sim *s, uint32_t from, uint32_t to, const void *data,
                size_t len)
{
    uint32_t i = pipe_new(s);
    struct pipe *p = &s->net->pipes[i];
    p->to = to;
    p->from = s->endpoints[from].addr;
    p->from.port = (uint16_t)(1024 + rng_below(&s->dice, 60000));
    p->side[DIALLER] =
        (struct side){.node = SIM_NOBODY, .host = SIM_NOBODY, .is_open = true};
    p->side[ACCEPTOR] =
        (struct side){.node = SIM_NOBODY, .host = s->endpoints[to].host};
    p->attack = sim_alloc(1, sizeof(struct chunk) + len);
    p->attack->len = (uint32_t)len;
    if (len)
        memcpy(p->attack->data, data, len);
    pipe_put(s, i, PIPE_SYN, ACCEPTOR, 0, pipe_arrival(s, p, ACCEPTOR), NULL);
}

static void pipe_send(struct sim *s, uint32_t i, unsigned to_side,
                      const uint8_t *data, size_t len)
{
    struct pipe *p = &s->net->pipes[i];
    /* Mostly whole segments, sometimes single bytes: readers must resume. */
    size_t piece_max = sim_chance(&s->dice, 50000) ? 7 : 16384;
    for (size_t at = 0; at < len && at < 64 * 1024 * 1024;) {
        size_t piece = len - at < piece_max ? len - at : piece_max;
        struct chunk *c = sim_alloc(1, sizeof(*c) + piece);
        c->len = (uint32_t)piece;
        memcpy(c->data, data + at, piece);
        pipe_put(s, i, PIPE_DATA, to_side, 0, pipe_arrival(s, p, to_side), c);
        at += piece;
        if (at > 256)
            piece_max = 16384;
    }
}

void net_write(struct sim *s, struct node *n, uint32_t id, const void *data,
               size_t len)
{
    struct handle *h = id ? handle_find(s, n->index, id) : NULL;
    if (!h) {
        sim_fail(s, SIM_CORRECTNESS, "n-%u writes to stream %u, which is not",
                 n->index, id);
        return;
    }
    pipe_send(s, h->pipe, !h->side, data, len);
}

void net_hangup(struct sim *s, struct node *n, uint32_t id)
{
    struct handle *h = id ? handle_find(s, n->index, id) : NULL;
    if (!h && id == n->gone_id)
        return; /* decided before it was told that the stream is gone */
    if (!h) {
        sim_fail(s, SIM_CORRECTNESS, "n-%u hangs up stream %u, which is not",
                 n->index, id);
        return;
    }
    uint32_t i = h->pipe;
    unsigned side = h->side;
    struct pipe *p = &s->net->pipes[i];
    side_close(s, &p->side[side]);
    pipe_put(s, i, PIPE_END, !side, 0, pipe_arrival(s, p, !side), NULL);
}

void net_kill(struct sim *s, struct node *n, bool is_silent)
{
    struct handle *handles = s->net->handles[n->index];
    for (size_t k = 0; k < HANDLES; k++) {
        if (!handles[k].id)
            continue;
        uint32_t i = handles[k].pipe;
        unsigned side = handles[k].side;
        struct pipe *p = &s->net->pipes[i];
        side_close(s, &p->side[side]);
        if (!is_silent)
            pipe_put(s, i, PIPE_END, !side, 0, pipe_arrival(s, p, !side), NULL);
    }
}

static void on_syn(struct sim *s, uint32_t i, unsigned tries)
{
    struct pipe *p = &s->net->pipes[i];
    uint32_t from = p->side[DIALLER].host, to = p->side[ACCEPTOR].host;
    if (!net_passes(s, from, to, true, 0)) {
        if (tries < SYN_TRIES)
            pipe_put(s, i, PIPE_SYN, ACCEPTOR, tries + 1,
                     s->now_ns + (SIM_S << tries), NULL);
        else
            pipe_put(s, i, PIPE_END, DIALLER, 0, s->now_ns + SIM_S, NULL);
        return;
    }
    uint32_t owner = s->endpoints[p->to].owner;
    if (owner == SIM_NOBODY || !s->nodes[owner].mesh) {
        uint64_t wait_ns = s->plan.vanishes ? SILENCE_NS : latency(s, to, from);
        pipe_put(s, i, PIPE_END, DIALLER, 0, s->now_ns + wait_ns, NULL);
        return;
    }
    /* The kernel answers, also while the process stands still. */
    p->side[ACCEPTOR].node = owner;
    p->side[ACCEPTOR].life = s->nodes[owner].life;
    pipe_put(s, i, PIPE_ACCEPT, ACCEPTOR, 0, s->now_ns, NULL);
    pipe_put(s, i, PIPE_OPEN, DIALLER, 0, pipe_arrival(s, p, DIALLER), NULL);
}

static void on_accept(struct sim *s, uint32_t i)
{
    struct pipe *p = &s->net->pipes[i];
    struct node *n = &s->nodes[p->side[ACCEPTOR].node];
    uint32_t id = 0;
    struct addr from = p->from;
    if (n->mesh && n->life == p->side[ACCEPTOR].life)
        id = node_on_accept(s, n, &from);
    p = &s->net->pipes[i];
    if (id == 0) {
        pipe_put(s, i, PIPE_END, DIALLER, 0, pipe_arrival(s, p, DIALLER), NULL);
    } else {
        p->side[ACCEPTOR].id = id;
        p->side[ACCEPTOR].is_open = true;
        handle_add(s, n->index, id, i, ACCEPTOR);
    }
    if (n->mesh)
        node_accepted(s, n);
}

static void on_open(struct sim *s, uint32_t i)
{
    struct pipe *p = &s->net->pipes[i];
    struct side *side = &p->side[DIALLER];
    if (!side->is_open)
        return;
    if (side->node != SIM_NOBODY) {
        node_on_connected(s, &s->nodes[side->node], side->id);
        return;
    }
    struct chunk *attack = p->attack;
    p->attack = NULL;
    pipe_send(s, i, ACCEPTOR, attack->data, attack->len);
    free(attack);
    p = &s->net->pipes[i];
    p->side[ACCEPTOR].last_ns += rng_below(&s->dice, 15 * SIM_S);
    p->side[DIALLER].is_open = false;
    pipe_put(s, i, PIPE_END, ACCEPTOR, 0, pipe_arrival(s, p, ACCEPTOR), NULL);
}

static void on_data(struct sim *s, uint32_t i, unsigned which,
                    const struct chunk *c)
{
    struct pipe *p = &s->net->pipes[i];
    struct side *side = &p->side[which];
    if (!side->is_open) {
        /* The kernel resets who writes to what is closed. */
        if (p->side[!which].is_open)
            pipe_put(s, i, PIPE_END, !which, 0, pipe_arrival(s, p, !which),
                     NULL);
        return;
    }
    if (side->node != SIM_NOBODY)
        node_on_bytes(s, &s->nodes[side->node], side->id, c->data, c->len);
}

/* True if the step has to wait: for what is before it, for a process that does
 * not run, for a network that does not let it through. */
static bool pipe_waits(struct sim *s, struct event *e, enum pipe_step step,
                       unsigned which, unsigned tries)
{
    struct pipe *p = &s->net->pipes[e->who];
    struct side *to = &p->side[which];
    const struct side *from = &p->side[!which];
    if (step == PIPE_SYN)
        return false;
    uint64_t until_ns = to->hold_ns;
    if (to->node != SIM_NOBODY) {
        const struct node *n = &s->nodes[to->node];
        if (n->frozen_ns > until_ns)
            until_ns = n->frozen_ns;
        if (n->slow_ns > until_ns)
            until_ns = n->slow_ns;
    }
    if (until_ns <= s->now_ns && step == PIPE_DATA &&
        !net_passes(s, from->host, to->host, true, 0)) {
        if (tries == TRIES_MAX) {
            for (unsigned k = 0; k < 2; k++)
                pipe_put(s, e->who, PIPE_END, k, 0, s->now_ns, NULL);
            return true;
        }
        until_ns = s->now_ns + (RETRY_NS << tries);
        tries++;
    }
    if (until_ns <= s->now_ns)
        return false;
    to->hold_ns = until_ns;
    pipe_put(s, e->who, step, which, tries, until_ns, e->load);
    e->load = NULL;
    return true;
}

void net_on_pipe(struct sim *s, struct event *e)
{
    uint32_t i = e->who;
    enum pipe_step step = e->what & 0xff;
    unsigned which = e->what >> 8 & 0xff, tries = e->what >> 16;
    s->net->pipes[i].refs--;
    if (!pipe_waits(s, e, step, which, tries)) {
        switch (step) {
        case PIPE_SYN:
            on_syn(s, i, tries);
            break;
        case PIPE_ACCEPT:
            on_accept(s, i);
            break;
        case PIPE_OPEN:
            on_open(s, i);
            break;
        case PIPE_DATA:
            on_data(s, i, which, e->load);
            break;
        case PIPE_END:
            side_end(s, &s->net->pipes[i], which);
            break;
        }
    }
    /* What the nodes did may have moved the pipes. */
    struct pipe *p = &s->net->pipes[i];
    if (p->refs == 0 && !p->side[0].is_open && !p->side[1].is_open) {
        free(p->attack);
        p->attack = NULL;
        p->is_used = false;
        s->net->n_used--;
    }
}
