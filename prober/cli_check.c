#include "prober/cli_check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/config.h"
#include "proto/base/buf.h"
#include "proto/json.h"

#define JSON_MAX (1u << 21)

enum { EXIT_FINE, EXIT_FAILED, EXIT_BAD };

static const char usage[] =
    "usage: prober check-config [-o text|json] FILE\n"
    "\n"
    "Reads FILE and the PROBER_ variables as \"prober run\" would and reports\n"
    "every error with its line and column.\n"
    "\n"
    "  -o, --output FORMAT  text (default) or json\n"
    "  -h, --help           show this help\n";

struct options {
    const char *file;
    bool is_json, wants_help;
};

static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'},
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    optind = 0; /* main may have used getopt before */
    for (int c; (c = getopt_long(argc, argv, "o:c:h", longs, NULL)) != -1;) {
        switch (c) {
        case 'o':
            o->is_json = strcmp(optarg, "json") == 0;
            if (!o->is_json && strcmp(optarg, "text") != 0)
                return ERR_BAD;
            break;
        case 'c':
            o->file = optarg;
            break;
        case 'h':
            o->wants_help = true;
            return 0;
        default:
            return ERR_BAD;
        }
    }
    if (!o->file && optind < argc)
        o->file = argv[optind++];
    return o->file && optind == argc ? 0 : ERR_BAD;
}

/* Each line of `text` as an element. */
static void put_lines(struct json *j, const char *key, const char *text)
{
    json_key(j, key);
    json_array_begin(j);
    while (text && *text) {
        size_t len = strcspn(text, "\n");
        json_text_n(j, text, len);
        text += len + (text[len] == '\n');
    }
    json_array_end(j);
}

static int print_json(const char *file, const struct config *c,
                      const char *errors)
{
    struct wr w;
    struct json j;
    wr_init_grow(&w, JSON_MAX);
    json_init(&j, &w);
    json_object_begin(&j);
    json_key_text(&j, "file", file);
    json_key_bool(&j, "ok", c != NULL);
    if (c) {
        json_key_text(&j, "node", c->node.name);
        json_key_text(&j, "zone", c->node.zone);
        json_key_text(&j, "region", c->node.region);
        json_key_u64(&j, "peers", c->n_peers);
        json_key_u64(&j, "targets", c->n_targets);
    }
    put_lines(&j, "errors", errors);
    put_lines(&j, "warnings", c ? c->warnings : NULL);
    json_object_end(&j);
    wr_u8(&w, '\n');
    int err = wr_err(&w);
    if (!err && fwrite(w.data, 1, w.len, stdout) != w.len)
        err = ERR_SYS;
    wr_fini(&w);
    return err;
}

static void print_summary(const char *file, const struct config *c)
{
    char text[ADDR_TEXT_SIZE];
    for (const char *line = c->warnings; line && *line;) {
        size_t len = strcspn(line, "\n");
        fprintf(stderr, "warning: %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    printf("%s: ok\n", file);
    printf("node %s in zone %s, region %s; probe on %s, %zu peers, "
           "%zu targets\n",
           c->node.name, c->node.zone, c->node.region,
           addr_format(&c->probe.listen, text), c->n_peers, c->n_targets);
}

int cli_check_config(int argc, char **argv)
{
    struct options o = {0};
    if (parse_options(&o, argc, argv)) {
        fputs(usage, stderr);
        return EXIT_BAD;
    }
    if (o.wants_help) {
        fputs(usage, stdout);
        return EXIT_FINE;
    }

    struct config *c = NULL;
    char *errors = NULL;
    int err = config_load(o.file, getenv, &c, &errors);
    if (!err)
        err = config_warn_environment(c, environ);
    int printed = 0;
    if (o.is_json)
        printed = print_json(o.file, c, errors);
    else if (err)
        fputs(errors ? errors : "out of memory\n", stderr);
    else
        print_summary(o.file, c);
    if (fflush(stdout))
        printed = ERR_SYS;
    config_free(c);
    free(errors);
    if (err)
        return err == ERR_BAD ? EXIT_BAD : EXIT_FAILED;
    return printed ? EXIT_FAILED : EXIT_FINE;
}
