#include "test/remote_net.h"

#include <stdio.h>
#include <string.h>

#include "mesh/facts.h"
#include "proto/base/err.h"
#include "test/check.h"

/* ---- nodes ---- */

static const struct addr_policy anywhere = {.allows_loopback = false};
static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};

static void open_members(struct net *n, struct net_node *node)
{
    struct members_config c = {
        .name = span_of_text(node->name),
        .advertise = node->addr,
        .now_unix_s = 1,
        .incarnation = 1,
        .members_max = 16,
        .new_per_s = 16,
        .reclaim_ns = 30 * NET_SEC,
        .ping_interval_ns = NET_SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * NET_SEC,
        .policy = &anywhere,
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    node->members = members_open(&c, n->now_ns);
    check_true(node->members != NULL);
}

static void introduce(struct net *n, struct net_node *at,
                      const struct net_node *other)
{
    uint8_t meta[ML_META_MAX];
    struct change change;
    struct facts f = {.is_ours = true, .port = 7443, .protocols = 1};
    strcpy(f.version, "1");
    strcpy(f.zone, other->zone);
    int len = facts_encode(&f, meta);
    check_true(len > 0);
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text(other->name),
                         .addr = span_of(other->addr.ip, 4),
                         .port = 7946,
                         .meta = span_of(meta, (size_t)len),
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(at->members, n->now_ns, &a, &change);
    check_i64(change.kind, CHANGE_JOINED);
    members_get(at->members, change.index)->is_ours = true;
}

struct net *net_open(uint64_t seed)
{
    struct net *n = calloc(1, sizeof(*n));
    check_true(n != NULL);
    n->now_ns = 1000 * NET_SEC;
    n->delay_min_ns = n->delay_max_ns = NET_MS;
    rng_seed(&n->rng, seed);
    for (unsigned i = 0; i < NET_NODES; i++) {
        struct net_node *node = &n->nodes[i];
        char text[32];
        snprintf(node->name, sizeof(node->name), "node%u", i);
        snprintf(node->zone, sizeof(node->zone), "zone%u", i % 3);
        snprintf(text, sizeof(text), "10.0.0.%u:7946", i + 1);
        check_i64(addr_parse(&node->addr, text), 0);
        open_members(n, node);
        struct remote_config c = {node->name, node->members, seed + i};
        node->remote = remote_open(&c);
        check_true(node->remote != NULL);
        node->answer = ONEOFF_RUNNING;
    }
    for (unsigned i = 0; i < NET_NODES; i++) {
        for (unsigned k = 0; k < NET_NODES; k++) {
            if (i != k)
                introduce(n, &n->nodes[i], &n->nodes[k]);
        }
    }
    return n;
}

void net_close(struct net *n)
{
    for (unsigned i = 0; i < NET_NODES; i++) {
        remote_close(n->nodes[i].remote);
        members_close(n->nodes[i].members);
    }
    for (size_t i = 0; i < n->n_packets; i++)
        free(n->packets[i].data);
    free(n);
}

uint32_t net_member(const struct net *n, unsigned at, unsigned of)
{
    return members_find(n->nodes[at].members, span_of_text(n->nodes[of].name));
}

void net_set_state(struct net *n, unsigned at, unsigned of,
                   enum member_state state)
{
    members_get(n->nodes[at].members, net_member(n, at, of))->state =
        (uint8_t)state;
}

void net_stats(const struct net *n, unsigned node, struct remote_stats *s)
{
    remote_stats(n->nodes[node].remote, s);
}

/* ---- the network ---- */

static void post(struct net *n, unsigned from, unsigned to, const void *data,
                 size_t len)
{
    check_true(n->n_packets < NET_PACKETS);
    struct net_packet *p = &n->packets[n->n_packets++];
    *p = (struct net_packet){.from = from, .to = to, .len = len};
    p->due_ns = n->now_ns + n->delay_min_ns +
                rng_below(&n->rng, n->delay_max_ns - n->delay_min_ns + 1);
    p->data = malloc(len);
    check_true(p->data != NULL);
    memcpy(p->data, data, len);
    for (int i = 0; i < 3 && rng_below(&n->rng, 100) < n->spoil; i++) {
        size_t bit = rng_below(&n->rng, len * 8);
        p->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

void net_inject(struct net *n, unsigned from, unsigned to, const void *data,
                size_t len)
{
    post(n, from, to, data, len);
}

static unsigned node_of(const struct net *n, unsigned at, uint32_t member)
{
    const struct member *m = members_peek(n->nodes[at].members, member);
    return (unsigned)(m->name[4] - '0');
}

static void send_message(struct net *n, unsigned from,
                         const struct remote_effect *e)
{
    unsigned to = node_of(n, from, e->member);
    uint8_t kind = e->data.data[2];
    check_true(e->data.len >= 23 && kind >= 1 && kind <= 6);
    check_true(e->data.len <= REMOTE_MESSAGE_MAX);
    if (e->data.len > n->longest)
        n->longest = e->data.len;
    memcpy(n->last[kind], e->data.data, e->data.len);
    n->last_len[kind] = e->data.len;
    if (rng_below(&n->rng, 100) < n->busy) {
        remote_unsent(n->nodes[from].remote, n->now_ns);
        return;
    }
    n->sent[0]++;
    n->sent[kind]++;
    if (n->nodes[from].is_cut || n->nodes[to].is_cut ||
        rng_below(&n->rng, 100) < n->lose)
        return;
    if (n->filter && !n->filter(n, from, to, kind)) {
        n->filtered++;
        return;
    }
    post(n, from, to, e->data.data, e->data.len);
    while (rng_below(&n->rng, 100) < n->repeat)
        post(n, from, to, e->data.data, e->data.len);
}

/* ---- what hosts do ---- */

static struct net_ask *find_ask(struct net *n, unsigned node, uint32_t ask)
{
    for (unsigned k = 0; k < n->n_asks; k++) {
        if (n->asks[k].is_used && n->asks[k].from == node &&
            n->asks[k].ask == ask)
            return &n->asks[k];
    }
    fail();
    return NULL;
}

static void begin_run(struct net *n, unsigned node,
                      const struct remote_effect *e)
{
    unsigned k = (unsigned)strtoul(e->who, NULL, 10);
    if (k < n->n_asks && n->spoil == 0) {
        const struct net_ask *a = &n->asks[k];
        check_u64(a->to, node);
        check_text(e->text, n->nodes[a->from].name);
        check_true(span_equal(e->data, span_of(a->id, sizeof(a->id))));
        check_text(e->request->target, a->request.target);
        check_u64(e->request->count, a->request.count);
        check_u64(e->member, net_member(n, node, a->from));
        n->asks[k].starts++;
        check_u64(a->starts, 1);
    }
    enum oneoff_state answer = n->nodes[node].answer;
    for (size_t i = 0; answer == ONEOFF_RUNNING; i++) {
        check_true(i < NET_RUNS);
        struct net_run *run = &n->runs[i];
        if (run->is_used)
            continue;
        *run = (struct net_run){
            .is_used = true,
            .node = node,
            .k = k,
            .run = e->run,
            .count = e->request->count,
            .next_ns = n->now_ns + e->request->interval_ns,
            .interval_ns = e->request->interval_ns,
        };
        break;
    }
    remote_started(n->nodes[node].remote, n->now_ns, e->run, answer);
}

static void stop_run(struct net *n, unsigned node, uint32_t handle)
{
    for (size_t i = 0; i < NET_RUNS; i++) {
        struct net_run *run = &n->runs[i];
        if (!run->is_used || run->node != node || run->run != handle)
            continue;
        run->is_used = false;
        n->asks[run->k % NET_ASKS].stops++;
        /* As a host does, which hears of the end in a later turn. */
        remote_ended(n->nodes[node].remote, n->now_ns, handle, ONEOFF_CANCELLED,
                     0);
        return;
    }
}

/* Every seventh slot is missed. */
static void make_sample(struct net *n, struct net_run *run)
{
    struct remote *r = n->nodes[run->node].remote;
    struct sample s;
    char target[1400];
    const struct sample_names names = {
        .target = target, .from_node = "liar", .to_node = "there"};
    size_t len = n->nodes[run->node].is_big ? sizeof(target) - 1 : 10;
    memset(target, 't', len);
    target[len] = '\0';
    sample_init(&s);
    s.outcome = OUTCOME_CONNECT_TIMEOUT;
    s.failed_phase = PHASE_CONNECT;
    uint32_t missed = (run->made + 1) / 7;
    s.started_unix_ns = run->made - run->made / 7;
    if (run->made % 7 != 6)
        remote_sample(r, n->now_ns, run->run, &s, &names);
    run->next_ns += run->interval_ns;
    if (++run->made < run->count)
        return;
    run->is_used = false;
    remote_ended(r, n->now_ns, run->run, ONEOFF_DONE, missed);
}

static void take_sample(struct net *n, unsigned node,
                        const struct remote_effect *e)
{
    struct net_ask *a = find_ask(n, node, e->ask);
    check_false(a->is_dropped);
    check_u64(a->ends, 0);
    check_u64(a->taken, 1);
    sample_check(e->sample);
    check_text(e->names->from_node, n->nodes[a->to].name);
    check_text(e->names->from_zone, n->nodes[a->to].zone);
    a->samples++;
    check_true(a->samples <= a->request.count);
    if (n->spoil > 0)
        return;
    check_true(e->sample->started_unix_ns >= a->next);
    a->next = (uint32_t)e->sample->started_unix_ns + 1;
}

static void take_end(struct net *n, unsigned node,
                     const struct remote_effect *e)
{
    struct net_ask *a = find_ask(n, node, e->ask);
    check_false(a->is_dropped);
    a->ends++;
    check_u64(a->ends, 1);
    a->ended_ns = n->now_ns;
    a->state = e->state;
    a->missed = e->missed;
    a->lost = e->lost;
    check_true(oneoff_state_is_end(e->state));
    check_true(a->samples + e->missed + e->lost <= a->request.count);
}

static void drain(struct net *n, unsigned node)
{
    struct remote_effect e;
    struct remote *r = n->nodes[node].remote;
    struct remote_stats s;
    while (remote_next(r, &e)) {
        if (e.kind == REMOTE_SEND) {
            send_message(n, node, &e);
        } else if (e.kind == REMOTE_START) {
            begin_run(n, node, &e);
        } else if (e.kind == REMOTE_STOP) {
            stop_run(n, node, e.run);
        } else if (e.kind == REMOTE_TAKEN) {
            struct net_ask *a = find_ask(n, node, e.ask);
            check_false(a->is_dropped);
            check_u64(a->ends, 0);
            check_u64(a->taken++, 0);
            a->taken_ns = n->now_ns;
        } else if (e.kind == REMOTE_SAMPLE) {
            take_sample(n, node, &e);
        } else {
            take_end(n, node, &e);
        }
        if (n->hook && (e.kind == REMOTE_SAMPLE || e.kind == REMOTE_END))
            n->hook(n, e.kind, (unsigned)(find_ask(n, node, e.ask) - n->asks));
    }
    remote_check(r);
    remote_stats(r, &s);
    if (s.held_bytes > n->held_most)
        n->held_most = s.held_bytes;
}

int net_try_ask(struct net *n, unsigned from, unsigned to, uint32_t count,
                uint64_t interval_ns, unsigned *k)
{
    char who[16];
    check_true(n->n_asks < NET_ASKS);
    struct net_ask *a = &n->asks[n->n_asks];
    *a = (struct net_ask){.from = from, .to = to, .asked_ns = n->now_ns};
    oneoff_request_init(&a->request);
    snprintf(a->request.target, sizeof(a->request.target), "http://h/%u",
             n->n_asks);
    a->request.count = count;
    a->request.interval_ns = interval_ns;
    a->request.timeout_ns = NET_SEC;
    for (size_t i = 0; i < sizeof(a->id); i++)
        a->id[i] = n->has_one_id ? 7 : (uint8_t)rng_next(&n->rng);
    snprintf(who, sizeof(who), "%u", n->n_asks);
    int rc = remote_ask(n->nodes[from].remote, n->now_ns, a->id,
                        net_member(n, from, to), &a->request, who, &a->ask);
    if (rc)
        return rc;
    a->is_used = true;
    *k = n->n_asks++;
    drain(n, from);
    return 0;
}

unsigned net_ask(struct net *n, unsigned from, unsigned to, uint32_t count,
                 uint64_t interval_ns)
{
    unsigned k;
    check_i64(net_try_ask(n, from, to, count, interval_ns, &k), 0);
    return k;
}

void net_drop_inside(struct net *n, unsigned k)
{
    struct net_ask *a = &n->asks[k];
    remote_drop(n->nodes[a->from].remote, n->now_ns, a->ask);
    a->is_dropped = a->ends == 0;
}

void net_drop(struct net *n, unsigned k)
{
    net_drop_inside(n, k);
    drain(n, n->asks[k].from);
}

void net_restart(struct net *n, unsigned i)
{
    struct net_node *node = &n->nodes[i];
    struct remote_config c = {node->name, node->members, n->now_ns};
    remote_close(node->remote);
    node->remote = remote_open(&c);
    check_true(node->remote != NULL);
    for (unsigned k = 0; k < n->n_asks; k++) {
        if (n->asks[k].from == i)
            n->asks[k].is_used = false;
    }
}

/* ---- time ---- */

static void deliver(struct net *n, size_t i)
{
    struct net_packet p = n->packets[i];
    n->packets[i] = n->packets[--n->n_packets];
    if (p.len > 2 && p.data[2] < 8)
        n->delivered[p.data[2]]++;
    bool is_ours = p.len > 0 && p.data[0] == REMOTE_TYPE;
    bool was_taken =
        remote_on_message(n->nodes[p.to].remote, n->now_ns,
                          &n->nodes[p.from].addr, span_of(p.data, p.len));
    check_true(is_ours == was_taken);
    free(p.data);
    drain(n, p.to);
}

/* Does the one next thing, unless it is after `end_ns`. */
static bool step(struct net *n, uint64_t end_ns)
{
    enum { NONE, PACKET, TIMER, RUN } what = NONE;
    size_t which = 0;
    uint64_t due_ns = end_ns;
    for (size_t i = 0; i < n->n_packets; i++) {
        if (n->packets[i].due_ns <= due_ns) {
            due_ns = n->packets[i].due_ns;
            what = PACKET;
            which = i;
        }
    }
    for (size_t i = 0; i < NET_RUNS; i++) {
        const struct net_run *run = &n->runs[i];
        if (run->is_used && !n->nodes[run->node].is_mute &&
            run->next_ns < due_ns) {
            due_ns = run->next_ns;
            what = RUN;
            which = i;
        }
    }
    for (size_t i = 0; i < NET_NODES; i++) {
        uint64_t at_ns = remote_deadline(n->nodes[i].remote);
        if (at_ns < due_ns) {
            due_ns = at_ns;
            what = TIMER;
            which = i;
        }
    }
    if (what == NONE) {
        n->now_ns = end_ns;
        return false;
    }
    if (due_ns > n->now_ns)
        n->now_ns = due_ns;
    if (what == PACKET) {
        deliver(n, which);
    } else if (what == RUN) {
        make_sample(n, &n->runs[which]);
        drain(n, n->runs[which].node);
    } else {
        remote_on_timer(n->nodes[which].remote, n->now_ns);
        drain(n, (unsigned)which);
    }
    return true;
}

void net_run(struct net *n, uint64_t ns)
{
    uint64_t end_ns = n->now_ns + ns;
    unsigned steps = 0;
    while (step(n, end_ns))
        check_true(++steps < 1000000); /* it must come to an end */
}

void net_settle(struct net *n)
{
    for (int i = 0; i < 1000; i++) {
        bool is_busy = n->n_packets > 0;
        for (size_t k = 0; k < NET_NODES; k++) {
            if (remote_deadline(n->nodes[k].remote) != UINT64_MAX)
                is_busy = true;
        }
        if (!is_busy)
            return;
        net_run(n, NET_SEC);
    }
    fail();
}
