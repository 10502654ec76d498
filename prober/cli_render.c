#include "prober/cli_render_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Okabe and Ito's colours, nearest of the 256, one per phase. */
static const char *const phase_colors[PHASE_N] = {
    [PHASE_DNS] = "\033[38;5;74m",       [PHASE_CONNECT] = "\033[38;5;178m",
    [PHASE_TLS] = "\033[38;5;36m",       [PHASE_TTFB] = "\033[38;5;32m",
    [PHASE_TRANSFER] = "\033[38;5;175m", [PHASE_LOCAL] = "\033[38;5;245m",
};

void render_color(struct wr *w, const struct render_style *style,
                  const char *code)
{
    bool is_of_256 = strstr(code, "38;5;") != NULL;

    if (!style->is_color)
        return;
    if (!style->is_basic || !is_of_256)
        wr_text(w, code);
    else if (!strcmp(code, RENDER_BAD))
        wr_text(w, "\033[1;31m");
}

void render_phase_color(struct wr *w, const struct render_style *style,
                        unsigned phase)
{
    assert(phase < PHASE_N);
    render_color(w, style, phase_colors[phase]);
}

void render_spaces(struct wr *w, size_t n)
{
    while (n--)
        wr_u8(w, ' ');
}

size_t render_columns(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void render_end_line(struct wr *w, const struct render_style *style)
{
    while (!style->is_color && w->len && w->data[w->len - 1] == ' ')
        w->len--;
    wr_u8(w, '\n');
}

void render_pad_left(struct wr *w, const char *text, size_t columns)
{
    size_t n = render_columns(text);

    render_spaces(w, n < columns ? columns - n : 0);
    wr_text(w, text);
}

void render_pad_right(struct wr *w, const char *text, size_t columns)
{
    size_t n = render_columns(text);

    wr_text(w, text);
    render_spaces(w, n < columns ? columns - n : 0);
}

void render_safe(struct wr *w, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c >= 0x20 && c < 0x7f)
            wr_u8(w, c);
        else if ((c & 0xc0) != 0x80)
            wr_u8(w, '?');
    }
}

const char *render_short_name(const char *name, size_t columns,
                              char text[RENDER_NAME_MAX + 1])
{
    struct wr w;
    size_t len = render_columns(name);

    assert(columns <= RENDER_NAME_MAX);
    wr_init_fixed(&w, text, columns + 1);
    if (len > columns) {
        wr_text(&w, "..");
        for (size_t skip = len - (columns - 2); skip; name++)
            skip -= (*name & 0xc0) != 0x80;
    }
    render_safe(&w, name);
    wr_u8(&w, '\0');
    assert(!wr_err(&w));
    return text;
}

int64_t render_whole_ns(double ns)
{
    return ns < 0x1p63 ? (int64_t)ns : INT64_MAX;
}

char *render_duration(const struct render_style *style, int64_t ns,
                      char text[RENDER_DURATION_SIZE])
{
    static const struct {
        uint64_t ns;
        const char *ascii, *utf8;
    } units[] = {{1000, "us", "\xc2\xb5s"},
                 {1000000, "ms", "ms"},
                 {1000000000, "s", "s"}};
    uint64_t v = (uint64_t)ns;

    if (ns < 1000) {
        if (ns < 0)
            snprintf(text, RENDER_DURATION_SIZE, "-");
        else
            snprintf(text, RENDER_DURATION_SIZE, "%d ns", (int)ns);
        return text;
    }
    /* The first unit and number of decimals that leave three digits, after
     * rounding: 999,950 ns is 1.00 ms and not 1000 us. */
    for (size_t u = 0; u < 3; u++) {
        const char *unit = style->is_utf8 ? units[u].utf8 : units[u].ascii;
        uint64_t step = units[u].ns / 100;

        for (int decimals = 2; decimals >= 0; decimals--, step *= 10) {
            uint64_t n = (v + step / 2) / step;
            if (n < 1000) {
                double scale = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;
                snprintf(text, RENDER_DURATION_SIZE, "%.*f %s", decimals,
                         (double)n / scale, unit);
                return text;
            }
        }
    }
    snprintf(text, RENDER_DURATION_SIZE, "%" PRIu64 " s",
             (v + 500000000) / 1000000000);
    return text;
}

void render_put_duration(struct wr *w, const struct render_style *style,
                         int64_t ns)
{
    char text[RENDER_DURATION_SIZE];

    wr_text(w, render_duration(style, ns, text));
}

void render_pad_duration(struct wr *w, const struct render_style *style,
                         int64_t ns, size_t columns)
{
    char text[RENDER_DURATION_SIZE];

    render_pad_left(w, render_duration(style, ns, text), columns);
}
