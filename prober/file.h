/* prober/file.h - a small file read whole, a line written without waiting.
 *
 * Shell code. Reading is for start-up and reload, and may block as the file
 * does.
 */
#ifndef PROBER_FILE_H
#define PROBER_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Read from `fd` to its end, but at most `size` bytes: give one more than is
 * allowed, to see what is too long. Interrupted calls are repeated. Returns how
 * many, or ERR_SYS with errno. */
ssize_t file_read_all(int fd, void *data, size_t size);

/* Write what `fd`, a pipe or socket perhaps whose reader has stopped, takes at
 * once. It may be in blocking mode, which is not ours to change: others have
 * it too. Returns how many bytes, or ERR_SYS with errno (EAGAIN: none). A pipe
 * that others fill in the same moment can still make it wait. */
ssize_t file_write_now(int fd, const void *data, size_t len);

#endif /* PROBER_FILE_H */
