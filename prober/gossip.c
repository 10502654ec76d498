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
    struct addr responder;
    size_t n_keys;
    uint8_t meta[ML_META_MAX]; /* as told to the others */
    size_t meta_len;
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

static int encode_facts(const struct config *c, const struct addr *responder,
                        const uint8_t fingerprint[32],
                        uint8_t meta[ML_META_MAX])
{
    const struct addr *told =
        c->gossip.advertise.family ? &c->gossip.advertise : &c->gossip.listen;
    char address[ADDR_TEXT_SIZE];
    struct facts f = {
        .is_ours = true,
        .port = responder->port,
        .protocols = c->probe.protocols,
        .tls = FACTS_TLS_PIN,
    };
    snprintf(f.version, sizeof(f.version), "%s", PROBER_VERSION);
    snprintf(f.zone, sizeof(f.zone), "%s", c->node.zone);
    snprintf(f.region, sizeof(f.region), "%s", c->node.region);
    /* A responder on one address alone is not found at another. */
    if (c->probe.host[0])
        snprintf(f.host, sizeof(f.host), "%s", c->probe.host);
    else if (!addr_is_any(responder) && !addr_same_ip(responder, told))
        snprintf(f.host, sizeof(f.host), "%s",
                 addr_format_ip(responder, address));
    memcpy(f.fingerprint, fingerprint, sizeof(f.fingerprint));
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
    int meta_len = encode_facts(c, &gc->responder, gc->fingerprint, g->meta);
    struct mesh_uv *uv = NULL;
    if (meta_len < 0 || !seeds) {
        errmsg_set(msg, "gossip: %s",
                   seeds ? "the names of this node are too long to be told"
                         : "out of memory");
        goto out;
    }
    g->meta_len = (size_t)meta_len;
    for (size_t i = 0; i < c->gossip.n_join; i++)
        snprintf(seeds[i], sizeof(seeds[i]), "%s", c->gossip.join[i]);
    struct mesh_uv_config config = {
        .loop = gc->loop,
        .listen = c->gossip.listen,
        .mesh = {.name = c->node.name,
                 .advertise = c->gossip.advertise,
                 .meta = {g->meta, g->meta_len},
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
    g->responder = c->responder;
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

/* ---- leaving ---- */

void gossip_leave(struct gossip *g)
{
    mesh_leave(mesh_uv_mesh(g->uv), clock_now_ns());
    mesh_uv_kick(g->uv);
}

bool gossip_has_left(const struct gossip *g)
{
    return mesh_has_left(mesh_uv_mesh(g->uv));
}

/* ---- another configuration ---- */

static int read_keys(const struct gossip *g, const struct config *to,
                     struct gossip_change *change, struct errmsg *msg)
{
    int rc = load_keys(to, change->keys, &change->n_keys, msg);
    if (!rc && !change->n_keys != !g->n_keys) {
        errmsg_set(msg, "gossip.keys_file: encryption cannot be switched on "
                        "or off while running");
        rc = ERR_BAD;
    }
    if (rc)
        log_event(LOG_ERROR, "keys_refused", "reason", msg->text, "effect",
                  "the keys stay as they were", NULL);
    return rc;
}

int gossip_prepare(const struct gossip *g, const struct config *to,
                   const uint8_t fingerprint[32], struct gossip_change *change,
                   struct errmsg *msg)
{
    int rc = read_keys(g, to, change, msg);
    if (rc)
        return rc;
    gossip_policy(to, &change->policy);
    int len = encode_facts(to, &g->responder, fingerprint, change->meta);
    if (len < 0) {
        errmsg_set(msg, "gossip: the names of this node are too long to be "
                        "told");
        return ERR_BAD;
    }
    change->meta_len = (size_t)len;
    return 0;
}

void gossip_change_fini(struct gossip_change *change)
{
    explicit_bzero(change->keys, sizeof(change->keys));
}

static void apply_keys(struct gossip *g, const struct gossip_change *change)
{
    struct errmsg msg = {{0}};
    char count[24];
    if (change->n_keys == 0)
        return;
    /* Parsed they are already, so that only memory can be lacking. */
    if (mesh_set_keys(mesh_uv_mesh(g->uv), change->keys, change->n_keys,
                      &msg)) {
        log_event(LOG_ERROR, "keys_refused", "reason", msg.text, "effect",
                  "the keys stay as they were", NULL);
        return;
    }
    g->n_keys = change->n_keys;
    snprintf(count, sizeof(count), "%zu", g->n_keys);
    log_event(LOG_INFO, "keys_reloaded", "count", count, NULL);
}

static void apply_seeds(struct gossip *g)
{
    const struct config *c = g->config;
    char seeds[MESH_SEEDS_MAX][MESH_SEED_SIZE] = {{0}};
    size_t n = c->gossip.n_join;
    for (size_t i = 0; i < n && i < MESH_SEEDS_MAX; i++)
        snprintf(seeds[i], sizeof(seeds[i]), "%s", c->gossip.join[i]);
    if (mesh_set_seeds(mesh_uv_mesh(g->uv),
                       (const char(*)[MESH_SEED_SIZE])seeds, n))
        log_event(LOG_ERROR, "seeds_refused", NULL);
}

static void apply_meta(struct gossip *g, const struct gossip_change *change)
{
    if (g->meta_len == change->meta_len &&
        !memcmp(g->meta, change->meta, g->meta_len))
        return; /* no news, so nothing to tell */
    g->meta_len = change->meta_len;
    memcpy(g->meta, change->meta, change->meta_len);
    int rc = mesh_set_meta(mesh_uv_mesh(g->uv), clock_now_ns(),
                           (struct span){g->meta, g->meta_len});
    if (rc)
        log_event(LOG_ERROR, "facts_not_told", "reason", err_name(rc), NULL);
}

void gossip_apply(struct gossip *g, const struct gossip_change *change)
{
    struct mesh *mesh = mesh_uv_mesh(g->uv);
    mesh_set_policy(mesh, &change->policy);
    mesh_set_accepts_clear(mesh, g->config->gossip.accepts_plaintext);
    apply_keys(g, change);
    apply_seeds(g);
    apply_meta(g, change);
    mesh_uv_kick(g->uv);
}
