#include "prober/principals.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/lockout.h"
#include "proto/base/rate.h"
#include "proto/base/siphash.h"
#include "proto/digest.h"

#define RATES_MAX 512 /* principals that made requests of late */

struct meter {
    uint32_t key;
    struct rate rate; /* paid up: the slot may be used for another */
};

struct known {
    uint32_t own_uid;
    size_t n_tokens, n_users, n_certificates;
    struct principal_token *tokens; /* owned */
    struct principal_user *users;
    struct principal_certificate *certificates;
    uint64_t price_ns, burst_ns; /* of requests */
};

struct principals {
    struct known known;
    struct lockout lockout;
    struct meter meters[RATES_MAX];
    struct principals_stats stats;
};

/* ---- life ---- */

static void known_fini(struct known *all)
{
    free(all->tokens);
    free(all->users);
    free(all->certificates);
}

/* A copy, or NULL without memory; also of nothing. */
static void *copy_of(const void *items, size_t n, size_t size)
{
    assert(n <= PRINCIPALS_MAX);
    void *copy = calloc(n + 1, size);
    if (copy && n)
        memcpy(copy, items, n * size);
    return copy;
}

static int known_init(struct known *all, const struct principals_config *c)
{
    uint64_t price_ns = rate_price(60, c->requests_per_minute);
    uint64_t burst_ns;
    if (__builtin_mul_overflow(price_ns, c->requests_burst, &burst_ns))
        burst_ns = c->requests_per_minute ? UINT64_MAX : 0;
    *all = (struct known){
        .own_uid = c->own_uid,
        .n_tokens = c->n_tokens,
        .n_users = c->n_users,
        .n_certificates = c->n_certificates,
        .tokens = copy_of(c->tokens, c->n_tokens, sizeof(*c->tokens)),
        .users = copy_of(c->users, c->n_users, sizeof(*c->users)),
        .certificates = copy_of(c->certificates, c->n_certificates,
                                sizeof(*c->certificates)),
        .price_ns = price_ns,
        .burst_ns = burst_ns,
    };
    if (all->tokens && all->users && all->certificates)
        return 0;
    known_fini(all);
    return ERR_NOMEM;
}

struct principals *principals_open(const struct principals_config *c)
{
    struct principals *p = calloc(1, sizeof(*p));
    if (p && known_init(&p->known, c)) {
        free(p);
        return NULL;
    }
    return p;
}

void principals_close(struct principals *p)
{
    if (!p)
        return;
    known_fini(&p->known);
    free(p);
}

int principals_reload(struct principals *p, const struct principals_config *c)
{
    struct known all;
    int err = known_init(&all, c);
    if (err)
        return err;
    known_fini(&p->known);
    p->known = all;
    return 0;
}

/* ---- who it is ---- */

/* The same for the same name, through every reload. */
static uint32_t key_of(const char *name)
{
    static const uint64_t fixed[2] = {0};
    return (uint32_t)siphash(fixed, name, strlen(name));
}

/* Of several ways the strongest role counts, the first of equals. */
static void propose(struct principal *best, enum role role, const char *kind,
                    const char *label)
{
    if (role <= best->role)
        return;
    best->role = role;
    int n = snprintf(best->name, sizeof(best->name), "%s%s", kind, label);
    assert(n > 0);
    assert((size_t)n < sizeof(best->name)); /* PRINCIPAL_LABEL_MAX */
    best->key = key_of(best->name);
}

static bool is_in_group(const struct httpd_peer *peer, uint32_t gid)
{
    if (peer->gid == gid)
        return true;
    for (size_t i = 0; i < peer->n_groups; i++) {
        if (peer->groups[i] == gid)
            return true;
    }
    return false;
}

static void judge_user(const struct known *all, const struct httpd_peer *peer,
                       struct principal *best)
{
    char uid[16];
    snprintf(uid, sizeof(uid), "%u", peer->uid);
    if (peer->uid == 0 || peer->uid == all->own_uid)
        propose(best, ROLE_ADMIN, "uid:", uid);
    for (size_t i = 0; i < all->n_users; i++) {
        const struct principal_user *u = &all->users[i];
        if (u->is_group ? is_in_group(peer, u->id) : peer->uid == u->id)
            propose(best, u->role, "uid:", uid);
    }
}

static void judge_certificate(const struct known *all,
                              const struct httpd_peer *peer,
                              struct principal *best)
{
    for (size_t i = 0; i < all->n_certificates; i++) {
        const struct principal_certificate *c = &all->certificates[i];
        for (size_t k = 0; k < peer->n_names; k++) {
            if (strcmp(peer->names[k], c->name) == 0)
                propose(best, c->role, "cert:", c->name);
        }
    }
}

/* All of them, whichever fits: how long it takes says nothing about how near
 * one came, nor which one it was. False: none of ours. */
static bool judge_token(struct principals *p, const char *authorization,
                        struct principal *best)
{
    const struct known *all = &p->known;
    const struct principal_token *found = NULL;
    uint8_t sum[DIGEST_SIZE];
    const char *token = principals_bearer(authorization);
    if (!token || digest_sha256(token, strlen(token), sum))
        return false;
    for (size_t i = 0; i < all->n_tokens; i++) {
        bool is_same = digest_equal(sum, all->tokens[i].sha256);
        found = is_same ? &all->tokens[i] : found;
        p->stats.compared++;
    }
    if (found)
        propose(best, found->role, "token:", found->name);
    return found != NULL;
}

/* Returns whether the place is, or was until now, open for tokens. */
static bool try_token(struct principals *p, uint64_t now_ns,
                      const struct httpd_peer *peer, const char *authorization,
                      struct principal *best)
{
    struct lockout_place place = peer->is_local
                                     ? lockout_place_of_user(peer->uid)
                                     : lockout_place_of_addr(&peer->addr);
    if (lockout_is_locked(&p->lockout, now_ns, place)) {
        p->stats.locked++;
        return false;
    }
    if (!judge_token(p, authorization, best)) {
        p->stats.wrong_tokens++;
        lockout_add(&p->lockout, now_ns, place);
    }
    return true;
}

enum identify_result principals_identify(struct principals *p, uint64_t now_ns,
                                         const struct httpd_peer *peer,
                                         const char *authorization,
                                         struct principal *out)
{
    struct principal best = {.role = ROLE_NONE};
    bool is_open = true;
    assert(peer->n_groups <= HTTPD_GROUPS_MAX);
    assert(peer->n_names <= HTTPD_NAMES_MAX);
    if (peer->is_local)
        judge_user(&p->known, peer, &best);
    else if (peer->is_tls)
        judge_certificate(&p->known, peer, &best);
    if (authorization && authorization[0])
        is_open = try_token(p, now_ns, peer, authorization, &best);
    if (best.role != ROLE_NONE) {
        *out = best;
        return IDENTIFY_OK;
    }
    return is_open ? IDENTIFY_UNKNOWN : IDENTIFY_LOCKED;
}

/* ---- how often ---- */

/* The principal's meter. A slot that is paid up is as good as an empty one, so
 * taking it over gives nobody anything. NULL: all are in use. */
static struct meter *meter_of(struct principals *p, uint64_t now_ns,
                              uint32_t key)
{
    struct meter *idle = NULL;
    for (size_t i = 0; i < RATES_MAX; i++) {
        struct meter *m = &p->meters[i];
        if (m->rate.paid_ns <= now_ns)
            idle = idle ? idle : m;
        else if (m->key == key)
            return m;
    }
    if (idle)
        *idle = (struct meter){.key = key};
    return idle;
}

bool principals_take_request(struct principals *p, uint64_t now_ns,
                             const struct principal *who)
{
    struct meter *m = meter_of(p, now_ns, who->key);
    if (m && rate_take(&m->rate, now_ns, p->known.price_ns, p->known.burst_ns))
        return true;
    p->stats.refused++;
    return false;
}

void principals_stats(const struct principals *p, struct principals_stats *out)
{
    *out = p->stats;
}

/* ---- what roles may ---- */

bool role_may(enum role role, enum control_action action)
{
    if ((unsigned)role > ROLE_ADMIN)
        return false;
    switch (action) {
    case ACTION_READ:
        return role >= ROLE_VIEWER;
    case ACTION_PROBE_KNOWN:
    case ACTION_CANCEL_OWN:
        return role >= ROLE_RUNNER;
    case ACTION_PROBE_OTHER:
        return role >= ROLE_PROBER;
    case ACTION_CANCEL_ANY:
    case ACTION_RELOAD:
    case ACTION_DRAIN:
        return role >= ROLE_ADMIN;
    case ACTION_N:
        break;
    }
    return false;
}
