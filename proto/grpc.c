#include "proto/grpc.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/pb.h"

#define FRAME_HEAD         5 /* flag, length */
#define TIMEOUT_DIGITS_MAX 8
#define TIMEOUT_VALUE_MAX  99999999u

/* Field numbers of health.proto. */
#define REQUEST_SERVICE 1
#define RESPONSE_STATUS 1

const char *grpc_status_name(int status)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    if (status < 0 || status > GRPC_UNAUTHENTICATED)
        return "UNKNOWN";
    return names[status];
}

const char *grpc_serving_name(int serving)
{
    static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING",
                                        "SERVICE_UNKNOWN"};
    if (serving < 0 || serving > GRPC_SERVICE_UNKNOWN)
        return "UNKNOWN";
    return names[serving];
}

void grpc_write_frame(struct wr *w, const void *message, size_t len)
{
    assert(len <= UINT32_MAX);
    wr_u8(w, 0);
    wr_be32(w, (uint32_t)len);
    wr_bytes(w, message, len);
}

int grpc_read_frame(const uint8_t *data, size_t len, const uint8_t **message,
                    size_t *message_len)
{
    struct rd r;
    rd_init(&r, data, len);

    uint8_t flag = rd_u8(&r);
    uint32_t n = rd_be32(&r);
    if (flag != 0)
        return ERR_BAD;
    if (rd_err(&r))
        return rd_err(&r);
    if (n > GRPC_MESSAGE_MAX)
        return ERR_TOOBIG;

    const uint8_t *p = rd_bytes(&r, n);
    if (rd_end(&r))
        return rd_err(&r);
    *message = p;
    *message_len = n;
    return 0;
}

void grpc_write_health_request(struct wr *w, const char *service)
{
    size_t len = strlen(service);
    assert(len <= GRPC_SERVICE_MAX);

    uint8_t bytes[GRPC_SERVICE_MAX + 8];
    struct wr message;
    wr_init_fixed(&message, bytes, sizeof(bytes));
    if (len > 0)
        pb_write_bytes(&message, REQUEST_SERVICE, service, len);
    grpc_write_frame(w, bytes, message.len);
}

void grpc_write_health_response(struct wr *w, enum grpc_serving serving)
{
    uint8_t bytes[16];
    struct wr message;
    wr_init_fixed(&message, bytes, sizeof(bytes));
    if (serving != GRPC_SERVING_UNKNOWN)
        pb_write_varint(&message, RESPONSE_STATUS, serving);
    grpc_write_frame(w, bytes, message.len);
}

/* The text ends at its first NUL for us but not for the sender, so a name
 * with a NUL inside would be another name here: refused. */
int grpc_read_health_request(const uint8_t *message, size_t len,
                             char service[GRPC_SERVICE_MAX + 1])
{
    struct rd r;
    rd_init(&r, message, len);

    struct pb_field last = {.type = PB_BYTES};
    for (struct pb_field f; pb_next(&r, &f);) {
        if (f.number == REQUEST_SERVICE && f.type == PB_BYTES)
            last = f;
    }
    if (rd_err(&r))
        return rd_err(&r);
    if (last.len > GRPC_SERVICE_MAX)
        return ERR_TOOBIG;
    if (last.len > 0 && memchr(last.data, 0, last.len))
        return ERR_BAD;

    if (last.len > 0)
        memcpy(service, last.data, last.len);
    service[last.len] = '\0';
    return 0;
}

int grpc_read_health_response(const uint8_t *message, size_t len, int *serving)
{
    struct rd r;
    rd_init(&r, message, len);

    uint64_t value = 0;
    for (struct pb_field f; pb_next(&r, &f);) {
        if (f.number == RESPONSE_STATUS && f.type == PB_VARINT)
            value = f.value;
    }
    if (rd_err(&r))
        return rd_err(&r);
    /* An enum is an int32: negative ones come sign-extended to 64 bits, and
     * what is above 32 bits is dropped, as protobuf does. */
    *serving = (int)(int32_t)(uint32_t)value;
    return 0;
}

struct unit {
    char letter;
    uint64_t ns;
};

static const struct unit units[] = {
    {'n', 1},          {'u', 1000},        {'m', 1000000},
    {'S', 1000000000}, {'M', 60000000000}, {'H', 3600000000000},
};

#define N_UNITS (sizeof(units) / sizeof(units[0]))

void grpc_format_timeout(uint64_t ns, char text[GRPC_TIMEOUT_SIZE])
{
    assert(ns > 0);
    const struct unit *best = NULL;

    /* The coarsest unit that is exact, else the finest that has room. */
    for (size_t i = N_UNITS; i-- > 0 && !best;) {
        if (ns % units[i].ns == 0 && ns / units[i].ns <= TIMEOUT_VALUE_MAX)
            best = &units[i];
    }
    for (size_t i = 0; i < N_UNITS && !best; i++) {
        if ((ns - 1) / units[i].ns + 1 <= TIMEOUT_VALUE_MAX)
            best = &units[i];
    }
    assert(best); /* 2^64 ns are 5124096 hours */
    unsigned value = (unsigned)((ns - 1) / best->ns + 1);
    snprintf(text, GRPC_TIMEOUT_SIZE, "%u%c", value, best->letter);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int grpc_parse_timeout(const char *text, uint64_t *ns)
{
    uint64_t value = 0;
    size_t n = 0;
    for (; n < TIMEOUT_DIGITS_MAX && is_digit(text[n]); n++)
        value = value * 10 + (uint64_t)(text[n] - '0');
    if (n == 0 || text[n] == '\0' || text[n + 1] != '\0')
        return ERR_BAD;

    for (size_t i = 0; i < N_UNITS; i++) {
        if (units[i].letter != text[n])
            continue;
        bool is_over = value > UINT64_MAX / units[i].ns;
        *ns = is_over ? UINT64_MAX : value * units[i].ns;
        return 0;
    }
    return ERR_BAD;
}

int grpc_parse_status(const char *text, int *status)
{
    int64_t value = 0;
    size_t n = 0;
    for (; is_digit(text[n]); n++) {
        value = value * 10 + (text[n] - '0');
        if (value > INT32_MAX)
            return ERR_BAD;
    }
    if (n == 0 || text[n] != '\0')
        return ERR_BAD;
    *status = (int)value;
    return 0;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* One byte of the decoded text; *used says how much of `text` it took. */
static uint8_t decode_byte(const char *text, size_t *used)
{
    *used = 1;
    if (text[0] == '%' && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0) {
        *used = 3;
        return (uint8_t)(hex_value(text[1]) << 4 | hex_value(text[2]));
    }
    return (uint8_t)text[0];
}

void grpc_decode_message(const char *text, char *out, size_t out_size)
{
    assert(out_size > 0);
    size_t n = 0;
    size_t used;
    for (; *text && n + 1 < out_size; text += used) {
        uint8_t b = decode_byte(text, &used);
        out[n++] = (char)(b < 0x20 || b == 0x7f ? '?' : b);
    }
    out[n] = '\0';
}

void grpc_encode_message(const char *text, struct wr *w)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        uint8_t b = (uint8_t)*text;
        if (b >= 0x20 && b <= 0x7e && b != '%') {
            wr_u8(w, b);
        } else {
            wr_u8(w, '%');
            wr_u8(w, (uint8_t)hex[b >> 4]);
            wr_u8(w, (uint8_t)hex[b & 15]);
        }
    }
}
