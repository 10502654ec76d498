/* proto/base/err.h - error codes and one-line messages for people.
 *
 * A function that can fail returns 0 or one of these negative codes. A probed
 * target that fails is not an error of ours: that is enum probe_outcome.
 *
 * struct errmsg carries the one message a person will read. The place that
 * knows the detail sets it, callers wrap it outward ("outer: inner").
 */
#ifndef PROTO_BASE_ERR_H
#define PROTO_BASE_ERR_H

enum err {
    ERR_NOMEM = -1,  /* allocation failed */
    ERR_TRUNC = -2,  /* input ends before the value does */
    ERR_BAD = -3,    /* input breaks its format */
    ERR_TOOBIG = -4, /* a stated limit was exceeded */
    ERR_AUTH = -5,   /* not authentic or not allowed */
    ERR_BUSY = -6,   /* no free slot, try later */
    ERR_CLOSED = -7, /* the other side or the object is closed */
    ERR_SYS = -8,    /* a system call failed, errno says why */
};

#define ERRMSG_SIZE 256

struct errmsg {
    char text[ERRMSG_SIZE];
};

/* The name of `code` in lower case ("nomem"), "ok" for 0, "unknown" else. */
const char *err_name(int code);

/* Set the message; longer text is cut. `msg` may be NULL: then nothing. */
void errmsg_set(struct errmsg *msg, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Put "formatted: " in front of what is there. `msg` may be NULL. */
void errmsg_wrap(struct errmsg *msg, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* PROTO_BASE_ERR_H */
