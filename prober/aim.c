#include "prober/aim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_number(struct wr *w, unsigned long number)
{
    char text[24];
    snprintf(text, sizeof(text), "%lu ", number);
    wr_text(w, text);
}

void aim_write_how(const struct aim_want *want, struct wr *w)
{
    static const char hex[] = "0123456789abcdef";
    const struct url *u = want->url;

    write_number(w, u->scheme);
    write_number(w, u->port);
    write_number(w, want->protocols);
    write_number(w, want->ip_first);
    write_number(w, want->policy != NULL);
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

/* What a name stands for in the hosts file is as good as an address. */
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

struct aim *aim_open(const struct aim_want *want, struct tls_context *tls,
                     const char *hosts, size_t hosts_len, int *err,
                     struct errmsg *msg)
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
    free(a);
}
