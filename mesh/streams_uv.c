#include "mesh/streams_uv.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/err.h"

#define READ_BYTES       65536
#define LINGER_BYTES_MAX 65536 /* read and thrown away of one that lingers */

/* Oldest first. */
struct list {
    struct stream *first, *last;
    size_t n;
};

struct stream {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    struct streams *owner;
    struct list *list; /* it is in; NULL: it is closing */
    struct stream *prev, *next;
    uint32_t id;
    bool is_connected, is_shut, has_ended;
    size_t queued;
    size_t discarded;
    uint64_t linger_end_ms;
};

struct write {
    uv_write_t request;
    struct stream *stream;
    size_t len;
    char data[];
};

struct streams {
    struct streams_config c;
    struct list open, lingering;
    size_t queued;
    size_t handles; /* not yet closed */
    bool is_closing;
    uint64_t cut;
    uv_timer_t timer; /* for the first that lingers */
    char buffer[READ_BYTES];
};

static void list_add(struct list *list, struct stream *st)
{
    st->list = list;
    st->next = NULL;
    st->prev = list->last;
    if (st->prev)
        st->prev->next = st;
    else
        list->first = st;
    list->last = st;
    list->n++;
}

static void list_remove(struct stream *st)
{
    struct list *list = st->list;
    if (st->prev)
        st->prev->next = st->next;
    else
        list->first = st->next;
    if (st->next)
        st->next->prev = st->prev;
    else
        list->last = st->prev;
    list->n--;
    st->list = NULL;
}

static struct stream *find(const struct streams *s, uint32_t id)
{
    struct stream *st = s->open.first;
    while (st && st->id != id)
        st = st->next;
    return st;
}

/* ---- ends ---- */

static void handle_closed(struct streams *s)
{
    if (--s->handles == 0)
        free(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *st = handle->data;
    struct streams *s = st->owner;
    free(st);
    handle_closed(s);
}

static void close_stream(struct stream *st)
{
    if (!st->list)
        return;
    list_remove(st);
    uv_close((uv_handle_t *)&st->tcp, on_closed);
}

/* Without waiting for the kernel's buffer to be taken: that may be never. */
static void reset_stream(struct stream *st)
{
    const struct linger now = {.l_onoff = 1};
    uv_os_fd_t fd;
    st->owner->cut += st->queued > 0;
    if (!uv_fileno((const uv_handle_t *)&st->tcp, &fd))
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close_stream(st);
}

/* It failed or ended by itself. */
static void lose_stream(struct stream *st)
{
    struct streams *s = st->owner;
    uint32_t id = st->id;
    bool is_known = st->list == &s->open;
    close_stream(st);
    if (is_known && !s->is_closing)
        s->c.on_gone(s->c.arg, id);
}

/* ---- lingering ---- */

static void on_timer(uv_timer_t *timer);

static void arm_timer(struct streams *s)
{
    const struct stream *first = s->lingering.first;
    if (!first) {
        uv_timer_stop(&s->timer);
        return;
    }
    uint64_t now_ms = uv_now(s->c.loop);
    uint64_t end_ms = first->linger_end_ms;
    uv_timer_start(&s->timer, on_timer, end_ms > now_ms ? end_ms - now_ms : 0,
                   0);
}

static void on_timer(uv_timer_t *timer)
{
    struct streams *s = timer->data;
    while (s->lingering.first &&
           s->lingering.first->linger_end_ms <= uv_now(s->c.loop))
        reset_stream(s->lingering.first);
    arm_timer(s);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    struct stream *st = shutdown->data;
    st->is_shut = true;
    if (status || st->has_ended)
        close_stream(st);
}

/* libuv does it when everything is written. */
static void begin_shutdown(struct stream *st)
{
    st->shutdown.data = st;
    if (uv_shutdown(&st->shutdown, (uv_stream_t *)&st->tcp, on_shutdown))
        close_stream(st);
}

void streams_hangup(struct streams *s, uint32_t id)
{
    struct stream *st = find(s, id);
    if (!st)
        return;
    if (!st->is_connected && st->queued == 0) {
        close_stream(st);
        return;
    }
    list_remove(st);
    list_add(&s->lingering, st);
    st->id = 0;
    st->linger_end_ms = uv_now(s->c.loop) + s->c.linger_ms;
    if (st->is_connected)
        begin_shutdown(st);
    if (s->lingering.n > STREAMS_LINGER_MAX)
        reset_stream(s->lingering.first);
    arm_timer(s);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    /* One for all: it is read into and handed on in one go. */
    struct stream *st = handle->data;
    (void)suggested;
    *buf = uv_buf_init(st->owner->buffer, READ_BYTES);
}

static void discard(struct stream *st, size_t n)
{
    st->discarded += n;
    if (st->discarded > LINGER_BYTES_MAX)
        reset_stream(st);
}

/* A lingering stream may still have something to send. */
static void end_reading(struct stream *st)
{
    st->has_ended = true;
    if (st->list == &st->owner->open || st->is_shut)
        lose_stream(st);
    else
        uv_read_stop((uv_stream_t *)&st->tcp);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct stream *st = stream->data;
    struct streams *s = st->owner;
    if (n == 0 || !st->list)
        return;
    if (n == UV_EOF)
        end_reading(st);
    else if (n < 0)
        lose_stream(st);
    else if (st->list == &s->lingering)
        discard(st, (size_t)n);
    else
        s->c.on_bytes(s->c.arg, st->id, buf->base, (size_t)n);
}

/* ---- beginnings ---- */

static struct stream *new_stream(struct streams *s, uint32_t id, int family)
{
    assert(id && !find(s, id));
    struct stream *st = calloc(1, sizeof(*st));
    if (!st)
        return NULL;
    st->owner = s;
    st->id = id;
    if (uv_tcp_init_ex(s->c.loop, &st->tcp, (unsigned)family)) {
        free(st); /* no socket was to be had; the handle is not known yet */
        return NULL;
    }
    st->tcp.data = st;
    s->handles++;
    list_add(&s->open, st);
    return st;
}

/* Returns false if the stream is lost. */
static bool begin_reading(struct stream *st)
{
    st->is_connected = true;
    uv_tcp_nodelay(&st->tcp, 1);
    if (!uv_read_start((uv_stream_t *)&st->tcp, on_alloc, on_read))
        return true;
    lose_stream(st);
    return false;
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct stream *st = connect->data;
    struct streams *s = st->owner;
    if (!st->list)
        return;
    if (status)
        lose_stream(st);
    else if (!begin_reading(st))
        return;
    else if (st->list == &s->lingering)
        begin_shutdown(st);
    else
        s->c.on_connected(s->c.arg, st->id);
}

/* So that peers see the address they know us by. Best effort. */
static void bind_source(struct stream *st, const struct addr *to)
{
    const int one = 1;
    struct addr source = st->owner->c.source;
    struct sockaddr_storage ss;
    uv_os_fd_t fd;
    if (source.family != to->family)
        return;
    source.port = 0;
    addr_to_sockaddr(&source, &ss);
    /* The port is chosen when connecting, or it would be ours alone. */
    if (!uv_fileno((const uv_handle_t *)&st->tcp, &fd))
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
                         sizeof(one));
    (void)uv_tcp_bind(&st->tcp, (const struct sockaddr *)&ss, 0);
}

int streams_dial(struct streams *s, uint32_t id, const struct addr *to)
{
    struct sockaddr_storage ss;
    if (to->family == ADDR_NONE)
        return ERR_SYS;
    addr_to_sockaddr(to, &ss);
    struct stream *st = new_stream(s, id, ss.ss_family);
    if (!st)
        return ERR_NOMEM;
    bind_source(st, to);
    st->connect.data = st;
    if (uv_tcp_connect(&st->connect, &st->tcp, (const struct sockaddr *)&ss,
                       on_connect)) {
        close_stream(st);
        return ERR_SYS;
    }
    return 0;
}

int streams_add(struct streams *s, uint32_t id, int fd)
{
    struct stream *st = new_stream(s, id, AF_UNSPEC);
    if (!st) {
        close(fd);
        return ERR_NOMEM;
    }
    if (uv_tcp_open(&st->tcp, fd)) {
        close(fd);
        close_stream(st);
        return ERR_SYS;
    }
    st->is_connected = true;
    uv_tcp_nodelay(&st->tcp, 1);
    if (uv_read_start((uv_stream_t *)&st->tcp, on_alloc, on_read)) {
        close_stream(st);
        return ERR_SYS;
    }
    return 0;
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status)
{
    struct write *w = request->data;
    struct stream *st = w->stream;
    st->queued -= w->len;
    st->owner->queued -= w->len;
    free(w);
    if (status && st->list)
        lose_stream(st);
}

/* Returns 0, or an error: the stream is of no more use. */
static int queue(struct stream *st, struct span data)
{
    struct streams *s = st->owner;
    if (data.len > STREAMS_QUEUE_MAX - s->queued) {
        s->cut++;
        return ERR_TOOBIG;
    }
    struct write *w = malloc(sizeof(*w) + data.len);
    if (!w)
        return ERR_NOMEM;
    w->stream = st;
    w->len = data.len;
    w->request.data = w;
    memcpy(w->data, data.data, data.len);
    uv_buf_t buf = uv_buf_init(w->data, (unsigned)data.len);
    if (uv_write(&w->request, (uv_stream_t *)&st->tcp, &buf, 1, on_written)) {
        free(w);
        return ERR_SYS;
    }
    st->queued += data.len;
    s->queued += data.len;
    return 0;
}

void streams_write(struct streams *s, uint32_t id, struct span data)
{
    struct stream *st = find(s, id);
    if (!st || data.len == 0)
        return;
    /* Most fits into the kernel's buffer and need not be copied. */
    uv_buf_t buf = {.base = (char *)(uintptr_t)data.data, .len = data.len};
    int n = uv_try_write((uv_stream_t *)&st->tcp, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
        lose_stream(st);
        return;
    }
    if (n > 0) {
        data.data += n;
        data.len -= (size_t)n;
    }
    if (data.len > 0 && queue(st, data))
        lose_stream(st);
}

/* ---- life ---- */

struct streams *streams_open(const struct streams_config *c)
{
    struct streams *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->c = *c;
    s->handles = 1;
    uv_timer_init(c->loop, &s->timer);
    s->timer.data = s;
    return s;
}

void streams_counts(const struct streams *s, struct streams_counts *out)
{
    *out = (struct streams_counts){
        .open = s->open.n,
        .lingering = s->lingering.n,
        .queued_bytes = s->queued,
        .cut = s->cut,
    };
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void streams_close(struct streams *s)
{
    if (!s)
        return;
    s->is_closing = true;
    while (s->open.first)
        close_stream(s->open.first);
    while (s->lingering.first)
        close_stream(s->lingering.first);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}
