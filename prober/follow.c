#include "prober/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/log.h"

#define SOON_NS   UINT64_C(500000000) /* between looks when something changed */
#define SELDOM_NS UINT64_C(1000000000)

static size_t list_wants(const struct follow *f, struct aim_want *wants)
{
    size_t n = 0;
    for (size_t i = 0; i < roster_count(f->roster); i++) {
        const struct roster_entry *e = roster_get(f->roster, i);
        if (!e->is_probed || n == LINEUP_TARGETS_MAX)
            continue;
        wants[n] = (struct aim_want){
            .name = e->name,
            .zone = e->zone,
            .region = e->region,
            .url = &e->url,
            .service = e->service,
            .protocols = e->protocols,
            .ip_first = (uint8_t)f->config->probe.ip,
            .has_fingerprint = e->has_fingerprint,
            .policy = e->kind == ROSTER_MEMBER ? f->policy : NULL,
        };
        memcpy(wants[n].fingerprint, e->fingerprint, sizeof(e->fingerprint));
        n++;
    }
    return n;
}

static int set_targets(struct follow *f, struct errmsg *msg)
{
    size_t n = roster_count(f->roster);
    struct aim_want *wants = calloc(n ? n : 1, sizeof(*wants));
    if (!wants)
        return ERR_NOMEM;
    int rc = plane_set_targets(f->plane, wants, list_wants(f, wants), msg);
    free(wants);
    f->is_set_due = rc && rc != ERR_BAD;
    f->is_windows_due = true;
    return rc;
}

static void warn_of_too_many(const struct follow *f)
{
    size_t n = 0;
    char count[24];
    for (size_t i = 0; i < roster_count(f->roster); i++)
        n += roster_get(f->roster, i)->is_probed;
    if (n <= LINEUP_TARGETS_MAX)
        return;
    snprintf(count, sizeof(count), "%zu", n - LINEUP_TARGETS_MAX);
    log_event(LOG_WARN, "targets_left_out", "count", count, "reason",
              "there are too many", NULL);
}

static void change_targets(struct follow *f)
{
    warn_of_too_many(f);
    struct errmsg msg = {{0}};
    int rc = set_targets(f, &msg);
    if (rc == ERR_BAD)
        log_event(LOG_WARN, "target_left_out", "reason", msg.text, NULL);
    else if (rc == ERR_NOMEM || rc == ERR_TOOBIG)
        log_event(LOG_ERROR, "targets_not_changed", "reason", err_name(rc),
                  NULL);
}

int follow_open(struct follow *f, struct errmsg *msg)
{
    f->roster = roster_open(f->config, f->policy);
    int rc = f->roster ? set_targets(f, msg) : ERR_NOMEM;
    if (rc && rc != ERR_BAD)
        errmsg_set(msg, "%s", err_name(rc));
    return rc;
}

void follow_fini(struct follow *f)
{
    roster_close(f->roster);
    f->roster = NULL;
}

void follow_replace(struct follow *f, struct roster *other)
{
    roster_replace(f->roster, other);
    f->is_set_due = true;
    f->looked_ns = 0;
}

bool follow_look(struct follow *f, const struct members *members,
                 uint64_t now_ns)
{
    bool is_due = f->is_due || f->is_set_due;
    if (now_ns - f->looked_ns < (is_due ? SOON_NS : SELDOM_NS))
        return false;
    f->looked_ns = now_ns;
    f->is_due = false;
    if (members && roster_update(f->roster, members, now_ns))
        f->is_set_due = true;
    bool is_changed = f->is_set_due;
    if (f->is_set_due)
        change_targets(f);
    if (f->is_windows_due && f->stores->windows)
        f->is_windows_due = stores_set_targets(f->stores) != 0;
    return is_changed;
}
