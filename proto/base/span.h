/* proto/base/span.h - borrowed bytes with their length.
 *
 * Points into memory that somebody else owns; whoever hands one out says how
 * long it lives. data may be NULL when len is 0.
 */
#ifndef PROTO_BASE_SPAN_H
#define PROTO_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    size_t len;
};

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){data, len};
}

static inline struct span span_of_text(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || !memcmp(a.data, b.data, a.len));
}

/* Is it this text, byte by byte? */
static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_of_text(text));
}

#endif /* PROTO_BASE_SPAN_H */
