/* test/mesh_uv_node.c - the mesh with real sockets and nothing else around it.
 *
 * usage: mesh_uv_node -n NAME [-l ADDRESS:PORT] [-a ADDRESS[:PORT]] [-k KEY]...
 *                     [-L LABEL] [-c] [SEED...]
 *
 * Writes a line for each event and message. Commands come in on stdin, one a
 * line: `members`, `stats`, `send NAME TEXT`, `stream NAME BYTES`, `meta ZONE`,
 * `leave`. End of input, SIGTERM or a leave that is done end it, with
 * everything freed, so that leak checkers have a say. -c accepts packets in the
 * clear.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "mesh/facts.h"
#include "mesh/mesh_uv.h"
#include "proto/outcome.h"
#include "proto/serf_msg.h"

#define NS_PER_MS 1000000u
#define LINE_MAX_ 4096

struct node {
    uv_loop_t loop;
    uv_signal_t term;
    uv_pipe_t in;
    uv_timer_t left;
    struct mesh_uv *uv;
    bool is_ending;
    size_t len;
    char line[LINE_MAX_];
};

static void on_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void end(struct node *n)
{
    if (n->is_ending)
        return;
    n->is_ending = true;
    mesh_uv_close(n->uv);
    uv_close((uv_handle_t *)&n->term, on_closed);
    uv_close((uv_handle_t *)&n->in, on_closed);
    uv_close((uv_handle_t *)&n->left, on_closed);
}

/* ---- what comes out ---- */

static void print_name(const struct mesh *m, uint32_t id)
{
    const struct member *who =
        id == UINT32_MAX ? NULL : members_peek(mesh_members(m), id);
    printf(" %.*s", who ? who->name_len : 1, who ? who->name : "-");
}

static void on_effect(void *arg, const struct mesh_effect *e)
{
    struct node *n = arg;
    const struct mesh *m = mesh_uv_mesh(n->uv);
    char text[ADDR_TEXT_SIZE];
    if (e->kind == MESH_EVENT) {
        printf("event %s", mesh_event_name(e->event));
        print_name(m, e->id);
        if (e->event == MESH_CONFLICT)
            printf(" %s", addr_format(&e->to, text));
    } else {
        printf("user %zu", e->data.len);
        print_name(m, e->id);
        printf(" %s", addr_format(&e->from, text));
        if (e->data.len && e->data.len < 100)
            printf(" %.*s", (int)e->data.len - 1, e->data.data + 1);
    }
    putchar('\n');
}

static void print_members(const struct node *n)
{
    static const char *const states[] = {"alive", "suspect", "dead", "left"};
    const struct members *ms = mesh_members(mesh_uv_mesh(n->uv));
    char text[ADDR_TEXT_SIZE];
    for (uint32_t i = 0; i < members_size(ms); i++) {
        const struct member *who = members_peek(ms, i);
        if (who && who->name_len)
            printf("member %.*s %s %s %" PRIu32 "\n", who->name_len, who->name,
                   states[who->state], addr_format(&who->addr, text),
                   who->incarnation);
    }
    puts("members end");
}

static void print_stats(const struct node *n)
{
    struct mesh_stats m;
    struct mesh_uv_stats u;
    mesh_stats(mesh_uv_mesh(n->uv), &m);
    mesh_uv_stats(n->uv, &u);
    printf("stats packets_in=%" PRIu64 " packets_out=%" PRIu64
           " streams_in=%" PRIu64 " streams_out=%" PRIu64 " pings=%" PRIu64
           " ping_failures=%" PRIu64 " push_pulls=%" PRIu64
           " push_pull_failures=%" PRIu64 " effects_dropped=%" PRIu64
           " streams=%zu health=%u receive_errors=%" PRIu64
           " send_errors=%" PRIu64 " send_dropped=%" PRIu64
           " accept_refused=%" PRIu64 " accept_errors=%" PRIu64
           " streams_cut=%" PRIu64 " lingering=%zu queued=%zu drops=",
           m.packets_in, m.packets_out, m.streams_in, m.streams_out, m.pings,
           m.ping_failures, m.push_pulls, m.push_pull_failures,
           m.effects_dropped, m.streams, m.health, u.receive_errors,
           u.send_errors, u.send_dropped, u.accept_refused, u.accept_errors,
           u.streams_cut, u.lingering, u.queued_bytes);
    for (int i = 1; i < ML_DROP_N; i++)
        printf("%s%" PRIu64, i > 1 ? "," : "", m.drops[i]);
    putchar('\n');
}

/* ---- what goes in ---- */

/* Facts of ours, so that others take messages of ours; `zone` tells versions
 * of them apart. */
static struct span make_meta(const char *zone, uint8_t meta[ML_META_MAX])
{
    struct facts f = {.version = "0",
                      .port = 7443,
                      .tls = FACTS_TLS_OFF,
                      .protocols = 1u << PROTOCOL_HTTP1};
    snprintf(f.zone, sizeof(f.zone), "%s", zone);
    snprintf(f.region, sizeof(f.region), "r");
    int len = facts_encode(&f, meta);
    return span_of(meta, len > 0 ? (size_t)len : 0);
}

static void on_left(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (mesh_has_left(mesh_uv_mesh(n->uv))) {
        puts("left");
        end(n);
    }
}

static void leave(struct node *n)
{
    mesh_leave(mesh_uv_mesh(n->uv), uv_hrtime());
    mesh_uv_kick(n->uv);
    uv_timer_start(&n->left, on_left, 10, 10);
}

static void send_to(struct node *n, const char *name, const uint8_t *data,
                    size_t len, bool by_stream)
{
    struct mesh *m = mesh_uv_mesh(n->uv);
    uint32_t id = members_find(mesh_members(m), span_of_text(name));
    int err = mesh_send(m, uv_hrtime(), id, span_of(data, len), by_stream);
    printf("sent %s\n", err_name(err));
    mesh_uv_kick(n->uv);
}

static void command(struct node *n, char *line)
{
    char *rest = line;
    const char *verb = strsep(&rest, " ");
    if (!strcmp(verb, "members")) {
        print_members(n);
    } else if (!strcmp(verb, "stats")) {
        print_stats(n);
    } else if (!strcmp(verb, "leave")) {
        leave(n);
    } else if (!strcmp(verb, "meta") && rest) {
        uint8_t meta[ML_META_MAX];
        int err = mesh_set_meta(mesh_uv_mesh(n->uv), uv_hrtime(),
                                make_meta(rest, meta));
        printf("meta %s\n", err_name(err));
        mesh_uv_kick(n->uv);
    } else if ((!strcmp(verb, "send") || !strcmp(verb, "stream")) && rest) {
        const char *name = strsep(&rest, " ");
        size_t len = !rest            ? 0
                     : verb[1] == 't' ? strtoul(rest, NULL, 10)
                                      : strlen(rest);
        uint8_t *data = calloc(1, len + 1);
        if (!data)
            return;
        data[0] = SERF_TYPE_OURS;
        if (verb[1] == 'e' && rest)
            memcpy(data + 1, rest, len);
        send_to(n, name, data, len + 1, verb[1] == 't');
        free(data);
    } else {
        printf("what is %s?\n", verb);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct node *n = handle->data;
    (void)suggested;
    *buf = uv_buf_init(n->line + n->len, (unsigned)(sizeof(n->line) - n->len));
}

static void on_input(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct node *n = stream->data;
    char *newline;
    (void)buf;
    if (got < 0) {
        end(n);
        return;
    }
    n->len += (size_t)got;
    while (!n->is_ending && (newline = memchr(n->line, '\n', n->len))) {
        *newline = '\0';
        command(n, n->line);
        size_t used = (size_t)(newline + 1 - n->line);
        memmove(n->line, newline + 1, n->len - used);
        n->len -= used;
    }
}

static void on_term(uv_signal_t *signal, int number)
{
    (void)number;
    end(signal->data);
}

/* ---- life ---- */

static int fail(const char *what)
{
    fprintf(stderr, "mesh_uv_node: %s\n", what);
    return 2;
}

static int parse(struct mesh_uv_config *c, struct ml_key *keys, int argc,
                 char **argv)
{
    addr_parse(&c->listen, "[::]:7946");
    for (int o; (o = getopt(argc, argv, "n:l:a:k:L:c")) != -1;) {
        if (o == 'n')
            c->mesh.name = optarg;
        else if (o == 'L')
            c->mesh.label = optarg;
        else if (o == 'c')
            c->mesh.accepts_clear = true;
        else if (o == 'l' && addr_parse(&c->listen, optarg))
            return fail("-l ADDRESS:PORT");
        else if (o == 'a' && addr_parse(&c->mesh.advertise, optarg) &&
                 addr_parse_ip(&c->mesh.advertise, optarg))
            return fail("-a ADDRESS[:PORT]");
        else if (o == 'k' && (c->mesh.n_keys == ML_KEYRING_MAX ||
                              ml_key_parse(&keys[c->mesh.n_keys++], optarg)))
            return fail("-k KEY");
        else if (o == '?')
            return 2;
    }
    return c->mesh.name ? 0 : fail("-n NAME");
}

int main(int argc, char **argv)
{
    static char seeds[MESH_SEEDS_MAX][MESH_SEED_SIZE];
    static struct node n;
    struct ml_key keys[ML_KEYRING_MAX];
    uint8_t meta[ML_META_MAX];
    struct errmsg msg;
    struct mesh_uv_config c = {
        .loop = &n.loop,
        .mesh = {.meta = make_meta("z", meta),
                 .label = "",
                 .keys = keys,
                 .seeds = (const char(*)[MESH_SEED_SIZE])seeds,
                 .timing = mesh_timing_lan,
                 .limits = mesh_limits_default,
                 .policy = {.allows_loopback = true}},
        .on_effect = on_effect,
        .arg = &n,
    };
    if (parse(&c, keys, argc, argv))
        return 2;
    for (; optind < argc && c.mesh.n_seeds < MESH_SEEDS_MAX; optind++)
        snprintf(seeds[c.mesh.n_seeds++], MESH_SEED_SIZE, "%s", argv[optind]);

    setvbuf(stdout, NULL, _IOLBF, 0);
    uv_loop_init(&n.loop);
    n.uv = mesh_uv_open(&c, &msg);
    if (!n.uv) {
        uv_run(&n.loop, UV_RUN_DEFAULT);
        uv_loop_close(&n.loop);
        return fail(msg.text);
    }
    char text[ADDR_TEXT_SIZE];
    struct addr own;
    mesh_uv_address(n.uv, &own);
    printf("ready %s\n", addr_format(&own, text));

    uv_signal_init(&n.loop, &n.term);
    uv_pipe_init(&n.loop, &n.in, 0);
    uv_timer_init(&n.loop, &n.left);
    n.term.data = n.in.data = n.left.data = &n;
    uv_signal_start(&n.term, on_term, SIGTERM);
    if (!uv_pipe_open(&n.in, STDIN_FILENO))
        uv_read_start((uv_stream_t *)&n.in, on_alloc, on_input);
    uv_run(&n.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&n.loop) ? fail("something is still open") : 0;
}
