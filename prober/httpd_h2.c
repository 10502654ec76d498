#include "prober/httpd_h2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IN_SIZE      16384
#define LINGER_BYTES (1u << 20) /* dropped before we just close */
#define NEVER        UINT64_MAX

struct httpd_h2 {
    const struct httpd_conn_config *config;
    const struct httpd_h2_service *service;
    void *state; /* the service's; NULL once the calls are over */
    struct h2_server *h2;
    struct httpd_waker *waker;

    enum httpd_conn_phase end; /* LINGERING, ENDED, ABORTED; READING: none */
    bool has_work, is_in_turn, has_served;
    bool has_failed; /* counted as a bad request */

    const uint8_t *out; /* of h2, which is left alone until it was sent */
    size_t out_len, out_sent;
    uint64_t progress_ns;
    uint64_t out_since_ns; /* when it was taken */

    uint64_t since_ns; /* the latest change in the number of streams */
    size_t streams;
    int32_t incomplete; /* the oldest stream whose request is, 0: none */
    uint64_t incomplete_since_ns;

    size_t dropped;
    size_t in_len;
    uint8_t in[IN_SIZE];
};

static const struct httpd_limits *limits(const struct httpd_h2 *s)
{
    return s->config->limits;
}

static bool is_over(const struct httpd_h2 *s)
{
    return s->end != HTTPD_CONN_READING;
}

static void end_calls(struct httpd_h2 *s)
{
    if (s->state)
        s->service->close(s->state);
    s->state = NULL;
}

static void end(struct httpd_h2 *s, enum httpd_conn_phase how, uint64_t now_ns)
{
    end_calls(s);
    s->end = how;
    s->since_ns = now_ns;
    s->in_len = 0;
}

void *httpd_h2_open(const struct httpd_h2_service *service,
                    const struct h2_limits *h2_limits,
                    const struct httpd_conn_config *config,
                    const struct httpd_peer *peer, struct httpd_waker *waker,
                    uint64_t now_ns)
{
    struct httpd_h2 *s = malloc(sizeof(*s));
    if (!s)
        return NULL;
    /* Not the buffer: it is most of it and needs no zeroes. */
    memset(s, 0, offsetof(struct httpd_h2, in));
    s->config = config;
    s->service = service;
    s->waker = waker;
    s->since_ns = now_ns;
    s->has_work = true; /* our SETTINGS */
    s->h2 = h2_server_open(h2_limits);
    if (s->h2)
        s->state = service->open(config, peer, s);
    if (!s->state) {
        h2_server_close(s->h2);
        free(s);
        return NULL;
    }
    return s;
}

struct h2_server *httpd_h2_server(struct httpd_h2 *s)
{
    return s->h2;
}

void httpd_h2_wake(struct httpd_h2 *s)
{
    s->has_work = true;
    if (!s->is_in_turn && !is_over(s) && s->waker)
        s->waker->wake(s->waker);
}

void httpd_h2_close(void *session)
{
    struct httpd_h2 *s = session;
    if (!s)
        return;
    end_calls(s);
    h2_server_close(s->h2);
    free(s);
}

void httpd_h2_abandon(void *session)
{
    struct httpd_h2 *s = session;
    end_calls(s);
    s->end = HTTPD_CONN_ABORTED;
}

/* A GOAWAY that took no stream: clients know that they may try elsewhere. */
void httpd_h2_refuse(void *session, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    (void)now_ns;
    h2_server_shutdown(s->h2);
}

/* ---- bytes ---- */

uint8_t *httpd_h2_space(void *session, size_t *size)
{
    struct httpd_h2 *s = session;
    *size = s->end >= HTTPD_CONN_ENDED ? 0 : IN_SIZE - s->in_len;
    return *size > 0 ? s->in + s->in_len : NULL;
}

void httpd_h2_received(void *session, size_t n, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    assert(n <= IN_SIZE - s->in_len);
    if (!is_over(s)) {
        s->in_len += n;
        return;
    }
    s->dropped += n;
    if (s->dropped > LINGER_BYTES)
        end(s, HTTPD_CONN_ENDED, now_ns);
}

/* Half a connection is of no use in HTTP/2: there is nobody to answer. */
void httpd_h2_eof(void *session, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    if (s->end < HTTPD_CONN_ENDED)
        end(s, HTTPD_CONN_ENDED, now_ns);
}

const uint8_t *httpd_h2_out(const void *session, size_t *len)
{
    const struct httpd_h2 *s = session;
    *len = s->out_len - s->out_sent;
    return *len > 0 ? s->out + s->out_sent : NULL;
}

void httpd_h2_sent(void *session, size_t n, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    assert(n <= s->out_len - s->out_sent);
    s->out_sent += n;
    s->progress_ns = now_ns;
    if (s->out_sent < s->out_len)
        return;
    s->out_len = s->out_sent = 0;
    s->has_work = true; /* there may be more where that came from */
}

void httpd_h2_progress(void *session, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    s->progress_ns = now_ns;
}

/* ---- turns ---- */

static bool has_out(const struct httpd_h2 *s)
{
    return s->out_len > 0;
}

bool httpd_h2_wants_turn(const void *session)
{
    const struct httpd_h2 *s = session;
    return !is_over(s) && !has_out(s) && (s->has_work || s->in_len > 0);
}

static void take_input(struct httpd_h2 *s)
{
    int err = s->in_len > 0 ? h2_server_feed(s->h2, s->in, s->in_len) : 0;
    s->in_len = 0;
    if (err) { /* all streams are gone, and the service finds them so */
        s->config->stats->bad_requests += !s->has_failed;
        s->has_failed = true;
    }
}

static void take_requests(struct httpd_h2 *s, uint64_t now_ns)
{
    const struct h2_server_request *r;
    while (s->state && (r = h2_server_next(s->h2))) {
        s->has_served = true;
        s->config->stats->requests++;
        s->service->request(s->state, r, now_ns);
    }
}

static void look_at_streams(struct httpd_h2 *s, uint64_t now_ns)
{
    size_t streams = h2_server_streams(s->h2);
    if (streams != s->streams)
        s->since_ns = now_ns;
    s->streams = streams;

    int32_t incomplete = h2_server_incomplete(s->h2);
    if (incomplete != s->incomplete)
        s->incomplete_since_ns = now_ns;
    s->incomplete = incomplete;
}

static void take_output(struct httpd_h2 *s, uint64_t now_ns)
{
    s->out = h2_server_out(s->h2, &s->out_len);
    s->out_sent = 0;
    s->progress_ns = s->out_since_ns = now_ns;
    if (!has_out(s) && h2_server_is_done(s->h2))
        end(s, HTTPD_CONN_LINGERING, now_ns);
}

void httpd_h2_turn(void *session, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    if (!httpd_h2_wants_turn(s))
        return;
    s->is_in_turn = true;
    s->has_work = false;
    take_input(s);
    take_requests(s, now_ns);
    if (s->state && s->service->work(s->state, now_ns))
        s->has_work = true;
    take_output(s, now_ns);
    look_at_streams(s, now_ns);
    s->is_in_turn = false;
}

/* ---- phases and deadlines ---- */

static size_t calls(const struct httpd_h2 *s)
{
    return s->state ? s->service->calls(s->state) : 0;
}

enum httpd_conn_phase httpd_h2_phase(const void *session)
{
    const struct httpd_h2 *s = session;
    if (is_over(s))
        return s->end;
    bool is_busy = has_out(s) || s->streams > 0 || calls(s) > 0;
    return is_busy ? HTTPD_CONN_ANSWERING : HTTPD_CONN_READING;
}

uint64_t httpd_h2_waits_since(const void *session)
{
    const struct httpd_h2 *s = session;
    bool is_waiting = !is_over(s) && !has_out(s) && calls(s) == 0;
    return is_waiting ? s->since_ns : NEVER;
}

/* Of the connection as such, with no calls open. */
static uint64_t quiet_deadline(const struct httpd_h2 *s)
{
    const struct httpd_limits *l = limits(s);
    if (s->streams > 0) /* answered, but the peer does not take it */
        return s->since_ns + l->write_timeout_ns;
    return s->since_ns +
           (s->has_served ? l->idle_timeout_ns : l->head_timeout_ns);
}

static uint64_t incomplete_deadline(const struct httpd_h2 *s)
{
    return s->incomplete ? s->incomplete_since_ns + limits(s)->head_timeout_ns
                         : NEVER;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t httpd_h2_deadline(const void *session)
{
    const struct httpd_h2 *s = session;
    if (s->end == HTTPD_CONN_LINGERING)
        return s->since_ns + limits(s)->linger_timeout_ns;
    if (is_over(s) || httpd_h2_wants_turn(s))
        return NEVER;
    if (has_out(s)) /* a byte now and then is not enough */
        return min_u64(s->progress_ns + limits(s)->write_timeout_ns,
                       s->out_since_ns + limits(s)->answer_timeout_ns);
    uint64_t own_ns = min_u64(incomplete_deadline(s),
                              calls(s) == 0 ? quiet_deadline(s) : NEVER);
    return min_u64(own_ns, s->state ? s->service->deadline(s->state) : NEVER);
}

static void expire_quietly(struct httpd_h2 *s, uint64_t now_ns)
{
    if (now_ns >= incomplete_deadline(s)) {
        s->config->stats->timeouts++;
        h2_server_cancel(s->h2, s->incomplete);
    } else if (calls(s) == 0 && now_ns >= quiet_deadline(s)) {
        s->config->stats->timeouts += s->streams > 0 || !s->has_served;
        if (s->streams > 0) {
            end(s, HTTPD_CONN_ABORTED, now_ns);
            return;
        }
        h2_server_shutdown(s->h2);
    }
    s->has_work = true;
}

void httpd_h2_expire(void *session, uint64_t now_ns)
{
    struct httpd_h2 *s = session;
    if (now_ns < httpd_h2_deadline(s))
        return;
    if (s->end == HTTPD_CONN_LINGERING) {
        end(s, HTTPD_CONN_ENDED, now_ns);
    } else if (has_out(s)) {
        s->config->stats->timeouts++;
        end(s, HTTPD_CONN_ABORTED, now_ns);
    } else {
        expire_quietly(s, now_ns);
    }
}
