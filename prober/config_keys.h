/* prober/config_keys.h - the tables of all keys, and the lists among them.
 *
 * What a configuration may hold, with types, ranges and defaults, bound to
 * struct config. A new key is one line here, one member in config.h and one
 * line in docs/configuration.md, which a test demands.
 */
#ifndef PROBER_CONFIG_KEYS_H
#define PROBER_CONFIG_KEYS_H

#include "prober/config_bind.h"

/* The top level; `base` of the binder is a struct config. Its lists are
 * owned by that and freed by config_free(). */
extern const struct config_key config_keys[];

#endif /* PROBER_CONFIG_KEYS_H */
