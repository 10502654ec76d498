/* prober/cli_check.h - "prober check-config FILE". */
#ifndef PROBER_CLI_CHECK_H
#define PROBER_CLI_CHECK_H

/* Load FILE and the environment as the daemon would, say what is wrong with
 * them. argv[0] is the subcommand. Returns the exit code: 0 fine, 1 the file
 * cannot be read, 2 errors in it or wrong usage. */
int cli_check_config(int argc, char **argv);

#endif /* PROBER_CLI_CHECK_H */
