#include "prober/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "prober/api_views.h"
#include "prober/metrics_private.h"

/* Two bounds per doubling: a latency that rises by 41 % is seen to rise, and
 * a zone pair costs 1,260 series. */
#define PER_OCTAVE_DEFAULT 2

static const char openmetrics_type[] =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";
static const char text_type[] = "text/plain; version=0.0.4; charset=utf-8";

/* ---- which format ---- */

/* One range of an Accept header, taken apart. */
struct range {
    const char *type, *version; /* not NUL-terminated; version may be NULL */
    size_t type_len, version_len;
    unsigned q; /* thousandths */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **p, size_t *len)
{
    while (*len > 0 && is_space(**p)) {
        (*p)++;
        (*len)--;
    }
    while (*len > 0 && is_space((*p)[*len - 1]))
        (*len)--;
}

static bool text_is(const char *p, size_t len, const char *text)
{
    return len == strlen(text) && strncasecmp(p, text, len) == 0;
}

/* "0.75" is 750; what is no such number counts as 1, like none at all. */
static unsigned parse_q(const char *p, size_t len)
{
    unsigned q = 0;
    unsigned scale = 100;
    if (len == 0 || len > 5 || (p[0] != '0' && p[0] != '1') ||
        (len > 1 && p[1] != '.'))
        return 1000;
    for (size_t i = 2; i < len; i++, scale /= 10) {
        if (p[i] < '0' || p[i] > '9')
            return 1000;
        q += (unsigned)(p[i] - '0') * scale;
    }
    return p[0] == '1' ? 1000 : q;
}

static void take_parameter(struct range *r, const char *p, size_t len)
{
    const char *equals = memchr(p, '=', len);
    if (!equals)
        return;
    size_t name_len = (size_t)(equals - p);
    const char *value = equals + 1;
    size_t value_len = len - name_len - 1;
    trim(&p, &name_len);
    trim(&value, &value_len);
    if (text_is(p, name_len, "q")) {
        r->q = parse_q(value, value_len);
    } else if (text_is(p, name_len, "version")) {
        r->version = value;
        r->version_len = value_len;
    }
}

static size_t until(const char *p, size_t len, char c)
{
    const char *to = memchr(p, c, len);
    return to ? (size_t)(to - p) : len;
}

static void parse_range(struct range *r, const char *p, size_t len)
{
    size_t n = until(p, len, ';');
    *r = (struct range){.type = p, .type_len = n, .q = 1000};
    trim(&r->type, &r->type_len);
    while (n < len) {
        p += n + 1;
        len -= n + 1;
        n = until(p, len, ';');
        take_parameter(r, p, n);
    }
}

/* A wildcard asks for nothing in particular and so gets what has always been
 * there; only who names OpenMetrics, in the version that we write, gets it. */
bool metrics_accepts_openmetrics(const char *accept)
{
    unsigned openmetrics = 0;
    unsigned text = 0;
    size_t left = accept ? strlen(accept) : 0;
    while (left > 0) {
        struct range r;
        size_t n = until(accept, left, ',');
        parse_range(&r, accept, n);
        bool is_ours =
            text_is(r.type, r.type_len, "application/openmetrics-text") &&
            (!r.version || text_is(r.version, r.version_len, "1.0.0"));
        if (is_ours && r.q > openmetrics)
            openmetrics = r.q;
        if (text_is(r.type, r.type_len, "text/plain") && r.q > text)
            text = r.q;
        accept += n < left ? n + 1 : n;
        left -= n < left ? n + 1 : n;
    }
    return openmetrics > 0 && openmetrics >= text;
}

/* ---- the view ---- */

struct metrics_answer {
    const struct api_source *source;
    bool is_openmetrics;
    size_t self; /* where metrics_self_write() is */
    struct metrics_pairs pairs;
};

static int metrics_body(void *state, struct wr *w)
{
    struct metrics_answer *a = state;
    if (metrics_self_write(a->source, a->is_openmetrics, &a->self, w) ||
        metrics_pairs_write(&a->pairs, w))
        return wr_err(w) ? wr_err(w) : 1;
    if (a->is_openmetrics)
        wr_text(w, "# EOF\n");
    return wr_err(w);
}

/* False: `answer` says what is wrong. */
static bool read_params(const struct httpd_request *r, unsigned *per_octave,
                        struct httpd_answer *answer)
{
    *per_octave = PER_OCTAVE_DEFAULT;
    for (size_t i = 0; i < r->n_params; i++) {
        const char *name = r->params[i].name;
        const char *value = r->params[i].value;
        if (strcmp(name, "buckets_per_octave") != 0) {
            httpd_error(answer, 400, "unknown_parameter",
                        "there is no parameter %.64s here", name);
            return false;
        }
        if (strlen(value) != 1 || !strchr("124", value[0])) {
            httpd_error(answer, 400, "bad_value",
                        "parameter %s: %.64s is not 1, 2 or 4", name, value);
            return false;
        }
        *per_octave = (unsigned)(value[0] - '0');
    }
    return true;
}

void metrics_view(const struct api_source *s, const struct httpd_request *r,
                  struct httpd_answer *answer)
{
    unsigned per_octave;
    if (!s->metrics) /* 404 */
        return;
    if (!read_params(r, &per_octave, answer))
        return;
    struct metrics_answer *a = calloc(1, sizeof(*a));
    if (!a) {
        api_no_memory(answer);
        return;
    }
    api_refresh(s);
    if (s->metrics->refresh)
        s->metrics->refresh(s->metrics->refresh_arg);
    a->source = s;
    a->is_openmetrics = metrics_accepts_openmetrics(r->accept);
    metrics_pairs_init(&a->pairs, s->metrics->totals, s->zone ? s->zone : "",
                       per_octave, a->is_openmetrics);
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = a->is_openmetrics ? openmetrics_type : text_type,
        .extra = "Vary: Accept\r\n",
        .body = metrics_body,
        .done = free,
        .state = a,
    };
}
