/* test/bench/matrix.c - what a matrix of many zones costs.
 *
 * usage: bench_matrix ZONES [WINDOWS [MIB [PORT]]]
 *
 * A mesh is made up: three nodes a zone, each of which probes one node of each
 * zone over both protocols, cold every 5 s and warm every 1 s. WINDOWS windows
 * (36) of its frames are put into the set and the history, which may hold MIB
 * of memory together (4096). Then, without PORT,
 * one question after the other is asked in this process, and one line of JSON
 * says what it took, in CPU time. With PORT the API's server answers there
 * while frames keep coming as they would, until SIGTERM. Each SIGUSR1 is
 * answered by a line on how late the loops were since the one before: the
 * server's, by a timer of 2 ms, and that of a thread which only waits for a
 * millisecond at a time, with the scheduling of the measuring plane's.
 * matrix.py is who asks.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uv.h>

#include "mesh/history.h"
#include "prober/api.h"
#include "prober/httpd_query.h"
#include "prober/httpd_uv.h"
#include "prober/slice.h"
#include "proto/base/rng.h"

#define NODES  3 /* of a zone */
#define NS     1000000000ull
#define WINDOW (FRAME_WINDOW_S * NS)

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

/* Making the frames takes a while, and they should be new when it is over: the
 * wall clock is put back by as much. Views ask for the time without a context,
 * hence a global. */
static uint64_t back_ns;

static uint64_t now_unix_ns(void)
{
    return clock_of(CLOCK_REALTIME) - back_ns;
}

static uint64_t cpu_ns(void)
{
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

static uint64_t resident_kib(void)
{
    char line[256], *second;
    FILE *f = fopen("/proc/self/statm", "r");
    bool is_read = f && fgets(line, sizeof(line), f);
    if (f)
        fclose(f);
    if (!is_read)
        return 0;
    strtoul(line, &second, 10);
    return strtoul(second, NULL, 10) * 4;
}

/* 0 for what is none. */
static unsigned number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    return *end || n > UINT_MAX ? 0 : (unsigned)n;
}

/* Counts by bucket, of one thread that adds and another that reads. */
struct lags {
    atomic_uint counts[HIST_BUCKETS];
};

struct bench {
    unsigned zones;
    size_t memory;
    struct rng rng;
    struct frames *frames;
    struct history *history;
    struct api_source source;
    struct frame frame;
    struct wr encoded;
    uint64_t frames_made, frame_bytes, cells, fold_ns;

    uv_loop_t *loop;
    uv_timer_t tick;
    uv_signal_t report;
    uint64_t window;  /* being delivered */
    unsigned arrived; /* of its frames */
    uint64_t ticked_ns;
    struct lags loop_lags, plane_lags;
    atomic_bool is_over;
};

static char *node_name(unsigned zone, unsigned node)
{
    char text[64];
    snprintf(text, sizeof(text), "zone-%03u-%u", zone, node);
    return strdup(text);
}

static char *zone_name(unsigned zone)
{
    char text[64];
    snprintf(text, sizeof(text), "zone-%03u", zone);
    return strdup(text);
}

static char *region_name(unsigned zone)
{
    char text[64];
    snprintf(text, sizeof(text), "region-%u", zone / 10);
    return strdup(text);
}

static void fill_names(struct bench *b, unsigned zone, unsigned node)
{
    struct frame *f = &b->frame;
    f->origin = node_name(zone, node);
    f->zone = zone_name(zone);
    f->region = region_name(zone);
    f->n_targets = b->zones;
    f->targets = calloc(b->zones, sizeof(*f->targets));
    for (unsigned z = 0; z < b->zones; z++) {
        f->targets[z].name = node_name(z, (node + zone) % NODES);
        f->targets[z].zone = zone_name(z);
        f->targets[z].region = region_name(z);
    }
}
/* A latency around `ms` milliseconds with a tail. */
static uint64_t draw(struct bench *b, double ms)
{
    double u = rng_unit(&b->rng);
    double tail = u > 0.99 ? 4 : 1;
    return (uint64_t)(ms * 1e6 * (0.9 + 0.2 * rng_unit(&b->rng)) * tail);
}

static void fill_cell(struct bench *b, struct frame_cell *c, unsigned distance)
{
    double rtt_ms = 0.3 + 0.2 * distance;
    unsigned n = c->mode == MODE_COLD ? 2 : 10;
    c->is_trusted = true;
    c->attempts = c->outcomes[OUTCOME_OK] = n;
    c->max_lag_us = 20 + rng_below(&b->rng, 100);
    for (unsigned i = 0; i < n; i++) {
        struct hist *s = c->series;
        if (c->mode == MODE_COLD) {
            hist_add(&s[PHASE_DNS], draw(b, 0.4));
            hist_add(&s[PHASE_CONNECT], draw(b, rtt_ms));
            hist_add(&s[PHASE_TLS], draw(b, rtt_ms + 1));
        }
        hist_add(&s[PHASE_TTFB], draw(b, rtt_ms + 0.1));
        hist_add(&s[PHASE_TRANSFER], 0);
        hist_add(&s[PHASE_LOCAL], draw(b, 0.3));
        hist_add(&s[SERIES_TOTAL], draw(b, 3 * rtt_ms + 2));
        hist_add(&s[SERIES_SERVER], draw(b, 0.05));
    }
}

/* The frame of one node and window, into b->encoded. */
static void make_frame(struct bench *b, unsigned number, uint64_t window)
{
    unsigned zone = number / NODES;
    struct frame *f = &b->frame;
    *f = (struct frame){.epoch_ms = 1, .window = window};
    fill_names(b, zone, number % NODES);
    f->n_cells = (size_t)b->zones * PROTOCOL_N * MODE_N;
    f->cells = calloc(f->n_cells, sizeof(*f->cells));
    for (unsigned i = 0; i < f->n_cells; i++) {
        struct frame_cell *c = &f->cells[i];
        c->target = i / (PROTOCOL_N * MODE_N);
        c->protocol = i / MODE_N % PROTOCOL_N;
        c->mode = i % MODE_N;
        fill_cell(b, c,
                  (c->target > zone ? c->target - zone : zone - c->target));
    }
    wr_reset(&b->encoded);
    if (frame_encode(f, &b->encoded))
        abort();
    b->frames_made++;
    b->cells += f->n_cells;
    b->frame_bytes += b->encoded.len;
    frame_fini(f);
}

static void deliver(struct bench *b, unsigned number, uint64_t window)
{
    make_frame(b, number, window);
    if (frames_add(b->frames, b->encoded.data, b->encoded.len) == 0)
        history_add(b->history, b->encoded.data, b->encoded.len);
}

static void work(struct bench *b)
{
    uint64_t start = cpu_ns();
    while (history_work(b->history, HISTORY_STEP)) {
    }
    b->fold_ns += cpu_ns() - start;
}

static void tick(struct bench *b, uint64_t now_s)
{
    frames_expire(b->frames, now_s);
    size_t frames = frames_bytes(b->frames);
    history_limit(b->history, b->memory > frames ? b->memory - frames : 0);
    history_tick(b->history, now_s);
}

static void fill(struct bench *b, unsigned windows)
{
    uint64_t begun_ns = now_unix_ns();
    uint64_t last = begun_ns / WINDOW - 1;
    for (uint64_t w = last - windows + 1; w <= last; w++) {
        tick(b, w * FRAME_WINDOW_S);
        for (unsigned i = 0; i < b->zones * NODES; i++) {
            deliver(b, i, w);
            work(b);
        }
    }
    tick(b, (last + 1) * FRAME_WINDOW_S);
    work(b);
    back_ns = now_unix_ns() - begun_ns;
    b->window = last;
    b->arrived = b->zones * NODES;
}

static void set_nodes(struct bench *b)
{
    struct api_nodes *n = api_nodes_open(now_ns(), now_unix_ns(), NULL);
    for (unsigned i = 0; n && i < b->zones * NODES; i++) {
        char name[32], zone[32];
        snprintf(name, sizeof(name), "zone-%03u-%u", i / NODES, i % NODES);
        snprintf(zone, sizeof(zone), "zone-%03u", i / NODES);
        struct api_node node = {.kind = i ? API_KIND_MEMBER : API_KIND_SELF,
                                .state = API_STATE_ALIVE,
                                .name = name,
                                .zone = zone,
                                .is_ours = true,
                                .is_in_matrix = true,
                                .is_source = true};
        if (api_nodes_add(n, &node))
            abort();
    }
    api_source_set_nodes(&b->source, n);
}

/* Ask within this process; prints one object. */
static void ask(struct bench *b, const char *name, const char *target)
{
    struct httpd_query q;
    struct httpd_answer a = {0};
    struct wr w;
    uint8_t *slice = malloc(65536);
    uint64_t start = cpu_ns(), first = 0, longest = 0, bytes = 0;
    int rc;
    if (!slice || httpd_query_decode(&q, target, strlen(target), NULL))
        abort();
    api_handle(&b->source, &q.request, &a);
    uint64_t turn = start;
    while (a.prepare && a.prepare(a.state, &a) == 1) {
        uint64_t now = cpu_ns();
        longest = now - turn > longest ? now - turn : longest;
        turn = now;
    }
    uint64_t built = cpu_ns();
    do {
        turn = cpu_ns();
        wr_init_fixed(&w, slice, 65536);
        rc = a.body(a.state, &w);
        bytes += w.len;
        uint64_t now = cpu_ns();
        longest = now - turn > longest ? now - turn : longest;
        first = first ? first : now;
    } while (rc == 1);
    printf(",\"%s\":{\"build_ms\":%.3f,\"first_ms\":%.3f,\"whole_ms\":%.3f,"
           "\"longest_turn_ms\":%.3f,\"bytes\":%llu}",
           name, (double)(built - start) / 1e6, (double)(first - start) / 1e6,
           (double)(cpu_ns() - start) / 1e6, (double)longest / 1e6,
           (unsigned long long)bytes);
    httpd_answer_fini(&a);
    free(slice);
}

static void fresh_cache(struct bench *b)
{
    api_cache_close(b->source.cache);
    b->source.cache = api_cache_open();
}

static void report(struct bench *b, unsigned windows, uint64_t empty_kib)
{
    struct history_stats s;
    history_stats(b->history, &s);
    printf("{\"zones\":%u,\"nodes\":%u,\"windows\":%u,\"frames\":%zu,"
           "\"frame_bytes\":%zu,\"bytes_per_cell\":%.1f,"
           "\"history_bytes\":%zu,\"lines\":%zu,\"tiers\":[",
           b->zones, b->zones * NODES, windows, frames_count(b->frames),
           frames_bytes(b->frames), (double)b->frame_bytes / (double)b->cells,
           s.bytes, s.lines);
    for (unsigned i = 0; i < HISTORY_TIERS; i++)
        printf("%s{\"slots\":%zu,\"bytes\":%zu}", i ? "," : "",
               s.tiers[i].slots, s.tiers[i].bytes);
    printf(
        "],\"resident_kib\":%llu,\"empty_kib\":%llu,"
        "\"memory_mib\":%zu,\"fold_us_a_frame\":%.1f,\"fold_ms_a_window\":%.1f",
        (unsigned long long)resident_kib(), (unsigned long long)empty_kib,
        b->memory >> 20, (double)b->fold_ns / 1e3 / (double)b->frames_made,
        (double)b->fold_ns / 1e6 / windows);
}

static void ask_all(struct bench *b)
{
    static const char *const questions[][2] = {
        {"all", "/api/v1/matrix?level=zone&window=5m"},
        {"http1", "/api/v1/matrix?level=zone&window=5m&protocol=http1"},
        {"minute", "/api/v1/matrix?level=zone&window=1m&protocol=http1"},
        {"hour", "/api/v1/matrix?level=zone&window=1h&protocol=http1"},
        {"region", "/api/v1/matrix?level=region&window=5m"},
        {"cell", "/api/v1/cells/zone-000/zone-001"},
    };
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        fresh_cache(b);
        ask(b, questions[i][0], questions[i][1]);
    }
    fresh_cache(b);
    ask(b, "again", questions[0][1]);
    ask(b, "shared", questions[0][1]);
    b->source.history = NULL;
    fresh_cache(b);
    ask(b, "from_frames", questions[0][1]);
    b->source.history = b->history;
}

/* ---- the server ---- */

static void add_lag(struct lags *l, uint64_t gap_ns, uint64_t period_ns)
{
    uint64_t late_ns = gap_ns > period_ns ? gap_ns - period_ns : 1;
    atomic_fetch_add(&l->counts[hist_index(late_ns)], 1);
}

/* The upper bound of the bucket where the quantile is; starts anew. */
static void print_lags(const char *name, struct lags *l)
{
    unsigned counts[HIST_BUCKETS];
    uint64_t n = 0, seen = 0, p50 = 0, p99 = 0, max = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        n += counts[i] = atomic_exchange(&l->counts[i], 0);
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += counts[i];
        max = counts[i] ? hist_bound_ns(i) : max;
        p50 = !p50 && 2 * seen >= n ? hist_bound_ns(i) : p50;
        p99 = !p99 && 100 * seen >= 99 * n ? hist_bound_ns(i) : p99;
    }
    printf("\"%s\":{\"n\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"max_us\":%.1f}",
           name, (unsigned long long)n, (double)p50 / 1e3, (double)p99 / 1e3,
           (double)max / 1e3);
}

static void *plane(void *arg)
{
    struct bench *b = arg;
    struct timespec wait = {.tv_nsec = 1000000};
    (void)!slice_request_short();
    while (!atomic_load(&b->is_over)) {
        uint64_t start = now_ns();
        nanosleep(&wait, NULL);
        add_lag(&b->plane_lags, now_ns() - start, 1000000);
    }
    return NULL;
}

static void on_report(uv_signal_t *signal, int number)
{
    struct bench *b = signal->loop->data;
    (void)number;
    printf("{");
    print_lags("loop", &b->loop_lags);
    printf(",");
    print_lags("plane", &b->plane_lags);
    printf(",\"resident_kib\":%llu}\n", (unsigned long long)resident_kib());
    fflush(stdout);
}

static void on_tick(uv_timer_t *timer)
{
    struct bench *b = timer->data;
    static const uint64_t period_ns = 2000000;
    uint64_t now = now_ns();
    if (b->ticked_ns)
        add_lag(&b->loop_lags, now - b->ticked_ns, period_ns);
    b->ticked_ns = now;
    /* The frames of a window come within five seconds of its end. */
    uint64_t unix_ns = now_unix_ns();
    uint64_t newest = unix_ns / WINDOW - 1;
    if (newest > b->window && b->arrived == b->zones * NODES) {
        b->window = newest;
        b->arrived = 0;
        tick(b, unix_ns / NS);
    }
    uint64_t since = unix_ns - (b->window + 1) * WINDOW;
    uint64_t due = since * b->zones * NODES / (5 * NS);
    if (b->arrived < b->zones * NODES && b->arrived < due)
        deliver(b, b->arrived++, b->window);
    while (history_work(b->history, HISTORY_STEP) && now_ns() - now < 1000000) {
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct bench *b = signal->loop->data;
    (void)number;
    httpd_close(signal->data);
    uv_close((uv_handle_t *)signal, NULL);
    uv_close((uv_handle_t *)&b->report, NULL);
    uv_close((uv_handle_t *)&b->tick, NULL);
}

static int serve(struct bench *b, const char *port)
{
    struct addr any, actual;
    struct errmsg msg = {""};
    char text[32];
    uv_signal_t terminate;
    b->loop = uv_default_loop();
    b->loop->data = b;
    snprintf(text, sizeof(text), "127.0.0.1:%s", port);
    if (addr_parse(&any, text))
        return 2;
    const struct httpd_config server = {
        .listen = &any, .handler = api_handle, .arg = &b->source};
    struct httpd *h = httpd_open(b->loop, &server, &actual, &msg);
    if (!h) {
        fprintf(stderr, "matrix: %s\n", msg.text);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(b->loop, &terminate);
    terminate.data = h;
    uv_signal_start(&terminate, on_signal, SIGTERM);
    uv_signal_init(b->loop, &b->report);
    uv_signal_start(&b->report, on_report, SIGUSR1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, plane, b))
        return 1;
    uv_timer_init(b->loop, &b->tick);
    b->tick.data = b;
    uv_timer_start(&b->tick, on_tick, 1, 2);
    printf(",\"port\":%u}\n", actual.port);
    fflush(stdout);
    uv_run(b->loop, UV_RUN_DEFAULT);
    uv_loop_close(b->loop);
    atomic_store(&b->is_over, true);
    pthread_join(thread, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    b.zones = argc > 1 ? number(argv[1]) : 0;
    unsigned windows = argc > 2 ? number(argv[2]) : HISTORY_WINDOWS;
    if (b.zones == 0 || b.zones > 999 || windows == 0) {
        fprintf(stderr, "usage: bench_matrix ZONES [WINDOWS [MIB [PORT]]]\n");
        return 2;
    }
    uint64_t empty_kib = resident_kib();
    b.memory = (size_t)(argc > 3 ? number(argv[3]) : 4096) << 20;
    struct frames_limits limits = {.retention_s = 300,
                                   .bytes_max = b.memory / 2};
    struct history_config config = {.bytes_max = b.memory / 2, .seed = 1};
    rng_seed(&b.rng, 1);
    wr_init_grow(&b.encoded, FRAME_BYTES_MAX);
    b.frames = frames_open(&limits);
    b.history = history_open(&config);
    b.source = (struct api_source){.node = "zone-000-0",
                                   .zone = "zone-000",
                                   .region = "region-0",
                                   .version = "bench",
                                   .frames = b.frames,
                                   .history = b.history,
                                   .is_ready = true,
                                   .cache = api_cache_open(),
                                   .now_ns = now_ns,
                                   .now_unix_ns = now_unix_ns};
    if (!b.frames || !b.history || !b.source.cache)
        return 1;
    fill(&b, windows);
    set_nodes(&b);
    report(&b, windows, empty_kib);
    int rc = 0;
    if (argc > 4) {
        rc = serve(&b, argv[4]);
    } else {
        ask_all(&b);
        printf("}\n");
    }
    api_source_set_nodes(&b.source, NULL);
    api_cache_close(b.source.cache);
    history_close(b.history);
    frames_close(b.frames);
    wr_fini(&b.encoded);
    return rc;
}
