#include "prober/httpd_query.h"

#include <assert.h>
#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void put(struct httpd_query *q, char c)
{
    /* Path, segments and query: each byte of the target is stored at most
     * twice, plus one NUL per piece. */
    assert(q->text_len < sizeof(q->text));
    q->text[q->text_len++] = c;
}

/* Decode [p, end) into the text store and end it with NUL. Returns where it
 * starts, or NULL with `msg` set. `keeps_slash` leaves "%2F" encoded. */
static const char *decode(struct httpd_query *q, const char *p, const char *end,
                          bool is_query, bool keeps_slash, struct errmsg *msg)
{
    const char *start = q->text + q->text_len;
    while (p < end) {
        char c = *p++;
        if (c == '%') {
            int hi = end - p >= 2 ? hex(p[0]) : -1;
            int lo = end - p >= 2 ? hex(p[1]) : -1;
            if (hi < 0 || lo < 0) {
                errmsg_set(msg, "broken percent escape");
                return NULL;
            }
            p += 2;
            c = (char)(hi << 4 | lo);
            if (c == '/' && keeps_slash) {
                put(q, '%');
                put(q, '2');
                c = 'F';
            }
        } else if (c == '+' && is_query) {
            c = ' ';
        } else if (c == '#') {
            errmsg_set(msg, "fragment in the request target");
            return NULL;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f) {
            errmsg_set(msg, "control byte in the request target");
            return NULL;
        }
        put(q, c);
    }
    put(q, '\0');
    return start;
}

static int decode_path(struct httpd_query *q, const char *p, const char *end,
                       struct errmsg *msg)
{
    struct httpd_request *r = &q->request;
    r->path = decode(q, p, end, false, true, msg);
    if (!r->path)
        return ERR_BAD;
    while (p < end) {
        const char *from = p + 1; /* *p is the slash before the segment */
        p = memchr(from, '/', (size_t)(end - from));
        if (!p)
            p = end;
        if (r->n_segments == HTTPD_SEGMENTS_MAX) {
            errmsg_set(msg, "more than %d path segments", HTTPD_SEGMENTS_MAX);
            return ERR_TOOBIG;
        }
        r->segments[r->n_segments] = decode(q, from, p, false, false, msg);
        if (!r->segments[r->n_segments++])
            return ERR_BAD;
    }
    return 0;
}

static int decode_param(struct httpd_query *q, const char *p, const char *end,
                        struct errmsg *msg)
{
    struct httpd_request *r = &q->request;
    const char *equals = memchr(p, '=', (size_t)(end - p));
    const char *name_end = equals ? equals : end;
    if (name_end == p) {
        errmsg_set(msg, "parameter without a name");
        return ERR_BAD;
    }
    if (r->n_params == HTTPD_QUERY_MAX) {
        errmsg_set(msg, "more than %d parameters", HTTPD_QUERY_MAX);
        return ERR_TOOBIG;
    }
    const char *name = decode(q, p, name_end, true, false, msg);
    const char *value =
        name ? decode(q, equals ? equals + 1 : end, end, true, false, msg)
             : NULL;
    if (!value)
        return ERR_BAD;
    if (httpd_query_param(r, name)) {
        errmsg_set(msg, "parameter %.64s is given twice", name);
        return ERR_BAD;
    }
    r->params[r->n_params++] = (struct httpd_param){name, value};
    return 0;
}

static int decode_query(struct httpd_query *q, const char *p, const char *end,
                        struct errmsg *msg)
{
    while (p < end) {
        const char *to = memchr(p, '&', (size_t)(end - p));
        if (!to)
            to = end;
        int err = decode_param(q, p, to, msg);
        if (err)
            return err;
        if (to + 1 == end) {
            errmsg_set(msg, "parameter without a name");
            return ERR_BAD; /* "a=1&" */
        }
        p = to < end ? to + 1 : end;
    }
    return 0;
}

int httpd_query_decode(struct httpd_query *q, const char *target, size_t len,
                       struct errmsg *msg)
{
    q->request = (struct httpd_request){0};
    q->text_len = 0;
    if (len > HTTPD_TARGET_MAX) {
        errmsg_set(msg, "request target longer than %d bytes",
                   HTTPD_TARGET_MAX);
        return ERR_TOOBIG;
    }
    const char *end = target + len;
    const char *p = target;
    if (len >= 7 && memcmp(p, "http://", 7) == 0) {
        p += 7;
        while (p < end && *p != '/' && *p != '?')
            p++;
    }
    const char *query = memchr(p, '?', (size_t)(end - p));
    const char *path_end = query ? query : end;
    if (p == path_end && p != target) {
        p = "/"; /* "http://host" and "http://host?a=1" */
        path_end = p + 1;
    }
    if (p == path_end || *p != '/') {
        errmsg_set(msg, "request target does not start with a slash");
        return ERR_BAD;
    }
    int err = decode_path(q, p, path_end, msg);
    if (!err && query)
        err = decode_query(q, query + 1, end, msg);
    return err;
}

const char *httpd_query_param(const struct httpd_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_params; i++) {
        if (strcmp(r->params[i].name, name) == 0)
            return r->params[i].value;
    }
    return NULL;
}
