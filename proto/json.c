#include "proto/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/utf8.h"

#define NS_PER_MS 1000000u

void json_init(struct json *j, struct wr *out)
{
    *j = (struct json){.out = out};
}

/* Bit of the innermost open level. */
static uint32_t level(const struct json *j)
{
    assert(j->depth > 0);
    return UINT32_C(1) << (j->depth - 1);
}

static void comma(struct json *j)
{
    if (j->depth == 0)
        return; /* values at the top are the caller's to separate */
    if (j->has_members & level(j))
        wr_u8(j->out, ',');
    j->has_members |= level(j);
}

static void before_value(struct json *j)
{
    if (j->depth > 0 && (j->is_object & level(j))) {
        assert(j->has_key);
        j->has_key = false;
        return;
    }
    assert(!j->has_key);
    comma(j);
}

static void begin(struct json *j, bool is_object)
{
    before_value(j);
    assert(j->depth < JSON_DEPTH_MAX);
    j->depth++;
    j->has_members &= ~level(j);
    j->is_object &= ~level(j);
    if (is_object)
        j->is_object |= level(j);
    wr_u8(j->out, is_object ? '{' : '[');
}

static void end(struct json *j, bool is_object)
{
    assert(is_object == ((j->is_object & level(j)) != 0));
    assert(!j->has_key);
    j->depth--;
    wr_u8(j->out, is_object ? '}' : ']');
}

void json_object_begin(struct json *j)
{
    begin(j, true);
}

void json_object_end(struct json *j)
{
    end(j, true);
}

void json_array_begin(struct json *j)
{
    begin(j, false);
}

void json_array_end(struct json *j)
{
    end(j, false);
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void write_escaped(struct wr *w, uint8_t c)
{
    static const char named[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (size_t i = 0; i + 1 < sizeof(named); i += 2) {
        if ((uint8_t)named[i] == c) {
            wr_u8(w, '\\');
            wr_u8(w, (uint8_t)named[i + 1]);
            return;
        }
    }
    wr_printf(w, "\\u%04x", c);
}

/* Valid, but taken for the end of a line or a command by some that read line
 * by line or show it on a terminal: U+0080 to U+009F, U+2028 and U+2029.
 * Returns the code point to be escaped, or 0. */
static unsigned unruly(const uint8_t *p, size_t n)
{
    if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)
        return p[1];
    if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8)
        return 0x2000u + (p[2] & 0x3fu);
    return 0;
}

static void write_string(struct wr *w, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;

    wr_u8(w, '"');
    for (size_t i = 0; i < len;) {
        size_t run = 0;
        while (i + run < len && is_plain(p[i + run]))
            run++;
        wr_bytes(w, p + i, run);
        i += run;
        if (i == len)
            break;

        size_t bad;
        size_t n = utf8_len(p + i, len - i, &bad);
        if (n == 0)
            wr_text(w, UTF8_REPLACEMENT);
        else if (n == 1)
            write_escaped(w, p[i]);
        else if (unruly(p + i, n))
            wr_printf(w, "\\u%04x", unruly(p + i, n));
        else
            wr_bytes(w, p + i, n);
        i += n ? n : bad;
    }
    wr_u8(w, '"');
}

void json_key(struct json *j, const char *key)
{
    assert(j->is_object & level(j));
    assert(!j->has_key);
    comma(j);
    write_string(j->out, key, strlen(key));
    wr_u8(j->out, ':');
    j->has_key = true;
}

void json_text(struct json *j, const char *text)
{
    if (text)
        json_text_n(j, text, strlen(text));
    else
        json_put_null(j);
}

void json_text_n(struct json *j, const char *text, size_t len)
{
    before_value(j);
    write_string(j->out, text, len);
}

/* Most of what is written is numbers, and printf is slow. */
static void write_u64(struct wr *w, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    wr_bytes(w, digits + n, sizeof(digits) - n);
}

void json_u64(struct json *j, uint64_t v)
{
    before_value(j);
    write_u64(j->out, v);
}

void json_i64(struct json *j, int64_t v)
{
    before_value(j);
    if (v < 0)
        wr_u8(j->out, '-');
    write_u64(j->out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void json_double(struct json *j, double v)
{
    if (!isfinite(v)) {
        json_put_null(j);
        return;
    }

    /* 15 digits survive any double, 17 suffice for any; most need 15. */
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    before_value(j);
    wr_text(j->out, text);
}

void json_bool(struct json *j, bool v)
{
    before_value(j);
    wr_text(j->out, v ? "true" : "false");
}

void json_put_null(struct json *j)
{
    before_value(j);
    wr_text(j->out, "null");
}

/* Days since 1970-01-01 to a date of the Gregorian calendar. Counts from
 * March, so that the leap day is the last of its year; 400 years are 146,097
 * days. Needed because pure code does not ask the C library about time. */
static void date_of(uint64_t days, unsigned *year, unsigned *month,
                    unsigned *day)
{
    uint64_t since = days + 719468; /* 0000-03-01 */
    uint64_t era = since / 146097;
    uint64_t in_era = since % 146097;
    uint64_t y =
        (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * y + y / 4 - y / 100);
    uint64_t m = (5 * in_year + 2) / 153; /* 0 is March */

    *day = (unsigned)(in_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = (unsigned)(era * 400 + y + (*month <= 2));
}

char *json_format_time(uint64_t unix_ns, char text[JSON_TIME_SIZE])
{
    uint64_t ms = unix_ns / NS_PER_MS;
    uint64_t s = ms / 1000;
    unsigned year, month, day;

    date_of(s / 86400, &year, &month, &day);
    /* 64 bits of ns end in 2554; the remainders tell the compiler so. */
    snprintf(text, JSON_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             year % 10000, month % 100, day % 100, (unsigned)(s / 3600 % 24),
             (unsigned)(s / 60 % 60), (unsigned)(s % 60),
             (unsigned)(ms % 1000));
    return text;
}

void json_time(struct json *j, uint64_t unix_ns)
{
    char text[JSON_TIME_SIZE];
    json_text(j, json_format_time(unix_ns, text));
}

void json_key_text(struct json *j, const char *key, const char *text)
{
    json_key(j, key);
    json_text(j, text);
}

void json_key_u64(struct json *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_u64(j, v);
}

void json_key_i64(struct json *j, const char *key, int64_t v)
{
    json_key(j, key);
    json_i64(j, v);
}

void json_key_double(struct json *j, const char *key, double v)
{
    json_key(j, key);
    json_double(j, v);
}

void json_key_bool(struct json *j, const char *key, bool v)
{
    json_key(j, key);
    json_bool(j, v);
}

void json_key_null(struct json *j, const char *key)
{
    json_key(j, key);
    json_put_null(j);
}

void json_key_time(struct json *j, const char *key, uint64_t unix_ns)
{
    json_key(j, key);
    json_time(j, unix_ns);
}
