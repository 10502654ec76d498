/* What the matrix has for the same zones, protocol and mode. */
#include <string.h>

#include "mesh/matrix.h"
#include "prober/inquiry_private.h"

static void take_cell(const struct matrix_cell *cell,
                      struct inquiry_executor *x)
{
    for (unsigned i = 0; i < SERIES_N; i++) {
        const struct hist *h = &cell->series[i];
        if (h->count == 0)
            continue;
        x->baseline[i] = (struct inquiry_phase){
            .count = h->count,
            .p50_ns = (int64_t)hist_quantile(h, 0.5),
            .p90_ns = (int64_t)hist_quantile(h, 0.9),
            .p99_ns = (int64_t)hist_quantile(h, 0.99),
            .max_ns = (int64_t)h->max_ns,
        };
    }
    x->has_baseline = true;
    x->baseline_s = INQUIRY_BASELINE_S;
}

/* A node of the same zone has been told already, most often. */
static bool copy_of_neighbour(const struct inquiry *q,
                              struct inquiry_executor *x)
{
    for (size_t i = 0; i < q->n; i++) {
        const struct inquiry_executor *other = &q->executors[i];
        if (other == x || !other->has_baseline ||
            strcmp(other->zone, x->zone) != 0)
            continue;
        x->has_baseline = true;
        x->baseline_s = other->baseline_s;
        memcpy(x->baseline, other->baseline, sizeof(x->baseline));
        return true;
    }
    return false;
}

void inquiry_find_baseline(struct inquiry *q, struct inquiry_executor *x)
{
    const struct inquiries *all = q->all;
    if (all->is_closed || !all->history || !q->label[0] ||
        copy_of_neighbour(q, x))
        return;
    uint64_t now_unix_ns = all->ops->now_unix_ns();
    struct matrix_query query = {
        .level = LEVEL_ZONE,
        .window_s = INQUIRY_BASELINE_S,
        .now_unix_ns = now_unix_ns,
    };
    struct matrix_windows windows = matrix_windows(&query);
    struct history_question question = {
        .first = windows.first,
        .last = windows.last,
        .protocol = q->protocol,
        .mode = q->request.mode,
        .unknown_s = INQUIRY_BASELINE_S,
    };
    struct history_reader *reader =
        history_reader_open(all->history, &question);
    if (!reader)
        return;
    const struct matrix_cell *cell =
        history_read(reader, matrix_label(LEVEL_ZONE, x->node, x->zone, NULL),
                     q->label, now_unix_ns);
    if (cell && cell->attempts > 0)
        take_cell(cell, x);
    history_reader_close(reader);
}
