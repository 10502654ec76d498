#include "proto/base/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"

int addr_parse_ip(struct addr *a, const char *text)
{
    struct addr v = {0};
    if (inet_pton(AF_INET, text, v.ip) == 1)
        v.family = ADDR_V4;
    else if (inet_pton(AF_INET6, text, v.ip) == 1)
        v.family = ADDR_V6;
    else
        return ERR_BAD;
    *a = v;
    return 0;
}

static int parse_port(const char *text, uint16_t *port)
{
    unsigned v = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 5)
        return ERR_BAD;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return ERR_BAD;
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    if (v > 65535)
        return ERR_BAD;
    *port = (uint16_t)v;
    return 0;
}

int addr_parse(struct addr *a, const char *text)
{
    char host[ADDR_TEXT_SIZE];
    const char *end;
    bool is_bracketed = text[0] == '[';
    if (is_bracketed) {
        text++;
        end = strchr(text, ']');
        if (!end || end[1] != ':')
            return ERR_BAD;
    } else {
        end = strchr(text, ':');
        if (!end)
            return ERR_BAD;
    }
    size_t len = (size_t)(end - text);
    if (len >= sizeof(host))
        return ERR_BAD;
    memcpy(host, text, len);
    host[len] = '\0';

    struct addr v;
    uint16_t port;
    if (addr_parse_ip(&v, host) || (v.family == ADDR_V6) != is_bracketed ||
        parse_port(end + (is_bracketed ? 2 : 1), &port))
        return ERR_BAD;
    v.port = port;
    *a = v;
    return 0;
}

char *addr_format_ip(const struct addr *a, char text[ADDR_TEXT_SIZE])
{
    if (a->family == ADDR_NONE) {
        memcpy(text, "-", 2);
        return text;
    }
    int af = a->family == ADDR_V4 ? AF_INET : AF_INET6;
    const char *done = inet_ntop(af, a->ip, text, ADDR_TEXT_SIZE);
    assert(done);
    (void)done;
    return text;
}

char *addr_format(const struct addr *a, char text[ADDR_TEXT_SIZE])
{
    char ip[ADDR_TEXT_SIZE];
    addr_format_ip(a, ip);
    if (a->family == ADDR_NONE)
        memcpy(text, "-", 2);
    else if (a->family == ADDR_V4)
        snprintf(text, ADDR_TEXT_SIZE, "%.15s:%u", ip, (unsigned)a->port);
    else
        snprintf(text, ADDR_TEXT_SIZE, "[%.45s]:%u", ip, (unsigned)a->port);
    return text;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && addr_same_ip(a, b);
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && !memcmp(a->ip, b->ip, sizeof(a->ip));
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t zero[16];
    return a->family != ADDR_NONE && !memcmp(a->ip, zero, sizeof(zero));
}

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    if (a->family == ADDR_V4)
        return a->ip[0] == 127;
    return a->family == ADDR_V6 && !memcmp(a->ip, one, sizeof(one));
}

struct addr addr_unmap(const struct addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->family != ADDR_V6 || memcmp(a->ip, mapped, sizeof(mapped)) != 0)
        return *a;
    struct addr v4 = {.family = ADDR_V4, .port = a->port};
    memcpy(v4.ip, a->ip + sizeof(mapped), 4);
    return v4;
}

bool addr_any_v4(const struct addr *a, struct addr *v4)
{
    if (a->family != ADDR_V6 || !addr_is_any(a))
        return false;
    *v4 = (struct addr){.family = ADDR_V4, .port = a->port};
    return true;
}

unsigned addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss)
{
    memset(ss, 0, sizeof(*ss));
    if (a->family == ADDR_V4) {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(ss, &in, sizeof(in));
        return sizeof(in);
    }
    assert(a->family == ADDR_V6);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_port = htons(a->port)};
    memcpy(&in6.sin6_addr, a->ip, 16);
    memcpy(ss, &in6, sizeof(in6));
    return sizeof(in6);
}

int addr_from_sockaddr(struct addr *a, const struct sockaddr_storage *ss)
{
    struct addr v = {0};
    if (ss->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, ss, sizeof(in));
        v.family = ADDR_V4;
        v.port = ntohs(in.sin_port);
        memcpy(v.ip, &in.sin_addr, 4);
    } else if (ss->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, ss, sizeof(in6));
        v.family = ADDR_V6;
        v.port = ntohs(in6.sin6_port);
        memcpy(v.ip, &in6.sin6_addr, 16);
    } else {
        return ERR_BAD;
    }
    *a = v;
    return 0;
}
