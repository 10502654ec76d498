#include "prober/httpd_session.h"

/* The same calls once more, with the types that the table has: calling a
 * function through a pointer of another type is undefined. */

static void *open_session(const struct httpd_conn_config *config,
                          const struct httpd_peer *peer,
                          struct httpd_waker *waker, uint64_t now_ns)
{
    return httpd_conn_open(config, peer, waker, now_ns);
}

static void close_session(void *session)
{
    httpd_conn_close(session);
}

static void abandon(void *session)
{
    httpd_conn_abandon(session);
}

static void refuse(void *session, uint64_t now_ns)
{
    httpd_conn_refuse(session, now_ns);
}

static uint8_t *space(void *session, size_t *size)
{
    return httpd_conn_space(session, size);
}

static void received(void *session, size_t n, uint64_t now_ns)
{
    httpd_conn_received(session, n, now_ns);
}

static void eof(void *session, uint64_t now_ns)
{
    httpd_conn_eof(session, now_ns);
}

static bool wants_turn(const void *session)
{
    return httpd_conn_wants_turn(session);
}

static void turn(void *session, uint64_t now_ns)
{
    httpd_conn_turn(session, now_ns);
}

static const uint8_t *out(const void *session, size_t *len)
{
    return httpd_conn_out(session, len);
}

static void sent(void *session, size_t n, uint64_t now_ns)
{
    httpd_conn_sent(session, n, now_ns);
}

static void progress(void *session, uint64_t now_ns)
{
    httpd_conn_progress(session, now_ns);
}

static enum httpd_conn_phase phase(const void *session)
{
    return httpd_conn_phase(session);
}

static uint64_t waits_since(const void *session)
{
    return httpd_conn_waits_since(session);
}

static uint64_t deadline(const void *session)
{
    return httpd_conn_deadline(session);
}

static void expire(void *session, uint64_t now_ns)
{
    httpd_conn_expire(session, now_ns);
}

const struct httpd_session_ops httpd_conn_ops = {
    .open = open_session,
    .close = close_session,
    .abandon = abandon,
    .refuse = refuse,
    .space = space,
    .received = received,
    .eof = eof,
    .wants_turn = wants_turn,
    .turn = turn,
    .out = out,
    .sent = sent,
    .progress = progress,
    .phase = phase,
    .waits_since = waits_since,
    .deadline = deadline,
    .expire = expire,
};
