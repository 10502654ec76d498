/* prober/cli_matrix.h - `prober matrix`: the latency matrix on a terminal. */
#ifndef PROBER_CLI_MATRIX_H
#define PROBER_CLI_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

#include "prober/cli_render.h"
#include "proto/base/err.h"

/* Names per side: a table above this is nobody's to read. */
#define CLI_MATRIX_SIDE_MAX 4096

/* The subcommand. Returns an enum cli_exit. */
int cli_matrix(int argc, char **argv);

struct cli_matrix_view; /* opaque: an answer of /api/v1/matrix */

/* Read the answer's JSON for one series and statistic. What an older or newer
 * server leaves out or adds is no error; what contradicts itself is. Returns
 * 0, or ERR_BAD, ERR_TOOBIG, ERR_NOMEM with `msg` set. Pure. */
int cli_matrix_parse(const char *text, size_t len, unsigned series,
                     enum render_stat stat, struct cli_matrix_view **out,
                     struct errmsg *msg);
/* Lives as long as the view. */
const struct render_matrix *
cli_matrix_table(const struct cli_matrix_view *view);
/* So much time has passed since the answer: the ages grow, and what was fresh
 * may be stale by now. */
void cli_matrix_age(struct cli_matrix_view *view, double seconds);
/* Whether nothing is left to wait for: whoever should report does, all cells
 * are fresh but those of one that is alone with itself, and the names of the
 * list `expected` (with commas between, or NULL) are rows and columns. If not
 * `why` is set, fit for a terminal. Pure. */
bool cli_matrix_is_whole(const struct render_matrix *t, const char *expected,
                         struct errmsg *why);
void cli_matrix_close(struct cli_matrix_view *view); /* NULL is allowed */

#endif /* PROBER_CLI_MATRIX_H */
