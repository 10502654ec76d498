/* The rules one by one, then the attacks and faults by their numbers, then
 * random histories against a model that knows nothing but the rules. */
#include "mesh/members.h"
#include "proto/base/err.h"
#include "test/check.h"

#include <stdio.h>

#define SEC    UINT64_C(1000000000)
#define START  (100 * SEC)
#define UNIX_S UINT64_C(1700000000)
#define JUMP   MEMBERS_JUMP_MAX
#define NOBODY UINT32_MAX

static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};
static const struct addr_policy anywhere = {.allows_loopback = false};

struct world {
    struct members *ms;
    uint64_t now_ns;
    struct change c; /* of the last message */
};

/* This node is "me" at 10.0.0.109; names of one letter are at 10.0.0.<letter>,
 * all at port 7946. */
static struct members_config config(void)
{
    struct members_config c = {
        .name = span_of_text("me"),
        .meta = span_of_text("mine"),
        .incarnation = 50,
        .now_unix_s = UNIX_S,
        .members_max = 4096,
        .new_per_s = 256,
        .reclaim_ns = 30 * SEC,
        .ping_interval_ns = SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * SEC,
        .policy = &anywhere,
        .seed = check_seed(),
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    check_i64(addr_parse(&c.advertise, "10.0.0.109:7946"), 0);
    return c;
}

static struct world world_of(const struct members_config *c)
{
    struct world w = {.ms = members_open(c, START), .now_ns = START};
    check_true(w.ms != NULL);
    return w;
}

static struct world world(void)
{
    struct members_config c = config();
    return world_of(&c);
}

static void finish(struct world *w)
{
    members_check(w->ms);
    members_close(w->ms);
}

struct who {
    const char *name, *at, *meta;
    uint32_t incarnation;
    uint8_t state;
};

static enum change_kind tell_alive(struct world *w, const struct who *who,
                                   bool is_entry)
{
    char at[ADDR_TEXT_SIZE];
    struct addr a;
    snprintf(at, sizeof(at), "10.0.0.%u:7946", (unsigned)who->name[0]);
    check_i64(addr_parse(&a, who->at ? who->at : at), 0);
    struct ml_alive alive = {
        .incarnation = who->incarnation,
        .node = span_of_text(who->name),
        .addr = ml_addr_bytes(&a),
        .port = a.port,
        .meta = span_of_text(who->meta ? who->meta : ""),
        .vsn = span_of(vsn, sizeof(vsn)),
        .state = who->state,
    };
    memset(&w->c, 0xaa, sizeof(w->c));
    if (is_entry)
        members_entry(w->ms, w->now_ns, &alive, &w->c);
    else
        members_alive(w->ms, w->now_ns, &alive, &w->c);
    members_check(w->ms);
    return w->c.kind;
}

static enum change_kind alive(struct world *w, const char *name,
                              uint32_t incarnation)
{
    return tell_alive(
        w, &(struct who){.name = name, .incarnation = incarnation}, false);
}

static enum change_kind alive_with(struct world *w, const char *name,
                                   uint32_t incarnation, const char *meta)
{
    return tell_alive(
        w,
        &(struct who){.name = name, .incarnation = incarnation, .meta = meta},
        false);
}

static enum change_kind alive_at(struct world *w, const char *name,
                                 uint32_t incarnation, const char *at)
{
    return tell_alive(
        w, &(struct who){.name = name, .incarnation = incarnation, .at = at},
        false);
}

static enum change_kind entry(struct world *w, const char *name,
                              enum ml_state state, uint32_t incarnation)
{
    return tell_alive(w,
                      &(struct who){.name = name,
                                    .incarnation = incarnation,
                                    .state = (uint8_t)state},
                      true);
}

static enum change_kind suspect(struct world *w, const char *name,
                                uint32_t incarnation, const char *from)
{
    struct ml_accusation a = {incarnation, span_of_text(name),
                              span_of_text(from)};
    memset(&w->c, 0xaa, sizeof(w->c));
    members_suspect(w->ms, w->now_ns, &a, &w->c);
    members_check(w->ms);
    return w->c.kind;
}

static enum change_kind dead(struct world *w, const char *name,
                             uint32_t incarnation, const char *from)
{
    struct ml_accusation a = {incarnation, span_of_text(name),
                              span_of_text(from)};
    memset(&w->c, 0xaa, sizeof(w->c));
    members_dead(w->ms, w->now_ns, &a, &w->c);
    members_check(w->ms);
    return w->c.kind;
}

static const struct member *get(const struct world *w, const char *name)
{
    uint32_t i = members_find(w->ms, span_of_text(name));
    return i == NOBODY ? NULL : members_peek(w->ms, i);
}

static void check_is(const struct world *w, const char *name,
                     enum member_state state, uint32_t incarnation)
{
    const struct member *m = get(w, name);
    check_true(m != NULL);
    check_u64(m->state, state);
    check_u64(m->incarnation, incarnation);
}

static void check_at(const struct world *w, const char *name, const char *at)
{
    char text[ADDR_TEXT_SIZE];
    check_text(addr_format(&get(w, name)->addr, text), at);
}

/* ---- what is known from the beginning ---- */

static void knows_itself_from_the_beginning(void **state)
{
    (void)state;
    struct world w = world();
    struct ml_alive a;
    check_u64(members_count(w.ms), 1);
    check_u64(members_count_state(w.ms, MEMBER_ALIVE), 1);
    check_u64(members_find(w.ms, span_of_text("me")), MEMBERS_SELF);
    check_is(&w, "me", MEMBER_ALIVE, 50);
    check_at(&w, "me", "10.0.0.109:7946");
    members_describe(w.ms, MEMBERS_SELF, &a);
    check_i64(ml_alive_check(&a), 0);
    check_true(span_is(a.meta, "mine"));
    check_u64(a.incarnation, 50);
    check_u64(members_deadline(w.ms), UINT64_MAX);
    finish(&w);
    members_close(NULL);
}

/* ---- the alive rule ---- */

static void learns_names_from_alives_alone(void **state)
{
    (void)state;
    struct world w = world();
    check_u64(suspect(&w, "a", 5, "b"), CHANGE_NONE);
    check_u64(dead(&w, "a", 5, "b"), CHANGE_NONE);
    check_u64(dead(&w, "a", 5, "a"), CHANGE_NONE);
    check_u64(entry(&w, "a", ML_STATE_SUSPECT, 5), CHANGE_NONE);
    check_u64(entry(&w, "a", ML_STATE_DEAD, 5), CHANGE_NONE);
    check_u64(entry(&w, "a", ML_STATE_LEFT, 5), CHANGE_NONE);
    check_u64(alive(&w, "a", 0), CHANGE_NONE); /* nobody begins there */
    check_true(get(&w, "a") == NULL);

    check_u64(alive(&w, "a", 1), CHANGE_JOINED);
    check_true(w.c.is_news);
    check_u64(w.c.index, members_find(w.ms, span_of_text("a")));
    check_u64(entry(&w, "b", ML_STATE_ALIVE, 7), CHANGE_JOINED);
    check_true(w.c.is_news);
    check_is(&w, "a", MEMBER_ALIVE, 1);
    check_is(&w, "b", MEMBER_ALIVE, 7);
    check_u64(get(&w, "b")->changed_ns, START);
    check_u64(members_count(w.ms), 3);
    finish(&w);
}

static void believes_an_alive_that_is_newer(void **state)
{
    (void)state;
    struct world w = world();
    alive_with(&w, "a", 5, "x");
    w.now_ns += SEC;
    check_u64(alive_with(&w, "a", 4, "y"), CHANGE_NONE);
    check_u64(alive_with(&w, "a", 5, "y"), CHANGE_NONE);
    check_false(w.c.is_stale); /* of somebody who is here */
    check_false(w.c.is_news);
    check_u64(alive_with(&w, "a", 6, "x"), CHANGE_RENEWED);
    check_true(w.c.is_news);
    check_false(w.c.was_suspect);
    check_u64(alive_with(&w, "a", 8, "y"), CHANGE_UPDATED);
    check_true(w.c.is_news);
    check_is(&w, "a", MEMBER_ALIVE, 8);
    check_u64(get(&w, "a")->meta_len, 1);
    check_u64(get(&w, "a")->meta[0], 'y');
    check_u64(get(&w, "a")->changed_ns, START); /* it was alive all along */
    finish(&w);
}

static void ends_a_suspicion_only_by_a_higher_incarnation(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    suspect(&w, "a", 5, "b");
    check_u64(alive(&w, "a", 5), CHANGE_NONE);
    check_is(&w, "a", MEMBER_SUSPECT, 5);
    w.now_ns += SEC;
    check_u64(alive(&w, "a", 6), CHANGE_RENEWED);
    check_true(w.c.was_suspect);
    check_is(&w, "a", MEMBER_ALIVE, 6);
    check_u64(get(&w, "a")->changed_ns, START + SEC);
    check_u64(members_deadline(w.ms), UINT64_MAX);

    suspect(&w, "a", 6, "b");
    check_u64(alive_with(&w, "a", 7, "other"), CHANGE_UPDATED);
    check_true(w.c.was_suspect);
    check_false(members_expire(w.ms, UINT64_MAX, &w.c));
    finish(&w);
}

static void takes_the_dead_back_by_a_higher_incarnation(void **state)
{
    (void)state;
    struct world w = world();
    for (int has_left = 0; has_left < 2; has_left++) {
        const char *name = has_left ? "a" : "b";
        alive(&w, name, 5);
        dead(&w, name, 5, has_left ? name : "c");
        check_u64(alive(&w, name, 5), CHANGE_NONE);
        check_u64(alive(&w, name, 6), CHANGE_JOINED);
        check_false(w.c.was_suspect);
        check_is(&w, name, MEMBER_ALIVE, 6);
        /* Any that is higher, as long as one is left to refute with. */
        dead(&w, name, 6, has_left ? name : "c");
        check_u64(alive(&w, name, UINT32_MAX), CHANGE_NONE);
        check_u64(alive(&w, name, UINT32_MAX - 1), CHANGE_JOINED);
    }
    check_u64(members_counters(w.ms)->refused_jump, 2);
    finish(&w);
}

static void does_not_tell_nil_from_empty(void **state)
{
    (void)state;
    struct world w = world();
    struct addr at = {.family = ADDR_V4, .port = 7946, .ip = {10, 0, 0, 97}};
    struct ml_alive a = {
        .incarnation = 1,
        .node = span_of_text("a"),
        .addr = ml_addr_bytes(&at),
        .port = 7946,
        .meta = span_of(NULL, 0),
        .vsn = span_of(vsn, sizeof(vsn)),
    };
    members_alive(w.ms, w.now_ns, &a, &w.c);
    check_u64(w.c.kind, CHANGE_JOINED);
    check_true(get(&w, "a")->meta == NULL);
    a.meta = span_of("", 0);
    a.incarnation = 2;
    members_alive(w.ms, w.now_ns, &a, &w.c);
    check_u64(w.c.kind, CHANGE_RENEWED);
    a.meta = span_of("x", 1);
    a.incarnation = 3;
    members_alive(w.ms, w.now_ns, &a, &w.c);
    a.meta = span_of(NULL, 0);
    a.incarnation = 4;
    members_alive(w.ms, w.now_ns, &a, &w.c);
    check_u64(w.c.kind, CHANGE_UPDATED);
    finish(&w);
}

static void refuses_records_that_do_not_fit(void **state)
{
    (void)state;
    struct world w = world();
    uint64_t digest = members_digest(w.ms);
    check_u64(alive(&w, "a\n", 1), CHANGE_NONE);
    check_u64(alive_at(&w, "a", 1, "10.0.0.1:0"), CHANGE_NONE);
    check_u64(alive_at(&w, "a", 1, "224.0.0.1:1"), CHANGE_NONE);
    check_u64(entry(&w, "a", (enum ml_state)255, 1), CHANGE_NONE);
    check_u64(members_counters(w.ms)->refused_fit, 4);
    check_u64(members_digest(w.ms), digest);
    finish(&w);
}

static void stores_no_address_that_policy_denies(void **state)
{
    (void)state;
    static const char *const denied[] = {"169.254.169.254:80", "127.0.0.1:7946",
                                         "[::ffff:127.0.0.1]:7946",
                                         "[fe80::1]:7946"};
    struct world w = world();
    alive(&w, "gone", 1);
    dead(&w, "gone", 1, "x");
    alive(&w, "here", 1);
    w.now_ns += 31 * SEC;
    uint64_t digest = members_digest(w.ms);
    for (size_t i = 0; i < 4; i++) {
        check_u64(alive_at(&w, "a", 1, denied[i]), CHANGE_NONE);
        check_u64(alive_at(&w, "gone", 9, denied[i]), CHANGE_NONE);
        check_u64(alive_at(&w, "here", 9, denied[i]), CHANGE_NONE);
        check_u64(alive_at(&w, "me", 90, denied[i]), CHANGE_NONE);
    }
    check_u64(members_counters(w.ms)->refused_policy, 16);
    check_u64(members_counters(w.ms)->conflicts, 0);
    check_u64(members_digest(w.ms), digest);
    finish(&w);
}

static void takes_a_mapped_address_for_the_one_it_means(void **state)
{
    (void)state;
    struct world w = world();
    static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 10, 0, 0, 97};
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text("a"),
                         .addr = span_of(mapped, sizeof(mapped)),
                         .port = 7946,
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(w.ms, w.now_ns, &a, &w.c);
    check_u64(w.c.kind, CHANGE_JOINED);
    check_at(&w, "a", "10.0.0.97:7946");
    members_describe(w.ms, w.c.index, &a); /* passed on as it came */
    check_true(span_equal(a.addr, span_of(mapped, sizeof(mapped))));
    check_u64(alive(&w, "a", 2), CHANGE_RENEWED);
    check_u64(get(&w, "a")->addr_len, 4);
    finish(&w);
}

/* ---- the suspect rule ---- */

static void suspects_at_the_same_incarnation_or_above(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    w.now_ns += SEC;
    check_u64(suspect(&w, "a", 4, "b"), CHANGE_NONE);
    check_u64(suspect(&w, "a", 5, "b"), CHANGE_SUSPECTED);
    check_true(w.c.is_news);
    check_is(&w, "a", MEMBER_SUSPECT, 5);
    check_u64(get(&w, "a")->changed_ns, START + SEC);
    check_true(members_deadline(w.ms) != UINT64_MAX);

    alive(&w, "b", 5);
    check_u64(suspect(&w, "b", 9, "c"), CHANGE_SUSPECTED);
    check_is(&w, "b", MEMBER_SUSPECT, 9);
    check_u64(alive(&w, "b", 9), CHANGE_NONE);
    check_u64(members_count_state(w.ms, MEMBER_SUSPECT), 2);
    finish(&w);
}

static void hears_each_accuser_once(void **state)
{
    (void)state;
    struct world w = world();
    for (char c = 'a'; c < 'j'; c++) /* ten with this one: k = 2 */
        alive(&w, (char[]){c, '\0'}, 5);
    suspect(&w, "a", 5, "b");
    check_u64(members_deadline(w.ms), START + 24 * SEC);
    check_u64(suspect(&w, "a", 5, "b"), CHANGE_NONE);
    check_u64(suspect(&w, "a", 4, "c"), CHANGE_NONE);
    check_u64(suspect(&w, "a", 5, "c"), CHANGE_CONFIRMED);
    check_true(w.c.is_news);
    check_u64(members_deadline(w.ms), START + 11381 * SEC / 1000);
    check_u64(suspect(&w, "a", 5, "c"), CHANGE_NONE);
    check_u64(suspect(&w, "a", 5, "d"), CHANGE_CONFIRMED);
    check_u64(members_deadline(w.ms), START + 4 * SEC);
    check_u64(suspect(&w, "a", 5, "e"), CHANGE_NONE);
    check_u64(members_deadline(w.ms), START + 4 * SEC);
    finish(&w);
}

static void raises_a_suspect_to_what_its_accusers_know(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    suspect(&w, "a", 5, "b");
    check_u64(suspect(&w, "a", 8, "b"), CHANGE_CONFIRMED);
    check_true(w.c.is_news); /* or it would never hear of it */
    check_is(&w, "a", MEMBER_SUSPECT, 8);
    check_u64(alive(&w, "a", 8), CHANGE_NONE);
    check_u64(alive(&w, "a", 9), CHANGE_RENEWED);
    finish(&w);
}

struct timeouts {
    unsigned n, mult, max_mult;
    uint64_t interval_ms, max_ms, min_ms;
    unsigned k;
};

static void waits_as_long_as_memberlist(void **state)
{
    (void)state;
    static const struct timeouts cases[] = {
        {2, 4, 6, 1000, 4000, 4000, 0}, /* nobody could confirm */
        {3, 4, 6, 1000, 4000, 4000, 0},     {4, 4, 6, 1000, 24000, 4000, 2},
        {10, 4, 6, 1000, 24000, 4000, 2},   {64, 4, 6, 1000, 43344, 7224, 2},
        {100, 4, 6, 1000, 48000, 8000, 2},  {1000, 4, 6, 1000, 72000, 12000, 2},
        {10, 6, 6, 5000, 180000, 30000, 4}, {3, 3, 6, 1000, 18000, 3000, 1},
        {64, 3, 6, 1000, 32508, 5418, 1},   {10, 2, 6, 1000, 2000, 2000, 0},
        {10, 1, 6, 1000, 1000, 1000, 0},    {40, 20, 1, 1000, 32040, 32040, 8},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct timeouts *t = &cases[i];
        struct members_config c = config();
        char name[16];
        c.suspicion_mult = t->mult;
        c.suspicion_max_mult = t->max_mult;
        c.ping_interval_ns = t->interval_ms * 1000000;
        struct world w = world_of(&c);
        for (unsigned j = 1; j < t->n; j++) {
            snprintf(name, sizeof(name), "n%u", j);
            struct who who = {.name = name, .incarnation = 1};
            check_u64(tell_alive(&w, &who, false), CHANGE_JOINED);
        }
        suspect(&w, "n1", 1, "x");
        check_u64(get(&w, "n1")->suspect->suspicion.limits.k, t->k);
        check_u64(members_deadline(w.ms) - START, t->max_ms * 1000000);
        for (unsigned j = 0; j < t->k; j++)
            suspect(&w, "n1", 1, (char[]){(char)('A' + j), '\0'});
        check_u64(members_deadline(w.ms) - START, t->min_ms * 1000000);
        finish(&w);
    }
}

/* ---- the dead rule ---- */

static void declares_dead_at_the_same_incarnation_or_above(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    alive(&w, "b", 5);
    suspect(&w, "b", 5, "x");
    w.now_ns += SEC;
    check_u64(dead(&w, "a", 4, "x"), CHANGE_NONE);
    check_u64(dead(&w, "a", 7, "x"), CHANGE_FAILED);
    check_true(w.c.is_news);
    check_is(&w, "a", MEMBER_DEAD, 7);
    check_u64(get(&w, "a")->changed_ns, START + SEC);
    check_u64(dead(&w, "a", 7, "y"), CHANGE_NONE);
    check_u64(dead(&w, "b", 5, "x"), CHANGE_FAILED);
    check_u64(members_deadline(w.ms), UINT64_MAX);
    check_u64(members_count_state(w.ms, MEMBER_DEAD), 2);
    finish(&w);
}

static void takes_a_dead_from_its_own_name_for_a_leave(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    suspect(&w, "a", 5, "x");
    check_u64(dead(&w, "a", 5, "a"), CHANGE_LEFT);
    check_true(w.c.is_news);
    check_is(&w, "a", MEMBER_LEFT, 5);
    check_u64(members_deadline(w.ms), UINT64_MAX);
    check_u64(dead(&w, "a", 5, "x"), CHANGE_NONE);
    alive(&w, "b", 5);
    check_u64(dead(&w, "b", 5, "bb"), CHANGE_FAILED);
    finish(&w);
}

static void advances_the_record_of_the_dead(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    dead(&w, "a", 5, "x");
    w.now_ns += SEC;
    check_u64(dead(&w, "a", 8, "x"), CHANGE_RAISED);
    check_true(w.c.is_news);
    check_u64(suspect(&w, "a", 9, "x"), CHANGE_RAISED);
    check_u64(suspect(&w, "a", 9, "x"), CHANGE_NONE);
    check_u64(dead(&w, "a", 10, "a"), CHANGE_RAISED);
    check_is(&w, "a", MEMBER_DEAD, 10);
    check_u64(get(&w, "a")->changed_ns, START); /* nor remembered longer */
    finish(&w);
}

/* ---- push/pull ---- */

static void lets_a_remote_opinion_kill_nobody(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    check_u64(entry(&w, "a", ML_STATE_DEAD, 5), CHANGE_SUSPECTED);
    check_is(&w, "a", MEMBER_SUSPECT, 5);
    /* It counts as our own word, however many say so. */
    check_u64(entry(&w, "a", ML_STATE_SUSPECT, 5), CHANGE_NONE);
    check_u64(suspect(&w, "a", 5, "me"), CHANGE_NONE);
    alive(&w, "b", 5);
    check_u64(entry(&w, "b", ML_STATE_LEFT, 6), CHANGE_LEFT);
    check_is(&w, "b", MEMBER_LEFT, 6);
    finish(&w);
}

/* ---- this node ---- */

static void answers_accusations_of_itself(void **state)
{
    (void)state;
    static const enum ml_state said[] = {ML_STATE_SUSPECT, ML_STATE_DEAD,
                                         ML_STATE_LEFT};
    struct world w = world();
    uint64_t digest = members_digest(w.ms);
    for (int i = 0; i < 3; i++) {
        check_u64(entry(&w, "me", said[i], 49), CHANGE_NONE);
        check_u64(entry(&w, "me", said[i], 50), CHANGE_ACCUSED);
        check_u64(w.c.incarnation, 50);
        check_u64(w.c.index, MEMBERS_SELF);
        check_false(w.c.is_news); /* told would be the accusation */
        check_u64(entry(&w, "me", said[i], 70), CHANGE_ACCUSED);
        check_u64(w.c.incarnation, 70);
    }
    check_u64(suspect(&w, "me", 49, "a"), CHANGE_NONE);
    check_u64(suspect(&w, "me", 50, "a"), CHANGE_ACCUSED);
    check_u64(dead(&w, "me", 49, "a"), CHANGE_NONE);
    check_u64(dead(&w, "me", 50, "a"), CHANGE_ACCUSED);
    check_u64(dead(&w, "me", 50, "me"), CHANGE_ACCUSED);
    check_u64(members_digest(w.ms), digest); /* refuting is the caller's */
    finish(&w);
}

static void answers_alives_in_its_name(void **state)
{
    (void)state;
    struct world w = world();
    check_u64(alive_with(&w, "me", 49, "other"), CHANGE_NONE);
    check_u64(alive_with(&w, "me", 50, "mine"), CHANGE_NONE); /* an echo */
    check_u64(alive_with(&w, "me", 50, "other"), CHANGE_ACCUSED);
    check_u64(w.c.incarnation, 50);
    /* Also with the same facts: our next word would be older than that. */
    check_u64(alive_with(&w, "me", 60, "mine"), CHANGE_ACCUSED);
    check_u64(w.c.incarnation, 60);
    finish(&w);
}

static void refutes_above_the_accusation(void **state)
{
    (void)state;
    struct world w = world();
    check_true(members_refute(w.ms, 50));
    check_is(&w, "me", MEMBER_ALIVE, 51);
    check_true(members_refute(w.ms, 3));
    check_is(&w, "me", MEMBER_ALIVE, 52);
    check_true(members_refute(w.ms, 1000));
    check_is(&w, "me", MEMBER_ALIVE, 1001);
    check_true(members_refute(w.ms, UINT32_MAX - 1));
    check_is(&w, "me", MEMBER_ALIVE, UINT32_MAX);
    check_false(members_refute(w.ms, UINT32_MAX)); /* it does not wrap */
    check_false(members_refute(w.ms, 1));
    check_i64(members_set_meta(w.ms, span_of_text("last")), 0);
    check_is(&w, "me", MEMBER_ALIVE, UINT32_MAX);
    members_restart(w.ms, 7);
    check_is(&w, "me", MEMBER_ALIVE, 7);
    finish(&w);
}

static void publishes_other_meta_one_higher(void **state)
{
    (void)state;
    uint8_t big[ML_META_MAX + 1] = {0};
    struct world w = world();
    check_i64(members_set_meta(w.ms, span_of_text("new")), 0);
    check_is(&w, "me", MEMBER_ALIVE, 51);
    check_u64(get(&w, "me")->meta_len, 3);
    check_i64(members_set_meta(w.ms, span_of(big, sizeof(big))), ERR_TOOBIG);
    check_is(&w, "me", MEMBER_ALIVE, 51);
    check_i64(members_set_meta(w.ms, span_of(big, ML_META_MAX)), 0);
    check_i64(members_set_meta(w.ms, span_of(NULL, 0)), 0);
    check_is(&w, "me", MEMBER_ALIVE, 53);
    finish(&w);
}

static void is_deaf_about_itself_while_leaving(void **state)
{
    (void)state;
    struct world w = world();
    members_leave(w.ms, w.now_ns);
    members_leave(w.ms, w.now_ns + SEC); /* again: it left before */
    check_is(&w, "me", MEMBER_LEFT, 50);
    check_u64(get(&w, "me")->changed_ns, START);
    check_u64(alive_with(&w, "me", 60, "other"), CHANGE_NONE);
    check_u64(alive_at(&w, "me", 60, "10.0.0.1:1"), CHANGE_NONE);
    check_u64(suspect(&w, "me", 60, "a"), CHANGE_NONE);
    check_u64(dead(&w, "me", 60, "me"), CHANGE_NONE);
    check_u64(alive(&w, "a", 1), CHANGE_JOINED); /* about others it hears */
    members_purge(w.ms, w.now_ns + 1000 * SEC, NULL, NULL);
    check_is(&w, "me", MEMBER_LEFT, 50);
    finish(&w);
}

/* ---- attacks and faults by number ---- */

static const uint32_t far[] = {
    UNIX_S + JUMP + 1, UINT32_C(1) << 31, MEMBERS_CEILING - 1, MEMBERS_CEILING,
    UINT32_MAX - 2,    UINT32_MAX - 1,    UINT32_MAX};
#define N_FAR (sizeof(far) / sizeof(*far))

static void a12_no_jump_ends_a_members_life(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    for (size_t i = 0; i < N_FAR; i++) {
        check_u64(suspect(&w, "a", far[i], "x"), CHANGE_NONE);
        check_u64(dead(&w, "a", far[i], "x"), CHANGE_NONE);
        check_u64(dead(&w, "a", far[i], "a"), CHANGE_NONE);
        check_u64(entry(&w, "a", ML_STATE_DEAD, far[i]), CHANGE_NONE);
    }
    check_is(&w, "a", MEMBER_ALIVE, 5);
    check_u64(members_counters(w.ms)->refused_jump, 4 * N_FAR);
    /* Neither may a suspect or a dead one be driven up. */
    suspect(&w, "a", 5, "x");
    check_u64(suspect(&w, "a", far[0], "y"), CHANGE_NONE);
    check_u64(dead(&w, "a", far[0], "y"), CHANGE_NONE);
    dead(&w, "a", 5, "x");
    check_u64(dead(&w, "a", far[0], "y"), CHANGE_NONE);
    check_is(&w, "a", MEMBER_DEAD, 5);
    finish(&w);
}

static void a12_the_limit_is_above_the_clock_and_what_is_known(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    check_u64(suspect(&w, "a", UNIX_S + JUMP, "x"), CHANGE_SUSPECTED);
    alive(&w, "b", 5);
    w.now_ns += 10 * SEC; /* the wall clock goes on, though never read */
    check_u64(suspect(&w, "b", UNIX_S + 11 + JUMP, "x"), CHANGE_NONE);
    check_u64(suspect(&w, "b", UNIX_S + 10 + JUMP, "x"), CHANGE_SUSPECTED);
    alive(&w, "c", 2000000000);
    check_u64(dead(&w, "c", 2000000000 + JUMP + 1, "x"), CHANGE_NONE);
    check_u64(dead(&w, "c", 2000000000 + JUMP, "x"), CHANGE_FAILED);
    finish(&w);
}

/* Whatever one says of the victim, to it or to its peer, in whatever order
 * they hear it: when the victim has answered what it heard and its peer has
 * heard that answer, it is alive there, and with its own facts. */
static void a12_any_accusation_is_refuted(void **state)
{
    (void)state;
    struct members_config c = config();
    static const uint32_t near[] = {0, 1, 2, JUMP - 1, JUMP, JUMP + 1};
    uint32_t said[N_FAR + 6];
    for (size_t i = 0; i < 6; i++)
        said[i] = (uint32_t)UNIX_S + near[i];
    memcpy(said + 6, far, sizeof(far));
    c.incarnation = (uint32_t)UNIX_S;

    for (size_t i = 0; i < N_FAR + 6; i++) {
        for (int how = 0; how < 12; how++) {
            struct world victim = world_of(&c);
            c.name = span_of_text("peer");
            struct world peer = world_of(&c);
            c.name = span_of_text("me");
            alive_with(&peer, "me", (uint32_t)UNIX_S, "mine");
            int hears = how / 4; /* both, the victim alone, twice */
            for (int times = 0; times <= (hears == 2); times++) {
                struct world *who[2] = {&victim, &peer};
                /* Above the ceiling there is no second step to take. */
                uint32_t incarnation = said[i];
                if (said[i] < MEMBERS_CEILING - JUMP)
                    incarnation += (uint32_t)times * JUMP;
                for (int j = 0; j < (hears ? 1 : 2); j++) {
                    switch (how % 4) {
                    case 0:
                        suspect(who[j], "me", incarnation, "x");
                        break;
                    case 1:
                        dead(who[j], "me", incarnation, "x");
                        break;
                    case 2:
                        dead(who[j], "me", incarnation, "me");
                        break;
                    case 3:
                        alive_with(who[j], "me", incarnation, "forged");
                        break;
                    }
                    if (j == 0 && who[j]->c.kind == CHANGE_ACCUSED)
                        members_refute(victim.ms, who[j]->c.incarnation);
                }
            }
            /* Then the peer suspects it for what it knows of it. */
            struct ml_alive answer;
            members_describe(victim.ms, MEMBERS_SELF, &answer);
            members_alive(peer.ms, peer.now_ns, &answer, &peer.c);
            check_is(&peer, "me", MEMBER_ALIVE, answer.incarnation);
            check_true(span_is(
                span_of(get(&peer, "me")->meta, get(&peer, "me")->meta_len),
                "mine"));
            finish(&victim);
            finish(&peer);
        }
    }
}

static void a12_above_the_ceiling_only_own_pings_count(void **state)
{
    (void)state;
    const uint32_t high = MEMBERS_CEILING + 7;
    struct world w = world();
    check_u64(alive(&w, "a", high), CHANGE_JOINED); /* perhaps driven there */
    check_u64(suspect(&w, "a", high, "x"), CHANGE_NONE);
    check_u64(dead(&w, "a", high, "x"), CHANGE_NONE);
    uint32_t index = members_find(w.ms, span_of_text("a"));
    members_doubt(w.ms, w.now_ns, index, high - 1, &w.c); /* it was refuted */
    check_u64(w.c.kind, CHANGE_NONE);
    members_doubt(w.ms, w.now_ns, index, high, &w.c);
    check_u64(w.c.kind, CHANGE_SUSPECTED);
    check_is(&w, "a", MEMBER_SUSPECT, high);
    check_u64(alive(&w, "a", high + 1), CHANGE_RENEWED);
    members_doubt(w.ms, w.now_ns, index, high + 1, &w.c);
    check_true(members_expire(w.ms, members_deadline(w.ms), &w.c));
    check_is(&w, "a", MEMBER_DEAD, high + 1);

    /* And the accused one answers such a peer, not others. */
    members_restart(w.ms, high);
    check_u64(suspect(&w, "me", high, "x"), CHANGE_ACCUSED);
    check_u64(suspect(&w, "me", high + 1, "x"), CHANGE_NONE);
    check_u64(suspect(&w, "me", UINT32_MAX, "x"), CHANGE_NONE);
    finish(&w);
}

static void a12_what_is_left_above_the_ceiling_lasts(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    check_u64(alive(&w, "a", MEMBERS_CEILING + JUMP + 1), CHANGE_NONE);
    check_u64(alive(&w, "a", MEMBERS_CEILING + JUMP), CHANGE_RENEWED);
    check_u64(alive_with(&w, "me", MEMBERS_CEILING + JUMP + 1, "forged"),
              CHANGE_NONE);
    check_u64(alive_with(&w, "me", MEMBERS_CEILING + JUMP, "forged"),
              CHANGE_ACCUSED);
    check_u64(members_counters(w.ms)->refused_jump, 2);
    finish(&w);
}

static void a13_keeps_the_first_address_of_the_living(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    uint64_t digest = members_digest(w.ms);
    check_u64(alive_at(&w, "a", 90, "10.9.9.9:7946"), CHANGE_CONFLICT);
    check_false(w.c.is_news);
    check_u64(w.c.claimed.ip[1], 9);
    check_u64(w.c.index, members_find(w.ms, span_of_text("a")));
    check_u64(alive_at(&w, "a", 90, "10.0.0.97:7947"), CHANGE_CONFLICT);
    check_u64(members_digest(w.ms), digest);
    suspect(&w, "a", 5, "x");
    check_u64(alive_at(&w, "a", 90, "10.9.9.9:7946"), CHANGE_CONFLICT);
    check_is(&w, "a", MEMBER_SUSPECT, 5);
    check_u64(alive_at(&w, "me", 1, "10.9.9.9:7946"), CHANGE_CONFLICT);
    check_u64(w.c.index, MEMBERS_SELF);
    check_at(&w, "me", "10.0.0.109:7946");
    check_u64(members_counters(w.ms)->conflicts, 4);
    finish(&w);
}

static void a73_a_forged_leave_gives_no_name_away(void **state)
{
    (void)state;
    static const uint32_t with[] = {1, 5, 6, 4000000000};
    for (int i = 0; i < 4; i++) {
        struct world w = world();
        alive(&w, "a", 5);
        check_u64(dead(&w, "a", 5, "a"), CHANGE_LEFT);
        check_u64(alive_at(&w, "a", with[i], "10.9.9.9:7946"), CHANGE_NONE);
        w.now_ns += 30 * SEC - 1;
        check_u64(alive_at(&w, "a", with[i], "10.9.9.9:7946"), CHANGE_NONE);
        check_at(&w, "a", "10.0.0.97:7946");
        /* The victim refutes meanwhile, and stays where it is. */
        check_u64(alive(&w, "a", 6), CHANGE_JOINED);
        check_is(&w, "a", MEMBER_ALIVE, 6);
        finish(&w);
    }
}

static void a_name_moves_after_a_while_and_upwards(void **state)
{
    (void)state;
    struct world w = world();
    for (int has_left = 0; has_left < 2; has_left++) {
        const char *name = has_left ? "a" : "b";
        const char *there = has_left ? "10.9.9.9:7946" : "10.9.9.8:7946";
        alive(&w, name, 5);
        dead(&w, name, 5, has_left ? name : "x");
        w.now_ns += 30 * SEC;
        check_u64(alive_at(&w, name, 5, there), CHANGE_NONE);
        check_true(w.c.is_stale);
        check_u64(alive_at(&w, name, 6, there), CHANGE_JOINED);
        check_at(&w, name, there);
        check_u64(members_at(w.ms, &get(&w, name)->addr, false), w.c.index);
    }
    struct addr old = {.family = ADDR_V4, .port = 7946, .ip = {10, 0, 0, 97}};
    check_u64(members_at(w.ms, &old, false), NOBODY);
    check_u64(members_at(w.ms, &old, true), NOBODY);
    finish(&w);
}

static void a74_say(struct world *w, int which)
{
    switch (which) {
    case 0:
        dead(w, "a", 1, "x");
        break;
    case 1:
        dead(w, "a", 10, "x");
        break;
    case 2:
        alive(w, "a", 2);
        break;
    case 3:
        suspect(w, "a", 3, "y");
        break;
    }
}

static void a74_no_order_brings_the_dead_back(void **state)
{
    (void)state;
    int orders = 0;
    for (int code = 0; code < 256; code++) {
        int order[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
        unsigned seen = 0;
        for (int i = 0; i < 4; i++)
            seen |= 1u << order[i];
        if (seen != 15)
            continue;
        orders++;
        struct world w = world();
        alive(&w, "a", 1);
        for (int i = 0; i < 4; i++)
            a74_say(&w, order[i]);
        check_is(&w, "a", MEMBER_DEAD, 10);
        check_u64(alive(&w, "a", 10), CHANGE_NONE);
        check_u64(alive(&w, "a", 11), CHANGE_JOINED);
        finish(&w);
    }
    check_u64(orders, 24);
}

static void a23_strangers_drive_nobody_out(void **state)
{
    (void)state;
    struct world w = world();
    struct addr at = {.family = ADDR_V4, .port = 7946, .ip = {10, 1}};
    struct ml_alive a = {.vsn = span_of(vsn, sizeof(vsn)), .port = 7946};
    alive(&w, "a", 5);
    alive(&w, "b", 5);
    for (uint32_t i = 0; i < 1000000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "x%u", i);
        memcpy(at.ip, &i, 3);
        at.ip[0] = 11;
        a.incarnation = 1 + i;
        a.node = span_of_text(name);
        a.addr = ml_addr_bytes(&at);
        members_alive(w.ms, w.now_ns + i * 1000, &a, &w.c);
    }
    const struct members_counters *k = members_counters(w.ms);
    check_u64(members_count(w.ms), 4096);
    check_u64(members_size(w.ms), 4096);
    check_u64(k->refused_full + k->refused_rate, 1000000 - 4096 + 3);
    check_is(&w, "a", MEMBER_ALIVE, 5);
    check_is(&w, "b", MEMBER_ALIVE, 5);
    check_u64(alive(&w, "b", 6), CHANGE_RENEWED);
    finish(&w);
}

static void a23_newcomers_are_limited_by_the_second(void **state)
{
    (void)state;
    struct members_config c = config();
    c.members_max = 20;
    c.new_per_s = 2;
    struct world w = world_of(&c);
    char name[16];
    for (int i = 0; i < 19; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        check_u64(alive(&w, name, 1), CHANGE_JOINED);
    }
    check_u64(alive(&w, "x", 1), CHANGE_NONE);
    check_u64(members_counters(w.ms)->refused_full, 1);
    for (int i = 0; i < 19; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        dead(&w, name, 1, "x");
    }
    check_u64(alive(&w, "x", 1), CHANGE_NONE); /* the dead take room too */
    w.now_ns += 31 * SEC;
    members_purge(w.ms, w.now_ns, NULL, NULL);
    check_u64(members_count(w.ms), 1);
    /* Twenty at once again, but there is room for 19; then two a second. */
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 19; i++) {
            snprintf(name, sizeof(name), "m%d", i);
            check_u64(alive(&w, name, 1),
                      i < (round ? 1 : 19) ? CHANGE_JOINED : CHANGE_NONE);
            dead(&w, name, 1, "x");
        }
        /* No time passes for the account, only for the records. */
        if (round == 0)
            members_purge(w.ms, w.now_ns + 31 * SEC, NULL, NULL);
    }
    check_u64(members_counters(w.ms)->refused_rate, 18);
    w.now_ns += SEC / 2 - 1;
    check_u64(alive(&w, "p", 1), CHANGE_NONE);
    w.now_ns += 1;
    check_u64(alive(&w, "p", 1), CHANGE_JOINED);
    check_u64(alive(&w, "q", 1), CHANGE_NONE);
    w.now_ns += SEC;
    check_u64(alive(&w, "q", 1), CHANGE_JOINED);
    check_u64(alive(&w, "r", 1), CHANGE_JOINED);
    check_u64(alive(&w, "s", 1), CHANGE_NONE);
    finish(&w);
}

static void f12_says_when_a_node_does_not_know_it_is_dead(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 100);
    check_u64(alive(&w, "a", 1), CHANGE_NONE);
    check_false(w.c.is_stale);
    dead(&w, "a", 100, "x");
    check_u64(alive(&w, "a", 1), CHANGE_NONE);
    check_true(w.c.is_stale);
    check_u64(w.c.stale_index, members_find(w.ms, span_of_text("a")));
    check_u64(alive(&w, "a", 100), CHANGE_NONE);
    check_true(w.c.is_stale);
    /* A higher one from elsewhere is too early, not too old. */
    check_u64(alive_at(&w, "a", 101, "10.9.9.9:7946"), CHANGE_NONE);
    check_false(w.c.is_stale);
    finish(&w);
}

static void f14_two_names_at_one_address_both_live(void **state)
{
    (void)state;
    struct world w = world();
    alive_at(&w, "old", 5, "10.1.1.1:7946");
    alive_at(&w, "new", 5, "10.1.1.1:7946");
    alive_at(&w, "by", 5, "10.1.1.1:7000");
    uint32_t old = members_find(w.ms, span_of_text("old"));
    uint32_t new = members_find(w.ms, span_of_text("new"));
    uint32_t by = members_find(w.ms, span_of_text("by"));
    struct addr at = members_peek(w.ms, old)->addr;
    dead(&w, "new", 5, "x");
    check_u64(members_at(w.ms, &at, false), old); /* the one that lives */
    check_is(&w, "old", MEMBER_ALIVE, 5);
    alive_at(&w, "new", 6, "10.1.1.1:7946");
    dead(&w, "old", 5, "x");
    check_u64(members_at(w.ms, &at, false), new);
    dead(&w, "new", 6, "x");
    check_true(members_at(w.ms, &at, false) != NOBODY);
    check_u64(members_at(w.ms, &at, true), by);
    at.port = 9;
    check_u64(members_at(w.ms, &at, false), NOBODY);
    check_u64(members_at(w.ms, &at, true), by);
    at.ip[3] = 2;
    check_u64(members_at(w.ms, &at, true), NOBODY);
    finish(&w);
}

static void f15_a_restarted_node_refutes_its_old_record(void **state)
{
    (void)state;
    struct world w = world();
    members_restart(w.ms, 1);
    /* The others remember 100, as alive with other meta and as dead. */
    check_u64(alive_with(&w, "me", 100, "before"), CHANGE_ACCUSED);
    check_true(members_refute(w.ms, w.c.incarnation));
    check_is(&w, "me", MEMBER_ALIVE, 101);
    members_restart(w.ms, 1);
    check_u64(entry(&w, "me", ML_STATE_DEAD, 100), CHANGE_ACCUSED);
    check_true(members_refute(w.ms, w.c.incarnation));
    check_is(&w, "me", MEMBER_ALIVE, 101);
    finish(&w);
}

/* ---- time ---- */

static void declares_suspects_dead_when_their_time_is_up(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    alive(&w, "b", 6);
    suspect(&w, "a", 5, "x"); /* three: 4 s */
    w.now_ns += SEC;
    suspect(&w, "b", 6, "x");
    check_u64(members_deadline(w.ms), START + 4 * SEC);
    check_false(members_expire(w.ms, START + 4 * SEC - 1, &w.c));
    check_u64(w.c.kind, CHANGE_NONE);
    check_true(members_expire(w.ms, START + 4 * SEC, &w.c));
    check_u64(w.c.kind, CHANGE_FAILED);
    check_true(w.c.is_news);
    check_u64(w.c.index, members_find(w.ms, span_of_text("a")));
    check_is(&w, "a", MEMBER_DEAD, 5);
    check_u64(get(&w, "a")->changed_ns, START + 4 * SEC);
    check_false(members_expire(w.ms, START + 4 * SEC, &w.c));
    check_u64(members_deadline(w.ms), START + 5 * SEC);
    check_true(members_expire(w.ms, START + 50 * SEC, &w.c));
    check_is(&w, "b", MEMBER_DEAD, 6);
    check_false(members_expire(w.ms, UINT64_MAX, &w.c));
    finish(&w);
}

static void gives_suspects_the_time_it_was_stopped(void **state)
{
    (void)state;
    struct world w = world();
    alive(&w, "a", 5);
    alive(&w, "b", 5);
    suspect(&w, "a", 5, "x");
    suspect(&w, "b", 5, "x");
    members_extend(w.ms, 60 * SEC);
    members_check(w.ms);
    check_u64(members_deadline(w.ms), START + 64 * SEC);
    check_false(members_expire(w.ms, START + 63 * SEC, &w.c));
    check_true(members_expire(w.ms, START + 64 * SEC, &w.c));
    check_true(members_expire(w.ms, START + 64 * SEC, &w.c));
    finish(&w);
}

struct forgotten {
    struct members *ms;
    int n;
    char last[16];
};

static void note(void *arg, const struct member *m)
{
    struct forgotten *f = arg;
    f->n++;
    snprintf(f->last, sizeof(f->last), "%s", m->name);
    /* It can still be found. */
    check_true(members_find(f->ms, span_of(m->name, m->name_len)) != NOBODY);
}

static void forgets_the_gone_after_a_while(void **state)
{
    (void)state;
    struct members_config c = config();
    struct world w = world_of(&c);
    struct forgotten f = {.ms = w.ms};
    alive(&w, "a", 5);
    alive(&w, "b", 5);
    alive(&w, "c", 5);
    alive(&w, "d", 5);
    dead(&w, "a", 5, "x");
    dead(&w, "b", 5, "b");
    suspect(&w, "c", 5, "x");
    members_purge(w.ms, START + 30 * SEC, note, &f);
    check_u64(f.n, 0);
    members_purge(w.ms, START + 30 * SEC + 1, note, &f);
    members_check(w.ms);
    check_u64(f.n, 2);
    check_text(f.last, "b");
    check_true(get(&w, "a") == NULL);
    check_u64(members_count(w.ms), 3);
    check_is(&w, "c", MEMBER_SUSPECT, 5);
    check_u64(alive(&w, "a", 1), CHANGE_JOINED); /* nothing is remembered */
    check_u64(members_size(w.ms), 5);            /* in a slot that was free */
    finish(&w);

    c.reclaim_ns = 60 * SEC;
    w = world_of(&c);
    alive(&w, "a", 5);
    dead(&w, "a", 5, "x");
    members_purge(w.ms, START + 60 * SEC, NULL, NULL);
    check_is(&w, "a", MEMBER_DEAD, 5);
    members_purge(w.ms, START + 60 * SEC + 1, NULL, NULL);
    check_true(get(&w, "a") == NULL);
    finish(&w);
}

/* ---- choosing ---- */

static void fill(struct world *w, unsigned n)
{
    char name[16];
    char at[32];
    for (unsigned i = 1; i <= n; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        snprintf(at, sizeof(at), "10.7.%u.%u:7946", i / 256, i % 256);
        check_u64(alive_at(w, name, 5, at), CHANGE_JOINED);
        check_u64(w->c.index, i); /* so that a test may name it */
    }
}

static void pings_everybody_once_in_each_round(void **state)
{
    (void)state;
    struct world w = world();
    bool wrapped;
    fill(&w, 20);
    suspect(&w, "n1", 5, "x");
    dead(&w, "n2", 5, "x");
    dead(&w, "n3", 5, "n3");
    uint32_t first[2] = {0};
    for (int round = 0; round < 2; round++) {
        unsigned pinged[21] = {0};
        for (int i = 0; i < 18; i++) {
            uint32_t index = members_next(w.ms, &wrapped);
            check_true(wrapped == (round > 0 && i == 0));
            check_true(index >= 1 && index <= 20);
            check_u64(++pinged[index], 1);
            first[round] += i < 9 ? index * (uint32_t)(i + 1) : 0;
        }
        check_u64(pinged[2] + pinged[3], 0);
    }
    check_true(first[0] != first[1]); /* in another order */
    finish(&w);
}

static void finds_the_only_one_wherever_the_round_stands(void **state)
{
    (void)state;
    struct world w = world();
    bool wrapped;
    fill(&w, 20);
    for (unsigned i = 2; i <= 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        dead(&w, name, 5, "x");
    }
    for (int i = 0; i < 100; i++)
        check_u64(members_next(w.ms, &wrapped), 1);
    finish(&w);
}

static void pings_nobody_if_there_is_nobody(void **state)
{
    (void)state;
    struct world w = world();
    bool wrapped = false;
    check_u64(members_next(w.ms, &wrapped), NOBODY);
    check_true(wrapped); /* time to purge */
    alive(&w, "a", 5);
    dead(&w, "a", 5, "x");
    check_u64(members_next(w.ms, &wrapped), NOBODY);
    check_true(wrapped);
    members_purge(w.ms, START + 60 * SEC, NULL, NULL);
    check_u64(members_next(w.ms, &wrapped), NOBODY);
    alive(&w, "a", 5);
    check_true(members_next(w.ms, &wrapped) != NOBODY);
    finish(&w);
}

/* Whoever comes or goes in a round: those who stay are pinged in it, each of
 * them once. */
static void coming_and_going_passes_over_nobody(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, check_seed());
    for (int run = 0; run < 300; run++) {
        struct world w = world();
        unsigned n = 2 + (unsigned)rng_below(&r, 30);
        unsigned pinged[33] = {0}; /* by the number in the name */
        bool is_gone[33] = {false};
        char name[16];
        bool wrapped;
        uint32_t index;
        fill(&w, n);
        do /* to the beginning of a round */
            index = members_next(w.ms, &wrapped);
        while (!wrapped);
        wrapped = false;
        for (unsigned came = 0; !wrapped && index != NOBODY; came++) {
            const char *now = members_peek(w.ms, index)->name;
            if (now[0] == 'n')
                check_u64(++pinged[atoi(now + 1)], 1);
            w.now_ns += 31 * SEC;
            unsigned who = 1 + (unsigned)rng_below(&r, n);
            uint64_t what = rng_below(&r, 3);
            if (what == 0) {
                snprintf(name, sizeof(name), "n%u", who);
                dead(&w, name, 5, "x");
                members_purge(w.ms, w.now_ns + 31 * SEC, NULL, NULL);
                is_gone[who] = true;
            } else if (what == 1) {
                snprintf(name, sizeof(name), "z%u", came);
                alive(&w, name, 5);
            }
            index = members_next(w.ms, &wrapped);
        }
        for (unsigned i = 1; i <= n; i++)
            check_true(pinged[i] || is_gone[i]);
        finish(&w);
    }
}

static void newcomers_are_pinged_in_the_same_round(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct members_config c = config();
        c.seed = seed;
        struct world w = world_of(&c);
        bool wrapped;
        fill(&w, 10);
        for (int i = 0; i < 5; i++)
            members_next(w.ms, &wrapped);
        alive(&w, "z", 5);
        unsigned pinged = 0;
        for (int i = 0; i < 6; i++) {
            uint32_t index = members_next(w.ms, &wrapped);
            check_false(wrapped);
            pinged += index == members_find(w.ms, span_of_text("z"));
        }
        check_u64(pinged, 1);
        finish(&w);
    }
}

static void check_picked(const uint32_t *out, size_t n, uint32_t except)
{
    for (size_t i = 0; i < n; i++) {
        check_true(out[i] != MEMBERS_SELF);
        check_true(out[i] != except);
        for (size_t j = 0; j < i; j++)
            check_true(out[i] != out[j]);
    }
}

static void picks_each_with_the_same_chance(void **state)
{
    (void)state;
    static const unsigned sizes[] = {5, 100}; /* by looking at all, by dice */
    for (int s = 0; s < 2; s++) {
        struct world w = world();
        unsigned n = sizes[s];
        unsigned hits[128] = {0};
        uint32_t out[3];
        fill(&w, n);
        for (unsigned i = 0; i < 1000 * n; i++) {
            check_u64(members_pick(w.ms, w.now_ns, PICK_ALIVE, 2, 3, out), 3);
            check_picked(out, 3, 2);
            for (int j = 0; j < 3; j++)
                hits[out[j]]++;
        }
        /* 3000 n / (n - 1) each; four standard deviations are 220. */
        unsigned mean = 3000 * n / (n - 1);
        for (uint32_t i = 1; i <= n; i++) {
            if (i != 2)
                check_true(hits[i] > mean - 250 && hits[i] < mean + 250);
        }
        finish(&w);
    }
}

static void picks_only_among_those_asked_for(void **state)
{
    (void)state;
    struct world w = world();
    uint32_t out[64];
    uint64_t now_ns = START;
    fill(&w, 60);
    suspect(&w, "n1", 5, "x");
    dead(&w, "n2", 5, "x");
    dead(&w, "n3", 5, "n3");
    members_get(w.ms, 4)->is_ours = true;
    members_get(w.ms, 2)->is_ours = true;
#define PICK(who, except, k) members_pick(w.ms, now_ns, who, except, k, out)
    check_u64(PICK(PICK_SUSPECT, NOBODY, 2), 1);
    check_u64(out[0], 1);
    check_u64(PICK(PICK_DEAD, NOBODY, 2), 1);
    check_u64(out[0], 2);
    check_u64(PICK(PICK_ALIVE | PICK_OURS, NOBODY, 2), 1);
    check_u64(out[0], 4);
    check_u64(PICK(PICK_ALIVE | PICK_OURS, 4, 2), 0);
    check_u64(PICK(PICK_ALIVE | PICK_DEAD | PICK_OURS, 4, 2), 1);
    check_u64(PICK(0, NOBODY, 2), 0);
    check_u64(PICK(PICK_ALIVE, NOBODY, 0), 0);
    check_u64(PICK(PICK_ALIVE, NOBODY, 64), 57);
    check_picked(out, 57, NOBODY);
    check_u64(PICK(PICK_ALIVE | PICK_SUSPECT | PICK_DEAD, NOBODY, 64), 59);
    now_ns += 30 * SEC - 1;
    check_u64(PICK(PICK_DEAD, NOBODY, 2), 1);
    now_ns += 1;
    check_u64(PICK(PICK_DEAD, NOBODY, 2), 0);
#undef PICK
    finish(&w);
}

/* ---- reading ---- */

static void digest_tells_every_difference(void **state)
{
    (void)state;
    struct world w = world();
    uint64_t seen[16];
    size_t n = 0;
    seen[n++] = members_digest(w.ms);
    alive(&w, "a", 5);
    seen[n++] = members_digest(w.ms);
    alive(&w, "a", 6);
    seen[n++] = members_digest(w.ms);
    alive_with(&w, "a", 7, "x");
    seen[n++] = members_digest(w.ms);
    suspect(&w, "a", 7, "x");
    seen[n++] = members_digest(w.ms);
    dead(&w, "a", 7, "x");
    seen[n++] = members_digest(w.ms);
    dead(&w, "a", 8, "x");
    seen[n++] = members_digest(w.ms);
    w.now_ns += 31 * SEC;
    alive_at(&w, "a", 9, "10.9.9.9:1");
    seen[n++] = members_digest(w.ms);
    members_refute(w.ms, 50);
    seen[n++] = members_digest(w.ms);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            check_true(seen[i] != seen[j]);
    }
    dead(&w, "a", 9, "x");
    members_purge(w.ms, w.now_ns + 60 * SEC, NULL, NULL);
    members_restart(w.ms, 50);
    check_u64(members_digest(w.ms), seen[0]);
    check_i64(members_set_meta(w.ms, span_of_text("min3")), 0);
    members_restart(w.ms, 50); /* the meta alone differs */
    check_true(members_digest(w.ms) != seen[0]);
    finish(&w);
}

static void finds_all_of_many(void **state)
{
    (void)state;
    struct world w = world();
    fill(&w, 1000);
    for (uint32_t i = 1; i <= 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        check_u64(members_find(w.ms, span_of_text(name)), i);
        check_u64(members_at(w.ms, &members_peek(w.ms, i)->addr, false), i);
        check_u64(members_at(w.ms, &members_peek(w.ms, i)->addr, true), i);
    }
    check_u64(members_find(w.ms, span_of_text("n1001")), NOBODY);
    check_u64(members_find(w.ms, span_of("n1", 1)), NOBODY);
    finish(&w);
}

/* ---- the property ---- */

/* The rules once more, for a dozen names, written to be read and with nothing
 * to be fast. */
struct model_member {
    bool is_known;
    enum member_state state;
    uint32_t incarnation;
    unsigned place; /* its address: 10.0.0.<place> */
    char meta;      /* 0: none */
    uint64_t changed_ns, suspected_ns;
    size_t n_at_suspicion;
    bool has_accused[5];
};

#define NAMES  12 /* the first is this node */
#define PLACES 3

struct model {
    struct model_member m[NAMES];
    uint64_t now_ns;
};

enum said { SAID_ALIVE, SAID_SUSPECT, SAID_DEAD, SAID_DOUBT };

struct message {
    enum said said;
    unsigned about, from, place; /* from NAMES..: not a member */
    uint32_t incarnation;
    char meta;
};

static bool is_here(const struct model_member *m)
{
    return m->state == MEMBER_ALIVE || m->state == MEMBER_SUSPECT;
}

static size_t known(const struct model *o)
{
    size_t n = 0;
    for (int i = 0; i < NAMES; i++)
        n += o->m[i].is_known;
    return n;
}

static uint64_t believable(const struct model *o, const struct model_member *m)
{
    uint64_t clock = UNIX_S + (o->now_ns - START) / SEC;
    uint64_t top = (m->incarnation > clock ? m->incarnation : clock) + JUMP;
    return top < MEMBERS_CEILING ? top : (uint64_t)MEMBERS_CEILING - 1;
}

static uint64_t reachable(const struct model_member *m)
{
    if (!is_here(m))
        return UINT32_MAX - 1;
    return (m->incarnation > MEMBERS_CEILING ? (uint64_t)m->incarnation
                                             : (uint64_t)MEMBERS_CEILING) +
           JUMP;
}

static enum change_kind model_alive_self(const struct model *o,
                                         const struct message *msg)
{
    const struct model_member *me = &o->m[0];
    if (msg->place != me->place)
        return CHANGE_CONFLICT;
    bool is_echo = msg->incarnation == me->incarnation && msg->meta == me->meta;
    if (msg->incarnation < me->incarnation || is_echo ||
        msg->incarnation > reachable(me))
        return CHANGE_NONE;
    return CHANGE_ACCUSED;
}

static enum change_kind model_alive(struct model *o, const struct message *msg)
{
    struct model_member *m = &o->m[msg->about];
    if (msg->about == 0)
        return model_alive_self(o, msg);
    enum change_kind kind = CHANGE_JOINED;
    if (!m->is_known) {
        if (msg->incarnation == 0)
            return CHANGE_NONE;
    } else {
        if (msg->place != m->place && is_here(m))
            return CHANGE_CONFLICT;
        if (msg->place != m->place && o->now_ns - m->changed_ns < 30 * SEC)
            return CHANGE_NONE;
        if (msg->incarnation <= m->incarnation ||
            msg->incarnation > reachable(m))
            return CHANGE_NONE;
        if (is_here(m))
            kind = msg->meta == m->meta ? CHANGE_RENEWED : CHANGE_UPDATED;
    }
    if (!m->is_known || m->state != MEMBER_ALIVE)
        m->changed_ns = o->now_ns;
    m->is_known = true;
    m->state = MEMBER_ALIVE;
    m->incarnation = msg->incarnation;
    m->place = msg->place;
    m->meta = msg->meta;
    return kind;
}

static unsigned accusers(const struct model_member *m)
{
    unsigned n = 0;
    for (int i = 0; i < 5; i++)
        n += m->has_accused[i];
    return n;
}

static unsigned wanted(const struct model_member *m)
{
    return m->n_at_suspicion < 4 ? 0 : 2;
}

static enum change_kind model_accusation(struct model *o,
                                         const struct message *msg)
{
    struct model_member *m = &o->m[msg->about];
    unsigned from = msg->said == SAID_DOUBT ? 0 : msg->from;
    if (!m->is_known || msg->incarnation < m->incarnation)
        return CHANGE_NONE;
    if (msg->about == 0)
        return msg->incarnation < MEMBERS_CEILING ||
                       msg->incarnation == m->incarnation
                   ? CHANGE_ACCUSED
                   : CHANGE_NONE;
    uint32_t incarnation = msg->incarnation;
    if (msg->said == SAID_DOUBT)
        incarnation = m->incarnation;
    else if (incarnation > believable(o, m))
        return CHANGE_NONE;
    bool is_raised = incarnation > m->incarnation;
    m->incarnation = incarnation;
    if (!is_here(m))
        return is_raised ? CHANGE_RAISED : CHANGE_NONE;
    if (msg->said == SAID_DEAD) {
        m->state = from == msg->about ? MEMBER_LEFT : MEMBER_DEAD;
        m->changed_ns = o->now_ns;
        return from == msg->about ? CHANGE_LEFT : CHANGE_FAILED;
    }
    unsigned who = from < NAMES ? from % 2 : from - NAMES + 2;
    if (m->state == MEMBER_ALIVE) {
        m->state = MEMBER_SUSPECT;
        m->changed_ns = m->suspected_ns = o->now_ns;
        m->n_at_suspicion = known(o);
        memset(m->has_accused, 0, sizeof(m->has_accused));
        m->has_accused[who] = true;
        return CHANGE_SUSPECTED;
    }
    if (!m->has_accused[who] && accusers(m) < 1 + wanted(m)) {
        m->has_accused[who] = true;
        return CHANGE_CONFIRMED;
    }
    return is_raised ? CHANGE_CONFIRMED : CHANGE_NONE;
}

/* By hand for fewer than ten, where the scale is 1, and for 10 to 12 of them,
 * where it is 1, 1.041 and 1.079. */
static uint64_t model_deadline(const struct model_member *m)
{
    static const uint64_t min_ms[] = {4000, 4164, 4316};
    static const uint64_t middle_ms[] = {11381, 11848, 12280};
    size_t i = m->n_at_suspicion < 10 ? 0 : m->n_at_suspicion - 10;
    unsigned confirmed = accusers(m) - 1;
    uint64_t ms = confirmed == wanted(m) ? min_ms[i]
                  : confirmed == 1       ? middle_ms[i]
                                         : 6 * min_ms[i];
    return m->suspected_ns + ms * 1000000;
}

static void model_time(struct model *o)
{
    for (int i = 1; i < NAMES; i++) {
        struct model_member *m = &o->m[i];
        if (!m->is_known)
            continue;
        if (m->state == MEMBER_SUSPECT && model_deadline(m) <= o->now_ns) {
            m->state = MEMBER_DEAD;
            m->changed_ns = o->now_ns;
        }
    }
}

static void model_purge(struct model *o)
{
    for (int i = 1; i < NAMES; i++) {
        struct model_member *m = &o->m[i];
        if (!is_here(m) && o->now_ns - m->changed_ns > 30 * SEC)
            m->is_known = false;
    }
}

static const char *name_of(unsigned i)
{
    static const char *const names[NAMES + 3] = {"me", "b", "c", "d", "e",
                                                 "f",  "g", "h", "i", "j",
                                                 "k",  "l", "x", "y", "z"};
    return names[i];
}

static uint32_t some_incarnation(struct rng *r, const struct model_member *m)
{
    static const uint32_t edges[] = {0,
                                     UNIX_S + JUMP,
                                     MEMBERS_CEILING - 1,
                                     MEMBERS_CEILING,
                                     MEMBERS_CEILING + JUMP,
                                     UINT32_MAX - 1,
                                     UINT32_MAX};
    uint32_t near = (uint32_t)rng_below(r, 5) - 2;
    if (rng_below(r, 200) == 0)
        return edges[rng_below(r, 7)] + near;
    if (rng_below(r, 40) == 0)
        return m->incarnation + JUMP + near;
    uint32_t v = m->incarnation + near;
    return v > UINT32_MAX - 4 && m->incarnation < 4 ? 1 : v;
}

static void say(struct world *w, const struct message *msg)
{
    char at[32];
    char meta[2] = {msg->meta, '\0'};
    const char *name = name_of(msg->about);
    snprintf(at, sizeof(at), "10.0.0.%u:7946", msg->place + 1);
    switch (msg->said) {
    case SAID_ALIVE:
        tell_alive(w,
                   &(struct who){.name = name,
                                 .at = at,
                                 .meta = meta,
                                 .incarnation = msg->incarnation},
                   msg->from % 2);
        break;
    case SAID_SUSPECT:
        suspect(w, name, msg->incarnation, name_of(msg->from));
        break;
    case SAID_DEAD:
        dead(w, name, msg->incarnation, name_of(msg->from));
        break;
    case SAID_DOUBT:
        members_doubt(w->ms, w->now_ns, members_find(w->ms, span_of_text(name)),
                      msg->incarnation, &w->c);
        break;
    }
}

static void check_same(const struct world *w, const struct model *o)
{
    uint64_t deadline = UINT64_MAX;
    check_u64(members_count(w->ms), known(o));
    for (unsigned i = 0; i < NAMES; i++) {
        const struct model_member *want = &o->m[i];
        const struct member *m = get(w, name_of(i));
        check_true((m != NULL) == want->is_known);
        if (!m)
            continue;
        check_u64(m->state, want->state);
        check_u64(m->incarnation, want->incarnation);
        check_u64(m->addr.ip[3], want->place + 1);
        check_u64(m->meta_len ? m->meta[0] : 0, want->meta);
        check_u64(m->changed_ns, want->changed_ns);
        if (m->state == MEMBER_SUSPECT && model_deadline(want) < deadline)
            deadline = model_deadline(want);
    }
    check_u64(members_deadline(w->ms), deadline);
}

static void step(struct world *w, struct model *o, struct rng *r,
                 unsigned kinds[CHANGE_CONFLICT + 1])
{
    struct message msg = {
        .about = (unsigned)rng_below(r, NAMES),
        .place = (unsigned)rng_below(r, 8) ? 0 : (unsigned)rng_below(r, PLACES),
        .meta = "\0ab"[rng_below(r, 3)],
        .said = (enum said)rng_below(r, 4),
    };
    struct model_member *m = &o->m[msg.about];
    if (msg.said != SAID_ALIVE || rng_below(r, 4))
        msg.place = m->place;
    msg.incarnation = some_incarnation(r, m);
    /* A member's own name, ours, or one of three who are none. */
    static const unsigned outsiders[] = {0, NAMES, NAMES + 1, NAMES + 2};
    msg.from = rng_below(r, 6) ? outsiders[rng_below(r, 4)] : msg.about;
    if (msg.from == msg.about && msg.said == SAID_SUSPECT)
        msg.from = 0;
    if (msg.said == SAID_DEAD && rng_below(r, 3))
        msg.said = SAID_SUSPECT, msg.from = outsiders[rng_below(r, 4)];
    if (msg.said == SAID_DOUBT && (msg.about == 0 || !m->is_known))
        msg.said = SAID_ALIVE;

    say(w, &msg);
    enum change_kind want = msg.said == SAID_ALIVE ? model_alive(o, &msg)
                                                   : model_accusation(o, &msg);
    check_u64(w->c.kind, want);
    check_true(w->c.is_news == (want != CHANGE_NONE && want != CHANGE_ACCUSED &&
                                want != CHANGE_CONFLICT));
    kinds[want]++;
    if (want == CHANGE_ACCUSED) {
        check_u64(w->c.incarnation, msg.incarnation);
        if (members_refute(w->ms, msg.incarnation))
            m->incarnation = msg.incarnation + 1;
    }
}

static void judges_as_the_rules_say(void **state)
{
    (void)state;
    struct rng r;
    unsigned kinds[CHANGE_CONFLICT + 1] = {0};
    rng_seed(&r, check_seed());
    for (int run = 0; run < 150; run++) {
        struct members_config c = config();
        c.seed = rng_next(&r);
        check_i64(addr_parse(&c.advertise, "10.0.0.1:7946"), 0);
        c.meta = span_of_text("a");
        struct world w = world_of(&c);
        struct model o = {.now_ns = START};
        o.m[0] = (struct model_member){.is_known = true,
                                       .incarnation = 50,
                                       .meta = 'a',
                                       .changed_ns = START};
        for (int i = 0; i < 1000; i++) {
            step(&w, &o, &r, kinds);
            if (rng_below(&r, 3) == 0)
                w.now_ns += rng_below(&r, rng_below(&r, 20) ? SEC : 40 * SEC);
            o.now_ns = w.now_ns;
            model_time(&o);
            while (members_expire(w.ms, w.now_ns, &w.c))
                check_u64(w.c.kind, CHANGE_FAILED);
            if (rng_below(&r, 20) == 0) {
                model_purge(&o);
                members_purge(w.ms, w.now_ns, NULL, NULL);
            }
            members_check(w.ms);
            check_same(&w, &o);
        }
        finish(&w);
    }
    for (int k = 0; k <= CHANGE_CONFLICT; k++)
        check_true(kinds[k] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_itself_from_the_beginning),
        cmocka_unit_test(learns_names_from_alives_alone),
        cmocka_unit_test(believes_an_alive_that_is_newer),
        cmocka_unit_test(ends_a_suspicion_only_by_a_higher_incarnation),
        cmocka_unit_test(takes_the_dead_back_by_a_higher_incarnation),
        cmocka_unit_test(does_not_tell_nil_from_empty),
        cmocka_unit_test(refuses_records_that_do_not_fit),
        cmocka_unit_test(stores_no_address_that_policy_denies),
        cmocka_unit_test(takes_a_mapped_address_for_the_one_it_means),
        cmocka_unit_test(suspects_at_the_same_incarnation_or_above),
        cmocka_unit_test(hears_each_accuser_once),
        cmocka_unit_test(raises_a_suspect_to_what_its_accusers_know),
        cmocka_unit_test(waits_as_long_as_memberlist),
        cmocka_unit_test(declares_dead_at_the_same_incarnation_or_above),
        cmocka_unit_test(takes_a_dead_from_its_own_name_for_a_leave),
        cmocka_unit_test(advances_the_record_of_the_dead),
        cmocka_unit_test(lets_a_remote_opinion_kill_nobody),
        cmocka_unit_test(answers_accusations_of_itself),
        cmocka_unit_test(answers_alives_in_its_name),
        cmocka_unit_test(refutes_above_the_accusation),
        cmocka_unit_test(publishes_other_meta_one_higher),
        cmocka_unit_test(is_deaf_about_itself_while_leaving),
        cmocka_unit_test(a12_no_jump_ends_a_members_life),
        cmocka_unit_test(a12_the_limit_is_above_the_clock_and_what_is_known),
        cmocka_unit_test(a12_any_accusation_is_refuted),
        cmocka_unit_test(a12_above_the_ceiling_only_own_pings_count),
        cmocka_unit_test(a12_what_is_left_above_the_ceiling_lasts),
        cmocka_unit_test(a13_keeps_the_first_address_of_the_living),
        cmocka_unit_test(a73_a_forged_leave_gives_no_name_away),
        cmocka_unit_test(a_name_moves_after_a_while_and_upwards),
        cmocka_unit_test(a74_no_order_brings_the_dead_back),
        cmocka_unit_test(a23_strangers_drive_nobody_out),
        cmocka_unit_test(a23_newcomers_are_limited_by_the_second),
        cmocka_unit_test(f12_says_when_a_node_does_not_know_it_is_dead),
        cmocka_unit_test(f14_two_names_at_one_address_both_live),
        cmocka_unit_test(f15_a_restarted_node_refutes_its_old_record),
        cmocka_unit_test(declares_suspects_dead_when_their_time_is_up),
        cmocka_unit_test(gives_suspects_the_time_it_was_stopped),
        cmocka_unit_test(forgets_the_gone_after_a_while),
        cmocka_unit_test(pings_everybody_once_in_each_round),
        cmocka_unit_test(finds_the_only_one_wherever_the_round_stands),
        cmocka_unit_test(pings_nobody_if_there_is_nobody),
        cmocka_unit_test(coming_and_going_passes_over_nobody),
        cmocka_unit_test(newcomers_are_pinged_in_the_same_round),
        cmocka_unit_test(picks_each_with_the_same_chance),
        cmocka_unit_test(picks_only_among_those_asked_for),
        cmocka_unit_test(digest_tells_every_difference),
        cmocka_unit_test(finds_all_of_many),
        cmocka_unit_test(judges_as_the_rules_say),
    };
    return cmocka_run_group_tests_name("members", tests, NULL, NULL);
}
