/* Executions between a loop of attempts that is made up here, where none ends
 * before the test says so. Real time, but little of it. */
#include "prober/oneoff_uv.h"

#include <stdlib.h>
#include <string.h>

#include "prober/probe_loop_uv.h"
#include "prober/target_policy_config.h"
#include "test/check.h"

#define MS           UINT64_C(1000000)
#define ATTEMPTS_MAX 64
#define ASKED_MAX    64

struct probe_warm {
    struct probe_loop *loop;
    const struct target *target;
    bool is_busy;
};

struct probe_loop {
    struct probe_loop_config c;
    size_t n, warm_open;
    struct probe_attempt attempts[ATTEMPTS_MAX];
};

struct audit {
    unsigned allowed, denied;
    bool is_broken;
};

/* What one who asked has heard. */
struct asked {
    struct oneoff *e;
    unsigned samples, ends;
    enum oneoff_state state;
    uint32_t missed;
};

static struct world {
    uv_loop_t loop;
    struct config config;
    struct roster *roster;
    struct target_policy policy;
    struct audit audit;
    struct oneoffs *all;
    struct probe_loop *newest;
    unsigned n_loops, n_busy;
    size_t n_asked;
    struct asked asked[ASKED_MAX];
} w;

/* ---- a loop of attempts ---- */

struct probe_loop *probe_loop_open(const struct probe_loop_config *c,
                                   struct errmsg *msg)
{
    struct probe_loop *l = calloc(1, sizeof(*l));
    (void)msg;
    check_true(l != NULL);
    l->c = *c;
    w.newest = l;
    w.n_loops++;
    return l;
}

static void end_at(struct probe_loop *l, size_t i, uint8_t outcome)
{
    struct sample s;
    sample_init(&s);
    s.outcome = outcome;
    s.job = l->attempts[i].job;
    check_true(l->attempts[i].target->text != NULL); /* outlives it */
    l->attempts[i] = l->attempts[--l->n];
    l->c.done(l->c.arg, &s);
}

void probe_loop_close(struct probe_loop *l)
{
    while (l->n > 0)
        end_at(l, 0, OUTCOME_CANCELLED);
    w.n_loops--;
    free(l);
}

int probe_loop_cold(struct probe_loop *l, const struct probe_attempt *a)
{
    check_true(l->n < ATTEMPTS_MAX);
    if (l->n == l->c.in_flight_max) {
        w.n_busy++;
        return ERR_BUSY;
    }
    l->attempts[l->n++] = *a;
    return 0;
}

struct probe_warm *probe_warm_open(struct probe_loop *l,
                                   const struct target *target,
                                   uint8_t protocol)
{
    struct probe_warm *warm = calloc(1, sizeof(*warm));
    (void)protocol;
    check_true(warm != NULL);
    *warm = (struct probe_warm){.loop = l, .target = target};
    return warm;
}

void probe_warm_close(struct probe_warm *warm)
{
    check_true(!warm || warm->target->text != NULL);
    free(warm);
}

int probe_warm_attempt(struct probe_warm *warm, const struct probe_attempt *a)
{
    return probe_loop_cold(warm->loop, a);
}

bool probe_warm_needs_setup(const struct probe_warm *warm)
{
    (void)warm;
    return false;
}

void probe_loop_stats(const struct probe_loop *l, struct probe_loop_stats *s)
{
    *s = (struct probe_loop_stats){.in_flight = l->n};
}

int audit_write(struct audit *a, const char *event,
                const struct audit_field *fields)
{
    check_text(event, "probe_address");
    for (; strcmp(fields->key, "decision") != 0; fields++)
        ;
    a->allowed += !strcmp(fields->text, "allowed");
    a->denied += !strcmp(fields->text, "denied");
    return a->is_broken ? ERR_SYS : 0;
}

/* ---- who asks ---- */

static void on_sample(void *arg, const struct sample *s,
                      const struct sample_names *names)
{
    struct asked *a = arg;
    (void)s;
    (void)names;
    check_u64(a->ends, 0);
    a->samples++;
}

static void on_end(void *arg, enum oneoff_state state, uint32_t missed)
{
    struct asked *a = arg;
    a->ends++;
    a->e = NULL;
    a->state = state;
    a->missed = missed;
}

static struct asked *ask_as(uint64_t owner, const char *target, uint32_t count,
                            uint64_t timeout_ms, enum oneoff_state want)
{
    struct asked *a = &w.asked[w.n_asked++];
    const struct oneoff_sink sink = {on_sample, on_end, a, "id", owner};
    struct oneoff_request r;
    enum oneoff_state state;
    check_true(w.n_asked <= ASKED_MAX);
    oneoff_request_init(&r);
    strcpy(r.target, target);
    r.count = count;
    r.interval_ns = 10 * MS;
    r.timeout_ns = timeout_ms * MS;
    a->e = oneoff_start(w.all, &r, &sink, &state);
    check_u64(state, want);
    check_true((a->e != NULL) == (want == ONEOFF_RUNNING));
    return a;
}

static struct asked *ask(const char *target, uint32_t count,
                         uint64_t timeout_ms)
{
    return ask_as(1, target, count, timeout_ms, ONEOFF_RUNNING);
}

/* Turns of the loop, each after what it says it has to wait for. */
static unsigned run(uint64_t ms)
{
    unsigned turns = 0;
    for (uint64_t end_ns = uv_hrtime() + ms * MS; uv_hrtime() < end_ns;) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        turns++;
        uv_update_time(&w.loop);
        int wait_ms = uv_backend_timeout(&w.loop);
        if (!uv_loop_alive(&w.loop) || wait_ms < 0 || wait_ms > 5)
            wait_ms = 5;
        if (wait_ms > 0)
            uv_sleep((unsigned)wait_ms);
    }
    return turns;
}

/* Everything in flight ends. */
static void answer_all(void)
{
    while (w.newest->n > 0)
        end_at(w.newest, 0, OUTCOME_EOF);
}

static void reload(void)
{
    struct errmsg msg = {""};
    check_i64(oneoffs_reload(w.all, &w.config, w.roster, &msg), 0);
}

static int setup(void **state)
{
    static const struct addr_policy anywhere;
    static char allow[1][CONFIG_ENDPOINT_SIZE] = {"198.51.100.0/24"};
    struct errmsg msg = {""};
    (void)state;
    memset(&w, 0, sizeof(w));
    check_i64(uv_loop_init(&w.loop), 0);
    strcpy(w.config.node.name, "a-1");
    strcpy(w.config.node.zone, "a");
    w.config.probe.ip = 4;
    w.config.control.allow = allow;
    w.config.control.n_allow = 1;
    w.config.control.requests_max = 16;
    w.config.control.in_flight_max = 8;
    w.config.control.target_per_s = 1000;
    check_i64(target_policy_fill(&w.policy, &w.config, NULL, 0, &msg), 0);
    w.policy.is_local_known = true;
    w.roster = roster_open(&w.config, &anywhere);
    check_true(w.roster != NULL);
    const struct oneoffs_config c = {.loop = &w.loop,
                                     .config = &w.config,
                                     .roster = w.roster,
                                     .policy = &w.policy,
                                     .audit = &w.audit};
    w.all = oneoffs_open(&c, &msg);
    check_true(w.all != NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    oneoffs_close(w.all);
    while (uv_run(&w.loop, UV_RUN_DEFAULT))
        ;
    check_i64(uv_loop_close(&w.loop), 0);
    check_u64(w.n_loops, 0);
    for (size_t i = 0; i < w.n_asked; i++) /* each heard its end once */
        check_u64(w.asked[i].ends, w.asked[i].state != 0);
    roster_close(w.roster);
    return 0;
}

/* ---- claims ---- */

static void
slots_without_room_are_missed_in_time_and_nothing_spins(void **state)
{
    (void)state;
    w.config.control.in_flight_max = 1;
    struct asked *stuck = ask("http://198.51.100.1/", 1, 5000);
    run(5);
    check_u64(w.newest->n, 1);
    struct asked *late = ask("http://198.51.100.2/", 3, 20);
    unsigned turns = run(100);
    check_u64(late->ends, 1);
    check_u64(late->state, ONEOFF_DONE);
    check_u64(late->missed, 3);
    check_u64(stuck->ends, 0);
    check_true(turns < 60);
}

static void what_is_left_of_a_request_without_room_waits_idly(void **state)
{
    (void)state;
    w.config.control.in_flight_max = 1;
    (void)ask("http://198.51.100.1/", 1, 5000);
    run(5);
    struct asked *waiting = ask("http://198.51.100.2/", 2, 5000);
    check_true(run(100) < 60);
    answer_all();
    run(30);
    answer_all();
    run(30);
    answer_all();
    run(10);
    check_u64(waiting->samples, 2);
    check_u64(waiting->missed, 0);
    check_u64(waiting->state, ONEOFF_DONE);
}

static void the_rate_of_a_host_can_make_the_last_slot_missed(void **state)
{
    (void)state;
    w.config.control.target_per_s = 1;
    struct asked *first = ask("http://198.51.100.1/", 1, 20);
    struct asked *second = ask("http://198.51.100.1/", 1, 20);
    run(5);
    answer_all();
    run(60);
    check_u64(first->samples + second->samples, 1);
    check_u64(first->missed + second->missed, 1);
    check_u64(first->state, ONEOFF_DONE);
    check_u64(second->state, ONEOFF_DONE);
}

/* The loop is about to dial: may it? */
static void dial_all(const char *address)
{
    struct addr a;
    check_i64(addr_parse(&a, address), 0);
    for (size_t i = 0; i < w.newest->n; i++) {
        const struct target_dial *dial = &w.newest->attempts[i].target->dial;
        check_true(dial->may_dial(dial->arg, &a));
    }
}

static void an_address_has_one_rate_however_it_is_written(void **state)
{
    static const char *const targets[] = {
        "http://198.51.100.1/",
        "http://[::ffff:198.51.100.1]/",
        "http://[0::ffff:c633:6401]/",
    };
    unsigned samples = 0;
    (void)state;
    w.config.control.target_per_s = 1;
    for (size_t i = 0; i < 3; i++)
        (void)ask(targets[i], 1, 20);
    run(5);
    answer_all();
    run(60);
    for (size_t i = 0; i < 3; i++)
        samples += w.asked[i].samples;
    check_u64(samples, 1);
    (void)ask("http://198.51.100.2/", 1, 20); /* another one */
    (void)ask("http://198.51.100.1:443/", 1, 20);
    run(5);
    check_u64(w.newest->n, 2);
}

static void names_of_an_address_share_its_rate(void **state)
{
    (void)state;
    w.config.control.target_per_s = 3;
    (void)ask("http://x.example/", 5, 20);
    (void)ask("http://y.example/", 5, 20);
    run(5); /* where they lead is not known before the first of each */
    check_u64(w.newest->n, 2);
    dial_all("198.51.100.1:80");
    dial_all("198.51.100.1:80"); /* once, whoever looks twice */
    answer_all();
    run(120); /* of three a second one is left */
    check_u64(w.newest->n, 1);
    answer_all();
    run(10);
    check_u64(w.asked[0].samples + w.asked[1].samples, 3);
    check_u64(w.asked[0].missed + w.asked[1].missed, 7);
}

static void a_full_engine_of_before_a_reload_stops_nobody_else(void **state)
{
    (void)state;
    w.config.control.in_flight_max = 1;
    reload();
    struct asked *old = ask("http://198.51.100.1/", 2, 5000);
    run(20); /* one of the two is in flight */
    struct probe_loop *before = w.newest;
    check_u64(before->n, 1);
    w.config.control.in_flight_max = 8;
    reload();
    struct asked *young = ask("http://198.51.100.2/", 1, 5000);
    unsigned turns = run(60);
    check_true(turns < 60);
    check_true(w.n_busy > 0 && w.n_busy < 6); /* not asked all the time */
    check_u64(before->n, 1);
    check_u64(w.newest->n, 1);
    answer_all();
    end_at(before, 0, OUTCOME_EOF);
    run(50);
    check_u64(young->state, ONEOFF_DONE);
    check_u64(before->n, 1); /* the second of the two */
    end_at(before, 0, OUTCOME_EOF);
    run(10);
    check_u64(old->samples, 2);
    check_u64(old->state, ONEOFF_DONE);
    check_u64(w.n_loops, 1);
    struct oneoffs_stats stats;
    oneoffs_stats(w.all, &stats);
    check_u64(stats.in_flight, 0);
    check_u64(stats.attempts, 3);
}

static void one_asker_leaves_slots_to_others(void **state)
{
    (void)state;
    struct asked *greedy = ask("http://198.51.100.1/", 20, 5000);
    run(250);
    check_u64(w.newest->n, 6);
    struct asked *more = ask("http://198.51.100.3/", 20, 5000);
    run(10);
    check_u64(w.newest->n, 6);
    struct asked *other =
        ask_as(2, "http://198.51.100.2/", 2, 5000, ONEOFF_RUNNING);
    check_true(run(30) < 30);
    check_u64(w.newest->n, 8);
    end_at(w.newest, 7, OUTCOME_EOF);
    end_at(w.newest, 6, OUTCOME_EOF);
    run(10);
    check_u64(other->state, ONEOFF_DONE);
    check_u64(w.newest->n, 6);
    end_at(w.newest, 0, OUTCOME_EOF);
    run(10);
    check_u64(w.newest->n, 6);
    check_u64(greedy->ends + more->ends, 0);
}

static void one_asker_leaves_places_to_others(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 14; i++)
        (void)ask("http://198.51.100.1/", 1, 5000);
    (void)ask_as(1, "http://198.51.100.1/", 1, 5000, ONEOFF_BUSY);
    (void)ask_as(2, "http://198.51.100.1/", 1, 5000, ONEOFF_RUNNING);
    (void)ask_as(2, "http://198.51.100.1/", 1, 5000, ONEOFF_RUNNING);
    (void)ask_as(2, "http://198.51.100.1/", 1, 5000, ONEOFF_BUSY);
}

/* Whoever runs on an old engine keeps it, and its end frees it; nothing is
 * heard after an end, nor twice. */
static void reloads_cancels_and_ends_come_in_any_order(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        struct asked *a =
            i % 15 < 13 ? ask("http://198.51.100.1/", 3, 5000) : &w.asked[0];
        run(2);
        if (i % 3 == 0)
            reload();
        if (i % 4 == 1 && a->e)
            oneoff_cancel(a->e);
        if (i % 5 == 2)
            answer_all();
        for (size_t k = 0; k < w.n_asked && i % 15 == 14; k++) {
            if (w.asked[k].e)
                oneoff_cancel(w.asked[k].e);
        }
        run(2);
        check_true(w.n_loops <= 18);
    }
}

static bool may_dial(const char *address)
{
    const struct target_dial *dial = &w.newest->attempts[0].target->dial;
    struct addr a;
    check_i64(addr_parse(&a, address), 0);
    return dial->may_dial(dial->arg, &a);
}

static void what_is_dialled_is_judged_by_the_policy_in_force(void **state)
{
    (void)state;
    static char hosts[1][CONFIG_ENDPOINT_SIZE] = {"good.test"};
    struct errmsg msg = {""};
    w.config.control.allow = hosts;
    check_i64(target_policy_fill(&w.policy, &w.config, NULL, 0, &msg), 0);
    struct asked *a = ask("http://good.test/", 1, 5000);
    run(5);
    check_u64(w.newest->n, 1);
    check_true(may_dial("203.0.113.1:80"));
    check_true(may_dial("203.0.113.1:80"));
    check_u64(w.audit.allowed, 1); /* told once */
    check_false(may_dial("203.0.113.1:81"));
    check_u64(w.audit.denied, 1);
    strcpy(hosts[0], "198.51.100.0/24");
    check_i64(target_policy_fill(&w.policy, &w.config, NULL, 0, &msg), 0);
    check_false(may_dial("203.0.113.1:80"));
    check_u64(w.audit.denied, 2); /* though it was told as allowed before */
    w.config.control.n_allow = 0;
    check_i64(target_policy_fill(&w.policy, &w.config, NULL, 0, &msg), 0);
    check_false(may_dial("198.51.100.1:80"));
    check_u64(w.audit.denied, 3);
    answer_all();
    run(10);
    check_u64(a->state, ONEOFF_DENIED);
    check_u64(a->samples, 0);
}

/* Not the second time either, while the first attempt is still going. */
static void what_was_not_written_is_not_taken_for_told(void **state)
{
    (void)state;
    static char hosts[1][CONFIG_ENDPOINT_SIZE] = {"good.test"};
    struct errmsg msg = {""};
    w.config.control.allow = hosts;
    check_i64(target_policy_fill(&w.policy, &w.config, NULL, 0, &msg), 0);
    struct asked *a = ask("http://good.test/", 1, 5000);
    run(5);
    w.audit.is_broken = true;
    check_false(may_dial("203.0.113.1:80"));
    check_false(may_dial("203.0.113.1:80"));
    w.audit.is_broken = false;
    check_true(may_dial("203.0.113.1:80"));
    answer_all();
    run(10);
    check_u64(a->state, ONEOFF_DENIED); /* once is enough */
}

static void what_cannot_be_written_is_not_dialled(void **state)
{
    (void)state;
    struct asked *a = ask("http://198.51.100.1/", 1, 5000);
    run(5);
    w.audit.is_broken = true;
    check_true(may_dial("198.51.100.1:80")); /* is there already */
    (void)ask_as(1, "http://198.51.100.1/", 1, 5000, ONEOFF_DENIED);
    answer_all();
    run(10);
    check_u64(a->samples, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CLAIM(slots_without_room_are_missed_in_time_and_nothing_spins),
        CLAIM(what_is_left_of_a_request_without_room_waits_idly),
        CLAIM(the_rate_of_a_host_can_make_the_last_slot_missed),
        CLAIM(an_address_has_one_rate_however_it_is_written),
        CLAIM(names_of_an_address_share_its_rate),
        CLAIM(a_full_engine_of_before_a_reload_stops_nobody_else),
        CLAIM(one_asker_leaves_slots_to_others),
        CLAIM(one_asker_leaves_places_to_others),
        CLAIM(what_is_dialled_is_judged_by_the_policy_in_force),
        CLAIM(what_was_not_written_is_not_taken_for_told),
        CLAIM(what_cannot_be_written_is_not_dialled),
        CLAIM(reloads_cancels_and_ends_come_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
