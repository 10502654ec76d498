/* How often the engine's own code allocates while it probes. Our calls of
 * malloc and the like are wrapped by the linker (those of libraries are not),
 * in this program alone. */
#include "test/fake_host.h"

#include <stdio.h>
#include <stdlib.h>

#include "test/check.h"

#define ROUNDS 10000

static unsigned long calls;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);
int __real_vasprintf(char **to, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **to, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    calls++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    calls++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    calls++;
    return __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    calls++;
    return __real_reallocarray(p, n, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    calls++;
    return __real_aligned_alloc(align, size);
}

char *__wrap_strdup(const char *text)
{
    calls++;
    return __real_strdup(text);
}

int __wrap_vasprintf(char **to, const char *format, va_list ap)
{
    calls++;
    return __real_vasprintf(to, format, ap);
}

static struct fake_host world;

static void make_target(struct target *t, const char *url,
                        struct tls_context *tls)
{
    struct url u;
    check_i64(url_parse(&u, url, NULL), 0);
    check_i64(target_init(t, &u, NULL, tls, NULL), 0);
}

/* Allocations of `rounds` attempts, the first one not counted. */
static unsigned long count(enum probe_mode mode, size_t take_max, size_t piece,
                           int rounds)
{
    struct fake_host *h = &world;
    struct target t;
    make_target(&t, "http://a.test/probe", NULL);
    fake_init(h, &t, PROTOCOL_HTTP1, mode);
    h->take_max = take_max;
    const struct fake_talk talk = {
        .rtt_ns = MS, .dns_ns = MS, .busy_ns = 10 * US, .piece = piece};
    fake_run(h, &talk);
    unsigned long before = calls;
    for (int i = 0; i < rounds; i++) {
        fake_run(h, &talk);
        if (h->sample.outcome != OUTCOME_OK)
            break;
    }
    unsigned long after = calls;
    check_u64(h->reports, (unsigned)rounds + 1);
    check_u64(h->sample.outcome, OUTCOME_OK);
    fake_fini(h);
    target_fini(&t);
    return after - before;
}

static void counting_counts(void **state)
{
    (void)state;
    unsigned long before = calls;
    struct target t;
    make_target(&t, "http://a.test/probe", NULL);
    check_true(calls > before);
    target_fini(&t);
}

static void cold_probes_over_plain_http_allocate_nothing(void **state)
{
    (void)state;
    check_u64(count(MODE_COLD, 0, 0, ROUNDS), 0);
}

static void warm_probes_over_plain_http_allocate_nothing(void **state)
{
    (void)state;
    check_u64(count(MODE_WARM, 0, 0, ROUNDS), 0);
}

static void nor_do_they_when_bytes_go_and_come_in_pieces(void **state)
{
    (void)state;
    check_u64(count(MODE_COLD, 13, 5, 1000), 0);
    check_u64(count(MODE_WARM, 13, 5, 1000), 0);
}

/* The sessions of TLS and HTTP/2 are third-party memory with a shell of ours
 * around it: a bound, so that it does not grow unseen. */
static void sessions_cost_a_bounded_number(void **state)
{
    (void)state;
    struct tls_context *server = tls_server_context(
        &(struct tls_server_config){.name = "a.test",
                                    .now_unix_s = FAKE_UNIX_S},
        NULL);
    struct tls_context *client = tls_client_context(
        &(struct tls_client_config){.is_insecure = true}, NULL);
    struct target t;
    make_target(&t, "grpcs://10.0.0.1:7443", client);
    for (int mode = 0; mode < MODE_N; mode++) {
        struct fake_host *h = &world;
        fake_init(h, &t, PROTOCOL_GRPC, (enum probe_mode)mode);
        fake_serve_tls(h, server);
        const struct fake_talk talk = {.rtt_ns = MS};
        fake_run(h, &talk);
        unsigned long before = calls;
        for (int i = 0; i < 20; i++)
            fake_run(h, &talk);
        check_u64(h->sample.outcome, OUTCOME_OK);
        /* Both ends of the talk are ours here. */
        check_true(calls - before <= 20 * (mode == MODE_COLD ? 30 : 12));
        fake_fini(h);
    }
    target_fini(&t);
    tls_context_close(client);
    tls_context_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counting_counts),
        cmocka_unit_test(cold_probes_over_plain_http_allocate_nothing),
        cmocka_unit_test(warm_probes_over_plain_http_allocate_nothing),
        cmocka_unit_test(nor_do_they_when_bytes_go_and_come_in_pieces),
        cmocka_unit_test(sessions_cost_a_bounded_number),
    };
    return cmocka_run_group_tests_name("probe_memory", tests, NULL, NULL);
}
