/* /api/v1/members: who is in the mesh, one entry after the other.
 *
 * Of one snapshot, held until the answer is sent: what the reader gets was
 * true at one moment, and equal snapshots give equal bytes. Names and tags
 * come from gossip and can be any bytes; the writer of JSON escapes them. */
#include <stdio.h>
#include <stdlib.h>

#include "prober/api_views.h"
#include "proto/serf_msg.h"

enum stage { STAGE_HEAD, STAGE_MEMBERS, STAGE_END };

struct members_view {
    const struct api_source *source;
    struct api_nodes *nodes; /* held; NULL: nobody is known */
    uint64_t now_unix_ns;    /* if there is no snapshot */
    enum stage stage;
    size_t i;
    struct json json;
};

static const struct api_mesh mesh_off;

const char *api_mesh_state_name(const struct api_mesh *m)
{
    if (!m->is_on)
        return "off";
    if (m->stats.is_leaving)
        return "leaving";
    return m->stats.is_alone ? "alone" : "ok";
}

void api_write_member_counts(struct json *j, const struct api_mesh *m)
{
    json_key(j, "members");
    json_object_begin(j);
    json_key_u64(j, "alive", m->alive);
    json_key_u64(j, "suspect", m->suspect);
    json_key_u64(j, "left", m->left);
    json_key_u64(j, "failed", m->failed);
    json_object_end(j);
}

static void write_mesh(struct json *j, const struct api_mesh *m)
{
    json_key(j, "mesh");
    json_object_begin(j);
    json_key_bool(j, "is_on", m->is_on);
    json_key_text(j, "state", api_mesh_state_name(m));
    if (m->is_on) {
        json_key_text(j, "label", m->label ? m->label : "");
        json_key_bool(j, "encrypted", m->n_keys > 0);
        json_key_bool(j, "accepts_plaintext", api_mesh_accepts_clear(m));
        json_key_bool(j, "is_holding", m->is_holding);
        json_key_u64(j, "health", m->stats.health);
        api_write_member_counts(j, m);
    } else {
        json_key_null(j, "label");
        json_key_null(j, "encrypted");
        json_key_null(j, "accepts_plaintext");
        json_key_null(j, "is_holding");
        json_key_null(j, "health");
        json_key_null(j, "members");
    }
    json_object_end(j);
}

/* Text of a tag. NUL is no byte of a text: JSON can say it, but readers refuse
 * it or end there, and so it becomes U+FFFD like what is not UTF-8. */
static void write_text(struct json *j, struct span text)
{
    char copy[ML_META_MAX];
    size_t len = text.len < sizeof(copy) ? text.len : sizeof(copy);
    for (size_t i = 0; i < len; i++)
        copy[i] = text.data[i] ? (char)text.data[i] : '\xff';
    json_text_n(j, copy, len);
}

/* A list of pairs and no object: the keys are anybody's, and two of them may
 * be equal, or become so when they are made valid UTF-8. */
static void write_tags(struct json *j, struct span meta)
{
    struct serf_tag tags[SERF_TAGS_MAX];
    size_t n;
    json_key(j, "tags");
    if (meta.len == 0 || serf_tags_read(meta, tags, SERF_TAGS_MAX, &n)) {
        json_put_null(j);
        return;
    }
    json_array_begin(j);
    for (size_t i = 0; i < n; i++) {
        json_object_begin(j);
        json_key(j, "key");
        write_text(j, tags[i].key);
        json_key(j, "value");
        write_text(j, tags[i].value);
        json_object_end(j);
    }
    json_array_end(j);
}

static double age_s(const struct members_view *v, const struct api_node *n)
{
    uint64_t made_ns = api_nodes_made_ns(v->nodes);
    if (n->changed_ns == 0)
        return -1;
    return made_ns > n->changed_ns ? (double)(made_ns - n->changed_ns) / 1e9
                                   : 0;
}

static void write_member(struct members_view *v, const struct api_node *n)
{
    struct json *j = &v->json;
    char address[ADDR_TEXT_SIZE];
    bool is_gossiping = n->addr.family != ADDR_NONE;
    json_object_begin(j);
    json_key_text(j, "name", n->name);
    json_key_text(j, "zone", n->zone);
    json_key_text(j, "region", n->region);
    json_key_text(j, "state", api_node_state_name(n->state));
    api_write_seconds(j, "state_age_s", age_s(v, n));
    json_key_text(j, "address",
                  is_gossiping ? addr_format(&n->addr, address) : NULL);
    json_key_text(j, "probe", n->probe);
    json_key_text(j, "version", n->version);
    api_write_known(j, "incarnation",
                    is_gossiping ? (int64_t)n->incarnation : -1);
    api_write_known(j, "rtt_ns",
                    n->rtt_ns > 0 && n->rtt_ns <= INT64_MAX ? (int64_t)n->rtt_ns
                                                            : -1);
    json_key_bool(j, "is_self", n->kind == API_KIND_SELF);
    json_key_bool(j, "is_ours", n->is_ours);
    json_key_bool(j, "is_probed", n->is_probed);
    json_key_bool(j, "is_held", n->is_held);
    write_tags(j, n->meta);
    json_object_end(j);
}

static void write_head(struct members_view *v)
{
    struct json *j = &v->json;
    json_object_begin(j);
    api_write_origin(j, v->source,
                     v->nodes ? api_nodes_made_unix_ns(v->nodes)
                              : v->now_unix_ns);
    write_mesh(j, v->nodes ? api_nodes_mesh(v->nodes) : &mesh_off);
    json_key(j, "members");
    json_array_begin(j);
}

/* Write one piece and step on; an outside target is nobody's member. */
static void write_piece(struct members_view *v)
{
    struct json *j = &v->json;
    switch (v->stage) {
    case STAGE_HEAD:
        write_head(v);
        v->stage = STAGE_MEMBERS;
        break;
    case STAGE_MEMBERS:
        if (v->nodes && v->i < api_nodes_count(v->nodes)) {
            const struct api_node *n = api_nodes_get(v->nodes, v->i++);
            if (n->kind != API_KIND_TARGET)
                write_member(v, n);
            break;
        }
        json_array_end(j);
        json_object_end(j);
        wr_u8(j->out, '\n');
        v->stage = STAGE_END;
        break;
    case STAGE_END:
        break;
    }
}

static int members_body(void *state, struct wr *w)
{
    struct members_view *v = state;
    v->json.out = w; /* another writer each time, the nesting goes on */
    while (v->stage != STAGE_END) {
        if (httpd_slice_is_full(w))
            return 1;
        write_piece(v);
    }
    return wr_err(w);
}

static void members_done(void *state)
{
    struct members_view *v = state;
    api_nodes_release(v->nodes);
    free(v);
}

void api_members(const struct api_source *s, const struct httpd_request *r,
                 struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(s, r, 0, &p, answer))
        return;
    struct members_view *v = calloc(1, sizeof(*v));
    if (!v) {
        api_no_memory(answer);
        return;
    }
    api_refresh(s);
    v->source = s;
    v->nodes = api_nodes_hold(s->nodes);
    v->now_unix_ns = s->now_unix_ns();
    json_init(&v->json, NULL);
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "application/json",
        .body = members_body,
        .done = members_done,
        .state = v,
    };
    if (!v->nodes)
        return;
    answer->is_cacheable = true;
    snprintf(answer->etag, sizeof(answer->etag), "%llx-%llx",
             (unsigned long long)s->start_unix_ns,
             (unsigned long long)s->nodes_number);
}
