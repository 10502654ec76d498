/* One thread posts, one takes. The ring alone, then two real threads that
 * meet at it; nobody sleeps and nobody looks at a clock. */
#include "prober/link_uv.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "test/check.h"

/* Larger than a word, so that a torn copy shows. */
struct message {
    uint64_t number, check[6];
};

static struct message message_of(uint64_t number)
{
    struct message m = {.number = number};
    for (unsigned i = 0; i < 6; i++)
        m.check[i] = number * (i + 3) + i;
    return m;
}

static bool is_message(const struct message *m, uint64_t number)
{
    struct message want = message_of(number);
    bool ok = m->number == number;
    for (unsigned i = 0; i < 6; i++)
        ok = ok && m->check[i] == want.check[i];
    return ok;
}

struct world {
    uv_loop_t loop;
    struct link *link;
    unsigned ready;
};

static void on_ready(void *arg)
{
    struct world *w = arg;
    w->ready++;
}

static void open_world(struct world *w, size_t n, size_t size)
{
    *w = (struct world){0};
    check_i64(uv_loop_init(&w->loop), 0);
    w->link = link_open(&w->loop, n, size, on_ready, w);
    check_true(w->link != NULL);
}

static void close_world(struct world *w)
{
    link_close(w->link);
    while (uv_run(&w->loop, UV_RUN_DEFAULT)) /* a stop may be left over */
        ;
    check_i64(uv_loop_close(&w->loop), 0);
}

static void keeps_order_and_refuses_when_full(void **state)
{
    (void)state;
    struct world w;
    struct message m;

    open_world(&w, 4, sizeof(m));
    check_false(link_take(w.link, &m));
    for (uint64_t lap = 0; lap < 10; lap++) {
        for (uint64_t i = 0; i < 4; i++) {
            check_u64(link_count(w.link), i);
            m = message_of(10 * lap + i);
            check_true(link_post(w.link, &m));
            m = message_of(999); /* a copy was posted */
        }
        check_false(link_post(w.link, &m));
        check_u64(link_count(w.link), 4);
        check_true(link_take(w.link, &m));
        check_true(is_message(&m, 10 * lap));
        m = message_of(10 * lap + 4); /* there is room for one again */
        check_true(link_post(w.link, &m));
        check_false(link_post(w.link, &m));
        for (uint64_t i = 1; i < 5; i++) {
            check_true(link_take(w.link, &m));
            check_true(is_message(&m, 10 * lap + i));
        }
        check_false(link_take(w.link, &m));
    }
    close_world(&w);
}

static void odd_sizes_do_not_touch_each_other(void **state)
{
    (void)state;
    struct world w;
    unsigned char m[7];

    open_world(&w, 2, sizeof(m));
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned k = 0; k < 2; k++) {
            memset(m, (int)(i * 2 + k), sizeof(m));
            check_true(link_post(w.link, m));
        }
        for (unsigned k = 0; k < 2; k++) {
            check_true(link_take(w.link, m));
            for (size_t b = 0; b < sizeof(m); b++)
                check_u64(m[b], (unsigned char)(i * 2 + k));
        }
    }
    close_world(&w);
    link_close(NULL);
}

static void wakes_only_when_asked(void **state)
{
    (void)state;
    struct world w;
    struct message m = message_of(1);

    open_world(&w, 4, sizeof(m));
    check_true(link_post(w.link, &m));
    uv_run(&w.loop, UV_RUN_NOWAIT);
    check_u64(w.ready, 0);
    link_wake(w.link);
    link_wake(w.link);
    uv_run(&w.loop, UV_RUN_ONCE);
    check_u64(w.ready, 1);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    check_u64(w.ready, 1);
    close_world(&w);
}

/* ---- two threads ---- */

#define MESSAGES 200000u

struct poster {
    struct link *link;
    uint64_t refused;
    bool is_torn;
    atomic_bool is_done;
};

static void *post_all(void *arg)
{
    struct poster *p = arg;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct message m = message_of(i);
        while (!link_post(p->link, &m)) {
            p->refused++;
            sched_yield();
        }
        p->is_torn = p->is_torn || link_count(p->link) > 8;
    }
    return NULL;
}

static void nothing_is_lost_or_doubled_between_threads(void **state)
{
    (void)state;
    struct world w;
    struct message m;
    pthread_t thread;

    open_world(&w, 8, sizeof(m));
    struct poster p = {.link = w.link};
    check_i64(pthread_create(&thread, NULL, post_all, &p), 0);
    bool is_torn = false;
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        while (!link_take(w.link, &m))
            sched_yield();
        wrong += !is_message(&m, i);
        is_torn = is_torn || link_count(w.link) > 8;
    }
    pthread_join(thread, NULL);
    check_u64(wrong, 0);
    check_false(is_torn || p.is_torn);
    check_false(link_take(w.link, &m));
    close_world(&w);
}

/* The poster never waits: what was refused is counted and gone, the rest
 * comes in order, and both together are all. */
static void *post_once(void *arg)
{
    struct poster *p = arg;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct message m = message_of(i);
        p->refused += !link_post(p->link, &m);
        if (i % 64 == 0)
            link_wake(p->link);
    }
    atomic_store(&p->is_done, true);
    link_wake(p->link);
    return NULL;
}

struct taker {
    struct world w;
    struct poster p;
    uint64_t taken, next;
    bool is_wrong;
};

static void take_some(void *arg)
{
    struct taker *t = arg;
    struct message m;
    bool is_done = atomic_load(&t->p.is_done);
    while (link_take(t->w.link, &m)) {
        t->is_wrong =
            t->is_wrong || m.number < t->next || !is_message(&m, m.number);
        t->next = m.number + 1;
        t->taken++;
    }
    if (is_done)
        uv_stop(&t->w.loop);
}

static void a_loop_takes_what_a_thread_posts(void **state)
{
    (void)state;
    struct taker t = {0};
    pthread_t thread;

    check_i64(uv_loop_init(&t.w.loop), 0);
    t.w.link =
        link_open(&t.w.loop, 1024, sizeof(struct message), take_some, &t);
    check_true(t.w.link != NULL);
    t.p.link = t.w.link;
    check_i64(pthread_create(&thread, NULL, post_once, &t.p), 0);
    uv_run(&t.w.loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
    take_some(&t);
    check_false(t.is_wrong);
    check_u64(t.taken + t.p.refused, MESSAGES);
    check_true(t.taken > 0);
    close_world(&t.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_refuses_when_full),
        cmocka_unit_test(odd_sizes_do_not_touch_each_other),
        cmocka_unit_test(wakes_only_when_asked),
        cmocka_unit_test(nothing_is_lost_or_doubled_between_threads),
        cmocka_unit_test(a_loop_takes_what_a_thread_posts),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
