/* mesh/suspicion.h - how long a suspect may take to refute.
 *
 * A suspicion opens at its longest timeout. Each further member that
 * independently suspects the same node shortens it, until at `k` of them
 * only the shortest timeout is left:
 *
 *     timeout(c) = max - (max - min) * ln(c + 1) / ln(k + 1),  0 <= c <= k
 *
 * A healthy cluster thus decides fast, while a node whose own receive path
 * is bad (it hears no confirmations) waits the longest before it accuses.
 * Source: Dadgar, Phillips, Currey, "Lifeguard" (2017), LHA-Suspicion; the
 * rounding to whole milliseconds is that of hashicorp/memberlist.
 *
 * Pure: no clock, no timer, no allocation. The deadline is absolute, so a
 * confirmation moves it and nothing has to be re-armed here; the caller keeps
 * suspicion_deadline() in its heap. One thread.
 */
#ifndef MESH_SUSPICION_H
#define MESH_SUSPICION_H

#include <stdbool.h>
#include <stdint.h>

#define SUSPICION_K_MAX 8 /* confirmations worth waiting for, upper bound */

/* What a suspicion is allowed to cost, for one cluster size. */
struct suspicion_limits {
    uint64_t min_ns; /* timeout once k members confirmed */
    uint64_t max_ns; /* timeout while nobody confirmed, >= min_ns */
    unsigned k;      /* confirmations wanted, 0..SUSPICION_K_MAX */
};

/* One running suspicion, plain data. Only suspects have one: members.c keeps
 * them in a pool, so that the member record itself stays small. */
struct suspicion {
    struct suspicion_limits limits;
    uint64_t start_ns;                      /* monotonic, when it opened */
    unsigned n;                             /* confirmations heard, 0..k */
    uint32_t accusers[SUSPICION_K_MAX + 1]; /* [0] opened it; 1+n are set */
};

/* Open a suspicion that `accuser` raised at `now_ns`.
 *
 * The caller guarantees limits->min_ns <= limits->max_ns and
 * limits->k <= SUSPICION_K_MAX; config validation has rejected the rest. */
void suspicion_init(struct suspicion *s, const struct suspicion_limits *limits,
                    uint32_t accuser, uint64_t now_ns);

/* Count `accuser` as one more independent witness.
 *
 * Returns true if that was news: the deadline has moved closer and the
 * message should be gossiped on. Returns false for a witness already counted
 * and once k witnesses were heard. */
bool suspicion_confirm(struct suspicion *s, uint32_t accuser);

/* The monotonic time, in ns, at which the suspect is to be declared dead.
 * May already lie in the past. Never later than it was before. */
uint64_t suspicion_deadline(const struct suspicion *s);

#endif /* MESH_SUSPICION_H */
