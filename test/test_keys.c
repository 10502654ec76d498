/* Files of keys, good and bad; then what a file system can do to them. */
#include "prober/keys.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/rng.h"
#include "test/check.h"

/* 16 bytes 00..0f, 24 bytes 00..17, 32 bytes 00..1f. */
#define K16 "AAECAwQFBgcICQoLDA0ODw=="
#define K24 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
#define K32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

/* What no call may leave changed when it fails. */
static const struct ml_key untouched = {.len = 99, .bytes = {1, 2, 3}};

static size_t parse(const char *text, size_t len,
                    struct ml_key keys[ML_KEYRING_MAX])
{
    struct errmsg msg = {0};
    size_t n = 77;
    int err = keys_parse("k", text, len, keys, &n, &msg);
    if (err)
        print_error("%s\n", msg.text);
    check_i64(err, 0);
    return n;
}

static void check_key(const struct ml_key *key, size_t len)
{
    check_u64(key->len, len);
    for (size_t i = 0; i < len; i++)
        check_u64(key->bytes[i], i);
}

static void refuses(const char *text, size_t len, int want, const char *why)
{
    struct ml_key keys[ML_KEYRING_MAX];
    struct errmsg msg = {0};
    size_t n = 77;
    for (size_t i = 0; i < ML_KEYRING_MAX; i++)
        keys[i] = untouched;
    check_i64(keys_parse("k", text, len, keys, &n, &msg), want);
    check_text(msg.text, why);
    check_u64(n, 77);
    for (size_t i = 0; i < ML_KEYRING_MAX; i++)
        assert_memory_equal(&keys[i], &untouched, sizeof(untouched));
}

static void refuses_text(const char *text, int want, const char *why)
{
    refuses(text, strlen(text), want, why);
}

static void takes_keys_of_three_lengths_in_order(void **state)
{
    (void)state;
    static const char text[] = K32 "\n" K16 "\n" K24 "\n";
    struct ml_key keys[ML_KEYRING_MAX];
    check_u64(parse(text, sizeof(text) - 1, keys), 3);
    check_key(&keys[0], 32);
    check_key(&keys[1], 16);
    check_key(&keys[2], 24);
}

static void the_last_line_needs_no_newline(void **state)
{
    (void)state;
    struct ml_key keys[ML_KEYRING_MAX];
    check_u64(parse(K16, strlen(K16), keys), 1);
    check_key(&keys[0], 16);
}

static void passes_over_comments_blanks_and_carriage_returns(void **state)
{
    (void)state;
    static const char text[] =
        "# old\r\n\r\n \t\n  # new \n\t" K16 " \r\n#" K24 "\n\n" K32 "\r\n\n";
    struct ml_key keys[ML_KEYRING_MAX];
    check_u64(parse(text, sizeof(text) - 1, keys), 2);
    check_key(&keys[0], 16);
    check_key(&keys[1], 32);
}

/* The file is a secret: a message says where, never what. */
static void complains_with_the_line_and_not_its_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "secret",
        "AAECAwQFBgcICQoLDA0ODw",   /* no padding */
        "AAECAwQFBgcICQoLDA0O",     /* 15 bytes */
        "AAECAwQFBgcICQoLDA0ODxA=", /* 17 bytes */
        K16 " " K16,                /* two on a line */
        K16 "#",                    /* no comment behind */
        "AAECAwQFBgcICQoLDA0OD!==", /* not base64 */
        K32 K32,                    /* longer than any */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[256];
        snprintf(text, sizeof(text), "# x\n" K16 "\n%s\n", bad[i]);
        refuses_text(text, ERR_BAD,
                     "k:3: must be 16, 24 or 32 bytes in base64");
    }
}

static void a_nul_does_not_end_the_line(void **state)
{
    (void)state;
    static const char behind[] = K16 "\0x\n";
    static const char before[] = "\0\n" K16;
    static const char within[] = K16 "\n" K16 "\0\n";
    refuses(behind, sizeof(behind) - 1, ERR_BAD,
            "k:1: must be 16, 24 or 32 bytes in base64");
    refuses(before, sizeof(before) - 1, ERR_BAD,
            "k:1: must be 16, 24 or 32 bytes in base64");
    refuses(within, sizeof(within) - 1, ERR_BAD,
            "k:2: must be 16, 24 or 32 bytes in base64");
}

static void a_file_without_a_key_is_an_error(void **state)
{
    (void)state;
    refuses_text("", ERR_BAD, "k: there is no key in it");
    refuses_text("\n\n# " K16 "\n", ERR_BAD, "k: there is no key in it");
}

static void eight_keys_fit_and_nine_do_not(void **state)
{
    (void)state;
    char text[1024] = "";
    struct ml_key keys[ML_KEYRING_MAX];
    for (unsigned i = 0; i < ML_KEYRING_MAX; i++)
        strcat(text, K32 "\n");
    strcat(text, "# and that is all\n");
    check_u64(parse(text, strlen(text), keys), ML_KEYRING_MAX);
    check_key(&keys[ML_KEYRING_MAX - 1], 32);
    strcat(text, K16 "\n");
    refuses_text(text, ERR_TOOBIG, "k:10: more than 8 keys");
}

static void the_whole_is_bounded(void **state)
{
    (void)state;
    static char text[KEYS_BYTES_MAX + 1];
    struct ml_key keys[ML_KEYRING_MAX];
    memset(text, '\n', sizeof(text));
    memcpy(text + KEYS_BYTES_MAX - strlen(K16), K16, strlen(K16));
    check_u64(parse(text, KEYS_BYTES_MAX, keys), 1);
    refuses(text, KEYS_BYTES_MAX + 1, ERR_TOOBIG, "k: larger than 4096 bytes");
}

/* ---- files ---- */

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    check_true(f != NULL);
    check_true(fputs(text, f) >= 0);
    check_i64(fclose(f), 0);
    check_i64(chmod(path, mode), 0);
}

static void load_as(const char *path, mode_t mode, const char *warns)
{
    struct ml_key keys[ML_KEYRING_MAX];
    struct errmsg warning = {"old"};
    struct errmsg msg = {0};
    char want[ERRMSG_SIZE] = "";
    size_t n = 0;
    write_file(path, K24 "\n", mode);
    check_i64(keys_load(path, keys, &n, &warning, &msg), 0);
    check_u64(n, 1);
    check_key(&keys[0], 24);
    if (warns)
        snprintf(want, sizeof(want), "%s: %s", path, warns);
    check_text(warning.text, want);
}

static void a_file_that_others_may_use_is_taken_with_a_warning(void **state)
{
    (void)state;
    char path[] = "/tmp/prober-keys-XXXXXX";
    int fd = mkstemp(path);
    check_true(fd >= 0);
    close(fd);
    load_as(path, 0600, NULL);
    load_as(path, 0440, NULL);
    load_as(path, 0660, NULL);
    load_as(path, 0644, "others than owner and group may read it");
    load_as(path, 0602, "others than owner and group may write it");
    load_as(path, 0646, "others than owner and group may write it");
    load_as(path, 0601, NULL);
    unlink(path);
}

static void fails_on(const char *path, int want, const char *why)
{
    struct ml_key keys[ML_KEYRING_MAX] = {untouched};
    struct errmsg warning;
    struct errmsg msg = {0};
    char text[ERRMSG_SIZE];
    size_t n = 77;
    snprintf(text, sizeof(text), "%s: %s", path, why);
    check_i64(keys_load(path, keys, &n, &warning, &msg), want);
    check_text(msg.text, text);
    check_u64(n, 77);
    assert_memory_equal(&keys[0], &untouched, sizeof(untouched));
}

static void what_is_not_a_file_of_keys_says_why(void **state)
{
    (void)state;
    char dir[] = "/tmp/prober-keys-XXXXXX";
    char path[64];
    check_true(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/k", dir);
    fails_on(path, ERR_SYS, "No such file or directory");
    fails_on(dir, ERR_SYS, "Is a directory");
    check_i64(mkfifo(path, 0600), 0);
    fails_on(path, ERR_SYS, "Invalid argument");
    unlink(path);

    write_file(path, "", 0600);
    fails_on(path, ERR_BAD, "there is no key in it");
    char text[KEYS_BYTES_MAX + 2];
    memset(text, '\n', sizeof(text));
    text[KEYS_BYTES_MAX + 1] = '\0';
    memcpy(text, K16, strlen(K16));
    write_file(path, text, 0600);
    fails_on(path, ERR_TOOBIG, "larger than 4096 bytes");
    unlink(path);
    rmdir(dir);
}

/* ---- properties ---- */

/* Whatever is done to a file: read or complained about, and what was read is
 * what stands in it. */
static void survives_truncation_and_flipped_bits(void **state)
{
    (void)state;
    static const char good[] = "# keys\n" K32 "\n" K16 "\n" K24;
    size_t len = sizeof(good) - 1;
    for (size_t i = 0; i < len * 9; i++) {
        char text[sizeof(good)];
        struct ml_key keys[ML_KEYRING_MAX];
        struct errmsg msg = {0};
        size_t n = 77;
        memcpy(text, good, sizeof(good));
        if (i >= len)
            text[(i - len) / 8] ^= (char)(1 << (i - len) % 8);
        size_t cut = i < len ? i : len;
        int err = keys_parse("k", text, cut, keys, &n, &msg);
        check_true(err ? n == 77 && msg.text[0]
                       : n >= 1 && n <= 4 && !msg.text[0]);
        for (size_t k = 0; !err && k < n; k++)
            check_true(keys[k].len == 16 || keys[k].len == 24 ||
                       keys[k].len == 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_keys_of_three_lengths_in_order),
        cmocka_unit_test(the_last_line_needs_no_newline),
        cmocka_unit_test(passes_over_comments_blanks_and_carriage_returns),
        cmocka_unit_test(complains_with_the_line_and_not_its_text),
        cmocka_unit_test(a_nul_does_not_end_the_line),
        cmocka_unit_test(a_file_without_a_key_is_an_error),
        cmocka_unit_test(eight_keys_fit_and_nine_do_not),
        cmocka_unit_test(the_whole_is_bounded),
        cmocka_unit_test(a_file_that_others_may_use_is_taken_with_a_warning),
        cmocka_unit_test(what_is_not_a_file_of_keys_says_why),
        cmocka_unit_test(survives_truncation_and_flipped_bits),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
