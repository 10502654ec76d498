#include "prober/cli_probe_options.h"

#include <assert.h>
#include <errno.h>
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
#include "prober/hosts.h"
#include "prober/probe_loop_uv.h"
#include "prober/slice.h"
#include "prober/target.h"
#include "proto/base/due.h"

#define NS_PER_MS UINT64_C(1000000)

#define OUT_SIZE     65536
#define OUT_ENOUGH   (OUT_SIZE / 2) /* a sample always fits in the rest */
#define OUT_DELAY_MS 50

/* A slot that we come to later than this (or than an interval) is skipped:
 * after a stop of the process it would only distort what follows. */
#define LATE_MAX_NS (10 * NS_PER_MS)

struct run {
    const struct cli_probe_options *o;
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
    uv_timer_start(&r->pace, on_pace, due_ms(delay_ns, 0), 0);
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
    const struct cli_probe_options *o = r->o;
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
    const struct cli_probe_options *o = r->o;
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
    const struct cli_probe_options *o = r->o;
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
    const struct cli_probe_options *o = r->o;

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

int cli_probe_run(const struct cli_probe_options *o)
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
