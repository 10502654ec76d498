#include "prober/config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/config_bind.h"
#include "prober/config_control.h"
#include "prober/config_keys.h"
#include "prober/config_place.h"
#include "prober/config_value.h"
#include "prober/config_yaml.h"
#include "prober/file.h"
#include "proto/base/buf.h"
#include "proto/outcome.h"

#define WARNINGS_MAX   65536
#define PROTOCOLS_BOTH (1u << PROTOCOL_HTTP1 | 1u << PROTOCOL_GRPC)

/* What is known of a list entry while it is checked against the others. */
struct entry {
    const char *name;
    const struct config_node *node;
};

/* ---- checks across keys ------------------------------------------------ */

static const struct config_node *find(const struct config_node *root,
                                      const char *section, const char *key)
{
    const struct config_node *map = config_yaml_find(root, section);
    const struct config_node *value = config_yaml_find(map, key);
    return value ? value : map;
}

static void complain(struct config_errors *e, const struct config_node *at,
                     const char *text)
{
    config_errors_add(e, at ? at->line : 0, at ? at->column : 0, "%s", text);
}

/* Would binding both fail? Port 0 never meets another. */
static bool do_clash(const struct addr *a, const struct addr *b)
{
    if (a->port != b->port || a->port == 0)
        return false;
    return addr_is_any(a) || addr_is_any(b) || addr_equal(a, b);
}

static void check_listen(const struct config *c, const struct config_node *root,
                         struct config_errors *e)
{
    if (do_clash(&c->probe.listen, &c->api.listen))
        complain(e, find(root, "api", "listen"),
                 "api.listen is the same as probe.listen");
    if (!c->gossip.is_on)
        return;
    if (do_clash(&c->probe.listen, &c->gossip.listen))
        complain(e, find(root, "gossip", "listen"),
                 "gossip.listen is the same as probe.listen");
    if (do_clash(&c->api.listen, &c->gossip.listen))
        complain(e, find(root, "gossip", "listen"),
                 "gossip.listen is the same as api.listen");
}

static void check_gossip(const struct config *c, const struct config_node *root,
                         struct config_errors *e)
{
    if (c->gossip.is_on && c->gossip.accepts_plaintext &&
        !c->gossip.keys_file[0])
        complain(e, find(root, "gossip", "accept_plaintext"),
                 "gossip.accept_plaintext needs gossip.keys_file beside it");
}

static void check_tls(const struct config *c, const struct config_node *root,
                      struct config_errors *e)
{
    if (c->tls.certificate[0] && !c->tls.key[0])
        complain(e, find(root, "tls", "certificate"),
                 "tls.certificate needs tls.key beside it");
    if (c->tls.key[0] && !c->tls.certificate[0])
        complain(e, find(root, "tls", "key"),
                 "tls.key needs tls.certificate beside it");
}

/* Put the names of one list, whose elements begin at `node`, into `entries`.
 * Each element was bound, so that there are as many of one as of the other. */
static void list_entry(struct entry *entry, const char *name,
                       const struct config_node **node)
{
    assert(*node);
    *entry = (struct entry){name, *node};
    *node = (*node)->next;
}

static void list_entries(const struct config *c, const struct config_node *root,
                         struct entry *entries)
{
    const struct config_node *list = config_yaml_find(root, "peers");
    const struct config_node *node = list ? list->first : NULL;
    for (size_t i = 0; i < c->n_peers; i++)
        list_entry(entries++, c->peers[i].name, &node);
    list = config_yaml_find(root, "targets");
    node = list ? list->first : NULL;
    for (size_t i = 0; i < c->n_targets; i++)
        list_entry(entries++, c->targets[i].name, &node);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = strcmp(x->name, y->name);
    if (order)
        return order;
    if (x->node->line != y->node->line)
        return x->node->line < y->node->line ? -1 : 1;
    return x->node->column < y->node->column ? -1 : 1;
}

/* Peers, targets and this node share one name space: cells are found by it. */
static int check_names(const struct config *c, const struct config_node *root,
                       struct config_errors *e)
{
    size_t n = c->n_peers + c->n_targets;
    struct entry *entries = calloc(n + 1, sizeof(*entries));
    if (!entries)
        return ERR_NOMEM;
    list_entries(c, root, entries);
    qsort(entries, n, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < n; i++) {
        const struct entry *now = &entries[i];
        const struct config_node *at = config_yaml_find(now->node, "name");
        if (!now->name[0])
            continue; /* a name that was refused */
        if (strcmp(now->name, c->node.name) == 0)
            config_errors_add(e, at->line, at->column,
                              "%s is the name of this node", now->name);
        if (i > 0 && strcmp(now->name, entries[i - 1].name) == 0)
            config_errors_add(e, at->line, at->column,
                              "the name %s is taken, see line %u", now->name,
                              entries[i - 1].node->line);
    }
    free(entries);
    return 0;
}

/* The host name stands in; whatever else is in it than a name may hold is for
 * a person to decide. */
static void default_name(struct config *c, const struct config_node *root,
                         struct config_errors *e)
{
    static const struct config_key key = {.size = sizeof(c->node.name)};
    char host[256] = "";
    if (c->node.name[0] ||
        config_yaml_find(config_yaml_find(root, "node"), "name"))
        return;
    if (gethostname(host, sizeof(host) - 1))
        host[0] = '\0';
    struct errmsg why = {0};
    if (config_value_name(&key, host, false, c->node.name, &why))
        config_errors_add(e, 0, 0, "node.name is not set and the host name %s",
                          why.text);
}

/* ---- loading ----------------------------------------------------------- */

static int warn(struct config *c, const char *what, const char *detail)
{
    struct wr w;
    wr_init_grow(&w, WARNINGS_MAX);
    if (c->warnings)
        wr_text(&w, c->warnings);
    wr_printf(&w, "%s%s\n", what, detail);
    wr_u8(&w, 0);
    char *text = wr_err(&w) ? NULL : strdup((const char *)w.data);
    wr_fini(&w);
    if (!text)
        return ERR_NOMEM;
    free(c->warnings);
    c->warnings = text;
    return 0;
}

/* Is one of the section's variables set? An empty one counts as absent. */
static bool has_variable(const char *section, char *(*getenv_fn)(const char *))
{
    char path[CONFIG_KEY_SIZE];
    char name[CONFIG_KEY_SIZE + 8];
    size_t len = strlen(section);
    for (size_t i = 0; config_key(i, path); i++) {
        if (strncmp(path, section, len) != 0 || path[len] != '.')
            continue;
        config_bind_variable(path, name, sizeof(name));
        const char *value = getenv_fn(name);
        if (value && value[0])
            return true;
    }
    return false;
}

static bool is_gossip_on(const struct config_node *root,
                         char *(*getenv_fn)(const char *))
{
    const struct config_node *section = config_yaml_find(root, "gossip");
    return (section && section->kind != CONFIG_NULL) ||
           has_variable("gossip", getenv_fn);
}

/* Is anything said of the socket or where it is? Then it is to be there. */
static bool is_control_set(const struct config_node *root,
                           char *(*getenv_fn)(const char *))
{
    static const char *const keys[] = {"listen", "socket_mode", "socket_group"};
    const struct config_node *section = config_yaml_find(root, "control");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char path[CONFIG_KEY_SIZE];
        char name[CONFIG_KEY_SIZE + 8];
        snprintf(path, sizeof(path), "control.%s", keys[i]);
        config_bind_variable(path, name, sizeof(name));
        const char *value = getenv_fn(name);
        if ((value && value[0]) || config_yaml_find(section, keys[i]))
            return true;
    }
    return false;
}

static bool is_allowed(const struct config *c, const struct addr *a)
{
    for (size_t i = 0; i < c->gossip.n_allow; i++) {
        if (addr_network_contains(&c->gossip.allow[i], a))
            return true;
    }
    return c->gossip.n_allow == 0;
}

/* What works and is perhaps not meant. */
static int warn_of_gossip(struct config *c)
{
    const struct addr *told =
        c->gossip.advertise.family ? &c->gossip.advertise : &c->gossip.listen;
    int err = 0;
    if (!c->gossip.is_on)
        return 0;
    if (!c->gossip.keys_file[0])
        err = warn(c, "gossip.keys_file is not set",
                   ": gossip is in the clear, and whoever reaches its port "
                   "can join");
    if (!err && c->gossip.accepts_plaintext)
        err = warn(c, "gossip.accept_plaintext is true",
                   ": gossip in the clear is believed as well; take it out "
                   "when all nodes have keys");
    if (!err && !addr_is_any(told) && !is_allowed(c, told))
        err = warn(c, "gossip.allow does not contain this node's own address",
                   ": nodes with the same list will not take it in");
    return err;
}

/* Everything that was read, tree still alive: what belongs together? */
static int finish(struct config *c, const struct config_node *root,
                  struct config_errors *e)
{
    default_name(c, root, e);
    check_listen(c, root, e);
    check_gossip(c, root, e);
    check_tls(c, root, e);
    config_control_check(c, root, e);
    int err = check_names(c, root, e);
    if (!err && !e->n && strcmp(c->node.zone, "unknown") == 0 &&
        !c->node.zone_file[0])
        err = warn(c, "node.zone is not set", ": set it, or PROBER_NODE_ZONE");
    if (!err && !e->n)
        err = warn_of_gossip(c);
    return err;
}

static int bind_all(struct config *c, const struct config_node *root,
                    char *(*getenv_fn)(const char *), struct config_errors *e)
{
    struct config_binder b = {.errors = e};
    config_bind_defaults(config_keys, c);
    c->probe.protocols = PROTOCOLS_BOTH;
    if (root)
        config_bind_map(&b, config_keys, root, c);
    config_bind_environment(&b, config_keys, c, getenv_fn);
    c->gossip.is_on = is_gossip_on(root, getenv_fn);
    c->control.is_set = is_control_set(root, getenv_fn);
    return b.is_out_of_memory ? ERR_NOMEM : finish(c, root, e);
}

/* After a syntax error the tree is cut short; what it lacks would only be
 * complained about wrongly. */
static int parse(struct config *c, const char *text, size_t len,
                 char *(*getenv_fn)(const char *), struct config_errors *e)
{
    struct config_tree tree = {0};
    int err = 0;
    if (len > CONFIG_BYTES_MAX)
        config_errors_add(e, 0, 0, "larger than %u bytes", CONFIG_BYTES_MAX);
    else
        err = config_yaml_open(&tree, text, len, e);
    if (!err && tree.is_whole)
        err = bind_all(c, tree.root, getenv_fn, e);
    config_yaml_close(&tree);
    return err;
}

int config_parse(const char *name, const char *text, size_t len,
                 char *(*getenv_fn)(const char *), struct config **out,
                 char **errors)
{
    *errors = NULL;
    struct config *c = calloc(1, sizeof(*c));
    struct config_errors *e = calloc(1, sizeof(*e));
    int err = ERR_NOMEM;
    if (!c || !e)
        goto out;
    e->file = name;
    err = parse(c, text, len, getenv_fn, e);
    if (!err && e->n)
        err = ERR_BAD;
    if (err == ERR_BAD)
        *errors = config_errors_text(e);
    if (err == ERR_NOMEM)
        *errors = strdup("out of memory\n");
out:
    free(e);
    if (err)
        config_free(c);
    else
        *out = c;
    return err;
}

/* Read up to `size` bytes. Returns how many or ERR_SYS. */
static ssize_t read_file(const char *path, char *data, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_SYS;
    ssize_t len = file_read_all(fd, data, size);
    int saved = errno;
    close(fd);
    errno = saved;
    return len;
}

/* A zone that is said in the file or by a variable needs no other. */
static int fill_place(struct config *c, const char *key, const char *path,
                      char name[CONFIG_NAME_MAX + 1])
{
    struct errmsg why;
    char what[128];
    if (!path[0] || strcmp(name, "unknown") != 0 ||
        !config_place_read(path, name, &why))
        return 0;
    snprintf(what, sizeof(what), "node.%s stays unknown: ", key);
    return warn(c, what, why.text);
}

static int fill_places(struct config *c)
{
    int err = fill_place(c, "zone", c->node.zone_file, c->node.zone);
    return err ? err
               : fill_place(c, "region", c->node.region_file, c->node.region);
}

static int load(const char *path, char *(*getenv_fn)(const char *),
                struct config **out, char **errors)
{
    /* One byte more than allowed, so that too long a file is seen. */
    size_t size = CONFIG_BYTES_MAX + 1;
    char *data = malloc(size);
    if (!data)
        return ERR_NOMEM;
    int err = ERR_SYS;
    ssize_t len = read_file(path, data, size);
    if (len < 0) {
        if (asprintf(errors, "%s: %s\n", path, strerror(errno)) < 0)
            *errors = NULL;
    } else {
        err = config_parse(path, data, (size_t)len, getenv_fn, out, errors);
    }
    free(data);
    return err;
}

int config_load(const char *path, char *(*getenv_fn)(const char *),
                struct config **out, char **errors)
{
    *errors = NULL;
    int err = path ? load(path, getenv_fn, out, errors)
                   : config_parse("environment", "", 0, getenv_fn, out, errors);
    if (err || !fill_places(*out))
        return err;
    config_free(*out);
    return ERR_NOMEM;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_targets; i++)
        free(c->targets[i].zones);
    free(c->targets);
    free(c->peers);
    free(c->gossip.join);
    free(c->control.users);
    free(c->control.certificates);
    free(c->control.hosts);
    free(c->control.allow);
    free(c->control.dangerous);
    free(c->warnings);
    free(c);
}

bool config_key(size_t i, char path[CONFIG_KEY_SIZE])
{
    return config_bind_path(config_keys, i, path, CONFIG_KEY_SIZE);
}

static bool is_known_variable(const char *name, size_t len)
{
    char path[CONFIG_KEY_SIZE];
    char known[CONFIG_KEY_SIZE + 8];
    for (size_t i = 0; config_key(i, path); i++) {
        config_bind_variable(path, known, sizeof(known));
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return true;
    }
    return false;
}

/* A Kubernetes service called "prober" or "prober-api" puts such names into
 * the environment of every pod of its namespace. No key of ours looks so. */
static bool is_service_variable(const char *name, size_t len)
{
    const char *port = strstr(name, "_PORT");
    bool is_host = strstr(name, "_SERVICE_HOST") != NULL;
    return is_host ||
           (port && port < name + len && (port[5] == '=' || port[5] == '_'));
}

/* What the commands that ask a node look at (docs/cli.md). */
static bool is_command_variable(const char *name, size_t len)
{
    static const char *const names[] = {"PROBER_CONTROL", "PROBER_TOKEN_FILE"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == len && !memcmp(name, names[i], len))
            return true;
    }
    return false;
}

int config_warn_environment(struct config *c, char *const *environment)
{
    for (; *environment; environment++) {
        const char *name = *environment;
        const char *end = strchr(name, '=');
        if (!end || strncmp(name, "PROBER_", 7) != 0)
            continue;
        size_t len = (size_t)(end - name);
        char shown[CONFIG_SHOWN_SIZE];
        char copy[CONFIG_SHOWN_SIZE];
        if (is_known_variable(name, len) || is_service_variable(name, len) ||
            is_command_variable(name, len))
            continue;
        snprintf(copy, sizeof(copy), "%.*s", (int)(len < 63 ? len : 63), name);
        int err = warn(c, config_shown(copy, shown),
                       ": no configuration key has this variable");
        if (err)
            return err;
    }
    return 0;
}
