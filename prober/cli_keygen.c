#include "prober/cli_keygen.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_token.h"
#include "proto/ml_seal.h"

static const char help[] =
    "usage: prober keygen [-o text|json]\n"
    "       prober keygen --token NAME ROLE [--tokens-file FILE] "
    "[-o text|json]\n"
    "\n"
    "Prints a new random key for gossip, 32 bytes in base64, as it stands in\n"
    "the file that gossip.keys_file names. All nodes of a mesh share its "
    "keys.\n"
    "With --token: prints a new token for the control port on stdout, and the\n"
    "line for the file that control.tokens_file names, which holds only the\n"
    "token's digest, on stderr.\n"
    "\n"
    "      --token NAME     make a token; ROLE is viewer, runner, prober or "
    "admin\n"
    "      --tokens-file F  add the line to this file (made with mode 0600)\n"
    "  -o, --output FORMAT  text (default) or json\n"
    "  -h, --help           show this help\n"
    "\n"
    "To make the files:\n"
    "  (umask 027 && prober keygen > /etc/prober/gossip.keys)\n"
    "  (umask 077 && prober keygen --token ci runner --tokens-file "
    "/etc/prober/tokens > ci.token)\n";

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
    enum { TOKEN = 256, TOKENS_FILE };
    static const struct option longs[] = {
        {"token", required_argument, NULL, TOKEN},
        {"tokens-file", required_argument, NULL, TOKENS_FILE},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *name = NULL;
    const char *file = NULL;
    bool is_json = false;
    optind = 0; /* main may have used getopt before */
    for (int c; (c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1;) {
        switch (c) {
        case TOKEN:
            name = optarg;
            break;
        case TOKENS_FILE:
            file = optarg;
            break;
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
    if (name && optind == argc)
        return cli_usage("keygen", "--token %s needs a role", name);
    if (optind + (name != NULL) < argc)
        return cli_usage("keygen", "unexpected '%s'",
                         argv[optind + (name != NULL)]);
    if (file && !name)
        return cli_usage("keygen", "--tokens-file needs --token");
    return name ? cli_token(name, argv[optind], file, is_json)
                : print_key(is_json);
}
