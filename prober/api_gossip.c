/* The section `gossip` of /api/v1/status: the mesh in numbers. */
#include "prober/api_views.h"

/* A key's random nonces are good for 2^32 messages; say so in time. */
#define SEALED_WARN (UINT64_C(1) << 30)

bool api_mesh_accepts_clear(const struct api_mesh *m)
{
    return m->n_keys == 0 || m->accepts_clear;
}

/* What somebody should do something about. */
static void write_warnings(struct json *j, const struct api_mesh *m)
{
    json_key(j, "warnings");
    json_array_begin(j);
    if (m->n_keys == 0)
        json_text(j, "not encrypted: whoever reaches the gossip port can "
                     "join, read and forge");
    else if (m->accepts_clear)
        json_text(j, "accept_plaintext is on: whoever reaches the gossip port "
                     "can join and forge; switch it off once all nodes have "
                     "keys");
    if (m->stats.sealed >= SEALED_WARN)
        json_text(j, "this key has sealed 2^30 messages or more: rotate it");
    json_array_end(j);
}

static void write_drops(struct json *j, const struct mesh_stats *s)
{
    json_key(j, "drops");
    json_object_begin(j);
    for (unsigned why = ML_DROP_NONE + 1; why < ML_DROP_N; why++) {
        if (s->drops[why] > 0)
            json_key_u64(j, ml_drop_name((enum ml_drop)why), s->drops[why]);
    }
    json_object_end(j);
}

static void write_traffic(struct json *j, const struct mesh_stats *s)
{
    json_key(j, "packets");
    json_object_begin(j);
    json_key_u64(j, "in", s->packets_in);
    json_key_u64(j, "out", s->packets_out);
    json_key_u64(j, "bytes_in", s->bytes_in);
    json_key_u64(j, "bytes_out", s->bytes_out);
    json_object_end(j);
    json_key(j, "streams");
    json_object_begin(j);
    json_key_u64(j, "open", s->streams);
    json_key_u64(j, "in", s->streams_in);
    json_key_u64(j, "out", s->streams_out);
    json_key_u64(j, "refused", s->streams_refused);
    json_key_u64(j, "bytes_in", s->stream_bytes_in);
    json_key_u64(j, "bytes_out", s->stream_bytes_out);
    json_key_u64(j, "unproven_bytes", s->unproven_bytes);
    json_object_end(j);
    write_drops(j, s);
    json_key(j, "queue");
    json_object_begin(j);
    json_key_u64(j, "items", s->queue_items);
    json_key_u64(j, "bytes", s->queue_bytes);
    json_key_u64(j, "effects_dropped", s->effects_dropped);
    json_object_end(j);
}

static void write_detection(struct json *j, const struct mesh_stats *s)
{
    json_key_u64(j, "health", s->health);
    json_key_u64(j, "incarnation", s->incarnation);
    json_key_u64(j, "pings", s->pings);
    json_key_u64(j, "ping_failures", s->ping_failures);
    json_key_u64(j, "suspicions", s->suspicions);
    json_key_u64(j, "refutations", s->refutations);
    json_key_u64(j, "push_pulls", s->push_pulls);
    json_key_u64(j, "push_pull_failures", s->push_pull_failures);
    json_key_u64(j, "conflicts", s->conflicts);
    json_key_u64(j, "stalls", s->stalls);
    json_key_u64(j, "relays_refused", s->relays_refused);
    json_key_u64(j, "strangers", s->strangers);
    json_key_u64(j, "user_in", s->user_in);
    json_key_u64(j, "user_out", s->user_out);
}

void api_write_gossip(struct json *j, const struct api_mesh *m)
{
    json_key(j, "gossip");
    if (!m || !m->is_on) {
        json_put_null(j);
        return;
    }
    json_object_begin(j);
    json_key_text(j, "state", api_mesh_state_name(m));
    json_key_text(j, "label", m->label ? m->label : "");
    json_key_bool(j, "is_holding", m->is_holding);
    write_warnings(j, m);
    json_key_u64(j, "keys", m->n_keys);
    json_key_bool(j, "accepts_plaintext", api_mesh_accepts_clear(m));
    json_key_u64(j, "sealed", m->stats.sealed);
    json_key_bool(j, "should_rotate", m->stats.sealed >= SEALED_WARN);
    api_write_member_counts(j, m);
    write_detection(j, &m->stats);
    write_traffic(j, &m->stats);
    json_object_end(j);
}
