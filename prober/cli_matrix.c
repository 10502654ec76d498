#include "prober/cli_matrix.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/cli_json.h"
#include "prober/cli_screen.h"
#include "prober/clock.h"
#include "prober/config.h"
#include "proto/url.h"

#define TEXT_BYTES_MAX (256u << 20)
#define NS_PER_MS      UINT64_C(1000000)
#define NS_PER_S       UINT64_C(1000000000)
#define WATCH_NS       (2 * NS_PER_S)
#define WATCH_NS_MIN   (200 * NS_PER_MS)
#define WATCH_NS_MAX   (3600 * NS_PER_S)
/* Of a node that hangs one wants to hear soon. */
#define WATCH_TIMEOUT_NS (3 * NS_PER_S)
#define AT_TEXT_MAX      64
#define WAIT_NS_MIN      NS_PER_S
#define WAIT_NS_MAX      (3600 * NS_PER_S)

static const char help[] =
    "usage: prober matrix [options]\n"
    "\n"
    "Show the latency matrix that a node answers: rows are where probes come\n"
    "from, columns where they go.\n"
    "\n"
    "  --api URL       the node's API, default " CLI_API_DEFAULT "\n"
    "  --phase P       dns, connect, tls, ttfb, transfer, local, total\n"
    "                  (default) or server\n"
    "  --stat S        p50 (default), p90, p99, max or loss\n"
    "  --protocol P    http1, grpc or all\n"
    "  --mode M        cold or warm\n"
    "  --level L       node, zone or region\n"
    "  --window D      how far back, for example 5m\n"
    "  --at TIME       how it was then, for example 2026-01-31T23:59:00Z\n"
    "  --watch [D]     redraw every D, 2s unless given, until Ctrl-C\n"
    "  --wait D        ask again for up to D, until all report and every pair\n"
    "                  is fresh; what is still missing then is a failure\n"
    "  --expect NAMES  with --wait: these, like a,b,c, have to be there too\n"
    "  -o FORMAT       text (default), or json: the node's answer as it is\n"
    "\n"
    "What is not given is the node's choice. Exit codes: 0 fine, 1 no answer\n"
    "or, with --wait, no whole one, 2 usage.\n";

struct options {
    struct url api;
    unsigned series;
    enum render_stat stat;
    const char *protocol, *mode, *level, *window, *at; /* NULL: not given */
    bool is_json;
    uint64_t watch_ns;  /* 0: once */
    uint64_t wait_ns;   /* 0: not */
    const char *expect; /* NULL: nobody by name */
};

static bool is_one_of(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(text, words[i]))
            return true;
    }
    return false;
}

#define ONE_OF(text, ...)                                  \
    is_one_of((text), (const char *const[]){__VA_ARGS__},  \
              sizeof((const char *const[]){__VA_ARGS__}) / \
                  sizeof(const char *))

/* Whether there was such a time is the node's to say. */
static bool is_like_time(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= AT_TEXT_MAX &&
           strspn(text, "0123456789-+:.TtZz") == len;
}

static int set_watch(struct options *o, const char *text)
{
    o->watch_ns = WATCH_NS;
    if (text && config_parse_duration(text, &o->watch_ns))
        return cli_usage("matrix", "--watch: '%s' is not a duration like 2s",
                         text);
    if (o->watch_ns < WATCH_NS_MIN || o->watch_ns > WATCH_NS_MAX)
        return cli_usage("matrix", "--watch: from 200ms to 1h");
    return CLI_OK;
}

static int set_wait(struct options *o, const char *text)
{
    if (config_parse_duration(text, &o->wait_ns))
        return cli_usage("matrix", "--wait: '%s' is not a duration like 60s",
                         text);
    if (o->wait_ns < WAIT_NS_MIN || o->wait_ns > WAIT_NS_MAX)
        return cli_usage("matrix", "--wait: from 1s to 1h");
    return CLI_OK;
}

static int set_expect(struct options *o, const char *text)
{
    size_t len = strlen(text);

    o->expect = text;
    if (!len || text[0] == ',' || text[len - 1] == ',' || strstr(text, ",,"))
        return cli_usage("matrix", "--expect: '%s' is no list like a,b,c",
                         text);
    return CLI_OK;
}

/* Returns CLI_OK or CLI_USAGE. */
static int set_option(struct options *o, int option, const char *text)
{
    uint64_t ns;
    int n;

    switch (option) {
    case 'a':
        return cli_api_parse("matrix", text, &o->api);
    case 'p':
        n = series_parse(text);
        if (n < 0)
            return cli_usage("matrix", "--phase: no phase '%s'", text);
        o->series = (unsigned)n;
        return CLI_OK;
    case 's':
        n = render_stat_parse(text);
        if (n < 0)
            return cli_usage("matrix",
                             "--stat: '%s' is not one of p50, p90, "
                             "p99, max, loss",
                             text);
        o->stat = (enum render_stat)n;
        return CLI_OK;
    case 'P':
        o->protocol = text;
        if (!ONE_OF(text, "http1", "grpc", "all"))
            return cli_usage("matrix",
                             "--protocol: '%s' is not one of http1, "
                             "grpc, all",
                             text);
        return CLI_OK;
    case 'm':
        o->mode = text;
        if (!ONE_OF(text, "cold", "warm"))
            return cli_usage("matrix", "--mode: '%s' is neither cold nor warm",
                             text);
        return CLI_OK;
    case 'l':
        o->level = text;
        if (!ONE_OF(text, "node", "zone", "region"))
            return cli_usage("matrix",
                             "--level: '%s' is not one of node, "
                             "zone, region",
                             text);
        return CLI_OK;
    case 'w':
        o->window = text;
        if (config_parse_duration(text, &ns))
            return cli_usage("matrix",
                             "--window: '%s' is not a duration like "
                             "5m",
                             text);
        return CLI_OK;
    case 'o':
        o->is_json = !strcmp(text, "json");
        if (!o->is_json && strcmp(text, "text") != 0)
            return cli_usage("matrix", "-o: '%s' is neither text nor json",
                             text);
        return CLI_OK;
    case 't':
        o->at = text;
        if (!is_like_time(text))
            return cli_usage("matrix",
                             "--at: '%s' is not a time like "
                             "2026-01-31T23:59:00Z",
                             text);
        return CLI_OK;
    case 'W':
        return set_watch(o, text);
    case 'u':
        return set_wait(o, text);
    case 'e':
        return set_expect(o, text);
    }
    return cli_try_help("matrix");
}

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

static int make_path(const struct options *o, char path[CLI_API_PATH_SIZE])
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
    const struct options *o;
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

static int show(const struct options *o)
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

/* getopt wants "--watch=D"; "--watch D" is as clear, nothing else follows. */
static const char *watch_argument(int argc, char **argv)
{
    if (optarg || optind >= argc || argv[optind][0] == '-')
        return optarg;
    return argv[optind++];
}

int cli_matrix(int argc, char **argv)
{
    static const struct option longs[] = {
        {"api", required_argument, NULL, 'a'},
        {"phase", required_argument, NULL, 'p'},
        {"stat", required_argument, NULL, 's'},
        {"protocol", required_argument, NULL, 'P'},
        {"mode", required_argument, NULL, 'm'},
        {"level", required_argument, NULL, 'l'},
        {"window", required_argument, NULL, 'w'},
        {"at", required_argument, NULL, 't'},
        {"watch", optional_argument, NULL, 'W'},
        {"wait", required_argument, NULL, 'u'},
        {"expect", required_argument, NULL, 'e'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {.series = SERIES_TOTAL, .stat = STAT_P50};
    int option, code = cli_api_parse("matrix", CLI_API_DEFAULT, &o.api);

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h')
            return cli_help(help);
        const char *text = option == 'W' ? watch_argument(argc, argv) : optarg;
        code = set_option(&o, option, text);
    }
    if (code != CLI_OK)
        return code;
    if (optind < argc)
        return cli_usage("matrix", "unexpected '%s'", argv[optind]);
    if (o.at && o.watch_ns)
        return cli_usage("matrix", "--at: the past does not change, so there "
                                   "is nothing to --watch");
    if (o.wait_ns && (o.at || o.watch_ns))
        return cli_usage("matrix", "--wait: neither with --at nor --watch");
    if (o.expect && !o.wait_ns)
        return cli_usage("matrix", "--expect: only with --wait");
    return show(&o);
}
