/* What a service manager hears, on a socket of the test's own. */
#include "prober/notify.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "test/check.h"

struct manager {
    int fd;
    char path[64], text[256];
};

/* Abstract if `path` begins with '@'. */
static struct manager listening(const char *path)
{
    struct manager m = {.fd = socket(AF_UNIX, SOCK_DGRAM, 0)};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    snprintf(m.path, sizeof(m.path), "%s", path);
    memcpy(a.sun_path, path, len);
    if (path[0] == '@')
        a.sun_path[0] = '\0';
    unlink(path);
    check_i64(bind(m.fd, (struct sockaddr *)&a,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
              0);
    setenv("NOTIFY_SOCKET", path, 1);
    return m;
}

static void heard(struct manager *m, const char *want)
{
    ssize_t n = recv(m->fd, m->text, sizeof(m->text) - 1, MSG_DONTWAIT);
    check_true(n >= 0);
    m->text[n] = '\0';
    check_text(m->text, want);
}

static void closed(struct manager *m)
{
    close(m->fd);
    unlink(m->path);
    unsetenv("NOTIFY_SOCKET");
}

static void without_a_manager_nothing_is_said(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    check_i64(notify_send("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    check_i64(notify_send("READY=1"), 0);
}

static void a_state_is_one_datagram(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/test_notify.%d", (int)getpid());
    struct manager m = listening(path);
    check_i64(notify_send("READY=1\nSTATUS=fine"), 0);
    heard(&m, "READY=1\nSTATUS=fine");
    check_i64(notify_reloading(1234567), 0);
    heard(&m, "RELOADING=1\nMONOTONIC_USEC=1234");
    closed(&m);
}

static void names_without_a_path_work_too(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "@test_notify.%d", (int)getpid());
    struct manager m = listening(path);
    check_i64(notify_send("STOPPING=1"), 0);
    heard(&m, "STOPPING=1");
    closed(&m);
}

static void what_is_no_address_is_an_error(void **state)
{
    (void)state;
    char longest[300];
    memset(longest, 'x', sizeof(longest));
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    const char *const bad[] = {"relative", "/", "@", longest, "vsock:2:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        check_i64(notify_send("READY=1"), ERR_BAD);
    }
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    check_i64(notify_send("READY=1"), ERR_SYS);
    unsetenv("NOTIFY_SOCKET");
}

static void the_watchdog_is_ours_or_none(void **state)
{
    (void)state;
    char pid[16];
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    check_u64(notify_watchdog_ns(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    check_u64(notify_watchdog_ns(), UINT64_C(30000000000));
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    check_u64(notify_watchdog_ns(), UINT64_C(30000000000));
    setenv("WATCHDOG_PID", "1", 1);
    check_u64(notify_watchdog_ns(), 0);
    unsetenv("WATCHDOG_PID");
    const char *const bad[] = {"", "x", "-1", "1x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        setenv("WATCHDOG_USEC", bad[i], 1);
        check_u64(notify_watchdog_ns(), 0);
    }
    unsetenv("WATCHDOG_USEC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_manager_nothing_is_said),
        cmocka_unit_test(a_state_is_one_datagram),
        cmocka_unit_test(names_without_a_path_work_too),
        cmocka_unit_test(what_is_no_address_is_an_error),
        cmocka_unit_test(the_watchdog_is_ours_or_none),
    };
    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
