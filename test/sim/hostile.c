#include "test/sim/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/net.h"
#include "test/sim/oracle.h"

#define RECEIVERS 3
#define PARTS_MAX 24
#define NAME_SIZE 16

struct hostile {
    uint32_t endpoint; /* the attacker's own */
    uint32_t victim;   /* an address that never speaks */
    struct rng dice;
    struct ml_keyring *rings[SIM_KEYS]; /* sealing with one each */
    struct ml_scratch scratch;
    struct ml_parts parts;
    uint32_t invented;
};

static int nonce(void *arg, uint8_t *out, size_t len)
{
    struct rng *r = arg;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)rng_next(r);
    return 0;
}

void hostile_open(struct sim *s)
{
    struct hostile *h = sim_alloc(1, sizeof(*h));
    s->hostile = h;
    rng_seed(&h->dice, s->plan.seed ^ UINT64_C(0xbad));
    h->endpoint = net_endpoint(s, ENDPOINT_HOSTILE, SIM_NOBODY);
    h->victim = net_endpoint(s, ENDPOINT_VICTIM, SIM_NOBODY);
    for (unsigned k = 0; k < SIM_KEYS && s->plan.seals; k++)
        h->rings[k] = ml_keyring_open(&s->keys[k], 1, nonce, &h->dice, NULL);
    if (s->plan.hostile)
        sim_at(s, 5 * SIM_S, EV_HOSTILE, 0, 0, 0, NULL);
}

void hostile_close(struct sim *s)
{
    struct hostile *h = s->hostile;
    for (unsigned k = 0; k < SIM_KEYS; k++)
        ml_keyring_close(h->rings[k]);
    ml_scratch_fini(&h->scratch);
    free(h);
}

/* ---- sending ---- */

static struct ml_wire wire_for(const struct sim *s, uint32_t node)
{
    unsigned key = s->nodes[node].key_step >= 2;
    return (struct ml_wire){
        .label = span_of_text(s->plan.has_label ? "sim" : ""),
        .keys = s->hostile->rings[key],
    };
}

static void send(struct sim *s, uint32_t to, const struct ml_msg *msgs,
                 size_t n)
{
    struct hostile *h = s->hostile;
    struct ml_wire wire = wire_for(s, to);
    struct wr body, out;
    size_t ends[PARTS_MAX];
    struct span parts[PARTS_MAX];
    wr_init_grow(&body, 65536);
    wr_init_grow(&out, ML_PACKET_MAX);
    for (size_t i = 0; i < n; i++) {
        ml_msg_encode(&body, &msgs[i]);
        ends[i] = body.len;
    }
    for (size_t i = 0; i < n; i++) {
        size_t start = i ? ends[i - 1] : 0;
        parts[i] = span_of(body.data + start, ends[i] - start);
    }
    if (!wr_err(&body) &&
        ml_packet_close(&wire, parts, n, rng_below(&h->dice, 2),
                        rng_below(&h->dice, 2), &h->scratch, &out) == 0)
        net_inject(s, h->endpoint, s->nodes[to].endpoint, out.data, out.len);
    wr_fini(&body);
    wr_fini(&out);
}

static uint32_t any_node(struct sim *s)
{
    return (uint32_t)rng_below(&s->hostile->dice, s->plan.n);
}

static void send_some(struct sim *s, const struct ml_msg *msgs, size_t n)
{
    for (unsigned k = 0; k < RECEIVERS; k++)
        send(s, any_node(s), msgs, n);
}

static struct span name_of(const struct sim *s, uint32_t node)
{
    return span_of_text(s->nodes[node].name);
}

static struct ml_msg accusation(uint8_t type, uint32_t inc, struct span node,
                                struct span from)
{
    return (struct ml_msg){.type = type, .accusation = {inc, node, from}};
}

static const uint8_t versions[ML_VSN_SIZE] = {1, 5, 5, 2, 5, 4};

static struct ml_msg alive(uint32_t inc, struct span node,
                           const struct addr *at)
{
    return (struct ml_msg){
        .type = ML_ALIVE,
        .alive = {.incarnation = inc,
                  .node = node,
                  .addr = ml_addr_bytes(at),
                  .port = at->port,
                  .vsn = span_of(versions, sizeof(versions))}};
}

/* ---- what they do ---- */

static void storm(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint32_t j = any_node(s);
    struct span from =
        rng_below(&h->dice, 2) ? name_of(s, any_node(s)) : span_of_text("evil");
    struct ml_msg m =
        accusation(ML_SUSPECT, s->nodes[j].incarnation, name_of(s, j), from);
    send_some(s, &m, 1);
}

static uint32_t odd_incarnation(struct sim *s, uint32_t known)
{
    const uint32_t odd[] = {
        known,
        known + 1,
        known + MEMBERS_JUMP_MAX,
        UINT32_MAX,
        UINT32_MAX - 1,
        known + MEMBERS_JUMP_MAX + 1,
        UINT32_C(1) << 31,
        MEMBERS_CEILING,
        MEMBERS_CEILING - 1,
        0,
        1,
    };
    return odd[rng_below(&s->hostile->dice, sizeof(odd) / sizeof(odd[0]))];
}

static void limit(struct sim *s)
{
    uint32_t j = any_node(s);
    uint32_t inc = odd_incarnation(s, s->nodes[j].incarnation);
    struct ml_msg m;
    switch (rng_below(&s->hostile->dice, 3)) {
    case 0:
        m = accusation(ML_SUSPECT, inc, name_of(s, j), span_of_text("evil"));
        break;
    case 1:
        m = accusation(ML_DEAD, inc, name_of(s, j), span_of_text("evil"));
        break;
    default:
        m = alive(inc, name_of(s, j), &s->endpoints[s->nodes[j].endpoint].addr);
        break;
    }
    send_some(s, &m, 1);
}

static void forge(struct sim *s, bool steals)
{
    struct hostile *h = s->hostile;
    uint32_t j = any_node(s), inc = s->nodes[j].incarnation;
    struct ml_msg m[2] = {
        accusation(ML_DEAD, inc, name_of(s, j), name_of(s, j)),
        alive(inc + (uint32_t)rng_below(&h->dice, 4), name_of(s, j),
              &s->endpoints[h->endpoint].addr),
    };
    if (rng_below(&h->dice, 2)) {
        send_some(s, m, steals ? 2 : 1);
        return;
    }
    uint32_t to = any_node(s);
    send(s, to, &m[0], 1);
    if (steals)
        send(s, to, &m[1], 1);
}

static void invent_stream(struct sim *s, uint32_t to)
{
    struct hostile *h = s->hostile;
    struct ml_wire wire = wire_for(s, to);
    struct wr message, out;
    wr_init_grow(&message, 4 << 20);
    wr_init_grow(&out, 8 << 20);
    uint32_t n = 2000;
    struct ml_push_pull head = {rng_below(&h->dice, 2), n, 0};
    wr_u8(&message, ML_PUSH_PULL);
    ml_push_pull_write(&message, &head);
    for (uint32_t i = 0; i < n; i++) {
        char name[NAME_SIZE];
        struct addr at = {.family = ADDR_V4, .port = 7946, .ip = {10, 200}};
        at.ip[2] = (uint8_t)(h->invented >> 8);
        at.ip[3] = (uint8_t)h->invented;
        int len = snprintf(name, sizeof(name), "x-%u", h->invented++);
        struct ml_msg m = alive(1 + (uint32_t)rng_below(&h->dice, 9),
                                span_of(name, (size_t)len), &at);
        m.alive.state = (uint8_t)rng_below(&h->dice, 4);
        ml_entry_write(&message, &m.alive);
    }
    struct span span = span_of(message.data, message.len);
    if (!wr_err(&message) && ml_stream_close(&wire, true, span, &out) == 0)
        net_attack(s, h->endpoint, s->nodes[to].endpoint, out.data, out.len);
    wr_fini(&message);
    wr_fini(&out);
}

static void invent(struct sim *s)
{
    struct hostile *h = s->hostile;
    if (rng_below(&h->dice, 16) == 0) {
        invent_stream(s, any_node(s));
        return;
    }
    char names[PARTS_MAX][NAME_SIZE];
    struct addr at[PARTS_MAX];
    struct ml_msg m[PARTS_MAX];
    for (size_t i = 0; i < PARTS_MAX; i++) {
        at[i] = (struct addr){.family = ADDR_V4, .port = 7946};
        at[i].ip[0] = rng_below(&h->dice, 50) ? 10 : 127;
        at[i].ip[1] = 200;
        at[i].ip[2] = (uint8_t)(h->invented >> 8);
        at[i].ip[3] = (uint8_t)h->invented;
        int len = snprintf(names[i], NAME_SIZE, "x-%u", h->invented++);
        m[i] = alive(1 + (uint32_t)rng_below(&h->dice, 9),
                     span_of(names[i], (size_t)len), &at[i]);
    }
    send(s, any_node(s), m, PARTS_MAX);
}

static void reflect(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint32_t to = any_node(s);
    const struct addr *victim = &s->endpoints[h->victim].addr;
    struct ml_msg m = {.type = ML_PING};
    if (rng_below(&h->dice, 2)) {
        m.ping = (struct ml_ping){.seq_no = (uint32_t)rng_next(&h->dice),
                                  .node = name_of(s, to),
                                  .source_addr = ml_addr_bytes(victim),
                                  .source_port = victim->port};
        if (rng_below(&h->dice, 2))
            m.ping.source_node = name_of(s, any_node(s));
    } else {
        m.type = ML_INDIRECT_PING;
        m.indirect_ping =
            (struct ml_indirect_ping){.seq_no = (uint32_t)rng_next(&h->dice),
                                      .target = ml_addr_bytes(victim),
                                      .port = victim->port,
                                      .node = name_of(s, any_node(s)),
                                      .wants_nack = true,
                                      .source_addr = ml_addr_bytes(victim),
                                      .source_port = victim->port};
    }
    send(s, to, &m, 1);
}

/* Old news about one that is down: its deaths, then an old life. */
static void old_news(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint32_t j = any_node(s);
    for (uint32_t i = 0; i < s->plan.n && s->nodes[j].mesh; i++)
        j = (j + 1) % s->plan.n;
    uint32_t inc = s->nodes[j].incarnation_max;
    const struct addr *at = &s->endpoints[s->nodes[j].endpoint].addr;
    struct ml_msg m[] = {
        accusation(ML_DEAD, inc + 10, name_of(s, j), span_of_text("evil")),
        alive(inc + 2, name_of(s, j), at),
        accusation(ML_DEAD, inc, name_of(s, j), span_of_text("evil")),
        alive(inc, name_of(s, j), at),
    };
    uint32_t to = any_node(s);
    for (unsigned i = 0; i < 4; i++)
        send(s, to, &m[rng_below(&h->dice, 4)], 1);
}

static void odd(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint32_t j = any_node(s);
    uint32_t inc = odd_incarnation(s, s->nodes[j].incarnation);
    char junk[200];
    size_t len = rng_below(&h->dice, sizeof(junk));
    for (size_t i = 0; i < len; i++)
        junk[i] = (char)rng_next(&h->dice);
    struct span name =
        rng_below(&h->dice, 2) ? name_of(s, j) : span_of(junk, len);
    struct span other = rng_below(&h->dice, 2) ? name_of(s, any_node(s))
                                               : span_of(junk, len / 2);
    const struct addr *at = &s->endpoints[s->nodes[j].endpoint].addr;
    struct ml_msg m = accusation(ML_SUSPECT, inc, name, other);
    switch (rng_below(&h->dice, 8)) {
    case 0:
        m.type = ML_DEAD;
        break;
    case 1:
        m = alive(inc, name, at);
        m.alive.vsn = span_of(junk, rng_below(&h->dice, 8));
        break;
    case 2:
        m = alive(inc, name, at);
        m.alive.meta = span_of(junk, len);
        m.alive.port = (uint16_t)rng_next(&h->dice);
        m.alive.addr.len = rng_below(&h->dice, 2) ? 4 : 16;
        if (m.alive.addr.len > (at->family == ADDR_V6 ? 16 : 4))
            m.alive.addr.len = 4;
        break;
    case 3:
        m = (struct ml_msg){.type = ML_USER, .user = span_of(junk, len)};
        break;
    case 4:
        m = (struct ml_msg){.type = ML_ACK,
                            .ack = {.seq_no = (uint32_t)rng_next(&h->dice),
                                    .payload = span_of(junk, len)}};
        break;
    case 5:
        m = (struct ml_msg){.type = ML_PING,
                            .ping = {.seq_no = 7, .node = name}};
        break;
    default:
        break;
    }
    if (m.type == ML_USER && len == 0)
        return;
    send(s, any_node(s), &m, 1);
}

static void noise(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint8_t bytes[1500];
    size_t len = rng_below(&h->dice, rng_below(&h->dice, 2) ? 1500 : 8);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rng_next(&h->dice);
    if (len > 0 && rng_below(&h->dice, 2))
        bytes[0] = (uint8_t)rng_below(&h->dice, 15);
    uint32_t to = any_node(s);
    net_inject(s, h->endpoint, s->nodes[to].endpoint, bytes, len);
}

static void mutate(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint32_t to;
    uint8_t bytes[2048];
    const struct datagram *d = net_overheard(s, &h->dice, &to);
    if (!d || d->len > sizeof(bytes) || d->len == 0)
        return;
    size_t len = d->len;
    memcpy(bytes, d->data, len);
    for (uint64_t i = 1 + rng_below(&h->dice, 4); i > 0; i--)
        bytes[rng_below(&h->dice, len)] ^=
            (uint8_t)(1 + rng_below(&h->dice, 255));
    if (rng_below(&h->dice, 3) == 0)
        len = rng_below(&h->dice, len + 1);
    net_inject(s, h->endpoint, s->nodes[any_node(s)].endpoint, bytes, len);
}

static void bad_stream(struct sim *s)
{
    struct hostile *h = s->hostile;
    uint8_t bytes[600];
    size_t len = rng_below(&h->dice, sizeof(bytes));
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rng_next(&h->dice);
    if (len > 5 && rng_below(&h->dice, 2)) {
        /* A frame that announces much and brings little. */
        const uint8_t head[] = {ML_ENCRYPT, 0, 0x3f, 0xff, 0xff};
        memcpy(bytes, head, sizeof(head));
    }
    if (len > 1 && rng_below(&h->dice, 3) == 0)
        bytes[0] = ML_PUSH_PULL;
    net_attack(s, h->endpoint, s->nodes[any_node(s)].endpoint, bytes, len);
}

static void act(struct sim *s, enum hostile_kind kind)
{
    switch (kind) {
    case HOSTILE_STORM:
        storm(s);
        break;
    case HOSTILE_LIMIT:
        limit(s);
        break;
    case HOSTILE_FORGE:
        forge(s, false);
        break;
    case HOSTILE_STEAL:
        forge(s, true);
        break;
    case HOSTILE_NAMES:
        invent(s);
        break;
    case HOSTILE_REFLECT:
        reflect(s);
        break;
    case HOSTILE_OLD:
        old_news(s);
        break;
    case HOSTILE_ODD:
        odd(s);
        break;
    case HOSTILE_NOISE:
        noise(s);
        break;
    case HOSTILE_MUTANT:
        mutate(s);
        break;
    case HOSTILE_STREAM:
        bad_stream(s);
        break;
    case HOSTILE_ACK: /* acts when it overhears */
    case HOSTILE_KIND_N:
        break;
    }
}

void hostile_move(struct sim *s)
{
    struct hostile *h = s->hostile;
    if (s->phase != PHASE_FAULTS)
        return;
    enum hostile_kind kind;
    do
        kind = (enum hostile_kind)rng_below(&h->dice, HOSTILE_KIND_N);
    while (!(s->plan.hostile & 1u << kind));
    act(s, kind);
    uint64_t gap_ns = 2 * SIM_S / s->plan.hostile_per_s;
    sim_at(s, s->now_ns + 1 + rng_below(&h->dice, gap_ns), EV_HOSTILE, 0, 0, 0,
           NULL);
}

/* Answer pings for those who are down, with the right number, at once. */
void hostile_overhear(struct sim *s, uint32_t from, const void *data,
                      size_t len)
{
    struct hostile *h = s->hostile;
    uint32_t sender = s->endpoints[from].owner;
    if (sender == SIM_NOBODY)
        return;
    struct ml_wire wire = wire_for(s, sender);
    if (ml_packet_open(&wire, data, len, &h->scratch, &h->parts, NULL) !=
        ML_DROP_NONE)
        return;
    for (size_t i = 0; i < h->parts.n; i++) {
        struct ml_msg m;
        struct span part = h->parts.part[i];
        if (part.len == 0 || part.data[0] != ML_PING ||
            ml_msg_decode(part.data, part.len, &m) != 0)
            continue;
        uint32_t j =
            sim_subject(s, (const char *)m.ping.node.data, m.ping.node.len);
        if (j == SIM_NOBODY || s->nodes[j].mesh)
            continue;
        struct ml_msg ack = {.type = ML_ACK, .ack = {.seq_no = m.ping.seq_no}};
        send(s, sender, &ack, 1);
        return;
    }
}

void hostile_accuse(struct sim *s, uint32_t victim)
{
    struct hostile *h = s->hostile;
    const struct node *n = &s->nodes[victim];
    uint32_t inc = n->incarnation;
    struct span name = name_of(s, victim);
    if (rng_below(&h->dice, 2))
        inc = odd_incarnation(s, inc);
    struct ml_msg m[2] = {
        accusation(ML_SUSPECT, inc, name, span_of_text("evil")),
        alive(inc + 1, name, &s->endpoints[h->endpoint].addr),
    };
    size_t count = 1;
    uint64_t form = rng_below(&h->dice, 6);
    s->must_live =
        form > 2 && s->plan.calm_loss_ppm == 0 && oracle_is_trusted(s, victim);
    switch (form) {
    case 0:
        m[0].type = ML_DEAD;
        break;
    case 1:
        m[0] = accusation(ML_DEAD, inc, name, name);
        break;
    case 2:
        m[0] = accusation(ML_DEAD, inc, name, name);
        count = 2;
        break;
    case 3:
        m[0] = alive(inc, name, &s->endpoints[n->endpoint].addr);
        break;
    default:
        break;
    }
    for (uint32_t i = 0; i < s->plan.n; i++) {
        if (s->nodes[i].is_core && (i == victim || rng_below(&h->dice, 3)))
            send(s, i, m, count);
    }
}
