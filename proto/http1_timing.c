/* Server-Timing. */
#include "proto/base/err.h"
#include "proto/http1_text.h"

#define NS_PER_MS   1000000u
#define MS_PER_HOUR 3600000u

static void skip_blanks(struct http1_text *t)
{
    *t = trim(t->data, t->len);
}

static bool take_byte(struct http1_text *t, char c)
{
    skip_blanks(t);
    if (!t->len || t->data[0] != c)
        return false;
    t->data++;
    t->len--;
    return true;
}

static bool take_token(struct http1_text *t, struct http1_text *token)
{
    skip_blanks(t);
    size_t n = 0;
    while (n < t->len && is_token((unsigned char)t->data[n]))
        n++;
    *token = (struct http1_text){t->data, n};
    t->data += n;
    t->len -= n;
    return n > 0;
}

/* Past a quoted string, whose opening quote is gone. */
static bool take_quoted(struct http1_text *t, struct http1_text *inner)
{
    for (size_t i = 0; i < t->len; i++) {
        if (t->data[i] == '\\') {
            i++;
        } else if (t->data[i] == '"') {
            *inner = (struct http1_text){t->data, i};
            t->data += i + 1;
            t->len -= i + 1;
            return true;
        }
    }
    return false;
}

/* Milliseconds with up to six decimals that count, to nanoseconds. No
 * floating point: a double would not give back 0.052 ms as 52000 ns by
 * truncation. */
static int parse_ms(struct http1_text t, uint64_t *ns)
{
    uint64_t ms = 0;
    uint64_t rest_ns = 0;
    uint64_t unit_ns = NS_PER_MS / 10;
    size_t i = 0;
    for (; i < t.len && is_digit((unsigned char)t.data[i]); i++) {
        ms = ms * 10 + (unsigned)(t.data[i] - '0');
        if (ms > MS_PER_HOUR)
            return ERR_BAD;
    }
    if (i == 0)
        return ERR_BAD;
    if (i < t.len) {
        if (t.data[i] != '.' || ++i == t.len)
            return ERR_BAD;
    }
    for (; i < t.len; i++, unit_ns /= 10) {
        if (!is_digit((unsigned char)t.data[i]))
            return ERR_BAD;
        rest_ns += (unsigned)(t.data[i] - '0') * unit_ns;
    }
    uint64_t v = ms * NS_PER_MS + rest_ns;
    if (v > (uint64_t)MS_PER_HOUR * NS_PER_MS)
        return ERR_BAD;
    *ns = v;
    return 0;
}

/* One "name;param=value;..."; `dur` stays as it is if there is none, the
 * first counts. */
static bool take_metric(struct http1_text *t, struct http1_text *name,
                        struct http1_text *dur)
{
    *dur = (struct http1_text){NULL, 0};
    if (!take_token(t, name))
        return false;
    while (take_byte(t, ';')) {
        struct http1_text param;
        struct http1_text value = {"", 0};
        if (!take_token(t, &param))
            return false;
        if (take_byte(t, '=') && !(take_byte(t, '"') ? take_quoted(t, &value)
                                                     : take_token(t, &value)))
            return false;
        if (!dur->data && is_same(param, "dur"))
            *dur = value;
    }
    return true;
}

int http1_server_timing(const char *text, size_t len, uint64_t *dur_ns)
{
    struct http1_text t = {text, len};
    struct http1_text best = {NULL, 0};
    bool has_app = false;

    for (skip_blanks(&t); t.len; skip_blanks(&t)) {
        if (take_byte(&t, ',')) /* lists may have empty elements */
            continue;
        struct http1_text name;
        struct http1_text dur;
        if (!take_metric(&t, &name, &dur))
            return ERR_BAD;
        skip_blanks(&t);
        if (t.len && t.data[0] != ',')
            return ERR_BAD;
        bool is_app = name.len == 3 && !memcmp(name.data, "app", 3);
        if (is_app && !has_app) {
            has_app = true;
            best = dur;
        } else if (!has_app && !best.data) {
            best = dur;
        }
    }
    return best.data ? parse_ms(best, dur_ns) : ERR_BAD;
}
