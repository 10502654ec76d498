/* Events that wait for the transport, bounded in bytes. */
#include <stdlib.h>
#include <string.h>

#include "prober/inquiry_private.h"

struct waiting_sample {
    struct inquiry_item item; /* first: it is found by it */
    const struct inquiry_executor *executor;
    struct sample sample;
    const char *target, *to_node, *to_zone; /* into text, or NULL */
    char text[];
};

static void append(struct inquiry *q, struct inquiry_item *item)
{
    item->next = NULL;
    if (q->last)
        q->last->next = item;
    else
        q->first = item;
    q->last = item;
    q->queue_bytes += item->bytes;
    q->all->queue_bytes += item->bytes;
}

static void remove_first(struct inquiry *q)
{
    struct inquiry_item *item = q->first;
    q->first = item->next;
    if (!q->first)
        q->last = NULL;
    q->queue_bytes -= item->bytes;
    q->all->queue_bytes -= item->bytes;
}

/* Who reads has nothing to fear from those who do not. */
static bool has_room(const struct inquiry *q, size_t bytes)
{
    size_t mine = q->queue_bytes + bytes;
    size_t of_all = q->all->queue_bytes + bytes;
    return mine <= INQUIRY_QUEUE_BYTES &&
           (of_all <= INQUIRIES_QUEUE_BYTES ||
            mine <= INQUIRIES_QUEUE_BYTES / INQUIRIES_MAX);
}

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *keep(char **at, const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *kept = memcpy(*at, text, size);
    *at += size;
    return kept;
}

int inquiry_put_sample(struct inquiry *q, const struct inquiry_execution *e,
                       const struct sample *s, const struct sample_names *names)
{
    size_t bytes = sizeof(struct waiting_sample) + text_size(names->target) +
                   text_size(names->to_node) + text_size(names->to_zone);
    if (!has_room(q, bytes))
        return ERR_BUSY;
    struct waiting_sample *w = malloc(bytes);
    if (!w)
        return ERR_NOMEM;
    char *at = w->text;
    w->item.kind = INQUIRY_SAMPLE;
    w->item.bytes = bytes;
    w->executor = e->executor;
    w->sample = *s;
    w->target = keep(&at, names->target);
    w->to_node = keep(&at, names->to_node);
    w->to_zone = keep(&at, names->to_zone);
    append(q, &w->item);
    return 0;
}

void inquiry_put_end(struct inquiry *q, struct inquiry_execution *e)
{
    e->item.kind = INQUIRY_EXECUTOR;
    e->item.bytes = 0; /* so it always fits */
    append(q, &e->item);
}

static void discard(struct inquiry_item *item)
{
    if (item && item->bytes > 0)
        free(item);
}

static void fill_sample(const struct waiting_sample *w,
                        struct inquiry_event *out)
{
    out->sample = w->sample;
    /* Where it comes from is what we know of whom we asked, not what he says
     * of himself. */
    out->names = (struct sample_names){
        .target = w->target,
        .from_node = w->executor->node,
        .from_zone = w->executor->zone,
        .to_node = w->to_node,
        .to_zone = w->to_zone,
    };
    out->executor = w->executor;
}

bool inquiry_take(struct inquiry *q, struct inquiry_event *out)
{
    discard(q->taken);
    struct inquiry_item *item = q->taken = q->first;
    if (!item)
        return false;
    remove_first(q);
    *out = (struct inquiry_event){.kind = item->kind};
    if (item->kind == INQUIRY_SAMPLE) {
        fill_sample((const struct waiting_sample *)(const void *)item, out);
    } else {
        const struct inquiry_execution *e = (const void *)item;
        out->executor = e->executor;
    }
    return true;
}

void inquiry_queue_fini(struct inquiry *q)
{
    discard(q->taken);
    q->taken = NULL;
    while (q->first) {
        struct inquiry_item *item = q->first;
        remove_first(q);
        discard(item);
    }
}
