/* prober/httpd_query.h - request targets taken apart.
 *
 * "/api/v1/cells/a%2F1/b?window=5m" becomes a path, its segments and its
 * parameters, percent-decoded. Strict: a broken escape, an escaped control
 * byte, a fragment, an empty or repeated parameter name is an error, never
 * guessed at. In the query '+' is a space, as browsers write it. The
 * absolute form "http://host/path" is taken too (RFC 9112 3.2.2).
 *
 * Pure. The result owns its text; it must not be moved.
 */
#ifndef PROBER_HTTPD_QUERY_H
#define PROBER_HTTPD_QUERY_H

#include <stddef.h>

#include "prober/httpd.h"
#include "proto/base/err.h"

struct httpd_query {
    struct httpd_request request; /* points into text */
    size_t text_len;
    char text[2 * HTTPD_TARGET_MAX + 64]; /* path twice, NULs */
};

/* Returns 0, ERR_TOOBIG (longer than HTTPD_TARGET_MAX, too many segments or
 * parameters) or ERR_BAD; `msg` then says what for people. */
int httpd_query_decode(struct httpd_query *q, const char *target, size_t len,
                       struct errmsg *msg);

/* The value of a parameter, or NULL. */
const char *httpd_query_param(const struct httpd_request *r, const char *name);

#endif /* PROBER_HTTPD_QUERY_H */
