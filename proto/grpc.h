/* proto/grpc.h - gRPC over HTTP/2, as far as health checking needs it.
 *
 * Message framing (one flag byte, four length bytes), grpc-timeout, status
 * and percent-encoded message, and the messages of grpc.health.v1 through a
 * bounded protobuf codec of our own (proto/pb.h), which tests hold against
 * protoc. Source: the gRPC "PROTOCOL-HTTP2" and "health checking" documents.
 */
#ifndef PROTO_GRPC_H
#define PROTO_GRPC_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define GRPC_MESSAGE_MAX 4096 /* bytes of one message we accept */
#define GRPC_SERVICE_MAX 128  /* bytes of a health service name */

#define GRPC_HEALTH_CHECK "/grpc.health.v1.Health/Check"
#define GRPC_HEALTH_WATCH "/grpc.health.v1.Health/Watch"

enum grpc_status { /* the standard codes, complete */
                   GRPC_OK = 0,
                   GRPC_CANCELLED,
                   GRPC_UNKNOWN,
                   GRPC_INVALID_ARGUMENT,
                   GRPC_DEADLINE_EXCEEDED,
                   GRPC_NOT_FOUND,
                   GRPC_ALREADY_EXISTS,
                   GRPC_PERMISSION_DENIED,
                   GRPC_RESOURCE_EXHAUSTED,
                   GRPC_FAILED_PRECONDITION,
                   GRPC_ABORTED,
                   GRPC_OUT_OF_RANGE,
                   GRPC_UNIMPLEMENTED,
                   GRPC_INTERNAL,
                   GRPC_UNAVAILABLE,
                   GRPC_DATA_LOSS,
                   GRPC_UNAUTHENTICATED,
};

enum grpc_serving {
    GRPC_SERVING_UNKNOWN = 0,
    GRPC_SERVING = 1,
    GRPC_NOT_SERVING = 2,
    GRPC_SERVICE_UNKNOWN = 3,
};

/* "OK", "UNAVAILABLE", ...; "UNKNOWN" for codes outside the list. */
const char *grpc_status_name(int status);
const char *grpc_serving_name(int serving); /* "SERVING", ... */

/* Append a framed message (flag 0, length, bytes). */
void grpc_write_frame(struct wr *w, const void *message, size_t len);

/* Read the one framed message that a unary call carries, exactly filling
 * `len`. Returns 0, ERR_TRUNC, ERR_BAD (compressed flag, junk behind),
 * ERR_TOOBIG. */
int grpc_read_frame(const uint8_t *data, size_t len, const uint8_t **message,
                    size_t *message_len);

/* Frame + HealthCheckRequest{service}. */
void grpc_write_health_request(struct wr *w, const char *service);
/* Frame + HealthCheckResponse{status}. */
void grpc_write_health_response(struct wr *w, enum grpc_serving serving);

/* Decode a HealthCheckRequest; service is NUL-terminated. Unknown fields are
 * skipped. Returns 0, ERR_TRUNC, ERR_BAD, ERR_TOOBIG. */
int grpc_read_health_request(const uint8_t *message, size_t len,
                             char service[GRPC_SERVICE_MAX + 1]);
/* Decode a HealthCheckResponse; any int32 is accepted as status (open enum).*/
int grpc_read_health_response(const uint8_t *message, size_t len, int *serving);

#define GRPC_TIMEOUT_SIZE 16
/* "100m", "5S": at most 8 digits, rounded up to the next finer unit that
 * fits. ns > 0. */
void grpc_format_timeout(uint64_t ns, char text[GRPC_TIMEOUT_SIZE]);
/* The reverse. 0 or ERR_BAD. Saturates at UINT64_MAX. */
int grpc_parse_timeout(const char *text, uint64_t *ns);

/* Parse grpc-status ("0".."16" and larger unknown codes); ERR_BAD else. */
int grpc_parse_status(const char *text, int *status);

/* Percent-decode grpc-message for display: malformed escapes stay as they
 * are, control bytes become '?'. Always NUL-terminated. */
void grpc_decode_message(const char *text, char *out, size_t out_size);

/* Percent-encode for the header. */
void grpc_encode_message(const char *text, struct wr *w);

#endif /* PROTO_GRPC_H */
