/* test/grpc_client.h - a gRPC client in memory, over nghttp2 itself, so that
 * what a test says it does is what goes over the wire: several streams, kept
 * open at will, read or not read. */
#ifndef TEST_GRPC_CLIENT_H
#define TEST_GRPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/h2.h"

struct grpc_reply {
    int32_t stream_id;
    unsigned status;
    char content_type[64];
    char grpc_status[8];
    char grpc_message[256];
    unsigned headers; /* HEADERS frames: 1 is trailers-only */
    bool is_ended, is_closed;
    uint32_t close_code;
    struct wr body;
    size_t consumed; /* of it: what the server was told to have room for */

    struct wr out; /* still to be sent */
    size_t out_pos;
    bool is_out_end;
};

#define GRPC_CLIENT_STREAMS 128

struct grpc_client {
    void *session; /* nghttp2_session */
    bool is_deaf;  /* opens no window for what it gets */
    bool has_goaway;
    size_t n;
    struct grpc_reply *replies[GRPC_CLIENT_STREAMS];
};

void grpc_client_init(struct grpc_client *c);
void grpc_client_fini(struct grpc_client *c);

/* POST with content-type application/grpc, unless `fields` say otherwise
 * (":method", ":path", "content-type"). Returns what is to become the
 * answer. */
struct grpc_reply *grpc_client_call(struct grpc_client *c, const char *path,
                                    const struct h2_field *fields, size_t n,
                                    const void *body, size_t len, bool end);
void grpc_client_send(struct grpc_client *c, struct grpc_reply *r,
                      const void *body, size_t len, bool end);
void grpc_client_reset(struct grpc_client *c, struct grpc_reply *r);
void grpc_client_ping(struct grpc_client *c);
/* Open the windows for all that was not read while deaf. */
void grpc_client_listen(struct grpc_client *c);

/* Bytes to the server, NULL: none; valid until the next call. */
const uint8_t *grpc_client_out(struct grpc_client *c, size_t *len);
/* Bytes from it. 0, or -1: it broke the protocol. */
int grpc_client_feed(struct grpc_client *c, const void *data, size_t len);

/* The next whole message of the answer from *at on: false, none. */
bool grpc_reply_message(const struct grpc_reply *r, size_t *at,
                        const uint8_t **message, size_t *len);

#endif /* TEST_GRPC_CLIENT_H */
