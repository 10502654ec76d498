/* prober/hosts.h - the host's own names, /etc/hosts.
 *
 * Read when targets are made, never while measuring: a name found there is
 * dialled directly and has no dns phase, as with everything else on the host.
 */
#ifndef PROBER_HOSTS_H
#define PROBER_HOSTS_H

#include <stddef.h>

#define HOSTS_BYTES_MAX 1048576

/* The text of /etc/hosts, for target_use_hosts(); an unreadable file is an
 * empty one. The caller frees it. NULL: no memory. */
char *hosts_read(size_t *len);

#endif /* PROBER_HOSTS_H */
