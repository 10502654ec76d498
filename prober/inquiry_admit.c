/* May this be asked, and who is to do it? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/inquiry_private.h"

#define PER_ZONE_MAX 16

static bool is_url(const char *target)
{
    return strstr(target, "://") != NULL;
}

/* Does this node know the target, and may this role have it probed? A name
 * that is not known here can only be something configured elsewhere. */
static enum inquiry_refusal judge_target(struct inquiries *all,
                                         struct inquiry_admission *a,
                                         struct errmsg *msg)
{
    const struct oneoff_request *r = &a->ask->request;
    enum oneoff_state state = all->ops->find(all->ops_arg, r, &a->target);
    a->is_known = state == ONEOFF_RUNNING;
    if (state == ONEOFF_FAILED)
        return INQUIRY_FAILED;
    if (state == ONEOFF_BAD_TARGET && is_url(r->target)) {
        errmsg_set(msg, "protocol: this target does not have it");
        return INQUIRY_BAD;
    }
    bool is_other =
        a->is_known ? a->target.standing == TARGET_OTHER : is_url(r->target);
    enum control_action action =
        is_other ? ACTION_PROBE_OTHER : ACTION_PROBE_KNOWN;
    return role_may(a->ask->who.role, action) ? INQUIRY_OK : INQUIRY_FORBIDDEN;
}

static void add_self(const struct inquiries *all, struct inquiry_admission *a)
{
    struct remote_executor *e = &a->executors[a->n++];
    e->member = UINT32_MAX;
    e->is_reachable = true;
    snprintf(e->node, sizeof(e->node), "%s", all->config->node.name);
    snprintf(e->zone, sizeof(e->zone), "%s", all->config->node.zone);
}

static bool is_self_alone(const struct inquiries *all,
                          const struct remote_from *from)
{
    return from->kind == FROM_SELF ||
           (from->kind == FROM_NODE &&
            strcmp(from->name, all->config->node.name) == 0);
}

/* Without a mesh there is only this node, in its zone. */
static bool is_here(const struct inquiries *all,
                    const struct inquiry_admission *a)
{
    const struct remote_from *from = &a->ask->from;
    return is_self_alone(all, from) ||
           (from->kind == FROM_ZONE && a->ask->per_zone == 1 &&
            strcmp(from->name, all->config->node.zone) == 0);
}

/* The name of the node that is the target, if it may be one. */
static const char *target_node(const struct inquiry_admission *a)
{
    const char *text = a->ask->request.target;
    return a->is_known ? a->target.name : is_url(text) ? "" : text;
}

/* A node does not probe itself: others of its zone are to do it in its place,
 * if there are any. It stays if nobody else would be asked at all. */
static enum inquiry_refusal
spare_target(struct inquiries *all, struct inquiry_admission *a, uint64_t dice)
{
    const char *name = target_node(a);
    size_t at = 0;
    while (at < a->n && strcmp(a->executors[at].node, name) != 0)
        at++;
    if (at == a->n || a->ask->from.kind == FROM_NODE)
        return INQUIRY_OK;
    struct remote_from zone = {.kind = FROM_ZONE};
    memcpy(zone.name, a->executors[at].zone, sizeof(zone.name));
    struct remote_executor *others =
        calloc(REMOTE_EXECUTORS_MAX, sizeof(*others));
    if (!others)
        return INQUIRY_FAILED;
    size_t n = all->ops->choose(all->ops_arg, &zone, a->ask->per_zone + 1, dice,
                                others);
    size_t kept = 0;
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->executors[i].zone, zone.name) != 0)
            a->executors[kept++] = a->executors[i];
    }
    unsigned taken = 0;
    for (size_t i = 0; i < n && taken < a->ask->per_zone; i++) {
        if (strcmp(others[i].node, name) != 0 && kept < REMOTE_EXECUTORS_MAX) {
            a->executors[kept++] = others[i];
            taken++;
        }
    }
    free(others);
    a->n = kept > 0 ? kept : a->n;
    return INQUIRY_OK;
}

static enum inquiry_refusal
choose(struct inquiries *all, struct inquiry_admission *a, struct errmsg *msg)
{
    const struct inquiry_ask *ask = a->ask;
    bool has_mesh = all->ops->has_mesh(all->ops_arg);
    uint64_t dice = 0;
    a->executors = calloc(REMOTE_EXECUTORS_MAX, sizeof(*a->executors));
    if (!a->executors || all->ops->random(all->ops_arg, &dice, sizeof(dice)))
        return INQUIRY_FAILED;
    if (is_self_alone(all, &ask->from) || (!has_mesh && is_here(all, a))) {
        add_self(all, a);
        return INQUIRY_OK;
    }
    if (!has_mesh) {
        a->needs_mesh = true;
        return INQUIRY_OK;
    }
    a->n = all->ops->choose(all->ops_arg, &ask->from, ask->per_zone, dice,
                            a->executors);
    if (a->n == 0) {
        errmsg_set(msg, "from: there is no %s %s",
                   ask->from.kind == FROM_ZONE ? "zone" : "node",
                   ask->from.name);
        return INQUIRY_UNKNOWN;
    }
    enum inquiry_refusal refusal = spare_target(all, a, dice);
    if (refusal)
        return refusal;
    for (size_t i = 0; i < a->n; i++)
        a->needs_mesh |= a->executors[i].member != UINT32_MAX;
    return INQUIRY_OK;
}

static size_t open_max(const struct inquiries *all)
{
    size_t max = all->config->control.requests_max;
    return max > 0 && max < INQUIRIES_MAX ? max : INQUIRIES_MAX;
}

/* One who has so much already leaves the rest to others. */
static bool is_too_much(const struct inquiries *all,
                        const struct inquiry_admission *a)
{
    size_t max = open_max(all), open = 0, executors = a->n;
    for (const struct inquiry *q = all->list; q; q = q->next) {
        if (q->who.key != a->ask->who.key)
            continue;
        open += !q->is_closed;
        executors += q->n;
    }
    return all->stats.open >= max || open >= max - max / 8 ||
           all->n_executors + a->n > INQUIRIES_EXECUTORS_MAX ||
           executors > INQUIRIES_EXECUTORS_MAX - INQUIRIES_EXECUTORS_MAX / 8;
}

/* In this order, so that who is refused learns no more than he may. */
enum inquiry_refusal inquiry_admit(struct inquiries *all,
                                   struct inquiry_admission *a,
                                   struct errmsg *msg)
{
    const struct inquiry_ask *ask = a->ask;
    if (all->is_draining || all->is_closed)
        return INQUIRY_DRAINING;
    if (oneoff_request_check(&ask->request, msg))
        return INQUIRY_BAD;
    if (ask->per_zone < 1 || ask->per_zone > PER_ZONE_MAX) {
        errmsg_set(msg, "nodes_per_zone: has to be 1 to %d", PER_ZONE_MAX);
        return INQUIRY_BAD;
    }
    enum inquiry_refusal refusal = judge_target(all, a, msg);
    if (!refusal)
        refusal = choose(all, a, msg);
    if (refusal)
        return refusal;
    if (!a->is_known && !is_url(ask->request.target) && a->n == 1 &&
        a->executors[0].member == UINT32_MAX) {
        errmsg_set(msg, "target: nothing of that name and protocol is known");
        return INQUIRY_UNKNOWN;
    }
    if (!principals_take_request(all->principals, all->ops->now_ns(),
                                 &ask->who))
        return INQUIRY_RATE;
    if (is_too_much(all, a))
        return INQUIRY_BUSY;
    if (a->needs_mesh && (a->n == 0 || !all->ops->can_ask(all->ops_arg)))
        return INQUIRY_NO_MESH;
    return INQUIRY_OK;
}
