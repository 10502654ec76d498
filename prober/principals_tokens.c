#include "prober/principals.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/span.h"
#include "proto/digest.h"

/* ---- roles ---- */

static const char *const role_names[] = {"none", "viewer", "runner", "prober",
                                         "admin"};

const char *role_name(enum role r)
{
    return (unsigned)r <= ROLE_ADMIN ? role_names[r] : "none";
}

int role_parse(const char *text)
{
    for (int r = ROLE_VIEWER; r <= ROLE_ADMIN; r++) {
        if (strcmp(text, role_names[r]) == 0)
            return r;
    }
    return -1;
}

/* ---- what stands in a request ---- */

/* Not isalnum(): that one would follow the locale. */
static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

const char *principals_bearer(const char *authorization)
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    const char *token = authorization + 7;
    const char *c = token;
    while (is_alphanumeric(*c) || (*c && strchr("-._~+/", *c)))
        c++;
    if (c == token)
        return NULL;
    c += strspn(c, "=");
    size_t len = (size_t)(c - token);
    return *c == '\0' && len >= PRINCIPAL_TOKEN_MIN &&
                   len <= PRINCIPAL_TOKEN_MAX
               ? token
               : NULL;
}

/* ---- the file ---- */

#define WORDS 3

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r'; /* an editor's CR too */
}

/* Cut a line into words. Returns how many, WORDS + 1 if there are more. */
static size_t split(struct span line, struct span words[WORDS])
{
    size_t n = 0;
    size_t i = 0;
    for (;;) {
        while (i < line.len && is_blank(line.data[i]))
            i++;
        size_t start = i;
        while (i < line.len && !is_blank(line.data[i]))
            i++;
        if (i == start)
            return n;
        if (n == WORDS)
            return WORDS + 1;
        words[n++] = span_of(line.data + start, i - start);
    }
}

/* Copy a word as text. False: too long, or a NUL in it. */
static bool copy_word(struct span word, char *text, size_t size)
{
    if (word.len >= size || memchr(word.data, '\0', word.len))
        return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    return true;
}

static bool is_label(const char *text)
{
    size_t len = 0;
    for (; text[len]; len++) {
        if (!is_alphanumeric(text[len]) && !strchr("._-", text[len]))
            return false;
    }
    return len > 0 && len <= PRINCIPAL_LABEL_MAX;
}

/* What is wrong with these words, or NULL. */
static const char *read_words(const struct span words[WORDS], size_t n,
                              struct principal_token *t)
{
    char role[16];
    /* Room for colons between all bytes. */
    char sum[DIGEST_TEXT_SIZE + DIGEST_SIZE];
    if (n != WORDS)
        return "is not \"name role sha256:<64 hex digits>\"";
    if (!copy_word(words[0], t->name, sizeof(t->name)) || !is_label(t->name))
        return "the name must be 1 to 122 letters, digits, '.', '_' or '-'";
    int parsed =
        copy_word(words[1], role, sizeof(role)) ? role_parse(role) : -1;
    if (parsed < 0)
        return "the role must be viewer, runner, prober or admin";
    t->role = (enum role)parsed;
    if (!copy_word(words[2], sum, sizeof(sum)) || digest_parse(sum, t->sha256))
        return "the token must be given as sha256: and 64 hexadecimal digits";
    return NULL;
}

/* A token that is there twice would let its holder be either. */
static bool is_there(const struct principal_token *tokens, size_t n,
                     const struct principal_token *t)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(tokens[i].sha256, t->sha256, sizeof(t->sha256)) == 0)
            return true;
    }
    return false;
}

static int take_line(struct span line, struct principal_token *out, size_t *n,
                     unsigned number, struct errmsg *msg)
{
    struct span words[WORDS];
    struct principal_token t = {.role = ROLE_NONE};
    size_t n_words = split(line, words);
    if (n_words == 0 || words[0].data[0] == '#')
        return 0;
    if (*n == PRINCIPALS_MAX) {
        errmsg_set(msg, "line %u: more than %d tokens", number, PRINCIPALS_MAX);
        return ERR_TOOBIG;
    }
    const char *why = read_words(words, n_words, &t);
    if (!why && is_there(out, *n, &t))
        why = "this token is there already";
    if (why) {
        errmsg_set(msg, "line %u: %s", number, why);
        return ERR_BAD;
    }
    out[(*n)++] = t;
    return 0;
}

int principals_parse_tokens(const char *text, size_t len,
                            struct principal_token *out, struct errmsg *msg)
{
    const char *end = text + len;
    unsigned number = 0;
    size_t n = 0;
    int err = 0;
    if (len > PRINCIPAL_FILE_MAX) {
        errmsg_set(msg, "larger than %d bytes", PRINCIPAL_FILE_MAX);
        return ERR_TOOBIG;
    }
    while (!err && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        err = take_line(span_of(text, (size_t)(stop - text)), out, &n, ++number,
                        msg);
        text = newline ? newline + 1 : end;
    }
    return err ? err : (int)n;
}
