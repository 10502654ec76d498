/* prober/lockout.h - whoever shows wrong tokens has to wait.
 *
 * Five within a minute close a place for a minute, counted from the fifth;
 * what is tried in that time is not looked at and does not prolong it. A place
 * is an IPv4 address, a /64 of IPv6, or a user id on a unix socket. The table
 * is bounded: when it is full the place that failed longest ago is forgotten,
 * one that is locked only if all are. Pure: time comes in. One thread.
 */
#ifndef PROBER_LOCKOUT_H
#define PROBER_LOCKOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/addr.h"

#define LOCKOUT_FAILURES  5
#define LOCKOUT_NS        UINT64_C(60000000000)
#define LOCKOUT_TABLE_MAX 256

struct lockout_place {
    uint8_t kind; /* 0: none, and the slot is free */
    uint64_t value;
};
struct lockout_place lockout_place_of_addr(const struct addr *a);
struct lockout_place lockout_place_of_user(uint32_t uid);

struct lockout_entry {
    struct lockout_place place;
    uint64_t until_ns; /* locked until then */
    uint64_t last_ns;  /* the last failure */
    unsigned n;        /* failures so far; the newest of them in at_ns */
    uint64_t at_ns[LOCKOUT_FAILURES];
};

struct lockout { /* zero: nobody failed yet */
    struct lockout_entry entries[LOCKOUT_TABLE_MAX];
};

bool lockout_is_locked(const struct lockout *l, uint64_t now_ns,
                       struct lockout_place place);
/* A wrong token came from there, while it was not locked. */
void lockout_add(struct lockout *l, uint64_t now_ns,
                 struct lockout_place place);

#endif /* PROBER_LOCKOUT_H */
