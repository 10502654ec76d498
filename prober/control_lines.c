/* POST /v1/probes: an inquiry, line by line.
 *
 * The one local execution that is denied before it has told anything is a
 * plain 403, the same bytes whatever was denied; so the head of an answer
 * waits until that is decided. Of everything else the head goes out at once.
 *
 * The summary can be long, so it is written executor by executor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/control_private.h"
#include "prober/control_request.h"

enum stage { STAGE_EVENTS, STAGE_EXECUTORS, STAGE_END };

struct lines {
    struct inquiry *inquiry;
    struct httpd_waker *waker;
    enum stage stage;
    const struct inquiry_summary *summary;
    size_t i; /* next executor of the summary */
    struct json json;
};

static void wake(void *arg)
{
    struct lines *l = arg;
    if (l->waker)
        l->waker->wake(l->waker);
}

/* ---- executors ---- */

static void write_phase(struct json *j, const char *name, uint64_t count,
                        const uint64_t ns[4])
{
    json_key(j, name);
    json_object_begin(j);
    json_key_u64(j, "count", count);
    json_key_u64(j, "p50", ns[0]);
    json_key_u64(j, "p90", ns[1]);
    json_key_u64(j, "p99", ns[2]);
    json_key_u64(j, "max", ns[3]);
    json_object_end(j);
}

static void write_phases(struct json *j, const struct inquiry_executor *x)
{
    json_key(j, "phases");
    json_object_begin(j);
    for (unsigned i = 0; i < SERIES_N; i++) {
        const struct hist *h = &x->series[i];
        if (h->count == 0)
            continue; /* did not run: left out, never 0 */
        write_phase(j, series_name(i), h->count,
                    (const uint64_t[]){hist_quantile(h, 0.5),
                                       hist_quantile(h, 0.9),
                                       hist_quantile(h, 0.99), h->max_ns});
    }
    json_object_end(j);
}

static void write_baseline(struct json *j, const struct inquiry_executor *x)
{
    json_key(j, "baseline");
    if (!x->has_baseline) {
        json_put_null(j);
        return;
    }
    json_object_begin(j);
    json_key_u64(j, "window_s", x->baseline_s);
    json_key(j, "phases");
    json_object_begin(j);
    for (unsigned i = 0; i < SERIES_N; i++) {
        const struct inquiry_phase *p = &x->baseline[i];
        if (p->count == 0)
            continue;
        write_phase(j, series_name(i), p->count,
                    (const uint64_t[]){(uint64_t)p->p50_ns, (uint64_t)p->p90_ns,
                                       (uint64_t)p->p99_ns,
                                       (uint64_t)p->max_ns});
    }
    json_object_end(j);
    json_object_end(j);
}

static void write_counts(struct json *j, const struct inquiry_executor *x)
{
    json_key_text(j, "zone", x->zone);
    json_key_text(j, "state", oneoff_state_name(x->state));
    json_key_u64(j, "attempts", x->attempts);
    json_key_u64(j, "ok", x->ok);
    json_key_u64(j, "missed", x->missed);
    if (x->lost)
        json_key_u64(j, "lost", x->lost);
}

/* One that did not do what it was asked. */
static void write_executor(struct json *j, const struct inquiry_executor *x)
{
    json_object_begin(j);
    json_key(j, "executor");
    json_object_begin(j);
    json_key_text(j, "node", x->node);
    write_counts(j, x);
    json_object_end(j);
    json_object_end(j);
}

/* ---- the summary ---- */

static void summary_begin(struct json *j, const struct inquiry_summary *s)
{
    json_object_begin(j);
    json_key(j, "summary");
    json_object_begin(j);
    json_key_text(j, "id", s->id);
    json_key_text(j, "target", s->target);
    json_key_text(j, "protocol",
                  protocol_name((enum probe_protocol)s->protocol));
    json_key_text(j, "mode", mode_name((enum probe_mode)s->mode));
    json_key_bool(j, "cancelled", s->is_cancelled);
    json_key_u64(j, "attempts", s->attempts);
    json_key_u64(j, "ok", s->ok);
    json_key_u64(j, "failed", s->failed);
    json_key(j, "outcomes");
    json_object_begin(j);
    for (unsigned o = 0; o < OUTCOME_N; o++) {
        if (s->outcomes[o] > 0)
            json_key_u64(j, outcome_name((enum probe_outcome)o),
                         s->outcomes[o]);
    }
    json_object_end(j);
    json_key(j, "from");
    json_object_begin(j);
}

static void summary_executor(struct json *j, const struct inquiry_executor *x)
{
    json_key(j, x->node);
    json_object_begin(j);
    write_counts(j, x);
    write_phases(j, x);
    write_baseline(j, x);
    json_object_end(j);
}

static void summary_end(struct json *j)
{
    json_object_end(j);
    json_object_end(j);
    json_object_end(j);
}

/* ---- the answer ---- */

/* Write the next event. 1, or what inquiry_next() says if there is none. */
static int write_event(struct lines *l, struct wr *w)
{
    struct inquiry_event event;
    int rc = inquiry_next(l->inquiry, &event);
    if (rc != 1)
        return rc;
    switch (event.kind) {
    case INQUIRY_SAMPLE:
        sample_write_json(&event.sample, &event.names, &l->json);
        wr_u8(w, '\n');
        break;
    case INQUIRY_EXECUTOR:
        write_executor(&l->json, event.executor);
        wr_u8(w, '\n');
        break;
    case INQUIRY_SUMMARY:
        l->summary = event.summary;
        l->stage = STAGE_EXECUTORS;
        summary_begin(&l->json, l->summary);
        break;
    }
    return 1;
}

static int lines_body(void *state, struct wr *w)
{
    struct lines *l = state;
    l->json.out = w;
    while (!httpd_slice_is_full(w)) {
        if (l->stage == STAGE_EVENTS) {
            int rc = write_event(l, w);
            if (rc != 1)
                return wr_err(w) ? wr_err(w) : rc == 0 ? HTTPD_WAIT : 0;
        } else if (l->i < l->summary->n_executors) {
            summary_executor(&l->json, &l->summary->executors[l->i++]);
        } else {
            summary_end(&l->json);
            wr_u8(w, '\n');
            l->stage = STAGE_END;
            return wr_err(w);
        }
    }
    return wr_err(w) ? wr_err(w) : 1;
}

static void lines_done(void *state)
{
    struct lines *l = state;
    l->waker = NULL;
    inquiry_close(l->inquiry);
    free(l);
}

static void refuse(struct httpd_answer *answer, enum inquiry_refusal r,
                   const char *detail)
{
    httpd_error(answer, inquiry_refusal_status(r), inquiry_refusal_code(r),
                "%s", detail && detail[0] ? detail : inquiry_refusal_text(r));
}

static int lines_prepare(void *state, struct httpd_answer *answer)
{
    struct lines *l = state;
    if (inquiry_is_denied(l->inquiry)) {
        lines_done(l);
        refuse(answer, INQUIRY_DENIED, NULL);
        return 0;
    }
    return inquiry_is_undecided(l->inquiry) ? HTTPD_WAIT : 0;
}

void control_probe(struct control_source *s,
                   const struct httpd_request *request,
                   const struct principal *who, struct httpd_answer *answer)
{
    char peer[CONTROL_PEER_SIZE];
    struct errmsg msg = {{0}};
    enum inquiry_refusal refusal = INQUIRY_FAILED;
    struct inquiry_ask ask = {
        .who = *who,
        .peer = control_peer(request->peer, peer),
    };
    if (control_request_parse(request->body, request->body_len, &ask, &msg)) {
        inquiries_turn_away(s->inquiries, inquiry_refusal_code(INQUIRY_BAD),
                            ask.peer, who->name);
        refuse(answer, INQUIRY_BAD, msg.text);
        return;
    }
    struct lines *l = calloc(1, sizeof(*l));
    if (l)
        l->inquiry = inquiry_start(s->inquiries, &ask, wake, l, &refusal, &msg);
    if (!l || !l->inquiry) {
        free(l);
        refuse(answer, refusal, msg.text);
        return;
    }
    l->waker = request->waker;
    json_init(&l->json, NULL);
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "application/x-ndjson",
        .is_live = true,
        .prepare = lines_prepare,
        .body = lines_body,
        .done = lines_done,
        .state = l,
    };
    snprintf(answer->field, sizeof(answer->field), "Prober-Probe-Id: %s",
             inquiry_id(l->inquiry));
}
