/* Messages to a node that holds frames; the first bytes choose which. What
 * comes out is bounded, and the set stays one that can be checked. */
#include "mesh/spread.h"

#include <assert.h>
#include <string.h>

#include "proto/base/buf.h"

#define UNIX_S UINT64_C(1700000000)
#define START  UINT64_C(1000000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct members *open_members(const struct addr_policy *policy)
{
    static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};
    struct members_config c = {.name = span_of_text("me"),
                               .incarnation = 1,
                               .members_max = 8,
                               .new_per_s = 8,
                               .now_unix_s = UNIX_S,
                               .policy = policy};
    struct change change;
    memcpy(c.vsn, vsn, sizeof(vsn));
    (void)addr_parse(&c.advertise, "10.0.0.1:7946");
    struct members *ms = members_open(&c, START);
    assert(ms);
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text("peer"),
                         .addr = span_of("\x0a\0\0\x02", 4),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(ms, START, &a, &change);
    assert(change.kind == CHANGE_JOINED);
    members_get(ms, change.index)->is_ours = true;
    return ms;
}

static void own_frames(struct spread *s)
{
    char me[] = "me", z[] = "z";
    struct frame_target target = {.name = z, .zone = z, .region = z};
    for (uint64_t i = 1; i < 8; i++) {
        uint8_t bytes[1024];
        struct wr w;
        struct frame_cell cell = {.attempts = 1};
        struct frame f = {.origin = me,
                          .zone = z,
                          .region = z,
                          .epoch_ms = 1,
                          .window = UNIX_S / FRAME_WINDOW_S - i,
                          .n_targets = 1,
                          .targets = &target,
                          .n_cells = 1,
                          .cells = &cell};
        cell.outcomes[OUTCOME_OK] = 1;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        int err = frame_encode(&f, &w);
        assert(!err);
        err = spread_on_own(s, START, w.data, w.len);
        assert(!err);
    }
}

static void drain(struct spread *s)
{
    struct spread_effect e;
    while (spread_next(s, &e)) {
        assert(e.member == 1 && e.data.len > 2);
        assert(e.data.data[0] == SPREAD_TYPE);
        assert(e.by_stream || e.data.len <= 1000);
    }
}

/* A comparison from a member, with the input as its sections; or a message
 * that is the input. */
static void hear(struct spread *s, const uint8_t *data, size_t size)
{
    static const struct addr peer = {.family = ADDR_V4, .ip = {10, 0, 0, 2}};
    uint8_t bytes[4096];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    if (size > 0 && data[0] < 128) {
        wr_bytes(&w, "\xa0\x01\x01\x04peer", 8);
        wr_be64(&w, UNIX_S / FRAME_WINDOW_S);
    } else if (size > 0 && data[0] < 192) {
        wr_bytes(&w, "\xa0\x01\x02", 3);
    }
    if (size > 0)
        wr_bytes(&w, data + 1, size - 1);
    if (!wr_err(&w))
        (void)spread_on_message(s, START, &peer, span_of(w.data, w.len));
    drain(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct addr_policy policy = {.allows_loopback = false};
    struct frames_limits limits = {.retention_s = 300,
                                   .bytes_max = 1u << 20,
                                   .origin_bytes_max = 1u << 18,
                                   .epochs_max = 4};
    struct members *ms = open_members(&policy);
    struct frames *frames = frames_open(&limits);
    assert(frames);
    frames_expire(frames, UNIX_S);
    struct spread_config c = {
        .name = "me",
        .zone = "z",
        .members = ms,
        .frames = frames,
        .seed = 1,
        .timing = spread_timing_default,
        .limits = spread_limits_default,
    };
    c.limits.wants_max = 64;
    c.limits.origins_max = 64;
    struct spread *s = spread_open(&c, START, (int64_t)UNIX_S * 1000);
    assert(s);
    own_frames(s);
    hear(s, data, size);
    hear(s, data, size);
    spread_on_timer(s, START + UINT64_C(2000000000));
    drain(s);
    spread_check(s);
    assert(frames_count(frames) >= 7);
    spread_close(s);
    frames_close(frames);
    members_close(ms);
    return 0;
}
