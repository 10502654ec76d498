/* Inquiries on a host that lives in memory: admission, events, ends. */
#include "test/inquiry_world.h"

#include "proto/base/rng.h"
#include "test/api_world.h"

static int setup(void **state)
{
    struct iw *w = malloc(sizeof(*w));
    if (!w)
        return -1;
    iw_init(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    iw_fini(*state);
    free(*state);
    return 0;
}

static struct inquiry *begin(struct iw *w, const struct inquiry_ask *ask)
{
    enum inquiry_refusal refusal;
    struct errmsg msg = {{0}};
    struct inquiry *q = inquiry_start(w->all, ask, iw_wake, w, &refusal, &msg);
    if (!q)
        print_error("refused: %s %s\n", inquiry_refusal_code(refusal),
                    msg.text);
    check_true(q != NULL);
    check_u64(refusal, INQUIRY_OK);
    return q;
}

static enum inquiry_refusal refusal_of(struct iw *w,
                                       const struct inquiry_ask *ask)
{
    enum inquiry_refusal refusal;
    struct errmsg msg = {{0}};
    struct inquiry *q = inquiry_start(w->all, ask, iw_wake, w, &refusal, &msg);
    check_true((q != NULL) == (refusal == INQUIRY_OK));
    if (refusal == INQUIRY_BAD || refusal == INQUIRY_UNKNOWN)
        check_true(strchr(msg.text, ':') != NULL);
    if (q)
        inquiry_close(q);
    iw_finish_cancelled(w);
    return refusal;
}

/* One here, asked for by somebody who may. */
static struct inquiry *begin_here(struct iw *w)
{
    struct inquiry_ask ask;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    return begin(w, &ask);
}

/* From `n` nodes, this one first. */
static struct inquiry *begin_all(struct iw *w, size_t n)
{
    struct inquiry_ask ask;
    iw_set_executors(w, n);
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    return begin(w, &ask);
}

static void expect_sample(struct inquiry *q, const char *node,
                          int64_t connect_ns)
{
    struct inquiry_event e;
    check_i64(inquiry_next(q, &e), 1);
    check_u64(e.kind, INQUIRY_SAMPLE);
    check_text(e.names.from_node, node);
    check_i64(e.sample.phases_ns[PHASE_CONNECT], connect_ns);
}

static void expect_executor(struct inquiry *q, const char *node,
                            enum oneoff_state state)
{
    struct inquiry_event e;
    check_i64(inquiry_next(q, &e), 1);
    check_u64(e.kind, INQUIRY_EXECUTOR);
    check_text(e.executor->node, node);
    check_text(oneoff_state_name(e.executor->state), oneoff_state_name(state));
}

static const struct inquiry_summary *expect_summary(struct inquiry *q)
{
    struct inquiry_event e;
    check_i64(inquiry_next(q, &e), 1);
    check_u64(e.kind, INQUIRY_SUMMARY);
    check_text(e.summary->id, inquiry_id(q));
    check_i64(inquiry_next(q, &(struct inquiry_event){0}), ERR_CLOSED);
    return e.summary;
}

static void expect_nothing(struct inquiry *q)
{
    check_i64(inquiry_next(q, &(struct inquiry_event){0}), 0);
}

/* ---- admission ---- */

static void role_decides_about_each_kind_of_target(void **state)
{
    static const struct {
        const char *target;
        enum oneoff_state found;
        enum target_standing standing;
        enum inquiry_refusal viewer, runner, prober, admin;
    } rows[] = {
        {"spanner", ONEOFF_RUNNING, TARGET_CONFIGURED, INQUIRY_FORBIDDEN, 0, 0,
         0},
        {"b-1", ONEOFF_RUNNING, TARGET_MEMBER, INQUIRY_FORBIDDEN, 0, 0, 0},
        {"https://b-1:7443/", ONEOFF_RUNNING, TARGET_MEMBER, INQUIRY_FORBIDDEN,
         0, 0, 0},
        {"http://x.test/", ONEOFF_RUNNING, TARGET_OTHER, INQUIRY_FORBIDDEN,
         INQUIRY_FORBIDDEN, 0, 0},
        {"nobody", ONEOFF_BAD_TARGET, 0, INQUIRY_FORBIDDEN, INQUIRY_UNKNOWN,
         INQUIRY_UNKNOWN, INQUIRY_UNKNOWN},
        {"http://b-1/", ONEOFF_BAD_TARGET, 0, INQUIRY_BAD, INQUIRY_BAD,
         INQUIRY_BAD, INQUIRY_BAD},
        /* What this node cannot judge is a stranger's. */
        {"http://x.test/", ONEOFF_DENIED, 0, INQUIRY_FORBIDDEN,
         INQUIRY_FORBIDDEN, 0, 0},
        {"b-1", ONEOFF_FAILED, 0, INQUIRY_FAILED, INQUIRY_FAILED,
         INQUIRY_FAILED, INQUIRY_FAILED},
    };
    struct iw *w = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        w->found = rows[i].found;
        w->target.standing = rows[i].standing;
        const enum inquiry_refusal wanted[] = {INQUIRY_FORBIDDEN,
                                               rows[i].viewer, rows[i].runner,
                                               rows[i].prober, rows[i].admin};
        for (enum role role = ROLE_VIEWER; role <= ROLE_ADMIN; role++) {
            struct inquiry_ask ask;
            iw_ask_init(&ask, role, rows[i].target);
            ask.who.key = (uint32_t)(i * 10 + role);
            check_text(inquiry_refusal_code(refusal_of(w, &ask)),
                       inquiry_refusal_code(wanted[role]));
        }
    }
}

/* A name that is configured elsewhere only can be asked for there. */
static void name_unknown_here_is_left_to_others(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    w->found = ONEOFF_BAD_TARGET;
    iw_set_executors(w, 2);
    iw_ask_init(&ask, ROLE_RUNNER, "spanner");
    ask.from.kind = FROM_ALL_ZONES;
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
    check_u64(w->n_asks, 1);
    check_u64(iw_log_count(w, "rule=unknown_here"), 1);
}

static void open_many(struct iw *w, struct inquiry **open, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct inquiry_ask ask;
        iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
        ask.who.key = (uint32_t)(1000 + i);
        open[i] = begin(w, &ask);
    }
}

/* All is wrong; then one thing after the other is mended. */
static void checks_come_in_their_order(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    struct inquiry *open[INQUIRIES_MAX];
    w->config->control.requests_max = INQUIRIES_MAX;
    open_many(w, open, INQUIRIES_MAX);
    inquiries_run(w->all);
    w->all->is_draining = true;
    w->is_audit_broken = true;
    w->can_ask = false;
    iw_set_executors(w, 0);
    iw_ask_init(&ask, ROLE_VIEWER, "http://x.test/");
    ask.from.kind = FROM_ALL_ZONES;
    ask.who.key = 7;
    ask.request.count = 0;
    for (int i = 0; i < 10; i++)
        check_true(principals_take_request(w->principals, iw_now_ns, &ask.who));
    check_u64(refusal_of(w, &ask), INQUIRY_DRAINING);
    w->all->is_draining = false;
    check_u64(refusal_of(w, &ask), INQUIRY_BAD);
    ask.request.count = 1;
    check_u64(refusal_of(w, &ask), INQUIRY_FORBIDDEN);
    ask.who.role = ROLE_PROBER;
    check_u64(refusal_of(w, &ask), INQUIRY_UNKNOWN);
    iw_set_executors(w, 2);
    check_u64(refusal_of(w, &ask), INQUIRY_RATE);
    ask.who.key = 8;
    check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
    inquiry_close(open[0]);
    iw_finish_cancelled(w);
    check_u64(refusal_of(w, &ask), INQUIRY_NO_MESH);
    w->can_ask = true;
    check_u64(refusal_of(w, &ask), INQUIRY_NO_AUDIT);
    w->is_audit_broken = false;
    check_u64(w->n_asks, 0);
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
    check_u64(w->n_asks, 1);
    for (size_t i = 1; i < INQUIRIES_MAX; i++)
        inquiry_close(open[i]);

    struct inquiries_stats stats;
    inquiries_stats(w->all, &stats);
    for (int r = INQUIRY_BAD; r < INQUIRY_REFUSAL_N; r++) {
        if (r != INQUIRY_DENIED && r != INQUIRY_FAILED)
            check_u64(stats.refused[r], 1);
    }
    check_u64(stats.started, INQUIRIES_MAX + 1);
    check_u64(stats.open, 0);
}

static void configuration_can_allow_fewer_at_once(void **state)
{
    struct iw *w = *state;
    struct inquiry *open[3];
    struct inquiry_ask ask;
    w->config->control.requests_max = 3;
    open_many(w, open, 3);
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
    for (int i = 0; i < 3; i++)
        inquiry_close(open[i]);
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
}

static void nothing_is_started_without_its_audit_line(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    iw_set_executors(w, 3);
    w->is_audit_broken = true;
    iw_ask_init(&ask, ROLE_ADMIN, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    check_u64(refusal_of(w, &ask), INQUIRY_NO_AUDIT);
    check_u64(w->n_runs + w->n_asks, 0);
}

static void nodes_per_zone_has_its_range(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.per_zone = 0;
    check_u64(refusal_of(w, &ask), INQUIRY_BAD);
    ask.per_zone = 17;
    check_u64(refusal_of(w, &ask), INQUIRY_BAD);
    ask.per_zone = 16;
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
}

static void set_from(struct inquiry_ask *ask, enum remote_from_kind kind,
                     const char *name)
{
    ask->from.kind = kind;
    snprintf(ask->from.name, sizeof(ask->from.name), "%s", name);
}

static void without_a_mesh_there_is_this_node(void **state)
{
    static const struct {
        enum remote_from_kind kind;
        const char *name;
        unsigned per_zone;
        enum inquiry_refusal wanted;
    } rows[] = {
        {FROM_SELF, "", 1, INQUIRY_OK},
        {FROM_NODE, "a-1", 1, INQUIRY_OK},
        {FROM_NODE, "b-1", 1, INQUIRY_NO_MESH},
        {FROM_ZONE, "a", 1, INQUIRY_OK},
        {FROM_ZONE, "a", 2, INQUIRY_NO_MESH},
        {FROM_ZONE, "b", 1, INQUIRY_NO_MESH},
        {FROM_ALL_ZONES, "", 1, INQUIRY_NO_MESH},
    };
    struct iw *w = *state;
    w->has_mesh = false;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct inquiry_ask ask;
        iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
        set_from(&ask, rows[i].kind, rows[i].name);
        ask.per_zone = rows[i].per_zone;
        check_u64(refusal_of(w, &ask), rows[i].wanted);
    }
}

/* Alone in the mesh: nobody else is to do anything, so nothing is sealed. */
static void encryption_matters_only_if_others_are_asked(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    w->can_ask = false;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    iw_set_executors(w, 1);
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
    iw_set_executors(w, 2);
    check_u64(refusal_of(w, &ask), INQUIRY_NO_MESH);
    set_from(&ask, FROM_NODE, "a-1");
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
}

static void refusals_have_their_status(void **state)
{
    (void)state;
    static const unsigned statuses[INQUIRY_REFUSAL_N] = {
        200, 400, 403, 403, 404, 429, 429, 409, 503, 503, 500};
    for (int r = 0; r < INQUIRY_REFUSAL_N; r++) {
        check_u64(inquiry_refusal_status((enum inquiry_refusal)r), statuses[r]);
        check_true(inquiry_refusal_code((enum inquiry_refusal)r)[0]);
        check_true(r == 0 || inquiry_refusal_text((enum inquiry_refusal)r)[0]);
    }
}

static void ask_all_about(struct inquiry_ask *ask, const char *target)
{
    iw_ask_init(ask, ROLE_ADMIN, target);
    ask->from.kind = FROM_ALL_ZONES;
}

static void check_executors(struct inquiry *q, const char *wanted)
{
    char got[256] = "";
    for (size_t i = 0; i < q->n; i++) {
        strcat(got, i > 0 ? " " : "");
        strcat(got, q->executors[i].node);
    }
    check_text(got, wanted);
    inquiry_close(q);
}

/* In its zone another does it; alone in its zone it is left out. */
static void nobody_is_asked_to_probe_itself(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    w->target.standing = TARGET_MEMBER;
    strcpy(w->target.name, "b-1");
    iw_set_executors(w, 3);
    ask_all_about(&ask, "b-1");
    check_executors(begin(w, &ask), "a-1 c-1");
    w->n_executors = 4; /* the mesh has another one in b, but one a zone */
    w->executors[3] = (struct remote_executor){
        .member = 9, .node = "b-2", .zone = "b", .is_reachable = true};
    check_executors(begin(w, &ask), "a-1 c-1 b-2");
    /* By its URL it is the same node. */
    ask_all_about(&ask, "http://10.0.0.2:7443/probe");
    check_executors(begin(w, &ask), "a-1 c-1 b-2");
    /* This node does not know itself by name. */
    iw_set_executors(w, 3);
    w->found = ONEOFF_BAD_TARGET;
    ask_all_about(&ask, "a-1");
    check_executors(begin(w, &ask), "b-1 c-1");
    /* Whoever insists, or if there is nobody else: it says so itself. */
    w->found = ONEOFF_RUNNING;
    iw_set_executors(w, 2);
    w->executors[0] = w->executors[1];
    w->n_executors = 1;
    ask_all_about(&ask, "b-1");
    check_executors(begin(w, &ask), "b-1");
    w->executors[1].member = 9;
    strcpy(w->executors[1].node, "b-2");
    w->n_executors = 2;
    check_executors(begin(w, &ask), "b-2");
    set_from(&ask, FROM_NODE, "b-1");
    check_executors(begin(w, &ask), "b-1");
}

static void in_its_zone_no_more_are_asked_than_elsewhere(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    w->target.standing = TARGET_MEMBER;
    strcpy(w->target.name, "b-1");
    iw_set_executors(w, 2);
    for (size_t i = 2; i < 6; i++) {
        struct remote_executor *e = &w->executors[i];
        *e = (struct remote_executor){
            .member = (uint32_t)i, .zone = "b", .is_reachable = true};
        snprintf(e->node, sizeof(e->node), "b-%zu", i);
    }
    w->n_executors = 6;
    ask_all_about(&ask, "b-1");
    ask.per_zone = 2;
    check_executors(begin(w, &ask), "a-1 b-2 b-3");
}

/* ---- events ---- */

static void events_come_in_the_order_of_their_arrival(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 3);
    check_u64(w->n_runs, 1);
    check_u64(w->n_asks, 2);
    check_u64(w->asks[0].member, 1);
    check_text(w->asks[1].who, "uid:1003");
    expect_nothing(q);
    iw_remote_sample(w, 1, 300, OUTCOME_OK);
    iw_local_sample(w, 0, 100, OUTCOME_OK);
    inquiries_remote_end(w->all, 0, ONEOFF_BUSY, 0);
    iw_remote_sample(w, 1, 301, OUTCOME_OK);
    /* Who it comes from is our word, not that of the one who sent it. */
    expect_sample(q, "c-1", 300);
    expect_sample(q, "a-1", 100);
    expect_executor(q, "b-1", ONEOFF_BUSY);
    expect_sample(q, "c-1", 301);
    expect_nothing(q);
    iw_local_end(w, 0, ONEOFF_DONE, 2);
    expect_nothing(q);
    inquiries_remote_end(w->all, 1, ONEOFF_DONE, 0);
    const struct inquiry_summary *s = expect_summary(q);
    check_u64(s->n_executors, 3);
    check_u64(s->executors[0].missed, 2);
    inquiry_close(q);
}

static void summary_adds_up(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 2);
    iw_local_sample(w, 0, 4000000, OUTCOME_OK);
    iw_local_sample(w, 0, 6000000, OUTCOME_OK);
    iw_local_sample(w, 0, 0, OUTCOME_CONNECT_TIMEOUT);
    iw_local_sample(w, 0, 0, OUTCOME_LOCAL_STARVED);
    iw_remote_sample(w, 0, 9000000, OUTCOME_OK);
    iw_local_end(w, 0, ONEOFF_DONE, 1);
    inquiries_remote_lost(w->all, 0, 2);
    inquiries_remote_lost(w->all, 9, 5); /* of nobody's */
    inquiries_remote_end(w->all, 0, ONEOFF_DONE, 3);
    for (int i = 0; i < 5; i++)
        check_i64(inquiry_next(q, &(struct inquiry_event){0}), 1);
    const struct inquiry_summary *s = expect_summary(q);
    check_text(s->target, "http://b.test/");
    check_u64(s->attempts, 5);
    check_u64(s->ok, 3);
    check_u64(s->executors[0].lost, 0);
    check_u64(s->executors[1].lost, 2);
    check_u64(s->failed, 1); /* what is our own fault is none of its */
    check_u64(s->outcomes[OUTCOME_OK], 3);
    check_u64(s->outcomes[OUTCOME_CONNECT_TIMEOUT], 1);
    check_u64(s->outcomes[OUTCOME_LOCAL_STARVED], 1);
    check_false(s->is_cancelled);
    const struct inquiry_executor *here = &s->executors[0];
    check_u64(here->attempts, 4);
    check_u64(here->ok, 2);
    check_u64(here->missed, 1);
    check_u64(here->state, ONEOFF_DONE);
    check_u64(here->series[PHASE_CONNECT].count, 2);
    check_u64(here->series[PHASE_CONNECT].max_ns, 6000000);
    check_u64(here->series[SERIES_TOTAL].min_ns, 4001000);
    check_u64(here->series[PHASE_DNS].count, 0);
    check_u64(here->series[SERIES_SERVER].count, 0);
    const struct inquiry_executor *there = &s->executors[1];
    check_u64(there->attempts, 1);
    check_u64(there->series[PHASE_CONNECT].max_ns, 9000000);
    check_u64(there->missed, 3);
    check_u64(iw_log_count(w, "attempts=5 ok=3 failed=1 cancelled=no "
                              "outcomes=ok:3,connect_timeout:1,"
                              "local_starved:1 executors=a-1:done,b-1:done"),
              1);
    inquiry_close(q);
}

static void executors_that_cannot_be_asked_are_told(void **state)
{
    struct iw *w = *state;
    static const struct {
        int error;
        enum oneoff_state state;
    } rows[] = {
        {ERR_CLOSED, ONEOFF_UNREACHABLE},
        {ERR_BUSY, ONEOFF_BUSY},
        {ERR_NOMEM, ONEOFF_FAILED},
    };
    for (size_t i = 0; i < 3; i++) {
        w->ask_error = rows[i].error;
        struct inquiry *q = begin_all(w, 2);
        expect_executor(q, "b-1", rows[i].state);
        inquiry_close(q);
        iw_finish_cancelled(w);
    }
    w->ask_error = 0;
    iw_set_executors(w, 2);
    struct inquiry_ask ask;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    w->executors[1].is_reachable = false;
    size_t before = w->n_asks;
    struct inquiry *q = begin(w, &ask);
    check_u64(w->n_asks, before);
    expect_executor(q, "b-1", ONEOFF_UNREACHABLE);
    inquiry_close(q);
}

static void nobody_is_woken_from_within(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_here(w);
    for (int i = 0; i < 4; i++)
        iw_local_sample(w, 0, 100, OUTCOME_OK);
    check_u64(w->wakes, 0);
    check_true(w->armed_ns <= iw_now_ns);
    iw_turn(w, 0);
    check_u64(w->wakes, 1);
    check_true(w->armed_ns > iw_now_ns);
    iw_turn(w, 1);
    check_u64(w->wakes, 1);
    iw_local_end(w, 0, ONEOFF_DONE, 0);
    iw_turn(w, 0);
    check_u64(w->wakes, 2);
    inquiry_close(q);
}

static void more_than_was_asked_for_is_dropped(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 2);
    for (int i = 0; i < 12; i++)
        iw_remote_sample(w, 0, 1000 + i, OUTCOME_OK);
    for (int i = 0; i < 10; i++)
        expect_sample(q, "b-1", 1000 + i);
    expect_nothing(q);
    inquiry_close(q);
}

static void late_and_unknown_news_changes_nothing(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 3);
    inquiries_remote_end(w->all, 0, ONEOFF_DONE, 0);
    inquiries_remote_end(w->all, 0, ONEOFF_BUSY, 4);
    iw_remote_sample(w, 0, 5, OUTCOME_OK);
    inquiries_remote_end(w->all, 77, ONEOFF_DONE, 0);
    iw_remote_sample(w, 77, 5, OUTCOME_OK);
    expect_nothing(q);
    /* No end at all: then it is a broken one. */
    inquiries_remote_end(w->all, 1, ONEOFF_RUNNING, 0);
    expect_executor(q, "c-1", ONEOFF_FAILED);
    inquiry_close(q);
}

/* ---- denials ---- */

static void denial_is_told_after_its_time(void **state)
{
    struct iw *w = *state;
    w->start_state = ONEOFF_DENIED;
    struct inquiry *q = begin_here(w);
    check_true(inquiry_is_undecided(q));
    check_false(inquiry_is_denied(q));
    check_u64(w->armed_ns, iw_now_ns + 200 * IW_MS);
    iw_turn(w, 200 * IW_MS - 1);
    check_u64(w->wakes, 0);
    check_false(inquiry_is_denied(q));
    expect_nothing(q);
    iw_turn(w, 1);
    check_u64(w->wakes, 1);
    check_true(inquiry_is_denied(q));
    check_false(inquiry_is_undecided(q));
    inquiry_close(q);
    check_u64(iw_log_count(w, "executors=a-1:denied"), 1);
}

/* The same when a lookup was needed to see it, whichever was faster. */
static void denial_after_a_lookup_takes_as_long(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_here(w);
    iw_turn(w, 30 * IW_MS);
    iw_local_end(w, 0, ONEOFF_DENIED, 0);
    check_true(inquiry_is_undecided(q));
    iw_turn(w, 170 * IW_MS - 1);
    check_u64(w->wakes, 0);
    iw_turn(w, 1);
    check_u64(w->wakes, 1);
    check_true(inquiry_is_denied(q));
    inquiry_close(q);
    q = begin_here(w);
    iw_turn(w, 300 * IW_MS);
    iw_local_end(w, 1, ONEOFF_DENIED, 0);
    check_true(inquiry_is_denied(q));
    inquiry_close(q);
}

static void denial_elsewhere_is_an_event(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 2);
    check_false(inquiry_is_undecided(q));
    iw_turn(w, IW_MS);
    inquiries_remote_end(w->all, 0, ONEOFF_DENIED, 0);
    iw_local_end(w, 0, ONEOFF_DONE, 0);
    expect_nothing(q);
    iw_turn(w, 199 * IW_MS);
    expect_executor(q, "b-1", ONEOFF_DENIED);
    check_false(inquiry_is_denied(q));
    (void)expect_summary(q);
    inquiry_close(q);
}

static void after_a_sample_it_is_no_plain_denial(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_here(w);
    iw_local_sample(w, 0, 100, OUTCOME_OK);
    check_false(inquiry_is_undecided(q));
    expect_sample(q, "a-1", 100);
    check_false(inquiry_is_undecided(q));
    iw_local_end(w, 0, ONEOFF_DENIED, 0);
    iw_turn(w, 200 * IW_MS);
    check_false(inquiry_is_denied(q));
    expect_executor(q, "a-1", ONEOFF_DENIED);
    (void)expect_summary(q);
    inquiry_close(q);
}

/* ---- ends ---- */

static void silence_ends_at_the_deadline(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 3);
    iw_remote_sample(w, 1, 100, OUTCOME_OK);
    expect_sample(q, "c-1", 100);
    inquiries_remote_end(w->all, 1, ONEOFF_DONE, 0);
    /* 10 slots of 1 s: the last begins at 9 s and lasts 5 s; then 5 s more,
     * and 5 s of grace. */
    iw_turn(w, 0);
    check_u64(w->armed_ns, iw_now_ns + 24 * IW_S);
    iw_turn(w, 24 * IW_S - 1);
    expect_nothing(q);
    iw_turn(w, 1);
    expect_executor(q, "a-1", ONEOFF_UNREACHABLE);
    expect_executor(q, "b-1", ONEOFF_UNREACHABLE);
    const struct inquiry_summary *s = expect_summary(q);
    check_false(s->is_cancelled);
    check_true(w->runs[0].is_cancelled);
    check_true(w->asks[0].is_dropped);
    check_false(w->asks[1].is_dropped);
    inquiry_close(q);
    iw_finish_cancelled(w);
}

static void cancelling_is_for_the_owner_and_admins(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 2);
    struct principal owner = {.name = "uid:1003", .role = ROLE_PROBER};
    struct principal other = {.name = "uid:1002", .role = ROLE_PROBER};
    struct principal admin = {.name = "uid:1004", .role = ROLE_ADMIN};
    struct principal fallen = {.name = "uid:1003", .role = ROLE_VIEWER};
    char id[INQUIRY_ID_SIZE];
    strcpy(id, inquiry_id(q));
    check_u64(strlen(id), 32);
    check_u64(inquiries_cancel(w->all, "0", &admin, NULL), INQUIRY_UNKNOWN);
    check_u64(inquiries_cancel(w->all, id, &other, NULL), INQUIRY_FORBIDDEN);
    check_u64(inquiries_cancel(w->all, id, &fallen, NULL), INQUIRY_FORBIDDEN);
    check_false(w->runs[0].is_cancelled);
    check_u64(inquiries_cancel(w->all, id, &owner, NULL), INQUIRY_OK);
    check_true(w->runs[0].is_cancelled);
    check_true(w->asks[0].is_dropped);
    /* Once more is no harm, also by another. */
    check_u64(inquiries_cancel(w->all, id, &admin, NULL), INQUIRY_OK);
    expect_executor(q, "b-1", ONEOFF_CANCELLED);
    expect_nothing(q);
    iw_local_sample(w, 0, 100, OUTCOME_OK);
    iw_finish_cancelled(w);
    expect_sample(q, "a-1", 100);
    expect_executor(q, "a-1", ONEOFF_CANCELLED);
    check_true(expect_summary(q)->is_cancelled);
    inquiry_close(q);
    check_u64(inquiries_cancel(w->all, id, &owner, NULL), INQUIRY_UNKNOWN);
    struct inquiries_stats stats;
    inquiries_stats(w->all, &stats);
    check_u64(stats.cancelled, 1);
}

static void who_does_not_read_is_cut_off(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    iw_set_executors(w, 6);
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    ask.request.count = 1000;
    ask.request.interval_ns = 10 * IW_MS;
    struct inquiry *q = begin(w, &ask);
    unsigned sent = 0;
    while (!w->runs[0].is_cancelled && sent < 5000) {
        iw_remote_sample(w, sent % 5, 100, OUTCOME_OK);
        check_true(q->queue_bytes <= INQUIRY_QUEUE_BYTES);
        sent++;
    }
    check_true(sent > 500 && sent < 5000);
    struct inquiries_stats stats;
    inquiries_stats(w->all, &stats);
    check_u64(stats.slow, 1);
    check_u64(stats.cancelled, 1);
    iw_finish_cancelled(w);
    /* What there was can still be read, and why it ended. */
    for (unsigned i = 0; i < sent - 1; i++)
        expect_sample(q, w->executors[1 + i % 5].node, 100);
    for (int i = 1; i < 6; i++)
        expect_executor(q, w->executors[i].node, ONEOFF_CANCELLED);
    expect_executor(q, "a-1", ONEOFF_CANCELLED);
    const struct inquiry_summary *s = expect_summary(q);
    check_true(s->is_cancelled);
    check_u64(s->attempts, sent);
    inquiry_close(q);
}

/* As much as there is, as long as somebody takes it. */
static void who_reads_is_never_slow(void **state)
{
    struct iw *w = *state;
    struct inquiry_ask ask;
    iw_set_executors(w, 6);
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    ask.request.count = 1000;
    ask.request.interval_ns = 10 * IW_MS;
    struct inquiry *q = begin(w, &ask);
    for (unsigned i = 0; i < 5000; i++) {
        iw_remote_sample(w, i % 5, 100, OUTCOME_OK);
        if (i % 500 == 499) {
            for (int k = 0; k < 500; k++)
                check_i64(inquiry_next(q, &(struct inquiry_event){0}), 1);
        }
    }
    check_false(q->is_cancelled);
    check_u64(q->queue_bytes, 0);
    check_u64(w->all->queue_bytes, 0);
    inquiry_close(q);
}

/* Many that do not read get less each; one that reads goes on. */
static void all_queues_together_are_bounded(void **state)
{
    struct iw *w = *state;
    struct inquiry *open[INQUIRIES_MAX];
    struct inquiry_ask ask;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.request.count = 1000;
    ask.request.interval_ns = 10 * IW_MS;
    for (uint32_t i = 0; i < INQUIRIES_MAX; i++) {
        ask.who.key = 1000 + i;
        open[i] = begin(w, &ask);
    }
    for (unsigned n = 0; n < 1000; n++) {
        for (size_t i = 0; i < INQUIRIES_MAX; i++)
            iw_local_sample(w, i, 100, OUTCOME_OK);
        check_i64(inquiry_next(open[7], &(struct inquiry_event){0}), 1);
        check_true(w->all->queue_bytes <= 2 * INQUIRIES_QUEUE_BYTES);
    }
    check_true(w->all->queue_bytes > INQUIRIES_QUEUE_BYTES / 2);
    struct inquiries_stats stats;
    inquiries_stats(w->all, &stats);
    check_u64(stats.slow, INQUIRIES_MAX - 1);
    check_false(open[7]->is_cancelled);
    for (size_t i = 0; i < INQUIRIES_MAX; i++)
        inquiry_close(open[i]);
    iw_finish_cancelled(w);
    check_u64(w->all->queue_bytes, 0);
}

static void executors_of_all_are_bounded(void **state)
{
    struct iw *w = *state;
    struct inquiry *open[4];
    struct inquiry_ask ask;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    for (uint32_t i = 0; i < 4; i++) {
        iw_set_executors(w, i < 3 ? 256 : 250);
        ask.who.key = 1000 + i;
        open[i] = begin(w, &ask);
    }
    ask.who.key = 2000;
    iw_set_executors(w, 7);
    check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
    iw_set_executors(w, 6);
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
    /* They count until the transport has done with them. */
    for (uint32_t i = 0; i < 255; i++)
        inquiries_remote_end(w->all, i, ONEOFF_DONE, 0);
    iw_local_end(w, 0, ONEOFF_DONE, 0);
    iw_set_executors(w, 7);
    check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
    inquiry_close(open[0]);
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
    for (int i = 1; i < 4; i++)
        inquiry_close(open[i]);
    iw_finish_cancelled(w);
    check_u64(w->all->n_executors, 0);
}

/* One principal has at most seven eighths, of requests and of executors. */
static void the_last_part_is_for_others(void **state)
{
    struct iw *w = *state;
    struct inquiry *open[16];
    struct inquiry_ask ask;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.who.key = 7;
    w->config->control.requests_max = 16;
    for (int i = 0; i < 16; i++) {
        if (i == 14) { /* his minute's worth is not what stops him */
            iw_now_ns += 600 * IW_S;
            check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
        }
        if (i % 7 == 0)
            iw_now_ns += 600 * IW_S;
        ask.who.key = i < 14 ? 7 : 8;
        open[i] = begin(w, &ask);
        ask.who.key = 7;
    }
    ask.who.key = 9;
    check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
    for (int i = 0; i < 16; i++)
        inquiry_close(open[i]);
    iw_finish_cancelled(w);

    ask.from.kind = FROM_ALL_ZONES;
    ask.who.key = 10;
    iw_set_executors(w, 224);
    for (int i = 0; i < 4; i++)
        open[i] = begin(w, &ask);
    iw_set_executors(w, 1);
    check_u64(refusal_of(w, &ask), INQUIRY_BUSY);
    ask.who.key = 11;
    check_u64(refusal_of(w, &ask), INQUIRY_OK);
    for (int i = 0; i < 4; i++)
        inquiry_close(open[i]);
    iw_finish_cancelled(w);
}

static void closing_stops_what_runs(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 2);
    iw_local_sample(w, 0, 100, OUTCOME_OK);
    char id[INQUIRY_ID_SIZE];
    strcpy(id, inquiry_id(q));
    inquiry_close(q);
    check_true(w->runs[0].is_cancelled);
    check_true(w->asks[0].is_dropped);
    struct principal admin = {.name = "uid:0", .role = ROLE_ADMIN};
    check_u64(inquiries_cancel(w->all, id, &admin, NULL), INQUIRY_UNKNOWN);
    check_u64(iw_log_count(w, "executors=a-1:cancelled,b-1:cancelled"), 1);
    /* Its last words are for nobody. */
    iw_local_sample(w, 0, 100, OUTCOME_OK);
    iw_turn(w, 60 * IW_S);
    iw_finish_cancelled(w);
    iw_turn(w, 60 * IW_S);
    check_u64(w->wakes, 0);
    check_true(w->all->list == NULL);
    check_u64(iw_log_count(w, "probe_end"), 1);
}

static void close_on_wake(void *arg)
{
    struct inquiry **q = arg;
    struct inquiry *gone = *q;
    *q = NULL;
    inquiry_close(gone);
}

/* The transport notices in its wake() that its client has gone. */
static void wake_may_close_any_of_them(void **state)
{
    struct iw *w = *state;
    struct inquiry *q[3];
    struct inquiry_ask ask;
    enum inquiry_refusal refusal;
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    for (int i = 0; i < 3; i++) {
        /* Each closes its neighbour, the middle one itself. */
        q[i] = inquiry_start(w->all, &ask, close_on_wake,
                             i == 1 ? (void *)&q[1] : (void *)&q[2 - i],
                             &refusal, NULL);
        check_true(q[i] != NULL);
    }
    for (size_t i = 0; i < 3; i++)
        iw_local_sample(w, i, 100, OUTCOME_OK);
    iw_turn(w, 0);
    /* One of the outer two closed the other before it was woken. */
    check_true(q[1] == NULL);
    check_u64((q[0] == NULL) + (q[2] == NULL), 1);
    close_on_wake(q[0] ? &q[0] : &q[2]);
    iw_finish_cancelled(w);
    check_true(w->all->list == NULL);
}

static void ending_all_leaves_what_is_held(void **state)
{
    struct iw *w = *state;
    struct inquiry *q = begin_all(w, 3);
    iw_remote_sample(w, 0, 100, OUTCOME_OK);
    inquiries_end(w->all);
    check_true(w->runs[0].is_cancelled);
    check_true(w->asks[0].is_dropped && w->asks[1].is_dropped);
    check_u64(iw_log_count(w, "probe_end"), 1);
    iw_finish_cancelled(w);
    expect_sample(q, "b-1", 100);
    inquiry_close(q); /* frees all of it */
    /* For teardown. */
    const struct inquiries_core_config core = {
        .ops = &iw_ops,
        .ops_arg = w,
        .config = w->config,
        .principals = w->principals,
    };
    w->all = inquiries_new(&core);
}

/* ---- baseline ---- */

static void use_history(struct iw *w, struct world *world)
{
    world_init(world);
    world_set_history(world);
    while (history_work(world->source.history, HISTORY_STEP))
        ;
    iw_unix_ns = world_now_unix();
    w->all->history = world->source.history;
    strcpy(w->target.name, "b-9"); /* of the zone it is known */
    strcpy(w->target.zone, "b");
}

static void summary_knows_what_is_usual(void **state)
{
    struct iw *w = *state;
    struct world world;
    use_history(w, &world);
    struct inquiry *q = begin_all(w, 3);
    iw_local_sample(w, 0, 4000000, OUTCOME_OK);
    iw_remote_sample(w, 1, 4000000, OUTCOME_OK);
    iw_local_end(w, 0, ONEOFF_DONE, 0);
    inquiries_remote_end(w->all, 0, ONEOFF_DONE, 0);
    inquiries_remote_end(w->all, 1, ONEOFF_DONE, 0);
    while (q->first)
        check_i64(inquiry_next(q, &(struct inquiry_event){0}), 1);
    const struct inquiry_summary *s = expect_summary(q);
    /* Twelve ok ones in the world's frames, of 400 and 600 us. */
    check_true(s->executors[0].has_baseline);
    check_u64(s->executors[0].baseline_s, 900);
    const struct inquiry_phase *p = &s->executors[0].baseline[PHASE_CONNECT];
    check_u64(p->count, 12);
    check_true(p->p50_ns > 390000 && p->p50_ns < 410000);
    check_true(p->p90_ns > 585000 && p->p90_ns <= 600000);
    check_true(p->p99_ns >= p->p90_ns);
    check_i64(p->max_ns, 600000);
    check_u64(s->executors[0].baseline[PHASE_TLS].count, 0);
    check_i64(s->executors[0].baseline[SERIES_TOTAL].max_ns, 2000000);
    /* b did nothing, and c's zone has never measured it. */
    check_false(s->executors[1].has_baseline);
    check_false(s->executors[2].has_baseline);
    inquiry_close(q);
    w->all->history = NULL;
    world_fini(&world);
}

static void baseline_is_of_the_same_protocol_and_mode(void **state)
{
    struct iw *w = *state;
    struct world world;
    use_history(w, &world);
    for (int i = 0; i < 4; i++) {
        struct inquiry_ask ask;
        iw_ask_init(&ask, ROLE_PROBER, "b-1");
        w->target.protocol = i == 1 ? PROTOCOL_GRPC : PROTOCOL_HTTP1;
        ask.request.mode = i == 2 ? MODE_WARM : MODE_COLD;
        if (i == 3)
            iw_unix_ns += 930 * IW_S; /* all of that is too old */
        struct inquiry *q = begin(w, &ask);
        iw_local_sample(w, (size_t)i, 100, OUTCOME_CONNECT_REFUSED);
        iw_local_end(w, (size_t)i, ONEOFF_DONE, 0);
        check_true(q->executors[0].has_baseline == (i == 0));
        inquiry_close(q);
    }
    w->all->history = NULL;
    world_fini(&world);
}

/* ---- refusals ---- */

static void floods_of_refusals_fold(void **state)
{
    struct iw *w = *state;
    for (int i = 0; i < 1000; i++)
        inquiries_turn_away(w->all, "unauthorized", "10.0.0.1:4711", "");
    inquiries_turn_away(w->all, "forbidden_host", "10.0.0.2:1", "");
    check_u64(iw_log_count(w, "refused "), 2);
    check_u64(iw_log_count(w, "peer=10.0.0.1:4711 principal= count=1\n"), 1);
    iw_turn(w, IW_S - 1);
    check_u64(iw_log_count(w, "refused "), 2);
    iw_turn(w, 1);
    check_u64(iw_log_count(w, "refused "), 3);
    check_u64(iw_log_count(w, "count=999\n"), 1);
    iw_turn(w, IW_S);
    check_u64(iw_log_count(w, "refused "), 3);
    check_u64(w->armed_ns, UINT64_MAX);
    /* Also right after a line that was owed. */
    for (int i = 0; i < 3; i++)
        inquiries_turn_away(w->all, "unauthorized", "10.0.0.3:1", "");
    iw_turn(w, IW_S);
    check_u64(iw_log_count(w, "refused "), 5);
    inquiries_turn_away(w->all, "unauthorized", "10.0.0.3:1", "");
    check_u64(iw_log_count(w, "refused "), 5);
    struct inquiries_stats stats;
    inquiries_stats(w->all, &stats);
    check_u64(stats.n_codes, 2);
    check_text(stats.codes[0].code, "unauthorized");
    check_u64(stats.codes[0].count, 1004);
    check_u64(stats.codes[1].count, 1);
}

/* Another port, another process: the same one still. */
static void one_address_is_one_whatever_its_port(void **state)
{
    struct iw *w = *state;
    static const char *const begins[] = {
        "10.0.0.1:", "[fd00::1]:", "unix uid=1000 pid="};
    for (int k = 0; k < 3; k++) {
        for (int i = 1; i <= 5; i++) {
            char peer[64];
            snprintf(peer, sizeof(peer), "%s%d", begins[k], i);
            inquiries_turn_away(w->all, "unauthorized", peer, "");
        }
    }
    check_u64(iw_log_count(w, "refused "), 3);
    iw_turn(w, IW_S);
    check_u64(iw_log_count(w, "refused "), 6);
    check_u64(iw_log_count(w, "peer=unix uid=1000 pid=5 principal= count=4\n"),
              1);
}

static void many_addresses_share_a_line(void **state)
{
    struct iw *w = *state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            char peer[64];
            snprintf(peer, sizeof(peer), "10.0.%d.%d:1", round, i);
            inquiries_turn_away(w->all, "unauthorized", peer, "ci");
        }
        check_u64(iw_log_count(w, "refused "), (uint64_t)(66 * round + 65));
        iw_turn(w, IW_S);
        check_u64(iw_log_count(w, "refused "), (uint64_t)(66 * round + 66));
        /* When it has been quiet for a second there is room for others. */
        iw_turn(w, IW_S);
    }
    check_u64(iw_log_count(w, "peer=(others) principal= count=35\n"), 2);
}

/* What is owed is not lost for the sake of a new one. */
static void what_is_owed_keeps_its_place(void **state)
{
    struct iw *w = *state;
    char peer[64];
    for (int i = 0; i < 2 * REFUSALS_MAX; i++) {
        snprintf(peer, sizeof(peer), "10.0.0.%d:1", i % REFUSALS_MAX);
        inquiries_turn_away(w->all, "unauthorized", peer, "");
    }
    iw_now_ns += IW_S; /* the timer is late */
    inquiries_turn_away(w->all, "unauthorized", "10.0.1.1:1", "");
    iw_turn(w, 0);
    check_u64(iw_log_count(w, "refused "), 2 * REFUSALS_MAX + 1);
}

/* ---- a property ---- */

struct held {
    struct inquiry *q;
    uint64_t samples;
    bool has_summary;
};

static void drain_events(struct held *h)
{
    struct inquiry_event e;
    int rc;
    while ((rc = inquiry_next(h->q, &e)) == 1) {
        check_false(h->has_summary);
        h->samples += e.kind == INQUIRY_SAMPLE;
        h->has_summary = e.kind == INQUIRY_SUMMARY;
        if (!h->has_summary)
            continue;
        uint64_t sum = 0;
        for (int o = 0; o < OUTCOME_N; o++)
            sum += e.summary->outcomes[o];
        check_u64(sum, e.summary->attempts);
        check_u64(h->samples, sum);
        sum = 0;
        for (size_t i = 0; i < e.summary->n_executors; i++) {
            sum += e.summary->executors[i].attempts;
            check_true(oneoff_state_is_end(e.summary->executors[i].state));
        }
        check_u64(sum, e.summary->attempts);
    }
    check_i64(rc, h->has_summary ? ERR_CLOSED : 0);
}

static enum oneoff_state some_end(struct rng *rng)
{
    return (enum oneoff_state)(ONEOFF_DONE +
                               rng_below(rng, ONEOFF_STATE_N - ONEOFF_DONE));
}

static void some_news(struct iw *w, struct rng *rng)
{
    size_t run = rng_below(rng, IW_RUNS_MAX);
    uint32_t ask = (uint32_t)rng_below(rng, IW_RUNS_MAX);
    enum probe_outcome outcome = (enum probe_outcome)rng_below(rng, OUTCOME_N);
    if (run < w->n_runs && w->runs[run].is_running) {
        if (rng_below(rng, 3) == 0)
            iw_local_end(w, run, some_end(rng), 1);
        else
            iw_local_sample(w, run, 100, outcome);
    }
    if (rng_below(rng, 3) == 0)
        inquiries_remote_end(
            w->all, ask, (enum oneoff_state)rng_below(rng, ONEOFF_STATE_N), 0);
    else
        iw_remote_sample(w, ask, 100, outcome);
}

/* Whatever happens in whatever order: each inquiry that is waited for ends
 * with one summary that is the sum of what was told, and each has one line in
 * the log before and one after. */
static void every_inquiry_adds_up_and_ends(void **state)
{
    struct iw *w = *state;
    struct rng rng;
    struct held held[4] = {0};
    unsigned started = 0;
    rng_seed(&rng, check_seed());
    for (int step = 0; step < 20000; step++) {
        struct held *h = &held[rng_below(&rng, 4)];
        uint64_t what = rng_below(&rng, 40);
        if (what == 0 && !h->q && w->n_runs < IW_RUNS_MAX &&
            w->n_asks + 8 < IW_RUNS_MAX) {
            struct inquiry_ask ask;
            iw_set_executors(w, 1 + rng_below(&rng, 4));
            iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
            ask.from.kind = FROM_ALL_ZONES;
            ask.who.key = started++;
            w->start_state =
                rng_below(&rng, 4) ? ONEOFF_RUNNING : some_end(&rng);
            *h = (struct held){.q = begin(w, &ask)};
        } else if (what == 1 && h->q) {
            if (rng_below(&rng, 2)) {
                for (int i = 0; i < 30 && !h->has_summary; i++) {
                    iw_turn(w, IW_S);
                    iw_finish_cancelled(w);
                    drain_events(h);
                }
                check_true(h->has_summary);
            }
            inquiry_close(h->q);
            h->q = NULL;
        } else if (what == 2 && h->q) {
            inquiry_cancel(h->q);
        } else if (what == 3) {
            iw_finish_cancelled(w);
        } else if (what < 8) {
            iw_turn(w, rng_below(&rng, 100 * IW_MS));
        } else if (what < 12 && h->q) {
            drain_events(h);
        } else {
            some_news(w, &rng);
        }
    }
    check_true(started > 50);
    for (int i = 0; i < 4; i++) {
        if (held[i].q)
            inquiry_close(held[i].q);
    }
    check_u64(iw_log_count(w, "probe_begin"), started);
    check_u64(iw_log_count(w, "probe_end"), started);
    iw_finish_cancelled(w);
    check_true(w->all->list == NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(role_decides_about_each_kind_of_target),
        CASE(name_unknown_here_is_left_to_others),
        CASE(checks_come_in_their_order),
        CASE(configuration_can_allow_fewer_at_once),
        CASE(nothing_is_started_without_its_audit_line),
        CASE(nodes_per_zone_has_its_range),
        CASE(without_a_mesh_there_is_this_node),
        CASE(encryption_matters_only_if_others_are_asked),
        CASE(refusals_have_their_status),
        CASE(nobody_is_asked_to_probe_itself),
        CASE(in_its_zone_no_more_are_asked_than_elsewhere),
        CASE(events_come_in_the_order_of_their_arrival),
        CASE(summary_adds_up),
        CASE(executors_that_cannot_be_asked_are_told),
        CASE(nobody_is_woken_from_within),
        CASE(more_than_was_asked_for_is_dropped),
        CASE(late_and_unknown_news_changes_nothing),
        CASE(denial_is_told_after_its_time),
        CASE(denial_after_a_lookup_takes_as_long),
        CASE(denial_elsewhere_is_an_event),
        CASE(after_a_sample_it_is_no_plain_denial),
        CASE(silence_ends_at_the_deadline),
        CASE(cancelling_is_for_the_owner_and_admins),
        CASE(who_does_not_read_is_cut_off),
        CASE(who_reads_is_never_slow),
        CASE(all_queues_together_are_bounded),
        CASE(executors_of_all_are_bounded),
        CASE(the_last_part_is_for_others),
        CASE(closing_stops_what_runs),
        CASE(wake_may_close_any_of_them),
        CASE(ending_all_leaves_what_is_held),
        CASE(summary_knows_what_is_usual),
        CASE(baseline_is_of_the_same_protocol_and_mode),
        CASE(floods_of_refusals_fold),
        CASE(one_address_is_one_whatever_its_port),
        CASE(many_addresses_share_a_line),
        CASE(what_is_owed_keeps_its_place),
        CASE(every_inquiry_adds_up_and_ends),
    };
    return cmocka_run_group_tests_name("inquiry", tests, NULL, NULL);
}
