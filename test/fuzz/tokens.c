/* test/fuzz/tokens.c - any bytes as a file of tokens and as an Authorization
 * header; what is read, written again, is read the same; nobody gets in who
 * did not show a token whose digest stands in the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/principals.h"
#include "proto/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX_SIZE (PRINCIPAL_NAME_SIZE + 16 + DIGEST_TEXT_SIZE)

static void demand(bool is_true)
{
    if (!is_true)
        abort();
}

static void write_again(const struct principal_token *tokens, size_t n)
{
    struct principal_token *again = calloc(PRINCIPALS_MAX, sizeof(*again));
    char *text = malloc(n * LINE_MAX_SIZE + 1);
    size_t len = 0;
    demand(again && text);
    for (size_t i = 0; i < n; i++) {
        char sum[DIGEST_TEXT_SIZE];
        digest_format(tokens[i].sha256, sum);
        len += (size_t)sprintf(text + len, "%s %s %s\n", tokens[i].name,
                               role_name(tokens[i].role), sum);
    }
    demand(principals_parse_tokens(text, len, again, NULL) == (int)n);
    for (size_t i = 0; i < n; i++) {
        demand(strcmp(again[i].name, tokens[i].name) == 0);
        demand(again[i].role == tokens[i].role);
        demand(digest_equal(again[i].sha256, tokens[i].sha256));
    }
    free(text);
    free(again);
}

static bool is_known(const char *token, const struct principal_token *tokens,
                     size_t n)
{
    uint8_t sum[DIGEST_SIZE];
    demand(digest_sha256(token, strlen(token), sum) == 0);
    for (size_t i = 0; i < n; i++) {
        if (digest_equal(sum, tokens[i].sha256))
            return true;
    }
    return false;
}

static void show(const char *header, const struct principal_token *tokens,
                 size_t n)
{
    struct principals_config c = {.n_tokens = n, .tokens = tokens};
    struct principals *p = principals_open(&c);
    struct httpd_peer peer = {.addr = {.family = ADDR_V4}};
    struct principal who;
    demand(p != NULL);
    const char *token = principals_bearer(header);
    demand(!token || (strlen(token) >= PRINCIPAL_TOKEN_MIN &&
                      strlen(token) <= PRINCIPAL_TOKEN_MAX));
    bool is_in = principals_identify(p, 1, &peer, header, &who) == IDENTIFY_OK;
    demand(is_in == (token && is_known(token, tokens, n)));
    principals_close(p);
}

/* The file up to the first NUL byte, the header behind it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct principal_token *tokens = calloc(PRINCIPALS_MAX, sizeof(*tokens));
    struct errmsg msg = {0};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    size_t left = nul ? size - len - 1 : 0;
    char *header = malloc(left + 1);
    demand(tokens && header);
    if (left)
        memcpy(header, nul + 1, left);
    header[left] = '\0';
    int n = principals_parse_tokens((const char *)data, len, tokens, &msg);
    demand((n < 0) == (msg.text[0] != '\0'));
    demand(n <= PRINCIPALS_MAX);
    if (n >= 0) {
        write_again(tokens, (size_t)n);
        show(header, tokens, (size_t)n);
    }
    free(header);
    free(tokens);
    return 0;
}
