#include "prober/cli_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/file.h"
#include "prober/people.h"
#include "prober/principals.h"
#include "proto/digest.h"
#include "proto/ml_seal.h"

#define LINE_SIZE (PRINCIPAL_NAME_SIZE + 16 + DIGEST_TEXT_SIZE + 8)

struct token {
    char text[ML_SEAL_TEXT_SIZE]; /* the secret */
    char line[LINE_SIZE];         /* what is kept of it, without newline */
};

/* base64url without padding: fit for a header, a file name and a shell. */
static void make_url_safe(char *text)
{
    for (; *text; text++) {
        if (*text == '+')
            *text = '-';
        else if (*text == '/')
            *text = '_';
        else if (*text == '=')
            *text = '\0'; /* and the loop ends here */
        if (!*text)
            return;
    }
}

static int make(struct token *t, const char *name, const char *role)
{
    struct ml_key random = {.len = sizeof(random.bytes)};
    uint8_t sum[DIGEST_SIZE];
    char sum_text[DIGEST_TEXT_SIZE];
    int err = ml_random(NULL, random.bytes, sizeof(random.bytes));
    ml_key_format(&random, t->text);
    make_url_safe(t->text);
    if (!err)
        err = digest_sha256(t->text, strlen(t->text), sum);
    if (!err) {
        digest_format(sum, sum_text);
        snprintf(t->line, sizeof(t->line), "%s %s %s", name, role, sum_text);
    }
    explicit_bzero(&random, sizeof(random));
    return err;
}

/* The line is what the daemon will read, so its reader says whether name and
 * role are good. */
static int check_line(const struct token *t, struct errmsg *msg)
{
    struct principal_token *read = calloc(PRINCIPALS_MAX, sizeof(*read));
    int n = ERR_NOMEM;
    if (read)
        n = principals_parse_tokens(t->line, strlen(t->line), read, msg);
    else
        errmsg_set(msg, "out of memory");
    free(read);
    if (n == 0) /* "#x" makes a comment of it */
        errmsg_set(msg,
                   "the name must be 1 to %d letters, digits, '.', '_' or "
                   "'-'",
                   PRINCIPAL_LABEL_MAX);
    return n == 1 ? 0 : ERR_BAD;
}

/* ---- the file ---- */

/* Would the daemon take the file with the line at its end? Sets whether the
 * line has to begin with a newline. */
static int check_file(int fd, const struct token *t, bool *is_open_ended,
                      struct errmsg *msg)
{
    struct stat st;
    size_t size = PRINCIPAL_FILE_MAX + LINE_SIZE + 2;
    struct principal_token *read = calloc(PRINCIPALS_MAX, sizeof(*read));
    char *text = malloc(size);
    int err = ERR_BAD;
    if (!read || !text) {
        errmsg_set(msg, "out of memory");
        goto out;
    }
    const char *why = fstat(fd, &st)
                          ? strerror(errno)
                          : people_objection(st.st_uid, st.st_mode, geteuid());
    ssize_t len = why ? 0 : file_read_all(fd, text, PRINCIPAL_FILE_MAX + 1);
    if (len < 0)
        why = strerror(errno);
    if (why) {
        errmsg_set(msg, "%s", why);
        goto out;
    }
    *is_open_ended = len > 0 && text[len - 1] != '\n';
    int more = snprintf(text + len, size - (size_t)len, "%s%s\n",
                        *is_open_ended ? "\n" : "", t->line);
    if (principals_parse_tokens(text, (size_t)len + (size_t)more, read, msg) >
        0)
        err = 0;
out:
    free(read);
    free(text);
    return err;
}

static int append(const char *file, const struct token *t, struct errmsg *msg)
{
    char line[LINE_SIZE + 2];
    bool is_open_ended = false;
    int fd = open(
        file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        0600);
    if (fd < 0) {
        errmsg_set(msg, "%s", strerror(errno));
        return ERR_SYS;
    }
    int err = check_file(fd, t, &is_open_ended, msg);
    if (!err) {
        int len = snprintf(line, sizeof(line), "%s%s\n",
                           is_open_ended ? "\n" : "", t->line);
        if (write(fd, line, (size_t)len) != (ssize_t)len || fsync(fd)) {
            errmsg_set(msg, "%s", strerror(errno));
            err = ERR_SYS;
        }
    }
    close(fd);
    return err;
}

/* ---- output ---- */

static int print(const struct token *t, bool is_json, bool has_file)
{
    char text[sizeof(*t) + 64];
    int len =
        snprintf(text, sizeof(text),
                 is_json ? "{\"token\":\"%s\",\"line\":\"%s\"}\n" : "%s\n",
                 t->text, t->line);
    int err = cli_write(STDOUT_FILENO, text, (size_t)len);
    explicit_bzero(text, sizeof(text));
    if (!err && !is_json && !has_file) {
        len = snprintf(text, sizeof(text), "%s\n", t->line);
        err = cli_write(STDERR_FILENO, text, (size_t)len);
    }
    return err ? cli_fail("keygen", "cannot write: %s", strerror(errno))
               : CLI_OK;
}

int cli_token(const char *name, const char *role, const char *file,
              bool is_json)
{
    struct token t = {0};
    struct errmsg msg = {0};
    int rc = CLI_OK;
    if (strlen(name) > PRINCIPAL_LABEL_MAX || role_parse(role) < 0)
        return cli_usage("keygen",
                         "--token needs a name of at most %d characters and "
                         "one of viewer, runner, prober, admin",
                         PRINCIPAL_LABEL_MAX);
    if (make(&t, name, role))
        rc = cli_fail("keygen", "no random bytes to be had");
    else if (check_line(&t, &msg))
        rc = cli_usage("keygen", "--token: %s", msg.text);
    else if (file && append(file, &t, &msg))
        rc = cli_fail("keygen", "%s: %s", file, msg.text);
    else
        rc = print(&t, is_json, file != NULL);
    explicit_bzero(t.text, sizeof(t.text));
    return rc;
}
