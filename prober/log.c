#include "prober/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prober/file.h"
#include "proto/json.h"

#define SEC_NS      1000000000ull
#define VALUE_MAX   1024 /* bytes of one value that are shown */
#define PREFIX_SIZE 3    /* "<6>" */

/* The log sink: the one exception to "no mutable globals" (style 3.2). */
static struct {
    enum config_log_level level;
    bool is_json, is_set_up, has_prefix;
    uint64_t lost; /* lines that write(2) refused */
    struct log_folds folds;
} sink = {.level = LOG_INFO};

static const char *level_name(enum config_log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        break;
    }
    return "debug";
}

/* syslog's numbers, as sd-daemon(3) has them. */
static char level_digit(enum config_log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return '3';
    case LOG_WARN:
        return '4';
    case LOG_INFO:
        return '6';
    case LOG_DEBUG:
        break;
    }
    return '7';
}

/* ---- text lines -------------------------------------------------------- */

/* Length of the well-formed UTF-8 sequence at `s`, 0 if there is none. */
static size_t utf8_len(const unsigned char *s)
{
    static const struct {
        unsigned char first, last, low, high;
        size_t len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last)
            continue;
        if (s[1] < forms[i].low || s[1] > forms[i].high)
            return 0;
        for (size_t j = 2; j < forms[i].len; j++) {
            if (s[j] < 0x80 || s[j] > 0xbf)
                return 0;
        }
        return forms[i].len;
    }
    return 0;
}

static bool is_bare(const char *value)
{
    if (!*value)
        return false;
    for (; *value; value++) {
        if (*value <= ' ' || *value >= 0x7f || strchr("\"=\\", *value))
            return false;
    }
    return true;
}

/* C1 controls are valid UTF-8, but terminals obey them. */
static bool is_c1(const unsigned char *s)
{
    return s[0] == 0xc2 && s[1] < 0xa0;
}

/* One character of a quoted value; returns how many bytes it took. */
static size_t put_char(struct wr *w, const unsigned char *s)
{
    size_t len = utf8_len(s);
    if (len && !is_c1(s)) {
        wr_bytes(w, s, len);
        return len;
    }
    if (*s == '"' || *s == '\\')
        wr_printf(w, "\\%c", *s);
    else if (*s == '\n')
        wr_text(w, "\\n");
    else if (*s < 0x20 || *s >= 0x7f)
        wr_printf(w, "\\x%02x", *s);
    else
        wr_u8(w, *s);
    return 1;
}

static void put_value(struct wr *w, const char *value)
{
    size_t len = strlen(value);
    if (len <= VALUE_MAX && is_bare(value)) {
        wr_text(w, value);
        return;
    }
    const unsigned char *s = (const unsigned char *)value;
    wr_u8(w, '"');
    for (size_t i = 0; s[i] && i < VALUE_MAX;)
        i += put_char(w, s + i);
    wr_text(w, len > VALUE_MAX ? "...\"" : "\"");
}

static void put_text(struct wr *w, enum config_log_level level,
                     const char *event, const struct log_pair *pairs)
{
    wr_printf(w, "%s %s", level_name(level), event);
    for (size_t i = 0; pairs[i].key && !wr_err(w); i++) {
        size_t before = w->len;
        if (!pairs[i].value)
            continue;
        wr_printf(w, " %s=", pairs[i].key);
        put_value(w, pairs[i].value);
        if (wr_err(w))
            w->len = before; /* a pair is there whole or not at all */
    }
}

/* ---- JSON lines -------------------------------------------------------- */

static void put_json(struct wr *w, uint64_t unix_ns,
                     enum config_log_level level, const char *event,
                     const struct log_pair *pairs, size_t n)
{
    struct json j;
    json_init(&j, w);
    json_object_begin(&j);
    json_key_time(&j, "time", unix_ns);
    json_key_text(&j, "level", level_name(level));
    json_key_text(&j, "event", event);
    for (size_t i = 0; i < n; i++) {
        if (!pairs[i].value)
            continue;
        size_t len = strnlen(pairs[i].value, VALUE_MAX);
        json_key(&j, pairs[i].key);
        json_text_n(&j, pairs[i].value, len);
    }
    json_object_end(&j);
}

size_t log_format(char line[LOG_LINE_MAX], bool is_json, uint64_t unix_ns,
                  enum config_log_level level, const char *event,
                  const struct log_pair *pairs)
{
    struct wr w;
    size_t n = 0;
    while (pairs[n].key)
        n++;
    wr_init_fixed(&w, line, LOG_LINE_MAX - 1);
    if (!is_json) {
        put_text(&w, level, event, pairs);
    } else {
        /* An object cannot be cut, so the last pairs go until it fits. */
        put_json(&w, unix_ns, level, event, pairs, n);
        while (wr_err(&w) && n > 0) {
            wr_reset(&w);
            put_json(&w, unix_ns, level, event, pairs, --n);
        }
    }
    size_t len = w.len;
    line[len] = '\n';
    return len + 1;
}

/* ---- folding ----------------------------------------------------------- */

static bool is_event(const struct log_fold *f, const char *event)
{
    return f->event[0] && strncmp(f->event, event, sizeof(f->event) - 1) == 0;
}

/* The slot of `event`, or a free one, or the stalest that owes nothing; NULL
 * if all 64 events flood at this moment. */
static struct log_fold *find_slot(struct log_folds *f, const char *event)
{
    struct log_fold *best = NULL;
    for (size_t i = 0; i < LOG_FOLDS_MAX; i++) {
        struct log_fold *s = &f->slots[i];
        if (is_event(s, event))
            return s;
        if (s->folded)
            continue;
        if (!best ||
            (best->event[0] && (!s->event[0] || s->since_ns < best->since_ns)))
            best = s;
    }
    return best;
}

bool log_folds_take(struct log_folds *f, enum config_log_level level,
                    const char *event, uint64_t now_ns, uint32_t *folded)
{
    *folded = 0;
    struct log_fold *s = find_slot(f, event);
    /* Nothing to count it in: dropping would be silent, so let it pass. */
    if (!s)
        return true;
    if (!is_event(s, event)) {
        *s = (struct log_fold){.since_ns = now_ns};
        snprintf(s->event, sizeof(s->event), "%s", event);
    }
    s->level = level;
    bool is_new_second = now_ns - s->since_ns >= SEC_NS;
    if (!is_new_second && (s->written >= LOG_BURST || s->folded)) {
        s->folded += s->folded < UINT32_MAX;
        return false;
    }
    if (is_new_second) {
        s->since_ns = now_ns;
        /* A flood that goes on gets one line a second, not a new burst. */
        s->written = s->folded ? LOG_BURST - 1 : 0;
    }
    *folded = s->folded;
    s->folded = 0;
    s->written++;
    return true;
}

const struct log_fold *log_folds_next_due(struct log_folds *f, uint64_t now_ns,
                                          uint32_t *folded)
{
    for (size_t i = 0; i < LOG_FOLDS_MAX; i++) {
        struct log_fold *s = &f->slots[i];
        if (!s->folded || now_ns - s->since_ns < SEC_NS)
            continue;
        *folded = s->folded;
        s->folded = 0;
        s->since_ns = now_ns;
        s->written = LOG_BURST;
        return s;
    }
    return NULL;
}

/* ---- the sink ---------------------------------------------------------- */

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * SEC_NS + (uint64_t)t.tv_nsec;
}

void log_setup(enum config_log_level level, bool is_json)
{
    sink.level = level;
    sink.is_json = is_json;
    sink.is_set_up = true;
    sink.has_prefix = !is_json && getenv("JOURNAL_STREAM") != NULL;
}

static void emit(enum config_log_level level, const char *event,
                 const struct log_pair *pairs)
{
    char line[PREFIX_SIZE + LOG_LINE_MAX];
    size_t start = PREFIX_SIZE;
    size_t len = log_format(line + PREFIX_SIZE, sink.is_json,
                            read_clock(CLOCK_REALTIME), level, event, pairs);
    if (sink.has_prefix) {
        line[0] = '<';
        line[1] = level_digit(level);
        line[2] = '>';
        start = 0;
    }
    /* A full pipe or a closed one must not stop the daemon: lost, counted. */
    ssize_t n =
        file_write_now(STDERR_FILENO, line + start, PREFIX_SIZE - start + len);
    sink.lost = n < 0 ? sink.lost + 1 : 0;
}

/* Add what was left out before this line. `numbers` lends the text. */
static void emit_counted(enum config_log_level level, const char *event,
                         const struct log_pair *pairs, uint32_t folded)
{
    struct log_pair all[LOG_PAIRS_MAX + 3];
    char folded_text[16];
    char lost_text[24];
    size_t n = 0;
    for (; pairs[n].key && n < LOG_PAIRS_MAX; n++)
        all[n] = pairs[n];
    if (folded) {
        snprintf(folded_text, sizeof(folded_text), "%u", folded);
        all[n++] = (struct log_pair){"folded", folded_text};
    }
    if (sink.lost) {
        snprintf(lost_text, sizeof(lost_text), "%llu",
                 (unsigned long long)sink.lost);
        all[n++] = (struct log_pair){"lost", lost_text};
    }
    all[n] = (struct log_pair){0};
    emit(level, event, all);
}

void log_pairs(enum config_log_level level, const char *event,
               const struct log_pair *pairs)
{
    uint32_t folded = 0;
    if (!sink.is_set_up)
        log_setup(sink.level, sink.is_json);
    if (level > sink.level)
        return;
    if (level != LOG_DEBUG &&
        !log_folds_take(&sink.folds, level, event, read_clock(CLOCK_MONOTONIC),
                        &folded))
        return;
    emit_counted(level, event, pairs, folded);
}

void log_event(enum config_log_level level, const char *event, ...)
{
    struct log_pair pairs[LOG_PAIRS_MAX + 1] = {0};
    va_list args;
    va_start(args, event);
    for (size_t i = 0; i < LOG_PAIRS_MAX; i++) {
        const char *key = va_arg(args, const char *);
        if (!key)
            break;
        const char *value = va_arg(args, const char *);
        assert(value);
        pairs[i] = (struct log_pair){key, value};
    }
    va_end(args);
    log_pairs(level, event, pairs);
}

void log_tick(void)
{
    static const struct log_pair none[] = {{0}};
    uint64_t now_ns = read_clock(CLOCK_MONOTONIC);
    uint32_t folded;
    const struct log_fold *f;
    while ((f = log_folds_next_due(&sink.folds, now_ns, &folded)))
        emit_counted(f->level, f->event, none, folded);
}
