/* prober/cli_event.h - one line of the control port's stream (docs/api.md).
 *
 *     {"target":...,"outcome":...}       a sample
 *     {"executor":{"node":...,"state":...}}
 *     {"summary":{...}}                  the last one
 *
 * Lines come from the network: what is of another type than it should be reads
 * as absent, what cannot be true is an error, and what a newer server adds is
 * let be. Pure.
 */
#ifndef PROBER_CLI_EVENT_H
#define PROBER_CLI_EVENT_H

#include <stddef.h>

#include "prober/cli_json.h"
#include "prober/sample.h"
#include "proto/base/err.h"

/* Longer than any attempt. Bounds what is added up. */
#define CLI_EVENT_NS_MAX INT64_C(3600000000000)

enum cli_event_kind {
    EVENT_SAMPLE,
    EVENT_EXECUTOR,
    EVENT_SUMMARY,
    EVENT_OTHER, /* of a newer server */
};

struct cli_event {
    enum cli_event_kind kind;
    struct json_t *root;       /* owned; holds all that is pointed to */
    const struct json_t *body; /* of EXECUTOR and SUMMARY */
    const char *node, *zone;   /* of SAMPLE and EXECUTOR, "" if not told */
    struct sample sample; /* of SAMPLE: what people are shown of it; times are
                           * absent or at most CLI_EVENT_NS_MAX */
};

/* Read a line. Returns 0, and then it has to be closed, or ERR_BAD with
 * `msg`. */
int cli_event_open(struct cli_event *e, const char *line, size_t len,
                   struct errmsg *msg);
void cli_event_close(struct cli_event *e);

/* A time of an object: 0..CLI_EVENT_NS_MAX, SAMPLE_ABSENT if it is not there.
 * ERR_BAD: longer. */
int cli_event_ns(const struct json_t *object, const char *key, int64_t *ns);

#endif /* PROBER_CLI_EVENT_H */
