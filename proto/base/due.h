/* proto/base/due.h - how long until something is due, for timers that count
 * milliseconds.
 *
 * Rounded up: a timer that fired before its time would find nothing to do and
 * be set again. Pure.
 */
#ifndef PROTO_BASE_DUE_H
#define PROTO_BASE_DUE_H

#include <stdint.h>

/* Milliseconds from `now_ns` to `due_ns`, of one clock; 0 when it is due. */
static inline uint64_t due_ms(uint64_t due_ns, uint64_t now_ns)
{
    const uint64_t ns_per_ms = 1000000;
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    return left_ns / ns_per_ms + (left_ns % ns_per_ms != 0);
}

#endif /* PROTO_BASE_DUE_H */
