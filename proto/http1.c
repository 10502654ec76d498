#include "proto/http1.h"

#include <assert.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/http1_text.h"

#define CHUNK_DIGITS_MAX 16 /* hex digits of a uint64_t */

_Static_assert(HTTP1_HEAD_MAX <= UINT16_MAX, "offsets in head[] are 16 bits");

enum step {
    STEP_START,         /* in the first line */
    STEP_START_SKIPPED, /* the same, after the one empty line allowed */
    STEP_FIELDS,
    STEP_LENGTH, /* in a body of body_left bytes */
    STEP_CLOSE,  /* in a body until the end of the connection */
    STEP_CHUNK_SIZE,
    STEP_CHUNK_EXT,
    STEP_CHUNK_SIZE_LF,
    STEP_CHUNK_DATA,
    STEP_CHUNK_DATA_CR,
    STEP_CHUNK_DATA_LF,
    STEP_TRAILERS,
};

/* ---- state ------------------------------------------------------------- */

/* False, which the on_* functions below hand out for "do not go on". */
static bool fail(struct http1 *h, int err, const char *error)
{
    h->state = HTTP1_FAILED;
    h->err = err;
    h->error = error;
    h->is_keep_alive = false;
    return false;
}

void http1_init(struct http1 *h, enum http1_role role, size_t head_max,
                size_t body_max)
{
    assert(head_max >= 1);
    assert(head_max <= HTTP1_HEAD_MAX);
    h->role = role;
    h->head_max = head_max;
    h->body_max = body_max;
    http1_next(h, false);
}

void http1_next(struct http1 *h, bool is_head_request)
{
    enum http1_role role = h->role;
    size_t head_max = h->head_max;
    size_t body_max = h->body_max;

    /* All but the two buffers, of which only what was written is read. */
    memset(h, 0, offsetof(struct http1, fields));
    h->role = role;
    h->head_max = head_max;
    h->body_max = body_max;
    h->is_head_request = is_head_request;
}

bool http1_begun(const struct http1 *h)
{
    return h->state != HTTP1_HEAD || h->head_len || h->n_interim;
}

/* ---- first line -------------------------------------------------------- */

static bool parse_version(struct http1 *h, struct http1_text *t)
{
    /* The name of the protocol is case-sensitive. */
    if (t->len < 8 || memcmp(t->data, "HTTP/1.", 7) ||
        (t->data[7] != '0' && t->data[7] != '1'))
        return false;
    h->version_minor = (uint8_t)(t->data[7] - '0');
    t->data += 8;
    t->len -= 8;
    return true;
}

/* "/path?query", "*" for OPTIONS, or "http://authority/path?query". CONNECT
 * and its "host:port" are refused: it would end HTTP on this connection. */
static bool is_good_target(struct http1_text method, struct http1_text t)
{
    if (!is_all(t.data, t.len, is_target) || is_same(method, "connect"))
        return false;
    if (t.len && t.data[0] == '/')
        return true;
    if (t.len == 1 && t.data[0] == '*')
        return method.len == 7 && !memcmp(method.data, "OPTIONS", 7);
    if (!skip(&t, "http://") && !skip(&t, "https://"))
        return false;
    size_t n = 0;
    while (n < t.len && is_authority((unsigned char)t.data[n]))
        n++;
    return n && (n == t.len || t.data[n] == '/' || t.data[n] == '?');
}

static bool on_request_line(struct http1 *h, const char *line, size_t len)
{
    struct http1_text t = {line, len};
    if (!cut(&t, ' ', &h->method) || !h->method.len ||
        !is_all(h->method.data, h->method.len, is_token))
        return fail(h, ERR_BAD, "malformed method");
    if (!cut(&t, ' ', &h->target))
        return fail(h, ERR_BAD, "malformed request line");
    if (!is_good_target(h->method, h->target))
        return fail(h, ERR_BAD, "malformed target");
    if (!parse_version(h, &t) || t.len)
        return fail(h, ERR_BAD, "not HTTP/1.0 or HTTP/1.1");
    h->step = STEP_FIELDS;
    return true;
}

static bool on_status_line(struct http1 *h, const char *line, size_t len)
{
    struct http1_text t = {line, len};
    if (!parse_version(h, &t))
        return fail(h, ERR_BAD, "not HTTP/1.0 or HTTP/1.1");
    if (t.len < 4 || t.data[0] != ' ' || t.data[1] < '1' || t.data[1] > '9' ||
        !is_digit((unsigned char)t.data[2]) ||
        !is_digit((unsigned char)t.data[3]))
        return fail(h, ERR_BAD, "malformed status");

    /* Deviation: the space after the status may be missing with the reason.
     * Servers do that, and nothing else could be meant. */
    if (t.len > 4 && (t.data[4] != ' ' || !is_value(t.data + 5, t.len - 5)))
        return fail(h, ERR_BAD, "malformed reason");
    h->status = (uint16_t)((t.data[1] - '0') * 100 + (t.data[2] - '0') * 10 +
                           (t.data[3] - '0'));
    h->step = STEP_FIELDS;
    return true;
}

/* ---- fields ------------------------------------------------------------ */

static bool on_content_length(struct http1 *h, struct http1_text value)
{
    /* Two equal ones could be merged (RFC 9112 6.3), but who sends them has
     * been confused by something, and so will the next hop be. */
    if (h->has_length)
        return fail(h, ERR_BAD, "repeated content-length");
    if (!value.len)
        return fail(h, ERR_BAD, "malformed content-length");
    uint64_t v = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit((unsigned char)value.data[i]))
            return fail(h, ERR_BAD, "malformed content-length");
        unsigned digit = (unsigned)(value.data[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return fail(h, ERR_BAD, "content-length overflows");
        v = v * 10 + digit;
    }
    h->has_length = true;
    h->body_left = v;
    return true;
}

static bool on_transfer_encoding(struct http1 *h, struct http1_text value)
{
    if (h->is_chunked || !is_same(value, "chunked"))
        return fail(h, ERR_BAD, "unknown transfer coding");
    h->is_chunked = true;
    return true;
}

static bool on_connection(struct http1 *h, struct http1_text value)
{
    for (bool more = true; more;) {
        struct http1_text option;
        more = cut(&value, ',', &option);
        if (!more)
            option = value;
        option = trim(option.data, option.len);
        h->says_close |= is_same(option, "close");
        h->says_keep_alive |= is_same(option, "keep-alive");
    }
    return true;
}

static bool on_host(struct http1 *h, struct http1_text value)
{
    if (h->role != HTTP1_REQUEST)
        return true;
    if (h->has_host)
        return fail(h, ERR_BAD, "repeated host");
    if (!is_all(value.data, value.len, is_authority))
        return fail(h, ERR_BAD, "malformed host");
    h->has_host = true;
    return true;
}

/* The few fields that decide where the message ends and what follows it.
 * `name` is in lower case by now. */
static bool on_known_field(struct http1 *h, struct http1_text name,
                           struct http1_text value)
{
    bool (*on)(struct http1 * h, struct http1_text value) = NULL;
    if (name.len == 4 && !memcmp(name.data, "host", 4))
        on = on_host;
    else if (name.len == 10 && !memcmp(name.data, "connection", 10))
        on = on_connection;
    else if (name.len == 14 && !memcmp(name.data, "content-length", 14))
        on = on_content_length;
    else if (name.len == 17 && !memcmp(name.data, "transfer-encoding", 17))
        on = on_transfer_encoding;

    /* RFC 9110 6.5.1 forbids them in trailers. Who read them that late would
     * see another message than who did not. */
    if (on && h->step == STEP_TRAILERS)
        return fail(h, ERR_BAD, "framing field in a trailer");
    return !on || on(h, value);
}

static bool on_field(struct http1 *h, char *line, size_t len)
{
    /* Only here would the line continue the one before (obs-fold). */
    if (is_blank((unsigned char)line[0]))
        return fail(h, ERR_BAD, "folded header field");
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon ? (size_t)(colon - line) : 0;
    if (!name_len || !is_all(line, name_len, is_token))
        return fail(h, ERR_BAD, "malformed header name");
    struct http1_text value = trim(colon + 1, len - name_len - 1);
    if (!is_value(value.data, value.len))
        return fail(h, ERR_BAD, "control byte in a header field");
    if (h->n_fields == HTTP1_FIELDS_MAX)
        return fail(h, ERR_TOOBIG, "too many header fields");

    for (size_t i = 0; i < name_len; i++)
        line[i] = (char)lower((unsigned char)line[i]);
    h->fields[h->n_fields++] = (struct http1_field){
        .name = (uint16_t)(line - h->head),
        .name_len = (uint16_t)name_len,
        .value = (uint16_t)(value.data - h->head),
        .value_len = (uint16_t)value.len,
    };
    return on_known_field(h, (struct http1_text){line, name_len}, value);
}

/* ---- end of the head --------------------------------------------------- */

/* Forget the interim response, keep what belongs to the exchange. */
static bool on_interim(struct http1 *h)
{
    if (h->status == 101)
        return fail(h, ERR_BAD, "switched protocols unasked");
    if (h->n_interim == HTTP1_INTERIM_MAX)
        return fail(h, ERR_TOOBIG, "too many interim responses");
    unsigned n = h->n_interim + 1u;
    http1_next(h, h->is_head_request);
    h->n_interim = (uint8_t)n;
    return true;
}

static bool has_body(const struct http1 *h)
{
    if (h->role == HTTP1_REQUEST)
        return h->is_chunked || h->has_length;
    return !h->is_head_request && h->status != 204 && h->status != 304;
}

static bool is_persistent(const struct http1 *h)
{
    if (h->says_close || h->is_close_delimited)
        return false;
    /* Where we see no body after a 204, the server may yet send the one that
     * it announced. */
    if (h->role == HTTP1_RESPONSE && h->status == 204 &&
        (h->is_chunked || h->body_left))
        return false;
    return h->version_minor == 1 || h->says_keep_alive;
}

static bool begin_body(struct http1 *h)
{
    h->is_close_delimited = has_body(h) && !h->is_chunked && !h->has_length;
    h->is_keep_alive = is_persistent(h);
    if (!has_body(h) || (h->has_length && !h->body_left)) {
        h->state = HTTP1_DONE;
        return true;
    }
    if (h->has_length && h->body_left > h->body_max)
        return fail(h, ERR_TOOBIG, "body larger than the limit");
    h->state = HTTP1_BODY;
    if (h->is_chunked)
        h->step = STEP_CHUNK_SIZE;
    else
        h->step = h->has_length ? STEP_LENGTH : STEP_CLOSE;
    return true;
}

static bool on_head_end(struct http1 *h)
{
    if (h->is_chunked && h->has_length)
        return fail(h, ERR_BAD, "content-length with transfer-encoding");
    /* A 1.0 peer does not know chunks; one in between has changed something
     * (RFC 9112 6.1). */
    if (h->is_chunked && h->version_minor == 0)
        return fail(h, ERR_BAD, "transfer-encoding in HTTP/1.0");
    if (h->role == HTTP1_REQUEST && h->version_minor == 1 && !h->has_host)
        return fail(h, ERR_BAD, "missing host");
    if (h->role == HTTP1_RESPONSE && h->status < 200)
        return on_interim(h);
    return begin_body(h);
}

/* ---- lines ------------------------------------------------------------- */

static bool on_first_line(struct http1 *h, const char *line, size_t len)
{
    if (h->role == HTTP1_RESPONSE)
        return on_status_line(h, line, len);
    if (len || h->step == STEP_START_SKIPPED)
        return on_request_line(h, line, len);
    h->head_len = h->line = 0;
    h->step = STEP_START_SKIPPED;
    return true;
}

static bool on_line(struct http1 *h)
{
    char *line = h->head + h->line;
    size_t len = h->head_len - h->line - 1;
    if (!len || line[len - 1] != '\r')
        return fail(h, ERR_BAD, "line without CR");
    len--;
    h->line = h->head_len;

    if (h->step == STEP_START || h->step == STEP_START_SKIPPED)
        return on_first_line(h, line, len);
    if (len)
        return on_field(h, line, len);
    if (h->step == STEP_FIELDS)
        return on_head_end(h);
    h->state = HTTP1_DONE;
    return true;
}

/* Is this already known not to be HTTP? Who speaks another protocol may never
 * send the LF that we wait for. */
static bool is_foreign(const struct http1 *h)
{
    if (h->role == HTTP1_RESPONSE) {
        size_t n = h->head_len < 7 ? h->head_len : 7;
        return memcmp(h->head, "HTTP/1.", n);
    }
    unsigned char c = (unsigned char)h->head[0];
    return !is_token(c) && c != '\r' && c != '\n';
}

static size_t feed_line(struct http1 *h, const char *data, size_t len)
{
    size_t room = h->head_max - h->head_len;
    size_t n = len < room ? len : room;
    const char *lf = memchr(data, '\n', n);
    if (lf)
        n = (size_t)(lf - data) + 1;
    memcpy(h->head + h->head_len, data, n);
    h->head_len += n;

    if (h->step <= STEP_START_SKIPPED && is_foreign(h))
        fail(h, ERR_BAD, "not HTTP/1.0 or HTTP/1.1");
    else if (lf)
        on_line(h);
    else if (h->head_len == h->head_max)
        fail(h, ERR_TOOBIG, "head larger than the limit");
    return n;
}

/* ---- body -------------------------------------------------------------- */

static size_t feed_counted(struct http1 *h, size_t len)
{
    size_t n = len < h->body_left ? len : (size_t)h->body_left;
    h->body_left -= n;
    h->body_bytes += n;
    if (h->body_left == 0) {
        if (h->step == STEP_LENGTH)
            h->state = HTTP1_DONE;
        else
            h->step = STEP_CHUNK_DATA_CR;
    }
    return n;
}

static size_t feed_until_close(struct http1 *h, size_t len)
{
    uint64_t room = h->body_max - h->body_bytes;
    size_t n = len < room ? len : (size_t)room;
    h->body_bytes += n;
    if (n < len)
        fail(h, ERR_TOOBIG, "body larger than the limit");
    return n;
}

static int hex_value(unsigned char c)
{
    if (is_digit(c))
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool on_chunk_size(struct http1 *h, unsigned char c)
{
    int digit = hex_value(c);
    if (digit >= 0) {
        /* Zeros in front count too: without end, they would be a way to keep
         * us busy. */
        if (h->n_digits == CHUNK_DIGITS_MAX)
            return fail(h, ERR_BAD, "chunk size overflows");
        h->n_digits++;
        h->body_left = h->body_left << 4 | (unsigned)digit;
    } else if (h->n_digits && c == '\r') {
        h->step = STEP_CHUNK_SIZE_LF;
    } else if (h->n_digits && c == ';') {
        h->step = STEP_CHUNK_EXT;
    } else {
        return fail(h, ERR_BAD, "malformed chunk size");
    }
    return true;
}

static bool on_chunk_ext(struct http1 *h, unsigned char c)
{
    if (c == '\r')
        h->step = STEP_CHUNK_SIZE_LF;
    else if ((c < 0x20 && c != '\t') || c >= 0x7f)
        return fail(h, ERR_BAD, "malformed chunk extension");
    else if (h->ext_bytes++ == HTTP1_EXT_MAX)
        return fail(h, ERR_TOOBIG, "chunk extensions larger than the limit");
    return true;
}

static bool on_chunk_size_lf(struct http1 *h, unsigned char c)
{
    if (c != '\n')
        return fail(h, ERR_BAD, "malformed end of a chunk size");
    if (h->body_left > h->body_max - h->body_bytes)
        return fail(h, ERR_TOOBIG, "body larger than the limit");
    h->step = h->body_left ? STEP_CHUNK_DATA : STEP_TRAILERS;
    return true;
}

static bool on_chunk_data_end(struct http1 *h, unsigned char c)
{
    bool is_cr = h->step == STEP_CHUNK_DATA_CR;
    if (c != (is_cr ? '\r' : '\n'))
        return fail(h, ERR_BAD, "malformed end of a chunk");
    h->step = is_cr ? STEP_CHUNK_DATA_LF : STEP_CHUNK_SIZE;
    h->n_digits = 0;
    return true;
}

/* Takes at least one byte, or fails. */
static size_t feed_some(struct http1 *h, const char *data, size_t len)
{
    unsigned char c = (unsigned char)data[0];
    switch ((enum step)h->step) {
    case STEP_START:
    case STEP_START_SKIPPED:
    case STEP_FIELDS:
    case STEP_TRAILERS:
        return feed_line(h, data, len);
    case STEP_LENGTH:
    case STEP_CHUNK_DATA:
        return feed_counted(h, len);
    case STEP_CLOSE:
        return feed_until_close(h, len);
    case STEP_CHUNK_SIZE:
        on_chunk_size(h, c);
        break;
    case STEP_CHUNK_EXT:
        on_chunk_ext(h, c);
        break;
    case STEP_CHUNK_SIZE_LF:
        on_chunk_size_lf(h, c);
        break;
    case STEP_CHUNK_DATA_CR:
    case STEP_CHUNK_DATA_LF:
        on_chunk_data_end(h, c);
        break;
    }
    return 1;
}

size_t http1_feed(struct http1 *h, const void *data, size_t len)
{
    const char *p = data;
    size_t used = 0;
    while (used < len && (h->state == HTTP1_HEAD || h->state == HTTP1_BODY))
        used += feed_some(h, p + used, len - used);
    return used;
}

enum http1_state http1_eof(struct http1 *h)
{
    bool is_head = h->state == HTTP1_HEAD && http1_begun(h);
    if (h->state == HTTP1_BODY && h->step == STEP_CLOSE)
        h->state = HTTP1_DONE;
    else if (h->state == HTTP1_BODY)
        fail(h, ERR_TRUNC, "closed inside the body");
    else if (is_head)
        fail(h, ERR_TRUNC, "closed inside the head");
    return h->state;
}

bool http1_field(const struct http1 *h, const char *name,
                 struct http1_text *value)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (f->name_len != len || memcmp(h->head + f->name, name, len))
            continue;
        *value = (struct http1_text){h->head + f->value, f->value_len};
        return true;
    }
    return false;
}
