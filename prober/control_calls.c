#include "prober/control_calls.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/control_pb.h"
#include "prober/reflection.h"

#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))
#define NEVER        UINT64_MAX
#define HEAD_SIZE    5    /* of a gRPC message */
#define MESSAGES_MAX 16   /* of one call in one turn */
#define KEPT_MAX     4096 /* larger buffers are freed when empty */
#define TEXT_MAX     1024 /* of a grpc-message, encoded */

enum kind { PROBE, WATCH, REFLECTION };

/* What making the next message came to. */
enum made { MADE_ONE, MADE_NOTHING, MADE_END };

struct control_call {
    struct control_call *next;
    struct control_calls *owner;
    enum kind kind;
    int32_t stream_id;
    bool has_begun;            /* response HEADERS were sent */
    struct wr out;             /* one message, framed */
    size_t out_pos;            /* handed on of it */
    uint64_t deadline_ns;      /* the client's */
    uint64_t blocked_since_ns; /* NEVER: is not */
    struct inquiry *inquiry;
    bool is_known;          /* WATCH: the service exists */
    int told;               /* WATCH: what was said last, -1: nothing */
    uint64_t idle_since_ns; /* REFLECTION: no question since */
    enum grpc_status status;
    const char *message; /* with MADE_END */
};

struct control_calls {
    struct control_calls_config config;
    struct h2_server *h2;
    struct control_call *first;
    uint64_t look_ns; /* when health is looked at again */
};

struct control_calls *control_calls_open(const struct control_calls_config *c)
{
    struct control_calls *cs = calloc(1, sizeof(*cs));
    if (!cs)
        return NULL;
    cs->config = *c;
    cs->h2 = httpd_h2_server(c->session);
    return cs;
}

static void free_call(struct control_call *c)
{
    if (c->inquiry)
        inquiry_close(c->inquiry);
    wr_fini(&c->out);
    free(c);
}

void control_calls_close(struct control_calls *cs)
{
    if (!cs)
        return;
    while (cs->first) {
        struct control_call *c = cs->first;
        cs->first = c->next;
        free_call(c);
    }
    free(cs);
}

static struct control_call *add(struct control_calls *cs, enum kind kind,
                                int32_t stream_id, uint64_t deadline_ns)
{
    struct control_call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->owner = cs;
    c->kind = kind;
    c->stream_id = stream_id;
    c->deadline_ns = deadline_ns;
    c->blocked_since_ns = NEVER;
    c->told = -1;
    c->idle_since_ns = NEVER;
    wr_init_grow(&c->out, HEAD_SIZE + CONTROL_PB_EVENT_MAX);
    c->next = cs->first;
    cs->first = c;
    return c;
}

struct control_call *control_calls_watch(struct control_calls *cs,
                                         const struct h2_server_request *r,
                                         bool is_known, uint64_t deadline_ns)
{
    struct control_call *c = add(cs, WATCH, r->stream_id, deadline_ns);
    if (c)
        c->is_known = is_known;
    return c;
}

struct control_call *control_calls_reflect(struct control_calls *cs,
                                           const struct h2_server_request *r,
                                           uint64_t now_ns,
                                           uint64_t deadline_ns)
{
    struct control_call *c = add(cs, REFLECTION, r->stream_id, deadline_ns);
    if (c)
        c->idle_since_ns = now_ns;
    return c;
}

struct control_call *control_calls_probe(struct control_calls *cs,
                                         const struct h2_server_request *r,
                                         uint64_t deadline_ns)
{
    return add(cs, PROBE, r->stream_id, deadline_ns);
}

void control_call_take(struct control_call *c, struct inquiry *inquiry)
{
    assert(c->kind == PROBE && !c->inquiry);
    c->inquiry = inquiry;
}

void control_call_wake(void *call)
{
    struct control_call *c = call;
    httpd_h2_wake(c->owner->config.session);
}

void control_call_drop(struct control_call *c)
{
    struct control_call **at = &c->owner->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free_call(c);
}

size_t control_calls_count(const struct control_calls *cs)
{
    size_t n = 0;
    for (const struct control_call *c = cs->first; c; c = c->next)
        n++;
    return n;
}

size_t control_calls_reflections(const struct control_calls *cs)
{
    size_t n = 0;
    for (const struct control_call *c = cs->first; c; c = c->next)
        n += c->kind == REFLECTION;
    return n;
}

/* ---- answers ---- */

static const struct h2_field head_fields[] = {
    {"content-type", "application/grpc"},
    {"grpc-accept-encoding", "identity"},
};

/* Status and message as trailers, in one HEADERS frame with the head if there
 * was none yet. What cannot be sent is lost with its stream. */
static int send_end(struct h2_server *h2, int32_t stream_id, bool has_begun,
                    enum grpc_status status, const char *message)
{
    char code[8], text[TEXT_MAX];
    struct wr w;
    snprintf(code, sizeof(code), "%d", (int)status);
    wr_init_fixed(&w, text, sizeof(text) - 1);
    grpc_encode_message(message, &w);
    text[w.len] = '\0';

    struct h2_field trailers[] = {
        {"grpc-status", code},
        {"grpc-message", text},
    };
    struct h2_answer a = {
        .status = 200,
        .fields = head_fields,
        .n_fields = COUNT(head_fields),
        .trailers = trailers,
        .n_trailers = message[0] ? 2 : 1,
        .is_trailers_only = true,
        .end = true,
    };
    return has_begun ? h2_server_more(h2, stream_id, &a)
                     : h2_server_respond(h2, stream_id, &a);
}

void control_call_refuse(struct h2_server *h2, int32_t stream_id,
                         enum grpc_status status, const char *message)
{
    if (send_end(h2, stream_id, false, status, message))
        h2_server_cancel(h2, stream_id);
}

/* Hand on what is in c->out, or as much as the stream takes. Returns 0 when
 * all of it is, ERR_BUSY, or that the stream is gone. */
static int flush(struct control_call *c, uint64_t now_ns)
{
    struct h2_server *h2 = c->owner->h2;
    while (c->out_pos < c->out.len) {
        size_t left = c->out.len - c->out_pos;
        struct h2_answer a = {
            .status = 200,
            .fields = head_fields,
            .n_fields = COUNT(head_fields),
            .body = c->out.data + c->out_pos,
            .body_len = left < H2_ANSWER_BODY_MAX ? left : H2_ANSWER_BODY_MAX,
        };
        int err = c->has_begun ? h2_server_more(h2, c->stream_id, &a)
                               : h2_server_respond(h2, c->stream_id, &a);
        if (err == ERR_TOOBIG) {
            if (c->blocked_since_ns == NEVER)
                c->blocked_since_ns = now_ns;
            return ERR_BUSY;
        }
        if (err)
            return err;
        c->has_begun = true;
        c->blocked_since_ns = NEVER;
        c->out_pos += a.body_len;
    }
    c->out_pos = 0;
    wr_reset(&c->out);
    if (c->out.size > KEPT_MAX) {
        wr_fini(&c->out);
        wr_init_grow(&c->out, HEAD_SIZE + CONTROL_PB_EVENT_MAX);
    }
    return 0;
}

/* ---- messages ---- */

static enum made make_end(struct control_call *c, enum grpc_status status,
                          const char *message)
{
    c->status = status;
    c->message = message;
    return MADE_END;
}

static void begin_message(struct control_call *c)
{
    static const uint8_t head[HEAD_SIZE];
    wr_bytes(&c->out, head, sizeof(head));
}

static enum made end_message(struct control_call *c)
{
    if (wr_err(&c->out))
        return make_end(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    uint32_t len = (uint32_t)(c->out.len - HEAD_SIZE);
    for (unsigned i = 0; i < 4; i++)
        c->out.data[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    return MADE_ONE;
}

static enum made make_event(struct control_call *c)
{
    struct inquiry_event event;
    int rc = inquiry_next(c->inquiry, &event);
    if (rc == 0)
        return MADE_NOTHING;
    if (rc < 0)
        return make_end(c, GRPC_OK, "");
    if (!c->has_begun && inquiry_is_denied(c->inquiry))
        return make_end(c, GRPC_PERMISSION_DENIED,
                        inquiry_refusal_text(INQUIRY_DENIED));
    begin_message(c);
    control_pb_write_event(&c->out, &event);
    return end_message(c);
}

static enum made make_health(struct control_call *c)
{
    const struct control_calls_config *config = &c->owner->config;
    enum grpc_serving now = GRPC_SERVING;
    if (!c->is_known)
        now = GRPC_SERVICE_UNKNOWN;
    else if (config->is_draining(config->arg))
        now = GRPC_NOT_SERVING;
    if (c->told == (int)now)
        return MADE_NOTHING;
    c->told = (int)now;
    grpc_write_health_response(&c->out, now);
    return end_message(c);
}

/* The next question, if all of it is there. */
static enum made next_question(struct control_call *c, struct span *question)
{
    size_t len;
    bool is_end;
    const uint8_t *body =
        h2_server_body(c->owner->h2, c->stream_id, &len, &is_end);
    if (len == 0 && is_end)
        return make_end(c, GRPC_OK, "");
    struct rd r;
    rd_init(&r, body, len);
    uint8_t flag = rd_u8(&r);
    uint32_t n = rd_be32(&r);
    if (len > 0 && flag != 0)
        return make_end(c, GRPC_INTERNAL, "a compressed message");
    if (!rd_err(&r) && n > GRPC_MESSAGE_MAX)
        return make_end(c, GRPC_RESOURCE_EXHAUSTED, "message too large");
    const uint8_t *message = rd_bytes(&r, n);
    if (rd_err(&r))
        return is_end ? make_end(c, GRPC_INTERNAL, "half a message")
                      : MADE_NOTHING;
    *question = span_of(message, n);
    return MADE_ONE;
}

static enum made make_reflection(struct control_call *c, uint64_t now_ns)
{
    struct span question;
    enum made made = next_question(c, &question);
    if (made == MADE_NOTHING &&
        now_ns - c->idle_since_ns >= c->owner->config.limits->answer_timeout_ns)
        return make_end(c, GRPC_DEADLINE_EXCEEDED, "no question for too long");
    if (made != MADE_ONE)
        return made;
    begin_message(c);
    int err = reflection_answer(reflection_descriptors, question, &c->out);
    h2_server_consume(c->owner->h2, c->stream_id, HEAD_SIZE + question.len);
    c->idle_since_ns = now_ns;
    if (err)
        return make_end(c, GRPC_INTERNAL, "malformed request");
    return end_message(c);
}

static enum made make(struct control_call *c, uint64_t now_ns)
{
    switch (c->kind) {
    case PROBE:
        return make_event(c);
    case WATCH:
        return make_health(c);
    case REFLECTION:
        return make_reflection(c, now_ns);
    }
    return MADE_NOTHING;
}

/* ---- going on ---- */

static uint64_t blocked_deadline(const struct control_call *c)
{
    return c->blocked_since_ns == NEVER
               ? NEVER
               : c->blocked_since_ns +
                     c->owner->config.limits->write_timeout_ns;
}

/* Ends the call. */
static void finish(struct control_call *c, enum grpc_status status,
                   const char *message)
{
    if (send_end(c->owner->h2, c->stream_id, c->has_begun, status, message))
        h2_server_cancel(c->owner->h2, c->stream_id);
    control_call_drop(c);
}

/* Is it over for a reason that is not its own? */
static bool is_cut_off(struct control_call *c, uint64_t now_ns)
{
    struct h2_server *h2 = c->owner->h2;
    if (!h2_server_is_open(h2, c->stream_id)) {
        control_call_drop(c);
        return true;
    }
    if (now_ns >= c->deadline_ns) {
        finish(c, GRPC_DEADLINE_EXCEEDED, "the time of the call is over");
        return true;
    }
    if (now_ns >= blocked_deadline(c)) {
        c->owner->config.stats->timeouts++;
        h2_server_cancel(h2, c->stream_id);
        control_call_drop(c);
        return true;
    }
    return false;
}

/* Returns whether there may be more to do right now. */
static bool go_on(struct control_call *c, uint64_t now_ns)
{
    for (unsigned n = 0; n < MESSAGES_MAX; n++) {
        int err = flush(c, now_ns);
        if (err == ERR_BUSY)
            return false;
        if (err) {
            h2_server_cancel(c->owner->h2, c->stream_id);
            control_call_drop(c);
            return false;
        }
        enum made made = make(c, now_ns);
        if (made == MADE_END)
            finish(c, c->status, c->message);
        if (made != MADE_ONE)
            return false;
    }
    return true;
}

bool control_calls_work(struct control_calls *cs, uint64_t now_ns)
{
    bool has_more = false;
    cs->look_ns = now_ns + CONTROL_CALLS_LOOK_NS;
    for (struct control_call *c = cs->first, *next; c; c = next) {
        next = c->next;
        if (!is_cut_off(c, now_ns))
            has_more |= go_on(c, now_ns);
    }
    return has_more;
}

static uint64_t call_deadline(const struct control_call *c)
{
    const struct control_calls *cs = c->owner;
    uint64_t due_ns = c->deadline_ns;
    uint64_t blocked_ns = blocked_deadline(c);
    if (blocked_ns < due_ns)
        due_ns = blocked_ns;
    if (blocked_ns != NEVER)
        return due_ns;
    uint64_t own_ns = NEVER;
    if (c->kind == WATCH)
        own_ns = cs->look_ns;
    else if (c->kind == REFLECTION)
        own_ns = c->idle_since_ns + cs->config.limits->answer_timeout_ns;
    return own_ns < due_ns ? own_ns : due_ns;
}

uint64_t control_calls_deadline(const struct control_calls *cs)
{
    uint64_t due_ns = NEVER;
    for (const struct control_call *c = cs->first; c; c = c->next) {
        uint64_t call_ns = call_deadline(c);
        if (call_ns < due_ns)
            due_ns = call_ns;
    }
    return due_ns;
}
