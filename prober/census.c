#include "prober/census.h"

#include <stdio.h>
#include <string.h>

#include "mesh/facts.h"

#define PROBE_TEXT_SIZE (URL_HOST_MAX + 10)

static enum api_node_state state_of(uint8_t state, bool is_leaving)
{
    switch ((enum member_state)state) {
    case MEMBER_ALIVE:
        return is_leaving ? API_STATE_LEAVING : API_STATE_ALIVE;
    case MEMBER_SUSPECT:
        return API_STATE_SUSPECT;
    case MEMBER_DEAD:
        return API_STATE_FAILED;
    case MEMBER_LEFT:
        break;
    }
    return API_STATE_LEFT;
}

static void take_member(struct api_node *n, const struct member *m)
{
    n->state = state_of(m->state, m->is_leaving);
    n->addr = m->addr;
    n->incarnation = m->incarnation;
    n->changed_ns = m->changed_ns;
    n->rtt_ns = m->rtt_ns;
    n->meta = (struct span){m->meta, m->meta_len};
}

static int add_self(struct api_nodes *nodes, const struct census *c)
{
    char probe[PROBE_TEXT_SIZE], address[ADDR_TEXT_SIZE];
    struct api_node n = {.kind = API_KIND_SELF,
                         .state = API_STATE_STATIC,
                         .name = c->config->node.name,
                         .zone = c->config->node.zone,
                         .region = c->config->node.region,
                         .version = PROBER_VERSION,
                         .probe = probe,
                         .is_ours = true,
                         .is_in_matrix = true,
                         .is_source = roster_is_reporter(c->roster)};
    if (c->config->probe.host[0])
        snprintf(probe, sizeof(probe), "%s:%u", c->config->probe.host,
                 c->responder.port);
    else
        snprintf(probe, sizeof(probe), "%s",
                 addr_format(&c->responder, address));
    if (c->members)
        take_member(&n, members_peek(c->members, MEMBERS_SELF));
    return api_nodes_add(nodes, &n);
}

static enum api_node_kind kind_of(const struct roster_entry *e)
{
    switch ((enum roster_kind)e->kind) {
    case ROSTER_PEER:
        return API_KIND_PEER;
    case ROSTER_MEMBER:
        return API_KIND_MEMBER;
    case ROSTER_TARGET:
        break;
    }
    return API_KIND_TARGET;
}

/* Its meta, while the mesh still knows it. */
static struct span meta_of(const struct census *c, const struct roster_entry *e)
{
    if (!c->members || !e->is_member)
        return (struct span){0};
    uint32_t index = members_find(
        c->members, (struct span){(const uint8_t *)e->name, strlen(e->name)});
    if (index == UINT32_MAX)
        return (struct span){0};
    const struct member *m = members_peek(c->members, index);
    return (struct span){m->meta, m->meta_len};
}

static int add_entry(struct api_nodes *nodes, const struct census *c,
                     const struct roster_entry *e)
{
    char probe[PROBE_TEXT_SIZE];
    bool is_target = e->kind == ROSTER_TARGET;
    struct api_node n = {.kind = kind_of(e),
                         .state = API_STATE_STATIC,
                         .name = e->name,
                         .zone = e->zone,
                         .region = e->region,
                         .version = e->version[0] ? e->version : NULL,
                         .probe = probe,
                         .is_ours = !is_target,
                         .is_probed = e->is_probed,
                         .is_held = e->is_held,
                         .is_draining = e->is_leaving,
                         /* Of what is for other zones we know nothing. */
                         .is_in_matrix = e->is_probed || !is_target,
                         .is_source = e->is_expected_reporter};
    snprintf(probe, sizeof(probe),
             strchr(e->url.host, ':') ? "[%s]:%u" : "%s:%u", e->url.host,
             e->url.port);
    if (e->is_member) {
        n.state = state_of(e->state, e->is_leaving);
        n.addr = e->addr;
        n.incarnation = e->incarnation;
        n.changed_ns = e->changed_ns;
        n.rtt_ns = e->rtt_ns;
        n.meta = meta_of(c, e);
    }
    return api_nodes_add(nodes, &n);
}

/* The name of a member may be an outside target's: both are shown. */
static bool is_in_roster(const struct census *c, const struct member *m)
{
    const struct roster_entry *e = roster_find(c->roster, m->name);
    return e && e->is_member;
}

static int add_stranger(struct api_nodes *nodes, const struct member *m)
{
    struct facts f;
    struct api_node n = {.kind = API_KIND_MEMBER, .name = m->name};
    facts_decode((struct span){m->meta, m->meta_len}, &f);
    take_member(&n, m);
    if (f.is_ours) {
        n.is_ours = true;
        n.zone = f.zone;
        n.region = f.region;
        n.version = f.version;
    }
    return api_nodes_add(nodes, &n);
}

static int add_all(struct api_nodes *nodes, const struct census *c)
{
    int rc = add_self(nodes, c);
    for (size_t i = 0; i < roster_count(c->roster) && !rc; i++)
        rc = add_entry(nodes, c, roster_get(c->roster, i));
    for (size_t i = 1; c->members && i < members_size(c->members) && !rc; i++) {
        const struct member *m = members_peek(c->members, (uint32_t)i);
        if (m->name_len && !is_in_roster(c, m))
            rc = add_stranger(nodes, m);
    }
    return rc;
}

struct api_nodes *census_take(const struct census *c, uint64_t now_ns,
                              uint64_t now_unix_ns)
{
    struct api_nodes *nodes = api_nodes_open(now_ns, now_unix_ns, c->mesh);
    if (nodes && add_all(nodes, c)) {
        api_nodes_release(nodes);
        return NULL;
    }
    return nodes;
}
