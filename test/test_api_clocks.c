/* What the API says where clocks are wrong: of this node, and of others. */
#include <stdio.h>

#include "test/api_ask.h"
#include "test/spread_net.h"

static const struct net_config two = {
    .n = 2, .zones = 2, .seed = 1, .near_ns = NET_MS, .far_ns = 10 * NET_MS};

/* The frame that net_frame() made comes to node 0. */
static void bring(struct net *net)
{
    static uint8_t bytes[NET_FRAME_MAX + 32];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_u8(&w, SPREAD_TYPE);
    wr_u8(&w, SPREAD_VERSION);
    wr_u8(&w, SPREAD_FRAMES);
    wr_varint(&w, 0);
    wr_varint(&w, net->frame_len);
    wr_bytes(&w, net->frame, net->frame_len);
    check_i64(wr_err(&w), 0);
    net_deliver(net, 0, 1, bytes, w.len);
}

/* ---- the status ---- */

/* A node that lies may name a thousand others, as long as names can be and of
 * bytes that JSON has to escape. */
static void the_status_bears_any_number_of_wrong_clocks(void **state)
{
    struct world *w = *state;
    struct net *net = net_open(&two);
    uint64_t ahead = net_window(net) + FRAMES_AHEAD_MAX - 1;
    for (unsigned i = 0; i < 300; i++) {
        char name[FRAME_NAME_MAX + 1];
        memset(name, 1, sizeof(name));
        snprintf(name + FRAME_NAME_MAX - 4, 5, "%04u", i);
        net_frame(net, name, 1, ahead, 1);
        bring(net);
    }
    net_frame(net, "node-1", 1, ahead, 1);
    bring(net);
    net_run(net, net->now_ns + 2 * NET_S);

    w->source.spread = net->nodes[0].spread;
    struct reply r = ask(w, "/api/v1/status");
    check_u64(r.status, 200);
    json_t *j = json_loadb(r.text, r.len, 0, NULL);
    json_t *spread = json_object_get(json_object_get(j, "frames"), "spread");
    json_t *list = json_object_get(spread, "skewed");
    check_i64(number(spread, "skewed_origins"), 301);
    check_u64(json_array_size(list), 32);
    check_text(text(json_array_get(list, 0), "origin"), "node-1");
    json_decref(j);
    reply_fini(&r);
    w->source.spread = NULL;
    net_close(net);
}

/* ---- ages ---- */

static int64_t skew_s, late_s; /* the clock, and the time itself */

static uint64_t skewed_now_unix(void)
{
    return (uint64_t)((int64_t)WORLD_UNIX_S + late_s + skew_s) * 1000000000u;
}

static double age_of(struct world *w, const char *target, const char *state)
{
    json_t *j = ask_json(w, target, 200);
    json_t *cell = find(json_object_get(j, "cells"),
                        strstr(target, "matrix") ? "from" : "protocol",
                        strstr(target, "matrix") ? "a" : "http1",
                        strstr(target, "matrix") ? "to" : "mode",
                        strstr(target, "matrix") ? "b" : "cold");
    check_text(text(cell, "state"), state);
    double age_s = json_number_value(json_object_get(cell, "age_s"));
    json_decref(j);
    return age_s;
}

/* This node's clock is off, the mesh is right: nothing is younger for it, and
 * nothing older. */
static void ages_are_of_the_time_that_the_mesh_has(void **state)
{
    struct world *w = *state;
    static const int64_t skews_s[] = {-25, 40, -3600, 86400};
    static const char *const names[] = {"node-1", "node-2", "node-3"};
    static const char *const targets[] = {"/api/v1/matrix",
                                          "/api/v1/cells/a/b"};
    struct net_config four = two;
    four.n = 4;
    for (size_t i = 0; i < 8; i++) {
        struct net *net = net_open(&four);
        const char *expected = i < 4 ? "fresh" : "stale";
        double want_s[2];
        late_s = i < 4 ? 0 : 40;
        skew_s = 0;
        w->source.now_unix_ns = skewed_now_unix;
        for (int k = 0; k < 2; k++)
            want_s[k] = age_of(w, targets[k], expected);
        skew_s = skews_s[i % 4];
        net->nodes[0].skew_ms = skew_s * 1000;
        net_run(net, net->now_ns + NET_S);
        for (int k = 0; k < 3; k++) {
            net_frame(net, names[k], 1, net_window(net) - 1, 1);
            bring(net);
        }
        net_run(net, net->now_ns + 2 * NET_S);
        api_cache_close(w->source.cache); /* they would be shared */
        w->source.cache = api_cache_open();
        w->source.spread = net->nodes[0].spread;
        for (int k = 0; k < 2; k++) {
            double off_s = age_of(w, targets[k], expected) - want_s[k];
            check_true(off_s > -11 && off_s < 11); /* as well as is known */
        }
        api_cache_close(w->source.cache);
        w->source.cache = api_cache_open();
        w->source.spread = NULL;
        net_close(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            the_status_bears_any_number_of_wrong_clocks, setup, teardown),
        cmocka_unit_test_setup_teardown(ages_are_of_the_time_that_the_mesh_has,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(ages_are_of_the_time_that_the_mesh_has,
                                        setup_history, teardown),
    };
    return cmocka_run_group_tests_name("api_clocks", tests, NULL, NULL);
}
