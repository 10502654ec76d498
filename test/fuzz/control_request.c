/* test/fuzz/control_request.c - bodies that ask for probes.
 *
 * What is accepted keeps its limits and, once it is judged as a whole, is one
 * that a node could be asked; what is refused says why in plain ASCII. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/control_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void check_refusal(const struct errmsg *msg)
{
    demand(msg->text[0] != '\0', "a refusal says why");
    for (const char *c = msg->text; *c; c++)
        demand(*c >= 0x20 && *c <= 0x7e, "and can be shown");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inquiry_ask ask;
    struct inquiry_ask before;
    struct errmsg msg = {{0}};
    memset(&ask, 0x5a, sizeof(ask));
    before = ask;
    if (control_request_parse(data, size, &ask, &msg)) {
        check_refusal(&msg);
        demand(memcmp(&ask, &before, sizeof(ask)) == 0, "nothing is changed");
        return 0;
    }
    const struct oneoff_request *r = &ask.request;
    demand(memchr(r->target, 0, sizeof(r->target)) != NULL, "target ends");
    demand(memchr(r->service, 0, sizeof(r->service)) != NULL, "service ends");
    demand(memchr(ask.from.name, 0, sizeof(ask.from.name)) != NULL,
           "from ends");
    demand(r->count >= 1 && r->count <= ONEOFF_COUNT_MAX, "count");
    demand(r->protocol < PROTOCOL_N && r->mode < MODE_N, "protocol and mode");
    demand(ask.per_zone >= 1 && ask.per_zone <= 16, "nodes per zone");
    demand(r->timeout_ns <= ONEOFF_TIMEOUT_MAX_NS, "timeout");
    if (oneoff_request_check(r, &msg))
        demand(msg.text[0] != '\0', "a refusal says why");
    else
        demand(oneoff_request_lasts_ns(r) <= 2 * ONEOFF_DURATION_MAX_NS,
               "it ends");
    return 0;
}
