#include "mesh/texts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

#define SIZE_FIRST 16

void texts_init(struct texts *t, size_t max, uint64_t seed)
{
    *t = (struct texts){.max = max, .free = TEXTS_NONE, .seed = seed};
}

void texts_fini(struct texts *t)
{
    for (size_t i = 0; i < t->size; i++)
        free(t->list[i].text);
    free(t->list);
    free(t->chains);
    *t = (struct texts){0};
}

static uint32_t *chain_of(const struct texts *t, uint64_t hash)
{
    return &t->chains[hash & (t->size - 1)];
}

static void link_text(struct texts *t, uint32_t number)
{
    uint32_t *chain = chain_of(t, t->list[number].hash);
    t->list[number].next = *chain;
    *chain = number;
}

/* Twice the room. All numbers are in use, else nobody would ask. */
static int grow(struct texts *t)
{
    size_t size = t->size ? t->size * 2 : SIZE_FIRST;
    struct text *list = reallocarray(t->list, size, sizeof(*list));
    if (!list)
        return ERR_NOMEM;
    t->list = list;
    uint32_t *chains = reallocarray(NULL, size, sizeof(*chains));
    if (!chains)
        return ERR_NOMEM;
    free(t->chains);
    t->chains = chains;
    size_t before = t->size;
    t->size = size;
    memset(chains, 0xff, size * sizeof(*chains));
    for (size_t i = 0; i < before; i++)
        link_text(t, (uint32_t)i);
    for (size_t i = size; i > before; i--) {
        list[i - 1] = (struct text){.next = t->free};
        t->free = (uint32_t)i - 1;
    }
    return 0;
}

static uint32_t find(const struct texts *t, const char *text, uint64_t hash)
{
    if (t->size == 0)
        return TEXTS_NONE;
    uint32_t at = *chain_of(t, hash);
    while (at != TEXTS_NONE &&
           (t->list[at].hash != hash || strcmp(t->list[at].text, text) != 0))
        at = t->list[at].next;
    return at;
}

uint32_t texts_find(const struct texts *t, const char *text)
{
    return find(t, text, hash_bytes(t->seed, text, strlen(text)));
}

int texts_take(struct texts *t, const char *text, uint32_t *number)
{
    uint64_t hash = hash_bytes(t->seed, text, strlen(text));
    *number = find(t, text, hash);
    if (*number != TEXTS_NONE) {
        t->list[*number].refs++;
        return 0;
    }
    if (t->count == t->max)
        return ERR_TOOBIG;
    int err = t->free == TEXTS_NONE ? grow(t) : 0;
    char *copy = err ? NULL : strdup(text);
    if (!copy)
        return ERR_NOMEM;
    *number = t->free;
    struct text *n = &t->list[*number];
    t->free = n->next;
    *n = (struct text){.text = copy, .hash = hash, .refs = 1};
    link_text(t, *number);
    t->count++;
    return 0;
}

void texts_give(struct texts *t, uint32_t number)
{
    assert(number < t->size && t->list[number].refs > 0);
    struct text *n = &t->list[number];
    if (--n->refs > 0)
        return;
    uint32_t *at = chain_of(t, n->hash);
    while (*at != number)
        at = &t->list[*at].next;
    *at = n->next;
    free(n->text);
    *n = (struct text){.next = t->free};
    t->free = number;
    t->count--;
}

const char *texts_get(const struct texts *t, uint32_t number)
{
    assert(number < t->size && t->list[number].text);
    return t->list[number].text;
}
