#include "prober/control.h"

#include <stdlib.h>
#include <string.h>

#include "prober/control_private.h"

#define LINES_MAX 65536
#define TEXT_MAX  1024

static int text_body(void *state, struct wr *w)
{
    wr_text(w, state);
    return wr_err(w);
}

void control_answer(struct httpd_answer *answer, unsigned status, struct wr *w)
{
    wr_bytes(w, "\n", 2); /* with the NUL: it is kept as text */
    if (wr_err(w)) {
        wr_fini(w);
        httpd_error(answer, 500, "no_memory", "out of memory");
        return;
    }
    *answer = (struct httpd_answer){
        .status = status,
        .content_type = "application/json",
        .body = text_body,
        .done = free,
        .state = w->data, /* moved out of the writer */
    };
}

/* What an administrator does is told as well. That it cannot be is no reason
 * to refuse it: it may be what mends the log. */
static void audit_action(struct control_source *s, const char *event,
                         const struct httpd_request *request,
                         const struct principal *who, const char *detail)
{
    char peer[CONTROL_PEER_SIZE];
    const struct audit_field fields[] = {
        {"principal", who->name, 0},
        {"role", role_name(who->role), 0},
        {"peer", control_peer(request->peer, peer), 0},
        {detail ? "id" : NULL, detail, 0},
        {NULL, NULL, 0},
    };
    (void)inquiries_audit(s->inquiries, event, fields);
}

/* ---- reload, drain, cancel ---- */

/* An array of the lines; NULL: empty. */
static void write_lines(struct json *j, const char *key, const char *lines)
{
    json_key(j, key);
    json_array_begin(j);
    while (lines && *lines) {
        size_t len = strcspn(lines, "\n");
        if (len > 0)
            json_text_n(j, lines, len);
        lines += len + (lines[len] != '\0');
    }
    json_array_end(j);
}

static void answer_complaints(struct httpd_answer *answer, const char *errors)
{
    struct wr w;
    struct json j;
    wr_init_grow(&w, LINES_MAX);
    json_init(&j, &w);
    json_object_begin(&j);
    json_key(&j, "error");
    json_object_begin(&j);
    json_key_text(&j, "code", "bad_configuration");
    json_key(&j, "message");
    json_text_n(&j, errors, strcspn(errors, "\n"));
    write_lines(&j, "complaints", errors);
    json_object_end(&j);
    json_object_end(&j);
    control_answer(answer, 422, &w);
}

static void answer_reloaded(struct httpd_answer *answer, const char *changed)
{
    struct wr w;
    struct json j;
    wr_init_grow(&w, LINES_MAX);
    json_init(&j, &w);
    json_object_begin(&j);
    json_key_bool(&j, "reloaded", true);
    write_lines(&j, "changed", changed);
    json_object_end(&j);
    control_answer(answer, 200, &w);
}

static void answer_done(struct httpd_answer *answer, unsigned status,
                        const char *key, const char *id)
{
    struct wr w;
    struct json j;
    wr_init_grow(&w, TEXT_MAX);
    json_init(&j, &w);
    json_object_begin(&j);
    json_key_bool(&j, key, true);
    if (id)
        json_key_text(&j, "id", id);
    json_object_end(&j);
    control_answer(answer, status, &w);
}

static void do_reload(struct control_source *s,
                      const struct httpd_request *request,
                      const struct principal *who, struct httpd_answer *answer)
{
    char *errors = NULL, *changed = NULL;
    audit_action(s, "reload", request, who, NULL);
    int rc = s->reload(s->arg, &errors, &changed);
    if (rc == ERR_BUSY)
        httpd_error(answer, 409, "busy", "a reload is under way");
    else if (rc == ERR_CLOSED) /* it complains too, but not of the file */
        httpd_error(answer, 503, "draining", "this node is stopping");
    else if (rc && errors)
        answer_complaints(answer, errors);
    else if (rc)
        httpd_error(answer, 500, "reload_failed",
                    "the configuration could not be applied: %s", err_name(rc));
    else
        answer_reloaded(answer, changed);
    free(errors);
    free(changed);
}

static void do_drain(struct control_source *s,
                     const struct httpd_request *request,
                     const struct principal *who, struct httpd_answer *answer)
{
    audit_action(s, "drain", request, who, NULL);
    s->drain(s->arg);
    answer_done(answer, 202, "draining", NULL);
}

static void do_cancel(struct control_source *s,
                      const struct httpd_request *request,
                      const struct principal *who, struct httpd_answer *answer)
{
    const char *id = request->segments[2];
    bool is_news = false;
    enum inquiry_refusal r = inquiries_cancel(s->inquiries, id, who, &is_news);
    if (r) {
        char peer[CONTROL_PEER_SIZE];
        inquiries_turn_away(s->inquiries, inquiry_refusal_code(r),
                            control_peer(request->peer, peer), who->name);
        httpd_error(answer, inquiry_refusal_status(r), inquiry_refusal_code(r),
                    "%s", inquiry_refusal_text(r));
        return;
    }
    /* Once: no rate applies to this, and a log must not grow at will. */
    if (is_news)
        audit_action(s, "cancel", request, who, id);
    answer_done(answer, 200, "cancelled", id);
}

static void do_status(struct control_source *s,
                      const struct httpd_request *request,
                      const struct principal *who, struct httpd_answer *answer)
{
    (void)request;
    (void)who;
    control_status(s, answer);
}

static void do_api(struct control_source *s,
                   const struct httpd_request *request,
                   const struct principal *who, struct httpd_answer *answer)
{
    (void)who;
    api_handle(s->api, request, answer);
}

/* ---- routing ---- */

#define BIT(method) (1u << (method))
#define READS       (BIT(HTTPD_GET) | BIT(HTTPD_HEAD))

struct route {
    const char *path; /* ending in a slash: and what is below it */
    unsigned methods;
    const char *allow; /* as a header line */
    enum control_action action;
    void (*handle)(struct control_source *s,
                   const struct httpd_request *request,
                   const struct principal *who, struct httpd_answer *answer);
};

static const struct route routes[] = {
    {"/v1/probes", BIT(HTTPD_POST), "Allow: POST\r\n", ACTION_PROBE_KNOWN,
     control_probe},
    {"/v1/probes/", BIT(HTTPD_DELETE), "Allow: DELETE\r\n", ACTION_CANCEL_OWN,
     do_cancel},
    {"/v1/reload", BIT(HTTPD_POST), "Allow: POST\r\n", ACTION_RELOAD,
     do_reload},
    {"/v1/drain", BIT(HTTPD_POST), "Allow: POST\r\n", ACTION_DRAIN, do_drain},
    {"/v1/status", READS, "Allow: GET, HEAD\r\n", ACTION_READ, do_status},
    {"/api/v1/", READS, "Allow: GET, HEAD\r\n", ACTION_READ, do_api},
    {"/metrics", READS, "Allow: GET, HEAD\r\n", ACTION_READ, do_api},
};

static bool is_at(const struct route *route, const struct httpd_request *r)
{
    size_t len = strlen(route->path);
    if (route->path[len - 1] != '/')
        return strcmp(r->path, route->path) == 0;
    /* Three segments: what is below has to be there, and nothing below it.
     * The API looks at its paths itself. */
    return strncmp(r->path, route->path, len) == 0 && r->path[len] &&
           (route->handle == do_api || r->n_segments == 3);
}

static const struct route *find_route(const struct httpd_request *r)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (is_at(&routes[i], r))
            return &routes[i];
    }
    return NULL;
}

static void refuse_method(struct httpd_answer *answer, const char *allow)
{
    httpd_error(answer, 405, "method_not_allowed",
                "this cannot be done with this method");
    answer->extra = allow;
}

/* For supervisors, who have no credentials; says nothing but that the loop
 * runs. */
static void healthy(const struct httpd_request *request,
                    struct httpd_answer *answer)
{
    if (!(READS & BIT(request->method))) {
        refuse_method(answer, "Allow: GET, HEAD\r\n");
        return;
    }
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "text/plain; charset=utf-8",
        .text = "ok\n",
    };
}

void control_handle(void *arg, const struct httpd_request *request,
                    struct httpd_answer *answer)
{
    struct control_source *s = arg;
    struct principal who;
    if (strcmp(request->path, "/-/healthy") == 0) {
        healthy(request, answer);
        return;
    }
    const struct route *route = find_route(request);
    bool is_allowed = route && (route->methods & BIT(request->method));
    /* What is there, and how it is asked for, is told to whom we know. */
    enum control_action action = is_allowed ? route->action : ACTION_READ;
    if (!control_let_in(s, request, action, &who, answer))
        return;
    if (!route)
        httpd_error(answer, 404, "not_found", "there is no %.200s here",
                    request->path);
    else if (!is_allowed)
        refuse_method(answer, route->allow);
    else
        route->handle(s, request, &who, answer);
}
