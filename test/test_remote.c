/* Coordinators and executors: cases first, then thousands of bad networks. */
#include "prober/remote.h"

#include <string.h>

#include "prober/remote_private.h"
#include "proto/base/err.h"
#include "test/check.h"
#include "test/remote_net.h"

enum { ASK = 1, TAKEN, SAMPLES, END, ACK, CANCEL };

static void check_done(const struct net *n, unsigned k)
{
    const struct net_ask *a = &n->asks[k];
    check_u64(a->ends, 1);
    check_u64(a->taken, 1);
    check_text(oneoff_state_name(a->state), "done");
    check_u64(a->lost, 0);
    check_u64(a->missed, a->request.count / 7);
    check_u64(a->samples + a->missed, a->request.count);
}

static void check_ended(const struct net *n, unsigned k, enum oneoff_state s)
{
    check_u64(n->asks[k].ends, 1);
    check_text(oneoff_state_name(n->asks[k].state), oneoff_state_name(s));
}

/* Nothing is left of it anywhere. */
static void check_quiet(const struct net *n)
{
    for (unsigned i = 0; i < NET_NODES; i++) {
        struct remote_stats s;
        net_stats(n, i, &s);
        check_u64(s.asks_open, 0);
        check_u64(s.runs_open, 0);
        check_u64(s.held_bytes, 0);
        check_u64(remote_deadline(n->nodes[i].remote), UINT64_MAX);
    }
}

/* ---- the good course ---- */

static void an_ask_brings_all_samples_and_the_end(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 10, 500 * MS);
    net_settle(n);
    check_done(n, k);
    check_u64(n->asks[k].samples, 9);
    net_stats(n, 0, &s);
    check_u64(s.asks, 1);
    check_u64(s.taken, 1);
    check_u64(s.samples_in, 9);
    check_u64(s.duplicates + s.late + s.broken + s.unknown + s.strangers, 0);
    net_stats(n, 1, &s);
    check_u64(s.runs, 1);
    check_u64(s.samples_out, 9);
    check_u64(s.duplicates + s.late + s.broken + s.unknown + s.strangers, 0);
    check_u64(n->sent[ASK], 1);
    check_u64(n->sent[TAKEN], 1);
    check_u64(n->sent[SAMPLES], n->sent[ACK]);
    check_u64(n->sent[END], 1);
    check_u64(n->sent[CANCEL], 1);
    check_quiet(n);
    net_close(n);
}

static void samples_come_as_they_happen(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    net_run(n, 10 * MS);
    check_u64(n->asks[k].taken, 1);
    for (unsigned i = 1; i <= 4; i++) {
        net_run(n, SEC);
        check_u64(n->asks[k].samples, i);
        check_u64(n->asks[k].ends, 0);
    }
    net_run(n, SEC);
    check_done(n, k);
    net_close(n);
}

/* Two seconds of one each 10 ms: a message each 100 ms. */
static void many_samples_go_in_few_messages(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 200, 10 * MS);
    net_settle(n);
    check_done(n, k);
    check_true(n->sent[SAMPLES] <= 21);
    check_true(n->sent[SAMPLES] >= 15);
    net_close(n);
}

static void long_samples_are_split(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_big = true;
    n->delay_min_ns = n->delay_max_ns = 500 * MS;
    unsigned k = net_ask(n, 0, 1, 150, 10 * MS);
    net_settle(n);
    check_done(n, k);
    check_true(n->longest > 31u << 10);
    check_true(n->longest <= (32u << 10) + 64);
    net_close(n);
}

static void all_ask_all(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    for (unsigned from = 0; from < NET_NODES; from++) {
        for (unsigned to = 0; to < NET_NODES; to++) {
            if (from != to)
                net_ask(n, from, to, 3 + from, 200 * MS);
        }
    }
    net_settle(n);
    for (unsigned k = 0; k < n->n_asks; k++)
        check_done(n, k);
    check_quiet(n);
    net_close(n);
}

static void who_will_not_says_why(void **state)
{
    (void)state;
    static const enum oneoff_state why[] = {ONEOFF_DENIED, ONEOFF_BUSY,
                                            ONEOFF_REFUSED, ONEOFF_BAD_TARGET,
                                            ONEOFF_FAILED};
    struct net *n = net_open(check_seed());
    for (size_t i = 0; i < sizeof(why) / sizeof(why[0]); i++) {
        n->nodes[2].answer = why[i];
        unsigned k = net_ask(n, 0, 2, 3, SEC);
        net_settle(n);
        check_ended(n, k, why[i]);
        check_u64(n->asks[k].taken, 0);
        check_u64(n->asks[k].samples + n->asks[k].missed, 0);
        check_true(n->asks[k].ended_ns - n->asks[k].asked_ns < 10 * MS);
    }
    check_quiet(n);
    net_close(n);
}

/* ---- who is not there ---- */

static void whoever_does_not_answer_is_unreachable_in_time(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_cut = true;
    unsigned k = net_ask(n, 0, 1, 10, SEC);
    net_settle(n);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    check_u64(n->asks[k].taken, 0);
    check_u64(n->asks[k].ended_ns - n->asks[k].asked_ns, REMOTE_ANSWER_NS);
    check_true(n->sent[ASK] >= 4);
    net_stats(n, 0, &s);
    check_u64(s.unreachable, 1);
    check_quiet(n);
    net_close(n);
}

static void only_live_members_of_ours_are_asked(void **state)
{
    (void)state;
    unsigned k;
    uint8_t id[REMOTE_ID_SIZE] = {1};
    uint32_t ask;
    struct oneoff_request q;
    struct net *n = net_open(check_seed());
    net_set_state(n, 0, 1, MEMBER_DEAD);
    net_set_state(n, 0, 2, MEMBER_LEFT);
    net_set_state(n, 0, 3, MEMBER_SUSPECT);
    members_get(n->nodes[0].members, net_member(n, 0, 4))->is_ours = false;
    check_i64(net_try_ask(n, 0, 1, 1, SEC, &k), ERR_CLOSED);
    check_i64(net_try_ask(n, 0, 2, 1, SEC, &k), ERR_CLOSED);
    check_i64(net_try_ask(n, 0, 4, 1, SEC, &k), ERR_CLOSED);
    check_i64(net_try_ask(n, 0, 3, 1, SEC, &k), 0);
    oneoff_request_init(&q);
    strcpy(q.target, "http://h/");
    check_i64(remote_ask(n->nodes[0].remote, n->now_ns, id, MEMBERS_SELF, &q,
                         "w", &ask),
              ERR_CLOSED);
    check_i64(
        remote_ask(n->nodes[0].remote, n->now_ns, id, 1000, &q, "w", &ask),
        ERR_CLOSED);
    q.count = 0;
    check_i64(remote_ask(n->nodes[0].remote, n->now_ns, id, net_member(n, 0, 3),
                         &q, "w", &ask),
              ERR_BAD);
    net_close(n);
}

static void an_executor_that_dies_is_unreachable_within_a_second(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 10 * SEC);
    n->nodes[1].is_cut = true;
    net_set_state(n, 0, 1, MEMBER_DEAD);
    net_run(n, SEC + MS);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    check_true(n->asks[k].samples >= 8);
    net_settle(n);
    check_quiet(n);
    net_close(n);
}

/* The slots take 10 s, of which the last may last a second. */
static void an_executor_that_falls_silent_is_waited_for_until_then(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 10, SEC);
    uint64_t lasts_ns = oneoff_request_lasts_ns(&n->asks[k].request);
    net_run(n, 10 * MS);
    n->nodes[1].is_cut = true;
    net_settle(n);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    check_u64(n->asks[k].ended_ns - n->asks[k].taken_ns,
              lasts_ns + REMOTE_SILENT_NS);
    net_close(n);
}

/* Its host never ends, and it acknowledges that it runs, again and again. */
static void no_executor_is_waited_for_without_end(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_mute = true;
    unsigned k = net_ask(n, 0, 1, 10, SEC);
    uint64_t lasts_ns = oneoff_request_lasts_ns(&n->asks[k].request);
    for (int i = 0; i < 100 && n->asks[k].ends == 0; i++) {
        net_run(n, SEC);
        net_inject(n, 1, 0, n->last[TAKEN], n->last_len[TAKEN]);
    }
    check_ended(n, k, ONEOFF_UNREACHABLE);
    check_true(n->asks[k].ended_ns - n->asks[k].taken_ns <=
               lasts_ns + 4 * REMOTE_SILENT_NS);
    check_true(n->asks[k].ended_ns - n->asks[k].taken_ns >
               lasts_ns + REMOTE_SILENT_NS);
    net_run(n, SEC); /* and it is told to stop */
    check_u64(n->asks[k].stops, 1);
    check_quiet(n);
    net_close(n);
}

static void late_answers_change_nothing(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    n->delay_min_ns = n->delay_max_ns = 2 * SEC; /* there, and back */
    unsigned k = net_ask(n, 0, 1, 30, SEC);
    net_run(n, REMOTE_ANSWER_NS + MS);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    net_settle(n);
    check_u64(n->asks[k].taken, 0);
    check_u64(n->asks[k].stops, 1);
    net_stats(n, 0, &s);
    check_true(s.late >= 1);
    check_quiet(n);
    net_close(n);
}

/* Another member has the place by now. */
static void a_place_is_not_the_member_that_was_there(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 3 * SEC);
    members_get(n->nodes[0].members, net_member(n, 0, 1))->hash++;
    net_run(n, SEC + MS);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    net_close(n);
}

/* ---- what is not wanted any more ---- */

static void a_drop_stops_the_run(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 2500 * MS);
    net_drop(n, k);
    net_run(n, 2 * MS);
    check_u64(n->asks[k].stops, 1);
    net_drop(n, k); /* and once more */
    net_settle(n);
    check_u64(n->asks[k].ends, 0);
    check_u64(n->sent[CANCEL], 1);
    check_quiet(n);
    net_close(n);
}

static void a_drop_before_the_answer_stops_the_run_too(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_drop(n, k);
    net_settle(n);
    check_u64(n->asks[k].stops, n->asks[k].starts);
    check_u64(n->asks[k].ends + n->asks[k].taken, 0);
    check_quiet(n);
    net_close(n);
}

static void drop_at_the_third(struct net *n, enum remote_effect_kind kind,
                              unsigned k)
{
    if (kind == REMOTE_SAMPLE && n->asks[k].samples == 3)
        net_drop_inside(n, k);
}

/* Ten samples are in one message; after the third no more of it is wanted. */
static void a_drop_from_within_the_sink_is_the_last_word(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->hook = drop_at_the_third;
    unsigned k = net_ask(n, 0, 1, 60, 10 * MS);
    net_settle(n);
    check_u64(n->asks[k].samples, 3);
    check_u64(n->asks[k].ends, 0);
    check_u64(n->asks[k].stops, 1);
    check_quiet(n);
    net_close(n);
}

static void drop_the_others(struct net *n, enum remote_effect_kind kind,
                            unsigned k)
{
    for (unsigned i = 0; kind == REMOTE_END && i < n->n_asks; i++) {
        if (i != k)
            net_drop_inside(n, i);
    }
}

/* Three end at the same moment; whoever hears of the first drops the rest. */
static void what_is_dropped_has_no_end_even_if_it_had_one(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->hook = drop_the_others;
    for (unsigned i = 1; i < 4; i++) {
        n->nodes[i].is_cut = true;
        net_ask(n, 0, i, 1, SEC);
    }
    net_settle(n);
    check_u64(n->asks[0].ends + n->asks[1].ends + n->asks[2].ends, 1);
    check_quiet(n);
    net_close(n);
}

/* 31 s later its place is another's. */
static void an_old_number_means_nothing(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned old = net_ask(n, 0, 1, 1, SEC);
    net_run(n, 35 * SEC);
    check_done(n, old);
    unsigned k = net_ask(n, 0, 1, 8, SEC);
    check_u64(n->asks[k].ask & 1023, n->asks[old].ask & 1023);
    net_run(n, SEC);
    remote_drop(n->nodes[0].remote, n->now_ns, n->asks[old].ask);
    uint8_t message[64];
    memcpy(message, n->last[TAKEN], 23);
    memcpy(message + 3, n->asks[old].id, REMOTE_ID_SIZE);
    net_inject(n, 1, 0, message, 23);
    net_settle(n);
    check_done(n, k);
    net_stats(n, 0, &s);
    check_u64(s.unknown, 1);
    net_close(n);
}

/* Its place is kept while it is not needed: it hears that it is over. */
static void an_end_that_was_not_acknowledged_is_told_again(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 2, SEC);
    net_settle(n);
    check_done(n, k);
    unsigned cancels = n->sent[CANCEL];
    net_ask(n, 0, 2, 2, SEC);
    net_inject(n, 1, 0, n->last[END], n->last_len[END]);
    net_run(n, 10 * MS);
    check_u64(n->sent[CANCEL], cancels + 1);
    net_stats(n, 0, &s);
    check_u64(s.late, 1);
    net_close(n);
}

/* One request may ask a node twice, and a new process may use a number again.
 */
static void an_ask_is_known_by_its_id_and_number(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->has_one_id = true;
    unsigned a = net_ask(n, 0, 1, 3, 100 * MS);
    unsigned b = net_ask(n, 0, 1, 4, 100 * MS);
    net_run(n, 50 * MS);
    check_u64(n->asks[a].starts, 1);
    check_u64(n->asks[b].starts, 1);
    net_drop(n, b);
    net_settle(n);
    check_done(n, a);
    check_u64(n->asks[a].starts, 1);
    check_u64(n->asks[b].starts, 1);
    b = net_ask(n, 0, 1, 4, 100 * MS);
    net_settle(n);
    check_done(n, b);
    n->has_one_id = false;
    net_restart(n, 0);
    unsigned c = net_ask(n, 0, 1, 5, 100 * MS);
    check_u64(n->asks[c].ask, n->asks[a].ask);
    net_settle(n);
    check_done(n, c);
    net_restart(n, 0);
    unsigned d = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 50 * MS);
    net_restart(n, 0);
    unsigned e = net_ask(n, 0, 1, 5, 100 * MS);
    check_u64(n->asks[d].ask, n->asks[e].ask);
    net_run(n, 10 * MS);
    net_drop(n, e);
    net_run(n, 10 * MS);
    check_u64(n->asks[d].starts, 1);
    check_u64(n->asks[d].stops, 0);
    check_u64(n->asks[e].stops, 1);
    net_close(n);
}

/* The host of an executor still says something of what was stopped. */
static void an_old_run_means_nothing(void **state)
{
    (void)state;
    struct sample s;
    const struct sample_names names = {.target = "http://h/"};
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 10 * MS);
    uint32_t old = n->runs[0].run;
    net_drop(n, k);
    net_run(n, 10 * MS);
    check_u64(n->asks[k].stops, 1);
    k = net_ask(n, 0, 1, 5, 100 * MS);
    net_run(n, 10 * MS);
    check_u64(n->runs[0].run & 127, old & 127);
    sample_init(&s);
    s.outcome = OUTCOME_EOF;
    remote_sample(n->nodes[1].remote, n->now_ns, old, &s, &names);
    remote_ended(n->nodes[1].remote, n->now_ns, old, ONEOFF_DONE, 0);
    net_settle(n);
    check_done(n, k);
    net_close(n);
}

/* Five of the five that were asked for, and no slot was missed. */
static void a_host_that_makes_too_many_samples_is_cut_short(void **state)
{
    (void)state;
    struct sample s;
    const struct sample_names names = {.target = "http://h/"};
    struct net *n = net_open(check_seed());
    struct remote *r = n->nodes[1].remote;
    n->nodes[1].is_mute = true;
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    net_run(n, 10 * MS);
    sample_init(&s);
    s.outcome = OUTCOME_EOF;
    for (unsigned i = 0; i < 8; i++) {
        s.started_unix_ns = i;
        remote_sample(r, n->now_ns, n->runs[0].run, &s, &names);
        remote_check(r);
    }
    remote_ended(r, n->now_ns, n->runs[0].run, ONEOFF_DONE, 3);
    remote_check(r);
    n->runs[0].is_used = false;
    net_settle(n);
    check_ended(n, k, ONEOFF_DONE);
    check_u64(n->asks[k].samples, 5);
    check_u64(n->asks[k].missed + n->asks[k].lost, 0);
    net_close(n);
}

static void samples_that_come_twice_are_counted_and_not_taken(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    net_run(n, 1500 * MS);
    check_u64(n->asks[k].samples, 1);
    net_inject(n, 1, 0, n->last[SAMPLES], n->last_len[SAMPLES]);
    net_run(n, 100 * MS);
    check_u64(n->asks[k].samples, 1);
    net_stats(n, 0, &s);
    check_u64(s.duplicates, 1);
    net_settle(n);
    check_done(n, k);
    net_close(n);
}

static bool is_not_the_first_of_its_kind(struct net *n, unsigned from,
                                         unsigned to, uint8_t kind)
{
    (void)from;
    (void)to;
    return n->sent[kind] > 1;
}

static void a_cancel_that_is_lost_is_repeated_when_it_is_needed(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 2500 * MS);
    n->filter = is_not_the_first_of_its_kind;
    net_drop(n, k);
    net_run(n, 2 * SEC);
    check_u64(n->sent[CANCEL], 2);
    check_u64(n->asks[k].stops, 1);
    net_settle(n);
    check_quiet(n);
    net_close(n);
}

static void the_first_of_each_kind_may_be_lost(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->filter = is_not_the_first_of_its_kind;
    unsigned k = net_ask(n, 0, 1, 10, 300 * MS);
    net_settle(n);
    check_done(n, k);
    check_u64(n->filtered, 6);
    check_quiet(n);
    net_close(n);
}

static void a_coordinator_that_dies_has_its_run_stopped(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 60, SEC);
    net_run(n, 2500 * MS);
    n->nodes[0].is_cut = true;
    net_set_state(n, 1, 0, MEMBER_DEAD);
    net_run(n, SEC + MS);
    check_u64(n->asks[k].stops, 1);
    net_settle(n);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    check_quiet(n);
    net_close(n);
}

static void a_coordinator_that_is_silent_is_given_up(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 100, SEC);
    net_run(n, 2500 * MS);
    n->nodes[0].is_cut = true;
    net_run(n, 8 * SEC);
    check_u64(n->asks[k].stops, 0);
    net_run(n, 7 * SEC);
    check_u64(n->asks[k].stops, 1);
    net_stats(n, 1, &s);
    check_u64(s.runs_abandoned, 1);
    check_u64(s.held_bytes, 0);
    net_close(n);
}

/* ---- limits ---- */

static bool is_no_ack(struct net *n, unsigned from, unsigned to, uint8_t kind)
{
    (void)n;
    (void)from;
    (void)to;
    return kind != ACK && kind != SAMPLES;
}

/* For 5 s nothing passes: 430 samples of 1,400 bytes. */
static void what_is_held_is_bounded_and_the_rest_is_counted(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_big = true;
    n->filter = is_no_ack;
    unsigned k = net_ask(n, 0, 1, 1000, 10 * MS);
    net_run(n, 5 * SEC);
    check_u64(n->asks[k].samples, 0);
    check_u64(n->held_most, REMOTE_HELD_RUN_MAX);
    n->filter = NULL;
    net_settle(n);
    check_ended(n, k, ONEOFF_DONE);
    check_true(n->asks[k].lost > 100);
    check_u64(n->asks[k].samples + n->asks[k].lost + n->asks[k].missed, 1000);
    net_stats(n, 0, &s);
    check_u64(s.lost, n->asks[k].lost);
    net_stats(n, 1, &s);
    check_u64(s.lost, n->asks[k].lost);
    check_quiet(n);
    net_close(n);
}

static void one_coordinator_has_a_quarter_of_the_runs(void **state)
{
    (void)state;
    unsigned busy = 0;
    struct net *n = net_open(check_seed());
    for (unsigned i = 0; i < REMOTE_RUNS_OF_ONE_MAX + 3; i++)
        net_ask(n, 0, 1, 5, SEC);
    net_run(n, 100 * MS);
    for (unsigned k = 0; k < n->n_asks; k++)
        busy += n->asks[k].state == ONEOFF_BUSY;
    check_u64(busy, 3);
    net_ask(n, 2, 1, 5, SEC);
    net_settle(n);
    for (unsigned k = 0; k < n->n_asks; k++) {
        if (n->asks[k].state != ONEOFF_BUSY)
            check_done(n, k);
        busy -= n->asks[k].state == ONEOFF_BUSY;
    }
    check_u64(busy, 0);
    check_quiet(n);
    net_close(n);
}

static void all_coordinators_have_so_many_runs(void **state)
{
    (void)state;
    unsigned busy = 0;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    for (unsigned i = 0; i < 27 * 5; i++)
        net_ask(n, i % 5, 5, 3, SEC);
    net_run(n, 100 * MS);
    net_stats(n, 5, &s);
    check_u64(s.runs_open, REMOTE_RUNS_MAX);
    for (unsigned k = 0; k < n->n_asks; k++)
        busy += n->asks[k].state == ONEOFF_BUSY;
    check_u64(busy, 27 * 5 - REMOTE_RUNS_MAX);
    net_settle(n);
    check_quiet(n);
    net_close(n);
}

/* Else they could be run twice. */
static void what_could_not_be_remembered_is_not_begun(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    struct remote *r = n->nodes[1].remote;
    for (size_t i = 0; i < REMEMBERED_MAX; i++)
        r->remembered[i] =
            (struct remembered){.is_used = true, .ended_ns = n->now_ns};
    net_run(n, REMOTE_REMEMBER_NS - SEC);
    unsigned k = net_ask(n, 0, 1, 1, SEC);
    net_settle(n);
    check_ended(n, k, ONEOFF_BUSY);
    net_run(n, SEC);
    k = net_ask(n, 0, 1, 1, SEC);
    net_settle(n);
    check_done(n, k);
    net_close(n);
}

/* A hundred, while no stream is free: the rest is left out. */
static void refusals_that_wait_are_bounded(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_cut = true;
    net_ask(n, 0, 1, 5, SEC);
    n->nodes[1].is_cut = false;
    n->last[ASK][23 + 1 + 5 + 1 + 1 + 3 + 2] = 4; /* above our limits */
    n->busy = 100;
    for (uint8_t i = 0; i < 100; i++) {
        n->last[ASK][22] = i;
        net_inject(n, 0, 1, n->last[ASK], n->last_len[ASK]);
    }
    net_run(n, 100 * MS);
    n->busy = 0;
    net_run(n, 100 * MS);
    check_u64(n->sent[END], REPLIES_MAX);
    net_close(n);
}

static void longer_messages_are_not_read(void **state)
{
    (void)state;
    static uint8_t bytes[2 * REMOTE_MESSAGE_MAX];
    static char target[1400];
    const struct sample_names names = {.target = target};
    struct remote_stats s;
    struct sample sample;
    struct wr w;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_mute = true;
    unsigned k = net_ask(n, 0, 1, 100, 100 * MS);
    net_run(n, 10 * MS);
    memset(target, 't', sizeof(target) - 1);
    sample_init(&sample);
    sample.outcome = OUTCOME_EOF;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_bytes(&w, n->last[TAKEN], 23);
    wr_be32(&w, 0);
    bytes[2] = SAMPLES;
    while (w.len <= REMOTE_MESSAGE_MAX)
        sample_wire_write(&sample, &names, &w);
    net_inject(n, 1, 0, bytes, w.len);
    net_run(n, 10 * MS);
    check_u64(n->asks[k].samples, 0);
    net_stats(n, 0, &s);
    check_u64(s.broken, 1);
    net_close(n);
}

/* Sixty at once, over two seconds; then one more each second. */
static void one_coordinator_has_sixty_a_minute(void **state)
{
    (void)state;
    unsigned busy = 0;
    struct net *n = net_open(check_seed());
    n->nodes[1].answer = ONEOFF_DENIED; /* which counts as well */
    for (unsigned i = 0; i < 64; i++) {
        net_ask(n, 0, 1, 1, SEC);
        net_run(n, 30 * MS);
    }
    for (unsigned k = 0; k < n->n_asks; k++)
        busy += n->asks[k].state == ONEOFF_BUSY;
    check_u64(busy, 3); /* within two seconds one was given back */
    unsigned other = net_ask(n, 2, 1, 1, SEC);
    net_run(n, 10 * MS);
    check_ended(n, other, ONEOFF_DENIED);
    for (unsigned i = 0; i < 10; i++) {
        unsigned k = net_ask(n, 0, 1, 1, SEC);
        net_run(n, 500 * MS);
        busy += n->asks[k].state == ONEOFF_BUSY;
    }
    check_true(busy == 7 || busy == 8);
    net_close(n);
}

static void asks_are_bounded(void **state)
{
    (void)state;
    uint8_t id[REMOTE_ID_SIZE] = {7};
    uint32_t ask, last = 0;
    struct oneoff_request q;
    struct remote_stats s;
    struct remote_effect e;
    struct net *n = net_open(check_seed());
    struct remote *r = n->nodes[0].remote;
    oneoff_request_init(&q);
    strcpy(q.target, "http://h/");
    for (unsigned i = 0; i < REMOTE_ASKS_MAX; i++) {
        check_i64(
            remote_ask(r, n->now_ns, id, net_member(n, 0, 1), &q, "w", &ask),
            0);
        check_true(ask != last);
        last = ask;
    }
    check_i64(remote_ask(r, n->now_ns, id, net_member(n, 0, 1), &q, "w", &ask),
              ERR_BUSY);
    remote_stats(r, &s);
    check_u64(s.asks_open, REMOTE_ASKS_MAX);
    remote_check(r);
    remote_drop(r, n->now_ns, last);
    check_i64(remote_ask(r, n->now_ns, id, net_member(n, 0, 1), &q, "w", &ask),
              0);
    check_true(ask != last);
    remote_on_timer(r, n->now_ns + 10 * SEC);
    /* All have ended, but nobody has been told so far. */
    check_i64(remote_ask(r, n->now_ns + 10 * SEC, id, net_member(n, 0, 1), &q,
                         "w", &ask),
              ERR_BUSY);
    unsigned ends = 0;
    while (remote_next(r, &e))
        ends += e.kind == REMOTE_END;
    check_u64(ends, REMOTE_ASKS_MAX);
    remote_check(r);
    net_close(n);
}

/* No stream is free for a while: nothing is lost, and it is not asked for more
 * often than every 10 ms. */
static void messages_that_find_no_stream_wait(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    n->busy = 100;
    unsigned k = net_ask(n, 0, 1, 10, 100 * MS);
    net_run(n, SEC);
    net_stats(n, 0, &s);
    check_true(s.unsent <= 101);
    check_true(s.unsent >= 99);
    n->busy = 0;
    net_run(n, 20 * MS);
    check_u64(n->asks[k].taken, 1);
    n->busy = 100;
    net_run(n, SEC);
    n->busy = 50;
    net_settle(n);
    check_done(n, k);
    check_quiet(n);
    net_close(n);
}

/* ---- those who lie ---- */

static void an_ask_that_is_heard_again_is_not_run_again(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 3, 100 * MS);
    for (int i = 0; i < 30; i++) {
        net_inject(n, 0, 1, n->last[ASK], n->last_len[ASK]);
        net_run(n, SEC);
    }
    check_done(n, k);
    check_u64(n->asks[k].starts, 1);
    net_stats(n, 1, &s);
    check_u64(s.runs, 1);
    check_u64(s.duplicates, 30);
    check_u64(n->sent[END], 1); /* it was heard: nobody waits for it */
    net_close(n);
}

static void two_coordinators_may_use_the_same_numbers(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->has_one_id = true;
    unsigned a = net_ask(n, 0, 1, 5, 100 * MS);
    unsigned b = net_ask(n, 2, 1, 60, SEC);
    check_u64(n->asks[a].ask, n->asks[b].ask);
    net_run(n, 2 * SEC);
    check_done(n, a);
    check_u64(n->asks[b].starts, 1);
    check_u64(n->asks[b].stops, 0);
    net_settle(n);
    check_done(n, b);
    unsigned c = net_ask(n, 3, 1, 5, 100 * MS); /* the others are over */
    check_u64(n->asks[a].ask, n->asks[c].ask);
    net_settle(n);
    check_done(n, c);
    net_close(n);
}

static bool is_no_end(struct net *n, unsigned from, unsigned to, uint8_t kind)
{
    (void)n;
    (void)from;
    (void)to;
    return kind != END;
}

/* It says so again when it is asked again, at once and after it gave up. */
static void an_end_that_was_lost_is_told_to_who_asks_again(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    n->nodes[1].answer = ONEOFF_DENIED;
    n->filter = is_no_end;
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    net_run(n, 200 * MS);
    check_u64(n->sent[END], 1);
    net_inject(n, 0, 1, n->last[ASK], n->last_len[ASK]);
    net_run(n, 10 * MS);
    check_u64(n->sent[END], 2);
    n->nodes[0].is_cut = true;
    net_run(n, 20 * SEC);
    check_ended(n, k, ONEOFF_UNREACHABLE);
    net_stats(n, 1, &s);
    check_u64(s.runs_open, 0);
    check_u64(s.runs_abandoned, 1);
    unsigned ends = n->sent[END];
    net_inject(n, 0, 1, n->last[ASK], n->last_len[ASK]);
    net_run(n, 10 * MS);
    check_u64(n->sent[END], ends + 1);
    check_u64(n->last[END][23], ONEOFF_DENIED);
    check_u64(n->asks[k].starts, 1);
    net_close(n);
}

static void an_end_from_memory_says_how_many_samples_there_were(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->filter = is_no_end;
    unsigned k = net_ask(n, 0, 1, 3, 100 * MS);
    net_run(n, 600 * MS);
    n->nodes[0].is_cut = true;
    net_run(n, 20 * SEC);
    unsigned ends = n->sent[END];
    net_inject(n, 0, 1, n->last[ASK], n->last_len[ASK]);
    net_run(n, 10 * MS);
    check_u64(n->sent[END], ends + 1);
    check_u64(n->last_len[END], 23 + 13);
    check_u64(n->last[END][23 + 4], 3);
    check_u64(n->last[END][23 + 12], 3);
    check_u64(n->asks[k].starts, 1);
    net_close(n);
}

static void an_answer_that_was_lost_is_given_again(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->filter = is_not_the_first_of_its_kind;
    n->sent[ASK] = 1; /* which is not lost */
    n->nodes[1].is_mute = true;
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    net_run(n, SEC);
    check_u64(n->asks[k].taken, 1);
    check_u64(n->sent[TAKEN], 2);
    net_close(n);
}

static void nobody_speaks_for_another(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 20, 100 * MS);
    net_inject(n, 2, 3, n->last[ASK], n->last_len[ASK]); /* as node 0 */
    net_run(n, SEC);
    net_stats(n, 3, &s);
    check_u64(s.strangers, 1);
    check_u64(s.runs, 0);
    uint32_t samples = n->asks[k].samples;
    uint8_t message[64];
    size_t len = n->last_len[TAKEN];
    check_u64(len, 23);
    memcpy(message, n->last[TAKEN], len);
    message[2] = CANCEL;
    net_inject(n, 2, 1, message, len);
    message[2] = END;
    memcpy(message + len, "\x03\0\0\0\0\0\0\0\0\0\0\0\0", 13);
    net_inject(n, 2, 0, message, len + 13);
    net_run(n, 10 * MS);
    net_stats(n, 0, &s);
    check_u64(s.strangers, 1);
    net_stats(n, 1, &s);
    check_u64(s.strangers, 1);
    check_u64(n->asks[k].ends, 0);
    check_u64(n->asks[k].stops, 0);
    net_settle(n);
    check_true(n->asks[k].samples > samples);
    check_done(n, k);
    net_close(n);
}

static void lies_of_an_executor_are_not_taken(void **state)
{
    (void)state;
    struct remote_stats s;
    uint8_t message[64] = {0};
    struct net *n = net_open(check_seed());
    n->nodes[1].is_mute = true;
    unsigned k = net_ask(n, 0, 1, 20, SEC);
    net_run(n, 10 * MS);
    memcpy(message, n->last[TAKEN], 23);
    static const struct {
        uint8_t kind, len, bytes[16];
    } lies[] = {
        {TAKEN, 1, {0}},                      /* something behind */
        {SAMPLES, 4, {0, 0, 0, 21}},          /* more than asked */
        {SAMPLES, 5, {0, 0, 0, 0, 1}},        /* a broken sample */
        {SAMPLES, 3, {0}},                    /* no number */
        {END, 13, {ONEOFF_UNREACHABLE, 0}},   /* not for it to say */
        {END, 13, {ONEOFF_RUNNING, 0}},       /* no end */
        {END, 13, {ONEOFF_DONE, 0, 0, 0, 5}}, /* where are they? */
        {END, 13, {ONEOFF_DONE, 0, 0, 0, 0, 0, 0, 0, 21}}, /* missed too many */
        {END, 12, {ONEOFF_DONE, 0}},
        {7, 0, {0}},
        {0, 0, {0}},
    };
    size_t n_lies = sizeof(lies) / sizeof(lies[0]);
    for (size_t i = 0; i < n_lies; i++) {
        message[2] = lies[i].kind;
        memcpy(message + 23, lies[i].bytes, lies[i].len);
        net_inject(n, 1, 0, message, 23u + lies[i].len);
        net_run(n, 2 * MS);
        net_stats(n, 0, &s);
        check_u64(s.broken, i + 1);
        check_u64(n->asks[k].ends + n->asks[k].samples, 0);
    }
    message[2] = TAKEN;
    message[7] ^= 1; /* another id */
    net_inject(n, 1, 0, message, 23);
    net_run(n, 2 * MS);
    net_stats(n, 0, &s);
    check_u64(s.unknown, 1);
    net_close(n);
}

static void acknowledging_what_was_never_sent_is_not_taken(void **state)
{
    (void)state;
    struct remote_stats s;
    uint8_t message[64] = {0};
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    net_run(n, 1100 * MS);
    check_u64(n->sent[SAMPLES], 1);
    memcpy(message, n->last[ACK], 23);
    message[26] = 2;
    net_inject(n, 0, 1, message, 27);
    message[2] = CANCEL; /* with something behind it */
    net_inject(n, 0, 1, message, 27);
    net_run(n, 2 * MS);
    net_stats(n, 1, &s);
    check_u64(s.broken, 2);
    net_settle(n);
    check_done(n, k);
    net_close(n);
}

static bool is_never(struct net *n, unsigned from, unsigned to, uint8_t kind)
{
    (void)n;
    (void)from;
    (void)to;
    return kind != ACK && kind != CANCEL;
}

/* Seven tries have failed when it ends; now others count. */
static void after_a_bad_while_the_end_is_told_all_the_same(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 8, SEC);
    net_run(n, 10 * MS);
    n->filter = is_no_ack;
    net_run(n, 7800 * MS);
    n->filter = NULL;
    net_settle(n);
    check_done(n, k);
    net_close(n);
}

static void an_old_acknowledgement_acknowledges_nothing_new(void **state)
{
    (void)state;
    struct remote_stats s;
    struct net *n = net_open(check_seed());
    unsigned k = net_ask(n, 0, 1, 3, SEC);
    net_run(n, 1100 * MS);
    check_u64(n->sent[SAMPLES], 1);
    uint8_t message[64];
    size_t len = n->last_len[ACK];
    memcpy(message, n->last[ACK], len);
    n->filter = is_never;
    net_run(n, SEC);
    check_u64(n->sent[SAMPLES], 2);
    net_inject(n, 0, 1, message, len);
    net_run(n, 300 * MS);
    check_u64(n->sent[SAMPLES], 2);
    net_stats(n, 1, &s);
    check_u64(s.duplicates, 1);
    n->filter = NULL;
    net_settle(n);
    check_done(n, k);
    net_close(n);
}

/* A coordinator that acknowledges an end instead of taking it. */
static void an_end_is_not_told_for_ever(void **state)
{
    (void)state;
    struct remote_stats s;
    uint8_t message[64] = {0};
    struct net *n = net_open(check_seed());
    net_ask(n, 0, 1, 1, SEC);
    net_run(n, 10 * MS);
    memcpy(message, n->last[TAKEN], 23);
    message[2] = ACK;
    message[26] = 1;
    n->filter = is_never;
    net_run(n, SEC);
    n->nodes[0].is_cut = true;
    for (unsigned i = 0; i < 31; i++) {
        net_stats(n, 1, &s);
        check_u64(s.runs_open, i < 30);
        net_inject(n, 0, 1, message, 27);
        net_run(n, SEC);
    }
    check_true(n->sent[END] > 25);
    net_close(n);
}

static void a_request_above_our_limits_is_a_bad_target(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    n->nodes[1].is_cut = true;
    unsigned k = net_ask(n, 0, 1, 5, SEC);
    n->nodes[1].is_cut = false;
    uint8_t *count = n->last[ASK] + 23 + 1 + 5 + 1 + 1 + 3;
    check_u64(count[3], 5);
    count[2] = 4;  /* 1029 */
    n->busy = 100; /* the refusal has to wait, too */
    net_inject(n, 0, 1, n->last[ASK], n->last_len[ASK]);
    net_run(n, 50 * MS);
    n->busy = 0;
    net_run(n, 20 * MS);
    check_ended(n, k, ONEOFF_BAD_TARGET);
    check_u64(n->asks[k].starts, 0);
    net_close(n);
}

static void other_messages_are_left_to_others(void **state)
{
    (void)state;
    struct net *n = net_open(check_seed());
    struct remote *r = n->nodes[0].remote;
    const struct addr *from = &n->nodes[1].addr;
    check_false(remote_on_message(r, n->now_ns, from, span_of("\xa1\1\1", 3)));
    check_false(remote_on_message(r, n->now_ns, from, span_of("", 0)));
    check_true(remote_on_message(r, n->now_ns, from, span_of("\xa2", 1)));
    net_close(n);
}

/* ---- any network ---- */

static uint64_t up_to(struct rng *rng, uint64_t n)
{
    return rng_below(rng, n + 1);
}

static void make_bad(struct net *n)
{
    n->lose = rng_below(&n->rng, 3) ? (unsigned)up_to(&n->rng, 40) : 0;
    n->repeat = rng_below(&n->rng, 2) ? (unsigned)up_to(&n->rng, 40) : 0;
    n->busy = rng_below(&n->rng, 3) ? 0 : (unsigned)up_to(&n->rng, 60);
    n->delay_min_ns = up_to(&n->rng, 50 * MS);
    n->delay_max_ns = n->delay_min_ns +
                      up_to(&n->rng, rng_below(&n->rng, 2) ? 50 * MS : 3 * SEC);
}

static void live(struct net *n)
{
    unsigned events = 5 + (unsigned)rng_below(&n->rng, 20);
    for (unsigned i = 0; i < events; i++) {
        unsigned a = (unsigned)rng_below(&n->rng, NET_NODES), k;
        unsigned b =
            (a + 1 + (unsigned)rng_below(&n->rng, NET_NODES - 1)) % NET_NODES;
        uint64_t what = rng_below(&n->rng, 10);
        if (what < 5)
            net_try_ask(n, a, b, 1 + (uint32_t)up_to(&n->rng, 20),
                        (10 + up_to(&n->rng, 500)) * MS, &k);
        else if (what < 6 && n->n_asks > 0)
            net_drop(n, (unsigned)rng_below(&n->rng, n->n_asks));
        else if (what < 7)
            n->nodes[a].is_cut = !n->nodes[a].is_cut;
        else if (what < 8)
            net_set_state(n, a, b, (enum member_state)rng_below(&n->rng, 3));
        else
            n->nodes[b].answer =
                rng_below(&n->rng, 3) ? ONEOFF_RUNNING : ONEOFF_REFUSED;
        net_run(n, up_to(&n->rng, 1000) * MS);
    }
}

/* Each ask ends once or was dropped; who did not answer is known in time. */
static void check_all(const struct net *n)
{
    for (unsigned k = 0; k < n->n_asks; k++) {
        const struct net_ask *a = &n->asks[k];
        uint64_t end_ns = a->taken ? a->taken_ns +
                                         oneoff_request_lasts_ns(&a->request) +
                                         4 * REMOTE_SILENT_NS
                                   : a->asked_ns + REMOTE_ANSWER_NS;
        check_u64(a->ends + a->is_dropped, 1);
        if (!a->is_dropped)
            check_true(a->ended_ns <= end_ns + SEC);
        if (a->ends && a->state == ONEOFF_DONE && n->spoil == 0)
            check_u64(a->samples + a->lost + a->missed, a->request.count);
        check_u64(n->spoil == 0 && a->lost, 0); /* nothing overflowed */
    }
    check_quiet(n);
}

static void whatever_the_network_does_each_ask_ends_once(void **state)
{
    (void)state;
    unsigned done = 0, unreachable = 0, refused = 0, dropped = 0;
    for (uint64_t seed = 0; seed < 1500; seed++) {
        struct net *n = net_open(check_seed() * 1000003 + seed);
        make_bad(n);
        live(n);
        net_settle(n);
        check_all(n);
        for (unsigned k = 0; k < n->n_asks; k++) {
            done += n->asks[k].state == ONEOFF_DONE;
            unreachable += n->asks[k].state == ONEOFF_UNREACHABLE;
            refused += n->asks[k].state == ONEOFF_REFUSED;
            dropped += n->asks[k].is_dropped;
        }
        net_close(n);
    }
    check_true(done > 4000);
    check_true(unreachable > 1000);
    check_true(refused > 500);
    check_true(dropped > 500);
}

static void what_is_spoilt_on_the_way_breaks_nothing(void **state)
{
    (void)state;
    uint64_t broken = 0;
    for (uint64_t seed = 0; seed < 800; seed++) {
        struct net *n = net_open(check_seed() * 1000003 + seed);
        make_bad(n);
        n->spoil = 1 + (unsigned)rng_below(&n->rng, 60);
        live(n);
        n->spoil = 1;
        net_settle(n);
        check_all(n);
        for (unsigned i = 0; i < NET_NODES; i++) {
            struct remote_stats s;
            net_stats(n, i, &s);
            broken += s.broken;
        }
        net_close(n);
    }
    check_true(broken > 800);
}

/* With few losses and without cuts all samples arrive. */
static void on_a_middling_network_all_samples_come(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct net *n = net_open(check_seed() * 1000003 + seed);
        n->lose = (unsigned)up_to(&n->rng, 3);
        n->repeat = 20;
        n->delay_min_ns = 1;
        n->delay_max_ns = up_to(&n->rng, 300 * MS) + 1;
        for (unsigned i = 0; i < 10; i++) {
            net_ask(n, i % NET_NODES, (i + 1 + i / 5) % NET_NODES,
                    1 + (uint32_t)up_to(&n->rng, 100),
                    (10 + up_to(&n->rng, 100)) * MS);
            net_run(n, up_to(&n->rng, 500) * MS);
        }
        net_settle(n);
        for (unsigned k = 0; k < n->n_asks; k++)
            check_done(n, k);
        check_quiet(n);
        net_close(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ask_brings_all_samples_and_the_end),
        cmocka_unit_test(samples_come_as_they_happen),
        cmocka_unit_test(many_samples_go_in_few_messages),
        cmocka_unit_test(long_samples_are_split),
        cmocka_unit_test(all_ask_all),
        cmocka_unit_test(who_will_not_says_why),
        cmocka_unit_test(whoever_does_not_answer_is_unreachable_in_time),
        cmocka_unit_test(only_live_members_of_ours_are_asked),
        cmocka_unit_test(an_executor_that_dies_is_unreachable_within_a_second),
        cmocka_unit_test(
            an_executor_that_falls_silent_is_waited_for_until_then),
        cmocka_unit_test(no_executor_is_waited_for_without_end),
        cmocka_unit_test(late_answers_change_nothing),
        cmocka_unit_test(a_place_is_not_the_member_that_was_there),
        cmocka_unit_test(a_drop_stops_the_run),
        cmocka_unit_test(a_drop_before_the_answer_stops_the_run_too),
        cmocka_unit_test(a_cancel_that_is_lost_is_repeated_when_it_is_needed),
        cmocka_unit_test(a_drop_from_within_the_sink_is_the_last_word),
        cmocka_unit_test(what_is_dropped_has_no_end_even_if_it_had_one),
        cmocka_unit_test(an_old_number_means_nothing),
        cmocka_unit_test(an_end_that_was_not_acknowledged_is_told_again),
        cmocka_unit_test(an_ask_is_known_by_its_id_and_number),
        cmocka_unit_test(an_old_run_means_nothing),
        cmocka_unit_test(a_host_that_makes_too_many_samples_is_cut_short),
        cmocka_unit_test(samples_that_come_twice_are_counted_and_not_taken),
        cmocka_unit_test(the_first_of_each_kind_may_be_lost),
        cmocka_unit_test(a_coordinator_that_dies_has_its_run_stopped),
        cmocka_unit_test(a_coordinator_that_is_silent_is_given_up),
        cmocka_unit_test(what_is_held_is_bounded_and_the_rest_is_counted),
        cmocka_unit_test(one_coordinator_has_a_quarter_of_the_runs),
        cmocka_unit_test(all_coordinators_have_so_many_runs),
        cmocka_unit_test(what_could_not_be_remembered_is_not_begun),
        cmocka_unit_test(refusals_that_wait_are_bounded),
        cmocka_unit_test(longer_messages_are_not_read),
        cmocka_unit_test(one_coordinator_has_sixty_a_minute),
        cmocka_unit_test(asks_are_bounded),
        cmocka_unit_test(messages_that_find_no_stream_wait),
        cmocka_unit_test(an_ask_that_is_heard_again_is_not_run_again),
        cmocka_unit_test(two_coordinators_may_use_the_same_numbers),
        cmocka_unit_test(an_end_that_was_lost_is_told_to_who_asks_again),
        cmocka_unit_test(an_end_from_memory_says_how_many_samples_there_were),
        cmocka_unit_test(an_answer_that_was_lost_is_given_again),
        cmocka_unit_test(nobody_speaks_for_another),
        cmocka_unit_test(lies_of_an_executor_are_not_taken),
        cmocka_unit_test(acknowledging_what_was_never_sent_is_not_taken),
        cmocka_unit_test(after_a_bad_while_the_end_is_told_all_the_same),
        cmocka_unit_test(an_old_acknowledgement_acknowledges_nothing_new),
        cmocka_unit_test(an_end_is_not_told_for_ever),
        cmocka_unit_test(a_request_above_our_limits_is_a_bad_target),
        cmocka_unit_test(other_messages_are_left_to_others),
        cmocka_unit_test(whatever_the_network_does_each_ask_ends_once),
        cmocka_unit_test(what_is_spoilt_on_the_way_breaks_nothing),
        cmocka_unit_test(on_a_middling_network_all_samples_come),
    };
    return cmocka_run_group_tests_name("remote", tests, NULL, NULL);
}
