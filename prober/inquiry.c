#include "prober/inquiry.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/matrix.h"
#include "prober/inquiry_private.h"

/* ---- refusals ---- */

static const struct {
    const char *code;
    unsigned status;
    const char *text;
} refusals[] = {
    [INQUIRY_OK] = {"ok", 200, ""},
    [INQUIRY_BAD] = {"bad_request", 400, "the request makes no sense"},
    [INQUIRY_FORBIDDEN] = {"forbidden", 403, "your role does not include this"},
    [INQUIRY_DENIED] = {"denied", 403,
                        "this target may not be probed from here"},
    [INQUIRY_UNKNOWN] = {"not_found", 404, "there is nothing of that name"},
    [INQUIRY_RATE] = {"rate_limited", 429,
                      "too many requests of yours within a minute"},
    [INQUIRY_BUSY] = {"busy", 429, "too many requests at once, try later"},
    [INQUIRY_NO_MESH] = {"no_mesh", 409,
                         "probes from other nodes need encrypted gossip"},
    [INQUIRY_NO_AUDIT] = {"no_audit", 503,
                          "the audit log cannot be written, so nothing is "
                          "probed on request"},
    [INQUIRY_DRAINING] = {"draining", 503, "this node is stopping"},
    [INQUIRY_FAILED] = {"no_memory", 500, "out of memory"},
};

_Static_assert(sizeof(refusals) / sizeof(refusals[0]) == INQUIRY_REFUSAL_N,
               "each refusal has a code, a status and a text");

const char *inquiry_refusal_code(enum inquiry_refusal r)
{
    return refusals[r].code;
}

unsigned inquiry_refusal_status(enum inquiry_refusal r)
{
    return refusals[r].status;
}

const char *inquiry_refusal_text(enum inquiry_refusal r)
{
    return refusals[r].text;
}

/* ---- the list of all ---- */

struct inquiries *inquiries_new(const struct inquiries_core_config *c)
{
    struct inquiries *all = calloc(1, sizeof(*all));
    if (!all)
        return NULL;
    all->ops = c->ops;
    all->ops_arg = c->ops_arg;
    all->config = c->config;
    all->principals = c->principals;
    all->history = c->history;
    all->armed_ns = UINT64_MAX;
    return all;
}

void inquiries_arm(struct inquiries *all, uint64_t due_ns)
{
    if (all->is_closed || due_ns >= all->armed_ns)
        return;
    all->armed_ns = due_ns;
    all->ops->arm(all->ops_arg, due_ns);
}

static void all_release(struct inquiries *all)
{
    if (all->is_closed && !all->list)
        free(all);
}

static void inquiry_free(struct inquiry *q)
{
    for (size_t i = 0; q->executors && i < q->n; i++) {
        for (unsigned k = 0; k < SERIES_N; k++)
            hist_fini(&q->executors[i].series[k]);
    }
    inquiry_queue_fini(q);
    free(q->executors);
    free(q->executions);
    free(q);
}

void inquiry_release(struct inquiry *q)
{
    if (!q->is_closed)
        return;
    for (size_t i = 0; i < q->n; i++) {
        if (q->executions[i].local)
            return; /* will say that it has ended */
    }
    struct inquiries *all = q->all;
    if (q->prev)
        q->prev->next = q->next;
    else
        all->list = q->next;
    if (q->next)
        q->next->prev = q->prev;
    all->n_executors -= q->n;
    inquiry_free(q);
    all_release(all);
}

static void write_refusal(struct inquiries *all, const struct refusal *r)
{
    const struct audit_field fields[] = {
        {"code", r->code, 0},
        {"peer", r->peer, 0},
        {"principal", r->principal, 0},
        {"count", NULL, r->count},
        {NULL, NULL, 0},
    };
    (void)all->ops->audit(all->ops_arg, "refused", fields);
}

void inquiries_turn_away(struct inquiries *all, const char *code,
                         const char *peer, const char *principal)
{
    struct refusal line;
    if (all->is_closed)
        return;
    if (refusals_add(&all->refusals, all->ops->now_ns(), code, peer, principal,
                     &line))
        write_refusal(all, &line);
    inquiries_arm(all, refusals_due(&all->refusals));
}

int inquiries_audit(struct inquiries *all, const char *event,
                    const struct audit_field *fields)
{
    return all->is_closed ? ERR_CLOSED
                          : all->ops->audit(all->ops_arg, event, fields);
}

/* The next that wants to be woken; its transport may close any of them. */
static struct inquiry *next_to_wake(struct inquiries *all)
{
    for (struct inquiry *q = all->list; q; q = q->next) {
        if (q->wants_wake && !q->is_closed)
            return q;
    }
    return NULL;
}

void inquiries_run(struct inquiries *all)
{
    if (all->is_closed)
        return;
    uint64_t now_ns = all->ops->now_ns();
    all->armed_ns = UINT64_MAX;
    for (struct inquiry *q = all->list; q; q = q->next) {
        if (!q->is_closed)
            inquiry_expire(q, now_ns);
    }
    struct inquiry *q;
    while (!all->is_closed && (q = next_to_wake(all)) != NULL) {
        q->wants_wake = false;
        q->wake(q->wake_arg);
    }
    struct refusal line;
    while (refusals_next(&all->refusals, now_ns, &line))
        write_refusal(all, &line);
    uint64_t due = refusals_due(&all->refusals);
    for (q = all->list; q; q = q->next) {
        uint64_t at = inquiry_due(q);
        due = at < due ? at : due;
    }
    all->armed_ns = UINT64_MAX;
    if (due < UINT64_MAX)
        inquiries_arm(all, due);
}

void inquiries_stop(struct inquiries *all)
{
    for (struct inquiry *q = all->list; q; q = q->next)
        inquiry_cancel(q);
}

void inquiries_end(struct inquiries *all)
{
    inquiries_stop(all);
    for (struct inquiry *q = all->list; q; q = q->next)
        inquiry_audit_end(q);
    all->is_closed = true;
    all_release(all);
}

/* ---- one ---- */

static void write_hex(char *text, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * n] = '\0';
}

static void set_executors(struct inquiry *q, const struct inquiry_admission *a)
{
    for (size_t i = 0; i < q->n; i++) {
        const struct remote_executor *chosen = &a->executors[i];
        struct inquiry_executor *x = &q->executors[i];
        snprintf(x->node, sizeof(x->node), "%s", chosen->node);
        snprintf(x->zone, sizeof(x->zone), "%s", chosen->zone);
        q->executions[i].inquiry = q;
        q->executions[i].executor = x;
        q->executions[i].member = chosen->member;
    }
}

static void set_target(struct inquiry *q, const struct inquiry_admission *a)
{
    const struct oneoff_target *t = &a->target;
    q->protocol = a->is_known ? t->protocol : q->request.protocol;
    /* A URL of nobody's has no column, and no label of its own. */
    if (!a->is_known || !t->name[0])
        return;
    const char *zone = t->zone[0] ? t->zone : NULL;
    snprintf(q->label, sizeof(q->label), "%s",
             matrix_label(LEVEL_ZONE, t->name, zone, NULL));
}

static void set_times(struct inquiry *q)
{
    uint64_t now_ns = q->all->ops->now_ns();
    q->denial_ns = now_ns + INQUIRY_DENIAL_NS;
    q->deadline_ns = now_ns + oneoff_request_lasts_ns(&q->request) +
                     q->request.timeout_ns + INQUIRY_GRACE_NS;
}

static struct inquiry *inquiry_new(struct inquiries *all,
                                   const struct inquiry_admission *a)
{
    struct inquiry *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    q->all = all;
    q->n = a->n;
    q->request = a->ask->request;
    q->who = a->ask->who;
    snprintf(q->peer, sizeof(q->peer), "%s", a->ask->peer);
    q->executions = calloc(q->n, sizeof(*q->executions));
    q->executors = calloc(q->n, sizeof(*q->executors));
    if (!q->executions || !q->executors ||
        all->ops->random(all->ops_arg, q->raw_id, sizeof(q->raw_id))) {
        inquiry_free(q);
        return NULL;
    }
    write_hex(q->id, q->raw_id, sizeof(q->raw_id));
    set_executors(q, a);
    set_target(q, a);
    set_times(q);
    return q;
}

static const char *rule_name(const struct inquiry_admission *a)
{
    if (!a->is_known)
        return "unknown_here";
    switch (a->target.standing) {
    case TARGET_OTHER:
        return "other";
    case TARGET_MEMBER:
        return "member";
    case TARGET_CONFIGURED:
        return "configured";
    }
    return "";
}

static void link_in(struct inquiries *all, struct inquiry *q)
{
    q->next = all->list;
    if (all->list)
        all->list->prev = q;
    all->list = q;
    all->n_executors += q->n;
    all->stats.started++;
    all->stats.open++;
}

static enum inquiry_refusal
start(struct inquiries *all, struct inquiry_admission *a, struct inquiry **out)
{
    struct inquiry *q = inquiry_new(all, a);
    if (!q)
        return INQUIRY_FAILED;
    /* Nothing happens that cannot be accounted for. */
    if (inquiry_audit_begin(q, a->ask, rule_name(a))) {
        inquiry_free(q);
        return INQUIRY_NO_AUDIT;
    }
    link_in(all, q);
    *out = q;
    return INQUIRY_OK;
}

struct inquiry *inquiry_start(struct inquiries *all,
                              const struct inquiry_ask *ask,
                              void (*wake)(void *arg), void *arg,
                              enum inquiry_refusal *refusal, struct errmsg *msg)
{
    struct inquiry_admission a = {.ask = ask};
    struct inquiry *q = NULL;
    *refusal = inquiry_admit(all, &a, msg);
    if (!*refusal)
        *refusal = start(all, &a, &q);
    if (q) {
        q->wake = wake;
        q->wake_arg = arg;
        inquiry_begin(q, a.executors);
        inquiries_arm(all, inquiry_due(q));
    } else {
        all->stats.refused[*refusal]++;
        inquiries_turn_away(all, inquiry_refusal_code(*refusal), ask->peer,
                            ask->who.name);
    }
    free(a.executors);
    return q;
}

const char *inquiry_id(const struct inquiry *q)
{
    return q->id;
}

bool inquiry_is_denied(const struct inquiry *q)
{
    const struct inquiry_execution *e = &q->executions[0];
    return q->n == 1 && e->member == UINT32_MAX && e->is_told &&
           e->end == ONEOFF_DENIED && q->attempts == 0;
}

bool inquiry_is_undecided(const struct inquiry *q)
{
    return q->n == 1 && q->executions[0].member == UINT32_MAX && !q->first &&
           !q->taken && q->n_told == 0;
}

static void summarise(struct inquiry *q, struct inquiry_event *out)
{
    q->is_summarised = true;
    q->summary = (struct inquiry_summary){
        .id = q->id,
        .target = q->request.target,
        .protocol = q->protocol,
        .mode = q->request.mode,
        .is_cancelled = q->is_cancelled,
        .attempts = q->attempts,
        .ok = q->ok,
        .failed = q->failed,
        .n_executors = q->n,
        .executors = q->executors,
    };
    memcpy(q->summary.outcomes, q->outcomes, sizeof(q->outcomes));
    *out = (struct inquiry_event){
        .kind = INQUIRY_SUMMARY,
        .summary = &q->summary,
    };
}

int inquiry_next(struct inquiry *q, struct inquiry_event *out)
{
    if (q->is_summarised)
        return ERR_CLOSED;
    if (inquiry_take(q, out))
        return 1;
    if (q->n_told < q->n)
        return 0;
    summarise(q, out);
    return 1;
}

void inquiry_close(struct inquiry *q)
{
    inquiry_cancel(q);
    inquiry_audit_end(q);
    q->is_closed = true;
    q->wants_wake = false;
    q->all->stats.open--;
    inquiry_release(q);
}

enum inquiry_refusal inquiries_cancel(struct inquiries *all, const char *id,
                                      const struct principal *who,
                                      bool *is_news)
{
    struct inquiry *q = all->list;
    while (q && (q->is_closed || strcmp(q->id, id) != 0))
        q = q->next;
    if (!q)
        return INQUIRY_UNKNOWN;
    bool is_own = strcmp(q->who.name, who->name) == 0;
    if (!role_may(who->role, is_own ? ACTION_CANCEL_OWN : ACTION_CANCEL_ANY))
        return INQUIRY_FORBIDDEN;
    bool was_cancelled = q->is_cancelled;
    inquiry_cancel(q);
    if (is_news)
        *is_news = q->is_cancelled && !was_cancelled;
    return INQUIRY_OK;
}

void inquiries_stats(const struct inquiries *all, struct inquiries_stats *out)
{
    *out = all->stats;
    out->is_draining = all->is_draining;
    out->n_codes = all->refusals.n_codes;
    _Static_assert(INQUIRY_CODES_MAX == REFUSAL_CODES_MAX, "all are told");
    for (size_t i = 0; i < out->n_codes; i++) {
        out->codes[i].code = all->refusals.codes[i].code;
        out->codes[i].count = all->refusals.codes[i].count;
    }
    if (all->is_closed)
        return;
    struct oneoffs_stats oneoffs = {0};
    all->ops->oneoff_stats(all->ops_arg, &oneoffs);
    out->attempts = oneoffs.attempts;
    out->denied = oneoffs.denied;
    out->running = oneoffs.running;
    out->in_flight = oneoffs.in_flight;
    out->listen = all->config->control.listen;
}
