#include "prober/control_pb.h"

#include <assert.h>
#include <string.h>

#include "proto/grpc.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/utf8.h"

#define NS_PER_MS  UINT64_C(1000000)
#define FROM_SIZE  160  /* "zone:" and a name */
#define TEXT_MAX   3072 /* of one text that is written */
#define WORKER_MAX 4096 /* an Executor: names, 16 Quantiles */

/* Field numbers of proto/control.proto. */
enum {
    EVENT_SAMPLE = 1,
    EVENT_EXECUTOR,
    EVENT_SUMMARY,
};
enum {
    REQUEST_TARGET = 1,
    REQUEST_PROTOCOL,
    REQUEST_MODE,
    REQUEST_FROM,
    REQUEST_NODES_PER_ZONE,
    REQUEST_COUNT,
    REQUEST_INTERVAL_MS,
    REQUEST_TIMEOUT_MS,
    REQUEST_SERVICE,
};
enum {
    SAMPLE_FROM_NODE = 1,
    SAMPLE_FROM_ZONE,
    SAMPLE_TO_NODE,
    SAMPLE_TO_ZONE,
    SAMPLE_TARGET,
    SAMPLE_PROTOCOL,
    SAMPLE_MODE,
    SAMPLE_ADDRESS,
    SAMPLE_LOCAL_ADDRESS,
    SAMPLE_STARTED_AT,
    SAMPLE_OUTCOME,
    SAMPLE_FAILED_PHASE,
    SAMPLE_ERROR,
    SAMPLE_CLOCK,
    SAMPLE_PHASES,
    SAMPLE_TOTAL_NS,
    SAMPLE_SERVER_NS,
    SAMPLE_LAG_NS,
    SAMPLE_START_LAG_NS,
    SAMPLE_RTT_NS,
    SAMPLE_RETRANSMITS,
    SAMPLE_HTTP_STATUS,
    SAMPLE_GRPC_STATUS,
    SAMPLE_GRPC_SERVING,
    SAMPLE_TLS_VERSION,
    SAMPLE_TLS_CIPHER,
    SAMPLE_TLS_ALPN,
    SAMPLE_HTTP_VERSION,
    SAMPLE_TLS_NOT_AFTER_UNIX_S,
    SAMPLE_RECONNECTED,
};
enum {
    EXECUTOR_NODE = 1,
    EXECUTOR_ZONE,
    EXECUTOR_STATE,
    EXECUTOR_ATTEMPTS,
    EXECUTOR_OK,
    EXECUTOR_MISSED,
    EXECUTOR_PHASES,
    EXECUTOR_BASELINE,
    EXECUTOR_BASELINE_S,
    EXECUTOR_LOST,
};
enum {
    SUMMARY_ID = 1,
    SUMMARY_TARGET,
    SUMMARY_ATTEMPTS,
    SUMMARY_OK,
    SUMMARY_FAILED,
    SUMMARY_CANCELLED,
    SUMMARY_OUTCOMES,
    SUMMARY_EXECUTORS,
    SUMMARY_PROTOCOL,
    SUMMARY_MODE,
};
enum { MAP_KEY = 1, MAP_VALUE = 2 };

/* ---- reading ---- */

static bool is_utf8(struct span text)
{
    for (size_t i = 0; i < text.len;) {
        size_t bad;
        size_t n = utf8_len(text.data + i, text.len - i, &bad);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static struct span *text_of(struct control_pb_request *r, uint32_t number)
{
    switch (number) {
    case REQUEST_TARGET:
        return &r->target;
    case REQUEST_PROTOCOL:
        return &r->protocol;
    case REQUEST_MODE:
        return &r->mode;
    case REQUEST_FROM:
        return &r->from;
    case REQUEST_SERVICE:
        return &r->service;
    default:
        return NULL;
    }
}

static uint32_t *number_of(struct control_pb_request *r, uint32_t number)
{
    switch (number) {
    case REQUEST_NODES_PER_ZONE:
        return &r->nodes_per_zone;
    case REQUEST_COUNT:
        return &r->count;
    case REQUEST_INTERVAL_MS:
        return &r->interval_ms;
    case REQUEST_TIMEOUT_MS:
        return &r->timeout_ms;
    default:
        return NULL;
    }
}

int control_pb_read_request(struct span message, struct control_pb_request *r)
{
    struct control_pb_request got = {0};
    struct rd rd;
    rd_init(&rd, message.data, message.len);
    for (struct pb_field f; pb_next(&rd, &f);) {
        struct span *text = text_of(&got, f.number);
        uint32_t *number = number_of(&got, f.number);
        if (text && f.type == PB_BYTES) {
            *text = span_of(f.data, f.len);
            if (!is_utf8(*text))
                return ERR_BAD;
        } else if (number && f.type == PB_VARINT) {
            *number = (uint32_t)f.value; /* protobuf drops the rest, too */
        }
    }
    if (rd_err(&rd))
        return rd_err(&rd);
    *r = got;
    return 0;
}

/* A text that C can hold: short enough, no NUL in it. */
static int take_text(char *to, size_t size, struct span from, const char *field,
                     struct errmsg *msg)
{
    if (from.len >= size) {
        errmsg_set(msg, "%s: longer than %zu bytes", field, size - 1);
        return ERR_BAD;
    }
    if (from.len > 0 && memchr(from.data, 0, from.len)) {
        errmsg_set(msg, "%s: a NUL in it", field);
        return ERR_BAD;
    }
    if (from.len > 0)
        memcpy(to, from.data, from.len);
    to[from.len] = '\0';
    return 0;
}

static int take_protocol(struct oneoff_request *o, struct span text,
                         struct errmsg *msg)
{
    o->is_auto = text.len == 0 || span_is(text, "auto");
    if (o->is_auto)
        return 0;
    for (unsigned p = 0; p < PROTOCOL_N; p++) {
        if (span_is(text, protocol_name(p))) {
            o->protocol = (uint8_t)p;
            return 0;
        }
    }
    errmsg_set(msg, "protocol: has to be http1, grpc or auto");
    return ERR_BAD;
}

static int take_mode(struct oneoff_request *o, struct span text,
                     struct errmsg *msg)
{
    for (unsigned m = 0; m < MODE_N; m++) {
        if (span_is(text, mode_name(m)) || (text.len == 0 && m == MODE_COLD)) {
            o->mode = (uint8_t)m;
            return 0;
        }
    }
    errmsg_set(msg, "mode: has to be cold or warm");
    return ERR_BAD;
}

static int take_from(struct remote_from *from, struct span text,
                     struct errmsg *msg)
{
    char name[FROM_SIZE];
    if (text.len == 0)
        text = span_of_text("self");
    int err = take_text(name, sizeof(name), text, "from", msg);
    if (err)
        return err;
    if (remote_from_parse(from, name)) {
        errmsg_set(msg, "from: has to be self, all-zones, zone:NAME or the "
                        "name of a node");
        return ERR_BAD;
    }
    return 0;
}

int control_pb_ask(const struct control_pb_request *r, struct inquiry_ask *ask,
                   struct errmsg *msg)
{
    struct oneoff_request *o = &ask->request;
    oneoff_request_init(o);
    if (r->count > 0)
        o->count = r->count;
    if (r->interval_ms > 0)
        o->interval_ns = r->interval_ms * NS_PER_MS;
    if (r->timeout_ms > 0)
        o->timeout_ns = r->timeout_ms * NS_PER_MS;
    ask->per_zone = r->nodes_per_zone > 0 ? r->nodes_per_zone : 1;

    int err = take_text(o->target, sizeof(o->target), r->target, "target", msg);
    if (!err)
        err = take_text(o->service, sizeof(o->service), r->service, "service",
                        msg);
    if (!err)
        err = take_protocol(o, r->protocol, msg);
    if (!err)
        err = take_mode(o, r->mode, msg);
    if (!err)
        err = take_from(&ask->from, r->from, msg);
    return err;
}

/* ---- writing ---- */

static void put_text(struct wr *w, uint32_t number, const char *text)
{
    char clean[TEXT_MAX];
    if (!text || !text[0])
        return;
    utf8_clean(clean, sizeof(clean), text);
    pb_write_bytes(w, number, clean, strlen(clean));
}

/* Zero is proto3's default and left out. */
static void put_u64(struct wr *w, uint32_t number, uint64_t value)
{
    if (value > 0)
        pb_write_varint(w, number, value);
}

/* An `optional`: zero is a value, below it there is none. */
static void put_optional(struct wr *w, uint32_t number, int64_t value)
{
    if (value >= 0)
        pb_write_varint(w, number, (uint64_t)value);
}

static void put_part(struct wr *w, uint32_t number, const struct wr *part)
{
    if (wr_err(part) && !wr_err(w))
        w->err = wr_err(part);
    pb_write_bytes(w, number, part->data, part->len);
}

static void put_addr(struct wr *w, uint32_t number, const struct addr *a)
{
    char text[ADDR_TEXT_SIZE];
    if (a->family != ADDR_NONE)
        put_text(w, number, addr_format(a, text));
}

static void put_names(struct wr *w, const struct sample *s,
                      const struct sample_names *names)
{
    char time[JSON_TIME_SIZE];
    put_text(w, SAMPLE_FROM_NODE, names->from_node);
    put_text(w, SAMPLE_FROM_ZONE, names->from_zone);
    put_text(w, SAMPLE_TO_NODE, names->to_node);
    put_text(w, SAMPLE_TO_ZONE, names->to_zone);
    put_text(w, SAMPLE_TARGET, names->target);
    put_text(w, SAMPLE_PROTOCOL, protocol_name(s->protocol));
    put_text(w, SAMPLE_MODE, mode_name(s->mode));
    put_addr(w, SAMPLE_ADDRESS, &s->peer);
    put_addr(w, SAMPLE_LOCAL_ADDRESS, &s->local);
    put_text(w, SAMPLE_STARTED_AT, json_format_time(s->started_unix_ns, time));
}

static const char *clock_name(uint8_t clock)
{
    switch ((enum stamp_source)clock) {
    case STAMP_USER:
        return "user";
    case STAMP_KERNEL:
        return "kernel";
    case STAMP_NONE:
        break;
    }
    return NULL;
}

static void put_times(struct wr *w, const struct sample *s)
{
    uint8_t bytes[PHASE_N * 12];
    struct wr phases;
    wr_init_fixed(&phases, bytes, sizeof(bytes));
    for (unsigned p = 0; p < PHASE_N; p++)
        put_optional(&phases, p + 1, s->phases_ns[p]);
    put_part(w, SAMPLE_PHASES, &phases);
    put_optional(w, SAMPLE_TOTAL_NS, s->total_ns);
    put_optional(w, SAMPLE_SERVER_NS, s->server_ns);
    put_optional(w, SAMPLE_LAG_NS, s->lag_ns);
    put_optional(w, SAMPLE_START_LAG_NS, s->start_lag_ns);
    put_optional(w, SAMPLE_RTT_NS, s->rtt_ns);
    put_optional(w, SAMPLE_RETRANSMITS, s->retransmits);
}

static const char *http_version(const struct sample *s)
{
    if (s->http_status < 0)
        return NULL;
    if (s->protocol == PROTOCOL_GRPC)
        return "2";
    return s->http_minor ? "1.1" : "1.0";
}

static void put_replies(struct wr *w, const struct sample *s)
{
    put_optional(w, SAMPLE_HTTP_STATUS, s->http_status);
    put_optional(w, SAMPLE_GRPC_STATUS, s->grpc_status);
    if (s->grpc_serving >= 0)
        put_text(w, SAMPLE_GRPC_SERVING, grpc_serving_name(s->grpc_serving));
    put_text(w, SAMPLE_TLS_VERSION, s->tls_version);
    put_text(w, SAMPLE_TLS_CIPHER, s->tls_cipher);
    put_text(w, SAMPLE_TLS_ALPN, s->tls_alpn);
    put_text(w, SAMPLE_HTTP_VERSION, http_version(s));
    if (s->tls_not_after_unix_s > 0)
        put_optional(w, SAMPLE_TLS_NOT_AFTER_UNIX_S, s->tls_not_after_unix_s);
    if (s->mode == MODE_WARM)
        put_optional(w, SAMPLE_RECONNECTED, s->is_reconnected);
}

static void put_sample(struct wr *w, const struct sample *s,
                       const struct sample_names *names)
{
    put_names(w, s, names);
    put_text(w, SAMPLE_OUTCOME, outcome_name(s->outcome));
    if (s->failed_phase >= 0)
        put_text(w, SAMPLE_FAILED_PHASE,
                 series_name((unsigned)s->failed_phase));
    put_text(w, SAMPLE_ERROR, s->error);
    put_text(w, SAMPLE_CLOCK, clock_name(s->clock));
    put_times(w, s);
    put_replies(w, s);
}

/* An entry of a map is a message of its own: key and value. */
static void put_quantiles(struct wr *w, uint32_t number, const char *key,
                          const struct inquiry_phase *q)
{
    uint8_t value_bytes[64], entry_bytes[128];
    struct wr value, entry;
    wr_init_fixed(&value, value_bytes, sizeof(value_bytes));
    put_u64(&value, 1, q->count);
    put_u64(&value, 2, (uint64_t)q->p50_ns);
    put_u64(&value, 3, (uint64_t)q->p90_ns);
    put_u64(&value, 4, (uint64_t)q->p99_ns);
    put_u64(&value, 5, (uint64_t)q->max_ns);
    wr_init_fixed(&entry, entry_bytes, sizeof(entry_bytes));
    pb_write_bytes(&entry, MAP_KEY, key, strlen(key));
    put_part(&entry, MAP_VALUE, &value);
    put_part(w, number, &entry);
}

static struct inquiry_phase quantiles_of(const struct hist *h)
{
    return (struct inquiry_phase){
        .count = h->count,
        .p50_ns = (int64_t)hist_quantile(h, 0.5),
        .p90_ns = (int64_t)hist_quantile(h, 0.9),
        .p99_ns = (int64_t)hist_quantile(h, 0.99),
        .max_ns = (int64_t)h->max_ns,
    };
}

static void put_executor(struct wr *w, const struct inquiry_executor *x)
{
    put_text(w, EXECUTOR_NODE, x->node);
    put_text(w, EXECUTOR_ZONE, x->zone);
    put_text(w, EXECUTOR_STATE, oneoff_state_name(x->state));
    put_u64(w, EXECUTOR_ATTEMPTS, x->attempts);
    put_u64(w, EXECUTOR_OK, x->ok);
    put_u64(w, EXECUTOR_MISSED, x->missed);
    put_u64(w, EXECUTOR_LOST, x->lost);
    for (unsigned i = 0; i < SERIES_N; i++) {
        if (x->series[i].count == 0)
            continue;
        struct inquiry_phase q = quantiles_of(&x->series[i]);
        put_quantiles(w, EXECUTOR_PHASES, series_name(i), &q);
    }
    if (!x->has_baseline)
        return;
    for (unsigned i = 0; i < SERIES_N; i++) {
        if (x->baseline[i].count > 0)
            put_quantiles(w, EXECUTOR_BASELINE, series_name(i),
                          &x->baseline[i]);
    }
    put_u64(w, EXECUTOR_BASELINE_S, x->baseline_s);
}

static void put_executor_part(struct wr *w, uint32_t number,
                              const struct inquiry_executor *x)
{
    uint8_t bytes[WORKER_MAX];
    struct wr part;
    wr_init_fixed(&part, bytes, sizeof(bytes));
    put_executor(&part, x);
    put_part(w, number, &part);
}

static void put_outcome(struct wr *w, enum probe_outcome o, uint64_t count)
{
    uint8_t bytes[64];
    struct wr entry;
    wr_init_fixed(&entry, bytes, sizeof(bytes));
    put_text(&entry, MAP_KEY, outcome_name(o));
    pb_write_varint(&entry, MAP_VALUE, count);
    put_part(w, SUMMARY_OUTCOMES, &entry);
}

static void put_summary(struct wr *w, const struct inquiry_summary *s)
{
    put_text(w, SUMMARY_ID, s->id);
    put_text(w, SUMMARY_TARGET, s->target);
    put_u64(w, SUMMARY_ATTEMPTS, s->attempts);
    put_u64(w, SUMMARY_OK, s->ok);
    put_u64(w, SUMMARY_FAILED, s->failed);
    put_u64(w, SUMMARY_CANCELLED, s->is_cancelled);
    for (unsigned o = 0; o < OUTCOME_N; o++) {
        if (s->outcomes[o] > 0)
            put_outcome(w, o, s->outcomes[o]);
    }
    for (size_t i = 0; i < s->n_executors; i++)
        put_executor_part(w, SUMMARY_EXECUTORS, &s->executors[i]);
    put_text(w, SUMMARY_PROTOCOL, protocol_name(s->protocol));
    put_text(w, SUMMARY_MODE, mode_name(s->mode));
}

void control_pb_write_event(struct wr *w, const struct inquiry_event *e)
{
    struct wr part;
    wr_init_grow(&part, CONTROL_PB_EVENT_MAX - 16);
    switch (e->kind) {
    case INQUIRY_SAMPLE:
        put_sample(&part, &e->sample, &e->names);
        put_part(w, EVENT_SAMPLE, &part);
        break;
    case INQUIRY_EXECUTOR:
        put_executor(&part, e->executor);
        put_part(w, EVENT_EXECUTOR, &part);
        break;
    case INQUIRY_SUMMARY:
        put_summary(&part, e->summary);
        put_part(w, EVENT_SUMMARY, &part);
        break;
    }
    wr_fini(&part);
}
