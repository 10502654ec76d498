#include "prober/cli_probe_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_board.h"
#include "prober/cli_event.h"
#include "prober/cli_lines.h"
#include "prober/cli_render_probe.h"
#include "prober/cli_screen.h"
#include "prober/clock.h"
#include "proto/json.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define LINE_MAX_BYTES (4u << 20) /* a summary of thousands of nodes */
#define TEXT_BYTES_MAX (64u << 20)
#define REQUEST_SIZE   4096
#define READ_SIZE      16384
#define ID_SIZE        64

/* What a node may need beside the attempts: asking others, waiting for their
 * answer, and for their silence. */
#define MARGIN_NS (15 * NS_PER_S)
/* For the rest of the stream, once it was cancelled or is complete. */
#define CANCEL_NS (3 * NS_PER_S)
#define REST_NS   (2 * NS_PER_S)
/* People see no more; and a table that stands still looks dead. */
#define DRAW_MIN_NS (100 * NS_PER_MS)
#define DRAW_MAX_NS (1 * NS_PER_S)

struct remote_run {
    const struct cli_probe_options *o;
    struct cli_http *http;
    struct cli_screen screen;
    struct render_style style;
    struct cli_lines lines;
    struct cli_board board;
    struct wr out;
    char id[ID_SIZE]; /* "": the node did not say */
    uint64_t start_ns, until_ns;
    uint64_t drawn_ns;
    uint64_t n_lines;
    bool is_live, is_dirty, is_cancelled, is_over;
    int error;            /* of writing: an errno */
    struct errmsg broken; /* "": the stream is fine */
};

/* ---- the request ---- */

static void write_request(const struct cli_probe_options *o, struct wr *w)
{
    struct json j;

    json_init(&j, w);
    json_object_begin(&j);
    json_key_text(&j, "target", o->target);
    json_key_text(&j, "protocol",
                  o->is_auto ? "auto" : protocol_name(o->protocol));
    json_key_text(&j, "mode", mode_name(o->is_warm ? MODE_WARM : MODE_COLD));
    json_key_text(&j, "from", o->from);
    if (o->nodes_per_zone)
        json_key_u64(&j, "nodes_per_zone", o->nodes_per_zone);
    json_key_u64(&j, "count", o->count);
    json_key_u64(&j, "interval_ms", o->interval_ns / NS_PER_MS);
    json_key_u64(&j, "timeout_ms", o->timeout_ns / NS_PER_MS);
    if (o->service)
        json_key_text(&j, "service", o->service);
    json_object_end(&j);
    wr_u8(w, '\0');
}

/* An answer that is no stream. Returns the exit code. */
static int refused(struct remote_run *r, int status)
{
    struct errmsg msg = {""};
    struct wr answer;
    char type[64];
    int code = CLI_FAILED;

    if (status == 200 &&
        cli_http_field(r->http, "content-type", type, sizeof type) &&
        !strcmp(type, "application/x-ndjson"))
        return CLI_OK;
    if (status == 200)
        return cli_fail("probe", "that is no control port: it answers in "
                                 "another format");
    wr_init_grow(&answer, CLI_CONTROL_ANSWER_MAX);
    cli_http_read_all(r->http, &answer, clock_now_ns() + CANCEL_NS, &msg);
    code = cli_control_refused(&r->o->control, status, &answer);
    wr_fini(&answer);
    return code;
}

static int ask(struct remote_run *r)
{
    const struct cli_probe_options *o = r->o;
    char request[REQUEST_SIZE];
    struct errmsg msg = {""};
    struct wr w;

    wr_init_fixed(&w, request, sizeof request);
    write_request(o, &w);
    if (wr_err(&w))
        return cli_usage("probe", "the target or the service is too long");
    r->start_ns = clock_now_ns();
    r->until_ns = r->start_ns + (o->count - 1) * o->interval_ns +
                  o->timeout_ns + MARGIN_NS;
    int status = cli_control_ask(&o->control, "POST", "/v1/probes", request, -1,
                                 r->until_ns, &r->http, &msg);
    if (status < 0)
        return cli_fail("probe", "%s", msg.text);
    if (!cli_http_field(r->http, "prober-probe-id", r->id, sizeof r->id))
        r->id[0] = '\0';
    return refused(r, status);
}

/* ---- showing ---- */

static void flush(struct remote_run *r)
{
    if (r->out.len && !r->error &&
        (wr_err(&r->out) || cli_write(STDOUT_FILENO, r->out.data, r->out.len)))
        r->error = wr_err(&r->out) ? ENOMEM : errno;
    wr_reset(&r->out);
}

static void draw(struct remote_run *r)
{
    uint64_t now_ns = clock_now_ns();
    const char *note = r->is_cancelled ? "cancelling ..." : NULL;

    wr_reset(&r->out);
    render_board(&r->out, &r->style, &r->board, now_ns - r->start_ns, note);
    if (wr_err(&r->out))
        r->error = ENOMEM;
    else if (cli_screen_draw(&r->screen, &r->style, (const char *)r->out.data,
                             r->out.len))
        r->error = errno;
    wr_reset(&r->out);
    r->drawn_ns = now_ns;
    r->is_dirty = false;
}

/* ---- the stream ---- */

static void shorten(struct remote_run *r, uint64_t ns)
{
    uint64_t until_ns = clock_now_ns() + ns;

    if (until_ns < r->until_ns)
        r->until_ns = until_ns;
}

/* Whole documents, one a line: what has control bytes in it is none, and is
 * not for a terminal. */
static bool is_clean(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static int take_line(struct remote_run *r, const char *line, size_t len)
{
    struct cli_event e;

    r->n_lines++;
    if (!is_clean(line, len)) {
        errmsg_set(&r->broken, "a control byte");
        return ERR_BAD;
    }
    int err = cli_event_open(&e, line, len, &r->broken);
    if (err)
        return err;
    err = cli_board_take(&r->board, &e, &r->broken);
    if (!err && r->o->output == OUTPUT_JSON) {
        wr_bytes(&r->out, line, len);
        wr_u8(&r->out, '\n');
    } else if (!err && r->o->output == OUTPUT_TEXT && !r->is_live) {
        render_board_event(&r->out, &r->style, &e);
    }
    if (e.kind == EVENT_SUMMARY)
        shorten(r, REST_NS);
    cli_event_close(&e);
    return err;
}

static void take_lines(struct remote_run *r)
{
    const char *line;
    size_t len;
    int err = 0;

    while (!err && (line = cli_lines_next(&r->lines, &len)))
        err = len ? take_line(r, line, len) : 0;
    if (err) {
        errmsg_wrap(&r->broken, "line %llu", (unsigned long long)r->n_lines);
    } else if (r->lines.err) {
        errmsg_set(&r->broken, "a line is too long");
    }
    r->is_dirty = true;
    if (!r->is_live)
        flush(r);
}

/* ---- Ctrl-C ---- */

/* Say so to the node, which then tells what there is; a second one does not
 * wait for that. */
static void cancel(struct remote_run *r)
{
    char path[sizeof "/v1/probes/" + ID_SIZE];
    struct errmsg msg = {""};
    struct wr answer;

    if (r->is_cancelled || !r->id[0]) {
        r->is_cancelled = true;
        r->is_over = true;
        return;
    }
    r->is_cancelled = true;
    shorten(r, CANCEL_NS);
    if (r->is_live)
        draw(r);
    snprintf(path, sizeof path, "/v1/probes/%s", r->id);
    wr_init_grow(&answer, CLI_CONTROL_ANSWER_MAX);
    /* Whether it worked is seen in the stream. */
    cli_control_call(&r->o->control, "DELETE", path, cli_screen_fd(&r->screen),
                     CANCEL_NS, &answer, &msg);
    wr_fini(&answer);
}

static void on_signal(struct remote_run *r)
{
    switch (cli_screen_wait(&r->screen, 0)) {
    case SCREEN_TIMEOUT:
        break;
    case SCREEN_RESIZED:
        r->style = cli_style(STDOUT_FILENO);
        r->is_dirty = true;
        r->drawn_ns = 0;
        break;
    case SCREEN_ENDED:
        cancel(r);
        break;
    }
}

/* ---- the run ---- */

static uint64_t wake_ns(const struct remote_run *r)
{
    uint64_t next_ns = r->drawn_ns + (r->is_dirty ? DRAW_MIN_NS : DRAW_MAX_NS);

    return r->is_live && next_ns < r->until_ns ? next_ns : r->until_ns;
}

static void on_time(struct remote_run *r)
{
    uint64_t now_ns = clock_now_ns();

    if (now_ns >= r->until_ns) {
        if (!r->board.has_summary && !r->is_cancelled)
            errmsg_set(&r->broken, "the node fell silent");
        r->is_over = true;
    }
}

static void read_stream(struct remote_run *r)
{
    uint8_t piece[READ_SIZE];

    while (!r->is_over && !r->broken.text[0] && !r->error) {
        struct errmsg msg = {""};
        if (r->is_live && clock_now_ns() >= wake_ns(r))
            draw(r);
        int n = cli_http_read(r->http, piece, sizeof piece, wake_ns(r), &msg);
        if (n > 0) {
            cli_lines_feed(&r->lines, piece, (size_t)n);
            take_lines(r);
        } else if (n == 0) {
            r->is_over = true;
            if (!r->board.has_summary && !r->is_cancelled)
                errmsg_set(&r->broken, "it ends without a summary");
        } else if (n == ERR_CLOSED) {
            on_signal(r);
        } else if (n != ERR_BUSY) {
            r->broken = msg;
        }
        on_time(r);
    }
}

/* What was not begun by us is not ended by Ctrl-C either: the signals are
 * taken over only once the node has answered. */
static int open_screen(struct remote_run *r)
{
    r->style = cli_style(STDOUT_FILENO);
    r->is_live = r->style.is_screen && r->o->output == OUTPUT_TEXT;
    if (cli_screen_open(&r->screen, STDOUT_FILENO, r->is_live))
        return cli_fail("probe", "signals: %s", strerror(errno));
    cli_http_abort_on(r->http, cli_screen_fd(&r->screen));
    return CLI_OK;
}

static int finish(struct remote_run *r)
{
    const struct cli_board *b = &r->board;
    int code = cli_board_exit(b, r->is_cancelled);

    if (r->o->output != OUTPUT_JSON && (b->n_rows || b->has_summary)) {
        if (r->o->output == OUTPUT_TEXT && !r->is_live)
            wr_text(&r->out, "\n");
        render_board_end(&r->out, &r->style, b, clock_now_ns() - r->start_ns,
                         r->is_cancelled);
    }
    flush(r);
    if (r->error)
        return cli_fail("probe", "writing: %s", strerror(r->error));
    if (r->broken.text[0])
        return cli_fail("probe", "the stream broke off: %s", r->broken.text);
    if (!b->attempts)
        return cli_fail("probe", r->is_cancelled
                                     ? "cancelled before the first attempt"
                                     : "no node could make an attempt");
    return code;
}

static int follow(struct remote_run *r)
{
    int code = open_screen(r);

    if (code != CLI_OK)
        return code;
    if (r->o->output == OUTPUT_TEXT && !r->is_live) {
        render_board_head(&r->out, &r->style, &r->board);
        flush(r);
    }
    read_stream(r);
    cli_http_close(r->http);
    r->http = NULL;
    cli_screen_close(&r->screen);
    return finish(r);
}

int cli_probe_remote(struct cli_probe_options *o)
{
    struct remote_run r = {
        .o = o,
        .board = {.target = o->target,
                  .from = o->from,
                  .protocol = o->is_auto && !o->url.host[0]
                                  ? "auto"
                                  : protocol_name(o->protocol),
                  .mode = mode_name(o->is_warm ? MODE_WARM : MODE_COLD),
                  .count = o->count,
                  .interval_ns = o->interval_ns},
    };
    int code = cli_control_open(&o->control);

    cli_lines_init(&r.lines, LINE_MAX_BYTES);
    wr_init_grow(&r.out, TEXT_BYTES_MAX);
    if (code == CLI_OK)
        code = ask(&r);
    if (code == CLI_OK)
        code = follow(&r);
    cli_http_close(r.http);
    wr_fini(&r.out);
    cli_lines_fini(&r.lines);
    cli_board_fini(&r.board);
    cli_control_close(&o->control);
    return code;
}
