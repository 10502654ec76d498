#include "prober/env.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/err.h"

#define TEXT_SIZE 4096 /* cpu.stat is below 500 bytes, a cgroup list too */

#define RUNQ_STARVED_PERCENT      5
#define THROTTLED_STARVED_PERCENT 1
#define PSI_STARVED               2000 /* 20.00 % */

/* v1 says "no limit" with the greatest multiple of a page size. */
#define V1_UNLIMITED (INT64_MAX / 65536 * 65536)

enum file {
    FILE_PSI_CPU,
    FILE_PSI_MEMORY,
    FILE_PSI_IO,
    FILE_CPU_STAT,
    FILE_MEMORY_USED,
    FILE_MEMORY_LIMIT,
    FILE_SCHEDSTAT,
    FILE_N,
};

struct env {
    int fds[FILE_N]; /* -1: absent */
    bool is_cpu_v1;
    int64_t throttled_us, nr_throttled, runq_wait_us; /* previous, or -1 */
};

/* ---- parsing ----------------------------------------------------------- */

/* Digits up to the end or a character of `ends`; -1 if there are none, if
 * something else follows or if it does not fit. */
static int64_t parse_digits(const char *text, size_t len, const char *ends)
{
    int64_t n = 0;
    size_t i = 0;
    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, text[i] - '0', &n))
            return -1;
    }
    if (i == 0 || (i < len && (!text[i] || !strchr(ends, text[i]))))
        return -1;
    return n;
}

int32_t env_parse_psi(const char *text, size_t len)
{
    static const char start[] = "some avg10=";
    size_t n = sizeof(start) - 1;
    if (len < n || memcmp(text, start, n) != 0)
        return -1;
    int64_t whole = parse_digits(text + n, len - n, ".");
    const char *dot = memchr(text + n, '.', len - n);
    if (whole < 0 || whole > 100 || !dot)
        return -1;
    size_t rest = len - (size_t)(dot + 1 - text);
    /* The kernel prints two digits, always. */
    if (rest < 3 || dot[3] != ' ')
        return -1;
    int64_t hundredths = parse_digits(dot + 1, 3, " ");
    return hundredths < 0 ? -1 : (int32_t)(whole * 100 + hundredths);
}

int64_t env_parse_key(const char *text, size_t len, const char *key)
{
    size_t key_len = strlen(key);
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        if (line > key_len && memcmp(text, key, key_len) == 0 &&
            text[key_len] == ' ')
            return parse_digits(text + key_len + 1, line - key_len - 1, "");
        if (!end)
            break;
        text += line + 1;
        len -= line + 1;
    }
    return -1;
}

int64_t env_parse_number(const char *text, size_t len)
{
    return parse_digits(text, len, "\n");
}

int64_t env_parse_schedstat(const char *text, size_t len)
{
    const char *blank = memchr(text, ' ', len);
    if (!blank || parse_digits(text, len, " ") < 0)
        return -1;
    size_t rest = len - (size_t)(blank + 1 - text);
    /* The number of slices must follow, else the line was cut. */
    if (!memchr(blank + 1, ' ', rest))
        return -1;
    return parse_digits(blank + 1, rest, " ");
}

static bool has_controller(const char *list, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    while (len > 0) {
        const char *comma = memchr(list, ',', len);
        size_t n = comma ? (size_t)(comma - list) : len;
        if (n == name_len && memcmp(list, name, n) == 0)
            return true;
        size_t step = comma ? n + 1 : n;
        list += step;
        len -= step;
    }
    return name_len == 0;
}

/* One line: "4:cpu,cpuacct:/path" or, of v2, "0::/path". */
static int parse_cgroup_line(const char *line, size_t len,
                             const char *controller, char *path, char *list)
{
    const char *first = memchr(line, ':', len);
    if (!first)
        return ERR_BAD;
    size_t rest = len - (size_t)(first + 1 - line);
    const char *second = memchr(first + 1, ':', rest);
    if (!second)
        return ERR_BAD;
    size_t list_len = (size_t)(second - first - 1);
    size_t path_len = rest - list_len - 1;
    bool is_v2 = list_len == 0;
    if (is_v2 != (*controller == '\0') ||
        !has_controller(first + 1, list_len, controller))
        return ERR_BAD;
    if (list_len >= ENV_PATH_SIZE || path_len >= ENV_PATH_SIZE)
        return ERR_TOOBIG;
    memcpy(list, first + 1, list_len);
    list[list_len] = '\0';
    memcpy(path, second + 1, path_len);
    path[path_len] = '\0';
    /* "/../x" is what a group outside our cgroup namespace looks like. */
    bool is_usable = path[0] == '/' && !strstr(path, "/..");
    return is_usable ? 0 : ERR_BAD;
}

int env_parse_cgroup(const char *text, size_t len, const char *controller,
                     char path[ENV_PATH_SIZE], char list[ENV_PATH_SIZE])
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        int err = parse_cgroup_line(text, line, controller, path, list);
        if (err != ERR_BAD)
            return err;
        size_t step = end ? line + 1 : line;
        text += step;
        len -= step;
    }
    return ERR_BAD;
}

/* ---- finding the files ------------------------------------------------- */

static int open_file(const char *dir, const char *name)
{
    char path[3 * ENV_PATH_SIZE];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Whole contents, or -1. Rewound by pread, so the file is read anew. */
static ssize_t read_fd(int fd, char text[TEXT_SIZE])
{
    return fd < 0 ? -1 : pread(fd, text, TEXT_SIZE, 0);
}

static ssize_t read_path(const char *dir, const char *name,
                         char text[TEXT_SIZE])
{
    int fd = open_file(dir, name);
    ssize_t n = read_fd(fd, text);
    if (fd >= 0)
        close(fd);
    return n;
}

/* A directory below a cgroup mount; the mount is its first `top` bytes. */
struct group {
    char dir[2 * ENV_PATH_SIZE];
    size_t top;
    bool is_v1;
};

/* Is there a `name` in mount + path, or, in a container, in the mount? */
static bool try_mount(struct group *g, const char *root, const char *mount,
                      const char *path, const char *name)
{
    int top = snprintf(g->dir, sizeof(g->dir), "%s/sys/fs/cgroup%s%s", root,
                       *mount ? "/" : "", mount);
    if (top < 0 || (size_t)top >= sizeof(g->dir))
        return false;
    g->top = (size_t)top;
    size_t space = sizeof(g->dir) - g->top;
    int n = snprintf(g->dir + g->top, space, "%s", path[1] ? path : "");
    for (int round = 0; round < 2; round++) {
        int fd = n >= 0 && (size_t)n < space ? open_file(g->dir, name) : -1;
        if (fd >= 0) {
            close(fd);
            return true;
        }
        g->dir[g->top] = '\0';
        n = 0;
    }
    return false;
}

/* Find the group that holds `controller` for us: v1 if that hierarchy has
 * it, else v2. `v1_name` and `v2_name` are files it must contain. */
static bool find_group(struct group *g, const char *root,
                       const char *controller, const char *v1_name,
                       const char *v2_name)
{
    char text[TEXT_SIZE];
    char path[ENV_PATH_SIZE];
    char list[ENV_PATH_SIZE];
    char proc[ENV_PATH_SIZE];
    snprintf(proc, sizeof(proc), "%s/proc/self", root);
    ssize_t n = read_path(proc, "cgroup", text);
    size_t len = n < 0 ? 0 : (size_t)n;

    g->is_v1 = true;
    if (env_parse_cgroup(text, len, controller, path, list) == 0 &&
        (try_mount(g, root, controller, path, v1_name) ||
         try_mount(g, root, list, path, v1_name)))
        return true;

    g->is_v1 = false;
    if (env_parse_cgroup(text, len, "", path, list))
        snprintf(path, sizeof(path), "/");
    return try_mount(g, root, "", path, v2_name) ||
           try_mount(g, root, "unified", path, v2_name);
}

/* Go up one level; false at the mount. */
static bool go_up(struct group *g)
{
    if (!g->dir[g->top])
        return false;
    *strrchr(g->dir + g->top, '/') = '\0';
    return true;
}

static bool has_quota(const struct group *g)
{
    char text[TEXT_SIZE];
    const char *name = g->is_v1 ? "cpu.cfs_quota_us" : "cpu.max";
    ssize_t n = read_path(g->dir, name, text);
    /* "-1" or "max 100000" without, "50000 100000" with a quota. */
    return n > 0 && parse_digits(text, (size_t)n, " \n") > 0;
}

static int64_t limit_of(const char *text, ssize_t n)
{
    int64_t limit = n > 0 ? env_parse_number(text, (size_t)n) : -1;
    return limit >= V1_UNLIMITED ? -1 : limit;
}

static bool has_memory_limit(const struct group *g)
{
    char text[TEXT_SIZE];
    const char *name = g->is_v1 ? "memory.limit_in_bytes" : "memory.max";
    return limit_of(text, read_path(g->dir, name, text)) >= 0;
}

/* The nearest group at or above `g` for which `has` holds, else `g`. */
static void climb(struct group *g, bool (*has)(const struct group *))
{
    struct group up = *g;
    do {
        if (has(&up)) {
            *g = up;
            return;
        }
    } while (go_up(&up));
}

static void open_cgroups(struct env *e, const char *root)
{
    struct group g;
    if (find_group(&g, root, "cpu", "cpu.stat", "cpu.stat")) {
        climb(&g, has_quota);
        e->is_cpu_v1 = g.is_v1;
        e->fds[FILE_CPU_STAT] = open_file(g.dir, "cpu.stat");
    }
    if (find_group(&g, root, "memory", "memory.usage_in_bytes",
                   "memory.current")) {
        climb(&g, has_memory_limit);
        e->fds[FILE_MEMORY_USED] = open_file(
            g.dir, g.is_v1 ? "memory.usage_in_bytes" : "memory.current");
        e->fds[FILE_MEMORY_LIMIT] =
            open_file(g.dir, g.is_v1 ? "memory.limit_in_bytes" : "memory.max");
    }
}

struct env *env_open(const char *root, long thread_id)
{
    struct env *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    for (size_t i = 0; i < FILE_N; i++)
        e->fds[i] = -1;
    e->throttled_us = e->nr_throttled = e->runq_wait_us = -1;

    char name[64];
    snprintf(name, sizeof(name), "proc/self/task/%ld/schedstat", thread_id);
    e->fds[FILE_PSI_CPU] = open_file(root, "proc/pressure/cpu");
    e->fds[FILE_PSI_MEMORY] = open_file(root, "proc/pressure/memory");
    e->fds[FILE_PSI_IO] = open_file(root, "proc/pressure/io");
    if (thread_id > 0)
        e->fds[FILE_SCHEDSTAT] = open_file(root, name);
    open_cgroups(e, root);
    return e;
}

void env_close(struct env *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < FILE_N; i++) {
        if (e->fds[i] >= 0)
            close(e->fds[i]);
    }
    free(e);
}

/* ---- sampling ---------------------------------------------------------- */

static int32_t read_psi(const struct env *e, enum file file)
{
    char text[TEXT_SIZE];
    ssize_t n = read_fd(e->fds[file], text);
    return n > 0 ? env_parse_psi(text, (size_t)n) : -1;
}

/* Since last time; unknown if either end is, or if the counter went back. */
static int64_t difference(int64_t *previous, int64_t now)
{
    int64_t before = *previous;
    *previous = now;
    return before < 0 || now < before ? -1 : now - before;
}

static void sample_cpu(struct env *e, struct frame_context *c)
{
    char text[TEXT_SIZE];
    ssize_t n = read_fd(e->fds[FILE_CPU_STAT], text);
    size_t len = n < 0 ? 0 : (size_t)n;
    int64_t us = env_parse_key(text, len, "throttled_usec");
    if (e->is_cpu_v1) {
        int64_t ns = env_parse_key(text, len, "throttled_time");
        us = ns < 0 ? -1 : ns / 1000;
    }
    int64_t periods = env_parse_key(text, len, "nr_throttled");
    c->throttled_us = difference(&e->throttled_us, us);
    c->nr_throttled = difference(&e->nr_throttled, periods);

    n = read_fd(e->fds[FILE_SCHEDSTAT], text);
    int64_t wait_ns = n > 0 ? env_parse_schedstat(text, (size_t)n) : -1;
    c->runq_wait_us =
        difference(&e->runq_wait_us, wait_ns < 0 ? -1 : wait_ns / 1000);
}

static void sample_memory(struct env *e, struct frame_context *c)
{
    char text[TEXT_SIZE];
    ssize_t n = read_fd(e->fds[FILE_MEMORY_USED], text);
    c->memory_used = n > 0 ? env_parse_number(text, (size_t)n) : -1;
    n = read_fd(e->fds[FILE_MEMORY_LIMIT], text);
    c->memory_limit = limit_of(text, n);
}

/* More than `percent` of the time? In that order nothing can overflow. */
static bool is_above(int64_t us, uint64_t elapsed_ns, uint64_t percent)
{
    return us >= 0 && elapsed_ns > 0 &&
           (uint64_t)us > elapsed_ns / 1000 / 100 * percent;
}

bool env_is_starved(const struct frame_context *c, uint64_t elapsed_ns)
{
    if (is_above(c->runq_wait_us, elapsed_ns, RUNQ_STARVED_PERCENT))
        return true;
    if (is_above(c->throttled_us, elapsed_ns, THROTTLED_STARVED_PERCENT))
        return true;
    if (c->psi_memory > PSI_STARVED)
        return true;
    return c->runq_wait_us < 0 && c->psi_cpu > PSI_STARVED;
}

void env_sample(struct env *e, uint64_t elapsed_ns, struct frame_context *c)
{
    c->psi_cpu = read_psi(e, FILE_PSI_CPU);
    c->psi_memory = read_psi(e, FILE_PSI_MEMORY);
    c->psi_io = read_psi(e, FILE_PSI_IO);
    sample_cpu(e, c);
    sample_memory(e, c);
    c->is_starved = env_is_starved(c, elapsed_ns);
}
