#include "proto/base/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/base/err.h"

int heap_init(struct heap *h, size_t size)
{
    *h = (struct heap){.size = size};
    if (size == SIZE_MAX)
        return ERR_NOMEM; /* nodes[0] is not used, so one more is needed */
    h->nodes = calloc(size + 1, sizeof(*h->nodes));
    return h->nodes ? 0 : ERR_NOMEM;
}

void heap_fini(struct heap *h)
{
    free(h->nodes);
    *h = (struct heap){0};
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    if (a->deadline_ns != b->deadline_ns)
        return a->deadline_ns < b->deadline_ns;
    return a->order < b->order;
}

static void put(struct heap *h, size_t place, struct heap_node *node)
{
    h->nodes[place] = node;
    node->place = place;
}

static void sift_up(struct heap *h, struct heap_node *node, size_t i)
{
    while (i > 1 && before(node, h->nodes[i / 2])) {
        put(h, i, h->nodes[i / 2]);
        i /= 2;
    }
    put(h, i, node);
}

static void sift_down(struct heap *h, struct heap_node *node, size_t i)
{
    for (;;) {
        size_t child = 2 * i;
        if (child > h->n)
            break;
        if (child < h->n && before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (!before(h->nodes[child], node))
            break;
        put(h, i, h->nodes[child]);
        i = child;
    }
    put(h, i, node);
}

int heap_set(struct heap *h, struct heap_node *node, uint64_t deadline_ns)
{
    if (node->place)
        heap_remove(h, node);
    if (h->n == h->size)
        return ERR_BUSY;
    node->deadline_ns = deadline_ns;
    node->order = h->next_order++;
    sift_up(h, node, ++h->n);
    return 0;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    size_t i = node->place;
    if (i == 0)
        return;
    assert(i <= h->n && h->nodes[i] == node);
    node->place = 0;
    struct heap_node *last = h->nodes[h->n--];
    if (last == node)
        return;
    if (i > 1 && before(last, h->nodes[i / 2]))
        sift_up(h, last, i);
    else
        sift_down(h, last, i);
}

struct heap_node *heap_first(const struct heap *h)
{
    return h->n ? h->nodes[1] : NULL;
}

void heap_check(const struct heap *h)
{
    for (size_t i = 1; i <= h->n; i++) {
        assert(h->nodes[i]->place == i);
        assert(i == 1 || !before(h->nodes[i], h->nodes[i / 2]));
    }
}
