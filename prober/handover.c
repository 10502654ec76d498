#include "prober/handover.h"

#include <stdlib.h>
#include <string.h>

#include "prober/hosts.h"
#include "prober/target.h"

#define WANTS_BYTES_MAX (LINEUP_TARGETS_MAX * (size_t)4096)

/* Wants as the lineup sees them. */
struct wants {
    struct lineup_want *list;
    struct wr texts; /* "how" and URL of each, with NULs */
};

static void wants_fini(struct wants *w)
{
    free(w->list);
    wr_fini(&w->texts);
}

/* Offsets first, because the memory moves while it grows. */
static int describe(struct wants *w, const struct aim_want *wants, size_t n,
                    const struct handover_means *means)
{
    size_t room = n ? n : 1;
    struct offsets {
        size_t how, text;
    } *at = calloc(room, sizeof(*at));
    w->list = calloc(room, sizeof(*w->list));
    wr_init_grow(&w->texts, WANTS_BYTES_MAX);
    for (size_t i = 0; at && w->list && i < n; i++) {
        at[i].how = w->texts.len;
        aim_write_how(&wants[i], &w->texts);
        /* It may be dialled at another address then. */
        wr_text(&w->texts, means->reads_hosts ? " hosts" : "");
        wr_u8(&w->texts, 0);
        at[i].text = w->texts.len;
        target_write_text(wants[i].url, &w->texts);
        wr_u8(&w->texts, 0);
    }
    int rc = at && w->list ? wr_err(&w->texts) : ERR_NOMEM;
    for (size_t i = 0; !rc && i < n; i++)
        w->list[i] = (struct lineup_want){
            .name = wants[i].name,
            .zone = wants[i].zone,
            .region = wants[i].region,
            .how = (const char *)w->texts.data + at[i].how,
            .text = (const char *)w->texts.data + at[i].text,
        };
    free(at);
    return rc;
}

static struct handover *open_empty(const struct lineup_plan *plan)
{
    struct handover *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->added = calloc(plan->n_added + 1, sizeof(struct aim *));
    h->removed = calloc(plan->n_removed + 1, sizeof(*h->removed));
    if (!h->added || !h->removed) {
        handover_close(h);
        return NULL;
    }
    h->n_removed = plan->n_removed;
    memcpy(h->removed, plan->removed, plan->n_removed * sizeof(*h->removed));
    return h;
}

/* One copy serves all members, until another is asked for. */
static void keep_policy(struct aim_policy **kept, struct aim_policy *policy)
{
    if (!policy || policy == *kept)
        return;
    aim_policy_release(*kept);
    *kept = policy;
    policy->n_users++;
}

/* Make what is new. 0; ERR_BAD if some were left out; ERR_NOMEM. */
static int make_aims(struct handover *h, struct lineup *lineup,
                     const struct aim_want *wants, struct lineup_plan *plan,
                     const struct handover_means *means, struct errmsg *msg)
{
    size_t len = 0;
    char *hosts = plan->n_added && means->reads_hosts ? hosts_read(&len) : NULL;
    int worst = 0;
    for (size_t i = 0; i < plan->n_added && worst != ERR_NOMEM; i++) {
        const struct aim_want *want = &wants[plan->added[i].want];
        const struct lineup_target *t = plan->added[i].target;
        int rc;
        struct aim *aim =
            aim_open(want, means->tls, hosts, len, *means->policy, &rc, msg);
        if (aim) {
            keep_policy(means->policy, aim->policy);
            aim->slot = t->slot;
            aim->generation = t->generation;
            h->added[h->n_added++] = aim;
        } else {
            worst = rc == ERR_NOMEM ? ERR_NOMEM : ERR_BAD;
            errmsg_wrap(msg, "%s", want->name);
            lineup_leave_out(lineup, plan, i);
        }
    }
    free(hosts);
    return worst;
}

int handover_open(struct lineup *lineup, const struct aim_want *wants, size_t n,
                  const struct handover_means *means, struct handover **out,
                  struct lineup_plan *plan, struct errmsg *msg)
{
    struct wants w = {0};
    *out = NULL;
    int rc = describe(&w, wants, n, means);
    if (!rc)
        rc = lineup_plan(lineup, w.list, n, plan);
    wants_fini(&w);
    if (rc || (!plan->n_added && !plan->n_removed))
        return rc;
    struct handover *h = open_empty(plan);
    rc = h ? make_aims(h, lineup, wants, plan, means, msg) : ERR_NOMEM;
    if (rc == ERR_NOMEM) {
        handover_close(h);
        lineup_drop(lineup, plan);
        return rc;
    }
    *out = h;
    return rc;
}

void handover_close(struct handover *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->n_added; i++) {
        if (h->done <= h->n_removed + i)
            aim_close(h->added[i]);
    }
    free(h->removed);
    free(h->added);
    free(h);
}
