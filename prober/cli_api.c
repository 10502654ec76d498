#include "prober/cli_api.h"

#include <string.h>

#include "prober/cli.h"
#include "prober/cli_http.h"
#include "prober/cli_json.h"

int cli_api_parse(const char *command, const char *text, struct url *api)
{
    struct errmsg msg = {""};

    if (url_parse(api, text, &msg))
        return cli_usage(command, "--api: %s", msg.text);
    if (api->scheme != URL_HTTP)
        return cli_usage(command, "--api: only http:// is spoken here");
    if (strchr(api->path, '?'))
        return cli_usage(command, "--api: a query does not belong there");
    return CLI_OK;
}

void cli_api_path(const struct url *api, const char *path, struct wr *w)
{
    size_t prefix = strlen(api->path);

    if (prefix && api->path[prefix - 1] == '/')
        prefix--;
    wr_bytes(w, api->path, prefix);
    wr_text(w, path);
}

int cli_api_get(const struct url *api, const char *path, uint64_t timeout_ns,
                int abort_fd, struct wr *answer, bool *is_ended,
                struct errmsg *msg)
{
    int status = cli_http_get(api, path, timeout_ns, abort_fd, answer, msg);

    if (status == ERR_CLOSED) {
        *is_ended = true;
        return CLI_OK;
    }
    if (status < 0)
        return CLI_FAILED;
    if (status == 200)
        return CLI_OK;

    struct errmsg detail = {""};
    if (answer->data)
        cli_json_error((const char *)answer->data, answer->len, &detail);
    errmsg_set(msg, "answered %d%s%s", status, detail.text[0] ? ": " : "",
               detail.text);
    return status == 400 ? CLI_USAGE : CLI_FAILED;
}
