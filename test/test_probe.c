/* The probe machine on a host in memory (test/fake_host.h): golden traces of
 * whole attempts, then phases to the nanosecond, then every outcome, then what
 * a hostile or slow world may do, then random talks. Times are virtual. */
#include "test/fake_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "proto/grpc.h"
#include "proto/tls_private.h"
#include "test/check.h"

#define TIMEOUT (5 * SEC)
#define OK_ANSWER                              \
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" \
    "Server-Timing: app;dur=0.052\r\n\r\nok\n"

/* ---- what all share ---- */

static struct {
    struct tls_context *client, *server, *server12, *server_retry, *server_bare;
    struct tls_context *trusting; /* knows the certificate of `server` */
    struct tls_context *distrusting;
    uint8_t pin[TLS_FINGERPRINT_SIZE];
    char cert_file[64];
    struct target http, http_name, grpc, grpc_name, https, https_name, grpcs;
} zoo;

static void make_target(struct target *t, const char *url,
                        struct tls_context *tls)
{
    struct url u;
    check_i64(url_parse(&u, url, NULL), 0);
    check_i64(target_init(t, &u, NULL, tls, NULL), 0);
    if (tls) {
        t->has_fingerprint = true;
        memcpy(t->fingerprint, zoo.pin, sizeof(zoo.pin));
    }
}

static struct tls_context *make_server(void)
{
    /* All of them show the same certificate. */
    return tls_server_context(
        &(struct tls_server_config){.cert_file = zoo.cert_file,
                                    .key_file = zoo.cert_file,
                                    .now_unix_s = FAKE_UNIX_S},
        NULL);
}

static void save_identity(struct tls_context *c, char path[64])
{
    strcpy(path, "/tmp/test_probe.XXXXXX");
    int fd = mkstemp(path);
    check_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    check_true(f != NULL);
    PEM_write_X509(f, SSL_CTX_get0_certificate(c->ssl_ctx));
    PEM_write_PrivateKey(f, SSL_CTX_get0_privatekey(c->ssl_ctx), NULL, NULL, 0,
                         NULL, NULL);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    zoo.server = tls_server_context(
        &(struct tls_server_config){.name = "a.test",
                                    .now_unix_s = FAKE_UNIX_S},
        NULL);
    check_true(zoo.server != NULL);
    tls_context_fingerprint(zoo.server, zoo.pin);
    save_identity(zoo.server, zoo.cert_file);
    zoo.client = tls_client_context(
        &(struct tls_client_config){.is_insecure = true}, NULL);
    zoo.trusting = tls_client_context(
        &(struct tls_client_config){.ca_file = zoo.cert_file}, NULL);
    zoo.distrusting = tls_client_context(&(struct tls_client_config){0}, NULL);
    zoo.server12 = make_server();
    zoo.server_retry = make_server();
    zoo.server_bare = make_server();
    check_true(zoo.client && zoo.trusting && zoo.distrusting);
    check_true(zoo.server12 && zoo.server_retry && zoo.server_bare);
    SSL_CTX_set_max_proto_version(zoo.server12->ssl_ctx, TLS1_2_VERSION);
    char groups[] = "P-256"; /* the client sends a share of X25519 only */
    SSL_CTX_set1_groups_list(zoo.server_retry->ssl_ctx, groups);
    SSL_CTX_set_alpn_select_cb(zoo.server_bare->ssl_ctx, NULL, NULL);

    make_target(&zoo.http, "http://10.0.0.1/probe", NULL);
    make_target(&zoo.http_name, "http://a.test/probe", NULL);
    make_target(&zoo.grpc, "grpc://10.0.0.1:7443", NULL);
    make_target(&zoo.grpc_name, "grpc://a.test:7443", NULL);
    make_target(&zoo.https, "https://10.0.0.1/probe", zoo.client);
    make_target(&zoo.https_name, "https://a.test/probe", zoo.client);
    make_target(&zoo.grpcs, "grpcs://10.0.0.1:7443", zoo.client);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct target *targets[] = {&zoo.http,     &zoo.http_name,  &zoo.grpc,
                                &zoo.https,    &zoo.https_name, &zoo.grpcs,
                                &zoo.grpc_name};
    struct tls_context *contexts[] = {
        zoo.client,   zoo.trusting,     zoo.distrusting, zoo.server,
        zoo.server12, zoo.server_retry, zoo.server_bare};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        target_fini(targets[i]);
    for (size_t i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++)
        tls_context_close(contexts[i]);
    unlink(zoo.cert_file);
    return 0;
}

/* One host a test at a time; large, so not on the stack. */
static struct fake_host world;

static struct fake_host *
host(const struct target *t, enum probe_protocol protocol, enum probe_mode mode)
{
    fake_init(&world, t, protocol, mode);
    return &world;
}

static void expect(struct fake_host *h, enum probe_outcome outcome, int phase)
{
    check_u64(h->reports, h->begun);
    if (h->sample.outcome != outcome)
        print_error("error: %s\n", h->sample.error);
    check_text(outcome_name(h->sample.outcome), outcome_name(outcome));
    check_i64(h->sample.failed_phase, phase);
}

/* Begin, and get as far as having sent the request, all at time 0. */
static struct fake_host *asked(enum probe_mode mode)
{
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, mode);
    fake_begin(h, TIMEOUT);
    fake_connected(h, 0);
    (void)fake_trace(h);
    return h;
}

/* The same on a plain HTTP/2 connection. */
static struct fake_host *asked_h2(enum probe_mode mode)
{
    struct fake_host *h = host(&zoo.grpc, PROTOCOL_GRPC, mode);
    fake_begin(h, TIMEOUT);
    fake_connected(h, 0);
    (void)fake_trace(h);
    return h;
}

/* The same in the middle of a TLS handshake: the hello was sent. */
static struct fake_host *greeted(const struct target *t,
                                 struct tls_context *server)
{
    struct fake_host *h = host(t, PROTOCOL_HTTP1, MODE_COLD);
    fake_serve_tls(h, server);
    fake_begin(h, TIMEOUT);
    fake_connected(h, 0);
    return h;
}

static void answer(struct fake_host *h, uint64_t us)
{
    fake_at(h, us);
    fake_serve(h);
    fake_hear(h, SIZE_MAX, us * US);
}

/* ---- golden traces ---- */

static void plain_http_goes_through_its_phases(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);

    fake_begin(h, TIMEOUT);
    fake_at(h, 1100);
    fake_resolved(h, 50 * US, 1050 * US);
    fake_at(h, 21200);
    fake_connected(h, 20000);
    answer(h, 41300);
    check_text(fake_trace(h),
               "[       0us] begin\n"
               "[       0us] resolve a.test\n"
               "[    1100us] resolved\n"
               "[    1100us] connect 10.0.0.7:80\n"
               "[   21200us] connected rtt=20000us\n"
               "[   21200us] send 84 timed\n"
               "[   41300us] bytes of 41300us\n"
               "[   41300us] report ok dns=1000us connect=20000us "
               "ttfb=20100us transfer=0us local=200us total=41300us\n"
               "[   41300us] close\n");
    fake_fini(h);
}

static void tls13_has_one_wait(void **state)
{
    (void)state;
    struct fake_host *h = greeted(&zoo.https, zoo.server);

    answer(h, 10000);
    fake_at(h, 10500); /* nothing */
    answer(h, 20000);
    check_text(fake_trace(h),
               "[       0us] begin\n"
               "[       0us] connect 10.0.0.1:443\n"
               "[       0us] connected rtt=0us\n"
               "[       0us] send tls timed\n"
               "[   10000us] bytes of 10000us\n"
               "[   10000us] send tls timed\n"
               "[   20000us] bytes of 20000us\n"
               "[   20000us] report ok connect=0us tls=10000us ttfb=10000us "
               "transfer=0us local=0us total=20000us user clock\n"
               "[   20000us] close\n");
    check_text(h->sample.tls_version, "TLSv1.3");
    check_text(h->sample.tls_alpn, "http/1.1");
    check_true(h->sample.tls_cipher[0] != '\0');
    check_i64(h->sample.tls_not_after_unix_s, FAKE_UNIX_S + 3650 * 86400ll);
    check_i64(h->sample.tls_cpu_ns, SAMPLE_ABSENT);
    fake_fini(h);
}

/* Two flights of ours, two waits: they add up, and what passes between them
 * is local. */
static void tls12_has_two_waits(void **state)
{
    (void)state;
    struct fake_host *h = greeted(&zoo.https, zoo.server12);

    fake_at(h, 10000);
    fake_serve(h);
    fake_at(h, 10300);
    fake_hear(h, SIZE_MAX, 10000 * US);
    check_u64(h->probe.state, PROBE_TLS);
    answer(h, 30300);
    check_u64(h->probe.state, PROBE_WAIT);
    answer(h, 40300);
    expect(h, OUTCOME_OK, -1);
    check_text(h->sample.tls_version, "TLSv1.2");
    check_i64(h->sample.phases_ns[PHASE_TLS], (10000 + 20000) * US);
    check_i64(h->sample.phases_ns[PHASE_LOCAL], 300 * US);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 10000 * US);
    check_i64(h->sample.total_ns, 40300 * US);
    fake_fini(h);
}

static void a_retried_hello_waits_twice(void **state)
{
    (void)state;
    struct fake_host *h = greeted(&zoo.https, zoo.server_retry);

    answer(h, 10000);
    check_u64(h->probe.state, PROBE_TLS);
    check_u64(h->sends, 2);
    answer(h, 20000);
    check_u64(h->probe.state, PROBE_WAIT);
    answer(h, 30000);
    expect(h, OUTCOME_OK, -1);
    check_text(h->sample.tls_version, "TLSv1.3");
    check_i64(h->sample.phases_ns[PHASE_TLS], 20000 * US);
    fake_fini(h);
}

static void grpc_over_tls_says_what_serves(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.grpcs, PROTOCOL_GRPC, MODE_COLD);

    fake_serve_tls(h, zoo.server);
    fake_begin(h, TIMEOUT);
    fake_at(h, 1000);
    fake_connected(h, 900);
    answer(h, 2000);
    answer(h, 3000);
    check_text(fake_trace(h),
               "[       0us] begin\n"
               "[       0us] connect 10.0.0.1:7443\n"
               "[    1000us] connected rtt=900us\n"
               "[    1000us] send tls timed\n"
               "[    2000us] bytes of 2000us\n"
               "[    2000us] send tls timed\n"
               "[    3000us] bytes of 3000us\n"
               "[    3000us] report ok connect=900us tls=1000us ttfb=1000us "
               "transfer=0us local=100us total=3000us\n"
               "[    3000us] close\n");
    check_i64(h->sample.http_status, 200);
    check_i64(h->sample.grpc_status, 0);
    check_i64(h->sample.grpc_serving, GRPC_SERVING);
    check_i64(h->sample.server_ns, FAKE_TOOK_NS);
    check_text(h->sample.tls_alpn, "h2");
    fake_fini(h);
}

/* The resolver's books may hold a stamp of an earlier question. */
static void an_old_query_is_not_ours(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);

    fake_at(h, 60 * 1000 * 1000);
    fake_begin(h, TIMEOUT);
    uint64_t begin_ns = h->now_ns;
    fake_at(h, 60 * 1000 * 1000 + 1000);
    fake_resolved(h, begin_ns - 1000 * US, begin_ns + 900 * US);
    check_i64(h->probe.run->sample.phases_ns[PHASE_DNS], 900 * US);
    check_u64(h->probe.run->sample.clock, STAMP_USER);
    fake_cancel(h);
    fake_fini(h);
}

/* The first warm attempt connects outside of the sample, the next do not
 * connect at all. */
static void warm_connects_once_and_outside_the_sample(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_WARM);

    fake_begin(h, TIMEOUT);
    fake_at(h, 1000);
    fake_resolved(h, 0, 900 * US);
    fake_at(h, 2000);
    fake_connected(h, 1000);
    answer(h, 3000);
    fake_at(h, 10000);
    fake_begin(h, TIMEOUT);
    answer(h, 12000);
    check_text(fake_trace(h),
               "[       0us] begin\n"
               "[       0us] resolve a.test\n"
               "[    1000us] resolved\n"
               "[    1000us] connect 10.0.0.7:80\n"
               "[    2000us] connected rtt=1000us\n"
               "[    2000us] send 84 timed\n"
               "[    3000us] bytes of 3000us\n"
               "[    3000us] report ok ttfb=1000us transfer=0us local=0us "
               "total=1000us reconnected\n"
               "[   10000us] begin\n"
               "[   10000us] send 84 timed\n"
               "[   12000us] bytes of 12000us\n"
               "[   12000us] report ok ttfb=2000us transfer=0us local=0us "
               "total=2000us\n");
    fake_fini(h);
}

static void a_held_connection_that_ended_is_made_anew(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_WARM);

    answer(h, 1000);
    fake_at(h, 2000);
    fake_eof(h);
    fake_at(h, 5000);
    fake_begin(h, TIMEOUT);
    fake_at(h, 6000);
    fake_connected(h, 1000);
    answer(h, 7000);
    check_text(fake_trace(h),
               "[    1000us] bytes of 1000us\n"
               "[    1000us] report ok ttfb=1000us transfer=0us local=0us "
               "total=1000us reconnected\n"
               "[    2000us] eof\n"
               "[    2000us] close\n"
               "[    5000us] begin\n"
               "[    5000us] connect 10.0.0.1:80\n"
               "[    6000us] connected rtt=1000us\n"
               "[    6000us] send 86 timed\n"
               "[    7000us] bytes of 7000us\n"
               "[    7000us] report ok ttfb=1000us transfer=0us local=0us "
               "total=1000us reconnected\n");
    fake_fini(h);
}

static void a_timeout_is_told_by_the_deadline(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_COLD);

    fake_at(h, 5000000);
    fake_deadline(h); /* not past it yet */
    fake_at(h, 5000001);
    fake_deadline(h);
    check_text(fake_trace(h), "[ 5000000us] deadline\n"
                              "[ 5000001us] deadline\n"
                              "[ 5000001us] report response_timeout in ttfb "
                              "connect=0us user clock\n"
                              "[ 5000001us] close\n");
    fake_fini(h);
}

/* ---- phases to the nanosecond ---- */

static void phases_are_differences_of_stamps(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);

    h->now_ns = 1000000000123;
    h->tx_delay_ns = 777;
    fake_begin(h, TIMEOUT);
    h->now_ns += 5000; /* read late */
    fake_resolved(h, 1000000000200, 1000000003999);
    h->now_ns += 2000017;
    fake_connected(h, 1234);
    uint64_t left_ns = h->now_ns + 777;
    h->now_ns += 9000000; /* all of the answer is read at once, late */
    fake_text(h, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
              left_ns + 1000003);
    fake_text(h, "a", left_ns + 1000003);
    fake_text(h, "b", left_ns + 3000010);
    expect(h, OUTCOME_OK, -1);

    const struct sample *s = &h->sample;
    check_i64(s->phases_ns[PHASE_DNS], 3799);
    check_i64(s->phases_ns[PHASE_CONNECT], 1234000);
    check_i64(s->phases_ns[PHASE_TLS], SAMPLE_ABSENT);
    check_i64(s->phases_ns[PHASE_TTFB], 1000003);
    check_i64(s->phases_ns[PHASE_TRANSFER], 2000007);
    check_i64(s->total_ns, 5000 + 2000017 + 777 + 3000010);
    check_i64(s->phases_ns[PHASE_LOCAL],
              s->total_ns - 3799 - 1234000 - 1000003 - 2000007);
    check_i64(s->lag_ns, 9000000 - 777 - 1000003);
    check_i64(s->start_lag_ns, 7);
    check_i64(s->rtt_ns, 1234000);
    check_i64(s->retransmits, 0);
    check_i64(s->clock, STAMP_KERNEL);
    check_u64(s->started_unix_ns, FAKE_UNIX_S * SEC + 1000000000123);
    check_i64(s->peer.port, 80);
    check_i64(s->local.port, 40312);
    fake_fini(h);
}

static void a_stamp_that_comes_with_the_answer_still_counts(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);

    h->is_tx_held = true;
    h->tx_delay_ns = 40 * US;
    fake_begin(h, TIMEOUT);
    fake_at(h, 100);
    fake_connected(h, 100);
    check_true(probe_needs_tx(&h->probe));
    /* Stamps of other bytes, and of nobody are not it. */
    probe_on_tx(&h->probe, h->tx_offset - 1,
                (struct stamp){.ns = 1, .source = STAMP_KERNEL});
    probe_on_tx(&h->probe, h->tx_offset,
                (struct stamp){.ns = 1, .source = STAMP_NONE});
    check_true(probe_needs_tx(&h->probe));
    fake_tx(h);
    check_false(probe_needs_tx(&h->probe));
    h->tx_ns += 1000 * US; /* sent again: the first time counts */
    fake_tx(h);
    answer(h, 5000);
    check_i64(h->sample.phases_ns[PHASE_TTFB], (5000 - 140) * US);
    check_i64(h->sample.clock, STAMP_KERNEL);
    fake_fini(h);
}

static void a_missing_stamp_makes_it_the_user_clock(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);
        h->has_no_tx = kind == 1;
        fake_begin(h, TIMEOUT);
        fake_at(h, 1000);
        fake_resolved(h, kind == 3 ? FAKE_NONE : 0,
                      kind == 3 ? FAKE_NONE : 900 * US);
        fake_at(h, 2000);
        fake_connected(h, 1000);
        fake_at(h, 3000);
        fake_text(h, OK_ANSWER, kind == 2 ? FAKE_NONE : 2900 * US);
        expect(h, OUTCOME_OK, -1);
        check_i64(h->sample.clock, kind == 0 ? STAMP_KERNEL : STAMP_USER);
        check_i64(h->sample.phases_ns[PHASE_DNS],
                  (kind == 3 ? 1000 : 900) * US);
        check_i64(h->sample.phases_ns[PHASE_TTFB],
                  (kind == 2 ? 1000 : 900) * US);
        check_i64(h->sample.lag_ns, (kind == 2 ? 0 : 100) * US);
        fake_fini(h);
    }
}

static void each_edge_of_a_wait_has_its_clock(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 1000);
    fake_connected(h, 1000);
    fake_at(h, 2000);
    fake_text(h, "HTTP/1.1 200 OK\r\n", 1900 * US);
    fake_at(h, 3000);
    fake_text(h, "Content-Length: 0\r\n\r\n", FAKE_NONE);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.clock, STAMP_USER);
    check_i64(h->sample.phases_ns[PHASE_TRANSFER], 1100 * US);
    check_i64(h->sample.lag_ns, 100 * US); /* the longest, not the last */
    fake_fini(h);
}

/* Two clocks may disagree by a little: no phase goes below zero for it. */
static void an_answer_before_we_began_takes_no_time(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_WARM);
    fake_text(h, OK_ANSWER, 0);
    fake_at(h, 1000);
    h->has_no_tx = true;
    fake_begin(h, TIMEOUT);
    fake_text(h, OK_ANSWER, 999 * US);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.total_ns, 0);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 0);
    check_i64(h->sample.phases_ns[PHASE_LOCAL], 0);
    fake_fini(h);
}

static void connects(uint64_t around_us, struct probe_connected c,
                     int64_t want_us, enum stamp_source clock)
{
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, around_us);
    probe_on_connected(&h->probe, &c, h->now_ns);
    fake_step(h);
    answer(h, around_us + 10);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_CONNECT], want_us * (int64_t)US);
    check_i64(h->sample.clock, clock);
    check_i64(h->sample.retransmits, c.retransmits);
    fake_fini(h);
}

static void connect_is_the_kernels_round_trip_unless_resent(void **state)
{
    (void)state;
    connects(2000, (struct probe_connected){.rtt_us = 700}, 700, STAMP_KERNEL);
    /* Never more than the clock around it. */
    connects(600, (struct probe_connected){.rtt_us = 700}, 600, STAMP_KERNEL);
    connects(2000, (struct probe_connected){.rtt_us = 0}, 2000, STAMP_USER);
    /* A resent SYN: the clock around, minus what we came late. */
    connects(1200000,
             (struct probe_connected){.rtt_us = 200000, .retransmits = 1},
             1200000, STAMP_USER);
    connects(1200000,
             (struct probe_connected){
                 .rtt_us = 200000, .retransmits = 1, .last_ack_ms = 100},
             1100000, STAMP_USER);
    /* Within the kernel's own grain it says nothing, */
    connects(1200000,
             (struct probe_connected){
                 .rtt_us = 200000, .retransmits = 1, .last_ack_ms = 7},
             1200000, STAMP_USER);
    connects(1200000,
             (struct probe_connected){
                 .rtt_us = 200000, .retransmits = 1, .last_ack_ms = 8},
             1192000, STAMP_USER);
    /* and more than there was is nonsense. */
    connects(1200000,
             (struct probe_connected){
                 .rtt_us = 200000, .retransmits = 2, .last_ack_ms = 1200},
             1200000, STAMP_USER);
}

/* ---- the late-read rule ---- */

static void an_answer_in_time_counts_however_late_it_is_read(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_COLD);

    fake_at(h, 9000000);
    fake_text(h, OK_ANSWER, TIMEOUT); /* the very last moment */
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_TTFB], TIMEOUT);
    check_i64(h->sample.total_ns, TIMEOUT);
    check_i64(h->sample.lag_ns, 4 * SEC);
    fake_fini(h);
}

static void an_answer_too_late_is_a_timeout_even_before_the_timer(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_COLD);

    fake_at(h, 5000001);
    fake_text(h, OK_ANSWER, TIMEOUT + 1);
    expect(h, OUTCOME_RESPONSE_TIMEOUT, PHASE_TTFB);
    check_i64(h->sample.phases_ns[PHASE_TTFB], SAMPLE_ABSENT);
    fake_deadline(h); /* comes to nobody */
    check_u64(h->reports, 1);
    fake_fini(h);

    h = asked(MODE_COLD);
    fake_text(h, "HTTP/1.1 2", 0);
    fake_at(h, 5000001);
    fake_text(h, "00 OK\r\n\r\n", TIMEOUT + 1);
    expect(h, OUTCOME_RESPONSE_TIMEOUT, PHASE_TRANSFER);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 0);
    fake_fini(h);
}

static void time_that_passed_in_our_hands_is_starvation(void **state)
{
    (void)state;
    /* The SYN-ACK came at once, we went on at 3 s of 5. */
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 3000000);
    fake_connected(h, 1000);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_LOCAL_STARVED, PHASE_TTFB);
    check_i64(h->sample.phases_ns[PHASE_CONNECT], 1000 * US);
    fake_fini(h);

    /* The same time waited for the network is the network's. */
    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 3000000);
    fake_connected(h, 2999000);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_RESPONSE_TIMEOUT, PHASE_TTFB);
    fake_fini(h);

    /* It was ours as well if the request never left. */
    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    h->is_stuck = true;
    fake_begin(h, TIMEOUT);
    fake_at(h, 3000000);
    fake_connected(h, 1000);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_LOCAL_STARVED, PHASE_TTFB);
    fake_fini(h);

    /* Half is the limit, exactly. */
    for (uint64_t own_us = 2500000; own_us <= 2500001; own_us++) {
        h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
        fake_begin(h, TIMEOUT);
        fake_at(h, own_us + 1000);
        fake_connected(h, 1000);
        fake_at(h, 5000001);
        fake_deadline(h);
        expect(h,
               own_us > 2500000 ? OUTCOME_LOCAL_STARVED
                                : OUTCOME_RESPONSE_TIMEOUT,
               PHASE_TTFB);
        fake_fini(h);
    }
}

static void in_time_but_too_late_to_go_on_is_starvation(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 5000001);
    fake_resolved(h, 0, 1000 * US);
    expect(h, OUTCOME_LOCAL_STARVED, PHASE_DNS);
    check_i64(h->sample.phases_ns[PHASE_DNS], 1000 * US);
    check_u64(h->connects, 0);
    fake_fini(h);

    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 5000001);
    fake_connected(h, 1000);
    expect(h, OUTCOME_LOCAL_STARVED, PHASE_CONNECT);
    check_i64(h->sample.phases_ns[PHASE_CONNECT], 1000 * US);
    check_u64(h->sends, 0);
    fake_fini(h);

    h = greeted(&zoo.https, zoo.server);
    fake_serve(h);
    fake_at(h, 5000001);
    fake_hear(h, SIZE_MAX, 1000 * US);
    expect(h, OUTCOME_LOCAL_STARVED, PHASE_TLS);
    check_i64(h->sample.phases_ns[PHASE_TLS], 1000 * US);
    check_u64(h->sends, 1);
    fake_fini(h);

    /* Resolved in time, but never got to connect. */
    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    struct probe_start start = {.timeout_ns = TIMEOUT};
    h->begun++;
    probe_begin(&h->probe, &h->run, &start);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_LOCAL_STARVED, PHASE_CONNECT);
    check_u64(h->connects, 0);
    fake_fini(h);
}

/* The time that setting up a warm connection took is not the attempt's. */
static void a_slow_set_up_does_not_excuse_a_slow_answer(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_WARM);
    fake_begin(h, TIMEOUT);
    fake_at(h, 4000000);
    fake_connected(h, 3990000);
    fake_at(h, 5000001); /* the deadline has moved */
    fake_deadline(h);
    check_u64(h->reports, 0);
    fake_at(h, 9000001);
    fake_deadline(h);
    expect(h, OUTCOME_RESPONSE_TIMEOUT, PHASE_TTFB);
    check_i64(h->sample.phases_ns[PHASE_CONNECT], SAMPLE_ABSENT);
    fake_fini(h);
}

static void a_deadline_names_what_was_waited_for(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_DNS_TIMEOUT, PHASE_DNS);
    fake_resolved(h, 0, 0); /* comes to nobody */
    check_u64(h->reports, 1);
    fake_fini(h);

    h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 5000001);
    fake_resolved(h, 0, TIMEOUT + 1);
    expect(h, OUTCOME_DNS_TIMEOUT, PHASE_DNS);
    fake_fini(h);

    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_CONNECT_TIMEOUT, PHASE_CONNECT);
    fake_fini(h);

    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    fake_at(h, 5000001);
    fake_connected(h, 5000001);
    expect(h, OUTCOME_CONNECT_TIMEOUT, PHASE_CONNECT);
    check_i64(h->sample.phases_ns[PHASE_CONNECT], SAMPLE_ABSENT);
    fake_fini(h);

    h = greeted(&zoo.https, zoo.server);
    fake_at(h, 5000001);
    fake_deadline(h);
    expect(h, OUTCOME_TLS_TIMEOUT, PHASE_TLS);
    check_i64(h->sample.phases_ns[PHASE_CONNECT], 0);
    fake_fini(h);
}

/* ---- outcomes ---- */

static void names_that_do_not_resolve_say_why(void **state)
{
    (void)state;
    for (int o = OUTCOME_DNS_NXDOMAIN; o <= OUTCOME_DNS_ERROR; o++) {
        struct fake_host *h = host(&zoo.http_name, PROTOCOL_HTTP1, MODE_COLD);
        fake_begin(h, TIMEOUT);
        fake_unresolved(h, (enum probe_outcome)o);
        expect(h, (enum probe_outcome)o, PHASE_DNS);
        check_text(h->sample.error, "no such name");
        check_i64(h->sample.phases_ns[PHASE_DNS], SAMPLE_ABSENT);
        check_u64(h->closes, 0);
        fake_fini(h);
    }
}

static void errors_of_the_socket_are_sorted_by_state(void **state)
{
    (void)state;
    static const struct {
        int error;
        enum probe_outcome connecting, greeting, waiting;
    } cases[] = {
        {ECONNREFUSED, OUTCOME_CONNECT_REFUSED, OUTCOME_RESET, OUTCOME_RESET},
        {ENETUNREACH, OUTCOME_CONNECT_UNREACHABLE, OUTCOME_RESET,
         OUTCOME_RESET},
        {EHOSTUNREACH, OUTCOME_CONNECT_UNREACHABLE, OUTCOME_RESET,
         OUTCOME_RESET},
        {ENETDOWN, OUTCOME_CONNECT_UNREACHABLE, OUTCOME_RESET, OUTCOME_RESET},
        {EHOSTDOWN, OUTCOME_CONNECT_UNREACHABLE, OUTCOME_RESET, OUTCOME_RESET},
        {ENOPROTOOPT, OUTCOME_CONNECT_UNREACHABLE, OUTCOME_RESET,
         OUTCOME_RESET},
        {ETIMEDOUT, OUTCOME_CONNECT_TIMEOUT, OUTCOME_TLS_TIMEOUT,
         OUTCOME_RESPONSE_TIMEOUT},
        {ECONNRESET, OUTCOME_CONNECT_RESET, OUTCOME_RESET, OUTCOME_RESET},
        {ECONNABORTED, OUTCOME_CONNECT_RESET, OUTCOME_RESET, OUTCOME_RESET},
        {EPIPE, OUTCOME_CONNECT_RESET, OUTCOME_RESET, OUTCOME_RESET},
        {EMFILE, OUTCOME_LOCAL_RESOURCE, OUTCOME_LOCAL_RESOURCE,
         OUTCOME_LOCAL_RESOURCE},
        {EADDRNOTAVAIL, OUTCOME_LOCAL_RESOURCE, OUTCOME_LOCAL_RESOURCE,
         OUTCOME_LOCAL_RESOURCE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
        fake_begin(h, TIMEOUT);
        fake_error(h, cases[i].error);
        expect(h, cases[i].connecting, PHASE_CONNECT);
        check_text(h->sample.error, strerror(cases[i].error));
        check_u64(h->closes, 1);
        fake_fini(h);

        h = greeted(&zoo.https, zoo.server);
        fake_error(h, cases[i].error);
        expect(h, cases[i].greeting, PHASE_TLS);
        fake_fini(h);

        h = asked(MODE_COLD);
        fake_error(h, cases[i].error);
        expect(h, cases[i].waiting, PHASE_TTFB);
        fake_fini(h);

        h = asked(MODE_WARM);
        fake_text(h, "HTTP/1.1 ", 0);
        fake_error(h, cases[i].error);
        expect(h, cases[i].waiting, PHASE_TRANSFER);
        check_i64(h->sample.phases_ns[PHASE_TTFB], 0);
        fake_fini(h);
    }
}

/* Handshake with `server`, for a target changed by the caller. */
static void shakes_hands(const struct target *t, enum probe_protocol protocol,
                         struct tls_context *server, enum probe_outcome outcome)
{
    struct fake_host *h = host(t, protocol, MODE_COLD);
    fake_serve_tls(h, server);
    fake_run(h, &(struct fake_talk){.rtt_ns = MS, .dns_ns = MS});
    expect(h, outcome, outcome == OUTCOME_OK ? -1 : PHASE_TLS);
    check_true(outcome == OUTCOME_OK || h->sample.error[0] != '\0');
    check_i64(h->sample.phases_ns[PHASE_CONNECT], MS);
    check_true((outcome == OUTCOME_OK) == (h->sample.phases_ns[PHASE_TLS] > 0));
    fake_fini(h);
}

static void certificates_are_judged(void **state)
{
    (void)state;
    struct target t = zoo.https;
    shakes_hands(&t, PROTOCOL_HTTP1, zoo.server, OUTCOME_OK);
    t.fingerprint[0] ^= 1;
    shakes_hands(&t, PROTOCOL_HTTP1, zoo.server, OUTCOME_TLS_UNTRUSTED);
    t.has_fingerprint = false;
    t.tls = zoo.distrusting;
    shakes_hands(&t, PROTOCOL_HTTP1, zoo.server, OUTCOME_TLS_UNTRUSTED);
    t.tls = zoo.trusting;
    t.host = "a.test";
    shakes_hands(&t, PROTOCOL_HTTP1, zoo.server, OUTCOME_OK);
    t.host = "b.test";
    shakes_hands(&t, PROTOCOL_HTTP1, zoo.server, OUTCOME_TLS_NAME_MISMATCH);

    struct tls_context *old = tls_server_context(
        &(struct tls_server_config){.name = "a.test",
                                    .now_unix_s = FAKE_UNIX_S - 20u * 31536000},
        NULL);
    char old_file[64];
    save_identity(old, old_file);
    t.host = "a.test";
    t.tls = tls_client_context(&(struct tls_client_config){.ca_file = old_file},
                               NULL);
    shakes_hands(&t, PROTOCOL_HTTP1, old, OUTCOME_TLS_EXPIRED);
    tls_context_close(t.tls);
    tls_context_close(old);
    unlink(old_file);
}

static void grpc_needs_h2_and_http1_does_not_ask(void **state)
{
    (void)state;
    shakes_hands(&zoo.https, PROTOCOL_HTTP1, zoo.server_bare, OUTCOME_OK);
    shakes_hands(&zoo.grpcs, PROTOCOL_GRPC, zoo.server_bare, OUTCOME_TLS_ALPN);
}

static void alerts_and_noise_end_a_handshake(void **state)
{
    (void)state;
    struct fake_host *h = greeted(&zoo.https, zoo.server);
    fake_bytes(h, "\x15\x03\x03\x00\x02\x02\x28", 7, 0);
    expect(h, OUTCOME_TLS_ALERT, PHASE_TLS);
    fake_fini(h);

    h = greeted(&zoo.https, zoo.server);
    fake_text(h, "HTTP/1.1 400 Bad Request\r\n\r\n", 0);
    expect(h, OUTCOME_TLS_ERROR, PHASE_TLS);
    fake_fini(h);

    h = greeted(&zoo.https, zoo.server);
    fake_eof(h);
    expect(h, OUTCOME_EOF, PHASE_TLS);
    fake_fini(h);
}

/* TLS 1.3: the server judges us when we think that all is done. */
static void an_alert_behind_the_handshake_is_an_alert(void **state)
{
    (void)state;
    struct tls_context *strict = make_server();
    SSL_CTX_set_verify(strict->ssl_ctx,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    struct fake_host *h = greeted(&zoo.https, strict);
    answer(h, 1000);
    answer(h, 2000);
    expect(h, OUTCOME_TLS_ALERT, PHASE_TTFB);
    check_true(strstr(h->sample.error, "alert") != NULL);
    fake_fini(h);
    tls_context_close(strict);

    h = greeted(&zoo.https, zoo.server);
    answer(h, 1000);
    fake_text(h, "no record at all", 2000 * US);
    expect(h, OUTCOME_TLS_ERROR, PHASE_TTFB);
    fake_fini(h);
}

static void http_says(const char *text, enum probe_outcome outcome, int phase,
                      int status, int64_t transfer_ns)
{
    struct fake_host *h = asked(MODE_COLD);
    fake_at(h, 10);
    fake_text(h, text, 10 * US);
    if (h->reports == 0)
        fake_eof(h);
    expect(h, outcome, phase);
    check_i64(h->sample.http_status, status);
    check_i64(h->sample.phases_ns[PHASE_TRANSFER], transfer_ns);
    check_i64(h->sample.phases_ns[PHASE_TTFB],
              text[0] ? 10 * (int64_t)US : SAMPLE_ABSENT);
    fake_fini(h);
}

/* What a failed attempt did not complete it does not keep. */
static void responses_are_judged(void **state)
{
    (void)state;
    http_says(OK_ANSWER, OUTCOME_OK, -1, 200, 0);
    http_says("HTTP/1.1 204 No\r\n\r\n", OUTCOME_OK, -1, 204, 0);
    http_says("HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
              OUTCOME_OK, -1, 302, 0);
    http_says("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
              OUTCOME_HTTP_STATUS, PHASE_TRANSFER, 404, 0);
    http_says("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
              OUTCOME_HTTP_STATUS, PHASE_TRANSFER, 503, 0);
    http_says("HTTP/1.0 200 OK\r\n\r\nuntil the end", OUTCOME_OK, -1, 200, 0);
    http_says("HTTP/1.0 500 No\r\n\r\nuntil the end", OUTCOME_HTTP_STATUS,
              PHASE_TRANSFER, 500, 0);
    http_says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", OUTCOME_EOF,
              PHASE_TRANSFER, 200, SAMPLE_ABSENT);
    http_says("HTTP/1.1 20", OUTCOME_EOF, PHASE_TRANSFER, -1, SAMPLE_ABSENT);
    http_says("", OUTCOME_EOF, PHASE_TTFB, -1, SAMPLE_ABSENT);
    http_says("SSH-2.0-OpenSSH\r\n", OUTCOME_HTTP_MALFORMED, PHASE_TRANSFER, -1,
              SAMPLE_ABSENT);
    http_says("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
              OUTCOME_HTTP_TOO_LARGE, PHASE_TRANSFER, 200, SAMPLE_ABSENT);
}

static void an_error_text_fits_the_outcome(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_COLD);
    fake_text(h, "HTTP/1.0 404 No\r\n\r\nwhat", 0);
    fake_eof(h);
    check_text(h->sample.error, "");
    fake_fini(h);
    h = asked(MODE_COLD);
    fake_eof(h);
    check_text(h->sample.error, "the peer closed the connection");
    fake_fini(h);
}

/* A body that ends with the stream may have been cut by anybody, unless TLS
 * says that it was the peer. */
static void a_stream_cut_without_close_notify_is_an_eof(void **state)
{
    (void)state;
    for (int is_clean = 0; is_clean < 2; is_clean++) {
        static const char text[] = "HTTP/1.0 200 OK\r\n\r\nbody";
        struct fake_host *h = greeted(&zoo.https, zoo.server);
        answer(h, 1000);
        uint8_t request[256]; /* read, and not answered by the book */
        tls_feed(h->server.tls, h->wire_bytes, h->wire.len);
        check_true(tls_handshake(h->server.tls) == TLS_OPEN);
        while (tls_read(h->server.tls, request, sizeof(request)) > 0)
            ;
        wr_reset(&h->wire);
        check_i64(tls_write(h->server.tls, text, strlen(text)), 0);
        if (is_clean)
            tls_shutdown(h->server.tls);
        answer(h, 2000);
        if (!is_clean)
            fake_eof(h);
        expect(h, is_clean ? OUTCOME_OK : OUTCOME_EOF,
               is_clean ? -1 : PHASE_TRANSFER);
        fake_fini(h);
    }
}

/* ---- responses in pieces ---- */

static void the_first_byte_counts_be_it_interim(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_COLD);
    fake_at(h, 100);
    fake_text(h, "HTTP/1.1 103 Early Hints\r\n\r\n", 100 * US);
    fake_at(h, 300);
    fake_text(h, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
              300 * US);
    fake_at(h, 350);
    fake_text(h, "3\r\nok\n\r\n0\r\n", 350 * US);
    check_u64(h->reports, 0);
    fake_at(h, 400);
    fake_text(h, "Server-Timing: db;dur=3, app;dur=1.5\r\n\r\n", 400 * US);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 100 * US);
    check_i64(h->sample.phases_ns[PHASE_TRANSFER], 300 * US);
    check_i64(h->sample.server_ns, 1500 * US);
    check_i64(h->sample.http_minor, 1);
    fake_fini(h);
}

static void server_time_is_read_from_header_and_trailer(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_COLD);
    fake_text(h, OK_ANSWER, 0);
    check_i64(h->sample.server_ns, 52000);
    fake_fini(h);
    h = asked(MODE_COLD);
    fake_text(h, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    check_i64(h->sample.server_ns, SAMPLE_ABSENT);
    fake_fini(h);
    h = asked(MODE_COLD);
    fake_text(h,
              "HTTP/1.1 200 OK\r\nServer-Timing: app;dur=-1\r\n"
              "Content-Length: 0\r\n\r\n",
              0);
    check_i64(h->sample.server_ns, SAMPLE_ABSENT);
    fake_fini(h);
}

/* ---- HTTP/2 ---- */

/* The server reads the question and gives the test's answer to it. */
static void respond_h2(struct fake_host *h, const struct h2_answer *a)
{
    struct fake_server *s = &h->server;
    size_t len;
    check_i64(h2_server_feed(s->h2, h->wire_bytes, h->wire.len), 0);
    wr_reset(&h->wire);
    const struct h2_server_request *r = h2_server_next(s->h2);
    check_true(r != NULL);
    check_text(r->path, GRPC_HEALTH_CHECK);
    check_text(r->te, "trailers");
    check_text(r->grpc_timeout, "5S");
    check_i64(h2_server_respond(s->h2, r->stream_id, a), 0);
    const uint8_t *out = h2_server_out(s->h2, &len);
    wr_bytes(&s->answer, out, len);
    fake_hear(h, SIZE_MAX, h->now_ns);
}

struct grpc_case {
    unsigned http;
    const char *type, *status, *message, *body;
    size_t body_len;
    enum probe_outcome outcome;
    const char *error;
};

static void grpc_answers_are_judged_from_the_outside_in(void **state)
{
    (void)state;
    static const char good[] = "\0\0\0\0\2\x08\x01";
    static const struct grpc_case cases[] = {
        {200, "application/grpc", "0", "", good, 7, OUTCOME_OK, ""},
        {200, "application/grpc+proto", "0", "", good, 7, OUTCOME_OK, ""},
        {200, "application/grpc", "0", "", "\0\0\0\0\2\x08\x02", 7,
         OUTCOME_GRPC_NOT_SERVING, "NOT_SERVING"},
        {200, "application/grpc", "0", "", "\0\0\0\0\0", 5,
         OUTCOME_GRPC_NOT_SERVING, "UNKNOWN"},
        {200, "application/grpc", "0", "", "\0\0\0\0\3\x08\xac\x02", 8,
         OUTCOME_GRPC_NOT_SERVING, "UNKNOWN"},
        {200, "application/grpc", "14", "gone", "", 0, OUTCOME_GRPC_STATUS,
         "gone"},
        {200, "application/grpc", "5", "", "", 0, OUTCOME_GRPC_STATUS,
         "NOT_FOUND"},
        {200, "application/grpc", "99", "", "", 0, OUTCOME_GRPC_STATUS,
         "UNKNOWN"},
        {200, "application/grpc", "x", "", good, 7, OUTCOME_GRPC_MALFORMED,
         NULL},
        {200, "application/grpc", "", "", good, 7, OUTCOME_GRPC_MALFORMED,
         NULL},
        {200, "text/html", "0", "", good, 7, OUTCOME_GRPC_MALFORMED, NULL},
        {200, "application/grpc", "0", "", "", 0, OUTCOME_GRPC_MALFORMED,
         "the health answer is not one"},
        {200, "application/grpc", "0", "", "\1\0\0\0\2\x08\x01", 7,
         OUTCOME_GRPC_MALFORMED, NULL},
        {200, "application/grpc", "0", "", "\0\0\0\0\2\x08", 6,
         OUTCOME_GRPC_MALFORMED, NULL},
        {200, "application/grpc", "0", "", "\0\0\0\0\1\x08\x01", 7,
         OUTCOME_GRPC_MALFORMED, NULL},
        /* A message that ends with what is kept of the body, and more. */
        {200, "application/grpc", "0", "",
         "\0\0\0\0\x3b\x08\1\x12\x37"
         "1234567890123456789012345678901234567890123456789012345",
         64, OUTCOME_OK, ""},
        {200, "application/grpc", "0", "",
         "\0\0\0\0\x3b\x08\1\x12\x37"
         "1234567890123456789012345678901234567890123456789012345+",
         65, OUTCOME_GRPC_MALFORMED, NULL},
        {503, "text/plain", "", "", "no", 2, OUTCOME_HTTP_STATUS, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct grpc_case *c = &cases[i];
        struct fake_host *h = asked_h2(MODE_COLD);
        struct h2_field type = {"content-type", c->type};
        struct h2_field end[] = {{"grpc-status", c->status},
                                 {"grpc-message", c->message}};
        respond_h2(h, &(struct h2_answer){
                          .status = c->http,
                          .fields = &type,
                          .n_fields = 1,
                          .body = (const uint8_t *)c->body,
                          .body_len = c->body_len,
                          .trailers = end,
                          .n_trailers = c->status[0] ? 2 : 0,
                          .end = true,
                      });
        expect(h, c->outcome, c->outcome == OUTCOME_OK ? -1 : PHASE_TRANSFER);
        if (c->error)
            check_text(h->sample.error, c->error);
        check_true(c->outcome == OUTCOME_OK || h->sample.error[0]);
        check_i64(h->sample.phases_ns[PHASE_TRANSFER], 0);
        check_i64(h->sample.http_status, c->http);
        check_true(h->sample.grpc_serving <= GRPC_SERVICE_UNKNOWN);
        fake_fini(h);
    }
}

/* A frame as bytes on the wire. */
static void put_frame(struct wr *w, uint8_t type, uint8_t flags,
                      uint32_t stream, const void *payload, size_t len)
{
    wr_be24(w, (uint32_t)len);
    wr_u8(w, type);
    wr_u8(w, flags);
    wr_be32(w, stream);
    wr_bytes(w, payload, len);
}

static void hear_frame(struct fake_host *h, uint8_t type, uint8_t flags,
                       uint32_t stream, const void *payload, size_t len)
{
    uint8_t bytes[256];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_frame(&w, type, flags, stream, payload, len);
    fake_bytes(h, bytes, w.len, h->now_ns);
}

enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,
};

static void http2_ends_are_told_apart(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_COLD);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, RST_STREAM, 0, 1, "\0\0\0\2", 4);
    expect(h, OUTCOME_H2_RESET, PHASE_TTFB);
    fake_fini(h);

    h = asked_h2(MODE_COLD);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, RST_STREAM, 0, 1, "\0\0\0\7", 4); /* REFUSED_STREAM */
    expect(h, OUTCOME_H2_RESET, PHASE_TTFB);
    fake_fini(h);

    h = asked_h2(MODE_COLD);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    expect(h, OUTCOME_H2_GOAWAY, PHASE_TTFB);
    fake_fini(h);

    h = asked_h2(MODE_COLD);
    fake_text(h, "HTTP/1.1 400 Bad Request\r\n\r\n", 0);
    expect(h, OUTCOME_H2_ERROR, PHASE_TTFB);
    check_true(h->sample.error[0] != '\0');
    fake_fini(h);

    /* A response that began and then was reset has no transfer. */
    h = asked_h2(MODE_COLD);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    fake_at(h, 50);
    hear_frame(h, HEADERS, 4, 1, "\x88", 1);
    fake_at(h, 90);
    hear_frame(h, RST_STREAM, 0, 1, "\0\0\0\2", 4);
    expect(h, OUTCOME_H2_RESET, PHASE_TRANSFER);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 50 * US);
    check_i64(h->sample.phases_ns[PHASE_TRANSFER], SAMPLE_ABSENT);
    fake_fini(h);

    h = asked_h2(MODE_COLD);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    fake_eof(h);
    expect(h, OUTCOME_EOF, PHASE_TTFB);
    fake_fini(h);
}

/* SETTINGS are the connection's business and no answer. */
static void settings_do_not_begin_a_response(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_COLD);
    fake_serve(h);
    fake_at(h, 100);
    fake_hear(h, 9u + h->answer_bytes[2], 100 * US);
    check_u64(h->reports, 0);
    answer(h, 900);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 900 * US);
    fake_fini(h);
}

/* The window is as large as the body may be, so a body that is too large
 * shows only if the window is opened while it comes. */
static void a_body_without_end_is_an_error_and_no_timeout(void **state)
{
    (void)state;
    static const uint8_t some[240];
    struct fake_host *h = asked_h2(MODE_WARM);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, HEADERS, 4, 1, "\x88", 1);
    unsigned sends = h->sends;
    for (int i = 0; i < 300 && h->reports == 0; i++)
        hear_frame(h, DATA, 0, 1, some, sizeof(some));
    check_true(h->sends > sends);
    expect(h, OUTCOME_H2_ERROR, PHASE_TRANSFER);
    check_u64(h->closes, 1); /* nor is such a peer kept */
    fake_fini(h);
}

/* A peer with a closed window holds our question back; it is sent as soon as
 * the peer lets it through. */
static void a_question_held_back_by_the_peer_is_asked(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    answer(h, 1000);
    fake_serve(h);
    hear_frame(h, SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    wr_reset(&h->wire); /* its acknowledgement: the server did not ask */
    fake_begin(h, TIMEOUT);
    fake_serve(h);
    check_u64(h->server.answer.len, 0);
    hear_frame(h, WINDOW_UPDATE, 0, 3, "\0\0\1\0", 4);
    answer(h, 3000);
    expect(h, OUTCOME_OK, -1);
    check_u64(h->connects, 1);
    check_i64(h->sample.clock, STAMP_KERNEL);
    fake_fini(h);
}

/* What is sent on the peer's behalf meanwhile moves no wait. */
static void a_ping_in_between_is_answered_and_moves_nothing(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    answer(h, 1000);
    fake_serve(h);
    h->has_no_tx = true;
    fake_begin(h, TIMEOUT);
    fake_serve(h);
    unsigned sends = h->sends;
    fake_at(h, 2000);
    hear_frame(h, PING, 0, 0, "12345678", 8);
    check_u64(h->sends, sends + 1);
    wr_reset(&h->wire);
    answer(h, 3000);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 2000 * US);
    fake_fini(h);
}

/* Nothing but the acknowledgement of SETTINGS is to be said on a young
 * connection: that costs no packet of its own. */
static void a_young_connection_is_not_chatty(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_COLD);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    check_u64(h->sends, 1);
    fake_fini(h);
}

/* ---- sending ---- */

static void a_request_may_leave_in_any_pieces(void **state)
{
    (void)state;
    for (size_t split = 1; split <= 90; split++) {
        struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
        h->take_max = split;
        fake_begin(h, TIMEOUT);
        fake_connected(h, 0);
        check_u64(h->sends, (86 + split - 1) / split);
        answer(h, 70);
        expect(h, OUTCOME_OK, -1);
        check_i64(h->sample.phases_ns[PHASE_TTFB], 70 * US);
        fake_fini(h);
    }
    for (int protocol = 0; protocol < PROTOCOL_N; protocol++) {
        for (size_t split = 1; split <= 600; split += split < 20 ? 1 : 37) {
            struct fake_host *h =
                host(protocol == PROTOCOL_GRPC ? &zoo.grpcs : &zoo.https,
                     (enum probe_protocol)protocol, MODE_WARM);
            fake_serve_tls(h, zoo.server);
            h->take_max = split;
            fake_run(h, &(struct fake_talk){.rtt_ns = MS});
            fake_run(h, &(struct fake_talk){.rtt_ns = MS});
            expect(h, OUTCOME_OK, -1);
            check_u64(h->connects, 1);
            fake_fini(h);
        }
    }
}

/* Frames of plain HTTP/2 in pieces, over many requests: what is borrowed from
 * the session is never sent after the session has changed. */
static void a_session_may_be_sent_in_any_pieces(void **state)
{
    (void)state;
    for (size_t split = 1; split <= 300; split += split < 40 ? 1 : 23) {
        struct fake_host *h = host(&zoo.grpc, PROTOCOL_GRPC, MODE_WARM);
        h->take_max = split;
        for (int i = 0; i < 4; i++) {
            fake_run(h, &(struct fake_talk){.rtt_ns = MS});
            expect(h, OUTCOME_OK, -1);
            check_i64(h->sample.phases_ns[PHASE_TTFB], MS);
        }
        check_u64(h->connects, 1);
        fake_fini(h);
    }
}

static void only_what_ends_a_flight_is_timed(void **state)
{
    (void)state;
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    h->take_max = 60;
    fake_begin(h, TIMEOUT);
    h->take_max = 0;
    h->is_stuck = true;
    fake_connected(h, 0);
    check_u64(h->sends, 0);
    check_true(probe_wants(&h->probe) & WANT_SEND);
    h->is_stuck = false;
    h->take_max = 60;
    h->is_tx_held = true;
    fake_step(h);
    check_u64(h->sends, 2);
    check_u64(h->tx_offset, 85);
    /* The stamp of the first piece is not the flight's. */
    probe_on_tx(&h->probe, 59, (struct stamp){.ns = 1, .source = STAMP_KERNEL});
    check_true(probe_needs_tx(&h->probe));
    fake_fini(h);
}

/* A stuck socket and a peer that goes on talking: answers to its pings pile
 * up in the session, and none of them is lost or torn. */
static void pings_are_answered_while_the_socket_is_stuck(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    answer(h, 1000);
    expect(h, OUTCOME_OK, -1);
    fake_serve(h);
    check_u64(h->server.answer.len, 0);
    h->is_stuck = true;
    for (int i = 0; i < 20; i++) {
        char payload[9];
        snprintf(payload, sizeof(payload), "ping %03d", i);
        hear_frame(h, PING, 0, 0, payload, 8);
    }
    fake_begin(h, TIMEOUT); /* a request behind them */
    check_u64(h->sends, 2);
    h->is_stuck = false;
    h->take_max = 7;
    fake_step(h);
    check_u64(h->probe.out_len, 0);
    check_true(h->probe.spill == NULL);

    /* Take the PING frames off the wire, the rest is the request. */
    for (int i = 0; i < 20; i++) {
        char want[17];
        snprintf(want, sizeof(want), "ping %03d", i);
        const uint8_t *frame = h->wire_bytes + (size_t)i * 17;
        check_u64(frame[3], PING);
        check_u64(frame[4], 1);
        assert_memory_equal(frame + 9, want, 8);
    }
    h->wire.len -= 20 * 17;
    memmove(h->wire_bytes, h->wire_bytes + (size_t)20 * 17, h->wire.len);
    answer(h, 3000);
    expect(h, OUTCOME_OK, -1);
    check_u64(h->connects, 1);
    fake_fini(h);
}

static void an_answer_before_the_question_is_refused(void **state)
{
    (void)state;
    /* It arrived before the request left. */
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    h->tx_delay_ns = 50 * US;
    fake_begin(h, TIMEOUT);
    fake_connected(h, 0);
    fake_at(h, 100);
    fake_text(h, OK_ANSWER, 50 * US - 1);
    expect(h, OUTCOME_HTTP_MALFORMED, PHASE_TTFB);
    check_text(h->sample.error, "answered before it was asked");
    fake_fini(h);

    h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
    h->tx_delay_ns = 50 * US;
    fake_begin(h, TIMEOUT);
    fake_connected(h, 0);
    fake_at(h, 100);
    fake_text(h, OK_ANSWER, 50 * US);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_TTFB], 0);
    fake_fini(h);

    /* It was read while the request had not left, or not all of it. */
    for (int is_stuck = 0; is_stuck < 2; is_stuck++) {
        h = host(&zoo.http, PROTOCOL_HTTP1, MODE_COLD);
        h->is_stuck = is_stuck;
        h->has_no_tx = true;
        fake_begin(h, TIMEOUT);
        fake_connected(h, 0);
        if (!is_stuck) { /* a byte is left */
            h->probe.flight_end++;
        }
        fake_text(h, OK_ANSWER, 0);
        expect(h, OUTCOME_HTTP_MALFORMED, PHASE_TTFB);
        fake_fini(h);
    }

    h = host(&zoo.grpc, PROTOCOL_GRPC, MODE_COLD);
    h->is_stuck = true;
    fake_begin(h, TIMEOUT);
    fake_connected(h, 0);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, HEADERS, 4, 1, "\x88", 1);
    expect(h, OUTCOME_H2_ERROR, PHASE_TTFB);
    fake_fini(h);
}

/* ---- warm ---- */

static void what_the_server_ends_is_not_kept(void **state)
{
    (void)state;
    static const char *const last_words[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK_ANSWER "HTTP/1.1 408 unasked\r\n",
    };
    for (size_t i = 0; i < 3; i++) {
        struct fake_host *h = asked(MODE_WARM);
        fake_text(h, last_words[i], 0);
        expect(h, OUTCOME_OK, -1);
        check_true(h->sample.is_reconnected);
        check_u64(h->closes, 1);
        fake_begin(h, TIMEOUT);
        check_u64(h->connects, 2);
        fake_fini(h);
    }
    /* A bad status is no reason to part. */
    struct fake_host *h = asked(MODE_WARM);
    fake_text(h, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 0);
    expect(h, OUTCOME_HTTP_STATUS, PHASE_TRANSFER);
    check_u64(h->closes, 0);
    fake_fini(h);
}

static void a_peer_that_goes_away_is_left(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    answer(h, 1000);
    expect(h, OUTCOME_OK, -1);
    check_u64(h->closes, 0);
    h2_server_shutdown(h->server.h2);
    answer(h, 2000);
    check_u64(h->closes, 1);
    check_u64(h->reports, 1);
    fake_begin(h, TIMEOUT);
    check_u64(h->connects, 2);
    fake_at(h, 3000);
    fake_connected(h, 1000);

    /* In the middle of an attempt it lets that one end. */
    fake_serve(h);
    wr_reset(&h->server.answer);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0", 8);
    check_u64(h->reports, 1);
    hear_frame(h, RST_STREAM, 0, 1, "\0\0\0\1", 4);
    expect(h, OUTCOME_H2_RESET, PHASE_TTFB);
    check_u64(h->closes, 2);
    fake_fini(h);

    /* No streams for us: nothing to hold it for. */
    h = asked_h2(MODE_WARM);
    answer(h, 1000);
    hear_frame(h, SETTINGS, 0, 0, "\0\3\0\0\0\0", 6);
    check_u64(h->closes, 1);
    fake_fini(h);
}

static void a_stream_reset_does_not_cost_the_connection(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    hear_frame(h, SETTINGS, 0, 0, "", 0);
    hear_frame(h, RST_STREAM, 0, 1, "\0\0\0\2", 4);
    expect(h, OUTCOME_H2_RESET, PHASE_TTFB);
    check_u64(h->closes, 0);
    check_u64(h->probe.state, PROBE_READY);
    fake_fini(h);
}

static void idle_http1_has_nothing_to_say(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_WARM);
    fake_text(h, OK_ANSWER, 0);
    fake_text(h, "HTTP/1.1 408 Request Timeout\r\n\r\n", 0);
    check_u64(h->closes, 1);
    check_u64(h->reports, 1);
    fake_fini(h);

    h = asked(MODE_WARM);
    fake_text(h, OK_ANSWER, 0);
    fake_error(h, ECONNRESET);
    check_u64(h->closes, 1);
    check_u64(h->reports, 1);
    fake_fini(h);

    h = host(&zoo.https, PROTOCOL_HTTP1, MODE_WARM);
    fake_serve_tls(h, zoo.server);
    fake_run(h, &(struct fake_talk){.rtt_ns = MS});
    tls_shutdown(h->server.tls); /* close_notify, the FIN may come later */
    fake_serve(h);
    fake_hear(h, SIZE_MAX, h->now_ns);
    check_u64(h->closes, 1);
    check_u64(h->reports, 1);
    fake_fini(h);

    h = host(&zoo.https, PROTOCOL_HTTP1, MODE_WARM);
    fake_serve_tls(h, zoo.server);
    fake_run(h, &(struct fake_talk){.rtt_ns = MS});
    fake_text(h, "this is no record", h->now_ns);
    check_u64(h->closes, 1);
    check_u64(h->reports, 1);
    fake_fini(h);
}

static void idle_http2_is_kept_alive(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    answer(h, 1000);
    check_u64(h->sends, 2); /* the peer's SETTINGS are acknowledged */
    fake_serve(h);
    hear_frame(h, PING, 0, 0, "12345678", 8);
    check_u64(h->sends, 3);
    check_u64(h->wire.len, 17);
    assert_memory_equal(h->wire_bytes + 3,
                        "\6\1\0\0\0\0"
                        "12345678",
                        14);
    check_true(strstr(fake_trace(h), "send h2\n") != NULL); /* not timed */
    fake_serve(h);
    fake_begin(h, TIMEOUT);
    answer(h, 2000);
    expect(h, OUTCOME_OK, -1);
    check_false(h->sample.is_reconnected);
    fake_text(h, "this is no frame at all", 0);
    check_u64(h->closes, 1);
    fake_fini(h);
}

/* The housekeeping that was sent while idle is not what an attempt waits on:
 * its wait begins with the last byte of its request. */
static void a_warm_flight_is_its_request(void **state)
{
    (void)state;
    struct fake_host *h = asked_h2(MODE_WARM);
    answer(h, 1000);
    fake_at(h, 5000);
    hear_frame(h, PING, 0, 0, "12345678", 8);
    fake_at(h, 7000);
    h->tx_delay_ns = 30 * US;
    fake_begin(h, TIMEOUT);
    answer(h, 9000);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.phases_ns[PHASE_TTFB], (2000 - 30) * US);
    check_i64(h->sample.phases_ns[PHASE_LOCAL], 30 * US);
    check_i64(h->sample.clock, STAMP_KERNEL);
    fake_fini(h);
}

static void warm_is_never_silently_cold(void **state)
{
    (void)state;
    /* A set-up that fails is the attempt's failure, and says so. */
    struct fake_host *h = host(&zoo.http, PROTOCOL_HTTP1, MODE_WARM);
    fake_begin(h, TIMEOUT);
    fake_at(h, 10);
    fake_error(h, ECONNREFUSED);
    expect(h, OUTCOME_CONNECT_REFUSED, PHASE_CONNECT);
    check_i64(h->sample.mode, MODE_WARM);
    check_false(h->sample.is_reconnected);
    fake_fini(h);

    /* Whatever became of the last connection, an attempt on a new one says
     * is_reconnected, and none of them has phases of a set-up. */
    struct rng rng;
    rng_seed(&rng, check_seed());
    h = host(&zoo.https, PROTOCOL_HTTP1, MODE_WARM);
    fake_serve_tls(h, zoo.server);
    unsigned connects = 0;
    for (int i = 0; i < 40; i++) {
        h->server.closes = rng_below(&rng, 4) == 0;
        fake_run(h, &(struct fake_talk){.rtt_ns = MS});
        expect(h, OUTCOME_OK, -1);
        check_u64(h->sample.is_reconnected, h->connects - connects);
        for (int phase = PHASE_DNS; phase <= PHASE_TLS; phase++)
            check_i64(h->sample.phases_ns[phase], SAMPLE_ABSENT);
        connects = h->connects;
        if (h->is_open && rng_below(&rng, 4) == 0)
            fake_eof(h);
    }
    check_true(connects > 3 && connects < 40);
    fake_fini(h);
}

/* CPU time of a handshake belongs to the attempt that made it. */
static uint64_t count_cpu(void)
{
    static uint64_t ns;
    return ns += 1000;
}

static void a_handshake_costs_the_attempt_that_made_it(void **state)
{
    (void)state;
    struct tls_context *counting = tls_client_context(
        &(struct tls_client_config){.is_insecure = true, .cpu_ns = count_cpu},
        NULL);
    struct target t = zoo.https;
    t.tls = counting;
    struct fake_host *h = host(&t, PROTOCOL_HTTP1, MODE_WARM);
    fake_serve_tls(h, zoo.server);
    fake_run(h, &(struct fake_talk){.rtt_ns = MS});
    check_true(h->sample.tls_cpu_ns > 0);
    check_text(h->sample.tls_version, "TLSv1.3");
    fake_run(h, &(struct fake_talk){.rtt_ns = MS});
    check_i64(h->sample.tls_cpu_ns, SAMPLE_ABSENT);
    check_text(h->sample.tls_version, "TLSv1.3");
    fake_fini(h);
    tls_context_close(counting);
}

/* ---- cancelling ---- */

static void an_attempt_can_be_cancelled_in_each_state(void **state)
{
    (void)state;
    static const int phases[] = {PHASE_DNS, PHASE_CONNECT, PHASE_TLS,
                                 PHASE_TTFB, PHASE_TRANSFER};
    for (int depth = 0; depth < 5; depth++) {
        struct fake_host *h = host(&zoo.https_name, PROTOCOL_HTTP1, MODE_COLD);
        fake_serve_tls(h, zoo.server);
        fake_begin(h, TIMEOUT);
        if (depth >= 1)
            fake_resolved(h, 0, 0);
        if (depth >= 2)
            fake_connected(h, 0);
        if (depth >= 3)
            answer(h, 1000);
        if (depth >= 4) {
            fake_serve(h);
            fake_hear(h, h->server.answer.len, 1000 * US);
            if (h->reports) { /* whole at once: again, cut */
                fake_fini(h);
                h = asked(MODE_COLD);
                fake_text(h, "HTTP/1.1 200", 0);
            }
        }
        fake_cancel(h);
        expect(h, OUTCOME_CANCELLED, phases[depth]);
        check_text(h->sample.error, "cancelled");
        check_u64(h->closes, depth >= 1);
        fake_cancel(h); /* nothing to cancel */
        check_u64(h->reports, 1);
        fake_fini(h);
    }

    /* Held, idle: there is no attempt. */
    struct fake_host *h = asked(MODE_WARM);
    fake_text(h, OK_ANSWER, 0);
    fake_cancel(h);
    check_u64(h->reports, 1);
    check_u64(h->closes, 0);
    fake_fini(h);
}

/* The end is taken late: whatever happens in between changes nothing. */
static void an_end_that_is_not_taken_yet_stands(void **state)
{
    (void)state;
    struct fake_host *h = asked(MODE_WARM);
    h->are_reports_held = true;
    fake_at(h, 100);
    fake_text(h, OK_ANSWER, 100 * US);
    fake_cancel(h);
    fake_deadline(h);
    fake_text(h, "unasked", 200 * US);
    fake_error(h, ECONNRESET);
    fake_eof(h);
    check_u64(h->closes, 1);
    h->are_reports_held = false;
    fake_step(h);
    expect(h, OUTCOME_OK, -1);
    check_i64(h->sample.total_ns, 100 * US);
    fake_fini(h);
}

/* ---- hostile streams ---- */

struct kind {
    const struct target *target;
    enum probe_protocol protocol;
    struct tls_context **server; /* NULL: plain */
};

static const struct kind kinds[] = {
    {&zoo.http_name, PROTOCOL_HTTP1, NULL},
    {&zoo.grpc, PROTOCOL_GRPC, NULL},
    {&zoo.https, PROTOCOL_HTTP1, &zoo.server},
    {&zoo.https, PROTOCOL_HTTP1, &zoo.server12},
    {&zoo.grpcs, PROTOCOL_GRPC, &zoo.server},
    {&zoo.grpcs, PROTOCOL_GRPC, &zoo.server_retry},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct fake_host *host_of_kind(size_t i, enum probe_mode mode)
{
    struct fake_host *h = host(kinds[i].target, kinds[i].protocol, mode);
    if (kinds[i].server)
        fake_serve_tls(h, *kinds[i].server);
    return h;
}

static size_t stream_length(size_t kind)
{
    struct fake_host *h = host_of_kind(kind, MODE_COLD);
    size_t n = fake_run(h, &(struct fake_talk){.rtt_ns = MS, .dns_ns = MS});
    expect(h, OUTCOME_OK, -1);
    fake_fini(h);
    return n;
}

/* The length of a TLS stream differs by some bytes from run to run, as
 * signatures do: so near its end a cut may not cut any more. */
static void a_stream_cut_at_any_byte_is_a_failure(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        size_t n = stream_length(i);
        size_t slack = kinds[i].server ? 12 : 0;
        for (size_t cut = 1; cut < n - slack; cut++) {
            struct fake_host *h = host_of_kind(i, (enum probe_mode)(cut % 2));
            fake_run(
                h, &(struct fake_talk){.rtt_ns = MS,
                                       .dns_ns = MS,
                                       .cut = cut,
                                       .cut_error = cut % 3 ? 0 : ECONNRESET});
            check_u64(h->sample.outcome, cut % 3 ? OUTCOME_EOF : OUTCOME_RESET);
            check_true(h->sample.failed_phase >= PHASE_TLS);
            check_u64(h->closes, 1);
            fake_fini(h);
        }
    }
}

/* Of a byte turned into another the worst is a wrong failure: TLS lets no
 * change pass, HTTP/1.1 and plain HTTP/2 may not notice a letter. */
static void no_changed_byte_breaks_anything(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        size_t n = stream_length(i);
        for (size_t flip = 1; flip < n; flip += kinds[i].server ? 3 : 1) {
            struct fake_host *h = host_of_kind(i, (enum probe_mode)(flip % 2));
            fake_run(h, &(struct fake_talk){
                            .rtt_ns = MS, .dns_ns = MS, .flip = flip});
            check_u64(h->reports, 1);
            fake_fini(h);
        }
    }
}

/* ---- random talks ---- */

static void any_talk_adds_up(void **state)
{
    (void)state;
    struct rng rng;
    unsigned ok = 0;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 1500; round++) {
        enum probe_mode mode = (enum probe_mode)rng_below(&rng, MODE_N);
        struct fake_host *h =
            host_of_kind((size_t)rng_below(&rng, KINDS), mode);
        h->now_ns = rng_below(&rng, 1000 * SEC);
        h->has_no_tx = rng_below(&rng, 5) == 0;
        h->tx_delay_ns = rng_below(&rng, 2) * 10 * US;
        h->take_max =
            rng_below(&rng, 3) == 0 ? 1 + (size_t)rng_below(&rng, 200) : 0;
        int attempts = mode == MODE_WARM ? 4 : 1;
        for (int i = 0; i < attempts; i++) {
            uint64_t began_ns = h->now_ns;
            unsigned reports = h->reports;
            h->server.facts.is_draining = rng_below(&rng, 10) == 0;
            struct fake_talk talk = {
                .rtt_ns = rng_below(&rng, 20) == 0 ? SEC : 3 * MS,
                .dns_ns = 2 * MS,
                .busy_ns = rng_below(&rng, 5) == 0 ? 700 * MS : 50 * US,
                .cut = rng_below(&rng, 4) == 0
                           ? 1 + (size_t)rng_below(&rng, 1500)
                           : 0,
                .rng = &rng,
            };
            fake_run(h, &talk);
            const struct sample *s = &h->sample;
            check_u64(h->reports, reports + 1);
            ok += s->outcome == OUTCOME_OK;
            for (int phase = 0; phase < PHASE_N; phase++)
                check_true(s->phases_ns[phase] >= SAMPLE_ABSENT);
            if (s->outcome == OUTCOME_OK)
                check_i64(sample_sum_ns(s), s->total_ns);
            else
                check_i64(s->total_ns, SAMPLE_ABSENT);
            /* What was measured happened while the attempt ran. */
            check_true((uint64_t)sample_sum_ns(s) <=
                       h->now_ns - began_ns + h->tx_delay_ns);
            check_true(!h->has_no_tx || s->clock == STAMP_USER ||
                       s->outcome != OUTCOME_OK);
            h->now_ns += rng_below(&rng, SEC);
        }
        fake_fini(h);
    }
    check_true(ok > 500);
}

/* ---- who may be dialled ---- */

/* Denies one address, and remembers what it was asked. */
struct judge {
    struct addr denied; /* with its port */
    unsigned asked;
    struct addr last;
};

static bool judge_address(const void *arg, const struct addr *a)
{
    struct judge *j = (struct judge *)(uintptr_t)arg;
    j->asked++;
    j->last = *a;
    return !addr_equal(a, &j->denied);
}

static struct target judged(const struct target *t, struct judge *j)
{
    struct target copy = *t;
    copy.dial = (struct target_dial){judge_address, j};
    return copy;
}

#define ANSWERS_N 16

static void make_answers(struct addr answers[ANSWERS_N])
{
    for (unsigned i = 0; i < ANSWERS_N; i++)
        answers[i] = (struct addr){.family = ADDR_V4,
                                   .port = 9, /* nobody's */
                                   .ip = {10, 0, 0, (uint8_t)(10 + i)}};
}

static void check_refused(struct fake_host *h, enum probe_outcome outcome,
                          int phase)
{
    expect(h, outcome, phase);
    check_text(h->sample.error, "address denied by policy");
    check_u64(h->connects, 0);
    check_u64(h->sends, 0);
    check_false(h->is_open);
    check_u64(h->sample.peer.family, ADDR_NONE);
}

static void a_denied_answer_is_not_dialled(void **state)
{
    (void)state;
    struct judge j = {.denied = {ADDR_V4, 80, {10, 0, 0, 7}}};
    struct target t = judged(&zoo.http_name, &j);
    struct fake_host *h = host(&t, PROTOCOL_HTTP1, MODE_COLD);
    fake_begin(h, TIMEOUT);
    check_u64(j.asked, 0);
    fake_at(h, 1100);
    fake_resolved(h, 50 * US, 1050 * US);
    check_text(fake_trace(h),
               "[       0us] begin\n"
               "[       0us] resolve a.test\n"
               "[    1100us] resolved\n"
               "[    1100us] report dns_error in dns dns=1000us\n");
    check_refused(h, OUTCOME_DNS_ERROR, PHASE_DNS);
    check_u64(j.asked, 1);
    fake_fini(h);
}

/* At whatever place among the others it stands. */
static void one_denied_answer_refuses_them_all(void **state)
{
    (void)state;
    struct addr answers[ANSWERS_N];
    make_answers(answers);
    for (unsigned i = 0; i < ANSWERS_N; i++) {
        struct judge j = {.denied = answers[i]};
        j.denied.port = 443;
        struct target t = judged(&zoo.https_name, &j);
        struct fake_host *h = host(&t, PROTOCOL_HTTP1, MODE_COLD);
        h->answers = answers;
        h->n_answers = ANSWERS_N;
        fake_begin(h, TIMEOUT);
        fake_resolved(h, 0, 0);
        check_refused(h, OUTCOME_DNS_ERROR, PHASE_DNS);
        check_u64(j.asked, i + 1);
        fake_fini(h);
    }
}

/* Each with the port that would be dialled. */
static void all_answers_are_judged_and_the_first_is_dialled(void **state)
{
    (void)state;
    struct addr answers[ANSWERS_N];
    struct judge j = {.denied = {.family = ADDR_NONE}};
    struct target t = judged(&zoo.grpc_name, &j);
    struct fake_host *h = host(&t, PROTOCOL_GRPC, MODE_COLD);
    make_answers(answers);
    h->answers = answers;
    h->n_answers = ANSWERS_N;
    fake_begin(h, TIMEOUT);
    fake_resolved(h, 0, 0);
    check_u64(j.asked, ANSWERS_N);
    check_u64(j.last.port, 7443);
    check_u64(j.last.ip[3], 10 + ANSWERS_N - 1);
    check_u64(h->connects, 1);
    check_u64(probe_peer(&h->probe)->port, 7443);
    check_u64(probe_peer(&h->probe)->ip[3], 10);
    fake_cancel(h);
    fake_fini(h);
}

static void a_denied_literal_is_not_dialled(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < MODE_N; mode++) {
        struct judge j = {.denied = {ADDR_V4, 80, {10, 0, 0, 1}}};
        struct target t = judged(&zoo.http, &j);
        struct fake_host *h = host(&t, PROTOCOL_HTTP1, (enum probe_mode)mode);
        fake_begin(h, TIMEOUT);
        check_refused(h, OUTCOME_LOCAL_RESOURCE, PHASE_CONNECT);
        check_u64(j.asked, 1);
        /* The next attempt asks anew. */
        j.denied.port = 81;
        fake_begin(h, TIMEOUT);
        check_u64(j.asked, 2);
        check_u64(h->connects, 1);
        fake_cancel(h);
        fake_fini(h);
    }
}

/* A held connection was judged when it was made; whoever moves the name in the
 * meantime is judged when it is made again. */
static void a_name_that_moved_is_judged_again(void **state)
{
    (void)state;
    static const struct addr good = {ADDR_V4, 0, {10, 0, 0, 9}};
    static const struct addr bad = {ADDR_V4, 0, {169, 254, 169, 254}};
    struct judge j = {.denied = {ADDR_V4, 80, {169, 254, 169, 254}}};
    struct target t = judged(&zoo.http_name, &j);
    struct fake_host *h = host(&t, PROTOCOL_HTTP1, MODE_WARM);
    h->answers = &good;
    h->n_answers = 1;
    fake_begin(h, TIMEOUT);
    fake_resolved(h, 0, 0);
    fake_connected(h, 0);
    answer(h, 10);
    expect(h, OUTCOME_OK, -1);
    fake_begin(h, TIMEOUT);
    answer(h, 20);
    expect(h, OUTCOME_OK, -1);
    check_u64(j.asked, 1);
    check_u64(h->connects, 1);
    fake_eof(h);
    h->answers = &bad;
    fake_begin(h, TIMEOUT);
    fake_resolved(h, 20 * US, 20 * US);
    expect(h, OUTCOME_DNS_ERROR, PHASE_DNS);
    check_text(h->sample.error, TARGET_DENIAL);
    check_u64(j.asked, 2);
    check_u64(h->connects, 1);
    fake_fini(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_denied_answer_is_not_dialled),
        cmocka_unit_test(one_denied_answer_refuses_them_all),
        cmocka_unit_test(all_answers_are_judged_and_the_first_is_dialled),
        cmocka_unit_test(a_denied_literal_is_not_dialled),
        cmocka_unit_test(a_name_that_moved_is_judged_again),
        cmocka_unit_test(plain_http_goes_through_its_phases),
        cmocka_unit_test(tls13_has_one_wait),
        cmocka_unit_test(tls12_has_two_waits),
        cmocka_unit_test(a_retried_hello_waits_twice),
        cmocka_unit_test(grpc_over_tls_says_what_serves),
        cmocka_unit_test(an_old_query_is_not_ours),
        cmocka_unit_test(warm_connects_once_and_outside_the_sample),
        cmocka_unit_test(a_held_connection_that_ended_is_made_anew),
        cmocka_unit_test(a_timeout_is_told_by_the_deadline),
        cmocka_unit_test(phases_are_differences_of_stamps),
        cmocka_unit_test(a_stamp_that_comes_with_the_answer_still_counts),
        cmocka_unit_test(a_missing_stamp_makes_it_the_user_clock),
        cmocka_unit_test(each_edge_of_a_wait_has_its_clock),
        cmocka_unit_test(an_answer_before_we_began_takes_no_time),
        cmocka_unit_test(connect_is_the_kernels_round_trip_unless_resent),
        cmocka_unit_test(an_answer_in_time_counts_however_late_it_is_read),
        cmocka_unit_test(an_answer_too_late_is_a_timeout_even_before_the_timer),
        cmocka_unit_test(time_that_passed_in_our_hands_is_starvation),
        cmocka_unit_test(in_time_but_too_late_to_go_on_is_starvation),
        cmocka_unit_test(a_slow_set_up_does_not_excuse_a_slow_answer),
        cmocka_unit_test(a_deadline_names_what_was_waited_for),
        cmocka_unit_test(names_that_do_not_resolve_say_why),
        cmocka_unit_test(errors_of_the_socket_are_sorted_by_state),
        cmocka_unit_test(certificates_are_judged),
        cmocka_unit_test(grpc_needs_h2_and_http1_does_not_ask),
        cmocka_unit_test(alerts_and_noise_end_a_handshake),
        cmocka_unit_test(an_alert_behind_the_handshake_is_an_alert),
        cmocka_unit_test(responses_are_judged),
        cmocka_unit_test(an_error_text_fits_the_outcome),
        cmocka_unit_test(a_stream_cut_without_close_notify_is_an_eof),
        cmocka_unit_test(the_first_byte_counts_be_it_interim),
        cmocka_unit_test(server_time_is_read_from_header_and_trailer),
        cmocka_unit_test(grpc_answers_are_judged_from_the_outside_in),
        cmocka_unit_test(http2_ends_are_told_apart),
        cmocka_unit_test(settings_do_not_begin_a_response),
        cmocka_unit_test(a_body_without_end_is_an_error_and_no_timeout),
        cmocka_unit_test(a_question_held_back_by_the_peer_is_asked),
        cmocka_unit_test(a_ping_in_between_is_answered_and_moves_nothing),
        cmocka_unit_test(a_young_connection_is_not_chatty),
        cmocka_unit_test(a_request_may_leave_in_any_pieces),
        cmocka_unit_test(a_session_may_be_sent_in_any_pieces),
        cmocka_unit_test(only_what_ends_a_flight_is_timed),
        cmocka_unit_test(pings_are_answered_while_the_socket_is_stuck),
        cmocka_unit_test(an_answer_before_the_question_is_refused),
        cmocka_unit_test(what_the_server_ends_is_not_kept),
        cmocka_unit_test(a_peer_that_goes_away_is_left),
        cmocka_unit_test(a_stream_reset_does_not_cost_the_connection),
        cmocka_unit_test(idle_http1_has_nothing_to_say),
        cmocka_unit_test(idle_http2_is_kept_alive),
        cmocka_unit_test(a_warm_flight_is_its_request),
        cmocka_unit_test(warm_is_never_silently_cold),
        cmocka_unit_test(a_handshake_costs_the_attempt_that_made_it),
        cmocka_unit_test(an_attempt_can_be_cancelled_in_each_state),
        cmocka_unit_test(an_end_that_is_not_taken_yet_stands),
        cmocka_unit_test(a_stream_cut_at_any_byte_is_a_failure),
        cmocka_unit_test(no_changed_byte_breaks_anything),
        cmocka_unit_test(any_talk_adds_up),
    };
    return cmocka_run_group_tests_name("probe", tests, set_up, tear_down);
}
