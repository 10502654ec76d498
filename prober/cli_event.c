#include "prober/cli_event.h"

#include <stdio.h>
#include <string.h>

int cli_event_ns(const struct json_t *object, const char *key, int64_t *ns)
{
    double v = cli_json_number_of(object, key);

    if (v > (double)CLI_EVENT_NS_MAX)
        return ERR_BAD;
    *ns = v < 0 ? SAMPLE_ABSENT : (int64_t)v;
    return 0;
}

/* A small whole number, -1 if it is not there or none. */
static int small_of(const struct json_t *object, const char *key, int max)
{
    double v = cli_json_number_of(object, key);
    return v < 0 || v > max ? -1 : (int)v;
}

static int at_least_0(int n)
{
    return n < 0 ? 0 : n;
}

static uint8_t clock_of(const struct json_t *root)
{
    const char *text = cli_json_text_of(root, "clock", "");

    if (!strcmp(text, "kernel"))
        return STAMP_KERNEL;
    return strcmp(text, "user") ? STAMP_NONE : STAMP_USER;
}

static int read_times(struct sample *s, const struct json_t *root,
                      struct errmsg *msg)
{
    const struct json_t *phases = cli_json_get(root, "phases_ns");
    int err = 0;

    for (unsigned p = 0; p < PHASE_N; p++)
        err |= cli_event_ns(phases, series_name(p), &s->phases_ns[p]);
    err |= cli_event_ns(root, "total_ns", &s->total_ns);
    err |= cli_event_ns(root, "server_ns", &s->server_ns);
    err |= cli_event_ns(root, "lag_ns", &s->lag_ns);
    err |= cli_event_ns(root, "start_lag_ns", &s->start_lag_ns);
    err |= cli_event_ns(cli_json_get(root, "tcp"), "rtt_ns", &s->rtt_ns);
    if (err)
        errmsg_set(msg, "a sample's time is longer than an hour");
    return err ? ERR_BAD : 0;
}

static void read_answers(struct sample *s, const struct json_t *root)
{
    const struct json_t *http = cli_json_get(root, "http");
    const struct json_t *grpc = cli_json_get(root, "grpc");

    s->retransmits =
        small_of(cli_json_get(root, "tcp"), "retransmits", INT32_MAX);
    s->http_status = (int16_t)small_of(http, "status", 999);
    s->http_minor = strcmp(cli_json_text_of(http, "version", ""), "1.0") != 0;
    s->grpc_status = (int16_t)small_of(grpc, "status", INT16_MAX);
}

static void read_words(struct sample *s, const struct json_t *root)
{
    int phase = series_parse(cli_json_text_of(root, "failed_phase", ""));

    s->protocol = (uint8_t)at_least_0(
        protocol_parse(cli_json_text_of(root, "protocol", "")));
    s->mode =
        (uint8_t)at_least_0(mode_parse(cli_json_text_of(root, "mode", "")));
    s->failed_phase = (int8_t)(phase < PHASE_N ? phase : -1);
    s->clock = clock_of(root);
    s->is_reconnected = cli_json_bool_of(root, "reconnected");
    snprintf(s->error, sizeof s->error, "%s",
             cli_json_text_of(root, "error", ""));
}

static int read_sample(struct cli_event *e, struct errmsg *msg)
{
    const struct json_t *from = cli_json_get(e->root, "from");
    struct sample *s = &e->sample;
    int outcome = outcome_parse(cli_json_text_of(e->root, "outcome", ""));

    sample_init(s);
    if (outcome < 0) {
        errmsg_set(msg, "a sample's outcome is none that is known here");
        return ERR_BAD;
    }
    s->outcome = (uint8_t)outcome;
    read_words(s, e->root);
    read_answers(s, e->root);
    /* Nothing below has to think of a good attempt that took no time. */
    int err = read_times(s, e->root, msg);
    if (!err && outcome == OUTCOME_OK && s->total_ns < 0) {
        errmsg_set(msg, "a good sample has no total");
        err = ERR_BAD;
    }
    e->node = cli_json_text_of(from, "node", "");
    e->zone = cli_json_text_of(from, "zone", "");
    return err;
}

static int read_body(struct cli_event *e, struct errmsg *msg)
{
    const struct json_t *summary = cli_json_get(e->root, "summary");
    const struct json_t *executor = cli_json_get(e->root, "executor");

    if (cli_json_is_object(summary)) {
        e->kind = EVENT_SUMMARY;
        e->body = summary;
    } else if (cli_json_is_object(executor)) {
        e->kind = EVENT_EXECUTOR;
        e->body = executor;
        e->node = cli_json_text_of(executor, "node", "");
        e->zone = cli_json_text_of(executor, "zone", "");
    } else if (cli_json_get(e->root, "outcome")) {
        e->kind = EVENT_SAMPLE;
        return read_sample(e, msg);
    }
    return 0;
}

int cli_event_open(struct cli_event *e, const char *line, size_t len,
                   struct errmsg *msg)
{
    *e = (struct cli_event){.kind = EVENT_OTHER, .node = "", .zone = ""};
    e->root = cli_json_open(line, len, msg);
    if (!e->root)
        return ERR_BAD;
    int err = cli_json_is_object(e->root) ? 0 : ERR_BAD;
    if (err)
        errmsg_set(msg, "not an object");
    else
        err = read_body(e, msg);
    if (err)
        cli_event_close(e);
    return err;
}

void cli_event_close(struct cli_event *e)
{
    cli_json_close(e->root);
    e->root = NULL;
}
