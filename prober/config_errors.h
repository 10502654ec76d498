/* prober/config_errors.h - the complaints about one configuration.
 *
 * Collected while reading, shown together and sorted by place: a person who
 * fixes a file wants all of them at once. Fixed size, so complaining cannot
 * fail; beyond CONFIG_ERRORS_MAX they are only counted.
 */
#ifndef PROBER_CONFIG_ERRORS_H
#define PROBER_CONFIG_ERRORS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/err.h"

#define CONFIG_ERRORS_MAX 100

/* One complaint. Line and column count from 1; line 0: no place. */
struct config_error {
    unsigned line, column;
    bool is_outside; /* not about the file: shown without its name */
    char text[ERRMSG_SIZE];
};

struct config_errors {
    const char *file; /* borrowed, stands in front of each line */
    size_t n;         /* all complaints, also those beyond the cap */
    struct config_error list[CONFIG_ERRORS_MAX];
};

/* Complain about a place in the file; line 0: about the file as a whole. */
void config_errors_add(struct config_errors *e, unsigned line, unsigned column,
                       const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Complain about something that is not in the file, such as a variable. */
void config_errors_add_outside(struct config_errors *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* All complaints, one "file:line:column: text" a line, sorted by place, those
 * without a place last. To be freed by the caller; NULL: no memory. */
char *config_errors_text(const struct config_errors *e);

#define CONFIG_SHOWN_SIZE 64

/* Outside text made fit for a message: cut at 56 bytes, bytes that are not
 * printable ASCII replaced by '?'. Returns `shown`. */
const char *config_shown(const char *text, char shown[CONFIG_SHOWN_SIZE]);

#endif /* PROBER_CONFIG_ERRORS_H */
