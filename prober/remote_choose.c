#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"
#include "prober/remote.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"

#define NAME_SIZE  129
#define SELF_INDEX UINT32_MAX

_Static_assert(FACTS_NAME_MAX < NAME_SIZE, "zones fit");
_Static_assert(ML_NAME_MAX < NAME_SIZE, "names fit");

/* ---- from ---- */

static bool is_zone(const char *text)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(text);
    return len > 0 && len < NAME_SIZE && strspn(text, good) == len;
}

/* As members have them: anything but control bytes. */
static bool is_node(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    }
    return len > 0 && len < NAME_SIZE;
}

int remote_from_parse(struct remote_from *f, const char *text)
{
    static const char zone[] = "zone:";
    bool has_zone = !strncmp(text, zone, sizeof(zone) - 1);
    const char *name = has_zone ? text + sizeof(zone) - 1 : text;
    struct remote_from from = {.kind = has_zone ? FROM_ZONE : FROM_NODE};
    if (!strcmp(text, "self"))
        from.kind = FROM_SELF;
    else if (!strcmp(text, "all-zones"))
        from.kind = FROM_ALL_ZONES;
    else if (has_zone ? !is_zone(name) : !is_node(name))
        return ERR_BAD;
    if (from.kind == FROM_ZONE || from.kind == FROM_NODE)
        memcpy(from.name, name, strlen(name) + 1);
    *f = from;
    return 0;
}

/* ---- candidates ---- */

enum rank { RANK_SELF, RANK_ALIVE, RANK_SUSPECT, RANK_DEAD };

struct candidate {
    uint32_t member;
    enum rank rank;
    uint64_t dice;
    char zone[NAME_SIZE];
};

static int compare(const void *pa, const void *pb)
{
    const struct candidate *a = pa, *b = pb;
    int by_zone = strcmp(a->zone, b->zone);
    if (by_zone)
        return by_zone;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    if (a->dice != b->dice)
        return a->dice < b->dice ? -1 : 1;
    return a->member < b->member ? -1 : a->member > b->member;
}

static bool is_meant(const struct remote_from *f, const char *zone)
{
    return f->kind == FROM_ALL_ZONES || !strcmp(f->name, zone);
}

static void zone_of(const struct member *m, char zone[NAME_SIZE])
{
    struct facts facts;
    facts_decode(span_of(m->meta, m->meta_len), &facts);
    memcpy(zone, facts.zone, sizeof(facts.zone));
}

static bool add_member(const struct members *members, uint32_t i,
                       const struct remote_from *f, uint64_t dice,
                       struct candidate *c)
{
    const struct member *m = members_peek(members, i);
    if (!m->name_len || !m->is_ours || i == MEMBERS_SELF ||
        m->state == MEMBER_LEFT)
        return false;
    zone_of(m, c->zone);
    if (!is_meant(f, c->zone))
        return false;
    c->member = i;
    c->dice = hash_bytes(dice, m->name, m->name_len);
    c->rank = m->state == MEMBER_ALIVE     ? RANK_ALIVE
              : m->state == MEMBER_SUSPECT ? RANK_SUSPECT
                                           : RANK_DEAD;
    return true;
}

static size_t collect(const struct members *members, const char *self_zone,
                      const struct remote_from *f, uint64_t dice,
                      struct candidate *c)
{
    size_t n = 0;
    if (is_meant(f, self_zone)) {
        c[n] = (struct candidate){.member = SELF_INDEX, .rank = RANK_SELF};
        memcpy(c[n].zone, self_zone, strnlen(self_zone, NAME_SIZE - 1));
        n++;
    }
    for (size_t i = 0; i < members_size(members); i++)
        n += add_member(members, (uint32_t)i, f, dice, &c[n]);
    return n;
}

/* ---- choosing ---- */

static void name_it(const struct members *members, const char *self_node,
                    const struct candidate *c, struct remote_executor *out)
{
    *out = (struct remote_executor){.member = c->member,
                                    .is_reachable = c->rank != RANK_DEAD};
    memcpy(out->zone, c->zone, sizeof(out->zone));
    if (c->member == SELF_INDEX) {
        memcpy(out->node, self_node, strnlen(self_node, NAME_SIZE - 1));
        return;
    }
    const struct member *m = members_peek(members, c->member);
    memcpy(out->node, m->name, m->name_len);
}

static size_t choose_node(const struct members *members, const char *self_node,
                          const char *self_zone, const char *name,
                          struct remote_executor *out)
{
    struct candidate c = {.member = SELF_INDEX, .rank = RANK_SELF};
    if (!strcmp(name, self_node)) {
        memcpy(c.zone, self_zone, strnlen(self_zone, NAME_SIZE - 1));
        name_it(members, self_node, &c, out);
        return 1;
    }
    uint32_t i = members_find(members, span_of_text(name));
    if (i == UINT32_MAX || i == MEMBERS_SELF ||
        !members_peek(members, i)->is_ours)
        return 0;
    const struct member *m = members_peek(members, i);
    c.member = i;
    c.rank = m->state <= MEMBER_SUSPECT ? RANK_ALIVE : RANK_DEAD;
    zone_of(m, c.zone);
    name_it(members, self_node, &c, out);
    return 1;
}

static size_t count_zones(const struct candidate *c, size_t n)
{
    size_t zones = 0;
    for (size_t i = 0; i < n; i++)
        zones += i == 0 || strcmp(c[i].zone, c[i - 1].zone) != 0;
    return zones;
}

/* Of sorted ones: the first of each zone, dead ones only if they are. */
static size_t take(const struct members *members, const char *self_node,
                   const struct candidate *c, size_t n, size_t per_zone,
                   struct remote_executor *out)
{
    size_t n_out = 0, in_zone = 0;
    for (size_t i = 0; i < n && n_out < REMOTE_EXECUTORS_MAX; i++) {
        if (i > 0 && strcmp(c[i].zone, c[i - 1].zone) != 0)
            in_zone = 0;
        if (in_zone >= per_zone || (in_zone > 0 && c[i].rank == RANK_DEAD))
            continue;
        name_it(members, self_node, &c[i], &out[n_out++]);
        in_zone++;
    }
    return n_out;
}

size_t remote_choose(const struct members *members, const char *self_node,
                     const char *self_zone, const struct remote_from *f,
                     unsigned per_zone, uint64_t dice,
                     struct remote_executor *out)
{
    assert(per_zone >= 1);
    if (f->kind == FROM_SELF || f->kind == FROM_NODE)
        return choose_node(members, self_node, self_zone,
                           f->kind == FROM_SELF ? self_node : f->name, out);
    struct candidate *c = calloc(members_size(members) + 1, sizeof(*c));
    if (!c)
        return 0;
    size_t n = collect(members, self_zone, f, dice, c);
    qsort(c, n, sizeof(*c), compare);
    size_t zones = count_zones(c, n);
    size_t most = zones ? REMOTE_EXECUTORS_MAX / zones : 0;
    if (most < 1)
        most = 1;
    size_t chosen =
        take(members, self_node, c, n, per_zone < most ? per_zone : most, out);
    free(c);
    return chosen;
}
