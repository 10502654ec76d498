/* What decodes is a possible histogram, encodes to the same bytes, and merges
 * with itself. */
#include "proto/hist.h"

#include <assert.h>
#include <string.h>

#include "proto/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hist h = {0};
    struct hist sum = {0};
    struct rd r;

    rd_init(&r, data, size);
    if (hist_decode(&h, &r) == 0) {
        uint8_t bytes[4096];
        struct wr w;
        hist_check(&h);
        wr_init_fixed(&w, bytes, sizeof(bytes));
        hist_encode(&h, &w);
        assert(!wr_err(&w));
        assert(w.len == r.pos); /* varints have one form only */
        assert(!memcmp(bytes, data, w.len));

        uint64_t before = 0;
        for (double q = 0; q <= 1; q += 0.0625) {
            uint64_t ns = hist_quantile(&h, q);
            assert(ns >= before);
            before = ns;
        }
        int err = hist_merge(&sum, &h);
        assert(!err);
        err = hist_merge(&sum, &h);
        assert(!err || err == ERR_TOOBIG);
        hist_check(&sum);
    }
    hist_fini(&h);
    hist_fini(&sum);
    return 0;
}
