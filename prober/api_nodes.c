#include "prober/api_nodes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

struct api_nodes {
    unsigned refs;
    uint64_t made_ns, made_unix_ns;
    struct api_mesh mesh;
    char *label;
    size_t n, size;
    struct api_node *nodes;
    void **texts; /* of each node: one block with what it points to */
    size_t n_matrix;
    struct matrix_node *matrix;
};

struct api_nodes *api_nodes_open(uint64_t now_ns, uint64_t now_unix_ns,
                                 const struct api_mesh *mesh)
{
    struct api_nodes *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->refs = 1;
    n->made_ns = now_ns;
    n->made_unix_ns = now_unix_ns;
    if (mesh)
        n->mesh = *mesh;
    n->label = strdup(n->mesh.label ? n->mesh.label : "");
    if (!n->label) {
        free(n);
        return NULL;
    }
    n->mesh.label = n->label;
    return n;
}

struct api_nodes *api_nodes_hold(struct api_nodes *n)
{
    if (n) {
        assert(n->refs < UINT32_MAX);
        n->refs++;
    }
    return n;
}

void api_nodes_release(struct api_nodes *n)
{
    if (!n)
        return;
    assert(n->refs > 0);
    if (--n->refs > 0)
        return;
    for (size_t i = 0; i < n->n; i++)
        free(n->texts[i]);
    free(n->texts);
    free(n->nodes);
    free(n->matrix);
    free(n->label);
    free(n);
}

/* Room for one more in each of the arrays. */
static int grow(struct api_nodes *n)
{
    if (n->n < n->size)
        return 0;
    if (n->n >= API_NODES_MAX)
        return ERR_TOOBIG;
    size_t size = n->size ? 2 * n->size : 16;
    struct api_node *nodes = reallocarray(n->nodes, size, sizeof(*nodes));
    if (nodes)
        n->nodes = nodes;
    void **texts = reallocarray(n->texts, size, sizeof(*texts));
    if (texts)
        n->texts = texts;
    struct matrix_node *m = reallocarray(n->matrix, size, sizeof(*m));
    if (m)
        n->matrix = m;
    if (!nodes || !texts || !m)
        return ERR_NOMEM;
    n->size = size;
    return 0;
}

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Move *text to *at and *at behind it. */
static void take_text(const char **text, char **at)
{
    if (!*text)
        return;
    size_t bytes = text_bytes(*text);
    *text = memcpy(*at, *text, bytes);
    *at += bytes;
}

int api_nodes_add(struct api_nodes *n, const struct api_node *node)
{
    int err = grow(n);
    if (err)
        return err;
    struct api_node copy = *node;
    size_t bytes = text_bytes(copy.name) + text_bytes(copy.zone) +
                   text_bytes(copy.region) + text_bytes(copy.version) +
                   text_bytes(copy.probe) + copy.meta.len;
    char *block = malloc(bytes);
    if (!block)
        return ERR_NOMEM;
    char *at = block;
    take_text(&copy.name, &at);
    take_text(&copy.zone, &at);
    take_text(&copy.region, &at);
    take_text(&copy.version, &at);
    take_text(&copy.probe, &at);
    if (copy.meta.len > 0)
        memcpy(at, copy.meta.data, copy.meta.len);
    copy.meta.data = copy.meta.len > 0 ? (const uint8_t *)at : NULL;
    n->texts[n->n] = block;
    n->nodes[n->n++] = copy;
    if (copy.is_in_matrix) {
        n->matrix[n->n_matrix++] = (struct matrix_node){
            .name = copy.name,
            .zone = copy.zone,
            .region = copy.region,
            .is_draining = copy.is_draining,
            .is_source = copy.is_source,
        };
    }
    return 0;
}

size_t api_nodes_count(const struct api_nodes *n)
{
    return n->n;
}

const struct api_node *api_nodes_get(const struct api_nodes *n, size_t i)
{
    assert(i < n->n);
    return &n->nodes[i];
}

const struct matrix_node *api_nodes_matrix(const struct api_nodes *n,
                                           size_t *count)
{
    *count = n->n_matrix;
    return n->matrix;
}

const struct api_mesh *api_nodes_mesh(const struct api_nodes *n)
{
    return &n->mesh;
}

uint64_t api_nodes_made_ns(const struct api_nodes *n)
{
    return n->made_ns;
}

uint64_t api_nodes_made_unix_ns(const struct api_nodes *n)
{
    return n->made_unix_ns;
}

const char *api_node_state_name(enum api_node_state s)
{
    switch (s) {
    case API_STATE_ALIVE:
        return "alive";
    case API_STATE_SUSPECT:
        return "suspect";
    case API_STATE_LEAVING:
        return "leaving";
    case API_STATE_LEFT:
        return "left";
    case API_STATE_FAILED:
        return "failed";
    case API_STATE_STATIC:
        return "static";
    }
    return "";
}
