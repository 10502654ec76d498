/* The line, byte by byte; then the file, on a real file system and on devices
 * that fail. */
#include "prober/audit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define WHEN UINT64_C(1767225600123000000) /* 2026-01-01T00:00:00.123Z */

static void check_line(const struct audit_field *fields, const char *want)
{
    char line[AUDIT_LINE_MAX + 1];
    size_t len = audit_format(line, WHEN, "probe_begin", fields);
    line[len] = '\0';
    assert_string_equal(line, want);
}

static void a_line_is_one_object_in_the_given_order(void **state)
{
    (void)state;
    const struct audit_field fields[] = {
        {.key = "id", .number = 7},
        {.key = "principal", .text = "uid:1000"},
        {.key = "target", .text = ""},
        {.key = "count", .number = UINT64_MAX},
        {0},
    };
    check_line(fields, "{\"time\":\"2026-01-01T00:00:00.123Z\","
                       "\"audit\":\"probe_begin\",\"id\":7,"
                       "\"principal\":\"uid:1000\",\"target\":\"\","
                       "\"count\":18446744073709551615}\n");
}

static void nothing_in_a_value_makes_a_second_line(void **state)
{
    (void)state;
    const struct audit_field fields[] = {
        {.key = "target", .text = "x\n{\"audit\":\"probe_begin\"}\r\n"},
        {.key = "peer",
         .text = "\x1b[2J\x7f\t\"\\\xff\xc2\x85\xe2\x80\xa8\xc2\xa0"},
        {0},
    };
    check_line(fields, "{\"time\":\"2026-01-01T00:00:00.123Z\","
                       "\"audit\":\"probe_begin\",\"target\":"
                       "\"x\\n{\\\"audit\\\":\\\"probe_begin\\\"}\\r\\n\","
                       "\"peer\":\"\\u001b[2J\\u007f\\t\\\"\\\\\xef\xbf\xbd"
                       "\\u0085\\u2028\xc2\xa0\"}\n");
    for (int c = 1; c < 256; c++) {
        char text[] = {'a', (char)c, 'b', '\0'};
        const struct audit_field one[] = {{.key = "k", .text = text}, {0}};
        char line[AUDIT_LINE_MAX];
        size_t len = audit_format(line, WHEN, "e", one);
        check_true(memchr(line, '\n', len) == line + len - 1);
        for (size_t i = 0; i + 1 < len; i++)
            check_true((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
    }
}

static json_t *parse(const char *line, size_t len)
{
    json_error_t error;
    check_true(len > 0 && len <= AUDIT_LINE_MAX && line[len - 1] == '\n');
    json_t *j = json_loadb(line, len, 0, &error);
    check_true(j != NULL);
    return j;
}

static void long_values_are_cut_and_named(void **state)
{
    (void)state;
    char *big = malloc(20001);
    memset(big, 'x', 20000);
    big[20000] = '\0';
    const struct audit_field fields[] = {
        {.key = "principal", .text = "token:ci"},
        {.key = "target", .text = big},
        {.key = "rule", .text = "member"},
        {0},
    };
    char line[AUDIT_LINE_MAX];
    size_t len = audit_format(line, WHEN, "probe_begin", fields);
    json_t *j = parse(line, len);
    assert_string_equal(json_string_value(json_object_get(j, "principal")),
                        "token:ci");
    assert_string_equal(json_string_value(json_object_get(j, "rule")),
                        "member");
    check_u64(json_string_length(json_object_get(j, "target")), 4096);
    json_t *cut = json_object_get(j, "cut");
    check_u64(json_array_size(cut), 1);
    assert_string_equal(json_string_value(json_array_get(cut, 0)), "target");
    json_decref(j);

    /* Escaping makes six bytes of one; it still has to fit. */
    memset(big, '\1', 20000);
    len = audit_format(line, WHEN, "probe_begin", fields);
    j = parse(line, len);
    check_u64(json_string_length(json_object_get(j, "target")), 1024);
    json_decref(j);
    free(big);
}

static void a_cut_does_not_split_a_character(void **state)
{
    (void)state;
    char *big = malloc(9002);
    for (size_t shift = 0; shift < 3; shift++) {
        memset(big, 'x', shift);
        for (size_t i = shift; i + 3 <= 9000; i += 3)
            memcpy(big + i, "\xe2\x82\xac", 3); /* the euro sign */
        big[8997 + shift] = '\0';
        const struct audit_field fields[] = {{.key = "k", .text = big}, {0}};
        char line[AUDIT_LINE_MAX];
        size_t len = audit_format(line, WHEN, "e", fields);
        json_t *j = parse(line, len);
        const char *text = json_string_value(json_object_get(j, "k"));
        check_true(strstr(text, "\xef\xbf\xbd") == NULL);
        check_true(strncmp(text, big, strlen(text)) == 0);
        json_decref(j);
    }
    free(big);
}

static void any_fields_make_one_line_that_parses(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        struct audit_field fields[33] = {0};
        char *texts[32];
        char keys[32][8];
        size_t n = 1 + rng_below(&rng, 32);
        for (size_t i = 0; i < n; i++) {
            size_t len = rng_below(&rng, round % 3 ? 40 : 4000);
            texts[i] = malloc(len + 1);
            for (size_t k = 0; k < len; k++)
                texts[i][k] = (char)(1 + rng_below(&rng, 255));
            texts[i][len] = '\0';
            snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
            fields[i] = (struct audit_field){.key = keys[i], .text = texts[i]};
        }
        char line[AUDIT_LINE_MAX];
        size_t len = audit_format(line, WHEN, "e", fields);
        check_true(memchr(line, '\n', len) == line + len - 1);
        json_t *j = parse(line, len);
        for (size_t i = 0; i < n; i++) {
            check_true(json_is_string(json_object_get(j, keys[i])));
            free(texts[i]);
        }
        json_decref(j);
    }
}

/* ---- files ---- */

static struct {
    char dir[64];
    char path[96];
} at;

static int set_up(void **state)
{
    (void)state;
    strcpy(at.dir, "/tmp/test_audit.XXXXXX");
    check_true(mkdtemp(at.dir) != NULL);
    snprintf(at.path, sizeof(at.path), "%s/audit.log", at.dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(at.path);
    rmdir(at.dir);
    return 0;
}

static size_t read_file(char text[8192])
{
    FILE *f = fopen(at.path, "r");
    check_true(f != NULL);
    size_t len = fread(text, 1, 8191, f);
    text[len] = '\0';
    fclose(f);
    return len;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static const struct audit_field none[] = {{0}};

static void appends_to_what_is_there_with_a_narrow_mode(void **state)
{
    (void)state;
    char text[8192];
    struct stat st;
    struct errmsg msg = {0};
    for (unsigned i = 1; i <= 2; i++) {
        struct audit *a = audit_open(at.path, &msg);
        check_true(a != NULL);
        check_true(audit_write(a, "one", none) == 0);
        check_true(audit_write(a, "two", none) == 0);
        check_false(audit_is_failing(a));
        check_u64(audit_failures(a), 0);
        audit_close(a);
        read_file(text);
        check_u64(count_lines(text), 2 * i);
    }
    check_true(stat(at.path, &st) == 0);
    check_u64(st.st_mode & 07137, 0); /* 0640 at most */
}

static void goes_on_in_a_new_file_after_rotation(void **state)
{
    (void)state;
    char text[8192];
    char old[128];
    struct errmsg msg = {0};
    snprintf(old, sizeof(old), "%s.1", at.path);
    struct audit *a = audit_open(at.path, &msg);
    check_true(audit_write(a, "one", none) == 0);
    check_true(rename(at.path, old) == 0);
    check_true(audit_write(a, "two", none) == 0);
    /* A file that cannot be had: the old one stays. */
    check_true(audit_reopen(a, "/nonexistent/audit", &msg) == ERR_SYS);
    assert_string_equal(
        msg.text, "audit file /nonexistent/audit: No such file or directory");
    check_true(audit_write(a, "three", none) == 0);
    check_true(audit_reopen(a, at.path, &msg) == 0);
    check_true(audit_write(a, "four", none) == 0);
    audit_close(a);
    read_file(text);
    check_u64(count_lines(text), 1);
    check_true(strstr(text, "\"four\"") != NULL);
    check_true(unlink(at.path) == 0);
    check_true(rename(old, at.path) == 0);
    read_file(text);
    check_u64(count_lines(text), 3);
}

static void check_refused(const char *path, const char *why)
{
    struct errmsg msg = {0};
    char want[ERRMSG_SIZE];
    check_true(audit_open(path, &msg) == NULL);
    snprintf(want, sizeof(want), "audit file %s: %s", path, why);
    assert_string_equal(msg.text, want);
}

static void refuses_what_is_not_a_file_of_its_own(void **state)
{
    (void)state;
    char other[128];
    snprintf(other, sizeof(other), "%s/other", at.dir);
    check_refused(at.dir, "Is a directory");
    check_true(symlink("/dev/null", at.path) == 0);
    check_refused(at.path, "is a symbolic link");
    check_true(unlink(at.path) == 0);
    check_true(mkfifo(at.path, 0600) == 0);
    check_refused(at.path, "No such device or address");
    int fd = open(at.path, O_RDONLY | O_NONBLOCK); /* now it has a reader */
    check_refused(at.path, "is neither a file nor a device");
    close(fd);
    check_true(unlink(at.path) == 0);
    fd = open(at.path, O_CREAT | O_WRONLY, 0600);
    check_true(fd >= 0 && fchmod(fd, 0602) == 0);
    close(fd);
    check_refused(at.path, "may be written by everybody");
    check_true(unlink(at.path) == 0);
}

static void a_full_disk_fails_until_there_is_room_again(void **state)
{
    (void)state;
    char text[8192];
    struct errmsg msg = {0};
    struct audit *a = audit_open("/dev/full", &msg);
    check_true(a != NULL);
    check_false(audit_is_failing(a));
    check_true(audit_write(a, "one", none) == ERR_SYS);
    check_true(audit_is_failing(a));
    audit_check(a);
    check_true(audit_is_failing(a));
    check_true(audit_write(a, "two", none) == ERR_SYS);
    check_u64(audit_failures(a), 2);
    check_true(audit_reopen(a, at.path, &msg) == 0);
    check_true(audit_is_failing(a)); /* nothing was written yet */
    audit_check(a);
    check_false(audit_is_failing(a));
    audit_check(a); /* nothing to say any more */
    audit_close(a);
    read_file(text);
    check_u64(count_lines(text), 1);
    check_true(strstr(text, "\"audit\":\"recovered\",\"failures\":2}\n"));
}

/* A file size limit ends a write half way, as a full disk may. */
static void a_torn_line_does_not_swallow_the_next(void **state)
{
    (void)state;
    char text[8192];
    struct errmsg msg = {0};
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    struct audit *a = audit_open(at.path, &msg);
    check_true(getrlimit(RLIMIT_FSIZE, &before) == 0);
    check_true(audit_write(a, "whole", none) == 0);
    size_t len = read_file(text);
    struct rlimit narrow = before;
    narrow.rlim_cur = len + 10;
    check_true(setrlimit(RLIMIT_FSIZE, &narrow) == 0);
    int err = audit_write(a, "torn", none);
    audit_check(a);
    bool is_failing = audit_is_failing(a);
    check_true(setrlimit(RLIMIT_FSIZE, &before) == 0);
    check_true(err == ERR_SYS);
    check_true(is_failing);
    check_u64(read_file(text), len + 10);
    audit_check(a);
    check_false(audit_is_failing(a));
    check_true(audit_write(a, "last", none) == 0);
    audit_close(a);
    read_file(text);
    check_u64(count_lines(text), 4);
    check_true(strstr(text, "\n{\"time\"") != NULL);
    char *torn = strchr(text, '\n') + 1;
    check_true(torn[10] == '\n'); /* the torn one ends where it was torn */
    check_true(strstr(torn, "\"recovered\"") && strstr(torn, "\"last\""));
}

/* Standard error is not closed with it. */
static void without_a_path_it_writes_to_standard_error(void **state)
{
    (void)state;
    char text[8192];
    struct errmsg msg = {0};
    int saved = dup(STDERR_FILENO);
    int fd = open(at.path, O_CREAT | O_RDWR | O_APPEND, 0600);
    check_true(saved >= 0 && fd >= 0);
    fflush(stderr);
    dup2(fd, STDERR_FILENO);
    struct audit *a = audit_open("", &msg);
    int err = a ? audit_write(a, "one", none) : ERR_NOMEM;
    audit_close(a);
    bool is_open = fcntl(STDERR_FILENO, F_GETFD) >= 0;
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    check_true(err == 0);
    check_true(is_open);
    read_file(text);
    check_u64(count_lines(text), 1);
}

/* Fill what standard error goes to, in blocking mode. */
static void stuff(int fd, int flags)
{
    static const char bytes[1024];
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    fcntl(fd, F_SETFL, flags);
}

/* Its reader stopped: the loop goes on, the request is refused, and a line that
 * went half is not one with the next. */
static void check_stopped_reader(int reader, int writer, size_t room)
{
    static char got[1 << 20];
    struct errmsg msg = {0};
    char text[7000];
    const struct audit_field fields[] = {{.key = "k", .text = text}, {0}};
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    int saved = dup(STDERR_FILENO);
    fflush(stderr);
    dup2(writer, STDERR_FILENO);
    struct audit *a = audit_open("", &msg);
    stuff(writer, fcntl(writer, F_GETFL));
    alarm(20); /* what blocks has failed */
    int full = audit_write(a, "full", none);
    (void)!read(reader, got, room);
    int torn = audit_write(a, "torn", fields);
    int flags = fcntl(reader, F_GETFL);
    fcntl(reader, F_SETFL, flags | O_NONBLOCK);
    while (read(reader, got, sizeof(got)) > 0)
        ;
    audit_check(a);
    int whole = audit_write(a, "whole", fields);
    alarm(0);
    bool is_failing = audit_is_failing(a);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(reader, got, sizeof(got) - 1);
    audit_close(a);
    check_i64(full, ERR_SYS);
    check_i64(torn, ERR_SYS);
    check_i64(whole, 0);
    check_false(is_failing);
    check_true(n > 7000);
    got[n] = '\0';
    /* Both are lines, whatever stood before them. */
    check_true(strstr(got, "\"audit\":\"recovered\",\"failures\":2}\n{"));
    check_true(got[n - 1] == '\n');
}

static void standard_error_that_nobody_reads_does_not_block(void **state)
{
    (void)state;
    int fds[2];
    check_true(pipe(fds) == 0);
    check_stopped_reader(fds[0], fds[1], 5000);
    close(fds[0]);
    close(fds[1]);
    check_true(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    check_stopped_reader(fds[0], fds[1], 0);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_object_in_the_given_order),
        cmocka_unit_test(nothing_in_a_value_makes_a_second_line),
        cmocka_unit_test(long_values_are_cut_and_named),
        cmocka_unit_test(a_cut_does_not_split_a_character),
        cmocka_unit_test(any_fields_make_one_line_that_parses),
        cmocka_unit_test_setup_teardown(
            appends_to_what_is_there_with_a_narrow_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(goes_on_in_a_new_file_after_rotation,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_a_file_of_its_own,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_full_disk_fails_until_there_is_room_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_line_does_not_swallow_the_next,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            without_a_path_it_writes_to_standard_error, set_up, tear_down),
        cmocka_unit_test(standard_error_that_nobody_reads_does_not_block),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
