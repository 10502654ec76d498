/* prober/config_control.h - is what the file says of the control port safe?
 *
 *     where                 how                           who
 *     unix:/path            the kernel names the user     control.users
 *     ... insecure          in a directory open to others the same
 *     loopback, TLS         encrypted                     tokens or client CA
 *     loopback, insecure    in the clear, on this host    tokens
 *     elsewhere             TLS with a real certificate   tokens or client CA
 *
 * Everything else is an error at start-up, and says why. Pure.
 */
#ifndef PROBER_CONFIG_CONTROL_H
#define PROBER_CONFIG_CONTROL_H

#include "prober/config.h"
#include "prober/config_errors.h"
#include "prober/config_yaml.h"

/* Complain to `e` about what does not go together in `control`; places come
 * from `root`, the tree it was read from (NULL: there is none). */
void config_control_check(const struct config *c,
                          const struct config_node *root,
                          struct config_errors *e);

#endif /* PROBER_CONFIG_CONTROL_H */
