#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/roster_private.h"
#include "proto/base/rng.h"

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

/* The bytes of names in the configuration: safe wherever they are printed. */
static bool is_plain(const struct member *m)
{
    if (m->name_len == 0 || m->name_len > CONFIG_NAME_MAX)
        return false;
    for (size_t i = 0; i < m->name_len; i++) {
        char c = m->name[i];
        bool is_ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!is_ok)
            return false;
    }
    return true;
}

/* ---- members ---- */

static bool is_up(const struct member *m)
{
    return m->state == MEMBER_ALIVE || m->state == MEMBER_SUSPECT;
}

/* A literal address is somebody's word that there is a prober: it must not
 * aim us at what nobody else could reach. */
static bool may_probe(const struct roster *r, const struct url *u)
{
    struct addr a;
    if (!u->is_literal)
        return true;
    if (addr_parse_ip(&a, u->host))
        return false;
    a.port = u->port;
    return addr_policy_check(r->policy, &a) == ADDR_ALLOWED;
}

static void take_facts(const struct roster *r, struct record *record,
                       const struct member *m, const struct facts *f)
{
    struct roster_entry *e = &record->entry;
    char address[ADDR_TEXT_SIZE];
    copy_text(e->zone, sizeof(e->zone), f->zone);
    copy_text(e->region, sizeof(e->region), f->region);
    copy_text(e->version, sizeof(e->version), f->version);
    addr_format_ip(&m->addr, address);
    roster_fill_url(&e->url, f->host[0] ? f->host : address, f->port,
                    f->tls == FACTS_TLS_OFF);
    e->protocols = f->protocols & r->config->probe.protocols;
    e->has_fingerprint = f->tls == FACTS_TLS_PIN;
    memset(e->fingerprint, 0, sizeof(e->fingerprint));
    if (e->has_fingerprint)
        memcpy(e->fingerprint, f->fingerprint, sizeof(e->fingerprint));
    record->is_able = f->can_probe && e->protocols && may_probe(r, &e->url);
}

/* A static peer keeps what the configuration says; for want of that it is
 * where it says to be. */
static void take_gaps(struct roster_entry *e, const struct config_peer *peer,
                      const struct facts *f)
{
    copy_text(e->version, sizeof(e->version), f->version);
    if (!strcmp(peer->zone, "unknown"))
        copy_text(e->zone, sizeof(e->zone), f->zone);
    if (!strcmp(peer->region, "unknown"))
        copy_text(e->region, sizeof(e->region), f->region);
}

static bool is_probed_alike(const struct roster_entry *a,
                            const struct roster_entry *b)
{
    if (a->is_probed != b->is_probed || a->protocols != b->protocols ||
        a->has_fingerprint != b->has_fingerprint ||
        a->url.scheme != b->url.scheme || a->url.port != b->url.port)
        return false;
    return !strcmp(a->zone, b->zone) && !strcmp(a->region, b->region) &&
           !strcmp(a->url.host, b->url.host) &&
           !memcmp(a->fingerprint, b->fingerprint, sizeof(a->fingerprint));
}

static uint64_t hash_facts(const struct member *m)
{
    uint64_t h = hash_bytes(m->addr.family, m->addr.ip, sizeof(m->addr.ip));
    h = hash_bytes(h + m->addr.port, m->meta, m->meta_len);
    return h ? h : 1;
}

/* True if it is to be probed otherwise than before. */
static bool take_meta(const struct roster *r, struct record *record,
                      const struct member *m, const struct facts *f)
{
    struct roster_entry *e = &record->entry;
    struct roster_entry before = *e;
    record->facts_hash = hash_facts(m);
    record->has_prober = f->can_probe;
    copy_text(record->mesh_zone, sizeof(record->mesh_zone), f->zone);
    if (record->peer)
        take_gaps(e, record->peer, f);
    else
        take_facts(r, record, m, f);
    return !is_probed_alike(&before, e);
}

static void take_state(struct record *record, const struct member *m)
{
    struct roster_entry *e = &record->entry;
    record->is_seen = true;
    e->is_member = true;
    e->state = m->state;
    e->is_leaving = m->is_leaving && is_up(m);
    e->addr = m->addr;
    e->incarnation = m->incarnation;
    e->changed_ns = m->changed_ns;
    e->rtt_ns = m->rtt_ns;
}

static struct span meta_of(const struct member *m)
{
    return (struct span){m->meta, m->meta_len};
}

/* The one that has been failed for longest makes room. */
static size_t find_longest_failed(const struct roster *r)
{
    size_t found = r->n;
    for (size_t i = r->n_fixed; i < r->n; i++) {
        const struct record *a = r->records[i];
        if (a->is_seen)
            continue; /* the mesh knows of it, and has limits of its own */
        if (found == r->n ||
            a->kept_since_ns < r->records[found]->kept_since_ns)
            found = i;
    }
    return found;
}

static void drop(struct roster *r, size_t i)
{
    free(r->records[i]);
    memmove(&r->records[i], &r->records[i + 1],
            (r->n - i - 1) * sizeof(struct record *));
    r->n--;
}

/* Take up a member that is new to us. True if it is now there. */
static bool add_member(struct roster *r, const struct member *m,
                       uint64_t now_ns)
{
    struct facts f;
    facts_decode(meta_of(m), &f);
    if (!f.is_ours)
        return false;
    if (r->n - r->n_fixed == ROSTER_MEMBERS_MAX) {
        size_t i = find_longest_failed(r);
        if (i == r->n)
            return false;
        drop(r, i);
        roster_index_names(r);
    }
    struct record *record = roster_add_record(r);
    if (!record)
        return false;
    record->entry.kind = ROSTER_MEMBER;
    record->is_in_choice = true;
    memcpy(record->entry.name, m->name, m->name_len);
    record->kept_since_ns = now_ns;
    take_state(record, m);
    take_meta(r, record, m, &f);
    return true;
}

/* News about one that we know. True if it is to be probed otherwise. */
static bool refresh_member(const struct roster *r, struct record *record,
                           const struct member *m)
{
    struct facts f;
    if (record->entry.kind == ROSTER_TARGET)
        return false; /* the name is the configuration's */
    if (record->facts_hash == hash_facts(m)) {
        take_state(record, m);
        return false;
    }
    facts_decode(meta_of(m), &f);
    if (!f.is_ours)
        return false; /* not any more: as if it were forgotten */
    take_state(record, m);
    return take_meta(r, record, m, &f);
}

/* ---- keeping ---- */

/* Does a live member of another name gossip from there now? */
static bool is_replaced(const struct members *ms, const struct roster_entry *e)
{
    uint32_t index = members_at(ms, &e->addr, false);
    if (index == UINT32_MAX)
        return false;
    const struct member *m = members_peek(ms, index);
    return is_up(m) && (strlen(e->name) != m->name_len ||
                        memcmp(e->name, m->name, m->name_len) != 0);
}

static bool is_to_be_dropped(const struct roster *r, struct record *record,
                             const struct members *ms, uint64_t now_ns)
{
    struct roster_entry *e = &record->entry;
    if (!record->is_seen && e->state != MEMBER_LEFT)
        e->state = MEMBER_DEAD; /* forgotten */
    if (!record->is_seen)
        e->is_leaving = false;
    bool is_lost = e->state == MEMBER_DEAD;
    e->is_held = is_lost && r->is_holding;
    if (!is_lost || r->is_holding)
        record->kept_since_ns = now_ns;
    if (e->state == MEMBER_LEFT)
        return true;
    return is_lost && (now_ns - record->kept_since_ns >= ROSTER_KEEP_NS ||
                       is_replaced(ms, e));
}

/* True if one was dropped. */
static bool sort_out(struct roster *r, const struct members *ms,
                     uint64_t now_ns)
{
    size_t kept = r->n_fixed;
    for (size_t i = r->n_fixed; i < r->n; i++) {
        if (is_to_be_dropped(r, r->records[i], ms, now_ns))
            free(r->records[i]);
        else
            r->records[kept++] = r->records[i];
    }
    bool is_changed = kept != r->n;
    r->n = kept;
    return is_changed;
}

/* A peer that was a member stays, in whatever state; but in the choice of who
 * probes whom it takes part no longer than it would if it were no peer, for
 * to the other nodes it may be none. */
static void note_peers(struct roster *r, const struct members *ms,
                       uint64_t now_ns)
{
    for (size_t i = 0; i < r->n_fixed; i++) {
        struct record *record = r->records[i];
        if (!record->entry.is_member)
            continue;
        record->is_in_choice = !is_to_be_dropped(r, record, ms, now_ns);
        record->entry.is_held = false;
    }
}

/* Is nobody but this node alive, as far as the mesh knows? */
static bool is_lost(const struct members *ms)
{
    for (size_t i = 0; i < members_size(ms); i++) {
        const struct member *m = members_peek(ms, (uint32_t)i);
        if (i != MEMBERS_SELF && m->name_len && is_up(m))
            return false;
    }
    return true;
}

bool roster_update(struct roster *r, const struct members *ms, uint64_t now_ns)
{
    bool is_changed = false;
    for (size_t i = 0; i < r->n; i++)
        r->records[i]->is_seen = false;
    for (size_t i = 0; i < members_size(ms); i++) {
        const struct member *m = members_peek(ms, (uint32_t)i);
        if (i == MEMBERS_SELF || !is_plain(m))
            continue;
        struct record *record = roster_record(r, m->name, m->name_len);
        if (record)
            is_changed |= refresh_member(r, record, m);
    }
    r->is_holding = r->n > r->n_fixed && is_lost(ms);
    note_peers(r, ms, now_ns);
    is_changed |= sort_out(r, ms, now_ns);
    roster_index_names(r);
    for (size_t i = 0; i < members_size(ms); i++) {
        const struct member *m = members_peek(ms, (uint32_t)i);
        if (i != MEMBERS_SELF && is_plain(m) && is_up(m) &&
            !roster_record(r, m->name, m->name_len))
            is_changed |= add_member(r, m, now_ns);
    }
    roster_index_names(r);
    is_changed |= roster_choose(r);
    return is_changed;
}
