/* Questions and answers of reflection: first about a file made by hand, then
 * about our own. */
#include "prober/reflection.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/pb.h"
#include "test/check.h"

#define literal(s) span_of((s), sizeof(s) - 1)

enum { FILES = 4, EXTENSIONS = 5, SERVICES = 6, FAILED = 7 };

/* file { name: "f" package: "p.q"
 *   message { name: "M" message { name: "N" enum { name: "E" } } }
 *   enum { name: "E" }
 *   service { name: "S" method { name: "Do" } } }
 * file { name: "g" package: "p" message { name: "M" } } */
static const char made_bytes[] = "\x0a\x2b"
                                 "\x0a\1f"
                                 "\x12\3p.q"
                                 "\x22\x0f"
                                 "\x0a\1M"
                                 "\x1a\x0a"
                                 "\x0a\1N"
                                 "\x22\5"
                                 "\x0a\3Eee"
                                 "\x2a\3"
                                 "\x0a\1E"
                                 "\x32\x0b"
                                 "\x0a\1S"
                                 "\x12\6"
                                 "\x0a\2Do"
                                 "\x22\0"
                                 "\x0a\x0b"
                                 "\x0a\1g"
                                 "\x12\1p"
                                 "\x22\3"
                                 "\x0a\1M";
static const struct span made = {(const uint8_t *)made_bytes,
                                 sizeof(made_bytes) - 1};

static uint8_t answer_bytes[65536];

/* Ask; returns the kind of the answer, which is put into *part. */
static uint32_t ask(struct span set, uint32_t kind, struct span text,
                    struct span *part)
{
    static uint8_t question[2048];
    struct wr q, w;
    wr_init_fixed(&q, question, sizeof(question));
    pb_write_bytes(&q, kind, text.data, text.len);
    check_i64(wr_err(&q), 0);
    wr_init_fixed(&w, answer_bytes, sizeof(answer_bytes));
    check_i64(reflection_answer(set, span_of(q.data, q.len), &w), 0);
    check_i64(wr_err(&w), 0);

    struct rd r;
    struct pb_field f;
    rd_init(&r, w.data, w.len);
    check_true(pb_next(&r, &f));
    check_u64(f.number, 2); /* the question, as it was asked */
    check_true(span_equal(span_of(f.data, f.len), span_of(q.data, q.len)));
    check_true(pb_next(&r, &f));
    check_i64(rd_end(&r), 0);
    *part = span_of(f.data, f.len);
    return f.number;
}

/* The name of the file that has the symbol, "" if none has it. */
static const char *file_of(struct span set, uint32_t kind, const char *text)
{
    static char name[128];
    struct span part;
    struct rd r;
    struct pb_field file, f;
    uint32_t got = ask(set, kind, span_of_text(text), &part);
    rd_init(&r, part.data, part.len);
    if (got == FAILED) {
        check_true(pb_next(&r, &f) && f.number == 1 && f.value == 5);
        return "";
    }
    check_u64(got, FILES);
    check_true(pb_next(&r, &file));
    check_u64(file.number, 1);
    check_i64(rd_end(&r), 0);
    rd_init(&r, file.data, file.len);
    check_true(pb_next(&r, &f) && f.number == 1 && f.len < sizeof(name));
    memcpy(name, f.data, f.len);
    name[f.len] = '\0';
    return name;
}

static void finds_files_by_name(void **state)
{
    (void)state;
    check_text(file_of(made, 3, "f"), "f");
    check_text(file_of(made, 3, "g"), "g");
    check_text(file_of(made, 3, ""), "");
    check_text(file_of(made, 3, "h"), "");
    check_text(file_of(made, 3, "ff"), "");
}

static void finds_files_by_symbol(void **state)
{
    (void)state;
    static const char *const in_f[] = {"p.q.M", "p.q.M.N", "p.q.M.N.Eee",
                                       "p.q.E", "p.q.S",   "p.q.S.Do"};
    for (size_t i = 0; i < sizeof(in_f) / sizeof(in_f[0]); i++)
        check_text(file_of(made, 4, in_f[i]), "f");
    check_text(file_of(made, 4, "p.M"), "g");
}

static void other_symbols_are_not_found(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",         ".",       "p",          "p.q",       "p.q.",   ".p.q.M",
        "p.q.M.",   "p.q.M.E", "p.q.N",      "p.q.Eee",   "p.q.E.", "p.q.E.x",
        "p.q.S.Da", "p.q.S.",  "p.q.S.Do.x", "p.q.S..Do", "q.M",    "M",
        "p.q..M",   "p.qxM",   "pxq.M",      "p.q.m",     "p.q.Mm"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        check_text(file_of(made, 4, none[i]), "");
    static char text[1200];
    memset(text, 'a', sizeof(text) - 1);
    check_text(file_of(made, 4, text), "");
}

static void lists_services(void **state)
{
    (void)state;
    struct span part;
    check_u64(ask(made, 7, literal("*"), &part), SERVICES);
    check_true(span_equal(part, literal("\x0a\7\x0a\5p.q.S")));
    check_u64(ask(span_of(NULL, 0), 7, literal(""), &part), SERVICES);
    check_u64(part.len, 0);
}

static void there_are_no_extensions(void **state)
{
    (void)state;
    struct span part;
    check_u64(ask(made, 6, literal("p.q.M"), &part), EXTENSIONS);
    check_true(span_equal(part, literal("\x0a\5p.q.M")));
    check_u64(ask(made, 6, literal("p.q.S"), &part), FAILED);
    check_u64(ask(made, 6, literal("p.q.X"), &part), FAILED);
    check_u64(ask(made, 5, literal("\x0a\5p.q.M\x10\1"), &part), FAILED);
    check_true(part.len > 2 && !memcmp(part.data, "\x08\5", 2));
}

static void answers_say_who_was_asked(void **state)
{
    (void)state;
    struct wr w;
    wr_init_fixed(&w, answer_bytes, sizeof(answer_bytes));
    check_i64(reflection_answer(made, literal("\x0a\1h"), &w), 0);
    /* valid_host, original_request, and that nothing was asked. */
    static const char head[] = "\x0a\1h\x12\3\x0a\1h\x3a";
    check_true(!memcmp(w.data, head, sizeof(head) - 1));
    check_true(!memcmp(w.data + sizeof(head), "\x08\3", 2));
}

static void of_two_questions_the_last_counts(void **state)
{
    (void)state;
    struct wr w;
    wr_init_fixed(&w, answer_bytes, sizeof(answer_bytes));
    check_i64(reflection_answer(made, literal("\x1a\1f\x3a\0"), &w), 0);
    check_u64(w.data[7], SERVICES << 3 | PB_BYTES);
}

static void malformed_questions_are_not_answered(void **state)
{
    (void)state;
    struct wr w;
    wr_init_fixed(&w, answer_bytes, sizeof(answer_bytes));
    check_i64(reflection_answer(made, literal("\x1a\2f"), &w), ERR_TRUNC);
    check_i64(reflection_answer(made, literal("\x1b"), &w), ERR_BAD);
    check_u64(w.len, 0);
}

static void knows_all_that_is_served(void **state)
{
    (void)state;
    static const char *const symbols[][2] = {
        {"prober.v1.Control", "prober/v1/control.proto"},
        {"prober.v1.Control.Probe", "prober/v1/control.proto"},
        {"prober.v1.Executor.PhasesEntry", "prober/v1/control.proto"},
        {"grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthCheckResponse.ServingStatus",
         "grpc/health/v1/health.proto"},
        {"grpc.reflection.v1.ServerReflection",
         "grpc/reflection/v1/reflection.proto"},
        {"grpc.reflection.v1alpha.ErrorResponse",
         "grpc/reflection/v1alpha/reflection.proto"},
    };
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        check_text(file_of(reflection_descriptors, 4, symbols[i][0]),
                   symbols[i][1]);
        check_text(file_of(reflection_descriptors, 3, symbols[i][1]),
                   symbols[i][1]);
    }
    struct span part;
    check_u64(ask(reflection_descriptors, 7, literal(""), &part), SERVICES);
    struct rd r;
    struct pb_field f;
    unsigned n = 0;
    rd_init(&r, part.data, part.len);
    while (pb_next(&r, &f))
        n++;
    check_u64(n, 4);
}

/* Whatever the question: an answer that is a message. */
static void every_bit_may_be_flipped(void **state)
{
    (void)state;
    static const char question[] = "\x0a\1h\x22\x17prober.v1.Control.Probe"
                                   "\x2a\5\x0a\1M\x10\1\x1a\1f\x3a\1*\x32\1M";
    size_t len = sizeof(question) - 1;
    for (size_t bit = 0; bit < 8 * len; bit++) {
        uint8_t bytes[sizeof(question)];
        struct wr w;
        memcpy(bytes, question, len);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        wr_init_fixed(&w, answer_bytes, sizeof(answer_bytes));
        for (size_t cut = 0; cut <= len; cut++) {
            wr_reset(&w);
            if (reflection_answer(reflection_descriptors, span_of(bytes, cut),
                                  &w))
                continue;
            struct rd r;
            struct pb_field f;
            rd_init(&r, w.data, w.len);
            while (pb_next(&r, &f))
                ;
            check_i64(rd_err(&r), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_files_by_name),
        cmocka_unit_test(finds_files_by_symbol),
        cmocka_unit_test(other_symbols_are_not_found),
        cmocka_unit_test(lists_services),
        cmocka_unit_test(there_are_no_extensions),
        cmocka_unit_test(answers_say_who_was_asked),
        cmocka_unit_test(of_two_questions_the_last_counts),
        cmocka_unit_test(malformed_questions_are_not_answered),
        cmocka_unit_test(knows_all_that_is_served),
        cmocka_unit_test(every_bit_may_be_flipped),
    };
    return cmocka_run_group_tests_name("reflection", tests, NULL, NULL);
}
