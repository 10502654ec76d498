/* A server against hostile bytes.
 *
 * Byte 0 chooses. Even: the rest is what the peer sends, in pieces of
 * 1 + byte 1. Odd: a real client speaks, and the rest, four bytes at a time,
 * are edits (offset, operation, value) of its first flight, or if bit 1 is set
 * of its second one, Finished and a request.
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
            tls_write(t, "answer", 6);
        }
        size_t waiting;
        tls_out(t, &waiting);
        assert(waiting <= TLS_OUT_MAX);
    }
    assert((tls_error(t)[0] != '\0') == (tls_state(t) == TLS_FAILED));
}

static void edit(uint8_t *flight, size_t *len, size_t size,
                 const uint8_t *edits, size_t n_edits)
{
    for (size_t i = 0; i + 4 <= n_edits && *len > 0; i += 4) {
        size_t at = (size_t)(edits[i] << 8 | edits[i + 1]) % *len;
        if (edits[i + 2] % 4 == 0) {
            flight[at] = edits[i + 3];
        } else if (edits[i + 2] % 4 == 1) {
            flight[at] ^= edits[i + 3];
        } else if (edits[i + 2] % 4 == 2) {
            *len = at;
        } else if (*len < size) {
            memmove(flight + at + 1, flight + at, *len - at);
            flight[at] = edits[i + 3];
            ++*len;
        }
    }
}

/* Move what the client has to say over to the server, edited. */
static void carry(struct tls *c, struct tls *s, const uint8_t *edits, size_t n)
{
    uint8_t flight[4096];
    size_t len;
    const uint8_t *out = tls_out(c, &len);

    assert(len < sizeof(flight));
    if (len > 0)
        memcpy(flight, out, len);
    tls_sent(c, len);
    edit(flight, &len, sizeof(flight), edits, n);
    take(s, flight, len, SIZE_MAX / 2);
}

static void run_against_client(struct tls *s, bool is_second,
                               const uint8_t *edits, size_t n)
{
    struct tls *c = tls_connect(client_side,
                                &(struct tls_client_params){.host = "a.test",
                                                            .alpn = "http/1.1",
                                                            .now_unix_s = NOW});
    size_t len;

    if (!c)
        abort();
    tls_handshake(c);
    carry(c, s, edits, is_second ? 0 : n);
    const uint8_t *flight = tls_out(s, &len);
    if (len > 0)
        take(c, flight, len, SIZE_MAX / 2);
    tls_sent(s, len);
    if (tls_state(c) == TLS_OPEN) {
        tls_write(c, "GET / HTTP/1.1\r\n\r\n", 18);
        carry(c, s, edits, is_second ? n : 0);
    }
    tls_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    set_up();
    struct tls *s = tls_accept(server_side);
    if (!s)
        abort();
    if (data[0] & 1) {
        run_against_client(s, data[0] & 2, data + 1, size - 1);
    } else {
        take(s, data + 2, size - 2, 1 + (size_t)data[1]);
        assert(tls_state(s) != TLS_OPEN);
    }
    tls_close(s);
    return 0;
}
