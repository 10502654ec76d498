/* proto/base/stamp.h - a moment, and whose clock it was read from.
 *
 * Monotonic nanoseconds. A measurement is the difference of two stamps and is
 * only as good as the worse of them.
 */
#ifndef PROTO_BASE_STAMP_H
#define PROTO_BASE_STAMP_H

#include <stdint.h>

enum stamp_source {
    STAMP_NONE = 0, /* not taken; ns is meaningless */
    STAMP_USER,     /* our own clock, so our own delays are in it */
    STAMP_KERNEL,   /* the kernel's, taken when the packet passed */
};

struct stamp {
    uint64_t ns;
    enum stamp_source source;
};

#endif /* PROTO_BASE_STAMP_H */
