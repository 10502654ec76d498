#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/clock.h"
#include "prober/daemon_private.h"
#include "prober/log.h"
#include "prober/notify.h"
#include "prober/reload.h"

#define ERRORS_MAX 65536

/* All that is made before anything changes. */
struct reload {
    struct config *config;
    unsigned parts; /* of reload.h */
    char *changed;  /* keys, a line each */
    struct plane_change *plane;
    struct roster *roster;
    struct gossip_change gossip;
    struct control_change control;
};

/* ---- preparing ---- */

/* A complaint of ours as config_load() has them: a line, after the file. */
static char *one_line(const struct daemon *d, const char *text)
{
    char *line = NULL;
    if (asprintf(&line, "%s: %s\n", d->config_path ? d->config_path : "reload",
                 text) < 0)
        return NULL;
    return line;
}

static char *text_of(const struct wr *w)
{
    return strndup(w->len ? (const char *)w->data : "", w->len);
}

static int compare(const struct daemon *d, struct reload *c, char **errors)
{
    struct wr fixed, changed, text;
    wr_init_grow(&fixed, ERRORS_MAX);
    wr_init_grow(&changed, ERRORS_MAX);
    wr_init_grow(&text, ERRORS_MAX);
    c->parts = reload_compare(d->config, c->config, &fixed, &changed);
    const char *at = (const char *)fixed.data;
    for (size_t left = fixed.len; left > 0;) {
        size_t len = (size_t)((const char *)memchr(at, '\n', left) - at);
        wr_text(&text, d->config_path ? d->config_path : "reload");
        wr_text(&text, ": ");
        wr_bytes(&text, at, len);
        wr_text(&text, " cannot change while running: it needs a restart\n");
        at += len + 1;
        left -= len + 1;
    }
    int rc =
        wr_err(&fixed) || wr_err(&changed) || wr_err(&text) ? ERR_NOMEM : 0;
    if (!rc && text.len > 0) {
        *errors = text_of(&text);
        rc = ERR_BAD;
    } else if (!rc) {
        c->changed = text_of(&changed);
        rc = c->changed ? 0 : ERR_NOMEM;
    }
    wr_fini(&fixed);
    wr_fini(&changed);
    wr_fini(&text);
    return rc;
}

static int prepare_parts(struct daemon *d, struct reload *c, struct errmsg *msg)
{
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];
    c->plane = plane_prepare(d->plane, c->config, msg);
    if (!c->plane)
        return ERR_BAD;
    c->roster = roster_open(c->config, &d->policy);
    if (!c->roster) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    plane_change_fingerprint(d->plane, c->plane, fingerprint);
    int rc = 0;
    if (d->gossip)
        rc = gossip_prepare(d->gossip, c->config, fingerprint, &c->gossip, msg);
    return rc ? rc
              : control_port_prepare(&d->control, c->config, &c->control, msg);
}

static int prepare(struct daemon *d, struct reload *c, char **errors)
{
    struct errmsg msg = {{0}};
    int rc = config_load(d->config_path, getenv, &c->config, errors);
    if (!rc && config_warn_environment(c->config, environ))
        rc = ERR_NOMEM;
    if (!rc)
        rc = compare(d, c, errors);
    if (rc)
        return rc;
    rc = prepare_parts(d, c, &msg);
    if (rc)
        *errors = one_line(d, msg.text);
    return rc;
}

static void drop(struct reload *c)
{
    plane_change_drop(c->plane);
    roster_close(c->roster);
    gossip_change_fini(&c->gossip);
    control_change_drop(&c->control);
    config_free(c->config);
    free(c->changed);
}

/* ---- applying ---- */

/* The place of the configuration stays, its content changes: all who borrow it
 * see the new one from the same moment on. */
static void swap(struct config *a, struct config *b)
{
    struct config content = *a;
    *a = *b;
    *b = content;
}

static void apply_limits(struct daemon *d)
{
    const struct config *c = d->config;
    d->source.history_max_bytes = c->history.memory_bytes;
    d->source.retention_s = c->history.retention_ns / UINT64_C(1000000000);
    stores_limit(&d->stores);
    httpd_set_connections_max(d->httpd, c->api.connections_max);
    log_setup(c->log.level, c->log.is_json);
}

/* The control port's part can still fail, for want of memory or because a file
 * has changed in between; it comes first. Nothing behind it can. */
static int apply(struct daemon *d, struct reload *c, char **errors)
{
    struct errmsg msg = {{0}};
    swap(d->config, c->config);
    int rc = control_port_apply(&d->control, &c->control, &msg);
    if (rc) {
        swap(d->config, c->config);
        control_port_restore(&d->control);
        *errors = one_line(d, msg.text);
        return rc;
    }
    gossip_policy(d->config, &d->policy);
    plane_apply(d->plane, c->plane);
    c->plane = NULL;
    if (d->gossip)
        gossip_apply(d->gossip, &c->gossip);
    follow_replace(&d->follow, c->roster);
    c->roster = NULL;
    apply_limits(d);
    d->is_census_due = true;
    return 0;
}

/* ---- telling ---- */

static void note(struct daemon *d, bool was_successful)
{
    struct control_source *s = &d->control.source;
    s->last_reload_unix_ns = clock_now_unix_ns();
    s->is_last_reload_ok = was_successful;
    s->reloads++;
    s->reload_failures += !was_successful;
    d->metrics.reload.was_successful = was_successful;
    d->metrics.reload.unix_ns = s->last_reload_unix_ns;
}

/* One line, with the first complaint and how many there are. */
static void log_failure(const char *errors)
{
    char count[24], first[512];
    size_t n = 0, len = errors ? strcspn(errors, "\n") : 0;
    for (const char *at = errors; at && *at; at++)
        n += *at == '\n';
    snprintf(count, sizeof(count), "%zu", n);
    snprintf(first, sizeof(first), "%.*s", (int)(len < 511 ? len : 511),
             errors ? errors : "out of memory");
    log_event(LOG_ERROR, "reload_failed", "reason", first, "complaints", count,
              "effect", "all stays as it was", NULL);
}

static void log_done(const struct daemon *d, const char *parts)
{
    daemon_log_warnings(d->config->warnings);
    log_event(LOG_INFO, "reloaded", "changed", parts, NULL);
}

int daemon_reload(void *arg, char **errors, char **changed)
{
    struct daemon *d = arg;
    struct reload c = {0};
    char parts[RELOAD_PARTS_SIZE];
    *errors = *changed = NULL;
    int rc = 0;
    if (!d->stop_ns)
        (void)notify_reloading(clock_now_ns());
    if (d->stop_ns) {
        *errors = one_line(d, "this node is draining");
        rc = ERR_CLOSED;
    }
    if (!rc)
        rc = prepare(d, &c, errors);
    if (!rc)
        rc = apply(d, &c, errors);
    reload_parts_text(c.parts, parts);
    if (rc)
        log_failure(*errors);
    else
        log_done(d, parts);
    note(d, rc == 0);
    /* Refused or not: it is over, and the node goes on. */
    if (!d->stop_ns)
        (void)notify_send(rc ? "READY=1\nSTATUS=measuring; the last reload was "
                               "refused"
                             : "READY=1\nSTATUS=measuring");
    if (!rc) { /* handed over */
        *changed = c.changed;
        c.changed = NULL;
    }
    drop(&c); /* what is left, or what was before */
    return rc;
}
