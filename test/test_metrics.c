/* What a scraper gets, asked for through the API's handler. */
#include "prober/metrics.h"

#include <stdio.h>
#include <string.h>

#include "prober/httpd_query.h"
#include "prober/metrics_text.h"
#include "proto/base/rng.h"
#include "proto/base/stamp.h"
#include "proto/hist.h"
#include "test/api_world.h"
#include "test/check.h"

#define OUT_MAX (64u << 20)
#define OM      "application/openmetrics-text"
#define MS      UINT64_C(1000000)

/* The made-up control plane with what /metrics wants besides. */
struct scraped {
    struct world world;
    struct totals *totals;
    struct metrics_source metrics;
    unsigned refreshed;
};

static void count_refresh(void *arg)
{
    struct scraped *s = arg;
    s->refreshed++;
}

static int setup(void **state)
{
    struct scraped *s = calloc(1, sizeof(*s));
    if (!s)
        return -1;
    world_init(&s->world);
    world_set_mesh(&s->world);
    s->totals = totals_open();
    s->metrics = (struct metrics_source){
        .totals = s->totals,
        .process = {4096, 8192, 1500000000, 9, 1024},
        .api = {.requests = 17, .bad_requests = 2, .connections = 3},
        .control = {.is_on = true,
                    .requests = 3,
                    .n_refused = 1,
                    .refused = {{"denied", 2}}},
        .reload = {true, 1500000000},
        .refused = {.refused_policy = 5, .refused_fit = 6},
        .refresh = count_refresh,
        .refresh_arg = s,
    };
    s->world.source.metrics = &s->metrics;
    *state = s;
    return s->totals ? 0 : -1;
}

static int teardown(void **state)
{
    struct scraped *s = *state;
    world_fini(&s->world);
    totals_close(s->totals);
    free(s);
    return 0;
}

struct reply {
    unsigned status, slices;
    size_t slice_max;
    const char *type;
    char *text; /* owned, NUL-terminated */
};

static void begin(struct scraped *s, const char *target, const char *accept,
                  struct httpd_answer *a)
{
    struct httpd_query q;
    *a = (struct httpd_answer){0};
    check_i64(httpd_query_decode(&q, target, strlen(target), NULL), 0);
    q.request.accept = accept;
    api_handle(&s->world.source, &q.request, a);
}

/* The next slice of an answer, behind `all`. */
static int next_slice(struct httpd_answer *a, struct wr *all, struct reply *r)
{
    struct wr slice;
    wr_init_grow(&slice, 65536);
    int rc = a->body ? a->body(a->state, &slice) : 0;
    check_true(rc >= 0);
    check_i64(wr_err(&slice), 0);
    wr_bytes(all, slice.data, slice.len);
    r->slice_max = slice.len > r->slice_max ? slice.len : r->slice_max;
    r->slices++;
    wr_fini(&slice);
    return rc;
}

static struct reply ask(struct scraped *s, const char *target,
                        const char *accept)
{
    struct httpd_answer a;
    struct reply r = {0};
    struct wr all;
    wr_init_grow(&all, OUT_MAX);
    begin(s, target, accept, &a);
    while (next_slice(&a, &all, &r) == 1)
        ;
    wr_u8(&all, '\0');
    check_i64(wr_err(&all), 0);
    r.status = a.status;
    r.type = a.content_type;
    r.text = (char *)all.data;
    httpd_answer_fini(&a);
    return r;
}

/* Is `line` a whole line of the text? */
static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *p = text; (p = strstr(p, line)); p++) {
        if ((p == text || p[-1] == '\n') && p[n] == '\n')
            return true;
    }
    return false;
}

static void check_line(const struct reply *r, const char *line)
{
    if (!has_line(r->text, line))
        fail_msg("there is no line: %s", line);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* ok, over http1, cold; connect and local are the phases there are. */
static struct sample sample_of(int64_t connect_ns, int64_t local_ns)
{
    struct sample s;
    sample_init(&s);
    s.clock = STAMP_KERNEL;
    s.phases_ns[PHASE_CONNECT] = connect_ns;
    s.phases_ns[PHASE_LOCAL] = local_ns;
    s.total_ns = connect_ns + local_ns;
    return s;
}

static void add(struct scraped *s, const char *zone, const struct sample *one)
{
    check_i64(totals_add(s->totals, zone, one, 0), 0);
}

/* ---- the format ---- */

static void speaks_the_format_that_is_asked_for(void **state)
{
    static const struct {
        const char *accept;
        bool is_openmetrics;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {OM, true},
        {"APPLICATION/OpenMetrics-Text", true},
        {OM "; version=1.0.0; charset=utf-8", true},
        {OM ";version=0.0.1", false},
        {OM ";version=0.0.1," OM ";version=1.0.0;q=0.1", true},
        {OM ";version=1.0.01", false},
        {OM "x", false},
        {"text/html, " OM, true},
        {"text/plain;q=0.5," OM ";q=0.4", false},
        {"text/plain;q=0.4," OM ";q=0.5", true},
        {"text/plain;q=0.5," OM ";q=0.5", true},
        {"text/plain;q=0.501," OM ";q=0.5", false},
        {OM ";q=0", false},
        {OM ";q=0.000", false},
        {OM ";q=0.001", true},
        {OM " ; Q = 0.7 ,text/plain;q=0.6", true},
        {OM ";q=nonsense", true},
        {";;;,,=;q=,=", false},
        {OM ";", true},
        /* Prometheus 2.42, and 3 */
        {OM ";version=1.0.0," OM ";version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         true},
        {"application/vnd.google.protobuf;"
         "proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," OM
         ";version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;"
         "version=0.0.4;q=0.3,*/*;q=0.2",
         true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (metrics_accepts_openmetrics(cases[i].accept) !=
            cases[i].is_openmetrics)
            fail_msg("%s", cases[i].accept ? cases[i].accept : "none");
    }
}

static void says_which_format_it_is(void **state)
{
    struct reply r = ask(*state, "/metrics", OM);
    check_u64(r.status, 200);
    check_text(r.type,
               "application/openmetrics-text; version=1.0.0; charset=utf-8");
    check_line(&r, "# TYPE prober_missed_slots counter");
    check_line(&r, "# TYPE prober_build info");
    check_line(&r, "# UNIT process_cpu_seconds seconds");
    check_text(strstr(r.text, "# EOF\n"), "# EOF\n"); /* and the last */
    free(r.text);

    r = ask(*state, "/metrics", NULL);
    check_text(r.type, "text/plain; version=0.0.4; charset=utf-8");
    check_line(&r, "# TYPE prober_missed_slots_total counter");
    check_line(&r, "# TYPE prober_build_info gauge");
    check_true(strstr(r.text, "# UNIT") == NULL);
    check_true(strstr(r.text, "# EOF") == NULL);
    free(r.text);
}

static void samples_are_the_same_in_both_formats(void **state)
{
    struct scraped *s = *state;
    struct sample one = sample_of(MS, MS);
    add(s, "b", &one);
    struct reply om = ask(s, "/metrics", OM);
    struct reply old = ask(s, "/metrics", NULL);
    unsigned lines = 0;
    char *rest;
    for (char *line = strtok_r(om.text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] != '#' && !has_line(old.text, line))
            fail_msg("only in OpenMetrics: %s", line);
        lines += line[0] != '#';
    }
    check_u64(lines, count(old.text, "\n") - count(old.text, "# "));
    free(om.text);
    free(old.text);
}

static void refuses_unknown_parameters_and_values(void **state)
{
    static const char *const bad[] = {
        "/metrics?x=1",
        "/metrics?buckets_per_octave=",
        "/metrics?buckets_per_octave=3",
        "/metrics?buckets_per_octave=0",
        "/metrics?buckets_per_octave=16",
        "/metrics?buckets_per_octave=2&window=5m",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reply r = ask(*state, bad[i], NULL);
        check_u64(r.status, 400);
        free(r.text);
    }
    struct scraped *s = *state;
    check_u64(s->refreshed, 0);
    s->world.source.metrics = NULL;
    struct httpd_answer a;
    begin(s, "/metrics", NULL, &a);
    check_u64(a.status, 0); /* which the server makes a 404 */
    httpd_answer_fini(&a);
}

/* ---- numbers ---- */

static void seconds_are_exact_and_short(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {1, "0.000000001"},
        {100000000, "0.1"},
        {250000000, "0.25"},
        {10000000, "0.01"},
        {15258, "0.000015258"},
        {999999999, "0.999999999"},
        {1000000000, "1.0"},
        {16000000000, "16.0"},
        {UINT64_MAX, "18446744073.709551615"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];
        struct wr w;
        wr_init_fixed(&w, text, sizeof(text));
        metrics_put_seconds(&w, cases[i].ns);
        wr_u8(&w, '\0');
        check_text(text, cases[i].text);
    }
}

static void shows_the_numbers_that_are_known(void **state)
{
    struct scraped *s = *state;
    struct plane_status *p = &s->world.plane;
    p->missed_slots = 4;
    p->queue_drops = 5;
    p->lag_p99_ns = 1234567;
    s->world.source.start_unix_ns = 1767225545000000000;
    struct reply r = ask(s, "/metrics", NULL);
    check_u64(s->refreshed, 1);
    check_line(&r, "process_resident_memory_bytes 4096");
    check_line(&r, "process_cpu_seconds_total 1.5");
    check_line(&r, "process_start_time_seconds 1767225545.0");
    check_line(&r, "process_open_fds 9");
    check_line(&r, "process_max_fds 1024");
    check_line(&r, "prober_ready 1");
    check_line(&r, "prober_draining 0");
    check_line(&r, "prober_missed_slots_total 4");
    check_line(&r, "prober_queue_drops_total 5");
    check_line(&r, "prober_loop_lag_p99_seconds 0.001234567");
    check_line(&r, "prober_samples_total 8");
    check_line(&r, "prober_pressure_ratio{resource=\"cpu\"} 0.015");
    check_line(&r, "prober_starved 0");
    check_line(&r, "prober_frames_held 6");
    check_line(&r, "prober_api_connections 3");
    check_line(&r, "prober_api_refused_total{reason=\"bad_request\"} 2");
    check_line(&r, "prober_plane_status_age_seconds 0.0");
    check_line(&r, "prober_build_info{version=\"0.0.0\"} 1");
    check_line(&r, "prober_node_info{node=\"a-1\",zone=\"a\",region=\"r1\"} 1");
    free(r.text);
}

static void shows_the_mesh(void **state)
{
    struct reply r = ask(*state, "/metrics", NULL);
    check_line(&r, "prober_gossip_members{state=\"alive\"} 2");
    check_line(&r, "prober_gossip_members{state=\"left\"} 0");
    check_line(&r, "prober_gossip_members{state=\"failed\"} 1");
    check_line(&r, "prober_gossip_packets_total{direction=\"in\"} 7");
    check_line(&r, "prober_gossip_packets_total{direction=\"out\"} 0");
    check_line(&r, "prober_gossip_packet_bytes_total{direction=\"in\"} 700");
    check_line(&r, "prober_gossip_decode_errors_total{reason=\"seal\"} 3");
    check_line(&r, "prober_gossip_decode_errors_total{reason=\"budget\"} 0");
    check_line(&r, "prober_gossip_refused_news_total{reason=\"policy\"} 5");
    check_line(&r, "prober_gossip_refused_news_total{reason=\"full\"} 0");
    check_line(&r, "prober_gossip_refused_news_total{reason=\"rate\"} 0");
    check_line(&r, "prober_gossip_refused_news_total{reason=\"jump\"} 0");
    check_line(&r, "prober_gossip_refused_news_total{reason=\"unfit\"} 6");
    check_line(&r, "prober_gossip_pings_total 11");
    check_line(&r, "prober_gossip_health_score 1");
    check_line(&r, "prober_gossip_sealed_messages_total 12");
    check_line(&r, "prober_gossip_keys 2");
    check_line(&r, "prober_gossip_incarnation 1767225605");
    free(r.text);
}

static void leaves_out_what_is_not_known(void **state)
{
    struct scraped *s = *state;
    s->world.source.mesh = NULL;
    s->world.plane.updated_ns = 0;
    s->metrics.process = (struct metrics_process){-1, -1, -1, -1, -1};
    struct reply r = ask(s, "/metrics", NULL);
    check_true(strstr(r.text, "gossip") == NULL);
    check_true(strstr(r.text, "lag") == NULL);
    check_true(strstr(r.text, "status_age") == NULL);
    check_true(strstr(r.text, "_fds") == NULL);
    check_true(strstr(r.text, "resource=\"memory\"") == NULL); /* -1 */
    check_true(strstr(r.text, "source_zone") == NULL);
    free(r.text);
    s->world.source.context = NULL;
    r = ask(s, "/metrics", NULL);
    check_true(strstr(r.text, "starved") == NULL);
    free(r.text);
}

/* ---- zone pairs ---- */

#define PAIR(more)                                                  \
    "{source_zone=\"a\",destination_zone=\"b\",protocol=\"http1\"," \
    "mode=\"cold\"" more "}"
#define CONNECT "prober_phase_duration_seconds"

static void buckets_are_cumulative_and_exact(void **state)
{
    struct scraped *s = *state;
    /* At a bound, just above it, and above all bounds. */
    const int64_t values[] = {0,          15258,      15259,
                              1000000000, 1000000001, 16000000001};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct sample one = sample_of(values[i], 10);
        add(s, "b", &one);
    }
    struct reply r = ask(s, "/metrics", NULL);
    const char *const lines[] = {
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"0.000015258\"") " 2",
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"0.000021579\"") " 3",
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"0.707106781\"") " 3",
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"1.0\"") " 4",
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"1.414213562\"") " 5",
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"16.0\"") " 5",
        CONNECT "_bucket" PAIR(",phase=\"connect\",le=\"+Inf\"") " 6",
        CONNECT "_count" PAIR(",phase=\"connect\"") " 6",
        CONNECT "_sum" PAIR(",phase=\"connect\"") " 18.000030519",
        CONNECT "_count" PAIR(",phase=\"local\"") " 6",
        CONNECT "_sum" PAIR(",phase=\"local\"") " 0.00000006",
        "prober_attempt_duration_seconds_sum" PAIR("") " 18.000030579",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        check_line(&r, lines[i]);
    /* Phases that did not run, and the other way of probing: not there. */
    check_true(strstr(r.text, "phase=\"dns\"") == NULL);
    check_true(strstr(r.text, "prober_server_duration") == NULL);
    check_true(strstr(r.text, "mode=\"warm\"") == NULL);
    free(r.text);
}

static void buckets_are_as_fine_as_is_asked(void **state)
{
    static const struct {
        const char *target;
        unsigned buckets;
    } cases[] = {
        {"/metrics?buckets_per_octave=1", 21 + 1},
        {"/metrics?buckets_per_octave=2", 41 + 1},
        {"/metrics", 41 + 1},
        {"/metrics?buckets_per_octave=4", 81 + 1},
    };
    struct scraped *s = *state;
    for (int i = 0; i < 3; i++) {
        struct sample one = sample_of(1100000000 + i * 200000000, 0);
        add(s, "b", &one);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r = ask(s, cases[i].target, NULL);
        check_u64(count(r.text, CONNECT "_bucket") / 2, cases[i].buckets);
        check_line(&r, CONNECT
                   "_bucket" PAIR(",phase=\"connect\",le=\"1.0\"") " 0");
        check_line(&r, CONNECT
                   "_bucket" PAIR(",phase=\"connect\",le=\"2.0\"") " 3");
        free(r.text);
    }
}

static void all_outcomes_are_there_from_the_first_attempt_on(void **state)
{
    struct scraped *s = *state;
    struct sample one = sample_of(MS, 0);
    add(s, "b", &one);
    add(s, "b", &one);
    one.outcome = OUTCOME_CONNECT_REFUSED;
    one.retransmits = 2;
    add(s, "b", &one);
    one.outcome = OUTCOME_H2_RESET; /* cannot be, but if it is, it shows */
    add(s, "b", &one);
    struct reply r = ask(s, "/metrics", NULL);
    check_line(&r, "prober_attempts_total" PAIR(",outcome=\"ok\"") " 2");
    check_line(
        &r, "prober_attempts_total" PAIR(",outcome=\"connect_refused\"") " 1");
    check_line(&r, "prober_attempts_total" PAIR(",outcome=\"h2_reset\"") " 1");
    check_line(&r,
               "prober_attempts_total" PAIR(",outcome=\"tls_expired\"") " 0");
    check_line(&r, "prober_attempts_total" PAIR(",outcome=\"cancelled\"") " 0");
    check_line(&r, "prober_retransmits_total" PAIR("") " 4");
    check_true(strstr(r.text, "outcome=\"grpc_status\"") == NULL);
    check_true(strstr(r.text, "outcome=\"h2_goaway\"") == NULL);
    check_true(strstr(r.text, "outcome=\"http_status\"") != NULL);
    free(r.text);
    one.protocol = PROTOCOL_GRPC;
    add(s, "b", &one);
    r = ask(s, "/metrics", NULL);
    check_true(strstr(r.text, "outcome=\"grpc_status\"") != NULL);
    check_true(strstr(r.text, "protocol=\"grpc\",mode=\"cold\","
                              "outcome=\"http_status\"") == NULL);
    free(r.text);
}

static void left_out_samples_are_counted(void **state)
{
    struct scraped *s = *state;
    struct sample one = sample_of(MS, 0);
    (void)totals_add(s->totals, NULL, &one, 0);
    struct reply r = ask(s, "/metrics", NULL);
    check_line(&r,
               "prober_samples_left_out_total{reason=\"unknown_target\"} 1");
    check_line(&r, "prober_samples_left_out_total{reason=\"zones\"} 0");
    free(r.text);
}

static void names_of_zones_cannot_break_the_format(void **state)
{
    struct scraped *s = *state;
    struct sample one = sample_of(MS, 0);
    s->world.source.zone = "a\\\"\n\xff";
    add(s, "b\"} 1\nfake 2\n# {x=\"", &one);
    add(s, "\xe2\x82", &one);
    add(s, "back\\", &one);
    struct reply r = ask(s, "/metrics", NULL);
#define U "\xef\xbf\xbd"
    check_line(&r, "prober_retransmits_total{source_zone=\"a\\\\\\\"" U U
                   "\",destination_zone=\"b\\\"} 1" U "fake 2" U
                   "# {x=\\\"\",protocol=\"http1\",mode=\"cold\"} 0");
    check_true(strstr(r.text, "destination_zone=\"" U "\"") != NULL);
    check_true(strstr(r.text, "destination_zone=\"back\\\\\",") != NULL);
    check_true(strstr(r.text, "\nfake") == NULL);
    free(r.text);
}

/* ---- slices ---- */

static void fill(struct scraped *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char zone[129];
        memset(zone, i % 2 ? '"' : '\xff', sizeof(zone) - 1);
        snprintf(zone + 100, sizeof(zone) - 100, "%zu", i);
        for (unsigned k = 0; k < PROTOCOL_N * MODE_N; k++) {
            struct sample one = sample_of(MS, MS);
            one.protocol = (uint8_t)(k / MODE_N);
            one.mode = (uint8_t)(k % MODE_N);
            add(s, zone, &one);
        }
    }
}

static void comes_in_bounded_slices_whatever_the_zones(void **state)
{
    struct scraped *s = *state;
    fill(s, 20);
    struct reply r = ask(s, "/metrics?buckets_per_octave=4", OM);
    check_true(r.slices > 20);
    check_true(r.slice_max <= 65536);
    check_u64(count(r.text, "le=\"+Inf\""), 20 * 4 * 3);
    check_u64(count(r.text, "le=\"1.0\""), 20 * 4 * 3);
    check_u64(count(r.text, "outcome=\"ok\""), 20 * 4);
    check_u64(count(r.text, "# TYPE " CONNECT), 1);
    check_true(strstr(r.text, "# EOF\n") != NULL);
    free(r.text);
}

/* Each histogram fits in itself even if attempts go on meanwhile. */
static void a_histogram_does_not_change_while_it_is_sent(void **state)
{
    struct scraped *s = *state;
    struct httpd_answer a;
    struct reply r = {0};
    struct wr all;
    int more;
    fill(s, 8);
    wr_init_grow(&all, OUT_MAX);
    begin(s, "/metrics?buckets_per_octave=4", OM, &a);
    do {
        more = next_slice(&a, &all, &r);
        fill(s, 8);
    } while (more == 1);
    wr_u8(&all, '\0');
    httpd_answer_fini(&a);
    unsigned histograms = 0;
    unsigned long before = 0; /* of the bucket before */
    char *rest;
    for (char *line = strtok_r((char *)all.data, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        unsigned long n = strtoul(strrchr(line, ' ') + 1, NULL, 10);
        if (strstr(line, "_bucket{"))
            check_true(n >= before);
        else if (strstr(line, "_count{"))
            check_u64(n, before);
        histograms += strstr(line, "_count{") != NULL;
        before = strstr(line, "_bucket{") ? n : 0;
    }
    check_u64(histograms, 8 * 4 * 3);
    check_true(r.slices > 8);
    wr_fini(&all);
}

static void a_zone_that_came_meanwhile_waits_for_the_next_scrape(void **state)
{
    struct scraped *s = *state;
    struct httpd_answer a;
    struct reply r = {0};
    struct wr all;
    wr_init_grow(&all, OUT_MAX);
    for (int i = 0; i < TOTALS_ZONES_MAX; i++) {
        char zone[16];
        struct sample one = sample_of(MS, 0);
        snprintf(zone, sizeof(zone), "z%d", i);
        check_i64(totals_add(s->totals, zone, &one, (uint64_t)i), 0);
    }
    begin(s, "/metrics", OM, &a);
    check_i64(next_slice(&a, &all, &r), 1);
    struct sample one = sample_of(MS, 0);
    check_i64(totals_add(s->totals, "new", &one, TOTALS_IDLE_NS), 0);
    while (next_slice(&a, &all, &r) == 1)
        ;
    wr_u8(&all, '\0');
    const char *text = (const char *)all.data;
    check_true(strstr(text, "\"new\"") == NULL);
    check_true(strstr(strstr(text, "# TYPE " CONNECT), "\"z0\"") == NULL);
    check_true(strstr(strstr(text, "# TYPE " CONNECT), "\"z1\"") != NULL);
    httpd_answer_fini(&a);
    wr_fini(&all);
    r = ask(s, "/metrics", OM);
    check_true(strstr(r.text, "\"new\"") != NULL);
    free(r.text);
}

/* ---- the control port ---- */

static void the_control_port_counts_what_it_refused(void **state)
{
    struct scraped *s = *state;
    struct reply r = ask(s, "/metrics", NULL);
    check_line(&r, "prober_control_requests_total 3");
    check_line(&r, "prober_control_refused_total{reason=\"denied\"} 2");
    check_line(&r, "prober_config_last_reload_successful 1");
    check_line(&r, "prober_config_last_reload_timestamp_seconds 1.5");
    free(r.text);
    s->metrics.control.is_on = false;
    r = ask(s, "/metrics", NULL);
    check_true(!strstr(r.text, "prober_control_"));
    free(r.text);
}

/* ---- the document ---- */

static char *read_document(void)
{
    const char *root = getenv("PROBER_SOURCE_ROOT");
    char path[512];
    snprintf(path, sizeof(path), "%s/docs/metrics.md", root ? root : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot read %s", path);
    char *text = calloc(1, 1 << 18);
    check_true(text && fread(text, 1, (1 << 18) - 1, f) > 0);
    fclose(f);
    return text;
}

/* Everything there can be in one answer. */
static struct reply ask_for_all(struct scraped *s)
{
    struct sample one = sample_of(MS, MS);
    one.server_ns = 1000;
    add(s, "b", &one);
    return ask(s, "/metrics", NULL);
}

static void the_document_names_every_metric(void **state)
{
    char *document = read_document();
    struct reply r = ask_for_all(*state);
    unsigned n = 0;
    char *rest;
    for (char *line = strtok_r(r.text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        char name[128];
        char type[32];
        char row[200];
        if (sscanf(line, "# TYPE %127s %31s", name, type) != 2)
            continue;
        bool is_info = strstr(name, "_info") != NULL;
        snprintf(row, sizeof(row), "\n| `%s` | %s |", name,
                 is_info ? "info" : type);
        if (count(document, row) != 1)
            fail_msg("docs/metrics.md has no row (or two): %s", row + 1);
        n++;
    }
    check_true(n > 60);
    free(r.text);
    free(document);
}

static void every_metric_of_the_document_is_there(void **state)
{
    char *document = read_document();
    struct reply r = ask_for_all(*state);
    unsigned n = 0;
    char *rest;
    for (char *line = strtok_r(document, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        char name[128];
        char head[160];
        if (sscanf(line, "| `%127[a-z0-9_]` | %*[a-z] |", name) != 1 ||
            (strncmp(name, "prober_", 7) && strncmp(name, "process_", 8)))
            continue;
        snprintf(head, sizeof(head), "\n# TYPE %s ", name);
        if (count(r.text, head) != 1 &&
            strncmp(r.text, head + 1, strlen(head + 1)))
            fail_msg("not in the output: %s", name);
        n++;
    }
    check_true(n > 60);
    free(r.text);
    free(document);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_the_format_that_is_asked_for),
        CLAIM(says_which_format_it_is),
        CLAIM(samples_are_the_same_in_both_formats),
        CLAIM(refuses_unknown_parameters_and_values),
        cmocka_unit_test(seconds_are_exact_and_short),
        CLAIM(shows_the_numbers_that_are_known),
        CLAIM(shows_the_mesh),
        CLAIM(leaves_out_what_is_not_known),
        CLAIM(buckets_are_cumulative_and_exact),
        CLAIM(buckets_are_as_fine_as_is_asked),
        CLAIM(all_outcomes_are_there_from_the_first_attempt_on),
        CLAIM(left_out_samples_are_counted),
        CLAIM(names_of_zones_cannot_break_the_format),
        CLAIM(comes_in_bounded_slices_whatever_the_zones),
        CLAIM(a_histogram_does_not_change_while_it_is_sent),
        CLAIM(a_zone_that_came_meanwhile_waits_for_the_next_scrape),
        CLAIM(the_document_names_every_metric),
        CLAIM(the_control_port_counts_what_it_refused),
        CLAIM(every_metric_of_the_document_is_there),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
