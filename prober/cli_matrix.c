#include "prober/cli_matrix.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/cli_json.h"
#include "prober/cli_matrix_options.h"
#include "prober/cli_screen.h"
#include "prober/clock.h"

#define TEXT_BYTES_MAX (256u << 20)
#define NS_PER_MS      UINT64_C(1000000)
/* Of a node that hangs one wants to hear soon. */
#define WATCH_TIMEOUT_NS UINT64_C(3000000000)

/* As it may stand in a query: of what is let through only this is special. */
static void put_value(struct wr *w, const char *value)
{
    for (; *value; value++) {
        if (*value == '+')
            wr_text(w, "%2B");
        else
            wr_u8(w, (uint8_t)*value);
    }
}

static int make_path(const struct cli_matrix_options *o,
                     char path[CLI_API_PATH_SIZE])
{
    const struct {
        const char *key, *value;
    } params[] = {{"level", o->level},
                  {"window", o->window},
                  {"protocol", o->protocol},
                  {"mode", o->mode},
                  {"at", o->at}};
    char separator = '?';
    struct wr w;

    wr_init_fixed(&w, path, CLI_API_PATH_SIZE);
    cli_api_path(&o->api, "/api/v1/matrix", &w);
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        if (params[i].value) {
            wr_printf(&w, "%c%s=", separator, params[i].key);
            put_value(&w, params[i].value);
            separator = '&';
        }
    }
    wr_u8(&w, '\0');
    return wr_err(&w);
}

/* ---- once ---- */

struct asking {
    const struct cli_matrix_options *o;
    const char *path;
    struct render_style style;
    /* The last good answer, and what is coming in. */
    struct wr answer, incoming, text;
    bool has_answer;
    uint64_t answered_ns;
};

/* Append the text of the last good answer, which is so old. */
static int draw(struct asking *a, uint64_t age_ns, struct errmsg *msg)
{
    const char *json = (const char *)a->answer.data;
    struct cli_matrix_view *view;
    int err;

    if (a->o->is_json)
        err = cli_json_hand_on(json, a->answer.len, &a->text, msg);
    else
        err = cli_matrix_parse(json, a->answer.len, a->o->series, a->o->stat,
                               &view, msg);
    if (err) {
        errmsg_wrap(msg, "the answer");
        return err;
    }
    if (!a->o->is_json) {
        cli_matrix_age(view, (double)age_ns / 1e9);
        render_matrix(&a->text, &a->style, cli_matrix_table(view));
        cli_matrix_close(view);
    }
    if (wr_err(&a->text))
        errmsg_set(msg, "the table is too large");
    return wr_err(&a->text);
}

/* Ask, and draw what was answered. Returns an exit code, with `msg` set if it
 * is not CLI_OK, and the answer before still there; ended by abort_fd sets
 * *is_ended. */
static int refresh(struct asking *a, int abort_fd, bool *is_ended,
                   struct errmsg *msg)
{
    uint64_t timeout_ns =
        a->o->watch_ns || a->o->wait_ns ? WATCH_TIMEOUT_NS : CLI_API_TIMEOUT_NS;

    wr_reset(&a->incoming);
    wr_reset(&a->text);
    int code = cli_api_get(&a->o->api, a->path, timeout_ns, abort_fd,
                           &a->incoming, is_ended, msg);
    if (code != CLI_OK || *is_ended)
        return code;

    struct wr before = a->answer;
    a->answer = a->incoming;
    a->incoming = before;
    if (draw(a, 0, msg)) {
        a->incoming = a->answer;
        a->answer = before;
        return CLI_FAILED;
    }
    a->has_answer = true;
    a->answered_ns = clock_now_ns();
    return CLI_OK;
}

static int show_once(struct asking *a)
{
    struct errmsg msg = {""};
    bool is_ended = false;
    int code = refresh(a, -1, &is_ended, &msg);

    if (code != CLI_OK) {
        cli_fail("matrix", "%s", msg.text);
        return code;
    }
    if (cli_write(STDOUT_FILENO, a->text.data, a->text.len))
        return cli_fail("matrix", "writing: %s", strerror(errno));
    return CLI_OK;
}

/* ---- once it is whole ---- */

/* Ask, and look whether something is missing. Returns an exit code, with `why`
 * set if it is not CLI_OK. */
static int look_if_whole(struct asking *a, struct errmsg *why)
{
    bool is_ended = false;
    int code = refresh(a, -1, &is_ended, why);
    struct cli_matrix_view *view;

    if (code != CLI_OK)
        return code;
    if (cli_matrix_parse((const char *)a->answer.data, a->answer.len,
                         a->o->series, a->o->stat, &view, why))
        return CLI_FAILED;
    bool is_whole =
        cli_matrix_is_whole(cli_matrix_table(view), a->o->expect, why);
    cli_matrix_close(view);
    return is_whole ? CLI_OK : CLI_FAILED;
}

static int show_once_whole(struct asking *a)
{
    const struct timespec pause = {.tv_sec = 1};
    uint64_t began_ns = clock_now_ns();
    struct errmsg why = {""};
    int code;

    while ((code = look_if_whole(a, &why)) == CLI_FAILED &&
           clock_now_ns() - began_ns < a->o->wait_ns)
        (void)nanosleep(&pause, NULL);
    /* What there is, is shown in any case. */
    if (cli_write(STDOUT_FILENO, a->text.data, a->text.len))
        return cli_fail("matrix", "writing: %s", strerror(errno));
    if (code != CLI_OK)
        cli_fail("matrix", "not whole: %s", why.text);
    return code;
}

/* ---- again and again ---- */

/* A node that does not answer now may later. Until then there is what it said
 * last, as old as it is: nothing of it is shown as fresh for longer than it
 * could be. */
static void draw_without_answer(struct asking *a, const struct errmsg *why)
{
    uint64_t age_ns = a->has_answer ? clock_now_ns() - a->answered_ns : 0;
    struct errmsg ignored = {""};

    wr_reset(&a->text);
    render_no_answer(&a->text, &a->style, why->text,
                     a->has_answer ? (int64_t)age_ns : -1);
    if (a->has_answer)
        draw(a, age_ns, &ignored);
}

/* Ask once and show what is there then. Returns an exit code. */
static int look(struct asking *a, struct cli_screen *screen)
{
    struct errmsg msg = {""};
    bool is_ended = false;
    int code = refresh(a, cli_screen_fd(screen), &is_ended, &msg);

    if (is_ended)
        return CLI_OK;
    /* The first answer says whether the question makes sense. */
    if (code == CLI_USAGE && !a->has_answer) {
        cli_screen_close(screen);
        cli_fail("matrix", "%s", msg.text);
        return code;
    }
    if (code != CLI_OK && a->o->is_json) {
        cli_fail("matrix", "%s", msg.text);
        return CLI_OK;
    }
    if (code != CLI_OK)
        draw_without_answer(a, &msg);
    if (cli_screen_draw(screen, &a->style, (const char *)a->text.data,
                        a->text.len)) {
        cli_screen_close(screen);
        return cli_fail("matrix", "writing: %s", strerror(errno));
    }
    return CLI_OK;
}

static int watch(struct asking *a)
{
    struct cli_screen screen;
    bool is_in_place = a->style.is_screen && !a->o->is_json;
    int code = CLI_OK;

    if (cli_screen_open(&screen, STDOUT_FILENO, is_in_place))
        return cli_fail("matrix", "signals: %s", strerror(errno));
    while (code == CLI_OK) {
        code = look(a, &screen);
        if (code != CLI_OK ||
            cli_screen_wait(&screen, a->o->watch_ns / NS_PER_MS) ==
                SCREEN_ENDED)
            break;
        a->style = cli_style(STDOUT_FILENO); /* it may have been resized */
    }
    cli_screen_close(&screen);
    return code;
}

static int show(const struct cli_matrix_options *o)
{
    char path[CLI_API_PATH_SIZE];
    struct asking a = {.o = o, .path = path, .style = cli_style(STDOUT_FILENO)};

    if (make_path(o, path))
        return cli_usage("matrix", "--api: the path is too long");
    wr_init_grow(&a.answer, CLI_API_BYTES_MAX);
    wr_init_grow(&a.incoming, CLI_API_BYTES_MAX);
    wr_init_grow(&a.text, TEXT_BYTES_MAX);
    int code = o->watch_ns  ? watch(&a)
               : o->wait_ns ? show_once_whole(&a)
                            : show_once(&a);
    wr_fini(&a.answer);
    wr_fini(&a.incoming);
    wr_fini(&a.text);
    return code;
}

int cli_matrix(int argc, char **argv)
{
    struct cli_matrix_options o;
    bool is_done = false;
    int code = cli_matrix_options_parse(&o, argc, argv, &is_done);

    return code == CLI_OK && !is_done ? show(&o) : code;
}
