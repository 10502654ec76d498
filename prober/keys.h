/* prober/keys.h - the file with the gossip keys.
 *
 * One key a line in base64 (16, 24 or 32 bytes), as `prober keygen` and
 * `serf keygen` print them; the first one seals. Empty lines and those that
 * begin with # are passed over. Rotation: add the new key below on every node
 * and reload, move it to the top and reload, remove the old one and reload.
 */
#ifndef PROBER_KEYS_H
#define PROBER_KEYS_H

#include <stddef.h>

#include "proto/base/err.h"
#include "proto/ml_seal.h"

#define KEYS_BYTES_MAX 4096

/* Parse the text of a key file; `name` stands in messages, which give the line
 * but never what stands in it. Returns 0 and at least one key, or ERR_BAD /
 * ERR_TOOBIG. */
int keys_parse(const char *name, const char *text, size_t len,
               struct ml_key keys[ML_KEYRING_MAX], size_t *n,
               struct errmsg *msg);

/* Read and parse a file. ERR_SYS if it cannot be read. A file that others than
 * owner and group may read is taken, with a warning in *warning ("" if none).
 */
int keys_load(const char *path, struct ml_key keys[ML_KEYRING_MAX], size_t *n,
              struct errmsg *warning, struct errmsg *msg);

#endif /* PROBER_KEYS_H */
