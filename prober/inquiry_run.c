/* The executions of an inquiry: here and elsewhere, samples, ends, time. */
#include <assert.h>

#include "prober/inquiry_private.h"

static void want_wake(struct inquiry *q)
{
    if (q->is_closed)
        return;
    q->wants_wake = true;
    inquiries_arm(q->all, 0);
}

static void tell_end(struct inquiry_execution *e)
{
    struct inquiry *q = e->inquiry;
    assert(e->is_over && !e->is_told);
    e->is_told = true;
    e->executor->state = e->end;
    q->n_told++;
    if (e->end != ONEOFF_DONE)
        inquiry_put_end(q, e);
    if (q->n_told == q->n)
        inquiry_audit_end(q);
    want_wake(q);
}

static void execution_end(struct inquiry_execution *e, enum oneoff_state state,
                          uint32_t missed)
{
    struct inquiry *q = e->inquiry;
    if (e->is_over)
        return;
    assert(oneoff_state_is_end(state));
    e->is_over = true;
    e->is_asked = false;
    e->end = state;
    e->executor->missed = missed;
    if (q->is_closed)
        return;
    if (e->executor->attempts > 0)
        inquiry_find_baseline(q, e->executor);
    uint64_t now_ns = q->all->ops->now_ns();
    if (state == ONEOFF_DENIED && now_ns < q->denial_ns) {
        e->told_ns = q->denial_ns;
        inquiries_arm(q->all, e->told_ns);
        return;
    }
    tell_end(e);
}

/* ---- samples ---- */

static void count_sample(struct inquiry_execution *e, const struct sample *s)
{
    struct inquiry *q = e->inquiry;
    struct inquiry_executor *x = e->executor;
    bool is_ok = s->outcome == OUTCOME_OK;
    x->attempts++;
    q->attempts++;
    q->outcomes[s->outcome]++;
    q->failed += !is_ok && !outcome_is_local(s->outcome);
    if (!is_ok)
        return;
    x->ok++;
    q->ok++;
    for (unsigned i = 0; i < PHASE_N; i++) {
        if (s->phases_ns[i] >= 0)
            (void)hist_add(&x->series[i], (uint64_t)s->phases_ns[i]);
    }
    if (s->total_ns >= 0)
        (void)hist_add(&x->series[SERIES_TOTAL], (uint64_t)s->total_ns);
    if (s->server_ns >= 0)
        (void)hist_add(&x->series[SERIES_SERVER], (uint64_t)s->server_ns);
}

static void execution_sample(struct inquiry_execution *e,
                             const struct sample *s,
                             const struct sample_names *names)
{
    struct inquiry *q = e->inquiry;
    if (e->is_over || q->is_closed)
        return;
    assert(s->outcome < OUTCOME_N);
    /* Nobody gives more than he was asked for. */
    if (e->executor->attempts >= q->request.count)
        return;
    e->executor->state = ONEOFF_RUNNING;
    count_sample(e, s);
    int err = inquiry_put_sample(q, e, s, names);
    if (err && !q->is_cancelled) {
        q->all->stats.slow += err == ERR_BUSY;
        inquiry_cancel(q);
    }
    want_wake(q);
}

/* ---- here ---- */

static void on_local_sample(void *arg, const struct sample *s,
                            const struct sample_names *names)
{
    execution_sample(arg, s, names);
}

static void on_local_end(void *arg, enum oneoff_state state, uint32_t missed)
{
    struct inquiry_execution *e = arg;
    e->local = NULL;
    execution_end(e, state, missed);
    inquiry_release(e->inquiry);
}

static void begin_local(struct inquiry_execution *e)
{
    struct inquiry *q = e->inquiry;
    const struct oneoff_sink sink = {
        .on_sample = on_local_sample,
        .on_end = on_local_end,
        .arg = e,
        .id = q->id,
        .owner = q->who.key,
    };
    enum oneoff_state state = ONEOFF_FAILED;
    e->executor->state = ONEOFF_RUNNING;
    e->local = q->all->ops->start(q->all->ops_arg, &q->request, &sink, &state);
    if (!e->local)
        execution_end(e, state, 0);
}

/* ---- elsewhere ---- */

static struct inquiry_execution *find_ask(struct inquiries *all, uint32_t ask)
{
    for (struct inquiry *q = all->list; q; q = q->next) {
        for (size_t i = 0; i < q->n; i++) {
            if (q->executions[i].is_asked && q->executions[i].ask == ask)
                return &q->executions[i];
        }
    }
    return NULL;
}

void inquiries_remote_sample(struct inquiries *all, uint32_t ask,
                             const struct sample *s,
                             const struct sample_names *names)
{
    struct inquiry_execution *e = find_ask(all, ask);
    if (e)
        execution_sample(e, s, names);
}

void inquiries_remote_lost(struct inquiries *all, uint32_t ask, uint32_t lost)
{
    struct inquiry_execution *e = find_ask(all, ask);
    if (e)
        e->executor->lost = lost;
}

void inquiries_remote_end(struct inquiries *all, uint32_t ask,
                          enum oneoff_state state, uint32_t missed)
{
    struct inquiry_execution *e = find_ask(all, ask);
    /* It is the other's word. */
    if (e)
        execution_end(e, oneoff_state_is_end(state) ? state : ONEOFF_FAILED,
                      missed);
}

static void begin_remote(struct inquiry_execution *e)
{
    struct inquiry *q = e->inquiry;
    e->executor->state = ONEOFF_WAITING;
    int err = q->all->ops->ask(q->all->ops_arg, q->raw_id, e->member,
                               &q->request, q->who.name, &e->ask);
    if (err)
        execution_end(e,
                      err == ERR_CLOSED ? ONEOFF_UNREACHABLE
                      : err == ERR_BUSY ? ONEOFF_BUSY
                                        : ONEOFF_FAILED,
                      0);
    else
        e->is_asked = true;
}

/* ---- all of them ---- */

void inquiry_begin(struct inquiry *q, const struct remote_executor *executors)
{
    for (size_t i = 0; i < q->n; i++) {
        struct inquiry_execution *e = &q->executions[i];
        if (executors[i].member == UINT32_MAX)
            begin_local(e);
        else if (executors[i].is_reachable)
            begin_remote(e);
        else
            execution_end(e, ONEOFF_UNREACHABLE, 0);
    }
}

/* No more of it is wanted. The one here ends in a later turn, by itself. */
static void stop(struct inquiry_execution *e)
{
    const struct inquiries *all = e->inquiry->all;
    if (all->is_closed)
        return;
    if (e->local)
        all->ops->cancel(all->ops_arg, e->local);
    if (e->is_asked)
        all->ops->drop(all->ops_arg, e->ask);
    e->is_asked = false;
}

void inquiry_cancel(struct inquiry *q)
{
    if (q->is_cancelled || q->n_told == q->n)
        return;
    q->is_cancelled = true;
    q->all->stats.cancelled++;
    for (size_t i = 0; i < q->n; i++) {
        struct inquiry_execution *e = &q->executions[i];
        if (e->is_over)
            continue;
        bool is_here = e->local != NULL;
        stop(e);
        if (!is_here)
            execution_end(e, ONEOFF_CANCELLED, 0);
    }
}

void inquiry_expire(struct inquiry *q, uint64_t now_ns)
{
    for (size_t i = 0; i < q->n; i++) {
        struct inquiry_execution *e = &q->executions[i];
        if (!e->is_over && now_ns >= q->deadline_ns) {
            stop(e);
            execution_end(e, ONEOFF_UNREACHABLE, 0);
        } else if (e->is_over && !e->is_told && now_ns >= e->told_ns) {
            tell_end(e);
        }
    }
}

uint64_t inquiry_due(const struct inquiry *q)
{
    uint64_t due = UINT64_MAX;
    if (q->is_closed || q->n_told == q->n)
        return q->wants_wake ? 0 : due;
    for (size_t i = 0; i < q->n; i++) {
        const struct inquiry_execution *e = &q->executions[i];
        uint64_t at = e->is_told   ? UINT64_MAX
                      : e->is_over ? e->told_ns
                                   : q->deadline_ns;
        due = at < due ? at : due;
    }
    return q->wants_wake ? 0 : due;
}
