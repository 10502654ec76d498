/* prober/cli_board.h - a one-off probe as it comes in: a row for each node
 * that executes it.
 *
 * Rows appear when something is heard of their node, and stand by zone and
 * node. While it runs their numbers are our own count of the samples; in the
 * end they are the node's summary, which knows more: the slots that were
 * missed, and what the matrix has for the same two zones. Pure.
 */
#ifndef PROBER_CLI_BOARD_H
#define PROBER_CLI_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/cli_event.h"
#include "prober/sample.h"
#include "proto/hist.h"

#define CLI_BOARD_ROWS_MAX   4096
#define CLI_BOARD_NAME_SIZE  129
#define CLI_BOARD_STATE_SIZE 32
/* What is so much slower than it was, by factor and by time, is said to be:
 * a few microseconds more are no news, whatever the factor. */
#define CLI_BOARD_SLOWER    1.5
#define CLI_BOARD_SLOWER_NS 200000

struct cli_board_phase { /* of ok attempts; count 0: none */
    uint64_t count;
    int64_t p50_ns, p99_ns, max_ns; /* -1: not told */
};

struct cli_board_row {
    char node[CLI_BOARD_NAME_SIZE], zone[CLI_BOARD_NAME_SIZE];
    char state[CLI_BOARD_STATE_SIZE]; /* "running", or as the server says */
    uint64_t attempts, ok, failed, missed, lost;
    struct hist series[SERIES_N]; /* of the samples that came */
    bool has_last;
    struct sample last;
    bool has_phases; /* the summary's, in the place of series[] */
    struct cli_board_phase phases[SERIES_N];
    uint64_t baseline_s; /* 0: there is no baseline */
    int64_t baseline_p50_ns[SERIES_N];
};

struct cli_board {
    /* The caller's; borrowed. */
    const char *target, *from, *protocol, *mode;
    uint64_t count, interval_ns; /* of each node */

    size_t n_rows, rows_size;
    struct cli_board_row *rows; /* owned */
    uint64_t attempts, ok, failed, missed, lost;
    uint64_t outcomes[OUTCOME_N];
    bool has_summary;
    bool is_cancelled; /* says the summary */
};

/* Zeroed is empty. */
void cli_board_fini(struct cli_board *b);

/* Take an event in. Returns 0, or ERR_BAD, ERR_TOOBIG, ERR_NOMEM with `msg`;
 * then the board may have part of it. */
int cli_board_take(struct cli_board *b, const struct cli_event *e,
                   struct errmsg *msg);

/* The numbers of a row's series: the summary's, else our own. */
struct cli_board_phase cli_board_phase(const struct cli_board_row *row,
                                       unsigned series);
/* By what factor it is slower than the baseline; 0: it cannot be said. */
double cli_board_factor(const struct cli_board_row *row, unsigned series);
/* Is that, and the difference, worth pointing at? */
bool cli_board_is_slower(const struct cli_board_row *row, unsigned series);

/* Did this node fail to do what it was asked to? `is_ours`: we cancelled. */
bool cli_board_is_missing(const struct cli_board_row *row, bool is_ours);

/* The exit code (enum cli_exit) of a whole run. */
int cli_board_exit(const struct cli_board *b, bool is_ours);

#endif /* PROBER_CLI_BOARD_H */
