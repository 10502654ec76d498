/* A client against hostile bytes.
 *
 * Byte 0 chooses. Even: the rest is what the peer sends, in pieces of
 * 1 + byte 1. Odd: a real server answers, and the rest, four bytes at a time,
 * are edits of its flight (offset, operation, value), so that mutations get
 * past the parts that depend on fresh randomness.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/tls.h"

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_context *client_side;
static struct tls_context *server_side;
static uint8_t pin[TLS_FINGERPRINT_SIZE];

static void set_up(void)
{
    if (client_side)
        return;
    server_side = tls_server_context(
        &(struct tls_server_config){.name = "a.test", .now_unix_s = NOW}, NULL);
    client_side = tls_client_context(
        &(struct tls_client_config){.is_insecure = true}, NULL);
    if (!server_side || !client_side)
        abort();
    tls_context_fingerprint(server_side, pin);
}

static void take(struct tls *t, const uint8_t *data, size_t len, size_t chunk)
{
    uint8_t buf[4096];

    for (size_t at = 0; at < len; at += chunk) {
        size_t n = len - at < chunk ? len - at : chunk;
        tls_feed(t, data + at, n);
        if (tls_handshake(t) == TLS_OPEN) {
            while (tls_read(t, buf, sizeof(buf)) > 0)
                ;
        }
        size_t waiting;
        tls_out(t, &waiting);
        assert(waiting <= TLS_OUT_MAX);
    }
    assert((tls_error(t)[0] != '\0') == (tls_state(t) == TLS_FAILED));
}

/* The server's flight after the edits. */
static uint8_t *edited(const uint8_t *flight, size_t *len, const uint8_t *edits,
                       size_t n_edits)
{
    uint8_t *copy = malloc(*len + n_edits + 1);

    if (!copy)
        abort();
    memcpy(copy, flight, *len);
    for (size_t i = 0; i + 4 <= n_edits && *len > 0; i += 4) {
        size_t at = (size_t)(edits[i] << 8 | edits[i + 1]) % *len;
        switch (edits[i + 2] % 4) {
        case 0:
            copy[at] = edits[i + 3];
            break;
        case 1:
            copy[at] ^= edits[i + 3];
            break;
        case 2:
            *len = at;
            break;
        default:
            memmove(copy + at + 1, copy + at, *len - at);
            copy[at] = edits[i + 3];
            ++*len;
            break;
        }
    }
    return copy;
}

static void run_against_server(struct tls *c, const uint8_t *edits, size_t n)
{
    struct tls *s = tls_accept(server_side);
    size_t len;

    if (!s)
        abort();
    const uint8_t *hello = tls_out(c, &len);
    tls_feed(s, hello, len);
    assert(tls_handshake(s) == TLS_HANDSHAKE);
    tls_sent(c, len);

    const uint8_t *flight = tls_out(s, &len);
    uint8_t *sent = edited(flight, &len, edits, n);
    take(c, sent, len, SIZE_MAX / 2);

    /* Whatever reached the client: if it opened, then both ends hashed the
     * same bytes, and the server opens too. */
    bool is_open = tls_state(c) == TLS_OPEN;
    const uint8_t *answer = tls_out(c, &len);
    if (len > 0)
        take(s, answer, len, SIZE_MAX / 2);
    assert(!is_open || tls_state(s) == TLS_OPEN);
    free(sent);
    tls_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    set_up();
    struct tls *c = tls_connect(
        client_side,
        &(struct tls_client_params){.host = "a.test",
                                    .fingerprint = data[0] & 1 ? pin : NULL,
                                    .alpn = "h2",
                                    .requires_alpn = true,
                                    .now_unix_s = NOW});
    if (!c)
        abort();
    tls_handshake(c);
    if (data[0] & 1) {
        run_against_server(c, data + 1, size - 1);
    } else {
        take(c, data + 2, size - 2, 1 + (size_t)data[1]);
        assert(tls_state(c) != TLS_OPEN);
    }
    tls_close(c);
    return 0;
}
