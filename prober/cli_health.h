/* prober/cli_health.h - "prober health": for supervisors that run a program
 * instead of asking over HTTP, such as a container's health check. */
#ifndef PROBER_CLI_HEALTH_H
#define PROBER_CLI_HEALTH_H

/* Ask a node's /livez, or /readyz. argv[0] is the subcommand. Returns 0: it
 * says yes; 1: it says no, or does not answer; 2: usage. */
int cli_health(int argc, char **argv);

#endif /* PROBER_CLI_HEALTH_H */
