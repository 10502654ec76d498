#include "prober/target.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/grpc.h"
#include "proto/http1.h"

_Static_assert(TARGET_SERVICE_MAX == GRPC_SERVICE_MAX, "one limit, two names");
/* URL, host and authority once, the request, the health message. */
#define MEMORY_MAX \
    (3 * (URL_HOST_MAX + 32) + URL_PATH_MAX + TARGET_REQUEST_MAX + 256)

static const char *scheme_text(enum url_scheme scheme)
{
    switch (scheme) {
    case URL_HTTP:
        return "http";
    case URL_HTTPS:
        return "https";
    case URL_GRPC:
        return "grpc";
    case URL_GRPCS:
        return "grpcs";
    }
    return "";
}

static bool is_grpc_scheme(const struct url *u)
{
    return u->scheme == URL_GRPC || u->scheme == URL_GRPCS;
}

/* The method called is always that of the health service, so a path would be
 * ignored; better to say so than to probe something else than was meant. */
static int check_path(const struct url *u, struct errmsg *msg)
{
    if (!is_grpc_scheme(u) || !strcmp(u->path, "/"))
        return 0;
    errmsg_set(msg, "%s:// takes no path; a health service is named apart",
               scheme_text(u->scheme));
    return ERR_BAD;
}

static int check_service(const char *service, struct errmsg *msg)
{
    size_t len = strlen(service);

    if (len > TARGET_SERVICE_MAX) {
        errmsg_set(msg, "service name is longer than %d bytes",
                   TARGET_SERVICE_MAX);
        return ERR_TOOBIG;
    }
    for (size_t i = 0; i < len; i++) {
        if (service[i] < 0x20 || service[i] > 0x7e) {
            errmsg_set(msg, "service name has byte 0x%02x at %zu",
                       (unsigned char)service[i], i);
            return ERR_BAD;
        }
    }
    return 0;
}

void target_write_text(const struct url *u, struct wr *w)
{
    char authority[URL_AUTHORITY_SIZE];

    url_authority(u, authority);
    wr_text(w, scheme_text(u->scheme));
    wr_text(w, "://");
    wr_text(w, authority);
    wr_text(w, is_grpc_scheme(u) ? "" : u->path);
}

/* Write all that is kept, one behind the other. Offsets, because the memory
 * moves while it grows. */
struct layout {
    size_t text, host, authority, request, grpc_body, end;
};

static struct layout write_all(struct wr *w, const struct url *u,
                               const char *service)
{
    char authority[URL_AUTHORITY_SIZE];
    struct layout at;

    url_authority(u, authority);
    at.text = w->len;
    target_write_text(u, w);
    wr_u8(w, 0);
    at.host = w->len;
    wr_bytes(w, u->host, strlen(u->host) + 1);
    at.authority = w->len;
    wr_bytes(w, authority, strlen(authority) + 1);
    at.request = w->len;
    http1_write_request(w, "GET", u->path, authority, true, NULL);
    at.grpc_body = w->len;
    grpc_write_health_request(w, service);
    at.end = w->len;
    return at;
}

static int set_memory(struct target *t, const struct url *u,
                      const char *service, struct errmsg *msg)
{
    struct wr w;
    wr_init_grow(&w, MEMORY_MAX);
    struct layout at = write_all(&w, u, service);
    int err = wr_err(&w);
    char *memory = err ? NULL : malloc(w.len);

    if (!memory) {
        errmsg_set(msg, "%s: cannot be written as a request", u->host);
        wr_fini(&w);
        return err ? err : ERR_NOMEM;
    }
    memcpy(memory, w.data, w.len);
    wr_fini(&w);
    t->memory = memory;
    t->text = memory + at.text;
    t->host = memory + at.host;
    t->authority = memory + at.authority;
    t->request = memory + at.request;
    t->request_len = (uint16_t)(at.grpc_body - at.request);
    t->grpc_body = (const uint8_t *)memory + at.grpc_body;
    t->grpc_body_len = (uint16_t)(at.end - at.grpc_body);
    return 0;
}

int target_init(struct target *t, const struct url *url, const char *service,
                struct tls_context *tls, struct errmsg *msg)
{
    assert(tls || !url->is_tls);
    *t = (struct target){.port = url->port,
                         .ip_first = 4,
                         .is_tls = url->is_tls,
                         .tls = url->is_tls ? tls : NULL};
    if (!service)
        service = "";

    int err = check_path(url, msg);
    if (!err)
        err = check_service(service, msg);
    if (err)
        return err;

    if (url->is_literal) {
        err = addr_parse_ip(&t->address, url->host);
        if (err) {
            errmsg_set(msg, "%s: not an address", url->host);
            return err;
        }
        t->address.port = url->port;
    }
    return set_memory(t, url, service, msg);
}

void target_fini(struct target *t)
{
    free(t->memory);
    *t = (struct target){0};
}

/* RFC 6761 6.3: these names are loopback and never asked of a server. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host), n = sizeof name - 1;

    if (len < n || strcasecmp(host + len - n, name) != 0)
        return false;
    return len == n || host[len - n - 1] == '.';
}

/* The next word of [*at, end); false at the end or at a comment. */
static bool next_word(const char **at, const char *end, const char **word,
                      size_t *len)
{
    const char *p = *at;

    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    *word = p;
    while (p < end && *p != ' ' && *p != '\t' && *p != '\r' && *p != '#')
        p++;
    *len = (size_t)(p - *word);
    *at = p;
    return *len > 0;
}

static bool is_word(const char *word, size_t len, const char *host)
{
    /* A final dot only says that the name is complete. */
    if (len > 1 && word[len - 1] == '.')
        len--;
    return strlen(host) == len && !strncasecmp(word, host, len);
}

/* Does the line [at, end) give `host` an address? */
static bool read_line(const char *at, const char *end, const char *host,
                      struct addr *a)
{
    char text[ADDR_TEXT_SIZE];
    const char *word;
    size_t len;

    if (!next_word(&at, end, &word, &len) || len >= sizeof text)
        return false;
    memcpy(text, word, len);
    text[len] = '\0';
    if (addr_parse_ip(a, text))
        return false;
    while (next_word(&at, end, &word, &len)) {
        if (is_word(word, len, host))
            return true;
    }
    return false;
}

static bool find_host(const char *hosts, size_t hosts_len, const char *host,
                      unsigned ip_first, struct addr *found)
{
    const char *at = hosts, *end = hosts + hosts_len;

    found->family = ADDR_NONE;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        struct addr a;

        if (read_line(at, line_end, host, &a)) {
            if (found->family == ADDR_NONE || a.family == ip_first)
                *found = a;
            if (found->family == ip_first)
                return true;
        }
        at = newline ? newline + 1 : end;
    }
    return found->family != ADDR_NONE;
}

bool target_use_hosts(struct target *t, const char *hosts, size_t len)
{
    struct addr a;

    if (t->address.family != ADDR_NONE)
        return false;
    if (!find_host(hosts, len, t->host, t->ip_first, &a)) {
        if (!is_localhost(t->host))
            return false;
        addr_parse_ip(&a, t->ip_first == 6 ? "::1" : "127.0.0.1");
    }
    t->address = a;
    t->address.port = t->port;
    return true;
}
