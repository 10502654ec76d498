#include "prober/keys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/file.h"

/* What is on one line without the blanks around it, an editor's CR too. */
static struct span trim(const char *text, size_t len)
{
    static const char blanks[] = " \t\r";
    while (len && memchr(blanks, text[0], sizeof(blanks) - 1)) {
        text++;
        len--;
    }
    while (len && memchr(blanks, text[len - 1], sizeof(blanks) - 1))
        len--;
    return span_of(text, len);
}

static int parse_key(struct ml_key *key, struct span line)
{
    char text[ML_SEAL_TEXT_SIZE];
    int err = ERR_BAD;
    if (line.len < sizeof(text) && !memchr(line.data, '\0', line.len)) {
        memcpy(text, line.data, line.len);
        text[line.len] = '\0';
        err = ml_key_parse(key, text);
    }
    explicit_bzero(text, sizeof(text));
    return err;
}

static int parse_lines(const char *name, const char *text, size_t len,
                       struct ml_key keys[ML_KEYRING_MAX], size_t *n,
                       struct errmsg *msg)
{
    const char *end = text + len;
    unsigned number = 0;
    *n = 0;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        struct span line = trim(text, (size_t)(stop - text));
        text = newline ? newline + 1 : end;
        number++;
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (*n == ML_KEYRING_MAX) {
            errmsg_set(msg, "%s:%u: more than %d keys", name, number,
                       ML_KEYRING_MAX);
            return ERR_TOOBIG;
        }
        if (parse_key(&keys[*n], line)) {
            errmsg_set(msg, "%s:%u: must be 16, 24 or 32 bytes in base64", name,
                       number);
            return ERR_BAD;
        }
        ++*n;
    }
    return 0;
}

int keys_parse(const char *name, const char *text, size_t len,
               struct ml_key keys[ML_KEYRING_MAX], size_t *n,
               struct errmsg *msg)
{
    struct ml_key read[ML_KEYRING_MAX] = {0};
    size_t n_read;
    if (len > KEYS_BYTES_MAX) {
        errmsg_set(msg, "%s: larger than %d bytes", name, KEYS_BYTES_MAX);
        return ERR_TOOBIG;
    }
    int err = parse_lines(name, text, len, read, &n_read, msg);
    if (!err && n_read == 0) {
        errmsg_set(msg, "%s: there is no key in it", name);
        err = ERR_BAD;
    }
    if (!err) {
        memcpy(keys, read, sizeof(read));
        *n = n_read;
    }
    explicit_bzero(read, sizeof(read));
    return err;
}

static int check_file(int fd, const char *path, struct errmsg *warning)
{
    struct stat st;
    if (fstat(fd, &st))
        return ERR_SYS;
    if (!S_ISREG(st.st_mode)) { /* a pipe might be waited for without end */
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return ERR_SYS;
    }
    if (st.st_mode & (S_IROTH | S_IWOTH))
        errmsg_set(warning, "%s: others than owner and group may %s it", path,
                   st.st_mode & S_IWOTH ? "write" : "read");
    return 0;
}

int keys_load(const char *path, struct ml_key keys[ML_KEYRING_MAX], size_t *n,
              struct errmsg *warning, struct errmsg *msg)
{
    char text[KEYS_BYTES_MAX + 1]; /* one more, to see what is too long */
    ssize_t len = ERR_SYS;
    if (warning)
        warning->text[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && !check_file(fd, path, warning))
        len = file_read_all(fd, text, sizeof(text));
    if (len < 0)
        errmsg_set(msg, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (len < 0)
        return ERR_SYS;
    int err = keys_parse(path, text, (size_t)len, keys, n, msg);
    explicit_bzero(text, sizeof(text));
    return err;
}
