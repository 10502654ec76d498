#include "prober/httpd_wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define PREFACE     "PRI * HTTP/2.0" /* of it what no HTTP/1.1 starts with */
#define PREFACE_LEN (sizeof(PREFACE) - 1)
#define CIPHER_SIZE 4096  /* read at a time */
#define PIECE_BYTES 16384 /* encrypted at a time: one record */
#define NEVER       UINT64_MAX

enum stage {
    STAGE_SNIFF,     /* plain text, too few bytes to tell */
    STAGE_HANDSHAKE, /* TLS */
    STAGE_OPEN,      /* the session has it */
    STAGE_FAILED,    /* an alert may have to be sent yet */
    STAGE_BROKEN,    /* not even that */
};

struct httpd_wire {
    const struct httpd_wire_config *config;
    struct httpd_peer *peer;
    struct httpd_waker *waker;
    enum stage stage;
    uint64_t since_ns; /* of the stage */

    const struct httpd_session_ops *ops;
    void *session; /* NULL before STAGE_OPEN */

    struct tls *tls; /* NULL: plain, or not a byte was received */
    bool is_lent;    /* in[] was fed to TLS and is not used up */
    bool has_eof, has_told_eof;
    bool is_shut;         /* close_notify was made */
    uint64_t progress_ns; /* ciphertext was made or left */
    size_t sealed; /* bytes of the session's output that were encrypted and
                    * not sent as a whole */

    size_t in_len; /* in in[]: sniffed, or ciphertext lent to TLS */
    size_t in_size;
    uint8_t in[];
};

static void go_to(struct httpd_wire *w, enum stage stage, uint64_t now_ns)
{
    w->stage = stage;
    w->since_ns = now_ns;
}

static void open_session(struct httpd_wire *w,
                         const struct httpd_session_ops *ops, uint64_t now_ns)
{
    w->ops = ops;
    w->session = ops->open(w->config->conn, w->peer, w->waker, now_ns);
    go_to(w, w->session ? STAGE_OPEN : STAGE_BROKEN, now_ns);
}

struct httpd_wire *httpd_wire_open(const struct httpd_wire_config *config,
                                   struct httpd_peer *peer,
                                   struct httpd_waker *waker, uint64_t now_ns)
{
    size_t in_size = config->tls ? CIPHER_SIZE : PREFACE_LEN;
    struct httpd_wire *w = calloc(1, sizeof(*w) + in_size);
    if (!w)
        return NULL;
    w->config = config;
    w->peer = peer;
    w->waker = waker;
    w->in_size = in_size;
    go_to(w, config->tls ? STAGE_HANDSHAKE : STAGE_SNIFF, now_ns);
    if (w->stage == STAGE_SNIFF && !config->http2)
        open_session(w, config->http1, now_ns);
    if (w->stage == STAGE_BROKEN) {
        free(w);
        return NULL;
    }
    return w;
}

void httpd_wire_close(struct httpd_wire *w)
{
    if (!w)
        return;
    if (w->session)
        w->ops->close(w->session);
    tls_close(w->tls);
    free(w);
}

void httpd_wire_abandon(struct httpd_wire *w)
{
    if (w->session)
        w->ops->abandon(w->session);
    w->stage = STAGE_BROKEN;
}

bool httpd_wire_refuse(struct httpd_wire *w, uint64_t now_ns)
{
    if (w->config->tls)
        return false;
    if (w->stage == STAGE_SNIFF)
        open_session(w, w->config->http1, now_ns);
    if (w->stage != STAGE_OPEN)
        return false;
    w->ops->refuse(w->session, now_ns);
    return true;
}

/* ---- plain text ---- */

static void tell_eof(struct httpd_wire *w, uint64_t now_ns)
{
    if (w->stage == STAGE_OPEN && !w->has_told_eof) {
        w->has_told_eof = true;
        w->ops->eof(w->session, now_ns);
    }
}

static void sniff(struct httpd_wire *w, uint64_t now_ns)
{
    bool is_like = memcmp(w->in, PREFACE, w->in_len) == 0;
    if (is_like && w->in_len < PREFACE_LEN && !w->has_eof)
        return;
    bool is_http2 = is_like && w->in_len == PREFACE_LEN;
    open_session(w, is_http2 ? w->config->http2 : w->config->http1, now_ns);
    if (w->stage != STAGE_OPEN)
        return;
    size_t size = 0;
    uint8_t *space = w->ops->space(w->session, &size);
    assert(size >= w->in_len);
    if (w->in_len > 0) {
        memcpy(space, w->in, w->in_len);
        w->ops->received(w->session, w->in_len, now_ns);
    }
    w->in_len = 0;
    if (w->has_eof)
        tell_eof(w, now_ns);
}

/* ---- TLS ---- */

/* Is ciphertext waiting to be written? */
static bool has_cipher_out(const struct httpd_wire *w)
{
    size_t len = 0;
    return w->tls && tls_out(w->tls, &len) != NULL;
}

static void use_up(struct httpd_wire *w)
{
    w->is_lent = false;
    w->in_len = 0;
}

/* False: without memory. */
static bool lend(struct httpd_wire *w)
{
    if (!w->tls)
        w->tls = tls_accept(w->config->tls);
    if (!w->tls)
        return false;
    if (!w->is_lent && w->in_len > 0) {
        tls_feed(w->tls, w->in, w->in_len);
        w->is_lent = true;
    }
    return true;
}

static void shake_hands(struct httpd_wire *w, uint64_t now_ns)
{
    enum tls_state state = tls_handshake(w->tls);
    bool is_http2 = strcmp(tls_alpn(w->tls), "h2") == 0;
    if (state == TLS_HANDSHAKE) {
        use_up(w);
    } else if (state != TLS_OPEN || (is_http2 && !w->config->http2)) {
        w->config->conn->stats->bad_handshakes++;
        use_up(w);
        go_to(w, STAGE_FAILED, now_ns);
    } else {
        w->peer->is_tls = true;
        w->peer->n_names =
            tls_peer_names(w->tls, w->peer->names, HTTPD_NAMES_MAX);
        open_session(w, is_http2 ? w->config->http2 : w->config->http1, now_ns);
    }
}

/* Hand over what can be decrypted, as far as the session has room. */
static void decrypt(struct httpd_wire *w, uint64_t now_ns)
{
    size_t size;
    uint8_t *space;
    while (w->is_lent && (space = w->ops->space(w->session, &size))) {
        int n = tls_read(w->tls, space, size);
        if (n > 0) {
            w->ops->received(w->session, (size_t)n, now_ns);
            continue;
        }
        use_up(w);
        if (n == ERR_CLOSED)
            w->has_eof = true;
        else if (n < 0)
            httpd_wire_abandon(w);
    }
    if (w->has_eof && w->in_len == 0)
        tell_eof(w, now_ns);
}

/* Take the session's next piece of output, or its end. */
static void encrypt(struct httpd_wire *w, uint64_t now_ns)
{
    if (w->stage != STAGE_OPEN || !w->tls || has_cipher_out(w))
        return;
    assert(w->sealed == 0);
    enum httpd_conn_phase phase = w->ops->phase(w->session);
    size_t len = 0;
    const uint8_t *data =
        phase < HTTPD_CONN_ENDED ? w->ops->out(w->session, &len) : NULL;
    w->progress_ns = now_ns;
    if (data) {
        w->sealed = len < PIECE_BYTES ? len : PIECE_BYTES;
        if (tls_write(w->tls, data, w->sealed))
            httpd_wire_abandon(w);
    } else if (!w->is_shut &&
               (phase == HTTPD_CONN_LINGERING || phase == HTTPD_CONN_ENDED)) {
        w->is_shut = true;
        w->since_ns = now_ns;
        tls_shutdown(w->tls);
    }
}

static void turn_of_tls(struct httpd_wire *w, uint64_t now_ns)
{
    if (!lend(w)) {
        w->stage = STAGE_BROKEN;
        return;
    }
    if (w->stage == STAGE_HANDSHAKE) {
        shake_hands(w, now_ns); /* enough work for one turn */
        return;
    }
    decrypt(w, now_ns);
    if (w->stage == STAGE_OPEN && w->ops->wants_turn(w->session))
        w->ops->turn(w->session, now_ns);
}

/* ---- the host's side ---- */

uint8_t *httpd_wire_space(struct httpd_wire *w, size_t *size)
{
    if (w->stage == STAGE_OPEN && !w->tls)
        return w->ops->space(w->session, size);
    if (w->stage == STAGE_FAILED)
        w->in_len = 0; /* read and dropped */
    bool is_full = w->is_lent || w->in_len == w->in_size;
    *size = is_full || w->has_eof ? 0 : w->in_size - w->in_len;
    return *size > 0 ? w->in + w->in_len : NULL;
}

void httpd_wire_received(struct httpd_wire *w, size_t n, uint64_t now_ns)
{
    if (w->stage == STAGE_OPEN && !w->tls) {
        w->ops->received(w->session, n, now_ns);
        return;
    }
    assert(n <= w->in_size - w->in_len);
    w->in_len += n;
    if (w->stage == STAGE_SNIFF)
        sniff(w, now_ns);
}

void httpd_wire_eof(struct httpd_wire *w, uint64_t now_ns)
{
    w->has_eof = true;
    if (w->stage == STAGE_SNIFF)
        sniff(w, now_ns);
    else if (w->stage == STAGE_HANDSHAKE)
        go_to(w, STAGE_FAILED, now_ns);
    else if (w->stage == STAGE_OPEN && w->in_len == 0)
        tell_eof(w, now_ns);
    encrypt(w, now_ns);
}

/* Is there ciphertext that a turn will look at? */
static bool has_unseen(const struct httpd_wire *w)
{
    size_t size;
    if (w->in_len == 0 || has_cipher_out(w))
        return false;
    return w->stage == STAGE_HANDSHAKE ||
           (w->stage == STAGE_OPEN && w->ops->space(w->session, &size));
}

bool httpd_wire_wants_turn(struct httpd_wire *w)
{
    bool may_session = w->stage == STAGE_OPEN && !has_cipher_out(w);
    return has_unseen(w) || (may_session && w->ops->wants_turn(w->session));
}

void httpd_wire_turn(struct httpd_wire *w, uint64_t now_ns)
{
    if (!httpd_wire_wants_turn(w))
        return;
    if (w->config->tls)
        turn_of_tls(w, now_ns);
    else
        w->ops->turn(w->session, now_ns);
    encrypt(w, now_ns);
}

const uint8_t *httpd_wire_out(const struct httpd_wire *w, size_t *len)
{
    *len = 0;
    if (w->stage == STAGE_BROKEN)
        return NULL;
    if (w->tls)
        return tls_out(w->tls, len);
    return w->stage == STAGE_OPEN ? w->ops->out(w->session, len) : NULL;
}

void httpd_wire_sent(struct httpd_wire *w, size_t n, uint64_t now_ns)
{
    if (!w->tls) {
        w->ops->sent(w->session, n, now_ns);
        return;
    }
    tls_sent(w->tls, n);
    w->progress_ns = now_ns;
    if (w->stage != STAGE_OPEN)
        return;
    if (has_cipher_out(w)) {
        w->ops->progress(w->session, now_ns);
        return;
    }
    size_t sealed = w->sealed;
    w->sealed = 0;
    if (sealed > 0)
        w->ops->sent(w->session, sealed, now_ns);
    encrypt(w, now_ns);
}

void httpd_wire_progress(struct httpd_wire *w, uint64_t now_ns)
{
    w->progress_ns = now_ns;
    if (w->stage == STAGE_OPEN)
        w->ops->progress(w->session, now_ns);
}

enum httpd_conn_phase httpd_wire_phase(const struct httpd_wire *w)
{
    enum httpd_conn_phase phase = HTTPD_CONN_READING;
    switch (w->stage) {
    case STAGE_SNIFF:
    case STAGE_HANDSHAKE:
        break;
    case STAGE_OPEN:
        phase = w->ops->phase(w->session);
        if (has_cipher_out(w) && phase != HTTPD_CONN_ABORTED)
            phase = HTTPD_CONN_ANSWERING; /* its end has to get out */
        break;
    case STAGE_FAILED:
        phase = has_cipher_out(w) ? HTTPD_CONN_ANSWERING
                : w->has_eof      ? HTTPD_CONN_ENDED
                                  : HTTPD_CONN_LINGERING;
        break;
    case STAGE_BROKEN:
        phase = HTTPD_CONN_ABORTED;
        break;
    }
    return phase;
}

uint64_t httpd_wire_waits_since(const struct httpd_wire *w)
{
    if (has_unseen(w))
        return NEVER;
    if (w->stage == STAGE_OPEN)
        return w->ops->waits_since(w->session);
    return w->stage <= STAGE_HANDSHAKE ? w->since_ns : NEVER;
}

/* Of the wire itself: a session that is over, or thinks that nothing of its
 * output is left, does not know what waits here. */
static uint64_t own_deadline(const struct httpd_wire *w)
{
    const struct httpd_limits *l = w->config->conn->limits;
    switch (w->stage) {
    case STAGE_SNIFF:
        return w->since_ns + l->head_timeout_ns;
    case STAGE_HANDSHAKE:
        return has_unseen(w) ? NEVER : w->since_ns + l->handshake_timeout_ns;
    case STAGE_OPEN:
        if (w->is_shut)
            return w->since_ns + l->linger_timeout_ns;
        return has_cipher_out(w) ? w->progress_ns + l->write_timeout_ns : NEVER;
    case STAGE_FAILED:
        return w->since_ns + l->linger_timeout_ns;
    case STAGE_BROKEN:
        break;
    }
    return NEVER;
}

/* What came may be what the session waits for. */
static uint64_t session_deadline(const struct httpd_wire *w)
{
    return w->stage == STAGE_OPEN && !has_unseen(w)
               ? w->ops->deadline(w->session)
               : NEVER;
}

uint64_t httpd_wire_deadline(const struct httpd_wire *w)
{
    uint64_t own_ns = own_deadline(w);
    uint64_t session_ns = session_deadline(w);
    return own_ns < session_ns ? own_ns : session_ns;
}

void httpd_wire_expire(struct httpd_wire *w, uint64_t now_ns)
{
    if (now_ns >= session_deadline(w)) {
        w->ops->expire(w->session, now_ns);
        encrypt(w, now_ns);
    }
    if (now_ns < own_deadline(w))
        return;
    w->config->conn->stats->timeouts += !w->is_shut && w->stage != STAGE_FAILED;
    /* Not worth an alert: who is silent in a handshake hears nothing. */
    httpd_wire_abandon(w);
}
