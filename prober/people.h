/* prober/people.h - from the configuration to principals.
 *
 * Reads control.tokens_file, and turns the names of users and groups into ids.
 * The file must be a regular one that is root's or ours, that nobody but its
 * owner may write and that others than owner and group may not read: it holds
 * digests, but who can write it can let anybody in. Control plane; reads
 * files, and asks the system for users, which may take a while where these
 * come over the network.
 */
#ifndef PROBER_PEOPLE_H
#define PROBER_PEOPLE_H

#include <stdint.h>

#include "prober/config.h"
#include "prober/principals.h"

struct people_lists {
    struct principals_config config; /* points into the lists below */
    struct principal_token *tokens;  /* owned */
    struct principal_user *users;
    struct principal_certificate *certificates;
};

/* Fill in everything of principals_config. Returns 0, and the caller runs
 * people_fini(), or ERR_SYS / ERR_BAD / ERR_TOOBIG / ERR_NOMEM with `msg`
 * naming the file and line, or the user. */
int people_load(struct people_lists *l, const struct config *c,
                struct errmsg *msg);
void people_fini(struct people_lists *l);

/* The id of a user or group: by name, or digits. 0, or ERR_BAD with `msg`. */
int people_user(const char *name, uint32_t *uid, struct errmsg *msg);
int people_group(const char *name, uint32_t *gid, struct errmsg *msg);

/* May a file with this owner and mode tell who is let in? NULL, or why not.
 * Also for the file that `prober keygen --tokens-file` adds to. */
const char *people_objection(uint32_t owner, uint32_t mode, uint32_t self);

#endif /* PROBER_PEOPLE_H */
