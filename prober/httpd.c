#include "prober/httpd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"

#define MESSAGE_MAX 400

bool httpd_is_same_peer(const struct httpd_peer *a, const struct httpd_peer *b)
{
    if (a->is_local || b->is_local)
        return a->is_local == b->is_local && a->uid == b->uid;
    size_t len = a->addr.family == ADDR_V6 ? 8 : sizeof(a->addr.ip);
    return a->addr.family == b->addr.family &&
           memcmp(a->addr.ip, b->addr.ip, len) == 0;
}

bool httpd_slice_is_full(const struct wr *w)
{
    return w->err || w->len >= w->max / 2 || w->max - w->len < HTTPD_PIECE_MAX;
}

static int error_body(void *state, struct wr *w)
{
    wr_text(w, state);
    return wr_err(w);
}

void httpd_error(struct httpd_answer *answer, unsigned status, const char *code,
                 const char *format, ...)
{
    char message[MESSAGE_MAX + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    *answer = (struct httpd_answer){
        .status = status,
        .content_type = "application/json",
    };

    struct wr w;
    struct json j;
    wr_init_grow(&w, 8192);
    json_init(&j, &w);
    json_object_begin(&j);
    json_key(&j, "error");
    json_object_begin(&j);
    json_key_text(&j, "code", code);
    json_key_text(&j, "message", message);
    json_object_end(&j);
    json_object_end(&j);
    wr_bytes(&w, "\n", 2); /* with the NUL: it is kept as text */
    if (wr_err(&w)) {
        wr_fini(&w);
        answer->text = "{\"error\":{\"code\":\"no_memory\","
                       "\"message\":\"out of memory\"}}\n";
        return;
    }
    answer->state = w.data; /* moved out of the writer */
    answer->body = error_body;
    answer->done = free;
}

void httpd_answer_fini(struct httpd_answer *answer)
{
    if (answer->done)
        answer->done(answer->state);
    *answer = (struct httpd_answer){0};
}
