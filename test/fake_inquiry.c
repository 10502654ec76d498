#include "test/fake_inquiry.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)

void fake_inquiry_add(struct inquiry *q, unsigned samples, bool is_over)
{
    q->samples += samples;
    q->is_over = q->is_over || is_over;
    q->wake(q->arg);
}

void fake_sample(struct sample *s, unsigned number)
{
    sample_init(s);
    s->protocol = number % 2 ? PROTOCOL_GRPC : PROTOCOL_HTTP1;
    s->clock = STAMP_KERNEL;
    s->started_unix_ns = UINT64_C(1767225600000000000); /* 2026-01-01 */
    addr_parse(&s->peer, "127.0.0.7:7443");
    addr_parse(&s->local, "127.0.0.5:40312");
    s->phases_ns[PHASE_DNS] = 0; /* measured, and took no time */
    s->phases_ns[PHASE_CONNECT] = 4 * MS;
    s->phases_ns[PHASE_LOCAL] = number;
    s->total_ns = sample_sum_ns(s);
    s->rtt_ns = 3 * MS;
    s->retransmits = 0;
    s->http_status = 200;
    s->http_minor = 1;
    snprintf(s->tls_version, sizeof(s->tls_version), "TLSv1.3");
    s->tls_not_after_unix_s = 1800000000;
    if (number % 2) {
        s->grpc_status = 0;
        s->grpc_serving = 1;
    }
}

unsigned inquiry_refusal_status(enum inquiry_refusal r)
{
    static const unsigned statuses[INQUIRY_REFUSAL_N] = {
        [INQUIRY_OK] = 200,        [INQUIRY_BAD] = 400,
        [INQUIRY_FORBIDDEN] = 403, [INQUIRY_DENIED] = 403,
        [INQUIRY_UNKNOWN] = 404,   [INQUIRY_RATE] = 429,
        [INQUIRY_BUSY] = 429,      [INQUIRY_NO_MESH] = 409,
        [INQUIRY_NO_AUDIT] = 503,  [INQUIRY_DRAINING] = 503,
        [INQUIRY_FAILED] = 500,
    };
    return statuses[r];
}

const char *inquiry_refusal_text(enum inquiry_refusal r)
{
    static const char *const texts[INQUIRY_REFUSAL_N] = {
        "",     "bad",     "forbidden", "denied",   "unknown", "rate",
        "busy", "no mesh", "no audit",  "draining", "failed"};
    return texts[r];
}

const char *inquiry_refusal_code(enum inquiry_refusal r)
{
    return r == INQUIRY_BAD ? "bad_request" : inquiry_refusal_text(r);
}

struct inquiry *inquiry_start(struct inquiries *all,
                              const struct inquiry_ask *ask,
                              void (*wake)(void *arg), void *arg,
                              enum inquiry_refusal *refusal, struct errmsg *msg)
{
    all->ask = *ask;
    snprintf(all->peer, sizeof(all->peer), "%s", ask->peer);
    if (all->on_start)
        all->on_start(all);
    *refusal = all->refusal;
    if (all->msg)
        errmsg_set(msg, "%s", all->msg);
    if (all->refusal)
        return NULL;
    struct inquiry *q = calloc(1, sizeof(*q));
    assert(q);
    *q = (struct inquiry){
        .all = all,
        .wake = wake,
        .arg = arg,
        .samples = all->samples,
        .is_over = all->is_over,
        .is_denied = all->is_denied,
    };
    all->latest = q;
    all->started++;
    return q;
}

const char *inquiry_id(const struct inquiry *q)
{
    (void)q;
    return "00112233445566778899aabbccddeeff";
}

/* Executors as long as they can be. */
static void summarise(struct inquiry *q, struct inquiry_event *out)
{
    static struct inquiry_executor executors[256];
    static struct inquiry_summary summary;
    for (size_t i = 0; i < q->all->n_executors; i++) {
        struct inquiry_executor *x = &executors[i];
        *x = (struct inquiry_executor){.state = ONEOFF_DONE, .attempts = 9};
        snprintf(x->node, sizeof(x->node), "node-%0120zu", i);
        snprintf(x->zone, sizeof(x->zone), "zone-%0120zu", i);
        x->has_baseline = true;
        x->baseline_s = 900;
        for (unsigned s = 0; s < SERIES_N; s++)
            x->baseline[s] = (struct inquiry_phase){1000, INT64_MAX, INT64_MAX,
                                                    INT64_MAX, INT64_MAX};
    }
    summary = (struct inquiry_summary){
        .id = inquiry_id(q),
        .target = "http://127.0.0.7/",
        .attempts = q->given,
        .ok = q->given,
        .n_executors = q->all->n_executors,
        .executors = executors,
    };
    summary.outcomes[OUTCOME_OK] = q->given;
    out->kind = INQUIRY_SUMMARY;
    out->summary = &summary;
    q->is_summarised = true;
}

int inquiry_next(struct inquiry *q, struct inquiry_event *out)
{
    *out = (struct inquiry_event){0};
    if (q->is_summarised)
        return ERR_CLOSED;
    if (q->samples == 0 && !q->is_over)
        return 0;
    if (q->samples == 0) {
        summarise(q, out);
        return 1;
    }
    q->samples--;
    out->kind = INQUIRY_SAMPLE;
    fake_sample(&out->sample, q->given++);
    out->names = (struct sample_names){
        .target = "http://127.0.0.7/",
        .from_node = "a-1",
        .from_zone = "a",
        .to_zone = "b\xff", /* no UTF-8 */
    };
    return 1;
}

bool inquiry_is_denied(const struct inquiry *q)
{
    return q->is_denied;
}

void inquiry_close(struct inquiry *q)
{
    if (q->all->latest == q)
        q->all->latest = NULL;
    q->all->closed++;
    free(q);
}

void inquiries_turn_away(struct inquiries *all, const char *code,
                         const char *peer, const char *principal)
{
    snprintf(all->told, sizeof(all->told), "%s %s %s", code, peer, principal);
    all->turned_away++;
}

unsigned control_admit(struct control_source *s,
                       const struct httpd_request *request,
                       enum control_action action, struct principal *who,
                       const char **code)
{
    *who = (struct principal){.name = "fake", .role = ROLE_ADMIN};
    s->inquiries->action = action;
    *code = "forbidden_origin";
    if (request->origin)
        return 403;
    *code = "unauthorized";
    if (request->peer->is_local ||
        (request->authorization &&
         strcmp(request->authorization, "Bearer good") == 0))
        return 0;
    s->inquiries->turned_away++;
    return 401;
}

const char *control_peer(const struct httpd_peer *peer,
                         char text[CONTROL_PEER_SIZE])
{
    if (peer->is_local)
        snprintf(text, CONTROL_PEER_SIZE, "unix uid=%u", peer->uid);
    else
        addr_format(&peer->addr, text);
    return text;
}
