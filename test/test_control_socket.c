/* Good and bad places for the socket (a file system, no network). */
#include "prober/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "test/check.h"

static char dir[48];   /* 0700 */
static char path[64];  /* in it */
static char other[64]; /* something else in it */

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_socket.XXXXXX");
    check_true(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/c.sock", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chmod(dir, 0700);
    unlink(path);
    if (unlink(other))
        rmdir(other);
    check_true(rmdir(dir) == 0); /* nothing was left behind */
    return 0;
}

static struct control_socket open_good(unsigned mode, const char *group)
{
    struct control_socket s;
    struct errmsg msg = {0};
    int err = control_socket_open(&s, path, false, mode, group, &msg);
    assert_string_equal(msg.text, "");
    check_true(err == 0);
    return s;
}

static void check_refused(const char *where, const char *group,
                          const char *says)
{
    struct control_socket s;
    struct errmsg msg = {0};
    int err = control_socket_open(&s, where, false, 0660, group, &msg);
    if (!err)
        control_socket_remove(&s);
    if (!strstr(msg.text, says))
        print_error("\"%s\", wanted \"%s\"\n", msg.text, says);
    check_true(err == ERR_SYS);
    check_true(s.fd == -1);
    check_true(strstr(msg.text, says) != NULL);
}

static int dial(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int err = connect(fd, (struct sockaddr *)&name, sizeof(name)) ? errno : 0;
    close(fd);
    return err;
}

static void listens_with_the_mode_and_group_asked_for(void **state)
{
    (void)state;
    struct stat st;
    mode_t before = umask(0); /* the widest there is */
    struct control_socket s = open_good(0600, "");
    umask(before);
    check_true(lstat(path, &st) == 0);
    check_u64(st.st_mode, S_IFSOCK | 0600);
    check_true(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
    check_true(fcntl(s.fd, F_GETFL) & O_NONBLOCK);
    check_u64((uint64_t)dial(), 0);
    control_socket_remove(&s);
    close(s.fd);
    check_true(lstat(path, &st) != 0);

    before = umask(077); /* and a narrow one */
    char gid[16];
    snprintf(gid, sizeof(gid), "%u", geteuid() == 0 ? 4711 : getegid());
    s = open_good(0660, gid);
    umask(before);
    check_true(lstat(path, &st) == 0);
    check_u64(st.st_mode, S_IFSOCK | 0660);
    check_u64(st.st_gid, geteuid() == 0 ? 4711 : getegid());
    control_socket_remove(&s);
    close(s.fd);
}

static void replaces_what_nobody_listens_on(void **state)
{
    (void)state;
    struct control_socket s = open_good(0600, "");
    close(s.fd); /* as a process that was killed */
    check_u64((uint64_t)dial(), ECONNREFUSED);
    struct control_socket again = open_good(0600, "");
    check_u64((uint64_t)dial(), 0);
    control_socket_remove(&again);
    close(again.fd);
}

static void removes_only_what_it_made(void **state)
{
    (void)state;
    struct control_socket s = open_good(0600, "");
    check_true(unlink(path) == 0); /* by somebody else */
    struct control_socket another = open_good(0600, "");
    control_socket_remove(&s);
    close(s.fd);
    check_u64((uint64_t)dial(), 0);
    control_socket_remove(&another);
    close(another.fd);
    control_socket_remove(&another); /* what is gone is gone */
}

static void leaves_alone_what_somebody_listens_on(void **state)
{
    (void)state;
    struct control_socket s = open_good(0600, "");
    check_refused(path, "", "c.sock is in use by another process");
    check_u64((uint64_t)dial(), 0);
    /* Also when its queue is full. */
    check_true(listen(s.fd, 0) == 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&name, sizeof(name));
    }
    check_true(dial() == EAGAIN);
    check_refused(path, "", "c.sock is in use by another process");
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    control_socket_remove(&s);
    close(s.fd);
}

static void put_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    check_true(fd >= 0);
    close(fd);
}

static void leaves_alone_what_is_not_a_socket(void **state)
{
    (void)state;
    struct stat st;
    put_file(path);
    check_refused(path, "", "c.sock is there and is not a socket");
    check_true(lstat(path, &st) == 0);
    unlink(path);
    check_true(symlink(other, path) == 0); /* leading nowhere */
    check_refused(path, "", "c.sock is a symbolic link");
    put_file(other);
    check_refused(path, "", "c.sock is a symbolic link");
    check_true(lstat(other, &st) == 0);
    unlink(path);
    check_true(mkdir(path, 0700) == 0);
    check_refused(path, "", "c.sock is there and is not a socket");
    check_true(rmdir(path) == 0);
}

static void wants_a_directory_nobody_else_writes_to(void **state)
{
    (void)state;
    static const mode_t bad[] = {0777, 0770, 0722, 0702, 01777};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        check_true(chmod(dir, bad[i]) == 0);
        check_refused(path, "", " may be written by others");
    }
    static const mode_t good[] = {0700, 0750, 0755, 01755, 0711};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        check_true(chmod(dir, good[i]) == 0);
        struct control_socket s = open_good(0600, "");
        control_socket_remove(&s);
        close(s.fd);
    }
    check_refused("/tmp/c.sock", "",
                  "/tmp may be written by others, who could put a socket");
}

static void looks_at_every_directory_on_the_way(void **state)
{
    (void)state;
    char inner[80];
    check_true(mkdir(other, 0700) == 0);
    snprintf(inner, sizeof(inner), "%s/c.sock", other);
    check_true(chmod(dir, 0777) == 0);
    check_refused(inner, "", "may be written by others");
    check_true(chmod(dir, 01777) == 0); /* as /tmp is */
    struct control_socket s;
    struct errmsg msg = {0};
    check_true(control_socket_open(&s, inner, false, 0600, "", &msg) == 0);
    control_socket_remove(&s);
    close(s.fd);
    check_true(chmod(dir, 0700) == 0);
}

/* As a volume of a pod is. What else is asked of it stays. */
static void takes_an_open_directory_when_told_to(void **state)
{
    (void)state;
    struct control_socket s;
    struct errmsg msg = {0};
    check_true(chmod(dir, 0777) == 0);
    check_true(control_socket_open(&s, path, true, 0600, "", &msg) == 0);
    control_socket_remove(&s);
    close(s.fd);
    check_true(chmod(dir, 0700) == 0);
    if (geteuid() != 0)
        return;
    check_true(chown(dir, 65532, 65532) == 0);
    check_true(control_socket_open(&s, path, true, 0600, "", &msg) == ERR_SYS);
    check_true(chown(dir, 0, 0) == 0);
}

static void wants_a_directory_that_is_roots_or_ours(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    check_true(chown(dir, 4711, 0) == 0);
    check_refused(path, "", "belongs to neither root nor this user");
    check_true(chown(dir, 0, 0) == 0);
    /* And nothing in it is taken over from others. */
    struct control_socket s = open_good(0600, "");
    close(s.fd);
    check_true(lchown(path, 4711, 0) == 0);
    check_refused(path, "", "c.sock belongs to neither root nor this user");
    unlink(path);
}

static void follows_links_of_ours_on_the_way_only(void **state)
{
    (void)state;
    char link[80];
    char real[80];
    char through[96];
    struct errmsg msg = {0};
    struct control_socket s;
    snprintf(link, sizeof(link), "%s/link", dir);
    snprintf(real, sizeof(real), "%s/c.sock", other);
    snprintf(through, sizeof(through), "%s/c.sock", link);
    check_true(mkdir(other, 0700) == 0);
    check_true(symlink("other", link) == 0);
    check_true(control_socket_open(&s, through, false, 0600, "", &msg) == 0);
    assert_string_equal(s.path, real); /* where it is, not how it was named */
    control_socket_remove(&s);
    close(s.fd);
    check_true(chmod(other, 0777) == 0); /* where it leads counts */
    check_refused(through, "", "/other may be written by others");
    check_true(chmod(other, 0700) == 0);
    if (geteuid() == 0) {
        check_true(lchown(link, 4711, 0) == 0);
        check_refused(through, "", "/link belongs to neither root");
    }
    unlink(link);
}

static void says_what_is_wrong_with_the_path(void **state)
{
    (void)state;
    char text[128];
    check_refused("c.sock", "", "is not an absolute path");
    check_refused("", "", "is not an absolute path");
    snprintf(text, sizeof(text), "%s/", dir);
    check_refused(text, "", "is not an absolute path of a usable length");
    snprintf(text, sizeof(text), "%s/..", dir);
    check_refused(text, "", "is a directory");
    snprintf(text, sizeof(text), "%s/none/c.sock", dir);
    check_refused(text, "", "/none No such file or directory");
    put_file(other);
    snprintf(text, sizeof(text), "%s/c.sock", other);
    check_refused(text, "", "/other is not a directory");
    memset(text, 'x', sizeof(text));
    text[0] = '/';
    text[CONTROL_SOCKET_PATH_SIZE] = '\0';
    check_refused(text, "", "is not an absolute path of a usable length");
}

/* A group that is not there: nothing stays behind. */
static void leaves_nothing_behind_when_it_fails(void **state)
{
    (void)state;
    struct stat st;
    check_refused(path, "no-such-group-here",
                  "control.socket_group: there is no group no-such-group-here");
    check_true(lstat(path, &st) != 0 && errno == ENOENT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(listens_with_the_mode_and_group_asked_for),
        CASE(replaces_what_nobody_listens_on),
        CASE(removes_only_what_it_made),
        CASE(leaves_alone_what_somebody_listens_on),
        CASE(leaves_alone_what_is_not_a_socket),
        CASE(wants_a_directory_nobody_else_writes_to),
        CASE(looks_at_every_directory_on_the_way),
        CASE(takes_an_open_directory_when_told_to),
        CASE(wants_a_directory_that_is_roots_or_ours),
        CASE(follows_links_of_ours_on_the_way_only),
        CASE(says_what_is_wrong_with_the_path),
        CASE(leaves_nothing_behind_when_it_fails),
    };
    return cmocka_run_group_tests_name("control_socket", tests, NULL, NULL);
}
