#include "prober/target.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/grpc.h"
#include "test/check.h"

/* Only ever compared. */
static struct tls_context *some_tls(void)
{
    static char object;
    return (struct tls_context *)(void *)&object;
}

static struct target *make(const char *text, const char *service)
{
    static struct target t; /* one at a time */
    struct errmsg msg = {""};
    struct url url;

    check_i64(url_parse(&url, text, &msg), 0);
    target_fini(&t);
    check_i64(target_init(&t, &url, service, some_tls(), &msg), 0);
    check_text(msg.text, "");
    return &t;
}

static void check_refused(const char *text, const char *service, int err,
                          const char *why)
{
    struct errmsg msg = {""};
    struct target t;
    struct url url;

    check_i64(url_parse(&url, text, &msg), 0);
    check_i64(target_init(&t, &url, service, some_tls(), &msg), err);
    check_text(msg.text, why);
}

static void check_address(const struct target *t, const char *want)
{
    char text[ADDR_TEXT_SIZE];

    check_text(addr_format(&t->address, text), want);
}

static bool contains(const char *request, size_t len, const char *line)
{
    return memmem(request, len, line, strlen(line)) != NULL;
}

static void has_requests_ready_for_the_wire(void **state)
{
    (void)state;
    const struct target *t = make("https://b-1.mesh.test:7443/probe?x=1", NULL);
    static const char line[] = "GET /probe?x=1 HTTP/1.1\r\n";
    static const char host[] = "b-1.mesh.test:7443\r\n";

    check_text(t->text, "https://b-1.mesh.test:7443/probe?x=1");
    check_text(t->authority, "b-1.mesh.test:7443");
    check_true(!memcmp(t->request, line, sizeof line - 1));
    check_true(contains(t->request, t->request_len, host));
    check_true(!memcmp(t->request + t->request_len - 4, "\r\n\r\n", 4));
    check_u64(t->ip_first, 4);
    check_false(t->has_fingerprint);
}

static void leaves_closing_to_us(void **state)
{
    (void)state;
    const struct target *t = make("http://h/", NULL);

    check_false(contains(t->request, t->request_len, "close"));
}

static void carries_the_framed_health_request(void **state)
{
    (void)state;
    const struct target *t = make("grpcs://h:50051", "ab");
    /* flag, length 4, field 1 of type 2, length 2, "ab" */
    static const uint8_t want[] = {0, 0, 0, 0, 4, 0x0a, 2, 'a', 'b'};

    check_text(t->text, "grpcs://h:50051");
    check_u64(t->grpc_body_len, sizeof want);
    check_true(!memcmp(t->grpc_body, want, sizeof want));

    t = make("grpc://h:50051", NULL);
    check_u64(t->grpc_body_len, 5);
}

static void keeps_a_tls_context_only_for_tls(void **state)
{
    (void)state;
    check_true(make("https://h/", NULL)->tls == some_tls());
    check_true(make("grpcs://h:1", NULL)->tls == some_tls());
    check_true(make("http://h/", NULL)->tls == NULL);
    check_true(make("grpc://h:1", NULL)->tls == NULL);
}

static void dials_a_literal_without_dns(void **state)
{
    (void)state;
    const struct target *t = make("https://[2001:db8::1]:7443/probe", NULL);

    check_address(t, "[2001:db8::1]:7443");
    check_text(t->authority, "[2001:db8::1]:7443");
    check_text(t->text, "https://[2001:db8::1]:7443/probe");
    check_address(make("http://127.0.0.1/", NULL), "127.0.0.1:80");
    check_address(make("http://name/", NULL), "-");
}

static void takes_what_is_longest(void **state)
{
    (void)state;
    char text[16 + URL_HOST_MAX + 8 + URL_PATH_MAX + 1], host[URL_HOST_MAX + 1];
    char path[URL_PATH_MAX + 1], service[TARGET_SERVICE_MAX + 2];
    struct target *t;

    memset(host, 'a', sizeof host - 1);
    for (size_t i = 50; i < sizeof host - 2; i += 50)
        host[i] = '.';
    host[sizeof host - 1] = '\0';
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    snprintf(text, sizeof text, "https://%s:65535%s", host, path);
    t = make(text, NULL);
    check_text(t->text, text);
    check_true(t->request_len < TARGET_REQUEST_MAX);

    memset(service, 's', sizeof service - 1);
    service[sizeof service - 1] = '\0';
    check_refused("grpc://h:1", service, ERR_TOOBIG,
                  "service name is longer than 128 bytes");
    service[TARGET_SERVICE_MAX] = '\0';
    t = make("grpc://h:1", service);
    check_u64(t->grpc_body_len, 5 + 3 + TARGET_SERVICE_MAX);
}

static void refuses_what_would_not_be_probed(void **state)
{
    (void)state;
    check_refused("grpc://h:1/pkg.Service/Method", NULL, ERR_BAD,
                  "grpc:// takes no path; a health service is named apart");
    check_refused("grpcs://h:1/?q", NULL, ERR_BAD,
                  "grpcs:// takes no path; a health service is named apart");
    check_refused("grpc://h:1", "a\nb", ERR_BAD,
                  "service name has byte 0x0a at 1");
    check_refused("grpc://h:1", "a\xc3\xa4", ERR_BAD,
                  "service name has byte 0xc3 at 1");
    check_refused("grpc://h:1", "\x7f", ERR_BAD,
                  "service name has byte 0x7f at 0");
}

/* The address that the hosts text gives, "-" if none. */
static void check_hosts(const char *url, unsigned ip_first, const char *hosts,
                        const char *want)
{
    struct target *t = make(url, NULL);
    bool is_literal = t->address.family != ADDR_NONE;

    t->ip_first = (uint8_t)ip_first;
    bool was_set = target_use_hosts(t, hosts, strlen(hosts));
    check_address(t, want);
    check_true(was_set == (!is_literal && strcmp(want, "-") != 0));
}

static void finds_names_in_a_hosts_file(void **state)
{
    (void)state;
    static const char hosts[] = "# 1.1.1.1 commented\n"
                                "127.0.0.1\tlocalhost loop\n"
                                "\n"
                                "   10.0.0.1   one  ONE.example. # two\r\n"
                                "10.0.0.2 one\n"
                                "::2 one six\n"
                                "10.0.0.999 broken\n"
                                "10.0.0.3 broken\n"
                                "10.0.0.4\n"
                                "fe80::1%eth0 scoped\n"
                                "10.0.0.5 #hidden\n"
                                "10.0.0.6 last";

    check_hosts("http://one/", 4, hosts, "10.0.0.1:80");
    check_hosts("http://one:81/", 6, hosts, "[::2]:81");
    check_hosts("http://six/", 4, hosts, "[::2]:80");
    check_hosts("http://loop/", 6, hosts, "127.0.0.1:80");
    check_hosts("http://one.EXAMPLE/", 4, hosts, "10.0.0.1:80");
    check_hosts("http://broken/", 4, hosts, "10.0.0.3:80");
    check_hosts("http://last/", 4, hosts, "10.0.0.6:80");
    check_hosts("http://two/", 4, hosts, "-");
    check_hosts("http://hidden/", 4, hosts, "-");
    check_hosts("http://commented/", 4, hosts, "-");
    check_hosts("http://scoped/", 4, hosts, "-");
    check_hosts("http://on/", 4, hosts, "-");
    check_hosts("http://10.9.9.9/", 4, "10.0.0.1 10.9.9.9\n", "10.9.9.9:80");
}

static void localhost_is_loopback_without_a_file(void **state)
{
    (void)state;
    check_hosts("http://localhost:7070/", 4, "", "127.0.0.1:7070");
    check_hosts("http://LocalHost/", 6, "", "[::1]:80");
    check_hosts("http://a.localhost/", 4, "", "127.0.0.1:80");
    check_hosts("http://notlocalhost/", 4, "", "-");
    check_hosts("http://localhost.test/", 4, "", "-");
    check_hosts("http://localhost/", 4, "127.0.0.9 localhost", "127.0.0.9:80");
}

/* Random lines of the characters that matter: nothing breaks, and what is
 * found is always an address that stands in the text. */
static void survives_any_hosts_file(void **state)
{
    (void)state;
    static const char alphabet[] = "one1.2:#  \t\n\n\r\0";
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)rng_below(&rng, 60);
        /* On the heap and exact, so that a sanitizer sees the edge. */
        char *text = malloc(len + 1);
        struct target *t = make("http://one/", NULL);

        check_true(text != NULL);
        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[rng_below(&rng, sizeof alphabet)];
        char *exact = realloc(text, len ? len : 1);
        if (target_use_hosts(t, exact, len))
            check_true(memmem(exact, len, "one", 3) != NULL);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_requests_ready_for_the_wire),
        cmocka_unit_test(leaves_closing_to_us),
        cmocka_unit_test(carries_the_framed_health_request),
        cmocka_unit_test(keeps_a_tls_context_only_for_tls),
        cmocka_unit_test(dials_a_literal_without_dns),
        cmocka_unit_test(takes_what_is_longest),
        cmocka_unit_test(refuses_what_would_not_be_probed),
        cmocka_unit_test(finds_names_in_a_hosts_file),
        cmocka_unit_test(localhost_is_loopback_without_a_file),
        cmocka_unit_test(survives_any_hosts_file),
    };
    return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
