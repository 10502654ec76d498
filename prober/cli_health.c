#include "prober/cli_health.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/cli_http.h"
#include "prober/config.h"
#include "prober/config_value.h"
#include "proto/base/addr.h"

#define NS_PER_S        UINT64_C(1000000000)
#define TIMEOUT_NS      (3 * NS_PER_S)
#define ANSWER_MAX      4096
#define API_PORT        7070
#define LISTEN_VARIABLE "PROBER_API_LISTEN"

static const char help[] =
    "usage: prober health [options]\n"
    "\n"
    "Asks a node whether it is alive. Says what it answered.\n"
    "\n"
    "  --ready        ask whether it is ready to be asked for results\n"
    "  --api URL      default " CLI_API_DEFAULT ", or where\n"
    "                 $" LISTEN_VARIABLE " says that this host's node listens\n"
    "  --timeout D    default 3s\n"
    "  -h, --help     show this help\n"
    "\n"
    "Exit codes: 0 yes, 1 no or no answer, 2 usage.\n";

struct options {
    const char *api; /* NULL: not given */
    bool is_ready;
    uint64_t timeout_ns;
};

/* Where the node beside us listens, as a URL: it reads the variable in the
 * same way. */
static const char *default_api(char url[96])
{
    static const struct config_key key = {.port = API_PORT};
    char host[ADDR_TEXT_SIZE];
    struct errmsg ignored = {{0}};
    struct addr a;
    const char *listen = getenv(LISTEN_VARIABLE);
    if (!listen || !listen[0] ||
        config_value_listen(&key, listen, false, &a, &ignored))
        return CLI_API_DEFAULT;
    uint16_t port = a.port ? a.port : API_PORT;
    if (addr_is_any(&a))
        (void)addr_parse_ip(&a, "127.0.0.1");
    a.port = port;
    snprintf(url, 96, "http://%s", addr_format(&a, host));
    return url;
}

/* As in cli_check.c: an exit code, or -1 when help was shown. */
static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"ready", no_argument, NULL, 'r'},
        {"api", required_argument, NULL, 'a'},
        {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'r')
            o->is_ready = true;
        else if (c == 'a')
            o->api = optarg;
        else if (c == 'h')
            return cli_help(help) ? CLI_FAILED : -1;
        else if (c != 't')
            return cli_try_help("health");
        else if (config_parse_duration(optarg, &o->timeout_ns) ||
                 !o->timeout_ns)
            return cli_usage("health", "--timeout: '%s' is no duration",
                             optarg);
    }
    if (optind < argc)
        return cli_usage("health", "unexpected argument '%s'", argv[optind]);
    return CLI_OK;
}

int cli_health(int argc, char **argv)
{
    struct options o = {.timeout_ns = TIMEOUT_NS};
    struct errmsg msg = {{0}};
    struct url api;
    struct wr path, answer;
    char url[96];
    int rc = parse_options(argc, argv, &o);
    if (rc)
        return rc < 0 ? CLI_OK : rc;
    rc = cli_api_parse("health", o.api ? o.api : default_api(url), &api);
    if (rc)
        return rc;
    wr_init_grow(&path, CLI_API_PATH_SIZE);
    wr_init_grow(&answer, ANSWER_MAX);
    cli_api_path(&api, o.is_ready ? "/readyz" : "/livez", &path);
    wr_u8(&path, 0);
    int status = wr_err(&path) ? wr_err(&path)
                               : cli_http_get(&api, (const char *)path.data,
                                              o.timeout_ns, -1, &answer, &msg);
    if (status == 200)
        rc = cli_help(o.is_ready ? "ready\n" : "alive\n");
    else if (status > 0)
        rc = cli_fail("health", "not %s: %d", o.is_ready ? "ready" : "alive",
                      status);
    else
        rc =
            cli_fail("health", "%s", msg.text[0] ? msg.text : err_name(status));
    wr_fini(&path);
    wr_fini(&answer);
    return rc;
}
