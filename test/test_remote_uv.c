/* The host of remote.h between a mesh, an engine and an audit log that are made
 * up here. Two nodes in one loop; real time, but little of it. */
#include "prober/remote_uv.h"

#include <stdio.h>
#include <string.h>

#include "mesh/facts.h"
#include "prober/clock.h"
#include "proto/base/err.h"
#include "test/check.h"

#define MS        UINT64_C(1000000)
#define SEC       (1000 * MS)
#define QUEUE_MAX 64

/* ---- what stands for the others ---- */

struct gossip {
    struct members *members;
    struct addr addr;
    size_t n_keys;
    bool accepts_clear;
    unsigned busy;  /* so many sends find no stream */
    unsigned kicks; /* sends that did */
    size_t n;
    struct {
        uint8_t data[2048];
        size_t len;
    } queue[QUEUE_MAX];
};

struct oneoff {
    struct oneoff_sink sink;
    unsigned cancels;
    bool is_running;
};

struct oneoffs {
    enum oneoff_state found, started;
    struct oneoff last;
    unsigned starts;
};

struct audit {
    bool is_failing;
    char log[4096]; /* "event state-or-decision addresses;" ... */
};

struct node {
    struct gossip gossip;
    struct oneoffs oneoffs;
    struct audit audit;
    struct remote_uv *uv;
    struct config config;
    unsigned taken, samples, ends;
    enum oneoff_state state;
    uint32_t missed;
};

struct world {
    uv_loop_t loop;
    struct node nodes[2]; /* 0 asks, 1 runs */
};

uint64_t clock_now_ns(void)
{
    return uv_hrtime();
}

uint64_t clock_now_unix_ns(void)
{
    return uv_hrtime();
}

const struct members *gossip_members(const struct gossip *g)
{
    return g->members;
}

void gossip_describe(const struct gossip *g, struct api_mesh *out)
{
    *out = (struct api_mesh){
        .is_on = true, .n_keys = g->n_keys, .accepts_clear = g->accepts_clear};
}

int gossip_send(struct gossip *g, uint32_t member, struct span message,
                bool by_stream)
{
    check_true(by_stream);
    check_u64(member, 1);
    if (g->busy > 0) {
        g->busy--;
        return ERR_BUSY;
    }
    check_true(g->n < QUEUE_MAX && message.len <= sizeof(g->queue[0].data));
    memcpy(g->queue[g->n].data, message.data, message.len);
    g->queue[g->n++].len = message.len;
    return 0;
}

void gossip_kick(struct gossip *g)
{
    g->kicks++;
}

enum oneoff_state oneoffs_find(const struct oneoffs *o,
                               const struct oneoff_request *r,
                               struct oneoff_target *out)
{
    check_text(r->target, "there");
    out->standing = TARGET_MEMBER;
    return o->found;
}

struct oneoff *oneoff_start(struct oneoffs *o, const struct oneoff_request *r,
                            const struct oneoff_sink *sink,
                            enum oneoff_state *state)
{
    check_u64(r->count, 3);
    o->starts++;
    *state = o->started;
    if (o->started != ONEOFF_RUNNING)
        return NULL;
    o->last = (struct oneoff){.sink = *sink, .is_running = true};
    return &o->last;
}

void oneoff_cancel(struct oneoff *e)
{
    check_true(e->is_running);
    e->cancels++;
}

int audit_write(struct audit *a, const char *event,
                const struct audit_field *fields)
{
    if (a->is_failing)
        return ERR_SYS;
    strcat(a->log, event);
    check_text(fields->key, "id");
    check_text(fields->text, "01020300000000000000000000000000");
    for (; fields->key; fields++) {
        if (!strcmp(fields->key, "decision") || !strcmp(fields->key, "state") ||
            !strcmp(fields->key, "addresses") ||
            !strcmp(fields->key, "principal") ||
            !strcmp(fields->key, "for_node")) {
            strcat(a->log, " ");
            strcat(a->log, fields->text);
        }
    }
    strcat(a->log, ";");
    return 0;
}

/* ---- nodes ---- */

static void on_taken(void *arg, uint32_t ask)
{
    struct node *n = arg;
    (void)ask;
    n->taken++;
}

static void on_sample(void *arg, uint32_t ask, const struct sample *s,
                      const struct sample_names *names)
{
    struct node *n = arg;
    (void)ask;
    sample_check(s);
    check_text(names->from_node, "node1");
    n->samples++;
}

static void on_end(void *arg, uint32_t ask, enum oneoff_state state,
                   uint32_t missed, uint32_t lost)
{
    struct node *n = arg;
    (void)ask;
    check_u64(lost, 0);
    n->ends++;
    n->state = state;
    n->missed = missed;
}

static void know(struct node *n, unsigned i, unsigned other)
{
    static const struct addr_policy anywhere = {.allows_loopback = false};
    static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};
    char names[2][8] = {"node0", "node1"};
    struct addr addrs[2];
    struct change change;
    check_i64(addr_parse(&addrs[0], "10.0.0.1:7946"), 0);
    check_i64(addr_parse(&addrs[1], "10.0.0.2:7946"), 0);
    struct members_config c = {
        .name = span_of_text(names[i]),
        .advertise = addrs[i],
        .now_unix_s = 1,
        .incarnation = 1,
        .members_max = 4,
        .new_per_s = 4,
        .reclaim_ns = 30 * SEC,
        .ping_interval_ns = SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * SEC,
        .policy = &anywhere,
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    strcpy(n->config.node.name, names[i]);
    n->gossip.addr = addrs[i];
    n->gossip.n_keys = 1;
    n->gossip.members = members_open(&c, SEC);
    check_true(n->gossip.members != NULL);
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text(names[other]),
                         .addr = span_of(addrs[other].ip, 4),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(n->gossip.members, SEC, &a, &change);
    check_u64(change.index, 1);
    members_get(n->gossip.members, 1)->is_ours = true;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    check_i64(uv_loop_init(&w->loop), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct node *n = &w->nodes[i];
        know(n, i, 1 - i);
        n->config.control.runs_for_others = true;
        n->oneoffs.found = n->oneoffs.started = ONEOFF_RUNNING;
        struct remote_uv_config c = {&w->loop, &n->config, &n->gossip,
                                     &n->oneoffs, &n->audit};
        struct remote_sink sink = {on_taken, on_sample, on_end, n};
        n->uv = remote_uv_open(&c, &sink);
        check_true(n->uv != NULL);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 2; i++)
        remote_uv_close(w->nodes[i].uv);
    while (uv_run(&w->loop, UV_RUN_DEFAULT))
        ;
    check_i64(uv_loop_close(&w->loop), 0);
    for (unsigned i = 0; i < 2; i++)
        members_close(w->nodes[i].gossip.members);
    free(w);
    return 0;
}

/* What was sent arrives, and what is due happens, for a while. */
static void run(struct world *w, unsigned ms)
{
    uint64_t end_ns = uv_hrtime() + ms * MS;
    do {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        for (unsigned i = 0; i < 2; i++) {
            struct gossip *g = &w->nodes[i].gossip;
            size_t n = g->n;
            g->n = 0;
            for (size_t k = 0; k < n; k++)
                check_true(remote_uv_message(
                    w->nodes[1 - i].uv, &g->addr,
                    span_of(g->queue[k].data, g->queue[k].len)));
        }
    } while (uv_hrtime() < end_ns);
}

static uint32_t ask(struct world *w)
{
    static const uint8_t id[REMOTE_ID_SIZE] = {1, 2, 3};
    struct oneoff_request r;
    uint32_t number;
    oneoff_request_init(&r);
    strcpy(r.target, "there");
    r.count = 3;
    check_i64(remote_uv_ask(w->nodes[0].uv, id, 1, &r, "uid:7", &number), 0);
    check_u64(w->nodes[0].gossip.n, 0); /* not before the caller knows it */
    return number;
}

static void produce(struct world *w, const char *address)
{
    const struct oneoff_sink *sink = &w->nodes[1].oneoffs.last.sink;
    const struct sample_names names = {.target = "http://there/"};
    struct sample s;
    sample_init(&s);
    s.outcome = OUTCOME_EOF;
    check_i64(addr_parse(&s.peer, address), 0);
    sink->on_sample(sink->arg, &s, &names);
}

static void finish(struct world *w, enum oneoff_state state, uint32_t missed)
{
    struct oneoff *o = &w->nodes[1].oneoffs.last;
    check_true(o->is_running);
    o->is_running = false;
    o->sink.on_end(o->sink.arg, state, missed);
}

/* ---- cases ---- */

static void what_others_ask_for_is_written_down_and_run(void **state)
{
    struct world *w = *state;
    ask(w);
    run(w, 20);
    check_u64(w->nodes[0].taken, 1);
    check_text(w->nodes[1].audit.log, "probe_begin node0 uid:7 allowed;");
    produce(w, "10.0.0.11:80");
    produce(w, "10.0.0.1:80"); /* which is no part of the other */
    produce(w, "10.0.0.11:80");
    run(w, 5);
    check_true(w->nodes[0].samples >= 1);
    finish(w, ONEOFF_DONE, 0);
    run(w, 250);
    check_u64(w->nodes[0].samples, 3);
    check_u64(w->nodes[0].ends, 1);
    check_u64(w->nodes[0].state, ONEOFF_DONE);
    check_text(w->nodes[1].audit.log,
               "probe_begin node0 uid:7 allowed;"
               "probe_end node0 uid:7 done 10.0.0.11:80 10.0.0.1:80;");
    check_u64(w->nodes[0].audit.log[0], 0);
}

static void without_its_line_nothing_is_run(void **state)
{
    struct world *w = *state;
    w->nodes[1].audit.is_failing = true;
    ask(w);
    run(w, 20);
    check_u64(w->nodes[1].oneoffs.starts, 0);
    check_u64(w->nodes[0].ends, 1);
    check_u64(w->nodes[0].state, ONEOFF_REFUSED);
}

static void a_node_can_be_told_to_run_nothing_for_others(void **state)
{
    struct world *w = *state;
    w->nodes[1].config.control.runs_for_others = false;
    remote_uv_reload(w->nodes[1].uv, &w->nodes[1].config);
    ask(w);
    run(w, 20);
    check_u64(w->nodes[1].oneoffs.starts, 0);
    check_u64(w->nodes[0].state, ONEOFF_REFUSED);
    check_text(w->nodes[1].audit.log, "probe_begin node0 uid:7 refused;");
}

static void a_node_that_drains_begins_nothing(void **state)
{
    struct world *w = *state;
    remote_uv_drain(w->nodes[1].uv);
    ask(w);
    run(w, 20);
    check_u64(w->nodes[1].oneoffs.starts, 0);
    check_u64(w->nodes[0].state, ONEOFF_REFUSED);
}

static void its_own_policy_decides(void **state)
{
    struct world *w = *state;
    w->nodes[1].oneoffs.started = ONEOFF_DENIED;
    ask(w);
    run(w, 20);
    check_u64(w->nodes[0].state, ONEOFF_DENIED);
    check_text(w->nodes[1].audit.log, "probe_begin node0 uid:7 allowed;"
                                      "probe_end node0 uid:7 denied ;");
}

static void unknown_targets_are_not_begun(void **state)
{
    struct world *w = *state;
    w->nodes[1].oneoffs.found = ONEOFF_BAD_TARGET;
    ask(w);
    run(w, 20);
    check_u64(w->nodes[1].oneoffs.starts, 0);
    check_u64(w->nodes[0].state, ONEOFF_BAD_TARGET);
    check_text(w->nodes[1].audit.log, "probe_begin node0 uid:7 bad_target;");
}

static void in_the_clear_nothing_is_asked_or_heeded(void **state)
{
    struct world *w = *state;
    const uint8_t id[REMOTE_ID_SIZE] = {1};
    struct oneoff_request r;
    struct remote_stats s;
    uint32_t number;
    oneoff_request_init(&r);
    strcpy(r.target, "there");
    for (unsigned i = 0; i < 2; i++) {
        w->nodes[0].gossip.n_keys = i;
        w->nodes[0].gossip.accepts_clear = i == 1;
        check_false(remote_uv_is_possible(w->nodes[0].uv));
        check_i64(remote_uv_ask(w->nodes[0].uv, id, 1, &r, "w", &number),
                  ERR_AUTH);
    }
    w->nodes[0].gossip.accepts_clear = false;
    check_true(remote_uv_is_possible(w->nodes[0].uv));
    w->nodes[1].gossip.accepts_clear = true;
    ask(w);
    run(w, 20);
    check_u64(w->nodes[1].oneoffs.starts, 0);
    check_u64(w->nodes[1].audit.log[0], 0);
    remote_stats(remote_uv_remote(w->nodes[1].uv), &s);
    check_u64(s.runs, 0);
    check_false(remote_uv_message(w->nodes[1].uv, &w->nodes[0].gossip.addr,
                                  span_of("\xa1\1", 2)));
}

static void a_drop_cancels_and_the_end_is_still_written(void **state)
{
    struct world *w = *state;
    uint32_t number = ask(w);
    run(w, 20);
    remote_uv_drop(w->nodes[0].uv, number);
    run(w, 20);
    check_u64(w->nodes[1].oneoffs.last.cancels, 1);
    finish(w, ONEOFF_CANCELLED, 0);
    run(w, 5);
    check_u64(w->nodes[0].ends, 0);
    check_text(w->nodes[1].audit.log, "probe_begin node0 uid:7 allowed;"
                                      "probe_end node0 uid:7 cancelled ;");
}

static void streams_that_are_busy_are_tried_again(void **state)
{
    struct world *w = *state;
    w->nodes[0].gossip.busy = 3;
    ask(w);
    run(w, 100);
    check_u64(w->nodes[0].gossip.busy, 0);
    check_u64(w->nodes[0].gossip.kicks, 1);
    check_u64(w->nodes[0].taken, 1);
    finish(w, ONEOFF_DONE, 3);
    run(w, 20);
    check_u64(w->nodes[0].missed, 3);
}

static void
closing_cancels_what_runs_and_what_ends_later_is_ignored(void **state)
{
    struct world *w = *state;
    ask(w);
    run(w, 20);
    remote_uv_close(w->nodes[1].uv);
    w->nodes[1].uv = NULL;
    check_u64(w->nodes[1].oneoffs.last.cancels, 1);
    check_text(w->nodes[1].audit.log, "probe_begin node0 uid:7 allowed;"
                                      "probe_end node0 uid:7 cancelled ;");
    uv_run(&w->loop, UV_RUN_NOWAIT);
    produce(w, "10.0.0.9:80");
    finish(w, ONEOFF_CANCELLED, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_others_ask_for_is_written_down_and_run),
        CASE(without_its_line_nothing_is_run),
        CASE(a_node_can_be_told_to_run_nothing_for_others),
        CASE(a_node_that_drains_begins_nothing),
        CASE(its_own_policy_decides),
        CASE(unknown_targets_are_not_begun),
        CASE(in_the_clear_nothing_is_asked_or_heeded),
        CASE(a_drop_cancels_and_the_end_is_still_written),
        CASE(streams_that_are_busy_are_tried_again),
        CASE(closing_cancels_what_runs_and_what_ends_later_is_ignored),
    };
    return cmocka_run_group_tests_name("remote_uv", tests, NULL, NULL);
}
