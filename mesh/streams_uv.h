/* mesh/streams_uv.h - the mesh's TCP streams, by the numbers it gave them.
 *
 * A stream that was hung up lingers: what was written is sent, then our end is
 * shut, then the peer's end is awaited, since closing on unread bytes would
 * reset the connection and take from the peer what it has not read yet. All of
 * that within linger_ms; then, or when too many linger, it is reset.
 */
#ifndef MESH_STREAMS_UV_H
#define MESH_STREAMS_UV_H

#include <stdint.h>

#include <uv.h>

#include "proto/base/addr.h"
#include "proto/base/span.h"

#define STREAMS_LINGER_MAX 64          /* at once; the oldest goes first */
#define STREAMS_QUEUE_MAX  (16u << 20) /* bytes not yet sent, of all */

struct streams; /* opaque */

/* Called from the loop and from streams_write(). After on_gone() the id is
 * unknown here. */
struct streams_config {
    uv_loop_t *loop;
    struct addr source; /* dial from here; its port is not used. ADDR_NONE, or
                           the other family than the target's: from anywhere */
    uint64_t linger_ms;
    void (*on_connected)(void *arg, uint32_t id);
    void (*on_bytes)(void *arg, uint32_t id, const void *data, size_t len);
    void (*on_gone)(void *arg, uint32_t id);
    void *arg;
};

/* NULL without memory. */
struct streams *streams_open(const struct streams_config *c);

/* Begin to connect. Returns 0, and on_connected() or on_gone() follow; or
 * ERR_SYS / ERR_NOMEM and nothing follows. `id` is not 0 and not in use. */
int streams_dial(struct streams *s, uint32_t id, const struct addr *to);

/* Take over an accepted descriptor. ERR_SYS / ERR_NOMEM: it is closed. */
int streams_add(struct streams *s, uint32_t id, int fd);

/* Copies. An unknown id is ignored; without memory, or with too much waiting,
 * the stream is gone. */
void streams_write(struct streams *s, uint32_t id, struct span data);

/* The id is unknown from here on. */
void streams_hangup(struct streams *s, uint32_t id);

struct streams_counts {
    size_t open, lingering; /* open: known by an id */
    size_t queued_bytes;
    uint64_t cut; /* so far: reset before all was sent */
};
void streams_counts(const struct streams *s, struct streams_counts *out);

/* Close all at once; ends with the loop's next turns. NULL is fine. */
void streams_close(struct streams *s);

#endif /* MESH_STREAMS_UV_H */
