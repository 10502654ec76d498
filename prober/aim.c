#include "prober/aim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/rng.h"

static void write_number(struct wr *w, unsigned long number)
{
    char text[24];
    snprintf(text, sizeof(text), "%lu ", number);
    wr_text(w, text);
}

/* In short: 64 networks would make a long line. */
static void write_policy(struct wr *w, const struct addr_policy *p)
{
    uint64_t hash = p != NULL;
    for (size_t i = 0; p && i < p->n_networks; i++) {
        const struct addr_network *n = &p->networks[i];
        const uint8_t form[] = {n->base.family, n->prefix};
        hash = hash_bytes(hash, form, sizeof(form));
        hash = hash_bytes(hash, n->base.ip, sizeof(n->base.ip));
    }
    write_number(w, (unsigned long)hash);
    write_number(w, p && p->allows_loopback);
}

void aim_write_how(const struct aim_want *want, struct wr *w)
{
    static const char hex[] = "0123456789abcdef";
    const struct url *u = want->url;

    write_number(w, u->scheme);
    write_number(w, u->port);
    write_number(w, want->protocols);
    write_number(w, want->ip_first);
    write_policy(w, want->policy);
    for (size_t i = 0; want->has_fingerprint && i < TLS_FINGERPRINT_SIZE; i++) {
        wr_u8(w, (uint8_t)hex[want->fingerprint[i] >> 4]);
        wr_u8(w, (uint8_t)hex[want->fingerprint[i] & 15]);
    }
    /* Neither host nor path can hold a space; the service comes last. */
    wr_text(w, " ");
    wr_text(w, u->host);
    wr_text(w, " ");
    wr_text(w, u->path);
    wr_text(w, " ");
    wr_text(w, want->service ? want->service : "");
}

struct aim_policy *aim_policy_share(struct aim_policy *latest,
                                    const struct addr_policy *policy)
{
    if (latest && addr_policy_equal(&latest->policy, policy)) {
        latest->n_users++;
        return latest;
    }
    struct aim_policy *p = calloc(1, sizeof(*p));
    if (p)
        *p = (struct aim_policy){.policy = *policy, .n_users = 1};
    return p;
}

void aim_policy_release(struct aim_policy *p)
{
    if (p && --p->n_users == 0)
        free(p);
}

static bool may_dial(const void *arg, const struct addr *a)
{
    return addr_policy_check(arg, a) == ADDR_ALLOWED;
}

/* What the URL and the hosts file give is known now, and refused at once; what
 * a lookup gives is judged by the attempt. */
static int check_address(const struct aim *a, const struct aim_want *want,
                         struct errmsg *msg)
{
    if (!want->policy || a->target.address.family == ADDR_NONE)
        return 0;
    enum addr_verdict verdict =
        addr_policy_check(want->policy, &a->target.address);
    if (verdict == ADDR_ALLOWED)
        return 0;
    errmsg_set(msg, "%s: its address may not be probed: %s", a->target.host,
               addr_verdict_name(verdict));
    return ERR_BAD;
}

static int set_policy(struct aim *a, const struct addr_policy *policy,
                      struct aim_policy *latest, struct errmsg *msg)
{
    if (!policy)
        return 0;
    a->policy = aim_policy_share(latest, policy);
    if (!a->policy) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    a->target.dial = (struct target_dial){may_dial, &a->policy->policy};
    return 0;
}

struct aim *aim_open(const struct aim_want *want, struct tls_context *tls,
                     const char *hosts, size_t hosts_len,
                     struct aim_policy *latest, int *err, struct errmsg *msg)
{
    size_t name_size = strlen(want->name) + 1;
    struct aim *a = calloc(1, sizeof(*a) + name_size);
    if (!a) {
        *err = ERR_NOMEM;
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    memcpy(a->name, want->name, name_size);
    a->protocols = want->protocols;
    for (size_t i = 0; i < AIM_KINDS; i++)
        a->entries[i] = -1;
    *err = target_init(&a->target, want->url, want->service, tls, msg);
    if (*err) {
        free(a);
        return NULL;
    }
    a->target.ip_first = want->ip_first;
    a->target.has_fingerprint = want->has_fingerprint;
    memcpy(a->target.fingerprint, want->fingerprint,
           sizeof(a->target.fingerprint));
    if (hosts)
        target_use_hosts(&a->target, hosts, hosts_len);
    *err = set_policy(a, want->policy, latest, msg);
    if (!*err)
        *err = check_address(a, want, msg);
    if (*err) {
        aim_close(a);
        return NULL;
    }
    return a;
}

void aim_close(struct aim *a)
{
    if (!a)
        return;
    target_fini(&a->target);
    aim_policy_release(a->policy);
    free(a);
}
