#include "prober/cli_operate.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_control.h"
#include "prober/cli_json.h"

#define DEPTH_MAX      4
#define NAME_SIZE      128
#define NAME_COLUMNS   28
#define TEXT_BYTES_MAX (16u << 20)
/* A reload looks names up and reads files. */
#define TIMEOUT_NS UINT64_C(30000000000)

#define OPTIONS_HELP                                    \
    CLI_CONTROL_HELP                                    \
    "  -o FORMAT         text (default), or json: the " \
    "node's answer as it is\n"

static const char status_help[] =
    "usage: prober status [options]\n"
    "\n"
    "Shows what a node says of itself: its name and zone, its control port "
    "and\n"
    "who was refused there, its audit log, the last reload.\n"
    "\n" OPTIONS_HELP "\n"
    "Exit codes: 0 fine, 1 no answer or not allowed, 2 usage.\n";

static const char reload_help[] =
    "usage: prober reload [options]\n"
    "\n"
    "Has a node read its configuration again, all of it or nothing: with an\n"
    "error in it the node says every one and goes on as it was.\n"
    "\n" OPTIONS_HELP "\n"
    "Exit codes: 0 it was applied, 1 no answer or not allowed, 2 usage, or\n"
    "there are errors in the configuration.\n";

static const char drain_help[] =
    "usage: prober drain [options]\n"
    "\n"
    "Has a node leave the mesh, finish what runs and end, as SIGTERM does.\n"
    "\n" OPTIONS_HELP "\n"
    "Exit codes: 0 it has begun, 1 no answer or not allowed, 2 usage.\n";

struct operation {
    const char *command, *help, *method, *path;
    const char *done; /* said when it went well, or NULL: what was answered */
};

static const struct operation status_operation = {"status", status_help, "GET",
                                                  "/v1/status", NULL};
static const struct operation reload_operation = {"reload", reload_help, "POST",
                                                  "/v1/reload", "reloaded"};
static const struct operation drain_operation = {"drain", drain_help, "POST",
                                                 "/v1/drain", "draining"};

/* ---- text ---- */

struct place { /* where in a document one stands */
    const struct json_t *value;
    char name[NAME_SIZE];
};

static void put_text(struct wr *w, const char *name, const char *text)
{
    size_t begun = w->len;

    render_safe(w, name);
    for (size_t n = w->len - begun; n < NAME_COLUMNS; n++)
        wr_u8(w, ' ');
    wr_text(w, "  ");
    render_safe(w, text);
    wr_u8(w, '\n');
}

static void put_line(struct wr *w, const char *name, const struct json_t *value)
{
    char text[512];
    struct wr raw;

    wr_init_fixed(&raw, text, sizeof text - 1);
    if (!cli_json_scalar(value, &raw))
        return;
    /* What does not fit is cut. */
    text[wr_err(&raw) ? 0 : raw.len] = '\0';
    put_text(w, name, wr_err(&raw) ? "(too long)" : text);
}

static void put_array(struct wr *w, const struct place *p)
{
    if (cli_json_count(p->value) == 0)
        put_text(w, p->name, "-");
    for (size_t i = 0; i < cli_json_count(p->value); i++)
        put_line(w, p->name, cli_json_at(p->value, i));
}

/* False: the name would be too long. */
static bool step_into(const struct place *p, const char *key,
                      const struct json_t *value, struct place *next)
{
    struct wr w;

    wr_init_fixed(&w, next->name, sizeof next->name);
    if (p->name[0])
        wr_printf(&w, "%s.", p->name);
    wr_text(&w, key);
    wr_u8(&w, '\0');
    next->value = value;
    return !wr_err(&w);
}

/* Objects within objects, but not forever. `with_true`: also members of the
 * whole that only say that it is so. */
static void put_members(struct wr *w, const struct place *top, bool with_true)
{
    struct cli_json_members at[DEPTH_MAX];
    struct place places[DEPTH_MAX + 1] = {*top};
    const struct json_t *value;
    const char *key;
    size_t depth = 1;

    cli_json_members_init(&at[0], top->value);
    while (depth) {
        struct place *p = &places[depth];
        if (!cli_json_members_next(&at[depth - 1], &key, &value)) {
            depth--;
        } else if (depth == 1 && !with_true &&
                   cli_json_bool_of(top->value, key)) {
            continue;
        } else if (!step_into(&places[depth - 1], key, value, p)) {
            continue;
        } else if (cli_json_is_array(value)) {
            put_array(w, p);
        } else if (!cli_json_is_object(value)) {
            put_line(w, p->name, value);
        } else if (depth < DEPTH_MAX) {
            cli_json_members_init(&at[depth], value);
            depth++;
        }
    }
}

int cli_operate_render(const char *text, size_t len, bool with_true,
                       struct wr *w, struct errmsg *msg)
{
    struct json_t *root = cli_json_open(text, len, msg);
    struct place top = {.value = root};

    if (!root)
        return ERR_BAD;
    int err = cli_json_is_object(root) ? 0 : ERR_BAD;
    if (err)
        errmsg_set(msg, "not an object");
    else
        put_members(w, &top, with_true);
    cli_json_close(root);
    return err;
}

/* A line each, made safe. */
static void put_lines(struct wr *w, const char *text)
{
    char line[1024];

    while (*text) {
        size_t len = strcspn(text, "\n");
        size_t shown = len < sizeof line ? len : sizeof line - 1;
        memcpy(line, text, shown);
        line[shown] = '\0';
        render_safe(w, line);
        wr_u8(w, '\n');
        text += len + (text[len] == '\n');
    }
}

bool cli_operate_complaints(const char *text, size_t len, struct wr *w)
{
    struct errmsg msg;
    struct json_t *root = cli_json_open(text, len, &msg);
    const struct json_t *error = cli_json_get(root, "error");
    const struct json_t *all = cli_json_get(error, "complaints");
    size_t begun = w->len;

    for (size_t i = 0; i < cli_json_count(all); i++) {
        const char *line = cli_json_text(cli_json_at(all, i));
        put_lines(w, line ? line : "");
    }
    if (w->len == begun)
        put_lines(w, cli_json_text_of(error, "message", ""));
    cli_json_close(root);
    return w->len > begun;
}

/* ---- the commands ---- */

static int parse(const struct operation *op, int argc, char **argv,
                 struct cli_control *control, bool *is_json, bool *is_done)
{
    static const struct option longs[] = {
        CLI_CONTROL_OPTIONS,
        {"ca", required_argument, NULL, CONTROL_OPTION_CA},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };

    *is_json = *is_done = false;
    for (int c; (c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1;) {
        if (c == 'h') {
            *is_done = true;
            return cli_help(op->help);
        }
        if (c == 'o') {
            *is_json = !strcmp(optarg, "json");
            if (!*is_json && strcmp(optarg, "text") != 0)
                return cli_usage(op->command,
                                 "-o: '%s' is neither text nor json", optarg);
        } else if (!cli_control_set(control, c, optarg)) {
            return cli_try_help(op->command);
        }
    }
    if (optind < argc)
        return cli_usage(op->command, "unexpected '%s'", argv[optind]);
    return CLI_OK;
}

static bool is_good(int status)
{
    return status >= 200 && status < 300;
}

/* The text of an answer that is not good. Returns the exit code. */
static int explain(const struct cli_control *control, int status,
                   const struct wr *answer)
{
    struct wr w;
    /* The errors of a configuration are many lines. */
    bool is_config = status == 400 || status == 422;

    wr_init_grow(&w, TEXT_BYTES_MAX);
    bool says =
        is_config && answer->data &&
        cli_operate_complaints((const char *)answer->data, answer->len, &w) &&
        !wr_err(&w);
    if (says) {
        cli_fail(control->command, "answered %d:", status);
        cli_write(STDERR_FILENO, w.data, w.len);
    } else {
        cli_control_refused(control, status, answer);
    }
    wr_fini(&w);
    return is_config ? CLI_USAGE : CLI_FAILED;
}

static int print(const struct operation *op, const struct wr *answer,
                 bool is_json)
{
    struct errmsg msg = {""};
    struct wr w;
    int code = CLI_OK;

    wr_init_grow(&w, TEXT_BYTES_MAX);
    if (is_json) {
        if (cli_json_hand_on((const char *)answer->data, answer->len, &w, &msg))
            code = cli_fail(op->command, "the answer: %s", msg.text);
    } else {
        if (op->done)
            wr_printf(&w, "%s\n", op->done);
        if (answer->len && cli_operate_render((const char *)answer->data,
                                              answer->len, !op->done, &w, &msg))
            code = cli_fail(op->command, "the answer: %s", msg.text);
    }
    if (wr_err(&w) || cli_write(STDOUT_FILENO, w.data, w.len))
        code = cli_fail(op->command, "writing: %s", strerror(errno));
    wr_fini(&w);
    return code;
}

static int operate(const struct operation *op, int argc, char **argv)
{
    struct cli_control control;
    struct errmsg msg = {""};
    struct wr answer;
    bool is_json, is_done;

    cli_control_init(&control, op->command);
    int code = parse(op, argc, argv, &control, &is_json, &is_done);
    if (is_done || code != CLI_OK)
        return code;
    wr_init_grow(&answer, CLI_CONTROL_ANSWER_MAX);
    code = cli_control_open(&control);
    if (code == CLI_OK) {
        int status = cli_control_call(&control, op->method, op->path, -1,
                                      TIMEOUT_NS, &answer, &msg);
        if (status < 0)
            code = cli_fail(op->command, "%s", msg.text);
        else if (is_good(status))
            code = print(op, &answer, is_json);
        else
            code = explain(&control, status, &answer);
    }
    wr_fini(&answer);
    cli_control_close(&control);
    return code;
}

int cli_status(int argc, char **argv)
{
    return operate(&status_operation, argc, argv);
}

int cli_reload(int argc, char **argv)
{
    return operate(&reload_operation, argc, argv);
}

int cli_drain(int argc, char **argv)
{
    return operate(&drain_operation, argc, argv);
}
