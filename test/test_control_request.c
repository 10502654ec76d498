/* Bodies of POST /v1/probes: each key, each type, each range. */
#include "prober/control_request.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

static const char whole[] =
    "{\"target\":\"http://b.test:80/x\",\"protocol\":\"grpc\",\"mode\":"
    "\"warm\",\"from\":\"zone:b\",\"nodes_per_zone\":3,\"count\":7,"
    "\"interval_ms\":20,\"timeout_ms\":250,\"service\":\"health\"}";

static void check_bad(const char *body, const char *message)
{
    struct inquiry_ask ask = {.per_zone = 77};
    struct errmsg msg = {{0}};
    check_i64(control_request_parse(body, strlen(body), &ask, &msg), ERR_BAD);
    if (strncmp(msg.text, message, strlen(message)) != 0)
        print_error("%s: \"%s\", expected \"%s\"\n", body, msg.text, message);
    check_true(strncmp(msg.text, message, strlen(message)) == 0);
    check_u64(ask.per_zone, 77);
}

static struct inquiry_ask check_good(const char *body)
{
    struct inquiry_ask ask = {.peer = "p"};
    struct errmsg msg = {{0}};
    int err = control_request_parse(body, strlen(body), &ask, &msg);
    if (err)
        print_error("%s: %s\n", body, msg.text);
    check_i64(err, 0);
    check_text(ask.peer, "p");
    return ask;
}

static void target_is_enough(void **state)
{
    (void)state;
    struct inquiry_ask ask = check_good("{\"target\":\"b-1\"}");
    const struct oneoff_request *r = &ask.request;
    check_text(r->target, "b-1");
    check_text(r->service, "");
    check_true(r->is_auto);
    check_u64(r->mode, MODE_COLD);
    check_u64(ask.from.kind, FROM_SELF);
    check_u64(ask.per_zone, 1);
    check_u64(r->count, 1);
    check_u64(r->interval_ns, 1000000000);
    check_u64(r->timeout_ns, 5000000000);
}

static void each_key_counts(void **state)
{
    (void)state;
    struct inquiry_ask ask = check_good(whole);
    const struct oneoff_request *r = &ask.request;
    check_text(r->target, "http://b.test:80/x");
    check_text(r->service, "health");
    check_false(r->is_auto);
    check_u64(r->protocol, PROTOCOL_GRPC);
    check_u64(r->mode, MODE_WARM);
    check_u64(ask.from.kind, FROM_ZONE);
    check_text(ask.from.name, "b");
    check_u64(ask.per_zone, 3);
    check_u64(r->count, 7);
    check_u64(r->interval_ns, 20000000);
    check_u64(r->timeout_ns, 250000000);
    ask = check_good("{\"target\":\"x\",\"protocol\":\"http1\"}");
    check_false(ask.request.is_auto);
    check_u64(ask.request.protocol, PROTOCOL_HTTP1);
    ask = check_good("{\"target\":\"x\",\"protocol\":\"auto\"}");
    check_true(ask.request.is_auto);
}

static void what_is_no_such_object_is_refused(void **state)
{
    (void)state;
    check_bad("", "there is no body");
    check_bad("[]", "the body has to be a JSON object");
    check_bad("\"x\"", "line 1");
    check_bad("{\"target\":\"x\"} x", "line 1");
    check_bad("{\"target\":\"x\",}", "line 1");
    check_bad("{\"target\":\"x\",\"target\":\"y\"}", "line 1");
    check_bad("{\"target\":\"a\\u0000b\"}", "line 1");
    check_bad("{}", "target: is missing");
    check_bad("{\"target\":\"x\",\"Count\":1}", "Count: there is no such key");
    check_bad("{\"target\":\"x\",\"a\\u001b[2J\":1}", "a?[2J: there is no");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char body[CONTROL_REQUEST_MAX];
    memset(body, '[', sizeof(body));
    struct inquiry_ask ask;
    struct errmsg msg;
    check_i64(control_request_parse(body, sizeof(body), &ask, &msg), ERR_BAD);
    check_text(msg.text, "the body is nested too deeply");
    check_bad("{\"target\":[[[[]]]]}", "the body is nested too deeply");
    check_bad("{\"target\":[[[]]]}", "target: has to be a text");
    /* Within a text brackets are no brackets, whatever is escaped there. */
    check_bad("{\"target\":\"\\\"[[[[[[\\\\\",\"b\":1}", "b: there is no");
    check_bad("{\"target\":\"x\\\\\",\"b\":[[[[[1]]]]]}",
              "the body is nested too deeply");
    /* One after the other is not deep. */
    check_bad("{\"b\":[[],[],[],[],[],[]]}", "b: there is no");
}

static void size_is_bounded(void **state)
{
    (void)state;
    char body[CONTROL_REQUEST_MAX + 1];
    struct inquiry_ask ask = {0};
    struct errmsg msg;
    memset(body, ' ', sizeof(body));
    memcpy(body, "{\"target\":\"b-1\"}", 16);
    check_i64(control_request_parse(body, sizeof(body), &ask, &msg),
              ERR_TOOBIG);
    check_i64(control_request_parse(body, sizeof(body) - 1, &ask, &msg), 0);
}

static void texts_have_their_length(void **state)
{
    (void)state;
    char body[4096];
    char text[ONEOFF_TARGET_SIZE + 1];
    struct inquiry_ask ask = {0};
    struct errmsg msg;
    memset(text, 'x', sizeof(text));
    for (size_t len = ONEOFF_TARGET_SIZE - 1; len <= ONEOFF_TARGET_SIZE;
         len++) {
        int n = snprintf(body, sizeof(body), "{\"target\":\"%.*s\"}", (int)len,
                         text);
        int err = control_request_parse(body, (size_t)n, &ask, &msg);
        check_i64(err, len < ONEOFF_TARGET_SIZE ? 0 : ERR_BAD);
    }
    check_true(strstr(msg.text, "target: is longer than") == msg.text);
    for (size_t len = ONEOFF_SERVICE_SIZE - 1; len <= ONEOFF_SERVICE_SIZE;
         len++) {
        int n =
            snprintf(body, sizeof(body),
                     "{\"target\":\"x\",\"service\":\"%.*s\"}", (int)len, text);
        int err = control_request_parse(body, (size_t)n, &ask, &msg);
        check_i64(err, len < ONEOFF_SERVICE_SIZE ? 0 : ERR_BAD);
    }
    check_true(strstr(msg.text, "service: is longer than") == msg.text);
}

static void numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int min, max;
    } rows[] = {
        {"nodes_per_zone", 1, 16},
        {"count", 1, 1000},
        {"interval_ms", 10, 60000},
        {"timeout_ms", 1, 10000},
    };
    static const char *const never[] = {"\"5\"",
                                        "5.0",
                                        "50e0",
                                        "null",
                                        "true",
                                        "[5]",
                                        "-1",
                                        "0",
                                        "-9223372036854775808",
                                        "9223372036854775807"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[128];
        char message[128];
        snprintf(message, sizeof(message), "%s: has to be a whole number",
                 rows[i].key);
        for (size_t k = 0; k < sizeof(never) / sizeof(never[0]); k++) {
            snprintf(body, sizeof(body), "{\"target\":\"x\",\"%s\":%s}",
                     rows[i].key, never[k]);
            check_bad(body, message);
        }
        for (int v = rows[i].min - 1; v <= rows[i].min; v++) {
            snprintf(body, sizeof(body), "{\"target\":\"x\",\"%s\":%d}",
                     rows[i].key, v);
            v < rows[i].min ? check_bad(body, message) : (void)check_good(body);
        }
        for (int v = rows[i].max; v <= rows[i].max + 1; v++) {
            snprintf(body, sizeof(body), "{\"target\":\"x\",\"%s\":%d}",
                     rows[i].key, v);
            v > rows[i].max ? check_bad(body, message) : (void)check_good(body);
        }
    }
}

static void words_are_those_of_the_list(void **state)
{
    (void)state;
    check_bad("{\"target\":\"x\",\"protocol\":\"HTTP1\"}", "protocol: ");
    check_bad("{\"target\":\"x\",\"protocol\":1}", "protocol: ");
    check_bad("{\"target\":\"x\",\"mode\":\"hot\"}", "mode: ");
    check_bad("{\"target\":\"x\",\"mode\":null}", "mode: ");
    check_bad("{\"target\":\"x\",\"from\":\"zone:\"}", "from: ");
    check_bad("{\"target\":\"x\",\"from\":{}}", "from: ");
    check_bad("{\"target\":7}", "target: ");
    check_bad("{\"target\":\"x\",\"service\":7}", "service: ");
}

static void no_prefix_is_a_request(void **state)
{
    (void)state;
    struct inquiry_ask ask;
    struct errmsg msg;
    for (size_t len = 0; len < sizeof(whole) - 1; len++)
        check_true(control_request_parse(whole, len, &ask, &msg) < 0);
}

/* Whatever comes: accepted and within the limits, or refused with a text that
 * a terminal can show. */
static void any_flipped_bit_is_survived(void **state)
{
    (void)state;
    char body[sizeof(whole)];
    for (size_t bit = 0; bit < 8 * (sizeof(whole) - 1); bit++) {
        struct inquiry_ask ask = {0};
        struct errmsg msg = {{0}};
        memcpy(body, whole, sizeof(whole));
        body[bit / 8] = (char)(body[bit / 8] ^ (1 << bit % 8));
        if (control_request_parse(body, sizeof(whole) - 1, &ask, &msg)) {
            check_true(msg.text[0] != '\0');
            for (const char *c = msg.text; *c; c++)
                check_true(*c >= 0x20 && *c <= 0x7e);
        } else {
            check_true(ask.request.count >= 1 && ask.request.count <= 1000);
            check_true(ask.per_zone >= 1 && ask.per_zone <= 16);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_is_enough),
        cmocka_unit_test(each_key_counts),
        cmocka_unit_test(what_is_no_such_object_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(texts_have_their_length),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(words_are_those_of_the_list),
        cmocka_unit_test(no_prefix_is_a_request),
        cmocka_unit_test(any_flipped_bit_is_survived),
    };
    return cmocka_run_group_tests_name("control_request", tests, NULL, NULL);
}
