/* prober/cli_probe_options.h - what `prober probe` was asked to do.
 *
 * Shell code.
 */
#ifndef PROBER_CLI_PROBE_OPTIONS_H
#define PROBER_CLI_PROBE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/cli_control.h"
#include "proto/base/addr.h"
#include "proto/outcome.h"
#include "proto/tls.h"
#include "proto/url.h"

#define CLI_PROBE_DNS_MAX 4

enum cli_probe_output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_SUMMARY };

struct cli_probe_options {
    const char *target; /* as given; what follows is borrowed from argv too */
    struct url url;     /* unset if the target is a name */
    enum probe_protocol protocol;
    bool is_auto, is_warm, is_insecure, has_fingerprint;
    enum cli_probe_output output;
    uint64_t count; /* 0: no end */
    uint64_t interval_ns, timeout_ns;
    uint64_t concurrency; /* 0: not given */
    unsigned ip;
    const char *ca, *service; /* NULL: not given */
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];
    struct addr resolve; /* ADDR_NONE: not given */
    struct addr dns[CLI_PROBE_DNS_MAX];
    size_t n_dns;

    /* From elsewhere, through a node's control port. */
    bool is_remote;
    const char *from;        /* "self", NODE, "zone:Z", "all-zones" */
    uint64_t nodes_per_zone; /* 0: not given */
    struct cli_control control;
    const char *local_only,
        *local_why;          /* an option that was given and is for
                              * attempts made by ourselves, or NULL */
    const char *remote_only; /* and the other way round */
};

/* Read the command line. Returns CLI_OK, or CLI_USAGE and says why; *is_done:
 * help was asked for and given, nothing else is to be done. */
int cli_probe_options_parse(struct cli_probe_options *o, int argc, char **argv,
                            bool *is_done);

/* Make the attempts from here. Returns an enum cli_exit. */
int cli_probe_run(const struct cli_probe_options *o);

/* Have them made. Returns an enum cli_exit. */
int cli_probe_remote(struct cli_probe_options *o);

#endif /* PROBER_CLI_PROBE_OPTIONS_H */
