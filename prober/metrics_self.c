/* The families of single numbers: how this prober is doing.
 *
 * A table: where a number stands in which structure, and what it is called.
 * Rows that follow a named one without a name of their own are further samples
 * of the same family. */
#include <string.h>

#include "mesh/spread.h"
#include "prober/api_views.h"
#include "prober/metrics_private.h"

/* The structures that numbers stand in. */
enum group {
    SOURCE,  /* struct api_source */
    METRICS, /* struct metrics_source */
    CONTROL, /* the same, if there is a control port */
    LEFT,    /* struct totals_left_out */
    PLANE,   /* struct plane_status */
    CONTEXT, /* struct frame_context */
    MESH,    /* struct api_mesh */
    REFUSED, /* struct members_counters, if there is a mesh */
};

/* What a number is, and how it is shown. A negative one is not known. */
enum form {
    U64,
    I64,
    SIZE,
    UINT,
    U32,
    BOOL,
    NS_U64, /* as seconds */
    NS_I64,
    US_I64,
    PSI, /* int32_t, hundredths of a percent, as a ratio */
};

struct number {
    struct metrics_family f; /* name NULL: of the family above */
    const char *labels;      /* NULL: none */
    enum group group;
    enum form form;
    size_t offset;
};

#define GAUGE(name, unit, help)   {name, METRICS_GAUGE, unit, help}, NULL
#define COUNTER(name, unit, help) {name, METRICS_COUNTER, unit, help}, NULL
/* With a label; its further samples are MORE. */
#define GAUGES(name, unit, help, label) {name, METRICS_GAUGE, unit, help}, label
#define COUNTERS(name, unit, help, label) \
    {name, METRICS_COUNTER, unit, help}, label
#define MORE(label) {NULL, METRICS_GAUGE, NULL, NULL}, label

/* clang-format off */
#define IN_SOURCE(form, field) \
    SOURCE, form, offsetof(struct api_source, field)
#define IN_METRICS(form, field) \
    METRICS, form, offsetof(struct metrics_source, field)
#define IN_CONTROL(form, field) \
    CONTROL, form, offsetof(struct metrics_source, control.field)
#define IN_LEFT(field) \
    LEFT, U64, offsetof(struct totals_left_out, field)
#define IN_PLANE(form, field) \
    PLANE, form, offsetof(struct plane_status, field)
#define IN_CONTEXT(form, field) \
    CONTEXT, form, offsetof(struct frame_context, field)
#define IN_MESH(form, field) \
    MESH, form, offsetof(struct api_mesh, field)
#define IN_STATS(form, field) IN_MESH(form, stats.field)
#define IN_REFUSED(field) \
    REFUSED, U64, offsetof(struct members_counters, field)

static const struct number numbers[] = {
    /* ---- the process, by the names that all exporters use ---- */
    {GAUGE("process_resident_memory_bytes", "bytes",
           "Resident memory size."),
     IN_METRICS(I64, process.resident_bytes)},
    {GAUGE("process_virtual_memory_bytes", "bytes",
           "Virtual memory size."),
     IN_METRICS(I64, process.virtual_bytes)},
    {COUNTER("process_cpu_seconds", "seconds",
             "User and system CPU time spent."),
     IN_METRICS(NS_I64, process.cpu_ns)},
    {GAUGE("process_start_time_seconds", "seconds",
           "Start of the process, as Unix time."),
     IN_SOURCE(NS_U64, start_unix_ns)},
    {GAUGE("process_open_fds", NULL, "Open file descriptors."),
     IN_METRICS(I64, process.open_fds)},
    {GAUGE("process_max_fds", NULL,
           "The most file descriptors that may be open."),
     IN_METRICS(I64, process.max_fds)},

    /* ---- the configuration ---- */
    {GAUGE("prober_config_last_reload_successful", NULL,
           "1 if the configuration was taken when it was read last."),
     IN_METRICS(BOOL, reload.was_successful)},
    {GAUGE("prober_config_last_reload_timestamp_seconds", "seconds",
           "When it was read last, as Unix time."),
     IN_METRICS(NS_U64, reload.unix_ns)},

    /* ---- the control port ---- */
    {COUNTER("prober_control_requests", NULL,
             "Probes on request that were begun."),
     IN_CONTROL(U64, requests)},
    {COUNTER("prober_control_cancelled", NULL,
             "Probes on request that were cancelled."),
     IN_CONTROL(U64, cancelled)},
    {COUNTER("prober_control_slow_readers", NULL,
             "Probes on request that ended because nobody read."),
     IN_CONTROL(U64, slow)},
    {GAUGE("prober_control_open_requests", NULL,
           "Probes on request that are under way."),
     IN_CONTROL(SIZE, open)},
    {COUNTER("prober_control_attempts", NULL,
             "One-off attempts of this node, for other nodes too."),
     IN_CONTROL(U64, attempts)},
    {COUNTER("prober_control_denied", NULL,
             "One-off probes that the target policy denied."),
     IN_CONTROL(U64, denied)},
    {GAUGE("prober_control_in_flight_attempts", NULL,
           "One-off attempts under way."),
     IN_CONTROL(SIZE, in_flight)},
    {COUNTER("prober_control_audit_failures", NULL,
             "Lines that the audit log could not take."),
     IN_CONTROL(U64, audit_failures)},
    {COUNTER("prober_control_remote_asks", NULL,
             "Other nodes that were asked for one-off probes."),
     IN_CONTROL(U64, remote_asks)},
    {COUNTER("prober_control_remote_unreachable", NULL,
             "Of these, those that did not answer in time."),
     IN_CONTROL(U64, remote_unreachable)},
    {COUNTER("prober_control_remote_runs", NULL,
             "One-off probes carried out for other nodes."),
     IN_CONTROL(U64, remote_runs)},
    {COUNTER("prober_control_remote_runs_refused", NULL,
             "Those of other nodes that were not carried out."),
     IN_CONTROL(U64, remote_runs_refused)},

    /* ---- measuring ---- */
    {GAUGE("prober_ready", NULL, "1 if /readyz says so."),
     IN_SOURCE(BOOL, is_ready)},
    {GAUGE("prober_draining", NULL, "1 from the signal to end onwards."),
     IN_SOURCE(BOOL, is_draining)},
    {GAUGE("prober_loop_lag_p50_seconds", "seconds",
           "How late the measuring loop ran, median of the last 10 s."),
     IN_PLANE(NS_U64, lag_p50_ns)},
    {GAUGE("prober_loop_lag_p99_seconds", "seconds",
           "How late the measuring loop ran, p99 of the last 10 s."),
     IN_PLANE(NS_U64, lag_p99_ns)},
    {GAUGE("prober_loop_lag_max_seconds", "seconds",
           "How late the measuring loop ran, the worst of the last 10 s."),
     IN_PLANE(NS_U64, lag_max_ns)},
    {COUNTER("prober_missed_slots", NULL,
             "Scheduled attempts that were not begun."),
     IN_PLANE(U64, missed_slots)},
    {COUNTER("prober_queue_drops", NULL,
             "Samples lost between measuring and counting."),
     IN_PLANE(U64, queue_drops)},
    {GAUGE("prober_in_flight_attempts", NULL, "Attempts under way."),
     IN_PLANE(U64, in_flight)},
    {GAUGE("prober_in_flight_attempts_max", NULL,
           "The most attempts that were under way at once."),
     IN_PLANE(U64, in_flight_max)},
    {COUNTER("prober_samples", NULL, "Samples taken from measuring."),
     IN_SOURCE(U64, samples_total)},
    {COUNTERS("prober_samples_left_out", NULL,
              "Samples that are in no metric with zones, by why.",
              "reason=\"unknown_target\""),
     IN_LEFT(unknown_target)},
    {MORE("reason=\"zones\""), IN_LEFT(zones)},
    {MORE("reason=\"memory\""), IN_LEFT(memory)},
    {GAUGE("prober_responder_connections", NULL,
           "Connections that the responder holds."),
     IN_PLANE(U64, inbound_connections)},
    {COUNTER("prober_responder_requests", NULL,
             "Requests of other probers answered."),
     IN_PLANE(U64, inbound_requests)},
    {COUNTER("prober_responder_rejected_connections", NULL,
             "Connections that the responder refused."),
     IN_PLANE(U64, inbound_rejected)},

    /* ---- the surroundings, in the last ten-second window ---- */
    {GAUGE("prober_starved", NULL,
           "1 if the prober was starved of CPU or memory."),
     IN_CONTEXT(BOOL, is_starved)},
    {GAUGES("prober_pressure_ratio", "ratio",
            "Pressure stall of the host: share of time that some task waited.",
            "resource=\"cpu\""),
     IN_CONTEXT(PSI, psi_cpu)},
    {MORE("resource=\"memory\""), IN_CONTEXT(PSI, psi_memory)},
    {MORE("resource=\"io\""), IN_CONTEXT(PSI, psi_io)},
    {GAUGE("prober_window_throttled_seconds", "seconds",
           "CPU time withheld by the cgroup's quota in the last window."),
     IN_CONTEXT(US_I64, throttled_us)},
    {GAUGE("prober_window_cpu_wait_seconds", "seconds",
           "How long the measuring thread waited for a CPU in the last "
           "window."),
     IN_CONTEXT(US_I64, runq_wait_us)},

    /* ---- frames; what concerns spreading them belongs here, too ---- */
    {COUNTER("prober_frames_cut", NULL, "Frames made of own measurements."),
     IN_SOURCE(U64, frames_cut)},

    /* ---- the API ---- */
    {GAUGE("prober_api_connections", NULL, "Connections to the API."),
     IN_METRICS(UINT, api.connections)},
    {COUNTER("prober_api_requests", NULL, "Requests to the API."),
     IN_METRICS(U64, api.requests)},
    {COUNTERS("prober_api_refused", NULL,
              "Connections and requests that were not served, by why.",
              "reason=\"bad_request\""),
     IN_METRICS(U64, api.bad_requests)},
    {MORE("reason=\"connections\""), IN_METRICS(U64, api.rejected)},
    {MORE("reason=\"evicted\""), IN_METRICS(U64, api.evicted)},
    {MORE("reason=\"timeout\""), IN_METRICS(U64, api.timeouts)},
    {MORE("reason=\"accept\""), IN_METRICS(U64, api.accept_errors)},

    /* ---- the mesh ---- */
    {GAUGES("prober_gossip_members", NULL, "Members of the mesh, by state.",
            "state=\"alive\""),
     IN_MESH(SIZE, alive)},
    {MORE("state=\"suspect\""), IN_MESH(SIZE, suspect)},
    {MORE("state=\"left\""), IN_MESH(SIZE, left)},
    {MORE("state=\"failed\""), IN_MESH(SIZE, failed)},
    {GAUGE("prober_gossip_alone", NULL,
           "1 while no other member is alive."),
     IN_STATS(BOOL, is_alone)},
    {GAUGE("prober_gossip_holding", NULL,
           "1 while members are probed on that all were lost at once."),
     IN_MESH(BOOL, is_holding)},
    {GAUGE("prober_gossip_health_score", NULL,
           "Lifeguard's local health: 0 is best, 7 hears almost nothing."),
     IN_STATS(UINT, health)},
    {COUNTERS("prober_gossip_packets", NULL, "Gossip datagrams.",
              "direction=\"in\""),
     IN_STATS(U64, packets_in)},
    {MORE("direction=\"out\""), IN_STATS(U64, packets_out)},
    {COUNTERS("prober_gossip_packet_bytes", "bytes",
              "Bytes of gossip datagrams.", "direction=\"in\""),
     IN_STATS(U64, bytes_in)},
    {MORE("direction=\"out\""), IN_STATS(U64, bytes_out)},
    {GAUGE("prober_gossip_open_streams", NULL, "Gossip streams now open."),
     IN_STATS(SIZE, streams)},
    {COUNTERS("prober_gossip_streams", NULL, "Gossip streams opened.",
              "direction=\"in\""),
     IN_STATS(U64, streams_in)},
    {MORE("direction=\"out\""), IN_STATS(U64, streams_out)},
    {COUNTER("prober_gossip_refused_streams", NULL,
             "Gossip streams refused because of a limit."),
     IN_STATS(U64, streams_refused)},
    {COUNTERS("prober_gossip_stream_bytes", "bytes",
              "Bytes of gossip streams.", "direction=\"in\""),
     IN_STATS(U64, stream_bytes_in)},
    {MORE("direction=\"out\""), IN_STATS(U64, stream_bytes_out)},
    {GAUGE("prober_gossip_unproven_bytes", "bytes",
           "Stream bytes held that are not known to be good yet."),
     IN_STATS(U64, unproven_bytes)},
    {COUNTERS("prober_gossip_messages", NULL,
              "Messages of prober's own over gossip.", "direction=\"in\""),
     IN_STATS(U64, user_in)},
    {MORE("direction=\"out\""), IN_STATS(U64, user_out)},
    {COUNTER("prober_gossip_pings", NULL, "Rounds of failure detection."),
     IN_STATS(U64, pings)},
    {COUNTER("prober_gossip_ping_failures", NULL,
             "Rounds of failure detection without an answer."),
     IN_STATS(U64, ping_failures)},
    {COUNTER("prober_gossip_suspicions", NULL,
             "Suspicions opened by pings of this node."),
     IN_STATS(U64, suspicions)},
    {COUNTER("prober_gossip_refutations", NULL,
             "Accusations of this node that it refuted."),
     IN_STATS(U64, refutations)},
    {COUNTER("prober_gossip_push_pulls", NULL,
             "Exchanges of the whole membership."),
     IN_STATS(U64, push_pulls)},
    {COUNTER("prober_gossip_push_pull_failures", NULL,
             "Exchanges of the whole membership that failed."),
     IN_STATS(U64, push_pull_failures)},
    {COUNTER("prober_gossip_refused_relays", NULL,
             "Indirect pings for others refused because of a limit."),
     IN_STATS(U64, relays_refused)},
    {COUNTER("prober_gossip_strangers", NULL,
             "Packets not answered because their sender is no member."),
     IN_STATS(U64, strangers)},
    {COUNTER("prober_gossip_conflicts", NULL,
             "Claims of a name that belongs to another address."),
     IN_STATS(U64, conflicts)},
    {COUNTER("prober_gossip_stalls", NULL,
             "Times that this process did not run for a while."),
     IN_STATS(U64, stalls)},
    {COUNTER("prober_gossip_effects_dropped", NULL,
             "Things to send that were dropped because the queue was full."),
     IN_STATS(U64, effects_dropped)},
    {COUNTERS("prober_gossip_refused_news", NULL,
              "News about members that was not believed, by why.",
              "reason=\"policy\""),
     IN_REFUSED(refused_policy)},
    {MORE("reason=\"full\""), IN_REFUSED(refused_full)},
    {MORE("reason=\"rate\""), IN_REFUSED(refused_rate)},
    {MORE("reason=\"jump\""), IN_REFUSED(refused_jump)},
    {MORE("reason=\"unfit\""), IN_REFUSED(refused_fit)},
    {GAUGE("prober_gossip_queue_messages", NULL,
           "Broadcasts waiting to be passed on."),
     IN_STATS(U64, queue_items)},
    {GAUGE("prober_gossip_queue_bytes", "bytes",
           "Bytes of broadcasts waiting to be passed on."),
     IN_STATS(U64, queue_bytes)},
    {COUNTER("prober_gossip_queue_dropped", NULL,
             "Broadcasts that were dropped because there were too many."),
     IN_STATS(U64, queue_dropped)},
    {GAUGE("prober_gossip_keys", NULL, "Keys that open messages; 0: none."),
     IN_MESH(SIZE, n_keys)},
    {COUNTER("prober_gossip_sealed_messages", NULL,
             "Messages sealed with the present first key."),
     IN_STATS(U64, sealed)},
    {GAUGE("prober_gossip_incarnation", NULL,
           "Incarnation number of this node."),
     IN_STATS(U32, incarnation)},
};
/* clang-format on */
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static const struct metrics_family
    build = {"prober_build", METRICS_INFO, NULL, "Which prober this is."},
    node = {"prober_node", METRICS_INFO, NULL, "Which node this is."},
    up = {"prober_plane_status_age_seconds", METRICS_GAUGE, "seconds",
          "Time since the measuring plane was heard of."},
    held = {"prober_frames_held", METRICS_GAUGE, NULL,
            "Frames held, of all nodes."},
    held_bytes = {"prober_frames_held_bytes", METRICS_GAUGE, "bytes",
                  "Memory that the frames take."},
    sent = {"prober_frames_sent", METRICS_COUNTER, NULL,
            "Frames given to other nodes."},
    received = {"prober_frames_received", METRICS_COUNTER, NULL,
                "Frames that came from other nodes, repeated ones too."},
    missing = {"prober_frames_missing", METRICS_GAUGE, NULL,
               "Frames that are known of and not here."},
    refused_frames = {"prober_frames_refused", METRICS_COUNTER, NULL,
                      "Frames of other nodes that were not taken, by why."},
    refused_requests = {"prober_control_refused", METRICS_COUNTER, NULL,
                        "Requests to the control port refused, by why."},
    errors = {"prober_gossip_decode_errors", METRICS_COUNTER, NULL,
              "Packets, streams and messages that were not used, by why."};

/* ---- numbers of the table ---- */

static const struct api_mesh *mesh_of(const struct api_source *s)
{
    return s->mesh && s->mesh->is_on ? s->mesh : NULL;
}

/* NULL: nothing is known of that group. */
static const void *group_of(const struct api_source *s, enum group g)
{
    switch (g) {
    case SOURCE:
        return s;
    case METRICS:
        return s->metrics;
    case CONTROL:
        return s->metrics->control.is_on ? s->metrics : NULL;
    case LEFT:
        return totals_left_out(s->metrics->totals);
    case PLANE:
        return s->plane && s->plane->updated_ns ? s->plane : NULL;
    case CONTEXT:
        return s->context;
    case MESH:
        return mesh_of(s);
    case REFUSED:
        return mesh_of(s) ? &s->metrics->refused : NULL;
    }
    return NULL;
}

/* Numbers are kept in many types, and shown as this. */
struct shown {
    int64_t v; /* negative: not known */
    bool is_ns;
};

static int64_t clip(uint64_t v)
{
    return v < INT64_MAX ? (int64_t)v : INT64_MAX;
}

static struct shown show(enum form form, const void *at)
{
    switch (form) {
    case U64:
        return (struct shown){clip(*(const uint64_t *)at), false};
    case I64:
        return (struct shown){*(const int64_t *)at, false};
    case SIZE:
        return (struct shown){clip(*(const size_t *)at), false};
    case UINT:
        return (struct shown){*(const unsigned *)at, false};
    case U32:
        return (struct shown){*(const uint32_t *)at, false};
    case BOOL:
        return (struct shown){*(const bool *)at, false};
    case NS_U64:
        return (struct shown){clip(*(const uint64_t *)at), true};
    case NS_I64:
        return (struct shown){*(const int64_t *)at, true};
    case US_I64: {
        int64_t us = *(const int64_t *)at;
        return (struct shown){us < INT64_MAX / 1000 ? us * 1000 : us, true};
    }
    case PSI: /* a ten-thousandth is 100000 billionths */
        return (struct shown){*(const int32_t *)at * INT64_C(100000), true};
    }
    return (struct shown){-1, false};
}

static void put_value(struct wr *w, struct shown n)
{
    wr_u8(w, ' ');
    if (n.is_ns)
        metrics_put_seconds(w, (uint64_t)n.v);
    else
        metrics_put_u64(w, (uint64_t)n.v);
    wr_u8(w, '\n');
}

/* One family, from its first row on. Returns the row behind it. */
static size_t put_numbers(const struct api_source *s, bool is_openmetrics,
                          size_t row, struct wr *w)
{
    const struct metrics_family *f = &numbers[row].f;
    bool has_head = false;
    do {
        const struct number *n = &numbers[row];
        const char *base = group_of(s, n->group);
        struct shown v = {-1, false};
        if (base)
            v = show(n->form, base + n->offset);
        if (v.v < 0)
            continue;
        if (!has_head)
            metrics_put_family(w, is_openmetrics, f);
        has_head = true;
        metrics_put_name(w, f);
        if (n->labels) {
            wr_u8(w, '{');
            wr_text(w, n->labels);
            wr_u8(w, '}');
        }
        put_value(w, v);
    } while (++row < NUMBERS && !numbers[row].f.name);
    return row;
}

/* ---- and those that have to be asked for ---- */

static void put_one(bool is_openmetrics, const struct metrics_family *f,
                    struct shown v, struct wr *w)
{
    metrics_put_family(w, is_openmetrics, f);
    metrics_put_name(w, f);
    put_value(w, v);
}

static void put_build(const struct api_source *s, bool is_openmetrics,
                      struct wr *w)
{
    metrics_put_family(w, is_openmetrics, &build);
    metrics_put_name(w, &build);
    wr_u8(w, '{');
    metrics_put_label(w, "version", s->version);
    wr_text(w, "} 1\n");
}

static void put_node(const struct api_source *s, bool is_openmetrics,
                     struct wr *w)
{
    metrics_put_family(w, is_openmetrics, &node);
    metrics_put_name(w, &node);
    wr_u8(w, '{');
    metrics_put_label(w, "node", s->node);
    wr_u8(w, ',');
    metrics_put_label(w, "zone", s->zone ? s->zone : "");
    wr_u8(w, ',');
    metrics_put_label(w, "region", s->region ? s->region : "");
    wr_text(w, "} 1\n");
}

static void put_status_age(const struct api_source *s, bool is_openmetrics,
                           struct wr *w)
{
    const struct plane_status *p = group_of(s, PLANE);
    uint64_t now_ns = s->now_ns();
    if (!p)
        return;
    uint64_t age_ns = now_ns > p->updated_ns ? now_ns - p->updated_ns : 0;
    put_one(is_openmetrics, &up, (struct shown){clip(age_ns), true}, w);
}

static void put_frames(const struct api_source *s, bool is_openmetrics,
                       struct wr *w)
{
    put_one(is_openmetrics, &held,
            (struct shown){clip(frames_count(s->frames)), false}, w);
    put_one(is_openmetrics, &held_bytes,
            (struct shown){clip(frames_bytes(s->frames)), false}, w);
}

/* Without a mesh none was sent, which is a number too. */
static void put_spread(const struct api_source *s, bool is_openmetrics,
                       struct wr *w)
{
    struct spread_stats stats = {0};
    if (s->spread)
        spread_stats(s->spread, &stats);
    put_one(is_openmetrics, &sent,
            (struct shown){clip(stats.frames_out), false}, w);
    put_one(is_openmetrics, &received,
            (struct shown){clip(stats.frames_in), false}, w);
    put_one(is_openmetrics, &missing,
            (struct shown){clip(stats.missing), false}, w);
    metrics_put_family(w, is_openmetrics, &refused_frames);
    for (unsigned why = 0; why < SPREAD_REFUSAL_N; why++) {
        metrics_put_name(w, &refused_frames);
        wr_u8(w, '{');
        metrics_put_label(w, "reason",
                          spread_refusal_name((enum spread_refusal)why));
        wr_u8(w, '}');
        put_value(w, (struct shown){clip(stats.refused[why]), false});
    }
}

static void put_errors(const struct api_source *s, bool is_openmetrics,
                       struct wr *w)
{
    const struct api_mesh *m = mesh_of(s);
    if (!m)
        return;
    metrics_put_family(w, is_openmetrics, &errors);
    for (unsigned why = ML_DROP_NONE + 1; why < ML_DROP_N; why++) {
        metrics_put_name(w, &errors);
        wr_u8(w, '{');
        metrics_put_label(w, "reason", ml_drop_name((enum ml_drop)why));
        wr_u8(w, '}');
        put_value(w, (struct shown){clip(m->stats.drops[why]), false});
    }
}

static void put_refused(const struct api_source *s, bool is_openmetrics,
                        struct wr *w)
{
    const struct metrics_control *c = &s->metrics->control;
    if (!c->is_on || c->n_refused == 0)
        return;
    metrics_put_family(w, is_openmetrics, &refused_requests);
    for (size_t i = 0; i < c->n_refused; i++) {
        metrics_put_name(w, &refused_requests);
        wr_u8(w, '{');
        metrics_put_label(w, "reason", c->refused[i].code);
        wr_u8(w, '}');
        put_value(w, (struct shown){clip(c->refused[i].count), false});
    }
}

static void (*const others[])(const struct api_source *s, bool is_openmetrics,
                              struct wr *w) = {
    put_build,  put_node,   put_status_age, put_frames,
    put_spread, put_errors, put_refused,
};
#define OTHERS (sizeof(others) / sizeof(others[0]))

int metrics_self_write(const struct api_source *s, bool is_openmetrics,
                       size_t *next, struct wr *w)
{
    while (*next < NUMBERS + OTHERS) {
        if (httpd_slice_is_full(w))
            return 1;
        if (*next < NUMBERS) {
            *next = put_numbers(s, is_openmetrics, *next, w);
        } else {
            others[*next - NUMBERS](s, is_openmetrics, w);
            (*next)++;
        }
    }
    return 0;
}
