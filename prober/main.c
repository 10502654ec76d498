/* prober/main.c - one program, its subcommands. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "prober/cli.h"
#include "prober/cli_check.h"
#include "prober/cli_health.h"
#include "prober/cli_keygen.h"
#include "prober/cli_matrix.h"
#include "prober/cli_members.h"
#include "prober/cli_operate.h"
#include "prober/cli_probe.h"
#include "prober/cli_zone.h"
#include "prober/crypto_mem.h"
#include "prober/daemon.h"

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static int help_command(int argc, char **argv);
static int version_command(int argc, char **argv);

static const struct command commands[] = {
    {"run", "run the daemon", daemon_run},
    {"probe", "probe a URL from here, or from any zone", cli_probe},
    {"matrix", "show the latency matrix", cli_matrix},
    {"members", "show who is in the gossip mesh", cli_members},
    {"status", "show how a node is doing", cli_status},
    {"reload", "have a node read its configuration again", cli_reload},
    {"drain", "have a node leave the mesh and end", cli_drain},
    {"health", "is a node alive, is it ready", cli_health},
    {"zone", "find out the zone of a Kubernetes node", cli_zone},
    {"check-config", "check a configuration file", cli_check_config},
    {"keygen", "make a key for gossip or a token", cli_keygen},
    {"version", "print the version", version_command},
    {"help", "explain a command", help_command},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    }
    return NULL;
}

static void print_overview(FILE *f)
{
    fputs("usage: prober COMMAND [options]\n\n"
          "Where does the latency between zones come from?\n\n",
          f);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(f, "  %-14s %s\n", commands[i].name, commands[i].summary);
    fputs("\n'prober help COMMAND' explains one.\n", f);
}

static int unknown(const char *name)
{
    const char *names[COMMANDS];

    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    const char *guess = cli_suggest(name, names, COMMANDS);
    fprintf(stderr, "prober: no command '%s'", name);
    if (guess)
        fprintf(stderr, ", did you mean '%s'?\n", guess);
    else
        fputs(", see 'prober help'\n", stderr);
    return CLI_USAGE;
}

/* The name in front of getopt's own complaints is that of the command. */
static int run(const struct command *c, int argc, char **argv)
{
    char name[32];

    snprintf(name, sizeof name, "prober %s", c->name);
    argv[0] = name;
    return c->run(argc, argv);
}

static int help_command(int argc, char **argv)
{
    char ask[] = "--help";

    if (argc < 2 || !strcmp(argv[1], "help") || argv[1][0] == '-') {
        print_overview(stdout);
        return fflush(stdout) == EOF ? CLI_FAILED : CLI_OK;
    }
    const struct command *c = find(argv[1]);
    if (!c)
        return unknown(argv[1]);
    char *args[] = {argv[1], ask, NULL};
    return run(c, 2, args);
}

static int version_command(int argc, char **argv)
{
    static const char help[] = "usage: prober version [-o text|json]\n";
    const char *format = "text";

    if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        return cli_help(help);
    if (argc == 3 && (!strcmp(argv[1], "-o") || !strcmp(argv[1], "--output")))
        format = argv[2];
    else if (argc != 1)
        return cli_usage("version", "unexpected '%s'", argv[1]);
    if (!strcmp(format, "json"))
        return cli_help("{\"name\":\"prober\",\"version\":\"" PROBER_VERSION
                        "\"}\n");
    if (strcmp(format, "text") != 0)
        return cli_usage("version", "-o: '%s' is neither text nor json",
                         format);
    return cli_help("prober " PROBER_VERSION "\n");
}

int main(int argc, char **argv)
{
    /* First of all: libcrypto takes an allocator only before its first use. */
    (void)crypto_mem_install();
    /* A peer or a reader that goes away is an error, not our end. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help_command(1, argv);
    if (!strcmp(argv[1], "--version"))
        return version_command(1, argv);
    const struct command *c = find(argv[1]);
    return c ? run(c, argc - 1, argv + 1) : unknown(argv[1]);
}
