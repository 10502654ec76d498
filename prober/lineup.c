#include "prober/lineup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

struct lineup {
    uint32_t generation;
    size_t n_slots;              /* ever used */
    size_t n_current, n_leaving; /* both kinds of is_current, and the latter */
    struct lineup_target *slots[LINEUP_SLOTS_MAX]; /* newest record of each */
    /* Slots that may be given out; the last one given back comes first. */
    size_t n_free;
    uint32_t free_slots[LINEUP_SLOTS_MAX];
};

struct lineup *lineup_open(void)
{
    return calloc(1, sizeof(struct lineup));
}

/* ---- records ---- */

static void free_target(struct lineup_target *t)
{
    if (!t)
        return;
    free(t->name);
    free(t->zone);
    free(t->region);
    free(t->text);
    free(t->how);
    free(t);
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static struct lineup_target *new_target(const struct lineup_want *w)
{
    struct lineup_target *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->name = strdup(w->name);
    t->zone = strdup(text_or_empty(w->zone));
    t->region = strdup(text_or_empty(w->region));
    t->text = strdup(w->text);
    t->how = strdup(w->how);
    if (!t->name || !t->zone || !t->region || !t->text || !t->how) {
        free_target(t);
        return NULL;
    }
    return t;
}

void lineup_close(struct lineup *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n_slots; i++) {
        for (struct lineup_target *t = l->slots[i], *older; t; t = older) {
            older = t->older;
            free_target(t);
        }
    }
    free(l);
}

/* Take a record that nobody needs out of its slot's list. */
static void remove_target(struct lineup *l, struct lineup_target *t)
{
    struct lineup_target **at = &l->slots[t->slot];
    while (*at != t)
        at = &(*at)->older;
    *at = t->older;
    free_target(t);
}

/* ---- planning ---- */

/* A table from name and how to records, alive only while a plan is made. Open
 * addressing, never more than half full. */
struct index {
    struct lineup_target **places;
    size_t mask;
};

static struct lineup_target **index_find(const struct index *x,
                                         const char *name, const char *how)
{
    uint64_t h = hash_bytes(0, name, strlen(name) + 1);
    size_t at = (size_t)hash_bytes(h, how, strlen(how)) & x->mask;
    for (;; at = (at + 1) & x->mask) {
        const struct lineup_target *t = x->places[at];
        if (!t || (!strcmp(t->name, name) && !strcmp(t->how, how)))
            return &x->places[at];
    }
}

static struct lineup_target *in_force(const struct lineup *l, size_t slot)
{
    struct lineup_target *t = l->slots[slot];
    return t && t->is_current && !t->is_leaving ? t : NULL;
}

static int index_init(const struct lineup *l, struct index *x, size_t more)
{
    size_t size = 16;
    while (size < 2 * (l->n_current + more))
        size *= 2;
    *x = (struct index){.places = calloc(size, sizeof(*x->places)),
                        .mask = size - 1};
    if (!x->places)
        return ERR_NOMEM;
    for (size_t i = 0; i < l->n_slots; i++) {
        struct lineup_target *t = in_force(l, i);
        if (!t)
            continue;
        t->is_wanted = false;
        *index_find(x, t->name, t->how) = t;
    }
    return 0;
}

static int take_slot(struct lineup *l, uint32_t *slot)
{
    if (l->n_free > 0)
        *slot = l->free_slots[--l->n_free];
    else if (l->n_slots < LINEUP_SLOTS_MAX)
        *slot = (uint32_t)l->n_slots++;
    else
        return ERR_BUSY;
    return 0;
}

static int plan_rename(struct lineup_plan *plan, struct lineup_target *t,
                       const struct lineup_want *w)
{
    if (!strcmp(t->zone, text_or_empty(w->zone)) &&
        !strcmp(t->region, text_or_empty(w->region)))
        return 0;
    struct lineup_rename *r = &plan->renamed[plan->n_renamed++];
    *r = (struct lineup_rename){.target = t,
                                .zone = strdup(text_or_empty(w->zone)),
                                .region = strdup(text_or_empty(w->region))};
    return r->zone && r->region ? 0 : ERR_NOMEM;
}

static int plan_want(struct lineup *l, struct lineup_plan *plan,
                     const struct index *x, const struct lineup_want *w,
                     size_t number)
{
    struct lineup_target **place = index_find(x, w->name, w->how);
    if (*place) {
        if ((*place)->is_wanted)
            return 0; /* there twice */
        (*place)->is_wanted = true;
        return plan_rename(plan, *place, w);
    }
    struct lineup_target *t = new_target(w);
    if (!t)
        return ERR_NOMEM;
    if (take_slot(l, &t->slot)) {
        free_target(t);
        return ERR_BUSY;
    }
    t->generation = plan->generation;
    t->is_wanted = true;
    *place = t;
    plan->added[plan->n_added++] =
        (struct lineup_addition){.want = (uint32_t)number, .target = t};
    return 0;
}

static void free_lists(struct lineup_plan *plan)
{
    free(plan->added);
    free(plan->renamed);
    free(plan->removed);
    *plan = (struct lineup_plan){0};
}

int lineup_plan(struct lineup *l, const struct lineup_want *wants, size_t n,
                struct lineup_plan *plan)
{
    size_t room = n ? n : 1;
    struct index x = {0};

    *plan = (struct lineup_plan){.generation = l->generation + 1};
    if (n > LINEUP_TARGETS_MAX)
        return ERR_TOOBIG;
    plan->added = calloc(room, sizeof(*plan->added));
    plan->renamed = calloc(room, sizeof(*plan->renamed));
    plan->removed = calloc(l->n_current + 1, sizeof(*plan->removed));
    if (!plan->added || !plan->renamed || !plan->removed) {
        free_lists(plan);
        return ERR_NOMEM;
    }
    int rc = index_init(l, &x, n);
    for (size_t i = 0; i < n && !rc; i++)
        rc = plan_want(l, plan, &x, &wants[i], i);
    for (size_t i = 0; i < l->n_slots && !rc; i++) {
        const struct lineup_target *t = in_force(l, i);
        if (t && !t->is_wanted)
            plan->removed[plan->n_removed++] = (uint32_t)i;
    }
    free(x.places);
    if (rc)
        lineup_drop(l, plan);
    return rc;
}

static void plan_fini(struct lineup_plan *plan)
{
    for (size_t i = 0; i < plan->n_renamed; i++) {
        free(plan->renamed[i].zone);
        free(plan->renamed[i].region);
    }
    free_lists(plan);
}

void lineup_leave_out(struct lineup *l, struct lineup_plan *plan, size_t i)
{
    struct lineup_target *t = plan->added[i].target;
    if (!t)
        return;
    l->free_slots[l->n_free++] = t->slot;
    free_target(t);
    plan->added[i].target = NULL;
}

void lineup_drop(struct lineup *l, struct lineup_plan *plan)
{
    for (size_t i = plan->n_added; i-- > 0;)
        lineup_leave_out(l, plan, i);
    plan_fini(plan);
}

static void swap_texts(char **a, char **b)
{
    char *kept = *a;
    *a = *b;
    *b = kept;
}

void lineup_apply(struct lineup *l, struct lineup_plan *plan)
{
    l->generation = plan->generation;
    for (size_t i = 0; i < plan->n_removed; i++) {
        struct lineup_target *t = in_force(l, plan->removed[i]);
        assert(t != NULL);
        t->is_leaving = true;
        l->n_leaving++;
    }
    for (size_t i = 0; i < plan->n_added; i++) {
        struct lineup_target *t = plan->added[i].target;
        if (!t)
            continue;
        t->is_current = true;
        t->older = l->slots[t->slot];
        l->slots[t->slot] = t;
        l->n_current++;
    }
    for (size_t i = 0; i < plan->n_renamed; i++) {
        struct lineup_rename *r = &plan->renamed[i];
        swap_texts(&r->target->zone, &r->zone);
        swap_texts(&r->target->region, &r->region);
    }
    plan_fini(plan);
}

void lineup_retire(struct lineup *l, uint32_t slot)
{
    assert(slot < l->n_slots);
    struct lineup_target *t = l->slots[slot];
    assert(t && t->is_leaving);
    t->is_current = t->is_leaving = false;
    l->n_current--;
    l->n_leaving--;
    l->free_slots[l->n_free++] = slot;
    if (t->kept == 0)
        remove_target(l, t);
}

/* ---- reading ---- */

size_t lineup_count(const struct lineup *l)
{
    return l->n_current - l->n_leaving;
}

size_t lineup_leaving(const struct lineup *l)
{
    return l->n_leaving;
}

size_t lineup_slots(const struct lineup *l)
{
    return l->n_slots;
}

struct lineup_target *lineup_find(const struct lineup *l, uint32_t slot,
                                  uint32_t generation)
{
    struct lineup_target *t = slot < l->n_slots ? l->slots[slot] : NULL;
    while (t && t->generation != generation)
        t = t->older;
    return t;
}

const struct lineup_target *lineup_in_force(const struct lineup *l,
                                            uint32_t slot)
{
    return slot < l->n_slots ? in_force(l, slot) : NULL;
}

void lineup_keep(struct lineup_target *t)
{
    t->kept++;
}

void lineup_forget(struct lineup *l, struct lineup_target *t)
{
    assert(t->kept > 0);
    if (--t->kept == 0 && !t->is_current)
        remove_target(l, t);
}

void lineup_window_targets(const struct lineup *l, struct window_target *out)
{
    for (size_t i = 0; i < l->n_slots; i++) {
        const struct lineup_target *t = l->slots[i];
        out[i] = (struct window_target){0};
        if (t && t->is_current)
            out[i] = (struct window_target){.name = t->name,
                                            .zone = t->zone,
                                            .region = t->region,
                                            .generation = t->generation};
    }
}

void lineup_check(const struct lineup *l)
{
    size_t n_current = 0, n_leaving = 0;
    for (size_t i = 0; i < l->n_slots; i++) {
        for (const struct lineup_target *t = l->slots[i]; t; t = t->older) {
            assert(t->slot == i);
            assert(t->generation <= l->generation);
            assert(!t->older || t->older->generation < t->generation);
            assert(!t->is_current || t == l->slots[i]);
            assert(t->is_current || t->kept > 0);
            assert(t->is_current || !t->is_leaving);
            n_current += t->is_current;
            n_leaving += t->is_leaving;
        }
    }
    assert(n_current == l->n_current);
    assert(n_leaving == l->n_leaving);
    assert(l->n_current + l->n_free == l->n_slots);
    for (size_t i = 0; i < l->n_free; i++) {
        const struct lineup_target *t = l->slots[l->free_slots[i]];
        assert(!t || !t->is_current);
    }
}
