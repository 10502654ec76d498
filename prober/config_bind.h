/* prober/config_bind.h - from a positioned tree to plain structs, by tables.
 *
 * A table of struct config_key lists what a mapping may hold. A key is one of
 * three things: a scalar (`scalar` reads its text into `offset`), a mapping
 * (`keys`, of the same struct) or something with a reader of its own
 * (`bind`). What is not in the table is an error, as is a key given twice.
 * The same tables name the environment variables and carry the defaults, so
 * that the file, the environment and the documentation cannot drift apart.
 */
#ifndef PROBER_CONFIG_BIND_H
#define PROBER_CONFIG_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/config_errors.h"
#include "prober/config_yaml.h"

#define CONFIG_KEYS_MAX 32 /* in one table */

struct config_key;

/* Carries the complaints and the path of what is being read. */
struct config_binder {
    struct config_errors *errors;
    bool is_out_of_memory;
    size_t path_len;
    char path[128]; /* "peers[3].address" */
};

/* Read `text` into `at`. Returns 0, or ERR_BAD with `why` completing the
 * sentence "<key> ...". `at` is left alone then. */
typedef int config_scalar_fn(const struct config_key *key, const char *text,
                             bool is_quoted, void *at, struct errmsg *why);

/* Read `node`, which is not CONFIG_BROKEN, into the struct at `base`. */
typedef void config_bind_fn(struct config_binder *b,
                            const struct config_node *node, void *base);

struct config_key {
    const char *name; /* NULL ends a table */
    config_scalar_fn *scalar;
    config_bind_fn *bind;
    const struct config_key *keys;
    size_t offset, size;  /* of the member that a scalar fills */
    uint64_t min, max;    /* of a number, duration or size */
    uint16_t port;        /* of an address that names none */
    const char *fallback; /* the default as text; NULL: all zero */
    bool is_required;
};

/* Fill in the defaults of `keys` and of the mappings below. */
void config_bind_defaults(const struct config_key *keys, void *base);

/* Read a mapping (or nothing at all, which is an empty one). */
void config_bind_map(struct config_binder *b, const struct config_key *keys,
                     const struct config_node *node, void *base);

/* Read a list of scalars into items[]; `items` has room for node->n of them.
 * Returns how many were good. Demands that node is a list of at most `max`;
 * the caller has checked the same through config_bind_is_list(). */
size_t config_bind_scalars(struct config_binder *b,
                           const struct config_key *item,
                           const struct config_node *node, void *items);

/* Is it a list of at most `max`? Complains if not; nothing is an empty one. */
bool config_bind_is_list(struct config_binder *b,
                         const struct config_node *node, size_t max);

/* Apply PROBER_<PATH> for each scalar. An empty variable counts as absent:
 * that is what container platforms set for a label that does not exist. */
void config_bind_environment(struct config_binder *b,
                             const struct config_key *keys, void *base,
                             char *(*getenv_fn)(const char *));

/* The `i`-th key of the tables that a variable can override, as a path
 * ("probe.cold_interval"); false if there are fewer. */
bool config_bind_path(const struct config_key *keys, size_t i, char *path,
                      size_t size);

/* "probe.cold_interval" -> "PROBER_PROBE_COLD_INTERVAL". */
void config_bind_variable(const char *path, char *name, size_t size);

/* Complain about `node`; the path stands in front. */
void config_bind_complain(struct config_binder *b,
                          const struct config_node *node, const char *format,
                          ...) __attribute__((format(printf, 3, 4)));

/* Go down the path and back up: remember path_len, push, restore. */
void config_bind_push(struct config_binder *b, const char *name);
void config_bind_push_index(struct config_binder *b, size_t i);
void config_bind_pop(struct config_binder *b, size_t path_len);

#endif /* PROBER_CONFIG_BIND_H */
