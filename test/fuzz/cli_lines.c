/* Any bytes as a control port's stream: cut in another way it comes to the
 * same, and what is shown of it is printable. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "prober/cli_lines.h"
#include "prober/cli_render_probe.h"

#define LINE_MAX_FUZZ 4096
#define TEXT_MAX      (1u << 24)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    struct cli_board board;
    struct wr text;
    size_t n_lines;
    int err;
};

static const struct render_style plain = {.columns = 100, .lines = 24};

/* What came before an error is kept. */
static void take(struct outcome *o, const char *line, size_t len)
{
    struct errmsg msg = {""};
    struct cli_event e;

    o->n_lines++;
    o->err = cli_event_open(&e, line, len, &msg);
    assert(!o->err == !msg.text[0]);
    if (o->err)
        return;
    o->err = cli_board_take(&o->board, &e, &msg);
    assert(!o->err == !msg.text[0]);
    render_board_event(&o->text, &plain, &e);
    cli_event_close(&e);
}

static void run(struct outcome *o, const uint8_t *data, size_t size,
                size_t step)
{
    struct cli_lines l;
    const char *line;
    size_t len;

    *o = (struct outcome){.board = {.target = "t",
                                    .from = "self",
                                    .protocol = "http1",
                                    .mode = "cold",
                                    .count = 1}};
    wr_init_grow(&o->text, TEXT_MAX);
    cli_lines_init(&l, LINE_MAX_FUZZ);
    for (size_t at = 0; at < size && !o->err; at += step) {
        cli_lines_feed(&l, data + at, step < size - at ? step : size - at);
        while (!o->err && (line = cli_lines_next(&l, &len)))
            take(o, line, len);
        o->err = o->err ? o->err : l.err;
    }
    cli_lines_fini(&l);
    render_board(&o->text, &plain, &o->board, 1, NULL);
    render_board_end(&o->text, &plain, &o->board, 1, false);
    cli_board_exit(&o->board, false);
    assert(!wr_err(&o->text));
}

static void end(struct outcome *o)
{
    wr_fini(&o->text);
    cli_board_fini(&o->board);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, cut;
    size_t step = size ? data[0] % 32 + 1u : 1;

    if (size > CLI_LINES_PIECE)
        return 0;
    if (size) {
        data++;
        size--;
    }
    run(&whole, data, size, CLI_LINES_PIECE);
    run(&cut, data, size, step);
    assert(whole.n_lines == cut.n_lines);
    assert(whole.err == cut.err);
    assert(whole.board.n_rows == cut.board.n_rows);
    assert(whole.text.len == cut.text.len);
    assert(!whole.text.len ||
           !memcmp(whole.text.data, cut.text.data, whole.text.len));
    for (size_t i = 0; i < whole.text.len; i++) {
        uint8_t c = whole.text.data[i];
        assert(c == '\n' || (c >= 0x20 && c < 0x7f));
    }
    end(&whole);
    end(&cut);
    return 0;
}
