/* test/control_grpc_server.c - the control port's gRPC side on a real port,
 * over inquiries that are made up, for test/system/test_grpc.py.
 *
 * usage: control_grpc_server [UNIX_SOCKET]
 *
 * Prints "port N" (0 on a unix socket) and runs until SIGTERM. An inquiry has
 * its next sample each interval; some targets are answered otherwise, see
 * on_start(). SIGUSR1: drain. SIGUSR2: print "started N closed N". On exit
 * everything is freed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

#include "prober/control_grpc.h"
#include "prober/httpd_uv.h"
#include "test/fake_inquiry.h"

#define FLOOD 100000

static struct inquiries inquiries;
static struct api_source api;
static struct control_source source = {.inquiries = &inquiries, .api = &api};
static struct httpd *server;
static uv_signal_t signals[3];
static uv_timer_t timer;

static void on_tick(uv_timer_t *t)
{
    (void)t;
    struct inquiry *q = inquiries.latest;
    uint32_t count = inquiries.ask.request.count;
    if (q && q->given + q->samples < count)
        fake_inquiry_add(q, 1, q->given + q->samples + 1 == count);
}

static void on_start(struct inquiries *all)
{
    const char *target = all->ask.request.target;
    all->refusal = INQUIRY_OK;
    all->is_denied = all->is_over = false;
    all->samples = 0;
    all->n_executors = 2;
    if (strcmp(target, "unknown") == 0)
        all->refusal = INQUIRY_UNKNOWN;
    else if (strcmp(target, "busy") == 0)
        all->refusal = INQUIRY_BUSY;
    else if (strcmp(target, "denied") == 0)
        all->is_denied = all->is_over = true;
    else if (strcmp(target, "many") == 0)
        all->n_executors = 256;
    else if (strcmp(target, "flood") == 0)
        all->samples = FLOOD, all->is_over = true;
    uv_timer_start(&timer, on_tick, 1,
                   all->ask.request.interval_ns / UINT64_C(1000000));
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    if (number == SIGUSR1) {
        api.is_draining = true;
    } else if (number == SIGUSR2) {
        printf("started %u closed %u\n", inquiries.started, inquiries.closed);
        fflush(stdout);
    } else {
        httpd_close(server);
        uv_close((uv_handle_t *)&timer, NULL);
        for (int i = 0; i < 3; i++)
            uv_close((uv_handle_t *)&signals[i], NULL);
    }
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    (void)arg, (void)r;
    httpd_error(a, 404, "not_found", "there is only gRPC here");
}

/* A socket that listens there, or -1. */
static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
                    listen(fd, 16))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct addr address, actual;
    struct errmsg msg;
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGUSR2};

    inquiries.on_start = on_start;
    addr_parse(&address, "127.0.0.1:0");
    server = httpd_open(
        loop,
        &(struct httpd_config){.listen = argc > 1 ? NULL : &address,
                               .listen_fd = argc > 1 ? listen_on(argv[1]) : -1,
                               .http2 = &control_grpc_ops,
                               .handler = handle,
                               .arg = &source},
        &actual, &msg);
    if (!server) {
        fprintf(stderr, "%s\n", msg.text);
        return 1;
    }
    uv_timer_init(loop, &timer);
    for (int i = 0; i < 3; i++) {
        uv_signal_init(loop, &signals[i]);
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
    printf("port %u\n", argc > 1 ? 0 : actual.port);
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return inquiries.started != inquiries.closed;
}
