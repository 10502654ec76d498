/* test/fake_inquiry.h - inquiries that a test makes up, in place of
 * prober/inquiry.c, and an admission in place of control_admit(): whoever is
 * local or says "Bearer good" is let in. */
#ifndef TEST_FAKE_INQUIRY_H
#define TEST_FAKE_INQUIRY_H

#include "prober/control_private.h"

struct inquiry {
    struct inquiries *all;
    void (*wake)(void *arg);
    void *arg;
    unsigned samples; /* waiting */
    unsigned given;   /* taken */
    bool is_over;     /* the summary comes after them */
    bool is_summarised, is_denied;
};

struct inquiries {
    /* What the next one is to be. */
    enum inquiry_refusal refusal;
    const char *msg;
    unsigned samples; /* at once */
    bool is_over, is_denied;
    size_t n_executors; /* in the summary */
    /* NULL, or called first: `ask` is the new one's. */
    void (*on_start)(struct inquiries *all);

    /* What happened. */
    struct inquiry_ask ask; /* the latest */
    char peer[128];
    struct inquiry *latest; /* NULL once it is closed */
    unsigned started, closed, turned_away;
    enum control_action action;
    char told[256]; /* of the latest that was turned away: code, peer, who */
};

/* Let it have more samples, or its end, and wake the transport. */
void fake_inquiry_add(struct inquiry *q, unsigned samples, bool is_over);

/* The sample with this number: all there is in one. */
void fake_sample(struct sample *s, unsigned number);

#endif /* TEST_FAKE_INQUIRY_H */
