/* prober/cli.h - what all subcommands share: exit codes, complaints, output.
 *
 * Shell code: knows about terminals and the environment.
 */
#ifndef PROBER_CLI_H
#define PROBER_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/cli_render.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,       /* the tool itself failed */
    CLI_USAGE = 2,        /* usage or configuration error */
    CLI_PROBE_FAILED = 3, /* the probe ran and failed */
};

/* Print "prober COMMAND: formatted" and where to find help on stderr.
 * Returns CLI_USAGE. */
int cli_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Print only where to find help, after getopt's own complaint. Returns
 * CLI_USAGE. */
int cli_try_help(const char *command);

/* Print "prober COMMAND: formatted" on stderr. Returns CLI_FAILED. */
int cli_fail(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Print a help text on stdout. Returns CLI_OK or CLI_FAILED. */
int cli_help(const char *text);

/* A decimal number in min..max and nothing else. 0 or ERR_BAD. */
int cli_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *v);

/* How to write to `fd`: colours if it is a terminal, NO_COLOR is empty and
 * TERM is not "dumb", 256 of them if TERM or COLORTERM say so; UTF-8 beside
 * them if the locale's name says so. */
struct render_style cli_style(int fd);

/* Write all of it. Returns 0 or ERR_SYS. */
int cli_write(int fd, const void *data, size_t len);

/* The word of the list that `word` was probably meant to be, or NULL. */
const char *cli_suggest(const char *word, const char *const *words, size_t n);

#endif /* PROBER_CLI_H */
