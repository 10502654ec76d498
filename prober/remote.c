#include "prober/remote.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "prober/remote_private.h"
#include "proto/base/err.h"

/* ---- life ---- */

struct remote *remote_open(const struct remote_config *c)
{
    if (strlen(c->name) >= REMOTE_NAME_SIZE)
        return NULL;
    struct remote *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    memcpy(r->name, c->name, strlen(c->name) + 1);
    r->members = c->members;
    rng_seed(&r->rng, c->seed);
    wr_init_grow(&r->out, REMOTE_MESSAGE_MAX);
    return r;
}

void remote_close(struct remote *r)
{
    if (!r)
        return;
    remote_asks_fini(r);
    remote_runs_fini(r);
    free(r->inbox.data);
    wr_fini(&r->out);
    free(r);
}

/* ---- members ---- */

bool remote_is_partner(const struct remote *r, uint32_t member, uint64_t hash)
{
    if (member >= members_size(r->members) || member == MEMBERS_SELF)
        return false;
    const struct member *m = members_peek(r->members, member);
    return m->name_len && m->is_ours && m->state <= MEMBER_SUSPECT &&
           m->hash == hash;
}

bool remote_comes_from(const struct remote *r, uint32_t member,
                       const struct addr *from)
{
    return addr_same_ip(&members_peek(r->members, member)->addr, from);
}

uint64_t remote_later(struct remote *r, uint64_t ns)
{
    return r->now_ns + ns + rng_below(&r->rng, ns / 2);
}

/* ---- what comes in ---- */

bool remote_on_message(struct remote *r, uint64_t now_ns,
                       const struct addr *from, struct span message)
{
    struct remote_head head;
    struct rd rd;
    if (message.len == 0 || message.data[0] != REMOTE_TYPE)
        return false;
    assert(!r->inbox.is_full);
    r->now_ns = now_ns;
    rd_init(&rd, message.data, message.len);
    remote_read_head(&rd, &head);
    if (rd_err(&rd) || message.len > REMOTE_MESSAGE_MAX) {
        r->stats.broken++;
        return true;
    }
    switch (head.kind) {
    case KIND_ASK:
    case KIND_ACK:
    case KIND_CANCEL:
        remote_runs_on_message(r, from, &head, &rd);
        break;
    case KIND_TAKEN:
    case KIND_SAMPLES:
    case KIND_END:
        remote_asks_on_message(r, from, &head, &rd);
        break;
    default:
        r->stats.broken++;
    }
    return true;
}

void remote_on_timer(struct remote *r, uint64_t now_ns)
{
    bool is_look = now_ns >= r->look_ns;
    r->now_ns = now_ns;
    if (is_look)
        r->look_ns = now_ns + LOOK_NS;
    remote_asks_on_timer(r, is_look);
    remote_runs_on_timer(r, is_look);
}

uint64_t remote_deadline(const struct remote *r)
{
    uint64_t asks_ns = remote_asks_deadline(r);
    uint64_t runs_ns = remote_runs_deadline(r);
    uint64_t due_ns = asks_ns < runs_ns ? asks_ns : runs_ns;
    if ((r->asks_open > 0 || r->runs_open > 0) && r->look_ns < due_ns)
        due_ns = r->look_ns;
    bool owes = r->asks_owe || r->runs_owe || r->n_replies > 0;
    if (owes && r->hold_ns < due_ns)
        due_ns = r->hold_ns;
    return due_ns;
}

/* ---- what comes out ---- */

struct wr *remote_begin(struct remote *r, uint8_t kind,
                        const uint8_t id[REMOTE_ID_SIZE], uint32_t ask)
{
    struct remote_head head = {.kind = kind, .ask = ask};
    memcpy(head.id, id, sizeof(head.id));
    wr_reset(&r->out);
    remote_write_head(&r->out, &head);
    return &r->out;
}

bool remote_give(struct remote *r, struct remote_effect *e, uint32_t member)
{
    if (wr_err(&r->out))
        return false;
    e->kind = REMOTE_SEND;
    e->member = member;
    e->data = span_of(r->out.data, r->out.len);
    return true;
}

void remote_reply(struct remote *r, uint8_t kind, const struct remote_head *to,
                  uint32_t member, const struct remote_verdict *v)
{
    if (r->n_replies == REPLIES_MAX)
        return;
    struct reply *p =
        &r->replies[(r->reply_first + r->n_replies++) % REPLIES_MAX];
    *p = (struct reply){.head = *to, .member = member};
    p->head.kind = kind;
    if (v)
        p->verdict = *v;
}

static bool next_reply(struct remote *r, struct remote_effect *e)
{
    while (r->n_replies > 0) {
        struct reply p = r->replies[r->reply_first];
        r->reply_first = (r->reply_first + 1) % REPLIES_MAX;
        r->n_replies--;
        struct wr *w = remote_begin(r, p.head.kind, p.head.id, p.head.ask);
        if (p.head.kind == KIND_END) {
            remote_write_verdict(w, &p.verdict);
            wr_be32(w, p.verdict.samples); /* none of them is in it */
        }
        if (!remote_give(r, e, p.member))
            continue;
        r->sent.is_reply = true;
        r->sent.reply = p;
        return true;
    }
    return false;
}

bool remote_next(struct remote *r, struct remote_effect *e)
{
    bool may_send = r->now_ns >= r->hold_ns;
    *e = (struct remote_effect){.member = UINT32_MAX};
    memset(&r->sent, 0, sizeof(r->sent));
    return remote_runs_next(r, may_send, e) ||
           remote_asks_next(r, may_send, e) || (may_send && next_reply(r, e));
}

void remote_unsent(struct remote *r, uint64_t now_ns)
{
    r->stats.unsent++;
    r->now_ns = now_ns;
    r->hold_ns = now_ns + HOLD_NS;
    if (r->sent.ask) {
        r->sent.ask->owes |= r->sent.owes;
        r->asks_owe = true;
    } else if (r->sent.run) {
        remote_run_unsent(r, r->sent.run, r->sent.owes);
    } else if (r->sent.is_reply) {
        const struct reply *p = &r->sent.reply;
        remote_reply(r, p->head.kind, &p->head, p->member, &p->verdict);
    }
    memset(&r->sent, 0, sizeof(r->sent));
}

/* ---- reading ---- */

void remote_stats(const struct remote *r, struct remote_stats *out)
{
    *out = r->stats;
    out->asks_open = r->asks_open;
    out->runs_open = r->runs_open;
    out->held_bytes = r->held_bytes;
}

void remote_check(const struct remote *r)
{
    assert(r->n_replies <= REPLIES_MAX);
    assert(r->reply_first < REPLIES_MAX);
    assert(r->remember_next < REMEMBERED_MAX);
    remote_asks_check(r);
    remote_runs_check(r);
}
