/* prober/cli_operate.h - `prober status`, `prober reload`, `prober drain`: a
 * node's control port, for whoever runs the node. */
#ifndef PROBER_CLI_OPERATE_H
#define PROBER_CLI_OPERATE_H

#include <stddef.h>

#include "prober/cli_render.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"

/* The subcommands. Each returns an enum cli_exit. */
int cli_status(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_drain(int argc, char **argv);

/* Write an answer's members, a line each: "control.requests  12". Members of
 * members have their names joined; arrays of texts have a line for each.
 * `with_true`: those that are just true, too. Returns 0 or ERR_BAD with `msg`;
 * errors of `w` stick there. Pure. */
int cli_operate_render(const char *text, size_t len, bool with_true,
                       struct wr *w, struct errmsg *msg);
/* Write all that {"error":{"message":..,"complaints":[..]}} says: the
 * complaints, a line each, or the message. False: it says nothing. Pure. */
bool cli_operate_complaints(const char *text, size_t len, struct wr *w);

#endif /* PROBER_CLI_OPERATE_H */
