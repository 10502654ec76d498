/* A node that has three members and is told anything: datagrams, streams and
 * the passing of time, as the input says. Whatever comes, its invariants hold,
 * its memory is bounded, and strangers get no more than they sent. */
#include <assert.h>
#include <string.h>

#include "mesh/mesh.h"
#include "proto/ml_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SEC UINT64_C(1000000000)

static int zeros(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return 0;
}

static struct addr addr_of(unsigned i)
{
    struct addr a = {
        .family = ADDR_V4, .port = 7946, .ip = {10, 0, 0, (uint8_t)(i + 1)}};
    return a;
}

static struct mesh *open_mesh(void)
{
    static const char seeds[1][MESH_SEED_SIZE] = {"10.0.0.2:7946"};
    struct errmsg msg;
    struct mesh_config c = {
        .name = "a",
        .advertise = addr_of(0),
        .label = "",
        .n_seeds = 1,
        .seeds = seeds,
        .timing = mesh_timing_lan,
        .limits = mesh_limits_default,
        .now_unix_s = 1700000000,
        .seed = 1,
        .random = zeros,
    };
    c.limits.members_max = 16;
    return mesh_open(&c, SEC, &msg);
}

static void tell(struct mesh *m, unsigned i)
{
    static const uint8_t vsn[] = {1, 5, 2, 2, 5, 5};
    uint8_t bytes[256];
    char name[2] = {(char)('a' + (int)i), 0};
    struct addr a = addr_of(i);
    struct wr w;
    struct ml_msg msg = {.type = ML_ALIVE};
    msg.alive = (struct ml_alive){.incarnation = 1,
                                  .node = span_of_text(name),
                                  .addr = ml_addr_bytes(&a),
                                  .port = a.port,
                                  .vsn = span_of(vsn, sizeof(vsn))};
    wr_init_fixed(&w, bytes, sizeof(bytes));
    ml_msg_encode(&w, &msg);
    mesh_on_packet(m, SEC, &a, w.data, w.len);
}

static bool is_member(const struct mesh *m, const struct addr *a)
{
    return members_at(mesh_members(m), a, false) != UINT32_MAX;
}

/* Returns a stream that was dialled, to be answered by the input. */
static uint32_t drain(struct mesh *m, size_t stranger_room)
{
    struct mesh_effect e;
    uint32_t dialled = 0;
    while (mesh_next(m, &e)) {
        if (e.kind == MESH_DIAL)
            dialled = e.id;
        if (e.kind == MESH_SEND && !is_member(m, &e.to)) {
            assert(e.data.len <= stranger_room);
            stranger_room -= e.data.len;
        }
    }
    mesh_check(m);
    return dialled;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mesh *m = open_mesh();
    uint64_t now_ns = SEC;
    uint32_t dialled, accepted = 0;
    struct rd r;

    if (!m)
        return 0;
    for (unsigned i = 1; i < 4; i++)
        tell(m, i);
    dialled = drain(m, 0);
    rd_init(&r, data, len);
    /* op u8, length u16, bytes: until the input ends. */
    for (int step = 0; rd_left(&r) > 3 && step < 64; step++) {
        uint8_t op = rd_u8(&r);
        size_t n = rd_be16(&r);
        n = n < rd_left(&r) ? n : rd_left(&r);
        const uint8_t *bytes = rd_bytes(&r, n);
        struct addr from = addr_of(op >> 4);
        size_t room = 0;
        uint32_t id = 0;
        switch (op & 7) {
        case 0:
        case 1:
            mesh_on_packet(m, now_ns, &from, bytes, n);
            room = n;
            break;
        case 2:
            accepted = mesh_on_accept(m, now_ns, &from);
            break;
        case 3:
            mesh_on_bytes(m, now_ns, accepted, bytes, n);
            break;
        case 4:
            mesh_on_connected(m, now_ns, dialled);
            break;
        case 5:
            mesh_on_bytes(m, now_ns, dialled, bytes, n);
            break;
        case 6:
            mesh_on_gone(m, now_ns, op & 8 ? accepted : dialled);
            break;
        default:
            now_ns += (op & 8 ? SEC : SEC / 8) * (1 + (op >> 4));
            mesh_on_timer(m, now_ns);
            break;
        }
        id = drain(m, room);
        dialled = id ? id : dialled;
    }
    mesh_close(m);
    return 0;
}
