/* test/httpd_live_server.c - the server as the control port needs it, for
 * test/system/httpd_live_test.py.
 *
 * usage: httpd_live_server [name=value]...
 *
 * unix=PATH listens there, else on a port of 127.0.0.1; cert=, key= and ca=
 * make it TLS; the other names are limits. It serves
 *
 *     GET  /peer         who asks
 *     POST /echo         the body
 *     GET  /live?ms=N    a line every N ms until the client goes
 *     GET  /flood        lines as fast as they are taken
 *     GET  /later?ms=N   "late" after N ms
 *     GET  /count        how many such answers were begun and done
 *
 * Prints "port N" and runs until SIGTERM; from SIGUSR1 on it accepts nobody
 * new. On exit everything is freed, for
 * the leak checkers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <uv.h>

#include "prober/httpd_query.h"
#include "prober/httpd_uv.h"

#define NS_PER_MS 1000000u

struct counts {
    unsigned begun, done;
};

struct waiting {
    uv_timer_t timer;
    struct httpd_waker *waker;
    struct counts *counts;
    unsigned n_ready;
    bool is_flood;
};

static void on_tick(uv_timer_t *timer)
{
    struct waiting *a = timer->data;
    a->n_ready++;
    a->waker->wake(a->waker);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void done(void *state)
{
    struct waiting *a = state;
    a->counts->done++;
    uv_close((uv_handle_t *)&a->timer, on_closed);
}

static int live_body(void *state, struct wr *w)
{
    struct waiting *a = state;
    for (; a->n_ready > 0 || a->is_flood; a->n_ready--) {
        if (httpd_slice_is_full(w))
            return 1;
        wr_text(w, "{\"line\":1}\n");
    }
    return HTTPD_WAIT;
}

static int later_prepare(void *state, struct httpd_answer *answer)
{
    struct waiting *a = state;
    (void)answer;
    return a->n_ready > 0 ? 0 : HTTPD_WAIT;
}

static void answer_waiting(struct counts *counts, const struct httpd_request *r,
                           struct httpd_answer *answer)
{
    struct waiting *a = calloc(1, sizeof(*a));
    const char *ms = httpd_query_param(r, "ms");
    if (!a)
        abort();
    *answer = (struct httpd_answer){
        .status = 200, .content_type = "text/plain", .state = a, .done = done};
    a->waker = r->waker;
    a->counts = counts;
    a->is_flood = strcmp(r->path, "/flood") == 0;
    uv_timer_init(uv_default_loop(), &a->timer);
    a->timer.data = a;
    uint64_t every_ms = ms ? strtoull(ms, NULL, 10) : 1000;
    uv_timer_start(&a->timer, on_tick, every_ms, every_ms);
    counts->begun++;
    if (strcmp(r->path, "/later") == 0) {
        answer->prepare = later_prepare;
        answer->text = "late\n";
    } else {
        answer->is_live = true;
        answer->body = live_body;
    }
}

static int text_body(void *state, struct wr *w)
{
    wr_text(w, state);
    return 0;
}

static void answer_text(struct httpd_answer *a, char *text)
{
    *a = (struct httpd_answer){.status = 200,
                               .content_type = "text/plain",
                               .body = text_body,
                               .done = free,
                               .state = text};
}

static char *describe(const struct httpd_peer *p)
{
    char *text = calloc(1, 8192);
    if (!text)
        abort();
    size_t n = (size_t)snprintf(
        text, 200, "local=%d tls=%d uid=%u gid=%u pid=%d groups=", p->is_local,
        p->is_tls, p->uid, p->gid, p->pid);
    for (size_t i = 0; i < p->n_groups; i++)
        n += (size_t)snprintf(text + n, 16, "%s%u", i ? "," : "", p->groups[i]);
    n += (size_t)snprintf(text + n, 16, " names=");
    for (size_t i = 0; i < p->n_names; i++)
        n += (size_t)snprintf(text + n, HTTPD_NAME_SIZE + 1, "%s%s",
                              i ? "," : "", p->names[i]);
    return text;
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    struct counts *counts = arg;
    char *text = NULL;
    if (strcmp(r->path, "/peer") == 0) {
        answer_text(a, describe(r->peer));
    } else if (strcmp(r->path, "/echo") == 0) {
        if (asprintf(&text, "%.*s", (int)r->body_len, (const char *)r->body) <
            0)
            abort();
        answer_text(a, text);
    } else if (strcmp(r->path, "/count") == 0) {
        if (asprintf(&text, "%u %u", counts->begun, counts->done) < 0)
            abort();
        answer_text(a, text);
    } else if (r->n_segments == 1 && strchr("lf", r->segments[0][0])) {
        answer_waiting(counts, r, a);
    }
}

/* ---- options ---- */

struct options {
    struct httpd_limits limits;
    const char *path;
    struct tls_server_config tls;
};

static bool set_limit(struct httpd_limits *l, const char *name, uint64_t v)
{
    const struct {
        const char *name;
        uint64_t *ms;
        unsigned *n;
    } all[] = {
        {"connections", NULL, &l->connections_max},
        {"per_user", NULL, &l->per_user_max},
        {"per_loopback", NULL, &l->per_loopback_max},
        {"handshake_ms", &l->handshake_timeout_ns, NULL},
        {"head_ms", &l->head_timeout_ns, NULL},
        {"write_ms", &l->write_timeout_ns, NULL},
        {"linger_ms", &l->linger_timeout_ns, NULL},
        {"answer_ms", &l->answer_timeout_ns, NULL},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i].name, name) != 0)
            continue;
        if (all[i].ms)
            *all[i].ms = v * NS_PER_MS;
        else
            *all[i].n = (unsigned)v;
        return true;
    }
    return false;
}

static bool set_option(struct options *o, char *text)
{
    char *value = strchr(text, '=');
    if (!value)
        return false;
    *value++ = '\0';
    if (strcmp(text, "unix") == 0)
        o->path = value;
    else if (strcmp(text, "cert") == 0)
        o->tls.cert_file = value;
    else if (strcmp(text, "key") == 0)
        o->tls.key_file = value;
    else if (strcmp(text, "ca") == 0)
        o->tls.client_ca_file = value;
    else
        return set_limit(&o->limits, text, strtoull(value, NULL, 10));
    return true;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) ||
        listen(fd, 511)) {
        perror(path);
        exit(1);
    }
    return fd;
}

static void on_signal(uv_signal_t *signal, int number)
{
    if (number == SIGUSR1)
        httpd_stop_accepting(signal->data);
    else
        httpd_close(signal->data);
    uv_close((uv_handle_t *)signal, NULL);
}

static void watch(uv_signal_t *signal, int number, struct httpd *h)
{
    uv_signal_init(uv_default_loop(), signal);
    signal->data = h;
    uv_signal_start(signal, on_signal, number);
}

int main(int argc, char **argv)
{
    struct options o = {.limits = httpd_limits_default};
    struct counts counts = {0};
    struct addr any;
    struct addr actual = {0};
    struct errmsg msg = {""};
    o.limits.methods = 1u << HTTPD_POST | 1u << HTTPD_DELETE;
    for (int i = 1; i < argc; i++) {
        if (!set_option(&o, argv[i]))
            return 2;
    }
    uv_loop_t *loop = uv_default_loop();
    struct tls_context *tls = NULL;
    if (o.tls.cert_file && !(tls = tls_server_context(&o.tls, &msg))) {
        fprintf(stderr, "httpd_live_server: %s\n", msg.text);
        return 1;
    }
    if (addr_parse(&any, "127.0.0.1:0"))
        return 1;
    struct httpd_config config = {.listen = &any,
                                  .limits = &o.limits,
                                  .tls = tls,
                                  .handler = handle,
                                  .arg = &counts};
    if (o.path) {
        config.listen = NULL;
        config.listen_fd = listen_unix(o.path);
    }
    struct httpd *h = httpd_open(loop, &config, &actual, &msg);
    if (!h) {
        fprintf(stderr, "httpd_live_server: %s\n", msg.text);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_signal_t terminate;
    uv_signal_t drain;
    watch(&terminate, SIGTERM, h);
    watch(&drain, SIGUSR1, h);
    uv_unref((uv_handle_t *)&drain); /* SIGTERM is what ends it */
    printf("port %u\n", actual.port);
    fflush(stdout);

    uv_run(loop, UV_RUN_DEFAULT);
    if (!uv_is_closing((uv_handle_t *)&drain))
        uv_close((uv_handle_t *)&drain, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(loop);
    tls_context_close(tls);
    return rc || counts.begun != counts.done ? 3 : 0;
}
