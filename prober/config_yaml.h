/* prober/config_yaml.h - YAML text as a tree in which every node knows its
 * line and column.
 *
 * Only what a configuration needs: scalars, lists, mappings with scalar keys,
 * one document. Anchors, aliases, tags, tag directives and keys that are not
 * plain text are complained about, so no input can grow beyond its own size.
 * Depth and number of nodes are bounded. The only door to libyaml.
 *
 * Types are not guessed here: a scalar is its text and whether it was quoted.
 */
#ifndef PROBER_CONFIG_YAML_H
#define PROBER_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "prober/config_errors.h"

#define CONFIG_DEPTH_MAX 16
#define CONFIG_NODES_MAX                                \
    200000 /* 2000 targets with 64 zones each, and room \
            */

enum config_kind {
    CONFIG_NULL, /* nothing, ~ or null, without quotes */
    CONFIG_SCALAR,
    CONFIG_LIST,
    CONFIG_MAP,
    CONFIG_BROKEN, /* complained about already */
};

struct config_node {
    enum config_kind kind;
    unsigned line, column; /* from 1 */
    bool is_quoted;
    size_t n;                       /* children of a list or mapping */
    const struct config_node *key;  /* in a mapping: the key, a scalar */
    const struct config_node *next; /* sibling */
    struct config_node *first, *last, *parent;
    struct config_node *older; /* all nodes, for config_yaml_close() */
    char text[];               /* of a scalar, no NUL inside */
};

struct config_tree {
    struct config_node *root; /* NULL: the text holds no document */
    struct config_node *newest;
    size_t n_nodes;
    bool is_whole; /* read to its end: no syntax error, no bound exceeded */
};

/* Read `text` (UTF-8). What is wrong goes to `errors`; after a syntax error
 * or an exceeded bound the rest is not read. Returns 0 or ERR_NOMEM;
 * tree->is_whole tells whether the end was reached. The caller runs
 * config_yaml_close() in every case. */
int config_yaml_open(struct config_tree *tree, const char *text, size_t len,
                     struct config_errors *errors);
void config_yaml_close(struct config_tree *tree);

/* The value of `key` in a mapping, its first if it is given twice; NULL if
 * there is none or `map` is NULL or no mapping. */
const struct config_node *config_yaml_find(const struct config_node *map,
                                           const char *key);

#endif /* PROBER_CONFIG_YAML_H */
