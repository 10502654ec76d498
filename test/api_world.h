/* test/api_world.h - a small made-up control plane for tests of the API.
 *
 * Zones a, b, c with one node each, and a second node in a. a-1 and a-2 have
 * measured b-1; c-1 is expected but silent. Every number is known, see
 * world_frame(). The clocks stand still unless a test moves them.
 */
#ifndef TEST_API_WORLD_H
#define TEST_API_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "prober/api.h"
#include "proto/base/buf.h"

#define WORLD_UNIX_S  1767225605ull /* 2026-01-01T00:00:05Z */
#define WORLD_WINDOW  (WORLD_UNIX_S / 10)
#define WORLD_WINDOWS 3 /* measured ones, the newest is WORLD_WINDOW - 1 */
#define WORLD_SAMPLES 8

struct world {
    struct api_source source;
    struct plane_status plane;
    struct frame_context context;
    struct frames *frames;
    struct api_mesh mesh;
    struct sample samples[WORLD_SAMPLES];
};

static uint64_t world_now(void)
{
    return 1000ull * 1000000000u;
}

static uint64_t world_now_unix(void)
{
    return WORLD_UNIX_S * 1000000000u;
}

static const struct matrix_node world_nodes[] = {
    {"a-1", "a", "r1", false, true},
    {"a-2", "a", "r1", false, true},
    {"b-1", "b", "r1", false, true},
    {"c-1", "c", "r2", false, true},
};

static inline void world_set_nodes(struct world *w,
                                   const struct matrix_node *nodes, size_t n)
{
    struct api_nodes *snapshot =
        api_nodes_open(world_now(), world_now_unix(), NULL);
    if (!snapshot)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct api_node node = {
            .kind = i == 0 ? API_KIND_SELF : API_KIND_PEER,
            .state = API_STATE_STATIC,
            .name = nodes[i].name,
            .zone = nodes[i].zone,
            .region = nodes[i].region,
            .is_ours = true,
            .is_probed = i > 0,
            .is_draining = nodes[i].is_draining,
            .is_in_matrix = true,
            .is_source = nodes[i].is_source,
        };
        if (api_nodes_add(snapshot, &node))
            abort();
    }
    api_source_set_nodes(&w->source, snapshot);
}

static void world_names(void *arg, const struct sample *s,
                        struct sample_names *out)
{
    (void)arg;
    *out = (struct sample_names){
        .target = "https://b-1:7443/probe",
        .from_node = "a-1",
        .from_zone = "a",
        .to_node = s->target == 0 ? "b-1" : "c-1",
        .to_zone = s->target == 0 ? "b" : "c",
    };
}

/* Three attempts towards b-1: two ok with connect 400 us and 600 us, total
 * 1 ms and 2 ms, and one `failure`. `window` 0 of the run is not
 * trusted. */
static void world_frame(struct frames *frames, const char *origin,
                        uint64_t window, bool is_trusted,
                        enum probe_outcome failure)
{
    char node[] = "b-1";
    char zone[] = "b";
    char region[] = "r1";
    char origin_zone[] = "a";
    char name[32];
    strncpy(name, origin, sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';

    struct frame_target target = {node, zone, region};
    struct frame_cell cell = {
        .protocol = PROTOCOL_HTTP1,
        .mode = MODE_COLD,
        .is_trusted = is_trusted,
        .attempts = 3,
        .outcomes = {[OUTCOME_OK] = 2},
        .retransmits = 1,
        .max_lag_us = 7,
    };
    cell.outcomes[failure] = 1;
    hist_add(&cell.series[PHASE_CONNECT], 400000);
    hist_add(&cell.series[PHASE_CONNECT], 600000);
    hist_add(&cell.series[SERIES_TOTAL], 1000000);
    hist_add(&cell.series[SERIES_TOTAL], 2000000);
    struct frame frame = {
        .origin = name,
        .zone = origin_zone,
        .region = region,
        .epoch_ms = 1,
        .window = window,
        .context = {.psi_cpu = 150,
                    .psi_memory = -1,
                    .psi_io = -1,
                    .throttled_us = 2000,
                    .nr_throttled = -1,
                    .memory_used = -1,
                    .memory_limit = -1,
                    .runq_wait_us = -1,
                    .lag_p99_us = 12},
        .n_targets = 1,
        .n_cells = 1,
        .targets = &target,
        .cells = &cell,
    };
    struct wr w;
    wr_init_grow(&w, 65536);
    if (frame_encode(&frame, &w) || frames_add(frames, w.data, w.len))
        abort();
    wr_fini(&w);
    for (unsigned i = 0; i < SERIES_N; i++)
        hist_fini(&cell.series[i]);
}

static inline void world_init(struct world *w)
{
    static const struct frames_limits limits = {.retention_s = 300,
                                                .bytes_max = 1u << 20};
    *w = (struct world){0};
    w->frames = frames_open(&limits);
    for (unsigned i = 0; i < WORLD_WINDOWS; i++) {
        uint64_t window = WORLD_WINDOW - WORLD_WINDOWS + i;
        world_frame(w->frames, "a-1", window, i > 0, OUTCOME_CONNECT_TIMEOUT);
        world_frame(w->frames, "a-2", window, true, OUTCOME_CONNECT_TIMEOUT);
    }
    for (unsigned i = 0; i < WORLD_SAMPLES; i++) {
        sample_init(&w->samples[i]);
        w->samples[i].target = i % 2;
        w->samples[i].total_ns = i;
        w->samples[i].phases_ns[PHASE_LOCAL] = i;
        w->samples[i].started_unix_ns = world_now_unix();
    }
    w->plane = (struct plane_status){
        .attempts = 18, .ok = 12, .failed = 6, .updated_ns = world_now()};
    w->context = (struct frame_context){.psi_cpu = 150, .psi_memory = -1};
    w->source = (struct api_source){
        .node = "a-1",
        .zone = "a",
        .region = "r1",
        .version = "0.0.0",
        .start_unix_ns = world_now_unix() - 60ull * 1000000000u,
        .start_ns = world_now() - 60ull * 1000000000u,
        .frames = w->frames,
        .plane = &w->plane,
        .context = &w->context,
        .is_ready = true,
        .stall_after_ns = 5ull * 1000000000u,
        .memory_rss_bytes = 4096,
        .cache = api_cache_open(),
        .samples = w->samples,
        .samples_size = WORLD_SAMPLES,
        .samples_head = 0,
        .samples_count = WORLD_SAMPLES,
        .samples_total = WORLD_SAMPLES,
        .names = world_names,
        .now_ns = world_now,
        .now_unix_ns = world_now_unix,
    };
    world_set_nodes(w, world_nodes,
                    sizeof(world_nodes) / sizeof(world_nodes[0]));
}

/* Fold all frames into the history; those that it knows do not matter. */
static inline void world_fold(struct world *w)
{
    struct frames_cursor c = {.first_window = 0};
    const void *data;
    size_t len;
    history_tick(w->source.history, WORLD_UNIX_S);
    while (frames_next(w->frames, &c, &data, &len)) {
        if (history_add(w->source.history, data, len))
            abort();
    }
    frames_cursor_fini(&c);
}

/* From now on the zones' answers come from a history. */
static inline void world_set_history(struct world *w)
{
    static const struct history_config config = {.bytes_max = 1u << 22};
    w->source.history = history_open(&config);
    if (!w->source.history)
        abort();
    world_fold(w);
}

/* Tags of a Serf agent that means no good: an escape sequence, NUL, bytes that
 * are no UTF-8, and two keys that are one once these are replaced. */
static const char world_tags[] = "\xff\x83"
                                 "\xa4role\xa7\"\x1b[31m\xc3"
                                 "\xa2r\x00\xa3web"
                                 "\xa2r\xff\xa0";

/* A mesh that is on: this node, a peer of the configuration, a suspect member,
 * one that failed and is held, an agent of Serf's, and an outside target. */
static inline void world_set_mesh(struct world *w)
{
    const uint64_t now = world_now();
    const uint64_t s = 1000000000u;
    const struct api_node nodes[] = {
        {.kind = API_KIND_SELF,
         .state = API_STATE_ALIVE,
         .name = "a-1",
         .zone = "a",
         .region = "r1",
         .version = "1.2.3",
         .addr = {.family = ADDR_V4, .port = 7946, .ip = {10, 0, 0, 1}},
         .incarnation = 1767225605,
         .changed_ns = now - 60 * s,
         .is_ours = true,
         .is_in_matrix = true,
         .is_source = true},
        {.kind = API_KIND_PEER,
         .state = API_STATE_STATIC,
         .name = "a-2",
         .zone = "a",
         .region = "r1",
         .probe = "a-2:7443",
         .is_ours = true,
         .is_probed = true,
         .is_in_matrix = true,
         .is_source = true},
        {.kind = API_KIND_MEMBER,
         .state = API_STATE_SUSPECT,
         .name = "b-1",
         .zone = "b",
         .region = "r1",
         .version = "1.2.2",
         .probe = "10.0.0.2:7443",
         .addr = {.family = ADDR_V6, .port = 7946, .ip = {0xfd, [15] = 2}},
         .incarnation = UINT32_MAX,
         .changed_ns = now - 1500000000u,
         .rtt_ns = 812000,
         .is_ours = true,
         .is_probed = true,
         .is_in_matrix = true,
         .is_source = true},
        {.kind = API_KIND_MEMBER,
         .state = API_STATE_FAILED,
         .name = "c-1",
         .zone = "c",
         .region = "r2",
         .probe = "10.0.0.3:7443",
         .addr = {.family = ADDR_V4, .port = 7946, .ip = {10, 0, 0, 3}},
         .changed_ns = now - 4000 * s,
         .is_ours = true,
         .is_probed = true,
         .is_held = true,
         .is_in_matrix = true,
         .is_source = true},
        {.kind = API_KIND_MEMBER,
         .state = API_STATE_LEAVING,
         .name = "<\"agent\">\x7f\xff",
         .addr = {.family = ADDR_V4, .port = 1, .ip = {10, 0, 0, 4}},
         .meta = {(const uint8_t *)world_tags, sizeof(world_tags) - 1}},
        {.kind = API_KIND_TARGET,
         .state = API_STATE_STATIC,
         .name = "https://outside.example/",
         .is_probed = true,
         .is_in_matrix = true},
    };
    w->mesh = (struct api_mesh){
        .is_on = true,
        .n_keys = 2,
        .label = "prod",
        .alive = 2,
        .suspect = 1,
        .failed = 1,
        .stats = {.packets_in = 7,
                  .bytes_in = 700,
                  .drops = {[ML_DROP_SEAL] = 3},
                  .pings = 11,
                  .health = 1,
                  .sealed = 12,
                  .incarnation = 1767225605},
    };
    w->source.mesh = &w->mesh;
    struct api_nodes *n = api_nodes_open(now, world_now_unix(), &w->mesh);
    if (!n)
        abort();
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        if (api_nodes_add(n, &nodes[i]))
            abort();
    }
    api_source_set_nodes(&w->source, n);
}

static inline void world_fini(struct world *w)
{
    api_source_set_nodes(&w->source, NULL);
    api_cache_close(w->source.cache);
    frames_close(w->frames);
    history_close(w->source.history);
}

#endif /* TEST_API_WORLD_H */
