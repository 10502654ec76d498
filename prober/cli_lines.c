#include "prober/cli_lines.h"

#include <assert.h>
#include <string.h>

#include "proto/base/err.h"

void cli_lines_init(struct cli_lines *l, size_t line_max)
{
    *l = (struct cli_lines){.line_max = line_max};
    wr_init_grow(&l->bytes, line_max + CLI_LINES_PIECE);
}

void cli_lines_fini(struct cli_lines *l)
{
    wr_fini(&l->bytes);
}

void cli_lines_feed(struct cli_lines *l, const void *data, size_t len)
{
    struct wr *b = &l->bytes;
    size_t rest = b->len - l->at;

    assert(len <= CLI_LINES_PIECE);
    if (l->err)
        return;
    assert(l->seen == b->len);
    if (l->at) {
        memmove(b->data, b->data + l->at, rest);
        b->len = rest;
        l->seen -= l->at;
        l->at = 0;
    }
    wr_bytes(b, data, len);
    l->err = wr_err(b);
}

const char *cli_lines_next(struct cli_lines *l, size_t *len)
{
    const struct wr *b = &l->bytes;

    if (l->err || l->seen == b->len)
        return NULL;
    const uint8_t *line = b->data + l->at;
    const uint8_t *newline = memchr(b->data + l->seen, '\n', b->len - l->seen);
    size_t n = newline ? (size_t)(newline - line) : b->len - l->at;

    if (n > l->line_max) {
        l->err = ERR_TOOBIG;
        return NULL;
    }
    l->seen = newline ? l->at + n + 1 : b->len;
    if (!newline)
        return NULL;
    l->at = l->seen;
    *len = n;
    return (const char *)line;
}

bool cli_lines_is_cut(const struct cli_lines *l)
{
    return l->at < l->bytes.len;
}
