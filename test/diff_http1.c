/* test/diff_http1.c - our HTTP/1.1 parser against http-parser 2.9.
 *
 * Seeded messages, valid and mutated, are fed to both in random pieces. What
 * we accept, http-parser must accept with the same status, length and fate of
 * the connection. What we refuse and it accepts must fall under one of the
 * rules listed here; each rule has to be met, or the generator is too tame.
 *
 * Needs libhttp-parser-dev, for this test only. Without it: exit code 77.
 */
#ifndef HAVE_HTTP_PARSER

#include <stdio.h>

int main(void)
{
    fputs("SKIPPED: libhttp-parser-dev is not installed, so our HTTP/1.1 "
          "parser was NOT compared with http-parser\n",
          stderr);
    return 77;
}

#else

#include "proto/http1.h"

#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define COUNT(a)           (sizeof(a) / sizeof((a)[0]))
#define VALID              5000
#define MUTATED            60000

struct message {
    char text[2048];
    size_t len;
    enum http1_role role;
    bool is_head_request;
    unsigned status, body_bytes, n_interim; /* as they were made */
};

struct verdict {
    bool is_accepted, is_keep_alive;
    unsigned status, n_interim;
    uint64_t body_bytes;
    size_t used;
    const char *error;
};

/* ---- the two parsers --------------------------------------------------- */

static struct verdict judge_ours(const struct message *m, struct rng *rng)
{
    struct http1 h;
    size_t used = 0;
    http1_init(&h, m->role, HTTP1_HEAD_MAX, 65536);
    http1_next(&h, m->is_head_request);
    while (used < m->len && (h.state == HTTP1_HEAD || h.state == HTTP1_BODY)) {
        size_t n = 1 + rng_below(rng, 60);
        n = n < m->len - used ? n : m->len - used;
        used += http1_feed(&h, m->text + used, n);
    }
    http1_eof(&h);
    return (struct verdict){
        .is_accepted = h.state == HTTP1_DONE,
        .is_keep_alive = h.is_keep_alive,
        .status = h.status,
        .n_interim = h.n_interim,
        .body_bytes = h.body_bytes,
        .used = used,
        .error = h.error ? h.error : "nothing began",
    };
}

struct theirs {
    const struct message *m;
    struct verdict v;
};

static bool is_interim(const http_parser *p)
{
    return p->type == HTTP_RESPONSE && p->status_code / 100 == 1 &&
           p->status_code != 101; /* which ends HTTP on the connection */
}

static int on_headers_complete(http_parser *p)
{
    struct theirs *t = p->data;
    /* Its way to be told that no body follows, which its user must know. */
    return is_interim(p) || t->m->is_head_request ||
           (p->type == HTTP_RESPONSE &&
            (p->status_code == 101 || p->status_code == 204 ||
             p->status_code == 304));
}

static int on_body(http_parser *p, const char *data, size_t len)
{
    struct theirs *t = p->data;
    (void)data;
    t->v.body_bytes += len;
    return 0;
}

static int on_message_complete(http_parser *p)
{
    struct theirs *t = p->data;
    if (is_interim(p)) {
        t->v.n_interim++;
        return 0;
    }
    t->v.is_accepted = true;
    t->v.is_keep_alive = http_should_keep_alive(p);
    t->v.status = p->type == HTTP_RESPONSE ? p->status_code : 0;
    http_parser_pause(p, 1);
    return 0;
}

static struct verdict judge_theirs(const struct message *m, struct rng *rng)
{
    static const http_parser_settings settings = {
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    struct theirs t = {.m = m};
    http_parser p;
    http_parser_init(&p,
                     m->role == HTTP1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    p.data = &t;
    while (t.v.used < m->len && !HTTP_PARSER_ERRNO(&p)) {
        size_t n = 1 + rng_below(rng, 60);
        n = n < m->len - t.v.used ? n : m->len - t.v.used;
        t.v.used += http_parser_execute(&p, &settings, m->text + t.v.used, n);
    }
    if (!HTTP_PARSER_ERRNO(&p))
        http_parser_execute(&p, &settings, NULL, 0);
    t.v.error = http_errno_name(HTTP_PARSER_ERRNO(&p));
    return t.v;
}

/* ---- where they may differ --------------------------------------------- */

/* Debian builds http-parser without its strict mode: it does not look at the
 * byte after a CR, nor at the two after a chunk. */
static bool has_stray_cr(const struct message *m)
{
    for (size_t i = 0; i + 1 < m->len; i++) {
        if (m->text[i] == '\r' && m->text[i + 1] != '\n')
            return true;
    }
    return false;
}

/* By the error that we give; `why` is the rule that http-parser has not. */
static const struct rule {
    const char *error, *why;
} rules[] = {
    {"line without CR", "a bare LF ends no line (RFC 9112 2.2 lets it)"},
    {"folded header field", "obs-fold is refused (RFC 9112 5.2)"},
    {"malformed header name", "no space before the colon (RFC 9112 5.1)"},
    {"control byte in a header field", "nor a CR after a blank value"},
    {"not HTTP/1.0 or HTTP/1.1", "and no 1.2 or 2.0"},
    {"malformed request line", "no HTTP/0.9, which has no version"},
    {"missing host", "a 1.1 request has one Host (RFC 9112 3.2)"},
    {"repeated host", "and only one"},
    {"malformed host", "and a valid one"},
    {"malformed target", "no fragment, no CONNECT, http or https only"},
    {"malformed method", "one empty line in front, not many"},
    {"malformed reason", "no control bytes (RFC 9112 4)"},
    {"malformed status", "three digits after one space, 100 or more"},
    {"unknown transfer coding", "chunked, or nothing"},
    {"transfer-encoding in HTTP/1.0", "not before 1.1 (RFC 9112 6.1)"},
    {"malformed chunk size", "no blanks around it"},
    {"chunk size overflows", "16 digits, with the zeros in front"},
    {"malformed chunk extension", "no control bytes or bare LF"},
    {"malformed end of a chunk size", "CR is followed by LF"},
    {"malformed end of a chunk", "likewise"},
    {"closed inside the head", "likewise, as the last byte"},
    {"closed inside the body", "likewise"},
    {"framing field in a trailer", "RFC 9110 6.5.1"},
    {"switched protocols unasked", "we send no Upgrade"},
};

struct tally {
    unsigned both, neither, stricter[COUNT(rules)];
};

static void show(const struct message *m, const char *what,
                 const struct verdict *ours, const struct verdict *theirs)
{
    print_error("%s\n  ours: %d %s, status %u, body %u, used %zu, keep %d\n"
                "  theirs: %d %s, status %u, body %u, used %zu, keep %d\n",
                what, ours->is_accepted, ours->error, ours->status,
                (unsigned)ours->body_bytes, ours->used, ours->is_keep_alive,
                theirs->is_accepted, theirs->error, theirs->status,
                (unsigned)theirs->body_bytes, theirs->used,
                theirs->is_keep_alive);
    for (size_t i = 0; i < m->len; i++) {
        unsigned char c = (unsigned char)m->text[i];
        if (c == '\n')
            print_error("\\n\n");
        else if (c >= 0x20 && c < 0x7f)
            print_error("%c", c);
        else
            print_error("\\x%02x", c);
    }
    print_error("<end>\n");
}

/* The lines of which http-parser is known to misread valid ones: it does not
 * take a tab for a blank around "chunked", a length or an option; takes every
 * name that starts like Transfer-Encoding for half of one; misses the option
 * in "Connection: ,close"; and stops a little short of 2^64. */
static bool is_slip(const char *line, size_t len)
{
    static const char *const names[] = {"connection", "content-length",
                                        "transfer-encoding"};
    for (size_t i = 0; i < COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (len <= n || strncasecmp(line, names[i], n) != 0)
            continue;
        if (memchr(line, '\t', len) || (i == 2 && line[n] != ':') ||
            (i == 1 && memmem(line, len, "1844674407370955161", 19)))
            return true;
        char last = ',';
        for (size_t k = n + 1; i == 0 && k < len; k++) {
            if (line[k] == ',' && last == ',')
                return true;
            last = line[k] == ' ' ? last : line[k];
        }
    }
    return false;
}

static bool has_slip(const struct message *m)
{
    const char *line = m->text;
    const char *end = m->text + m->len;
    while (line < end) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((lf ? lf : end) - line);
        if (is_slip(line, len))
            return true;
        line += len + 1;
    }
    return false;
}

/* We close where it would stay in two cases: a 1.0 message that says both
 * close and keep-alive, and a 204 that announces a body. */
static bool is_same_fate(const struct message *m, const struct verdict *ours,
                         const struct verdict *theirs)
{
    return ours->is_keep_alive == theirs->is_keep_alive ||
           (!ours->is_keep_alive &&
            (ours->status == 204 || memmem(m->text, m->len, "HTTP/1.0", 8)));
}

static bool is_consistent(const struct message *m, struct tally *tally,
                          const struct verdict *ours,
                          const struct verdict *theirs)
{
    if (!ours->is_accepted && !theirs->is_accepted) {
        tally->neither++;
        return true;
    }
    if (has_slip(m))
        return true;
    if (!ours->is_accepted) {
        for (size_t i = 0; i < COUNT(rules); i++) {
            if (strcmp(rules[i].error, ours->error) != 0)
                continue;
            if (!strncmp(ours->error, "closed", 6) && !has_stray_cr(m))
                return false;
            tally->stricter[i]++;
            return true;
        }
        return false;
    }
    /* It knows a list of methods, we take any. */
    if (!strcmp(theirs->error, "HPE_INVALID_METHOD"))
        return true;
    tally->both++;
    return theirs->is_accepted && ours->status == theirs->status &&
           ours->body_bytes == theirs->body_bytes &&
           ours->n_interim == theirs->n_interim && ours->used == theirs->used &&
           is_same_fate(m, ours, theirs);
}

static struct verdict compare(const struct message *m, struct rng *rng,
                              struct tally *tally)
{
    struct verdict ours = judge_ours(m, rng);
    struct verdict theirs = judge_theirs(m, rng);
    if (!is_consistent(m, tally, &ours, &theirs)) {
        show(m, "the parsers disagree:", &ours, &theirs);
        fail();
    }
    return ours;
}

/* ---- messages ---------------------------------------------------------- */

static void put(struct message *m, const char *text)
{
    size_t n = strlen(text);
    assert_true(m->len + n <= sizeof(m->text));
    memcpy(m->text + m->len, text, n);
    m->len += n;
}

static const char *one_of(struct rng *rng, const char *const *texts, size_t n)
{
    return texts[rng_below(rng, n)];
}
#define ONE_OF(rng, texts) one_of((rng), (texts), COUNT(texts))

static void put_fields(struct message *m, struct rng *rng)
{
    static const char *const fields[] = {
        "Accept: */*\r\n",
        "x-a:b\r\n",
        "X-Empty:\r\n",
        "X-Blank: \t \r\n",
        "X-Text: \xc3\xa4 \t\"quoted\" \r\n",
        "!#$%&'*+-.^_`|~: odd\r\n",
        "Connection: keep-alive\r\n",
        "Connection: Close\r\n",
        "Connection: te, close ,x\r\n",
        "Connection: keep-alive, foo\r\n",
        "Contents-Length: 7\r\n",
        "Server-Timing: app;dur=1\r\n",
    };
    for (uint64_t n = rng_below(rng, 4); n > 0; n--)
        put(m, ONE_OF(rng, fields));
}

static void put_bytes(struct message *m, struct rng *rng, size_t n)
{
    for (; n > 0; n--) {
        char byte[2] = {(char)(1 + rng_below(rng, 255)), '\0'};
        put(m, byte);
    }
}

static void put_chunks(struct message *m, struct rng *rng)
{
    static const char *const ends[] = {"\r\n", "\r\n", ";a\r\n",
                                       ";a=\"b;c\"\r\n", ";x=y;z\r\n"};
    static const char *const trailers[] = {"", "", "X-T: 1\r\n",
                                           "A: b\r\nC:d\r\n"};
    char size[16];
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        unsigned len = 1 + (unsigned)rng_below(rng, 40);
        snprintf(size, sizeof(size), n % 2 ? "%x" : "%04X", len);
        put(m, size);
        put(m, ONE_OF(rng, ends));
        put_bytes(m, rng, len);
        put(m, "\r\n");
        m->body_bytes += len;
    }
    put(m, rng_below(rng, 2) ? "0" : "000");
    put(m, ONE_OF(rng, ends));
    put(m, ONE_OF(rng, trailers));
    put(m, "\r\n");
}

/* `version` 0 has no chunks; a request without framing has no body. */
static void put_framing_and_body(struct message *m, struct rng *rng,
                                 bool is_old)
{
    bool has_no_body = m->is_head_request || m->status == 204 ||
                       m->status == 304 || m->status / 100 == 1;
    unsigned len = rng_below(rng, 3) ? (unsigned)rng_below(rng, 60) : 0;
    char field[64];
    switch (rng_below(rng, is_old ? 2 : 3)) {
    case 0:
        put_fields(m, rng);
        put(m, "\r\n");
        if (m->role == HTTP1_REQUEST || has_no_body)
            return;
        put_bytes(m, rng, len);
        m->body_bytes = len;
        return;
    case 1:
        snprintf(field, sizeof(field), "%s: %s%u\r\n",
                 rng_below(rng, 2) ? "Content-Length" : "content-length",
                 rng_below(rng, 4) ? "" : "00", len);
        put(m, field);
        put_fields(m, rng);
        put(m, "\r\n");
        if (has_no_body)
            return;
        put_bytes(m, rng, len);
        m->body_bytes = len;
        return;
    default:
        put(m, rng_below(rng, 2) ? "Transfer-Encoding: chunked\r\n"
                                 : "TRANSFER-ENCODING:CHUNKED \r\n");
        put_fields(m, rng);
        put(m, "\r\n");
        if (!has_no_body)
            put_chunks(m, rng);
    }
}

static void make_request(struct message *m, struct rng *rng)
{
    static const char *const firsts[] = {
        "GET / HTTP/1.",           "HEAD /x HTTP/1.",
        "POST /?q HTTP/1.",        "PUT /a/b?c=d&e HTTP/1.",
        "OPTIONS * HTTP/1.",       "DELETE /~!$&'()*+,;=:@%41 HTTP/1.",
        "PATCH //x HTTP/1.",       "GET http://a.test:80/x?y HTTP/1.",
        "TRACE /|<>\"{}^ HTTP/1.", "GET http://[::1]?q HTTP/1.",
        "\r\nGET / HTTP/1.",       "M-SEARCH / HTTP/1.",
    };
    static const char *const hosts[] = {"Host: a\r\n", "host:[::1]:80\r\n",
                                        "HOST: a.b-c.test:7443 \r\n",
                                        "Host:\r\n"};
    bool is_old = !rng_below(rng, 4);
    *m = (struct message){.role = HTTP1_REQUEST};
    put(m, ONE_OF(rng, firsts));
    put(m, is_old ? "0\r\n" : "1\r\n");
    if (!is_old || rng_below(rng, 2))
        put(m, ONE_OF(rng, hosts));
    put_framing_and_body(m, rng, is_old);
}

static void make_response(struct message *m, struct rng *rng)
{
    static const struct {
        unsigned status;
        const char *rest;
    } lines[] = {
        {200, " 200 OK\r\n"},
        {200, " 200 \r\n"},
        {200, " 200\r\n"},
        {204, " 204 No Content\r\n"},
        {206, " 206 Part\tial \xc3\xa4\r\n"},
        {304, " 304 Not Modified\r\n"},
        {404, " 404 Not Found\r\n"},
        {503, " 503 Service Unavailable\r\n"},
        {999, " 999 ?\r\n"},
    };
    static const char *const interims[] = {
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n",
        "HTTP/1.0 102 \r\n\r\n",
    };
    bool is_old = !rng_below(rng, 4);
    *m = (struct message){.role = HTTP1_RESPONSE,
                          .is_head_request = !rng_below(rng, 6)};
    for (; !rng_below(rng, 4) && m->n_interim < 3; m->n_interim++)
        put(m, ONE_OF(rng, interims));
    size_t i = rng_below(rng, COUNT(lines));
    m->status = lines[i].status;
    put(m, is_old ? "HTTP/1.0" : "HTTP/1.1");
    put(m, lines[i].rest);
    put_framing_and_body(m, rng, is_old);
}

/* ---- mutations --------------------------------------------------------- */

static void splice(struct message *m, size_t at, size_t remove,
                   const char *text, size_t n)
{
    if (m->len - remove + n > sizeof(m->text))
        return;
    memmove(m->text + at + n, m->text + at + remove, m->len - at - remove);
    memcpy(m->text + at, text, n);
    m->len = m->len - remove + n;
}

static void replace(struct message *m, const char *from, const char *to)
{
    const char *at = memmem(m->text, m->len, from, strlen(from));
    if (at)
        splice(m, (size_t)(at - m->text), strlen(from), to, strlen(to));
}

/* What is likely to make the two differ. */
static void mutate_knowingly(struct message *m, struct rng *rng)
{
    static const char *const pairs[][2] = {
        {"\r\n", "\n"},
        {"\r\n", "\r"},
        {"\r\n", "\r\r\n"},
        {"\r\n", "\r\n\r\n"},
        {"\r\n", "\r\n folded\r\n"},
        {": ", " : "},
        {": ", "\t: "},
        {":", ""},
        {"HTTP/1.1", "HTTP/1.2"},
        {"HTTP/1.1", "HTTP/1.0"},
        {"HTTP/1.1", "HTTP/2.0"},
        {"HTTP/1.", "HTTP/0."},
        {"HTTP/1.1 ", "HTTP/1.1  "},
        {"Host: a\r\n", ""},
        {"Host: a\r\n", "Host: a\r\nHost: b\r\n"},
        {"Host: a\r\n", "Host: a b\r\n"},
        {"Host: ", "Host: u@"},
        {"GET /", "GET /#f"},
        {"GET /", "GET ftp://a/"},
        {"GET /", "GET /\x01"},
        {"GET / ", "CONNECT a:80 "},
        {"GET", "\r\n\r\nGET"},
        {" 200", " 099"},
        {" 200", " 20"},
        {" 200", " 2000"},
        {"OK", "O\x01K"},
        {" 204", " 101"},
        {" 200", " 101"},
        {"chunked", "chunked, chunked"},
        {"chunked", "gzip"},
        {"chunked", "gzip, chunked"},
        {"chunked", "identity"},
        {"Transfer-Encoding: chunked\r\n",
         "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"},
        {"Content-Length: ", "Content-Length: 5\r\nContent-Length: "},
        {"Content-Length: ", "Content-Length: +"},
        {"Content-Length: ", "Content-Length: -"},
        {"Content-Length: ", "Content-Length: 1844674407370955161"},
        {"Content-Length: ", "Content-Length: 1, "},
        {";a", " ;a"},
        {";a", ";\x01"},
        {";a\r\n", ";a\n"},
        {"0\r\n", "0 \r\n"},
        {"0\r\n", "00000000000000000\r\n"},
        {"0\r\n", "10000000000000000\r\n"},
        {"X-T", "Content-Length"},
        {"X-T: 1", "Transfer-Encoding: chunked"},
        {"X-T", "Host"},
        {"x-a:b", "Connection: close, keep-alive"},
    };
    size_t i = rng_below(rng, COUNT(pairs));
    replace(m, pairs[i][0], pairs[i][1]);
}

static void mutate(struct message *m, struct rng *rng)
{
    static const char alphabet[] = "\r\n\r\n \t:;,/?#019afAZ.\0\x01\x7f\xff";
    size_t at = rng_below(rng, m->len);
    char c = alphabet[rng_below(rng, sizeof(alphabet))];
    switch (rng_below(rng, 6)) {
    case 0:
        splice(m, at, 1, &c, 1);
        break;
    case 1:
        splice(m, at, 0, &c, 1);
        break;
    case 2:
        splice(m, at, 1, "", 0);
        break;
    case 3:
        m->text[at] = (char)(m->text[at] ^ (1 << rng_below(rng, 8)));
        break;
    default:
        mutate_knowingly(m, rng);
    }
    if (m->len == 0)
        put(m, "\r");
}

/* ---- tests ------------------------------------------------------------- */

typedef void make_fn(struct message *m, struct rng *rng);

static void both_accept(make_fn *make)
{
    struct rng rng;
    struct tally tally = {0};
    rng_seed(&rng, check_seed());
    for (int i = 0; i < VALID; i++) {
        struct message m;
        make(&m, &rng);
        struct verdict ours = compare(&m, &rng, &tally);
        bool is_as_made = ours.is_accepted && ours.status == m.status &&
                          ours.body_bytes == m.body_bytes &&
                          ours.n_interim == m.n_interim && ours.used == m.len;
        if (!is_as_made)
            show(&m, "a valid message was misread:", &ours, &ours);
        check_true(is_as_made);
    }
    check_u64(tally.both, VALID);
}

static void valid_requests_are_read_alike(void **state)
{
    (void)state;
    both_accept(make_request);
}

static void valid_responses_are_read_alike(void **state)
{
    (void)state;
    both_accept(make_response);
}

/* Both roles in one test, since the rules are shared between them. */
static void mutated_messages_differ_only_by_the_rules(void **state)
{
    (void)state;
    struct rng rng;
    struct tally tally = {0};
    rng_seed(&rng, check_seed());
    for (int i = 0; i < MUTATED; i++) {
        struct message m;
        (i % 2 ? make_request : make_response)(&m, &rng);
        for (uint64_t n = 1 + rng_below(&rng, 2); n > 0; n--)
            mutate(&m, &rng);
        compare(&m, &rng, &tally);
    }
    print_message("# both accept %u, both refuse %u\n", tally.both,
                  tally.neither);
    bool is_tame = false;
    for (size_t i = 0; i < COUNT(rules); i++) {
        print_message("# stricter %5u times: %s (%s)\n", tally.stricter[i],
                      rules[i].error, rules[i].why);
        is_tame |= !tally.stricter[i];
    }
    check_false(is_tame);
    check_true(tally.both > MUTATED / 10);
    check_true(tally.neither > MUTATED / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_requests_are_read_alike),
        cmocka_unit_test(valid_responses_are_read_alike),
        cmocka_unit_test(mutated_messages_differ_only_by_the_rules),
    };
    return cmocka_run_group_tests_name("diff_http1", tests, NULL, NULL);
}

#endif /* HAVE_HTTP_PARSER */
