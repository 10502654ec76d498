/* prober/cli_render_private.h - the parts of which all text for people is
 * made: colours, columns, names, durations. For prober/cli_render*.c only.
 *
 * Pure.
 */
#ifndef PROBER_CLI_RENDER_PRIVATE_H
#define PROBER_CLI_RENDER_PRIVATE_H

#include "prober/cli_board.h"
#include "prober/cli_render.h"

#define RENDER_NAME_MAX 32 /* columns of a name, at most */

#define RENDER_RESET "\033[0m"
#define RENDER_BOLD  "\033[1m"
#define RENDER_DIM   "\033[2m"
/* Vermilion, from Okabe and Ito's palette for every colour vision. */
#define RENDER_BAD "\033[1;38;5;166m"

/* Nothing if there are no colours, and no colour of the 256 where there are
 * but eight. */
void render_color(struct wr *w, const struct render_style *style,
                  const char *code);
/* The colour of a phase. */
void render_phase_color(struct wr *w, const struct render_style *style,
                        unsigned phase);

/* Terminal columns of our own text: one per code point. */
size_t render_columns(const char *text);
void render_spaces(struct wr *w, size_t n);
void render_pad_left(struct wr *w, const char *text, size_t columns);
void render_pad_right(struct wr *w, const char *text, size_t columns);
/* A newline. Spaces at the end of a line serve only to be coloured, so
 * without colours they go. */
void render_end_line(struct wr *w, const struct render_style *style);

/* A name from outside made safe, and short: at most `columns`, which are at
 * most RENDER_NAME_MAX. The end is kept: it is where the names of zones differ
 * ("europe-west1-b"). Returns `text`. */
const char *render_short_name(const char *name, size_t columns,
                              char text[RENDER_NAME_MAX + 1]);

/* Numbers of an answer are anybody's: what no int64_t can hold is its most. */
int64_t render_whole_ns(double ns);
void render_put_duration(struct wr *w, const struct render_style *style,
                         int64_t ns);
/* The same, at the right of so many columns. */
void render_pad_duration(struct wr *w, const struct render_style *style,
                         int64_t ns, size_t columns);

/* "connect_timeout in connect: text", without a newline. */
void render_failure(struct wr *w, const struct render_style *style,
                    const struct sample *s);

/* What the texts of a probe from several nodes have in common: what was asked,
 * a line; and "4 attempts, ok 3, failed 1 (25%)", without a newline. */
void render_board_title(struct wr *w, const struct render_style *style,
                        const struct cli_board *b);
void render_board_counts(struct wr *w, const struct render_style *style,
                         const struct cli_board *b);

/* "-" for "". */
const char *render_or_dash(const char *text);

#endif /* PROBER_CLI_RENDER_PRIVATE_H */
