#include "prober/cli_zone.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_http.h"
#include "prober/cli_json.h"
#include "prober/clock.h"
#include "prober/file.h"
#include "proto/tls.h"

#define NS_PER_S   UINT64_C(1000000000)
#define TIMEOUT_NS (5 * NS_PER_S)
#define TRIES      6
#define NODE_MAX   (4u << 20) /* bytes of the object; images are listed in it */
#define TOKEN_MAX  8192
#define ACCOUNT    "/var/run/secrets/kubernetes.io/serviceaccount"

static const char help[] =
    "usage: prober zone --kubernetes [options]\n"
    "\n"
    "Asks the Kubernetes API server for the labels of this pod's node, which\n"
    "$NODE_NAME names, and says its zone and region. For an init container;\n"
    "needs the right to get nodes.\n"
    "\n"
    "  --kubernetes      ask the API server\n"
    "  --output-dir DIR  write the files zone and region there, for\n"
    "                    node.zone_file and node.region_file\n"
    "  --server URL      default: https:// and what $KUBERNETES_SERVICE_HOST\n"
    "                    and $KUBERNETES_SERVICE_PORT say\n"
    "  --account DIR     with token and ca.crt; default\n"
    "                    " ACCOUNT "\n"
    "  -h, --help        show this help\n"
    "\n"
    "A node without the labels, or one that may not be read, has no zone: the\n"
    "files are empty then. Exit codes: 0 fine, 1 no answer, 2 usage.\n";

struct options {
    bool is_kubernetes;
    const char *directory, *server, *account;
};

/* ---- the node ---- */

/* Label values of Kubernetes are made of these; anything else is none. */
static void take_label(const struct json_t *labels, const char *key,
                       char out[CLI_ZONE_SIZE])
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789._-";
    const char *text = cli_json_text_of(labels, key, "");
    size_t len = strlen(text);
    bool is_name = len < CLI_ZONE_SIZE && text[strspn(text, allowed)] == '\0';
    snprintf(out, CLI_ZONE_SIZE, "%s", is_name ? text : "");
}

int cli_zone_parse(const char *text, size_t len, char zone[CLI_ZONE_SIZE],
                   char region[CLI_ZONE_SIZE], struct errmsg *msg)
{
    struct json_t *node = cli_json_open(text, len, msg);
    if (!node)
        return ERR_BAD;
    const struct json_t *labels =
        cli_json_get(cli_json_get(node, "metadata"), "labels");
    take_label(labels, "topology.kubernetes.io/zone", zone);
    take_label(labels, "topology.kubernetes.io/region", region);
    cli_json_close(node);
    return 0;
}

/* ---- asking ---- */

/* One line without its end. Returns 0 or ERR_SYS. */
static int read_token(const char *account, char token[TOKEN_MAX])
{
    char path[512];
    snprintf(path, sizeof(path), "%s/token", account);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : file_read_all(fd, token, TOKEN_MAX - 1);
    if (fd >= 0)
        close(fd);
    if (len < 0)
        return ERR_SYS;
    token[len] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    return 0;
}

static bool is_node_name(const char *name)
{
    size_t len = strlen(name);
    return len && len <= 253 &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-")];
}

/* The status, with the answer in `body`, or an error with `msg`. */
static int ask_once(const struct url *server, struct tls_context *tls,
                    const char *token, const char *node, struct wr *body,
                    struct errmsg *msg)
{
    char path[320];
    struct cli_conn_to to = {.url = server, .tls = tls, .abort_fd = -1};
    snprintf(path, sizeof(path), "/api/v1/nodes/%s", node);
    struct cli_http_request request = {
        .method = "GET",
        .path = path,
        .token = token,
        .body_max = NODE_MAX,
    };
    uint64_t until_ns = clock_now_ns() + TIMEOUT_NS;
    struct cli_http *h = NULL;
    int status = cli_http_open(&to, &request, until_ns, &h, msg);
    if (status > 0) {
        int rc = cli_http_read_all(h, body, until_ns, msg);
        status = rc ? rc : status;
    }
    cli_http_close(h);
    return status;
}

/* A server that is just starting is given some seconds. What it says of us
 * will be the same then. */
static int ask(const struct url *server, struct tls_context *tls,
               const char *token, const char *node, struct wr *body,
               struct errmsg *msg)
{
    int status = 0;
    for (int i = 0; i < TRIES; i++) {
        const struct timespec pause = {.tv_sec = i};
        (void)nanosleep(&pause, NULL);
        wr_reset(body);
        status = ask_once(server, tls, token, node, body, msg);
        if (status > 0 && status < 500)
            break;
    }
    return status;
}

static int find(const struct options *o, char zone[CLI_ZONE_SIZE],
                char region[CLI_ZONE_SIZE], struct errmsg *msg)
{
    char ca[512], token[TOKEN_MAX];
    const char *node = getenv("NODE_NAME");
    struct url server;
    struct wr body;
    if (!node || !is_node_name(node)) {
        errmsg_set(msg, "NODE_NAME does not name a node");
        return ERR_BAD;
    }
    if (url_parse(&server, o->server, msg))
        return ERR_BAD;
    if (read_token(o->account, token)) {
        errmsg_set(msg, "%s/token: %s", o->account, strerror(errno));
        return ERR_SYS;
    }
    snprintf(ca, sizeof(ca), "%s/ca.crt", o->account);
    struct tls_client_config config = {.ca_file = ca};
    struct tls_context *tls = tls_client_context(&config, msg);
    if (!tls)
        return ERR_SYS;
    wr_init_grow(&body, NODE_MAX);
    int status = ask(&server, tls, token, node, &body, msg);
    int rc = status < 0 ? status : 0;
    if (status == 200)
        rc = cli_zone_parse((const char *)body.data, body.len, zone, region,
                            msg);
    else if (status == 403 || status == 404)
        fprintf(stderr,
                "prober zone: the API server says %d for node %s: no zone\n",
                status, node);
    else if (status > 0) {
        errmsg_set(msg, "the API server says %d", status);
        rc = ERR_BAD;
    }
    wr_fini(&body);
    tls_context_close(tls);
    explicit_bzero(token, sizeof(token));
    return rc;
}

/* ---- the answer ---- */

static int write_file(const char *directory, const char *name, const char *text)
{
    char path[512], line[CLI_ZONE_SIZE + 1];
    int len = snprintf(line, sizeof(line), "%s%s", text, text[0] ? "\n" : "");
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return cli_fail("zone", "%s: %s", path, strerror(errno));
    int rc = cli_write(fd, line, (size_t)len);
    if (close(fd) || rc)
        return cli_fail("zone", "%s: %s", path, strerror(errno));
    return CLI_OK;
}

static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"kubernetes", no_argument, NULL, 'k'},
        {"output-dir", required_argument, NULL, 'o'},
        {"server", required_argument, NULL, 's'},
        {"account", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'k':
            o->is_kubernetes = true;
            break;
        case 'o':
            o->directory = optarg;
            break;
        case 's':
            o->server = optarg;
            break;
        case 'a':
            o->account = optarg;
            break;
        case 'h':
            return cli_help(help) ? CLI_FAILED : -1;
        default:
            return cli_try_help("zone");
        }
    }
    if (optind < argc)
        return cli_usage("zone", "unexpected argument '%s'", argv[optind]);
    if (!o->is_kubernetes)
        return cli_usage("zone", "say where to ask: --kubernetes");
    return CLI_OK;
}

/* Where the API server is, as a pod is told; an IPv6 address in brackets. */
static int default_server(char url[300])
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !host[0])
        return cli_usage("zone", "no --server, and KUBERNETES_SERVICE_HOST is "
                                 "not set");
    bool is_v6 = strchr(host, ':') != NULL;
    snprintf(url, 300, "https://%s%s%s:%s", is_v6 ? "[" : "", host,
             is_v6 ? "]" : "", port && port[0] ? port : "443");
    return CLI_OK;
}

int cli_zone(int argc, char **argv)
{
    struct options o = {.account = ACCOUNT};
    struct errmsg msg = {{0}};
    char zone[CLI_ZONE_SIZE] = "", region[CLI_ZONE_SIZE] = "", server[300];
    int rc = parse_options(argc, argv, &o);
    if (rc)
        return rc < 0 ? CLI_OK : rc;
    if (!o.server) {
        rc = default_server(server);
        if (rc)
            return rc;
        o.server = server;
    }
    if (find(&o, zone, region, &msg))
        return cli_fail("zone", "%s", msg.text);
    printf("zone %s\nregion %s\n", zone[0] ? zone : "-",
           region[0] ? region : "-");
    if (fflush(stdout))
        return CLI_FAILED;
    if (!o.directory)
        return CLI_OK;
    rc = write_file(o.directory, "zone", zone);
    return rc ? rc : write_file(o.directory, "region", region);
}
