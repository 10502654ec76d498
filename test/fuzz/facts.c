/* What is read makes sense, and written again reads the same. */
#include "mesh/facts.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct facts f;
    struct facts again;
    uint8_t meta[ML_META_MAX];
    facts_decode(span_of(data, size), &f);
    assert(f.is_ours == facts_is_ours(span_of(data, size)));
    assert(!f.can_probe || (f.is_ours && f.port && f.protocols));
    assert(!f.host[0] || url_is_host(f.host));
    if (!f.can_probe)
        return 0;

    int len = facts_encode(&f, meta);
    if (len < 0)
        return 0;
    facts_decode(span_of(meta, (size_t)len), &again);
    assert(again.can_probe && f.port == again.port && f.tls == again.tls);
    assert(f.protocols == again.protocols && !strcmp(f.host, again.host));
    assert(!strcmp(f.zone, again.zone) && !strcmp(f.region, again.region));
    assert(!strcmp(f.version, again.version));
    assert(!memcmp(f.fingerprint, again.fingerprint, sizeof(f.fingerprint)));
    return 0;
}
