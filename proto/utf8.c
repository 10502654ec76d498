#include "proto/utf8.h"

#include <assert.h>
#include <string.h>

/* The ranges of the second byte are those of Unicode's table 3-7: they exclude
 * overlong forms, surrogates and what lies above U+10FFFF. */
size_t utf8_len(const uint8_t *p, size_t left, size_t *bad)
{
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t len;

    *bad = 1;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    if (p[0] < 0xe0) {
        len = 2;
    } else if (p[0] < 0xf0) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    }
    for (size_t i = 1; i < len; i++) {
        if (i == left || p[i] < low || p[i] > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

/* Those of ASCII and the second set behind it. */
static int is_control(const uint8_t *p, size_t len)
{
    return (len == 1 && (p[0] < 0x20 || p[0] == 0x7f)) ||
           (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

void utf8_clean(char *out, size_t size, const char *text)
{
    size_t left = strlen(text);
    const uint8_t *p = (const uint8_t *)text;
    size_t at = 0;
    assert(size > 0);

    while (left > 0) {
        size_t bad;
        size_t n = utf8_len(p, left, &bad);
        size_t taken = n ? n : bad;
        const void *from = p;
        if (n == 0 || is_control(p, n)) {
            from = UTF8_REPLACEMENT;
            n = 3;
        }
        if (n >= size - at)
            break;
        memcpy(out + at, from, n);
        at += n;
        p += taken;
        left -= taken;
    }
    out[at] = '\0';
}
