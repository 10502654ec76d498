/* test/fuzz/metrics.c - names of zones and Accept headers of anybody's making.
 *
 * The input, cut at its NULs: an Accept header, this node's zone, then zones
 * that are probed. Whatever they are, the answer is a sequence of whole lines
 * of valid UTF-8, each a comment or a sample whose labels are closed, and none
 * of them twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/metrics.h"
#include "proto/utf8.h"
#include "test/api_world.h"

#define OUT_MAX   (64u << 20)
#define ZONES_MAX 4 /* an answer takes long enough */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds, const char *what, const char *line)
{
    if (!holds) {
        fprintf(stderr, "broken: %s: %s\n", what, line);
        abort();
    }
}

static void check_text(const char *line)
{
    for (size_t left = strlen(line); left > 0;) {
        size_t bad;
        size_t n = utf8_len((const uint8_t *)line, left, &bad);
        demand(n > 0 && (uint8_t)line[0] >= 0x20, "is text", line);
        line += n;
        left -= n;
    }
}

/* key="value",...} with the escapes there are. */
static const char *check_labels(const char *p, const char *line)
{
    do {
        p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
        demand(p[0] == '=' && p[1] == '"', "has a value", line);
        for (p += 2; *p && *p != '"'; p++) {
            if (*p == '\\')
                p++;
            demand(p[-1] != '\\' || *p == '"' || *p == '\\' || p[-2] == '\\',
                   "escapes", line);
        }
        demand(*p == '"', "closes a value", line);
        p++;
    } while (*p++ == ',');
    demand(p[-1] == '}', "closes the labels", line);
    return p;
}

static void check_sample(const char *line)
{
    const char *p =
        line + strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
    demand(p > line, "has a name", line);
    if (*p == '{')
        p = check_labels(p + 1, line);
    demand(*p == ' ', "has a number", line);
    p++;
    demand(*p && strspn(p, "0123456789.") == strlen(p), "is a number", line);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each series once: the part before the number. */
static void check_unique(char **lines, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *strrchr(lines[i], ' ') = '\0';
    qsort(lines, n, sizeof(*lines), compare);
    for (size_t i = 1; i < n; i++)
        demand(strcmp(lines[i - 1], lines[i]) != 0, "is there once", lines[i]);
}

static void check_answer(char *text)
{
    size_t n = 0;
    size_t size = 0;
    for (const char *p = text; *p; p++)
        size += *p == '\n';
    char **lines = calloc(size ? size : 1, sizeof(*lines));
    if (!lines)
        abort();
    char *end;
    for (char *line = text; *line; line = end + 1) {
        end = strchr(line, '\n');
        demand(end != NULL, "ends", line);
        *end = '\0';
        check_text(line);
        if (line[0] == '#')
            continue;
        check_sample(line);
        lines[n++] = line;
    }
    check_unique(lines, n);
    free(lines);
}

static void render(struct world *world, const char *accept)
{
    struct httpd_request request = {.path = "/metrics", .accept = accept};
    struct httpd_answer answer = {0};
    struct wr all;
    struct wr slice;
    int rc;
    wr_init_grow(&all, OUT_MAX);
    wr_init_grow(&slice, 65536);
    api_handle(&world->source, &request, &answer);
    do {
        wr_reset(&slice);
        rc = answer.body(answer.state, &slice);
        demand(rc >= 0, "goes well", "");
        wr_bytes(&all, slice.data, slice.len);
    } while (rc == 1);
    wr_u8(&all, '\0');
    demand(!wr_err(&all), "fits", "");
    check_answer((char *)all.data);
    httpd_answer_fini(&answer);
    wr_fini(&slice);
    wr_fini(&all);
}

static void add_zone(struct totals *totals, const char *zone)
{
    struct sample s;
    sample_init(&s);
    s.phases_ns[PHASE_LOCAL] = s.total_ns = (int64_t)strlen(zone) * 100000;
    (void)totals_add(totals, zone, &s, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2048];
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *zone = text + strlen(text);
    zone += zone < text + size;

    struct world world;
    struct metrics_source metrics = {.totals = totals_open()};
    if (!metrics.totals)
        return 0;
    struct totals *totals = (struct totals *)(uintptr_t)metrics.totals;
    world_init(&world);
    world.source.metrics = &metrics;
    world.source.zone = zone;
    const char *p = zone + strlen(zone);
    for (int i = 0; i < ZONES_MAX && p < text + size; i++) {
        add_zone(totals, ++p);
        p += strlen(p);
    }
    totals_check(totals);
    render(&world, text);
    world_fini(&world);
    totals_close(totals);
    return 0;
}
