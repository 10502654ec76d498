/* Requests and what is wrong with them; slots by hand, then any order of
 * events; and what a target's text means. */
#include "prober/oneoff.h"

#include <stdio.h>
#include <string.h>

#include "prober/oneoff_target.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static struct oneoff_request asked(const char *target)
{
    struct oneoff_request r;
    oneoff_request_init(&r);
    snprintf(r.target, sizeof(r.target), "%s", target);
    return r;
}

static void takes(const struct oneoff_request *r)
{
    struct errmsg msg = {""};
    int rc = oneoff_request_check(r, &msg);
    if (rc)
        print_error("%s: %s\n", r->target, msg.text);
    check_i64(rc, 0);
}

/* Refused, and the text begins with the field. */
static void refuses(const struct oneoff_request *r, const char *field)
{
    struct errmsg msg = {""};
    check_i64(oneoff_request_check(r, &msg), ERR_BAD);
    if (strncmp(msg.text, field, strlen(field)) != 0)
        print_error("'%s' for %s\n", msg.text, r->target);
    check_true(!strncmp(msg.text, field, strlen(field)));
}

/* --- requests ----------------------------------------------------------- */

static void a_request_is_one_cold_attempt_unless_it_says_more(void **state)
{
    (void)state;
    struct oneoff_request r = asked("http://a/");
    check_u64(r.count, 1);
    check_u64(r.mode, MODE_COLD);
    check_u64(r.interval_ns, SEC);
    check_u64(r.timeout_ns, 5 * SEC);
    check_true(r.is_auto);
    takes(&r);
    check_u64(oneoff_request_lasts_ns(&r), 5 * SEC);
    r.count = 4;
    check_u64(oneoff_request_lasts_ns(&r), 8 * SEC);
}

static void limits_hold_to_the_last_unit(void **state)
{
    (void)state;
    const struct oneoff_request good = asked("http://a/");
    struct oneoff_request r = good;
    r.interval_ns = 10 * MS;
    r.count = 1000;
    takes(&r);
    r.count = 1001;
    refuses(&r, "count:");
    r.count = 0;
    refuses(&r, "count:");
    r = good;
    r.interval_ns = 10 * MS - 1;
    refuses(&r, "interval:");
    r.interval_ns = 60 * SEC;
    takes(&r);
    r.interval_ns++;
    refuses(&r, "interval:");
    r = good;
    r.timeout_ns = MS;
    takes(&r);
    r.timeout_ns--;
    refuses(&r, "timeout:");
    r.timeout_ns = 10 * SEC;
    takes(&r);
    r.timeout_ns++;
    refuses(&r, "timeout:");
    r = good;
    r.count = 11;
    r.interval_ns = 60 * SEC;
    takes(&r);
    r.count = 12;
    refuses(&r, "count times interval:");
    r = good;
    r.mode = MODE_N;
    refuses(&r, "mode:");
    r = good;
    r.protocol = PROTOCOL_N;
    takes(&r); /* not looked at */
    r.is_auto = false;
    refuses(&r, "protocol:");
}

static void a_target_is_a_strict_url_or_a_name(void **state)
{
    (void)state;
    static const char *const good[] = {"http://a/",
                                       "https://[fd00::1]:8443/x?y",
                                       "grpc://a.b:9000",
                                       "grpcs://10.1.2.3",
                                       "a-1",
                                       "Node_7.zone"};
    static const char *const bad[] = {"",
                                      "a b",
                                      "a/b",
                                      "a\nb",
                                      "http:/a",
                                      "ftp://a/",
                                      "http://",
                                      "http://u@a/",
                                      "http://a b/",
                                      "http://a/\r",
                                      "http://0x7f000001/",
                                      "http://1.2.3/",
                                      "//a",
                                      "a:80",
                                      "http://a:0/",
                                      "http://a:65536/",
                                      "http://[fe80::1%25eth0]/"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct oneoff_request r = asked(good[i]);
        takes(&r);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct oneoff_request r = asked(bad[i]);
        refuses(&r, "target:");
    }
    struct oneoff_request r = asked("a");
    memset(r.target, 'a', sizeof(r.target)); /* no end */
    refuses(&r, "target:");
}

static void protocol_service_and_scheme_have_to_agree(void **state)
{
    (void)state;
    struct oneoff_request r = asked("grpc://a");
    r.is_auto = false;
    r.protocol = PROTOCOL_HTTP1;
    refuses(&r, "protocol:");
    r.protocol = PROTOCOL_GRPC;
    takes(&r);
    snprintf(r.service, sizeof(r.service), "a.b.C");
    takes(&r);
    snprintf(r.service, sizeof(r.service), "a b");
    refuses(&r, "service:");
    snprintf(r.service, sizeof(r.service), "a\x7f");
    refuses(&r, "service:");
    memset(r.service, 'a', sizeof(r.service));
    refuses(&r, "service:");
    r = asked("http://a/");
    r.is_auto = false;
    r.protocol = PROTOCOL_HTTP1;
    snprintf(r.service, sizeof(r.service), "x");
    refuses(&r, "service:");
}

static void states_have_names_and_know_their_end(void **state)
{
    (void)state;
    for (unsigned s = 0; s < ONEOFF_STATE_N; s++) {
        check_true(strlen(oneoff_state_name(s)) > 3);
        check_true(oneoff_state_is_end(s) ==
                   (s != ONEOFF_WAITING && s != ONEOFF_RUNNING));
        for (unsigned t = 0; t < s; t++)
            check_true(strcmp(oneoff_state_name(s), oneoff_state_name(t)) != 0);
    }
    check_text(oneoff_state_name(ONEOFF_STATE_N), "?");
}

/* --- slots -------------------------------------------------------------- */

static struct oneoff_pace paced(uint32_t count, unsigned mode)
{
    struct oneoff_request r = asked("http://a/");
    struct oneoff_pace p;
    r.count = count;
    r.interval_ns = 100 * MS;
    r.timeout_ns = SEC;
    r.mode = (uint8_t)mode;
    oneoff_pace_init(&p, &r, 10 * SEC);
    return p;
}

static void slots_start_on_the_beat_however_long_attempts_take(void **state)
{
    (void)state;
    struct oneoff_pace p = paced(3, MODE_COLD);
    uint64_t at_ns = 0;
    check_u64(oneoff_pace_due(&p), 10 * SEC);
    check_true(oneoff_pace_take(&p, 10 * SEC + 5 * MS, &at_ns));
    check_u64(at_ns, 10 * SEC);
    check_false(oneoff_pace_take(&p, 10 * SEC + 99 * MS, &at_ns));
    check_u64(oneoff_pace_due(&p), 10 * SEC + 100 * MS);
    check_true(oneoff_pace_take(&p, 10 * SEC + 250 * MS, &at_ns));
    check_u64(at_ns, 10 * SEC + 100 * MS);
    check_true(oneoff_pace_take(&p, 10 * SEC + 250 * MS, &at_ns));
    check_u64(at_ns, 10 * SEC + 200 * MS);
    check_u64(oneoff_pace_due(&p), UINT64_MAX);
    check_u64(p.in_flight, 3);
    check_false(oneoff_pace_is_done(&p));
    for (int i = 0; i < 3; i++)
        oneoff_pace_ended(&p);
    check_true(oneoff_pace_is_done(&p));
    check_u64(p.missed, 0);
}

static void a_slot_without_room_is_missed_after_its_timeout(void **state)
{
    (void)state;
    struct oneoff_pace p = paced(3, MODE_COLD);
    uint64_t at_ns = 0;
    check_true(oneoff_pace_take(&p, 10 * SEC, &at_ns));
    oneoff_pace_put_back(&p, at_ns);
    check_u64(oneoff_pace_due(&p), 10 * SEC);
    check_u64(p.in_flight, 0);
    /* At its timeout it may still start, a nanosecond later not. */
    check_true(oneoff_pace_take(&p, 11 * SEC, &at_ns));
    check_u64(at_ns, 10 * SEC);
    oneoff_pace_put_back(&p, at_ns);
    check_true(oneoff_pace_take(&p, 11 * SEC + 1, &at_ns));
    check_u64(at_ns, 10 * SEC + 100 * MS);
    check_u64(p.missed, 1);
    oneoff_pace_ended(&p);
    check_false(oneoff_pace_take(&p, 60 * SEC, &at_ns));
    check_u64(p.missed, 2);
    check_true(oneoff_pace_is_done(&p));
}

static void a_held_connection_carries_one_attempt_at_a_time(void **state)
{
    (void)state;
    struct oneoff_pace p = paced(2, MODE_WARM);
    uint64_t at_ns = 0;
    check_true(oneoff_pace_take(&p, 10 * SEC, &at_ns));
    check_u64(oneoff_pace_due(&p), UINT64_MAX);
    check_false(oneoff_pace_take(&p, 10 * SEC + 300 * MS, &at_ns));
    oneoff_pace_ended(&p);
    check_u64(oneoff_pace_due(&p), 10 * SEC + 100 * MS);
    check_true(oneoff_pace_take(&p, 10 * SEC + 300 * MS, &at_ns));
    check_u64(at_ns, 10 * SEC + 100 * MS);
}

static void what_is_stopped_begins_nothing_and_misses_nothing(void **state)
{
    (void)state;
    struct oneoff_pace p = paced(5, MODE_COLD);
    uint64_t at_ns = 0;
    check_true(oneoff_pace_take(&p, 10 * SEC, &at_ns));
    oneoff_pace_stop(&p);
    check_false(oneoff_pace_take(&p, 100 * SEC, &at_ns));
    check_u64(p.missed, 0);
    check_false(oneoff_pace_is_done(&p));
    oneoff_pace_ended(&p);
    check_true(oneoff_pace_is_done(&p));
}

/* Whatever comes between: each slot is begun once or missed, on the beat, in
 * order, and never later than its timeout. */
static void every_slot_is_begun_once_or_missed(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 2000; round++) {
        uint32_t count = 1 + (uint32_t)rng_below(&rng, 40);
        struct oneoff_pace p = paced(count, (unsigned)rng_below(&rng, 2));
        uint64_t now_ns = 10 * SEC, last_ns = 0, at_ns;
        uint32_t begun = 0;
        while (!oneoff_pace_is_done(&p)) {
            now_ns += rng_below(&rng, 300 * MS);
            if (p.in_flight && rng_below(&rng, 2))
                oneoff_pace_ended(&p);
            if (!oneoff_pace_take(&p, now_ns, &at_ns))
                continue;
            check_true(at_ns > last_ns && at_ns <= now_ns);
            check_u64((at_ns - 10 * SEC) % (100 * MS), 0);
            check_true(now_ns - at_ns <= SEC);
            if (rng_below(&rng, 4) == 0) {
                oneoff_pace_put_back(&p, at_ns);
                continue;
            }
            last_ns = at_ns;
            begun++;
        }
        check_u64(begun + p.missed, count);
    }
}

/* --- targets ------------------------------------------------------------ */

static struct config_peer peers[] = {
    {.name = "p-1",
     .zone = "z1",
     .host = "p-1.test",
     .port = 7443,
     .has_fingerprint = true,
     .fingerprint = {1, 2, 3}},
};
static struct config_target targets[] = {
    {.name = "t-1",
     .zone = "external",
     .url = {.scheme = URL_GRPCS,
             .is_tls = true,
             .host = "t.test",
             .port = 443,
             .path = "/"},
     .protocols = 1 << PROTOCOL_GRPC,
     .service = "svc"},
    {.name = "t-2",
     .zone = "external",
     .url = {.scheme = URL_HTTPS,
             .is_tls = true,
             .host = "t.test",
             .port = 443,
             .path = "/x"},
     .protocols = 1 << PROTOCOL_HTTP1},
};

static struct oneoff_target found(const struct oneoff_request *r,
                                  enum oneoff_state want)
{
    static const struct addr_policy policy;
    struct oneoff_target out;
    struct config c = {.peers = peers,
                       .n_peers = 1,
                       .targets = targets,
                       .n_targets = 2,
                       .node = {.name = "self", .zone = "a"},
                       .probe = {.protocols = 3}};
    struct roster *roster = roster_open(&c, &policy);
    check_true(roster != NULL);
    check_u64(oneoff_target_find(roster, r, &out), want);
    roster_close(roster);
    return out;
}

static void a_name_is_probed_as_it_is_configured(void **state)
{
    (void)state;
    struct oneoff_request r = asked("p-1");
    struct oneoff_target t = found(&r, ONEOFF_RUNNING);
    check_u64(t.standing, TARGET_CONFIGURED);
    check_text(t.url.host, "p-1.test");
    check_text(t.zone, "z1");
    check_true(t.has_fingerprint && t.fingerprint[2] == 3);
    check_u64(t.protocol, PROTOCOL_HTTP1);

    r = asked("t-1");
    t = found(&r, ONEOFF_RUNNING);
    check_u64(t.protocol, PROTOCOL_GRPC);
    check_text(t.service, "svc");
    snprintf(r.service, sizeof(r.service), "other");
    t = found(&r, ONEOFF_RUNNING);
    check_text(t.service, "other");
    r.is_auto = false;
    r.protocol = PROTOCOL_HTTP1;
    (void)found(&r, ONEOFF_BAD_TARGET);
    r = asked("nobody");
    (void)found(&r, ONEOFF_BAD_TARGET);
}

static void a_url_of_somebody_known_is_known(void **state)
{
    (void)state;
    struct oneoff_request r = asked("https://P-1.test:7443/other");
    struct oneoff_target t = found(&r, ONEOFF_RUNNING);
    check_u64(t.standing, TARGET_CONFIGURED);
    check_text(t.name, "p-1");
    check_text(t.url.path, "/other");
    check_true(t.has_fingerprint);

    r = asked("https://t.test/x");
    t = found(&r, ONEOFF_RUNNING);
    check_text(t.name, "t-2");
}

static void anything_else_is_only_what_the_request_says(void **state)
{
    (void)state;
    static const char *const others[] = {
        "http://p-1.test:7443/probe", /* in the clear */
        "https://p-1.test:7444/", "https://q-1.test:7443/",
        "https://t.test/y", /* another path of an outside endpoint */
        "https://t.test:444/x"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct oneoff_request r = asked(others[i]);
        struct oneoff_target t = found(&r, ONEOFF_RUNNING);
        check_u64(t.standing, TARGET_OTHER);
        check_text(t.name, "");
        check_false(t.has_fingerprint);
    }
    struct oneoff_request r = asked("grpc://x:1");
    check_u64(found(&r, ONEOFF_RUNNING).protocol, PROTOCOL_GRPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_one_cold_attempt_unless_it_says_more),
        cmocka_unit_test(limits_hold_to_the_last_unit),
        cmocka_unit_test(a_target_is_a_strict_url_or_a_name),
        cmocka_unit_test(protocol_service_and_scheme_have_to_agree),
        cmocka_unit_test(states_have_names_and_know_their_end),
        cmocka_unit_test(slots_start_on_the_beat_however_long_attempts_take),
        cmocka_unit_test(a_slot_without_room_is_missed_after_its_timeout),
        cmocka_unit_test(a_held_connection_carries_one_attempt_at_a_time),
        cmocka_unit_test(what_is_stopped_begins_nothing_and_misses_nothing),
        cmocka_unit_test(every_slot_is_begun_once_or_missed),
        cmocka_unit_test(a_name_is_probed_as_it_is_configured),
        cmocka_unit_test(a_url_of_somebody_known_is_known),
        cmocka_unit_test(anything_else_is_only_what_the_request_says),
    };
    return cmocka_run_group_tests_name("oneoff", tests, NULL, NULL);
}
