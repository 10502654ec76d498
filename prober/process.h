/* prober/process.h - this process as the system counts it.
 *
 * For /metrics: a few small files of /proc and two system calls, well below a
 * millisecond.
 */
#ifndef PROBER_PROCESS_H
#define PROBER_PROCESS_H

#include "prober/metrics.h"

/* What cannot be told is negative. */
void process_read(struct metrics_process *out);

/* Only that; -1: not known. */
int64_t process_resident_bytes(void);

#endif /* PROBER_PROCESS_H */
