/* prober/probe_private.h - between probe.c and the two protocols' halves. */
#ifndef PROBER_PROBE_PRIVATE_H
#define PROBER_PROBE_PRIVATE_H

#include "prober/probe.h"

/* How far the response has come. */
struct probe_verdict {
    bool is_begun; /* a first byte of it was among what was fed */
    bool is_done;  /* complete: outcome is valid */
    bool is_whole; /* all of the response was read, whatever it says */
    bool is_kept;  /* the connection may serve another attempt */
    uint8_t outcome;
    const char *error; /* borrowed until the next call, NULL if none */
};

/* Put the request into the output. False: no memory or session unusable. */
bool probe_http_request(struct probe *p);
bool probe_grpc_request(struct probe *p);

/* Feed application bytes. */
struct probe_verdict probe_http_feed(struct probe *p, const uint8_t *data,
                                     size_t len);
struct probe_verdict probe_grpc_feed(struct probe *p, const uint8_t *data,
                                     size_t len);
/* The stream ended; `is_clean` if TLS said so, or there is no TLS. */
struct probe_verdict probe_http_eof(struct probe *p, bool is_clean);

/* Move what the HTTP/2 session has to say into the output, as one piece.
 * False on failure. */
bool probe_put_h2(struct probe *p);

/* Hand plain bytes to TLS or to the socket. False on failure. */
bool probe_put(struct probe *p, const uint8_t *data, size_t len);

#endif /* PROBER_PROBE_PRIVATE_H */
