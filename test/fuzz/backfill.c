/* Messages of a peer and of strangers, to a node that asks and serves: nothing
 * breaks, and what it answers is within limits. Input: messages, each behind
 * its length (2 bytes). 'N' for the first byte of a nonce stands for that of
 * the last question. */
#include "mesh/backfill.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEC    UINT64_C(1000000000)
#define WINDOW (60 * 3000000ull + 100)
#define NONCE  3 /* where it is in a message */

static struct members *open_members(const struct addr *self,
                                    const struct addr *peer)
{
    static const struct addr_policy anywhere = {.allows_loopback = false};
    static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};
    struct members_config c = {
        .name = span_of_text("self"),
        .advertise = *self,
        .now_unix_s = 1,
        .incarnation = 1,
        .members_max = 4,
        .new_per_s = 4,
        .reclaim_ns = 30 * SEC,
        .ping_interval_ns = SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * SEC,
        .policy = &anywhere,
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    struct members *ms = members_open(&c, SEC);
    assert(ms);
    struct change change;
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text("peer"),
                         .addr = span_of(peer->ip, 4),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(ms, SEC, &a, &change);
    assert(change.kind == CHANGE_JOINED);
    members_get(ms, change.index)->is_ours = true;
    return ms;
}

static void drain(struct backfill *b, uint8_t nonce[8])
{
    struct backfill_effect e;
    while (backfill_next(b, &e)) {
        assert(e.data.len >= 11 && e.data.len <= HISTORY_PART_MAX + 64);
        if (e.data.data[2] == 1)
            memcpy(nonce, e.data.data + NONCE, 8);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct addr self, peer;
    uint8_t message[4096], nonce[8] = {0};
    uint64_t now_ns = SEC;
    int err = addr_parse(&self, "10.0.0.1:7946");
    err |= addr_parse(&peer, "10.0.0.2:7946");
    assert(!err);
    struct history_config hc = {.bytes_max = 8u << 20, .seed = 1};
    struct backfill_config c = {
        .name = "self",
        .members = open_members(&self, &peer),
        .history = history_open(&hc),
        .timing = backfill_timing_default,
        .limits = backfill_limits_default,
    };
    assert(c.history);
    history_tick(c.history, WINDOW * FRAME_WINDOW_S);
    struct backfill *b = backfill_open(&c, now_ns);
    assert(b);
    while (size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        len = len < size ? len : size;
        len = len < sizeof(message) ? len : sizeof(message);
        memcpy(message, data, len);
        data += len;
        size -= len;
        for (int i = 0; i < 3; i++) {
            now_ns = backfill_deadline(b) > now_ns ? backfill_deadline(b)
                                                   : now_ns + SEC / 5;
            backfill_on_timer(b, now_ns);
            drain(b, nonce);
            struct backfill_stats s;
            backfill_stats(b, &s);
            if (s.state == BACKFILL_ASKED)
                break;
        }
        if (len >= NONCE + 8 && message[NONCE] == 'N')
            memcpy(message + NONCE, nonce, 8);
        backfill_on_message(b, now_ns, &peer, span_of(message, len));
        drain(b, nonce);
    }
    backfill_close(b);
    history_close(c.history);
    struct members *ms = (struct members *)(uintptr_t)c.members;
    members_close(ms);
    return 0;
}
