/* prober/reflection.h - what the services of this node look like, for gRPC
 * clients that were built without our .proto files.
 *
 * Answers the questions of grpc.reflection.v1 and v1alpha, whose messages are
 * the same (proto/reflection_v1.proto), one at a time, out of a
 * FileDescriptorSet: what protoc says of our .proto files, compiled in when
 * the program is built. It is walked anew for each question, since it is a
 * few kilobytes and the questions are a handful.
 *
 * Files by name; the file of a service, method, message or enum by its full
 * name, nested ones included; the list of services. There are no extensions:
 * a type that exists has none of them. What does not exist is answered, with
 * an ErrorResponse of code 5. Pure.
 */
#ifndef PROBER_REFLECTION_H
#define PROBER_REFLECTION_H

#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/span.h"

#define REFLECTION_NAME_MAX 512 /* bytes of a name that is looked for */

/* Our own: a google.protobuf.FileDescriptorSet. */
extern const struct span reflection_descriptors;

/* Answer one ServerReflectionRequest: the ServerReflectionResponse is appended
 * to `w`. Returns 0, ERR_TRUNC or ERR_BAD: no such message (then nothing is
 * appended); the state of `w` is the caller's to look at. */
int reflection_answer(struct span descriptors, struct span request,
                      struct wr *w);

#endif /* PROBER_REFLECTION_H */
