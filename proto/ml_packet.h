/* proto/ml_packet.h - memberlist's datagrams: what is wrapped around messages.
 *
 *     [label] [sealed] [crc] [compress] [compound] message
 *
 * Outermost first; each may be missing, none may come twice or in another
 * order. What is accepted inside what is exactly that: Go recurses without a
 * limit, which lets one datagram expand to gigabytes. Deviation: a packet that
 * nests deeper, or expands above ML_PACKET_MAX bytes, is dropped as a whole.
 *
 * Whether packets are sealed is configuration and never guessed: the first
 * byte of a sealed one looks like a ping. Pure.
 */
#ifndef PROTO_ML_PACKET_H
#define PROTO_ML_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/span.h"
#include "proto/ml_msg.h"
#include "proto/ml_seal.h"

#define ML_PACKET_MAX 65536 /* bytes in, and after each unwrapping */
#define ML_PARTS_MAX  255

/* How one mesh frames its bytes; shared with ml_stream.h. Borrowed. */
struct ml_wire {
    struct span label;       /* empty: none */
    struct ml_keyring *keys; /* NULL: in the clear */
    bool accepts_clear;      /* with keys: take packets in the clear as well,
                                while a mesh moves to encryption */
};

/* Why bytes were not used. Counters and metrics are indexed by it. */
enum ml_drop {
    ML_DROP_NONE,
    ML_DROP_EMPTY, /* no bytes, also after unwrapping */
    ML_DROP_LABEL, /* another label, one too many or too few */
    ML_DROP_SEAL,  /* no key opens it */
    ML_DROP_CLEAR, /* in the clear although there is a key */
    ML_DROP_CRC,
    ML_DROP_NESTING, /* wrappers inside wrappers */
    ML_DROP_BOMB,    /* expands above the limit */
    ML_DROP_CODEC,   /* compressed or compound bytes that are broken */
    ML_DROP_TYPE,    /* a message of unknown type, or not for this place */
    ML_DROP_MESSAGE, /* a message that does not decode or says nonsense */
    ML_DROP_TOOBIG,  /* a declared length above its limit */
    ML_DROP_BUDGET,  /* no room among the bytes not yet known to be good */
    ML_DROP_N
};

/* "label", "seal" ...: as it stands in metrics and JSON. */
const char *ml_drop_name(enum ml_drop why);

/* The messages of one packet, each with its type byte first, borrowed from the
 * packet or the scratch. A part that lies beyond the packet cuts off itself
 * and those behind it (is_cut); one of length 0 is left out. */
struct ml_parts {
    size_t n;
    struct span part[ML_PARTS_MAX];
    bool is_cut;
};

/* Room to unwrap into, reused from packet to packet: 64 KiB twice, allocated on
 * first use. Zero-initialise; fini at the end. */
struct ml_scratch {
    struct wr clear, expanded;
};
void ml_scratch_fini(struct ml_scratch *s);

/* Unwrap a packet. Returns ML_DROP_NONE and fills *parts, of types 0 to 5, 8
 * and 11, not yet decoded (others in a compound are left out and counted in
 * *n_odd, which may be NULL; one on its own is ML_DROP_TYPE); or why not, and
 * *parts is empty. Out of memory is ML_DROP_BUDGET. */
enum ml_drop ml_packet_open(const struct ml_wire *wire, const void *data,
                            size_t len, struct ml_scratch *s,
                            struct ml_parts *parts, size_t *n_odd);

/* How many bytes of messages a packet of `packet_max` bytes takes, in the worst
 * case of `n` parts: packet_max less label, seal, CRC and, for n > 1,
 * compound framing. 0 if nothing fits. */
size_t ml_packet_room(const struct ml_wire *wire, size_t packet_max, size_t n);

/* Append the datagram of `n` parts (1..ML_PARTS_MAX, none empty: either would
 * end old peers' processes, hence an assertion). Compressed if that makes it
 * smaller and `compress`, with a checksum if `crc` (for receivers with PMax >=
 * 5; the seal makes it superfluous but harmless). Returns 0, ERR_SYS (no
 * nonce), ERR_TOOBIG (above ML_PACKET_MAX), ERR_NOMEM or the writer's error;
 * *out is then as long as it was. The parts must not lie in the scratch. */
int ml_packet_close(const struct ml_wire *wire, const struct span *parts,
                    size_t n, bool compress, bool crc, struct ml_scratch *s,
                    struct wr *out);

/* Compress `plain` into `room` and say whether the whole compress message, a
 * type byte and ml_compress_write(*packed), is smaller than it. *packed is
 * borrowed from `room`. For both files. */
bool ml_compress(struct span plain, void *room, size_t size,
                 struct span *packed);

#endif /* PROTO_ML_PACKET_H */
