#include "prober/cli_keygen.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prober/cli.h"
#include "proto/ml_seal.h"

static const char help[] =
    "usage: prober keygen [-o text|json]\n"
    "\n"
    "Prints a new random key for gossip, 32 bytes in base64, as it stands in\n"
    "the file that gossip.keys_file names. All nodes of a mesh share its "
    "keys.\n"
    "\n"
    "  -o, --output FORMAT  text (default) or json\n"
    "  -h, --help           show this help\n"
    "\n"
    "To make the file:\n"
    "  (umask 027 && prober keygen > /etc/prober/gossip.keys)\n";

static int print_key(bool is_json)
{
    struct ml_key key = {.len = sizeof(key.bytes)};
    char text[ML_SEAL_TEXT_SIZE];
    char line[ML_SEAL_TEXT_SIZE + 16];
    if (ml_random(NULL, key.bytes, sizeof(key.bytes)))
        return cli_fail("keygen", "no random bytes to be had");
    ml_key_format(&key, text);
    int len = snprintf(line, sizeof(line),
                       is_json ? "{\"key\":\"%s\"}\n" : "%s\n", text);
    int err = cli_write(STDOUT_FILENO, line, (size_t)len);
    explicit_bzero(&key, sizeof(key));
    explicit_bzero(text, sizeof(text));
    explicit_bzero(line, sizeof(line));
    return err ? cli_fail("keygen", "cannot write: %s", strerror(errno))
               : CLI_OK;
}

int cli_keygen(int argc, char **argv)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool is_json = false;
    optind = 0; /* main may have used getopt before */
    for (int c; (c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1;) {
        switch (c) {
        case 'o':
            is_json = strcmp(optarg, "json") == 0;
            if (!is_json && strcmp(optarg, "text") != 0)
                return cli_usage("keygen", "-o: '%s' is neither text nor json",
                                 optarg);
            break;
        case 'h':
            return cli_help(help);
        default:
            return cli_try_help("keygen");
        }
    }
    if (optind < argc)
        return cli_usage("keygen", "unexpected '%s'", argv[optind]);
    return print_key(is_json);
}
