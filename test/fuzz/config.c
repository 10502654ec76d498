/* test/fuzz/config.c - any bytes as a configuration file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "prober/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *no_variable(const char *name)
{
    (void)name;
    return NULL;
}

static void demand(bool is_true)
{
    if (!is_true)
        abort();
}

/* Each complaint is a line of printable text that begins with the file. */
static void check_errors(const char *errors)
{
    unsigned lines = 0;
    while (*errors) {
        size_t len = strcspn(errors, "\n");
        demand(strncmp(errors, "fuzz:", 5) == 0);
        demand(errors[len] == '\n');
        for (size_t i = 0; i < len; i++)
            demand(errors[i] >= 0x20 && errors[i] < 0x7f);
        errors += len + 1;
        lines++;
    }
    demand(lines >= 1 && lines <= 101);
}

static void check_config(const struct config *c)
{
    demand(c->node.name[0] && c->node.zone[0] && c->node.region[0]);
    demand(c->probe.protocols != 0 && c->probe.timeout_ns > 0);
    demand(c->dns.n_servers <= CONFIG_SERVERS_MAX);
    for (size_t i = 0; i < c->n_peers; i++) {
        demand(c->peers[i].name[0] && c->peers[i].port);
        demand(c->peers[i].host[0] || c->peers[i].address.family);
    }
    for (size_t i = 0; i < c->n_targets; i++)
        demand(c->targets[i].url.host[0] && c->targets[i].protocols);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = NULL;
    char *errors = NULL;
    int err = config_parse("fuzz", (const char *)data, size, no_variable, &c,
                           &errors);
    demand((err == 0) == (c != NULL));
    demand((err == 0) == (errors == NULL));
    if (errors)
        check_errors(errors);
    if (c)
        check_config(c);
    config_free(c);
    free(errors);
    return 0;
}
