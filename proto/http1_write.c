/* Heads of messages. */
#include <assert.h>

#include "proto/base/err.h"
#include "proto/http1_text.h"

static bool is_text_of(const char *text, bool (*is)(unsigned char))
{
    return text[0] && is_all(text, strlen(text), is);
}

/* Field lines as this parser would take them, so that nobody can add a second
 * message through a value. */
static bool is_whole_lines(const char *lines)
{
    while (*lines) {
        const char *end = strstr(lines, "\r\n");
        const char *colon = strchr(lines, ':');
        if (!end || !colon || colon == lines || colon > end ||
            !is_all(lines, (size_t)(colon - lines), is_token) ||
            !is_value(colon, (size_t)(end - colon)))
            return false;
        lines = end + 2;
    }
    return true;
}

static void refuse(struct wr *w)
{
    if (!w->err)
        w->err = ERR_BAD;
}

static void write_end(struct wr *w, bool keep_alive, const char *extra)
{
    if (!keep_alive)
        wr_text(w, "Connection: close\r\n");
    wr_text(w, extra);
    wr_text(w, "\r\n");
}

void http1_write_request(struct wr *w, const char *method, const char *target,
                         const char *host, bool keep_alive, const char *extra)
{
    extra = extra ? extra : "";
    if (!is_text_of(method, is_token) || !is_text_of(target, is_target) ||
        !is_text_of(host, is_authority) || !is_whole_lines(extra)) {
        refuse(w);
        return;
    }
    wr_text(w, method);
    wr_text(w, " ");
    wr_text(w, target);
    wr_text(w, " HTTP/1.1\r\nHost: ");
    wr_text(w, host);
    wr_text(w, "\r\nUser-Agent: prober\r\nAccept-Encoding: identity\r\n");
    write_end(w, keep_alive, extra);
}

const char *http1_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } known[] = {
        {100, "Continue"},
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].status == status)
            return known[i].reason;
    }
    return ""; /* the reason may be empty, the space before it not */
}

void http1_write_response(struct wr *w, unsigned status,
                          const char *content_type, uint64_t body_len,
                          bool keep_alive, const char *extra)
{
    assert(status >= 100);
    assert(status <= 999);
    extra = extra ? extra : "";
    if (!is_whole_lines(extra) ||
        (content_type && !is_value(content_type, strlen(content_type)))) {
        refuse(w);
        return;
    }
    wr_printf(w, "HTTP/1.1 %u %s\r\n", status, http1_reason(status));
    if (content_type) {
        wr_text(w, "Content-Type: ");
        wr_text(w, content_type);
        wr_text(w, "\r\n");
    }
    if (status >= 200 && status != 204)
        wr_printf(w, "Content-Length: %llu\r\n", (unsigned long long)body_len);
    write_end(w, keep_alive, extra);
}
