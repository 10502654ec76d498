/* prober/cli_api.h - asking a node's API, for the commands that show it.
 *
 * Shell code.
 */
#ifndef PROBER_CLI_API_H
#define PROBER_CLI_API_H

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/url.h"

#define CLI_API_DEFAULT   "http://127.0.0.1:7070"
#define CLI_API_BYTES_MAX (64u << 20) /* of an answer */
#define CLI_API_PATH_SIZE (URL_PATH_MAX + 128)

/* What --api of `command` says. Returns CLI_OK, or CLI_USAGE and says why. */
int cli_api_parse(const char *command, const char *text, struct url *api);

/* Append the API's `path` below what --api says, so that a proxy's prefix
 * works. Errors are the writer's. */
void cli_api_path(const struct url *api, const char *path, struct wr *w);

#define CLI_API_TIMEOUT_NS UINT64_C(10000000000)

/* Get `path` (with query, as above) into `answer`. Returns an exit code, with
 * `msg` set if it is not CLI_OK: what the node refuses as 400 is CLI_USAGE, all
 * else CLI_FAILED. `abort_fd` (or -1), once readable, ends it: *is_ended. */
int cli_api_get(const struct url *api, const char *path, uint64_t timeout_ns,
                int abort_fd, struct wr *answer, bool *is_ended,
                struct errmsg *msg);

#endif /* PROBER_CLI_API_H */
