#include "prober/oneoff.h"

#include <assert.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

void oneoff_request_init(struct oneoff_request *r)
{
    *r = (struct oneoff_request){
        .is_auto = true,
        .mode = MODE_COLD,
        .count = 1,
        .interval_ns = NS_PER_S,
        .timeout_ns = 5 * NS_PER_S,
    };
}

/* ---- checking ---- */

static bool is_name(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789._-";
    return text[0] && text[strspn(text, allowed)] == '\0';
}

/* Graphic ASCII: it goes into a protobuf string and a log line. */
static bool is_graphic(const char *text)
{
    for (; *text; text++) {
        if (*text < 0x21 || *text > 0x7e)
            return false;
    }
    return true;
}

static int check_target(const struct oneoff_request *r, struct errmsg *msg)
{
    struct url url;

    if (!memchr(r->target, 0, sizeof(r->target)) || !r->target[0]) {
        errmsg_set(msg, "target: must be a URL or a name");
        return ERR_BAD;
    }
    if (!strstr(r->target, "://")) {
        if (is_name(r->target))
            return 0;
        errmsg_set(msg, "target: no URL (http:// https:// grpc:// grpcs://), "
                        "and not a node's name either");
        return ERR_BAD;
    }
    if (url_parse(&url, r->target, msg)) {
        errmsg_wrap(msg, "target");
        return ERR_BAD;
    }
    bool is_grpc = url.scheme == URL_GRPC || url.scheme == URL_GRPCS;
    if (is_grpc && !r->is_auto && r->protocol != PROTOCOL_GRPC) {
        errmsg_set(msg, "protocol: a grpc URL is not probed over http1");
        return ERR_BAD;
    }
    return 0;
}

static int check_service(const struct oneoff_request *r, struct errmsg *msg)
{
    if (!memchr(r->service, 0, sizeof(r->service)) || !is_graphic(r->service)) {
        errmsg_set(msg, "service: at most %d visible ASCII characters",
                   ONEOFF_SERVICE_SIZE - 1);
        return ERR_BAD;
    }
    if (r->service[0] && !r->is_auto && r->protocol != PROTOCOL_GRPC) {
        errmsg_set(msg, "service: is for gRPC");
        return ERR_BAD;
    }
    return 0;
}

static int check_range(const char *field, uint64_t value, uint64_t min,
                       uint64_t max, const char *range, struct errmsg *msg)
{
    if (value >= min && value <= max)
        return 0;
    errmsg_set(msg, "%s: must be %s", field, range);
    return ERR_BAD;
}

int oneoff_request_check(const struct oneoff_request *r, struct errmsg *msg)
{
    int rc =
        check_range("count", r->count, 1, ONEOFF_COUNT_MAX, "1 to 1000", msg);
    if (!rc)
        rc = check_range("interval", r->interval_ns, ONEOFF_INTERVAL_MIN_NS,
                         ONEOFF_INTERVAL_MAX_NS, "10 ms to 1 min", msg);
    if (!rc)
        rc = check_range("timeout", r->timeout_ns, ONEOFF_TIMEOUT_MIN_NS,
                         ONEOFF_TIMEOUT_MAX_NS, "1 ms to 10 s", msg);
    if (!rc)
        rc =
            check_range("count times interval", (r->count - 1) * r->interval_ns,
                        0, ONEOFF_DURATION_MAX_NS, "at most 10 min", msg);
    if (!rc)
        rc = check_range("protocol", r->is_auto ? 0 : r->protocol, 0,
                         PROTOCOL_N - 1, "http1, grpc or auto", msg);
    if (!rc)
        rc = check_range("mode", r->mode, 0, MODE_N - 1, "cold or warm", msg);
    if (!rc)
        rc = check_target(r, msg);
    return rc ? rc : check_service(r, msg);
}

uint64_t oneoff_request_lasts_ns(const struct oneoff_request *r)
{
    return (r->count - 1) * r->interval_ns + r->timeout_ns;
}

/* ---- states ---- */

const char *oneoff_state_name(enum oneoff_state s)
{
    static const char *const names[ONEOFF_STATE_N] = {
        [ONEOFF_WAITING] = "waiting",
        [ONEOFF_RUNNING] = "running",
        [ONEOFF_DONE] = "done",
        [ONEOFF_CANCELLED] = "cancelled",
        [ONEOFF_DENIED] = "denied",
        [ONEOFF_BUSY] = "busy",
        [ONEOFF_REFUSED] = "refused",
        [ONEOFF_BAD_TARGET] = "bad_target",
        [ONEOFF_UNREACHABLE] = "unreachable",
        [ONEOFF_FAILED] = "failed",
    };
    return (unsigned)s < ONEOFF_STATE_N ? names[s] : "?";
}

bool oneoff_state_is_end(enum oneoff_state s)
{
    return s != ONEOFF_WAITING && s != ONEOFF_RUNNING;
}

/* ---- pacing ---- */

void oneoff_pace_init(struct oneoff_pace *p, const struct oneoff_request *r,
                      uint64_t now_ns)
{
    *p = (struct oneoff_pace){
        .interval_ns = r->interval_ns,
        .timeout_ns = r->timeout_ns,
        .next_ns = now_ns,
        .left = r->count,
        .is_serial = r->mode == MODE_WARM,
    };
}

void oneoff_pace_skip(struct oneoff_pace *p, uint64_t now_ns)
{
    /* What could not start within its own timeout would have been late. */
    while (p->left && p->next_ns + p->timeout_ns < now_ns) {
        p->left--;
        p->missed++;
        p->next_ns += p->interval_ns;
    }
}

bool oneoff_pace_take(struct oneoff_pace *p, uint64_t now_ns,
                      uint64_t *intended_ns)
{
    oneoff_pace_skip(p, now_ns);
    if (!p->left || p->next_ns > now_ns || (p->is_serial && p->in_flight))
        return false;
    *intended_ns = p->next_ns;
    p->next_ns += p->interval_ns;
    p->left--;
    p->in_flight++;
    return true;
}

void oneoff_pace_put_back(struct oneoff_pace *p, uint64_t intended_ns)
{
    assert(p->in_flight);
    p->in_flight--;
    p->left++;
    p->next_ns = intended_ns;
}

void oneoff_pace_ended(struct oneoff_pace *p)
{
    assert(p->in_flight);
    p->in_flight--;
}

void oneoff_pace_stop(struct oneoff_pace *p)
{
    p->left = 0;
}

uint64_t oneoff_pace_due(const struct oneoff_pace *p)
{
    bool is_waiting = p->is_serial && p->in_flight;
    return p->left && !is_waiting ? p->next_ns : UINT64_MAX;
}

bool oneoff_pace_is_done(const struct oneoff_pace *p)
{
    return !p->left && !p->in_flight;
}
