#include "mesh/suspicion.h"

#include <assert.h>
#include <math.h>

#define NS_PER_MS 1000000u

static void check(const struct suspicion *s)
{
    assert(s->limits.min_ns <= s->limits.max_ns);
    assert(s->limits.k <= SUSPICION_K_MAX);
    assert(s->n <= s->limits.k);
}

void suspicion_init(struct suspicion *s, const struct suspicion_limits *limits,
                    uint32_t accuser, uint64_t now_ns)
{
    *s = (struct suspicion){
        .limits = *limits,
        .start_ns = now_ns,
        .accusers = {accuser},
    };
    check(s);
}

bool suspicion_confirm(struct suspicion *s, uint32_t accuser)
{
    check(s);

    if (s->n == s->limits.k)
        return false;

    for (unsigned i = 0; i <= s->n; i++) {
        if (s->accusers[i] == accuser)
            return false;
    }

    s->accusers[++s->n] = accuser;
    return true;
}

static uint64_t timeout_ns(const struct suspicion *s)
{
    const struct suspicion_limits *l = &s->limits;

    /* The ends are exact by definition; only between them do we round. This
     * also keeps k == 0 out of the division. */
    if (s->n == l->k)
        return l->min_ns;
    if (s->n == 0)
        return l->max_ns;

    double share = log(s->n + 1.0) / log(l->k + 1.0);
    double span_ns = (double)(l->max_ns - l->min_ns);
    uint64_t raw_ns = l->max_ns - (uint64_t)(share * span_ns);
    uint64_t whole_ms_ns = raw_ns - raw_ns % NS_PER_MS;

    return whole_ms_ns < l->min_ns ? l->min_ns : whole_ms_ns;
}

uint64_t suspicion_deadline(const struct suspicion *s)
{
    check(s);
    return s->start_ns + timeout_ns(s);
}
