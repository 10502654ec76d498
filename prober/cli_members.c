#include "prober/cli_members.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/cli_json.h"

#define TEXT_BYTES_MAX (64u << 20)
#define CELL_MAX       40 /* columns of one value; longer ones lose their front */

#define RESET  "\033[0m"
#define BOLD   "\033[1m"
#define DIM    "\033[2m"
#define BAD    "\033[1;38;5;166m"
#define WARN   "\033[38;5;178m"
#define HEALED "\033[38;5;36m"

static const char help[] =
    "usage: prober members [options]\n"
    "\n"
    "Show who is in the gossip mesh, as one node sees it.\n"
    "\n"
    "  --api URL       the node's API, default " CLI_API_DEFAULT "\n"
    "  -o FORMAT       text (default), or json: the node's answer as it is\n"
    "\n"
    "Exit codes: 0 fine, 1 no answer, 2 usage.\n";

/* ---- the table ---- */

enum column {
    COLUMN_NAME,
    COLUMN_ZONE,
    COLUMN_REGION,
    COLUMN_STATE,
    COLUMN_FOR,
    COLUMN_ADDRESS,
    COLUMN_PROBE,
    COLUMN_RTT,
    COLUMN_VERSION,
    COLUMN_N
};

static const char *const headings[COLUMN_N] = {"NAME",  "ZONE", "REGION",
                                               "STATE", "FOR",  "ADDRESS",
                                               "PROBE", "RTT",  "VERSION"};

struct row {
    const struct json_t *member;
    const char *name, *zone, *region; /* to sort by */
    bool is_self, is_ours;
};

/* What is shown in one place: printable ASCII. */
struct cell {
    char text[CELL_MAX + 1];
};

/* Text from outside, made safe, and short at its front: it is the end where
 * names and addresses differ. */
static struct cell cell_of(const char *text)
{
    struct cell c;
    struct wr w;
    size_t len = 0;

    for (const char *p = text; *p; p++)
        len += ((unsigned char)*p & 0xc0) != 0x80;
    wr_init_fixed(&w, c.text, sizeof c.text);
    if (len > CELL_MAX) {
        wr_text(&w, "..");
        for (size_t skip = len - (CELL_MAX - 2); skip; text++)
            skip -= ((unsigned char)*text & 0xc0) != 0x80;
    }
    render_safe(&w, text);
    wr_u8(&w, '\0');
    return c;
}

static const char *text_of(const struct json_t *member, const char *key)
{
    const char *text = cli_json_text_of(member, key, "-");
    return text[0] ? text : "-";
}

/* "12s", "4m05s", "3h07m", "12d04h"; "-" for a negative one. */
static void format_age(double age_s, char *text, size_t size)
{
    uint64_t s = age_s >= 0 && age_s < 1e12 ? (uint64_t)age_s : 0;

    if (!(age_s >= 0))
        snprintf(text, size, "-");
    else if (s < 60)
        snprintf(text, size, "%" PRIu64 "s", s);
    else if (s < 3600)
        snprintf(text, size, "%" PRIu64 "m%02us", s / 60, (unsigned)(s % 60));
    else if (s < 86400)
        snprintf(text, size, "%" PRIu64 "h%02um", s / 3600,
                 (unsigned)(s / 60 % 60));
    else
        snprintf(text, size, "%" PRIu64 "d%02uh", s / 86400,
                 (unsigned)(s / 3600 % 24));
}

static struct cell cell_at(const struct row *r, enum column column)
{
    const struct json_t *m = r->member;
    char text[2 * RENDER_DURATION_SIZE + 256];
    static const struct render_style ascii = {0};
    double rtt_ns;

    switch (column) {
    case COLUMN_NAME:
        if (!r->is_self)
            return cell_of(r->name);
        snprintf(text, sizeof text, "%.200s *", r->name);
        return cell_of(text);
    case COLUMN_ZONE:
        return cell_of(r->zone);
    case COLUMN_REGION:
        return cell_of(r->region);
    case COLUMN_STATE:
        if (!cli_json_bool_of(m, "is_held"))
            return cell_of(text_of(m, "state"));
        snprintf(text, sizeof text, "%.20s, held", text_of(m, "state"));
        return cell_of(text);
    case COLUMN_FOR:
        format_age(cli_json_number_of(m, "state_age_s"), text, sizeof text);
        return cell_of(text);
    case COLUMN_ADDRESS:
        return cell_of(text_of(m, "address"));
    case COLUMN_PROBE:
        return cell_of(cli_json_bool_of(m, "is_probed") ? text_of(m, "probe")
                                                        : "-");
    case COLUMN_RTT:
        rtt_ns = cli_json_number_of(m, "rtt_ns");
        render_duration(&ascii, rtt_ns < 0x1p63 ? (int64_t)rtt_ns : INT64_MAX,
                        text);
        return cell_of(text);
    case COLUMN_VERSION:
        return cell_of(text_of(m, "version"));
    case COLUMN_N:
        break;
    }
    return cell_of("-");
}

static void color(struct wr *w, const struct render_style *style,
                  const char *code)
{
    if (style->is_color)
        wr_text(w, code);
}

static const char *state_color(const struct json_t *member)
{
    static const struct {
        const char *state, *color;
    } colors[] = {{"alive", HEALED}, {"suspect", WARN}, {"failed", BAD},
                  {"leaving", DIM},  {"left", DIM},     {"static", DIM}};
    const char *state = text_of(member, "state");

    for (size_t i = 0; i < sizeof colors / sizeof colors[0]; i++) {
        if (!strcmp(colors[i].state, state))
            return colors[i].color;
    }
    return "";
}

static void measure(const struct row *rows, size_t n, size_t widths[COLUMN_N])
{
    for (unsigned c = 0; c < COLUMN_N; c++) {
        widths[c] = strlen(headings[c]);
        for (size_t i = 0; i < n; i++) {
            struct cell cell = cell_at(&rows[i], (enum column)c);
            size_t width = strlen(cell.text);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
}

/* All but the last column are filled up. */
static void pad(struct wr *w, unsigned column, const char *text,
                const size_t widths[COLUMN_N])
{
    if (column + 1 == COLUMN_N)
        return;
    for (size_t n = strlen(text); n < widths[column] + 2; n++)
        wr_u8(w, ' ');
}

static void write_row(struct wr *w, const struct render_style *style,
                      const struct row *r, const size_t widths[COLUMN_N])
{
    for (unsigned c = 0; c < COLUMN_N; c++) {
        struct cell cell = cell_at(r, (enum column)c);
        const char *code = c == COLUMN_STATE ? state_color(r->member)
                           : c == COLUMN_NAME && r->is_self ? BOLD
                                                            : "";
        if (code[0])
            color(w, style, code);
        wr_text(w, cell.text);
        if (code[0])
            color(w, style, RESET);
        pad(w, c, cell.text, widths);
    }
    wr_u8(w, '\n');
}

static void write_table(struct wr *w, const struct render_style *style,
                        const struct row *rows, size_t n)
{
    size_t widths[COLUMN_N];
    bool has_self = false, has_held = false;

    measure(rows, n, widths);
    color(w, style, DIM);
    for (unsigned c = 0; c < COLUMN_N; c++) {
        wr_text(w, headings[c]);
        pad(w, c, headings[c], widths);
    }
    color(w, style, RESET);
    wr_u8(w, '\n');
    for (size_t i = 0; i < n; i++) {
        write_row(w, style, &rows[i], widths);
        has_self |= rows[i].is_self;
        has_held |= cli_json_bool_of(rows[i].member, "is_held");
    }
    if (has_self || has_held)
        wr_u8(w, '\n');
    if (has_self)
        wr_text(w, "  *     this node\n");
    if (has_held)
        wr_text(w, "  held  lost by the mesh, but probed on\n");
}

/* ---- the heading ---- */

static void write_mesh(struct wr *w, const struct render_style *style,
                       const struct json_t *mesh)
{
    const struct json_t *n = cli_json_get(mesh, "members");
    const char *state = text_of(mesh, "state");
    const char *label = cli_json_text_of(mesh, "label", "");
    bool is_encrypted = cli_json_bool_of(mesh, "encrypted");

    color(w, style, BOLD);
    wr_text(w, "mesh ");
    render_safe(w, state);
    color(w, style, RESET);
    if (!cli_json_bool_of(mesh, "is_on")) {
        wr_text(w, ": only what is configured\n");
        return;
    }
    if (label[0]) {
        wr_text(w, ", label ");
        render_safe(w, label);
    }
    wr_text(w, ", ");
    if (!is_encrypted || cli_json_bool_of(mesh, "accepts_plaintext"))
        color(w, style, BAD);
    wr_text(w, is_encrypted ? "encrypted" : "NOT ENCRYPTED");
    if (is_encrypted && cli_json_bool_of(mesh, "accepts_plaintext"))
        wr_text(w, " but ACCEPTS PLAINTEXT");
    if (!is_encrypted || cli_json_bool_of(mesh, "accepts_plaintext"))
        color(w, style, RESET);
    if (cli_json_u64_of(mesh, "health"))
        wr_printf(w, ", health %" PRIu64 " (0 is best)",
                  cli_json_u64_of(mesh, "health"));
    wr_printf(w,
              "\n%" PRIu64 " alive, %" PRIu64 " suspect, %" PRIu64
              " failed, %" PRIu64 " left",
              cli_json_u64_of(n, "alive"), cli_json_u64_of(n, "suspect"),
              cli_json_u64_of(n, "failed"), cli_json_u64_of(n, "left"));
    if (cli_json_bool_of(mesh, "is_holding"))
        wr_text(w, "; nobody else is alive, the last known are probed on");
    wr_u8(w, '\n');
}

/* ---- the answer ---- */

static int compare_known(const char *a, const char *b)
{
    bool is_a = strcmp(a, "-") != 0, is_b = strcmp(b, "-") != 0;
    return is_a != is_b ? (is_a ? -1 : 1) : strcmp(a, b);
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *p = a, *q = b;
    int order;

    if (p->is_self != q->is_self)
        return p->is_self ? -1 : 1;
    if (p->is_ours != q->is_ours)
        return p->is_ours ? -1 : 1;
    order = compare_known(p->region, q->region);
    if (!order)
        order = compare_known(p->zone, q->zone);
    return order ? order : strcmp(p->name, q->name);
}

/* Allocates *rows; on failure it is NULL or still to be freed. */
static int read_rows(const struct json_t *members, struct row **rows, size_t *n,
                     struct errmsg *msg)
{
    size_t size = cli_json_count(members);

    if (!cli_json_is_array(members)) {
        errmsg_set(msg, "'members' is no array");
        return ERR_BAD;
    }
    if (size > CLI_MEMBERS_MAX) {
        errmsg_set(msg, "%zu members, too many", size);
        return ERR_TOOBIG;
    }
    *rows = calloc(size + 1, sizeof **rows);
    if (!*rows) {
        errmsg_set(msg, "no memory");
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < size; i++) {
        const struct json_t *m = cli_json_at(members, i);
        if (!cli_json_text_of(m, "name", NULL)) {
            errmsg_set(msg, "'members'[%zu] has no name", i);
            return ERR_BAD;
        }
        (*rows)[i] = (struct row){
            .member = m,
            .name = text_of(m, "name"),
            .zone = text_of(m, "zone"),
            .region = text_of(m, "region"),
            .is_self = cli_json_bool_of(m, "is_self"),
            .is_ours = cli_json_bool_of(m, "is_ours"),
        };
    }
    qsort(*rows, size, sizeof **rows, compare_rows);
    *n = size;
    return 0;
}

int cli_members_render(const char *text, size_t len,
                       const struct render_style *style, struct wr *w,
                       struct errmsg *msg)
{
    struct row *rows = NULL;
    size_t n = 0;
    struct json_t *root = cli_json_open(text, len, msg);
    int err = root ? 0 : ERR_BAD;

    if (!err)
        err = read_rows(cli_json_get(root, "members"), &rows, &n, msg);
    if (!err) {
        write_mesh(w, style, cli_json_get(root, "mesh"));
        wr_text(w, "answered by ");
        render_safe(w, text_of(root, "answered_by"));
        wr_text(w, " at ");
        render_safe(w, text_of(root, "generated_at"));
        wr_text(w, "\n\n");
        write_table(w, style, rows, n);
    }
    free(rows);
    cli_json_close(root);
    return err;
}

/* ---- the command ---- */

struct options {
    struct url api;
    bool is_json;
};

static int draw(const struct options *o, const struct wr *answer,
                struct wr *text, struct errmsg *msg)
{
    const char *json = (const char *)answer->data;
    struct render_style style = cli_style(STDOUT_FILENO);
    int err = 0;

    if (!o->is_json)
        err = cli_members_render(json, answer->len, &style, text, msg);
    else
        err = cli_json_hand_on(json, answer->len, text, msg);
    if (err)
        errmsg_wrap(msg, "the answer");
    if (!err && wr_err(text)) {
        errmsg_set(msg, "the table is too large");
        err = wr_err(text);
    }
    return err;
}

static int show(const struct options *o)
{
    char path[CLI_API_PATH_SIZE];
    struct errmsg msg = {""};
    struct wr w, answer, text;
    bool is_ended = false;

    wr_init_fixed(&w, path, sizeof path);
    cli_api_path(&o->api, "/api/v1/members", &w);
    wr_u8(&w, '\0');
    if (wr_err(&w))
        return cli_usage("members", "--api: the path is too long");
    wr_init_grow(&answer, CLI_API_BYTES_MAX);
    wr_init_grow(&text, TEXT_BYTES_MAX);
    int code = cli_api_get(&o->api, path, CLI_API_TIMEOUT_NS, -1, &answer,
                           &is_ended, &msg);
    if (code == CLI_OK && draw(o, &answer, &text, &msg))
        code = CLI_FAILED;
    if (code != CLI_OK)
        cli_fail("members", "%s", msg.text);
    else if (cli_write(STDOUT_FILENO, text.data, text.len))
        code = cli_fail("members", "writing: %s", strerror(errno));
    wr_fini(&answer);
    wr_fini(&text);
    return code;
}

int cli_members(int argc, char **argv)
{
    static const struct option longs[] = {
        {"api", required_argument, NULL, 'a'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {0};
    int option, code = cli_api_parse("members", CLI_API_DEFAULT, &o.api);

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h')
            return cli_help(help);
        if (option == 'a') {
            code = cli_api_parse("members", optarg, &o.api);
        } else if (option == 'o') {
            o.is_json = !strcmp(optarg, "json");
            if (!o.is_json && strcmp(optarg, "text") != 0)
                code = cli_usage("members", "-o: '%s' is neither text nor json",
                                 optarg);
        } else {
            code = cli_try_help("members");
        }
    }
    if (code != CLI_OK)
        return code;
    if (optind < argc)
        return cli_usage("members", "unexpected '%s'", argv[optind]);
    return show(&o);
}
