/* Vectors made by protoc 3.21.12 from proto/health.proto, e.g.
 *
 *   echo 'status: SERVING' | protoc -Iproto proto/health.proto \
 *       --encode=grpc.health.v1.HealthCheckResponse | xxd -p
 *
 * test/system/check_protoc.py asks protoc anew, both ways. */
#include "proto/grpc.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SECOND_NS 1000000000ull

#define check_bytes(got, len, literal) \
    check_bytes_at((got), (len), (literal), sizeof(literal) - 1)

static void check_bytes_at(const void *got, size_t got_len, const void *want,
                           size_t len)
{
    check_u64(got_len, len);
    check_true(memcmp(got, want, len) == 0);
}

static void requests_are_what_protoc_writes(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    grpc_write_health_request(&w, "probe");
    check_bytes(bytes, w.len, "\0\0\0\0\x07\x0a\x05probe");

    wr_reset(&w);
    grpc_write_health_request(&w, "");
    check_bytes(bytes, w.len, "\0\0\0\0\0");

    wr_reset(&w);
    grpc_write_health_request(&w, "mesh.probe.v1.Probe");
    check_bytes(bytes, w.len, "\0\0\0\0\x15\x0a\x13mesh.probe.v1.Probe");
}

static void the_longest_service_name_fits(void **state)
{
    (void)state;
    char name[GRPC_SERVICE_MAX + 1];
    memset(name, 'x', GRPC_SERVICE_MAX);
    name[GRPC_SERVICE_MAX] = '\0';
    uint8_t bytes[256];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    grpc_write_health_request(&w, name);
    check_u64(w.len, 5 + 3 + GRPC_SERVICE_MAX);

    char got[GRPC_SERVICE_MAX + 1];
    check_i64(grpc_read_health_request(bytes + 5, w.len - 5, got), 0);
    check_text(got, name);
}

static void responses_are_what_protoc_writes(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    grpc_write_health_response(&w, GRPC_SERVING_UNKNOWN);
    check_bytes(bytes, w.len, "\0\0\0\0\0");
    wr_reset(&w);
    grpc_write_health_response(&w, GRPC_SERVING);
    check_bytes(bytes, w.len, "\0\0\0\0\x02\x08\x01");
    wr_reset(&w);
    grpc_write_health_response(&w, GRPC_NOT_SERVING);
    check_bytes(bytes, w.len, "\0\0\0\0\x02\x08\x02");
    wr_reset(&w);
    grpc_write_health_response(&w, GRPC_SERVICE_UNKNOWN);
    check_bytes(bytes, w.len, "\0\0\0\0\x02\x08\x03");
}

#define read_request(literal, service)                                        \
    grpc_read_health_request((const uint8_t *)(literal), sizeof(literal) - 1, \
                             (service))
#define read_response(literal, serving)                                        \
    grpc_read_health_response((const uint8_t *)(literal), sizeof(literal) - 1, \
                              (serving))

static void reads_requests_as_protoc_does(void **state)
{
    (void)state;
    char service[GRPC_SERVICE_MAX + 1] = "stale";
    check_i64(read_request("", service), 0);
    check_text(service, "");
    check_i64(read_request("\x0a\x05probe", service), 0);
    check_text(service, "probe");
    /* The last one counts; unknown fields and other types are skipped. */
    check_i64(read_request("\x0a\x01x\x0a\x01y", service), 0);
    check_text(service, "y");
    check_i64(read_request("\x12\x01z\x0a\x01y\x08\x07\x1d....", service), 0);
    check_text(service, "y");
}

static void a_bad_request_leaves_the_service_alone(void **state)
{
    (void)state;
    char service[GRPC_SERVICE_MAX + 1] = "stale";
    check_i64(read_request("\x0a\x03"
                           "a\0b",
                           service),
              ERR_BAD);
    check_i64(read_request("\x0a\x05prob", service), ERR_TRUNC);
    check_i64(read_request("\x0b\x0c", service), ERR_BAD);
    uint8_t long_name[3 + GRPC_SERVICE_MAX + 1] = {0x0a, 0x81, 0x01};
    memset(long_name + 3, 'x', sizeof(long_name) - 3);
    check_i64(grpc_read_health_request(long_name, sizeof(long_name), service),
              ERR_TOOBIG);
    check_text(service, "stale");
}

static void reads_responses_as_protoc_does(void **state)
{
    (void)state;
    int serving = 99;
    check_i64(read_response("", &serving), 0);
    check_i64(serving, GRPC_SERVING_UNKNOWN);
    check_i64(read_response("\x08\x01", &serving), 0);
    check_i64(serving, GRPC_SERVING);
    check_i64(read_response("\x08\x01\x08\x02", &serving), 0);
    check_i64(serving, GRPC_NOT_SERVING);
    check_i64(read_response("\x08\x01\x0a\x01x", &serving), 0);
    check_i64(serving, GRPC_SERVING);
    check_i64(read_response("\x08\xac\x02", &serving), 0);
    check_i64(serving, 300);
    check_i64(
        read_response("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &serving),
        0);
    check_i64(serving, -1);
    check_i64(read_response("\x08", &serving), ERR_TRUNC);
    check_i64(read_response("\x00\x01", &serving), ERR_BAD);
    check_i64(serving, -1);
}

static int read_frame(const char *bytes, size_t len, size_t *message_len)
{
    const uint8_t *message = NULL;
    *message_len = 12345;
    int err =
        grpc_read_frame((const uint8_t *)bytes, len, &message, message_len);
    if (err) {
        check_true(message == NULL); /* untouched */
        check_u64(*message_len, 12345);
    } else {
        check_true(message == (const uint8_t *)bytes + 5);
    }
    return err;
}

static void a_frame_fills_its_bytes_exactly(void **state)
{
    (void)state;
    size_t n;
    check_i64(read_frame("\0\0\0\0\x02"
                         "ab",
                         7, &n),
              0);
    check_u64(n, 2);
    check_i64(read_frame("\0\0\0\0\0", 5, &n), 0);
    check_u64(n, 0);
    for (size_t cut = 0; cut < 7; cut++)
        check_i64(read_frame("\0\0\0\0\x02"
                             "ab",
                             cut, &n),
                  ERR_TRUNC);
    check_i64(read_frame("\0\0\0\0\x02"
                         "abc",
                         8, &n),
              ERR_BAD);
    check_i64(read_frame("\x01\0\0\0\x02"
                         "ab",
                         7, &n),
              ERR_BAD);
    check_i64(read_frame("\x80\0\0\0\x02"
                         "ab",
                         7, &n),
              ERR_BAD);
}

static void the_message_limit_is_exact(void **state)
{
    (void)state;
    static char bytes[5 + GRPC_MESSAGE_MAX + 1] = {0, 0, 0, 0x10, 0x00};
    size_t n;
    check_i64(read_frame(bytes, 5 + GRPC_MESSAGE_MAX, &n), 0);
    check_u64(n, GRPC_MESSAGE_MAX);
    bytes[4] = 1;
    check_i64(read_frame(bytes, 5 + GRPC_MESSAGE_MAX + 1, &n), ERR_TOOBIG);
    check_i64(read_frame("\0\xff\xff\xff\xff", 5, &n), ERR_TOOBIG);
}

static void check_timeout(uint64_t ns, const char *want)
{
    char text[GRPC_TIMEOUT_SIZE];
    grpc_format_timeout(ns, text);
    check_text(text, want);
}

static void timeouts_are_exact_where_eight_digits_allow(void **state)
{
    (void)state;
    check_timeout(1, "1n");
    check_timeout(999, "999n");
    check_timeout(1000, "1u");
    check_timeout(100 * 1000000, "100m");
    check_timeout(5 * SECOND_NS, "5S");
    check_timeout(1500 * 1000000ull, "1500m");
    check_timeout(60 * SECOND_NS, "1M");
    check_timeout(3600 * SECOND_NS, "1H");
    check_timeout(99999999, "99999999n");
    /* Rounded up, never down: the target may take a little longer. */
    check_timeout(100000001, "100001u");
    check_timeout(123456789, "123457u");
    check_timeout(99999999999, "100000m");
    check_timeout(UINT64_MAX, "5124096H");
}

static void timeouts_come_back_not_shorter(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 100000; i++) {
        uint64_t ns = 1 + (rng_next(&rng) >> rng_below(&rng, 64));
        char text[GRPC_TIMEOUT_SIZE];
        grpc_format_timeout(ns, text);
        uint64_t back;
        check_i64(grpc_parse_timeout(text, &back), 0);
        check_true(back >= ns);
        check_true(back - ns <= ns / 10000); /* eight digits are precise */
        check_true(strlen(text) <= 9);
    }
}

static void parses_each_unit_of_timeout(void **state)
{
    (void)state;
    uint64_t ns = 0;
    check_i64(grpc_parse_timeout("7n", &ns), 0);
    check_u64(ns, 7);
    check_i64(grpc_parse_timeout("7u", &ns), 0);
    check_u64(ns, 7000);
    check_i64(grpc_parse_timeout("7m", &ns), 0);
    check_u64(ns, 7000000);
    check_i64(grpc_parse_timeout("7S", &ns), 0);
    check_u64(ns, 7 * SECOND_NS);
    check_i64(grpc_parse_timeout("7M", &ns), 0);
    check_u64(ns, 420 * SECOND_NS);
    check_i64(grpc_parse_timeout("7H", &ns), 0);
    check_u64(ns, 25200 * SECOND_NS);
    check_i64(grpc_parse_timeout("000000005S", &ns), ERR_BAD);
    check_i64(grpc_parse_timeout("0S", &ns), 0);
    check_u64(ns, 0);
    check_i64(grpc_parse_timeout("5124095H", &ns), 0);
    check_u64(ns, 5124095ull * 3600 * SECOND_NS);
    check_i64(grpc_parse_timeout("5124096H", &ns), 0);
    check_u64(ns, UINT64_MAX);
    check_i64(grpc_parse_timeout("99999999H", &ns), 0);
    check_u64(ns, UINT64_MAX);
}

static void refuses_what_is_no_timeout(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",    "S",  "5",    "5s",  "5 S",        "-5S",      "+5S",
        "5SS", "5h", "5.0S", " 5S", "123456789S", "99999999", "\xff",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t ns = 42;
        check_i64(grpc_parse_timeout(bad[i], &ns), ERR_BAD);
        check_u64(ns, 42);
    }
}

static void parses_status_numbers(void **state)
{
    (void)state;
    int status = -5;
    check_i64(grpc_parse_status("0", &status), 0);
    check_i64(status, 0);
    check_i64(grpc_parse_status("16", &status), 0);
    check_i64(status, 16);
    check_i64(grpc_parse_status("2147483647", &status), 0);
    check_i64(status, 2147483647);
    static const char *const bad[] = {
        "",           "-1", "+1",
        "1 ",         " 1", "0x1",
        "2147483648", "OK", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_i64(grpc_parse_status(bad[i], &status), ERR_BAD);
        check_i64(status, 2147483647);
    }
}

static void names_every_status(void **state)
{
    (void)state;
    check_text(grpc_status_name(GRPC_OK), "OK");
    check_text(grpc_status_name(2), "UNKNOWN");
    check_text(grpc_status_name(12), "UNIMPLEMENTED");
    check_text(grpc_status_name(14), "UNAVAILABLE");
    check_text(grpc_status_name(16), "UNAUTHENTICATED");
    check_text(grpc_status_name(17), "UNKNOWN");
    check_text(grpc_status_name(-1), "UNKNOWN");
    check_text(grpc_serving_name(0), "UNKNOWN");
    check_text(grpc_serving_name(1), "SERVING");
    check_text(grpc_serving_name(3), "SERVICE_UNKNOWN");
    check_text(grpc_serving_name(4), "UNKNOWN");
    check_text(grpc_serving_name(-1), "UNKNOWN");
}

static void check_decoded(const char *text, const char *want)
{
    char out[64];
    grpc_decode_message(text, out, sizeof(out));
    check_text(out, want);
}

static void messages_are_shown_safely(void **state)
{
    (void)state;
    check_decoded("", "");
    check_decoded("no such service", "no such service");
    check_decoded("a%20b%2Fc%2f", "a b/c/");
    check_decoded("100%", "100%");
    check_decoded("%4", "%4");
    check_decoded("%zz%41", "%zzA");
    check_decoded("%%41", "%A");
    check_decoded("line%0Abreak%00%1b[31m%7f", "line?break??[31m?");
    check_decoded("raw\ttab\x7f", "raw?tab?");
    check_decoded("%c3%a9", "\xc3\xa9");
}

static void a_message_is_cut_to_its_room(void **state)
{
    (void)state;
    char out[4] = "zzz";
    grpc_decode_message("abcdef", out, sizeof(out));
    check_text(out, "abc");
    grpc_decode_message("%41%42%43%44", out, sizeof(out));
    check_text(out, "ABC");
    grpc_decode_message("abc", out, 1);
    check_text(out, "");
}

static void any_text_survives_the_header(void **state)
{
    (void)state;
    char all[96 + 1];
    for (int i = 0; i < 95; i++)
        all[i] = (char)(0x20 + i);
    all[95] = (char)0xfe;
    all[96] = '\0';
    uint8_t bytes[512];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    grpc_encode_message(all, &w);
    wr_u8(&w, 0);
    check_u64(w.len, 95 - 1 + 3 + 3 + 1); /* '%' and 0xfe are escaped */
    char back[128];
    grpc_decode_message((char *)bytes, back, sizeof(back));
    check_text(back, all);

    wr_reset(&w);
    grpc_encode_message("a\r\n%\x7f", &w);
    check_bytes(bytes, w.len, "a%0D%0A%25%7F");
}

/* With any bit flipped or any end cut off, nothing breaks, and what is
 * accepted is in bounds. */
static void damage_is_an_error_or_a_value(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    grpc_write_health_request(&w, "mesh.probe.v1.Probe");
    for (size_t bit = 0; bit < w.len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        for (size_t cut = 0; cut <= w.len; cut++) {
            const uint8_t *message;
            size_t len;
            char service[GRPC_SERVICE_MAX + 1];
            int serving;
            if (grpc_read_frame(bytes, cut, &message, &len))
                continue;
            check_u64(len, cut - 5);
            if (!grpc_read_health_request(message, len, service))
                check_true(strlen(service) <= len);
            grpc_read_health_response(message, len, &serving);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_what_protoc_writes),
        cmocka_unit_test(the_longest_service_name_fits),
        cmocka_unit_test(responses_are_what_protoc_writes),
        cmocka_unit_test(reads_requests_as_protoc_does),
        cmocka_unit_test(a_bad_request_leaves_the_service_alone),
        cmocka_unit_test(reads_responses_as_protoc_does),
        cmocka_unit_test(a_frame_fills_its_bytes_exactly),
        cmocka_unit_test(the_message_limit_is_exact),
        cmocka_unit_test(timeouts_are_exact_where_eight_digits_allow),
        cmocka_unit_test(timeouts_come_back_not_shorter),
        cmocka_unit_test(parses_each_unit_of_timeout),
        cmocka_unit_test(refuses_what_is_no_timeout),
        cmocka_unit_test(parses_status_numbers),
        cmocka_unit_test(names_every_status),
        cmocka_unit_test(messages_are_shown_safely),
        cmocka_unit_test(a_message_is_cut_to_its_room),
        cmocka_unit_test(any_text_survives_the_header),
        cmocka_unit_test(damage_is_an_error_or_a_value),
    };
    return cmocka_run_group_tests_name("grpc", tests, NULL, NULL);
}
