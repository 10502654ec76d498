/* The set: once each, in order, within its limits. */
#include "mesh/frames.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

static const struct frames_limits roomy = {.retention_s = 300,
                                           .bytes_max = 32u << 20};

struct encoded {
    uint8_t data[4096];
    size_t len;
};

/* A frame without cells; `mark` makes two of one key differ. */
static struct encoded made(const char *origin, uint64_t epoch_ms,
                           uint64_t window, int mark)
{
    struct encoded e;
    char name[FRAME_NAME_MAX + 1];
    char zone[] = "z";
    char region[] = "r";
    snprintf(name, sizeof(name), "%s", origin);
    struct frame f = {.origin = name,
                      .zone = zone,
                      .region = region,
                      .epoch_ms = epoch_ms,
                      .window = window,
                      .context = {.psi_cpu = mark}};
    struct wr w;
    wr_init_fixed(&w, e.data, sizeof(e.data));
    check_i64(frame_encode(&f, &w), 0);
    e.len = w.len;
    return e;
}

static int add(struct frames *f, const char *origin, uint64_t epoch_ms,
               uint64_t window, int mark)
{
    struct encoded e = made(origin, epoch_ms, window, mark);
    return frames_add(f, e.data, e.len);
}

/* What a walk saw, as text: "origin/epoch/window/mark ". */
struct seen {
    char text[2048];
    int stop_after;
};

static int see(struct seen *s, const struct frame *f)
{
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof(s->text) - len, "%s/%u/%u/%d ", f->origin,
             (unsigned)f->epoch_ms, (unsigned)f->window, f->context.psi_cpu);
    return --s->stop_after == 0 ? 42 : 0;
}

/* Show all frames with window >= first to see(), as long as it returns 0. */
static int walk(const struct frames *f, uint64_t first, struct seen *s)
{
    struct frames_cursor c = {.first_window = first};
    struct frame frame = {0};
    const void *data;
    size_t len;
    int rc = 0;
    while (rc == 0 && frames_next(f, &c, &data, &len)) {
        check_i64(frame_decode(&frame, data, len), 0);
        rc = see(s, &frame);
    }
    frame_fini(&frame);
    frames_cursor_fini(&c);
    return rc;
}

static void check_seen(const struct frames *f, uint64_t first, const char *want)
{
    struct seen s = {.text = ""};
    check_i64(walk(f, first, &s), 0);
    check_text(s.text, want);
}

static void each_is_there_once_and_in_order(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    check_i64(add(f, "b", 1, 101, 1), 0);
    check_i64(add(f, "a", 2, 102, 2), 0);
    check_i64(add(f, "a", 1, 101, 3), 0);
    check_i64(add(f, "a", 2, 101, 4), 0);
    check_i64(add(f, "aa", 1, 100, 5), 0);
    check_u64(frames_count(f), 5);
    size_t bytes = frames_bytes(f);

    check_i64(add(f, "a", 1, 101, 3), ERR_BUSY);
    check_i64(add(f, "a", 1, 101, 99), ERR_BUSY); /* the first one stays */
    check_u64(frames_count(f), 5);
    check_u64(frames_bytes(f), bytes);

    check_seen(f, 0, "aa/1/100/5 a/1/101/3 a/2/101/4 b/1/101/1 a/2/102/2 ");
    check_seen(f, 101, "a/1/101/3 a/2/101/4 b/1/101/1 a/2/102/2 ");
    check_seen(f, 102, "a/2/102/2 ");
    check_seen(f, 103, "");
    frames_close(f);
}

static void a_walk_stops_when_told(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    check_i64(add(f, "a", 1, 100, 1), 0);
    check_i64(add(f, "a", 1, 101, 2), 0);
    check_i64(add(f, "a", 1, 102, 3), 0);
    struct seen s = {.stop_after = 2};
    check_i64(walk(f, 0, &s), 42);
    check_text(s.text, "a/1/100/1 a/1/101/2 ");
    frames_close(f);
}

static void what_does_not_decode_is_refused(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    struct encoded e = made("a", 1, 100, 1);
    for (size_t len = 0; len < e.len; len++)
        check_i64(frames_add(f, e.data, len), ERR_TRUNC);
    e.data[1] = 9; /* version */
    check_i64(frames_add(f, e.data, e.len), ERR_BAD);
    check_u64(frames_count(f), 0);
    check_u64(frames_bytes(f), 0);
    frames_close(f);
}

static void the_bytes_are_copied(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    struct encoded e = made("a", 1, 100, 7);
    check_i64(frames_add(f, e.data, e.len), 0);
    memset(e.data, 0, sizeof(e.data));
    check_seen(f, 0, "a/1/100/7 ");
    frames_close(f);
}

static void the_old_and_the_far_ahead_expire(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    check_i64(add(f, "a", 1, 1000, 0), 0);
    check_i64(add(f, "a", 1, 1001, 0), 0);
    check_i64(add(f, "a", 1, 1037, 0), 0);
    check_i64(add(f, "a", 1, 1038, 0), 0);
    check_i64(add(f, "a", 1, UINT64_MAX, 0), 0); /* no time known so far */
    frames_expire(f, 10300); /* window 1030; 30 windows are kept */
    check_u64(frames_count(f), 2);
    check_seen(f, 0, "a/1/1000/0 a/1/1001/0 ");
    frames_expire(f, 10309);
    check_u64(frames_count(f), 2);
    frames_expire(f, 10310);
    check_seen(f, 0, "a/1/1001/0 ");

    check_i64(add(f, "b", 1, 1000, 0), ERR_CLOSED);
    check_i64(add(f, "b", 1, 1001, 0), 0);
    check_i64(add(f, "b", 1, 1031 + FRAMES_AHEAD_MAX, 0), 0);
    check_i64(add(f, "b", 1, 1032 + FRAMES_AHEAD_MAX, 0), ERR_BAD);
    check_i64(add(f, "b", 1, UINT64_MAX, 0), ERR_BAD);
    frames_expire(f, 100000);
    check_u64(frames_count(f), 0);
    check_u64(frames_bytes(f), 0);
    frames_close(f);
}

static void oldest_windows_go_when_the_budget_is_full(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    check_i64(add(f, "a", 1, 100, 0), 0);
    size_t one = frames_bytes(f);
    check_true(one > made("a", 1, 100, 0).len); /* bookkeeping counts */
    frames_close(f);

    struct frames_limits three = {.retention_s = 300, .bytes_max = 3 * one};
    f = frames_open(&three);
    check_i64(add(f, "a", 1, 100, 0), 0);
    check_i64(add(f, "a", 1, 101, 0), 0);
    check_i64(add(f, "b", 1, 101, 0), 0);
    check_u64(frames_bytes(f), 3 * one);
    check_i64(add(f, "c", 1, 101, 0), 0);
    check_seen(f, 0, "a/1/101/0 b/1/101/0 c/1/101/0 ");
    /* Full of frames no older than it: neither one of the same window... */
    check_i64(add(f, "d", 1, 101, 0), ERR_TOOBIG);
    check_i64(add(f, "d", 1, 100, 0), ERR_TOOBIG); /* ...nor an older one */
    check_u64(frames_count(f), 3);
    check_i64(add(f, "d", 1, 102, 0), 0); /* a newer one drives 101 out */
    check_seen(f, 0, "d/1/102/0 ");
    frames_close(f);

    struct frames_limits tiny = {.retention_s = 300, .bytes_max = one - 1};
    f = frames_open(&tiny);
    check_i64(add(f, "a", 1, 100, 0), ERR_TOOBIG);
    check_u64(frames_count(f), 0);
    frames_close(f);
}

/* What is ahead of the clock may be made up: it takes room, but no other's. */
static void what_is_ahead_of_the_clock_drives_out_nobody(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    check_i64(add(f, "a", 1, 100, 0), 0);
    struct frames_limits two = {.retention_s = 300,
                                .bytes_max = 2 * frames_bytes(f)};
    frames_set_limits(f, &two);
    frames_expire(f, 100 * FRAME_WINDOW_S);
    check_i64(add(f, "b", 1, 102, 0), 0); /* there is room */
    check_i64(add(f, "c", 1, 102, 0), ERR_TOOBIG);
    check_i64(add(f, "c", 1, 106, 0), ERR_TOOBIG);
    check_seen(f, 0, "a/1/100/0 b/1/102/0 ");
    check_i64(add(f, "c", 1, 101, 0), 0); /* a clock may be a bit ahead */
    check_seen(f, 0, "c/1/101/0 b/1/102/0 ");
    frames_close(f);
}

/* The next frame of a walk as "origin/window ", "" behind the last. */
static void check_next(const struct frames *f, struct frames_cursor *c,
                       const char *origin, uint64_t window)
{
    struct frame_reader r;
    const void *data;
    size_t len;
    bool is_there = frames_next(f, c, &data, &len);
    check_u64(is_there, origin != NULL);
    if (!is_there)
        return;
    check_i64(frame_reader_open(&r, data, len), 0);
    check_text(r.origin, origin);
    check_u64(r.window, window);
}

static void a_walk_goes_on_while_frames_come_and_go(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    struct frames_cursor c = {.first_window = 1000};
    frames_expire(f, 10000);
    check_next(f, &c, NULL, 0); /* nothing yet, which is not the end */
    check_i64(add(f, "m", 1, 999, 0), 0); /* before what is asked for */
    check_i64(add(f, "m", 1, 1000, 0), 0);
    check_i64(add(f, "m", 1, 1002, 0), 0);
    check_next(f, &c, "m", 1000);
    check_i64(add(f, "a", 1, 1000, 0), 0); /* behind us: not met */
    check_i64(add(f, "z", 1, 1000, 0), 0);
    check_i64(add(f, "a", 1, 1001, 0), 0);
    check_next(f, &c, "z", 1000);
    frames_expire(f, 10310); /* where we stand and all before goes */
    check_u64(frames_count(f), 2);
    check_next(f, &c, "a", 1001);
    check_next(f, &c, "m", 1002);
    check_next(f, &c, NULL, 0);
    check_next(f, &c, NULL, 0);
    check_i64(add(f, "n", 1, 1002, 0), 0);
    check_next(f, &c, "n", 1002);
    check_next(f, &c, NULL, 0);
    frames_close(f); /* the cursor still holds its frame */
    frames_cursor_fini(&c);
    frames_cursor_fini(&c);
}

static void what_a_walk_stands_on_stays_readable(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    struct frames_cursor a = {0};
    struct frames_cursor b = {0};
    struct encoded e = made("a", 1, 100, 7);
    const void *at_a;
    const void *at_b;
    size_t len;
    check_i64(frames_add(f, e.data, e.len), 0);
    check_true(frames_next(f, &a, &at_a, &len));
    check_true(frames_next(f, &b, &at_b, &len));
    frames_expire(f, 100000);
    check_u64(frames_count(f), 0);
    check_u64(frames_bytes(f), 0);
    check_u64(len, e.len);
    assert_memory_equal(at_a, e.data, e.len);
    frames_cursor_fini(&a);
    assert_memory_equal(at_b, e.data, e.len);
    check_next(f, &b, NULL, 0);
    frames_cursor_fini(&b);
    frames_close(f);
}

/* Our frame expired; then the clock was set back, and others came there. */
static void a_walk_goes_on_where_its_frame_was(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    struct frames_cursor c = {0};
    check_i64(add(f, "m", 1, 100, 0), 0);
    check_next(f, &c, "m", 100);
    frames_expire(f, 1420);
    check_u64(frames_count(f), 0);
    frames_expire(f, 1100);
    check_i64(add(f, "n", 1, 100, 0), 0);
    check_i64(add(f, "a", 1, 100, 0), 0);
    check_next(f, &c, "n", 100);
    check_next(f, &c, NULL, 0);
    frames_cursor_fini(&c);
    frames_close(f);
}

/* Against a model: a frame is met if it was there all the while. */
static void each_frame_that_stays_is_met_once(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        struct frames *f = frames_open(&roomy);
        struct frames_cursor c = {0};
        unsigned met[20][20] = {{0}};
        bool was_there[20][20] = {{false}};
        uint64_t first = 1000; /* oldest window that is kept */
        frames_expire(f, 10300);
        for (unsigned i = 0; i < 60; i++) {
            unsigned o = (unsigned)rng_below(&rng, 20);
            unsigned n = (unsigned)rng_below(&rng, 20);
            char origin[2] = {(char)('a' + o)};
            if (add(f, origin, 1, 1000 + n, 0) == 0)
                was_there[o][n] = true;
        }
        const void *data;
        size_t len;
        while (frames_next(f, &c, &data, &len)) {
            struct frame_reader r;
            check_i64(frame_reader_open(&r, data, len), 0);
            met[r.origin[0] - 'a'][r.window - 1000]++;
            if (rng_below(&rng, 4) == 0) {
                char origin[2] = {(char)('a' + rng_below(&rng, 20))};
                add(f, origin, 1, 1000 + rng_below(&rng, 20), 0);
            }
            if (rng_below(&rng, 8) == 0)
                frames_expire(f, 10 * (++first + 30));
        }
        for (unsigned o = 0; o < 20; o++) {
            for (unsigned n = 0; n < 20; n++) {
                check_true(met[o][n] <= 1);
                if (was_there[o][n] && 1000 + n >= first)
                    check_u64(met[o][n], 1);
            }
        }
        frames_cursor_fini(&c);
        frames_close(f);
    }
}

/* A known key is refused by its head, an unknown one is read to its end. */
static void what_is_known_is_not_read_again(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    struct encoded e = made("a", 1, 100, 1);
    e.data[e.len - 1] = 0x91; /* one cell, which is not there */
    check_i64(frames_add(f, e.data, e.len), ERR_TRUNC);
    check_i64(add(f, "a", 1, 100, 1), 0);
    check_i64(frames_add(f, e.data, e.len), ERR_BUSY);
    frames_close(f);
}

/* Sets are equal whatever the order and the repetitions. */
static void any_order_gives_the_same_set(void **state)
{
    (void)state;
    static const char *const origins[] = {"a", "b", "c"};
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 200; round++) {
        struct seen seen[2] = {{.text = ""}, {.text = ""}};
        size_t counts[2];
        for (int k = 0; k < 2; k++) {
            struct frames *f = frames_open(&roomy);
            bool done[3 * 2 * 4] = {false};
            for (size_t left = sizeof(done); left > 0;) {
                size_t i = (size_t)rng_below(&rng, sizeof(done));
                int err = add(f, origins[i % 3], 1 + i / 3 % 2, 100 + i / 6 % 4,
                              (int)i);
                check_i64(err, done[i] ? ERR_BUSY : 0);
                left -= !done[i];
                done[i] = true;
            }
            check_i64(walk(f, 0, &seen[k]), 0);
            counts[k] = frames_bytes(f);
            frames_close(f);
        }
        check_text(seen[0].text, seen[1].text);
        check_u64(counts[0], counts[1]);
    }
}

/* Random adds under a small budget: never above it, never an older window
 * kept while a newer one was refused for lack of room. */
static void the_budget_holds(void **state)
{
    (void)state;
    struct rng rng;
    struct frames_limits small = {.retention_s = 300, .bytes_max = 4000};

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 50; round++) {
        struct frames *f = frames_open(&small);
        for (int i = 0; i < 300; i++) {
            char origin[8];
            snprintf(origin, sizeof(origin), "n%u",
                     (unsigned)rng_below(&rng, 20));
            uint64_t window = 100 + rng_below(&rng, 10) + (uint64_t)i / 20;
            int err = add(f, origin, 1, window, 0);
            check_true(err == 0 || err == ERR_BUSY || err == ERR_TOOBIG);
            check_true(frames_bytes(f) <= small.bytes_max);
            if (err == ERR_TOOBIG) {
                struct seen s = {.stop_after = 1};
                check_i64(walk(f, 0, &s), 42);
                unsigned oldest = 0;
                check_i64(sscanf(s.text, "%*[^/]/1/%u/", &oldest), 1);
                check_true(oldest >= window);
            }
        }
        frames_close(f);
    }
    frames_close(NULL);
}

static void other_limits_drop_the_oldest_at_once(void **state)
{
    (void)state;
    struct frames *f = frames_open(&roomy);
    check_i64(add(f, "a", 1, 10, 0), 0);
    size_t one = frames_bytes(f);
    for (uint64_t window = 11; window <= 13; window++)
        check_i64(add(f, "a", 1, window, 0), 0);
    struct frames_limits two = {.retention_s = 300, .bytes_max = 2 * one};
    frames_set_limits(f, &two);
    frames_check(f);
    check_u64(frames_count(f), 2);
    check_true(!frames_find(f, "a", 1, 11, NULL));
    check_u64(frames_newest(f), 13);
    check_i64(add(f, "a", 1, 14, 0), 0); /* 12 makes room */
    check_u64(frames_count(f), 2);
    frames_set_limits(f, &roomy);
    check_i64(add(f, "a", 1, 15, 0), 0);
    check_u64(frames_count(f), 3);
    /* A shorter retention counts when the time comes. */
    two = (struct frames_limits){.retention_s = 60, .bytes_max = 32u << 20};
    frames_set_limits(f, &two);
    frames_expire(f, 15 * FRAME_WINDOW_S + 60);
    check_u64(frames_count(f), 1);
    frames_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_there_once_and_in_order),
        cmocka_unit_test(a_walk_stops_when_told),
        cmocka_unit_test(a_walk_goes_on_while_frames_come_and_go),
        cmocka_unit_test(what_a_walk_stands_on_stays_readable),
        cmocka_unit_test(a_walk_goes_on_where_its_frame_was),
        cmocka_unit_test(each_frame_that_stays_is_met_once),
        cmocka_unit_test(what_is_known_is_not_read_again),
        cmocka_unit_test(what_does_not_decode_is_refused),
        cmocka_unit_test(the_bytes_are_copied),
        cmocka_unit_test(the_old_and_the_far_ahead_expire),
        cmocka_unit_test(oldest_windows_go_when_the_budget_is_full),
        cmocka_unit_test(other_limits_drop_the_oldest_at_once),
        cmocka_unit_test(any_order_gives_the_same_set),
        cmocka_unit_test(the_budget_holds),
        cmocka_unit_test(what_is_ahead_of_the_clock_drives_out_nobody),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
