/* Decodes anything; what it stands for, and the input itself, must come back
 * when encoded and decoded again. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/lzw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const uint8_t *data, size_t size)
{
    struct wr packed, back;
    wr_init_grow(&packed, 1 << 20);
    wr_init_grow(&back, 1 << 20);
    lzw_encode(data, size, &packed);
    assert(!wr_err(&packed));
    int err = lzw_decode(packed.data, packed.len, &back);
    assert(!err && back.len == size);
    assert(size == 0 || memcmp(back.data, data, size) == 0);
    wr_fini(&packed);
    wr_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wr out;
    wr_init_grow(&out, 65536);
    if (!lzw_decode(data, size, &out))
        check_round_trip(out.data, out.len);
    else
        assert(out.len == 0);
    assert(out.size <= 65536);
    wr_fini(&out);
    if (size <= 65536)
        check_round_trip(data, size);
    return 0;
}
