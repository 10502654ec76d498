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
        .nodes = world_nodes,
        .n_nodes = sizeof(world_nodes) / sizeof(world_nodes[0]),
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
}

static inline void world_fini(struct world *w)
{
    api_cache_close(w->source.cache);
    frames_close(w->frames);
}

#endif /* TEST_API_WORLD_H */
