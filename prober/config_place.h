/* prober/config_place.h - where this node is, from a file.
 *
 * Orchestrators tell a pod its zone in a file (Kubernetes' downward API, an
 * init container). The first line counts, blanks around it do not. A file that
 * is empty, missing, or holds no name leaves the zone as it was: it is then
 * `unknown`, and a warning says why. Shell code.
 */
#ifndef PROBER_CONFIG_PLACE_H
#define PROBER_CONFIG_PLACE_H

#include "prober/config.h"
#include "proto/base/err.h"

/* Read a name. Returns 0; ERR_SYS if the file cannot be read or is none, or
 * ERR_BAD if there is no name in it; then `name` is untouched and `why` says
 * it, with the path. */
int config_place_read(const char *path, char name[CONFIG_NAME_MAX + 1],
                      struct errmsg *why);

#endif /* PROBER_CONFIG_PLACE_H */
