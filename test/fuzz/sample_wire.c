/* Samples of a node that lies: what decodes is sound, can be shown, and comes
 * back from bytes as it was. Input: samples, one behind the other. */
#include "prober/sample_wire.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t encode(const struct sample *s, const struct sample_names *names,
                     uint8_t bytes[SAMPLE_WIRE_MAX])
{
    struct wr w;
    wr_init_fixed(&w, bytes, SAMPLE_WIRE_MAX);
    sample_wire_write(s, names, &w);
    assert(!wr_err(&w));
    return w.len;
}

static void check_text(const char *text)
{
    for (; text && *text; text++)
        assert(*text >= 0x20 && *text < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[SAMPLE_WIRE_MAX], again[SAMPLE_WIRE_MAX];
    struct sample s;
    struct sample_names names;
    struct sample_texts texts;
    struct rd r, back;
    struct wr w;
    struct json j;
    rd_init(&r, data, size);
    wr_init_grow(&w, 1u << 16);
    while (rd_left(&r) > 0 && !sample_wire_read(&r, &s, &names, &texts)) {
        sample_check(&s);
        check_text(s.error);
        check_text(names.target);
        check_text(names.to_zone);
        wr_reset(&w);
        json_init(&j, &w);
        sample_write_json(&s, &names, &j);
        assert(!wr_err(&w));
        size_t len = encode(&s, &names, bytes);
        rd_init(&back, bytes, len);
        assert(!sample_wire_read(&back, &s, &names, &texts));
        assert(!rd_end(&back));
        assert(encode(&s, &names, again) == len);
        assert(!memcmp(bytes, again, len));
    }
    wr_fini(&w);
    return 0;
}
