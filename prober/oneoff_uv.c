#include "prober/oneoff_uv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/clock.h"
#include "prober/hosts.h"
#include "prober/probe_loop_uv.h"
#include "prober/target.h"
#include "proto/base/due.h"
#include "proto/base/rate.h"
#include "proto/base/rng.h"
#include "proto/tls.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* Addresses whose rate is watched; the idlest one gives way. */
#define BUCKETS        256
#define ONEOFF_ID_SIZE 40
/* Addresses of an execution that are written down once; others each time. */
#define TOLD_MAX 16
/* After an attempt for which its engine had no room. */
#define BUSY_NS (20 * NS_PER_MS)

/* What attempts run on: made anew by a reload, kept while something uses it. */
struct engine {
    struct oneoffs *owner;
    struct probe_loop *probes;
    struct tls_context *tls;
    size_t users; /* executions */
    struct engine *next;
};

struct bucket {
    uint64_t key; /* of address and port, or of host and port */
    struct rate rate;
};

/* What a dial is judged by; outlives the attempts. */
struct judge {
    struct target_guard guard;
    struct oneoff *execution;
};

struct oneoff {
    struct oneoffs *owner;
    size_t place;
    struct engine *engine;
    struct oneoff_request request;
    struct oneoff_target means;
    struct oneoff_sink sink;
    struct oneoff_pace pace;
    struct target target;
    struct judge judge;
    struct probe_warm *warm;
    char id[ONEOFF_ID_SIZE];
    size_t n_told; /* addresses that are in the audit log */
    struct addr told[TOLD_MAX];
    uint64_t bucket_key;
    bool is_by_address; /* the bucket; before the first dial, by name */
    uint64_t retry_ns;  /* the bucket's rate allows the next attempt then */
    enum oneoff_state state;
    bool is_denied; /* set while an attempt is being judged */
    bool is_ended;  /* on_end was called; waits for its attempts */
};

struct oneoffs {
    uv_loop_t *loop;
    const struct config *config;
    const struct roster *roster;
    const struct target_policy *policy;
    struct audit *audit;
    struct engine *engines; /* the first one is for what begins */
    uv_timer_t timer;
    bool is_closing, is_timer_closed;
    size_t n_places, turn;  /* turn: whose is the next free slot */
    struct oneoff **places; /* NULL: free */
    struct oneoffs_stats stats;
    struct bucket buckets[BUCKETS];
};

static void on_timer(uv_timer_t *timer);

static void arm(struct oneoffs *o, uint64_t due_ns)
{
    if (o->is_closing || due_ns == UINT64_MAX)
        return;
    uint64_t wait_ms = due_ms(due_ns, clock_now_ns());
    uv_update_time(o->loop);
    uv_timer_start(&o->timer, on_timer, wait_ms, 0);
}

/* ---- engines ---- */

static void on_done(void *arg, const struct sample *s);

static struct engine *engine_open(struct oneoffs *o, const struct config *c,
                                  struct errmsg *msg)
{
    struct engine *g = calloc(1, sizeof(*g));
    if (!g) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    struct tls_client_config tls = {
        .ca_file = c->tls.ca[0] ? c->tls.ca : NULL,
        .cpu_ns = clock_thread_cpu_ns,
    };
    struct probe_loop_config probes = {
        .loop = o->loop,
        .in_flight_max = c->control.in_flight_max,
        .warm_max = c->control.requests_max,
        .dns_servers = c->dns.servers,
        .n_dns_servers = c->dns.n_servers,
        .done = on_done,
        .arg = g,
    };
    g->owner = o;
    g->tls = tls_client_context(&tls, msg);
    if (g->tls)
        g->probes = probe_loop_open(&probes, msg);
    if (g->probes)
        return g;
    tls_context_close(g->tls);
    free(g);
    return NULL;
}

static void engine_close(struct engine *g)
{
    probe_loop_close(g->probes);
    tls_context_close(g->tls);
    free(g);
}

/* Old ones that nobody uses any more. */
static void drop_engines(struct oneoffs *o)
{
    struct engine **at = &o->engines->next;
    while (*at) {
        struct engine *g = *at;
        if (g->users) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        engine_close(g);
    }
}

/* ---- the end of an execution ---- */

static void free_place(struct oneoffs *o, size_t place)
{
    struct oneoff *e = o->places[place];
    o->places[place] = NULL;
    o->stats.running--;
    e->engine->users--;
    target_fini(&e->target);
    free(e);
}

static void end(struct oneoff *e)
{
    uint32_t missed = e->pace.missed;
    e->is_ended = true;
    e->owner->stats.missed += missed;
    if (e->state == ONEOFF_RUNNING)
        e->state = ONEOFF_DONE;
    /* Its own end is the last thing that whoever asked hears. */
    e->sink.on_end(e->sink.arg, e->state, missed);
}

/* Whoever asked hears the end at once, also while attempts are in flight whose
 * samples nobody wants any more; the place stays until they are through. */
static void settle(struct oneoffs *o, size_t place)
{
    struct oneoff *e = o->places[place];
    bool is_over = oneoff_pace_is_done(&e->pace) || e->state != ONEOFF_RUNNING;
    if (!is_over)
        return;
    oneoff_pace_stop(&e->pace);
    if (!e->is_ended)
        end(e);
    if (e->warm && !e->pace.in_flight) {
        probe_warm_close(e->warm);
        e->warm = NULL;
    }
    if (!e->pace.in_flight)
        free_place(o, place);
}

static void on_done(void *arg, const struct sample *s)
{
    struct engine *g = arg;
    struct oneoffs *o = g->owner;
    struct oneoff *e = o->places[s->job - 1];
    struct sample_names names = {
        .target = e->target.text,
        .from_node = o->config->node.name,
        .from_zone = o->config->node.zone,
        .to_node = e->means.name[0] ? e->means.name : NULL,
        .to_zone = e->means.zone[0] ? e->means.zone : NULL,
    };
    oneoff_pace_ended(&e->pace);
    o->stats.in_flight--;
    if (e->is_denied && e->state == ONEOFF_RUNNING) {
        e->state = ONEOFF_DENIED;
        o->stats.denied++;
    }
    if (e->state == ONEOFF_RUNNING)
        e->sink.on_sample(e->sink.arg, s, &names);
    /* Settled, and the free slot given away, from the top of the loop. */
    arm(o, 0);
}

/* ---- attempts ---- */

/* Whether it could be written down. */
static bool tell(struct oneoff *e, const struct addr *a,
                 enum target_verdict verdict)
{
    char address[ADDR_TEXT_SIZE];
    const struct audit_field fields[] = {
        {"id", e->id, 0},
        {"target", e->request.target, 0},
        {"address", a ? addr_format(a, address) : "", 0},
        {"decision", verdict == TARGET_ALLOWED ? "allowed" : "denied", 0},
        {"rule", target_verdict_name(verdict), 0},
        {NULL, NULL, 0},
    };
    return !e->owner->audit ||
           !audit_write(e->owner->audit, "probe_address", fields);
}

static bool is_told(const struct oneoff *e, const struct addr *a)
{
    for (size_t i = 0; i < e->n_told; i++) {
        if (addr_equal(&e->told[i], a))
            return true;
    }
    return false;
}

/* By the policy in force, which may be another one than at the beginning. */
static enum target_verdict judge_address(const struct judge *j,
                                         const struct addr *a)
{
    const struct oneoff *e = j->execution;
    struct target_guard guard;
    enum target_verdict verdict = target_policy_admit(
        e->owner->policy, &e->means.url, e->means.standing, &guard);
    if (verdict != TARGET_ALLOWED)
        return verdict;
    guard.is_local_name |= j->guard.is_local_name;
    return target_guard_check(&guard, a);
}

/* The bucket of this key, or the place of the one that has rested longest. */
static struct bucket *find_bucket(struct oneoffs *o, uint64_t key)
{
    struct bucket *oldest = &o->buckets[0];
    for (size_t i = 0; i < BUCKETS; i++) {
        struct bucket *b = &o->buckets[i];
        if (b->key == key)
            return b;
        if (b->rate.paid_ns < oldest->rate.paid_ns)
            oldest = b;
    }
    *oldest = (struct bucket){.key = key};
    return oldest;
}

/* However it is written: all forms of an address are one to whoever is there.
 */
static uint64_t key_of_addr(const struct addr *a)
{
    struct addr plain = addr_unwrap(a);
    return hash_bytes(a->port, plain.ip, plain.family == ADDR_V4 ? 4 : 16);
}

static uint64_t price_of_one(const struct oneoffs *o)
{
    return rate_price(1, o->config->control.target_per_s);
}

/* Where a name leads is known when it is dialled. Any number of names may lead
 * there, so from now on the address counts, with the attempt that is under
 * way; the first address of several, or each attempt would count twice. */
static void count_by_address(struct oneoff *e, const struct addr *a)
{
    struct oneoffs *o = e->owner;
    if (e->is_by_address)
        return;
    e->is_by_address = true;
    e->bucket_key = key_of_addr(a);
    struct bucket *b = find_bucket(o, e->bucket_key);
    rate_pay(&b->rate, clock_now_ns(), price_of_one(o));
}

static bool may_dial(const void *arg, const struct addr *a)
{
    const struct judge *j = arg;
    struct oneoff *e = j->execution;
    enum target_verdict verdict = judge_address(j, a);
    bool is_allowed = verdict == TARGET_ALLOWED;
    if (!is_allowed || !is_told(e, a)) {
        /* What could not be written down has not been told. */
        is_allowed &= tell(e, a, verdict);
        if (is_allowed && e->n_told < TOLD_MAX)
            e->told[e->n_told++] = *a;
    }
    if (is_allowed)
        count_by_address(e, a);
    else
        e->is_denied = true;
    return is_allowed;
}

/* Give it to the loop. An error: it has no room, though the limit in force is
 * not reached; an engine keeps the room that it was made with. */
static int start_attempt(struct oneoff *e, const struct probe_attempt *a)
{
    if (e->request.mode == MODE_COLD)
        return probe_loop_cold(e->engine->probes, a);
    if (!e->warm)
        e->warm =
            probe_warm_open(e->engine->probes, &e->target, e->means.protocol);
    return e->warm ? probe_warm_attempt(e->warm, a) : ERR_BUSY;
}

static void try_later(struct oneoff *e, uint64_t intended_ns, uint64_t retry_ns)
{
    oneoff_pace_put_back(&e->pace, intended_ns);
    e->retry_ns = retry_ns;
}

/* Start the attempt that is due, or see when to try again. */
static void start_one(struct oneoff *e, uint64_t now_ns)
{
    struct oneoffs *o = e->owner;
    struct probe_attempt a = {
        .target = &e->target,
        .protocol = e->means.protocol,
        .timeout_ns = e->request.timeout_ns,
        .job = (uint32_t)e->place + 1,
    };
    const uint64_t one_ns = price_of_one(o);
    if (!oneoff_pace_take(&e->pace, now_ns, &a.intended_ns))
        return;
    struct bucket *b = find_bucket(o, e->bucket_key);
    if (!rate_take(&b->rate, now_ns, one_ns, NS_PER_S)) {
        try_later(e, a.intended_ns, now_ns + one_ns);
        return;
    }
    o->stats.in_flight++;
    if (!start_attempt(e, &a)) {
        o->stats.attempts++;
        return;
    }
    o->stats.in_flight--;
    try_later(e, a.intended_ns, now_ns + BUSY_NS);
}

static bool is_same_owner(const struct oneoff *e, uint64_t owner)
{
    return e && e->sink.owner == owner;
}

static size_t in_flight_of(const struct oneoffs *o, uint64_t owner)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_places; i++)
        n += is_same_owner(o->places[i], owner) ? o->places[i]->pace.in_flight
                                                : 0;
    return n;
}

/* What never answers holds each attempt for its whole timeout; so a part of the
 * room is not for one who has the rest already. */
static bool has_room(const struct oneoff *e)
{
    const struct oneoffs *o = e->owner;
    size_t all = o->config->control.in_flight_max;
    return o->stats.in_flight < all &&
           in_flight_of(o, e->sink.owner) < all - all / 4;
}

static bool is_due(const struct oneoff *e, uint64_t now_ns)
{
    return e->state == ONEOFF_RUNNING && e->retry_ns <= now_ns &&
           oneoff_pace_due(&e->pace) <= now_ns && has_room(e);
}

/* When it is to be looked at next, if nothing ends before: at its next slot, or
 * when that will have been missed. Without room there is nothing to be done
 * until an attempt has ended, and that wakes us. */
static uint64_t due_of(const struct oneoff *e, uint64_t now_ns)
{
    uint64_t due_ns = oneoff_pace_due(&e->pace);
    if (due_ns == UINT64_MAX)
        return due_ns;
    uint64_t missed_ns = due_ns + e->pace.timeout_ns + NS_PER_MS;
    if (due_ns < e->retry_ns)
        due_ns = e->retry_ns;
    if (due_ns <= now_ns && !is_due(e, now_ns))
        return missed_ns;
    return due_ns < missed_ns ? due_ns : missed_ns;
}

/* One attempt of each in turn, so that no request waits for another's
 * thousand; then again from where the slots ran out. */
static void start_due(struct oneoffs *o, uint64_t now_ns)
{
    for (size_t idle = 0; idle < o->n_places; o->turn++) {
        struct oneoff *e = o->places[o->turn % o->n_places];
        bool may_start = e && is_due(e, now_ns);
        idle = may_start ? 0 : idle + 1;
        if (may_start)
            start_one(e, now_ns);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct oneoffs *o = timer->data;
    uint64_t now_ns = clock_now_ns();
    uint64_t due_ns = UINT64_MAX;

    for (size_t i = 0; i < o->n_places; i++) {
        struct oneoff *e = o->places[i];
        if (!e)
            continue;
        /* Here, for without room nobody asks for a slot: the last one may be
         * missed with nothing in flight, of which no other event would tell. */
        if (e->state == ONEOFF_RUNNING)
            oneoff_pace_skip(&e->pace, now_ns);
        settle(o, i);
    }
    start_due(o, now_ns);
    drop_engines(o);
    for (size_t i = 0; i < o->n_places; i++) {
        struct oneoff *e = o->places[i];
        if (!e || e->state != ONEOFF_RUNNING)
            continue;
        uint64_t own_ns = due_of(e, now_ns);
        if (own_ns < due_ns)
            due_ns = own_ns;
    }
    arm(o, due_ns);
}

/* ---- beginning ---- */

enum oneoff_state oneoffs_find(const struct oneoffs *o,
                               const struct oneoff_request *r,
                               struct oneoff_target *out)
{
    return oneoff_target_find(o->roster, r, out);
}

/* Nobody takes the last places for himself alone. */
static bool may_have_place(const struct oneoffs *o, uint64_t owner)
{
    size_t all = o->config->control.requests_max, own = 0;
    for (size_t i = 0; i < o->n_places; i++)
        own += is_same_owner(o->places[i], owner);
    return o->stats.running < all && own < all - all / 8;
}

/* A place of its own for a new one. ONEOFF_RUNNING, BUSY or FAILED. */
static enum oneoff_state take_place(struct oneoffs *o, uint64_t owner,
                                    struct oneoff **out)
{
    size_t place = 0;
    if (!may_have_place(o, owner))
        return ONEOFF_BUSY;
    while (place < o->n_places && o->places[place])
        place++;
    if (place == o->n_places)
        return ONEOFF_BUSY;
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return ONEOFF_FAILED;
    (*out)->place = place;
    return ONEOFF_RUNNING;
}

/* A host of the hosts file is dialled as if it were an address, and judged
 * here; what is looked up is judged attempt by attempt. */
static enum oneoff_state make_target(struct oneoffs *o, struct oneoff *e)
{
    struct errmsg msg;
    const struct oneoff_target *t = &e->means;
    int rc = target_init(&e->target, &t->url, t->service, e->engine->tls, &msg);
    if (rc)
        return rc == ERR_NOMEM ? ONEOFF_FAILED : ONEOFF_BAD_TARGET;
    e->target.ip_first = (uint8_t)o->config->probe.ip;
    e->target.has_fingerprint = t->has_fingerprint;
    memcpy(e->target.fingerprint, t->fingerprint,
           sizeof(e->target.fingerprint));
    if (!o->config->dns.n_servers) {
        size_t len = 0;
        char *hosts = hosts_read(&len);
        if (hosts && target_use_hosts(&e->target, hosts, len))
            e->judge.guard.is_local_name = true;
        free(hosts);
    }
    e->target.dial = (struct target_dial){may_dial, &e->judge};
    if (e->target.address.family == ADDR_NONE)
        return ONEOFF_RUNNING;
    struct addr a = e->target.address;
    a.port = e->target.port;
    e->bucket_key = key_of_addr(&a);
    e->is_by_address = true;
    return may_dial(&e->judge, &a) ? ONEOFF_RUNNING : ONEOFF_DENIED;
}

static enum oneoff_state fill(struct oneoffs *o, struct oneoff *e,
                              const struct oneoff_request *r,
                              const struct oneoff_sink *sink)
{
    enum oneoff_state state = oneoffs_find(o, r, &e->means);
    e->owner = o;
    e->request = *r;
    e->sink = *sink;
    snprintf(e->id, sizeof(e->id), "%s", sink->id ? sink->id : "");
    if (state != ONEOFF_RUNNING)
        return state;
    e->judge.execution = e;
    enum target_verdict verdict = target_policy_admit(
        o->policy, &e->means.url, e->means.standing, &e->judge.guard);
    if (verdict != TARGET_ALLOWED) {
        (void)tell(e, NULL, verdict);
        return ONEOFF_DENIED;
    }
    e->engine = o->engines;
    e->bucket_key = hash_bytes(e->means.url.port, e->means.url.host,
                               strlen(e->means.url.host));
    state = make_target(o, e);
    if (state != ONEOFF_RUNNING) {
        target_fini(&e->target);
        return state;
    }
    e->state = ONEOFF_RUNNING;
    oneoff_pace_init(&e->pace, r, clock_now_ns());
    return ONEOFF_RUNNING;
}

struct oneoff *oneoff_start(struct oneoffs *o, const struct oneoff_request *r,
                            const struct oneoff_sink *sink,
                            enum oneoff_state *state)
{
    struct errmsg msg;
    struct oneoff *e = NULL;

    *state = ONEOFF_REFUSED;
    if (o->is_closing)
        return NULL;
    *state = ONEOFF_BAD_TARGET;
    if (oneoff_request_check(r, &msg))
        return NULL;
    *state = take_place(o, sink->owner, &e);
    if (*state == ONEOFF_RUNNING)
        *state = fill(o, e, r, sink);
    if (*state == ONEOFF_RUNNING) {
        o->places[e->place] = e;
        e->engine->users++;
        o->stats.executions++;
        o->stats.running++;
        arm(o, 0);
        return e;
    }
    o->stats.denied += *state == ONEOFF_DENIED;
    o->stats.busy += *state == ONEOFF_BUSY;
    free(e);
    return NULL;
}

void oneoff_cancel(struct oneoff *e)
{
    if (e->state != ONEOFF_RUNNING)
        return;
    e->state = ONEOFF_CANCELLED;
    arm(e->owner, 0);
}

/* ---- life ---- */

/* At least so many; never fewer than before. */
static int make_places(struct oneoffs *o, size_t n)
{
    if (n <= o->n_places)
        return 0;
    struct oneoff **places = realloc(o->places, n * sizeof(*places));
    if (!places)
        return ERR_NOMEM;
    memset(places + o->n_places, 0, (n - o->n_places) * sizeof(*places));
    o->places = places;
    o->n_places = n;
    return 0;
}

struct oneoffs *oneoffs_open(const struct oneoffs_config *c, struct errmsg *msg)
{
    struct oneoffs *o = calloc(1, sizeof(*o));
    if (!o) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    o->loop = c->loop;
    o->config = c->config;
    o->roster = c->roster;
    o->policy = c->policy;
    o->audit = c->audit;
    if (make_places(o, c->config->control.requests_max)) {
        errmsg_set(msg, "out of memory");
        goto fail;
    }
    o->engines = engine_open(o, c->config, msg);
    if (!o->engines)
        goto fail;
    uv_timer_init(o->loop, &o->timer);
    o->timer.data = o;
    return o;

fail:
    free(o->places);
    free(o);
    return NULL;
}

int oneoffs_reload(struct oneoffs *o, const struct config *config,
                   const struct roster *roster, struct errmsg *msg)
{
    struct engine *g = engine_open(o, config, msg);
    if (!g)
        return ERR_SYS;
    if (make_places(o, config->control.requests_max)) {
        errmsg_set(msg, "out of memory");
        engine_close(g);
        return ERR_NOMEM;
    }
    o->config = config;
    o->roster = roster;
    g->next = o->engines;
    o->engines = g;
    drop_engines(o);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct oneoffs *o = handle->data;
    free(o->places);
    free(o);
}

void oneoffs_close(struct oneoffs *o)
{
    if (!o)
        return;
    o->is_closing = true;
    for (size_t i = 0; i < o->n_places; i++) {
        struct oneoff *e = o->places[i];
        if (!e)
            continue;
        if (e->state == ONEOFF_RUNNING)
            e->state = ONEOFF_CANCELLED;
        oneoff_pace_stop(&e->pace);
        if (!e->is_ended)
            end(e);
    }
    /* Their attempts end as cancelled, within the call. */
    for (struct engine *g = o->engines, *next; g; g = next) {
        next = g->next;
        engine_close(g);
    }
    for (size_t i = 0; i < o->n_places; i++) {
        if (o->places[i]) {
            target_fini(&o->places[i]->target);
            free(o->places[i]);
        }
    }
    uv_close((uv_handle_t *)&o->timer, on_timer_closed);
}

void oneoffs_stats(const struct oneoffs *o, struct oneoffs_stats *out)
{
    *out = o->stats;
}
