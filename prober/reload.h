/* prober/reload.h - which parts of two configurations differ.
 *
 * Some keys can change while the daemon runs, others (names, listen addresses,
 * the mesh's label ...) only by a restart. docs/configuration.md says which;
 * the table is here. Pure.
 */
#ifndef PROBER_RELOAD_H
#define PROBER_RELOAD_H

#include "prober/config.h"
#include "proto/base/buf.h"

enum reload_part { /* bits */
                   /* peers, targets, topology, cadence, how we answer */
                   RELOAD_TARGETS = 1,
                   /* paths; files are read again in any case */
                   RELOAD_TLS = 2,
                   /* seeds, keys file, allow, accept_plaintext, our facts */
                   RELOAD_GOSSIP = 4,
                   RELOAD_CONTROL = 8, /* policy, people, limits */
                   RELOAD_DNS = 16,
                   RELOAD_LOG = 32,
                   RELOAD_HISTORY = 64,
                   RELOAD_API = 128,
};

/* What has to be done to get from `from` to `to`: bits. Keys that differ are
 * appended, one a line ("node.zone\n"): to `fixed` if they need a restart,
 * else to `changed`. */
unsigned reload_compare(const struct config *from, const struct config *to,
                        struct wr *fixed, struct wr *changed);

/* "targets,tls"; "none" for 0. NUL-terminated, cut if it has to be. */
#define RELOAD_PARTS_SIZE 64
void reload_parts_text(unsigned parts, char text[RELOAD_PARTS_SIZE]);

#endif /* PROBER_RELOAD_H */
