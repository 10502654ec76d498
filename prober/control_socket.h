/* prober/control_socket.h - a unix socket where nobody else can put one.
 *
 * Who may replace the socket may pose as this node, who may write to it is
 * asked for credentials only by the kernel's word. So the path is looked at
 * before it is used, each part of it with lstat():
 *
 *   - each directory is root's or ours; none but its owner may write to it,
 *     unless it is sticky (as /tmp is). The one that holds the socket may not
 *     be sticky and open either: others could put something there first.
 *   - a symbolic link on the way must be root's or ours, and where it leads
 *     is looked at in the same way; the last part may not be one.
 *   - what is there already is removed only if it is a socket, root's or ours,
 *     and nobody listens on it any more.
 *
 * Where only one user runs anything, as in a pod, whose volumes anybody may
 * write to, the caller can say that open directories will do.
 *
 * The socket is made with mode 0600 (no moment passes in which it is open to
 * more), then given to its group, then to that group's reading and writing.
 * Control plane; blocks for file system calls only.
 */
#ifndef PROBER_CONTROL_SOCKET_H
#define PROBER_CONTROL_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

#define CONTROL_SOCKET_PATH_SIZE 108 /* sun_path */

struct control_socket {
    int fd; /* listens, does not block, close on exec */
    char path[CONTROL_SOCKET_PATH_SIZE]; /* without links in its directory */
    uint64_t dev, ino;                   /* what we made */
};

/* Make it and listen. `takes_open`: a directory that others may write to will
 * do. `mode` is 0600 or 0660; `group` a name or digits, "" for
 * the process's own. Returns 0 (the caller owns s->fd, and closes it), or
 * ERR_SYS with `msg` saying what is wrong with which part of the path. */
int control_socket_open(struct control_socket *s, const char *path,
                        bool takes_open, unsigned mode, const char *group,
                        struct errmsg *msg);

/* Remove the path if what is there is still what was made. To be called before
 * s->fd is closed: until then no other file gets the same number. */
void control_socket_remove(const struct control_socket *s);

#endif /* PROBER_CONTROL_SOCKET_H */
