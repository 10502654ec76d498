/* prober/env.h - how this host and container are doing.
 *
 * Pressure (PSI "some avg10" of cpu, memory, io), cgroup v2 or v1 CPU
 * throttling and memory, run-queue wait of one thread (schedstat). What is
 * absent is reported as negative, never as 0. The files are found and opened
 * once and re-read in place: a sample costs at most eight pread(2). Parsing
 * is apart from reading and is total.
 *
 * Pressure is the host's (/proc/pressure), the rest is our own: the two
 * answer different questions, a noisy neighbour and our own limit.
 *
 * Which cgroup: the line of /proc/self/cgroup whose v1 hierarchy has the
 * controller, else the v2 line (hybrid hosts keep cpu and memory in v1). In a
 * container that path often does not exist below /sys/fs/cgroup, because the
 * mount shows our own group as its root: then the root of the mount is it. A
 * group without a limit of its own is throttled by that of a parent, so the
 * nearest group with a CPU quota, and the one with a memory limit, is read.
 */
#ifndef PROBER_ENV_H
#define PROBER_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

struct env; /* opaque: open files and the previous counters */

/* `root` is "" in production; tests give a directory with a made-up /proc
 * and /sys. `thread_id` is the measuring thread (gettid); 0: none. NULL: no
 * memory. Missing files are no error. */
struct env *env_open(const char *root, long thread_id);
void env_close(struct env *e);

/* Fill the host part of the context; counters are differences since the
 * previous call (-1 at the first). lag, missed slots and drops are left
 * alone. `elapsed_ns` is the time since the previous call. Sets is_starved
 * by env_is_starved(). */
void env_sample(struct env *e, uint64_t elapsed_ns, struct frame_context *c);

/* The rule, for a window of `elapsed_ns` (0: not known, then only pressure
 * counts). Starved is who
 * - waited for a CPU for more than 5 % of the time: kernel stamps still time
 *   the wire, but late sends, missed slots and user-clock samples now tell
 *   about us;
 * - was throttled for more than 1 % of it: a throttled group stands still for
 *   whole periods of typically 100 ms, all of them in one piece, so a little
 *   does more harm than the same time spread over run-queue waits;
 * - lives on a host where memory stalls someone for 20 % of the time: our own
 *   pages are then being fetched back, which schedstat does not show.
 * CPU and I/O pressure alone do not count: a busy host whose scheduler still
 * serves us at once is not starving us. Only where the wait is not known does
 * CPU pressure above 20 % stand in for it. */
bool env_is_starved(const struct frame_context *c, uint64_t elapsed_ns);

/* "some avg10=1.23 ..." -> 123, or -1. */
int32_t env_parse_psi(const char *text, size_t len);
/* The value of `key` in "key value\n" lines, or -1. */
int64_t env_parse_key(const char *text, size_t len, const char *key);
/* A file that is one number: its value; -1 for "max" or anything else. */
int64_t env_parse_number(const char *text, size_t len);
/* schedstat: "run_ns wait_ns slices" -> wait_ns or -1. */
int64_t env_parse_schedstat(const char *text, size_t len);

/* The path in /proc/self/cgroup of the v1 hierarchy with `controller`, or of
 * the v2 line if controller is "". Writes path and, for v1, the list of
 * controllers as the line has it. Returns 0, ERR_BAD if there is none (or it
 * goes up by ".."), ERR_TOOBIG. */
#define ENV_PATH_SIZE 1024
int env_parse_cgroup(const char *text, size_t len, const char *controller,
                     char path[ENV_PATH_SIZE], char list[ENV_PATH_SIZE]);

#endif /* PROBER_ENV_H */
