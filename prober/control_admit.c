/* Who may come in: origin, host, identity, role, content type. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "prober/control_private.h"

const char *control_peer(const struct httpd_peer *peer,
                         char text[CONTROL_PEER_SIZE])
{
    if (peer->is_local)
        snprintf(text, CONTROL_PEER_SIZE, "unix uid=%u pid=%d", peer->uid,
                 peer->pid);
    else
        addr_format(&peer->addr, text);
    return text;
}

_Static_assert(CONTROL_PEER_SIZE >= ADDR_TEXT_SIZE, "an address fits");

/* "host", "host:80", "[::1]", "[::1]:80": the host alone, without brackets
 * and final dot. False: it is none of these. */
static bool split_host(const char *text, char host[URL_HOST_MAX + 1])
{
    bool is_v6 = text[0] == '[';
    const char *begin = text + is_v6;
    size_t len = strcspn(begin, is_v6 ? "]" : ":");
    const char *end = begin + len;
    if (is_v6 && *end++ != ']')
        return false;
    if (*end == ':')
        end += 1 + strspn(end + 1, "0123456789");
    if (*end != '\0' || len == 0 || len > URL_HOST_MAX)
        return false;
    memcpy(host, begin, len);
    host[len] = '\0';
    if (host[len - 1] == '.')
        host[len - 1] = '\0';
    return true;
}

/* A page that a browser has loaded from elsewhere names the host that it was
 * loaded from, also when that name has come to mean this address. Nobody can
 * do that to an address itself. */
static bool is_our_host(const struct control_source *s, const char *text)
{
    char host[URL_HOST_MAX + 1];
    struct addr literal;
    if (!text || !split_host(text, host))
        return false;
    if (addr_parse_ip(&literal, host) == 0 ||
        strcasecmp(host, "localhost") == 0 ||
        (s->api && s->api->node && strcasecmp(host, s->api->node) == 0))
        return true;
    for (size_t i = 0; i < s->n_hosts; i++) {
        if (strcasecmp(host, s->hosts[i]) == 0 ||
            strcasecmp(text, s->hosts[i]) == 0)
            return true;
    }
    return false;
}

/* Is it this media type, with or without parameters? */
static bool is_media_type(const char *text, const char *type)
{
    size_t len = strlen(type);
    return strncasecmp(text, type, len) == 0 &&
           (text[len] == '\0' || text[len] == ';' || text[len] == ' ' ||
            text[len] == '\t');
}

/* Only such as a page cannot send without asking first. */
static bool is_good_type(const struct httpd_request *r)
{
    const char *type = r->content_type;
    if (r->method != HTTPD_POST || r->body_len == 0)
        return true;
    return type && (is_media_type(type, "application/json") ||
                    is_media_type(type, "application/grpc") ||
                    is_media_type(type, "application/grpc+proto"));
}

static unsigned check(struct control_source *s,
                      const struct httpd_request *request,
                      enum control_action action, struct principal *who,
                      const char **code)
{
    bool is_local = request->peer->is_local;
    *code = "forbidden_origin";
    if (request->origin)
        return 403;
    *code = "forbidden_host";
    if (!is_local && !is_our_host(s, request->host))
        return 403;
    switch (principals_identify(s->principals, s->now_ns(), request->peer,
                                request->authorization, who)) {
    case IDENTIFY_OK:
        break;
    case IDENTIFY_UNKNOWN:
        *code = "unauthorized";
        return is_local ? 403 : 401;
    case IDENTIFY_LOCKED:
        *code = "locked_out";
        return 429;
    }
    *code = "forbidden";
    if (!role_may(who->role, action))
        return 403;
    *code = "forbidden_content_type";
    return is_good_type(request) ? 0 : 403;
}

unsigned control_admit(struct control_source *s,
                       const struct httpd_request *request,
                       enum control_action action, struct principal *who,
                       const char **code)
{
    char peer[CONTROL_PEER_SIZE];
    *who = (struct principal){.role = ROLE_NONE};
    unsigned status = check(s, request, action, who, code);
    if (status)
        inquiries_turn_away(s->inquiries, *code,
                            control_peer(request->peer, peer), who->name);
    else
        *code = NULL;
    return status;
}

static const char *text_of(const char *code)
{
    static const struct {
        const char *code, *text;
    } texts[] = {
        {"forbidden_origin", "requests of web pages are not answered"},
        {"forbidden_host", "the Host of the request is none of this node's"},
        {"unauthorized", "credentials are missing or not known"},
        {"locked_out", "too many wrong credentials, try again in a minute"},
        {"forbidden", "your role does not include this"},
        {"forbidden_content_type",
         "the content type has to be application/json"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(texts[i].code, code) == 0)
            return texts[i].text;
    }
    return "";
}

bool control_let_in(struct control_source *s,
                    const struct httpd_request *request,
                    enum control_action action, struct principal *who,
                    struct httpd_answer *answer)
{
    const char *code;
    unsigned status = control_admit(s, request, action, who, &code);
    if (!status)
        return true;
    httpd_error(answer, status, code, "%s", text_of(code));
    if (status == 401)
        answer->extra = "WWW-Authenticate: Bearer\r\n";
    return false;
}
