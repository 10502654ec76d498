#include <jansson.h>

#include <string.h>

#include "prober/cli_json.h"

void cli_json_make_plain(struct errmsg *msg)
{
    for (size_t n = 0; msg && msg->text[n]; n++) {
        if (msg->text[n] < 0x20 || msg->text[n] > 0x7e)
            msg->text[n] = '?';
    }
}

struct json_t *cli_json_open(const char *text, size_t len, struct errmsg *msg)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (root)
        return root;
    errmsg_set(msg, "line %d column %d: %s", error.line, error.column,
               error.text);
    cli_json_make_plain(msg);
    return NULL;
}

void cli_json_close(struct json_t *root)
{
    json_decref(root);
}

/* In a text that the parser takes, control bytes other than white space are
 * escaped. */
int cli_json_hand_on(const char *text, size_t len, struct wr *w,
                     struct errmsg *msg)
{
    struct json_t *root = cli_json_open(text, len, msg);
    if (!root)
        return ERR_BAD;
    bool is_object = json_is_object(root);
    cli_json_close(root);
    if (!is_object) {
        errmsg_set(msg, "not an object");
        return ERR_BAD;
    }
    wr_bytes(w, text, len);
    if (text[len - 1] != '\n')
        wr_u8(w, '\n');
    return 0;
}

const struct json_t *cli_json_get(const struct json_t *object, const char *key)
{
    return json_object_get(object, key);
}

bool cli_json_is_array(const struct json_t *v)
{
    return json_is_array(v);
}

bool cli_json_is_object(const struct json_t *v)
{
    return json_is_object(v);
}

size_t cli_json_count(const struct json_t *array)
{
    return json_array_size(array);
}

const struct json_t *cli_json_at(const struct json_t *array, size_t i)
{
    return json_array_get(array, i);
}

const char *cli_json_text(const struct json_t *v)
{
    return json_string_value(v);
}

bool cli_json_integer(const struct json_t *v, int64_t *n)
{
    if (!json_is_integer(v))
        return false;
    *n = json_integer_value(v);
    return true;
}

const char *cli_json_unknown_key(const struct json_t *object,
                                 const char *const known[])
{
    /* The library has no walk over an object that is const. */
    json_t *walked = (json_t *)(uintptr_t)object;
    for (void *at = json_object_iter(walked); at;
         at = json_object_iter_next(walked, at)) {
        const char *key = json_object_iter_key(at);
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return key;
    }
    return NULL;
}

const char *cli_json_text_of(const struct json_t *object, const char *key,
                             const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : otherwise;
}

uint64_t cli_json_u64_of(const struct json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

double cli_json_number_of(const struct json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    double n = json_is_number(v) ? json_number_value(v) : -1;
    return n >= 0 ? n : -1;
}

bool cli_json_bool_of(const struct json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool cli_json_scalar(const struct json_t *v, struct wr *w)
{
    if (json_is_string(v))
        wr_text(w, json_string_value(v));
    else if (json_is_integer(v))
        wr_printf(w, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        wr_printf(w, "%.6g", json_real_value(v));
    else if (json_is_boolean(v))
        wr_text(w, json_is_true(v) ? "true" : "false");
    else if (json_is_null(v))
        wr_text(w, "-");
    else
        return false;
    return true;
}

/* jansson's iterators want what they do not change without a const. */
static json_t *unlocked(const struct json_t *v)
{
    return (json_t *)(uintptr_t)v;
}

void cli_json_members_init(struct cli_json_members *m,
                           const struct json_t *object)
{
    m->object = object;
    m->at = json_object_iter(unlocked(object));
}

bool cli_json_members_next(struct cli_json_members *m, const char **key,
                           const struct json_t **value)
{
    if (!m->at)
        return false;
    *key = json_object_iter_key(m->at);
    *value = json_object_iter_value(m->at);
    m->at = json_object_iter_next(unlocked(m->object), m->at);
    return true;
}

void cli_json_error(const char *text, size_t len, struct errmsg *msg)
{
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message = cli_json_text_of(error, "message", "");

    errmsg_set(msg, "%s", message);
    cli_json_make_plain(msg);
    json_decref(root);
}
