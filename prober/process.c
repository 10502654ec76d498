#include "prober/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

/* Whole and resident size, in pages, begin the line. */
static void read_memory(struct metrics_process *out)
{
    char line[256];
    char *end, *begin = line;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return;
    bool is_read = fgets(line, sizeof(line), f);
    fclose(f);
    if (!is_read)
        return;
    int64_t whole = strtoll(line, &begin, 10);
    int64_t resident = strtoll(begin, &end, 10);
    if (begin == line || end == begin)
        return;
    out->virtual_bytes = whole * sysconf(_SC_PAGESIZE);
    out->resident_bytes = resident * sysconf(_SC_PAGESIZE);
}

/* Since Linux 6.2 the directory's size says it. Before, its entries have to be
 * read: 100 us for a thousand. */
static int64_t count_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return -1;
    int64_t n = -1; /* the one that reads is not counted */
    const struct dirent *e;
    while ((e = readdir(dir)))
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

int64_t process_resident_bytes(void)
{
    struct metrics_process now = {.resident_bytes = -1};
    read_memory(&now);
    return now.resident_bytes;
}

void process_read(struct metrics_process *out)
{
    struct timespec cpu;
    struct rlimit limit;
    *out = (struct metrics_process){-1, -1, -1, -1, -1};
    read_memory(out);
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        out->cpu_ns = cpu.tv_sec * NS_PER_S + cpu.tv_nsec;
    out->open_fds = count_fds();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY)
        out->max_fds = (int64_t)limit.rlim_cur;
}
