/* 18 bytes are an address and its port, the rest a network as text. */
#include "proto/addr_policy.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An address that may be dialled is none of these, whatever its form. */
static void check_allowed(const struct addr *a)
{
    struct addr plain = addr_unwrap(a);
    assert(a->port && plain.port == a->port);
    assert(!addr_is_loopback(&plain));
    if (plain.family == ADDR_V4) {
        assert(plain.ip[0] != 0 && plain.ip[0] < 224);
        assert(plain.ip[0] != 169 || plain.ip[1] != 254);
    } else {
        assert(plain.family == ADDR_V6 && plain.ip[0] != 0xff);
        assert(plain.ip[0] != 0xfe || (plain.ip[1] & 0xc0) != 0x80);
    }
    struct addr twice = addr_unwrap(&plain);
    assert(addr_equal(&plain, &twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct addr_policy p = {0};
    struct addr a = {.family = ADDR_V6};
    char text[128] = "";
    if (size < 18)
        return 0;
    memcpy(a.ip, data, 16);
    a.port = (uint16_t)(data[16] << 8 | data[17]);
    enum addr_verdict bare = addr_policy_check(&p, &a);
    if (bare == ADDR_ALLOWED)
        check_allowed(&a);

    size_t len = size - 18 < sizeof(text) - 1 ? size - 18 : sizeof(text) - 1;
    memcpy(text, data + 18, len);
    if (addr_network_parse(&p.networks[0], text))
        return 0;
    p.n_networks = 1;
    assert(addr_network_contains(&p.networks[0], &p.networks[0].base));
    struct addr plain = addr_unwrap(&a);
    enum addr_verdict v = addr_policy_check(&p, &a);
    if (v == ADDR_ALLOWED)
        assert(bare == v && addr_network_contains(&p.networks[0], &plain));
    else
        assert(v == (bare == ADDR_ALLOWED ? ADDR_DENIED_NETWORK : bare) ||
               v == ADDR_DENIED_NETWORK);
    return 0;
}
