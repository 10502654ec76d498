/* proto/base/addr.h - IP addresses with a port, as values.
 *
 * Text is strict: what inet_pton accepts and nothing else (no octal, no short
 * forms, no zone ids); IPv6 with a port stands in brackets.
 */
#ifndef PROTO_BASE_ADDR_H
#define PROTO_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum addr_family { ADDR_NONE = 0, ADDR_V4 = 4, ADDR_V6 = 6 };

struct addr {
    uint8_t family; /* enum addr_family */
    uint16_t port;  /* host order */
    uint8_t ip[16]; /* network order; first 4 bytes for V4, rest zero */
};

#define ADDR_TEXT_SIZE 56 /* "[" 39 + "]:65535" and NUL, rounded up */

/* Parse an address without port. Returns 0 or ERR_BAD; port is set to 0. */
int addr_parse_ip(struct addr *a, const char *text);

/* Parse "1.2.3.4:80" or "[::1]:80". Port 0 is allowed. 0 or ERR_BAD. */
int addr_parse(struct addr *a, const char *text);

/* Write address and port, "-" for ADDR_NONE. Returns `text`. */
char *addr_format(const struct addr *a, char text[ADDR_TEXT_SIZE]);

/* Write the address alone, without port or brackets. Returns `text`. */
char *addr_format_ip(const struct addr *a, char text[ADDR_TEXT_SIZE]);

bool addr_equal(const struct addr *a, const struct addr *b);
/* The same, but for the port. */
bool addr_same_ip(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);      /* 0.0.0.0, :: */
bool addr_is_loopback(const struct addr *a); /* 127/8, ::1 */
/* ::ffff:1.2.3.4, which is what a socket for both families calls a peer of
 * IPv4, is 1.2.3.4, with the same port; any other is what it is. */
struct addr addr_unmap(const struct addr *a);

/* If `a` is "all addresses" of IPv6, which stands for both families, give
 * that of IPv4 with the same port: for hosts without IPv6. Else false. */
bool addr_any_v4(const struct addr *a, struct addr *v4);

struct sockaddr_storage;
/* To and from the kernel's form. addr_to_sockaddr returns the length. */
unsigned addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss);
int addr_from_sockaddr(struct addr *a, const struct sockaddr_storage *ss);

#endif /* PROTO_BASE_ADDR_H */
