/* prober/cli_zone.h - "prober zone": in which zone does this pod's node lie?
 *
 * The downward API of Kubernetes up to 1.34 cannot say it, so an init
 * container asks the API server for the node's labels and leaves the answer in
 * files, for node.zone_file and node.region_file. */
#ifndef PROBER_CLI_ZONE_H
#define PROBER_CLI_ZONE_H

#include <stddef.h>

#include "proto/base/err.h"

/* argv[0] is the subcommand. Returns 0, also when the node has no zone or may
 * not be read: the files are empty then, and the reason is on stderr; 1 if
 * there is no answer or the files cannot be written; 2 for usage. */
int cli_zone(int argc, char **argv);

#define CLI_ZONE_SIZE 129

/* What the API server's Node object says: its labels
 * topology.kubernetes.io/zone and /region, "" if there is none, or one that is
 * no name. Returns 0 or ERR_BAD with `msg`. Pure. */
int cli_zone_parse(const char *text, size_t len, char zone[CLI_ZONE_SIZE],
                   char region[CLI_ZONE_SIZE], struct errmsg *msg);

#endif /* PROBER_CLI_ZONE_H */
