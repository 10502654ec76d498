#include <stdlib.h>
#include <string.h>

#include "prober/probe_private.h"
#include "proto/grpc.h"

/* Everything that the session has to say, as one piece if it can be. */
bool probe_put_h2(struct probe *p)
{
    size_t len;
    const uint8_t *data = h2_client_out(p->h2, &len);
    if (len == 0)
        return true;
    return probe_put(p, data, len);
}

bool probe_grpc_request(struct probe *p)
{
    const struct target *t = p->target;
    if (!p->h2)
        p->h2 = h2_client_open();
    if (!p->h2)
        return false;
    struct h2_request r = {
        .method = "POST",
        .scheme = t->tls ? "https" : "http",
        .authority = t->authority,
        .path = GRPC_HEALTH_CHECK,
        .is_grpc = true,
        .timeout_ns = p->run->timeout_ns,
        .body = t->grpc_body,
        .body_len = t->grpc_body_len,
    };
    return !h2_client_request(p->h2, &r) && probe_put_h2(p);
}

static uint8_t outcome_of_session(const struct h2_response *r,
                                  const char **error)
{
    *error = r->error[0] ? r->error : NULL;
    switch (r->result) {
    case H2_GOAWAY:
        return OUTCOME_H2_GOAWAY;
    case H2_RESET:
    case H2_REFUSED:
        return OUTCOME_H2_RESET;
    case H2_PENDING:
    case H2_OK:
    case H2_PROTOCOL:
        break;
    }
    return OUTCOME_H2_ERROR;
}

static uint8_t outcome_of_health(struct sample *s, const struct h2_response *r)
{
    const uint8_t *message;
    size_t len;
    int serving;
    if (r->body_bytes != r->body_len ||
        grpc_read_frame(r->body, r->body_len, &message, &len) ||
        grpc_read_health_response(message, len, &serving))
        return OUTCOME_GRPC_MALFORMED;
    s->grpc_serving =
        (int8_t)(serving >= 0 && serving <= GRPC_SERVICE_UNKNOWN ? serving : 0);
    return serving == GRPC_SERVING ? OUTCOME_OK : OUTCOME_GRPC_NOT_SERVING;
}

/* A complete response, from the outside in: HTTP status, content type, gRPC
 * status, message. */
static uint8_t outcome_of_response(struct probe *p, const struct h2_response *r,
                                   const char **error)
{
    static const char grpc_type[] = "application/grpc";
    struct sample *s = &p->run->sample;
    int status;

    s->http_status = (int16_t)r->status;
    if (r->status != 200) {
        *error = "the answer is not gRPC's HTTP status 200";
        return OUTCOME_HTTP_STATUS;
    }
    if (strncmp(r->content_type, grpc_type, sizeof(grpc_type) - 1)) {
        *error = "content-type is not application/grpc";
        return OUTCOME_GRPC_MALFORMED;
    }
    if (!r->grpc_status[0] || grpc_parse_status(r->grpc_status, &status)) {
        *error = "no valid grpc-status in the trailers";
        return OUTCOME_GRPC_MALFORMED;
    }
    s->grpc_status = (int16_t)(status > INT16_MAX ? INT16_MAX : status);
    if (status != GRPC_OK) {
        *error = grpc_status_name(status);
        if (r->grpc_message[0]) {
            grpc_decode_message(r->grpc_message, p->run->message,
                                sizeof(p->run->message));
            *error = p->run->message;
        }
        return OUTCOME_GRPC_STATUS;
    }
    uint8_t outcome = outcome_of_health(s, r);
    if (outcome == OUTCOME_GRPC_MALFORMED)
        *error = "the health answer is not one";
    else if (outcome == OUTCOME_GRPC_NOT_SERVING)
        *error = grpc_serving_name(s->grpc_serving);
    return outcome;
}

struct probe_verdict probe_grpc_feed(struct probe *p, const uint8_t *data,
                                     size_t len)
{
    int rc = h2_client_feed(p->h2, data, len);
    const struct h2_response *r = h2_client_response(p->h2);
    struct probe_verdict v = {.is_begun = h2_client_response_began(p->h2)};
    if (!p->run || (r->result == H2_PENDING && rc == 0))
        return v;

    uint64_t server_ns;
    v.is_done = true;
    v.is_kept = p->mode == MODE_WARM && h2_client_is_usable(p->h2);
    if (r->result != H2_OK) {
        v.outcome = outcome_of_session(r, &v.error);
        v.is_kept = v.is_kept && r->result != H2_PROTOCOL;
        return v;
    }
    v.is_whole = true;
    v.outcome = outcome_of_response(p, r, &v.error);
    if (r->server_timing[0] &&
        !http1_server_timing(r->server_timing, strlen(r->server_timing),
                             &server_ns))
        p->run->sample.server_ns = (int64_t)server_ns;
    return v;
}
