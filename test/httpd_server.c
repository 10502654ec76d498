/* test/httpd_server.c - the API's server over a made-up control plane, for
 * test/system/httpd_test.py.
 *
 * usage: httpd_server [name=number]...   names: see options[] below
 *
 * Prints "port N" and runs until SIGTERM. Beside the API there is
 * /big?bytes=N. On exit everything is freed, for the leak checkers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <uv.h>

#include "prober/httpd_query.h"
#include "prober/httpd_uv.h"
#include "test/api_world.h"

#define NS_PER_MS 1000000u

static int big_body(void *state, struct wr *w)
{
    uint64_t *left = state;
    while (*left > 0 && !httpd_slice_is_full(w)) {
        uint64_t n = *left < 1024 ? *left : 1024;
        uint8_t *p = wr_space(w, (size_t)n);
        if (!p)
            break;
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)('a' + i % 23);
        *left -= n;
    }
    return wr_err(w) ? wr_err(w) : *left > 0;
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    const char *bytes = httpd_query_param(r, "bytes");
    uint64_t *left = malloc(sizeof(*left));
    if (strcmp(r->path, "/big") != 0 || !bytes || !left) {
        free(left);
        api_handle(arg, r, a);
        return;
    }
    *left = strtoull(bytes, NULL, 10);
    *a = (struct httpd_answer){.status = 200,
                               .content_type = "text/plain",
                               .body = big_body,
                               .done = free,
                               .state = left};
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    httpd_close(signal->data);
    uv_close((uv_handle_t *)signal, NULL);
}

static bool set_option(struct httpd_limits *l, bool *is_dual, const char *text)
{
    char name[32];
    unsigned long v;
    if (sscanf(text, "%31[a-z_]=%lu", name, &v) != 2)
        return false;
    if (strcmp(name, "connections") == 0)
        l->connections_max = (unsigned)v;
    else if (strcmp(name, "dual") == 0)
        *is_dual = v;
    else if (strcmp(name, "per_address") == 0)
        l->per_address_max = (unsigned)v;
    else if (strcmp(name, "per_loopback") == 0)
        l->per_loopback_max = (unsigned)v;
    else if (strcmp(name, "head_ms") == 0)
        l->head_timeout_ns = v * NS_PER_MS;
    else if (strcmp(name, "idle_ms") == 0)
        l->idle_timeout_ns = v * NS_PER_MS;
    else if (strcmp(name, "write_ms") == 0)
        l->write_timeout_ns = v * NS_PER_MS;
    else if (strcmp(name, "linger_ms") == 0)
        l->linger_timeout_ns = v * NS_PER_MS;
    else if (strcmp(name, "nofile") == 0)
        return !setrlimit(RLIMIT_NOFILE, &(struct rlimit){v, v});
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct httpd_limits limits = httpd_limits_default;
    bool is_dual = false; /* on all addresses of both families */
    for (int i = 1; i < argc; i++) {
        if (!set_option(&limits, &is_dual, argv[i])) {
            fprintf(stderr, "httpd_server: bad option %s\n", argv[i]);
            return 2;
        }
    }
    struct world world;
    struct addr any;
    struct addr actual;
    struct errmsg msg = {""};
    world_init(&world);
    uv_loop_t *loop = uv_default_loop();
    if (addr_parse(&any, is_dual ? "[::]:0" : "127.0.0.1:0"))
        return 1;
    const struct httpd_config server = {.listen = &any,
                                        .limits = &limits,
                                        .handler = handle,
                                        .arg = &world.source};
    struct httpd *h = httpd_open(loop, &server, &actual, &msg);
    if (!h) {
        fprintf(stderr, "httpd_server: %s\n", msg.text);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_signal_t terminate;
    uv_signal_init(loop, &terminate);
    terminate.data = h;
    uv_signal_start(&terminate, on_signal, SIGTERM);
    printf("port %u\n", actual.port);
    fflush(stdout);

    uv_run(loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(loop);
    world_fini(&world);
    return rc ? 3 : 0;
}
