#include "prober/file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/err.h"

ssize_t file_read_all(int fd, void *data, size_t size)
{
    uint8_t *bytes = data;
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_SYS;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* A pipe that is writable takes PIPE_BUF bytes, a socket says itself. */
static ssize_t write_piece(int fd, const uint8_t *data, size_t len)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    size_t max = len < PIPE_BUF ? len : PIPE_BUF;
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0 || errno != ENOTSOCK)
        return n;
    int rc = poll(&ready, 1, 0);
    if (rc > 0)
        return write(fd, data, max);
    if (rc == 0)
        errno = EAGAIN;
    return ERR_SYS;
}

ssize_t file_write_now(int fd, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t done = 0;
    while (done < len) {
        ssize_t n = write_piece(fd, bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done > 0 || len == 0 ? (ssize_t)done : ERR_SYS;
}
