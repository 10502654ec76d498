/* prober/principals.h - who may do what on the control port.
 *
 * A principal is told from how it came: the kernel's word for a unix socket
 * (uid, gid, groups), the verified client certificate's names, or a bearer
 * token. Roles contain each other:
 *
 *     viewer   read: status, matrix, members ...
 *     runner   probes of members, static peers and configured targets
 *     prober   probes of whatever the target policy lets through
 *     admin    reload, drain, cancel others' probes
 *
 * Tokens are kept as SHA-256 and compared in constant time, all of them
 * whichever fits. A file of tokens has lines "name role sha256:<64 hex>",
 * blank lines and # comments; it must not be readable by others. A name may
 * stand there more than once, so that a new token can be handed out before the
 * old one is taken out; a token may not. Five wrong tokens within a minute lock
 * an address out for a minute (lockout.h): then no token is looked at, while
 * certificates and users count as before.
 *
 * Pure: files are read by the caller (config), time comes in. One thread.
 */
#ifndef PROBER_PRINCIPALS_H
#define PROBER_PRINCIPALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/httpd.h"
#include "proto/base/err.h"

#define PRINCIPAL_NAME_SIZE 129
#define PRINCIPALS_MAX      256 /* tokens, users, certificates: of each */
#define PRINCIPAL_LABEL_MAX 122 /* of a token or certificate: "token:" fits */
#define PRINCIPAL_FILE_MAX  131072 /* bytes of a file of tokens */
#define PRINCIPAL_TOKEN_MIN 22     /* characters: 128 bits in base64 */
#define PRINCIPAL_TOKEN_MAX 256

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_RUNNER, ROLE_PROBER, ROLE_ADMIN };
const char *role_name(enum role r); /* "none", "viewer", ... */
int role_parse(const char *text);   /* -1: none of viewer .. admin */

struct principals; /* opaque */

struct principal_token {
    char name[PRINCIPAL_NAME_SIZE];
    enum role role;
    uint8_t sha256[32];
};
/* Parse a file of tokens into `out`, room for PRINCIPALS_MAX. Returns how many
 * or ERR_BAD / ERR_TOOBIG with `msg` naming the line ("line 3: ..."); nothing
 * of a line is repeated. */
int principals_parse_tokens(const char *text, size_t len,
                            struct principal_token *out, struct errmsg *msg);

struct principal_user { /* on a unix socket */
    bool is_group;
    uint32_t id; /* uid or gid */
    enum role role;
};
struct principal_certificate {
    char name[PRINCIPAL_NAME_SIZE]; /* a subjectAltName: DNS, URI or email */
    enum role role;
};

struct principals_config {
    uint32_t own_uid; /* it and uid 0 are admin */
    size_t n_tokens, n_users, n_certificates;
    const struct principal_token *tokens; /* all copied */
    const struct principal_user *users;
    const struct principal_certificate *certificates;
    /* Requests per minute of one principal, and that many at once. */
    unsigned requests_per_minute, requests_burst; /* 10, 10 */
};

struct principals *principals_open(const struct principals_config *c);
void principals_close(struct principals *p);
/* The same with other people; rates and lock-outs go on. ERR_NOMEM. */
int principals_reload(struct principals *p, const struct principals_config *c);

enum identify_result {
    IDENTIFY_OK,
    IDENTIFY_UNKNOWN, /* 401 (or 403 on a unix socket): nobody we know */
    IDENTIFY_LOCKED,  /* 429: too many wrong tokens from there */
};
struct principal {
    char name[PRINCIPAL_NAME_SIZE]; /* "uid:1000", "token:ci", "cert:..." */
    enum role role;
    uint32_t key; /* for rates */
};
/* Is it "Bearer", one space and a token (RFC 6750's b64token) of a length
 * within the bounds above? The token, in `authorization`, or NULL. */
const char *principals_bearer(const char *authorization);

/* Who is it? `authorization` is the header's value or NULL; one that is not
 * empty and is not a token of ours is a wrong one. If several ways apply the
 * strongest role counts. `out` is set for IDENTIFY_OK only. */
enum identify_result principals_identify(struct principals *p, uint64_t now_ns,
                                         const struct httpd_peer *peer,
                                         const char *authorization,
                                         struct principal *out);
/* May it make one more request now? False: 429. */
bool principals_take_request(struct principals *p, uint64_t now_ns,
                             const struct principal *who);

struct principals_stats {
    uint64_t wrong_tokens;
    uint64_t locked;   /* requests that came while their place was locked */
    uint64_t refused;  /* of principals_take_request() */
    uint64_t compared; /* digests of tokens; each token costs one for each that
                        * there is, whichever fits */
};
void principals_stats(const struct principals *p, struct principals_stats *out);

/* What a role may do. */
enum control_action {
    ACTION_READ,        /* status, API */
    ACTION_PROBE_KNOWN, /* configured targets, peers, members */
    ACTION_PROBE_OTHER, /* inside the policy */
    ACTION_CANCEL_OWN,
    ACTION_CANCEL_ANY,
    ACTION_RELOAD,
    ACTION_DRAIN,
    ACTION_N,
};
bool role_may(enum role role, enum control_action action);

#endif /* PROBER_PRINCIPALS_H */
