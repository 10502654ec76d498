#include "proto/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_name(int code)
{
    static const char *const names[] = {"ok",   "nomem",  "trunc",
                                        "bad",  "toobig", "auth",
                                        "busy", "closed", "sys"};
    if (code > 0 || code < ERR_SYS)
        return "unknown";
    return names[-code];
}

void errmsg_set(struct errmsg *msg, const char *format, ...)
{
    if (!msg)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(msg->text, sizeof(msg->text), format, args);
    va_end(args);
}

/* By hand, because the compiler rightly warns that snprintf() may cut this
 * text, and cutting is what we want. Returns the new length. */
static size_t append(struct errmsg *msg, size_t at, const char *text)
{
    size_t len = strlen(text);
    size_t room = sizeof(msg->text) - 1 - at;
    if (len > room)
        len = room;
    memcpy(msg->text + at, text, len);
    msg->text[at + len] = '\0';
    return at + len;
}

void errmsg_wrap(struct errmsg *msg, const char *format, ...)
{
    if (!msg)
        return;
    char inner[ERRMSG_SIZE];
    memcpy(inner, msg->text, sizeof(inner));
    inner[sizeof(inner) - 1] = '\0';

    va_list args;
    va_start(args, format);
    int n = vsnprintf(msg->text, sizeof(msg->text), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(msg->text))
        return;
    append(msg, append(msg, (size_t)n, ": "), inner);
}
