#include "prober/control_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prober/cli_json.h"

#define DEPTH_MAX    4 /* it is flat: more cannot be right */
#define MS_NS        1000000
#define PER_ZONE_MAX 16

static const char *const keys[] = {
    "target", "protocol",    "mode",       "from",    "nodes_per_zone",
    "count",  "interval_ms", "timeout_ms", "service", NULL,
};

/* The library descends with each bracket; how far is decided here. Brackets
 * within strings are none. */
static bool is_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool is_string = false;
    bool is_escaped = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (is_escaped || is_string) {
            is_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        is_string = c == '"';
        if ((c == '{' || c == '[') && ++depth > DEPTH_MAX)
            return true;
        if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return false;
}

/* What is repeated of a stranger's text goes to somebody's terminal. */
static void make_plain(struct errmsg *msg)
{
    for (size_t i = 0; msg && msg->text[i]; i++) {
        if (msg->text[i] < 0x20 || msg->text[i] > 0x7e)
            msg->text[i] = '?';
    }
}

/* A text of this key, "" if there is none; NULL with `msg` if it is none. */
static const char *get_text(const struct json_t *root, const char *key,
                            struct errmsg *msg)
{
    const struct json_t *v = cli_json_get(root, key);
    if (!v)
        return "";
    const char *text = cli_json_text(v);
    if (!text)
        errmsg_set(msg, "%s: has to be a text", key);
    return text;
}

static int copy_text(const struct json_t *root, const char *key, char *dst,
                     size_t size, struct errmsg *msg)
{
    const char *text = get_text(root, key, msg);
    if (!text)
        return ERR_BAD;
    size_t len = strlen(text);
    if (len >= size) {
        errmsg_set(msg, "%s: is longer than %zu bytes", key, size - 1);
        return ERR_BAD;
    }
    memcpy(dst, text, len + 1);
    return 0;
}

/* A whole number within [min, max]; *v stays if there is none. */
static int get_number(const struct json_t *root, const char *key, int64_t min,
                      int64_t max, int64_t *v, struct errmsg *msg)
{
    const struct json_t *given = cli_json_get(root, key);
    int64_t n = 0;
    if (!given)
        return 0;
    if (!cli_json_integer(given, &n) || n < min || n > max) {
        errmsg_set(msg,
                   "%s: has to be a whole number from %" PRId64 " to %" PRId64,
                   key, min, max);
        return ERR_BAD;
    }
    *v = n;
    return 0;
}

static int get_protocol(const struct json_t *root, struct oneoff_request *r,
                        struct errmsg *msg)
{
    const char *text = get_text(root, "protocol", msg);
    if (!text)
        return ERR_BAD;
    int protocol = protocol_parse(text);
    r->is_auto = !text[0] || strcmp(text, "auto") == 0;
    if (!r->is_auto && protocol < 0) {
        errmsg_set(msg, "protocol: has to be http1, grpc or auto");
        return ERR_BAD;
    }
    r->protocol = r->is_auto ? 0 : (uint8_t)protocol;
    return 0;
}

static int get_mode(const struct json_t *root, struct oneoff_request *r,
                    struct errmsg *msg)
{
    const char *text = get_text(root, "mode", msg);
    if (!text)
        return ERR_BAD;
    int mode = text[0] ? mode_parse(text) : MODE_COLD;
    if (mode < 0) {
        errmsg_set(msg, "mode: has to be cold or warm");
        return ERR_BAD;
    }
    r->mode = (uint8_t)mode;
    return 0;
}

static int get_from(const struct json_t *root, struct remote_from *from,
                    struct errmsg *msg)
{
    const char *text = get_text(root, "from", msg);
    if (!text)
        return ERR_BAD;
    if (remote_from_parse(from, text[0] ? text : "self")) {
        errmsg_set(msg, "from: has to be self, all-zones, zone:NAME or the "
                        "name of a node");
        return ERR_BAD;
    }
    return 0;
}

static int get_numbers(const struct json_t *root, struct inquiry_ask *ask,
                       struct errmsg *msg)
{
    struct oneoff_request *r = &ask->request;
    int64_t per_zone = 1;
    int64_t count = r->count;
    int64_t interval_ms = (int64_t)(r->interval_ns / MS_NS);
    int64_t timeout_ms = (int64_t)(r->timeout_ns / MS_NS);
    if (get_number(root, "nodes_per_zone", 1, PER_ZONE_MAX, &per_zone, msg) ||
        get_number(root, "count", 1, ONEOFF_COUNT_MAX, &count, msg) ||
        get_number(root, "interval_ms", ONEOFF_INTERVAL_MIN_NS / MS_NS,
                   ONEOFF_INTERVAL_MAX_NS / MS_NS, &interval_ms, msg) ||
        get_number(root, "timeout_ms", ONEOFF_TIMEOUT_MIN_NS / MS_NS,
                   ONEOFF_TIMEOUT_MAX_NS / MS_NS, &timeout_ms, msg))
        return ERR_BAD;
    ask->per_zone = (unsigned)per_zone;
    r->count = (uint32_t)count;
    r->interval_ns = (uint64_t)interval_ms * MS_NS;
    r->timeout_ns = (uint64_t)timeout_ms * MS_NS;
    return 0;
}

static int read_root(const struct json_t *root, struct inquiry_ask *ask,
                     struct errmsg *msg)
{
    struct oneoff_request *r = &ask->request;
    if (!cli_json_is_object(root)) {
        errmsg_set(msg, "the body has to be a JSON object");
        return ERR_BAD;
    }
    const char *unknown = cli_json_unknown_key(root, keys);
    if (unknown) {
        errmsg_set(msg, "%.64s: there is no such key", unknown);
        return ERR_BAD;
    }
    if (!cli_json_get(root, "target")) {
        errmsg_set(msg, "target: is missing");
        return ERR_BAD;
    }
    if (copy_text(root, "target", r->target, sizeof(r->target), msg) ||
        copy_text(root, "service", r->service, sizeof(r->service), msg) ||
        get_protocol(root, r, msg) || get_mode(root, r, msg) ||
        get_from(root, &ask->from, msg) || get_numbers(root, ask, msg))
        return ERR_BAD;
    return 0;
}

int control_request_parse(const void *body, size_t len, struct inquiry_ask *ask,
                          struct errmsg *msg)
{
    struct inquiry_ask read = *ask;
    if (len > CONTROL_REQUEST_MAX) {
        errmsg_set(msg, "the body is longer than %d bytes",
                   CONTROL_REQUEST_MAX);
        return ERR_TOOBIG;
    }
    if (len == 0 || is_deep(body, len)) {
        errmsg_set(msg, len == 0 ? "there is no body"
                                 : "the body is nested too deeply");
        return ERR_BAD;
    }
    struct json_t *root = cli_json_open(body, len, msg);
    oneoff_request_init(&read.request);
    read.per_zone = 1;
    int err = root ? read_root(root, &read, msg) : ERR_BAD;
    cli_json_close(root);
    if (err)
        make_plain(msg);
    else
        *ask = read;
    return err;
}
