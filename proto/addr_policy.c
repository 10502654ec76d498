#include "proto/addr_policy.h"

#include <string.h>

#include "proto/base/err.h"

/* The first `bits` of an address, and what they mean. */
struct range {
    uint8_t family;
    uint8_t bits;
    uint8_t verdict; /* enum addr_verdict */
    uint8_t base[16];
};

static const struct range denied[] = {
    {ADDR_V4, 8, ADDR_DENIED_UNSPECIFIED, {0}},
    {ADDR_V4, 8, ADDR_DENIED_LOOPBACK, {127}},
    {ADDR_V4, 16, ADDR_DENIED_LINK_LOCAL, {169, 254}},
    {ADDR_V4, 4, ADDR_DENIED_MULTICAST, {224}},
    {ADDR_V4, 24, ADDR_DENIED_RESERVED, {192, 0, 0}},
    {ADDR_V4, 4, ADDR_DENIED_RESERVED, {240}},
    {ADDR_V4, 32, ADDR_DENIED_METADATA, {100, 100, 100, 200}}, /* Alibaba */
    {ADDR_V4, 32, ADDR_DENIED_METADATA, {168, 63, 129, 16}},   /* Azure */

    {ADDR_V6, 128, ADDR_DENIED_UNSPECIFIED, {0}},
    {ADDR_V6, 128, ADDR_DENIED_LOOPBACK, {[15] = 1}},
    {ADDR_V6, 10, ADDR_DENIED_LINK_LOCAL, {0xfe, 0x80}},
    {ADDR_V6, 8, ADDR_DENIED_MULTICAST, {0xff}},
    {ADDR_V6, 32, ADDR_DENIED_METADATA, {0xfd, 0x00, 0x0e, 0xc2}}, /* AWS */
    {ADDR_V6,
     128,
     ADDR_DENIED_METADATA, /* Google */
     {0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54}},
    {ADDR_V6,
     128,
     ADDR_DENIED_METADATA, /* Oracle */
     {0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe}},
    {ADDR_V6,
     128,
     ADDR_DENIED_METADATA, /* Alibaba */
     {0xfd, 0x00, 0x01, 0x00, [12] = 0x01, 0x00, 0x02, 0x00}},
    {ADDR_V6,
     128,
     ADDR_DENIED_METADATA, /* Akamai */
     {0xfd, 0x00, 0xa9, 0xfe, 0xa9, 0xfe, [15] = 0x01}},
    {ADDR_V6,
     128,
     ADDR_DENIED_METADATA, /* Scaleway */
     {0xfd, 0x00, 0x00, 0x42, [15] = 0x42}},
};
#define N_DENIED (sizeof(denied) / sizeof(*denied))

/* IPv6 addresses that begin with the `len` bytes of `prefix` carry an IPv4
 * address at byte `at`, each byte of it combined with `mask`. */
struct form {
    uint8_t len, at, mask;
    uint8_t prefix[12];
};

static const struct form forms[] = {
    {12, 12, 0x00, {[10] = 0xff, [11] = 0xff}},       /* mapped, RFC 4291 */
    {12, 12, 0x00, {0}},                              /* compatible, 4291 */
    {12, 12, 0x00, {[8] = 0xff, [9] = 0xff}},         /* translated, 2765 */
    {12, 12, 0x00, {0x00, 0x64, 0xff, 0x9b}},         /* NAT64, RFC 6052 */
    {6, 12, 0x00, {0x00, 0x64, 0xff, 0x9b, 0, 0x01}}, /* NAT64, RFC 8215 */
    {2, 2, 0x00, {0x20, 0x02}},                       /* 6to4, RFC 3056 */
    {4, 12, 0xff, {0x20, 0x01, 0x00, 0x00}},          /* Teredo, RFC 4380 */
};
#define N_FORMS     (sizeof(forms) / sizeof(*forms))
#define NAT64_LOCAL (&forms[4])
#define TEREDO      (&forms[6])
#define TEREDO_HOST 4 /* where its server's address stands */

const char *addr_verdict_name(enum addr_verdict v)
{
    static const char *const names[] = {
        [ADDR_ALLOWED] = "allowed",
        [ADDR_DENIED_NONE] = "no_address",
        [ADDR_DENIED_UNSPECIFIED] = "unspecified",
        [ADDR_DENIED_LOOPBACK] = "loopback",
        [ADDR_DENIED_LINK_LOCAL] = "link_local",
        [ADDR_DENIED_MULTICAST] = "multicast",
        [ADDR_DENIED_RESERVED] = "reserved",
        [ADDR_DENIED_METADATA] = "metadata",
        [ADDR_DENIED_NETWORK] = "network",
    };
    return names[v];
}

static bool has_prefix(const uint8_t *ip, const uint8_t *base, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(ip, base, whole) != 0)
        return false;
    return rest == 0 || (ip[whole] ^ base[whole]) >> (8 - rest) == 0;
}

/* :: and ::1 have the looks of the compatible form, but are not of it. */
static bool is_lowest(const uint8_t ip[16])
{
    static const uint8_t zero[15];
    return !memcmp(ip, zero, sizeof(zero)) && ip[15] <= 1;
}

static const struct form *form_of(const struct addr *a)
{
    if (a->family != ADDR_V6 || is_lowest(a->ip))
        return NULL;
    for (size_t i = 0; i < N_FORMS; i++) {
        if (!memcmp(a->ip, forms[i].prefix, forms[i].len))
            return &forms[i];
    }
    return NULL;
}

static struct addr embedded(const struct addr *a, size_t at, uint8_t mask)
{
    struct addr v4 = {.family = ADDR_V4, .port = a->port};
    for (size_t i = 0; i < 4; i++)
        v4.ip[i] = a->ip[at + i] ^ mask;
    return v4;
}

struct addr addr_unwrap(const struct addr *a)
{
    const struct form *f = form_of(a);
    return f ? embedded(a, f->at, f->mask) : *a;
}

bool addr_teredo_server(const struct addr *a, struct addr *server)
{
    if (form_of(a) != TEREDO)
        return false;
    *server = embedded(a, TEREDO_HOST, 0);
    return true;
}

static enum addr_verdict judge(const struct addr_policy *p,
                               const struct addr *a)
{
    for (size_t i = 0; i < N_DENIED; i++) {
        const struct range *r = &denied[i];
        if (r->family != a->family || !has_prefix(a->ip, r->base, r->bits))
            continue;
        if (r->verdict == ADDR_DENIED_LOOPBACK && p->allows_loopback)
            continue;
        return (enum addr_verdict)r->verdict;
    }
    for (size_t i = 0; i < p->n_networks; i++) {
        if (addr_network_contains(&p->networks[i], a))
            return ADDR_ALLOWED;
    }
    return p->n_networks ? ADDR_DENIED_NETWORK : ADDR_ALLOWED;
}

/* RFC 8215 leaves it to each site how long the prefix is under 64:ff9b:1::/48,
 * and only with /96 does the IPv4 address stand at the end. With the shorter
 * ones it would begin where /96 has zeros, and anything may follow it. */
static bool is_ambiguous(const struct addr *a)
{
    static const uint8_t zero[4];
    return memcmp(a->ip + 8, zero, sizeof(zero)) != 0;
}

enum addr_verdict addr_policy_check(const struct addr_policy *p,
                                    const struct addr *a)
{
    if ((a->family != ADDR_V4 && a->family != ADDR_V6) || a->port == 0)
        return ADDR_DENIED_NONE;

    const struct form *f = form_of(a);
    if (f == NAT64_LOCAL && is_ambiguous(a))
        return ADDR_DENIED_RESERVED;
    struct addr server;
    if (addr_teredo_server(a, &server)) { /* packets go there as well */
        enum addr_verdict v = judge(p, &server);
        if (v != ADDR_ALLOWED)
            return v;
    }
    struct addr plain = addr_unwrap(a);
    return judge(p, &plain);
}

bool addr_policy_equal(const struct addr_policy *p, const struct addr_policy *q)
{
    if (p->allows_loopback != q->allows_loopback ||
        p->n_networks != q->n_networks)
        return false;
    for (size_t i = 0; i < p->n_networks; i++) {
        if (p->networks[i].prefix != q->networks[i].prefix ||
            !addr_equal(&p->networks[i].base, &q->networks[i].base))
            return false;
    }
    return true;
}

/* Decimal without sign, blanks or leading zeros. -1 if it is not. */
static int parse_prefix(const char *text, int max)
{
    int v = 0;
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        v = v * 10 + (*text - '0');
        if (v > max)
            return -1;
    }
    return v;
}

/* Are all bits behind the prefix zero? */
static bool is_base(const struct addr *a, unsigned bits)
{
    struct addr masked = *a;
    for (unsigned i = bits; i < 8 * sizeof(masked.ip); i++)
        masked.ip[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    return addr_equal(a, &masked);
}

int addr_network_parse(struct addr_network *n, const char *text)
{
    char ip[ADDR_TEXT_SIZE];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof(ip))
        return ERR_BAD;
    memcpy(ip, text, len);
    ip[len] = '\0';

    struct addr a;
    if (addr_parse_ip(&a, ip))
        return ERR_BAD;
    int max = a.family == ADDR_V4 ? 32 : 128;
    int prefix = slash ? parse_prefix(slash + 1, max) : max;
    if (prefix < 0 || !is_base(&a, (unsigned)prefix))
        return ERR_BAD;
    const struct form *f = form_of(&a);
    if (f && prefix >= 8 * f->len)
        return ERR_BAD; /* no address is in it once unwrapped */

    *n = (struct addr_network){.base = a, .prefix = (uint8_t)prefix};
    return 0;
}

bool addr_network_contains(const struct addr_network *n, const struct addr *a)
{
    return n->base.family == a->family &&
           has_prefix(a->ip, n->base.ip, n->prefix);
}
