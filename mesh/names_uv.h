/* mesh/names_uv.h - names of seeds to addresses, on libuv's thread pool.
 *
 * Literal addresses are answered at once, names by the system's resolver: hosts
 * file, search list and all, for that is what people expect of a seed's name.
 */
#ifndef MESH_NAMES_UV_H
#define MESH_NAMES_UV_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proto/base/addr.h"

struct names; /* opaque */

/* `addrs` is valid during the call; n = 0: there are none. */
typedef void names_found(void *arg, uint32_t id, const struct addr *addrs,
                         size_t n);

/* NULL without memory. `port` stands in where a text names none. */
struct names *names_open(uv_loop_t *loop, uint16_t port, names_found *found,
                         void *arg);

/* Find the addresses of "host", "host:port", "ip", "ip:port", "[v6]:port";
 * found(id) follows exactly once, possibly from inside this call. Asking again
 * with an id that is being looked for replaces the question: only the newer is
 * answered, and not asked twice if it is the same. */
void names_find(struct names *n, uint32_t id, const char *text);

/* found() is not called any more. A lookup that is running keeps the loop alive
 * until the resolver is done with it; nobody can stop that one. NULL is fine.
 */
void names_close(struct names *n);

#endif /* MESH_NAMES_UV_H */
