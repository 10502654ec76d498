/* prober/control_grpc.h - the control port for gRPC clients.
 *
 *     prober.v1.Control/Probe      server streaming (proto/control.proto)
 *     grpc.health.v1.Health        Check, Watch
 *     grpc.reflection.v1 and v1alpha ServerReflection
 *
 * Handles complete HTTP/2 requests of a connection (httpd_h2.h); the same
 * checks as control.h, the credentials being `authorization` metadata, the
 * client certificate or the unix socket. Pure.
 */
#ifndef PROBER_CONTROL_GRPC_H
#define PROBER_CONTROL_GRPC_H

#include "prober/control.h"
#include "prober/httpd_session.h"

/* To be given to httpd_open() beside control_handle(). */
extern const struct httpd_session_ops control_grpc_ops;

#endif /* PROBER_CONTROL_GRPC_H */
