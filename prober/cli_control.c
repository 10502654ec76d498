#include "prober/cli_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/cli_json.h"
#include "prober/clock.h"

#define TOKEN_FILE_MAX 1024

void cli_control_init(struct cli_control *c, const char *command)
{
    *c = (struct cli_control){.command = command};
}

bool cli_control_set(struct cli_control *c, int option, const char *text)
{
    switch (option) {
    case CONTROL_OPTION_ADDRESS:
        c->address = text;
        return true;
    case CONTROL_OPTION_CA:
        c->ca = text;
        return true;
    case CONTROL_OPTION_CERT:
        c->cert = text;
        return true;
    case CONTROL_OPTION_KEY:
        c->key = text;
        return true;
    case CONTROL_OPTION_TOKEN:
        c->token_file = text;
        return true;
    }
    return false;
}

/* ---- opening ---- */

static const char *or_environment(const char *given, const char *name)
{
    const char *value = given ? NULL : getenv(name);

    return value && value[0] ? value : given;
}

static int parse_address(struct cli_control *c)
{
    const char *text = or_environment(c->address, CLI_CONTROL_ENV);
    struct errmsg msg = {""};

    if (!text)
        text = CLI_CONTROL_DEFAULT;
    if (!strncmp(text, "unix:", 5))
        text += 5;
    if (text[0] == '/') {
        c->path = text;
        return CLI_OK;
    }
    if (!strstr(text, "://"))
        return cli_usage(c->command,
                         "--control: '%s' is not unix:/path, http:// or "
                         "https://",
                         text);
    if (url_parse(&c->url, text, &msg))
        return cli_usage(c->command, "--control: %s", msg.text);
    if (c->url.scheme != URL_HTTP && c->url.scheme != URL_HTTPS)
        return cli_usage(c->command,
                         "--control: http:// and https:// are spoken here");
    if (strchr(c->url.path, '?'))
        return cli_usage(c->command,
                         "--control: a query does not belong there");
    return CLI_OK;
}

/* Returns how much was read, -1 with errno, EFBIG if there is more. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t len = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && len < size) {
        n = read(fd, text + len, size - len);
        len += n > 0 ? (size_t)n : 0;
        if (n < 0 && errno == EINTR)
            n = 1;
    }
    int saved = len == size ? EFBIG : errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return n < 0 || len == size ? -1 : (ssize_t)len;
}

/* One word, with blanks and newlines behind it. What it is stays unsaid. */
static bool take_token(struct cli_control *c, const char *text, size_t len)
{
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e)
            return false;
    }
    if (!len || len > PRINCIPAL_TOKEN_MAX)
        return false;
    memcpy(c->token, text, len);
    return true;
}

static int read_token(struct cli_control *c)
{
    const char *path = or_environment(c->token_file, CLI_CONTROL_TOKEN_ENV);
    char text[TOKEN_FILE_MAX];
    int code = CLI_OK;

    if (!path)
        return CLI_OK;
    ssize_t len = read_file(path, text, sizeof text);
    if (len < 0)
        code = cli_fail(c->command, "%s: %s", path, strerror(errno));
    else if (!take_token(c, text, (size_t)len))
        code = cli_usage(c->command, "%s: not a file with one token", path);
    explicit_bzero(text, sizeof text);
    return code;
}

static int open_tls(struct cli_control *c)
{
    struct tls_client_config config = {
        .ca_file = c->ca, .cert_file = c->cert, .key_file = c->key};
    struct errmsg msg = {""};
    bool is_tls = !c->path && c->url.is_tls;

    if (!is_tls && (c->ca || c->cert || c->key))
        return cli_usage(c->command,
                         "--control-ca, --cert and --key are for https://");
    if (!c->cert != !c->key)
        return cli_usage(c->command, "--cert and --key belong together");
    if (!is_tls)
        return CLI_OK;
    c->tls = tls_client_context(&config, &msg);
    if (!c->tls) {
        cli_fail(c->command, "%s", msg.text);
        return c->ca || c->cert ? CLI_USAGE : CLI_FAILED;
    }
    return CLI_OK;
}

int cli_control_open(struct cli_control *c)
{
    int code = parse_address(c);

    if (code == CLI_OK)
        code = open_tls(c);
    if (code == CLI_OK)
        code = read_token(c);
    return code;
}

void cli_control_close(struct cli_control *c)
{
    explicit_bzero(c->token, sizeof c->token);
    tls_context_close(c->tls);
    c->tls = NULL;
}

/* ---- asking ---- */

int cli_control_ask(const struct cli_control *c, const char *method,
                    const char *path, const char *json, int abort_fd,
                    uint64_t until_ns, struct cli_http **out,
                    struct errmsg *msg)
{
    struct cli_conn_to to = {
        .path = c->path, .url = &c->url, .tls = c->tls, .abort_fd = abort_fd};
    char whole_path[CLI_CONTROL_PATH_SIZE];
    struct cli_http_request request = {
        .method = method,
        .path = whole_path,
        .type = json ? "application/json" : NULL,
        .body = json,
        .body_len = json ? strlen(json) : 0,
        .token = c->token[0] ? c->token : NULL,
        .body_max = CLI_CONTROL_STREAM_MAX,
    };
    struct wr w;

    wr_init_fixed(&w, whole_path, sizeof whole_path);
    if (c->path)
        wr_text(&w, path);
    else
        cli_api_path(&c->url, path, &w);
    wr_u8(&w, '\0');
    if (wr_err(&w)) {
        errmsg_set(msg, "the path is too long");
        return ERR_TOOBIG;
    }
    return cli_http_open(&to, &request, until_ns, out, msg);
}

int cli_control_call(const struct cli_control *c, const char *method,
                     const char *path, int abort_fd, uint64_t timeout_ns,
                     struct wr *answer, struct errmsg *msg)
{
    uint64_t until_ns = clock_now_ns() + timeout_ns;
    struct cli_http *h = NULL;
    int status =
        cli_control_ask(c, method, path, NULL, abort_fd, until_ns, &h, msg);

    if (status < 0)
        return status;
    int err = cli_http_read_all(h, answer, until_ns, msg);
    cli_http_close(h);
    return err ? err : status;
}

int cli_control_refused(const struct cli_control *c, int status,
                        const struct wr *answer)
{
    struct errmsg detail = {""};

    if (answer->data && !wr_err(answer))
        cli_json_error((const char *)answer->data, answer->len, &detail);
    cli_fail(c->command, "answered %d%s%s", status, detail.text[0] ? ": " : "",
             detail.text);
    return status == 400 ? CLI_USAGE : CLI_FAILED;
}
