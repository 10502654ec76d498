#include "prober/refusals.h"

#include <stdio.h>
#include <string.h>

static void copy(char dst[REFUSAL_NAME_SIZE], const char *text)
{
    snprintf(dst, REFUSAL_NAME_SIZE, "%s", text ? text : "");
}

/* An address without its port, a user without the process. */
static void make_key(char key[REFUSAL_NAME_SIZE], const char *peer)
{
    copy(key, peer);
    char *end = strstr(key, " pid=");
    if (!end)
        end = strrchr(key, ':');
    if (end)
        *end = '\0';
}

void refusals_count(struct refusals *r, const char *code)
{
    for (size_t i = 0; i < r->n_codes; i++) {
        if (strcmp(r->codes[i].code, code) == 0) {
            r->codes[i].count++;
            return;
        }
    }
    if (r->n_codes < REFUSAL_CODES_MAX)
        r->codes[r->n_codes++] = (struct refusal_code){code, 1};
}

static bool is_over(const struct refusal_slot *s, uint64_t now_ns)
{
    return now_ns - s->since_ns >= REFUSAL_FOLD_NS;
}

/* The slot of this key, a free one for it, or the one of all others. */
static struct refusal_slot *find_slot(struct refusals *r, uint64_t now_ns,
                                      const char *key)
{
    struct refusal_slot *unused = NULL;
    for (size_t i = 0; i < REFUSALS_MAX; i++) {
        struct refusal_slot *s = &r->slots[i];
        if (s->is_used && strcmp(s->key, key) == 0)
            return s;
        if (!s->is_used || (s->owed.count == 0 && is_over(s, now_ns)))
            unused = unused ? unused : s;
    }
    if (!unused)
        return &r->slots[REFUSALS_MAX];
    *unused = (struct refusal_slot){0};
    copy(unused->key, key);
    return unused;
}

bool refusals_add(struct refusals *r, uint64_t now_ns, const char *code,
                  const char *peer, const char *principal, struct refusal *out)
{
    char key[REFUSAL_NAME_SIZE];
    make_key(key, peer);
    refusals_count(r, code);
    struct refusal_slot *s = find_slot(r, now_ns, key);
    bool is_other = s == &r->slots[REFUSALS_MAX];
    uint64_t count = s->owed.count + 1;
    s->owed = (struct refusal){.code = code, .count = count};
    copy(s->owed.peer, is_other ? REFUSALS_OF_OTHERS : peer);
    copy(s->owed.principal, is_other ? NULL : principal);
    if (s->is_used && !is_over(s, now_ns))
        return false;
    s->is_used = true;
    s->since_ns = now_ns;
    *out = s->owed;
    s->owed.count = 0;
    return true;
}

bool refusals_next(struct refusals *r, uint64_t now_ns, struct refusal *out)
{
    for (size_t i = 0; i <= REFUSALS_MAX; i++) {
        struct refusal_slot *s = &r->slots[i];
        if (!s->is_used || s->owed.count == 0 || !is_over(s, now_ns))
            continue;
        s->since_ns = now_ns;
        *out = s->owed;
        s->owed.count = 0;
        return true;
    }
    return false;
}

uint64_t refusals_due(const struct refusals *r)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i <= REFUSALS_MAX; i++) {
        const struct refusal_slot *s = &r->slots[i];
        if (s->is_used && s->owed.count > 0 &&
            s->since_ns + REFUSAL_FOLD_NS < due)
            due = s->since_ns + REFUSAL_FOLD_NS;
    }
    return due;
}
