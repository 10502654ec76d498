/* The control port from accept to the last byte, over each of its ways, while
 * memory and system calls fail. Whatever happens: nothing is dialled that was
 * not written down, and the port that is opened next serves as if nothing had
 * happened. */
#include <stdio.h>
#include <string.h>

#include "test/torture/control_world.h"
#include "test/torture/faults.h"
#include "test/torture/torture.h"

#define HEAD    "POST /v1/probes HTTP/1.1\r\nHost: localhost\r\n"
#define JSON    "Content-Type: application/json\r\n"
#define SUMMARY "{\"summary\":"

static unsigned count_of(const char *text, const char *piece)
{
    unsigned n = 0;
    for (; (text = strstr(text, piece)); text += strlen(piece))
        n++;
    return n;
}

/* `count` attempts; are all of them there, and good? */
static bool probe(struct cw *w, const char *mode, unsigned count)
{
    static char answer[65536];
    char request[1024], body[256];
    int n = snprintf(body, sizeof(body),
                     "{\"target\":\"t\",\"mode\":\"%s\",\"count\":%u,"
                     "\"interval_ms\":10,\"timeout_ms\":9000}",
                     mode, count);
    snprintf(request, sizeof(request),
             HEAD JSON "Authorization: Bearer " CW_TOKEN
                       "\r\nContent-Length: %d\r\n\r\n%s",
             n, body);
    /* However it is framed, the summary is its last line. */
    return cw_ask(w, request, "}}}}\n", answer, sizeof(answer)) &&
           strstr(answer, SUMMARY) &&
           strncmp(answer, "HTTP/1.1 200 ", 13) == 0 &&
           count_of(answer, "\"outcome\":\"ok\"") == count;
}

static bool run(enum cw_listen listen, const char *mode, unsigned count)
{
    struct cw w;
    cw_init(&w, listen);
    bool is_fine = cw_open(&w) == 0 && probe(&w, mode, count);
    cw_fini(&w);
    return is_fine;
}

static bool cold_on_a_unix_socket(void)
{
    return run(CW_UNIX, "cold", 2);
}

static bool warm_on_a_unix_socket(void)
{
    return run(CW_UNIX, "warm", 3);
}

static bool with_tls_and_a_token(void)
{
    return run(CW_TLS, "cold", 1);
}

static bool by_grpc(void)
{
    struct cw w;
    unsigned n = 0;
    cw_init(&w, CW_UNIX);
    bool is_fine = cw_open(&w) == 0 && cw_call(&w, "t", 2, &n) == 0 && n == 3;
    cw_fini(&w);
    return is_fine;
}

/* Who may not is not let in, and what is denied not dialled, by a failure. */
static bool refusals(void)
{
    static char answer[65536];
    struct cw w;
    cw_init(&w, CW_TLS);
    bool is_fine = cw_open(&w) == 0;
    if (is_fine) {
        is_fine &= cw_ask(&w,
                          HEAD JSON "Content-Length: 14\r\n\r\n"
                                    "{\"target\":\"t\"}",
                          "}}", answer, sizeof(answer)) &&
                   strstr(answer, " 401 ");
        claim(!strstr(answer, " 200 "));
        is_fine &= cw_ask(&w,
                          HEAD JSON "Authorization: Bearer " CW_TOKEN
                                    "\r\nContent-Length: 36\r\n\r\n"
                                    "{\"target\":\"http://169.254.169.254/\"}",
                          "}}", answer, sizeof(answer)) &&
                   strstr(answer, " 403 ");
        claim(!strstr(answer, "\"outcome\""));
    }
    claim(w.n_accepted == 0);
    cw_fini(&w);
    return is_fine;
}

/* As the daemon does it: all that borrows the configuration keeps its place,
 * and the content changes. */
static int apply(struct cw *w, struct config *to, struct control_change *change,
                 struct errmsg *msg)
{
    struct roster *roster = cw_roster(to);
    struct config was = *w->config;
    *w->config = *to;
    *to = was;
    int rc = control_port_apply(&w->port, change, msg);
    if (!rc) {
        roster_replace(w->roster, roster);
        return 0;
    }
    *to = *w->config;
    *w->config = was;
    control_port_restore(&w->port);
    roster_close(roster);
    return rc;
}

/* Only the reload is disturbed. What served before serves after it, with the
 * old configuration or the new one. */
static bool reload(void)
{
    struct cw w;
    struct control_change change = {0};
    struct errmsg msg = {""};
    cw_init(&w, CW_UNIX);
    faults_pause();
    claim(cw_open(&w) == 0);
    struct config *to = cw_config(&w, "log: {level: debug}\n");
    faults_resume();
    int rc = control_port_prepare(&w.port, to, &change, &msg);
    if (!rc)
        rc = apply(&w, to, &change, &msg);
    claim(rc == 0 || msg.text[0]);
    control_change_drop(&change);
    faults_pause();
    config_free(to);
    w.is_spared = true;
    claim(probe(&w, "cold", 1));
    faults_resume();
    cw_fini(&w);
    return rc == 0;
}

int main(void)
{
    static const struct torture_scenario all[] = {
        {"a_cold_probe_over_a_unix_socket", cold_on_a_unix_socket, 40, true},
        {"warm_probes_over_a_unix_socket", warm_on_a_unix_socket, 20, true},
        {"a_probe_over_tls_with_a_token", with_tls_and_a_token, 25, true},
        {"a_probe_by_grpc", by_grpc, 30, true},
        {"nobody_is_served_for_a_failure", refusals, 10, true},
        {"a_reload_leaves_a_port_that_serves", reload, 40, true},
    };
    return torture_main(all, sizeof(all) / sizeof(all[0]));
}
