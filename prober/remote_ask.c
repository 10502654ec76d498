#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"
#include "prober/remote_private.h"
#include "proto/base/err.h"

#define INDEX_BITS 10
#define INDEX_MASK (REMOTE_ASKS_MAX - 1)
#define SPARE_NS   (3 * REMOTE_SILENT_NS) /* how far a deadline can move */

_Static_assert(REMOTE_ASKS_MAX == 1 << INDEX_BITS, "a handle's low bits");

static bool is_open(const struct ask *a)
{
    return a->state == ASK_WAITING || a->state == ASK_TAKEN;
}

static void owe(struct remote *r, struct ask *a, unsigned what)
{
    a->owes |= (uint8_t)what;
    r->asks_owe = true;
}

/* Also one that is over, as long as its place was not needed. */
static struct ask *find(struct remote *r, uint32_t handle)
{
    struct ask *a = &r->asks[handle & INDEX_MASK];
    return a->state != ASK_FREE && a->handle == handle ? a : NULL;
}

/* A place that was never used, or that of the one that ended first; if it can
 * be one that is forgotten anyway, so that the table stays small. NULL: all
 * are in use. */
static struct ask *take_place(struct remote *r)
{
    struct ask *oldest = NULL;
    for (size_t i = 0; i < r->asks_top; i++) {
        struct ask *a = &r->asks[i];
        if (is_open(a) || (a->owes & OWES_END))
            continue;
        if (!oldest || a->over_ns < oldest->over_ns)
            oldest = a;
    }
    bool is_quiet = oldest && r->now_ns - oldest->over_ns >= ASK_QUIET_NS;
    if (!is_quiet && r->asks_top < REMOTE_ASKS_MAX)
        return &r->asks[r->asks_top++];
    return oldest;
}

/* ---- the host's ---- */

static int write_question(struct remote *r, struct ask *a,
                          const struct oneoff_request *request, const char *who)
{
    struct remote_question q = {.request = *request};
    memcpy(q.node, r->name, sizeof(q.node));
    memcpy(q.who, who, strnlen(who, sizeof(q.who) - 1));
    struct wr *w = remote_begin(r, KIND_ASK, a->id, a->handle);
    remote_write_question(w, &q);
    if (wr_err(w))
        return ERR_NOMEM;
    a->question = malloc(w->len);
    if (!a->question)
        return ERR_NOMEM;
    memcpy(a->question, w->data, w->len);
    a->question_len = w->len;
    return 0;
}

int remote_ask(struct remote *r, uint64_t now_ns,
               const uint8_t id[REMOTE_ID_SIZE], uint32_t member,
               const struct oneoff_request *request, const char *who,
               uint32_t *ask)
{
    if (oneoff_request_check(request, NULL))
        return ERR_BAD;
    if (member >= members_size(r->members))
        return ERR_CLOSED;
    uint64_t hash = members_peek(r->members, member)->hash;
    if (!remote_is_partner(r, member, hash))
        return ERR_CLOSED;
    r->now_ns = now_ns;
    struct ask *a = take_place(r);
    if (!a)
        return ERR_BUSY;
    *a = (struct ask){
        .state = ASK_OVER, /* until all is there */
        .handle = ++r->ask_gen << INDEX_BITS | (uint32_t)(a - r->asks),
        .member = member,
        .member_hash = hash,
        .over_ns = now_ns,
        .lasts_ns = oneoff_request_lasts_ns(request),
        .again_ns = remote_later(r, ASK_AGAIN_NS),
        .due_ns = now_ns + REMOTE_ANSWER_NS,
        .count = request->count,
    };
    memcpy(a->id, id, sizeof(a->id));
    int rc = write_question(r, a, request, who);
    if (rc)
        return rc;
    a->state = ASK_WAITING;
    r->asks_open++;
    r->stats.asks++;
    owe(r, a, OWES_ASK);
    *ask = a->handle;
    return 0;
}

static void close_ask(struct remote *r, struct ask *a)
{
    assert(is_open(a));
    free(a->question);
    a->question = NULL;
    a->state = ASK_OVER;
    a->over_ns = r->now_ns;
    a->owes &= (uint8_t) ~(OWES_ASK | OWES_ACK);
    r->asks_open--;
    if (r->inbox.is_full && r->inbox.ask == a->handle)
        r->inbox.is_full = false;
}

/* Over, and the host is to know; whoever runs it is told to stop, for which
 * it is as good as an answer to an END. */
static void end(struct remote *r, struct ask *a, enum oneoff_state state)
{
    close_ask(r, a);
    a->end = (uint8_t)state;
    owe(r, a, OWES_END | OWES_CANCEL);
    r->stats.lost += a->lost;
    if (state == ONEOFF_UNREACHABLE)
        r->stats.unreachable++;
}

void remote_drop(struct remote *r, uint64_t now_ns, uint32_t ask)
{
    struct ask *a = find(r, ask);
    if (!a)
        return;
    r->now_ns = now_ns;
    a->owes &= (uint8_t)~OWES_END;
    if (!is_open(a))
        return;
    close_ask(r, a);
    owe(r, a, OWES_CANCEL);
}

/* ---- what comes in ---- */

/* The executor lives. Its deadline moves, but not for ever. */
static void hear(struct remote *r, struct ask *a)
{
    if (a->state == ASK_WAITING) {
        a->state = ASK_TAKEN;
        a->due_ns = r->now_ns + a->lasts_ns + REMOTE_SILENT_NS;
        a->last_ns = a->due_ns + SPARE_NS;
        a->owes &= (uint8_t)~OWES_ASK;
        free(a->question);
        a->question = NULL;
    }
    uint64_t silent_ns = r->now_ns + REMOTE_SILENT_NS;
    if (silent_ns > a->last_ns)
        silent_ns = a->last_ns;
    if (silent_ns > a->due_ns)
        a->due_ns = silent_ns;
}

static bool are_samples(struct remote *r, const struct ask *a, uint32_t first,
                        struct rd rd, uint32_t *n)
{
    *n = 0;
    while (rd_left(&rd) > 0) {
        if (sample_wire_read(&rd, &r->sample, &r->names, &r->texts))
            return false;
        ++*n;
    }
    return !rd_err(&rd) && first <= a->count && *n <= a->count - first;
}

static void describe(struct remote *r, const struct ask *a)
{
    const struct member *m = members_peek(r->members, a->member);
    struct inbox *in = &r->inbox;
    struct facts facts;
    facts_decode(span_of(m->meta, m->meta_len), &facts);
    memcpy(in->zone, facts.zone, sizeof(in->zone));
    memcpy(in->node, m->name, (size_t)m->name_len);
    in->node[m->name_len] = '\0';
}

_Static_assert(sizeof(((struct facts *)0)->zone) == SAMPLE_NAME_SIZE,
               "zones fit");
_Static_assert(ML_NAME_MAX < REMOTE_NAME_SIZE, "names fit");

static bool make_inbox(struct remote *r)
{
    if (!r->inbox.data)
        r->inbox.data = malloc(REMOTE_MESSAGE_MAX);
    return r->inbox.data != NULL;
}

/* All of it is good, or nothing is taken. */
static void on_samples(struct remote *r, struct ask *a, bool is_first,
                       const struct remote_verdict *verdict, struct rd *rd)
{
    struct inbox *in = &r->inbox;
    uint32_t n, first = rd_be32(rd);
    if (!are_samples(r, a, first, *rd, &n) ||
        (verdict && (verdict->samples != first + n ||
                     verdict->samples + verdict->missed > a->count))) {
        r->stats.broken++;
        return;
    }
    if (!make_inbox(r))
        return; /* it comes again */
    hear(r, a);
    if (first > a->next) {
        a->lost += first - a->next;
        a->next = first;
    } else if (n > 0 && first + n <= a->next) {
        r->stats.duplicates++;
    }
    size_t len = rd_left(rd);
    memcpy(in->data, rd_bytes(rd, len), len);
    rd_init(&in->rd, in->data, len);
    in->ask = a->handle;
    in->number = first;
    in->is_full = true;
    in->is_taken = is_first && (n > 0 || !verdict);
    in->is_end = verdict != NULL;
    if (verdict)
        in->verdict = *verdict;
    describe(r, a);
    if (!verdict)
        owe(r, a, OWES_ACK);
}

/* One that is over is told so again. */
static void on_late(struct remote *r, struct ask *a)
{
    r->stats.late++;
    if (remote_is_partner(r, a->member, a->member_hash))
        owe(r, a, OWES_CANCEL);
}

void remote_asks_on_message(struct remote *r, const struct addr *from,
                            const struct remote_head *head, struct rd *rd)
{
    struct remote_verdict verdict = {0};
    struct ask *a = find(r, head->ask);
    if (!a || memcmp(a->id, head->id, sizeof(a->id)) != 0) {
        r->stats.unknown++;
        return;
    }
    if (!remote_is_partner(r, a->member, a->member_hash) ||
        !remote_comes_from(r, a->member, from)) {
        r->stats.strangers++;
        return;
    }
    bool is_first = a->state == ASK_WAITING;
    if (!is_open(a)) {
        on_late(r, a);
    } else if (head->kind == KIND_TAKEN) {
        if (rd_end(rd)) {
            r->stats.broken++;
            return;
        }
        hear(r, a);
        r->stats.duplicates += !is_first;
        r->inbox.is_taken = r->inbox.is_full = is_first;
        r->inbox.is_end = false;
        r->inbox.ask = a->handle;
        rd_init(&r->inbox.rd, NULL, 0);
    } else if (head->kind == KIND_END) {
        remote_read_verdict(rd, &verdict);
        on_samples(r, a, is_first, &verdict, rd);
    } else {
        on_samples(r, a, is_first, NULL, rd);
    }
}

/* ---- time ---- */

void remote_asks_on_timer(struct remote *r, bool is_look)
{
    for (size_t i = 0; i < r->asks_top; i++) {
        struct ask *a = &r->asks[i];
        if (!is_open(a))
            continue;
        bool is_gone =
            is_look && !remote_is_partner(r, a->member, a->member_hash);
        if (r->now_ns >= a->due_ns || is_gone) {
            end(r, a, ONEOFF_UNREACHABLE);
        } else if (a->state == ASK_WAITING && r->now_ns >= a->again_ns) {
            a->again_ns = remote_later(r, ASK_AGAIN_NS);
            owe(r, a, OWES_ASK);
        }
    }
}

uint64_t remote_asks_deadline(const struct remote *r)
{
    uint64_t due_ns = UINT64_MAX;
    for (size_t i = 0; i < r->asks_top; i++) {
        const struct ask *a = &r->asks[i];
        if (!is_open(a))
            continue;
        if (a->due_ns < due_ns)
            due_ns = a->due_ns;
        if (a->state == ASK_WAITING && a->again_ns < due_ns)
            due_ns = a->again_ns;
    }
    return due_ns;
}

/* ---- what comes out ---- */

static bool give_taken(struct remote *r, struct remote_effect *e)
{
    r->inbox.is_taken = false;
    r->stats.taken++;
    e->kind = REMOTE_TAKEN;
    e->ask = r->inbox.ask;
    return true;
}

/* The next sample of the inbox that was not heard before. */
static bool give_sample(struct remote *r, struct ask *a,
                        struct remote_effect *e)
{
    struct inbox *in = &r->inbox;
    while (rd_left(&in->rd) > 0) {
        int rc = sample_wire_read(&in->rd, &r->sample, &r->names, &r->texts);
        assert(rc == 0); /* they have been looked through */
        if (in->number++ < a->next)
            continue;
        a->next++;
        r->stats.samples_in++;
        r->names.from_node = in->node;
        r->names.from_zone = in->zone;
        e->kind = REMOTE_SAMPLE;
        e->ask = a->handle;
        e->sample = &r->sample;
        e->names = &r->names;
        return true;
    }
    return false;
}

static bool next_of_inbox(struct remote *r, struct remote_effect *e)
{
    struct inbox *in = &r->inbox;
    struct ask *a = find(r, in->ask);
    assert(a);
    if (in->is_taken)
        return give_taken(r, e);
    if (give_sample(r, a, e))
        return true;
    in->is_full = false;
    if (in->is_end) {
        a->missed = in->verdict.missed;
        end(r, a, (enum oneoff_state)in->verdict.state);
    }
    return false;
}

static bool send_of(struct remote *r, struct ask *a, unsigned what,
                    struct remote_effect *e)
{
    struct wr *w;
    a->owes &= (uint8_t)~what;
    r->sent.ask = a;
    r->sent.owes = (uint8_t)what;
    if (what == OWES_ASK) {
        wr_reset(&r->out);
        wr_bytes(&r->out, a->question, a->question_len);
    } else if (what == OWES_ACK) {
        w = remote_begin(r, KIND_ACK, a->id, a->handle);
        wr_be32(w, a->next);
    } else {
        remote_begin(r, KIND_CANCEL, a->id, a->handle);
    }
    return remote_give(r, e, a->member);
}

static bool next_of(struct remote *r, struct ask *a, bool may_send,
                    struct remote_effect *e)
{
    if (a->owes & OWES_END) {
        a->owes &= (uint8_t)~OWES_END;
        e->kind = REMOTE_END;
        e->ask = a->handle;
        e->state = (enum oneoff_state)a->end;
        e->missed = a->missed;
        e->lost = a->lost;
        return true;
    }
    static const uint8_t sends[] = {OWES_ASK, OWES_ACK, OWES_CANCEL};
    for (size_t i = 0; may_send && i < sizeof(sends); i++) {
        if (a->owes & sends[i])
            return send_of(r, a, sends[i], e);
    }
    return false;
}

bool remote_asks_next(struct remote *r, bool may_send, struct remote_effect *e)
{
    bool owes = false;
    if (r->inbox.is_full && next_of_inbox(r, e))
        return true;
    if (!r->asks_owe)
        return false;
    for (size_t i = 0; i < r->asks_top; i++) {
        if (next_of(r, &r->asks[i], may_send, e))
            return true;
        owes = owes || r->asks[i].owes;
    }
    r->asks_owe = owes;
    return false;
}

/* ---- its end, its invariants ---- */

void remote_asks_fini(struct remote *r)
{
    for (size_t i = 0; i < r->asks_top; i++)
        free(r->asks[i].question);
}

void remote_asks_check(const struct remote *r)
{
    size_t n = 0;
    bool owes = false;
    assert(r->asks_top <= REMOTE_ASKS_MAX);
    for (size_t i = 0; i < r->asks_top; i++) {
        const struct ask *a = &r->asks[i];
        n += is_open(a);
        owes = owes || a->owes;
        assert((a->question != NULL) == (a->state == ASK_WAITING));
        assert(a->next <= a->count);
        assert(a->lost <= a->next);
        if (a->owes & OWES_ASK)
            assert(a->state == ASK_WAITING);
        if (a->owes & OWES_ACK)
            assert(a->state == ASK_TAKEN);
        if (a->owes & OWES_END)
            assert(a->state == ASK_OVER);
        if (is_open(a))
            assert(a->due_ns >= r->now_ns || a->due_ns > 0);
    }
    assert(n == r->asks_open);
    assert(!owes || r->asks_owe);
}
