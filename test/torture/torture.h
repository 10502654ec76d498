/* test/torture/torture.h - scenarios, and each point of them failing in turn.
 *
 * A scenario is run once undisturbed, which counts its points. Then it is run
 * again for points 1, 2, 3 ..., that one failing: once, and from there on; for
 * calls with one errno after the other, and moving a byte at a time. Asserted
 * each time: it comes to an end, no claim in it is broken, neither a block nor
 * a descriptor is left over, and the next run, undisturbed, is as the first.
 *
 * Each scenario has processes of its own, so a crash is one finding, and what
 * comes behind it is tried in the next process. By default only so many points
 * are tried, evenly spread; all of them with TORTURE=deep. TORTURE_ONLY=NAME
 * picks a scenario; CHECK_SEED moves the points.
 */
#ifndef TEST_TORTURE_TORTURE_H
#define TEST_TORTURE_TORTURE_H

#include <stdbool.h>
#include <stddef.h>

struct torture_scenario {
    const char *name; /* a claim, without blanks */
    /* From nothing to nothing, once. Was all as it is without a fault? */
    bool (*run)(void);
    unsigned points_max; /* of each kind of fault, if not deep */
    bool has_calls;      /* it makes system calls */
};

/* Run them all, say so in TAP; main()'s result. */
int torture_main(const struct torture_scenario *scenarios, size_t n);

/* What has to be true whatever fails. */
#define claim(x) ((x) ? (void)0 : torture_broken(#x, __FILE__, __LINE__))
void torture_broken(const char *what, const char *file, int line)
    __attribute__((noreturn));

/* A directory for this process, emptied by torture_main(). */
const char *torture_directory(void);

#endif /* TEST_TORTURE_TORTURE_H */
