/* prober/api_views.h - what the views of api.h share among themselves. */
#ifndef PROBER_API_VIEWS_H
#define PROBER_API_VIEWS_H

#include "prober/api.h"
#include "proto/json.h"

/* Parameters that a view understands, as a set of bits. */
enum {
    API_LEVEL = 1 << 0,    /* node | zone | region, default zone */
    API_WINDOW = 1 << 1,   /* 10s .. 1h, default 5m */
    API_PROTOCOL = 1 << 2, /* http1 | grpc | all, default all */
    API_MODE = 1 << 3,     /* cold | warm, default cold */
    API_AT = 1 << 4,       /* RFC 3339, default now */
    API_LIMIT = 1 << 5,    /* 1..API_SAMPLES_MAX, default 100 */
    API_TARGET = 1 << 6,   /* any text */
    API_OUTCOME = 1 << 7,  /* an outcome's name, default any */
};

struct api_params {
    enum matrix_level level;
    uint64_t window_s;
    int protocol, mode; /* -1: all */
    size_t limit;
    const char *target;  /* borrowed from the request, or NULL */
    int outcome;         /* -1: any */
    uint64_t at_unix_ns; /* 0: now */
};

/* Fill *p with defaults and what was given. Returns false, with `answer` made
 * a 400, for a parameter outside `allowed` or a value that makes no sense. */
bool api_params(const struct api_source *s, const struct httpd_request *r,
                unsigned allowed, struct api_params *p,
                struct httpd_answer *answer);

/* "2026-01-01T00:00:00Z", with a fraction of up to nine digits, and an offset
 * instead of Z. Returns 0, or ERR_BAD for anything else, for days that there
 * are not, and for times that do not fit. In a query "+" is a space, and is
 * taken for what was meant. */
int api_parse_time(const char *text, uint64_t *unix_ns);

/* What time it is for what is measured: the wall clock, or the mesh's time if
 * that is known and the wall clock is off by more than a window. Windows and
 * their ages are of it; else a node whose clock is behind would show as fresh
 * what is stale, and one that is ahead nothing at all. */
uint64_t api_now_unix_ns(const struct api_source *s);

/* Let the control plane bring nodes and mesh up to date. */
void api_refresh(const struct api_source *s);
/* The nodes that the matrix should show, of the present snapshot; borrowed
 * until the view returns to its caller. */
const struct matrix_node *api_expected_nodes(const struct api_source *s,
                                             size_t *count);

/* "ok", "alone", "leaving" or "off". */
const char *api_mesh_state_name(const struct api_mesh *m);
/* Does it take packets that no key vouches for? */
bool api_mesh_accepts_clear(const struct api_mesh *m);
/* "members": how many are alive, suspect, left, failed. */
void api_write_member_counts(struct json *j, const struct api_mesh *m);
/* "gossip": null if the mesh is off or `m` is NULL. */
void api_write_gossip(struct json *j, const struct api_mesh *m);

/* The answer when there is no memory: 500. */
void api_no_memory(struct httpd_answer *answer);

/* "generated_at" and "answered_by". */
void api_write_origin(struct json *j, const struct api_source *s,
                      uint64_t now_unix_ns);

/* "covers": what time the answer is of, up to until_unix_ns at most. */
void api_write_cover(struct json *j, const struct history_cover *c,
                     uint64_t until_unix_ns);

/* What time the frames held can tell of. */
struct history_cover api_frames_cover(const struct frames *frames,
                                      struct matrix_windows w);
/* Append a text as one segment of a path, percent-encoded. */
void api_put_segment(struct wr *w, const char *text);

/* An answer waits at most so long for frames that came just before it. */
#define API_FOLD_NS 50000000u

/* Let the history fold frames for the rest of the turn. Is there more? */
bool api_is_folding(const struct api_source *s, uint64_t start_ns);
uint64_t api_retention_s(const struct api_source *s);

/* Values that a cell has in the matrix and in the drill-down alike. */
void api_write_outcomes(struct json *j, const uint64_t outcomes[OUTCOME_N]);
/* A key with a number of three decimals, null if negative. */
void api_write_seconds(struct json *j, const char *key, double s);
/* null unless something was attempted. */
void api_write_ratio(struct json *j, const char *key, double ratio,
                     uint64_t attempts);
/* A key with null instead of a negative number. */
void api_write_known(struct json *j, const char *key, int64_t v);
/* The window's surroundings, as an object. */
void api_write_context(struct json *j, const struct frame_context *c);

typedef void api_view(const struct api_source *s, const struct httpd_request *r,
                      struct httpd_answer *answer);
api_view api_matrix, api_cells, api_members, api_samples, api_status, api_livez,
    api_readyz;

/* How long one call of `prepare` works before it lets others have a turn. */
#define API_TURN_NS 500000u

/* Has a call that began at `start_ns` had its share of time? */
bool api_turn_is_over(const struct api_source *s, uint64_t start_ns);

/* Is the measuring plane heard of lately enough? */
bool api_is_live(const struct api_source *s);

#endif /* PROBER_API_VIEWS_H */
