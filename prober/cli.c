#include "prober/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/base/err.h"

#define WORD_MAX 32

static void complain(const char *command, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void complain(const char *command, const char *format, va_list args)
{
    fprintf(stderr, "prober %s: ", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_try_help(const char *command)
{
    fprintf(stderr, "Try 'prober help %s'.\n", command);
    return CLI_USAGE;
}

int cli_usage(const char *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    complain(command, format, args);
    va_end(args);
    return cli_try_help(command);
}

int cli_fail(const char *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    complain(command, format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_help(const char *text)
{
    if (fputs(text, stdout) == EOF || fflush(stdout) == EOF)
        return CLI_FAILED;
    return CLI_OK;
}

int cli_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *v)
{
    char *end;

    /* strtoull alone would take signs, spaces and wrap around. */
    if (text[0] < '0' || text[0] > '9')
        return ERR_BAD;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || *end || n < min || n > max)
        return ERR_BAD;
    *v = n;
    return 0;
}

/* The variable that decides the character set: the first that is set. */
static bool is_utf8_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

/* By its name, as terminfo has it, or as those say that came after it. */
static bool has_256_colors(const char *term)
{
    static const char *const known[] = {"xterm", "kitty", "foot", "alacritty",
                                        "wezterm"};
    const char *color = getenv("COLORTERM");

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!strncmp(term, known[i], strlen(known[i])))
            return true;
    }
    return (color && color[0]) || strstr(term, "256") || strstr(term, "direct");
}

struct render_style cli_style(int fd)
{
    struct render_style style = {0};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    struct winsize size;

    if (!isatty(fd))
        return style;
    if (!ioctl(fd, TIOCGWINSZ, &size)) {
        style.columns = size.ws_col;
        style.lines = size.ws_row;
    }
    style.is_screen = term && term[0] && strcmp(term, "dumb") != 0;
    if (no_color && no_color[0])
        return style;
    style.is_color = style.is_screen;
    style.is_basic = style.is_color && !has_256_colors(term);
    style.is_utf8 = style.is_color && is_utf8_locale();
    return style;
}

int cli_write(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno != EINTR)
            return ERR_SYS;
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Levenshtein's distance, one row at a time; words are at most WORD_MAX. */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1], n = strlen(b);

    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t less = row[j] < row[j - 1] ? row[j] : row[j - 1];
            diagonal = row[j];
            row[j] = change < less + 1 ? change : less + 1;
        }
    }
    return row[n];
}

const char *cli_suggest(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    size_t best_distance = 3; /* further away is another word */

    if (strlen(word) > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = strlen(words[i]) <= WORD_MAX ? distance(word, words[i])
                                                : best_distance;
        bool is_prefix = word[0] && !strncmp(words[i], word, strlen(word));
        if (is_prefix)
            d = d < 2 ? d : 2;
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
