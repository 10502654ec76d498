#include "prober/httpd_fields.h"

#include <string.h>
#include <strings.h>

#include "proto/base/err.h"

static bool field_is(const struct http1 *h, const struct http1_field *f,
                     const char *name)
{
    return f->name_len == strlen(name) &&
           strncasecmp(h->head + f->name, name, f->name_len) == 0;
}

static bool takes_gzip(const char *p, size_t len)
{
    const char *end = p + len;
    while (p < end) {
        const char *to = memchr(p, ',', (size_t)(end - p));
        if (!to)
            to = end;
        while (p < to && (*p == ' ' || *p == '\t'))
            p++;
        size_t n = 0;
        while (p + n < to && !strchr(" \t;", p[n]))
            n++;
        bool is_gzip = n == 4 && strncasecmp(p, "gzip", 4) == 0;
        const char *q = memchr(p, '=', (size_t)(to - p));
        bool is_zero = q != NULL;
        for (q = q ? q + 1 : to; q < to; q++)
            is_zero = is_zero && strchr("0. \t", *q);
        if (is_gzip && !is_zero)
            return true;
        p = to < end ? to + 1 : end;
    }
    return false;
}

bool httpd_fields_take_gzip(const struct http1 *h)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (field_is(h, f, "accept-encoding") &&
            takes_gzip(h->head + f->value, f->value_len))
            return true;
    }
    return false;
}

void httpd_fields_etags(const struct http1 *h, char out[HTTPD_ETAGS_SIZE])
{
    out[0] = '\0';
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (!field_is(h, f, "if-none-match") ||
            f->value_len >= HTTPD_ETAGS_SIZE)
            continue;
        memcpy(out, h->head + f->value, f->value_len);
        out[f->value_len] = '\0';
    }
}

const char *httpd_fields_accept(const struct http1 *h,
                                char out[HTTPD_ACCEPT_SIZE])
{
    size_t at = 0;
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (!field_is(h, f, "accept") || f->value_len == 0 ||
            at + f->value_len + 2 > HTTPD_ACCEPT_SIZE)
            continue;
        if (at > 0)
            out[at++] = ',';
        memcpy(out + at, h->head + f->value, f->value_len);
        at += f->value_len;
    }
    out[at] = '\0';
    return at > 0 ? out : NULL;
}

enum httpd_expects httpd_fields_expect(const struct http1 *h)
{
    enum httpd_expects expects = HTTPD_EXPECTS_NOTHING;
    for (unsigned i = 0; h->version_minor > 0 && i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (!field_is(h, f, "expect"))
            continue;
        if (f->value_len != 12 ||
            strncasecmp(h->head + f->value, "100-continue", 12) != 0)
            return HTTPD_EXPECTS_UNKNOWN;
        expects = HTTPD_EXPECTS_CONTINUE;
    }
    return expects;
}

/* The authority of a target of the absolute form, empty for others. */
static struct http1_text authority_of(struct http1_text target)
{
    struct http1_text t = {target.data, 0};
    if (target.len < 7 || strncasecmp(target.data, "http://", 7) != 0)
        return t;
    t.data += 7;
    while (t.len < target.len - 7 && t.data[t.len] != '/' &&
           t.data[t.len] != '?')
        t.len++;
    return t;
}

/* RFC 9112 3.2.2 would have us believe the target. Who names two hosts is
 * after a difference between us and something else. */
static bool is_one_host(const struct http1 *h, const char *host)
{
    struct http1_text t = authority_of(h->target);
    return t.len == 0 || !host ||
           (strlen(host) == t.len && strncasecmp(host, t.data, t.len) == 0);
}

int httpd_fields_credentials(struct httpd_credentials *c, const struct http1 *h,
                             const char **why)
{
    const struct {
        const char *name, **value, *twice, *too_long;
    } wanted[] = {
        {"authorization", &c->authorization, "repeated authorization",
         "authorization longer than 512 bytes"},
        {"host", &c->host, "repeated host", "host longer than 512 bytes"},
        {"origin", &c->origin, "repeated origin",
         "origin longer than 512 bytes"},
        {"content-type", &c->content_type, "repeated content-type",
         "content-type longer than 512 bytes"},
    };
    c->authorization = c->host = c->origin = c->content_type = NULL;
    c->len = 0;
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        size_t k = 0;
        while (k < 4 && !field_is(h, f, wanted[k].name))
            k++;
        if (k == 4)
            continue;
        if (*wanted[k].value) {
            *why = wanted[k].twice;
            return ERR_BAD;
        }
        if (f->value_len > HTTPD_FIELD_MAX) {
            *why = wanted[k].too_long;
            return ERR_TOOBIG;
        }
        char *text = c->text + c->len;
        memcpy(text, h->head + f->value, f->value_len);
        text[f->value_len] = '\0';
        c->len += (size_t)f->value_len + 1;
        *wanted[k].value = text;
    }
    if (!is_one_host(h, c->host)) {
        *why = "target and host name different hosts";
        return ERR_BAD;
    }
    return 0;
}
