/* The lines of the audit log about an inquiry: before and after. */
#include <stdio.h>
#include <string.h>

#include "prober/inquiry_private.h"

#define MS_NS    1000000u
#define LIST_MAX 3000 /* of a line's AUDIT_LINE_MAX, twice */

static const char *from_text(const struct remote_from *f, char text[144])
{
    switch (f->kind) {
    case FROM_SELF:
        return "self";
    case FROM_ALL_ZONES:
        return "all-zones";
    case FROM_ZONE:
        snprintf(text, 144, "zone:%s", f->name);
        return text;
    case FROM_NODE:
        break;
    }
    return f->name;
}

static const char *protocol_text(const struct oneoff_request *r)
{
    return r->is_auto ? "auto"
                      : protocol_name((enum probe_protocol)r->protocol);
}

int inquiry_audit_begin(struct inquiry *q, const struct inquiry_ask *ask,
                        const char *rule)
{
    const struct oneoff_request *r = &q->request;
    char from[144];
    const struct audit_field fields[] = {
        {"id", q->id, 0},
        {"principal", q->who.name, 0},
        {"role", role_name(q->who.role), 0},
        {"peer", q->peer, 0},
        {"target", r->target, 0},
        {"protocol", protocol_text(r), 0},
        {"mode", mode_name((enum probe_mode)r->mode), 0},
        {"service", r->service, 0},
        {"from", from_text(&ask->from, from), 0},
        {"executors", NULL, q->n},
        {"count", NULL, r->count},
        {"interval_ms", NULL, r->interval_ns / MS_NS},
        {"timeout_ms", NULL, r->timeout_ns / MS_NS},
        {"decision", "allowed", 0},
        {"rule", rule, 0},
        {NULL, NULL, 0},
    };
    return q->all->ops->audit(q->all->ops_arg, "probe_begin", fields);
}

/* Add "key:value" to a list, or say that there are more. */
static void list_add(struct wr *w, bool *is_cut, const char *key,
                     const char *value)
{
    char piece[192];
    snprintf(piece, sizeof(piece), "%s%s:%s", w->len > 0 ? "," : "", key,
             value);
    if (*is_cut)
        return;
    if (w->len + strlen(piece) + sizeof(",...") > w->size) {
        *is_cut = true;
        wr_text(w, ",...");
        return;
    }
    wr_text(w, piece);
}

static void list_outcomes(const struct inquiry *q, struct wr *w)
{
    bool is_cut = false;
    for (unsigned o = 0; o < OUTCOME_N; o++) {
        char number[24];
        if (q->outcomes[o] == 0)
            continue;
        snprintf(number, sizeof(number), "%llu",
                 (unsigned long long)q->outcomes[o]);
        list_add(w, &is_cut, outcome_name((enum probe_outcome)o), number);
    }
    wr_u8(w, '\0');
}

static void list_executors(const struct inquiry *q, struct wr *w)
{
    bool is_cut = false;
    for (size_t i = 0; i < q->n; i++) {
        const struct inquiry_execution *e = &q->executions[i];
        enum oneoff_state state = e->is_over ? e->end : ONEOFF_CANCELLED;
        list_add(w, &is_cut, e->executor->node, oneoff_state_name(state));
    }
    wr_u8(w, '\0');
}

void inquiry_audit_end(struct inquiry *q)
{
    if (q->is_audited || q->all->is_closed)
        return;
    q->is_audited = true;
    char outcomes[LIST_MAX + 1];
    char executors[LIST_MAX + 1];
    struct wr w;
    wr_init_fixed(&w, outcomes, sizeof(outcomes));
    list_outcomes(q, &w);
    wr_init_fixed(&w, executors, sizeof(executors));
    list_executors(q, &w);
    const struct audit_field fields[] = {
        {"id", q->id, 0},
        {"principal", q->who.name, 0},
        {"target", q->request.target, 0},
        {"attempts", NULL, q->attempts},
        {"ok", NULL, q->ok},
        {"failed", NULL, q->failed},
        {"cancelled", q->is_cancelled ? "yes" : "no", 0},
        {"outcomes", outcomes, 0},
        {"executors", executors, 0},
        {NULL, NULL, 0},
    };
    /* It has been done; that it cannot be told here is counted there. */
    (void)q->all->ops->audit(q->all->ops_arg, "probe_end", fields);
}
