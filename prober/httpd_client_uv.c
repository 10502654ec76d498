#include "prober/httpd_private_uv.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>

#define SEND_BYTES 262144   /* in the kernel, per connection */
#define TURNS_NS   1000000u /* of work per iteration of the loop */
#define SPARED_NS  1000000u /* the next look at sockets is before that */

/* ---- turns ---- */

static void queue_turn(struct httpd_client *c)
{
    struct httpd *h = c->server;
    if (c->is_queued)
        return;
    c->is_queued = true;
    c->turn_next = NULL;
    *h->turn_last = c;
    h->turn_last = &c->turn_next;
}

static struct httpd_client *take_turn(struct httpd *h)
{
    struct httpd_client *c = h->turn_first;
    h->turn_first = c->turn_next;
    if (!h->turn_first)
        h->turn_last = &h->turn_first;
    c->is_queued = false;
    return c;
}

static void forget_turn(struct httpd_client *c)
{
    struct httpd *h = c->server;
    if (!c->is_queued)
        return;
    struct httpd_client **link = &h->turn_first;
    while (*link != c)
        link = &(*link)->turn_next;
    *link = c->turn_next;
    if (!*link)
        h->turn_last = link;
    c->is_queued = false;
}

static void on_turns(uv_idle_t *idle)
{
    struct httpd *h = idle->data;
    uint64_t start_ns = uv_hrtime();
    uint64_t now_ns = start_ns;
    while (h->turn_first && now_ns - start_ns < TURNS_NS) {
        struct httpd_client *c = take_turn(h);
        if (!c->is_writing)
            httpd_wire_turn(c->wire, now_ns);
        now_ns = uv_hrtime();
        httpd_client_update(c, now_ns);
    }
    if (!h->turn_first)
        uv_idle_stop(&h->turns);
}

/* Possibly from within a turn, of this connection or of another: so nothing
 * is done here but to ask for one. */
static void on_wake(struct httpd_waker *waker)
{
    struct httpd_client *c =
        (void *)((char *)waker - offsetof(struct httpd_client, waker));
    if (c->is_closing)
        return;
    queue_turn(c);
    uv_idle_start(&c->server->turns, on_turns);
}

/* ---- the socket ---- */

static void on_connection_closed(uv_handle_t *handle)
{
    struct httpd_client *c = handle->data;
    struct httpd *h = c->server;
    httpd_wire_close(c->wire); /* a uv_write may have used its buffer */
    free(c);
    httpd_handle_closed(h);
}

void httpd_client_close(struct httpd_client *c, bool is_reset)
{
    struct httpd *h = c->server;
    if (c->is_closing)
        return;
    c->is_closing = true;
    httpd_wire_abandon(c->wire);
    forget_turn(c);
    heap_remove(&h->deadlines, &c->deadline);
    if (c->prev)
        c->prev->next = c->next;
    else
        h->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->is_refusal)
        h->refusals--;
    else
        h->stats.connections--;
    /* libuv refuses a reset after a shutdown was begun. */
    if (!is_reset || c->is_shut || c->peer.is_local ||
        uv_tcp_close_reset(&c->tcp, on_connection_closed))
        uv_close(&c->handle, on_connection_closed);
}

static void on_written(uv_write_t *write, int status)
{
    struct httpd_client *c = write->data;
    c->is_writing = false;
    if (c->is_closing)
        return;
    if (status) {
        httpd_client_close(c, false);
        return;
    }
    uint64_t now_ns = uv_hrtime();
    httpd_wire_sent(c->wire, c->write_len, now_ns);
    httpd_client_update(c, now_ns);
}

/* Bytes that we wrote and the peer has not acknowledged. Those in the kernel
 * count too: it reports room only when a third of its buffer is free, which
 * for a slow reader may take longer than we wait for progress. */
static size_t pending_bytes(const struct httpd_client *c)
{
    size_t pending = uv_stream_get_write_queue_size(&c->stream);
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (!uv_fileno(&c->handle, &fd) && !ioctl(fd, SIOCOUTQ, &in_kernel) &&
        in_kernel > 0)
        pending += (size_t)in_kernel;
    return pending;
}

/* Have libuv write what the kernel did not take at once. */
static bool write_later(struct httpd_client *c, uv_buf_t buf)
{
    c->write.data = c;
    c->write_len = buf.len;
    if (uv_write(&c->write, &c->stream, &buf, 1, on_written)) {
        httpd_client_close(c, false);
        return false;
    }
    c->is_writing = true;
    c->pending = pending_bytes(c);
    return true;
}

/* Write what there is; with TLS that comes in pieces, and no more of them
 * than one slice. Returns false if the connection was closed. */
static bool write_out(struct httpd_client *c, uint64_t now_ns)
{
    size_t len;
    const uint8_t *data;
    while (!c->is_writing && (data = httpd_wire_out(c->wire, &len))) {
        uv_buf_t buf = {.base = (char *)(uintptr_t)data, .len = len};
        int n = uv_try_write(&c->stream, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            httpd_client_close(c, false);
            return false;
        }
        if (n > 0) {
            httpd_wire_sent(c->wire, (size_t)n, now_ns);
            buf.base += n;
            buf.len -= (size_t)n;
        }
        if (buf.len > 0)
            return write_later(c, buf);
    }
    return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct httpd_client *c = handle->data;
    size_t size;
    uint8_t *space = httpd_wire_space(c->wire, &size);
    *buf = uv_buf_init((char *)space, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct httpd_client *c = stream->data;
    uint64_t now_ns = uv_hrtime();
    if (n == 0)
        return; /* EAGAIN */
    if (n > 0) {
        httpd_wire_received(c->wire, (size_t)n, now_ns);
    } else if (n == UV_EOF) {
        httpd_wire_eof(c->wire, now_ns);
    } else {
        httpd_client_close(c, false);
        return;
    }
    httpd_client_update(c, now_ns);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown; /* the linger deadline ends it in any case */
    (void)status;
}

static void update_reading(struct httpd_client *c)
{
    size_t size;
    bool wants = httpd_wire_space(c->wire, &size) != NULL;
    if (wants == c->is_reading)
        return;
    c->is_reading = wants;
    if (!wants)
        uv_read_stop(&c->stream);
    else if (uv_read_start(&c->stream, on_alloc, on_read))
        httpd_client_close(c, false);
}

/* After anything happened: write, close, ask for a turn, set the deadline. */
void httpd_client_update(struct httpd_client *c, uint64_t now_ns)
{
    struct httpd *h = c->server;
    if (!write_out(c, now_ns))
        return;
    enum httpd_conn_phase phase = httpd_wire_phase(c->wire);
    if (phase >= HTTPD_CONN_ENDED) {
        httpd_client_close(c, phase == HTTPD_CONN_ABORTED);
        return;
    }
    if (phase == HTTPD_CONN_LINGERING && !c->is_shut) {
        c->is_shut = true;
        uv_shutdown(&c->shutdown, &c->stream, on_shutdown);
    }
    if (!c->is_writing && httpd_wire_wants_turn(c->wire)) {
        queue_turn(c);
        uv_idle_start(&h->turns, on_turns);
    }
    httpd_set_deadline(h, &c->deadline, httpd_wire_deadline(c->wire), now_ns);
    update_reading(c);
}

bool httpd_client_has_unread(const struct httpd_client *c)
{
    uv_os_fd_t fd;
    int unread = 0;
    return c->is_reading && !uv_fileno(&c->handle, &fd) &&
           !ioctl(fd, FIONREAD, &unread) && unread > 0;
}

/* In the loop timers come before sockets: after a stall of ours the deadline
 * is here, and what was sent in time lies unread. It is read first, and judged
 * then; but once only, as whoever never stops sending would be spared for
 * ever. */
static bool is_spared(struct httpd_client *c, uint64_t now_ns)
{
    uint64_t deadline_ns = httpd_wire_deadline(c->wire);
    if (c->spared_ns == deadline_ns || !httpd_client_has_unread(c))
        return false;
    c->spared_ns = deadline_ns;
    httpd_set_deadline(c->server, &c->deadline, now_ns + SPARED_NS, now_ns);
    return true;
}

/* A slow reader may take long for one slice and yet make progress. */
void httpd_client_expire(struct httpd_client *c, uint64_t now_ns)
{
    if (is_spared(c, now_ns))
        return;
    if (c->is_writing) {
        size_t pending = pending_bytes(c);
        if (pending < c->pending)
            httpd_wire_progress(c->wire, now_ns);
        c->pending = pending;
    }
    httpd_wire_expire(c->wire, now_ns);
    httpd_client_update(c, now_ns);
}

static int open_stream(struct httpd_client *c, int fd)
{
    int rc = c->peer.is_local ? uv_pipe_open(&c->pipe, fd)
                              : uv_tcp_open(&c->tcp, fd);
    if (rc)
        return rc;
    if (!c->peer.is_local)
        uv_tcp_nodelay(&c->tcp, 1);
    /* Else the kernel would let a slow reader's buffer grow to megabytes. */
    int send_bytes = SEND_BYTES;
    uv_send_buffer_size(&c->handle, &send_bytes);
    return 0;
}

struct httpd_client *httpd_client_add(struct httpd *h, int fd,
                                      const struct httpd_peer *peer,
                                      uint64_t now_ns)
{
    struct httpd_client *c = calloc(1, sizeof(*c));
    if (c) {
        c->peer = *peer;
        c->waker.wake = on_wake;
        c->wire = httpd_wire_open(&h->wire, &c->peer, &c->waker, now_ns);
    }
    if (!c || !c->wire) {
        free(c);
        close(fd);
        return NULL;
    }
    c->server = h;
    if (peer->is_local) /* without a socket neither can fail */
        uv_pipe_init(h->loop, &c->pipe, 0);
    else
        uv_tcp_init(h->loop, &c->tcp);
    c->handle.data = c;
    h->handles++;
    c->next = h->first;
    if (c->next)
        c->next->prev = c;
    h->first = c;
    h->stats.connections++;
    if (open_stream(c, fd)) {
        close(fd);
        httpd_client_close(c, false);
        return NULL;
    }
    return c;
}
