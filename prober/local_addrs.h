/* prober/local_addrs.h - the addresses that this host has now. */
#ifndef PROBER_LOCAL_ADDRS_H
#define PROBER_LOCAL_ADDRS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/addr.h"

/* Fill `list` with up to `max` different addresses of all interfaces, those
 * that are down included, with port 0. *is_all: there were no more of them.
 * Returns how many, or ERR_SYS or ERR_NOMEM. */
int local_addrs_read(struct addr *list, size_t max, bool *is_all);

#endif /* PROBER_LOCAL_ADDRS_H */
