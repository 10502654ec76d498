/* test/check.h - cmocka, with numbers in decimal and one seed per run. */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define check_true(x)    assert_true(x)
#define check_false(x)   assert_false(x)
#define check_text(a, b) assert_string_equal((a), (b))

/* cmocka 1.1.5 prints every integer in hex; a test log is for people. */
#define check_u64(a, b) \
    check_u64_at((uint64_t)(a), (uint64_t)(b), #a, __FILE__, __LINE__)
#define check_i64(a, b) \
    check_i64_at((int64_t)(a), (int64_t)(b), #a, __FILE__, __LINE__)

static inline void check_u64_at(uint64_t got, uint64_t want, const char *what,
                                const char *file, int line)
{
    if (got != want) {
        print_error("%s is %" PRIu64 ", expected %" PRIu64 "\n", what, got,
                    want);
        _fail(file, line);
    }
}

static inline void check_i64_at(int64_t got, int64_t want, const char *what,
                                const char *file, int line)
{
    if (got != want) {
        print_error("%s is %" PRId64 ", expected %" PRId64 "\n", what, got,
                    want);
        _fail(file, line);
    }
}

/* Fixed by default, so that a red run is red again; CHECK_SEED overrides. */
static inline uint64_t check_seed(void)
{
    const char *text = getenv("CHECK_SEED");
    return text ? strtoull(text, NULL, 0) : 1;
}

#endif /* TEST_CHECK_H */
