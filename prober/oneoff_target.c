#include "prober/oneoff_target.h"

#include <stdio.h>
#include <string.h>

static enum target_standing standing_of(const struct roster_entry *e)
{
    return e->kind == ROSTER_MEMBER ? TARGET_MEMBER : TARGET_CONFIGURED;
}

static void describe(struct oneoff_target *out, const struct roster_entry *e)
{
    out->standing = standing_of(e);
    snprintf(out->name, sizeof(out->name), "%s", e->name);
    snprintf(out->zone, sizeof(out->zone), "%s", e->zone);
    /* A certificate is pinned for an endpoint, not for a path on it. */
    out->has_fingerprint = e->has_fingerprint && out->url.is_tls;
    memcpy(out->fingerprint, e->fingerprint, sizeof(out->fingerprint));
}

static bool is_same_endpoint(const struct url *a, const struct url *b)
{
    return a->port == b->port && a->is_tls == b->is_tls &&
           !strcmp(a->host, b->host);
}

/* Of an outside endpoint only what was configured is known; on a peer or a
 * member there is nothing but the responder. */
static bool is_meant(const struct roster_entry *e, const struct url *url)
{
    if (!is_same_endpoint(&e->url, url))
        return false;
    return e->kind != ROSTER_TARGET || !strcmp(e->url.path, url->path);
}

static void find_by_url(const struct roster *roster, struct oneoff_target *out)
{
    for (size_t i = 0; i < roster_count(roster); i++) {
        const struct roster_entry *e = roster_get(roster, i);
        if (!is_meant(e, &out->url))
            continue;
        describe(out, e);
        if (out->standing == TARGET_CONFIGURED)
            return; /* the operator's word before a member's */
    }
}

static bool is_grpc(const struct url *url)
{
    return url->scheme == URL_GRPC || url->scheme == URL_GRPCS;
}

static enum oneoff_state find_by_name(const struct roster *roster,
                                      const struct oneoff_request *r,
                                      struct oneoff_target *out)
{
    const struct roster_entry *e = roster_find(roster, r->target);
    if (!e)
        return ONEOFF_BAD_TARGET;
    out->url = e->url;
    describe(out, e);
    if (r->is_auto)
        out->protocol = e->protocols & 1u << PROTOCOL_HTTP1 ? PROTOCOL_HTTP1
                                                            : PROTOCOL_GRPC;
    if (!(e->protocols & 1u << out->protocol))
        return ONEOFF_BAD_TARGET;
    if (!r->service[0] && e->service)
        snprintf(out->service, sizeof(out->service), "%s", e->service);
    return ONEOFF_RUNNING;
}

enum oneoff_state oneoff_target_find(const struct roster *roster,
                                     const struct oneoff_request *r,
                                     struct oneoff_target *out)
{
    *out = (struct oneoff_target){.standing = TARGET_OTHER,
                                  .protocol = r->protocol};
    snprintf(out->service, sizeof(out->service), "%s", r->service);
    if (!strstr(r->target, "://"))
        return find_by_name(roster, r, out);
    if (url_parse(&out->url, r->target, NULL))
        return ONEOFF_BAD_TARGET;
    if (r->is_auto)
        out->protocol = is_grpc(&out->url) ? PROTOCOL_GRPC : PROTOCOL_HTTP1;
    find_by_url(roster, out);
    return ONEOFF_RUNNING;
}
