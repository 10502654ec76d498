#include "prober/probe_loop_uv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "prober/probe.h"
#include "prober/psock_uv.h"
#include "prober/resolve_uv.h"
#include "prober/tcp_info.h"
#include "proto/base/due.h"
#include "proto/base/heap.h"

#define READ_SIZE      32768
#define READS_PER_TURN 16 /* of one socket, then the others get a turn */
#define REPORTS_MAX                                    \
    64 /* per turn: a report may start an attempt that \
        * ends at once, and so on for ever */
/* A lookup that nobody waits for any more ends when its last try does. */
#define LOOKUPS_PER_ATTEMPT 4
#define LATE_READS_MAX      64 /* batches read before deadlines are judged */

/* One connection: of a cold attempt, or held for a warm probe. The socket
 * comes first: an event's socket is its slot. */
struct slot {
    struct psock ps;
    struct heap_node deadline; /* second: a node leads to its slot */
    struct probe_loop *loop;
    struct slot *next;      /* in the free or the finished list */
    struct slot *next_warm; /* in the list of held connections */
    struct lookup *lookup;
    struct probe_attempt attempt;
    uint32_t epoch;       /* of the clock map when the attempt began */
    uint32_t retransmits; /* of earlier attempts on this connection */
    bool is_warm;
    bool is_new;      /* warm: retransmits of the set-up not noted yet */
    bool is_asking;   /* inside resolver_start() */
    bool is_finished; /* in the finished list */
    bool is_released; /* warm: given up by its owner */
    struct probe probe;
};

/* The public handle of a held connection is its slot. */
struct probe_warm {
    struct slot slot;
};

struct probe_loop {
    struct psock_set set;
    struct resolver *resolver;
    struct resolver *retired; /* with lookups that still run */
    uv_timer_t timer;
    uint64_t armed_ns; /* when the timer fires, UINT64_MAX: not armed */
    struct heap deadlines;
    probe_done *done;
    void *arg;
    size_t n_slots, warm_max;
    size_t n_slots_used; /* what lies beyond was never touched */
    struct slot *slots, *free_slots;
    struct slot *finished, **finished_end;
    struct slot *warm;
    struct probe_run *runs, **free_runs;
    size_t n_free_runs, n_runs_used;
    bool is_closing;
    struct probe_loop_stats stats;
    uint8_t scratch[READ_SIZE];
};

/* ---- timer ---- */

static void step(struct slot *s);
static void on_timer(uv_timer_t *timer);

static void arm(struct probe_loop *l, uint64_t when_ns)
{
    if (l->is_closing || when_ns >= l->armed_ns)
        return;
    uint64_t wait_ms = due_ms(when_ns, clock_now_ns());
    uv_update_time(l->timer.loop);
    uv_timer_start(&l->timer, on_timer, wait_ms, 0);
    l->armed_ns = when_ns;
}

static void arm_next(struct probe_loop *l)
{
    struct heap_node *first = heap_first(&l->deadlines);
    if (l->finished)
        arm(l, 0);
    else if (first)
        arm(l, first->deadline_ns);
}

/* ---- reports ---- */

/* Ends are reported from the top of the loop, never from inside a step, so
 * that a callback may start attempts without going deeper and deeper. */
static void queue_report(struct slot *s)
{
    struct probe_loop *l = s->loop;
    if (s->is_finished)
        return;
    s->is_finished = true;
    s->next = NULL;
    *l->finished_end = s;
    l->finished_end = &s->next;
    heap_remove(&l->deadlines, &s->deadline);
}

static void free_warm(struct slot *s)
{
    struct slot **at = &s->loop->warm;
    while (*at != s)
        at = &(*at)->next_warm;
    *at = s->next_warm;
    s->loop->stats.warm_open--;
    probe_fini(&s->probe);
    psock_close(&s->ps);
    free((struct probe_warm *)(void *)s);
}

static void free_slot(struct slot *s)
{
    s->next = s->loop->free_slots;
    s->loop->free_slots = s;
}

static void release_slot(struct slot *s)
{
    if (s->is_warm) {
        if (s->is_released)
            free_warm(s);
        return;
    }
    probe_fini(&s->probe);
    free_slot(s);
}

static void report(struct slot *s)
{
    struct probe_loop *l = s->loop;
    struct probe_run *run = probe_reported(&s->probe);
    struct sample *sample = &run->sample;

    sample->target = s->attempt.target_index;
    sample->target_gen = s->attempt.target_gen;
    sample->job = s->attempt.job;
    sample_check(sample);
    l->stats.finished++;
    l->stats.in_flight--;

    s->is_finished = false;
    release_slot(s);
    /* The run is given back before the callback, which may start the next
     * attempt with it: the sample is handed over as a copy. */
    struct sample copy = *sample;
    l->free_runs[l->n_free_runs++] = run;
    l->done(l->arg, &copy);
}

static void report_finished(struct probe_loop *l)
{
    for (int i = 0; l->finished && i < REPORTS_MAX; i++) {
        struct slot *s = l->finished;
        l->finished = s->next;
        if (!l->finished)
            l->finished_end = &l->finished;
        report(s);
    }
}

static void on_turn(void *arg, uint64_t now_ns)
{
    struct probe_loop *l = arg;
    (void)now_ns;
    report_finished(l);
    arm_next(l);
}

/* ---- doing what the machine wants ---- */

static void on_resolved(void *arg, const struct resolve_result *result)
{
    struct slot *s = arg;
    struct probe_loop *l = s->loop;
    bool is_stepped = result->epoch && (result->epoch != s->epoch ||
                                        result->epoch != l->set.clock.epoch);
    struct probe_resolved r = {
        .outcome = result->outcome,
        .addresses = result->addresses,
        .n_addresses = result->n_addresses,
        .sent = result->sent,
        .answered = result->answered,
        .error = result->error,
    };
    if (is_stepped)
        r.sent = r.answered = (struct stamp){0};
    s->lookup = NULL;
    probe_on_resolved(&s->probe, &r, clock_now_ns());
    if (!s->is_asking) /* else the step that asked goes on by itself */
        step(s);
}

static void do_resolve(struct slot *s)
{
    struct probe_loop *l = s->loop;
    const struct target *t = s->probe.target;
    probe_on_resolving(&s->probe, clock_now_ns());
    s->is_asking = true;
    s->lookup =
        resolver_start(l->resolver, t->host, t->ip_first, on_resolved, s);
    s->is_asking = false;
    if (!s->lookup && s->probe.state == PROBE_RESOLVE && s->probe.run &&
        !(s->probe.wants & WANT_REPORT))
        probe_cancel(&s->probe, OUTCOME_LOCAL_RESOURCE, "too many lookups");
}

static void do_connect(struct slot *s)
{
    struct probe *p = &s->probe;
    s->retransmits = 0;
    s->is_new = s->is_warm;
    probe_on_connecting(p, clock_now_ns());
    int rc = psock_connect(&s->loop->set, &s->ps, probe_peer(p));
    if (rc < 0)
        probe_on_error(p, -rc, clock_now_ns());
}

/* What was sent again while the connection was made is not the attempt's. */
static void leave_setup(struct slot *s)
{
    struct tcp_facts facts;
    s->is_new = false;
    if (!tcp_facts_read(s->ps.fd, &facts))
        s->retransmits = facts.retransmits;
}

/* False: the socket takes no more now. */
static bool do_send(struct slot *s)
{
    struct probe *p = &s->probe;
    if (s->is_new && p->state == PROBE_WAIT)
        leave_setup(s);
    size_t len;
    bool is_timed;
    const uint8_t *data = probe_out(p, &len, &is_timed);

    uint64_t now_ns = clock_now_ns();
    int n = psock_send(&s->ps, data, len, is_timed);
    if (n == -EAGAIN)
        return false;
    if (n < 0)
        probe_on_error(p, -n, now_ns);
    else
        probe_on_sent(p, (size_t)n, now_ns);
    return true;
}

/* What the kernel counted by the end, of this attempt alone. */
static void note_facts(struct slot *s)
{
    struct tcp_facts facts;
    assert(s->probe.run); /* it has something to report */
    struct sample *sample = &s->probe.run->sample;
    if (s->ps.fd < 0 || tcp_facts_read(s->ps.fd, &facts))
        return;
    sample->retransmits = (int32_t)(facts.retransmits - s->retransmits);
    s->retransmits = facts.retransmits;
    if (s->is_warm && facts.is_established)
        sample->rtt_ns = (int64_t)facts.rtt_us * 1000;
    if (s->is_warm && sample->local.family == ADDR_NONE) {
        psock_local(&s->ps, &sample->local);
        sample->peer = *probe_peer(&s->probe);
    }
}

static void step(struct slot *s)
{
    struct probe *p = &s->probe;
    for (;;) {
        unsigned wants = probe_wants(p);
        if ((wants & WANT_REPORT) && !s->is_finished) {
            note_facts(s);
            queue_report(s);
        } else if (wants & WANT_CLOSE) {
            psock_close(&s->ps);
            probe_closed(p);
        } else if (wants & WANT_RESOLVE) {
            do_resolve(s);
        } else if (wants & WANT_CONNECT) {
            do_connect(s);
        } else if (!(wants & WANT_SEND) || !do_send(s)) {
            break;
        }
    }
}

/* ---- events ---- */

static struct stamp stamp_of(struct slot *s, uint64_t real_ns, uint64_t now_ns)
{
    if (s->epoch != s->loop->set.clock.epoch)
        return (struct stamp){0}; /* the wall clock was stepped meanwhile */
    return clock_map_stamp(&s->loop->set.clock, real_ns, now_ns);
}

static void take_stamps(struct slot *s, uint64_t now_ns)
{
    struct psock_tx tx;
    while (psock_take_tx(s->ps.fd, &tx))
        probe_on_tx(&s->probe, tx.offset, stamp_of(s, tx.real_ns, now_ns));
}

/* The same, but only until the one that is needed now is there: to find the
 * queue empty costs a system call too. */
static void take_needed_stamp(struct slot *s, uint64_t now_ns)
{
    struct psock_tx tx;
    while (probe_needs_tx(&s->probe) && psock_take_tx(s->ps.fd, &tx))
        probe_on_tx(&s->probe, tx.offset, stamp_of(s, tx.real_ns, now_ns));
}

/* Nothing between us and the kernel ought to lead a connection elsewhere than
 * to the address that was judged; if something does (a translation at the
 * socket layer), not a byte is sent there. */
static bool is_pinned_peer(struct slot *s, uint64_t now_ns)
{
    struct addr peer;
    int rc = psock_peer(&s->ps, &peer);
    if (rc == -ENOTCONN)
        return true; /* reset already: nothing can leave any more */
    if (rc) {
        probe_on_error(&s->probe, -rc, now_ns);
        return false;
    }
    if (!addr_equal(&peer, probe_peer(&s->probe))) {
        probe_cancel(&s->probe, OUTCOME_LOCAL_RESOURCE,
                     "connected to another address than was dialled");
        return false;
    }
    return true;
}

static void on_connect_event(struct slot *s, uint32_t events, uint64_t now_ns)
{
    struct tcp_facts facts;
    if (events & (EPOLLERR | EPOLLHUP)) {
        int error = psock_error(&s->ps);
        if (error < 0) {
            probe_on_error(&s->probe, -error, now_ns);
            return;
        }
    }
    if (!(events & EPOLLOUT) || tcp_facts_read(s->ps.fd, &facts) ||
        !facts.is_established)
        return;
    if (!is_pinned_peer(s, now_ns))
        return;
    (void)psock_stamp_tcp(&s->ps);
    if (s->is_warm)
        psock_nodelay(&s->ps);
    struct probe_connected c = {
        .rtt_us = facts.rtt_us,
        .retransmits = facts.retransmits,
        .last_ack_ms = facts.last_ack_ms,
    };
    psock_local(&s->ps, &c.local);
    probe_on_connected(&s->probe, &c, clock_now_ns());
}

static void read_socket(struct slot *s, uint32_t events, uint64_t now_ns)
{
    struct probe_loop *l = s->loop;
    /* With the end of the stream already here there comes no further edge. */
    bool is_ending = events & (EPOLLRDHUP | EPOLLHUP);

    for (int i = 0; i < READS_PER_TURN; i++) {
        uint64_t real_ns;
        int n = psock_recv(&s->ps, l->scratch, sizeof(l->scratch), &real_ns);
        if (n == -EAGAIN)
            return;
        /* On a fast path the answer may be here before the event that tells
         * of our own bytes' stamp was asked for. */
        if (n > 0)
            take_needed_stamp(s, now_ns);
        if (n > 0)
            probe_on_bytes(&s->probe, l->scratch, (size_t)n,
                           stamp_of(s, real_ns, now_ns), clock_now_ns());
        else if (n == 0)
            probe_on_eof(&s->probe, now_ns);
        else
            probe_on_error(&s->probe, -n, now_ns);
        step(s);
        if (s->ps.fd < 0 || n <= 0 || (n < READ_SIZE && !is_ending))
            return;
    }
    psock_again(&l->set, &s->ps);
}

static void on_event(struct psock *ps, uint32_t events, uint64_t now_ns)
{
    struct slot *s = (struct slot *)(void *)ps;
    if (s->probe.state == PROBE_CONNECT) {
        on_connect_event(s, events, now_ns);
        step(s);
        if (s->ps.fd < 0 || s->probe.state == PROBE_CONNECT)
            return;
        events &= ~(uint32_t)EPOLLERR;
    }
    if (events & EPOLLERR)
        take_stamps(s, now_ns);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        read_socket(s, events, now_ns);
    if (s->ps.fd >= 0 && (s->probe.wants & WANT_SEND))
        step(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct probe_loop *l = timer->data;
    l->armed_ns = UINT64_MAX;

    /* A timer is no evidence of a timeout: what has arrived counts by its
     * stamp, so it is read before anybody is declared late. */
    struct heap_node *first = heap_first(&l->deadlines);
    uint64_t now_ns = clock_now_ns();
    if (first && first->deadline_ns <= now_ns) {
        for (int i = 0; i < LATE_READS_MAX && psock_set_poll(&l->set) > 0; i++)
            ;
    }
    while ((first = heap_first(&l->deadlines)) &&
           first->deadline_ns <= now_ns) {
        struct slot *s =
            (struct slot *)(void *)((char *)first -
                                    offsetof(struct slot, deadline));
        heap_remove(&l->deadlines, first);
        probe_on_deadline(&s->probe, clock_now_ns());
        if (s->lookup && s->probe.state != PROBE_RESOLVE) {
            resolver_detach(s->lookup);
            s->lookup = NULL;
        }
        step(s);
        if (!s->is_finished && s->probe.run)
            heap_set(&l->deadlines, &s->deadline, s->probe.run->deadline_ns);
    }
    report_finished(l);
    resolvers_sweep(&l->retired, false);
    arm_next(l);
}

/* ---- starting ---- */

/* What was used before comes first, the lowest of the rest next: a quiet
 * prober touches few pages of what it may need one day. NULL: none is left. */
static struct slot *take_slot(struct probe_loop *l)
{
    struct slot *s = l->free_slots;
    if (s) {
        l->free_slots = s->next;
    } else if (l->n_slots_used < l->n_slots) {
        s = &l->slots[l->n_slots_used++];
        s->loop = l;
        s->ps = (struct psock){.fd = -1, .on_event = on_event};
    }
    return s;
}

static struct probe_run *take_run(struct probe_loop *l)
{
    if (l->n_free_runs)
        return l->free_runs[--l->n_free_runs];
    return l->n_runs_used < l->n_slots ? &l->runs[l->n_runs_used++] : NULL;
}

static int start(struct slot *s, const struct probe_attempt *a)
{
    struct probe_loop *l = s->loop;
    struct probe_run *run = l->is_closing ? NULL : take_run(l);
    if (!run) {
        l->stats.busy++;
        return ERR_BUSY;
    }
    uint64_t now_ns = clock_now_ns();
    struct probe_start start = {
        .now_ns = now_ns,
        .intended_ns = a->intended_ns,
        .now_unix_ns = now_ns + (uint64_t)l->set.clock.offset_ns,
        .timeout_ns = a->timeout_ns,
    };
    s->attempt = *a;
    s->epoch = l->set.clock.epoch;
    l->stats.started++;
    l->stats.in_flight++;
    if (l->stats.in_flight > l->stats.in_flight_max_seen)
        l->stats.in_flight_max_seen = l->stats.in_flight;

    probe_begin(&s->probe, run, &start);
    heap_set(&l->deadlines, &s->deadline, run->deadline_ns);
    step(s);
    arm_next(l);
    return 0;
}

int probe_loop_cold(struct probe_loop *l, const struct probe_attempt *a)
{
    struct slot *s = take_slot(l);
    if (!s) {
        l->stats.busy++;
        return ERR_BUSY;
    }
    probe_init(&s->probe, a->target, a->protocol, MODE_COLD);
    int rc = start(s, a);
    if (rc)
        free_slot(s);
    return rc;
}

struct probe_warm *probe_warm_open(struct probe_loop *l,
                                   const struct target *target,
                                   uint8_t protocol)
{
    if (l->stats.warm_open == l->warm_max)
        return NULL;
    struct probe_warm *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    struct slot *s = &w->slot;
    s->loop = l;
    s->is_warm = true;
    s->ps = (struct psock){.fd = -1, .on_event = on_event};
    s->next_warm = l->warm;
    l->warm = s;
    l->stats.warm_open++;
    probe_init(&s->probe, target, protocol, MODE_WARM);
    return w;
}

bool probe_warm_needs_setup(const struct probe_warm *w)
{
    return w->slot.probe.state == PROBE_IDLE;
}

int probe_warm_attempt(struct probe_warm *w, const struct probe_attempt *a)
{
    struct slot *s = &w->slot;
    if (s->probe.run) {
        s->loop->stats.busy++;
        return ERR_BUSY;
    }
    return start(s, a);
}

/* End what runs in a slot; its report follows. */
static void cancel(struct slot *s)
{
    if (s->lookup) {
        resolver_detach(s->lookup);
        s->lookup = NULL;
    }
    if (s->probe.run)
        probe_cancel(&s->probe, OUTCOME_CANCELLED, "cancelled");
    step(s);
}

void probe_warm_close(struct probe_warm *w)
{
    if (!w)
        return;
    struct slot *s = &w->slot;
    s->is_released = true;
    cancel(s);
    if (s->is_finished)
        arm(s->loop, 0); /* freed with its report */
    else
        free_warm(s);
}

/* ---- life ---- */

struct resolver *probe_loop_resolver(const struct addr *servers,
                                     size_t n_servers, size_t in_flight_max,
                                     struct errmsg *msg)
{
    return resolver_make(servers, n_servers,
                         LOOKUPS_PER_ATTEMPT * in_flight_max + 64, msg);
}

void probe_loop_set_resolver(struct probe_loop *l, struct resolver *r)
{
    resolver_begin(r, &l->set, l->timer.loop);
    resolver_retire(l->resolver, &l->retired);
    l->resolver = r;
}

struct probe_loop *probe_loop_open(const struct probe_loop_config *c,
                                   struct errmsg *msg)
{
    struct probe_loop *l = calloc(1, sizeof(*l));
    if (!l)
        goto no_memory;
    l->done = c->done;
    l->arg = c->arg;
    l->n_slots = c->in_flight_max;
    l->warm_max = c->warm_max;
    l->armed_ns = UINT64_MAX;
    l->finished_end = &l->finished;
    l->slots = calloc(l->n_slots, sizeof(*l->slots));
    l->runs = calloc(l->n_slots, sizeof(*l->runs));
    l->free_runs = calloc(l->n_slots, sizeof(struct probe_run *));
    if (!l->slots || !l->runs || !l->free_runs ||
        heap_init(&l->deadlines, l->n_slots))
        goto no_memory;
    l->resolver = probe_loop_resolver(c->dns_servers, c->n_dns_servers,
                                      c->in_flight_max, msg);
    if (!l->resolver || psock_set_open(&l->set, c->loop, msg))
        goto fail;
    l->set.on_turn = on_turn;
    l->set.arg = l;
    resolver_begin(l->resolver, &l->set, c->loop);
    uv_timer_init(c->loop, &l->timer);
    l->timer.data = l;
    return l;

no_memory:
    errmsg_set(msg, "out of memory");
fail:
    if (l) {
        resolver_drop(l->resolver);
        heap_fini(&l->deadlines);
        free(l->slots);
        free(l->runs);
        free(l->free_runs);
    }
    free(l);
    return NULL;
}

static void on_set_closed(void *arg)
{
    struct probe_loop *l = arg;
    heap_fini(&l->deadlines);
    free(l->slots);
    free(l->runs);
    free(l->free_runs);
    free(l);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct probe_loop *l = handle->data;
    psock_set_close(&l->set);
}

void probe_loop_close(struct probe_loop *l)
{
    if (!l)
        return;
    l->is_closing = true;
    for (size_t i = 0; i < l->n_slots_used; i++) {
        if (l->slots[i].probe.run)
            cancel(&l->slots[i]);
    }
    for (struct slot *s = l->warm, *next; s; s = next) {
        next = s->next_warm;
        probe_warm_close((struct probe_warm *)(void *)s);
    }
    while (l->finished)
        report_finished(l);
    resolvers_sweep(&l->retired, true);
    resolver_close(l->resolver);
    l->set.on_turn = NULL;
    l->set.on_closed = on_set_closed;
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

void probe_loop_stats(const struct probe_loop *l, struct probe_loop_stats *s)
{
    *s = l->stats;
}
