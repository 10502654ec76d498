/* prober/httpd_fields.h - what a server reads of a request's header fields.
 *
 * Lists are joined or searched as RFC 9110 5.3 says. What decides who asks
 * and whether he may (Authorization, Host, Origin, Content-Type) is strict
 * instead: one line of it, of bounded length, whole or not at all; two of them
 * could be read differently by somebody before us. Pure.
 */
#ifndef PROBER_HTTPD_FIELDS_H
#define PROBER_HTTPD_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "prober/httpd.h"
#include "proto/http1.h"

#define HTTPD_ETAGS_SIZE 64 /* of If-None-Match; what is longer matches not */

/* Is gzip among the accepted codings, other than with q=0? */
bool httpd_fields_take_gzip(const struct http1 *h);

/* The last If-None-Match that fits; "" without one. */
void httpd_fields_etags(const struct http1 *h, char out[HTTPD_ETAGS_SIZE]);

/* The Accept fields as one. NULL: there is none. */
const char *httpd_fields_accept(const struct http1 *h,
                                char out[HTTPD_ACCEPT_SIZE]);

enum httpd_expects {
    HTTPD_EXPECTS_NOTHING,
    HTTPD_EXPECTS_CONTINUE, /* the body follows after a 100 */
    HTTPD_EXPECTS_UNKNOWN,  /* 417 */
};
/* HTTP/1.0 expects nothing, whatever it says (RFC 9110 10.1.1). */
enum httpd_expects httpd_fields_expect(const struct http1 *h);

struct httpd_credentials {
    const char *authorization, *host, *origin, *content_type; /* or NULL */
    size_t len;
    char text[4 * (HTTPD_FIELD_MAX + 1)]; /* what they point into */
};

/* Returns 0, ERR_BAD (one of them twice, or a target of the absolute form
 * for another host than Host), or ERR_TOOBIG (longer than HTTPD_FIELD_MAX);
 * *why is static text then. Must not be moved. */
int httpd_fields_credentials(struct httpd_credentials *c, const struct http1 *h,
                             const char **why);

#endif /* PROBER_HTTPD_FIELDS_H */
