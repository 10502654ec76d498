#include "proto/digest.h"

#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

int digest_sha256(const void *data, size_t len, uint8_t out[DIGEST_SIZE])
{
    size_t made = 0;
    if (EVP_Q_digest(NULL, "SHA256", NULL, data, len, out, &made) == 1 &&
        made == DIGEST_SIZE)
        return 0;
    ERR_clear_error();
    memset(out, 0, DIGEST_SIZE);
    return ERR_NOMEM;
}

bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE])
{
    return CRYPTO_memcmp(a, b, DIGEST_SIZE) == 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int digest_parse(const char *text, uint8_t out[DIGEST_SIZE])
{
    uint8_t bytes[DIGEST_SIZE];
    const char *p = text;

    if (strncasecmp(p, "sha256:", 7) != 0)
        return ERR_BAD;
    p += 7;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i > 0 && *p == ':')
            p++;
        int high = hex_value(p[0]);
        int low = high < 0 ? -1 : hex_value(p[1]);
        if (low < 0)
            return ERR_BAD;
        bytes[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    if (*p != '\0')
        return ERR_BAD;
    memcpy(out, bytes, sizeof(bytes));
    return 0;
}

void digest_format(const uint8_t digest[DIGEST_SIZE],
                   char text[DIGEST_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *p = text + 7;

    memcpy(text, "sha256:", 7);
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        *p++ = digits[digest[i] >> 4];
        *p++ = digits[digest[i] & 15];
    }
    *p = '\0';
}
