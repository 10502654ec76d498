/* Which window, which counter, and what a clock that steps does to them. */
#include "prober/window.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  1000000ull
#define SEC (1000 * MS)
#define GEN 7

/* Window 100 is 1000 s .. 1010 s and due at 1012 s. */
#define AT(s) ((uint64_t)(s)*SEC)

static const struct windows_config config = {"a-1", "a", "r1", 5000};
static const struct frame_context calm = {.psi_cpu = 5};

static const struct window_target two[] = {
    {"b-1", "b", "r1", GEN},
    {"c-1", "c", "r2", GEN},
};

static struct windows *opened(void)
{
    struct windows *w = windows_open(&config);
    check_true(w != NULL);
    check_i64(windows_set_targets(w, two, 2), 0);
    return w;
}

/* A good attempt that started at `started_ns`. */
static struct sample sample_at(uint64_t started_ns)
{
    struct sample s = {
        .target_gen = GEN,
        .failed_phase = -1,
        .clock = STAMP_KERNEL,
        .started_unix_ns = started_ns,
        .total_ns = (int64_t)(3 * MS),
        .server_ns = SAMPLE_ABSENT,
        .lag_ns = SAMPLE_ABSENT,
        .retransmits = -1,
    };
    for (size_t i = 0; i < PHASE_N; i++)
        s.phases_ns[i] = SAMPLE_ABSENT;
    s.phases_ns[PHASE_TTFB] = (int64_t)(2 * MS);
    s.phases_ns[PHASE_LOCAL] = (int64_t)MS;
    return s;
}

static void add_at(struct windows *w, uint64_t started_ns, uint64_t now_ns)
{
    struct sample s = sample_at(started_ns);
    check_i64(windows_add(w, &s, now_ns), 0);
}

static uint64_t attempts_of(const struct frame *f)
{
    uint64_t n = 0;
    for (size_t i = 0; i < f->n_cells; i++)
        n += f->cells[i].attempts;
    return n;
}

/* The frame of the oldest window, which must decode. */
static int cut(struct windows *w, const struct frame_context *context,
               struct frame *f)
{
    struct wr bytes;
    wr_init_grow(&bytes, FRAME_BYTES_MAX);
    int err = windows_cut(w, context, &bytes);
    *f = (struct frame){0};
    if (!err)
        check_i64(frame_decode(f, bytes.data, bytes.len), 0);
    wr_fini(&bytes);
    return err;
}

/* Cut the oldest window and demand its number and its attempts. */
static void check_cut(struct windows *w, uint64_t window, uint64_t attempts)
{
    struct frame f;
    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.window, window);
    check_u64(attempts_of(&f), attempts);
    frame_fini(&f);
}

/* --- counting ----------------------------------------------------------- */

static void a_good_attempt_is_in_each_of_its_series(void **state)
{
    (void)state;
    struct windows *w = opened();
    struct frame f;
    struct sample s = sample_at(AT(1001));
    s.target = 1;
    s.protocol = PROTOCOL_GRPC;
    s.mode = MODE_WARM;
    s.phases_ns[PHASE_DNS] = 0; /* ran, and took no time */
    s.server_ns = 500;
    s.lag_ns = 7999;
    s.retransmits = 2;
    s.is_reconnected = true;
    s.clock = STAMP_USER;
    check_i64(windows_add(w, &s, AT(1002)), 0);
    s.lag_ns = 3000;
    s.clock = STAMP_KERNEL;
    s.is_reconnected = false;
    check_i64(windows_add(w, &s, AT(1003)), 0);

    check_i64(cut(w, &calm, &f), 0);
    check_text(f.origin, "a-1");
    check_text(f.zone, "a");
    check_text(f.region, "r1");
    check_u64(f.epoch_ms, 5000);
    check_u64(f.window, 100);
    check_i64(f.context.psi_cpu, 5);
    check_u64(f.n_targets, 1);
    check_text(f.targets[0].name, "c-1");
    check_text(f.targets[0].zone, "c");
    check_text(f.targets[0].region, "r2");
    check_u64(f.n_cells, 1);
    const struct frame_cell *c = &f.cells[0];
    check_u64(c->target, 0);
    check_u64(c->protocol, PROTOCOL_GRPC);
    check_u64(c->mode, MODE_WARM);
    check_true(c->is_trusted);
    check_u64(c->attempts, 2);
    check_u64(c->outcomes[OUTCOME_OK], 2);
    check_u64(c->retransmits, 4);
    check_u64(c->reconnects, 1);
    check_u64(c->user_clock, 1);
    check_u64(c->max_lag_us, 7);
    check_u64(c->series[PHASE_DNS].count, 2);
    check_u64(c->series[PHASE_DNS].zero, 2);
    check_u64(c->series[PHASE_CONNECT].count, 0);
    check_u64(c->series[PHASE_TTFB].sum_ns, 4 * MS);
    check_u64(c->series[PHASE_LOCAL].sum_ns, 2 * MS);
    check_u64(c->series[SERIES_TOTAL].sum_ns, 6 * MS);
    check_u64(c->series[SERIES_SERVER].sum_ns, 1000);
    frame_fini(&f);
    windows_close(w);
}

static void a_failure_is_counted_and_in_no_series(void **state)
{
    (void)state;
    struct windows *w = opened();
    struct frame f;
    for (unsigned o = 1; o < OUTCOME_N; o++) {
        struct sample s = sample_at(AT(1001)); /* phases it completed */
        s.clock = STAMP_NONE; /* no edge was timed, so not by us either */
        s.outcome = (uint8_t)o;
        s.server_ns = 5;
        check_i64(windows_add(w, &s, AT(1002)), 0);
    }
    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.n_cells, 1);
    check_u64(f.cells[0].attempts, OUTCOME_N - 1);
    check_u64(f.cells[0].user_clock, 0);
    for (unsigned o = 0; o < OUTCOME_N; o++)
        check_u64(f.cells[0].outcomes[o], o > 0);
    for (unsigned i = 0; i < SERIES_N; i++)
        check_u64(f.cells[0].series[i].count, 0);
    frame_fini(&f);
    windows_close(w);
}

static void each_protocol_and_mode_has_its_own_cell(void **state)
{
    (void)state;
    struct windows *w = opened();
    struct frame f;
    for (unsigned i = 0; i < 16; i++) {
        struct sample s = sample_at(AT(1001));
        s.target = i & 1;
        s.protocol = i >> 1 & 1;
        s.mode = i >> 2 & 1;
        check_i64(windows_add(w, &s, AT(1002)), 0);
    }
    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.n_targets, 2);
    check_u64(f.n_cells, 8);
    for (size_t i = 0; i < 8; i++) {
        const struct frame_cell *c = &f.cells[i];
        check_u64(c->attempts, 2);
        check_text(f.targets[c->target].name, i & 1 ? "c-1" : "b-1");
        check_u64(c->protocol, i >> 1 & 1);
        check_u64(c->mode, i >> 2 & 1);
    }
    frame_fini(&f);
    windows_close(w);
}

static void a_starved_window_is_not_trusted(void **state)
{
    (void)state;
    struct windows *w = opened();
    struct frame_context starved = {.is_starved = true};
    struct frame f;
    add_at(w, AT(1001), AT(1002));
    add_at(w, AT(1011), AT(1011));
    check_i64(cut(w, &starved, &f), 0);
    check_false(f.cells[0].is_trusted);
    check_true(f.context.is_starved);
    frame_fini(&f);
    check_i64(cut(w, &calm, &f), 0);
    check_true(f.cells[0].is_trusted); /* only that one */
    frame_fini(&f);
    windows_close(w);
}

static void one_off_attempts_are_not_counted(void **state)
{
    (void)state;
    struct windows *w = opened();
    struct sample s = sample_at(AT(1001));
    s.job = 3;
    check_i64(windows_add(w, &s, AT(1002)), 0);
    add_at(w, AT(1001), AT(1002));
    check_cut(w, 100, 1);
    windows_close(w);
}

static void a_sample_of_nothing_known_is_refused(void **state)
{
    (void)state;
    struct windows *w = opened();
    struct sample s = sample_at(AT(1001));
    s.target = 2;
    check_i64(windows_add(w, &s, AT(1002)), ERR_BAD);
    s.target = SAMPLE_TARGET_NONE;
    check_i64(windows_add(w, &s, AT(1002)), ERR_BAD);
    s = sample_at(AT(1001));
    s.target_gen = GEN + 1;
    check_i64(windows_add(w, &s, AT(1002)), ERR_BAD);
    s = sample_at(AT(1001));
    s.outcome = OUTCOME_N;
    check_i64(windows_add(w, &s, AT(1002)), ERR_BAD);
    s = sample_at(AT(1001));
    s.protocol = PROTOCOL_N;
    check_i64(windows_add(w, &s, AT(1002)), ERR_BAD);
    s = sample_at(AT(1001));
    s.mode = MODE_N;
    check_i64(windows_add(w, &s, AT(1002)), ERR_BAD);
    struct frame f;
    check_i64(cut(w, &calm, &f), ERR_BUSY); /* nothing was opened */
    windows_close(w);
}

/* --- windows and time --------------------------------------------------- */

static void a_window_is_due_two_seconds_after_its_end(void **state)
{
    (void)state;
    struct windows *w = opened();
    check_u64(windows_due(w, AT(1003)), 0); /* starts the count at 100 */
    check_u64(windows_due(w, AT(1012) - 1), 0);
    check_u64(windows_due(w, AT(1012)), 100);
    check_cut(w, 100, 0);
    check_u64(windows_due(w, AT(1012)), 0);
    check_u64(windows_due(w, AT(1022) - 1), 0);
    check_u64(windows_due(w, AT(1022)), 101);
    windows_close(w);
}

static void an_attempt_belongs_where_it_started_while_that_is_open(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(1001), AT(1002));
    add_at(w, AT(1009.9), AT(1011.9)); /* started in 100, finished in 101 */
    add_at(w, AT(1010), AT(1011.9));   /* 101 already */
    check_u64(windows_due(w, AT(1012)), 100);
    check_cut(w, 100, 2);
    add_at(w, AT(1009), AT(1012)); /* too late: the earliest that is open */
    check_u64(windows_due(w, AT(1022)), 101);
    check_cut(w, 101, 2);
    windows_close(w);
}

static void the_first_sample_may_start_the_count(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(1009), AT(1011)); /* 100 is still open */
    check_cut(w, 100, 1);
    windows_close(w);

    w = opened();
    add_at(w, AT(1009), AT(1013)); /* it no longer is */
    check_cut(w, 101, 1);
    windows_close(w);

    w = opened();
    add_at(w, 0, AT(1013)); /* nor is 1970 */
    check_cut(w, 101, 1);
    windows_close(w);

    w = opened();
    add_at(w, UINT64_MAX, AT(1013)); /* nothing starts in the future */
    check_cut(w, 101, 1);
    windows_close(w);
}

static void silence_gives_frames_too(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(1001), AT(1002));
    check_u64(windows_due(w, AT(1042)), 100);
    check_cut(w, 100, 1);
    for (uint64_t n = 101; n <= 103; n++) {
        check_u64(windows_due(w, AT(1042)), n);
        check_cut(w, n, 0);
    }
    check_u64(windows_due(w, AT(1042)), 0);
    windows_close(w);
}

static void a_long_gap_gives_only_its_last_windows(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(1001), AT(1002));
    /* The clock steps forward to 10000: window 999 is the newest due. */
    check_u64(windows_due(w, AT(10002)), 100);
    check_cut(w, 100, 1);
    for (uint64_t n = 999 - WINDOW_BACKLOG_MAX + 1; n <= 999; n++) {
        check_u64(windows_due(w, AT(10002)), n);
        check_cut(w, n, 0);
    }
    check_u64(windows_due(w, AT(10002)), 0);
    windows_close(w);
}

static void what_was_counted_is_never_skipped(void **state)
{
    (void)state;
    struct windows *w = opened();
    check_u64(windows_due(w, AT(1003)), 0);
    add_at(w, AT(1011), AT(1011)); /* 101; 100 has none */
    check_u64(windows_due(w, AT(10002)), 100);
    check_cut(w, 100, 0);
    check_u64(windows_due(w, AT(10002)), 101);
    check_cut(w, 101, 1);
    check_u64(windows_due(w, AT(10002)), 994);
    windows_close(w);

    /* The second one is far ahead of the first. */
    w = opened();
    add_at(w, AT(1001), AT(1002));
    add_at(w, AT(5000), AT(5000)); /* 500 */
    check_u64(windows_due(w, AT(5001)), 100);
    check_cut(w, 100, 1);
    for (uint64_t n = 493; n <= 498; n++) {
        check_u64(windows_due(w, AT(5001)), n);
        check_cut(w, n, 0);
    }
    check_u64(windows_due(w, AT(5002)), 499);
    check_cut(w, 499, 0);
    check_u64(windows_due(w, AT(5012)), 500);
    check_cut(w, 500, 1);
    windows_close(w);
}

static void a_clock_set_back_repeats_no_window(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(5001), AT(5002));
    check_u64(windows_lead_s(w, AT(5002)), 0);
    check_u64(windows_due(w, AT(5012)), 500);
    check_cut(w, 500, 1);

    /* An hour earlier: the open one takes it all until then. */
    for (uint64_t s = 1412; s < 5022; s += 10) {
        check_u64(windows_due(w, AT(s)), 0);
        add_at(w, AT(s), AT(s));
    }
    check_u64(windows_lead_s(w, AT(1412)), 5010 - 1412);
    check_u64(windows_due(w, AT(5022)), 501);
    check_cut(w, 501, 361);
    windows_close(w);
}

static void what_is_open_can_be_cut_whatever_the_clock_says(void **state)
{
    (void)state;
    struct windows *w = opened();
    check_false(windows_has_rest(w));

    /* Two open windows that are not neighbours: nothing is made up between. */
    add_at(w, AT(5001), AT(5002));
    add_at(w, AT(5095), AT(5095));
    add_at(w, AT(5096), AT(5096));
    check_true(windows_has_rest(w));
    check_cut(w, 500, 1);
    check_true(windows_has_rest(w));
    check_true(windows_has_rest(w)); /* asking changes nothing */
    check_cut(w, 509, 2);
    check_false(windows_has_rest(w));
    windows_close(w);
}

static void a_sample_from_before_a_step_back_is_not_in_the_future(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(1001), AT(1002));
    add_at(w, AT(9000), AT(1003)); /* started before the clock was set back */
    check_cut(w, 100, 2);
    windows_close(w);
}

static void who_cuts_too_late_finds_attempts_in_the_second(void **state)
{
    (void)state;
    struct windows *w = opened();
    add_at(w, AT(1001), AT(1001));
    add_at(w, AT(1011), AT(1011));
    add_at(w, AT(1021), AT(1021)); /* a third cannot be open */
    add_at(w, AT(1031), AT(1031));
    check_cut(w, 100, 1);
    check_cut(w, 101, 3);
    check_cut(w, 102, 0);
    windows_close(w);
}

static void a_clock_at_1970_is_survived(void **state)
{
    (void)state;
    struct windows *w = opened();
    check_u64(windows_due(w, 0), 0);
    add_at(w, 0, 0);
    check_u64(windows_due(w, AT(5)), 0);
    check_u64(windows_due(w, AT(22)), 1);
    check_cut(w, 1, 1);
    windows_close(w);
}

/* --- targets ------------------------------------------------------------ */

static void a_sample_means_who_has_its_place_and_generation(void **state)
{
    (void)state;
    /* c-1 is gone; its place is another's, b-1 has moved within its own. */
    static const struct window_target later[] = {{"b-1", "b", "r1", GEN},
                                                 {"d-1", "d", NULL, GEN + 1},
                                                 {"b-1", "b2", "r1", GEN + 1},
                                                 {NULL, NULL, NULL, 0}};
    struct windows *w = opened();
    struct frame f;
    add_at(w, AT(1001), AT(1002)); /* b-1 */
    check_i64(windows_set_targets(w, later, 4), 0);
    add_at(w, AT(1003), AT(1003)); /* still b-1 */
    struct sample s = sample_at(AT(1004));
    s.target = 1;
    check_i64(windows_add(w, &s, AT(1004)), ERR_BAD); /* was c-1 */
    s.target_gen = GEN + 1;
    check_i64(windows_add(w, &s, AT(1004)), 0); /* d-1 */
    s.target = 2;                               /* another b-1 */
    check_i64(windows_add(w, &s, AT(1004)), 0);
    s.target = 3; /* nobody */
    s.target_gen = 0;
    check_i64(windows_add(w, &s, AT(1004)), ERR_BAD);
    s.target = 0;
    s.target_gen = GEN + 1;
    check_i64(windows_add(w, &s, AT(1004)), ERR_BAD);

    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.n_targets, 3);
    check_text(f.targets[0].name, "b-1");
    check_u64(f.cells[0].attempts, 2);
    check_text(f.targets[1].name, "d-1");
    check_text(f.targets[1].region, "");
    check_u64(f.cells[1].attempts, 1);
    check_text(f.targets[2].zone, "b2");
    check_u64(f.cells[2].attempts, 1);
    frame_fini(&f);
    windows_close(w);
}

static void a_target_that_comes_back_elsewhere_is_the_same(void **state)
{
    (void)state;
    static const struct window_target moved[] = {{"x-1", "x", "r1", GEN + 2},
                                                 {"b-1", "b", "r1", GEN + 2}};
    struct windows *w = opened();
    struct frame f;
    add_at(w, AT(1001), AT(1001));
    check_i64(windows_set_targets(w, moved, 0), 0);
    struct sample s = sample_at(AT(1003));
    check_i64(windows_add(w, &s, AT(1003)), ERR_BAD);

    /* Its name is still in the window, and is found again by a new list. */
    check_i64(windows_set_targets(w, moved, 2), 0);
    s.target = 1;
    s.target_gen = GEN + 2;
    check_i64(windows_add(w, &s, AT(1003)), 0);
    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.n_targets, 1);
    check_u64(f.n_cells, 1);
    check_u64(f.cells[0].attempts, 2);
    frame_fini(&f);
    windows_close(w);
}

static void too_many_or_too_long_names_keep_the_old_list(void **state)
{
    (void)state;
    struct windows *w = opened();
    char name[FRAME_NAME_MAX + 2];
    memset(name, 'x', sizeof(name));
    name[FRAME_NAME_MAX + 1] = '\0';
    struct window_target t = {"ok", "z", name, GEN + 1};
    check_i64(windows_set_targets(w, &t, 1), ERR_TOOBIG);
    add_at(w, AT(1001), AT(1001));
    name[FRAME_NAME_MAX] = '\0';
    check_i64(windows_set_targets(w, &t, 1), 0);
    struct window_target *many = calloc(WINDOW_TARGETS_MAX + 1, sizeof(*many));
    check_true(many != NULL);
    for (size_t i = 0; i <= WINDOW_TARGETS_MAX; i++)
        many[i].name = "same";
    check_i64(windows_set_targets(w, many, WINDOW_TARGETS_MAX + 1), ERR_TOOBIG);
    check_i64(windows_set_targets(w, many, WINDOW_TARGETS_MAX), 0);
    free(many);
    windows_close(w);
}

/* However many were targets for a while: a frame that can be decoded. */
static void a_window_has_room_for_so_many_targets(void **state)
{
    (void)state;
    enum { N = FRAME_TARGETS_MAX + 100 };
    static char names[N][16];
    static struct window_target targets[N];
    struct windows *w = windows_open(&config);
    struct frame f;
    size_t n_counted = 0;
    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "node-%u", i);
        targets[i] = (struct window_target){names[i], "z", "r", GEN};
    }
    check_i64(windows_set_targets(w, targets, N), 0);
    for (unsigned i = 0; i < N; i++) {
        struct sample s = sample_at(AT(1001));
        s.target = i;
        n_counted += windows_add(w, &s, AT(1001)) == 0;
    }
    check_u64(n_counted, FRAME_TARGETS_MAX);
    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.n_targets, FRAME_TARGETS_MAX);
    frame_fini(&f);
    windows_close(w);
}

/* --- properties --------------------------------------------------------- */

/* Any clock, any reload: no number comes twice or out of order, no attempt is
 * lost or counted twice, the outcomes add up, and each frame can be encoded
 * and decoded. */
static void nothing_is_lost_whatever_the_clock_does(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 60; round++) {
        struct windows *w = opened();
        uint64_t now_ns = AT(100000);
        uint64_t last = 0;
        uint64_t added = 0;
        uint64_t found = 0;
        uint32_t gen = GEN;
        for (int step = 0; step < 600; step++) {
            now_ns += rng_below(&rng, 2 * SEC);
            if (rng_below(&rng, 60) == 0) /* steps by up to 1000 s */
                now_ns += rng_below(&rng, AT(2000)) - AT(1000);
            if (rng_below(&rng, 100) == 0) {
                gen++;
                const struct window_target later[] = {{"b-1", "b", "r1", gen},
                                                      {"c-1", "c", "r2", gen}};
                check_i64(
                    windows_set_targets(w, later, (size_t)rng_below(&rng, 3)),
                    0);
            }
            struct sample s = sample_at(now_ns - rng_below(&rng, AT(9)));
            s.target_gen = gen;
            s.target = (uint32_t)rng_below(&rng, 2);
            s.outcome = (uint8_t)rng_below(&rng, OUTCOME_N);
            s.mode = (uint8_t)rng_below(&rng, MODE_N);
            added += windows_add(w, &s, now_ns) == 0;

            uint64_t due;
            int n = 0;
            while (rng_below(&rng, 4) && (due = windows_due(w, now_ns)) > 0) {
                struct frame f;
                check_true(due > last);
                check_true((due + 1) * 10 + 2 <= now_ns / SEC);
                check_i64(cut(w, &calm, &f), 0);
                check_u64(f.window, due);
                last = due;
                found += attempts_of(&f);
                frame_fini(&f);
                check_true(++n <= WINDOW_BACKLOG_MAX + 3);
            }
        }
        for (int i = 0; i < 3 + 1000; i++) {
            struct frame f;
            check_i64(cut(w, &calm, &f), 0);
            check_true(f.window > last);
            last = f.window;
            found += attempts_of(&f);
            frame_fini(&f);
        }
        check_u64(found, added);
        windows_close(w);
    }
}

/* Bytes that are allocated, as the allocator counts them. */
static size_t allocated(void)
{
    return mallinfo2().uordblks;
}

/* Four cells a target, two cold attempts and ten warm ones each. */
static void a_target_takes_less_than_two_kibibytes(void **state)
{
    (void)state;
    enum { N = 500 };
    static char names[N][16];
    static struct window_target targets[N];
    struct rng rng;
    size_t used = 0;

    rng_seed(&rng, check_seed());
    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "node-%u", i);
        targets[i] = (struct window_target){names[i], "zone", "region", GEN};
    }
    struct windows *w = windows_open(&config);
    check_i64(windows_set_targets(w, targets, N), 0);
    for (uint64_t round = 0; round < 2; round++) { /* the second knows more */
        size_t before = allocated();
        uint64_t at_s = 1001 + 10 * round;
        for (unsigned i = 0; i < N * 24; i++) {
            struct sample s = sample_at(AT(at_s));
            s.target = i % N;
            s.protocol = i / N % 2;
            s.mode = i / N / 2 < 10 ? MODE_WARM : MODE_COLD;
            for (size_t k = 0; k < PHASE_N; k++) {
                if (s.mode == MODE_COLD || k >= PHASE_TTFB)
                    s.phases_ns[k] = (int64_t)rng_below(&rng, MS);
            }
            check_i64(windows_add(w, &s, AT(at_s)), 0);
        }
        used = allocated() - before;
        check_cut(w, 100 + round, N * 24);
    }
    if (allocated() > 0) /* a sanitizer's allocator does not count */
        check_true(used > 0 && used / N < 2048);
    windows_close(w);
}

static void an_attempt_without_any_number_counts(void **state)
{
    (void)state;
    struct frame f;
    struct windows *w = opened();
    struct sample s = sample_at(AT(1001));
    for (size_t i = 0; i < PHASE_N; i++)
        s.phases_ns[i] = SAMPLE_ABSENT;
    s.total_ns = SAMPLE_ABSENT;
    check_i64(windows_add(w, &s, AT(1002)), 0);
    check_i64(cut(w, &calm, &f), 0);
    check_u64(f.cells[0].outcomes[OUTCOME_OK], 1);
    check_u64(f.cells[0].series[SERIES_TOTAL].count, 0);
    frame_fini(&f);
    windows_close(w);
}

/* What does not fit is lost, and the next window is not held up by it. */
static void a_frame_that_does_not_fit_is_lost_alone(void **state)
{
    (void)state;
    uint8_t small[40];
    struct wr out;
    struct windows *w = opened();
    add_at(w, AT(1001), AT(1002));
    wr_init_fixed(&out, small, sizeof(small));
    check_i64(windows_cut(w, &calm, &out), ERR_TOOBIG);
    add_at(w, AT(1011), AT(1012));
    check_cut(w, 101, 1);
    windows_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_attempt_is_in_each_of_its_series),
        cmocka_unit_test(a_failure_is_counted_and_in_no_series),
        cmocka_unit_test(each_protocol_and_mode_has_its_own_cell),
        cmocka_unit_test(a_starved_window_is_not_trusted),
        cmocka_unit_test(one_off_attempts_are_not_counted),
        cmocka_unit_test(a_sample_of_nothing_known_is_refused),
        cmocka_unit_test(a_window_is_due_two_seconds_after_its_end),
        cmocka_unit_test(
            an_attempt_belongs_where_it_started_while_that_is_open),
        cmocka_unit_test(the_first_sample_may_start_the_count),
        cmocka_unit_test(silence_gives_frames_too),
        cmocka_unit_test(a_long_gap_gives_only_its_last_windows),
        cmocka_unit_test(what_was_counted_is_never_skipped),
        cmocka_unit_test(a_clock_set_back_repeats_no_window),
        cmocka_unit_test(what_is_open_can_be_cut_whatever_the_clock_says),
        cmocka_unit_test(a_sample_from_before_a_step_back_is_not_in_the_future),
        cmocka_unit_test(who_cuts_too_late_finds_attempts_in_the_second),
        cmocka_unit_test(a_clock_at_1970_is_survived),
        cmocka_unit_test(a_sample_means_who_has_its_place_and_generation),
        cmocka_unit_test(a_target_that_comes_back_elsewhere_is_the_same),
        cmocka_unit_test(a_window_has_room_for_so_many_targets),
        cmocka_unit_test(too_many_or_too_long_names_keep_the_old_list),
        cmocka_unit_test(nothing_is_lost_whatever_the_clock_does),
        cmocka_unit_test(a_target_takes_less_than_two_kibibytes),
        cmocka_unit_test(an_attempt_without_any_number_counts),
        cmocka_unit_test(a_frame_that_does_not_fit_is_lost_alone),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
