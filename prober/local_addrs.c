#include "prober/local_addrs.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/base/err.h"

/* Interfaces have all sorts of addresses, and some have none. */
static bool read_one(const struct ifaddrs *i, struct addr *a)
{
    struct sockaddr_storage ss = {0};
    size_t len;

    if (!i->ifa_addr)
        return false;
    if (i->ifa_addr->sa_family == AF_INET)
        len = sizeof(struct sockaddr_in);
    else if (i->ifa_addr->sa_family == AF_INET6)
        len = sizeof(struct sockaddr_in6);
    else
        return false;
    memcpy(&ss, i->ifa_addr, len);
    if (addr_from_sockaddr(a, &ss))
        return false;
    a->port = 0;
    return true;
}

static bool is_in(const struct addr *list, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (addr_equal(&list[i], a))
            return true;
    }
    return false;
}

int local_addrs_read(struct addr *list, size_t max, bool *is_all)
{
    struct ifaddrs *first;
    struct addr a;
    size_t n = 0;

    if (getifaddrs(&first))
        return errno == ENOMEM ? ERR_NOMEM : ERR_SYS;
    *is_all = true;
    for (const struct ifaddrs *i = first; i; i = i->ifa_next) {
        if (!read_one(i, &a) || is_in(list, n, &a))
            continue;
        if (n == max) {
            *is_all = false;
            break;
        }
        list[n++] = a;
    }
    freeifaddrs(first);
    return (int)n;
}
