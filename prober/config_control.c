#include "prober/config_control.h"

#include <string.h>

/* ---- complaints -------------------------------------------------------- */

/* With the place of control.<key>, or of the section, or none. */
static void complain(struct config_errors *e, const struct config_node *root,
                     const char *key, const char *text)
{
    const struct config_node *map = config_yaml_find(root, "control");
    const struct config_node *at = config_yaml_find(map, key);
    at = at ? at : map;
    config_errors_add(e, at ? at->line : 0, at ? at->column : 0,
                      "control.%s %s", key, text);
}

/* ---- TCP --------------------------------------------------------------- */

static bool is_any(const struct addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* Would listening on both fail? */
static bool do_clash(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && (is_any(a) || is_any(b) || addr_equal(a, b));
}

static void check_clash(const struct config *c, const struct addr *a,
                        const struct config_node *root, struct config_errors *e)
{
    if (do_clash(a, &c->probe.listen))
        complain(e, root, "listen", "is the same as probe.listen");
    if (do_clash(a, &c->api.listen))
        complain(e, root, "listen", "is the same as api.listen");
    if (c->gossip.is_on && do_clash(a, &c->gossip.listen))
        complain(e, root, "listen", "is the same as gossip.listen");
}

static void check_loopback(const struct config *c, bool has_tls,
                           const struct config_node *root,
                           struct config_errors *e)
{
    if (!has_tls && !c->control.is_insecure)
        complain(e, root, "listen",
                 "on TCP needs tls.certificate and tls.key, or "
                 "control.insecure: true, since tokens are sent in the clear "
                 "then");
    if (!c->control.tokens_file[0] && !(has_tls && c->control.client_ca[0]))
        complain(e, root, "listen",
                 "on TCP needs control.tokens_file, or TLS and "
                 "control.client_ca: every user of this host reaches it");
}

static void check_elsewhere(const struct config *c, bool has_tls,
                            const struct config_node *root,
                            struct config_errors *e)
{
    if (c->control.is_insecure)
        complain(e, root, "insecure",
                 "is refused off loopback: tokens would cross the network in "
                 "the clear");
    if (!has_tls)
        complain(e, root, "listen",
                 "off loopback needs tls.certificate and tls.key: tokens "
                 "would cross the network in the clear");
    if (!c->control.tokens_file[0] && !c->control.client_ca[0])
        complain(e, root, "listen",
                 "off loopback needs control.tokens_file or "
                 "control.client_ca: nobody could show who he is");
}

/* ---- all --------------------------------------------------------------- */

static void check_people(const struct config *c, const struct config_node *root,
                         struct config_errors *e)
{
    if (c->control.n_certificates && !c->control.client_ca[0])
        complain(e, root, "certificates",
                 "needs control.client_ca, against which they are verified");
    if (c->control.socket_group[0] && c->control.socket_mode == 0600)
        complain(e, root, "socket_group",
                 "has no effect without control.socket_mode: 0660");
}

void config_control_check(const struct config *c,
                          const struct config_node *root,
                          struct config_errors *e)
{
    struct addr a;
    bool has_tls = c->tls.certificate[0] && c->tls.key[0];
    check_people(c, root, e);
    if (addr_parse(&a, c->control.listen)) {
        if (c->control.is_insecure && !strcmp(c->control.listen, "off"))
            complain(e, root, "insecure",
                     "has no effect with control.listen: off");
        return;
    }
    check_clash(c, &a, root, e);
    if (addr_is_loopback(&a))
        check_loopback(c, has_tls, root, e);
    else
        check_elsewhere(c, has_tls, root, e);
}
