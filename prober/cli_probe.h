/* prober/cli_probe.h - `prober probe`: attempts made by the command itself. */
#ifndef PROBER_CLI_PROBE_H
#define PROBER_CLI_PROBE_H

/* The subcommand. Returns an enum cli_exit. */
int cli_probe(int argc, char **argv);

#endif /* PROBER_CLI_PROBE_H */
