#include "test/spread_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"

static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};

static void *must(void *p)
{
    assert(p);
    return p;
}

/* ---- members ---- */

static void add_member(struct net *net, unsigned i)
{
    struct net_node *node = &net->nodes[i];
    struct facts f = {.is_ours = true, .port = 7443, .protocols = 1};
    uint8_t meta[ML_META_MAX];
    struct change change;
    uint8_t ip[4] = {10, 0, (uint8_t)(i >> 8), (uint8_t)i};
    snprintf(f.zone, sizeof(f.zone), "%s", node->zone);
    snprintf(f.version, sizeof(f.version), "1");
    int len = facts_encode(&f, meta);
    assert(len > 0);
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text(node->name),
                         .addr = span_of(ip, 4),
                         .port = 7946,
                         .meta = span_of(meta, (size_t)len),
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(net->members, net->now_ns, &a, &change);
    assert(change.kind == CHANGE_JOINED && change.index == i + 1);
    members_get(net->members, i + 1)->is_ours = true;
}

void net_meet(struct net *net, const char *name)
{
    struct change change;
    uint8_t ip[4] = {10, 2, 0, 1};
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text(name),
                         .addr = span_of(ip, 4),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(net->members, net->now_ns, &a, &change);
    assert(change.kind == CHANGE_JOINED);
}

static void open_members(struct net *net)
{
    static const struct addr_policy anywhere = {.allows_loopback = false};
    struct members_config c = {
        .name = span_of_text("nobody"),
        .now_unix_s = NET_UNIX_S,
        .incarnation = 1,
        .members_max = 4096,
        .new_per_s = 4096,
        .reclaim_ns = 30 * NET_S,
        .ping_interval_ns = NET_S,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * NET_S,
        .policy = &anywhere,
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    int err = addr_parse(&c.advertise, "10.1.0.1:7946");
    assert(!err);
    net->members = must(members_open(&c, net->now_ns));
}

/* ---- life ---- */

int64_t net_unix_ms(const struct net *net, unsigned i)
{
    return (int64_t)(NET_UNIX_S * 1000 +
                     (net->now_ns - NET_START_NS) / NET_MS) +
           net->nodes[i].skew_ms;
}

uint64_t net_window(const struct net *net)
{
    return (NET_UNIX_S + (net->now_ns - NET_START_NS) / NET_S) / FRAME_WINDOW_S;
}

static void tell_time(struct net *net, unsigned i)
{
    struct net_node *node = &net->nodes[i];
    spread_on_clock(node->spread, net->now_ns, net_unix_ms(net, i));
    frames_expire(node->frames,
                  (uint64_t)spread_unix_ms(node->spread, net->now_ns) / 1000);
}

void net_start(struct net *net, unsigned i)
{
    struct net_node *node = &net->nodes[i];
    struct frames_limits limits = {
        .retention_s = net->config.retention_s ? net->config.retention_s : 300,
        .bytes_max = net->config.bytes_max ? net->config.bytes_max : 32u << 20,
        .origin_bytes_max = 2u << 20,
        .epochs_max = 4};
    node->frames = must(frames_open(&limits));
    node->epoch_ms = (uint64_t)net_unix_ms(net, i);
    struct spread_config c = {
        .name = node->name,
        .zone = node->zone,
        .members = net->members,
        .frames = node->frames,
        .seed = rng_next(&net->rng),
        .canary = i == 0 ? net->config.canary : 0,
        .timing = spread_timing_default,
        .limits = spread_limits_default,
    };
    if (net->config.origins_max)
        c.limits.origins_max = net->config.origins_max;
    node->spread = must(spread_open(&c, net->now_ns, net_unix_ms(net, i)));
    tell_time(net, i);
}

void net_stop(struct net *net, unsigned i)
{
    struct net_node *node = &net->nodes[i];
    if (!node->spread)
        return;
    spread_close(node->spread);
    frames_close(node->frames);
    node->spread = NULL;
    node->frames = NULL;
}

struct net *net_open(const struct net_config *c)
{
    struct net *net = must(calloc(1, sizeof(*net)));
    net->config = *c;
    net->now_ns = NET_START_NS;
    net->nodes = must(calloc(c->n, sizeof(*net->nodes)));
    rng_seed(&net->rng, c->seed);
    open_members(net);
    for (unsigned i = 0; i < c->n; i++) {
        snprintf(net->nodes[i].name, sizeof(net->nodes[i].name), "node-%u", i);
        snprintf(net->nodes[i].zone, sizeof(net->nodes[i].zone), "zone-%u",
                 i % (c->zones ? c->zones : 1));
        add_member(net, i);
    }
    for (unsigned i = 0; i < c->n; i++)
        net_start(net, i);
    return net;
}

void net_close(struct net *net)
{
    for (unsigned i = 0; i < net->config.n; i++)
        net_stop(net, i);
    for (size_t i = 0; i < net->n_queue; i++)
        free(net->queue[i].data);
    members_close(net->members);
    free(net->queue);
    free(net->nodes);
    free(net);
}

/* ---- frames ---- */

void net_frame(struct net *net, const char *origin, uint64_t epoch_ms,
               uint64_t window, unsigned cells)
{
    char name[FRAME_NAME_MAX + 1], zone[] = "z", region[] = "r";
    char to[] = "node-to-probe";
    struct frame_target target = {.name = to, .zone = zone, .region = region};
    struct frame_cell *list = must(calloc(cells ? cells : 1, sizeof(*list)));
    struct frame f = {.origin = name,
                      .zone = zone,
                      .region = region,
                      .epoch_ms = epoch_ms,
                      .window = window,
                      .n_targets = 1,
                      .targets = &target,
                      .n_cells = cells,
                      .cells = list};
    struct wr w;
    snprintf(name, sizeof(name), "%s", origin);
    for (unsigned i = 0; i < cells; i++) {
        list[i].attempts = list[i].outcomes[OUTCOME_OK] = 10;
        for (unsigned k = 0; k < SERIES_N; k++) {
            for (int j = 0; j < 10; j++)
                (void)hist_add(&list[i].series[k],
                               400000 + rng_below(&net->rng, 200000));
        }
    }
    wr_init_fixed(&w, net->frame, sizeof(net->frame));
    int err = frame_encode(&f, &w);
    assert(!err);
    net->frame_len = w.len;
    for (unsigned i = 0; i < cells; i++)
        frame_cell_fini(&list[i]);
    free(list);
}

static void drain(struct net *net, unsigned i);

int net_close_frame(struct net *net, unsigned i, uint64_t window,
                    unsigned cells)
{
    struct net_node *node = &net->nodes[i];
    net_frame(net, node->name, node->epoch_ms, window, cells);
    int rc =
        spread_on_own(node->spread, net->now_ns, net->frame, net->frame_len);
    drain(net, i);
    return rc;
}

/* ---- messages ---- */

static bool is_before(const struct net_message *a, const struct net_message *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void put(struct net *net, struct net_message m)
{
    if (net->n_queue == net->queue_size) {
        net->queue_size = net->queue_size ? 2 * net->queue_size : 256;
        net->queue = must(
            reallocarray(net->queue, net->queue_size, sizeof(*net->queue)));
    }
    m.order = net->order++;
    size_t i = net->n_queue++;
    for (; i > 0 && is_before(&m, &net->queue[(i - 1) / 2]); i = (i - 1) / 2)
        net->queue[i] = net->queue[(i - 1) / 2];
    net->queue[i] = m;
}

static struct net_message take(struct net *net)
{
    struct net_message first = net->queue[0];
    struct net_message last = net->queue[--net->n_queue];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k + 1 < net->n_queue &&
            is_before(&net->queue[k + 1], &net->queue[k]))
            k++;
        if (k >= net->n_queue || !is_before(&net->queue[k], &last))
            break;
        net->queue[i] = net->queue[k];
        i = k;
    }
    net->queue[i] = last;
    return first;
}

static bool is_lost(struct net *net)
{
    return rng_below(&net->rng, 1000000) < net->config.loss_ppm;
}

/* Three packets there and back, then the data; what is lost comes after the
 * kernel's timeouts. */
static uint64_t stream_delay(struct net *net, uint64_t way_ns, size_t len)
{
    uint64_t delay_ns = 3 * way_ns, rto_ns = NET_S;
    for (int i = 0; i < 6 && (is_lost(net) || is_lost(net)); i++, rto_ns *= 2)
        delay_ns += rto_ns;
    for (size_t sent = 0; sent < len; sent += 1400) {
        if (is_lost(net))
            delay_ns += way_ns * 2 + 20 * NET_MS; /* fast retransmit, mostly */
    }
    return delay_ns;
}

static void send_one(struct net *net, unsigned from,
                     const struct spread_effect *e)
{
    assert(e->member > 0 && e->member <= net->config.n);
    struct net_node *a = &net->nodes[from], *b = &net->nodes[e->member - 1];
    uint64_t way_ns =
        strcmp(a->zone, b->zone) ? net->config.far_ns : net->config.near_ns;
    if (a == b || a->side != b->side)
        return;
    uint64_t delay_ns = way_ns + rng_below(&net->rng, way_ns / 4 + 1);
    if (e->by_stream) {
        net->streams++;
        delay_ns = stream_delay(net, delay_ns, e->data.len);
    } else {
        net->datagrams++;
        assert(e->data.len <= 1000);
        if (is_lost(net))
            return;
    }
    struct net_message m = {.at_ns = net->now_ns + delay_ns,
                            .from = from,
                            .to = e->member - 1,
                            .len = e->data.len,
                            .data = must(malloc(e->data.len))};
    memcpy(m.data, e->data.data, e->data.len);
    put(net, m);
}

static void drain(struct net *net, unsigned i)
{
    struct spread_effect e;
    while (spread_next(net->nodes[i].spread, &e))
        send_one(net, i, &e);
}

const struct addr *net_address(const struct net *net, unsigned i)
{
    return &members_peek(net->members, i + 1)->addr;
}

void net_deliver(struct net *net, unsigned i, unsigned from, const void *data,
                 size_t len)
{
    spread_on_message(net->nodes[i].spread, net->now_ns, net_address(net, from),
                      span_of(data, len));
    drain(net, i);
}

/* Timers have the grain of a loop's: a millisecond. */
static void run_timers(struct net *net)
{
    for (unsigned i = 0; i < net->config.n; i++) {
        struct net_node *node = &net->nodes[i];
        if (!node->spread || node->frozen_ns > net->now_ns)
            continue;
        if (net->now_ns % NET_S == 0)
            tell_time(net, i);
        if (spread_deadline(node->spread) > net->now_ns)
            continue;
        spread_on_timer(node->spread, net->now_ns);
        drain(net, i);
    }
}

void net_run(struct net *net, uint64_t until_ns)
{
    while (net->now_ns < until_ns) {
        net->now_ns += NET_MS;
        while (net->n_queue > 0 && net->queue[0].at_ns <= net->now_ns) {
            struct net_message m = take(net);
            struct net_node *node = &net->nodes[m.to];
            if (node->frozen_ns > net->now_ns) {
                m.at_ns = node->frozen_ns;
                put(net, m);
                continue;
            }
            if (node->spread)
                net_deliver(net, m.to, m.from, m.data, m.len);
            free(m.data);
        }
        run_timers(net);
    }
}

/* ---- looking ---- */

unsigned net_count(const struct net *net, unsigned origin, uint64_t window)
{
    unsigned n = 0;
    struct frames_item item;
    const struct net_node *o = &net->nodes[origin];
    for (unsigned i = 0; i < net->config.n; i++)
        n += net->nodes[i].spread && frames_find(net->nodes[i].frames, o->name,
                                                 o->epoch_ms, window, &item);
    return n;
}

static bool is_same(const struct frames *a, const struct frames *b)
{
    struct frames_cursor at = {0}, bt = {0};
    const void *x, *y;
    size_t x_len, y_len;
    bool same = frames_count(a) == frames_count(b);
    while (same && frames_next(a, &at, &x, &x_len))
        same = frames_next(b, &bt, &y, &y_len) && x_len == y_len &&
               !memcmp(x, y, x_len);
    frames_cursor_fini(&at);
    frames_cursor_fini(&bt);
    return same;
}

bool net_is_equal(const struct net *net)
{
    const struct frames *first = NULL;
    for (unsigned i = 0; i < net->config.n; i++) {
        if (!net->nodes[i].spread)
            continue;
        if (first && !is_same(first, net->nodes[i].frames))
            return false;
        first = net->nodes[i].frames;
    }
    return true;
}
