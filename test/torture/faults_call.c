/* The C library's functions, defined by the program: the linker then takes
 * these for ours and, being exported, for those of libraries. */
#include "test/torture/faults_private.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

extern const char __executable_start[], etext[];

/* The next function of that name; an object pointer is what dlsym() gives. */
static void find_real(const char *name, void *pointer)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    memcpy(pointer, &found, sizeof(found));
}

#define REAL_NAMED(function, name)                \
    static __typeof__(function) *real_##function; \
    if (!real_##function)                         \
    find_real(name, &real_##function)
#define REAL(function) REAL_NAMED(function, #function)

#define CALLER __builtin_return_address(0)

static bool is_ours(const void *caller)
{
    return (uintptr_t)caller >= (uintptr_t)__executable_start &&
           (uintptr_t)caller < (uintptr_t)etext;
}

/* To fail altogether? */
static bool fails(const char *name, const void *caller)
{
    if (!is_ours(caller) || !faults_error() || !faults_strike(FAULT_CALL, name))
        return false;
    errno = faults_error();
    return true;
}

static bool is_socket(int fd)
{
    int type;
    socklen_t len = sizeof(type);
    REAL(getsockopt);
    int before = errno;
    bool is = real_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    errno = before;
    return is;
}

/* Of what moves bytes: 0, -1 with errno, or 1: a byte at most. */
static int moves(const char *name, const void *caller, int fd)
{
    if (!is_ours(caller) && !is_socket(fd))
        return 0;
    if (!faults_strike(FAULT_CALL, name))
        return 0;
    errno = faults_error();
    return errno ? -1 : 1;
}

static size_t least(size_t n, int how)
{
    return how == 1 && n > 1 ? 1 : n;
}

/* ---- bytes ---- */

ssize_t read(int fd, void *data, size_t n)
{
    REAL(read);
    int how = moves("read", CALLER, fd);
    return how < 0 ? -1 : real_read(fd, data, least(n, how));
}

ssize_t __read_chk(int fd, void *data, size_t n, size_t size);
ssize_t __read_chk(int fd, void *data, size_t n, size_t size)
{
    REAL(read);
    int how = moves("read", CALLER, fd);
    if (n > size)
        abort();
    return how < 0 ? -1 : real_read(fd, data, least(n, how));
}

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(write);
    int how = moves("write", CALLER, fd);
    return how < 0 ? -1 : real_write(fd, data, least(n, how));
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    REAL(writev);
    REAL(write);
    int how = moves("writev", CALLER, fd);
    if (how == 1)
        return real_write(fd, parts[0].iov_base, least(parts[0].iov_len, how));
    return how < 0 ? -1 : real_writev(fd, parts, n);
}

ssize_t send(int fd, const void *data, size_t n, int flags)
{
    REAL(send);
    int how = moves("send", CALLER, fd);
    return how < 0 ? -1 : real_send(fd, data, least(n, how), flags);
}

ssize_t recv(int fd, void *data, size_t n, int flags)
{
    REAL(recv);
    int how = moves("recv", CALLER, fd);
    return how < 0 ? -1 : real_recv(fd, data, least(n, how), flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    REAL(sendmsg);
    int how = moves("sendmsg", CALLER, fd);
    if (how != 1 || m->msg_iovlen == 0)
        return how < 0 ? -1 : real_sendmsg(fd, m, flags);
    struct iovec part = {m->msg_iov[0].iov_base,
                         least(m->msg_iov[0].iov_len, how)};
    struct msghdr one = *m;
    one.msg_iov = &part;
    one.msg_iovlen = 1;
    return real_sendmsg(fd, &one, flags);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    REAL(recvmsg);
    int how = moves("recvmsg", CALLER, fd);
    if (how != 1 || m->msg_iovlen == 0)
        return how < 0 ? -1 : real_recvmsg(fd, m, flags);
    struct iovec part = {m->msg_iov[0].iov_base,
                         least(m->msg_iov[0].iov_len, how)};
    struct iovec *before = m->msg_iov;
    size_t n_before = m->msg_iovlen;
    m->msg_iov = &part;
    m->msg_iovlen = 1;
    ssize_t n = real_recvmsg(fd, m, flags);
    m->msg_iov = before;
    m->msg_iovlen = n_before;
    return n;
}

/* ---- sockets ---- */

int socket(int family, int type, int protocol)
{
    REAL(socket);
    return fails("socket", CALLER) ? -1 : real_socket(family, type, protocol);
}

int bind(int fd, __CONST_SOCKADDR_ARG a, socklen_t len)
{
    REAL(bind);
    return fails("bind", CALLER) ? -1 : real_bind(fd, a, len);
}

int listen(int fd, int backlog)
{
    REAL(listen);
    return fails("listen", CALLER) ? -1 : real_listen(fd, backlog);
}

int connect(int fd, __CONST_SOCKADDR_ARG a, socklen_t len)
{
    REAL(connect);
    return fails("connect", CALLER) ? -1 : real_connect(fd, a, len);
}

int accept4(int fd, __SOCKADDR_ARG a, socklen_t *len, int flags)
{
    REAL(accept4);
    return fails("accept4", CALLER) ? -1 : real_accept4(fd, a, len, flags);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    REAL(getsockopt);
    return fails("getsockopt", CALLER)
               ? -1
               : real_getsockopt(fd, level, name, value, len);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    REAL(setsockopt);
    return fails("setsockopt", CALLER)
               ? -1
               : real_setsockopt(fd, level, name, value, len);
}

int getsockname(int fd, __SOCKADDR_ARG a, socklen_t *len)
{
    REAL(getsockname);
    return fails("getsockname", CALLER) ? -1 : real_getsockname(fd, a, len);
}

int getpeername(int fd, __SOCKADDR_ARG a, socklen_t *len)
{
    REAL(getpeername);
    return fails("getpeername", CALLER) ? -1 : real_getpeername(fd, a, len);
}

int epoll_create1(int flags)
{
    REAL(epoll_create1);
    return fails("epoll_create1", CALLER) ? -1 : real_epoll_create1(flags);
}

int epoll_ctl(int set, int what, int fd, struct epoll_event *e)
{
    REAL(epoll_ctl);
    return fails("epoll_ctl", CALLER) ? -1 : real_epoll_ctl(set, what, fd, e);
}

int epoll_wait(int set, struct epoll_event *out, int max, int timeout_ms)
{
    REAL(epoll_wait);
    return fails("epoll_wait", CALLER)
               ? -1
               : real_epoll_wait(set, out, max, timeout_ms);
}

int getifaddrs(struct ifaddrs **out)
{
    REAL(getifaddrs);
    return fails("getifaddrs", CALLER) ? -1 : real_getifaddrs(out);
}

/* ---- files: with 64 bits, as the headers rename them ---- */

int open(const char *path, int flags, ...)
{
    REAL_NAMED(open, "open64");
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return fails("open", CALLER) ? -1 : real_open(path, flags, mode);
}

int fcntl(int fd, int what, ...)
{
    REAL_NAMED(fcntl, "fcntl64");
    va_list ap;
    va_start(ap, what);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return fails("fcntl", CALLER) ? -1 : real_fcntl(fd, what, arg);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL_NAMED(fopen, "fopen64");
    return fails("fopen", CALLER) ? NULL : real_fopen(path, mode);
}

int fstat(int fd, struct stat *st)
{
    REAL_NAMED(fstat, "fstat64");
    return fails("fstat", CALLER) ? -1 : real_fstat(fd, st);
}

int lstat(const char *path, struct stat *st)
{
    REAL_NAMED(lstat, "lstat64");
    return fails("lstat", CALLER) ? -1 : real_lstat(path, st);
}

int fsync(int fd)
{
    REAL(fsync);
    return fails("fsync", CALLER) ? -1 : real_fsync(fd);
}

int unlink(const char *path)
{
    REAL(unlink);
    return fails("unlink", CALLER) ? -1 : real_unlink(path);
}

int chmod(const char *path, mode_t mode)
{
    REAL(chmod);
    return fails("chmod", CALLER) ? -1 : real_chmod(path, mode);
}

int fchmod(int fd, mode_t mode)
{
    REAL(fchmod);
    return fails("fchmod", CALLER) ? -1 : real_fchmod(fd, mode);
}

int lchown(const char *path, uid_t uid, gid_t gid)
{
    REAL(lchown);
    return fails("lchown", CALLER) ? -1 : real_lchown(path, uid, gid);
}

char *realpath(const char *path, char *to)
{
    REAL(realpath);
    return fails("realpath", CALLER) ? NULL : real_realpath(path, to);
}

char *__realpath_chk(const char *path, char *to, size_t size);
char *__realpath_chk(const char *path, char *to, size_t size)
{
    REAL(realpath);
    (void)size;
    return fails("realpath", CALLER) ? NULL : real_realpath(path, to);
}

/* These return the error. */
int getgrnam_r(const char *name, struct group *entry, char *room, size_t size,
               struct group **found)
{
    REAL(getgrnam_r);
    *found = NULL;
    return fails("getgrnam_r", CALLER)
               ? errno
               : real_getgrnam_r(name, entry, room, size, found);
}

int getpwnam_r(const char *name, struct passwd *entry, char *room, size_t size,
               struct passwd **found)
{
    REAL(getpwnam_r);
    *found = NULL;
    return fails("getpwnam_r", CALLER)
               ? errno
               : real_getpwnam_r(name, entry, room, size, found);
}

/* ---- counting ---- */

size_t faults_live_files(void)
{
    REAL_NAMED(fcntl, "fcntl64");
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += real_fcntl(fd, F_GETFD) >= 0;
    return n;
}

void faults_install(void)
{
    faults_install_memory();
}
