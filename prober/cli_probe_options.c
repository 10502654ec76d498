#include "prober/cli_probe_options.h"

#include <getopt.h>
#include <string.h>

#include "prober/cli.h"
#include "prober/cli_board.h"
#include "prober/config.h"
#include "prober/oneoff.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define INTERVAL_DEFAULT_NS (1 * NS_PER_S)
#define INTERVAL_MIN_NS     UINT64_C(100000)
#define INTERVAL_MAX_NS     (24 * 3600 * NS_PER_S)
#define TIMEOUT_DEFAULT_NS  (5 * NS_PER_S)
#define TIMEOUT_MAX_NS      (3600 * NS_PER_S)
#define CONCURRENCY_MAX     4096
#define CONCURRENCY_DEFAULT 64 /* upper bound of what is chosen for you */
#define PER_ZONE_MAX        16

/* Why a node of the mesh is not told these. */
#define WHY_TRUST "the executing node decides whom it trusts"
#define WHY_NAMES "the executing node looks names up itself"
#define WHY_SLOTS "the executing node has slots of its own"

static const char help[] =
    "usage: prober probe URL [options]\n"
    "       prober probe URL|NODE --from WHERE [--control ADDR] [options]\n"
    "\n"
    "Probe URL: http:// https:// grpc:// grpcs://. From here, without a "
    "daemon;\n"
    "or, with --from or --control, from nodes of the mesh.\n"
    "\n"
    "  --protocol P      http1, grpc or auto (default): grpc for grpc:// and\n"
    "                    grpcs://, else http1. grpc over https:// is gRPC "
    "with\n"
    "                    TLS, over http:// it is HTTP/2 in plain text\n"
    "  --count N         attempts, default 1; 0: until Ctrl-C\n"
    "  --interval D      between the starts of attempts, default 1s; 0: the\n"
    "                    next one starts when one has ended\n"
    "  --timeout D       of one attempt, default 5s\n"
    "  --warm            on held connections, instead of a fresh one each\n"
    "  --service NAME    gRPC health service, default: the whole server\n"
    "  -o FORMAT         text (default), json (a sample per line) or summary\n"
    "\n"
    "From here only:\n"
    "  --concurrency N   attempts in flight at most\n"
    "  --ca FILE         trust these CAs (PEM) instead of the system's\n"
    "  --fingerprint F   trust only the certificate sha256:<64 hex digits>\n"
    "  --insecure        trust any certificate\n"
    "  --dns ADDR        ask this DNS server (up to 4 times); /etc/hosts is\n"
    "                    not looked at then\n"
    "  --ip 4|6          address family asked for first, default 4\n"
    "  --resolve ADDR    dial ADDR or ADDR:PORT, keep the name for TLS and "
    "Host\n"
    "\n"
    "From nodes of the mesh only: --count up to 1000, --interval 10ms to 1m,\n"
    "--timeout up to 10s, and\n"
    "  --from WHERE      self (default): the node that is asked; NODE, "
    "zone:Z\n"
    "                    or all-zones\n"
    "  --nodes-per-zone N  with zone:Z and all-zones, default "
    "1\n" CLI_CONTROL_HELP "\n"
    "Durations carry a unit: 250ms, 5s, 1m. Ctrl-C prints the summary so far.\n"
    "Exit codes: 0 all attempts were ok, 1 the tool itself failed or no node\n"
    "could try, 2 usage, 3 an attempt failed or a node that was asked did not\n"
    "answer.\n";

static int bad(const char *option, const char *text, const char *wanted)
{
    return cli_usage("probe", "%s: '%s' is not %s", option, text, wanted);
}

/* "1.2.3.4", "1.2.3.4:53", "::1", "[::1]:53". */
static int parse_address(const char *text, uint16_t port, struct addr *a)
{
    if (!addr_parse(a, text))
        return a->port ? 0 : ERR_BAD;
    int err = addr_parse_ip(a, text);
    a->port = port;
    return err;
}

static int set_protocol(struct cli_probe_options *o, const char *text)
{
    int n = protocol_parse(text);

    o->is_auto = !strcmp(text, "auto");
    if (n < 0 && !o->is_auto)
        return bad("--protocol", text, "http1, grpc or auto");
    if (n >= 0)
        o->protocol = (enum probe_protocol)n;
    return CLI_OK;
}

static int set_output(struct cli_probe_options *o, const char *text)
{
    if (!strcmp(text, "text"))
        o->output = OUTPUT_TEXT;
    else if (!strcmp(text, "json"))
        o->output = OUTPUT_JSON;
    else if (!strcmp(text, "summary"))
        o->output = OUTPUT_SUMMARY;
    else
        return bad("-o", text, "text, json or summary");
    return CLI_OK;
}

static int set_interval(struct cli_probe_options *o, const char *text)
{
    if (!strcmp(text, "0"))
        o->interval_ns = 0;
    else if (config_parse_duration(text, &o->interval_ns) ||
             o->interval_ns > INTERVAL_MAX_NS ||
             (o->interval_ns && o->interval_ns < INTERVAL_MIN_NS))
        return bad("--interval", text, "0 or a duration of 100us to 24h");
    return CLI_OK;
}

static int set_timeout(struct cli_probe_options *o, const char *text)
{
    if (config_parse_duration(text, &o->timeout_ns) ||
        o->timeout_ns < NS_PER_MS || o->timeout_ns > TIMEOUT_MAX_NS)
        return bad("--timeout", text, "a duration of 1ms to 1h");
    return CLI_OK;
}

static int add_dns(struct cli_probe_options *o, const char *text)
{
    if (o->n_dns == CLI_PROBE_DNS_MAX)
        return cli_usage("probe", "--dns: at most %d servers",
                         CLI_PROBE_DNS_MAX);
    if (parse_address(text, 53, &o->dns[o->n_dns]))
        return bad("--dns", text, "an address or address:port");
    o->n_dns++;
    return CLI_OK;
}

static void is_local(struct cli_probe_options *o, const char *option,
                     const char *why)
{
    if (o->local_only)
        return;
    o->local_only = option;
    o->local_why = why;
}

/* What may be the name of a node or zone. */
static bool is_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < CLI_BOARD_NAME_SIZE &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789._-") == len;
}

static int set_from(struct cli_probe_options *o, const char *text)
{
    const char *name = strncmp(text, "zone:", 5) ? text : text + 5;

    o->is_remote = true;
    o->from = text;
    if (!is_name(name))
        return bad("--from", text, "self, NODE, zone:Z or all-zones");
    return CLI_OK;
}

/* Returns CLI_OK or CLI_USAGE. */
static int set_option(struct cli_probe_options *o, int option, const char *text)
{
    switch (option) {
    case 'p':
        return set_protocol(o, text);
    case 'c':
        if (cli_parse_u64(text, 0, UINT32_MAX, &o->count))
            return bad("--count", text, "a number");
        return CLI_OK;
    case 'i':
        return set_interval(o, text);
    case 't':
        return set_timeout(o, text);
    case 'n':
        is_local(o, "--concurrency", WHY_SLOTS);
        if (cli_parse_u64(text, 1, CONCURRENCY_MAX, &o->concurrency))
            return bad("--concurrency", text, "a number of 1 to 4096");
        return CLI_OK;
    case 'w':
        o->is_warm = true;
        return CLI_OK;
    case 'C':
        is_local(o, "--ca", WHY_TRUST);
        o->ca = text;
        return CLI_OK;
    case 'k':
        is_local(o, "--insecure", WHY_TRUST);
        o->is_insecure = true;
        return CLI_OK;
    case 'f':
        is_local(o, "--fingerprint", WHY_TRUST);
        o->has_fingerprint = true;
        if (tls_fingerprint_parse(text, o->fingerprint))
            return bad("--fingerprint", text, "sha256: and 64 hex digits");
        return CLI_OK;
    case 's':
        o->service = text;
        return CLI_OK;
    case 'd':
        is_local(o, "--dns", WHY_NAMES);
        return add_dns(o, text);
    case '6':
        is_local(o, "--ip", WHY_NAMES);
        o->ip = text[0] == '4' ? 4 : 6;
        if (strcmp(text, "4") != 0 && strcmp(text, "6") != 0)
            return bad("--ip", text, "4 or 6");
        return CLI_OK;
    case 'r':
        is_local(o, "--resolve", WHY_NAMES);
        if (parse_address(text, 0, &o->resolve))
            return bad("--resolve", text, "an address or address:port");
        return CLI_OK;
    case 'o':
        return set_output(o, text);
    case 'F':
        return set_from(o, text);
    case 'z':
        o->remote_only = "--nodes-per-zone";
        if (cli_parse_u64(text, 1, PER_ZONE_MAX, &o->nodes_per_zone))
            return bad("--nodes-per-zone", text, "a number of 1 to 16");
        return CLI_OK;
    }
    if (cli_control_set(&o->control, option, text)) {
        if (option == CONTROL_OPTION_ADDRESS)
            o->is_remote = true;
        else
            o->remote_only = "--token-file and what else is for --control";
        return CLI_OK;
    }
    return cli_try_help("probe");
}

/* What a protocol of the target's and one asked for mean together. */
static int check_protocol(struct cli_probe_options *o)
{
    bool is_url = o->url.host[0];
    bool is_grpc_scheme =
        is_url && (o->url.scheme == URL_GRPC || o->url.scheme == URL_GRPCS);

    if (o->is_auto)
        o->protocol = is_grpc_scheme ? PROTOCOL_GRPC : PROTOCOL_HTTP1;
    if (is_grpc_scheme && o->protocol != PROTOCOL_GRPC)
        return cli_usage("probe", "a grpc URL is not probed over http1");
    /* What a name alone is probed over is not known here. */
    bool may_be_grpc = o->protocol == PROTOCOL_GRPC || (o->is_auto && !is_url);
    if (o->service && !may_be_grpc)
        return cli_usage("probe", "--service is for gRPC");
    return CLI_OK;
}

static int check_local(struct cli_probe_options *o)
{
    if (o->remote_only)
        return cli_usage("probe", "%s: needs --from or --control",
                         o->remote_only);
    if (o->has_fingerprint && !o->url.is_tls)
        return cli_usage("probe", "--fingerprint needs https:// or grpcs://");
    if (o->has_fingerprint && (o->is_insecure || o->ca))
        return cli_usage("probe",
                         "--fingerprint stands in for --ca and --insecure");
    if (o->ca && o->is_insecure)
        return cli_usage("probe", "--ca and --insecure exclude each other");
    if (o->resolve.family != ADDR_NONE && !o->resolve.port)
        o->resolve.port = o->url.port;
    if (!o->concurrency) {
        /* As many as can be in flight if all time out, so that nothing is
         * missed unless the rate is high. */
        o->concurrency =
            o->interval_ns ? o->timeout_ns / o->interval_ns + 1 : 1;
        if (o->concurrency > CONCURRENCY_DEFAULT)
            o->concurrency = CONCURRENCY_DEFAULT;
    }
    return CLI_OK;
}

static int check_remote(struct cli_probe_options *o)
{
    if (o->local_only)
        return cli_usage("probe", "%s is not for --from and --control: %s%s",
                         o->local_only, o->local_why,
                         strcmp(o->local_only, "--ca")
                             ? ""
                             : "; for the control port's own certificate there "
                               "is --control-ca");
    if (!o->from)
        o->from = "self";
    if (o->nodes_per_zone && strncmp(o->from, "zone:", 5) != 0 &&
        strcmp(o->from, "all-zones") != 0)
        return cli_usage("probe",
                         "--nodes-per-zone is for --from zone:Z or all-zones");
    if (!o->count || o->count > ONEOFF_COUNT_MAX)
        return cli_usage("probe", "--count: 1 to %d from nodes of the mesh",
                         ONEOFF_COUNT_MAX);
    if (o->interval_ns < ONEOFF_INTERVAL_MIN_NS ||
        o->interval_ns > ONEOFF_INTERVAL_MAX_NS || o->interval_ns % NS_PER_MS)
        return cli_usage("probe", "--interval: 10ms to 1m, in whole "
                                  "milliseconds, from nodes of the mesh");
    if (o->timeout_ns > ONEOFF_TIMEOUT_MAX_NS || o->timeout_ns % NS_PER_MS)
        return cli_usage("probe", "--timeout: 1ms to 10s, in whole "
                                  "milliseconds, from nodes of the mesh");
    return CLI_OK;
}

static int parse_target(struct cli_probe_options *o, const char *text)
{
    struct errmsg msg = {""};

    o->target = text;
    if (strstr(text, "://")) {
        if (url_parse(&o->url, text, &msg))
            return cli_usage("probe", "%s", msg.text);
        return CLI_OK;
    }
    if (!o->is_remote)
        return cli_usage("probe",
                         "'%s' is no URL; a node is probed by its name with "
                         "--from or --control",
                         text);
    return is_name(text)
               ? CLI_OK
               : cli_usage("probe", "'%s' is neither a URL nor a name", text);
}

int cli_probe_options_parse(struct cli_probe_options *o, int argc, char **argv,
                            bool *is_done)
{
    static const struct option longs[] = {
        {"protocol", required_argument, NULL, 'p'},
        {"count", required_argument, NULL, 'c'},
        {"interval", required_argument, NULL, 'i'},
        {"timeout", required_argument, NULL, 't'},
        {"concurrency", required_argument, NULL, 'n'},
        {"warm", no_argument, NULL, 'w'},
        {"ca", required_argument, NULL, 'C'},
        {"insecure", no_argument, NULL, 'k'},
        {"fingerprint", required_argument, NULL, 'f'},
        {"service", required_argument, NULL, 's'},
        {"dns", required_argument, NULL, 'd'},
        {"ip", required_argument, NULL, '6'},
        {"resolve", required_argument, NULL, 'r'},
        {"from", required_argument, NULL, 'F'},
        {"nodes-per-zone", required_argument, NULL, 'z'},
        CLI_CONTROL_OPTIONS,
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option, code = CLI_OK;

    *is_done = false;
    *o = (struct cli_probe_options){.is_auto = true,
                                    .count = 1,
                                    .interval_ns = INTERVAL_DEFAULT_NS,
                                    .timeout_ns = TIMEOUT_DEFAULT_NS,
                                    .ip = 4};
    cli_control_init(&o->control, "probe");

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h') {
            *is_done = true;
            return cli_help(help);
        }
        code = set_option(o, option, optarg);
    }
    if (code != CLI_OK)
        return code;
    if (optind + 1 != argc)
        return cli_usage("probe",
                         optind < argc ? "one target at a time" : "which URL?");
    code = parse_target(o, argv[optind]);
    if (code == CLI_OK)
        code = check_protocol(o);
    if (code == CLI_OK)
        code = o->is_remote ? check_remote(o) : check_local(o);
    return code;
}
