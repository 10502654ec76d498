#include "prober/config_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/config_errors.h"
#include "prober/file.h"

/* At most one byte less than `size`; NUL-terminated. */
static ssize_t read_text(const char *path, char *text, size_t size)
{
    struct stat st;
    ssize_t len = ERR_SYS;
    /* A pipe might be waited for without end. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return ERR_SYS;
    if (!fstat(fd, &st)) {
        if (S_ISREG(st.st_mode))
            len = file_read_all(fd, text, size - 1);
        else
            errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    }
    int error = errno;
    close(fd);
    errno = error;
    if (len >= 0)
        text[len] = '\0';
    return len;
}

int config_place_read(const char *path, char name[CONFIG_NAME_MAX + 1],
                      struct errmsg *why)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789._-";
    char text[2 * CONFIG_NAME_MAX];
    char shown[CONFIG_SHOWN_SIZE];
    if (read_text(path, text, sizeof(text)) < 0) {
        errmsg_set(why, "%s: %s", path, strerror(errno));
        return ERR_SYS;
    }
    text[strcspn(text, "\n")] = '\0';
    char *begin = text + strspn(text, " \t\r");
    size_t len = strlen(begin);
    while (len && strchr(" \t\r", begin[len - 1]))
        begin[--len] = '\0';
    if (!len) {
        errmsg_set(why, "%s: is empty", path);
        return ERR_BAD;
    }
    if (len > CONFIG_NAME_MAX || begin[strspn(begin, allowed)]) {
        errmsg_set(why, "%s: '%s' is no name", path,
                   config_shown(begin, shown));
        return ERR_BAD;
    }
    memcpy(name, begin, len + 1);
    return 0;
}
