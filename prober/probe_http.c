#include <string.h>

#include "prober/probe_private.h"

/* 2xx and 3xx: the peer is reachable and answered. Redirects are reported,
 * not followed. */
static bool is_good(unsigned status)
{
    return status >= 200 && status < 400;
}

bool probe_http_request(struct probe *p)
{
    const struct target *t = p->target;
    http1_init(&p->run->http1, HTTP1_RESPONSE, HTTP1_HEAD_MAX, PROBE_BODY_MAX);
    return probe_put(p, (const uint8_t *)t->request, t->request_len);
}

static struct probe_verdict judge(struct probe *p, bool was_begun)
{
    const struct http1 *h = &p->run->http1;
    struct sample *s = &p->run->sample;
    struct probe_verdict v = {.is_begun = !was_begun && http1_begun(h)};

    if (h->status) {
        s->http_status = (int16_t)h->status;
        s->http_minor = h->version_minor;
    }
    if (h->state == HTTP1_FAILED) {
        v.is_done = true;
        v.error = h->error;
        v.outcome = h->err == ERR_TOOBIG ? OUTCOME_HTTP_TOO_LARGE
                                         : OUTCOME_HTTP_MALFORMED;
    } else if (h->state == HTTP1_DONE) {
        struct http1_text timing;
        uint64_t server_ns;
        v.is_done = v.is_whole = true;
        v.is_kept = p->mode == MODE_WARM && h->is_keep_alive;
        v.outcome = is_good(h->status) ? OUTCOME_OK : OUTCOME_HTTP_STATUS;
        if (http1_field(h, "server-timing", &timing) &&
            !http1_server_timing(timing.data, timing.len, &server_ns))
            s->server_ns = (int64_t)server_ns;
    }
    return v;
}

struct probe_verdict probe_http_feed(struct probe *p, const uint8_t *data,
                                     size_t len)
{
    struct http1 *h = &p->run->http1;
    bool was_begun = http1_begun(h);
    size_t used = http1_feed(h, data, len);
    struct probe_verdict v = judge(p, was_begun);
    /* Bytes behind a complete response belong to nobody: a second answer, or
     * a body longer than it was said to be. The response stands, the
     * connection does not. */
    if (h->state == HTTP1_DONE && used < len)
        v.is_kept = false;
    return v;
}

struct probe_verdict probe_http_eof(struct probe *p, bool is_clean)
{
    struct http1 *h = &p->run->http1;
    bool was_begun = http1_begun(h);
    struct probe_verdict v = {.is_done = true, .outcome = OUTCOME_EOF};

    /* Without close_notify a body that only the close delimits may have been
     * cut by anybody. */
    if (!was_begun || (h->is_close_delimited && !is_clean))
        return v;
    if (http1_eof(h) == HTTP1_DONE)
        v = judge(p, was_begun);
    v.is_kept = false;
    return v;
}
