/* prober/control_pb.h - the messages of proto/control.proto.
 *
 * A ProbeRequest is read in two steps, because a message that is none and a
 * message that asks for nonsense are different answers: first the fields, as
 * they stand, then what they mean. Rules of proto3: the last one of a field
 * that comes twice counts, a field of a wrong wire type is one we do not
 * know, unknown ones are skipped, texts are UTF-8.
 *
 * A ProbeEvent is written from what the inquiry says; absent things are left
 * out. Texts that other nodes made up are cleaned first, a client's parser
 * would refuse the message otherwise. Pure.
 */
#ifndef PROBER_CONTROL_PB_H
#define PROBER_CONTROL_PB_H

#include <stdint.h>

#include "prober/inquiry.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/span.h"

/* A ProbeRequest; texts are borrowed from the message. */
struct control_pb_request {
    struct span target, protocol, mode, from, service;
    uint32_t nodes_per_zone, count, interval_ms, timeout_ms;
};

/* Returns 0, or ERR_TRUNC or ERR_BAD: this is no ProbeRequest. */
int control_pb_read_request(struct span message, struct control_pb_request *r);

/* Fill in request, from and per_zone of `ask`; what the fields leave out is
 * filled in as proto/control.proto says. Ranges and the target are not looked
 * at here but by the inquiry. Returns 0, or ERR_BAD with `msg` naming the
 * field. */
int control_pb_ask(const struct control_pb_request *r, struct inquiry_ask *ask,
                   struct errmsg *msg);

/* A message is never longer; it takes 256 executors with long names. */
#define CONTROL_PB_EVENT_MAX 786432

/* Append the ProbeEvent; see wr_err(). */
void control_pb_write_event(struct wr *w, const struct inquiry_event *e);

#endif /* PROBER_CONTROL_PB_H */
