/* prober/log.h - structured lines on stderr: "level event key=value ...".
 *
 * Or JSON, one object a line, with the time. Values are escaped, a line is
 * bounded at LOG_LINE_MAX (longer values are cut), and each goes out with one
 * write(2), so that lines of several processes do not mix. Under systemd (the
 * variable JOURNAL_STREAM is set) text lines carry the "<N>" priority prefix.
 *
 * A flood folds: of one event, LOG_BURST lines within a second are written as
 * they come, after that one a second, with folded=N saying how many were left
 * out. What is still owed is written by log_tick(). Debug lines do not fold.
 *
 * Main thread only; the measuring thread hands records over through its queue
 * (link_uv.h) instead. The sink is the one global of the program.
 *
 *     log_event(LOG_INFO, "listening", "plane", "probe", "address", text,
 *               NULL);
 */
#ifndef PROBER_LOG_H
#define PROBER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/config.h"

#define LOG_LINE_MAX  4096 /* with the final newline */
#define LOG_PAIRS_MAX 32
#define LOG_EVENT_MAX 40 /* longer names are cut for folding */
#define LOG_FOLDS_MAX 64 /* events watched at once */
#define LOG_BURST     5

/* Set once at start and on reload. Before the first call: info, text. */
void log_setup(enum config_log_level level, bool is_json);

/* One key and its value; key NULL ends the list. A NULL value is left out. */
struct log_pair {
    const char *key, *value;
};

/* Write one line with the pairs given. */
void log_pairs(enum config_log_level level, const char *event,
               const struct log_pair *pairs);

/* Convenience: log_event(LOG_INFO, "started", "node", name, "zone", zone,
 * NULL): alternating keys and values, ended by NULL. A value must not be
 * NULL. At most LOG_PAIRS_MAX pairs. */
void log_event(enum config_log_level level, const char *event, ...)
    __attribute__((sentinel));

/* Write what folding still owes. Call about once a second, and at the end. */
void log_tick(void);

/* ---- the parts, pure, for tests ---- */

/* The line with its newline, at most LOG_LINE_MAX bytes, no final NUL.
 * Returns its length. unix_ns is used by JSON only. */
size_t log_format(char line[LOG_LINE_MAX], bool is_json, uint64_t unix_ns,
                  enum config_log_level level, const char *event,
                  const struct log_pair *pairs);

/* What is remembered of one event. A zeroed one is free. */
struct log_fold {
    char event[LOG_EVENT_MAX];
    enum config_log_level level;
    uint64_t since_ns; /* start of the running second, monotonic */
    uint32_t written;  /* lines in it */
    uint32_t folded;   /* lines left out since the last one written */
};

struct log_folds {
    struct log_fold slots[LOG_FOLDS_MAX];
};

/* May a line of `event` be written at `now_ns`? *folded is how many were left
 * out before it; reported once. */
bool log_folds_take(struct log_folds *f, enum config_log_level level,
                    const char *event, uint64_t now_ns, uint32_t *folded);

/* The next event that was silent for a second and owes a count, or NULL. Its
 * count is in *folded and is forgotten here. */
const struct log_fold *log_folds_next_due(struct log_folds *f, uint64_t now_ns,
                                          uint32_t *folded);

#endif /* PROBER_LOG_H */
