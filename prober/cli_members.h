/* prober/cli_members.h - `prober members`: who is in the mesh. */
#ifndef PROBER_CLI_MEMBERS_H
#define PROBER_CLI_MEMBERS_H

#include <stddef.h>

#include "prober/cli_render.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"

#define CLI_MEMBERS_MAX 65536 /* in one answer */

/* The subcommand. Returns an enum cli_exit. */
int cli_members(int argc, char **argv);

/* Read an answer of /api/v1/members and write it as a table, this node first,
 * then by region, zone and name, and what is not ours last. What an older or
 * newer server leaves out or adds is no error. Returns 0, or ERR_BAD,
 * ERR_TOOBIG, ERR_NOMEM with `msg` set; errors of `w` stick there. Pure. */
int cli_members_render(const char *text, size_t len,
                       const struct render_style *style, struct wr *w,
                       struct errmsg *msg);

#endif /* PROBER_CLI_MEMBERS_H */
