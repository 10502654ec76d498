/* Messages of a member that lies, and of a stranger, to a node that asks and
 * runs: nothing breaks, what it holds is bounded, an ask ends once and brings
 * no more samples than were asked for. Input: steps, each an opcode and what it
 * needs. In a message the byte 'N' as first of the id stands for the id and the
 * number of the last ask. */
#include "prober/remote.h"

#include <assert.h>
#include <string.h>

#include "proto/base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEC   UINT64_C(1000000000)
#define COUNT 5
#define ASKS  16
#define ID    3  /* where it is in a message */
#define HEAD  23 /* with the number behind it */

struct world {
    struct remote *r;
    struct members *members;
    struct addr peer, stranger;
    uint32_t member, last_run;
    uint64_t now_ns;
    enum oneoff_state answer;
    bool is_busy;
    unsigned n_asks;
    uint8_t id[REMOTE_ID_SIZE];
    uint32_t asks[ASKS];
    unsigned ends[ASKS], samples[ASKS];
    bool is_dropped[ASKS];
};

static void open_world(struct world *w)
{
    static const struct addr_policy anywhere = {.allows_loopback = false};
    static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};
    struct members_config c = {
        .name = span_of_text("self"),
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
    *w = (struct world){.now_ns = SEC, .answer = ONEOFF_RUNNING};
    memcpy(c.vsn, vsn, sizeof(vsn));
    int err = addr_parse(&c.advertise, "10.0.0.1:7946");
    err |= addr_parse(&w->peer, "10.0.0.2:7946");
    err |= addr_parse(&w->stranger, "10.0.0.3:7946");
    w->members = members_open(&c, SEC);
    assert(!err && w->members);
    struct change change;
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text("peer"),
                         .addr = span_of(w->peer.ip, 4),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(w->members, SEC, &a, &change);
    assert(change.kind == CHANGE_JOINED);
    w->member = change.index;
    members_get(w->members, w->member)->is_ours = true;
    struct remote_config rc = {"self", w->members, 1};
    w->r = remote_open(&rc);
    assert(w->r);
}

static unsigned ask_of(const struct world *w, uint32_t ask)
{
    unsigned i = 0;
    while (i < w->n_asks && w->asks[i] != ask)
        i++;
    assert(i < w->n_asks);
    assert(!w->is_dropped[i] && w->ends[i] == 0);
    return i;
}

static void drain(struct world *w)
{
    struct remote_effect e;
    struct remote_stats s;
    while (remote_next(w->r, &e)) {
        if (e.kind == REMOTE_SEND) {
            assert(e.member == w->member);
            assert(e.data.len >= HEAD && e.data.len <= REMOTE_MESSAGE_MAX);
            if (w->is_busy)
                remote_unsent(w->r, w->now_ns);
        } else if (e.kind == REMOTE_START) {
            assert(!oneoff_request_check(e.request, NULL));
            w->last_run = e.run;
            remote_started(w->r, w->now_ns, e.run, w->answer);
        } else if (e.kind == REMOTE_TAKEN) {
            ask_of(w, e.ask);
        } else if (e.kind == REMOTE_SAMPLE) {
            sample_check(e.sample);
            assert(!strcmp(e.names->from_node, "peer"));
            assert(++w->samples[ask_of(w, e.ask)] <= COUNT);
        } else if (e.kind == REMOTE_END) {
            unsigned i = ask_of(w, e.ask);
            assert(oneoff_state_is_end(e.state));
            assert(w->samples[i] + e.missed + e.lost <= COUNT);
            w->ends[i]++;
        }
    }
    remote_check(w->r);
    remote_stats(w->r, &s);
    assert(s.held_bytes <= REMOTE_HELD_MAX);
    assert(s.runs_open <= REMOTE_RUNS_MAX);
}

static void ask(struct world *w, uint8_t seed)
{
    struct oneoff_request q;
    if (w->n_asks == ASKS)
        return;
    oneoff_request_init(&q);
    strcpy(q.target, "http://h/");
    q.count = COUNT;
    memset(w->id, seed, sizeof(w->id));
    if (!remote_ask(w->r, w->now_ns, w->id, w->member, &q, "who",
                    &w->asks[w->n_asks]))
        w->n_asks++;
}

static void receive(struct world *w, struct rd *r, bool is_stranger)
{
    uint8_t message[2048];
    size_t len = rd_be16(r);
    len = len < rd_left(r) ? len : rd_left(r);
    len = len < sizeof(message) ? len : sizeof(message);
    const uint8_t *from = rd_bytes(r, len);
    if (!from)
        return;
    memcpy(message, from, len);
    if (len >= HEAD && message[ID] == 'N' && w->n_asks > 0) {
        uint32_t number = w->asks[w->n_asks - 1];
        memcpy(message + ID, w->id, sizeof(w->id));
        for (unsigned i = 0; i < 4; i++)
            message[HEAD - 1 - i] = (uint8_t)(number >> 8 * i);
    }
    remote_on_message(w->r, w->now_ns, is_stranger ? &w->stranger : &w->peer,
                      span_of(message, len));
}

static void produce(struct world *w)
{
    const struct sample_names names = {.target = "http://h/"};
    struct sample s;
    sample_init(&s);
    s.outcome = OUTCOME_EOF;
    remote_sample(w->r, w->now_ns, w->last_run, &s, &names);
}

static void step(struct world *w, struct rd *r)
{
    uint8_t what = rd_u8(r);
    switch (what) {
    case 'a':
        ask(w, rd_u8(r));
        break;
    case 'd':
        if (w->n_asks > 0) {
            unsigned i = rd_u8(r) % w->n_asks;
            remote_drop(w->r, w->now_ns, w->asks[i]);
            w->is_dropped[i] = w->ends[i] == 0;
        }
        break;
    case 't':
        w->now_ns += rd_be16(r) * UINT64_C(1000000);
        remote_on_timer(w->r, w->now_ns);
        break;
    case 'p':
        produce(w);
        break;
    case 'e':
        remote_ended(w->r, w->now_ns, w->last_run, ONEOFF_DONE, rd_u8(r));
        break;
    case 's':
        w->answer = rd_u8(r) & 1 ? ONEOFF_RUNNING : ONEOFF_DENIED;
        break;
    case 'b':
        w->is_busy = rd_u8(r) & 1;
        break;
    case 'x':
        members_get(w->members, w->member)->state = rd_u8(r) & 3;
        break;
    default:
        receive(w, r, what == 'S');
    }
    drain(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w;
    struct rd r;
    open_world(&w);
    rd_init(&r, data, size);
    while (rd_left(&r) > 0)
        step(&w, &r);
    /* All comes to an end. */
    w.is_busy = false;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t due_ns = remote_deadline(w.r);
        if (due_ns == UINT64_MAX)
            break;
        w.now_ns = due_ns > w.now_ns ? due_ns : w.now_ns;
        remote_on_timer(w.r, w.now_ns);
        drain(&w);
    }
    for (unsigned i = 0; i < w.n_asks; i++)
        assert(w.ends[i] + w.is_dropped[i] == 1);
    remote_close(w.r);
    members_close(w.members);
    return 0;
}
