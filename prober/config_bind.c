#include "prober/config_bind.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_LEN_MAX 48 /* longer keys are not compared for likeness */

void config_bind_push(struct config_binder *b, const char *name)
{
    int n = snprintf(b->path + b->path_len, sizeof(b->path) - b->path_len,
                     "%s%s", b->path_len ? "." : "", name);
    assert(n >= 0);
    b->path_len += (size_t)n;
    assert(b->path_len < sizeof(b->path)); /* names come from tables */
}

void config_bind_push_index(struct config_binder *b, size_t i)
{
    int n = snprintf(b->path + b->path_len, sizeof(b->path) - b->path_len,
                     "[%zu]", i);
    assert(n >= 0);
    b->path_len += (size_t)n;
    assert(b->path_len < sizeof(b->path));
}

void config_bind_pop(struct config_binder *b, size_t path_len)
{
    assert(path_len <= b->path_len);
    b->path_len = path_len;
    b->path[path_len] = '\0';
}

void config_bind_complain(struct config_binder *b,
                          const struct config_node *node, const char *format,
                          ...)
{
    char text[ERRMSG_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    const char *path = b->path_len ? b->path : "the file";
    if (node)
        config_errors_add(b->errors, node->line, node->column, "%s %s", path,
                          text);
    else
        config_errors_add(b->errors, 0, 0, "%s %s", path, text);
}

static const char *kind_name(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_NULL:
        return "nothing";
    case CONFIG_SCALAR:
        return "a single value";
    case CONFIG_LIST:
        return "a list";
    case CONFIG_MAP:
        return "a mapping";
    case CONFIG_BROKEN:
        break;
    }
    return "something broken";
}

void config_bind_defaults(const struct config_key *keys, void *base)
{
    for (const struct config_key *k = keys; k->name; k++) {
        if (k->keys)
            config_bind_defaults(k->keys, base);
        if (!k->fallback)
            continue;
        int rc =
            k->scalar(k, k->fallback, false, (char *)base + k->offset, NULL);
        assert(rc == 0); /* a default that its own reader refuses */
    }
}

/* Levenshtein's distance over one row, for short names. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_LEN_MAX + 1];
    size_t n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            size_t best = row[j] < diagonal ? row[j] + 1 : diagonal + 1;
            row[j + 1] = change < best ? change : best;
        }
    }
    return row[n];
}

/* The key that was probably meant, or NULL. A third of the letters may be
 * wrong, but never more than three. */
static const char *near_miss(const struct config_key *keys, const char *text)
{
    size_t len = strlen(text);
    if (len < 2 || len > NAME_LEN_MAX)
        return NULL;
    size_t best = len / 3 < 3 ? len / 3 + 1 : 4;
    const char *name = NULL;
    for (const struct config_key *k = keys; k->name; k++) {
        size_t d = distance(text, k->name);
        if (d < best) {
            best = d;
            name = k->name;
        }
    }
    return name;
}

static void complain_unknown(struct config_binder *b,
                             const struct config_key *keys,
                             const struct config_node *key)
{
    char shown[CONFIG_SHOWN_SIZE];
    const char *dot = b->path_len ? "." : "";
    config_shown(key->text, shown);

    /* Once nothing is kept any more, likeness is not worth computing. */
    const char *near =
        b->errors->n < CONFIG_ERRORS_MAX ? near_miss(keys, key->text) : NULL;
    if (near)
        config_errors_add(b->errors, key->line, key->column,
                          "unknown key %s%s%s (did you mean %s?)", b->path, dot,
                          shown, near);
    else
        config_errors_add(b->errors, key->line, key->column,
                          "unknown key %s%s%s", b->path, dot, shown);
}

static void bind_scalar(struct config_binder *b, const struct config_key *k,
                        const struct config_node *node, void *at)
{
    struct errmsg why = {0};
    if (node->kind == CONFIG_NULL)
        config_bind_complain(b, node, "has no value");
    else if (node->kind != CONFIG_SCALAR)
        config_bind_complain(b, node, "must be a single value, not %s",
                             kind_name(node->kind));
    else if (k->scalar(k, node->text, node->is_quoted, at, &why))
        config_bind_complain(b, node, "%s", why.text);
}

static void bind_value(struct config_binder *b, const struct config_key *k,
                       const struct config_node *node, void *base)
{
    if (node->kind == CONFIG_BROKEN)
        return;
    if (k->keys)
        config_bind_map(b, k->keys, node, base);
    else if (k->scalar)
        bind_scalar(b, k, node, (char *)base + k->offset);
    else {
        assert(k->bind); /* a key is one of the three */
        k->bind(b, node, base);
    }
}

static void check_required(struct config_binder *b,
                           const struct config_key *keys,
                           const unsigned *first_line,
                           const struct config_node *node)
{
    for (size_t i = 0; keys[i].name; i++) {
        if (keys[i].is_required && !first_line[i])
            config_bind_complain(b, node, "needs a %s", keys[i].name);
    }
}

void config_bind_map(struct config_binder *b, const struct config_key *keys,
                     const struct config_node *node, void *base)
{
    unsigned first_line[CONFIG_KEYS_MAX] = {0};

    if (node->kind != CONFIG_MAP && node->kind != CONFIG_NULL) {
        config_bind_complain(b, node, "must be a mapping, not %s",
                             kind_name(node->kind));
        return;
    }
    for (const struct config_node *n = node->first; n; n = n->next) {
        if (n->key->kind == CONFIG_BROKEN)
            continue;
        size_t i = 0;
        while (keys[i].name && strcmp(keys[i].name, n->key->text) != 0)
            i++;
        assert(i < CONFIG_KEYS_MAX);
        if (!keys[i].name) {
            complain_unknown(b, keys, n->key);
            continue;
        }
        size_t path_len = b->path_len;
        config_bind_push(b, keys[i].name);
        bool is_again = first_line[i] != 0;
        if (is_again)
            config_bind_complain(b, n->key, "is given twice, first in line %u",
                                 first_line[i]);
        else
            first_line[i] = n->key->line;
        /* Scalars and sections are read again, so that their own errors are
         * heard; what a `bind` builds is built once. */
        if (!is_again || !keys[i].bind)
            bind_value(b, &keys[i], n, base);
        config_bind_pop(b, path_len);
    }
    check_required(b, keys, first_line, node);
}

bool config_bind_is_list(struct config_binder *b,
                         const struct config_node *node, size_t max)
{
    if (node->kind == CONFIG_NULL)
        return true;
    if (node->kind != CONFIG_LIST) {
        config_bind_complain(b, node, "must be a list, not %s",
                             kind_name(node->kind));
        return false;
    }
    if (node->n > max) {
        config_bind_complain(
            b, node, "has %zu entries, at most %zu are allowed", node->n, max);
        return false;
    }
    return true;
}

size_t config_bind_scalars(struct config_binder *b,
                           const struct config_key *item,
                           const struct config_node *node, void *items)
{
    size_t n_good = 0;
    size_t i = 0;
    size_t path_len = b->path_len;
    for (const struct config_node *n = node->first; n; n = n->next, i++) {
        if (n->kind == CONFIG_BROKEN)
            continue;
        size_t before = b->errors->n;
        config_bind_push_index(b, i);
        bind_scalar(b, item, n, (char *)items + n_good * item->size);
        config_bind_pop(b, path_len);
        n_good += b->errors->n == before;
    }
    return n_good;
}

void config_bind_variable(const char *path, char *name, size_t size)
{
    int n = snprintf(name, size, "PROBER_%s", path);
    assert(n > 0 && (size_t)n < size);
    for (char *c = name; *c; c++) {
        if (*c == '.')
            *c = '_';
        else if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    }
}

static void override(struct config_binder *b, const struct config_key *k,
                     void *base, char *(*getenv_fn)(const char *))
{
    char name[sizeof(b->path) + 8];
    config_bind_variable(b->path, name, sizeof(name));
    const char *text = getenv_fn(name);
    if (!text || !*text)
        return;
    struct errmsg why = {0};
    if (k->scalar(k, text, false, (char *)base + k->offset, &why))
        config_errors_add_outside(b->errors, "%s: %s %s", name, b->path,
                                  why.text);
}

void config_bind_environment(struct config_binder *b,
                             const struct config_key *keys, void *base,
                             char *(*getenv_fn)(const char *))
{
    for (const struct config_key *k = keys; k->name; k++) {
        size_t path_len = b->path_len;
        config_bind_push(b, k->name);
        if (k->keys)
            config_bind_environment(b, k->keys, base, getenv_fn);
        else if (k->scalar)
            override(b, k, base, getenv_fn);
        config_bind_pop(b, path_len);
    }
}

/* The tables are two levels deep: sections and their keys. */
bool config_bind_path(const struct config_key *keys, size_t i, char *path,
                      size_t size)
{
    for (const struct config_key *section = keys; section->name; section++) {
        if (!section->keys)
            continue;
        for (const struct config_key *k = section->keys; k->name; k++) {
            if (!k->scalar || i-- > 0)
                continue;
            int n = snprintf(path, size, "%s.%s", section->name, k->name);
            assert(n > 0 && (size_t)n < size);
            return true;
        }
    }
    return false;
}
