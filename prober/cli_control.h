/* prober/cli_control.h - a node's control port, for the commands that use it:
 * where it is, and how we show who we are.
 *
 * "unix:/path", "/path", "http://host:port" or "https://host:port"; a path
 * behind host and port is a prefix (a proxy's). A bearer token comes from a
 * file and never from an argument, which all users of a machine can read; it
 * is sent to unix sockets, over TLS, and to this machine's own addresses.
 * Shell code.
 */
#ifndef PROBER_CLI_CONTROL_H
#define PROBER_CLI_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/cli_http.h"
#include "prober/principals.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/url.h"

#define CLI_CONTROL_DEFAULT     "unix:/run/prober/control.sock"
#define CLI_CONTROL_ENV         "PROBER_CONTROL"
#define CLI_CONTROL_TOKEN_ENV   "PROBER_TOKEN_FILE"
#define CLI_CONTROL_CONNECT_NS  UINT64_C(5000000000)
#define CLI_CONTROL_ANSWER_MAX  (4u << 20) /* bytes that are no stream */
#define CLI_CONTROL_STREAM_MAX  (1u << 30) /* bytes of any answer */
#define CLI_CONTROL_PATH_SIZE   (URL_PATH_MAX + 128)
#define CLI_CONTROL_OPTION_BASE 0x100 /* of the values below */

/* What getopt_long() says of CLI_CONTROL_OPTIONS, which go into an array of
 * struct option. */
enum cli_control_option {
    CONTROL_OPTION_ADDRESS = CLI_CONTROL_OPTION_BASE,
    CONTROL_OPTION_CA,
    CONTROL_OPTION_CERT,
    CONTROL_OPTION_KEY,
    CONTROL_OPTION_TOKEN,
};
#define CLI_CONTROL_OPTIONS                                         \
    {"control", required_argument, NULL, CONTROL_OPTION_ADDRESS},   \
        {"control-ca", required_argument, NULL, CONTROL_OPTION_CA}, \
        {"cert", required_argument, NULL, CONTROL_OPTION_CERT},     \
        {"key", required_argument, NULL, CONTROL_OPTION_KEY},       \
    {                                                               \
        "token-file", required_argument, NULL, CONTROL_OPTION_TOKEN \
    }
/* What a command's help says of them. */
#define CLI_CONTROL_HELP                                                      \
    "  --control ADDR    the control port: unix:/path, http://host:port or\n" \
    "                    https://host:port; default $" CLI_CONTROL_ENV        \
    ", else\n"                                                                \
    "                    " CLI_CONTROL_DEFAULT "\n"                           \
    "  --control-ca FILE trust these CAs (PEM) for its certificate\n"         \
    "  --cert FILE       certificate to show it, with its --key FILE\n"       \
    "  --token-file FILE token to show it; default $" CLI_CONTROL_TOKEN_ENV   \
    "\n"

struct cli_control {
    const char *command;                                /* for complaints */
    const char *address, *ca, *cert, *key, *token_file; /* NULL: not given */

    /* Once open. */
    const char *path; /* of a unix socket, or NULL */
    struct url url;
    struct tls_context *tls;
    char token[PRINCIPAL_TOKEN_MAX + 1]; /* "": none */
};

/* Nothing given yet. `command` is borrowed, as all texts are. */
void cli_control_init(struct cli_control *c, const char *command);
/* Take an option. False: it is none of ours. */
bool cli_control_set(struct cli_control *c, int option, const char *text);
/* Look at addresses and files. Returns CLI_OK, CLI_USAGE or CLI_FAILED, and
 * says why. */
int cli_control_open(struct cli_control *c);
void cli_control_close(struct cli_control *c);

/* Ask; `json` is the body or NULL. Returns as cli_http_open(). */
int cli_control_ask(const struct cli_control *c, const char *method,
                    const char *path, const char *json, int abort_fd,
                    uint64_t until_ns, struct cli_http **out,
                    struct errmsg *msg);
/* Ask, and read all of the answer into `answer`. Returns the status or an
 * error. */
int cli_control_call(const struct cli_control *c, const char *method,
                     const char *path, int abort_fd, uint64_t timeout_ns,
                     struct wr *answer, struct errmsg *msg);

/* Say on stderr what an answer other than 2xx means. Returns the exit code:
 * CLI_USAGE for 400, else CLI_FAILED. */
int cli_control_refused(const struct cli_control *c, int status,
                        const struct wr *answer);

#endif /* PROBER_CLI_CONTROL_H */
