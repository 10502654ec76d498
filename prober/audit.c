#include "prober/audit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/clock.h"
#include "prober/file.h"
#include "proto/base/buf.h"
#include "proto/json.h"

#define FIELDS_MAX 32

struct audit {
    int fd; /* owned, but for STDERR_FILENO */
    bool is_failing;
    bool is_torn; /* a part of a line was written last: begin a new one */
    uint64_t failures;
};

/* ---- the line ---- */

/* How much of `text` fits `max` bytes without cutting a character in two. */
static size_t cut_at(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static void put_cut(struct json *j, const struct audit_field *fields,
                    size_t text_max)
{
    bool has_any = false;
    for (const struct audit_field *f = fields; f->key; f++) {
        if (!f->text || strnlen(f->text, text_max + 1) <= text_max)
            continue;
        if (!has_any) {
            json_key(j, "cut");
            json_array_begin(j);
        }
        has_any = true;
        json_text(j, f->key);
    }
    if (has_any)
        json_array_end(j);
}

static void put_line(struct wr *w, uint64_t unix_ns, const char *event,
                     const struct audit_field *fields, size_t text_max)
{
    struct json j;
    json_init(&j, w);
    json_object_begin(&j);
    json_key_time(&j, "time", unix_ns);
    json_key_text(&j, "audit", event);
    for (const struct audit_field *f = fields; f->key; f++) {
        json_key(&j, f->key);
        if (f->text)
            json_text_n(&j, f->text, cut_at(f->text, text_max));
        else
            json_u64(&j, f->number);
    }
    put_cut(&j, fields, text_max);
    json_object_end(&j);
    wr_u8(w, '\n');
}

static void check_fields(const struct audit_field *fields)
{
    size_t n = 0;
    while (fields[n].key) {
        assert(strlen(fields[n].key) <= 32); /* ours, and short */
        n++;
    }
    assert(n <= FIELDS_MAX);
}

/* A line that is too long has its long values cut, to half as much each time:
 * what is short stays whole. Escaping can make six bytes of one, so how much
 * fits is found by trying. */
size_t audit_format(char line[AUDIT_LINE_MAX], uint64_t unix_ns,
                    const char *event, const struct audit_field *fields)
{
    struct wr w;
    check_fields(fields);
    for (size_t text_max = AUDIT_LINE_MAX; text_max > 0; text_max /= 2) {
        wr_init_fixed(&w, line, AUDIT_LINE_MAX);
        put_line(&w, unix_ns, event, fields, text_max);
        if (!wr_err(&w))
            return w.len;
    }
    assert(!wr_err(&w)); /* FIELDS_MAX keys with a byte each do fit */
    return 0;
}

/* ---- the file ---- */

/* Returns the descriptor, or ERR_SYS with `msg`. */
static int open_file(const char *path, struct errmsg *msg)
{
    struct stat st;
    const char *why = NULL;
    if (!path[0])
        return STDERR_FILENO;
    /* Without O_NONBLOCK a pipe would be waited for. */
    int fd = open(path,
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
                      O_NOCTTY | O_NONBLOCK,
                  0640);
    if (fd < 0 || fstat(fd, &st)) {
        why = errno == ELOOP ? "is a symbolic link" : strerror(errno);
    } else if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
        why = "is neither a file nor a device";
    } else if (S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH)) {
        why = "may be written by everybody";
    }
    if (!why)
        return fd;
    errmsg_set(msg, "audit file %s: %s", path, why);
    if (fd >= 0)
        close(fd);
    return ERR_SYS;
}

static void close_file(int fd)
{
    if (fd != STDERR_FILENO)
        close(fd);
}

struct audit *audit_open(const char *path, struct errmsg *msg)
{
    struct audit *a = calloc(1, sizeof(*a));
    if (!a) {
        errmsg_set(msg, "audit file %s: out of memory", path);
        return NULL;
    }
    a->fd = open_file(path, msg);
    if (a->fd < 0) {
        free(a);
        return NULL;
    }
    return a;
}

void audit_close(struct audit *a)
{
    if (!a)
        return;
    close_file(a->fd);
    free(a);
}

int audit_reopen(struct audit *a, const char *path, struct errmsg *msg)
{
    int fd = open_file(path, msg);
    if (fd < 0)
        return fd;
    close_file(a->fd);
    a->fd = fd;
    a->is_torn = false;
    return 0;
}

/* ---- writing ---- */

/* One write(2), so that lines of several writers do not mix. Standard error may
 * block, and we must not: its reader has stopped, then the line is not there.
 */
static int write_once(struct audit *a, const char *data, size_t len)
{
    ssize_t n;
    do {
        n = a->fd == STDERR_FILENO ? file_write_now(a->fd, data, len)
                                   : write(a->fd, data, len);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len) {
        a->is_torn = false;
        return 0;
    }
    if (n > 0)
        a->is_torn = true;
    return ERR_SYS;
}

static int write_line(struct audit *a, const char *event,
                      const struct audit_field *fields)
{
    char line[1 + AUDIT_LINE_MAX];
    line[0] = '\n';
    size_t len = audit_format(line + 1, clock_now_unix_ns(), event, fields);
    return a->is_torn ? write_once(a, line, len + 1)
                      : write_once(a, line + 1, len);
}

int audit_write(struct audit *a, const char *event,
                const struct audit_field *fields)
{
    int err = write_line(a, event, fields);
    a->is_failing = err != 0;
    a->failures += err != 0;
    return err;
}

bool audit_is_failing(const struct audit *a)
{
    return a->is_failing;
}

void audit_check(struct audit *a)
{
    const struct audit_field fields[] = {
        {.key = "failures", .number = a->failures},
        {0},
    };
    if (a->is_failing)
        a->is_failing = write_line(a, "recovered", fields) != 0;
}

uint64_t audit_failures(const struct audit *a)
{
    return a->failures;
}
