/* prober/sample_wire.h - a sample and its names as bytes between nodes.
 *
 * Big-endian; numbers that may be absent are zigzag varints, so that "absent"
 * (-1) takes one byte; texts stand behind their length.
 *
 *     version u8, what u8 (bits below)
 *     protocol u8, mode u8, outcome u8, clock u8, failed phase
 *     phases (PHASE_N), total, server, lag, start lag, rtt, cpu, started_at
 *     peer, local: family u8, then (if not 0) port u16 and 4 or 16 bytes
 *     retransmits, http status, http minor u8, grpc status, serving, not after
 *     tls version, cipher, alpn, error: len u8, bytes
 *     target (if there): len u16; the other names (those that are there): u8
 *
 * Every number has a range, every length is checked against its array before
 * anything is copied, and texts hold printable ASCII after decoding ('?' for
 * other bytes). A decoded sample satisfies sample_check(): a sender that lies
 * is refused, not believed. Pure.
 */
#ifndef PROBER_SAMPLE_WIRE_H
#define PROBER_SAMPLE_WIRE_H

#include "prober/sample.h"
#include "proto/base/buf.h"

#define SAMPLE_WIRE_VERSION 1
#define SAMPLE_WIRE_MAX     2560 /* bytes of one, with names */
#define SAMPLE_NAME_SIZE    129
#define SAMPLE_TARGET_SIZE  1408
/* Durations end here: about 104 days, exact also for readers of JSON that know
 * only doubles, and six of them have a sum. */
#define SAMPLE_NS_MAX (INT64_C(1) << 53)

struct sample_texts { /* what names point to after decoding */
    char target[SAMPLE_TARGET_SIZE];
    char from_node[SAMPLE_NAME_SIZE], from_zone[SAMPLE_NAME_SIZE];
    char to_node[SAMPLE_NAME_SIZE], to_zone[SAMPLE_NAME_SIZE];
};

/* Append; names that are longer than their arrays above are cut. The sample is
 * sound (sample_check()) and none of its durations is above SAMPLE_NS_MAX.
 * Errors are the writer's. */
void sample_wire_write(const struct sample *s, const struct sample_names *names,
                       struct wr *w);
/* Read one. Returns 0, ERR_TRUNC, ERR_BAD or ERR_TOOBIG (a text is longer than
 * its array); on failure the outputs are untouched and the reader has failed.
 * `names` points into `texts`; what was absent is NULL. target and job of the
 * sample are not carried. */
int sample_wire_read(struct rd *r, struct sample *s, struct sample_names *names,
                     struct sample_texts *texts);

#endif /* PROBER_SAMPLE_WIRE_H */
