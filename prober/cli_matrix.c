/* First, because proto/json.h gives three of its names another meaning. */
#include <jansson.h>

#include "prober/cli_matrix.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_http.h"
#include "prober/config.h"
#include "proto/url.h"

#define API_DEFAULT      "http://127.0.0.1:7070"
#define ANSWER_BYTES_MAX (64u << 20)
#define TEXT_BYTES_MAX   (256u << 20)
#define TIMEOUT_NS       UINT64_C(10000000000)
#define REDRAW_MS        2000
#define PATH_SIZE        (URL_PATH_MAX + 128)

static const char help[] =
    "usage: prober matrix [options]\n"
    "\n"
    "Show the latency matrix that a node answers: rows are where probes come\n"
    "from, columns where they go.\n"
    "\n"
    "  --api URL       the node's API, default " API_DEFAULT "\n"
    "  --phase P       dns, connect, tls, ttfb, transfer, local, total\n"
    "                  (default) or server\n"
    "  --stat S        p50 (default), p90, p99, max or loss\n"
    "  --protocol P    http1, grpc or all\n"
    "  --mode M        cold or warm\n"
    "  --level L       node, zone or region\n"
    "  --window D      how far back, for example 5m\n"
    "  --watch         redraw every 2 s until Ctrl-C\n"
    "  -o FORMAT       text (default), or json: the node's answer as it is\n"
    "\n"
    "What is not given is the node's choice. Exit codes: 0 fine, 1 no answer,\n"
    "2 usage.\n";

/* ---- the answer ---- */

struct cli_matrix_view {
    struct render_matrix table;
    json_t *root;                            /* holds the names */
    const char **rows, **columns, **missing; /* owned arrays */
    struct render_cell *cells;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

/* A number that is not negative, or -1. */
static double number_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    double n = json_is_number(v) ? json_number_value(v) : -1;
    return n >= 0 ? n : -1;
}

/* The strings of root[key]; an absent array is an empty one. `index`, if
 * given, gets their places by name. */
static int read_names(const json_t *root, const char *key, json_t *index,
                      const char ***names, size_t *n, struct errmsg *msg)
{
    const json_t *array = json_object_get(root, key);
    size_t size = json_array_size(array);

    if (size > CLI_MATRIX_SIDE_MAX) {
        errmsg_set(msg, "'%s' has %zu names, too many", key, size);
        return ERR_TOOBIG;
    }
    *names = calloc(size + 1, sizeof **names);
    if (!*names)
        return ERR_NOMEM;
    for (size_t i = 0; i < size; i++) {
        const char *name = json_string_value(json_array_get(array, i));
        if (!name || (index && json_object_get(index, name))) {
            errmsg_set(msg, "'%s'[%zu] is not a name of its own", key, i);
            return ERR_BAD;
        }
        (*names)[i] = name;
        if (index &&
            json_object_set_new(index, name, json_integer((json_int_t)i)))
            return ERR_NOMEM;
    }
    *n = size;
    return 0;
}

static enum matrix_state state_of(const json_t *cell)
{
    const char *text = text_of(cell, "state");

    if (!strcmp(text, "fresh"))
        return CELL_FRESH;
    if (!strcmp(text, "stale"))
        return CELL_STALE;
    if (!strcmp(text, "draining"))
        return CELL_DRAINING;
    /* A state of a newer server is not known to be good. */
    return CELL_UNKNOWN;
}

static double value_of(const json_t *cell, const struct render_cell *c,
                       unsigned series, enum render_stat stat)
{
    if (stat == STAT_LOSS) {
        uint64_t judged = c->ok + c->failed;
        return judged ? (double)c->failed / (double)judged : -1;
    }
    const json_t *phase =
        json_object_get(json_object_get(cell, "phases"), series_name(series));
    return count_of(phase, "count") ? number_of(phase, render_stat_name(stat))
                                    : -1;
}

static struct render_cell read_cell(const json_t *cell, unsigned series,
                                    enum render_stat stat)
{
    double trusted_ratio = number_of(cell, "trusted_ratio");
    struct render_cell c = {
        .state = state_of(cell),
        .age_s = number_of(cell, "age_s"),
        .ok = count_of(cell, "ok"),
        .failed = count_of(cell, "failed"),
        .trusted_ratio = trusted_ratio < 0 ? 1 : trusted_ratio,
    };

    c.value = value_of(cell, &c, series, stat);
    return c;
}

static int read_cells(struct cli_matrix_view *v, const json_t *from_index,
                      const json_t *to_index, struct errmsg *msg)
{
    const struct render_matrix *t = &v->table;
    const json_t *cells = json_object_get(v->root, "cells");
    const json_t *cell;
    size_t i;

    v->cells = calloc(t->n_rows * t->n_columns + 1, sizeof *v->cells);
    if (!v->cells)
        return ERR_NOMEM;
    for (i = 0; i < t->n_rows * t->n_columns; i++) {
        v->cells[i] = (struct render_cell){.state = CELL_UNKNOWN,
                                           .age_s = -1,
                                           .trusted_ratio = 1,
                                           .value = -1};
    }
    json_array_foreach(cells, i, cell)
    {
        const json_t *row = json_object_get(from_index, text_of(cell, "from"));
        const json_t *column = json_object_get(to_index, text_of(cell, "to"));
        if (!row || !column) {
            errmsg_set(msg, "'cells'[%zu] is from or to nowhere", i);
            return ERR_BAD;
        }
        size_t at = (size_t)json_integer_value(row) * t->n_columns +
                    (size_t)json_integer_value(column);
        v->cells[at] = read_cell(cell, t->series, t->stat);
    }
    return 0;
}

static int read_heading(struct cli_matrix_view *v, struct errmsg *msg)
{
    struct render_matrix *t = &v->table;
    const json_t *root = v->root;
    const json_t *origins = json_object_get(root, "origins");
    const char *unit = text_of(root, "unit");

    if (!json_is_array(json_object_get(root, "from")) ||
        !json_is_array(json_object_get(root, "to")) ||
        !json_is_array(json_object_get(root, "cells"))) {
        errmsg_set(msg, "not a matrix: 'from', 'to' or 'cells' is no array");
        return ERR_BAD;
    }
    if (strcmp(unit, "ns") != 0) {
        errmsg_set(msg, "'unit' is not \"ns\"");
        return ERR_BAD;
    }
    t->level = text_of(root, "level");
    t->protocol = text_of(root, "protocol");
    t->mode = text_of(root, "mode");
    t->answered_by = text_of(root, "answered_by");
    t->generated_at = text_of(root, "generated_at");
    t->window_s = count_of(root, "window_s");
    t->expected = count_of(origins, "expected");
    t->reporting = count_of(origins, "reporting");
    return read_names(origins, "missing", NULL, &v->missing, &t->n_missing,
                      msg);
}

static int read_view(struct cli_matrix_view *v, struct errmsg *msg)
{
    struct render_matrix *t = &v->table;
    json_t *from_index = json_pack("{}"), *to_index = json_pack("{}");
    int err = from_index && to_index ? 0 : ERR_NOMEM;

    if (!err)
        err = read_heading(v, msg);
    if (!err)
        err =
            read_names(v->root, "from", from_index, &v->rows, &t->n_rows, msg);
    if (!err)
        err = read_names(v->root, "to", to_index, &v->columns, &t->n_columns,
                         msg);
    if (!err)
        err = read_cells(v, from_index, to_index, msg);
    t->rows = v->rows;
    t->columns = v->columns;
    t->missing = v->missing;
    t->cells = v->cells;
    json_decref(from_index);
    json_decref(to_index);
    return err;
}

int cli_matrix_parse(const char *text, size_t len, unsigned series,
                     enum render_stat stat, struct cli_matrix_view **out,
                     struct errmsg *msg)
{
    json_error_t error;
    struct cli_matrix_view *v = calloc(1, sizeof *v);
    int err;

    errmsg_set(msg, "no memory");
    if (!v)
        return ERR_NOMEM;
    v->table.series = series;
    v->table.stat = stat;
    v->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (v->root) {
        err = read_view(v, msg);
    } else {
        errmsg_set(msg, "line %d column %d: %s", error.line, error.column,
                   error.text);
        err = ERR_BAD;
    }
    if (err)
        cli_matrix_close(v);
    else
        *out = v;
    return err;
}

const struct render_matrix *cli_matrix_table(const struct cli_matrix_view *view)
{
    return &view->table;
}

void cli_matrix_close(struct cli_matrix_view *view)
{
    if (!view)
        return;
    free(view->cells);
    free(view->missing);
    free(view->columns);
    free(view->rows);
    json_decref(view->root);
    free(view);
}

void cli_matrix_error(const char *text, size_t len, struct errmsg *msg)
{
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    size_t n = 0;

    errmsg_set(msg, "%s", message ? message : "");
    /* It goes to a terminal as it is. */
    for (; msg->text[n]; n++) {
        if (msg->text[n] < 0x20 || msg->text[n] > 0x7e)
            msg->text[n] = '?';
    }
    json_decref(root);
}

/* ---- the command ---- */

struct options {
    struct url api;
    unsigned series;
    enum render_stat stat;
    const char *protocol, *mode, *level, *window; /* NULL: not given */
    bool is_json, is_watching;
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

static int set_api(struct options *o, const char *text)
{
    struct errmsg msg = {""};

    if (url_parse(&o->api, text, &msg))
        return cli_usage("matrix", "--api: %s", msg.text);
    if (o->api.scheme != URL_HTTP)
        return cli_usage("matrix", "--api: only http:// is spoken here");
    if (strchr(o->api.path, '?'))
        return cli_usage("matrix", "--api: a query does not belong there");
    return CLI_OK;
}

/* Returns CLI_OK or CLI_USAGE. */
static int set_option(struct options *o, int option, const char *text)
{
    uint64_t ns;
    int n;

    switch (option) {
    case 'a':
        return set_api(o, text);
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
    case 'W':
        o->is_watching = true;
        return CLI_OK;
    }
    return cli_try_help("matrix");
}

/* The API's path below what --api says, so that a proxy's prefix works. */
static int make_path(const struct options *o, char path[PATH_SIZE])
{
    const struct {
        const char *key, *value;
    } params[] = {{"level", o->level},
                  {"window", o->window},
                  {"protocol", o->protocol},
                  {"mode", o->mode}};
    size_t prefix = strlen(o->api.path);
    char separator = '?';
    struct wr w;

    if (prefix && o->api.path[prefix - 1] == '/')
        prefix--;
    wr_init_fixed(&w, path, PATH_SIZE);
    wr_bytes(&w, o->api.path, prefix);
    wr_text(&w, "/api/v1/matrix");
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        if (params[i].value) {
            wr_printf(&w, "%c%s=%s", separator, params[i].key, params[i].value);
            separator = '&';
        }
    }
    wr_u8(&w, '\0');
    return wr_err(&w);
}

struct screen {
    const struct options *o;
    const char *path;
    struct render_style style;
    int signal_fd; /* readable once we are to end; -1 without --watch */
    struct wr answer, text;
};

/* Append the text for one answer. */
static int draw(struct screen *s, struct errmsg *msg)
{
    const char *json = (const char *)s->answer.data;
    struct cli_matrix_view *view;

    if (s->o->is_json) {
        wr_bytes(&s->text, json, s->answer.len);
        if (s->answer.len && json[s->answer.len - 1] != '\n')
            wr_u8(&s->text, '\n');
    } else {
        int err = cli_matrix_parse(json, s->answer.len, s->o->series,
                                   s->o->stat, &view, msg);
        if (err) {
            errmsg_wrap(msg, "the answer");
            return err;
        }
        render_matrix(&s->text, &s->style, cli_matrix_table(view));
        cli_matrix_close(view);
    }
    if (wr_err(&s->text))
        errmsg_set(msg, "the table is too large");
    return wr_err(&s->text);
}

/* Ask, and draw what was answered. Returns an exit code, with `msg` set if
 * it is not CLI_OK; ended by a signal sets *is_ended. */
static int refresh(struct screen *s, bool *is_ended, struct errmsg *msg)
{
    wr_reset(&s->answer);
    wr_reset(&s->text);
    int status = cli_http_get(&s->o->api, s->path, TIMEOUT_NS, s->signal_fd,
                              &s->answer, msg);
    if (status == ERR_CLOSED) {
        *is_ended = true;
        return CLI_OK;
    }
    if (status < 0)
        return CLI_FAILED;
    if (status == 200)
        return draw(s, msg) ? CLI_FAILED : CLI_OK;

    struct errmsg detail = {""};
    if (s->answer.data)
        cli_matrix_error((const char *)s->answer.data, s->answer.len, &detail);
    errmsg_set(msg, "answered %d%s%s", status, detail.text[0] ? ": " : "",
               detail.text);
    return status == 400 ? CLI_USAGE : CLI_FAILED;
}

static int show_once(struct screen *s)
{
    struct errmsg msg = {""};
    bool is_ended = false;
    int code = refresh(s, &is_ended, &msg);

    if (code != CLI_OK) {
        cli_fail("matrix", "%s", msg.text);
        return code;
    }
    if (cli_write(STDOUT_FILENO, s->text.data, s->text.len))
        return cli_fail("matrix", "writing: %s", strerror(errno));
    return CLI_OK;
}

/* On a terminal: from the top left, each line cleared behind its end, and
 * all below cleared. In one piece, so that nothing flickers. */
static int redraw(const struct screen *s)
{
    struct wr w;

    if (!s->style.is_color || s->o->is_json)
        return cli_write(STDOUT_FILENO, s->text.data, s->text.len);
    wr_init_grow(&w, TEXT_BYTES_MAX);
    wr_text(&w, "\033[H");
    for (size_t i = 0; i < s->text.len; i++) {
        if (s->text.data[i] == '\n')
            wr_text(&w, "\033[K");
        wr_u8(&w, s->text.data[i]);
    }
    wr_text(&w, "\033[J");
    int err = wr_err(&w);
    if (!err)
        err = cli_write(STDOUT_FILENO, w.data, w.len);
    wr_fini(&w);
    return err;
}

/* Draw until a signal comes. A node that does not answer now may later. */
static int watch(struct screen *s)
{
    bool is_ended = false;

    if (s->style.is_color && !s->o->is_json)
        cli_write(STDOUT_FILENO, "\033[H\033[2J", 7);
    while (!is_ended) {
        struct errmsg msg = {""};
        int code = refresh(s, &is_ended, &msg);

        if (code == CLI_USAGE) {
            cli_fail("matrix", "%s", msg.text);
            return code;
        }
        if (is_ended)
            break;
        if (code != CLI_OK && s->o->is_json) {
            cli_fail("matrix", "%s", msg.text);
        } else if (code != CLI_OK) {
            wr_reset(&s->text);
            wr_printf(&s->text, "prober matrix: %s\n", msg.text);
        }
        if (redraw(s))
            return cli_fail("matrix", "writing: %s", strerror(errno));
        struct pollfd fd = {.fd = s->signal_fd, .events = POLLIN};
        if (poll(&fd, 1, REDRAW_MS) > 0)
            break;
        s->style = cli_style(STDOUT_FILENO); /* it may have been resized */
    }
    return CLI_OK;
}

/* Signals come as a readable descriptor, so that both waits, for the answer
 * and between two of them, end at once. */
static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int show(const struct options *o)
{
    char path[PATH_SIZE];
    struct screen s = {.o = o,
                       .path = path,
                       .style = cli_style(STDOUT_FILENO),
                       .signal_fd = -1};
    int code;

    if (make_path(o, path))
        return cli_usage("matrix", "--api: the path is too long");
    wr_init_grow(&s.answer, ANSWER_BYTES_MAX);
    wr_init_grow(&s.text, TEXT_BYTES_MAX);
    if (!o->is_watching) {
        code = show_once(&s);
    } else {
        s.signal_fd = open_signals();
        code = watch(&s);
        close(s.signal_fd);
    }
    wr_fini(&s.answer);
    wr_fini(&s.text);
    return code;
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
        {"watch", no_argument, NULL, 'W'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {.series = SERIES_TOTAL, .stat = STAT_P50};
    int option, code = set_api(&o, API_DEFAULT);

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h')
            return cli_help(help);
        code = set_option(&o, option, optarg);
    }
    if (code != CLI_OK)
        return code;
    if (optind < argc)
        return cli_usage("matrix", "unexpected '%s'", argv[optind]);
    return show(&o);
}
