#include "prober/daemon.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/clock.h"
#include "prober/daemon_private.h"
#include "prober/footprint.h"
#include "prober/log.h"
#include "prober/notify.h"
#include "prober/process.h"

#define DRAIN_MS     200 /* how often the plane's queues are looked at */
#define HOUSEKEEP_MS 1000
#define GRACE_NS     UINT64_C(4000000000) /* for attempts in flight */
#define LEAVE_NS     UINT64_C(3000000000) /* for the leave to be told */
#define END_MS       200 /* for what is left when all is closed */
/* Idle it has some 40, and no more are given to those who connect than leave
 * a quarter free. */
#define DESCRIPTORS_MIN 64
/* For one-off attempts in flight, of the time that the responder takes to say
 * that it ends; the rest is for the summaries to be heard. */
#define INQUIRIES_NS UINT64_C(600000000)

/* ---- life ---- */

/* A signal that comes again finds its handler gone: it is to wait, for ever,
 * instead of making a good end a bad one. Nobody else takes it: the measuring
 * thread and those of libuv's pool, which may be there still, resolving a
 * name, were made with all signals blocked. */
static void hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* What is left may be a name that a thread of the pool is resolving, for as
 * long as it likes: nobody waits for that, not even exit() (daemon_run()). */
static void on_end(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void close_all(struct daemon *d)
{
    hold_signals();
    control_port_close(&d->control);
    httpd_close(d->httpd);
    d->httpd = NULL;
    daemon_close_mesh(d);
    uv_close((uv_handle_t *)&d->drain_timer, NULL);
    uv_close((uv_handle_t *)&d->housekeep_timer, NULL);
    stores_close_handle(&d->stores);
    uv_close((uv_handle_t *)&d->terminate, NULL);
    uv_close((uv_handle_t *)&d->interrupt, NULL);
    uv_close((uv_handle_t *)&d->hangup, NULL);
    uv_timer_start(&d->end_timer, on_end, END_MS, 0);
    uv_unref((uv_handle_t *)&d->end_timer);
}

/* Do the others know, as far as they are to be told? */
static bool is_leave_told(const struct daemon *d, uint64_t now_ns)
{
    return !d->gossip || gossip_is_name_taken(d->gossip) ||
           gossip_has_left(d->gossip) || now_ns - d->stop_ns >= LEAVE_NS;
}

/* First the mesh is told, while probes are answered as ever: a member that has
 * left is not probed any more, so nobody counts a failure because of this
 * restart. NOT_SERVING is for all others, who have only that. When the
 * responder has told them, and the mesh whoever listens, this is the end. */
static void heed_end(struct daemon *d, uint64_t now_ns)
{
    if (d->stop_ns && !d->is_plane_ending && is_leave_told(d, now_ns)) {
        d->is_plane_ending = true;
        d->stop_inquiries_ns = now_ns + INQUIRIES_NS;
        plane_stop(d->plane, GRACE_NS);
    }
    if (d->is_plane_ending && now_ns >= d->stop_inquiries_ns)
        control_port_stop(&d->control);
    if (!d->is_plane_stopped)
        return;
    close_all(d);
    plane_close(d->plane);
    d->is_plane_stopped = false;
}

static void on_plane_stopped(void *arg)
{
    struct daemon *d = arg;
    d->is_plane_stopped = true;
    heed_end(d, clock_now_ns());
}

static void begin_end(struct daemon *d)
{
    (void)notify_send("STOPPING=1\nSTATUS=draining");
    control_port_drain(&d->control);
    d->stop_ns = clock_now_ns();
    d->source.is_draining = true;
    d->source.is_ready = false;
    d->source.not_ready_reason = "draining";
    if (d->gossip && !gossip_is_name_taken(d->gossip)) {
        const struct aim_want none = {.name = ""};
        struct errmsg ignored = {{0}};
        /* Start no attempts; at the worst plane_stop() sees to that. */
        (void)plane_set_targets(d->plane, &none, 0, &ignored);
        gossip_leave(d->gossip);
    }
    heed_end(d, d->stop_ns);
}

void daemon_begin_end(struct daemon *d, const char *why)
{
    if (d->stop_ns)
        return;
    log_event(LOG_INFO, "draining", "signal", why, NULL);
    begin_end(d);
}

static void on_terminate(uv_signal_t *handle, int number)
{
    daemon_begin_end(handle->data, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_hangup(uv_signal_t *handle, int number)
{
    char *errors = NULL, *changed = NULL;
    (void)number;
    /* It says in the log how that went. */
    (void)daemon_reload(handle->data, &errors, &changed);
    free(errors);
    free(changed);
}

/* ---- time passes ---- */

static void on_drain(uv_timer_t *timer);

static void take_all(void *arg)
{
    struct daemon *d = arg;
    bool has_more =
        intake_take(&d->intake, d->stores.windows, clock_now_unix_ns());
    if (has_more && !d->source.is_draining) /* go on in the next turn */
        uv_timer_start(&d->drain_timer, on_drain, 0, DRAIN_MS);
}

static const struct members *members_of(const struct daemon *d)
{
    return d->gossip ? gossip_members(d->gossip) : NULL;
}

static void on_drain(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    uint64_t now_ns = clock_now_ns();
    take_all(d);
    stores_cut(&d->stores, clock_now_unix_ns());
    d->source.frames_cut = d->stores.frames_cut;
    if (!d->stop_ns && follow_look(&d->follow, members_of(d), now_ns))
        d->is_census_due = true;
    heed_end(d, now_ns);
}

/* The service manager restarts us when the measuring thread is stuck, too: it
 * hears of us only as long as /livez would say yes. */
static void tell_manager(const struct daemon *d)
{
    uint64_t heard_ns = d->intake.status.updated_ns;
    bool is_alive =
        d->stop_ns || clock_now_ns() - heard_ns < d->source.stall_after_ns;
    if (d->is_watched && heard_ns && is_alive)
        (void)notify_send("WATCHDOG=1");
}

static void on_housekeep(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    take_all(d);
    stores_tick(&d->stores, &d->intake, clock_now_unix_ns());
    if (d->gossip && gossip_is_name_taken(d->gossip) && !d->stop_ns) {
        d->exit_code = CLI_FAILED;
        begin_end(d);
    }
    control_port_tick(&d->control, clock_now_ns());
    d->source.memory_rss_bytes = process_resident_bytes();
    if (!d->source.is_ready && d->intake.status.updated_ns && !d->stop_ns) {
        d->source.is_ready = true;
        d->source.not_ready_reason = NULL;
        footprint_settle();
        (void)notify_send("READY=1\nSTATUS=measuring");
    }
    tell_manager(d);
    log_tick();
}

/* ---- opening ---- */

static int open_targets(struct daemon *d, struct errmsg *msg)
{
    gossip_policy(d->config, &d->policy);
    d->follow.config = d->config;
    d->follow.policy = &d->policy;
    d->follow.plane = d->plane;
    d->follow.stores = &d->stores;
    return follow_open(&d->follow, msg);
}

static int open_stores(struct daemon *d, struct errmsg *msg)
{
    d->source.cache = api_cache_open();
    if (intake_init(&d->intake, d->config, d->plane, &d->source) ||
        stores_open(&d->stores, d->config, d->plane) || !d->source.cache ||
        daemon_publish_nodes(d)) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    return 0;
}

/* Before all that can fail, so that close_all() may close them. */
static void init_handles(struct daemon *d)
{
    uv_timer_init(d->loop, &d->drain_timer);
    uv_timer_init(d->loop, &d->housekeep_timer);
    stores_init_handle(&d->stores, d->loop);
    uv_timer_init(d->loop, &d->end_timer);
    uv_signal_init(d->loop, &d->terminate);
    uv_signal_init(d->loop, &d->interrupt);
    uv_signal_init(d->loop, &d->hangup);
    d->drain_timer.data = d->housekeep_timer.data = d;
    d->terminate.data = d->interrupt.data = d->hangup.data = d;
}

static void start_handles(struct daemon *d)
{
    uv_timer_start(&d->drain_timer, on_drain, DRAIN_MS, DRAIN_MS);
    uv_timer_start(&d->housekeep_timer, on_housekeep, HOUSEKEEP_MS,
                   HOUSEKEEP_MS);
    uv_signal_start(&d->terminate, on_terminate, SIGTERM);
    uv_signal_start(&d->interrupt, on_terminate, SIGINT);
    uv_signal_start(&d->hangup, on_hangup, SIGHUP);
}

/* As many descriptors as we may have: each attempt in flight takes one. With
 * too few some part or other would not start, not all of them saying why. */
static int raise_descriptor_limit(struct errmsg *msg)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_max >= DESCRIPTORS_MIN)
        return 0;
    errmsg_set(msg, "%ju descriptors (ulimit -n) are too few: it takes %d",
               (uintmax_t)limit.rlim_max, DESCRIPTORS_MIN);
    return ERR_TOOBIG;
}

static void log_started(const struct daemon *d)
{
    char probe_text[ADDR_TEXT_SIZE], api_text[ADDR_TEXT_SIZE];
    char fingerprint[72], targets[24];
    struct addr listen;
    uint8_t sha256[TLS_FINGERPRINT_SIZE];
    plane_address(d->plane, &listen);
    plane_fingerprint(d->plane, sha256);
    tls_fingerprint_format(sha256, fingerprint);
    snprintf(targets, sizeof(targets), "%zu",
             lineup_count(plane_lineup(d->plane)));
    log_event(LOG_INFO, "started", "version", PROBER_VERSION, "node",
              d->config->node.name, "zone", d->config->node.zone, "probe",
              addr_format(&listen, probe_text), "api",
              addr_format(&d->api_listen, api_text), "targets", targets,
              "fingerprint",
              d->config->probe.is_plaintext ? "none" : fingerprint, NULL);
}

static void drain(void *arg)
{
    daemon_begin_end(arg, "control port");
}

static int open_control(struct daemon *d, struct errmsg *msg)
{
    struct control_port_config c = {
        .loop = d->loop,
        .config = d->config,
        .roster = d->follow.roster,
        .gossip = d->gossip,
        .history = d->stores.history,
        .api = &d->source,
        .api_listen = d->api_listen,
        .reload = daemon_reload,
        .drain = drain,
        .arg = d,
    };
    if (d->gossip) {
        struct addr advertised; /* has the port, if the kernel chose it */
        gossip_address(d->gossip, &advertised);
        c.gossip_listen = d->config->gossip.listen;
        if (c.gossip_listen.port == 0)
            c.gossip_listen.port = advertised.port;
    }
    return control_port_open(&d->control, &c, msg);
}

static void run_to_the_end(struct daemon *d)
{
    uv_run(d->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&d->end_timer, NULL);
    uv_run(d->loop, UV_RUN_NOWAIT);
}

static int run(struct daemon *d)
{
    struct errmsg msg = {{0}};
    struct httpd_limits limits = httpd_limits_default;
    struct plane_config plane = {
        .config = d->config,
        .control_loop = d->loop,
        .on_samples = take_all,
        .on_stopped = on_plane_stopped,
        .arg = d,
    };
    limits.connections_max = d->config->api.connections_max;
    init_handles(d);
    d->plane = plane_open(&plane, &msg);
    if (!d->plane || open_targets(d, &msg) || open_stores(d, &msg))
        goto fail;
    daemon_fill_source(d);
    const struct httpd_config server = {
        .listen = &d->config->api.listen,
        .limits = &limits,
        .handler = api_handle,
        .arg = &d->source,
    };
    d->httpd = httpd_open(d->loop, &server, &d->api_listen, &msg);
    if (!d->httpd)
        goto fail;
    if (d->config->gossip.is_on && daemon_open_mesh(d, &msg))
        goto fail;
    if (open_control(d, &msg))
        goto fail;
    d->is_watched = notify_watchdog_ns() > 0;
    start_handles(d);
    log_started(d);
    run_to_the_end(d);
    log_event(LOG_INFO, "stopped", NULL);
    return d->exit_code;

fail:
    log_event(LOG_ERROR, "start_failed", "reason", msg.text, NULL);
    if (d->plane)
        plane_stop(d->plane, 0); /* on_plane_stopped() closes the rest */
    else
        close_all(d);
    run_to_the_end(d);
    return CLI_FAILED;
}

static void free_daemon(struct daemon *d)
{
    control_port_fini(&d->control);
    intake_fini(&d->intake);
    follow_fini(&d->follow);
    stores_fini(&d->stores);
    api_cache_close(d->source.cache);
    api_source_set_nodes(&d->source, NULL);
    config_free(d->config);
    free(d);
}

void daemon_log_warnings(const char *warnings)
{
    const char *line = warnings;
    while (line && *line) {
        char text[512];
        size_t len = strcspn(line, "\n");
        snprintf(text, sizeof(text), "%.*s",
                 (int)(len < sizeof(text) ? len : sizeof(text) - 1), line);
        log_event(LOG_WARN, "configuration", "warning", text, NULL);
        line += len + (line[len] == '\n');
    }
}

static const char help[] =
    "usage: prober run [--config FILE]\n"
    "\n"
    "Run the daemon. Without --config everything comes from PROBER_*\n"
    "variables and defaults (docs/configuration.md). SIGTERM drains and "
    "stops.\n";

/* Returns CLI_OK with *path set (maybe NULL), or an exit code, or -1 when
 * help was shown. */
static int parse_options(int argc, char **argv, const char **path)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (c == 'c')
            *path = optarg;
        else if (c == 'h')
            return cli_help(help) ? CLI_FAILED : -1;
        else
            return cli_try_help("run");
    }
    if (optind < argc)
        return cli_usage("run", "unexpected argument '%s'", argv[optind]);
    return CLI_OK;
}

int daemon_run(int argc, char **argv)
{
    const char *path = NULL;
    char *errors = NULL;
    int rc = parse_options(argc, argv, &path);
    if (rc)
        return rc < 0 ? CLI_OK : rc;

    footprint_begin();
    struct daemon *d = calloc(1, sizeof(*d));
    if (!d)
        return cli_fail("run", "out of memory");
    rc = config_load(path, getenv, &d->config, &errors);
    if (rc) {
        fputs(errors ? errors : "out of memory\n", stderr);
        free(errors);
        free(d);
        return rc == ERR_BAD ? CLI_USAGE : CLI_FAILED;
    }
    d->config_path = path;
    log_setup(d->config->log.level, d->config->log.is_json);
    if (config_warn_environment(d->config, environ))
        log_event(LOG_WARN, "configuration", "warning", "out of memory", NULL);
    daemon_log_warnings(d->config->warnings);
    struct errmsg msg = {{0}};
    rc = raise_descriptor_limit(&msg);
    d->loop = rc ? NULL : uv_default_loop();
    if (!d->loop) {
        log_event(LOG_ERROR, "start_failed", "reason",
                  rc ? msg.text : "cannot make the main loop", NULL);
        free_daemon(d);
        return CLI_FAILED;
    }
    rc = run(d);
    /* A name that is being looked up cannot be called back, and exit() would
     * wait for the thread that does it, as long as the resolver takes. */
    if (uv_loop_close(d->loop) == UV_EBUSY) {
        fflush(NULL);
        _exit(rc);
    }
    free_daemon(d);
    return rc;
}
