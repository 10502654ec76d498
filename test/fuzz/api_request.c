/* test/fuzz/api_request.c - bytes from the network to the API and back.
 *
 * The first byte says how the rest is cut into pieces. It is fed to one
 * connection that serves the views over a small made-up control plane; what
 * comes back must be well-formed HTTP and, where it says so, JSON. */
#include <jansson.h> /* first, see proto/json.h */

#include <stdio.h>
#include <string.h>

#include "prober/httpd_conn.h"
#include "proto/http1.h"
#include "test/api_world.h"

#define OUT_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void pump(struct httpd_conn *c, struct wr *got)
{
    for (;;) {
        size_t len;
        const uint8_t *out = httpd_conn_out(c, &len);
        if (out) {
            wr_bytes(got, out, len);
            httpd_conn_sent(c, len, world_now());
        } else if (httpd_conn_wants_turn(c)) {
            httpd_conn_turn(c, world_now());
        } else {
            return;
        }
    }
}

static void feed(struct httpd_conn *c, const uint8_t *data, size_t size,
                 size_t step, struct wr *got)
{
    while (size > 0) {
        size_t room;
        uint8_t *space = httpd_conn_space(c, &room);
        if (!space || httpd_conn_phase(c) >= HTTPD_CONN_ENDED)
            return;
        size_t n = size < step ? size : step;
        n = n < room ? n : room;
        memcpy(space, data, n);
        httpd_conn_received(c, n, world_now());
        pump(c, got);
        data += n;
        size -= n;
    }
}

static bool is_type(const struct http1 *h, const char *type)
{
    struct http1_text value;
    return http1_field(h, "content-type", &value) &&
           value.len == strlen(type) &&
           memcmp(value.data, type, value.len) == 0;
}

/* One JSON text, or one a line. */
static void check_json(const uint8_t *body, size_t len, bool is_lines)
{
    struct http1_text rest = {(const char *)body, len};
    while (rest.len > 0) {
        const char *end = memchr(rest.data, '\n', rest.len);
        demand(end != NULL, "JSON ends with a newline");
        size_t n = (size_t)(end - rest.data) + 1;
        demand(is_lines || n == rest.len, "JSON is on one line");
        json_t *j = json_loadb(rest.data, n, JSON_REJECT_DUPLICATES, NULL);
        demand(j != NULL, "JSON is valid");
        json_decref(j);
        rest = (struct http1_text){rest.data + n, rest.len - n};
    }
}

/* HEAD requests make a response's end depend on its request; then only the
 * first response is looked at. */
static void check_responses(const uint8_t *data, size_t len, bool has_head)
{
    static struct http1 h;
    http1_init(&h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, OUT_MAX);
    while (len > 0) {
        http1_next(&h, has_head);
        size_t n = http1_feed(&h, data, len);
        if (n == len && h.state == HTTP1_BODY)
            http1_eof(&h);
        demand(h.state == HTTP1_DONE, h.error ? h.error : "response ends");
        demand(h.status >= 200 && h.status <= 503, "status");
        struct http1_text coding;
        bool is_plain = !http1_field(&h, "content-encoding", &coding) &&
                        !h.is_chunked && !has_head;
        if (is_plain && is_type(&h, "application/json"))
            check_json(data + n - h.body_bytes, (size_t)h.body_bytes, false);
        if (is_plain && is_type(&h, "application/x-ndjson"))
            check_json(data + n - h.body_bytes, (size_t)h.body_bytes, true);
        if (has_head)
            return;
        data += n;
        len -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    static struct httpd_stats stats;
    if (!world.frames) {
        world_init(&world);
        world_set_mesh(&world);
    }
    const struct httpd_conn_config config = {
        .limits = &httpd_limits_default,
        .handler = api_handle,
        .arg = &world.source,
        .stats = &stats,
        .now_unix_ns = world_now_unix,
    };
    if (size == 0)
        return 0;
    struct wr got;
    wr_init_grow(&got, OUT_MAX);
    struct httpd_conn *c = httpd_conn_open(&config, NULL, NULL, world_now());
    if (!c)
        return 0;
    feed(c, data + 1, size - 1, data[0] ? data[0] : 4096u, &got);
    httpd_conn_eof(c, world_now());
    pump(c, &got);
    demand(httpd_conn_phase(c) == HTTPD_CONN_ENDED, "it ends after the peer");
    demand(wr_err(&got) == 0, "output is bounded");
    check_responses(got.data, got.len, memmem(data, size, "HEAD", 4) != NULL);
    httpd_conn_close(c);
    wr_fini(&got);
    return 0;
}
