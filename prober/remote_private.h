/* prober/remote_private.h - what the files of remote.h share.
 *
 * remote_ask.c is the coordinator, remote_run.c the executor, remote.c what
 * both need. Nothing is sent from within: an ask and a run note what they owe,
 * and remote_next() makes it when it is taken, of what is true then. So no
 * queue of messages can grow.
 */
#ifndef PROBER_REMOTE_PRIVATE_H
#define PROBER_REMOTE_PRIVATE_H

#include "prober/remote.h"
#include "prober/remote_queue.h"
#include "prober/remote_wire.h"
#include "prober/sample_wire.h"
#include "proto/base/buf.h"
#include "proto/base/rate.h"
#include "proto/base/rng.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

#define ASK_AGAIN_NS (600 * MS) /* between two ASKs, and up to half as much */
#define ASK_QUIET_NS (30 * SEC) /* so long one that is over is remembered */
#define LINGER_NS    (30 * SEC) /* an end is told no longer */
#define HOLD_NS      (10 * MS)  /* after a message that found no stream */
#define LOOK_NS      SEC        /* between looks at who is alive */
/* Until samples are sent once more, and up to half as much: many executors
 * that found one coordinator busy come back one after the other. */
#define DATA_AGAIN_NS (800 * MS)
#define BATCH_BYTES   ((size_t)32 << 10)
/* Tries without an answer until a coordinator is gone: while it runs, and when
 * just the end is left to tell. */
#define TRIES_RUNNING 10
#define TRIES_ENDED   5

#define REPLIES_MAX      64
#define REMEMBERED_MAX   1024
#define COORDINATORS_MAX 256

/* What is to come out at the next remote_next(). */
enum owes {
    OWES_ASK = 1,    /* coordinator: send ASK */
    OWES_ACK = 2,    /* ... ACK */
    OWES_CANCEL = 4, /* ... CANCEL */
    OWES_END = 8,    /* ... tell its host that it is over */
    OWES_START = 16, /* executor: tell its host to begin */
    OWES_STOP = 32,  /* ... to stop */
    OWES_TAKEN = 64, /* ... send TAKEN */
    OWES_DATA = 128, /* ... send SAMPLES or END */
};
#define OWES_SENDS (OWES_ASK | OWES_ACK | OWES_CANCEL | OWES_TAKEN | OWES_DATA)

enum ask_state { ASK_FREE, ASK_WAITING, ASK_TAKEN, ASK_OVER };

struct ask {
    uint8_t state; /* enum ask_state */
    uint8_t owes;
    uint8_t end; /* enum oneoff_state, once over */
    uint8_t id[REMOTE_ID_SIZE];
    uint32_t handle, member;
    uint64_t member_hash; /* the place may be another's by now */
    uint8_t *question;    /* owned: the ASK, until it is answered */
    size_t question_len;
    uint64_t lasts_ns;
    uint64_t again_ns;        /* WAITING: the next ASK */
    uint64_t due_ns, last_ns; /* the deadline, and how far it can move */
    uint64_t over_ns;
    uint32_t count;        /* samples that there can be */
    uint32_t next;         /* number of the sample that comes next */
    uint32_t missed, lost; /* lost so far */
};

/* One message with samples, while its effects are taken. */
struct inbox {
    bool is_full;
    bool is_taken; /* it is the first that came: REMOTE_TAKEN */
    bool is_end;
    uint32_t ask, number; /* of the sample that is read next */
    struct rd rd;
    uint8_t *data; /* owned, REMOTE_MESSAGE_MAX; allocated when first needed */
    struct remote_verdict verdict;
    char node[REMOTE_NAME_SIZE], zone[SAMPLE_NAME_SIZE];
};

enum run_state { RUN_STARTING, RUN_RUNNING, RUN_ENDED };

struct run {
    uint8_t state; /* enum run_state */
    uint8_t owes;
    uint8_t end; /* enum oneoff_state, once ENDED */
    uint8_t id[REMOTE_ID_SIZE];
    uint32_t handle, ask, member;
    uint64_t member_hash;
    uint32_t missed;
    unsigned tries; /* messages with samples since one was acknowledged */
    bool is_under_way;
    uint32_t sent_end; /* number behind the last sample under way */
    uint64_t sent_ns;  /* when the last one went, 0: none yet */
    uint64_t due_ns;   /* when DATA will be owed, UINT64_MAX: not yet known */
    uint64_t last_ns;  /* ENDED: when it is given up, whatever is heard */
    struct remote_queue queue;
    struct remote_question question;
};

/* An answer of which nothing else is kept. */
struct reply {
    struct remote_head head;
    uint32_t member;
    struct remote_verdict verdict; /* of an END */
};

struct remembered {
    uint8_t id[REMOTE_ID_SIZE];
    uint32_t ask;
    uint64_t member_hash, ended_ns;
    bool is_used, is_told; /* told: its end was acknowledged */
    struct remote_verdict verdict;
};

struct coordinator {
    uint64_t hash; /* of its name, 0: free */
    struct rate rate;
};

struct remote {
    char name[REMOTE_NAME_SIZE];
    const struct members *members;
    uint64_t now_ns;  /* of the last event */
    uint64_t look_ns; /* when to look who is alive */
    uint64_t hold_ns; /* nothing is sent before */
    struct rng rng;
    struct wr out; /* the message that was taken last */

    /* coordinator */
    struct ask asks[REMOTE_ASKS_MAX];
    size_t asks_top; /* those behind were never used */
    size_t asks_open;
    uint32_t ask_gen;
    bool asks_owe; /* one of them may owe something */
    struct inbox inbox;
    struct sample sample;
    struct sample_names names;
    struct sample_texts texts;

    /* executor */
    struct run *runs[REMOTE_RUNS_MAX]; /* owned */
    size_t runs_open;
    uint32_t run_gen;
    bool runs_owe;
    size_t held_bytes;
    struct reply replies[REPLIES_MAX]; /* a ring */
    size_t reply_first, n_replies;
    struct remembered remembered[REMEMBERED_MAX]; /* a ring, oldest next */
    size_t remember_next;
    struct coordinator coordinators[COORDINATORS_MAX];

    /* the REMOTE_SEND that was taken last */
    struct {
        struct ask *ask;
        struct run *run;
        uint8_t owes;
        bool is_reply;
        struct reply reply;
    } sent;
    struct remote_stats stats;
};

/* ---- remote.c ---- */

/* From now on so long, and up to half as much. */
uint64_t remote_later(struct remote *r, uint64_t ns);
/* Is this place a live member of ours, and still the one with this name? */
bool remote_is_partner(const struct remote *r, uint32_t member, uint64_t hash);
bool remote_comes_from(const struct remote *r, uint32_t member,
                       const struct addr *from);
/* Begin a message in r->out. */
struct wr *remote_begin(struct remote *r, uint8_t kind,
                        const uint8_t id[REMOTE_ID_SIZE], uint32_t ask);
/* Make the effect of what stands in r->out. False: it could not be written. */
bool remote_give(struct remote *r, struct remote_effect *e, uint32_t member);
/* Note an answer; one too many is left out: whoever waits asks again. */
void remote_reply(struct remote *r, uint8_t kind, const struct remote_head *to,
                  uint32_t member, const struct remote_verdict *v);

/* ---- remote_ask.c ---- */

void remote_asks_on_message(struct remote *r, const struct addr *from,
                            const struct remote_head *head, struct rd *rd);
void remote_asks_on_timer(struct remote *r, bool is_look);
uint64_t remote_asks_deadline(const struct remote *r);
bool remote_asks_next(struct remote *r, bool may_send, struct remote_effect *e);
void remote_asks_fini(struct remote *r);
void remote_asks_check(const struct remote *r);

/* ---- remote_run.c ---- */

void remote_runs_on_message(struct remote *r, const struct addr *from,
                            const struct remote_head *head, struct rd *rd);
void remote_runs_on_timer(struct remote *r, bool is_look);
uint64_t remote_runs_deadline(const struct remote *r);
bool remote_runs_next(struct remote *r, bool may_send, struct remote_effect *e);
/* What was taken last is owed again. */
void remote_run_unsent(struct remote *r, struct run *run, uint8_t owes);
void remote_runs_fini(struct remote *r);
void remote_runs_check(const struct remote *r);

/* ---- remote_limit.c: what an executor takes on ---- */

/* May it begin one more for this member? */
bool remote_may_begin(struct remote *r, uint64_t member_hash);
/* An ask that ended here, so that it is not run again. */
void remote_remember(struct remote *r, const struct run *run, bool is_told);
const struct remembered *remote_recall(const struct remote *r,
                                       const struct remote_head *head,
                                       uint64_t member_hash);

#endif /* PROBER_REMOTE_PRIVATE_H */
