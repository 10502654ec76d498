#include "prober/cli_matrix.h"

#include <string.h>

#include "prober/cli_json.h"

static bool has_name(const char *const *names, size_t n, const char *name,
                     size_t len)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) == len && !memcmp(names[i], name, len))
            return true;
    }
    return false;
}

/* The first name of the list that is no row or no column, or NULL. */
static const char *find_absent(const struct render_matrix *t, const char *list,
                               size_t *len)
{
    for (const char *at = list; *at; at += *at == ',') {
        *len = strcspn(at, ",");
        if (!has_name(t->rows, t->n_rows, at, *len) ||
            !has_name(t->columns, t->n_columns, at, *len))
            return at;
        at += *len;
    }
    return NULL;
}

static const char *state_name(enum matrix_state state)
{
    switch (state) {
    case CELL_FRESH:
        return "fresh";
    case CELL_STALE:
        return "stale";
    case CELL_DRAINING:
        return "draining";
    case CELL_UNKNOWN:
        break;
    }
    return "unknown";
}

/* Whether something is missing; then `why` names it as the node does. */
static bool lacks_something(const struct render_matrix *t, const char *expected,
                            struct errmsg *why)
{
    size_t len = 0;
    const char *absent = expected ? find_absent(t, expected, &len) : NULL;

    if (absent) {
        errmsg_set(why, "'%.*s' is not there", (int)len, absent);
        return true;
    }
    if (t->n_rows == 0) {
        errmsg_set(why, "nobody is there");
        return true;
    }
    if (t->n_missing > 0) {
        errmsg_set(why, "'%s' does not report", t->missing[0]);
        return true;
    }
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) {
        const char *from = t->rows[i / t->n_columns];
        const char *to = t->columns[i % t->n_columns];
        enum matrix_state state = t->cells[i].state;
        /* One that is alone in its zone has nobody to probe there. */
        if (state == CELL_FRESH || (state == CELL_UNKNOWN && !strcmp(from, to)))
            continue;
        errmsg_set(why, "'%s' to '%s' is %s", from, to, state_name(state));
        return true;
    }
    return false;
}

bool cli_matrix_is_whole(const struct render_matrix *t, const char *expected,
                         struct errmsg *why)
{
    bool is_whole = !lacks_something(t, expected, why);

    if (!is_whole)
        cli_json_make_plain(why);
    return is_whole;
}
