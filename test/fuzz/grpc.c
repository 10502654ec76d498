/* Every decoder of proto/grpc.h on the same bytes, and what is accepted has
 * to survive being written and read again. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const char *service)
{
    uint8_t bytes[GRPC_SERVICE_MAX + 16];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    grpc_write_health_request(&w, service);
    assert(!wr_err(&w));
    const uint8_t *message;
    size_t len;
    char back[GRPC_SERVICE_MAX + 1];
    int err = grpc_read_frame(bytes, w.len, &message, &len);
    assert(!err);
    err = grpc_read_health_request(message, len, back);
    assert(!err && strcmp(back, service) == 0);
}

static void read_message(const uint8_t *data, size_t size)
{
    char service[GRPC_SERVICE_MAX + 1];
    if (!grpc_read_health_request(data, size, service))
        check_request(service);
    int serving;
    if (!grpc_read_health_response(data, size, &serving))
        assert(grpc_serving_name(serving));
}

static void read_text(const char *text)
{
    uint64_t ns;
    if (!grpc_parse_timeout(text, &ns) && ns > 0) {
        char again[GRPC_TIMEOUT_SIZE];
        uint64_t back;
        grpc_format_timeout(ns, again);
        int err = grpc_parse_timeout(again, &back);
        assert(!err && back >= ns);
    }
    int status;
    if (!grpc_parse_status(text, &status))
        assert(status >= 0 && grpc_status_name(status));

    char out[32];
    grpc_decode_message(text, out, sizeof(out));
    for (const char *p = out; *p; p++)
        assert((uint8_t)*p >= 0x20 && *p != 0x7f);

    struct wr w;
    wr_init_grow(&w, 3 * strlen(text) + 1);
    grpc_encode_message(text, &w);
    wr_u8(&w, 0);
    assert(!wr_err(&w));
    wr_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *message;
    size_t len;
    if (!grpc_read_frame(data, size, &message, &len)) {
        assert(message == data + 5 && len == size - 5);
        read_message(message, len);
    }
    read_message(data, size);

    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    read_text(text);
    free(text);
    return 0;
}
