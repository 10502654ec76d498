#include "prober/cli_matrix_options.h"

#include <getopt.h>
#include <string.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/config.h"

#define NS_PER_MS    UINT64_C(1000000)
#define NS_PER_S     UINT64_C(1000000000)
#define WATCH_NS     (2 * NS_PER_S)
#define WATCH_NS_MIN (200 * NS_PER_MS)
#define WATCH_NS_MAX (3600 * NS_PER_S)
#define WAIT_NS_MIN  NS_PER_S
#define WAIT_NS_MAX  (3600 * NS_PER_S)
#define AT_TEXT_MAX  64

static const char help[] =
    "usage: prober matrix [options]\n"
    "\n"
    "Show the latency matrix that a node answers: rows are where probes come\n"
    "from, columns where they go.\n"
    "\n"
    "  --api URL       the node's API, default " CLI_API_DEFAULT "\n"
    "  --phase P       dns, connect, tls, ttfb, transfer, local, total\n"
    "                  (default) or server\n"
    "  --stat S        p50 (default), p90, p99, max or loss\n"
    "  --protocol P    http1, grpc or all\n"
    "  --mode M        cold or warm\n"
    "  --level L       node, zone or region\n"
    "  --window D      how far back, for example 5m\n"
    "  --at TIME       how it was then, for example 2026-01-31T23:59:00Z\n"
    "  --watch [D]     redraw every D, 2s unless given, until Ctrl-C\n"
    "  --wait D        ask again for up to D, until all report and every pair\n"
    "                  is fresh; what is still missing then is a failure\n"
    "  --expect NAMES  with --wait: these, like a,b,c, have to be there too\n"
    "  -o FORMAT       text (default), or json: the node's answer as it is\n"
    "\n"
    "What is not given is the node's choice. Exit codes: 0 fine, 1 no answer\n"
    "or, with --wait, no whole one, 2 usage.\n";

static bool is_one_of(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(text, words[i]))
            return true;
    }
    return false;
}

#define ONE_OF(text, ...)                                  \
    is_one_of((text), (const char *const[]){__VA_ARGS__},  \
              sizeof((const char *const[]){__VA_ARGS__}) / \
                  sizeof(const char *))

/* Whether there was such a time is the node's to say. */
static bool is_like_time(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= AT_TEXT_MAX &&
           strspn(text, "0123456789-+:.TtZz") == len;
}

static int set_watch(struct cli_matrix_options *o, const char *text)
{
    o->watch_ns = WATCH_NS;
    if (text && config_parse_duration(text, &o->watch_ns))
        return cli_usage("matrix", "--watch: '%s' is not a duration like 2s",
                         text);
    if (o->watch_ns < WATCH_NS_MIN || o->watch_ns > WATCH_NS_MAX)
        return cli_usage("matrix", "--watch: from 200ms to 1h");
    return CLI_OK;
}

static int set_wait(struct cli_matrix_options *o, const char *text)
{
    if (config_parse_duration(text, &o->wait_ns))
        return cli_usage("matrix", "--wait: '%s' is not a duration like 60s",
                         text);
    if (o->wait_ns < WAIT_NS_MIN || o->wait_ns > WAIT_NS_MAX)
        return cli_usage("matrix", "--wait: from 1s to 1h");
    return CLI_OK;
}

static int set_expect(struct cli_matrix_options *o, const char *text)
{
    size_t len = strlen(text);

    o->expect = text;
    if (!len || text[0] == ',' || text[len - 1] == ',' || strstr(text, ",,"))
        return cli_usage("matrix", "--expect: '%s' is no list like a,b,c",
                         text);
    return CLI_OK;
}

/* Returns CLI_OK or CLI_USAGE. */
static int set_option(struct cli_matrix_options *o, int option,
                      const char *text)
{
    uint64_t ns;
    int n;

    switch (option) {
    case 'a':
        return cli_api_parse("matrix", text, &o->api);
    case 'p':
        n = series_parse(text);
        if (n < 0)
            return cli_usage("matrix", "--phase: no phase '%s'", text);
        o->series = (unsigned)n;
        return CLI_OK;
    case 's':
        n = render_stat_parse(text);
        if (n < 0)
            return cli_usage("matrix",
                             "--stat: '%s' is not one of p50, p90, "
                             "p99, max, loss",
                             text);
        o->stat = (enum render_stat)n;
        return CLI_OK;
    case 'P':
        o->protocol = text;
        if (!ONE_OF(text, "http1", "grpc", "all"))
            return cli_usage("matrix",
                             "--protocol: '%s' is not one of http1, "
                             "grpc, all",
                             text);
        return CLI_OK;
    case 'm':
        o->mode = text;
        if (!ONE_OF(text, "cold", "warm"))
            return cli_usage("matrix", "--mode: '%s' is neither cold nor warm",
                             text);
        return CLI_OK;
    case 'l':
        o->level = text;
        if (!ONE_OF(text, "node", "zone", "region"))
            return cli_usage("matrix",
                             "--level: '%s' is not one of node, "
                             "zone, region",
                             text);
        return CLI_OK;
    case 'w':
        o->window = text;
        if (config_parse_duration(text, &ns))
            return cli_usage("matrix",
                             "--window: '%s' is not a duration like "
                             "5m",
                             text);
        return CLI_OK;
    case 'o':
        o->is_json = !strcmp(text, "json");
        if (!o->is_json && strcmp(text, "text") != 0)
            return cli_usage("matrix", "-o: '%s' is neither text nor json",
                             text);
        return CLI_OK;
    case 't':
        o->at = text;
        if (!is_like_time(text))
            return cli_usage("matrix",
                             "--at: '%s' is not a time like "
                             "2026-01-31T23:59:00Z",
                             text);
        return CLI_OK;
    case 'W':
        return set_watch(o, text);
    case 'u':
        return set_wait(o, text);
    case 'e':
        return set_expect(o, text);
    }
    return cli_try_help("matrix");
}

/* getopt wants "--watch=D"; "--watch D" is as clear, nothing else follows. */
static const char *watch_argument(int argc, char **argv)
{
    if (optarg || optind >= argc || argv[optind][0] == '-')
        return optarg;
    return argv[optind++];
}

static int check_together(const struct cli_matrix_options *o)
{
    if (o->at && o->watch_ns)
        return cli_usage("matrix", "--at: the past does not change, so there "
                                   "is nothing to --watch");
    if (o->wait_ns && (o->at || o->watch_ns))
        return cli_usage("matrix", "--wait: neither with --at nor --watch");
    if (o->expect && !o->wait_ns)
        return cli_usage("matrix", "--expect: only with --wait");
    return CLI_OK;
}

int cli_matrix_options_parse(struct cli_matrix_options *o, int argc,
                             char **argv, bool *is_done)
{
    static const struct option longs[] = {
        {"api", required_argument, NULL, 'a'},
        {"phase", required_argument, NULL, 'p'},
        {"stat", required_argument, NULL, 's'},
        {"protocol", required_argument, NULL, 'P'},
        {"mode", required_argument, NULL, 'm'},
        {"level", required_argument, NULL, 'l'},
        {"window", required_argument, NULL, 'w'},
        {"at", required_argument, NULL, 't'},
        {"watch", optional_argument, NULL, 'W'},
        {"wait", required_argument, NULL, 'u'},
        {"expect", required_argument, NULL, 'e'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option, code;

    *o = (struct cli_matrix_options){.series = SERIES_TOTAL, .stat = STAT_P50};
    code = cli_api_parse("matrix", CLI_API_DEFAULT, &o->api);

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h') {
            *is_done = true;
            return cli_help(help);
        }
        const char *text = option == 'W' ? watch_argument(argc, argv) : optarg;
        code = set_option(o, option, text);
    }
    if (code != CLI_OK)
        return code;
    if (optind < argc)
        return cli_usage("matrix", "unexpected '%s'", argv[optind]);
    return check_together(o);
}
