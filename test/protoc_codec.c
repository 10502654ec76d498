/* Our side of test/system/check_protoc.py: one message, in or out.
 *
 *   protoc_codec encode-request NAME | encode-response NUMBER   > message
 *   protoc_codec decode-request | decode-response               < message
 *
 * Decoding prints the value; exit code 1 if it is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc.h"

static int encode(const char *what, const char *value)
{
    uint8_t bytes[256];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    if (strcmp(what, "encode-request") == 0)
        grpc_write_health_request(&w, value);
    else if (strcmp(what, "encode-response") == 0)
        grpc_write_health_response(&w, (enum grpc_serving)atoi(value));
    else
        return 2;
    const uint8_t *message;
    size_t len;
    if (grpc_read_frame(bytes, w.len, &message, &len))
        return 1;
    return fwrite(message, 1, len, stdout) == len ? 0 : 1;
}

static int decode(const char *what)
{
    uint8_t bytes[4096];
    size_t len = fread(bytes, 1, sizeof(bytes), stdin);
    if (strcmp(what, "decode-request") == 0) {
        char service[GRPC_SERVICE_MAX + 1];
        if (grpc_read_health_request(bytes, len, service))
            return 1;
        fputs(service, stdout);
        return 0;
    }
    int serving;
    if (strcmp(what, "decode-response") != 0)
        return 2;
    if (grpc_read_health_response(bytes, len, &serving))
        return 1;
    printf("%d", serving);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return encode(argv[1], argv[2]);
    return argc == 2 ? decode(argv[1]) : 2;
}
