#include "test/sim/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"
#include "mesh/spread.h"
#include "mesh/topology.h"
#include "test/sim/node.h"

#define FRAME_MAX  (64u << 10)
#define LOOK_NS    (50 * SIM_MS) /* between looks at who has what */
#define LOOKED_NS  (9 * SIM_S)   /* at each window, after it was closed */
#define SETTLED_S  12    /* a frame this old is everywhere, after healing */
#define STAGGER_NS SIM_S /* daemons look once a second what is due */

/* What one node has besides its mesh. */
struct holder {
    struct frames *frames;
    struct spread *spread; /* NULL: down */
    uint64_t epoch_ms;
    uint64_t closed; /* window closed last */
    uint64_t armed_ns;
    bool is_origin;
    struct spread_stats before; /* of former lives */
};

struct sim_frames {
    struct holder *holders;
    struct frames *truth;
    struct rng dice;
    uint8_t *buffer;
    /* of a measurement */
    uint64_t look_window, look_from_ns;
    uint64_t *closed_ns; /* by origin */
    bool *has;           /* origin * n + node */
    float *delays_s;
    size_t n_delays, delays_max, expected;
    size_t n_origins;
    uint64_t made, made_bytes;
};

static int64_t wall_ms(const struct sim *s, const struct node *n)
{
    uint64_t lived_ns = node_clock(n, s->now_ns) - n->base_ns;
    return (int64_t)(SIM_WALL_S * 1000 + lived_ns / SIM_MS) + n->skew_s * 1000;
}

/* When this node's wall clock shows it, about. */
static uint64_t when_wall(const struct sim *s, const struct node *n,
                          int64_t at_ms)
{
    int64_t wait_ms = at_ms - wall_ms(s, n);
    return s->now_ns + (wait_ms > 0 ? (uint64_t)wait_ms * SIM_MS : 0);
}

/* ---- opening ---- */

static void choose_origins(struct sim *s, struct sim_frames *f)
{
    struct topology_node *nodes = sim_alloc(s->plan.n, sizeof(*nodes));
    char(*zones)[8] = sim_alloc(s->plan.n, sizeof(*zones));
    struct topology_config c = {.k = 3, .full_max = 12};
    for (uint32_t i = 0; i < s->plan.n; i++) {
        snprintf(zones[i], sizeof(zones[i]), "z-%u", s->nodes[i].zone);
        nodes[i].name = span_of_text(s->nodes[i].name);
        nodes[i].zone = span_of_text(zones[i]);
    }
    struct topology *t = topology_build(nodes, s->plan.n, &c);
    for (uint32_t i = 0; t && i < s->plan.n; i++) {
        size_t n = 0;
        (void)topology_targets(t, i, &n);
        f->holders[i].is_origin = n > 0;
        f->n_origins += n > 0;
    }
    topology_free(t);
    free(zones);
    free(nodes);
}

static void write_facts(struct node *n)
{
    struct facts f = {.is_ours = true, .port = 7443, .protocols = 1};
    snprintf(f.version, sizeof(f.version), "1");
    snprintf(f.zone, sizeof(f.zone), "z-%u", n->zone);
    int len = facts_encode(&f, n->meta);
    n->meta_len = len > 0 ? (size_t)len : 0;
}

void sim_frames_open(struct sim *s)
{
    struct frames_limits limits = {.retention_s = 36000, .bytes_max = 1u << 30};
    if (!s->plan.frame_cells)
        return;
    struct sim_frames *f = s->frames = sim_alloc(1, sizeof(*f));
    f->holders = sim_alloc(s->plan.n, sizeof(*f->holders));
    f->truth = frames_open(&limits);
    f->buffer = sim_alloc(1, FRAME_MAX);
    rng_seed(&f->dice, s->plan.seed ^ UINT64_C(0xf4a3e5));
    for (uint32_t i = 0; i < s->plan.n; i++)
        write_facts(&s->nodes[i]);
    choose_origins(s, f);
    if (!s->plan.is_measurement)
        return;
    f->closed_ns = sim_alloc(s->plan.n, sizeof(*f->closed_ns));
    f->has = sim_alloc((size_t)s->plan.n * s->plan.n, sizeof(*f->has));
    f->delays_max = f->n_origins * s->plan.n * 8 + 1;
    f->delays_s = sim_alloc(f->delays_max, sizeof(*f->delays_s));
    sim_at(s, s->plan.frames_from_ns, EV_LOOK, 0, 0, 0, NULL);
}

void sim_frames_close(struct sim *s)
{
    struct sim_frames *f = s->frames;
    if (!f)
        return;
    frames_close(f->truth);
    free(f->delays_s);
    free(f->has);
    free(f->closed_ns);
    free(f->buffer);
    free(f->holders);
    free(f);
    s->frames = NULL;
}

/* ---- a process ---- */

static void arm(struct sim *s, struct node *n, struct holder *h)
{
    uint64_t at_ns = node_when(n, spread_deadline(h->spread));
    at_ns = at_ns / SIM_MS * SIM_MS + SIM_MS + n->index % 1000 * 1000;
    if (at_ns < s->now_ns)
        at_ns = s->now_ns;
    if (at_ns >= h->armed_ns && h->armed_ns >= s->now_ns)
        return;
    h->armed_ns = at_ns;
    sim_at(s, at_ns, EV_SPREAD, n->index, 0, n->life, NULL);
}

static void carry_out(struct sim *s, struct node *n, struct holder *h)
{
    struct spread_effect e;
    bool has_sent = false;
    while (spread_next(h->spread, &e)) {
        (void)mesh_send(n->mesh, node_clock(n, s->now_ns), e.member, e.data,
                        e.by_stream);
        has_sent = true;
    }
    arm(s, n, h);
    if (has_sent)
        node_kick(s, n);
}

static void tell_time(struct sim *s, struct node *n, struct holder *h)
{
    uint64_t now_ns = node_clock(n, s->now_ns);
    spread_on_clock(h->spread, now_ns, wall_ms(s, n));
    frames_expire(h->frames,
                  (uint64_t)spread_unix_ms(h->spread, now_ns) / 1000);
}

static void arm_close(struct sim *s, const struct node *n,
                      const struct holder *h)
{
    int64_t due_ms = (int64_t)(h->closed + 2) * 10000 + 2000;
    sim_at(s, when_wall(s, n, due_ms) + n->index * UINT64_C(7919) % STAGGER_NS,
           EV_CLOSE, n->index, 0, n->life, NULL);
}

void sim_frames_start(struct sim *s, struct node *n)
{
    if (!s->frames)
        return;
    struct holder *h = &s->frames->holders[n->index];
    struct frames_limits limits = {.retention_s = 300,
                                   .bytes_max = 32u << 20,
                                   .origin_bytes_max = 4u << 20,
                                   .epochs_max = 4};
    char zone[8];
    snprintf(zone, sizeof(zone), "z-%u", n->zone);
    h->frames = frames_open(&limits);
    struct spread_config c = {
        .name = n->name,
        .zone = zone,
        .members = mesh_members(n->mesh),
        .frames = h->frames,
        .seed = rng_next(&n->nonces),
        .canary = s->plan.canary,
        .timing = spread_timing_default,
        .limits = spread_limits_default,
    };
    h->epoch_ms = (uint64_t)wall_ms(s, n);
    h->spread = spread_open(&c, node_clock(n, s->now_ns), wall_ms(s, n));
    h->closed = h->epoch_ms / 10000 - 1;
    h->armed_ns = 0;
    tell_time(s, n, h);
    arm(s, n, h);
    arm_close(s, n, h);
}

void sim_frames_stop(struct sim *s, struct node *n)
{
    struct holder *h = s->frames ? &s->frames->holders[n->index] : NULL;
    if (!h || !h->spread)
        return;
    spread_close(h->spread);
    frames_close(h->frames);
    h->spread = NULL;
    h->frames = NULL;
}

void sim_frames_on_user(struct sim *s, struct node *n, const struct addr *from,
                        struct span message)
{
    struct holder *h = s->frames ? &s->frames->holders[n->index] : NULL;
    if (!h || !h->spread)
        return;
    spread_on_message(h->spread, node_clock(n, s->now_ns), from, message);
    carry_out(s, n, h);
}

/* ---- frames ---- */

static size_t make_frame(struct sim *s, const struct node *n,
                         const struct holder *h, uint64_t window)
{
    struct sim_frames *f = s->frames;
    char name[16], zone[] = "z", region[] = "r", to[] = "n-0";
    struct frame_target target = {.name = to, .zone = zone, .region = region};
    struct frame_cell *cells = sim_alloc(s->plan.frame_cells, sizeof(*cells));
    struct frame frame = {.origin = name,
                          .zone = zone,
                          .region = region,
                          .epoch_ms = h->epoch_ms,
                          .window = window,
                          .n_targets = 1,
                          .targets = &target,
                          .n_cells = s->plan.frame_cells,
                          .cells = cells};
    struct wr w;
    snprintf(name, sizeof(name), "%s", n->name);
    for (unsigned i = 0; i < s->plan.frame_cells; i++) {
        cells[i].attempts = cells[i].outcomes[OUTCOME_OK] = 10;
        for (unsigned k = 0; k < SERIES_N; k++) {
            for (int j = 0; j < 10; j++)
                (void)hist_add(&cells[i].series[k],
                               400000 + rng_below(&f->dice, 200000));
        }
    }
    wr_init_fixed(&w, f->buffer, FRAME_MAX);
    if (frame_encode(&frame, &w))
        sim_fail(s, SIM_CORRECTNESS, "the simulator's frame is too large");
    for (unsigned i = 0; i < s->plan.frame_cells; i++)
        frame_cell_fini(&cells[i]);
    free(cells);
    return w.len;
}

static void close_frame(struct sim *s, struct node *n, struct holder *h)
{
    struct sim_frames *f = s->frames;
    uint64_t window = ((uint64_t)wall_ms(s, n) - 2000) / 10000 - 1;
    tell_time(s, n, h);
    if (window <= h->closed)
        return;
    h->closed = window;
    if (!h->is_origin || s->now_ns < s->plan.frames_from_ns)
        return;
    size_t len = make_frame(s, n, h, window);
    (void)frames_add(f->truth, f->buffer, len);
    int rc = spread_on_own(h->spread, node_clock(n, s->now_ns), f->buffer, len);
    if (rc)
        sim_fail(s, SIM_CORRECTNESS, "n-%u: own frame of window %llu: %s",
                 n->index, (unsigned long long)window, err_name(rc));
    f->made++;
    f->made_bytes += len;
    if (f->closed_ns && window == f->look_window)
        f->closed_ns[n->index] = s->now_ns;
    carry_out(s, n, h);
}

/* ---- looking ---- */

static void check_copies(struct sim *s, const struct node *n,
                         const struct holder *h)
{
    struct frames_cursor at = {0};
    const void *data;
    size_t len;
    frames_check(h->frames);
    while (frames_next(h->frames, &at, &data, &len)) {
        struct frame_reader r;
        struct frames_item made;
        if (frame_reader_open(&r, data, len) ||
            !frames_find(s->frames->truth, r.origin, r.epoch_ms, r.window,
                         &made))
            sim_fail(s, SIM_CORRECTNESS,
                     "F4: n-%u has a frame that nobody made", n->index);
        else if (made.len != len || memcmp(made.data, data, len) != 0)
            sim_fail(s, SIM_CORRECTNESS,
                     "F3: n-%u has another frame of %s, window %llu, than %s "
                     "made",
                     n->index, r.origin, (unsigned long long)r.window,
                     r.origin);
    }
    frames_cursor_fini(&at);
}

static void note_arrivals(struct sim *s, struct sim_frames *f)
{
    struct frames_item item;
    for (uint32_t o = 0; o < s->plan.n; o++) {
        const struct holder *origin = &f->holders[o];
        if (!f->closed_ns[o] || !origin->spread)
            continue;
        for (uint32_t i = 0; i < s->plan.n; i++) {
            bool *has = &f->has[(size_t)o * s->plan.n + i];
            if (*has || i == o || !f->holders[i].spread ||
                !frames_find(f->holders[i].frames, s->nodes[o].name,
                             origin->epoch_ms, f->look_window, &item))
                continue;
            *has = true;
            if (f->n_delays < f->delays_max)
                f->delays_s[f->n_delays++] =
                    (float)((double)(s->now_ns - f->closed_ns[o]) / 1e9);
        }
    }
}

static void next_window(struct sim *s, struct sim_frames *f)
{
    uint64_t now_s = SIM_WALL_S + s->now_ns / SIM_S;
    for (uint32_t o = 0; o < s->plan.n; o++)
        f->expected += f->closed_ns[o] ? s->plan.n - 1 : 0;
    f->look_window = (now_s - 2) / 10; /* the one that is closed next */
    f->look_from_ns =
        ((f->look_window + 1) * 10 + 2 - SIM_WALL_S) * SIM_S - SIM_S / 2;
    memset(f->closed_ns, 0, s->plan.n * sizeof(*f->closed_ns));
    memset(f->has, 0, (size_t)s->plan.n * s->plan.n * sizeof(*f->has));
}

static void look(struct sim *s)
{
    struct sim_frames *f = s->frames;
    uint64_t next_ns = s->now_ns + LOOK_NS;
    if (!f->look_window || s->now_ns > f->look_from_ns + LOOKED_NS) {
        next_window(s, f);
        if (f->look_from_ns > next_ns)
            next_ns = f->look_from_ns;
    } else {
        note_arrivals(s, f);
    }
    sim_at(s, next_ns, EV_LOOK, 0, 0, 0, NULL);
}

void sim_frames_on_event(struct sim *s, const struct event *e)
{
    if (e->kind == EV_LOOK) {
        look(s);
        return;
    }
    struct node *n = &s->nodes[e->who];
    struct holder *h = &s->frames->holders[e->who];
    if (!h->spread || n->life != e->gen)
        return;
    if (n->frozen_ns > s->now_ns) {
        sim_at(s, n->frozen_ns + 1, (enum sim_event)e->kind, e->who, 0, e->gen,
               NULL);
        return;
    }
    if (e->kind == EV_CLOSE) {
        close_frame(s, n, h);
        arm_close(s, n, h);
        return;
    }
    if (e->at_ns < h->armed_ns)
        return;
    h->armed_ns = 0;
    spread_on_timer(h->spread, node_clock(n, s->now_ns));
    carry_out(s, n, h);
}

/* ---- the end ---- */

/* Windows that are closed long enough, and not about to expire. */
static void check_equal(struct sim *s, const struct node *a,
                        const struct node *b)
{
    struct sim_frames *f = s->frames;
    uint64_t now_s = SIM_WALL_S + s->now_ns / SIM_S;
    uint64_t slack_s = s->plan.skew_s_max + SETTLED_S;
    uint64_t last = (now_s - slack_s) / 10 - 1;
    for (uint64_t w = last - 24; w <= last; w++) {
        struct frames_window x, y;
        frames_window(f->holders[a->index].frames, w, &x);
        frames_window(f->holders[b->index].frames, w, &y);
        if (x.n == y.n && x.hash == y.hash)
            continue;
        sim_fail(s, SIM_LIVENESS,
                 "F1: of a window %llu s ago n-%u has %zu frames and n-%u %zu",
                 (unsigned long long)(now_s - 10 * w), a->index, x.n, b->index,
                 y.n);
        return;
    }
}

/* The slowest clock and the fastest may differ; who is off by far from all is
 * known to everybody who has heard him lately. */
static void check_clocks(struct sim *s, const struct node *n)
{
    const struct holder *h = &s->frames->holders[n->index];
    struct spread_origin o;
    for (size_t i = 0; spread_origin(h->spread, i, &o); i++) {
        uint32_t who = sim_subject(s, o.name, strlen(o.name));
        if (who == SIM_NOBODY)
            continue;
        int64_t skew_s = s->nodes[who].skew_s;
        bool is_far = skew_s > 20 || skew_s < -20;
        bool is_near = skew_s > -4 && skew_s < 4;
        if (s->plan.skew_s_max == 0 && o.is_skewed && is_near)
            sim_fail(s, SIM_CORRECTNESS,
                     "F5: n-%u takes the clock of %s to be %lld ms off",
                     n->index, o.name, (long long)o.offset_ms);
        if (s->plan.has_liar_clock && is_far && !o.is_skewed)
            sim_fail(s, SIM_CORRECTNESS,
                     "F5: n-%u does not see that the clock of %s is off",
                     n->index, o.name);
    }
}

void sim_frames_at_end(struct sim *s)
{
    const struct node *first = NULL;
    if (!s->frames)
        return;
    for (uint32_t i = 0; i < s->plan.n; i++) {
        const struct node *n = &s->nodes[i];
        struct holder *h = &s->frames->holders[i];
        if (!n->mesh || !h->spread)
            continue;
        spread_check(h->spread);
        check_copies(s, n, h);
        if (s->plan.is_measurement || !n->is_core || n->is_leaving)
            continue;
        check_clocks(s, n);
        if (first)
            check_equal(s, first, n);
        first = n;
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double share(const struct sim_frames *f, double q)
{
    size_t at = (size_t)((double)f->n_delays * q);
    return f->n_delays ? (double)f->delays_s[at < f->n_delays ? at : at - 1]
                       : 0;
}

void sim_frames_report(const struct sim *s)
{
    const struct sim_frames *f = s->frames;
    struct spread_stats t = {0};
    struct spread_stats st;
    if (!f || !s->plan.is_measurement)
        return;
    for (uint32_t i = 0; i < s->plan.n; i++) {
        if (!f->holders[i].spread)
            continue;
        spread_stats(f->holders[i].spread, &st);
        t.bytes_in += st.bytes_in;
        t.fresh_bytes += st.fresh_bytes;
        t.added += st.added;
        t.duplicates += st.duplicates;
        t.rounds += st.rounds;
        t.streams_out += st.streams_out;
        t.messages_out += st.messages_out;
        t.busy += st.busy;
    }
    size_t expected = f->expected; /* and of the window looked at last */
    for (uint32_t o = 0; o < s->plan.n; o++)
        expected += f->closed_ns[o] ? s->plan.n - 1 : 0;
    qsort(f->delays_s, f->n_delays, sizeof(*f->delays_s), by_value);
    double windows = (double)f->made / (double)f->n_origins * s->plan.n;
    double fresh = t.fresh_bytes ? (double)t.fresh_bytes : 1;
    double added = t.added ? (double)t.added : 1;
    printf("frames: %u nodes, %zu origins, %.0f bytes each, loss %.0f %%: "
           "seen %.3f %%, p50 %.2f s p99 %.2f s max %.2f s; bytes in %.2f x "
           "fresh, twice %.1f %%; per node and window: %.1f KiB in, %.1f "
           "rounds, %.1f messages, %.1f streams, busy %.1f\n",
           s->plan.n, f->n_origins,
           f->made ? (double)f->made_bytes / (double)f->made : 0,
           s->plan.loss_ppm / 1e4,
           100.0 * (double)f->n_delays / (double)(expected ? expected : 1),
           share(f, 0.5), share(f, 0.99), share(f, 1),
           (double)t.bytes_in / fresh, 100 * (double)t.duplicates / added,
           (double)t.bytes_in / windows / 1024, (double)t.rounds / windows,
           (double)t.messages_out / windows, (double)t.streams_out / windows,
           (double)t.busy / windows);
}
