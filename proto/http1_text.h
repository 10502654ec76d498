/* proto/http1_text.h - what HTTP/1.1 text is made of; inside of proto/http1*.c.
 *
 * Characters of RFC 9110, 5.6 and RFC 3986, and pieces of text that are not
 * ended by NUL. Not <ctype.h>, which asks the locale.
 */
#ifndef PROTO_HTTP1_TEXT_H
#define PROTO_HTTP1_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "proto/http1.h"

/* ---- characters ---- */

static inline bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static inline unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

static inline bool is_alnum(unsigned char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

/* strchr() would find the NUL at the end of `set`. */
static inline bool is_one_of(unsigned char c, const char *set)
{
    return c && strchr(set, c);
}

static inline bool is_token(unsigned char c)
{
    return is_alnum(c) || c == '-' || is_one_of(c, "!#$%&'*+.^_`|~");
}

static inline bool is_target(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '#';
}

/* uri-host and port of RFC 3986. Not whether they make sense, but nothing
 * that could end the authority early. */
static inline bool is_authority(unsigned char c)
{
    return is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=%:[]");
}

static inline bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t';
}

static inline bool is_all(const char *data, size_t len,
                          bool (*is)(unsigned char))
{
    for (size_t i = 0; i < len; i++) {
        if (!is((unsigned char)data[i]))
            return false;
    }
    return true;
}

/* Field values and reasons: visible, obs-text, blanks. Without an early exit,
 * so that the compiler can take many bytes at a time; good input needs the
 * whole loop anyway. */
static inline bool is_value(const char *data, size_t len)
{
    unsigned bad = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        bad |= (unsigned)((c < 0x20) & (c != '\t')) | (unsigned)(c == 0x7f);
    }
    return !bad;
}

/* ---- pieces of text ---- */

static inline struct http1_text trim(const char *data, size_t len)
{
    while (len && is_blank((unsigned char)data[0])) {
        data++;
        len--;
    }
    while (len && is_blank((unsigned char)data[len - 1]))
        len--;
    return (struct http1_text){data, len};
}

/* `want` is in lower case. */
static inline bool is_same(struct http1_text t, const char *want)
{
    if (t.len != strlen(want))
        return false;
    for (size_t i = 0; i < t.len; i++) {
        if (lower((unsigned char)t.data[i]) != (unsigned char)want[i])
            return false;
    }
    return true;
}

/* Does `t` start with `want` (in lower case)? If so, go past it. */
static inline bool skip(struct http1_text *t, const char *want)
{
    size_t n = strlen(want);
    if (t->len < n || !is_same((struct http1_text){t->data, n}, want))
        return false;
    t->data += n;
    t->len -= n;
    return true;
}

/* Take what stands before the first `c`, and `c`. */
static inline bool cut(struct http1_text *rest, char c,
                       struct http1_text *before)
{
    const char *at = memchr(rest->data, c, rest->len);
    if (!at)
        return false;
    *before = (struct http1_text){rest->data, (size_t)(at - rest->data)};
    rest->data += before->len + 1;
    rest->len -= before->len + 1;
    return true;
}

#endif /* PROTO_HTTP1_TEXT_H */
