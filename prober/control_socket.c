#include "prober/control_socket.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "prober/people.h"

#define BACKLOG 128

_Static_assert(CONTROL_SOCKET_PATH_SIZE ==
                   sizeof(((struct sockaddr_un *)NULL)->sun_path),
               "the kernel's limit");

static int refuse(struct errmsg *msg, const char *path, const char *why)
{
    errmsg_set(msg, "control socket: %.160s %s", path, why);
    return ERR_SYS;
}

/* ---- the way there ---- */

static bool is_trusted(const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == geteuid();
}

/* Look at one part of the directory; `is_last` is the one with the socket. */
static int check_part(const char *part, bool is_last, bool takes_open,
                      struct errmsg *msg)
{
    struct stat st;
    if (lstat(part, &st))
        return refuse(msg, part, strerror(errno));
    if (!is_trusted(&st))
        return refuse(msg, part, "belongs to neither root nor this user");
    if (S_ISLNK(st.st_mode))
        return 0; /* what it leads to is looked at when it is resolved */
    if (!S_ISDIR(st.st_mode))
        return refuse(msg, part, "is not a directory");
    if (takes_open || !(st.st_mode & (S_IWGRP | S_IWOTH)))
        return 0;
    if (!(st.st_mode & S_ISVTX))
        return refuse(msg, part, "may be written by others");
    if (is_last)
        return refuse(msg, part,
                      "may be written by others, who could put a socket there "
                      "first");
    return 0;
}

/* Each directory from the root down. `path` is absolute, at most PATH_MAX. */
static int check_way(const char *path, bool takes_open, struct errmsg *msg)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    assert(path[0] == '/');
    assert(len < sizeof(part));
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        char was = part[i];
        if (was != '/' && was != '\0')
            continue;
        part[i] = '\0';
        int err = check_part(part, was == '\0', takes_open, msg);
        if (err)
            return err;
        part[i] = was;
    }
    return check_part("/", len == 1, takes_open, msg);
}

/* Check the directory, links in it resolved, and write the whole path. The way
 * as it is written and the way it leads are both looked at: whoever can change
 * either decides where the socket is. */
static int settle_path(struct control_socket *s, const char *path,
                       bool takes_open, struct errmsg *msg)
{
    char directory[PATH_MAX];
    char real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || !slash[1] || strlen(path) >= sizeof(s->path))
        return refuse(msg, path, "is not an absolute path of a usable length");
    if (strcmp(slash, "/.") == 0 || strcmp(slash, "/..") == 0)
        return refuse(msg, path, "is a directory");
    int len = slash == path ? 1 : (int)(slash - path);
    snprintf(directory, sizeof(directory), "%.*s", len, path);
    if (!realpath(directory, real))
        return refuse(msg, directory, strerror(errno));
    int err = check_way(directory, takes_open, msg);
    if (!err)
        err = check_way(real, takes_open, msg);
    if (err)
        return err;
    int n = snprintf(s->path, sizeof(s->path), "%s%s",
                     strcmp(real, "/") == 0 ? "" : real, slash);
    return n > 0 && (size_t)n < sizeof(s->path)
               ? 0
               : refuse(msg, path, "is too long once links are resolved");
}

/* ---- what is there ---- */

static struct sockaddr_un name_of(const struct control_socket *s)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, s->path, sizeof(name.sun_path));
    return name;
}

/* Does nobody listen? False also if that cannot be told. */
static bool is_deserted(const struct control_socket *s)
{
    struct sockaddr_un name = name_of(s);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool is_refused =
        connect(fd, (const struct sockaddr *)&name, sizeof(name)) &&
        errno == ECONNREFUSED;
    close(fd);
    return is_refused;
}

static int clear_path(const struct control_socket *s, struct errmsg *msg)
{
    struct stat st;
    struct stat again;
    if (lstat(s->path, &st))
        return errno == ENOENT ? 0 : refuse(msg, s->path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return refuse(msg, s->path, "is a symbolic link");
    if (!S_ISSOCK(st.st_mode))
        return refuse(msg, s->path, "is there and is not a socket");
    if (!is_trusted(&st))
        return refuse(msg, s->path, "belongs to neither root nor this user");
    if (!is_deserted(s))
        return refuse(msg, s->path, "is in use by another process");
    /* Another of us that starts at the same time may have been faster. */
    if (lstat(s->path, &again) || again.st_ino != st.st_ino ||
        again.st_dev != st.st_dev)
        return refuse(msg, s->path, "was just replaced by another process");
    if (unlink(s->path))
        return refuse(msg, s->path, strerror(errno));
    return 0;
}

/* ---- making it ---- */

static int give_away(const struct control_socket *s, unsigned mode,
                     const char *group, struct errmsg *msg)
{
    uint32_t gid = 0;
    if (group[0] && people_group(group, &gid, msg)) {
        errmsg_wrap(msg, "control.socket_group");
        return ERR_SYS;
    }
    if (group[0] && lchown(s->path, (uid_t)-1, (gid_t)gid))
        return refuse(msg, s->path, strerror(errno));
    if (chmod(s->path, mode))
        return refuse(msg, s->path, strerror(errno));
    return 0;
}

/* From here on the path is ours to remove. */
static int bind_path(struct control_socket *s, struct errmsg *msg)
{
    struct sockaddr_un name = name_of(s);
    struct stat st;
    /* The kernel takes the mode of the path from the socket's own (less the
     * umask), so no umask has to be set for the whole process. */
    if (fchmod(s->fd, 0600) ||
        bind(s->fd, (const struct sockaddr *)&name, sizeof(name)) ||
        lstat(s->path, &st))
        return refuse(msg, s->path, strerror(errno));
    s->dev = (uint64_t)st.st_dev;
    s->ino = (uint64_t)st.st_ino;
    if (st.st_mode & 0177 || !S_ISSOCK(st.st_mode)) {
        control_socket_remove(s);
        return refuse(msg, s->path, "came out with a wider mode");
    }
    return 0;
}

int control_socket_open(struct control_socket *s, const char *path,
                        bool takes_open, unsigned mode, const char *group,
                        struct errmsg *msg)
{
    *s = (struct control_socket){.fd = -1};
    int err = settle_path(s, path, takes_open, msg);
    if (!err)
        err = clear_path(s, msg);
    if (err)
        return err;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return refuse(msg, s->path, strerror(errno));
    err = bind_path(s, msg);
    if (err)
        goto fail;
    err = give_away(s, mode, group, msg);
    if (!err && listen(s->fd, BACKLOG))
        err = refuse(msg, s->path, strerror(errno));
    if (!err)
        return 0;
    control_socket_remove(s);
fail:
    close(s->fd);
    s->fd = -1;
    return err;
}

void control_socket_remove(const struct control_socket *s)
{
    struct stat st;
    if (lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        (uint64_t)st.st_dev == s->dev && (uint64_t)st.st_ino == s->ino)
        unlink(s->path);
}
