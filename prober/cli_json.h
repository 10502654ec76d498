/* prober/cli_json.h - reading an answer's JSON, for the command line.
 *
 * The one door to jansson. Answers come from the network, so nothing here
 * trusts a type: what is absent or of another type reads as the nothing that
 * each function names, and NULL is a value like any other absent one. Pure.
 */
#ifndef PROBER_CLI_JSON_H
#define PROBER_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

struct json_t; /* opaque: one value of a document, and all below it */

/* Parse a whole document; an object's keys have to differ. Returns it, to be
 * given to cli_json_close(), or NULL with `msg` set. All that is read from it
 * lives as long as it. */
struct json_t *cli_json_open(const char *text, size_t len, struct errmsg *msg);
void cli_json_close(struct json_t *root); /* NULL is allowed */
/* Append a text as it is, with a newline at its end, if it is one object:
 * nothing else is handed on to a terminal or to the next program. 0; ERR_BAD
 * with `msg`. */
int cli_json_hand_on(const char *text, size_t len, struct wr *w,
                     struct errmsg *msg);

const struct json_t *cli_json_get(const struct json_t *object, const char *key);
bool cli_json_is_array(const struct json_t *v);
bool cli_json_is_object(const struct json_t *v);
size_t cli_json_count(const struct json_t *array); /* else 0 */
const struct json_t *cli_json_at(const struct json_t *array, size_t i);
const char *cli_json_text(const struct json_t *v); /* else NULL */

/* A number without fraction or exponent; false: it is something else. */
bool cli_json_integer(const struct json_t *v, int64_t *n);
/* A key of the object that is none of `known` (ended by NULL), or NULL. */
const char *cli_json_unknown_key(const struct json_t *object,
                                 const char *const known[]);

/* Members of an object. */
const char *cli_json_text_of(const struct json_t *object, const char *key,
                             const char *otherwise);
/* A whole number that is not negative, else 0. */
uint64_t cli_json_u64_of(const struct json_t *object, const char *key);
/* A number that is not negative, else -1. */
double cli_json_number_of(const struct json_t *object, const char *key);
/* true, else false. */
bool cli_json_bool_of(const struct json_t *object, const char *key);

/* Write a text, a number, true, false or null as it is; false: it is none of
 * these. */
bool cli_json_scalar(const struct json_t *v, struct wr *w);

/* The members of an object, one after the other; of what is no object there
 * are none.
 *
 *     cli_json_members_init(&m, object);
 *     while (cli_json_members_next(&m, &key, &value)) ...; */
struct cli_json_members {
    const struct json_t *object;
    void *at;
};
void cli_json_members_init(struct cli_json_members *m,
                           const struct json_t *object);
bool cli_json_members_next(struct cli_json_members *m, const char **key,
                           const struct json_t **value);

/* What is repeated of another's text goes to a terminal as it is: let only
 * printable ASCII be there. NULL is allowed. */
void cli_json_make_plain(struct errmsg *msg);

/* The message of {"error":{"code":..,"message":..}}, fit for a terminal, or
 * "". */
void cli_json_error(const char *text, size_t len, struct errmsg *msg);

#endif /* PROBER_CLI_JSON_H */
