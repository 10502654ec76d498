/* mesh/facts.h - what a node of ours tells about itself, as Serf tags.
 *
 *     prober   the program's version; its presence is our mark
 *     zone, region
 *     host     the name or address to probe; absent: where it gossips from
 *     port     of its responder
 *     protos   "http1,grpc"
 *     tls      "sha256:<64 hex>" of its certificate, "ca" if a CA vouches for
 *              it, "off" for plain text
 *
 * Tags with an empty value are not written and read like absent ones, but for
 * the mark. Tags of others are left alone; unknown keys are ignored, and so are
 * protocols we do not know. Values come from gossip and are hostile: names (and
 * the version) that are too long or not made of A-Z a-z 0-9 . _ - become
 * "unknown"; without a host that is an address or a DNS name (or none), a port,
 * a protocol and one of the three ways of tls the node is not probed. A host is
 * still to be judged (proto/addr_policy.h) before it is dialled. Pure.
 */
#ifndef MESH_FACTS_H
#define MESH_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/span.h"
#include "proto/ml_msg.h"
#include "proto/url.h"

#define FACTS_NAME_MAX    128
#define FACTS_VERSION_MAX 32

enum facts_tls { FACTS_TLS_OFF, FACTS_TLS_CA, FACTS_TLS_PIN };

struct facts {
    bool is_ours;   /* carries the mark */
    bool can_probe; /* host (or none), port, protocols and tls make sense */
    char version[FACTS_VERSION_MAX + 1];
    char zone[FACTS_NAME_MAX + 1], region[FACTS_NAME_MAX + 1];
    char host[URL_HOST_MAX + 1]; /* "": the gossip address */
    uint16_t port;
    unsigned protocols; /* bit 1 << enum probe_protocol */
    uint8_t tls;        /* enum facts_tls */
    uint8_t fingerprint[32];
};

/* Write `f` as meta. Returns its length, or ERR_TOOBIG above ML_META_MAX. */
int facts_encode(const struct facts *f, uint8_t meta[ML_META_MAX]);

/* Read meta; never fails: what cannot be read is not ours. */
void facts_decode(struct span meta, struct facts *out);

/* Just the mark. */
bool facts_is_ours(struct span meta);

#endif /* MESH_FACTS_H */
