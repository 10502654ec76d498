/* mesh/spread_private.h - what the parts of spread share. */
#ifndef MESH_SPREAD_PRIVATE_H
#define MESH_SPREAD_PRIVATE_H

#include "mesh/canary.h"
#include "mesh/spread.h"
#include "mesh/wants.h"
#include "proto/base/buf.h"
#include "proto/base/rate.h"
#include "proto/base/rng.h"

#define SPREAD_ID_BYTES    5
#define SPREAD_ENTRY_BYTES (SPREAD_ID_BYTES + 1)
#define SPREAD_UNIT_BYTES  256  /* of a length in an entry */
#define SPREAD_CONTROL_MAX 4096 /* a comparison of others, at most */
#define SPREAD_ITEMS_MAX   1024 /* frames in one message, at most */
#define SPREAD_SECTIONS    64   /* of a comparison, heeded */
#define SPREAD_RECENT      3    /* windows before the running one: not cold */
#define SPREAD_HOT_SLOTS   16
#define SPREAD_OUT_MAX     16
#define SPREAD_COMPARED    8192  /* frames of one window, at most */
#define SPREAD_WORK        16384 /* frames looked at, per comparison */
#define SPREAD_STREAMS_MAX 32
#define SPREAD_IDS_MAX     (SPREAD_CONTROL_MAX / SPREAD_ID_BYTES)

enum spread_tag {
    SPREAD_SUMS = 1,
    SPREAD_COLD,
    SPREAD_LIST,
    SPREAD_OFFER,
    SPREAD_WANT,
};

/* A frame of a window, for comparing. */
struct id_ref {
    uint64_t id;
    uint32_t at; /* its place in the window */
};

struct hot_window {
    uint64_t window, changed_ns;
};

struct outgoing {
    uint32_t member;
    bool by_stream;
    size_t start, len; /* in the arena */
};

struct spread {
    struct spread_config config;
    char *name, *zone; /* owned */
    struct frames *frames;
    const struct members *members;
    struct rng rng;
    struct wants wants;
    struct origins origins;

    int64_t unix_ms; /* the wall clock at clock_ns */
    uint64_t clock_ns;
    uint64_t born;     /* window in which this life began */
    uint64_t epoch_ms; /* of our own last frame; 0: none yet */

    uint64_t next_ns, interval_ns;
    uint64_t news_ns; /* when something was new */
    bool had_news;
    uint64_t way_ns; /* from asking to having, mostly */
    uint64_t settle_ns;
    struct hot_window hot[SPREAD_HOT_SLOTS]; /* by window */

    struct rate bytes, answers;              /* sent */
    uint64_t streams_ns[SPREAD_STREAMS_MAX]; /* until when they last */

    size_t work;        /* of the present comparison */
    struct id_ref *ids; /* SPREAD_COMPARED of them */
    struct wr arena;
    struct outgoing out[SPREAD_OUT_MAX];
    size_t n_out, next_out;

    struct spread_stats stats;
};

/* ---- spread.c ---- */

/* What our wall clock shows, showed or will show. */
int64_t spread_wall_ms(const struct spread *s, uint64_t at_ns);
/* So much per second, and at most one second's worth at once. */
bool spread_take(struct rate *r, uint64_t now_ns, uint64_t amount,
                 uint64_t per_s);
/* Queue what was written to the arena since `start`. */
size_t spread_begin(struct spread *s, enum spread_kind kind);
void spread_send(struct spread *s, uint32_t member, size_t start,
                 bool by_stream);
/* How long to wait for what was asked for. */
uint64_t spread_patience(const struct spread *s);
bool spread_is_hot(const struct spread *s, uint64_t now_ns, uint64_t window);

/* ---- spread_exchange.c ---- */

static inline uint64_t spread_id(uint64_t hash)
{
    return hash >> (64 - 8 * SPREAD_ID_BYTES);
}

/* Begin an exchange with a member. */
void spread_compare(struct spread *s, uint64_t now_ns, uint32_t member);
/* A comparison came; `in` stands behind the header. */
void spread_on_comparison(struct spread *s, uint64_t now_ns,
                          const struct addr *from, struct rd *in);

#endif /* MESH_SPREAD_PRIVATE_H */
