/* prober/refusals.h - who was turned away, counted and folded.
 *
 * Each refusal of the control port belongs into the audit log, and a flood of
 * them must not fill it: of one address the first is told at once, then one
 * line a second with a count. At most REFUSALS_MAX addresses are told apart;
 * the rest share a line. Counters by code are kept for all of them.
 *
 * Pure: time comes in, lines are written by the caller. One thread.
 */
#ifndef PROBER_REFUSALS_H
#define PROBER_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFUSALS_MAX       64
#define REFUSAL_CODES_MAX  32
#define REFUSAL_NAME_SIZE  129
#define REFUSAL_FOLD_NS    UINT64_C(1000000000)
#define REFUSALS_OF_OTHERS "(others)"

struct refusal {
    const char *code; /* of the newest; static */
    char peer[REFUSAL_NAME_SIZE];
    char principal[REFUSAL_NAME_SIZE]; /* "" : not known */
    uint64_t count;                    /* refusals that this line is about */
};

struct refusal_code {
    const char *code; /* static */
    uint64_t count;
};

struct refusals {
    struct refusal_slot {
        uint64_t since_ns;
        bool is_used;
        struct refusal owed; /* count 0: nothing */
        char key[REFUSAL_NAME_SIZE];
    } slots[REFUSALS_MAX + 1]; /* the last one: the others' */
    size_t n_codes;
    struct refusal_code codes[REFUSAL_CODES_MAX];
};

/* All zero is a valid beginning. */

/* One was refused. `peer` as control.h writes it: what makes it one address
 * is told from it. True: *out is a line to be written now. */
bool refusals_add(struct refusals *r, uint64_t now_ns, const char *code,
                  const char *peer, const char *principal, struct refusal *out);
/* Only count it. */
void refusals_count(struct refusals *r, const char *code);
/* The next line that is owed for a second; false: none. */
bool refusals_next(struct refusals *r, uint64_t now_ns, struct refusal *out);
/* When that is to be asked again; UINT64_MAX: not before another refusal. */
uint64_t refusals_due(const struct refusals *r);

#endif /* PROBER_REFUSALS_H */
