#include <jansson.h>

#include "prober/cli_json.h"

struct json_t *cli_json_open(const char *text, size_t len, struct errmsg *msg)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (!root)
        errmsg_set(msg, "line %d column %d: %s", error.line, error.column,
                   error.text);
    return root;
}

void cli_json_close(struct json_t *root)
{
    json_decref(root);
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

void cli_json_error(const char *text, size_t len, struct errmsg *msg)
{
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message = cli_json_text_of(error, "message", "");

    errmsg_set(msg, "%s", message);
    /* It goes to a terminal as it is. */
    for (size_t n = 0; msg->text[n]; n++) {
        if (msg->text[n] < 0x20 || msg->text[n] > 0x7e)
            msg->text[n] = '?';
    }
    json_decref(root);
}
