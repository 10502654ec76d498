/* test/inquiry_world.h - a host for inquiries that lives in memory.
 *
 * The clock stands still unless a test moves it; one-offs and executors
 * elsewhere do only what the test has them do; the audit log is a text, one
 * line "event key=value ..." each. This node is a-1 in zone a. */
#ifndef TEST_INQUIRY_WORLD_H
#define TEST_INQUIRY_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/inquiry_private.h"
#include "test/check.h"

#define IW_RUNS_MAX 1200
#define IW_MS       UINT64_C(1000000)
#define IW_S        UINT64_C(1000000000)

struct oneoff { /* the opaque one: there is no other in these tests */
    struct oneoff_sink sink;
    struct oneoff_request request;
    bool is_running, is_cancelled;
};

struct iw_ask {
    uint32_t member;
    bool is_dropped;
    char who[REMOTE_WHO_SIZE];
};

struct iw {
    struct inquiries *all;
    struct principals *principals;
    struct config *config;
    uint64_t armed_ns;
    uint8_t next_random;
    struct wr audit;
    bool is_audit_broken;
    enum oneoff_state found; /* what find() says, and with what */
    struct oneoff_target target;
    enum oneoff_state start_state; /* RUNNING: it starts */
    size_t n_runs, n_asks;
    struct oneoff runs[IW_RUNS_MAX];
    bool has_mesh, can_ask;
    size_t n_executors;
    struct remote_executor executors[REMOTE_EXECUTORS_MAX];
    int ask_error;
    struct iw_ask asks[IW_RUNS_MAX];
    unsigned wakes;
};

static uint64_t iw_now_ns, iw_unix_ns;

static uint64_t iw_now(void)
{
    return iw_now_ns;
}

static uint64_t iw_now_unix(void)
{
    return iw_unix_ns;
}

static int iw_random(void *arg, void *out, size_t len)
{
    struct iw *w = arg;
    memset(out, ++w->next_random, len);
    return 0;
}

static void iw_arm(void *arg, uint64_t due_ns)
{
    struct iw *w = arg;
    w->armed_ns = due_ns;
}

static int iw_audit(void *arg, const char *event,
                    const struct audit_field *fields)
{
    struct iw *w = arg;
    if (w->is_audit_broken)
        return ERR_SYS;
    wr_text(&w->audit, event);
    for (; fields->key; fields++) {
        wr_printf(&w->audit, " %s=", fields->key);
        if (fields->text)
            wr_text(&w->audit, fields->text);
        else
            wr_printf(&w->audit, "%llu", (unsigned long long)fields->number);
    }
    wr_u8(&w->audit, '\n');
    return 0;
}

static enum oneoff_state iw_find(void *arg, const struct oneoff_request *r,
                                 struct oneoff_target *out)
{
    const struct iw *w = arg;
    (void)r;
    *out = w->target;
    return w->found;
}

static struct oneoff *iw_start(void *arg, const struct oneoff_request *r,
                               const struct oneoff_sink *sink,
                               enum oneoff_state *state)
{
    struct iw *w = arg;
    if (w->start_state != ONEOFF_RUNNING) {
        *state = w->start_state;
        return NULL;
    }
    check_true(w->n_runs < IW_RUNS_MAX);
    struct oneoff *o = &w->runs[w->n_runs++];
    *o = (struct oneoff){*sink, *r, true, false};
    return o;
}

static void iw_cancel(void *arg, struct oneoff *o)
{
    (void)arg;
    check_true(o->is_running);
    check_false(o->is_cancelled);
    o->is_cancelled = true;
}

static void iw_oneoff_stats(void *arg, struct oneoffs_stats *out)
{
    (void)arg;
    *out = (struct oneoffs_stats){.attempts = 7, .denied = 2, .in_flight = 3};
}

static bool iw_has_mesh(void *arg)
{
    const struct iw *w = arg;
    return w->has_mesh;
}

static size_t iw_choose(void *arg, const struct remote_from *from,
                        unsigned per_zone, uint64_t dice,
                        struct remote_executor *out)
{
    const struct iw *w = arg;
    size_t n = 0;
    check_true(w->has_mesh && per_zone >= 1 && dice != 0);
    for (size_t i = 0; i < w->n_executors; i++) {
        const struct remote_executor *e = &w->executors[i];
        unsigned in_zone = 0;
        for (size_t k = 0; k < n; k++)
            in_zone += strcmp(out[k].zone, e->zone) == 0;
        if ((from->kind == FROM_ZONE && strcmp(from->name, e->zone) != 0) ||
            (from->kind == FROM_NODE && strcmp(from->name, e->node) != 0) ||
            in_zone >= per_zone)
            continue;
        out[n++] = *e;
    }
    return n;
}

static bool iw_can_ask(void *arg)
{
    const struct iw *w = arg;
    return w->can_ask;
}

static int iw_ask(void *arg, const uint8_t id[REMOTE_ID_SIZE], uint32_t member,
                  const struct oneoff_request *request, const char *who,
                  uint32_t *ask)
{
    struct iw *w = arg;
    (void)id;
    (void)request;
    if (w->ask_error)
        return w->ask_error;
    check_true(w->n_asks < IW_RUNS_MAX);
    *ask = (uint32_t)w->n_asks;
    struct iw_ask *a = &w->asks[w->n_asks++];
    a->member = member;
    a->is_dropped = false;
    snprintf(a->who, sizeof(a->who), "%s", who);
    return 0;
}

static void iw_drop(void *arg, uint32_t ask)
{
    struct iw *w = arg;
    check_true(ask < w->n_asks && !w->asks[ask].is_dropped);
    w->asks[ask].is_dropped = true;
}

static const struct inquiry_ops iw_ops = {
    .now_ns = iw_now,
    .now_unix_ns = iw_now_unix,
    .random = iw_random,
    .arm = iw_arm,
    .audit = iw_audit,
    .find = iw_find,
    .start = iw_start,
    .cancel = iw_cancel,
    .oneoff_stats = iw_oneoff_stats,
    .has_mesh = iw_has_mesh,
    .choose = iw_choose,
    .can_ask = iw_can_ask,
    .ask = iw_ask,
    .drop = iw_drop,
};

/* Of user 1000 + role; on TCP the certificates role.test. */
static const struct principal_user iw_users[] = {
    {false, 1001, ROLE_VIEWER},
    {false, 1002, ROLE_RUNNER},
    {false, 1003, ROLE_PROBER},
    {false, 1004, ROLE_ADMIN},
};
static const struct principal_certificate iw_certificates[] = {
    {"viewer.test", ROLE_VIEWER},
    {"prober.test", ROLE_PROBER},
};

static char *iw_no_env(const char *name)
{
    (void)name;
    return NULL;
}

static inline void iw_init(struct iw *w)
{
    static const char text[] = "node: {name: a-1, zone: a, region: r1}\n";
    char *errors = NULL;
    memset(w, 0, sizeof(*w));
    iw_now_ns = 1000 * IW_S;
    iw_unix_ns = UINT64_C(1767225605) * IW_S;
    wr_init_grow(&w->audit, 64u << 20);
    check_i64(config_parse("test", text, sizeof(text) - 1, iw_no_env,
                           &w->config, &errors),
              0);
    const struct principals_config people = {
        .own_uid = 500,
        .n_users = 4,
        .users = iw_users,
        .n_certificates = 2,
        .certificates = iw_certificates,
        .requests_per_minute = 10,
        .requests_burst = 10,
    };
    w->principals = principals_open(&people);
    check_true(w->principals != NULL);
    w->found = ONEOFF_RUNNING;
    w->target.standing = TARGET_OTHER;
    w->start_state = ONEOFF_RUNNING;
    w->has_mesh = w->can_ask = true;
    w->armed_ns = UINT64_MAX;
    const struct inquiries_core_config core = {
        .ops = &iw_ops,
        .ops_arg = w,
        .config = w->config,
        .principals = w->principals,
    };
    w->all = inquiries_new(&core);
    check_true(w->all != NULL);
}

/* As the host: whatever is cancelled ends in a later turn. */
static inline void iw_finish_cancelled(struct iw *w)
{
    for (size_t i = 0; i < w->n_runs; i++) {
        struct oneoff *o = &w->runs[i];
        if (o->is_running && o->is_cancelled) {
            o->is_running = false;
            o->sink.on_end(o->sink.arg, ONEOFF_CANCELLED, 0);
        }
    }
}

static inline void iw_fini(struct iw *w)
{
    inquiries_end(w->all);
    iw_finish_cancelled(w);
    principals_close(w->principals);
    config_free(w->config);
    wr_fini(&w->audit);
}

/* The timer runs if its time has come. */
static inline void iw_turn(struct iw *w, uint64_t later_ns)
{
    iw_now_ns += later_ns;
    if (w->armed_ns > iw_now_ns)
        return;
    w->armed_ns = UINT64_MAX;
    inquiries_run(w->all);
}

static inline const char *iw_log(struct iw *w)
{
    wr_u8(&w->audit, '\0');
    check_i64(wr_err(&w->audit), 0);
    w->audit.len--;
    return (const char *)w->audit.data;
}

static inline unsigned iw_log_count(struct iw *w, const char *piece)
{
    unsigned n = 0;
    for (const char *at = iw_log(w); (at = strstr(at, piece)); at++)
        n++;
    return n;
}

static inline void iw_wake(void *arg)
{
    struct iw *w = arg;
    w->wakes++;
}

static inline void iw_ask_init(struct inquiry_ask *ask, enum role role,
                               const char *target)
{
    *ask = (struct inquiry_ask){
        .per_zone = 1,
        .peer = "unix uid=1003 pid=9",
        .from = {.kind = FROM_SELF},
        .who = {.role = role, .key = 1},
    };
    snprintf(ask->who.name, sizeof(ask->who.name), "uid:%d", 1000 + (int)role);
    oneoff_request_init(&ask->request);
    snprintf(ask->request.target, sizeof(ask->request.target), "%s", target);
    ask->request.count = 10;
}

/* `n` executors: this one, then b-1 in b, c-1 in c ... (members 1, 2 ...). */
static inline void iw_set_executors(struct iw *w, size_t n)
{
    w->n_executors = n;
    for (size_t i = 0; i < n; i++) {
        struct remote_executor *e = &w->executors[i];
        *e = (struct remote_executor){.member = (uint32_t)i,
                                      .is_reachable = true};
        if (i == 0)
            e->member = UINT32_MAX;
        char letter = (char)('a' + i % 26);
        snprintf(e->node, sizeof(e->node), "%c-%zu", letter, 1 + i / 26);
        if (i < 26)
            snprintf(e->zone, sizeof(e->zone), "%c", letter);
        else
            snprintf(e->zone, sizeof(e->zone), "%c%zu", letter, i / 26);
    }
}

static inline void iw_sample(struct sample *s, struct sample_names *names,
                             int64_t connect_ns, enum probe_outcome outcome)
{
    sample_init(s);
    s->outcome = (uint8_t)outcome;
    if (outcome == OUTCOME_OK) {
        s->phases_ns[PHASE_CONNECT] = connect_ns;
        s->phases_ns[PHASE_LOCAL] = 1000;
        s->total_ns = connect_ns + 1000;
    } else {
        s->failed_phase = PHASE_CONNECT;
    }
    *names = (struct sample_names){
        .target = "http://b.test:80/",
        .from_node = "liar",
        .from_zone = "nowhere",
        .to_node = "b-1",
        .to_zone = "b",
    };
}

static inline void iw_local_sample(struct iw *w, size_t run, int64_t connect_ns,
                                   enum probe_outcome outcome)
{
    struct sample s;
    struct sample_names names;
    iw_sample(&s, &names, connect_ns, outcome);
    w->runs[run].sink.on_sample(w->runs[run].sink.arg, &s, &names);
}

static inline void iw_local_end(struct iw *w, size_t run,
                                enum oneoff_state state, uint32_t missed)
{
    check_true(w->runs[run].is_running);
    w->runs[run].is_running = false;
    w->runs[run].sink.on_end(w->runs[run].sink.arg, state, missed);
}

static inline void iw_remote_sample(struct iw *w, uint32_t ask,
                                    int64_t connect_ns,
                                    enum probe_outcome outcome)
{
    struct sample s;
    struct sample_names names;
    iw_sample(&s, &names, connect_ns, outcome);
    inquiries_remote_sample(w->all, ask, &s, &names);
}

#endif /* TEST_INQUIRY_WORLD_H */
