#include "prober/config_yaml.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

/* Where the builder stands. `key` waits for its value. */
struct builder {
    struct config_tree *tree;
    struct config_errors *errors;
    struct config_node *open; /* innermost list or mapping, or NULL */
    struct config_node *key;
    unsigned depth, n_documents;
    bool is_done; /* stream ended or there is no sense in going on */
    int err;
};

static unsigned place(size_t zero_based)
{
    return zero_based < UINT32_MAX ? (unsigned)zero_based + 1 : UINT32_MAX;
}

static void complain(struct builder *b, const yaml_event_t *e, const char *what)
{
    config_errors_add(b->errors, place(e->start_mark.line),
                      place(e->start_mark.column), "%s", what);
}

/* A complaint after which the structure cannot be followed any more. */
static void give_up(struct builder *b, const yaml_event_t *e, const char *what)
{
    complain(b, e, what);
    b->is_done = true;
}

static struct config_node *new_node(struct builder *b, const yaml_event_t *e,
                                    enum config_kind kind, const void *text,
                                    size_t len)
{
    if (b->tree->n_nodes >= CONFIG_NODES_MAX) {
        give_up(b, e, "too many values");
        return NULL;
    }
    struct config_node *n = calloc(1, sizeof(*n) + len + 1);
    if (!n) {
        b->err = ERR_NOMEM;
        b->is_done = true;
        return NULL;
    }
    n->kind = kind;
    n->line = place(e->start_mark.line);
    n->column = place(e->start_mark.column);
    if (len)
        memcpy(n->text, text, len);
    n->older = b->tree->newest;
    b->tree->newest = n;
    b->tree->n_nodes++;
    return n;
}

static bool wants_key(const struct builder *b)
{
    return b->open && b->open->kind == CONFIG_MAP && !b->key;
}

/* Hang a finished scalar or a just opened container into the tree. */
static void attach(struct builder *b, struct config_node *n)
{
    struct config_node *up = b->open;
    n->parent = up;
    n->key = b->key;
    b->key = NULL;
    if (!up) {
        b->tree->root = n;
        return;
    }
    if (up->last)
        up->last->next = n;
    else
        up->first = n;
    up->last = n;
    up->n++;
}

static void refuse_extras(struct builder *b, const yaml_event_t *e,
                          const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        complain(b, e, "anchors (&name) are not supported");
    if (tag)
        complain(b, e, "tags (!name) are not supported");
}

static bool is_null(const char *text, size_t len)
{
    return len == 0 || (len == 1 && *text == '~') ||
           (len == 4 && memcmp(text, "null", 4) == 0);
}

static void on_scalar(struct builder *b, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    bool is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    refuse_extras(b, e, e->data.scalar.anchor, e->data.scalar.tag);

    enum config_kind kind = CONFIG_SCALAR;
    if (memchr(text, 0, len)) {
        complain(b, e, "text must not contain a NUL byte");
        kind = CONFIG_BROKEN;
    } else if (is_plain && is_null(text, len)) {
        kind = CONFIG_NULL;
    }

    bool is_key = wants_key(b);
    struct config_node *n = new_node(b, e, kind, text, len);
    if (!n)
        return;
    n->is_quoted = !is_plain;
    if (is_key)
        b->key = n;
    else
        attach(b, n);
}

static void on_open(struct builder *b, const yaml_event_t *e,
                    enum config_kind kind)
{
    if (wants_key(b)) {
        give_up(b, e, "a key must be text, not a list or mapping");
        return;
    }
    if (b->depth == CONFIG_DEPTH_MAX) {
        give_up(b, e, "nested too deeply");
        return;
    }
    struct config_node *n = new_node(b, e, kind, NULL, 0);
    if (!n)
        return;
    attach(b, n);
    b->open = n;
    b->depth++;
}

static void on_close(struct builder *b)
{
    assert(b->open); /* libyaml ends only what it began */
    b->open = b->open->parent;
    b->depth--;
}

/* An alias is never followed; in its place stands a node about which nobody
 * complains a second time. */
static void on_alias(struct builder *b, const yaml_event_t *e)
{
    bool is_key = wants_key(b);
    complain(b, e, "aliases (*name) are not supported");
    struct config_node *n = new_node(b, e, CONFIG_BROKEN, NULL, 0);
    if (!n)
        return;
    if (is_key)
        b->key = n;
    else
        attach(b, n);
}

static void on_document(struct builder *b, const yaml_event_t *e)
{
    if (b->n_documents++)
        give_up(b, e, "only one document (---) is allowed");
    if (e->data.document_start.tag_directives.start !=
        e->data.document_start.tag_directives.end)
        complain(b, e, "%TAG directives are not supported");
}

static void on_event(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        on_document(b, e);
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(b, e);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(b, e);
        break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_extras(b, e, e->data.sequence_start.anchor,
                      e->data.sequence_start.tag);
        on_open(b, e, CONFIG_LIST);
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_extras(b, e, e->data.mapping_start.anchor,
                      e->data.mapping_start.tag);
        on_open(b, e, CONFIG_MAP);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_close(b);
        break;
    case YAML_STREAM_END_EVENT:
        b->tree->is_whole = true;
        b->is_done = true;
        break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
}

/* libyaml's reader knows only the byte at which the encoding breaks. */
static void complain_encoding(struct builder *b, const yaml_parser_t *p,
                              const char *text, size_t len)
{
    size_t end = p->problem_offset < len ? p->problem_offset : len;
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < end; i++) {
        column++;
        if (text[i] == '\n') {
            line++;
            column = 1;
        }
    }
    config_errors_add(b->errors, line, column, "not valid UTF-8 text: %s",
                      p->problem ? p->problem : "unknown");
}

static void complain_syntax(struct builder *b, const yaml_parser_t *p,
                            const char *text, size_t len)
{
    if (p->error == YAML_MEMORY_ERROR) {
        b->err = ERR_NOMEM;
        return;
    }
    if (p->error == YAML_READER_ERROR) {
        complain_encoding(b, p, text, len);
        return;
    }
    const char *problem = p->problem ? p->problem : "syntax error";
    unsigned line = place(p->problem_mark.line);
    unsigned column = place(p->problem_mark.column);
    if (p->context)
        config_errors_add(b->errors, line, column, "%s, %s from line %u",
                          problem, p->context, place(p->context_mark.line));
    else
        config_errors_add(b->errors, line, column, "%s", problem);
}

int config_yaml_open(struct config_tree *tree, const char *text, size_t len,
                     struct config_errors *errors)
{
    *tree = (struct config_tree){0};
    struct builder b = {.tree = tree, .errors = errors};

    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return ERR_NOMEM;
    /* Otherwise libyaml would guess UTF-16 from the first bytes. */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);

    while (!b.is_done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            complain_syntax(&b, &parser, text, len);
            break;
        }
        on_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return b.err;
}

void config_yaml_close(struct config_tree *tree)
{
    while (tree->newest) {
        struct config_node *n = tree->newest;
        tree->newest = n->older;
        free(n);
    }
    *tree = (struct config_tree){0};
}

const struct config_node *config_yaml_find(const struct config_node *map,
                                           const char *key)
{
    if (!map || map->kind != CONFIG_MAP)
        return NULL;
    for (const struct config_node *n = map->first; n; n = n->next) {
        if (n->key->kind != CONFIG_BROKEN && strcmp(n->key->text, key) == 0)
            return n;
    }
    return NULL;
}
