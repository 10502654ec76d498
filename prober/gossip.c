#include "prober/gossip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"
#include "prober/clock.h"
#include "prober/keys.h"
#include "prober/log.h"

struct gossip {
    const struct config *config;
    struct mesh_uv *uv;
    void (*on_change)(void *arg);
    void (*on_message)(void *arg, const struct addr *from, struct span message);
    void *arg;
    size_t n_keys;
    bool is_name_taken;
};

_Static_assert(sizeof(((struct config *)0)->gossip.join[0]) <= MESH_SEED_SIZE,
               "what the configuration takes as a seed, the mesh takes");

void gossip_policy(const struct config *c, struct addr_policy *policy)
{
    *policy = (struct addr_policy){.n_networks = c->gossip.n_allow};
    memcpy(policy->networks, c->gossip.allow,
           c->gossip.n_allow * sizeof(policy->networks[0]));
    policy->allows_loopback = addr_is_loopback(&c->gossip.listen) ||
                              addr_is_loopback(&c->gossip.advertise);
    for (size_t i = 0; i < c->gossip.n_allow; i++) {
        if (addr_is_loopback(&c->gossip.allow[i].base))
            policy->allows_loopback = true;
    }
}

/* ---- what happens there ---- */

static const struct member *member_of(const struct gossip *g,
                                      const struct mesh_effect *e)
{
    const struct members *ms = mesh_members(mesh_uv_mesh(g->uv));
    if (e->id >= members_size(ms))
        return NULL;
    const struct member *m = members_peek(ms, e->id);
    return m->name_len ? m : NULL;
}

/* Names and zones are what the sender chose; the log escapes them. */
static void log_member(const struct gossip *g, enum config_log_level level,
                       const char *event, const struct mesh_effect *e)
{
    char address[ADDR_TEXT_SIZE];
    struct facts facts;
    const struct member *m = member_of(g, e);
    if (!m)
        return;
    facts_decode((struct span){m->meta, m->meta_len}, &facts);
    struct log_pair pairs[] = {
        {"node", m->name},
        {"zone", facts.is_ours ? facts.zone : NULL},
        {"address", addr_format(&m->addr, address)},
        {NULL, NULL},
    };
    log_pairs(level, event, pairs);
}

static void log_conflict(const struct gossip *g, const struct mesh_effect *e)
{
    char address[ADDR_TEXT_SIZE], claimed[ADDR_TEXT_SIZE];
    const struct member *m = member_of(g, e);
    if (m)
        log_event(LOG_WARN, "name_conflict", "node", m->name, "address",
                  addr_format(&m->addr, address), "claimed_by",
                  addr_format(&e->to, claimed), NULL);
}

static void on_event(struct gossip *g, const struct mesh_effect *e)
{
    switch (e->event) {
    case MESH_JOINED:
        log_member(g, LOG_INFO, "member_joined", e);
        break;
    case MESH_UPDATED:
        log_member(g, LOG_INFO, "member_updated", e);
        break;
    case MESH_SUSPECTED:
        log_member(g, LOG_INFO, "member_suspected", e);
        break;
    case MESH_REFUTED:
        log_member(g, LOG_INFO, "member_refuted", e);
        break;
    case MESH_FAILED:
        log_member(g, LOG_WARN, "member_failed", e);
        break;
    case MESH_LEFT:
        log_member(g, LOG_INFO, "member_left", e);
        break;
    case MESH_FORGOTTEN:
        log_member(g, LOG_DEBUG, "member_forgotten", e);
        break;
    case MESH_CONFLICT:
        log_conflict(g, e);
        break;
    case MESH_NAME_TAKEN:
        log_event(LOG_ERROR, "name_taken", "node", g->config->node.name,
                  "effect", "this node stops; names must be unique", NULL);
        g->is_name_taken = true;
        break;
    case MESH_INCOMPATIBLE:
        log_event(LOG_WARN, "member_incompatible", "node",
                  e->text ? e->text : "", "effect", "not joined", NULL);
        break;
    case MESH_CONNECTED:
        log_event(LOG_INFO, "mesh_connected", NULL);
        break;
    case MESH_ALONE:
        log_event(LOG_WARN, "mesh_alone", "effect",
                  "the last known members are probed on", NULL);
        break;
    case MESH_STALLED:
        log_event(LOG_WARN, "mesh_stalled", "reason",
                  "this process did not run for a while", NULL);
        break;
    case MESH_EVENT_N:
        break;
    }
}

static void on_effect(void *arg, const struct mesh_effect *e)
{
    struct gossip *g = arg;
    if (e->kind == MESH_USER && g->on_message)
        g->on_message(g->arg, &e->from, e->data);
    if (e->kind != MESH_EVENT)
        return;
    on_event(g, e);
    g->on_change(g->arg);
}

/* ---- opening ---- */

static bool is_any(const struct addr *a)
{
    static const uint8_t zero[16];
    return !memcmp(a->ip, zero, sizeof(zero));
}

static bool is_same_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && !memcmp(a->ip, b->ip, sizeof(a->ip));
}

static int encode_facts(const struct gossip_config *gc,
                        uint8_t meta[ML_META_MAX])
{
    const struct config *c = gc->config;
    const struct addr *told =
        c->gossip.advertise.family ? &c->gossip.advertise : &c->gossip.listen;
    char address[ADDR_TEXT_SIZE];
    struct facts f = {
        .is_ours = true,
        .port = gc->responder.port,
        .protocols = c->probe.protocols,
        .tls = FACTS_TLS_PIN,
    };
    snprintf(f.version, sizeof(f.version), "%s", PROBER_VERSION);
    snprintf(f.zone, sizeof(f.zone), "%s", c->node.zone);
    snprintf(f.region, sizeof(f.region), "%s", c->node.region);
    /* A responder on one address alone is not found at another. */
    if (c->probe.host[0])
        snprintf(f.host, sizeof(f.host), "%s", c->probe.host);
    else if (!is_any(&gc->responder) && !is_same_ip(&gc->responder, told))
        snprintf(f.host, sizeof(f.host), "%s",
                 addr_format_ip(&gc->responder, address));
    memcpy(f.fingerprint, gc->fingerprint, sizeof(f.fingerprint));
    if (c->probe.is_plaintext)
        f.tls = FACTS_TLS_OFF;
    else if (c->tls.ca[0] && c->tls.certificate[0])
        f.tls = FACTS_TLS_CA; /* which vouches for more than this one */
    return facts_encode(&f, meta);
}

/* No keys file: no keys. */
static int load_keys(const struct config *c, struct ml_key keys[ML_KEYRING_MAX],
                     size_t *n, struct errmsg *msg)
{
    struct errmsg warning = {{0}};
    *n = 0;
    if (!c->gossip.keys_file[0])
        return 0;
    int rc = keys_load(c->gossip.keys_file, keys, n, &warning, msg);
    if (warning.text[0])
        log_event(LOG_WARN, "keys_file", "warning", warning.text, NULL);
    return rc;
}

static struct mesh_uv *open_mesh(struct gossip *g,
                                 const struct gossip_config *gc,
                                 const struct ml_key *keys, struct errmsg *msg)
{
    const struct config *c = gc->config;
    char(*seeds)[MESH_SEED_SIZE] =
        calloc(c->gossip.n_join ? c->gossip.n_join : 1, sizeof(*seeds));
    uint8_t meta[ML_META_MAX];
    int meta_len = encode_facts(gc, meta);
    struct mesh_uv *uv = NULL;
    if (meta_len < 0 || !seeds) {
        errmsg_set(msg, "gossip: %s",
                   seeds ? "the names of this node are too long to be told"
                         : "out of memory");
        goto out;
    }
    for (size_t i = 0; i < c->gossip.n_join; i++)
        snprintf(seeds[i], sizeof(seeds[i]), "%s", c->gossip.join[i]);
    struct mesh_uv_config config = {
        .loop = gc->loop,
        .listen = c->gossip.listen,
        .mesh = {.name = c->node.name,
                 .advertise = c->gossip.advertise,
                 .meta = {meta, (size_t)meta_len},
                 .label = c->gossip.label,
                 .keys = keys,
                 .n_keys = g->n_keys,
                 .accepts_clear = c->gossip.accepts_plaintext,
                 .n_seeds = c->gossip.n_join,
                 .seeds = (const char(*)[MESH_SEED_SIZE])seeds,
                 .timing = mesh_timing_lan,
                 .limits = mesh_limits_default,
                 .policy = *gc->policy},
        .on_effect = on_effect,
        .arg = g,
    };
    uv = mesh_uv_open(&config, msg);
out:
    free(seeds);
    return uv;
}

struct gossip *gossip_open(const struct gossip_config *c, struct errmsg *msg)
{
    struct ml_key keys[ML_KEYRING_MAX];
    struct gossip *g = calloc(1, sizeof(*g));
    if (!g) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    g->config = c->config;
    g->on_change = c->on_change;
    g->on_message = c->on_message;
    g->arg = c->arg;
    if (!load_keys(c->config, keys, &g->n_keys, msg))
        g->uv = open_mesh(g, c, keys, msg);
    explicit_bzero(keys, sizeof(keys));
    if (!g->uv) {
        free(g);
        return NULL;
    }
    return g;
}

void gossip_close(struct gossip *g)
{
    if (!g)
        return;
    mesh_uv_close(g->uv);
    free(g);
}

/* ---- reading ---- */

const struct members *gossip_members(const struct gossip *g)
{
    return mesh_members(mesh_uv_mesh(g->uv));
}

void gossip_address(const struct gossip *g, struct addr *advertised)
{
    mesh_uv_address(g->uv, advertised);
}

void gossip_describe(const struct gossip *g, struct api_mesh *out)
{
    const struct members *ms = gossip_members(g);
    *out = (struct api_mesh){
        .is_on = true,
        .accepts_clear = g->config->gossip.accepts_plaintext,
        .n_keys = g->n_keys,
        .label = g->config->gossip.label,
        .alive = members_count_state(ms, MEMBER_ALIVE),
        .suspect = members_count_state(ms, MEMBER_SUSPECT),
        .left = members_count_state(ms, MEMBER_LEFT),
        .failed = members_count_state(ms, MEMBER_DEAD),
    };
    mesh_stats(mesh_uv_mesh(g->uv), &out->stats);
}

bool gossip_is_name_taken(const struct gossip *g)
{
    return g->is_name_taken;
}

/* ---- messages of ours ---- */

int gossip_send(struct gossip *g, uint32_t member, struct span message,
                bool by_stream)
{
    return mesh_send(mesh_uv_mesh(g->uv), clock_now_ns(), member, message,
                     by_stream);
}

void gossip_kick(struct gossip *g)
{
    mesh_uv_kick(g->uv);
}

/* ---- leaving, new keys ---- */

void gossip_leave(struct gossip *g)
{
    mesh_leave(mesh_uv_mesh(g->uv), clock_now_ns());
    mesh_uv_kick(g->uv);
}

bool gossip_has_left(const struct gossip *g)
{
    return mesh_has_left(mesh_uv_mesh(g->uv));
}

void gossip_reload_keys(struct gossip *g)
{
    struct ml_key keys[ML_KEYRING_MAX];
    struct errmsg msg = {{0}};
    char count[24];
    size_t n;
    if (!g->config->gossip.keys_file[0])
        return;
    int rc = load_keys(g->config, keys, &n, &msg);
    if (!rc)
        rc = mesh_set_keys(mesh_uv_mesh(g->uv), keys, n, &msg);
    explicit_bzero(keys, sizeof(keys));
    if (rc) {
        log_event(LOG_ERROR, "keys_refused", "reason", msg.text, "effect",
                  "the keys stay as they were", NULL);
        return;
    }
    g->n_keys = n;
    snprintf(count, sizeof(count), "%zu", n);
    log_event(LOG_INFO, "keys_reloaded", "count", count, NULL);
    mesh_uv_kick(g->uv);
}
