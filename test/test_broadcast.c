/* Cases first, then one property: a list that is searched in the simplest way
 * gives out the same. */
#include "mesh/broadcast.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define M BROADCAST_MEMBER
#define U BROADCAST_USER

static const struct broadcast_limits roomy = {
    .items_max = 100, .bytes_max = 10000, .item_max = 1000};

/* `len` bytes, all of them `fill`, under a subject. */
static uint64_t add_about(struct broadcast *b, enum broadcast_kind kind,
                          uint64_t subject, char fill, size_t len)
{
    uint8_t bytes[1000];
    uint64_t id = 0;
    memset(bytes, fill, sizeof(bytes));
    check_i64(broadcast_add(b, kind, subject, span_of(bytes, len), &id), 0);
    broadcast_check(b);
    return id;
}

static uint64_t add(struct broadcast *b, enum broadcast_kind kind, char fill,
                    size_t len)
{
    return add_about(b, kind, 0, fill, len);
}

/* The first bytes of what is handed out, as text. */
static const char *take(struct broadcast *b, unsigned limit, size_t room,
                        size_t overhead, char text[101])
{
    struct span items[100];
    size_t n = broadcast_take(b, limit, room, overhead, items, 100);
    for (size_t i = 0; i < n; i++) {
        check_true(items[i].len > 0);
        text[i] = (char)items[i].data[0];
    }
    text[n] = '\0';
    broadcast_check(b);
    return text;
}

static void limit_grows_with_the_digits_of_n(void **state)
{
    (void)state;
    check_u64(broadcast_limit(4, 0), 4);
    check_u64(broadcast_limit(4, 1), 4);
    check_u64(broadcast_limit(4, 9), 4);
    check_u64(broadcast_limit(4, 10), 8);
    check_u64(broadcast_limit(4, 99), 8);
    check_u64(broadcast_limit(4, 100), 12);
    check_u64(broadcast_limit(4, 999), 12);
    check_u64(broadcast_limit(4, 1000), 16);
    check_u64(broadcast_limit(2, 50), 4);
}

static void tells_what_was_told_least_first(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    add(b, M, 'a', 10);
    check_text(take(b, 4, 10, 0, text), "a");
    add(b, M, 'b', 5);
    check_text(take(b, 4, 10, 0, text), "b");
    add(b, M, 'c', 3);
    check_text(take(b, 4, 18, 0, text), "cab"); /* told 0, 1 and 1 times */
    broadcast_close(b);
}

static void takes_the_largest_that_fits_then_the_newest(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    add(b, M, 'a', 10);
    add(b, M, 'b', 50);
    add(b, M, 'c', 20);
    add(b, M, 'd', 20);
    add(b, M, 'e', 40);
    /* 60: b leaves 10, of which only a's are enough. */
    check_text(take(b, 4, 60, 0, text), "ba");
    /* Those not told yet: e leaves 21, the newer of c and d 1. */
    check_text(take(b, 4, 61, 0, text), "ed");
    check_text(take(b, 4, 1000, 0, text), "cbeda");
    broadcast_close(b);
}

static void counts_the_overhead_of_each_item(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    add(b, M, 'a', 10);
    add(b, M, 'b', 10);
    check_text(take(b, 9, 11, 2, text), "");
    check_text(take(b, 9, 12, 2, text), "b");
    check_text(take(b, 9, 23, 2, text), "a");
    check_text(take(b, 9, 24, 2, text), "ba");
    check_text(take(b, 9, 0, 0, text), "");
    broadcast_close(b);
}

static void hands_out_no_more_than_asked_for(void **state)
{
    (void)state;
    struct span items[2];
    struct broadcast *b = broadcast_open(&roomy);
    for (char c = 'a'; c < 'f'; c++)
        add(b, M, c, 5);
    check_u64(broadcast_take(b, 4, 1000, 0, items, 2), 2);
    check_u64(broadcast_take(b, 4, 1000, 0, items, 0), 0);
    check_u64(broadcast_count(b), 5);
    broadcast_close(b);
}

static void forgets_what_was_told_often_enough(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    uint64_t id = add_about(b, M, 7, 'a', 10);
    for (int i = 0; i < 3; i++) {
        check_true(broadcast_has(b, id));
        check_text(take(b, 3, 100, 2, text), "a");
    }
    check_false(broadcast_has(b, id));
    check_text(take(b, 3, 100, 2, text), "");
    check_u64(broadcast_count(b), 0);
    check_u64(broadcast_bytes(b), 0);
    check_u64(broadcast_dropped(b), 0); /* it was told, not dropped */
    broadcast_close(b);
}

static void replaces_what_is_about_the_same(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    uint64_t old = add_about(b, M, 7, 'a', 10);
    take(b, 4, 100, 0, text);
    uint64_t new = add_about(b, M, 7, 'b', 10);
    check_false(broadcast_has(b, old));
    check_true(broadcast_has(b, new));
    add_about(b, M, 8, 'c', 9);
    add_about(b, U, 7, 'd', 8); /* another kind, another subject */
    check_u64(broadcast_count(b), 3);
    check_text(take(b, 4, 100, 0, text), "bcd");
    broadcast_remove(b, M, 7);
    broadcast_remove(b, M, 99);
    broadcast_check(b);
    check_text(take(b, 4, 100, 0, text), "cd");
    broadcast_close(b);
}

static void keeps_all_without_a_subject(void **state)
{
    (void)state;
    struct broadcast *b = broadcast_open(&roomy);
    add(b, M, 'a', 10);
    add(b, M, 'b', 10);
    broadcast_remove(b, M, 0);
    check_u64(broadcast_count(b), 2);
    broadcast_close(b);
}

static void may_be_given_its_own_bytes(void **state)
{
    (void)state;
    struct span item;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    add_about(b, M, 7, 'a', 500);
    check_u64(broadcast_take(b, 1, 1000, 0, &item, 1), 1);
    check_i64(broadcast_add(b, M, 7, item, NULL), 0);
    check_u64(broadcast_take(b, 2, 1000, 0, &item, 1), 1);
    check_i64(broadcast_add(b, M, 7, item, NULL), 0);
    check_text(take(b, 1, 1000, 0, text), "a");
    broadcast_close(b);
}

static void lends_its_bytes_until_the_next_call(void **state)
{
    (void)state;
    struct span item;
    struct broadcast *b = broadcast_open(&roomy);
    uint64_t id = add(b, M, 'a', 100);
    check_u64(broadcast_take(b, 1, 1000, 0, &item, 1), 1);
    check_false(broadcast_has(b, id));
    check_u64(broadcast_count(b), 0);
    for (size_t i = 0; i < item.len; i++) /* a sanitizer looks on */
        check_u64(item.data[i], 'a');
    broadcast_close(b);
}

static void refuses_what_no_packet_carries(void **state)
{
    (void)state;
    uint8_t bytes[1001] = {0};
    uint64_t id = 77;
    struct broadcast_limits tight = {
        .items_max = 4, .bytes_max = 20, .item_max = 1000};
    struct broadcast *b = broadcast_open(&roomy);
    check_i64(broadcast_add(b, M, 1, span_of(bytes, 1001), &id), ERR_TOOBIG);
    check_i64(broadcast_add(b, M, 1, span_of(bytes, 0), &id), ERR_BAD);
    check_i64(broadcast_add(b, M, 1, span_of(bytes, 1000), NULL), 0);
    /* What is refused replaces nothing. */
    check_i64(broadcast_add(b, M, 1, span_of(bytes, 1001), &id), ERR_TOOBIG);
    check_u64(broadcast_count(b), 1);
    check_u64(id, 77);
    broadcast_close(b);

    b = broadcast_open(&tight);
    check_i64(broadcast_add(b, M, 1, span_of(bytes, 21), &id), ERR_TOOBIG);
    check_i64(broadcast_add(b, M, 1, span_of(bytes, 20), &id), 0);
    broadcast_check(b);
    broadcast_close(b);
}

static void drops_the_most_told_when_full(void **state)
{
    (void)state;
    char text[101];
    struct broadcast_limits four = {
        .items_max = 4, .bytes_max = 10000, .item_max = 1000};
    struct broadcast *b = broadcast_open(&four);
    uint64_t a = add(b, M, 'a', 10);
    uint64_t u = add(b, U, 'u', 10);
    take(b, 9, 100, 0, text); /* a and u are told once */
    uint64_t c = add(b, M, 'c', 10);
    uint64_t d = add(b, M, 'd', 10);
    add(b, M, 'e', 10);
    check_false(broadcast_has(b, a)); /* the older of the two */
    add(b, M, 'f', 10);
    check_false(broadcast_has(b, u));
    add(b, M, 'g', 10); /* all are at zero now */
    check_false(broadcast_has(b, c));
    check_true(broadcast_has(b, d));
    check_u64(broadcast_count(b), 4);
    check_u64(broadcast_dropped(b), 3);
    broadcast_close(b);
}

static void replacing_when_full_drops_nobody(void **state)
{
    (void)state;
    struct broadcast_limits two = {
        .items_max = 2, .bytes_max = 100, .item_max = 100};
    struct broadcast *b = broadcast_open(&two);
    add_about(b, M, 1, 'a', 50);
    add_about(b, M, 2, 'b', 50);
    add_about(b, M, 1, 'c', 50);
    check_u64(broadcast_count(b), 2);
    check_u64(broadcast_dropped(b), 0);
    broadcast_close(b);
}

static void drops_as_many_as_the_bytes_need(void **state)
{
    (void)state;
    struct broadcast_limits hundred = {
        .items_max = 100, .bytes_max = 100, .item_max = 100};
    struct broadcast *b = broadcast_open(&hundred);
    add(b, M, 'a', 40);
    add(b, M, 'b', 40);
    uint64_t c = add(b, M, 'c', 20);
    check_u64(broadcast_bytes(b), 100);
    add(b, M, 'd', 41);
    check_true(broadcast_has(b, c));
    check_u64(broadcast_count(b), 2);
    check_u64(broadcast_bytes(b), 61);
    check_u64(broadcast_dropped(b), 2);
    broadcast_close(b);
}

static void keeps_a_quarter_for_the_application(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    for (char c = 'a'; c < 'i'; c++)
        add(b, M, c, 48);
    add(b, U, 'U', 48);
    add(b, U, 'V', 48);
    /* 400: without the quarter all eight members would fill it. With it, six
     * go, then both of the application's. */
    check_text(take(b, 99, 400, 2, text), "hgfedcVU");
    broadcast_close(b);
}

static void leaves_nothing_unused_for_the_application(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    for (char c = 'a'; c < 'i'; c++)
        add(b, M, c, 48);
    add(b, U, 'U', 18); /* needs 20 of its 100 */
    check_text(take(b, 99, 400, 2, text), "hgfedcbU");
    /* It is too large for this packet: all goes to membership, once each. */
    broadcast_remove(b, U, 0);
    broadcast_close(b);

    b = broadcast_open(&roomy);
    add(b, M, 'a', 48);
    add(b, M, 'b', 48);
    add(b, U, 'U', 500);
    check_text(take(b, 99, 100, 2, text), "ba");
    broadcast_close(b);
}

static void gives_the_rest_to_the_application(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    add(b, M, 'a', 48);
    for (char c = 'A'; c < 'H'; c++)
        add(b, U, c, 48);
    check_text(take(b, 99, 400, 2, text), "aGFEDCBA");
    broadcast_close(b);
}

/* Membership never runs dry, and the event needs more than a quarter. */
static void tells_large_events_under_churn(void **state)
{
    (void)state;
    char text[101];
    struct broadcast *b = broadcast_open(&roomy);
    uint64_t id = add(b, U, 'U', 600);
    int packets = 0;
    while (broadcast_has(b, id) && packets < 100) {
        for (uint64_t s = 1; s <= 20; s++)
            add_about(b, M, s, 'm', 48);
        take(b, 1, 800, 2, text);
        packets++;
    }
    check_u64(packets, 4); /* 200 a packet, 602 are needed */
    broadcast_close(b);
}

/* ---- the property ---- */

struct thing {
    bool is_in, is_taken;
    enum broadcast_kind kind;
    uint64_t subject, id;
    unsigned told;
    size_t len;
};

/* The same by looking at everything each time. */
struct model {
    struct thing things[64];
    size_t credit;
};

static struct thing *best(struct model *m, enum broadcast_kind kind,
                          size_t room, size_t overhead)
{
    struct thing *found = NULL;
    for (size_t i = 0; i < 64; i++) {
        struct thing *t = &m->things[i];
        if (!t->is_in || t->is_taken || t->kind != kind ||
            t->len + overhead > room)
            continue;
        if (!found || t->told < found->told ||
            (t->told == found->told &&
             (t->len > found->len ||
              (t->len == found->len && t->id > found->id))))
            found = t;
    }
    return found;
}

static size_t model_fill(struct model *m, enum broadcast_kind kind,
                         size_t *room, size_t kept, size_t overhead,
                         struct thing **out, size_t n, size_t max)
{
    while (n<max && * room> kept) {
        struct thing *t = best(m, kind, *room - kept, overhead);
        if (!t)
            break;
        t->is_taken = true;
        *room -= t->len + overhead;
        out[n++] = t;
    }
    return n;
}

static size_t model_take(struct model *m, unsigned limit, size_t room,
                         size_t overhead, struct thing **out, size_t max)
{
    size_t wanted = 0;
    for (size_t i = 0; i < 64; i++) {
        if (m->things[i].is_in && m->things[i].kind == U)
            wanted += m->things[i].len + overhead;
    }
    m->credit = wanted ? m->credit + room / 4 : 0;
    if (m->credit > room)
        m->credit = room;
    size_t kept = wanted < m->credit ? wanted : m->credit;
    size_t n = model_fill(m, M, &room, kept, overhead, out, 0, max);
    size_t before = room;
    n = model_fill(m, U, &room, 0, overhead, out, n, max);
    size_t spent = before - room;
    m->credit -= spent < m->credit ? spent : m->credit;
    n = model_fill(m, M, &room, 0, overhead, out, n, max);
    for (size_t i = 0; i < n; i++) {
        out[i]->is_taken = false;
        if (++out[i]->told >= limit)
            out[i]->is_in = false;
    }
    return n;
}

static void model_remove(struct model *m, enum broadcast_kind kind,
                         uint64_t subject)
{
    for (size_t i = 0; i < 64 && subject; i++) {
        if (m->things[i].kind == kind && m->things[i].subject == subject)
            m->things[i].is_in = false;
    }
}

static void model_make_room(struct model *m,
                            const struct broadcast_limits *limits, size_t len)
{
    for (;;) {
        size_t n = 0;
        size_t bytes = 0;
        struct thing *worst = NULL;
        for (size_t i = 0; i < 64; i++) {
            struct thing *t = &m->things[i];
            if (!t->is_in)
                continue;
            n++;
            bytes += t->len;
            if (!worst || t->told > worst->told ||
                (t->told == worst->told && t->id < worst->id))
                worst = t;
        }
        if (n < limits->items_max && bytes + len <= limits->bytes_max)
            return;
        worst->is_in = false;
    }
}

static void model_add(struct model *m, const struct broadcast_limits *limits,
                      const struct thing *t)
{
    model_remove(m, t->kind, t->subject);
    model_make_room(m, limits, t->len);
    size_t i = 0;
    while (m->things[i].is_in)
        i++;
    m->things[i] = *t;
    m->things[i].is_in = true;
}

static void is_the_same_as_searching_a_list(void **state)
{
    (void)state;
    const struct broadcast_limits limits = {
        .items_max = 40, .bytes_max = 4000, .item_max = 300};
    struct broadcast *b = broadcast_open(&limits);
    struct model m = {.credit = 0};
    struct rng r;
    rng_seed(&r, check_seed());

    for (int step = 0; step < 60000; step++) {
        uint8_t bytes[300];
        struct thing t = {
            .kind = rng_below(&r, 3) ? M : U,
            .subject = rng_below(&r, 30),
            .len = 1 + rng_below(&r, rng_below(&r, 4) ? 60 : 300),
        };
        uint64_t what = rng_below(&r, 10);
        if (what < 6) {
            memset(bytes, (int)t.len, sizeof(bytes));
            check_i64(broadcast_add(b, t.kind, t.subject, span_of(bytes, t.len),
                                    &t.id),
                      0);
            model_add(&m, &limits, &t);
        } else if (what == 6) {
            broadcast_remove(b, t.kind, t.subject);
            model_remove(&m, t.kind, t.subject);
        } else {
            unsigned limit = 1 + (unsigned)rng_below(&r, 12);
            size_t room = rng_below(&r, 1500);
            size_t overhead = rng_below(&r, 4);
            size_t max = rng_below(&r, 3) ? 32 : rng_below(&r, 6);
            struct span got[32];
            struct thing *want[32];
            size_t n = broadcast_take(b, limit, room, overhead, got, max);
            check_u64(n, model_take(&m, limit, room, overhead, want, max));
            for (size_t i = 0; i < n; i++) {
                check_u64(got[i].len, want[i]->len);
                check_u64(got[i].data[0], want[i]->len & 255);
                check_true(broadcast_has(b, want[i]->id) == want[i]->is_in);
            }
        }
        broadcast_check(b);
    }
    for (size_t i = 0; i < 64; i++) {
        if (m.things[i].is_in)
            check_true(broadcast_has(b, m.things[i].id));
    }
    broadcast_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_grows_with_the_digits_of_n),
        cmocka_unit_test(tells_what_was_told_least_first),
        cmocka_unit_test(takes_the_largest_that_fits_then_the_newest),
        cmocka_unit_test(counts_the_overhead_of_each_item),
        cmocka_unit_test(hands_out_no_more_than_asked_for),
        cmocka_unit_test(forgets_what_was_told_often_enough),
        cmocka_unit_test(replaces_what_is_about_the_same),
        cmocka_unit_test(keeps_all_without_a_subject),
        cmocka_unit_test(may_be_given_its_own_bytes),
        cmocka_unit_test(lends_its_bytes_until_the_next_call),
        cmocka_unit_test(refuses_what_no_packet_carries),
        cmocka_unit_test(drops_the_most_told_when_full),
        cmocka_unit_test(replacing_when_full_drops_nobody),
        cmocka_unit_test(drops_as_many_as_the_bytes_need),
        cmocka_unit_test(keeps_a_quarter_for_the_application),
        cmocka_unit_test(leaves_nothing_unused_for_the_application),
        cmocka_unit_test(gives_the_rest_to_the_application),
        cmocka_unit_test(tells_large_events_under_churn),
        cmocka_unit_test(is_the_same_as_searching_a_list),
    };
    return cmocka_run_group_tests_name("broadcast", tests, NULL, NULL);
}
