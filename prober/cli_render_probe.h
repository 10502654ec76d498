/* prober/cli_render_probe.h - a one-off probe from several nodes as text for
 * people: a live table, a line per sample, and what it came to.
 *
 * Each row of the table ends in its node's last attempt as a waterfall: a bar
 * whose length is the time, on the same scale for all rows, made of the
 * letters of its phases, so that it says the same without colours. Names and
 * errors are made safe as in cli_render.h. Pure.
 */
#ifndef PROBER_CLI_RENDER_PROBE_H
#define PROBER_CLI_RENDER_PROBE_H

#include "prober/cli_board.h"
#include "prober/cli_render.h"

/* The table while it runs. `note`, if not NULL, is said above it. Of a table
 * that is higher than the terminal the rows with troubles come first. */
void render_board(struct wr *w, const struct render_style *style,
                  const struct cli_board *b, uint64_t elapsed_ns,
                  const char *note);

/* Into a pipe: a heading, and a line for what was just taken in. */
void render_board_head(struct wr *w, const struct render_style *style,
                       const struct cli_board *b);
void render_board_event(struct wr *w, const struct render_style *style,
                        const struct cli_event *e);

/* What it came to, and how that compares with the last minutes. `is_ours`:
 * we cancelled it. */
void render_board_end(struct wr *w, const struct render_style *style,
                      const struct cli_board *b, uint64_t elapsed_ns,
                      bool is_ours);

#endif /* PROBER_CLI_RENDER_PROBE_H */
