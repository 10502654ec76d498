#include "prober/people.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/file.h"

#define ANSWER_MAX (1u << 16) /* bytes of an entry of the system's */

/* ---- users and groups ---- */

/* Digits only. False: it is a name. */
static bool parse_id(const char *text, uint32_t *id)
{
    uint64_t n = 0;
    if (!*text || strlen(text) > 10)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    /* The last one means "no change" to the kernel, and is nobody's. */
    if (n >= UINT32_MAX)
        return false;
    *id = (uint32_t)n;
    return true;
}

static int no_such(const char *what, const char *name, int error,
                   struct errmsg *msg)
{
    if (error)
        errmsg_set(msg, "%s %s: %s", what, name, strerror(error));
    else
        errmsg_set(msg, "there is no %s %s on this host", what, name);
    return ERR_BAD;
}

int people_user(const char *name, uint32_t *uid, struct errmsg *msg)
{
    struct passwd entry;
    struct passwd *found = NULL;
    if (parse_id(name, uid))
        return 0;
    char *room = malloc(ANSWER_MAX);
    if (!room)
        return no_such("user", name, ENOMEM, msg);
    int error = getpwnam_r(name, &entry, room, ANSWER_MAX, &found);
    if (found)
        *uid = found->pw_uid;
    free(room);
    return found ? 0 : no_such("user", name, error, msg);
}

int people_group(const char *name, uint32_t *gid, struct errmsg *msg)
{
    struct group entry;
    struct group *found = NULL;
    if (parse_id(name, gid))
        return 0;
    char *room = malloc(ANSWER_MAX);
    if (!room)
        return no_such("group", name, ENOMEM, msg);
    int error = getgrnam_r(name, &entry, room, ANSWER_MAX, &found);
    if (found)
        *gid = found->gr_gid;
    free(room);
    return found ? 0 : no_such("group", name, error, msg);
}

static int load_users(struct people_lists *l, const struct config *c,
                      struct errmsg *msg)
{
    size_t n = c->control.n_users;
    l->users = calloc(n + 1, sizeof(*l->users));
    if (!l->users)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct config_user *from = &c->control.users[i];
        struct principal_user *to = &l->users[i];
        to->is_group = from->is_group;
        to->role = (enum role)from->role;
        int err = from->is_group ? people_group(from->name, &to->id, msg)
                                 : people_user(from->name, &to->id, msg);
        if (err) {
            errmsg_wrap(msg, "control.users[%zu]", i);
            return err;
        }
    }
    l->config.n_users = n;
    return 0;
}

static int load_certificates(struct people_lists *l, const struct config *c)
{
    size_t n = c->control.n_certificates;
    l->certificates = calloc(n + 1, sizeof(*l->certificates));
    if (!l->certificates)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct config_certificate *from = &c->control.certificates[i];
        struct principal_certificate *to = &l->certificates[i];
        _Static_assert(sizeof(to->name) == sizeof(from->name), "same names");
        memcpy(to->name, from->name, sizeof(to->name));
        to->role = (enum role)from->role;
    }
    l->config.n_certificates = n;
    return 0;
}

/* ---- the file of tokens ---- */

const char *people_objection(uint32_t owner, uint32_t mode, uint32_t self)
{
    if (!S_ISREG(mode))
        return "is not a regular file";
    if (owner != 0 && owner != self)
        return "belongs to neither root nor this user";
    if (mode & (S_IWGRP | S_IWOTH))
        return "may be written by others than its owner";
    if (mode & S_IROTH)
        return "may be read by everybody";
    return NULL;
}

/* Read the file into `text`. Returns the length, or ERR_SYS with `msg`. */
static ssize_t read_tokens(const char *path, char *text, size_t size,
                           struct errmsg *msg)
{
    struct stat st;
    ssize_t len = ERR_SYS;
    /* Without O_NONBLOCK a pipe would be waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st)) {
        errmsg_set(msg, "%s: %s", path, strerror(errno));
        goto out;
    }
    const char *why = people_objection(st.st_uid, st.st_mode, geteuid());
    if (why) {
        errmsg_set(msg, "%s: %s", path, why);
        goto out;
    }
    len = file_read_all(fd, text, size);
    if (len < 0)
        errmsg_set(msg, "%s: %s", path, strerror(errno));
out:
    if (fd >= 0)
        close(fd);
    return len;
}

static int load_tokens(struct people_lists *l, const char *path,
                       struct errmsg *msg)
{
    size_t size = PRINCIPAL_FILE_MAX + 1; /* to see what is too long */
    int n = ERR_NOMEM;
    l->tokens = calloc(PRINCIPALS_MAX, sizeof(*l->tokens));
    char *text = malloc(size);
    if (!l->tokens || !text)
        goto out;
    ssize_t len = read_tokens(path, text, size, msg);
    if (len < 0) {
        n = ERR_SYS;
        goto out;
    }
    n = principals_parse_tokens(text, (size_t)len, l->tokens, msg);
    if (n < 0)
        errmsg_wrap(msg, "%s", path);
out:
    free(text);
    if (n < 0)
        return n;
    l->config.n_tokens = (size_t)n;
    return 0;
}

/* ---- all of them ---- */

int people_load(struct people_lists *l, const struct config *c,
                struct errmsg *msg)
{
    *l = (struct people_lists){
        .config.own_uid = geteuid(),
        .config.requests_per_minute = c->control.requests_per_minute,
        .config.requests_burst = c->control.requests_per_minute,
    };
    int err = load_users(l, c, msg);
    if (!err)
        err = load_certificates(l, c);
    if (!err && c->control.tokens_file[0])
        err = load_tokens(l, c->control.tokens_file, msg);
    if (err == ERR_NOMEM)
        errmsg_set(msg, "control: out of memory");
    if (err) {
        people_fini(l);
        return err;
    }
    l->config.tokens = l->tokens;
    l->config.users = l->users;
    l->config.certificates = l->certificates;
    return 0;
}

void people_fini(struct people_lists *l)
{
    free(l->tokens);
    free(l->users);
    free(l->certificates);
    *l = (struct people_lists){0};
}
