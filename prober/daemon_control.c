#include "prober/daemon_control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/clock.h"
#include "prober/control_grpc.h"
#include "prober/log.h"
#include "prober/target_policy_config.h"

#define NS_PER_S UINT64_C(1000000000)
/* Addresses of this host come and go. */
#define POLICY_NS (60 * NS_PER_S)

#define UNIX_PREFIX "unix:"

static uint64_t unix_s(void)
{
    return clock_now_unix_ns() / NS_PER_S;
}

static const char *path_or_null(const char *path)
{
    return path[0] ? path : NULL;
}

/* ---- the target policy ---- */

static int fill_policy(const struct control_port *c,
                       const struct config *config, struct target_policy *p,
                       struct errmsg *msg)
{
    const struct addr own[] = {c->listen, c->given.gossip_listen,
                               c->given.api_listen};
    return target_policy_fill(p, config, own, sizeof(own) / sizeof(own[0]),
                              msg);
}

/* Those in force stay if the new ones cannot be read. */
static void read_addresses(struct target_policy *p)
{
    int rc = target_policy_read_local(p);
    if (rc)
        log_event(LOG_WARN, "local_addresses", "reason", err_name(rc), "effect",
                  rc == ERR_TOOBIG ? "some are not known" : "as before", NULL);
}

/* ---- listening ---- */

static bool is_unix(const struct config *c)
{
    return !strncmp(c->control.listen, UNIX_PREFIX, strlen(UNIX_PREFIX));
}

static bool is_off(const struct config *c)
{
    return !strcmp(c->control.listen, "off");
}

static struct tls_context *open_tls(const struct config *c, struct errmsg *msg)
{
    struct tls_server_config server = {
        .cert_file = path_or_null(c->tls.certificate),
        .key_file = path_or_null(c->tls.key),
        .name = c->node.name,
        .now_unix_s = unix_s(),
        .client_ca_file = path_or_null(c->control.client_ca),
        .unix_s = unix_s,
        .prefers_http1 = true, /* curl speaks both, but wants the JSON */
    };
    return tls_server_context(&server, msg);
}

/* TLS wherever it listens on TCP, but where the file asks for less. */
static bool needs_tls(const struct config *c)
{
    return !is_unix(c) && !is_off(c) && !c->control.is_insecure;
}

static int open_server(struct control_port *c, struct errmsg *msg)
{
    struct httpd_limits limits = httpd_limits_default;
    struct addr listen;
    struct httpd_config server = {
        .listen_fd = -1,
        .limits = &limits,
        .http2 = &control_grpc_ops,
        .tls = c->tls,
        .handler = control_handle,
        .arg = &c->source,
    };
    limits.methods = 1u << HTTPD_POST | 1u << HTTPD_DELETE;
    if (c->has_socket) {
        server.listen_fd = c->socket.fd; /* taken over */
        c->socket.fd = -1;
    } else {
        if (addr_parse(&listen, c->given.config->control.listen)) {
            errmsg_set(msg, "control.listen: not an address");
            return ERR_BAD;
        }
        server.listen = &listen;
    }
    c->httpd = httpd_open(c->given.loop, &server, &c->listen, msg);
    return c->httpd ? 0 : ERR_SYS;
}

static int listen_there(struct control_port *c, struct errmsg *msg)
{
    const struct config *config = c->given.config;
    if (needs_tls(config)) {
        c->tls = open_tls(config, msg);
        if (!c->tls)
            return ERR_BAD;
    }
    if (is_unix(config)) {
        const char *path = config->control.listen + strlen(UNIX_PREFIX);
        int rc = control_socket_open(
            &c->socket, path, config->control.is_insecure,
            config->control.socket_mode, config->control.socket_group, msg);
        if (rc)
            return rc;
        c->has_socket = true;
    }
    return open_server(c, msg);
}

static int open_listener(struct control_port *c, struct errmsg *msg)
{
    const struct config *config = c->given.config;
    if (is_off(config))
        return 0;
    int rc = listen_there(c, msg);
    if (rc && !config->control.is_set) {
        log_event(
            LOG_WARN, "control_unavailable", "reason", msg->text, "effect",
            "there is no control port; control.listen: off says so", NULL);
        return 0;
    }
    if (rc)
        errmsg_wrap(msg, "control");
    else
        log_event(LOG_INFO, "control", "listen", config->control.listen, "tls",
                  c->tls ? "yes" : "no", NULL);
    return rc;
}

/* ---- opening ---- */

static void set_hosts(struct control_port *c)
{
    const struct config *config = c->given.config;
    for (size_t i = 0; i < config->control.n_hosts; i++)
        c->hosts[i] = config->control.hosts[i];
    c->source.hosts = c->hosts;
    c->source.n_hosts = config->control.n_hosts;
}

static int open_people(struct control_port *c, struct errmsg *msg)
{
    struct people_lists people = {0};
    int rc = people_load(&people, c->given.config, msg);
    if (rc)
        return rc;
    c->principals = principals_open(&people.config);
    people_fini(&people);
    if (!c->principals)
        errmsg_set(msg, "out of memory");
    return c->principals ? 0 : ERR_NOMEM;
}

static int open_oneoffs(struct control_port *c, struct errmsg *msg)
{
    struct oneoffs_config oneoffs = {
        .loop = c->given.loop,
        .config = c->given.config,
        .roster = c->given.roster,
        .policy = &c->policy,
        .audit = c->audit,
    };
    c->oneoffs = oneoffs_open(&oneoffs, msg);
    if (!c->oneoffs)
        return ERR_SYS;
    struct inquiries_config inquiries = {
        .loop = c->given.loop,
        .config = c->given.config,
        .principals = c->principals,
        .audit = c->audit,
        .oneoffs = c->oneoffs,
        .gossip = c->given.gossip,
        .history = c->given.history,
    };
    c->inquiries = inquiries_open(&inquiries, msg);
    return c->inquiries ? 0 : ERR_SYS;
}

static void fill_source(struct control_port *c)
{
    c->source.inquiries = c->inquiries;
    c->source.principals = c->principals;
    c->source.audit = c->audit;
    c->source.api = c->given.api;
    c->source.reload = c->given.reload;
    c->source.drain = c->given.drain;
    c->source.arg = c->given.arg;
    c->source.now_ns = clock_now_ns;
    c->source.last_reload_unix_ns = 0;
    c->source.is_last_reload_ok = true;
    set_hosts(c);
}

int control_port_open(struct control_port *c,
                      const struct control_port_config *given,
                      struct errmsg *msg)
{
    c->given = *given;
    c->audit = audit_open(given->config->control.audit_file, msg);
    if (!c->audit)
        return ERR_SYS;
    int rc = open_people(c, msg);
    if (!rc)
        rc = open_oneoffs(c, msg);
    if (rc)
        return rc;
    fill_source(c);
    rc = open_listener(c, msg);
    if (!rc) /* with the address that the listener has got */
        rc = fill_policy(c, given->config, &c->policy, msg);
    if (rc)
        return rc;
    read_addresses(&c->policy);
    c->policy_ns = clock_now_ns();
    return 0;
}

void control_port_close(struct control_port *c)
{
    if (c->has_socket)
        control_socket_remove(&c->socket);
    c->has_socket = false;
    httpd_close(c->httpd); /* what is being answered is told to stop */
    c->httpd = NULL;
    if (c->inquiries)
        inquiries_close(c->inquiries);
    c->inquiries = NULL;
    oneoffs_close(c->oneoffs);
    c->oneoffs = NULL;
}

void control_port_fini(struct control_port *c)
{
    tls_context_close(c->tls);
    principals_close(c->principals);
    audit_close(c->audit);
}

/* ---- running ---- */

void control_port_drain(struct control_port *c)
{
    if (c->inquiries)
        inquiries_drain(c->inquiries);
}

void control_port_stop(struct control_port *c)
{
    if (c->inquiries)
        inquiries_stop(c->inquiries);
}

void control_port_tick(struct control_port *c, uint64_t now_ns)
{
    if (!c->inquiries)
        return;
    audit_check(c->audit);
    if (now_ns - c->policy_ns < POLICY_NS)
        return;
    c->policy_ns = now_ns;
    read_addresses(&c->policy);
}

bool control_port_message(struct control_port *c, const struct addr *from,
                          struct span message)
{
    return c->inquiries && inquiries_message(c->inquiries, from, message);
}

void control_port_metrics(const struct control_port *c,
                          struct metrics_control *out)
{
    struct inquiries_stats stats;
    struct remote_stats remote;
    *out = (struct metrics_control){0};
    if (!c->inquiries)
        return;
    inquiries_stats(c->inquiries, &stats);
    out->is_on = true;
    out->requests = stats.started;
    out->cancelled = stats.cancelled;
    out->slow = stats.slow;
    out->open = stats.open;
    out->attempts = stats.attempts;
    out->denied = stats.denied;
    out->in_flight = stats.in_flight;
    out->audit_failures = audit_failures(c->audit);
    if (inquiries_remote_stats(c->inquiries, &remote)) {
        out->remote_asks = remote.asks;
        out->remote_unreachable = remote.unreachable;
        out->remote_runs = remote.runs;
        out->remote_runs_refused = remote.runs_refused;
    }
    out->n_refused = stats.n_codes < METRICS_REFUSED_MAX ? stats.n_codes
                                                         : METRICS_REFUSED_MAX;
    for (size_t i = 0; i < out->n_refused; i++) {
        out->refused[i].code = stats.codes[i].code;
        out->refused[i].count = stats.codes[i].count;
    }
}

/* ---- another configuration ---- */

int control_port_prepare(struct control_port *c, const struct config *to,
                         struct control_change *change, struct errmsg *msg)
{
    int rc = people_load(&change->people, to, msg);
    if (rc)
        return rc;
    change->has_people = true;
    change->policy = calloc(1, sizeof(*change->policy));
    if (!change->policy) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    rc = fill_policy(c, to, change->policy, msg);
    if (rc)
        return rc;
    target_policy_take_local(change->policy, &c->policy);
    if (!c->tls)
        return 0;
    change->tls = open_tls(to, msg);
    return change->tls ? 0 : ERR_BAD;
}

void control_change_drop(struct control_change *change)
{
    if (change->has_people)
        people_fini(&change->people);
    free(change->policy);
    tls_context_close(change->tls);
    *change = (struct control_change){0};
}

int control_port_apply(struct control_port *c, struct control_change *change,
                       struct errmsg *msg)
{
    const struct config *config = c->given.config;
    /* The file is opened anew in any case: it may have been moved away. */
    int rc = audit_reopen(c->audit, config->control.audit_file, msg);
    if (!rc)
        rc = oneoffs_reload(c->oneoffs, config, c->given.roster, msg);
    if (rc)
        return rc;
    rc = principals_reload(c->principals, &change->people.config);
    if (rc) {
        errmsg_set(msg, "out of memory");
        return rc;
    }
    inquiries_set_config(c->inquiries, config);
    set_hosts(c);
    c->policy = *change->policy;
    if (change->tls) {
        struct tls_context *old = c->tls;
        c->tls = change->tls;
        change->tls = old;
        httpd_set_tls(c->httpd, c->tls);
    }
    control_change_drop(change);
    return 0;
}

void control_port_restore(struct control_port *c)
{
    struct errmsg msg = {{0}};
    if (audit_reopen(c->audit, c->given.config->control.audit_file, &msg) ||
        oneoffs_reload(c->oneoffs, c->given.config, c->given.roster, &msg))
        log_event(LOG_ERROR, "reload_restore", "reason", msg.text, NULL);
}
