/* proto/url.h - strict parsing of probe targets.
 *
 * "http://", "https://", "grpc://" (gRPC in plain text), "grpcs://", then a
 * host (LDH name with labels of 1..63, total <= 253; IPv4 literal as
 * inet_pton takes it; IPv6 in brackets), an optional port and an optional
 * path. No user info, no fragment; a query belongs to the path. Bytes
 * 0x21..0x7e only. Nothing is decoded, nothing is truncated. Scheme and host
 * are put into lower case, so that they can be compared.
 *
 * A name whose last label is a number ("127.1", "0x7f000001", "1.2.3.4.5") is
 * refused: some resolvers would take it for an address that no policy saw.
 */
#ifndef PROTO_URL_H
#define PROTO_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

#define URL_HOST_MAX 253
#define URL_PATH_MAX 1024

enum url_scheme { URL_HTTP, URL_HTTPS, URL_GRPC, URL_GRPCS };

struct url {
    enum url_scheme scheme;
    bool is_tls;
    bool is_literal;             /* host is an IP address */
    char host[URL_HOST_MAX + 1]; /* without brackets; final dot removed */
    uint16_t port;               /* 1.., the scheme's default if not given */
    bool has_port;
    char path[URL_PATH_MAX + 1]; /* starts with '/', "/" if absent */
};

/* Returns 0, or ERR_BAD / ERR_TOOBIG (host or path too long) with `msg` saying
 * what and at which byte, counted from 1; then `u` is untouched. `msg` may be
 * NULL. */
int url_parse(struct url *u, const char *text, struct errmsg *msg);

/* Is `host` a valid LDH name or address as above? IPv6 without brackets, as
 * in url.host; upper case and a final dot are allowed. */
bool url_is_host(const char *host);

/* "host", "host:8443", "[::1]:8443": what Host and :authority carry; the
 * port only if it is not the scheme's default (80 / 443). */
#define URL_AUTHORITY_SIZE (URL_HOST_MAX + 10)
void url_authority(const struct url *u, char text[URL_AUTHORITY_SIZE]);

#endif /* PROTO_URL_H */
