#include "prober/cli_probe.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include "prober/cli.h"
#include "prober/clock.h"
#include "prober/config.h"
#include "prober/hosts.h"
#include "prober/probe_loop_uv.h"
#include "prober/slice.h"
#include "prober/target.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define INTERVAL_DEFAULT_NS (1 * NS_PER_S)
#define INTERVAL_MIN_NS     UINT64_C(100000)
#define INTERVAL_MAX_NS     (24 * 3600 * NS_PER_S)
#define TIMEOUT_DEFAULT_NS  (5 * NS_PER_S)
#define TIMEOUT_MAX_NS      (3600 * NS_PER_S)
#define CONCURRENCY_MAX     4096
#define CONCURRENCY_DEFAULT 64 /* upper bound of what is chosen for you */
#define DNS_SERVERS_MAX     4

#define OUT_SIZE     65536
#define OUT_ENOUGH   (OUT_SIZE / 2) /* a sample always fits in the rest */
#define OUT_DELAY_MS 50

/* A slot that we come to later than this (or than an interval) is skipped:
 * after a stop of the process it would only distort what follows. */
#define LATE_MAX_NS (10 * NS_PER_MS)

static const char help[] =
    "usage: prober probe URL [options]\n"
    "\n"
    "Probe URL from here, without a daemon: http:// https:// grpc:// grpcs://\n"
    "\n"
    "  --protocol P      http1, grpc or auto (default): grpc for grpc:// and\n"
    "                    grpcs://, else http1. grpc over https:// is gRPC "
    "with\n"
    "                    TLS, over http:// it is HTTP/2 in plain text\n"
    "  --count N         attempts, default 1; 0: until Ctrl-C\n"
    "  --interval D      between the starts of attempts, default 1s; 0: the\n"
    "                    next one starts when one has ended\n"
    "  --concurrency N   attempts in flight at most\n"
    "  --timeout D       of one attempt, default 5s\n"
    "  --warm            on held connections, instead of a fresh one each\n"
    "  --service NAME    gRPC health service, default: the whole server\n"
    "  --ca FILE         trust these CAs (PEM) instead of the system's\n"
    "  --fingerprint F   trust only the certificate sha256:<64 hex digits>\n"
    "  --insecure        trust any certificate\n"
    "  --dns ADDR        ask this DNS server (up to 4 times); /etc/hosts is\n"
    "                    not looked at then\n"
    "  --ip 4|6          address family asked for first, default 4\n"
    "  --resolve ADDR    dial ADDR or ADDR:PORT, keep the name for TLS and "
    "Host\n"
    "  -o FORMAT         text (default), json (a sample per line) or summary\n"
    "\n"
    "Durations carry a unit: 250ms, 5s, 1m. Ctrl-C prints the summary so far.\n"
    "Exit codes: 0 all attempts were ok, 1 the tool itself failed, 2 usage,\n"
    "3 an attempt failed.\n";

enum output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_SUMMARY };

struct options {
    struct url url;
    enum probe_protocol protocol;
    bool is_auto, is_warm, is_insecure, has_fingerprint;
    enum output output;
    uint64_t count; /* 0: no end */
    uint64_t interval_ns, timeout_ns;
    uint64_t concurrency; /* 0: not given */
    unsigned ip;
    const char *ca, *service; /* NULL: not given */
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];
    struct addr resolve; /* ADDR_NONE: not given */
    struct addr dns[DNS_SERVERS_MAX];
    size_t n_dns;
};

/* ---- options ---- */

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

static int set_protocol(struct options *o, const char *text)
{
    int n = protocol_parse(text);

    o->is_auto = !strcmp(text, "auto");
    if (n < 0 && !o->is_auto)
        return bad("--protocol", text, "http1, grpc or auto");
    if (n >= 0)
        o->protocol = (enum probe_protocol)n;
    return CLI_OK;
}

static int set_output(struct options *o, const char *text)
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

static int set_interval(struct options *o, const char *text)
{
    if (!strcmp(text, "0"))
        o->interval_ns = 0;
    else if (config_parse_duration(text, &o->interval_ns) ||
             o->interval_ns > INTERVAL_MAX_NS ||
             (o->interval_ns && o->interval_ns < INTERVAL_MIN_NS))
        return bad("--interval", text, "0 or a duration of 100us to 24h");
    return CLI_OK;
}

static int set_timeout(struct options *o, const char *text)
{
    if (config_parse_duration(text, &o->timeout_ns) ||
        o->timeout_ns < NS_PER_MS || o->timeout_ns > TIMEOUT_MAX_NS)
        return bad("--timeout", text, "a duration of 1ms to 1h");
    return CLI_OK;
}

static int add_dns(struct options *o, const char *text)
{
    if (o->n_dns == DNS_SERVERS_MAX)
        return cli_usage("probe", "--dns: at most %d servers", DNS_SERVERS_MAX);
    if (parse_address(text, 53, &o->dns[o->n_dns]))
        return bad("--dns", text, "an address or address:port");
    o->n_dns++;
    return CLI_OK;
}

/* Returns CLI_OK or CLI_USAGE. */
static int set_option(struct options *o, int option, const char *text)
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
        if (cli_parse_u64(text, 1, CONCURRENCY_MAX, &o->concurrency))
            return bad("--concurrency", text, "a number of 1 to 4096");
        return CLI_OK;
    case 'w':
        o->is_warm = true;
        return CLI_OK;
    case 'C':
        o->ca = text;
        return CLI_OK;
    case 'k':
        o->is_insecure = true;
        return CLI_OK;
    case 'f':
        o->has_fingerprint = true;
        if (tls_fingerprint_parse(text, o->fingerprint))
            return bad("--fingerprint", text, "sha256: and 64 hex digits");
        return CLI_OK;
    case 's':
        o->service = text;
        return CLI_OK;
    case 'd':
        return add_dns(o, text);
    case '6':
        o->ip = text[0] == '4' ? 4 : 6;
        if (strcmp(text, "4") != 0 && strcmp(text, "6") != 0)
            return bad("--ip", text, "4 or 6");
        return CLI_OK;
    case 'r':
        if (parse_address(text, 0, &o->resolve))
            return bad("--resolve", text, "an address or address:port");
        return CLI_OK;
    case 'o':
        return set_output(o, text);
    case 'F':
        return cli_usage("probe", "--from needs a running mesh");
    case 'T':
        return cli_usage("probe", "--control needs a running mesh");
    }
    return cli_try_help("probe");
}

/* What the options mean together. */
static int check_options(struct options *o)
{
    bool is_grpc_scheme =
        o->url.scheme == URL_GRPC || o->url.scheme == URL_GRPCS;

    if (o->is_auto)
        o->protocol = is_grpc_scheme ? PROTOCOL_GRPC : PROTOCOL_HTTP1;
    if (is_grpc_scheme && o->protocol != PROTOCOL_GRPC)
        return cli_usage("probe", "a grpc URL is not probed over http1");
    if (o->service && o->protocol != PROTOCOL_GRPC)
        return cli_usage("probe", "--service is for gRPC");
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

static int parse_url(struct options *o, const char *text)
{
    struct errmsg msg = {""};

    if (!strstr(text, "://"))
        return cli_usage("probe",
                         "'%s' is no URL; probing a node by its name needs a "
                         "running mesh",
                         text);
    if (url_parse(&o->url, text, &msg))
        return cli_usage("probe", "%s", msg.text);
    return CLI_OK;
}

/* ---- the run ---- */

struct run {
    const struct options *o;
    struct target target;
    struct sample_names names;
    struct tls_context *tls;
    uv_loop_t loop;
    uv_timer_t pace, flush;
    uv_signal_t signals[2];
    struct probe_loop *probes;
    struct probe_warm **warm; /* one per attempt in flight */
    uint32_t *warm_free;      /* a stack of places in warm[] */
    size_t n_warm, n_warm_free;
    uint64_t start_ns, next_ns; /* next_ns: the next slot's start */
    uint64_t slots;             /* begun or missed */
    uint64_t in_flight;
    bool is_starting; /* inside start_more() */
    bool is_stopping;
    int error; /* an errno or ENOMEM that ended the run */
    struct render_style style;
    struct render_summary summary;
    struct wr out;
};

static void stop(struct run *r)
{
    r->is_stopping = true;
    uv_stop(&r->loop);
}

static bool is_all_begun(const struct run *r)
{
    return r->o->count && r->slots >= r->o->count;
}

static void flush_out(struct run *r)
{
    if (r->out.len && !r->error &&
        cli_write(STDOUT_FILENO, r->out.data, r->out.len)) {
        r->error = errno;
        stop(r);
    }
    wr_reset(&r->out);
}

static void on_flush(uv_timer_t *timer)
{
    flush_out(timer->data);
}

/* A person or a slow cadence gets each line at once; a flood is collected,
 * but for no longer than people notice. */
static void flush_when_due(struct run *r)
{
    bool is_slow = r->o->interval_ns >= OUT_DELAY_MS * NS_PER_MS;

    if (r->style.is_color || is_slow || r->out.len >= OUT_ENOUGH)
        flush_out(r);
    else if (!uv_is_active((uv_handle_t *)&r->flush))
        uv_timer_start(&r->flush, on_flush, OUT_DELAY_MS, 0);
}

/* Only what the exit code needs; histograms would be work for nothing. */
static void count_only(struct render_summary *m, const struct sample *s)
{
    m->attempts++;
    m->outcomes[s->outcome]++;
    m->ok += s->outcome == OUTCOME_OK;
}

static void emit(struct run *r, const struct sample *s)
{
    if (r->o->output == OUTPUT_JSON) {
        struct json j;

        count_only(&r->summary, s);
        json_init(&j, &r->out);
        sample_write_json(s, &r->names, &j);
        wr_u8(&r->out, '\n');
        flush_when_due(r);
        return;
    }
    if (render_summary_add(&r->summary, s)) {
        r->error = ENOMEM;
        stop(r);
    }
    if (r->o->output == OUTPUT_SUMMARY)
        return;
    if (r->o->count == 1)
        render_sample(&r->out, &r->style, s, &r->names);
    else
        render_line(&r->out, &r->style, s, r->summary.attempts);
    flush_when_due(r);
}

/* Begin one attempt, or miss the slot. */
static void start_one(struct run *r, uint64_t intended_ns)
{
    struct probe_attempt a = {.target = &r->target,
                              .protocol = (uint8_t)r->o->protocol,
                              .timeout_ns = r->o->timeout_ns,
                              .intended_ns = intended_ns};
    int err = ERR_BUSY;

    r->slots++;
    if (r->in_flight >= r->o->concurrency) {
        r->summary.missed++;
        return;
    }
    /* Counted first: the attempt may end within the call. */
    r->in_flight++;
    if (!r->o->is_warm) {
        err = probe_loop_cold(r->probes, &a);
    } else if (r->n_warm_free) {
        uint32_t place = r->warm_free[--r->n_warm_free];
        a.job = place + 1;
        err = probe_warm_attempt(r->warm[place], &a);
        if (err)
            r->warm_free[r->n_warm_free++] = place;
    }
    if (err) {
        r->in_flight--;
        r->summary.missed++;
    }
}

static void stop_if_finished(struct run *r)
{
    if (is_all_begun(r) && !r->in_flight)
        stop(r);
}

static void on_pace(uv_timer_t *timer);

static void arm(struct run *r, uint64_t delay_ns)
{
    uv_update_time(&r->loop);
    uv_timer_start(&r->pace, on_pace, (delay_ns + NS_PER_MS - 1) / NS_PER_MS,
                   0);
}

/* --interval 0: fill what is free. An attempt that ends within its own start
 * must not start the next one from there (recursion), and a whole run of such
 * must let the loop turn (Ctrl-C): hence the flag and the bound. */
static void start_more(struct run *r)
{
    uint64_t n = r->o->concurrency;

    if (r->is_starting)
        return;
    r->is_starting = true;
    while (n-- && r->in_flight < r->o->concurrency && !is_all_begun(r) &&
           !r->is_stopping)
        start_one(r, 0);
    r->is_starting = false;
    if (r->in_flight < r->o->concurrency && !is_all_begun(r))
        arm(r, 0);
}

/* Slots that passed while we could not run are missed, not caught up with. */
static void skip_late(struct run *r, uint64_t now_ns)
{
    uint64_t interval_ns = r->o->interval_ns;
    uint64_t bound_ns = interval_ns > LATE_MAX_NS ? interval_ns : LATE_MAX_NS;

    if (now_ns <= r->next_ns + bound_ns)
        return;
    uint64_t n =
        (now_ns - bound_ns - r->next_ns + interval_ns - 1) / interval_ns;
    if (r->o->count && n > r->o->count - r->slots)
        n = r->o->count - r->slots;
    r->slots += n;
    r->summary.missed += n;
    r->next_ns += n * interval_ns;
}

static void on_pace(uv_timer_t *timer)
{
    struct run *r = timer->data;
    uint64_t now_ns = clock_now_ns();

    if (!r->o->interval_ns) {
        start_more(r);
    } else {
        skip_late(r, now_ns);
        while (!is_all_begun(r) && r->next_ns <= now_ns && !r->is_stopping) {
            start_one(r, r->next_ns);
            r->next_ns += r->o->interval_ns;
        }
        if (!is_all_begun(r))
            arm(r, r->next_ns - now_ns);
    }
    stop_if_finished(r);
}

static void on_done(void *arg, const struct sample *s)
{
    struct run *r = arg;

    sample_check(s);
    assert(r->in_flight);
    r->in_flight--;
    if (s->job)
        r->warm_free[r->n_warm_free++] = s->job - 1;
    emit(r, s);
    if (r->is_stopping)
        return;
    if (!r->o->interval_ns)
        start_more(r);
    stop_if_finished(r);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    stop(handle->data);
}

/* ---- opening and closing ---- */

static void use_hosts(struct target *t)
{
    size_t len;
    char *text = hosts_read(&len);

    if (text)
        target_use_hosts(t, text, len);
    free(text);
}

static int open_target(struct run *r)
{
    const struct options *o = r->o;
    struct tls_client_config config = {.ca_file = o->ca,
                                       .is_insecure = o->is_insecure,
                                       .cpu_ns = clock_thread_cpu_ns};
    struct errmsg msg = {""};

    if (o->url.is_tls) {
        r->tls = tls_client_context(&config, &msg);
        if (!r->tls) {
            cli_fail("probe", "%s", msg.text);
            return o->ca ? CLI_USAGE : CLI_FAILED;
        }
    }
    if (target_init(&r->target, &o->url, o->service, r->tls, &msg))
        return cli_usage("probe", "%s", msg.text);
    r->target.ip_first = (uint8_t)o->ip;
    r->target.has_fingerprint = o->has_fingerprint;
    memcpy(r->target.fingerprint, o->fingerprint, sizeof o->fingerprint);
    if (o->resolve.family != ADDR_NONE)
        r->target.address = o->resolve;
    else if (!o->n_dns)
        use_hosts(&r->target);
    r->names.target = r->target.text;
    (void)slice_request_short();
    return CLI_OK;
}

static int open_warm(struct run *r)
{
    size_t n = (size_t)r->o->concurrency;

    r->warm = calloc(n, sizeof *r->warm);
    r->warm_free = calloc(n, sizeof *r->warm_free);
    if (!r->warm || !r->warm_free)
        return cli_fail("probe", "no memory");
    for (; r->n_warm < n; r->n_warm++) {
        struct probe_warm *w =
            probe_warm_open(r->probes, &r->target, (uint8_t)r->o->protocol);
        if (!w)
            return cli_fail("probe", "no memory");
        r->warm[r->n_warm] = w;
        /* The first one lies on top: as few as possible are used. */
        r->warm_free[n - 1 - r->n_warm] = (uint32_t)r->n_warm;
    }
    r->n_warm_free = n;
    return CLI_OK;
}

static int open_probes(struct run *r)
{
    const struct options *o = r->o;
    struct probe_loop_config config = {
        .loop = &r->loop,
        .in_flight_max = (size_t)o->concurrency,
        .warm_max = o->is_warm ? (size_t)o->concurrency : 0,
        .dns_servers = o->dns,
        .n_dns_servers = o->n_dns,
        .done = on_done,
        .arg = r,
    };
    struct errmsg msg = {""};

    r->probes = probe_loop_open(&config, &msg);
    if (!r->probes)
        return cli_fail("probe", "%s", msg.text);
    return o->is_warm ? open_warm(r) : CLI_OK;
}

static void open_handles(struct run *r)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    uv_timer_init(&r->loop, &r->pace);
    uv_timer_init(&r->loop, &r->flush);
    r->pace.data = r;
    r->flush.data = r;
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], on_signal, numbers[i]);
    }
}

static void close_handles(struct run *r)
{
    uv_close((uv_handle_t *)&r->pace, NULL);
    uv_close((uv_handle_t *)&r->flush, NULL);
    for (size_t i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&r->signals[i], NULL);
    for (size_t i = 0; i < r->n_warm; i++)
        probe_warm_close(r->warm[i]);
    probe_loop_close(r->probes);
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

/* Sockets beside each other need descriptors; the soft limit is a habit. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void write_head(struct run *r)
{
    const struct options *o = r->o;
    char text[RENDER_DURATION_SIZE];

    if (o->output != OUTPUT_TEXT || o->count == 1)
        return;
    wr_printf(&r->out, "%s, %s %s, ", r->target.text,
              protocol_name(o->protocol),
              mode_name(o->is_warm ? MODE_WARM : MODE_COLD));
    if (o->interval_ns)
        wr_printf(&r->out, "every %s\n",
                  render_duration(&r->style, (int64_t)o->interval_ns, text));
    else
        wr_printf(&r->out, "%" PRIu64 " at a time\n", o->concurrency);
    render_line_head(&r->out, &r->style);
    flush_out(r);
}

static void write_end(struct run *r, uint64_t elapsed_ns)
{
    const struct options *o = r->o;

    if (o->output == OUTPUT_JSON) {
        flush_out(r);
        if (r->summary.missed)
            fprintf(stderr,
                    "prober probe: %" PRIu64
                    " slots missed: too many attempts in flight\n",
                    r->summary.missed);
        return;
    }
    if (o->output == OUTPUT_SUMMARY || o->count != 1) {
        if (o->output == OUTPUT_TEXT)
            wr_text(&r->out, "\n");
        flush_out(r);
        render_summary(&r->out, &r->style, &r->summary, r->target.text,
                       protocol_name(o->protocol),
                       mode_name(o->is_warm ? MODE_WARM : MODE_COLD),
                       elapsed_ns);
    }
    flush_out(r);
}

/* Attempts that Ctrl-C cut short failed nowhere; but a run without one good
 * attempt has shown nothing. */
static int exit_code(const struct run *r)
{
    const struct render_summary *m = &r->summary;

    if (r->error)
        return cli_fail("probe", "%s", strerror(r->error));
    if (!m->ok || m->ok + m->outcomes[OUTCOME_CANCELLED] < m->attempts)
        return CLI_PROBE_FAILED;
    return CLI_OK;
}

static int run_loop(struct run *r)
{
    int code = open_probes(r);

    open_handles(r);
    if (code == CLI_OK) {
        write_head(r);
        r->start_ns = clock_now_ns();
        r->next_ns = r->start_ns;
        on_pace(&r->pace);
        if (!r->is_stopping)
            uv_run(&r->loop, UV_RUN_DEFAULT);
        r->is_stopping = true;
    }
    uint64_t elapsed_ns = clock_now_ns() - r->start_ns;
    close_handles(r);
    if (code != CLI_OK)
        return code;
    write_end(r, elapsed_ns);
    return exit_code(r);
}

static int run(const struct options *o)
{
    struct run *r = calloc(1, sizeof *r);
    uint8_t *buffer = malloc(OUT_SIZE);
    int code = CLI_FAILED;

    if (!r || !buffer || uv_loop_init(&r->loop)) {
        cli_fail("probe", "no memory");
        goto out;
    }
    raise_descriptor_limit();
    r->o = o;
    r->style = cli_style(STDOUT_FILENO);
    wr_init_fixed(&r->out, buffer, OUT_SIZE);
    render_summary_init(&r->summary);
    code = open_target(r);
    if (code == CLI_OK)
        code = run_loop(r);
    render_summary_fini(&r->summary);
    target_fini(&r->target);
    tls_context_close(r->tls);
    free(r->warm);
    free(r->warm_free);
    uv_loop_close(&r->loop);
out:
    free(buffer);
    free(r);
    return code;
}

int cli_probe(int argc, char **argv)
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
        {"control", required_argument, NULL, 'T'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {.is_auto = true,
                        .count = 1,
                        .interval_ns = INTERVAL_DEFAULT_NS,
                        .timeout_ns = TIMEOUT_DEFAULT_NS,
                        .ip = 4};
    int option, code = CLI_OK;

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h')
            return cli_help(help);
        code = set_option(&o, option, optarg);
    }
    if (code != CLI_OK)
        return code;
    if (optind + 1 != argc)
        return cli_usage("probe",
                         optind < argc ? "one URL at a time" : "which URL?");
    code = parse_url(&o, argv[optind]);
    if (code == CLI_OK)
        code = check_options(&o);
    return code == CLI_OK ? run(&o) : code;
}
