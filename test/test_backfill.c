/* A few nodes in memory: each with a table of members and a history. */
#include "mesh/backfill.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

#define W0       (60 * UINT64_C(3000000))
#define START_NS (1000 * SEC)
#define NODES    3
#define ZONES    8

struct node {
    char name[8];
    struct addr addr;
    struct members *members;
    struct history *history;
    struct backfill *backfill;
};

struct world {
    struct node nodes[NODES];
    uint64_t now_ns, window;
    struct rng rng;
    unsigned lose_percent;
    bool is_deaf[NODES];
    unsigned asks, parts; /* delivered */
    uint8_t last_ask[64]; /* the last one that node 0 sent */
    size_t last_ask_len;
    unsigned last_asked;  /* by node 0 */
    unsigned asked_again; /* the same one twice in a row */
};

/* ---- what they know ---- */

static void post(struct history *h, uint64_t window)
{
    char zones[ZONES][8], names[ZONES][8];
    struct frame_target targets[ZONES];
    struct frame_cell cells[ZONES];
    char none[] = "";
    struct wr w;
    memset(cells, 0, sizeof(cells));
    for (unsigned i = 0; i < ZONES; i++) {
        snprintf(zones[i], sizeof(zones[i]), "z%u", i);
        snprintf(names[i], sizeof(names[i]), "n%u", i);
        targets[i] = (struct frame_target){names[i], zones[i], none};
        cells[i].target = i;
        cells[i].is_trusted = true;
        cells[i].attempts = cells[i].outcomes[OUTCOME_OK] = 2;
        check_i64(hist_add(&cells[i].series[SERIES_TOTAL], (i + 1) * MS), 0);
        check_i64(hist_add(&cells[i].series[SERIES_TOTAL], window * 7919), 0);
    }
    struct frame f = {.origin = names[0],
                      .zone = zones[0],
                      .region = none,
                      .epoch_ms = 1,
                      .window = window,
                      .targets = targets,
                      .n_targets = ZONES,
                      .cells = cells,
                      .n_cells = ZONES};
    wr_init_grow(&w, FRAME_BYTES_MAX);
    check_i64(frame_encode(&f, &w), 0);
    check_i64(history_add(h, w.data, w.len), 0);
    wr_fini(&w);
    for (unsigned i = 0; i < ZONES; i++)
        hist_fini(&cells[i].series[SERIES_TOTAL]);
}

static void tick(struct history *h, uint64_t window)
{
    history_tick(h, window * FRAME_WINDOW_S);
    while (history_work(h, 1000)) {
    }
}

static void live(struct history *h, uint64_t first, uint64_t end)
{
    for (uint64_t w = first; w < end; w++) {
        tick(h, w + 1);
        post(h, w);
    }
    tick(h, end);
}

static uint64_t attempts(const struct history *h, uint64_t first, uint64_t last)
{
    struct history_question q = {
        .first = first, .last = last, .protocol = -1, .mode = -1};
    struct history_reader *r = history_reader_open(h, &q);
    const struct matrix_cell *c =
        history_read(r, "z0", "z3", last * FRAME_WINDOW_S * SEC);
    check_true(c != NULL);
    uint64_t n = c->attempts;
    history_reader_close(r);
    return n;
}

/* ---- the world ---- */

static const struct addr_policy anywhere = {.allows_loopback = false};
static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};

static void open_members(struct world *w, struct node *n)
{
    struct members_config c = {
        .name = span_of_text(n->name),
        .advertise = n->addr,
        .now_unix_s = 1,
        .incarnation = 1,
        .members_max = 16,
        .new_per_s = 16,
        .reclaim_ns = 30 * SEC,
        .ping_interval_ns = SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * SEC,
        .policy = &anywhere,
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    n->members = members_open(&c, w->now_ns);
    check_true(n->members != NULL);
}

static uint32_t index_of(const struct node *n, const struct node *other)
{
    return members_find(n->members, span_of_text(other->name));
}

static void introduce(struct world *w, struct node *n, const struct node *other)
{
    struct change change;
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text(other->name),
                         .addr = span_of(other->addr.ip, 4),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(n->members, w->now_ns, &a, &change);
    check_i64(change.kind, CHANGE_JOINED);
    members_get(n->members, change.index)->is_ours = true;
}

/* With a history from W0 on, or none. */
static void node_start(struct world *w, unsigned i, bool is_old)
{
    struct node *n = &w->nodes[i];
    struct history_config hc = {.bytes_max = 64u << 20, .seed = i};
    n->history = history_open(&hc);
    if (is_old)
        live(n->history, W0, w->window);
    tick(n->history, w->window);
    struct backfill_config c = {
        .name = n->name,
        .members = n->members,
        .history = n->history,
        .seed = check_seed() + i,
        .timing = backfill_timing_default,
        .limits = backfill_limits_default,
    };
    c.limits.part_bytes = 4000; /* so that there are many */
    n->backfill = backfill_open(&c, w->now_ns);
    check_true(n->backfill != NULL);
}

/* All know each other; node 0 has nothing, the others `windows` of history. */
static struct world *world_open(uint64_t windows)
{
    struct world *w = calloc(1, sizeof(*w));
    w->now_ns = START_NS;
    w->window = W0 + windows;
    rng_seed(&w->rng, check_seed());
    for (unsigned i = 0; i < NODES; i++) {
        char text[24];
        struct node *n = &w->nodes[i];
        snprintf(n->name, sizeof(n->name), "node%u", i);
        snprintf(text, sizeof(text), "10.0.0.%u:7946", i + 1);
        check_i64(addr_parse(&n->addr, text), 0);
        open_members(w, n);
    }
    for (unsigned i = 0; i < NODES; i++) {
        node_start(w, i, i > 0);
        for (unsigned k = 0; k < NODES; k++) {
            if (i != k)
                introduce(w, &w->nodes[i], &w->nodes[k]);
        }
    }
    return w;
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++) {
        backfill_close(w->nodes[i].backfill);
        history_close(w->nodes[i].history);
        members_close(w->nodes[i].members);
    }
    free(w);
}

static void set_state(struct world *w, unsigned i, unsigned of,
                      enum member_state state)
{
    struct node *n = &w->nodes[i];
    members_get(n->members, index_of(n, &w->nodes[of]))->state = (uint8_t)state;
}

/* What node `from` wants sent, and what comes of it. */
static void deliver(struct world *w, unsigned from)
{
    struct backfill_effect e;
    struct node *n = &w->nodes[from];
    while (backfill_next(n->backfill, &e)) {
        const struct member *m = members_peek(n->members, e.member);
        unsigned to = (unsigned)(m->name[4] - '0');
        uint8_t *copy = malloc(e.data.len);
        size_t len = e.data.len;
        memcpy(copy, e.data.data, len);
        bool is_ask = copy[2] == 1;
        if (is_ask && from == 0) {
            memcpy(w->last_ask, copy, len);
            w->last_ask_len = len;
            w->asked_again += w->last_asked == to;
            w->last_asked = to;
        }
        if (!w->is_deaf[to] && rng_below(&w->rng, 100) >= w->lose_percent) {
            w->asks += is_ask;
            w->parts += !is_ask;
            check_true(backfill_on_message(w->nodes[to].backfill, w->now_ns,
                                           &n->addr, span_of(copy, len)));
            deliver(w, to);
        }
        free(copy);
    }
}

static void run(struct world *w, uint64_t ns)
{
    uint64_t end_ns = w->now_ns + ns;
    for (;;) {
        unsigned next = 0;
        uint64_t due[NODES];
        for (unsigned i = 0; i < NODES; i++) {
            due[i] = backfill_deadline(w->nodes[i].backfill);
            next = due[i] < due[next] ? i : next;
        }
        if (due[next] > end_ns)
            break;
        w->now_ns = due[next] > w->now_ns ? due[next] : w->now_ns;
        backfill_on_timer(w->nodes[next].backfill, w->now_ns);
        check_true(backfill_deadline(w->nodes[next].backfill) > w->now_ns);
        deliver(w, next);
    }
    w->now_ns = end_ns;
}

static struct backfill_stats stats(const struct world *w, unsigned i)
{
    struct backfill_stats s;
    backfill_stats(w->nodes[i].backfill, &s);
    return s;
}

static bool is_filled(const struct world *w, unsigned i)
{
    const struct history *h = w->nodes[i].history;
    const struct history *old = w->nodes[2].history;
    uint64_t last = w->window - HISTORY_WINDOWS - 12;
    return attempts(h, W0, W0 + 59) == attempts(old, W0, W0 + 59) &&
           attempts(h, last - 59, last) == attempts(old, last - 59, last);
}

/* ---- claims ---- */

static void a_fresh_node_fetches_what_its_peers_remember(void **state)
{
    (void)state;
    struct world *w = world_open(600);
    check_u64(attempts(w->nodes[0].history, W0, W0 + 59), 0);
    run(w, 400 * SEC);
    struct backfill_stats s = stats(w, 0);
    check_true(is_filled(w, 0));
    check_u64(attempts(w->nodes[0].history, W0, W0 + 59), 120);
    check_i64(s.state, BACKFILL_DONE);
    check_u64(s.completed, 1);
    check_true(s.parts_in > 10);
    check_u64(s.timeouts + s.broken + s.refused + s.busy, 0);
    world_close(w);
}

/* So many windows go by, in which all measure. */
static void run_windows(struct world *w, unsigned n)
{
    for (; n > 0; n--) {
        run(w, FRAME_WINDOW_S * SEC);
        w->window++;
        for (unsigned i = 0; i < NODES; i++) {
            post(w->nodes[i].history, w->window - 1);
            tick(w->nodes[i].history, w->window);
        }
    }
}

/* Frames reach back five minutes, and what is younger than six is no part's:
 * what lies between is fetched when it is old enough. */
static void nothing_is_missing_where_frames_begin(void **state)
{
    (void)state;
    for (unsigned more = 0; more < 60; more += 7) {
        struct world *w = world_open(600 + more);
        struct history *new = w->nodes[0].history;
        uint64_t joined = w->window;
        for (uint64_t at = joined - 30; at < joined; at++)
            post(new, at);
        tick(new, w->window);
        run_windows(w, 150);
        const struct history *old = w->nodes[2].history;
        for (uint64_t at = joined - 120; at < joined + 60; at += 6)
            check_u64(attempts(new, at, at + 5), attempts(old, at, at + 5));
        uint64_t first = W0 + 480; /* in tens */
        check_u64(attempts(new, first, first + 239),
                  attempts(old, first, first + 239));
        check_u64(stats(w, 0).walks, 1);
        world_close(w);
    }
}

static void it_asks_nobody_when_it_is_done(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    run(w, 1200 * SEC);
    unsigned asks = w->asks;
    run(w, 3600 * SEC);
    check_u64(w->asks, asks);
    world_close(w);
}

static void who_was_alone_asks_again_but_not_at_once(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    run(w, 120 * SEC);
    check_u64(stats(w, 0).walks, 1);
    check_i64(stats(w, 0).state, BACKFILL_DONE);
    set_state(w, 0, 1, MEMBER_DEAD);
    set_state(w, 0, 2, MEMBER_DEAD);
    run(w, 5 * SEC);
    check_i64(stats(w, 0).state, BACKFILL_ALONE);
    set_state(w, 0, 2, MEMBER_ALIVE);
    uint64_t asked = stats(w, 0).asked;
    run(w, 60 * SEC);
    check_u64(stats(w, 0).walks, 2);
    check_u64(stats(w, 0).asked, asked);
    run(w, 700 * SEC);
    check_u64(stats(w, 0).completed, 2);
    world_close(w);
}

static void nobody_of_ours_nobody_asked(void **state)
{
    (void)state;
    struct world *w = world_open(60);
    struct node *n = &w->nodes[0];
    for (unsigned i = 1; i < NODES; i++)
        members_get(n->members, index_of(n, &w->nodes[i]))->is_ours = false;
    run(w, 60 * SEC);
    check_u64(stats(w, 0).asked, 0);
    check_i64(stats(w, 0).state, BACKFILL_ALONE);
    world_close(w);
}

static void who_is_silent_is_left_for_another(void **state)
{
    (void)state;
    struct world *w = world_open(300);
    w->is_deaf[1] = true;
    run(w, 180 * SEC);
    check_true(is_filled(w, 0));
    check_u64(stats(w, 1).parts_out, 0);
    world_close(w);
}

static void what_is_lost_is_asked_for_again(void **state)
{
    (void)state;
    struct world *w = world_open(300);
    w->lose_percent = 2;
    run(w, 600 * SEC);
    check_true(is_filled(w, 0));
    world_close(w);
}

/* Of hundreds of parts some are lost: that is no reason to give up. */
static void failures_count_only_in_a_row(void **state)
{
    (void)state;
    struct world *w = world_open(1800);
    w->lose_percent = 4;
    run(w, 590 * SEC);
    check_true(stats(w, 0).timeouts > backfill_limits_default.tries);
    check_u64(stats(w, 0).walks, 1);
    run(w, 2000 * SEC);
    check_u64(stats(w, 0).walks, 1);
    check_u64(stats(w, 0).completed, 1);
    check_true(is_filled(w, 0));
    world_close(w);
}

/* As when all of a mesh is started anew: there is nobody to ask just then. */
static void who_gave_up_tries_again_later(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    w->is_deaf[1] = w->is_deaf[2] = true;
    run(w, 200 * SEC);
    check_i64(stats(w, 0).state, BACKFILL_DONE);
    check_u64(stats(w, 0).timeouts, backfill_limits_default.tries);
    run(w, 400 * SEC);
    check_u64(stats(w, 0).timeouts, backfill_limits_default.tries);
    w->is_deaf[1] = w->is_deaf[2] = false;
    run(w, 400 * SEC);
    check_u64(stats(w, 0).completed, 1);
    check_true(is_filled(w, 0));
    run(w, 3600 * SEC);
    check_u64(stats(w, 0).walks, 2);
    world_close(w);
}

static void it_gives_up_when_nobody_answers(void **state)
{
    (void)state;
    struct world *w = world_open(60);
    w->is_deaf[1] = w->is_deaf[2] = true;
    for (unsigned walk = 1; walk <= 6; walk++) {
        w->last_asked = 0;
        run(w, walk == 1 ? 600 * SEC : 690 * SEC);
        check_u64(stats(w, 0).timeouts, walk * backfill_limits_default.tries);
        check_u64(w->asked_again, 0);
        check_i64(stats(w, 0).state, BACKFILL_DONE);
        for (unsigned i = 1; i < NODES; i++)
            set_state(w, 0, i, MEMBER_DEAD);
        run(w, 5 * SEC);
        for (unsigned i = 1; i < NODES; i++)
            set_state(w, 0, i, MEMBER_ALIVE);
    }
    check_u64(stats(w, 0).completed, 0);
    world_close(w);
}

static void a_peer_that_is_new_itself_is_not_the_last_word(void **state)
{
    (void)state;
    struct world *w = world_open(300);
    struct node *n = &w->nodes[1];
    backfill_close(n->backfill);
    history_close(n->history);
    node_start(w, 1, false);
    run(w, 300 * SEC);
    check_true(is_filled(w, 0));
    check_true(is_filled(w, 1));
    world_close(w);
}

/* ---- serving ---- */

static void put_ask(struct wr *w, unsigned i, uint64_t nonce)
{
    char name[8];
    snprintf(name, sizeof(name), "node%u", i);
    wr_reset(w);
    wr_be24(w, 0xa10101);
    wr_be64(w, nonce);
    wr_be16(w, 0);
    wr_be64(w, 0);
    wr_u8(w, (uint8_t)strlen(name));
    wr_text(w, name);
}

/* The seam is nothing that others would have to ask somebody else for. */
static void who_asks_for_the_seam_is_not_fetching(void **state)
{
    (void)state;
    struct world *w = world_open(600);
    struct backfill *b = w->nodes[0].backfill;
    struct backfill_effect e;
    uint8_t bytes[64];
    struct wr ask;
    run_windows(w, 100);
    while (stats(w, 0).state == BACKFILL_DONE)
        run(w, SEC / 2);
    check_u64(stats(w, 0).completed, 1);
    wr_init_fixed(&ask, bytes, sizeof(bytes));
    wr_be24(&ask, 0xa10101);
    wr_be64(&ask, 7);
    wr_be16(&ask, 0);
    wr_be64(&ask, 0);
    wr_u8(&ask, 5);
    wr_text(&ask, "node1");
    backfill_on_message(b, w->now_ns, &w->nodes[1].addr,
                        span_of(ask.data, ask.len));
    check_true(backfill_next(b, &e));
    check_u64(e.data.data[3 + 8 + 10], 0); /* flags */
    world_close(w);
}

/* Does node 1 answer? The answer's bytes, or 0. */
static size_t answer(struct world *w, const struct wr *ask,
                     const struct addr *from, uint8_t *out, size_t size)
{
    struct backfill_effect e;
    backfill_on_message(w->nodes[1].backfill, w->now_ns, from,
                        span_of(ask->data, ask->len));
    if (!backfill_next(w->nodes[1].backfill, &e))
        return 0;
    check_true(e.data.len <= size);
    check_u64(e.member, index_of(&w->nodes[1], &w->nodes[0]));
    memcpy(out, e.data.data, e.data.len);
    check_false(backfill_next(w->nodes[1].backfill, &e));
    return e.data.len;
}

static void an_asker_gets_one_part_in_a_while(void **state)
{
    (void)state;
    static uint8_t out[HISTORY_PART_MAX];
    struct world *w = world_open(300);
    const struct addr *from = &w->nodes[0].addr;
    struct wr ask;
    wr_init_grow(&ask, 100);
    put_ask(&ask, 0, 7);
    check_true(answer(w, &ask, from, out, sizeof(out)) > 100);
    check_true(!memcmp(out, "\xa1\x01\x02\0\0\0\0\0\0\0\x07", 11));
    w->now_ns += 199 * MS;
    check_u64(answer(w, &ask, from, out, sizeof(out)), 0);
    check_u64(stats(w, 1).busy, 1);
    w->now_ns += MS;
    check_true(answer(w, &ask, from, out, sizeof(out)) > 100);
    check_u64(stats(w, 1).parts_out, 2);
    wr_fini(&ask);
    world_close(w);
}

static void only_members_are_served_and_only_where_they_are(void **state)
{
    (void)state;
    static uint8_t out[HISTORY_PART_MAX];
    struct world *w = world_open(60);
    struct addr from = w->nodes[0].addr;
    struct node *n = &w->nodes[1];
    struct wr ask;
    wr_init_grow(&ask, 100);
    put_ask(&ask, 0, 7);
    from.port = 40000; /* a stream's */
    check_true(answer(w, &ask, &from, out, sizeof(out)) > 0);
    w->now_ns += SEC;
    check_u64(answer(w, &ask, &w->nodes[2].addr, out, sizeof(out)), 0);
    put_ask(&ask, 9, 7);
    check_u64(answer(w, &ask, &from, out, sizeof(out)), 0);
    put_ask(&ask, 1, 7);
    check_u64(answer(w, &ask, &n->addr, out, sizeof(out)), 0);
    put_ask(&ask, 0, 7);
    members_get(n->members, index_of(n, &w->nodes[0]))->is_ours = false;
    check_u64(answer(w, &ask, &from, out, sizeof(out)), 0);
    check_u64(stats(w, 1).refused, 4);
    wr_fini(&ask);
    world_close(w);
}

/* As many members as you like: a few at once, and so many bytes. */
static void serving_is_bounded_whoever_asks(void **state)
{
    (void)state;
    struct world *w = world_open(300);
    struct node *n = &w->nodes[1];
    struct node others[10];
    struct wr ask;
    struct backfill_effect e;
    wr_init_grow(&ask, 100);
    for (unsigned i = 0; i < 10; i++) {
        char text[24];
        snprintf(others[i].name, sizeof(others[i].name), "x%u", i);
        snprintf(text, sizeof(text), "10.0.1.%u:7946", i + 1);
        check_i64(addr_parse(&others[i].addr, text), 0);
        introduce(w, n, &others[i]);
    }
    struct backfill_config c = {
        .name = n->name,
        .members = n->members,
        .history = n->history,
        .timing = backfill_timing_default,
        .limits = backfill_limits_default,
    };
    c.limits.rate_bytes = 2000;
    c.limits.part_bytes = 500;
    backfill_close(n->backfill);
    n->backfill = backfill_open(&c, w->now_ns);
    uint64_t bytes = 0, served = 0;
    for (unsigned t = 0; t < 10000; t += 10, w->now_ns += 10 * MS) {
        for (unsigned k = 0; k < 10; k++) {
            unsigned i = (k + t / 10) % 10;
            wr_reset(&ask);
            wr_be24(&ask, 0xa10101);
            wr_be64(&ask, 1);
            wr_be16(&ask, 0);
            wr_be64(&ask, 0);
            wr_u8(&ask, 2);
            wr_text(&ask, others[i].name);
            backfill_on_message(n->backfill, w->now_ns, &others[i].addr,
                                span_of(ask.data, ask.len));
            while (backfill_next(n->backfill, &e)) {
                bytes += e.data.len;
                served |= UINT64_C(1) << e.member;
            }
        }
    }
    check_true(bytes > 8 * 2000);
    check_true(bytes <= 11 * 2000 + 500);
    check_u64(__builtin_popcountll(served), BACKFILL_ASKERS_MAX);
    wr_fini(&ask);
    world_close(w);
}

/* ---- nonsense ---- */

static uint64_t last_nonce(const struct world *w)
{
    struct rd r;
    rd_init(&r, w->last_ask, w->last_ask_len);
    rd_be24(&r);
    return rd_be64(&r);
}

/* Node 0 has just asked; under which number? */
static void let_ask(struct world *w, uint64_t *nonce)
{
    w->is_deaf[1] = w->is_deaf[2] = true;
    while (stats(w, 0).asked == 0)
        run(w, 100 * MS);
    *nonce = last_nonce(w);
    struct backfill_effect e;
    check_false(backfill_next(w->nodes[0].backfill, &e));
}

/* A part that node 2 would send, empty or not, with this cursor. */
static void put_part(struct world *w, struct wr *out, uint64_t nonce,
                     unsigned step, uint32_t line, uint8_t flags, bool is_empty)
{
    struct history_cursor c = {.step = 0};
    wr_reset(out);
    wr_be24(out, 0xa10102);
    wr_be64(out, nonce);
    wr_u8(out, (uint8_t)step);
    wr_u8(out, line > 0);
    wr_be32(out, line > 0);
    wr_be32(out, line);
    wr_u8(out, flags);
    if (!is_empty)
        check_i64(history_next_part(w->nodes[2].history, &c, 4000, out), 1);
}

static void take(struct world *w, const struct wr *part, unsigned from)
{
    check_true(backfill_on_message(w->nodes[0].backfill, w->now_ns,
                                   &w->nodes[from].addr,
                                   span_of(part->data, part->len)));
}

static void what_was_not_asked_for_is_not_taken(void **state)
{
    (void)state;
    struct world *w = world_open(300);
    struct wr part;
    uint64_t nonce;
    wr_init_grow(&part, HISTORY_PART_MAX);
    put_part(w, &part, 0, 1, 0, 0, false);
    take(w, &part, 1);
    take(w, &part, 2);
    check_u64(stats(w, 0).refused, 2);
    let_ask(w, &nonce);
    put_part(w, &part, nonce + 1, 1, 0, 0, false);
    take(w, &part, 1);
    take(w, &part, 2);
    check_u64(stats(w, 0).refused, 4);
    check_i64(stats(w, 0).state, BACKFILL_ASKED);
    put_part(w, &part, nonce, 1, 0, 0, false);
    take(w, &part, 0); /* from ourselves? */
    take(w, &part, 3 - w->last_asked);
    check_u64(stats(w, 0).parts_in, 0);
    take(w, &part, w->last_asked);
    check_u64(stats(w, 0).refused, 6);
    check_u64(stats(w, 0).parts_in, 1);
    take(w, &part, 1); /* once */
    take(w, &part, 2);
    check_u64(stats(w, 0).parts_in, 1);
    check_u64(stats(w, 0).refused, 8);
    check_u64(stats(w, 0).broken, 0);
    wr_fini(&part);
    world_close(w);
}

static void a_walk_that_does_not_go_on_is_refused(void **state)
{
    (void)state;
    struct wr part;
    wr_init_grow(&part, HISTORY_PART_MAX);
    for (int i = 0; i < 4; i++) {
        struct world *w = world_open(300);
        uint64_t nonce;
        let_ask(w, &nonce);
        /* The same place; nothing in it; a step that is none; rubbish. */
        put_part(w, &part, nonce, i == 2 ? 4 : i == 0 ? 0 : 1, 0, 0, i == 1);
        if (i == 3)
            part.data[part.len - 1] ^= 0xff;
        if (i == 3)
            part.len--;
        take(w, &part, w->last_asked);
        check_u64(stats(w, 0).broken, 1);
        check_i64(stats(w, 0).state, BACKFILL_WAITING);
        w->is_deaf[1] = w->is_deaf[2] = false;
        run(w, 120 * SEC);
        check_true(is_filled(w, 0));
        world_close(w);
    }
    wr_fini(&part);
}

/* The walk's end at a peer that is fetching: once again, and no more. */
static void a_peer_that_is_fetching_is_asked_once_again(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    struct wr part;
    uint64_t nonce;
    wr_init_grow(&part, HISTORY_PART_MAX);
    let_ask(w, &nonce);
    for (unsigned i = 0; i < 2; i++) {
        put_part(w, &part, nonce, 1, 5, 0, false);
        take(w, &part, w->last_asked);
        run(w, backfill_timing_default.gap_ns);
        nonce = last_nonce(w);
        put_part(w, &part, nonce, 3, 0, 3, true);
        take(w, &part, w->last_asked);
        check_i64(stats(w, 0).state, i ? BACKFILL_DONE : BACKFILL_WAITING);
        check_u64(stats(w, 0).completed, i);
        while (i == 0 && stats(w, 0).state != BACKFILL_ASKED)
            run(w, 10 * MS);
        nonce = last_nonce(w);
    }
    wr_fini(&part);
    world_close(w);
}

static void a_peer_that_has_nothing_is_not_the_last_word(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    struct wr part;
    uint64_t nonce;
    wr_init_grow(&part, HISTORY_PART_MAX);
    let_ask(w, &nonce);
    put_part(w, &part, nonce, 3, 0, 1, true);
    take(w, &part, w->last_asked);
    check_i64(stats(w, 0).state, BACKFILL_WAITING);
    check_u64(stats(w, 0).completed, 0);
    wr_fini(&part);
    world_close(w);
}

/* The cursor of the last ASK: its line, of the peer's own counting. */
static uint32_t last_line(const struct world *w)
{
    struct rd r;
    rd_init(&r, w->last_ask, w->last_ask_len);
    rd_bytes(&r, 17);
    return rd_be32(&r);
}

static void another_peer_begins_at_the_slot(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    struct wr part;
    uint64_t nonce;
    wr_init_grow(&part, HISTORY_PART_MAX);
    let_ask(w, &nonce);
    unsigned first = w->last_asked;
    put_part(w, &part, nonce, 1, 5, 0, false);
    take(w, &part, first);
    run(w, backfill_timing_default.gap_ns);
    check_u64(w->last_asked, first);
    check_u64(last_line(w), 5);
    run(w, 8 * SEC);
    check_u64(stats(w, 0).timeouts, 1);
    check_u64(w->last_asked, 3 - first);
    check_u64(last_line(w), 0);
    wr_fini(&part);
    world_close(w);
}

static void a_walk_without_an_end_ends(void **state)
{
    (void)state;
    struct world *w = world_open(120);
    struct wr part;
    uint64_t nonce;
    wr_init_grow(&part, HISTORY_PART_MAX);
    uint32_t line = 1;
    let_ask(w, &nonce);
    while (stats(w, 0).state != BACKFILL_DONE && line < 5000) {
        put_part(w, &part, nonce, 1, line++, 0, false);
        take(w, &part, w->last_asked);
        run(w, backfill_timing_default.gap_ns);
        nonce = last_nonce(w);
    }
    check_u64(stats(w, 0).parts_in, backfill_limits_default.parts);
    check_i64(stats(w, 0).state, BACKFILL_DONE);
    wr_fini(&part);
    world_close(w);
}

static void nothing_breaks_on_broken_messages(void **state)
{
    (void)state;
    struct world *w = world_open(300);
    struct wr message;
    struct backfill_effect e;
    uint64_t nonce;
    wr_init_grow(&message, HISTORY_PART_MAX);
    struct backfill *b = w->nodes[0].backfill;
    check_false(backfill_on_message(b, w->now_ns, &w->nodes[1].addr,
                                    span_of("\xa0\x01\x01", 3)));
    check_false(
        backfill_on_message(b, w->now_ns, &w->nodes[1].addr, span_of("", 0)));
    let_ask(w, &nonce);
    for (unsigned kind = 0; kind < 2; kind++) {
        if (kind)
            put_part(w, &message, nonce, 1, 0, 0, false);
        else
            put_ask(&message, 1, 3);
        for (size_t len = 1; len < (kind ? 25 : message.len); len++) {
            struct span cut = span_of(message.data, len);
            check_true(
                backfill_on_message(b, w->now_ns, &w->nodes[1].addr, cut));
            check_false(backfill_next(b, &e));
        }
        for (size_t bit = 8; bit < message.len * 8; bit++) {
            message.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            w->now_ns += SEC;
            check_true(backfill_on_message(b, w->now_ns, &w->nodes[1].addr,
                                           span_of(message.data, message.len)));
            message.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    check_true(stats(w, 0).broken > 10);
    wr_fini(&message);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_node_fetches_what_its_peers_remember),
        cmocka_unit_test(nothing_is_missing_where_frames_begin),
        cmocka_unit_test(who_asks_for_the_seam_is_not_fetching),
        cmocka_unit_test(it_asks_nobody_when_it_is_done),
        cmocka_unit_test(who_was_alone_asks_again_but_not_at_once),
        cmocka_unit_test(nobody_of_ours_nobody_asked),
        cmocka_unit_test(who_is_silent_is_left_for_another),
        cmocka_unit_test(what_is_lost_is_asked_for_again),
        cmocka_unit_test(failures_count_only_in_a_row),
        cmocka_unit_test(who_gave_up_tries_again_later),
        cmocka_unit_test(it_gives_up_when_nobody_answers),
        cmocka_unit_test(a_peer_that_is_new_itself_is_not_the_last_word),
        cmocka_unit_test(an_asker_gets_one_part_in_a_while),
        cmocka_unit_test(only_members_are_served_and_only_where_they_are),
        cmocka_unit_test(serving_is_bounded_whoever_asks),
        cmocka_unit_test(what_was_not_asked_for_is_not_taken),
        cmocka_unit_test(a_walk_that_does_not_go_on_is_refused),
        cmocka_unit_test(a_peer_that_is_fetching_is_asked_once_again),
        cmocka_unit_test(a_peer_that_has_nothing_is_not_the_last_word),
        cmocka_unit_test(another_peer_begins_at_the_slot),
        cmocka_unit_test(a_walk_without_an_end_ends),
        cmocka_unit_test(nothing_breaks_on_broken_messages),
    };
    return cmocka_run_group_tests_name("backfill", tests, NULL, NULL);
}
