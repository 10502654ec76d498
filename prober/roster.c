#include "prober/roster_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/rng.h"

static const size_t records_max =
    CONFIG_PEERS_MAX + CONFIG_TARGETS_MAX + ROSTER_MEMBERS_MAX;

/* ---- names ---- */

static uint32_t *find_place(const struct roster *r, const char *name,
                            size_t len)
{
    size_t at = (size_t)hash_bytes(0, name, len) & r->mask;
    for (;; at = (at + 1) & r->mask) {
        if (r->places[at] == 0)
            return &r->places[at];
        const char *other = r->records[r->places[at] - 1]->entry.name;
        if (strlen(other) == len && !memcmp(other, name, len))
            return &r->places[at];
    }
}

void roster_index_names(struct roster *r)
{
    memset(r->places, 0, (r->mask + 1) * sizeof(*r->places));
    for (size_t i = 0; i < r->n; i++) {
        const char *name = r->records[i]->entry.name;
        *find_place(r, name, strlen(name)) = (uint32_t)i + 1;
    }
}

struct record *roster_record(const struct roster *r, const char *name,
                             size_t len)
{
    uint32_t number = *find_place(r, name, len);
    return number ? r->records[number - 1] : NULL;
}

/* ---- the configuration's ---- */

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

void roster_fill_url(struct url *u, const char *host, uint16_t port,
                     bool is_plaintext)
{
    struct addr literal;
    char text[ADDR_TEXT_SIZE];
    *u = (struct url){
        .scheme = is_plaintext ? URL_HTTP : URL_HTTPS,
        .is_tls = !is_plaintext,
        .port = port,
        .has_port = true,
        .path = "/probe",
    };
    u->is_literal = addr_parse_ip(&literal, host) == 0;
    copy_text(u->host, sizeof(u->host),
              u->is_literal ? addr_format_ip(&literal, text) : host);
    /* As url_parse() has it, so that equal hosts are equal. */
    size_t len = strlen(u->host);
    if (len > 1 && u->host[len - 1] == '.')
        u->host[len - 1] = '\0';
    for (char *c = u->host; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 'a' - 'A' : *c);
}

struct record *roster_add_record(struct roster *r)
{
    struct record *record = calloc(1, sizeof(*record));
    if (record)
        r->records[r->n++] = record;
    return record;
}

static int add_peer(struct roster *r, const struct config_peer *peer)
{
    char address[ADDR_TEXT_SIZE];
    struct record *record = roster_add_record(r);
    if (!record)
        return ERR_NOMEM;
    struct roster_entry *e = &record->entry;
    record->peer = peer;
    e->kind = ROSTER_PEER;
    e->is_probed = true;
    copy_text(e->name, sizeof(e->name), peer->name);
    copy_text(e->zone, sizeof(e->zone), peer->zone);
    copy_text(e->region, sizeof(e->region), peer->region);
    addr_format_ip(&peer->address, address);
    roster_fill_url(&e->url, peer->host[0] ? peer->host : address, peer->port,
                    peer->is_plaintext);
    e->protocols = r->config->probe.protocols;
    e->has_fingerprint = peer->has_fingerprint;
    memcpy(e->fingerprint, peer->fingerprint, sizeof(e->fingerprint));
    return 0;
}

static bool is_for_zone(const struct config_target *t, const char *zone)
{
    for (size_t i = 0; i < t->n_zones; i++) {
        if (!strcmp(t->zones[i], zone))
            return true;
    }
    return t->n_zones == 0;
}

static int add_target(struct roster *r, const struct config_target *t)
{
    struct record *record = roster_add_record(r);
    if (!record)
        return ERR_NOMEM;
    struct roster_entry *e = &record->entry;
    e->kind = ROSTER_TARGET;
    e->is_probed = is_for_zone(t, r->config->node.zone);
    copy_text(e->name, sizeof(e->name), t->name);
    copy_text(e->zone, sizeof(e->zone), t->zone);
    copy_text(e->region, sizeof(e->region), t->region);
    e->url = t->url;
    e->protocols = t->protocols;
    e->service = t->service;
    e->has_fingerprint = t->has_fingerprint;
    memcpy(e->fingerprint, t->fingerprint, sizeof(e->fingerprint));
    return 0;
}

static int add_configured(struct roster *r)
{
    int rc = 0;
    for (size_t i = 0; i < r->config->n_peers && !rc; i++)
        rc = add_peer(r, &r->config->peers[i]);
    for (size_t i = 0; i < r->config->n_targets && !rc; i++)
        rc = add_target(r, &r->config->targets[i]);
    r->n_fixed = r->n;
    return rc;
}

struct roster *roster_open(const struct config *config,
                           const struct addr_policy *policy)
{
    struct roster *r = calloc(1, sizeof(*r));
    size_t places = 16;
    if (!r)
        return NULL;
    assert(config->n_peers + config->n_targets <= records_max);
    while (places < 2 * records_max)
        places *= 2;
    r->config = config;
    r->policy = policy;
    r->is_reporter = true;
    r->mask = places - 1;
    r->records = calloc(records_max, sizeof(struct record *));
    r->places = calloc(places, sizeof(*r->places));
    if (!r->records || !r->places || add_configured(r)) {
        roster_close(r);
        return NULL;
    }
    roster_index_names(r);
    return r;
}

void roster_close(struct roster *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        free(r->records[i]);
    free(r->records);
    free(r->places);
    free(r);
}

/* A member that is a peer or target now keeps no record of its own. */
static size_t keep_members(struct roster *r, const struct roster *other,
                           struct record **kept)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct record *record = r->records[i];
        const char *name = record->entry.name;
        if (i < r->n_fixed || roster_record(other, name, strlen(name)))
            free(record);
        else
            kept[n++] = record;
    }
    return n;
}

void roster_replace(struct roster *r, struct roster *other)
{
    assert(other->n == other->n_fixed);
    size_t n = keep_members(r, other, r->records);
    assert(other->n + n <= records_max);
    memmove(r->records + other->n, r->records, n * sizeof(struct record *));
    memcpy(r->records, other->records, other->n * sizeof(struct record *));
    r->n_fixed = other->n;
    r->n = other->n + n;
    other->n = other->n_fixed = 0;
    roster_close(other);
    /* What members say is judged anew, and who probes whom. */
    for (size_t i = 0; i < r->n; i++)
        r->records[i]->facts_hash = 0;
    r->is_choice_done = false;
    roster_index_names(r);
}

/* ---- reading ---- */

size_t roster_count(const struct roster *r)
{
    return r->n;
}

const struct roster_entry *roster_get(const struct roster *r, size_t i)
{
    assert(i < r->n);
    return &r->records[i]->entry;
}

const struct roster_entry *roster_find(const struct roster *r, const char *name)
{
    const struct record *record = roster_record(r, name, strlen(name));
    return record ? &record->entry : NULL;
}

bool roster_is_reporter(const struct roster *r)
{
    return r->is_reporter;
}

bool roster_is_holding(const struct roster *r)
{
    return r->is_holding;
}
