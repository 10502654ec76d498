/* A policy, a URL and an address from bytes. What may be dialled is judged
 * once more by an oracle that shares no code with the policy: it works on bits
 * and on text.
 *
 *     flags: standing (2 bits), lifts the address, mesh on loopback, mesh
 *            with a network, rules: a network, the host, a domain
 *     more flags: the port is used, this host's addresses are known, IPv4 (8)
 *     address (16 bytes), port
 *     URL as text, to the end
 */
#include "prober/target_policy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct target_policy p;

static uint32_t be32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           b[3];
}

/* 0: fine; 1: loopback; 2: denied otherwise. */
static int oracle_v4(uint32_t ip)
{
    if (ip >> 24 == 127)
        return 1;
    return ip >> 24 == 0 || ip >> 16 == 0xa9fe || ip >> 28 >= 14 ||
                   ip >> 8 == 0xc00000 || ip == 0x646464c8 || ip == 0xa83f8110
               ? 2
               : 0;
}

static int worse(int a, int b)
{
    return a > b ? a : b;
}

static int oracle(const struct addr *a)
{
    uint32_t w[4];
    if (a->family == ADDR_V4)
        return oracle_v4(be32(a->ip));
    for (int i = 0; i < 4; i++)
        w[i] = be32(a->ip + 4 * i);
    if (!w[0] && !w[1] && !w[2] && w[3] <= 1)
        return w[3] ? 1 : 2;
    if (!w[0] && !w[1] && (w[2] == 0 || w[2] == 0xffff))
        return oracle_v4(w[3]);
    if (!w[0] && !w[1] && w[2] == 0xffff0000)
        return oracle_v4(w[3]);
    if (w[0] == 0x0064ff9b && !w[1] && !w[2])
        return oracle_v4(w[3]);
    if (w[0] == 0x0064ff9b && w[1] >> 16 == 1)
        return w[2] ? 2 : oracle_v4(w[3]);
    if (w[0] >> 16 == 0x2002)
        return oracle_v4(w[0] << 16 | w[1] >> 16);
    if (w[0] == 0x20010000)
        return worse(oracle_v4(~w[3]), oracle_v4(w[1]));
    if (w[0] >> 24 == 0xff || w[0] >> 22 == 0xfe80u >> 6 || w[0] == 0xfd000ec2)
        return 2;
    static const uint32_t others[][4] = {
        {0xfd2000ce, 0, 0, 0x254},      {0xfd0000c1, 0, 0, 0xa9fea9fe},
        {0xfd000100, 0, 0, 0x01000200}, {0xfd00a9fe, 0xa9fe0000, 0, 1},
        {0xfd000042, 0, 0, 0x42},
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (!memcmp(w, others[i], sizeof(w)))
            return 2;
    }
    return 0;
}

/* Is it the one that was lifted, be it in the mapped form? */
static bool is_lifted(const struct addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const struct addr *both[] = {a, &p.dangerous[0]};
    const uint8_t *v4[2] = {NULL, NULL};
    if (p.n_dangerous == 0)
        return false;
    for (int i = 0; i < 2; i++) {
        if (both[i]->family == ADDR_V4)
            v4[i] = both[i]->ip;
        else if (!memcmp(both[i]->ip, mapped, 12))
            v4[i] = both[i]->ip + 12;
    }
    if (v4[0] && v4[1])
        return !memcmp(v4[0], v4[1], 4);
    return !v4[0] && !v4[1] && !memcmp(a->ip, p.dangerous[0].ip, 16);
}

static void check_dialled(const struct url *u, enum target_standing standing,
                          const struct target_guard *g, const struct addr *a)
{
    struct addr literal;
    bool is_literal = !addr_parse_ip(&literal, u->host);
    int kind = oracle(a);
    assert(a->port == u->port && a->port != 0);
    assert(!is_literal || addr_same_ip(&literal, a));
    assert(is_literal == g->is_literal && is_literal == u->is_literal);
    if (standing == TARGET_OTHER)
        assert(kind == 0 || is_lifted(a));
    if (standing == TARGET_MEMBER)
        assert(kind == 0 || (kind == 1 && p.mesh.allows_loopback));
    if (standing == TARGET_CONFIGURED)
        assert(kind == 0 || is_lifted(a) || is_literal ||
               (kind == 1 && (p.mesh.allows_loopback || g->is_local_name)));
    assert(a->port != 7070 || (p.is_local_known && kind != 1)); /* us */
    assert(standing != TARGET_OTHER || p.n_rules > 0);
}

static void fill(unsigned flags, const struct addr *a, const struct url *u)
{
    p.n_rules = p.n_ports = p.n_dangerous = p.n_local = 0;
    p.n_own = 1;
    p.own[0] = (struct addr){.family = ADDR_V6, .port = 7070};
    if (flags & 4)
        p.dangerous[p.n_dangerous++] = *a;
    p.mesh = (struct addr_policy){.allows_loopback = flags & 8};
    if ((flags & 16) && !addr_network_parse(&p.mesh.networks[0], "10.0.0.0/8"))
        p.mesh.n_networks = 1;
    if (flags & 32)
        p.n_rules +=
            !target_rule_parse(&p.rules[p.n_rules], "0.0.0.0/0", NULL) &&
            !target_rule_parse(&p.rules[p.n_rules + 1], "::/0", NULL);
    if ((flags & 32) && p.n_rules)
        p.n_rules++;
    if (flags & 64)
        p.n_rules += !target_rule_parse(&p.rules[p.n_rules], u->host, NULL);
    if (flags & 128) {
        char text[URL_HOST_MAX + 3];
        snprintf(text, sizeof(text), "*.%s", u->host);
        p.n_rules += !target_rule_parse(&p.rules[p.n_rules], text, NULL);
    }
    p.ports[0] = u->port;
    p.n_ports = 1;
}

/* Any text, as a rule. */
static void check_rule(const char *text)
{
    struct target_rule r;
    struct errmsg msg = {""};
    if (target_rule_parse(&r, text, &msg)) {
        assert(msg.text[0]);
        return;
    }
    assert(!(r.is_network && r.is_domain));
    assert(r.is_network == !r.host[0]);
    for (const char *c = r.host; *c; c++)
        assert((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') ||
               *c == '-' || *c == '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct addr a = {0};
    struct url u;
    struct target_guard g;
    char text[2048];
    if (size < 20)
        return 0;
    unsigned flags = data[0];
    enum target_standing standing = (enum target_standing)(flags & 3);
    a.family = data[1] & 8 ? ADDR_V4 : ADDR_V6;
    memcpy(a.ip, data + 2, a.family == ADDR_V4 ? 4 : 16);
    size_t len = size - 20 < sizeof(text) - 1 ? size - 20 : sizeof(text) - 1;
    memcpy(text, data + 20, len);
    text[len] = '\0';
    check_rule(text);
    if (url_parse(&u, text, NULL))
        return 0;
    a.port = data[1] & 1 ? (uint16_t)(data[18] << 8 | data[19]) : u.port;
    fill(flags, &a, &u);
    p.is_local_known = data[1] & 2;
    if (standing > TARGET_CONFIGURED)
        standing = TARGET_OTHER;
    if (target_policy_admit(&p, &u, standing, &g) != TARGET_ALLOWED)
        return 0;
    if (g.is_literal) { /* then the literal itself may be dialled */
        bool may = target_guard_may_dial(&g, &g.pinned);
        assert(may);
        check_dialled(&u, standing, &g, &g.pinned);
    }
    if (target_guard_may_dial(&g, &a))
        check_dialled(&u, standing, &g, &a);
    return 0;
}
