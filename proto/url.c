#include "proto/url.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/addr.h"

#define LABEL_MAX 63

static const struct scheme {
    const char *name; /* with what follows it */
    uint16_t port;
    bool is_tls;
} schemes[] = {
    [URL_HTTP] = {"http://", 80, false},
    [URL_HTTPS] = {"https://", 443, true},
    [URL_GRPC] = {"grpc://", 80, false},
    [URL_GRPCS] = {"grpcs://", 443, true},
};
#define N_SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool is_hex(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
}

/* ---- host -------------------------------------------------------------- */

static bool is_label(const char *s, size_t len)
{
    if (len == 0 || len > LABEL_MAX || s[0] == '-' || s[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '-')
            return false;
    }
    return true;
}

/* Decimal, or "0x" and hex digits, as inet_aton() would read a part. */
static bool is_number(const char *s, size_t len)
{
    bool is_hexadecimal = len >= 2 && s[0] == '0' && lower(s[1]) == 'x';
    for (size_t i = is_hexadecimal ? 2 : 0; i < len; i++) {
        if (is_hexadecimal ? !is_hex(s[i]) : !is_digit(s[i]))
            return false;
    }
    return true;
}

/* `len` without the final dot. */
static bool is_name(const char *s, size_t len)
{
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && s[i] != '.')
            continue;
        if (!is_label(s + start, i - start))
            return false;
        if (i == len && is_number(s + start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

/* Take over a host of `len` bytes: 0, ERR_BAD or ERR_TOOBIG. */
static int set_host(struct url *u, const char *s, size_t len, bool is_v6)
{
    struct addr a;
    bool has_final_dot = len && s[len - 1] == '.';
    size_t name_len = len - has_final_dot;
    if (name_len > URL_HOST_MAX)
        return ERR_TOOBIG;
    for (size_t i = 0; i < name_len; i++)
        u->host[i] = lower(s[i]);
    u->host[name_len] = '\0';

    u->is_literal = !has_final_dot && !addr_parse_ip(&a, u->host);
    if (u->is_literal)
        return (a.family == ADDR_V6) == is_v6 ? 0 : ERR_BAD;
    return !is_v6 && is_name(s, name_len) ? 0 : ERR_BAD;
}

bool url_is_host(const char *host)
{
    struct url u;
    return !set_host(&u, host, strlen(host), strchr(host, ':'));
}

/* ---- parts ------------------------------------------------------------- */

/* A reader over the text, for messages that say where. */
struct cursor {
    const char *text, *at;
    struct errmsg *msg;
};

static int refuse(const struct cursor *c, int code, const char *what)
{
    errmsg_set(c->msg, "url: %s at byte %zu", what,
               (size_t)(c->at - c->text) + 1);
    return code;
}

static int check_bytes(struct cursor *c)
{
    for (c->at = c->text; *c->at; c->at++) {
        if (*c->at < 0x21 || *c->at > 0x7e)
            return refuse(c, ERR_BAD, "blank, control or non-ASCII byte");
        if (*c->at == '#')
            return refuse(c, ERR_BAD, "fragment");
    }
    c->at = c->text;
    return 0;
}

static int parse_scheme(struct url *u, struct cursor *c)
{
    for (unsigned i = 0; i < N_SCHEMES; i++) {
        const char *name = schemes[i].name;
        size_t n = 0;
        while (name[n] && lower(c->at[n]) == name[n])
            n++;
        if (name[n])
            continue;
        u->scheme = (enum url_scheme)i;
        u->is_tls = schemes[i].is_tls;
        u->port = schemes[i].port;
        c->at += n;
        return 0;
    }
    return refuse(c, ERR_BAD,
                  "no http://, https://, grpc:// or grpcs:// scheme");
}

static int parse_host(struct url *u, struct cursor *c, const char *end)
{
    const char *s = c->at;
    const char *host_end;
    bool is_v6 = *s == '[';
    if (is_v6) {
        s++;
        host_end = memchr(s, ']', (size_t)(end - s));
        if (!host_end)
            return refuse(c, ERR_BAD, "bracket without its pair");
    } else {
        host_end = memchr(s, ':', (size_t)(end - s));
        if (!host_end)
            host_end = end;
    }
    int err = set_host(u, s, (size_t)(host_end - s), is_v6);
    if (err == ERR_TOOBIG)
        return refuse(c, err, "host longer than 253 bytes");
    if (err)
        return refuse(c, err, "malformed host");
    c->at = host_end + is_v6;
    return 0;
}

static int parse_port(struct url *u, struct cursor *c, const char *end)
{
    if (c->at == end)
        return 0;
    if (*c->at != ':')
        return refuse(c, ERR_BAD, "garbage after the host");
    c->at++;
    unsigned port = 0;
    size_t n = (size_t)(end - c->at);
    /* No zeros in front: "0080" may be octal to the next reader. */
    if (n == 0 || n > 5 || *c->at == '0')
        return refuse(c, ERR_BAD, "malformed port");
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(c->at[i]))
            return refuse(c, ERR_BAD, "malformed port");
        port = port * 10 + (unsigned)(c->at[i] - '0');
    }
    if (port > UINT16_MAX)
        return refuse(c, ERR_BAD, "port above 65535");
    u->port = (uint16_t)port;
    u->has_port = true;
    c->at = end;
    return 0;
}

static int parse_path(struct url *u, struct cursor *c)
{
    size_t n = 0;
    /* "http://h?q" asks for "/?q" (RFC 9112 3.2.1). */
    if (*c->at != '/')
        u->path[n++] = '/';
    size_t len = strlen(c->at);
    if (len > URL_PATH_MAX - n)
        return refuse(c, ERR_TOOBIG, "path longer than 1024 bytes");
    memcpy(u->path + n, c->at, len + 1);
    return 0;
}

int url_parse(struct url *u, const char *text, struct errmsg *msg)
{
    struct url v = {0};
    struct cursor c = {text, text, msg};
    int err = check_bytes(&c);
    if (!err)
        err = parse_scheme(&v, &c);
    if (err)
        return err;

    const char *end = c.at + strcspn(c.at, "/?");
    if (memchr(c.at, '@', (size_t)(end - c.at)))
        return refuse(&c, ERR_BAD, "user info");
    err = parse_host(&v, &c, end);
    if (!err)
        err = parse_port(&v, &c, end);
    if (!err)
        err = parse_path(&v, &c);
    if (!err)
        *u = v;
    return err;
}

void url_authority(const struct url *u, char text[URL_AUTHORITY_SIZE])
{
    bool is_v6 = strchr(u->host, ':');
    int n = snprintf(text, URL_AUTHORITY_SIZE, is_v6 ? "[%s]" : "%s", u->host);
    assert(n > 0);
    if (u->port != schemes[u->scheme].port)
        snprintf(text + n, URL_AUTHORITY_SIZE - (size_t)n, ":%u",
                 (unsigned)u->port);
}
