/* prober/cli_matrix_options.h - what `prober matrix` was asked to show.
 *
 * Shell code.
 */
#ifndef PROBER_CLI_MATRIX_OPTIONS_H
#define PROBER_CLI_MATRIX_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "prober/cli_render.h"
#include "proto/url.h"

/* Texts are borrowed from argv. */
struct cli_matrix_options {
    struct url api;
    unsigned series;
    enum render_stat stat;
    const char *protocol, *mode, *level, *window, *at; /* NULL: not given */
    bool is_json;
    uint64_t watch_ns;  /* 0: once */
    uint64_t wait_ns;   /* 0: not */
    const char *expect; /* NULL: nobody by name */
};

/* Read the command line. Returns CLI_OK, or CLI_USAGE and says why; *is_done:
 * help was asked for and given, nothing else is to be done. */
int cli_matrix_options_parse(struct cli_matrix_options *o, int argc,
                             char **argv, bool *is_done);

#endif /* PROBER_CLI_MATRIX_OPTIONS_H */
