#include "mesh/names_uv.h"

#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/endpoint_uv.h"
#include "mesh/mesh.h"
#include "proto/base/err.h"

#define LOOKUPS_MAX (2 * MESH_SEEDS_MAX) /* those that were replaced count */
#define HOST_SIZE   254

struct lookup {
    uv_getaddrinfo_t request;
    struct names *owner; /* NULL: nobody waits any more */
    struct lookup *next;
    uint32_t id;
    bool is_replaced;
    uint16_t port;
    char host[HOST_SIZE];
};

struct names {
    uv_loop_t *loop;
    names_found *found;
    void *arg;
    uint16_t port;
    struct lookup *first;
    size_t n;
};

struct names *names_open(uv_loop_t *loop, uint16_t port, names_found *found,
                         void *arg)
{
    struct names *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    *n = (struct names){.loop = loop, .found = found, .arg = arg, .port = port};
    return n;
}

static int parse_port(const char *text, uint16_t *port)
{
    uint32_t v = 0;
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > 5 || text[len])
        return ERR_BAD;
    for (; *text; text++)
        v = v * 10 + (uint32_t)(*text - '0');
    if (v == 0 || v > UINT16_MAX)
        return ERR_BAD;
    *port = (uint16_t)v;
    return 0;
}

/* "host" or "host:port", and no colon but that one. */
static int split(const char *text, char host[HOST_SIZE], uint16_t *port)
{
    size_t len = strcspn(text, ":");
    if (len == 0 || len >= HOST_SIZE)
        return ERR_BAD;
    if (text[len] && parse_port(text + len + 1, port))
        return ERR_BAD;
    memcpy(host, text, len);
    host[len] = '\0';
    return 0;
}

/* Returns how many different ones there are. */
static size_t take_addresses(const struct addrinfo *list, uint16_t port,
                             struct addr out[MESH_ADDRS_MAX])
{
    size_t n = 0;
    for (; list && n < MESH_ADDRS_MAX; list = list->ai_next) {
        struct sockaddr_storage ss = {0};
        size_t i = 0;
        if (list->ai_addrlen > sizeof(ss))
            continue;
        memcpy(&ss, list->ai_addr, list->ai_addrlen);
        if (endpoint_from_sockaddr(&out[n], &ss))
            continue;
        out[n].port = port;
        while (!addr_equal(&out[i], &out[n]))
            i++;
        n += i == n;
    }
    return n;
}

static void forget(struct lookup *l)
{
    struct names *n = l->owner;
    struct lookup **link = &n->first;
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    n->n--;
}

static void on_answer(uv_getaddrinfo_t *request, int status,
                      struct addrinfo *list)
{
    struct lookup *l = request->data;
    struct names *n = l->owner;
    if (n) {
        struct addr addrs[MESH_ADDRS_MAX];
        size_t n_addrs = status ? 0 : take_addresses(list, l->port, addrs);
        forget(l);
        if (!l->is_replaced)
            n->found(n->arg, l->id, addrs, n_addrs);
    }
    uv_freeaddrinfo(list);
    free(l);
}

/* Is the same already being looked for? What else this id wanted is not wanted
 * any more. */
static bool is_running(struct names *n, uint32_t id, const char *host,
                       uint16_t port)
{
    bool is_found = false;
    for (struct lookup *l = n->first; l; l = l->next) {
        if (l->id != id)
            continue;
        bool is_same = l->port == port && !strcmp(l->host, host);
        l->is_replaced = is_found || !is_same;
        is_found = is_found || is_same;
    }
    return is_found;
}

static int start(struct names *n, uint32_t id, const char *host, uint16_t port)
{
    /* One socket type, else each address comes three times. */
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (n->n == LOOKUPS_MAX)
        return ERR_BUSY;
    struct lookup *l = calloc(1, sizeof(*l));
    if (!l)
        return ERR_NOMEM;
    *l = (struct lookup){.owner = n, .next = n->first, .id = id, .port = port};
    l->request.data = l;
    snprintf(l->host, sizeof(l->host), "%s", host);
    /* The first one has libuv make its pool: those threads are to be born deaf
     * to signals, which are the main thread's. */
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc =
        uv_getaddrinfo(n->loop, &l->request, on_answer, l->host, NULL, &hints);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        free(l);
        return ERR_SYS;
    }
    n->first = l;
    n->n++;
    return 0;
}

void names_find(struct names *n, uint32_t id, const char *text)
{
    char host[HOST_SIZE] = "";
    struct addr a = {0};
    uint16_t port = n->port;
    bool is_address = !addr_parse(&a, text) || !addr_parse_ip(&a, text);
    if (!is_address && !split(text, host, &port)) {
        if (is_running(n, id, host, port) || !start(n, id, host, port))
            return;
    } else {
        is_running(n, id, "", 0);
    }
    if (is_address && a.port == 0)
        a.port = n->port;
    n->found(n->arg, id, &a, is_address);
}

void names_close(struct names *n)
{
    if (!n)
        return;
    for (struct lookup *l = n->first; l; l = l->next) {
        l->owner = NULL;
        uv_cancel((uv_req_t *)&l->request); /* of no use to one that runs */
    }
    free(n);
}
