/* prober/control_private.h - what the parts of control.h share.
 *
 *     control.c         routes, and the answers that are done in one go
 *     control_admit.c   who may come in at all
 *     control_lines.c   POST /v1/probes: an inquiry as NDJSON
 *     control_status.c  GET /v1/status
 */
#ifndef PROBER_CONTROL_PRIVATE_H
#define PROBER_CONTROL_PRIVATE_H

#include "prober/control.h"
#include "proto/json.h"

#define CONTROL_PEER_SIZE 80

/* "10.0.0.1:4711", "unix uid=1000 pid=77". Returns `text`. */
const char *control_peer(const struct httpd_peer *peer,
                         char text[CONTROL_PEER_SIZE]);

/* control_admit() and, if it refuses, the answer. */
bool control_let_in(struct control_source *s,
                    const struct httpd_request *request,
                    enum control_action action, struct principal *who,
                    struct httpd_answer *answer);

void control_probe(struct control_source *s,
                   const struct httpd_request *request,
                   const struct principal *who, struct httpd_answer *answer);
void control_status(const struct control_source *s,
                    struct httpd_answer *answer);

/* An answer of what a writer holds, which is taken over; `w` may have failed:
 * then it is a 500. */
void control_answer(struct httpd_answer *answer, unsigned status, struct wr *w);

#endif /* PROBER_CONTROL_PRIVATE_H */
