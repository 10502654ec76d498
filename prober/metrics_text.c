#include "prober/metrics_text.h"

#include <string.h>

#include "proto/utf8.h"

#define LABEL_SIZE 385 /* as in totals.h */
#define NS_PER_S   UINT64_C(1000000000)

static const char *type_name(enum metrics_type type, bool is_openmetrics)
{
    switch (type) {
    case METRICS_GAUGE:
        return "gauge";
    case METRICS_COUNTER:
        return "counter";
    case METRICS_HISTOGRAM:
        return "histogram";
    case METRICS_INFO:
        return is_openmetrics ? "info" : "gauge";
    }
    return "unknown";
}

void metrics_put_name(struct wr *w, const struct metrics_family *f)
{
    wr_text(w, f->name);
    if (f->type == METRICS_COUNTER)
        wr_text(w, "_total");
    else if (f->type == METRICS_INFO)
        wr_text(w, "_info");
}

static void put_meta(struct wr *w, bool is_openmetrics, const char *what,
                     const struct metrics_family *f, const char *text)
{
    wr_text(w, "# ");
    wr_text(w, what);
    wr_u8(w, ' ');
    if (is_openmetrics)
        wr_text(w, f->name);
    else
        metrics_put_name(w, f);
    wr_u8(w, ' ');
    wr_text(w, text);
    wr_u8(w, '\n');
}

void metrics_put_family(struct wr *w, bool is_openmetrics,
                        const struct metrics_family *f)
{
    put_meta(w, is_openmetrics, "TYPE", f, type_name(f->type, is_openmetrics));
    if (is_openmetrics && f->unit)
        put_meta(w, true, "UNIT", f, f->unit);
    put_meta(w, is_openmetrics, "HELP", f, f->help);
}

void metrics_put_label(struct wr *w, const char *key, const char *value)
{
    char text[LABEL_SIZE];
    utf8_clean(text, sizeof(text), value);
    wr_text(w, key);
    wr_text(w, "=\"");
    /* A line feed would have to be escaped too, but is a control character. */
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            wr_u8(w, '\\');
        wr_u8(w, (uint8_t)*p);
    }
    wr_u8(w, '"');
}

/* Not printf: there are thousands of numbers in a scrape. */
void metrics_put_u64(struct wr *w, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    wr_bytes(w, digits + at, sizeof(digits) - at);
}

void metrics_put_seconds(struct wr *w, uint64_t ns)
{
    char digits[9];
    uint64_t rest = ns % NS_PER_S;
    size_t len = 1; /* "1.0" is how a float has to look in `le` */
    for (size_t i = sizeof(digits); i-- > 0; rest /= 10) {
        digits[i] = (char)('0' + rest % 10);
        if (digits[i] != '0' && i >= len)
            len = i + 1;
    }
    metrics_put_u64(w, ns / NS_PER_S);
    wr_u8(w, '.');
    wr_bytes(w, digits, len);
}
