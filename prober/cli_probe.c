#include "prober/cli_probe.h"

#include "prober/cli.h"
#include "prober/cli_probe_options.h"

int cli_probe(int argc, char **argv)
{
    struct cli_probe_options o;
    bool is_done;
    int code = cli_probe_options_parse(&o, argc, argv, &is_done);

    if (is_done || code != CLI_OK)
        return code;
    return o.is_remote ? cli_probe_remote(&o) : cli_probe_run(&o);
}
