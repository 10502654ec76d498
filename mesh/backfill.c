#include "mesh/backfill.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/rate.h"
#include "proto/base/rng.h"
#include "proto/ml_msg.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)
#define NOBODY    UINT32_MAX
#define HEAD_MAX  64 /* bytes of a PART before the part, at most */
#define STEP_END  HISTORY_TIERS
/* Windows before a node came, in which its history has a seam: from where no
 * part could be taken then, to where frames begin. */
#define SEAM (HISTORY_WINDOWS + 12)

enum kind { KIND_ASK = 1, KIND_PART };
enum flag { FLAG_LAST = 1, FLAG_FETCHING = 2 };

/* Whom parts are made for. */
struct asker {
    uint32_t member;
    uint64_t served_ns; /* 0: free */
};

struct backfill {
    struct backfill_config config;
    char name[ML_NAME_MAX + 1];
    struct rng rng;
    enum backfill_state state;
    uint64_t next_ns;  /* the state's deadline */
    uint64_t again_ns; /* no walk begins before */

    /* the walk */
    struct history_cursor cursor;
    uint32_t member; /* who is asked, or was last; NOBODY: choose */
    uint64_t nonce;
    unsigned failures, parts; /* in a row; in all */
    unsigned parts_here;      /* since it began, or began again */
    bool was_repeated;        /* since a peer was fetching, too */
    bool was_given_up;        /* the last one */
    uint64_t came;            /* window in which this node came among members */
    uint64_t begun_ns;
    uint64_t seam_ns; /* when to ask for the seam, 0: not */
    bool is_seam;     /* that is what is walked through now */

    /* serving */
    struct asker askers[BACKFILL_ASKERS_MAX];
    struct rate sent; /* bytes; at most a second's worth at once */

    struct wr part, out;
    uint32_t out_member; /* NOBODY: nothing to send */
    struct backfill_stats stats;
};

const struct backfill_timing backfill_timing_default = {
    .look_ns = NS_PER_S,
    .settle_ns = 2 * NS_PER_S,
    .timeout_ns = 5 * NS_PER_S,
    .gap_ns = 250 * NS_PER_MS,
    .serve_ns = 200 * NS_PER_MS,
    .asker_ns = 10 * NS_PER_S,
    .backoff_ns = 2 * NS_PER_S,
    .again_ns = 600 * NS_PER_S,
    /* A slot of ten minutes around it, and the windows that are no part's. */
    .seam_ns = 1050 * NS_PER_S,
};

const struct backfill_limits backfill_limits_default = {
    .part_bytes = 32u << 10,
    .rate_bytes = 1u << 20,
    .tries = 6,
    .parts = 4096,
};

const char *backfill_state_name(enum backfill_state s)
{
    static const char *const names[] = {
        [BACKFILL_ALONE] = "alone",
        [BACKFILL_WAITING] = "waiting",
        [BACKFILL_ASKED] = "asked",
        [BACKFILL_DONE] = "done",
    };
    return s <= BACKFILL_DONE ? names[s] : "unknown";
}

/* ---- life ---- */

struct backfill *backfill_open(const struct backfill_config *c, uint64_t now_ns)
{
    if (strlen(c->name) > ML_NAME_MAX)
        return NULL;
    struct backfill *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->config = *c;
    memcpy(b->name, c->name, strlen(c->name) + 1);
    b->config.name = b->name;
    rng_seed(&b->rng, c->seed);
    b->member = b->out_member = NOBODY;
    b->next_ns = now_ns;
    wr_init_grow(&b->part, HISTORY_PART_MAX);
    wr_init_grow(&b->out, HISTORY_PART_MAX + HEAD_MAX);
    return b;
}

void backfill_close(struct backfill *b)
{
    if (!b)
        return;
    wr_fini(&b->part);
    wr_fini(&b->out);
    free(b);
}

/* ---- members ---- */

static bool is_partner(const struct backfill *b, uint32_t index)
{
    if (index >= members_size(b->config.members) || index == MEMBERS_SELF)
        return false;
    const struct member *m = members_peek(b->config.members, index);
    return m->name_len && m->is_ours && m->state <= MEMBER_SUSPECT;
}

/* Anybody from a random place on, if possible not `except`. NOBODY: none. */
static uint32_t pick_partner(struct backfill *b, uint32_t except)
{
    size_t size = members_size(b->config.members);
    size_t first = size ? rng_below(&b->rng, size) : 0;
    for (size_t i = 0; i < size; i++) {
        uint32_t index = (uint32_t)((first + i) % size);
        if (index != except && is_partner(b, index))
            return index;
    }
    return except != NOBODY && is_partner(b, except) ? except : NOBODY;
}

static bool comes_from(const struct backfill *b, uint32_t member,
                       const struct addr *from)
{
    return is_partner(b, member) &&
           members_is_at(b->config.members, member, from);
}

/* ---- messages ---- */

static void put_head(struct wr *w, enum kind kind, uint64_t nonce,
                     const struct history_cursor *c)
{
    wr_reset(w);
    wr_u8(w, BACKFILL_TYPE);
    wr_u8(w, BACKFILL_VERSION);
    wr_u8(w, (uint8_t)kind);
    wr_be64(w, nonce);
    wr_u8(w, (uint8_t)c->step);
    wr_u8(w, c->is_begun);
    wr_be32(w, (uint32_t)c->start);
    wr_be32(w, c->line);
}

static struct history_cursor read_cursor(struct rd *r)
{
    struct history_cursor c;
    c.step = rd_u8(r);
    uint8_t is_begun = rd_u8(r);
    c.is_begun = is_begun == 1;
    c.start = rd_be32(r);
    c.line = rd_be32(r);
    if (c.step > STEP_END || is_begun > 1 ||
        (!c.is_begun && (c.start || c.line)))
        rd_fail(r, ERR_BAD);
    return c;
}

/* Is `b` behind `a` in the walk, which goes back in time? */
static bool is_behind(const struct history_cursor *a,
                      const struct history_cursor *b)
{
    if (a->step != b->step)
        return b->step > a->step;
    if (a->is_begun != b->is_begun)
        return b->is_begun;
    if (a->start != b->start)
        return b->start < a->start;
    return b->line > a->line;
}

static void send_to(struct backfill *b, uint32_t member)
{
    if (!wr_err(&b->out))
        b->out_member = member;
}

bool backfill_next(struct backfill *b, struct backfill_effect *e)
{
    if (b->out_member == NOBODY)
        return false;
    e->member = b->out_member;
    e->data = span_of(b->out.data, b->out.len);
    b->out_member = NOBODY;
    return true;
}

/* ---- asking ---- */

static void wait_until(struct backfill *b, uint64_t at_ns)
{
    b->state = BACKFILL_WAITING;
    b->next_ns = at_ns;
}

/* Is there nothing left that this walk is for? */
static bool is_behind_seam(const struct backfill *b, struct history_cursor *c)
{
    uint64_t first = b->came > SEAM ? b->came - SEAM : 0;
    return b->is_seam && !history_narrow(c, first, b->came);
}

static void begin_again(struct backfill *b)
{
    b->cursor = (struct history_cursor){.step = 0};
    b->parts_here = 0;
    (void)is_behind_seam(b, &b->cursor);
}

static void begin_seam(struct backfill *b, uint64_t now_ns)
{
    b->is_seam = true;
    b->seam_ns = 0;
    begin_again(b);
    b->failures = b->parts = 0;
    b->was_repeated = false;
    b->member = NOBODY;
    b->nonce = 0;
    wait_until(b, now_ns + rng_below(&b->rng, b->config.timing.settle_ns) + 1);
}

static void begin_walk(struct backfill *b, uint64_t now_ns)
{
    uint64_t start_ns = now_ns + b->config.timing.settle_ns +
                        rng_below(&b->rng, b->config.timing.settle_ns + 1);
    b->is_seam = false;
    b->seam_ns = 0;
    begin_again(b);
    b->failures = b->parts = 0;
    b->was_repeated = b->was_given_up = false;
    b->member = NOBODY;
    b->nonce = 0;
    b->stats.walks++;
    b->begun_ns = start_ns > b->again_ns ? start_ns : b->again_ns;
    wait_until(b, b->begun_ns);
}

static void end_walk(struct backfill *b, uint64_t now_ns)
{
    b->state = BACKFILL_DONE;
    b->next_ns = now_ns + b->config.timing.look_ns;
    if (!b->is_seam)
        b->again_ns = now_ns + b->config.timing.again_ns;
    b->is_seam = false;
}

static void complete_walk(struct backfill *b, uint64_t now_ns)
{
    if (!b->is_seam) {
        b->stats.completed++;
        b->seam_ns = b->begun_ns + b->config.timing.seam_ns;
    }
    end_walk(b, now_ns);
}

/* Go on with another member, if there was not enough of that. */
static void fail(struct backfill *b, uint64_t now_ns)
{
    b->nonce = 0;
    if (++b->failures >= b->config.limits.tries) {
        b->was_given_up = !b->is_seam;
        end_walk(b, now_ns);
        return;
    }
    unsigned doublings = b->failures < 8 ? b->failures - 1 : 7;
    uint64_t pause_ns = b->config.timing.backoff_ns << doublings;
    wait_until(b, now_ns + pause_ns / 2 + rng_below(&b->rng, pause_ns));
}

static void ask(struct backfill *b, uint64_t now_ns)
{
    bool is_new = b->nonce == 0 || !is_partner(b, b->member);
    if (is_new) {
        b->member = pick_partner(b, b->member);
        b->cursor.line = 0; /* each node has numbers of its own */
    }
    do {
        b->nonce = rng_next(&b->rng);
    } while (b->nonce == 0);
    put_head(&b->out, KIND_ASK, b->nonce, &b->cursor);
    wr_u8(&b->out, (uint8_t)strlen(b->name));
    wr_text(&b->out, b->name);
    send_to(b, b->member);
    b->stats.asked++;
    b->state = BACKFILL_ASKED;
    b->next_ns = now_ns + b->config.timing.timeout_ns;
}

/* A part has been taken, or there was none; what now? */
static void go_on(struct backfill *b, uint64_t now_ns, uint8_t flags)
{
    if (b->parts >= b->config.limits.parts) {
        end_walk(b, now_ns);
    } else if (!(flags & FLAG_LAST)) {
        wait_until(b, now_ns + b->config.timing.gap_ns);
    } else if (b->parts_here > 0 &&
               (!(flags & FLAG_FETCHING) || b->was_repeated)) {
        complete_walk(b, now_ns);
    } else {
        /* Once: two that are fetching from each other would do so for long. */
        b->was_repeated = b->was_repeated || b->parts_here > 0;
        begin_again(b);
        fail(b, now_ns);
    }
}

static void on_part(struct backfill *b, uint64_t now_ns,
                    const struct addr *from, uint64_t nonce, struct rd *r)
{
    if (b->state != BACKFILL_ASKED || nonce != b->nonce ||
        !comes_from(b, b->member, from)) {
        b->stats.refused++;
        return;
    }
    struct history_cursor next = read_cursor(r);
    uint8_t flags = rd_u8(r);
    size_t len = rd_left(r);
    const uint8_t *part = rd_bytes(r, len);
    int err = rd_err(r);
    if (!err && !(flags & FLAG_LAST) &&
        (len == 0 || !is_behind(&b->cursor, &next)))
        err = ERR_BAD;
    if (!err && len > 0)
        err = history_take_part(b->config.history, part, len);
    if (err) {
        b->stats.broken++;
        fail(b, now_ns);
        return;
    }
    if (len > 0) {
        b->failures = 0;
        b->parts++;
        b->parts_here++;
        b->stats.parts_in++;
        b->stats.bytes_in += len;
    }
    if (is_behind_seam(b, &next))
        flags |= FLAG_LAST;
    b->cursor = next;
    go_on(b, now_ns, flags);
}

/* ---- serving ---- */

/* Whose turn it is: the place of this asker, or a free one. */
static struct asker *find_asker(struct backfill *b, uint64_t now_ns,
                                uint32_t member)
{
    struct asker *free_one = NULL;
    for (size_t i = 0; i < BACKFILL_ASKERS_MAX; i++) {
        struct asker *a = &b->askers[i];
        bool is_free = a->served_ns == 0 ||
                       now_ns - a->served_ns > b->config.timing.asker_ns;
        if (!is_free && a->member == member)
            return now_ns - a->served_ns < b->config.timing.serve_ns ? NULL : a;
        if (is_free)
            free_one = a;
    }
    return free_one;
}

/* May a part be made now? */
static bool can_pay(const struct backfill *b, uint64_t now_ns)
{
    const struct backfill_limits *l = &b->config.limits;
    return rate_can(&b->sent, now_ns, rate_price(l->part_bytes, l->rate_bytes),
                    NS_PER_S);
}

static void serve(struct backfill *b, uint64_t now_ns, uint32_t member,
                  uint64_t nonce, struct history_cursor *c)
{
    wr_reset(&b->part);
    int rc = history_next_part(b->config.history, c,
                               b->config.limits.part_bytes, &b->part);
    if (rc < 0)
        return; /* without memory: the other one will ask again */
    bool is_fetching =
        (b->state == BACKFILL_WAITING || b->state == BACKFILL_ASKED) &&
        !b->is_seam;
    if (rc == 0)
        *c = (struct history_cursor){.step = STEP_END};
    put_head(&b->out, KIND_PART, nonce, c);
    wr_u8(&b->out, (uint8_t)((rc == 0 ? FLAG_LAST : 0) |
                             (is_fetching ? FLAG_FETCHING : 0)));
    if (rc == 1)
        wr_bytes(&b->out, b->part.data, b->part.len);
    send_to(b, member);
    rate_pay(&b->sent, now_ns,
             rate_price(b->out.len, b->config.limits.rate_bytes));
    b->stats.parts_out += rc == 1;
    b->stats.bytes_out += b->part.len;
}

static void on_ask(struct backfill *b, uint64_t now_ns, const struct addr *from,
                   uint64_t nonce, struct rd *r)
{
    struct history_cursor c = read_cursor(r);
    size_t len = rd_u8(r);
    const uint8_t *name = rd_bytes(r, len);
    if (rd_end(r)) {
        b->stats.broken++;
        return;
    }
    uint32_t member = members_find(b->config.members, span_of(name, len));
    if (!comes_from(b, member, from)) {
        b->stats.refused++;
        return;
    }
    struct asker *a = find_asker(b, now_ns, member);
    if (!a || !can_pay(b, now_ns)) {
        b->stats.busy++;
        return;
    }
    *a = (struct asker){.member = member, .served_ns = now_ns};
    serve(b, now_ns, member, nonce, &c);
}

/* ---- what happened ---- */

bool backfill_on_message(struct backfill *b, uint64_t now_ns,
                         const struct addr *from, struct span message)
{
    struct rd r;
    if (message.len == 0 || message.data[0] != BACKFILL_TYPE)
        return false;
    b->out_member = NOBODY;
    rd_init(&r, message.data + 1, message.len - 1);
    uint8_t version = rd_u8(&r);
    uint8_t kind = rd_u8(&r);
    if (!rd_err(&r) && (version != BACKFILL_VERSION ||
                        (kind != KIND_ASK && kind != KIND_PART)))
        return true;
    uint64_t nonce = rd_be64(&r);
    if (rd_err(&r))
        b->stats.broken++;
    else if (kind == KIND_ASK)
        on_ask(b, now_ns, from, nonce, &r);
    else
        on_part(b, now_ns, from, nonce, &r);
    return true;
}

void backfill_on_timer(struct backfill *b, uint64_t now_ns)
{
    b->out_member = NOBODY;
    if (now_ns < b->next_ns)
        return;
    if (pick_partner(b, NOBODY) == NOBODY) {
        b->state = BACKFILL_ALONE;
        b->nonce = 0;
        b->is_seam = false;
        b->next_ns = now_ns + b->config.timing.look_ns;
        return;
    }
    switch (b->state) {
    case BACKFILL_ALONE:
        b->came = history_now(b->config.history);
        begin_walk(b, now_ns);
        break;
    case BACKFILL_WAITING:
        ask(b, now_ns);
        break;
    case BACKFILL_ASKED:
        b->stats.timeouts++;
        fail(b, now_ns);
        break;
    case BACKFILL_DONE:
        b->next_ns = now_ns + b->config.timing.look_ns;
        if (b->was_given_up && now_ns >= b->again_ns)
            begin_walk(b, now_ns);
        else if (b->seam_ns && now_ns >= b->seam_ns)
            begin_seam(b, now_ns);
        break;
    }
}

uint64_t backfill_deadline(const struct backfill *b)
{
    return b->next_ns;
}

void backfill_stats(const struct backfill *b, struct backfill_stats *out)
{
    *out = b->stats;
    out->state = b->state;
}
