#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

static const uint8_t our_vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};
static const uint8_t our_meta[] = {0xff, 0x81, 0xa6, 'p',  'r', 'o',
                                   'b',  'e',  'r',  0xa1, '1'};

void net_init(struct net *net)
{
    memset(net, 0, sizeof(*net));
    net->now_ns = NET_START_NS;
    net->delay_ns = NET_MS;
}

static void drop_items(struct net *net)
{
    for (size_t i = 0; i < net->n_items; i++)
        free(net->items[i].data);
    free(net->items);
    net->items = NULL;
    net->n_items = net->size = 0;
}

void net_fini(struct net *net)
{
    for (size_t i = 0; i < net->n; i++)
        mesh_close(net->mesh[i]);
    drop_items(net);
    free(net->seen);
    net->seen = NULL;
    ml_scratch_fini(&net->scratch);
}

/* Predictable: nobody's secrets depend on it here. */
static int random_bytes(void *arg, uint8_t *out, size_t len)
{
    static uint64_t counter;
    (void)arg;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hash_bytes(++counter, "n", 1) >> 8);
    return 0;
}

struct mesh_config net_config(const struct net *net, int i)
{
    static const char names[NET_NODES_MAX][2] = {"a", "b", "c", "d", "e", "f",
                                                 "g", "h", "i", "j", "k", "l"};
    static const char seeds[1][MESH_SEED_SIZE] = {"10.0.0.1:7946"};
    struct mesh_config c = {
        .name = names[i],
        .meta = span_of(our_meta, sizeof(our_meta)),
        .label = "",
        .n_seeds = 1,
        .seeds = seeds,
        .timing = mesh_timing_lan,
        .limits = mesh_limits_default,
        .now_unix_s = NET_UNIX_S + (net->now_ns - NET_START_NS) / NET_SEC,
        .seed = (uint64_t)i + 1,
        .random = random_bytes,
    };
    char text[32];
    snprintf(text, sizeof(text), "10.0.0.%d:7946", i + 1);
    assert_int_equal(addr_parse(&c.advertise, text), 0);
    return c;
}

void net_start(struct net *net, int i, const struct mesh_config *c)
{
    struct errmsg msg = {{0}};
    net->mesh[i] = mesh_open(c, net->now_ns, &msg);
    if (!net->mesh[i])
        fail_msg("%s", msg.text);
    net->addr[i] = c->advertise;
    net->is_frozen[i] = false;
    net->has_keys |= c->n_keys > 0;
    if ((size_t)i >= net->n)
        net->n = (size_t)i + 1;
}

static int node_at(const struct net *net, const struct addr *a)
{
    for (size_t i = 0; i < net->n; i++) {
        if (net->mesh[i] && addr_equal(&net->addr[i], a))
            return (int)i;
    }
    return -1;
}

static void post(struct net *net, struct net_item item, struct span data)
{
    if (net->n_items == net->size) {
        net->size = net->size ? 2 * net->size : 64;
        net->items = reallocarray(net->items, net->size, sizeof(*net->items));
        assert_non_null(net->items);
    }
    item.due_ns = net->now_ns + net->delay_ns;
    item.order = net->order++;
    item.len = data.len;
    item.data = malloc(data.len ? data.len : 1);
    assert_non_null(item.data);
    if (data.len)
        memcpy(item.data, data.data, data.len);
    net->items[net->n_items++] = item;
}

/* ---- what was sent ---- */

static struct net_seen *note(struct net *net, int from, unsigned type,
                             const struct addr *to)
{
    if (net->is_blind)
        return NULL;
    if (net->n_seen == net->seen_size) {
        assert_true(net->n_seen < NET_SEEN_MAX); /* set is_blind */
        net->seen_size = net->seen_size ? 2 * net->seen_size : 256;
        net->seen = reallocarray(net->seen, net->seen_size, sizeof(*net->seen));
        assert_non_null(net->seen);
    }
    struct net_seen *s = &net->seen[net->n_seen++];
    *s = (struct net_seen){.at_ns = net->now_ns, .from = from, .type = type};
    if (to)
        s->to = *to;
    return s;
}

static void copy_text(char *out, struct span text)
{
    size_t len = text.len < ML_NAME_MAX ? text.len : ML_NAME_MAX;
    if (len)
        memcpy(out, text.data, len);
    out[len] = '\0';
}

static void note_message(struct net_seen *s, const struct ml_msg *msg)
{
    switch ((enum ml_type)msg->type) {
    case ML_PING:
        s->seq_no = msg->ping.seq_no;
        copy_text(s->node, msg->ping.node);
        copy_text(s->by, msg->ping.source_node);
        break;
    case ML_INDIRECT_PING:
        s->seq_no = msg->indirect_ping.seq_no;
        copy_text(s->node, msg->indirect_ping.node);
        copy_text(s->by, msg->indirect_ping.source_node);
        s->wants_nack = msg->indirect_ping.wants_nack;
        s->target = ml_addr(msg->indirect_ping.target, msg->indirect_ping.port);
        break;
    case ML_ACK:
        s->seq_no = msg->ack.seq_no;
        break;
    case ML_NACK:
        s->seq_no = msg->nack.seq_no;
        break;
    case ML_ALIVE:
        s->incarnation = msg->alive.incarnation;
        copy_text(s->node, msg->alive.node);
        break;
    case ML_SUSPECT:
    case ML_DEAD:
        s->incarnation = msg->accusation.incarnation;
        copy_text(s->node, msg->accusation.node);
        copy_text(s->by, msg->accusation.from);
        break;
    case ML_USER:
        s->n_user = msg->user.len;
        memcpy(s->user, msg->user.data,
               msg->user.len < sizeof(s->user) ? msg->user.len
                                               : sizeof(s->user));
        break;
    case ML_PUSH_PULL:
    case ML_COMPOUND:
    case ML_COMPRESS:
    case ML_ENCRYPT:
    case ML_CRC:
    case ML_ERR:
    case ML_LABEL:
        break;
    }
}

/* A puppet answers a ping. */
static void ack_for(struct net *net, int i, const struct addr *puppet,
                    uint32_t seq_no)
{
    static const uint8_t base[] = {10, 0, 0};
    uint8_t bytes[64];
    struct wr w;
    struct ml_msg ack = {.type = ML_ACK};
    struct span at = ml_addr_bytes(puppet);
    if (at.len != 4 || memcmp(at.data, base, 3) || at.data[3] > 63 ||
        !(net->acking >> at.data[3] & 1))
        return;
    ack.ack.seq_no = seq_no;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    ml_msg_encode(&w, &ack);
    post(net, (struct net_item){.kind = NET_PACKET, .to = i, .from = *puppet},
         span_of(w.data, w.len));
}

static void note_packet(struct net *net, int i, const struct mesh_effect *e,
                        bool is_node)
{
    static const struct ml_wire clear;
    struct ml_parts parts;
    struct ml_msg msg;
    size_t packet = net->n_packets++;
    if (net->has_keys || (net->is_blind && (is_node || !net->acking)))
        return;
    if (ml_packet_open(&clear, e->data.data, e->data.len, &net->scratch, &parts,
                       NULL))
        return;
    for (size_t k = 0; k < parts.n; k++) {
        assert_int_equal(
            ml_msg_decode(parts.part[k].data, parts.part[k].len, &msg), 0);
        struct net_seen *s = note(net, i, msg.type, &e->to);
        if (s) {
            s->packet = packet;
            s->n_bytes = e->data.len;
            s->has_crc = e->data.data[0] == ML_CRC;
            note_message(s, &msg);
        }
        if (msg.type == ML_PING && !is_node)
            ack_for(net, i, &e->to, msg.ping.seq_no);
    }
}

static void note_write(struct net *net, int i, const struct mesh_effect *e)
{
    static const struct ml_wire clear;
    struct ml_budget budget = {.bytes_max = 1u << 30};
    struct ml_stream_in in;
    struct ml_stream_msg msg;
    if (net->is_blind)
        return;
    ml_stream_in_init(&in, &clear, &ml_stream_limits_default, &budget, false);
    if (ml_stream_in_feed(&in, e->data.data, e->data.len) == 1 &&
        ml_stream_in_take(&in, &msg) == 0) {
        struct net_seen *s = note(net, i, NET_STREAM | msg.type, NULL);
        s->id = e->id;
        s->n_bytes = e->data.len;
        if (msg.type == ML_PUSH_PULL) {
            s->is_join = msg.push_pull.is_join;
            s->n_nodes = msg.push_pull.n_nodes;
        } else {
            note_message(s, &msg.msg);
        }
    }
    ml_stream_in_fini(&in);
}

void net_mark(struct net *net)
{
    net->mark = net->n_seen;
}

const struct net_seen *net_nth(const struct net *net, int from, unsigned type,
                               int to, size_t n)
{
    struct addr at = net_addr(to);
    for (size_t i = net->mark; i < net->n_seen; i++) {
        const struct net_seen *s = &net->seen[i];
        if (s->from == from && s->type == type &&
            (!to || addr_equal(&s->to, &at)) && n-- == 0)
            return s;
    }
    return NULL;
}

size_t net_count(const struct net *net, int from, unsigned type, int to)
{
    size_t n = 0;
    while (net_nth(net, from, type, to, n))
        n++;
    return n;
}

/* ---- streams ---- */

static struct net_stream *stream_of(struct net *net, int node, uint32_t id,
                                    int *end)
{
    for (size_t i = 0; i < NET_STREAMS_MAX; i++) {
        struct net_stream *s = &net->streams[i];
        for (*end = 0; s->is_used && *end < 2; (*end)++) {
            if (s->node[*end] == node && s->id[*end] == id && id)
                return s;
        }
    }
    return NULL;
}

static void to_other_end(struct net *net, int node, uint32_t id,
                         enum net_kind kind, struct span data)
{
    int end;
    struct net_stream *s = stream_of(net, node, id, &end);
    if (!s)
        return;
    int peer = s->node[!end];
    if (!net->is_cut[node][peer] && s->id[!end])
        post(net,
             (struct net_item){
                 .kind = kind, .to = peer, .id = s->id[!end], .from = {0}},
             data);
    if (kind == NET_GONE)
        s->id[end] = 0;
    if (!s->id[0] && !s->id[1])
        s->is_used = false;
}

static void connect_now(struct net *net, const struct net_item *item)
{
    struct net_stream *s = NULL;
    int end;
    for (size_t i = 0; i < NET_STREAMS_MAX && !s; i++)
        s = net->streams[i].is_used ? NULL : &net->streams[i];
    assert_non_null(s);
    int to = item->to;
    uint32_t id = 0;
    if (to >= 0 && !net->is_cut[item->peer][to] &&
        !net->is_cut[to][item->peer] && !net->is_tcp_cut[item->peer][to])
        id = mesh_on_accept(net->mesh[to], net->now_ns, &item->from);
    if (to >= 0)
        net_drain(net, to);
    (void)end;
    if (!id) {
        if (to < 0 && net->holds_dials)
            return; /* the test goes on with it */
        if (to >= 0 && net->is_cut[item->peer][to])
            return; /* nothing comes back */
        post(net,
             (struct net_item){
                 .kind = NET_GONE, .to = item->peer, .id = item->id},
             (struct span){NULL, 0});
        return;
    }
    *s = (struct net_stream){
        .is_used = true, .node = {item->peer, to}, .id = {item->id, id}};
    if (net->mesh[item->peer]) {
        mesh_on_connected(net->mesh[item->peer], net->now_ns, item->id);
        net_drain(net, item->peer);
    }
}

/* ---- effects ---- */

static void note_event(struct net *net, int i, const struct mesh_effect *e)
{
    char line[128];
    const char *who = "-";
    net->events[i][e->event]++;
    if (e->id < members_size(mesh_members(net->mesh[i])))
        who = members_peek(mesh_members(net->mesh[i]), e->id)->name;
    net->event_at[i][e->event] = e->to;
    copy_text(net->event_text[i][e->event],
              span_of_text(e->text ? e->text : ""));
    uint64_t ms = (net->now_ns - NET_START_NS) / NET_MS;
    int len =
        snprintf(line, sizeof(line), "%llu %c %s %s\n", (unsigned long long)ms,
                 'a' + i, mesh_event_name(e->event), who);
    size_t used = strlen(net->trace);
    if (used + (size_t)len < sizeof(net->trace))
        memcpy(net->trace + used, line, (size_t)len + 1);
}

static void send_packet(struct net *net, int i, const struct mesh_effect *e)
{
    int to = node_at(net, &e->to);
    note_packet(net, i, e, to >= 0);
    if (net->filter && net->filter(net, i, to, e->data))
        return;
    if (to < 0) {
        net->n_foreign++;
        net->foreign_bytes += e->data.len;
        net->foreign = e->to;
    } else if (!net->is_cut[i][to] && !net->is_udp_cut[i][to]) {
        post(net,
             (struct net_item){
                 .kind = NET_PACKET, .to = to, .from = net->addr[i]},
             e->data);
    }
}

static void carry_out(struct net *net, int i, const struct mesh_effect *e)
{
    struct addr from = net->addr[i];
    struct net_seen *s;
    switch (e->kind) {
    case MESH_SEND:
        send_packet(net, i, e);
        break;
    case MESH_DIAL:
        from.port = 40000;
        if ((s = note(net, i, NET_DIAL, &e->to)))
            s->id = e->id;
        post(net,
             (struct net_item){.kind = NET_CONNECT,
                               .to = node_at(net, &e->to),
                               .id = e->id,
                               .peer = i,
                               .from = from},
             (struct span){NULL, 0});
        break;
    case MESH_WRITE:
        note_write(net, i, e);
        to_other_end(net, i, e->id, NET_BYTES, e->data);
        break;
    case MESH_HANGUP:
        if ((s = note(net, i, NET_HANGUP, NULL)))
            s->id = e->id;
        to_other_end(net, i, e->id, NET_GONE, (struct span){NULL, 0});
        break;
    case MESH_USER:
        net->n_user[i]++;
        net->user_member[i] = e->id;
        memcpy(net->user[i], e->data.data, e->data.len < 64 ? e->data.len : 64);
        break;
    case MESH_EVENT:
        note_event(net, i, e);
        break;
    case MESH_RESOLVE:
        if ((s = note(net, i, NET_RESOLVE, NULL))) {
            s->id = e->id;
            snprintf(s->text, sizeof(s->text), "%s", e->text);
        }
        break;
    }
}

void net_drain(struct net *net, int i)
{
    struct mesh_effect e;
    while (net->mesh[i] && mesh_next(net->mesh[i], &e))
        carry_out(net, i, &e);
    if (net->mesh[i])
        mesh_check(net->mesh[i]);
}

void net_stop(struct net *net, int i)
{
    mesh_close(net->mesh[i]);
    net->mesh[i] = NULL;
    for (size_t k = 0; k < NET_STREAMS_MAX; k++) {
        struct net_stream *s = &net->streams[k];
        for (int end = 0; s->is_used && end < 2; end++) {
            if (s->node[end] == i && s->id[end])
                to_other_end(net, i, s->id[end], NET_GONE,
                             (struct span){NULL, 0});
        }
    }
}

/* ---- time ---- */

static void deliver(struct net *net, const struct net_item *item)
{
    if (item->kind == NET_CONNECT) {
        connect_now(net, item);
        return;
    }
    struct mesh *m = net->mesh[item->to];
    if (!m)
        return;
    if (item->kind == NET_PACKET)
        mesh_on_packet(m, net->now_ns, &item->from, item->data, item->len);
    else if (item->kind == NET_BYTES)
        mesh_on_bytes(m, net->now_ns, item->id, item->data, item->len);
    else {
        int end;
        struct net_stream *s = stream_of(net, item->to, item->id, &end);
        if (s)
            s->id[end] = 0;
        if (s && !s->id[0] && !s->id[1])
            s->is_used = false;
        mesh_on_gone(m, net->now_ns, item->id);
    }
    net_drain(net, item->to);
}

static size_t first_item(const struct net *net)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < net->n_items; i++) {
        const struct net_item *a = &net->items[i];
        if (a->to >= 0 && net->is_frozen[a->to])
            continue;
        if (best == SIZE_MAX || a->due_ns < net->items[best].due_ns ||
            (a->due_ns == net->items[best].due_ns &&
             a->order < net->items[best].order))
            best = i;
    }
    return best;
}

static int first_timer(const struct net *net, uint64_t *at_ns)
{
    int best = -1;
    *at_ns = UINT64_MAX;
    for (size_t i = 0; i < net->n; i++) {
        if (!net->mesh[i] || net->is_frozen[i])
            continue;
        uint64_t d = mesh_deadline(net->mesh[i]);
        d = d == UINT64_MAX || d > net->now_ns ? d : net->now_ns;
        if (d < *at_ns) {
            *at_ns = d;
            best = (int)i;
        }
    }
    return best;
}

void net_run(struct net *net, uint64_t ns)
{
    uint64_t end_ns = net->now_ns + ns;
    for (;;) {
        uint64_t at_ns;
        int node = first_timer(net, &at_ns);
        size_t item = first_item(net);
        uint64_t due_ns = UINT64_MAX;
        if (item != SIZE_MAX)
            due_ns = net->items[item].due_ns > net->now_ns
                         ? net->items[item].due_ns
                         : net->now_ns;
        if (due_ns > end_ns && at_ns > end_ns)
            break;
        if (due_ns <= at_ns) {
            struct net_item taken = net->items[item];
            net->items[item] = net->items[--net->n_items];
            net->now_ns = due_ns;
            deliver(net, &taken);
            free(taken.data);
        } else {
            net->now_ns = at_ns;
            mesh_on_timer(net->mesh[node], net->now_ns);
            net_drain(net, node);
        }
    }
    net->now_ns = end_ns;
}

void net_inject(struct net *net, int i, const char *from, const void *data,
                size_t len)
{
    struct addr a;
    assert_int_equal(addr_parse(&a, from), 0);
    mesh_on_packet(net->mesh[i], net->now_ns, &a, data, len);
    net_drain(net, i);
}

void net_inject_msg(struct net *net, int i, const char *from,
                    const struct ml_msg *msg)
{
    uint8_t bytes[2048];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    ml_msg_encode(&w, msg);
    assert_int_equal(wr_err(&w), 0);
    net_inject(net, i, from, bytes, w.len);
}

struct addr net_addr(int at)
{
    struct addr a;
    char text[32];
    snprintf(text, sizeof(text), "10.0.0.%d:7946", at);
    assert_int_equal(addr_parse(&a, text), 0);
    return a;
}

void net_puppet_vsn(struct net *net, int i, const char *name, int at,
                    uint32_t incarnation, const uint8_t *vsn)
{
    char from[32];
    struct addr a = net_addr(at);
    struct ml_msg msg = {.type = ML_ALIVE};
    msg.alive = (struct ml_alive){
        .incarnation = incarnation,
        .node = span_of_text(name),
        .addr = ml_addr_bytes(&a),
        .port = a.port,
        .meta = span_of(our_meta, sizeof(our_meta)),
        .vsn = span_of(vsn ? vsn : our_vsn, ML_VSN_SIZE),
    };
    snprintf(from, sizeof(from), "10.0.0.%d:7946", at);
    net_inject_msg(net, i, from, &msg);
}

void net_puppet(struct net *net, int i, const char *name, int at,
                uint32_t incarnation)
{
    net_puppet_vsn(net, i, name, at, incarnation, NULL);
}

struct span net_push_pull(bool is_join, const struct net_entry *entries,
                          size_t n, struct span user_state)
{
    struct ml_push_pull head = {is_join, (uint32_t)n, (uint32_t)user_state.len};
    struct wr message;
    wr_init_grow(&message, 32u << 20);
    wr_u8(&message, ML_PUSH_PULL);
    ml_push_pull_write(&message, &head);
    for (size_t i = 0; i < n; i++) {
        struct addr a = net_addr(entries[i].at);
        const uint8_t *vsn = entries[i].vsn ? entries[i].vsn : our_vsn;
        ml_entry_write(&message,
                       &(struct ml_alive){
                           .incarnation = entries[i].incarnation,
                           .node = span_of_text(entries[i].name),
                           .addr = ml_addr_bytes(&a),
                           .port = a.port,
                           .meta = span_of(our_meta, sizeof(our_meta)),
                           .vsn = span_of(vsn, ML_VSN_SIZE),
                           .state = entries[i].state,
                       });
    }
    wr_bytes(&message, user_state.data, user_state.len);
    assert_int_equal(wr_err(&message), 0);
    return span_of(message.data, message.len);
}

void net_answer(struct net *net, int i, uint32_t id,
                const struct net_entry *entries, size_t n)
{
    struct span bytes =
        net_push_pull(false, entries, n, (struct span){NULL, 0});
    mesh_on_connected(net->mesh[i], net->now_ns, id);
    net_drain(net, i);
    mesh_on_bytes(net->mesh[i], net->now_ns, id, bytes.data, bytes.len);
    net_drain(net, i);
    free((void *)(uintptr_t)bytes.data);
}

/* ---- looking ---- */

const struct member *net_member(const struct net *net, int i, const char *name)
{
    const struct members *ms = mesh_members(net->mesh[i]);
    uint32_t index = members_find(ms, span_of_text(name));
    return index == UINT32_MAX ? NULL : members_peek(ms, index);
}

int net_state(const struct net *net, int i, const char *name)
{
    const struct member *who = net_member(net, i, name);
    return who ? who->state : -1;
}

bool net_all_alive(const struct net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        for (size_t k = 0; k < net->n; k++) {
            char name[2] = {(char)('a' + (int)k), 0};
            if (net->mesh[i] && net->mesh[k] &&
                net_state(net, (int)i, name) != MEMBER_ALIVE)
                return false;
        }
    }
    return true;
}
