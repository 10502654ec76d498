/* prober/psock_uv.h - probe sockets: TCP and UDP with kernel time stamps.
 *
 * All sockets of one set live in one edge-triggered epoll set whose
 * descriptor is a single uv_poll_t in the libuv loop. libuv's own handles
 * cannot be used: waiting transmit stamps raise EPOLLERR, which uv_poll turns
 * into EBADF and uv_tcp into a busy loop.
 *
 * Stamps (Linux, Documentation/networking/timestamping): receive stamps come
 * with recvmsg(), transmit stamps through the error queue, found again by the
 * stream offset of the last byte they stand for (SOF_TIMESTAMPING_OPT_ID). A
 * SYN is never stamped; its round trip is in TCP_INFO. The set holds one idle
 * stamping socket for its whole life, because the kernel switches receive
 * stamping on late.
 *
 * A psock is embedded in its owner, whose memory must stay valid until the
 * set's current turn is over (slots, not freed memory): events for a socket
 * that was closed in the same turn are dropped. One thread.
 */
#ifndef PROBER_PSOCK_UV_H
#define PROBER_PSOCK_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "prober/clock.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"

struct psock;

/* `events` as epoll gives them; `now_ns` is the turn's time. */
typedef void psock_event(struct psock *ps, uint32_t events, uint64_t now_ns);

struct psock {
    int fd; /* -1: closed */
    psock_event *on_event;
};

struct psock_set {
    uv_poll_t poll;
    int epoll_fd;
    int keeper_fd; /* keeps receive stamping switched on */
    struct clock_map clock;
    void (*on_turn)(void *arg, uint64_t now_ns); /* after each batch */
    void (*on_closed)(void *arg);                /* may free the set */
    void *arg;
};

/* Open on `loop`. Returns 0 or ERR_SYS with `msg` set. */
int psock_set_open(struct psock_set *set, uv_loop_t *loop, struct errmsg *msg);

/* All sockets must be closed before. The loop must run once more, then
 * on_closed is called if it is set. */
void psock_set_close(struct psock_set *set);

/* Handle what is pending now, at most one batch of events, outside of the
 * loop's own turn (and without on_turn). Returns how many there were. */
int psock_set_poll(struct psock_set *set);

/* Begin a TCP connection. Returns 0 or a negative errno (nothing is open
 * then). Writable means connected or failed. */
int psock_connect(struct psock_set *set, struct psock *ps,
                  const struct addr *peer);

/* Take over a connected descriptor from accept(). 0 or negative errno. */
int psock_adopt(struct psock_set *set, struct psock *ps, int fd);

/* Listen on a TCP address; readable means accept() will give one. 0 or
 * negative errno. */
int psock_listen(struct psock_set *set, struct psock *ps,
                 const struct addr *local, int backlog);

/* Add a descriptor of the caller's to the set, level-triggered. */
int psock_watch(struct psock_set *set, struct psock *ps, int fd,
                uint32_t events);
int psock_watch_change(struct psock_set *set, struct psock *ps,
                       uint32_t events);

/* Report once more what is already true of a connected socket: for a reader
 * that stopped before it was empty. */
void psock_again(struct psock_set *set, struct psock *ps);

/* Remove and close. Nothing if it is closed. */
void psock_close(struct psock *ps);

/* Pending error of the socket (SO_ERROR), as negative errno, 0 if none. */
int psock_error(struct psock *ps);

/* Switch stamping on for a connected socket; stream offsets count from
 * here. Returns 0 or negative errno: then there will be no stamps. */
int psock_stamp_tcp(struct psock *ps);
int psock_stamp_udp(int fd);

/* Send; `is_timed` asks for the stamp of the last byte's leaving. Returns
 * bytes sent or negative errno (-EAGAIN: try when writable). */
int psock_send(struct psock *ps, const void *data, size_t len, bool is_timed);

/* Receive. Returns bytes, 0 at the end of the stream, or negative errno.
 * *real_ns gets the receive stamp (wall time) or 0. */
int psock_recv(struct psock *ps, void *data, size_t size, uint64_t *real_ns);

struct psock_tx {
    uint32_t offset;  /* of the last byte it stands for (UDP: datagram no.) */
    uint64_t real_ns; /* wall time */
};

/* Take one transmit stamp from the error queue. False when there is none. */
bool psock_take_tx(int fd, struct psock_tx *tx);

/* Local address of a connected socket; ADDR_NONE on failure. */
void psock_local(struct psock *ps, struct addr *local);

/* Who is at the other end of it. 0 or negative errno. */
int psock_peer(struct psock *ps, struct addr *peer);

/* Send small writes at once (TCP_NODELAY), for connections that are kept. */
void psock_nodelay(struct psock *ps);

#endif /* PROBER_PSOCK_UV_H */
