#include "mesh/facts.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/outcome.h"
#include "proto/serf_msg.h"

#define MARK       "prober"
#define PIN_PREFIX "sha256:"
#define PIN_DIGITS (2 * sizeof(((struct facts *)0)->fingerprint))
#define TLS_SIZE   (sizeof(PIN_PREFIX) + PIN_DIGITS)
#define UNKNOWN    "unknown"

/* --- encoding ----------------------------------------------------------- */

struct tags {
    size_t n;
    struct serf_tag tag[7];
};

/* A tag with an empty value says nothing and is left out. */
static void add(struct tags *t, const char *key, const char *value)
{
    if (value[0])
        t->tag[t->n++] =
            (struct serf_tag){span_of_text(key), span_of_text(value)};
}

static void format_protocols(unsigned protocols, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < PROTOCOL_N; i++) {
        if (protocols & 1u << i)
            len +=
                (size_t)snprintf(text + len, size - len, "%s%s", len ? "," : "",
                                 protocol_name((enum probe_protocol)i));
        assert(len < size);
    }
}

static const char *format_tls(const struct facts *f, char text[TLS_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    if (f->tls == FACTS_TLS_OFF)
        return "off";
    if (f->tls == FACTS_TLS_CA)
        return "ca";
    assert(f->tls == FACTS_TLS_PIN);
    memcpy(text, PIN_PREFIX, sizeof(PIN_PREFIX));
    char *to = text + sizeof(PIN_PREFIX) - 1;
    for (size_t i = 0; i < sizeof(f->fingerprint); i++) {
        *to++ = digits[f->fingerprint[i] >> 4];
        *to++ = digits[f->fingerprint[i] & 0x0f];
    }
    *to = '\0';
    return text;
}

int facts_encode(const struct facts *f, uint8_t meta[ML_META_MAX])
{
    char port[sizeof("65535")] = "";
    char protocols[64];
    char tls[TLS_SIZE];
    if (f->port)
        snprintf(port, sizeof(port), "%u", (unsigned)f->port);
    format_protocols(f->protocols, protocols, sizeof(protocols));

    struct tags t = {0}; /* in the order of their keys */
    add(&t, "host", f->host);
    add(&t, "port", port);
    t.tag[t.n++] =
        (struct serf_tag){span_of_text(MARK), span_of_text(f->version)};
    add(&t, "protos", protocols);
    add(&t, "region", f->region);
    add(&t, "tls", format_tls(f, tls));
    add(&t, "zone", f->zone);

    struct wr w;
    wr_init_fixed(&w, meta, ML_META_MAX);
    serf_tags_write(&w, t.tag, t.n);
    return wr_err(&w) ? wr_err(&w) : (int)w.len;
}

/* --- decoding ----------------------------------------------------------- */

static bool is_name_byte(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/* `max` is without the NUL, and enough for UNKNOWN. */
static void read_name(struct span value, char *out, size_t max)
{
    bool is_good = value.len <= max;
    for (size_t i = 0; i < value.len && is_good; i++)
        is_good = is_name_byte(value.data[i]);
    if (!is_good)
        value = span_of_text(UNKNOWN);
    if (value.len > 0)
        memcpy(out, value.data, value.len);
    out[value.len] = '\0';
}

static bool read_host(struct span value, char out[URL_HOST_MAX + 1])
{
    char host[URL_HOST_MAX + 1];
    if (value.len == 0)
        return true;
    if (value.len > URL_HOST_MAX || memchr(value.data, '\0', value.len))
        return false;
    memcpy(host, value.data, value.len);
    host[value.len] = '\0';
    if (!url_is_host(host))
        return false;
    memcpy(out, host, value.len + 1);
    return true;
}

/* Decimal without leading zeros; 0 if it is none. */
static uint16_t read_port(struct span value)
{
    unsigned v = 0;
    if (value.len == 0 || value.len > 5 || value.data[0] == '0')
        return 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 0;
        v = v * 10 + (unsigned)(value.data[i] - '0');
    }
    return v <= UINT16_MAX ? (uint16_t)v : 0;
}

/* Names that we do not know may be those of a later version. */
static unsigned read_protocols(struct span value)
{
    unsigned protocols = 0;
    size_t start = 0;
    for (size_t i = 0; i <= value.len; i++) {
        if (i < value.len && value.data[i] != ',')
            continue;
        struct span name = span_of(value.data + start, i - start);
        for (unsigned k = 0; k < PROTOCOL_N; k++) {
            if (span_is(name, protocol_name((enum probe_protocol)k)))
                protocols |= 1u << k;
        }
        start = i + 1;
    }
    return protocols;
}

static int read_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool read_pin(struct span digits, uint8_t out[32])
{
    uint8_t pin[PIN_DIGITS / 2];
    if (digits.len != PIN_DIGITS)
        return false;
    for (size_t i = 0; i < sizeof(pin); i++) {
        int high = read_digit(digits.data[2 * i]);
        int low = read_digit(digits.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        pin[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(out, pin, sizeof(pin));
    return true;
}

static bool read_tls(struct span value, struct facts *f)
{
    const size_t prefix = sizeof(PIN_PREFIX) - 1;
    if (span_is(value, "off")) {
        f->tls = FACTS_TLS_OFF;
        return true;
    }
    if (span_is(value, "ca")) {
        f->tls = FACTS_TLS_CA;
        return true;
    }
    if (value.len < prefix || memcmp(value.data, PIN_PREFIX, prefix) != 0)
        return false;
    f->tls = FACTS_TLS_PIN;
    return read_pin(span_of(value.data + prefix, value.len - prefix),
                    f->fingerprint);
}

/* Is there a tag `key`? *value is empty, but never NULL, if not. */
static bool find(const struct serf_tag *tags, size_t n, const char *key,
                 struct span *value)
{
    *value = span_of_text("");
    for (size_t i = 0; i < n; i++) {
        if (!span_is(tags[i].key, key))
            continue;
        if (tags[i].value.len > 0)
            *value = tags[i].value;
        return true;
    }
    return false;
}

void facts_decode(struct span meta, struct facts *out)
{
    struct serf_tag tags[SERF_TAGS_MAX];
    struct span value;
    size_t n;
    *out = (struct facts){0};
    if (serf_tags_read(meta, tags, SERF_TAGS_MAX, &n) ||
        !find(tags, n, MARK, &value))
        return;

    out->is_ours = true;
    read_name(value, out->version, FACTS_VERSION_MAX);
    find(tags, n, "zone", &value);
    read_name(value, out->zone, FACTS_NAME_MAX);
    find(tags, n, "region", &value);
    read_name(value, out->region, FACTS_NAME_MAX);
    find(tags, n, "port", &value);
    out->port = read_port(value);
    find(tags, n, "protos", &value);
    out->protocols = read_protocols(value);
    find(tags, n, "host", &value);
    bool has_host = read_host(value, out->host);
    find(tags, n, "tls", &value);
    bool has_tls = read_tls(value, out);
    out->can_probe = has_host && has_tls && out->port && out->protocols;
}

bool facts_is_ours(struct span meta)
{
    struct serf_tag tags[SERF_TAGS_MAX];
    struct span value;
    size_t n;
    return !serf_tags_read(meta, tags, SERF_TAGS_MAX, &n) &&
           find(tags, n, MARK, &value);
}
