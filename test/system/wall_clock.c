/* A wall clock that a test can set, for one process: preloaded into it.
 *
 * CLOCK_REALTIME, and the kernel's time stamps of packets with it, are moved by
 * an offset that stands in a file; CLOCK_MONOTONIC stays true, as when somebody
 * sets the clock of a machine. A stamp is moved by the offset that held at its
 * moment, however late it is read, as the kernel would have written it.
 *
 * The file, named by WALL_CLOCK, is written by the test (wall_clock.py):
 *
 *     u64 n; n x { i64 since, i64 offset }    nanoseconds; true time, ascending
 *
 * System calls are made directly: nothing here may call what it stands for. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S  1000000000
#define STEPS_MAX 255

struct steps {
    uint64_t n;
    struct {
        int64_t since_ns, offset_ns;
    } list[STEPS_MAX];
};

static const struct steps *steps; /* set before main(), then only read */

__attribute__((constructor)) static void open_steps(void)
{
    const char *path = getenv("WALL_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(*steps), PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        steps = at;
    close(fd);
}

/* The clock as it was set at a moment of true time. */
static int64_t shown_ns(int64_t true_ns)
{
    uint64_t n = steps ? __atomic_load_n(&steps->n, __ATOMIC_ACQUIRE) : 0;
    while (n > 0 && steps->list[n - 1].since_ns > true_ns)
        n--;
    return n > 0 ? true_ns + steps->list[n - 1].offset_ns : true_ns;
}

static void move(struct timespec *t)
{
    int64_t ns = shown_ns((int64_t)t->tv_sec * NS_PER_S + t->tv_nsec);
    t->tv_sec = ns / NS_PER_S;
    t->tv_nsec = ns % NS_PER_S;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        move(t);
    return rc;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &t))
        return -1;
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

/* Three stamps; those that are not there are zero. */
static void move_stamps(void *data)
{
    struct timespec stamps[3];
    memcpy(stamps, data, sizeof(stamps));
    for (int i = 0; i < 3; i++) {
        if (stamps[i].tv_sec)
            move(&stamps[i]);
    }
    memcpy(data, stamps, sizeof(stamps));
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    ssize_t n = syscall(SYS_recvmsg, fd, m, flags);
    if (n < 0)
        return n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING)
            move_stamps(CMSG_DATA(c));
    }
    return n;
}
