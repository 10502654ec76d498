/* prober/audit.h - who asked for which probe, one JSON line each.
 *
 * To a file opened for appending (control.audit_file; 0640, reopened on
 * reload) or, without one, to standard error beside the log. A line goes out
 * with one write(2) before the request has any effect, and another one when it
 * has ended. If the line before cannot be written the request must not be
 * carried out (fail closed); audit_is_failing() says so until a write works
 * again, which audit_check() tries once a second.
 *
 *     {"time":..,"audit":"probe_begin","id":..,"principal":..,"role":..,
 *      "peer":..,"target":..,"from":..,"count":..,"decision":"allowed",
 *      "rule":"member"}
 *
 * Values are escaped; a line is bounded at AUDIT_LINE_MAX. Control plane.
 */
#ifndef PROBER_AUDIT_H
#define PROBER_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define AUDIT_LINE_MAX 8192

struct audit; /* opaque */

/* `path` "": standard error. NULL with `msg`. */
struct audit *audit_open(const char *path, struct errmsg *msg);
void audit_close(struct audit *a);
/* Open the file anew (logrotate); the old one stays if that fails. */
int audit_reopen(struct audit *a, const char *path, struct errmsg *msg);

enum audit_kind { AUDIT_TEXT, AUDIT_U64 };
struct audit_field {
    const char *key;  /* NULL ends the list */
    const char *text; /* NULL: `number` */
    uint64_t number;
};
/* Write one line. 0, or ERR_SYS: it is not there. */
int audit_write(struct audit *a, const char *event,
                const struct audit_field *fields);
bool audit_is_failing(const struct audit *a);
void audit_check(struct audit *a); /* once a second */
uint64_t audit_failures(const struct audit *a);

/* The line as it is written, for tests: with newline, no NUL. */
size_t audit_format(char line[AUDIT_LINE_MAX], uint64_t unix_ns,
                    const char *event, const struct audit_field *fields);

#endif /* PROBER_AUDIT_H */
