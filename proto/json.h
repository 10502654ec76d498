/* proto/json.h - writing JSON, append only.
 *
 * Commas and quotes are the writer's business; nesting is checked by assert.
 * Text is escaped, control characters beyond ASCII and the line separators
 * U+2028 and U+2029 included; bytes that are not valid UTF-8 become U+FFFD.
 * Numbers are integers or finite doubles in shortest round-trip form; NaN and
 * infinity become null. Output goes to a struct wr, whose sticky error is the
 * result.
 *
 * Values at the top, outside any object or array, are written one after the
 * other; what stands between them (a newline, say) is the caller's.
 *
 * jansson, which reads JSON for us, has functions json_object, json_array and
 * json_null. A program's own functions of these names would also be called by
 * that library from within, so ours have others.
 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define JSON_DEPTH_MAX 32

struct json {
    struct wr *out;
    unsigned depth;
    uint32_t is_object;   /* bit d: level d is an object */
    uint32_t has_members; /* bit d: level d needs a comma */
    bool has_key;         /* a key waits for its value */
};

void json_init(struct json *j, struct wr *out);

void json_object_begin(struct json *j); /* { */
void json_object_end(struct json *j);   /* } */
void json_array_begin(struct json *j);
void json_array_end(struct json *j);

void json_key(struct json *j, const char *key);
void json_text(struct json *j, const char *text); /* NULL: null */
void json_text_n(struct json *j, const char *text, size_t len);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
void json_double(struct json *j, double v);
void json_bool(struct json *j, bool v);
void json_put_null(struct json *j);

/* RFC 3339 in UTC with milliseconds: "2026-01-01T00:00:00.000Z". */
void json_time(struct json *j, uint64_t unix_ns);
#define JSON_TIME_SIZE 32
char *json_format_time(uint64_t unix_ns, char text[JSON_TIME_SIZE]);

/* key + value in one call */
void json_key_text(struct json *j, const char *key, const char *text);
void json_key_u64(struct json *j, const char *key, uint64_t v);
void json_key_i64(struct json *j, const char *key, int64_t v);
void json_key_double(struct json *j, const char *key, double v);
void json_key_bool(struct json *j, const char *key, bool v);
void json_key_null(struct json *j, const char *key);
void json_key_time(struct json *j, const char *key, uint64_t unix_ns);

#endif /* PROTO_JSON_H */
