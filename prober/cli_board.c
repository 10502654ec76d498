#include "prober/cli_board.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "prober/cli.h"

#define ROWS_FIRST 16

void cli_board_fini(struct cli_board *b)
{
    for (size_t i = 0; i < b->n_rows; i++) {
        for (unsigned s = 0; s < SERIES_N; s++)
            hist_fini(&b->rows[i].series[s]);
    }
    free(b->rows);
    b->rows = NULL;
    b->n_rows = b->rows_size = 0;
}

/* ---- rows ---- */

static int compare(const struct cli_board_row *row, const char *node,
                   const char *zone)
{
    int order = strcmp(row->zone, zone);
    return order ? order : strcmp(row->node, node);
}

static int grow(struct cli_board *b, struct errmsg *msg)
{
    size_t size = b->rows_size ? 2 * b->rows_size : ROWS_FIRST;

    if (b->n_rows < b->rows_size)
        return 0;
    if (size > CLI_BOARD_ROWS_MAX) {
        errmsg_set(msg, "more than %d nodes", CLI_BOARD_ROWS_MAX);
        return ERR_TOOBIG;
    }
    struct cli_board_row *rows = reallocarray(b->rows, size, sizeof *rows);
    if (!rows) {
        errmsg_set(msg, "no memory");
        return ERR_NOMEM;
    }
    b->rows = rows;
    b->rows_size = size;
    return 0;
}

static void row_init(struct cli_board_row *row, const char *node,
                     const char *zone)
{
    *row = (struct cli_board_row){.state = "running"};
    memcpy(row->node, node, strlen(node) + 1); /* find() has looked */
    memcpy(row->zone, zone, strlen(zone) + 1);
    for (unsigned s = 0; s < SERIES_N; s++) {
        hist_init(&row->series[s]);
        row->baseline_p50_ns[s] = -1;
    }
}

/* The row of a node, which is made if there is none yet. */
static int find(struct cli_board *b, const char *node, const char *zone,
                struct cli_board_row **row, struct errmsg *msg)
{
    size_t low = 0, high = b->n_rows;

    if (strlen(node) >= CLI_BOARD_NAME_SIZE ||
        strlen(zone) >= CLI_BOARD_NAME_SIZE) {
        errmsg_set(msg, "the name of a node or zone is too long");
        return ERR_TOOBIG;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&b->rows[middle], node, zone);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == b->n_rows || compare(&b->rows[low], node, zone)) {
        int err = grow(b, msg);
        if (err)
            return err;
        memmove(&b->rows[low + 1], &b->rows[low],
                (b->n_rows - low) * sizeof *b->rows);
        row_init(&b->rows[low], node, zone);
        b->n_rows++;
    }
    *row = &b->rows[low];
    return 0;
}

/* ---- samples ---- */

static int64_t series_ns(const struct sample *s, unsigned series)
{
    if (series < PHASE_N)
        return s->phases_ns[series];
    return series == SERIES_TOTAL ? s->total_ns : s->server_ns;
}

static int take_sample(struct cli_board *b, const struct cli_event *e,
                       struct errmsg *msg)
{
    const struct sample *s = &e->sample;
    bool is_failed = s->outcome != OUTCOME_OK && !outcome_is_local(s->outcome);
    struct cli_board_row *row;
    int err = find(b, e->node, e->zone, &row, msg);

    if (err)
        return err;
    for (unsigned i = 0; s->outcome == OUTCOME_OK && i < SERIES_N && !err;
         i++) {
        int64_t ns = series_ns(s, i);
        if (ns >= 0)
            err = hist_add(&row->series[i], (uint64_t)ns);
    }
    row->attempts++;
    row->ok += s->outcome == OUTCOME_OK;
    row->failed += is_failed;
    row->last = *s;
    row->has_last = true;
    b->attempts++;
    b->ok += s->outcome == OUTCOME_OK;
    b->failed += is_failed;
    b->outcomes[s->outcome]++;
    if (err)
        errmsg_set(msg, "no memory");
    return err;
}

/* ---- how executions ended ---- */

static void set_state(struct cli_board_row *row, const struct json_t *object)
{
    const char *state = cli_json_text_of(object, "state", "");
    size_t len = strnlen(state, CLI_BOARD_STATE_SIZE - 1);

    if (!len)
        return;
    memcpy(row->state, state, len);
    row->state[len] = '\0';
}

static int read_phases(struct cli_board_row *row, const struct json_t *phases,
                       const struct json_t *baseline)
{
    const struct json_t *before = cli_json_get(baseline, "phases");
    int err = 0;

    row->has_phases = cli_json_is_object(phases);
    row->baseline_s = cli_json_u64_of(baseline, "window_s");
    for (unsigned s = 0; s < SERIES_N; s++) {
        const struct json_t *now = cli_json_get(phases, series_name(s));
        const struct json_t *then = cli_json_get(before, series_name(s));
        struct cli_board_phase *p = &row->phases[s];

        p->count = cli_json_u64_of(now, "count");
        err |= cli_event_ns(now, "p50", &p->p50_ns);
        err |= cli_event_ns(now, "p99", &p->p99_ns);
        err |= cli_event_ns(now, "max", &p->max_ns);
        err |= cli_event_ns(then, "p50", &row->baseline_p50_ns[s]);
        if (then && !cli_json_u64_of(then, "count"))
            row->baseline_p50_ns[s] = -1;
    }
    return err ? ERR_BAD : 0;
}

static int take_executor(struct cli_board *b, const struct json_t *object,
                         const char *node, bool is_summary, struct errmsg *msg)
{
    struct cli_board_row *row;
    int err = find(b, node, cli_json_text_of(object, "zone", ""), &row, msg);

    if (err)
        return err;
    set_state(row, object);
    if (!is_summary)
        return 0;
    row->attempts = cli_json_u64_of(object, "attempts");
    row->ok = cli_json_u64_of(object, "ok");
    row->missed = cli_json_u64_of(object, "missed");
    row->lost = cli_json_u64_of(object, "lost");
    b->missed += row->missed;
    b->lost += row->lost;
    err = read_phases(row, cli_json_get(object, "phases"),
                      cli_json_get(object, "baseline"));
    if (err)
        errmsg_set(msg, "a time of the summary is longer than an hour");
    return err;
}

static int take_summary(struct cli_board *b, const struct json_t *summary,
                        struct errmsg *msg)
{
    const struct json_t *outcomes = cli_json_get(summary, "outcomes");
    const struct json_t *object;
    struct cli_json_members members;
    const char *node;
    int err = 0;
    int protocol = protocol_parse(cli_json_text_of(summary, "protocol", ""));

    /* "auto" has become one. */
    if (protocol >= 0)
        b->protocol = protocol_name((enum probe_protocol)protocol);
    b->attempts = cli_json_u64_of(summary, "attempts");
    b->ok = cli_json_u64_of(summary, "ok");
    b->failed = cli_json_u64_of(summary, "failed");
    b->missed = b->lost = 0;
    b->is_cancelled = cli_json_bool_of(summary, "cancelled");
    for (unsigned o = 0; o < OUTCOME_N; o++)
        b->outcomes[o] = cli_json_u64_of(outcomes, outcome_name(o));
    cli_json_members_init(&members, cli_json_get(summary, "from"));
    while (!err && cli_json_members_next(&members, &node, &object))
        err = take_executor(b, object, node, true, msg);
    b->has_summary = !err;
    return err;
}

int cli_board_take(struct cli_board *b, const struct cli_event *e,
                   struct errmsg *msg)
{
    if (b->has_summary) {
        errmsg_set(msg, "something follows the summary");
        return ERR_BAD;
    }
    switch (e->kind) {
    case EVENT_SAMPLE:
        return take_sample(b, e, msg);
    case EVENT_EXECUTOR:
        return take_executor(b, e->body, e->node, false, msg);
    case EVENT_SUMMARY:
        return take_summary(b, e->body, msg);
    case EVENT_OTHER:
        break;
    }
    return 0;
}

/* ---- what it comes to ---- */

struct cli_board_phase cli_board_phase(const struct cli_board_row *row,
                                       unsigned series)
{
    const struct hist *h = &row->series[series];

    assert(series < SERIES_N);
    if (row->has_phases)
        return row->phases[series];
    return (struct cli_board_phase){
        .count = h->count,
        .p50_ns = (int64_t)hist_quantile(h, 0.5),
        .p99_ns = (int64_t)hist_quantile(h, 0.99),
        .max_ns = h->count ? (int64_t)h->max_ns : 0,
    };
}

double cli_board_factor(const struct cli_board_row *row, unsigned series)
{
    struct cli_board_phase p = cli_board_phase(row, series);
    int64_t before_ns = row->baseline_p50_ns[series];

    if (!row->baseline_s || !p.count || p.p50_ns < 0 || before_ns <= 0)
        return 0;
    return (double)p.p50_ns / (double)before_ns;
}

bool cli_board_is_slower(const struct cli_board_row *row, unsigned series)
{
    /* A factor is only told of times that are there, and not negative. */
    double factor = cli_board_factor(row, series);
    if (factor < CLI_BOARD_SLOWER)
        return false;
    return cli_board_phase(row, series).p50_ns - row->baseline_p50_ns[series] >=
           CLI_BOARD_SLOWER_NS;
}

bool cli_board_is_missing(const struct cli_board_row *row, bool is_ours)
{
    if (is_ours &&
        (!strcmp(row->state, "cancelled") || !strcmp(row->state, "running")))
        return false;
    return strcmp(row->state, "done") != 0;
}

/* A zone that was asked and did not answer is not ok, whatever the others
 * measured; and a run without one good attempt has shown nothing. */
int cli_board_exit(const struct cli_board *b, bool is_ours)
{
    if ((!b->has_summary && !is_ours) || !b->attempts)
        return CLI_FAILED;
    if (!b->ok || b->failed ||
        b->ok + b->outcomes[OUTCOME_CANCELLED] < b->attempts)
        return CLI_PROBE_FAILED;
    for (size_t i = 0; i < b->n_rows; i++) {
        if (cli_board_is_missing(&b->rows[i], is_ours))
            return CLI_PROBE_FAILED;
    }
    return CLI_OK;
}
