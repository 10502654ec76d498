/* prober/httpd_private_uv.h - the server's host, inside.
 *
 * Not for others. Division of work: httpd_uv.c has the server: listening,
 * accepting, the one timer; httpd_client_uv.c a connection: its socket's reads
 * and writes, its turns, its end.
 */
#ifndef PROBER_HTTPD_PRIVATE_UV_H
#define PROBER_HTTPD_PRIVATE_UV_H

#include <uv.h>

#include "prober/httpd_uv.h"
#include "prober/httpd_wire.h"
#include "proto/base/heap.h"

struct httpd_client {
    struct heap_node deadline; /* first: see of_deadline() */
    struct httpd *server;
    struct httpd_client *next, *prev;       /* of all */
    struct httpd_client *turn_next;         /* waiting for a turn */
    bool is_queued, is_reading, is_writing; /* is_writing: a uv_write */
    bool is_refusal, is_shut, is_closing;
    size_t pending;     /* bytes not yet acknowledged, as last seen */
    uint64_t spared_ns; /* the deadline that came before its bytes were read */
    struct httpd_peer peer;
    struct httpd_waker waker;
    struct httpd_wire *wire;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe; /* peer.is_local */
    };
    uv_write_t write;
    size_t write_len; /* that it has to write */
    uv_shutdown_t shutdown;
};

struct httpd {
    uv_loop_t *loop;
    struct httpd_limits limits;
    struct httpd_stats stats;
    struct httpd_conn_config conn;
    struct httpd_wire_config wire;

    int listen_fd;
    bool is_local; /* a unix socket */
    bool is_accepting;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_idle_t turns;  /* active while the queue is not empty */
    unsigned handles; /* not yet closed */
    bool is_closing;

    struct heap deadlines;
    struct heap_node accept_resume;
    struct httpd_client *first; /* all, closing ones excluded */
    struct httpd_client *turn_first, **turn_last;
    unsigned refusals;
};

/* httpd_uv.c: put the node where its deadline belongs; UINT64_MAX: out. */
void httpd_set_deadline(struct httpd *h, struct heap_node *node,
                        uint64_t deadline_ns, uint64_t now_ns);
/* One of the server's handles is closed; the last frees a closing server. */
void httpd_handle_closed(struct httpd *h);

/* httpd_client_uv.c: take over a connected socket. Returns NULL without
 * memory or if libuv refuses it; it is closed then. */
struct httpd_client *httpd_client_add(struct httpd *h, int fd,
                                      const struct httpd_peer *peer,
                                      uint64_t now_ns);
/* `is_reset`: the peer must see that what it got is not whole. */
void httpd_client_close(struct httpd_client *c, bool is_reset);
/* After anything happened: write, close, ask for a turn, set the deadline. */
void httpd_client_update(struct httpd_client *c, uint64_t now_ns);
/* Are there bytes of it in the kernel that nobody has read? */
bool httpd_client_has_unread(const struct httpd_client *c);
/* Its deadline has come. */
void httpd_client_expire(struct httpd_client *c, uint64_t now_ns);

#endif /* PROBER_HTTPD_PRIVATE_UV_H */
