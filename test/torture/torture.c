#include "test/torture/torture.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/torture/faults.h"

#define FINDINGS_MAX 20
#define RUN_SECONDS  60 /* until a run is taken to hang */

/* One kind of fault, whose points are tried one by one. */
struct variant {
    enum fault_kind kind;
    bool is_lasting;
    int error;
};

static const struct variant variants[] = {
    {FAULT_MEMORY, false, 0},        {FAULT_MEMORY, true, 0},
    {FAULT_CALL, false, 0},          {FAULT_CALL, true, 0},
    {FAULT_CALL, false, EINTR},      {FAULT_CALL, false, EAGAIN},
    {FAULT_CALL, false, ENOBUFS},    {FAULT_CALL, false, EMFILE},
    {FAULT_CALL, false, ENFILE},     {FAULT_CALL, false, ENOMEM},
    {FAULT_CALL, false, ECONNRESET}, {FAULT_CALL, false, EPIPE},
    {FAULT_CALL, false, EIO},        {FAULT_CALL, false, ENOSPC},
    {FAULT_CALL, true, ENOBUFS},     {FAULT_CALL, true, EMFILE},
    {FAULT_CALL, true, ENOMEM},      {FAULT_CALL, true, EIO},
    {FAULT_CALL, true, ENOSPC},
};
#define N_VARIANTS (sizeof(variants) / sizeof(variants[0]))

/* Where a child is; its parent reads it when it has died. */
static struct progress {
    size_t variant;
    uint64_t at; /* 0: undisturbed */
    uint64_t points[N_VARIANTS], tried, spoilt;
    bool is_after; /* the undisturbed run after it */
} * progress;

static char directory[128];
static bool is_deep;
static uint64_t offset;

const char *torture_directory(void)
{
    return directory;
}

static void describe(FILE *to)
{
    if (progress->variant == N_VARIANTS) {
        fputs("its end", to);
        return;
    }
    const struct variant *v = &variants[progress->variant];
    fprintf(to, "%s %s%s, point %llu of %llu (%s)%s",
            v->kind == FAULT_MEMORY ? "memory"
            : v->error              ? strerrorname_np(v->error)
                                    : "one byte",
            v->is_lasting ? "from there on" : "once",
            progress->at ? "" : ", none", (unsigned long long)progress->at,
            (unsigned long long)progress->points[progress->variant],
            faults_where(), progress->is_after ? ", the run after" : "");
}

void torture_broken(const char *what, const char *file, int line)
{
    faults_pause();
    fprintf(stderr, "%s:%d: not true: %s\n  ", file, line, what);
    describe(stderr);
    fputc('\n', stderr);
    abort();
}

/* ---- in the child ---- */

static void check_nothing_left(size_t blocks, size_t files)
{
    if (faults_live_blocks() != blocks)
        faults_print_live();
    claim(faults_live_blocks() == blocks);
    claim(faults_live_files() == files);
}

/* Returns the points. */
static uint64_t run(const struct torture_scenario *s, const struct fault *f,
                    bool *is_fine)
{
    size_t blocks = faults_live_blocks();
    size_t files = faults_live_files();
    alarm(RUN_SECONDS);
    faults_begin(f);
    *is_fine = s->run();
    uint64_t n = faults_end();
    alarm(0);
    check_nothing_left(blocks, files);
    return n;
}

static void try(const struct torture_scenario *s, const struct variant *v,
                uint64_t at)
{
    bool is_fine;
    struct fault f = {v->kind, at, v->is_lasting, v->error};
    progress->at = at;
    (void)run(s, &f, &is_fine);
    progress->tried++;
    progress->spoilt += !is_fine;
    progress->is_after = true;
    f.at = 0;
    (void)run(s, &f, &is_fine);
    claim(is_fine);
    progress->is_after = false;
}

/* The points of this variant that are beyond `from`. */
static void try_all(const struct torture_scenario *s, uint64_t from)
{
    const struct variant *v = &variants[progress->variant];
    uint64_t n = progress->points[progress->variant];
    uint64_t step = 1;
    /* Most allocations are OpenSSL's: more of them, to meet all of ours. */
    uint64_t max = s->points_max * (v->kind == FAULT_MEMORY ? 4u : 1u);
    if (!is_deep && n > max)
        step = (n + max - 1) / max;
    uint64_t first = 1 + (offset + progress->variant) % step;
    for (uint64_t at = first; at <= n; at += step) {
        if (at > from)
            try(s, v, at);
    }
    progress->at = 0;
}

/* Begins where `progress` says, that point excluded. */
static int child(const struct torture_scenario *s)
{
    bool is_fine;
    uint64_t from = progress->at;
    progress->at = 0;
    progress->is_after = false;
    /* What libraries make once, and keep. */
    for (int i = 0; i < 2; i++)
        claim(s->run());
    for (; progress->variant < N_VARIANTS; progress->variant++) {
        const struct variant *v = &variants[progress->variant];
        struct fault f = {v->kind, 0, false, v->error};
        if (v->kind == FAULT_CALL && !s->has_calls)
            continue;
        progress->points[progress->variant] = run(s, &f, &is_fine);
        claim(is_fine);
        try_all(s, from);
        from = 0;
    }
    return 0;
}

/* ---- in the parent ---- */

/* Of LeakSanitizer; NULL: we do not run under it. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* Not by exit(): when it was short of memory while it read CAs, OpenSSL frees
 * a loader twice there (3.0, ossl_store_destroy_loaders_int). */
__attribute__((noreturn)) static void finish(int status)
{
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
        status = 1;
    fflush(NULL);
    _exit(status);
}

/* Returns whether the child went to its end. */
static bool run_child(const struct torture_scenario *s)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0)
        finish(child(s));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    fprintf(stderr, "%s: %s %d at ", s->name,
            WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    describe(stderr);
    fputc('\n', stderr);
    return false;
}

static unsigned torture(const struct torture_scenario *s)
{
    unsigned findings = 0;
    while (!run_child(s) && ++findings < FINDINGS_MAX &&
           progress->variant < N_VARIANTS) {
        if (progress->at == 0)
            break; /* not even undisturbed */
    }
    return findings;
}

/* In a process and a directory of its own: most of the time is spent waiting
 * for what a fault has lost. */
static pid_t supervise(const struct torture_scenario *s, size_t i)
{
    char own[sizeof(directory)];
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    snprintf(own, sizeof(own), "%.100s/%zu", directory, i);
    memcpy(directory, own, sizeof(own));
    progress += i;
    _exit(mkdir(own, 0700) ? 255 : (int)torture(s));
}

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static bool set_up(size_t n)
{
    const char *depth = getenv("TORTURE");
    const char *seed = getenv("CHECK_SEED");
    const char *tmp = getenv("TMPDIR");
    is_deep = depth && strcmp(depth, "deep") == 0;
    offset = seed ? strtoull(seed, NULL, 0) : 1;
    snprintf(directory, sizeof(directory), "%.60s/torture-XXXXXX",
             tmp ? tmp : "/tmp");
    /* Dumps of what dies on purpose would only fill the disk. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    progress = mmap(NULL, n * sizeof(*progress), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return progress != MAP_FAILED && mkdtemp(directory);
}

static bool report(const struct torture_scenario *s, const struct progress *p,
                   pid_t pid, unsigned number)
{
    int status = 1;
    unsigned long long points = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    for (size_t v = 0; v < N_VARIANTS; v++)
        points += p->points[v];
    /* One that tried nothing has shown nothing. */
    bool is_good = status == 0 && p->tried > 0;
    printf("%sok %u - %s\n# %s: %llu points in all, %llu tried, %llu of them "
           "changed the outcome\n",
           is_good ? "" : "not ", number, s->name, s->name, points,
           (unsigned long long)p->tried, (unsigned long long)p->spoilt);
    return is_good;
}

int torture_main(const struct torture_scenario *scenarios, size_t n)
{
    unsigned bad = 0, count = 0;
    const char *only = getenv("TORTURE_ONLY");
    pid_t pids[16] = {0};
    if (n > sizeof(pids) / sizeof(pids[0]) || !set_up(n)) {
        perror("torture");
        return 2;
    }
    faults_install();
    faults_print_exempt();
    for (size_t i = 0; i < n; i++) {
        if (!only || strcmp(only, scenarios[i].name) == 0)
            pids[i] = supervise(&scenarios[i], i);
    }
    for (size_t i = 0; i < n; i++) {
        if (pids[i])
            bad += !report(&scenarios[i], &progress[i], pids[i], ++count);
    }
    printf("1..%u\n", count);
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return bad > 0;
}
