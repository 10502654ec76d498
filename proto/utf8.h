/* proto/utf8.h - is this text, and what to make of it if not.
 *
 * Names come from other nodes as bytes. What is written for others to read
 * has to be UTF-8: a reader of JSON refuses the document otherwise, and
 * Prometheus the whole scrape. Pure.
 */
#ifndef PROTO_UTF8_H
#define PROTO_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Length of the character at `p`, 0 if what stands there is not one; `left` is
 * at least 1. `*bad` is how many bytes one U+FFFD stands for then. */
size_t utf8_len(const uint8_t *p, size_t left, size_t *bad);

/* Copy `text` with a U+FFFD for what is no character and for each control
 * character, cut at a character so that it fits `size` (at least 1) with its
 * NUL. Three bytes for each of `text` are always enough. */
void utf8_clean(char *out, size_t size, const char *text);

#endif /* PROTO_UTF8_H */
