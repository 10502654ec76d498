/* prober/metrics.h - GET /metrics: what a Prometheus scrapes.
 *
 * Text in one of two formats, as the Accept header asks: OpenMetrics 1.0 or
 * Prometheus 0.0.4. All that is there: docs/metrics.md. Latencies and attempts
 * are those which this node has measured since it started, by zone pair, so
 * that series stay few however many nodes there are; the sum over all nodes of
 * a zone is the mesh's. Beside them how this prober itself is doing.
 *
 * Written in slices, a line at a time, from what is counted at that moment: an
 * answer under way holds a few KiB whatever its length. Pure. One thread, the
 * control plane's.
 */
#ifndef PROBER_METRICS_H
#define PROBER_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "mesh/members.h"
#include "prober/httpd.h"
#include "prober/httpd_conn.h"
#include "prober/totals.h"

struct api_source;

/* Of the process, as the system counts; negative: not known. */
struct metrics_process {
    int64_t resident_bytes, virtual_bytes;
    int64_t cpu_ns; /* user and system, all threads */
    int64_t open_fds, max_fds;
};

#define METRICS_REFUSED_MAX 32

/* Of the control port and of one-off probes for whomever. */
struct metrics_control {
    bool is_on;
    uint64_t requests, cancelled, slow; /* probes asked for here */
    uint64_t attempts, denied;          /* one-off, on this node */
    uint64_t audit_failures;
    size_t open, in_flight;
    uint64_t remote_asks, remote_unreachable, remote_runs, remote_runs_refused;
    size_t n_refused;
    struct metrics_refused {
        const char *code; /* static */
        uint64_t count;
    } refused[METRICS_REFUSED_MAX];
};

/* Of the last time that the configuration was read. */
struct metrics_reload {
    bool was_successful; /* at start it was */
    uint64_t unix_ns;    /* when */
};

/* What /metrics shows beyond what api.h has; the control plane fills it. Same
 * rules as for struct api_source. */
struct metrics_source {
    const struct totals *totals; /* not NULL */
    struct metrics_process process;
    struct httpd_stats api;
    struct metrics_control control;
    struct metrics_reload reload;
    struct members_counters refused; /* about members; if there is a mesh */
    /* Called before a scrape, if not NULL, to bring the above up to date. */
    void (*refresh)(void *arg);
    void *refresh_arg;
};

/* Does this Accept header prefer OpenMetrics 1.0 to the older text? NULL: no.
 */
bool metrics_accepts_openmetrics(const char *accept);

/* The view, api_view in shape. 404 without s->metrics. */
void metrics_view(const struct api_source *s, const struct httpd_request *r,
                  struct httpd_answer *answer);

#endif /* PROBER_METRICS_H */
