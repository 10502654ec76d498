/* proto/base/rate.h - so much per time, and so much at once.
 *
 * A leaky bucket kept as one moment: what was taken so far is paid for until
 * `paid_ns`. Each thing has a price in time (at 10 a second 100 ms), and taking
 * it moves that moment on; it may lie at most a burst in the future. In a time
 * T no more than burst + T worth is taken, whatever the order (the generic cell
 * rate algorithm of ATM, ITU-T I.371).
 *
 *     struct rate r = {0};                        nothing taken: a full burst
 *     const uint64_t one_ns = rate_price(1, 10);  ten a second, five at once:
 *     if (rate_take(&r, now_ns, one_ns, 5 * one_ns)) ...
 *
 * Time that goes backwards pays for nothing and breaks nothing. Pure.
 */
#ifndef PROTO_BASE_RATE_H
#define PROTO_BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* Zero: nothing was taken yet. */
struct rate {
    uint64_t paid_ns; /* on the caller's clock */
};

/* What `amount` costs at `per_s` a second, in ns and rounded down, so that a
 * burst of a second holds a second's worth. UINT64_MAX, which is never to be
 * had, if nothing is allowed (per_s 0) or it is too much for a number. */
static inline uint64_t rate_price(uint64_t amount, uint64_t per_s)
{
    const uint64_t ns_per_s = UINT64_C(1000000000);
    uint64_t all_ns;
    if (amount == 0)
        return 0;
    if (per_s == 0)
        return UINT64_MAX;
    if (__builtin_mul_overflow(amount, ns_per_s, &all_ns))
        return UINT64_MAX;
    return all_ns / per_s;
}

/* Is there room for something of this price? */
static inline bool rate_can(const struct rate *r, uint64_t now_ns,
                            uint64_t price_ns, uint64_t burst_ns)
{
    uint64_t ahead_ns = r->paid_ns > now_ns ? r->paid_ns - now_ns : 0;
    return ahead_ns <= burst_ns && price_ns <= burst_ns - ahead_ns;
}

/* Take it, whether there is room or not. */
static inline void rate_pay(struct rate *r, uint64_t now_ns, uint64_t price_ns)
{
    uint64_t from_ns = r->paid_ns > now_ns ? r->paid_ns : now_ns;
    if (__builtin_add_overflow(from_ns, price_ns, &r->paid_ns))
        r->paid_ns = UINT64_MAX;
}

/* Take it if there is room. False: nothing was taken. */
static inline bool rate_take(struct rate *r, uint64_t now_ns, uint64_t price_ns,
                             uint64_t burst_ns)
{
    if (!rate_can(r, now_ns, price_ns, burst_ns))
        return false;
    rate_pay(r, now_ns, price_ns);
    return true;
}

#endif /* PROTO_BASE_RATE_H */
