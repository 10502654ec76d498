#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "prober/remote_private.h"
#include "proto/base/err.h"

#define INDEX_BITS 7
#define INDEX_MASK (REMOTE_RUNS_MAX - 1)
#define NEVER      UINT64_MAX

_Static_assert(REMOTE_RUNS_MAX == 1 << INDEX_BITS, "a handle's low bits");
_Static_assert(BATCH_BYTES + SAMPLE_WIRE_MAX + 64 < REMOTE_MESSAGE_MAX,
               "what we send is heard");

static void owe(struct remote *r, struct run *run, unsigned what)
{
    run->owes |= (uint8_t)what;
    r->runs_owe = true;
}

static struct run *find(struct remote *r, uint32_t handle)
{
    struct run *run = r->runs[handle & INDEX_MASK];
    return run && run->handle == handle ? run : NULL;
}

static bool is_of(const struct run *run, const struct remote_head *head)
{
    return run->ask == head->ask && !memcmp(run->id, head->id, sizeof(run->id));
}

/* ---- begin and end ---- */

static struct run *begin(struct remote *r, const struct remote_head *head,
                         uint32_t member, const struct remote_question *q)
{
    uint32_t i = 0;
    struct run *run = malloc(sizeof(*run));
    if (!run)
        return NULL;
    while (r->runs[i])
        i++;
    assert(i < REMOTE_RUNS_MAX);
    *run = (struct run){
        .state = RUN_STARTING,
        .handle = ++r->run_gen << INDEX_BITS | i,
        .ask = head->ask,
        .member = member,
        .member_hash = members_peek(r->members, member)->hash,
        .due_ns = NEVER,
        .last_ns = NEVER,
        .question = *q,
    };
    memcpy(run->id, head->id, sizeof(run->id));
    r->runs[i] = run;
    r->runs_open++;
    r->stats.runs++;
    owe(r, run, OWES_START);
    return run;
}

static void forget(struct remote *r, struct run *run, bool is_told)
{
    remote_remember(r, run, is_told);
    remote_queue_fini(&run->queue, &r->held_bytes);
    r->runs[run->handle & INDEX_MASK] = NULL;
    r->runs_open--;
    if (r->sent.run == run)
        r->sent.run = NULL;
    free(run);
}

/* Nobody wants it any more. */
static void stop(struct remote *r, struct run *run, bool is_told)
{
    if (run->state == RUN_ENDED && !(run->owes & OWES_STOP)) {
        forget(r, run, is_told);
        return;
    }
    run->state = RUN_ENDED;
    run->end = ONEOFF_CANCELLED;
    run->due_ns = run->last_ns = NEVER;
    run->is_under_way = false;
    run->owes = 0;
    owe(r, run, OWES_STOP);
}

/* ---- samples on their way ---- */

/* The next message may go as soon as the last one is old enough. */
static uint64_t soon(const struct remote *r, const struct run *run)
{
    uint64_t at_ns = run->sent_ns ? run->sent_ns + REMOTE_BATCH_NS : 0;
    return at_ns > r->now_ns ? at_ns : r->now_ns;
}

static void abandon(struct remote *r, struct run *run)
{
    r->stats.runs_abandoned++;
    stop(r, run, false);
}

/* Is something to be sent by now? May free the run. */
static void settle(struct remote *r, struct run *run)
{
    unsigned tries_max = run->state == RUN_ENDED ? TRIES_ENDED : TRIES_RUNNING;
    if (run->owes & OWES_STOP)
        return;
    if (r->now_ns >= run->last_ns)
        abandon(r, run);
    else if (r->now_ns < run->due_ns || (run->owes & OWES_DATA))
        return;
    else if (run->tries >= tries_max)
        abandon(r, run);
    else
        owe(r, run, OWES_DATA);
}

static void on_ack(struct remote *r, struct run *run, uint32_t next)
{
    if (next > run->sent_end) {
        r->stats.broken++; /* of what was never sent */
        return;
    }
    remote_queue_drop(&run->queue, next);
    if (!run->is_under_way || next < run->sent_end) {
        r->stats.duplicates++;
        return;
    }
    run->is_under_way = false;
    run->tries = 0;
    if (run->queue.n > 0 || run->state == RUN_ENDED)
        run->due_ns = soon(r, run);
    else
        run->due_ns = NEVER;
    settle(r, run);
}

static void write_data(struct remote *r, struct run *run)
{
    struct remote_queue *q = &run->queue;
    struct remote_verdict v = {
        .state = run->end, .samples = q->first + q->n, .missed = run->missed};
    /* How many fit is known once they are written: then the head is, too. */
    struct wr *w = remote_begin(r, KIND_SAMPLES, run->id, run->ask);
    wr_be32(w, q->first);
    uint32_t n = remote_queue_write(q, w, BATCH_BYTES);
    if (run->state == RUN_ENDED && n == q->n) {
        w = remote_begin(r, KIND_END, run->id, run->ask);
        remote_write_verdict(w, &v);
        wr_be32(w, q->first);
        remote_queue_write(q, w, BATCH_BYTES);
    }
    assert(q->first + n >= run->sent_end);
    r->stats.samples_out += q->first + n - run->sent_end;
    run->sent_end = q->first + n;
    run->is_under_way = true;
    run->tries++;
    run->sent_ns = r->now_ns;
    run->due_ns = remote_later(r, DATA_AGAIN_NS);
}

void remote_run_unsent(struct remote *r, struct run *run, uint8_t owes)
{
    if (owes & OWES_DATA)
        run->tries--;
    owe(r, run, owes);
}

/* ---- the host's ---- */

static void end(struct remote *r, struct run *run, enum oneoff_state state,
                uint32_t missed)
{
    assert(oneoff_state_is_end(state));
    run->state = RUN_ENDED;
    run->end = (uint8_t)state;
    run->missed = missed;
    run->tries = 0;
    run->owes &= (uint8_t)~OWES_TAKEN;
    run->due_ns = soon(r, run);
    run->last_ns = r->now_ns + LINGER_NS;
    if (state != ONEOFF_DONE && state != ONEOFF_CANCELLED)
        r->stats.runs_refused++;
    settle(r, run);
}

void remote_started(struct remote *r, uint64_t now_ns, uint32_t handle,
                    enum oneoff_state state)
{
    struct run *run = find(r, handle);
    if (!run || run->state != RUN_STARTING)
        return;
    r->now_ns = now_ns;
    if (state == ONEOFF_RUNNING) {
        run->state = RUN_RUNNING;
        owe(r, run, OWES_TAKEN);
    } else {
        end(r, run, state, 0);
    }
}

void remote_sample(struct remote *r, uint64_t now_ns, uint32_t handle,
                   const struct sample *s, const struct sample_names *names)
{
    uint8_t bytes[SAMPLE_WIRE_MAX];
    struct wr w;
    struct run *run = find(r, handle);
    if (!run || run->state != RUN_RUNNING ||
        run->queue.first + run->queue.n >= run->question.request.count)
        return;
    r->now_ns = now_ns;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    sample_wire_write(s, names, &w);
    assert(!wr_err(&w));
    r->stats.lost +=
        remote_queue_push(&run->queue, bytes, w.len, REMOTE_HELD_RUN_MAX,
                          &r->held_bytes, REMOTE_HELD_MAX);
    if (run->due_ns == NEVER) /* nothing is under way either */
        run->due_ns = soon(r, run);
    settle(r, run);
}

void remote_ended(struct remote *r, uint64_t now_ns, uint32_t handle,
                  enum oneoff_state state, uint32_t missed)
{
    struct run *run = find(r, handle);
    if (!run || run->state != RUN_RUNNING)
        return;
    uint32_t rest =
        run->question.request.count - run->queue.first - run->queue.n;
    r->now_ns = now_ns;
    end(r, run, state, missed < rest ? missed : rest);
}

/* ---- what comes in ---- */

/* Of what is here already, or was. */
static bool is_known(struct remote *r, const struct remote_head *head,
                     uint32_t member, uint64_t hash)
{
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        struct run *run = r->runs[i];
        if (!run || run->member_hash != hash || !is_of(run, head))
            continue;
        if (run->state == RUN_RUNNING) {
            owe(r, run, OWES_TAKEN);
        } else if (run->state == RUN_ENDED && !(run->owes & OWES_STOP)) {
            run->due_ns = soon(r, run);
            settle(r, run);
        }
        return true;
    }
    const struct remembered *m = remote_recall(r, head, hash);
    if (m && !m->is_told)
        remote_reply(r, KIND_END, head, member, &m->verdict);
    return m != NULL;
}

static void refuse(struct remote *r, const struct remote_head *head,
                   uint32_t member, enum oneoff_state why)
{
    struct remote_verdict v = {.state = (uint8_t)why};
    r->stats.runs_refused++;
    remote_reply(r, KIND_END, head, member, &v);
}

static void on_ask(struct remote *r, const struct addr *from,
                   const struct remote_head *head, struct rd *rd)
{
    struct remote_question q;
    bool is_bad;
    remote_read_question(rd, &q, &is_bad);
    if (rd_err(rd)) {
        r->stats.broken++;
        return;
    }
    uint32_t member = members_find(r->members, span_of_text(q.node));
    if (member == UINT32_MAX) {
        r->stats.strangers++;
        return;
    }
    uint64_t hash = members_peek(r->members, member)->hash;
    if (!remote_is_partner(r, member, hash) ||
        !remote_comes_from(r, member, from))
        r->stats.strangers++;
    else if (is_known(r, head, member, hash))
        r->stats.duplicates++;
    else if (is_bad)
        refuse(r, head, member, ONEOFF_BAD_TARGET);
    else if (!remote_may_begin(r, hash))
        refuse(r, head, member, ONEOFF_BUSY);
    else if (!begin(r, head, member, &q))
        refuse(r, head, member, ONEOFF_FAILED);
}

/* The run that this is about, if it comes from whom it runs for. */
static struct run *find_for(struct remote *r, const struct addr *from,
                            const struct remote_head *head)
{
    bool is_here = false;
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        struct run *run = r->runs[i];
        if (!run || !is_of(run, head))
            continue;
        is_here = true;
        if (remote_is_partner(r, run->member, run->member_hash) &&
            remote_comes_from(r, run->member, from))
            return run;
    }
    if (is_here)
        r->stats.strangers++;
    else
        r->stats.late++;
    return NULL;
}

void remote_runs_on_message(struct remote *r, const struct addr *from,
                            const struct remote_head *head, struct rd *rd)
{
    if (head->kind == KIND_ASK) {
        on_ask(r, from, head, rd);
        return;
    }
    uint32_t next = head->kind == KIND_ACK ? rd_be32(rd) : 0;
    if (rd_end(rd)) {
        r->stats.broken++;
        return;
    }
    struct run *run = find_for(r, from, head);
    if (!run || (run->owes & OWES_STOP))
        return;
    if (head->kind == KIND_ACK)
        on_ack(r, run, next);
    else
        stop(r, run, true);
}

/* ---- time ---- */

void remote_runs_on_timer(struct remote *r, bool is_look)
{
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        struct run *run = r->runs[i];
        if (!run || (run->owes & OWES_STOP))
            continue;
        if (is_look && !remote_is_partner(r, run->member, run->member_hash))
            abandon(r, run);
        else
            settle(r, run);
    }
}

uint64_t remote_runs_deadline(const struct remote *r)
{
    uint64_t due_ns = NEVER;
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        const struct run *run = r->runs[i];
        if (!run)
            continue;
        if (!(run->owes & OWES_DATA) && run->due_ns < due_ns)
            due_ns = run->due_ns;
    }
    return due_ns;
}

/* ---- what comes out ---- */

static bool give_start(struct run *run, struct remote_effect *e)
{
    run->owes &= (uint8_t)~OWES_START;
    e->kind = REMOTE_START;
    e->run = run->handle;
    e->member = run->member;
    e->data = span_of(run->id, sizeof(run->id));
    e->request = &run->question.request;
    e->text = run->question.node;
    e->who = run->question.who;
    return true;
}

static bool give_stop(struct remote *r, struct run *run,
                      struct remote_effect *e)
{
    e->kind = REMOTE_STOP;
    e->run = run->handle;
    forget(r, run, true);
    return true;
}

static bool send_of(struct remote *r, struct run *run, unsigned what,
                    struct remote_effect *e)
{
    run->owes &= (uint8_t)~what;
    r->sent.run = run;
    r->sent.owes = (uint8_t)what;
    if (what == OWES_TAKEN)
        remote_begin(r, KIND_TAKEN, run->id, run->ask);
    else
        write_data(r, run);
    return remote_give(r, e, run->member);
}

static bool next_of(struct remote *r, struct run *run, bool may_send,
                    struct remote_effect *e)
{
    if (run->owes & OWES_STOP)
        return give_stop(r, run, e);
    if (run->owes & OWES_START)
        return give_start(run, e);
    if (may_send && (run->owes & OWES_TAKEN) && send_of(r, run, OWES_TAKEN, e))
        return true;
    return may_send && (run->owes & OWES_DATA) && send_of(r, run, OWES_DATA, e);
}

bool remote_runs_next(struct remote *r, bool may_send, struct remote_effect *e)
{
    bool owes = false;
    if (!r->runs_owe)
        return false;
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        if (!r->runs[i])
            continue;
        if (next_of(r, r->runs[i], may_send, e))
            return true;
        owes = owes || r->runs[i]->owes;
    }
    r->runs_owe = owes;
    return false;
}

/* ---- its end, its invariants ---- */

void remote_runs_fini(struct remote *r)
{
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        if (!r->runs[i])
            continue;
        remote_queue_fini(&r->runs[i]->queue, &r->held_bytes);
        free(r->runs[i]);
    }
}

static void check_run(const struct run *run)
{
    const struct remote_queue *q = &run->queue;
    remote_queue_check(q);
    assert(q->size <= REMOTE_HELD_RUN_MAX);
    assert(q->first + q->n + run->missed <= run->question.request.count);
    assert(run->sent_end <= q->first + q->n);
    if (run->owes & OWES_START)
        assert(run->state == RUN_STARTING);
    if (run->owes & OWES_TAKEN)
        assert(run->state == RUN_RUNNING);
    if (run->state == RUN_ENDED && !(run->owes & OWES_STOP))
        assert(oneoff_state_is_end((enum oneoff_state)run->end));
    if (run->is_under_way || (run->state == RUN_ENDED && !run->owes))
        assert(run->due_ns < NEVER);
    /* Whatever it holds will be sent, or it is given up. */
    if (q->n > 0 && !run->owes)
        assert(run->due_ns < NEVER);
}

void remote_runs_check(const struct remote *r)
{
    size_t n = 0, bytes = 0;
    bool owes = false;
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++) {
        const struct run *run = r->runs[i];
        if (!run)
            continue;
        check_run(run);
        owes = owes || run->owes;
        bytes += run->queue.size;
        n++;
    }
    assert(n == r->runs_open);
    assert(bytes == r->held_bytes);
    assert(bytes <= REMOTE_HELD_MAX);
    assert(!owes || r->runs_owe);
}
