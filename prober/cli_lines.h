/* prober/cli_lines.h - a stream of bytes as lines, with a limit.
 *
 *     cli_lines_feed(&l, piece, len);
 *     while ((line = cli_lines_next(&l, &len))) ...;
 *
 * Where the pieces were cut makes no difference. Pure.
 */
#ifndef PROBER_CLI_LINES_H
#define PROBER_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/buf.h"

struct cli_lines {
    struct wr bytes; /* what was fed and not yet forgotten */
    size_t at;       /* the next line begins here */
    size_t seen;     /* up to here no newline was found after `at` */
    size_t line_max;
    int err; /* sticky: ERR_TOOBIG, ERR_NOMEM */
};

/* No line may be longer than so, without its newline. */
void cli_lines_init(struct cli_lines *l, size_t line_max);
void cli_lines_fini(struct cli_lines *l);

/* Take a piece, at most CLI_LINES_PIECE bytes. All lines that are there have
 * been taken before (asserted). */
#define CLI_LINES_PIECE 65536
void cli_lines_feed(struct cli_lines *l, const void *data, size_t len);
/* The next whole line, without its newline and not NUL-terminated, until the
 * next cli_lines_feed(); NULL if there is none yet, or never again, see err. */
const char *cli_lines_next(struct cli_lines *l, size_t *len);
/* Did the stream, if this was its end, stop within a line? */
bool cli_lines_is_cut(const struct cli_lines *l);

#endif /* PROBER_CLI_LINES_H */
