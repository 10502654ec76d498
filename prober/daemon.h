/* prober/daemon.h - `prober run`: the daemon. */
#ifndef PROBER_DAEMON_H
#define PROBER_DAEMON_H

/* The subcommand. Returns an exit code (prober/cli.h). */
int daemon_run(int argc, char **argv);

#endif /* PROBER_DAEMON_H */
