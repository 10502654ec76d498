/* prober/metrics_text.h - writing the exposition format, both of them.
 *
 * What differs between OpenMetrics and the older text is decided here, once:
 * OpenMetrics names a counter's family without _total and knows units and
 * `info`.
 *
 *     # TYPE prober_missed_slots counter
 *     # HELP prober_missed_slots Scheduled attempts that ...
 *     prober_missed_slots_total 3
 *
 * Pure. Errors stay in the writer.
 */
#ifndef PROBER_METRICS_TEXT_H
#define PROBER_METRICS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"

enum metrics_type {
    METRICS_GAUGE,
    METRICS_COUNTER,
    METRICS_HISTOGRAM,
    METRICS_INFO,
};

/* A family, in constant tables. */
struct metrics_family {
    const char *name; /* without _total and _info */
    enum metrics_type type;
    const char *unit; /* the end of the name, or NULL */
    const char *help; /* one line, nothing in it to escape */
};

/* TYPE, UNIT and HELP. */
void metrics_put_family(struct wr *w, bool is_openmetrics,
                        const struct metrics_family *f);

/* The name of its samples: with _total or _info. */
void metrics_put_name(struct wr *w, const struct metrics_family *f);

/* key="value": cleaned (proto/utf8.h), at most 128 bytes of it, escaped. */
void metrics_put_label(struct wr *w, const char *key, const char *value);

void metrics_put_u64(struct wr *w, uint64_t v);
/* ns as seconds, exactly: "0.000015258", "1.0". */
void metrics_put_seconds(struct wr *w, uint64_t ns);

#endif /* PROBER_METRICS_TEXT_H */
