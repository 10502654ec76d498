/* The pure machines between the control port and the mesh, short of memory:
 * samples on the wire, both sides of a probe from elsewhere, inquiries and all
 * the ways in which they end. */
#include <stdio.h>
#include <string.h>

#include "prober/sample_wire.h"
#include "test/inquiry_world.h"
#include "test/remote_net.h"
#include "test/torture/faults.h"
#include "test/torture/torture.h"

/* ---- samples as bytes ---- */

static bool samples_as_bytes(void)
{
    struct wr w;
    struct rd r;
    struct sample in, out;
    struct sample_names names, read;
    struct sample_texts texts;
    iw_sample(&in, &names, 5, OUTCOME_OK);
    wr_init_grow(&w, 16384);
    for (int i = 0; i < 4; i++)
        sample_wire_write(&in, &names, &w);
    bool is_fine = !wr_err(&w);
    rd_init(&r, w.data, w.len);
    for (int i = 0; is_fine && i < 4; i++) {
        claim(!sample_wire_read(&r, &out, &read, &texts));
        claim(out.total_ns == in.total_ns);
    }
    wr_fini(&w);
    return is_fine;
}

/* ---- a coordinator and an executor ---- */

#define MESSAGES 64

struct message {
    unsigned to;
    size_t len;
    uint8_t data[REMOTE_MESSAGE_MAX];
};

struct pair {
    struct net *net; /* for its members */
    struct remote *remotes[2];
    uint64_t now_ns;
    struct message messages[MESSAGES];
    unsigned first, last;
    bool is_running;
    uint32_t run, made;
    unsigned asked, ends, samples, bad;
    enum oneoff_state state;
};

#define SAMPLES 5

static void heed(struct pair *p, unsigned at, const struct remote_effect *e)
{
    if (e->kind == REMOTE_SEND) {
        struct message *m = &p->messages[p->last++ % MESSAGES];
        claim(p->last - p->first <= MESSAGES);
        claim(e->data.len <= REMOTE_MESSAGE_MAX);
        m->to = !at;
        m->len = e->data.len;
        memcpy(m->data, e->data.data, m->len);
    } else if (e->kind == REMOTE_START) {
        claim(!p->is_running && p->made == 0);
        p->is_running = true;
        p->run = e->run;
        remote_started(p->remotes[at], p->now_ns, e->run, ONEOFF_RUNNING);
    } else if (e->kind == REMOTE_STOP && p->is_running) {
        p->is_running = false;
        remote_ended(p->remotes[at], p->now_ns, e->run, ONEOFF_CANCELLED, 0);
    } else if (e->kind == REMOTE_SAMPLE) {
        claim(p->ends == 0 && ++p->samples <= SAMPLES);
    } else if (e->kind == REMOTE_END) {
        claim(p->ends++ == 0);
        p->state = e->state;
        claim(p->samples + e->lost + e->missed <= SAMPLES);
    }
}

static void drain_pair(struct pair *p)
{
    struct remote_effect e;
    for (unsigned at = 0; at < 2; at++) {
        while (remote_next(p->remotes[at], &e))
            heed(p, at, &e);
        remote_check(p->remotes[at]);
    }
}

static void make_one(struct pair *p)
{
    struct sample s;
    struct sample_names names;
    iw_sample(&s, &names, 1000, OUTCOME_OK);
    if (p->made++ < SAMPLES) {
        remote_sample(p->remotes[1], p->now_ns, p->run, &s, &names);
        return;
    }
    p->is_running = false;
    remote_ended(p->remotes[1], p->now_ns, p->run, ONEOFF_DONE, 0);
}

/* A tenth of a second, with what was said in it. */
static void step_pair(struct pair *p)
{
    const struct net_node *nodes = p->net->nodes;
    p->now_ns += 100 * NET_MS;
    while (p->first < p->last) {
        const struct message *m = &p->messages[p->first++ % MESSAGES];
        (void)remote_on_message(p->remotes[m->to], p->now_ns,
                                &nodes[!m->to].addr, span_of(m->data, m->len));
        drain_pair(p);
    }
    for (unsigned at = 0; at < 2; at++) {
        if (remote_deadline(p->remotes[at]) <= p->now_ns)
            remote_on_timer(p->remotes[at], p->now_ns);
    }
    drain_pair(p);
    if (p->is_running)
        make_one(p);
    drain_pair(p);
}

static bool ask_pair(struct pair *p)
{
    uint8_t id[REMOTE_ID_SIZE] = {1};
    struct oneoff_request request;
    uint32_t ask;
    oneoff_request_init(&request);
    snprintf(request.target, sizeof(request.target), "http://h/");
    request.count = SAMPLES;
    request.interval_ns = 100 * NET_MS;
    request.timeout_ns = NET_SEC;
    return !remote_ask(p->remotes[0], p->now_ns, id, net_member(p->net, 0, 1),
                       &request, "me", &ask);
}

static void check_quiet(const struct pair *p)
{
    for (unsigned at = 0; at < 2; at++) {
        struct remote_stats s;
        remote_stats(p->remotes[at], &s);
        claim(s.asks_open == 0 && s.runs_open == 0 && s.held_bytes == 0);
    }
}

/* Two that know each other; what is asked has one end, whatever it is. */
static bool asks_and_runs(void)
{
    static struct pair p;
    faults_pause();
    p = (struct pair){.net = net_open(1), .now_ns = 2000 * NET_SEC};
    faults_resume();
    for (unsigned at = 0; at < 2; at++) {
        const struct remote_config c = {p.net->nodes[at].name,
                                        p.net->nodes[at].members, at + 1};
        p.remotes[at] = remote_open(&c);
    }
    bool is_fine = p.remotes[0] && p.remotes[1] && ask_pair(&p);
    if (is_fine) {
        drain_pair(&p);
        for (unsigned i = 0; i < 1200; i++)
            step_pair(&p);
        claim(p.ends == 1 && !p.is_running);
        check_quiet(&p);
        is_fine = p.state == ONEOFF_DONE && p.samples == SAMPLES;
    }
    remote_close(p.remotes[0]);
    remote_close(p.remotes[1]);
    faults_pause();
    net_close(p.net);
    faults_resume();
    return is_fine;
}

/* ---- inquiries ---- */

/* The world writes its log in memory that does not fail. */
static int spared_audit(void *arg, const char *event,
                        const struct audit_field *fields)
{
    faults_pause();
    int rc = iw_audit(arg, event, fields);
    faults_resume();
    return rc;
}

static unsigned logged(struct iw *w, const char *piece)
{
    faults_pause();
    unsigned n = iw_log_count(w, piece);
    faults_resume();
    return n;
}

struct heard {
    unsigned samples, ends, summaries;
    uint64_t attempts;
};

static void hear(struct inquiry *q, struct heard *h)
{
    struct inquiry_event e;
    int rc;
    while ((rc = inquiry_next(q, &e)) == 1) {
        claim(h->summaries == 0);
        h->samples += e.kind == INQUIRY_SAMPLE;
        h->ends += e.kind == INQUIRY_EXECUTOR;
        if (e.kind != INQUIRY_SUMMARY)
            continue;
        h->summaries++;
        h->attempts = e.summary->attempts;
    }
    claim(rc == 0 || (rc == ERR_CLOSED && h->summaries == 1));
}

static void play(struct iw *w, struct inquiry *q, struct heard *h)
{
    for (size_t i = 0; i < w->n_runs; i++) {
        iw_local_sample(w, i, 1000, OUTCOME_OK);
        iw_local_sample(w, i, 0, OUTCOME_CONNECT_REFUSED);
        iw_local_end(w, i, ONEOFF_DONE, 1);
    }
    for (uint32_t i = 0; i < w->n_asks; i++) {
        struct sample s;
        struct sample_names names;
        iw_sample(&s, &names, 2000, OUTCOME_OK);
        inquiries_remote_sample(w->all, i, &s, &names);
        /* Each in another way; the last one says nothing any more. */
        if (i < 4)
            inquiries_remote_end(w->all, i,
                                 (enum oneoff_state)(ONEOFF_DONE + i), 0);
    }
    hear(q, h);
    for (int i = 0; i < 40; i++) {
        iw_turn(w, IW_S);
        hear(q, h);
    }
}

static bool inquire(struct iw *w)
{
    struct inquiry_ask ask;
    struct heard h = {0};
    enum inquiry_refusal refusal;
    struct errmsg msg = {""};
    iw_set_executors(w, 6);
    iw_ask_init(&ask, ROLE_PROBER, "http://b.test/");
    ask.from.kind = FROM_ALL_ZONES;
    struct inquiry *q = inquiry_start(w->all, &ask, iw_wake, w, &refusal, &msg);
    if (!q) {
        claim(refusal != INQUIRY_OK && w->n_runs + w->n_asks == 0);
        return false;
    }
    claim(logged(w, "probe_begin ") == 1);
    play(w, q, &h);
    claim(h.summaries == 1 && h.ends <= 5);
    claim(h.attempts <= 7 && h.samples <= h.attempts);
    inquiry_close(q);
    claim(logged(w, "probe_end ") == 1);
    return h.samples == 7 && h.attempts == 7;
}

/* All zones at once: done, cancelled, denied, busy, and silent. */
static bool inquiries(void)
{
    static struct iw w;
    faults_pause();
    iw_init(&w);
    struct inquiry_ops ops = *w.all->ops;
    ops.audit = spared_audit;
    w.all->ops = &ops;
    faults_resume();
    bool is_fine = inquire(&w);
    struct inquiries_stats s;
    inquiries_stats(w.all, &s);
    claim(s.open == 0);
    faults_pause();
    iw_fini(&w);
    faults_resume();
    return is_fine;
}

int main(void)
{
    static const struct torture_scenario all[] = {
        {"samples_on_the_wire", samples_as_bytes, 1000, false},
        {"an_ask_ends_once", asks_and_runs, 60, false},
        {"inquiries_end_in_a_summary", inquiries, 200, false},
    };
    return torture_main(all, sizeof(all) / sizeof(all[0]));
}
