#include "prober/config_errors.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"

/* 100 lines of a file name (at most PATH_MAX), a place and a message. */
#define TEXT_MAX (1u << 20)

__attribute__((format(printf, 3, 0))) static void add(struct config_errors *e,
                                                      struct config_error place,
                                                      const char *format,
                                                      va_list args)
{
    if (e->n++ >= CONFIG_ERRORS_MAX)
        return;
    struct config_error *one = &e->list[e->n - 1];
    *one = place;
    vsnprintf(one->text, sizeof(one->text), format, args);
}

void config_errors_add(struct config_errors *e, unsigned line, unsigned column,
                       const char *format, ...)
{
    struct config_error place = {.line = line, .column = column};
    va_list args;
    va_start(args, format);
    add(e, place, format, args);
    va_end(args);
}

void config_errors_add_outside(struct config_errors *e, const char *format, ...)
{
    struct config_error place = {.is_outside = true};
    va_list args;
    va_start(args, format);
    add(e, place, format, args);
    va_end(args);
}

/* Line 0 sorts last: subtracting 1 makes it the greatest number. */
static bool is_before(const struct config_error *a,
                      const struct config_error *b)
{
    if (a->line != b->line)
        return a->line - 1 < b->line - 1;
    return a->column < b->column;
}

/* Insertion keeps complaints about one place in the order they were made. */
static void sort(const struct config_errors *e, size_t n, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        for (; j > 0 && is_before(&e->list[i], &e->list[order[j - 1]]); j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
}

static void write_one(struct wr *w, const char *file,
                      const struct config_error *one)
{
    if (!one->is_outside)
        wr_printf(w, "%s:", file);
    if (one->line)
        wr_printf(w, "%u:%u:", one->line, one->column);
    wr_printf(w, "%s%s\n", one->is_outside ? "" : " ", one->text);
}

char *config_errors_text(const struct config_errors *e)
{
    size_t kept = e->n < CONFIG_ERRORS_MAX ? e->n : CONFIG_ERRORS_MAX;
    size_t order[CONFIG_ERRORS_MAX];
    sort(e, kept, order);

    struct wr w;
    wr_init_grow(&w, TEXT_MAX);
    for (size_t i = 0; i < kept; i++)
        write_one(&w, e->file, &e->list[order[i]]);
    if (e->n > kept)
        wr_printf(&w, "%s: %zu more errors are not shown\n", e->file,
                  e->n - kept);
    wr_u8(&w, 0);
    char *text = wr_err(&w) ? NULL : strdup((const char *)w.data);
    wr_fini(&w);
    return text;
}

const char *config_shown(const char *text, char shown[CONFIG_SHOWN_SIZE])
{
    size_t max = CONFIG_SHOWN_SIZE - 8;
    size_t i = 0;
    for (; text[i] && i < max; i++)
        shown[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    snprintf(shown + i, CONFIG_SHOWN_SIZE - i, "%s", text[i] ? "..." : "");
    return shown;
}
