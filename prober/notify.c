#include "prober/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/err.h"

#define NS_PER_US UINT64_C(1000)

/* A path, or with '@' in front a name without one. Returns the length, 0 if it
 * is neither. */
static socklen_t parse(const char *text, struct sockaddr_un *a)
{
    size_t len = strlen(text);
    bool is_abstract = text[0] == '@';
    if ((text[0] != '/' && !is_abstract) || len < 2 ||
        len >= sizeof(a->sun_path))
        return 0;
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, text, len);
    if (is_abstract)
        a->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
                       !is_abstract);
}

int notify_send(const char *state)
{
    struct sockaddr_un address;
    const char *text = getenv("NOTIFY_SOCKET");
    if (!text || !text[0])
        return 0;
    socklen_t len = parse(text, &address);
    if (!len)
        return ERR_BAD;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_SYS;
    ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL,
                       (const struct sockaddr *)&address, len);
    int error = errno;
    close(fd);
    errno = error;
    return n < 0 ? ERR_SYS : 0;
}

uint64_t notify_watchdog_ns(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    const char *text = getenv("WATCHDOG_USEC");
    char *end;
    /* Meant for a process that started us, and not for us. */
    if (pid && strtoll(pid, &end, 10) != getpid())
        return 0;
    if (!text || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    unsigned long long us = strtoull(text, &end, 10);
    if (errno || *end || us > UINT64_MAX / NS_PER_US)
        return 0;
    return us * NS_PER_US;
}

int notify_reloading(uint64_t monotonic_ns)
{
    char state[64];
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             monotonic_ns / NS_PER_US);
    return notify_send(state);
}
