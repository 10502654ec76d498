#include "mesh/frames.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/siphash.h"

/* An encoded frame and its key. */
struct frames_entry {
    uint64_t window, epoch_ms;
    uint64_t hash;
    uint64_t closed_ns;
    unsigned refs; /* the set and each cursor that stands here */
    size_t len;
    char origin[]; /* with its NUL, then the encoding */
};

/* All frames of a window, sorted by (origin, epoch). Windows are few (thirty
 * in five minutes) and each has about one frame an origin, so that two sorted
 * arrays do: a frame mostly belongs to the newest window. */
struct slot {
    uint64_t window;
    uint64_t hash; /* xor of theirs */
    struct frames_entry **entries;
    size_t n, size;
};

struct frames {
    struct frames_limits limits;
    struct slot *slots; /* sorted by window, none empty */
    size_t n_slots, slots_size;
    size_t count, bytes;
    uint64_t now_window; /* of the last frames_expire(), 0: never told */
    uint64_t given_up;   /* newest window dropped for want of room, 0: none */
    void (*on_added)(void *arg, const void *data, size_t len); /* or NULL */
    void *listener;
};

static size_t entry_head(const char *origin)
{
    return sizeof(struct frames_entry) + strlen(origin) + 1;
}

static const uint8_t *entry_data(const struct frames_entry *e)
{
    return (const uint8_t *)e + entry_head(e->origin);
}

static size_t entry_bytes(const struct frames_entry *e)
{
    return sizeof(e) + entry_head(e->origin) + e->len;
}

struct frames *frames_open(const struct frames_limits *limits)
{
    struct frames *f = calloc(1, sizeof(*f));
    if (f)
        f->limits = *limits;
    return f;
}

static void entry_release(struct frames_entry *e)
{
    if (e && --e->refs == 0)
        free(e);
}

static void drop_slot(struct frames *f, size_t at)
{
    struct slot *s = &f->slots[at];
    for (size_t i = 0; i < s->n; i++) {
        f->bytes -= entry_bytes(s->entries[i]);
        entry_release(s->entries[i]);
    }
    f->count -= s->n;
    free(s->entries);
    f->n_slots--;
    memmove(s, s + 1, (f->n_slots - at) * sizeof(*s));
}

void frames_close(struct frames *f)
{
    if (!f)
        return;
    while (f->n_slots > 0)
        drop_slot(f, f->n_slots - 1);
    assert(f->bytes == 0 && f->count == 0);
    free(f->slots);
    free(f);
}

/* The first slot whose window is not before `window`. */
static size_t find_slot(const struct frames *f, uint64_t window)
{
    size_t first = 0;
    size_t end = f->n_slots;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (f->slots[middle].window < window)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static int compare(const struct frames_entry *e, const char *origin,
                   uint64_t epoch_ms)
{
    int order = strcmp(e->origin, origin);
    if (order != 0)
        return order;
    return e->epoch_ms < epoch_ms ? -1 : e->epoch_ms > epoch_ms;
}

/* The place of a key in a slot, or where it belongs; *is_known says which. */
static size_t find_entry(const struct slot *s, const char *origin,
                         uint64_t epoch_ms, bool *is_known)
{
    size_t first = 0;
    size_t end = s->n;
    *is_known = false;
    while (first < end) {
        size_t middle = (first + end) / 2;
        int order = compare(s->entries[middle], origin, epoch_ms);
        if (order == 0)
            *is_known = true;
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static uint64_t retention_windows(const struct frames *f)
{
    return f->limits.retention_s / FRAME_WINDOW_S;
}

static bool is_too_old(const struct frames *f, uint64_t window)
{
    return f->now_window > window &&
           f->now_window - window > retention_windows(f);
}

static bool is_too_new(const struct frames *f, uint64_t window)
{
    return f->now_window > 0 && window > f->now_window &&
           window - f->now_window > FRAMES_AHEAD_MAX;
}

static const struct slot *slot_of(const struct frames *f, uint64_t window)
{
    size_t at = find_slot(f, window);
    return at < f->n_slots && f->slots[at].window == window ? &f->slots[at]
                                                            : NULL;
}

static const struct frames_entry *find_known(const struct frames *f,
                                             const char *origin,
                                             uint64_t epoch_ms, uint64_t window)
{
    bool known = false;
    const struct slot *s = slot_of(f, window);
    size_t i = s ? find_entry(s, origin, epoch_ms, &known) : 0;
    return known ? s->entries[i] : NULL;
}

/* ---- room ---- */

/* Let older windows go until `bytes` more fit. */
static bool make_space(struct frames *f, uint64_t window, size_t bytes)
{
    if (bytes > f->limits.bytes_max)
        return false;
    while (f->bytes > f->limits.bytes_max - bytes) {
        /* What is ahead of the clock drives out nobody: it may be made up. */
        if (f->n_slots == 0 || f->slots[0].window >= window ||
            (f->now_window && window > f->now_window + 1))
            return false;
        f->given_up = f->slots[0].window;
        drop_slot(f, 0);
    }
    return true;
}

void frames_set_limits(struct frames *f, const struct frames_limits *limits)
{
    f->limits = *limits;
    while (f->bytes > f->limits.bytes_max) {
        f->given_up = f->slots[0].window;
        drop_slot(f, 0);
    }
}

/* The frames of an origin in a slot are neighbours: from *first, so many. */
static size_t of_origin(const struct slot *s, const char *origin, size_t *first)
{
    bool known;
    size_t n = 0;
    *first = find_entry(s, origin, 0, &known);
    while (*first + n < s->n && !strcmp(s->entries[*first + n]->origin, origin))
        n++;
    return n;
}

static void drop_entry(struct frames *f, size_t at, size_t i)
{
    struct slot *s = &f->slots[at];
    struct frames_entry *e = s->entries[i];
    f->bytes -= entry_bytes(e);
    f->count--;
    s->hash ^= e->hash;
    s->n--;
    memmove(&s->entries[i], &s->entries[i + 1],
            (s->n - i) * sizeof(s->entries[0]));
    entry_release(e);
    if (s->n == 0)
        drop_slot(f, at);
}

static size_t origin_bytes(const struct frames *f, const char *origin)
{
    size_t bytes = 0, first;
    for (size_t at = 0; at < f->n_slots; at++) {
        const struct slot *s = &f->slots[at];
        size_t n = of_origin(s, origin, &first);
        for (size_t i = first; i < first + n; i++)
            bytes += entry_bytes(s->entries[i]);
    }
    return bytes;
}

/* Does its origin have a share left for it? Its older frames go first. */
static bool make_share(struct frames *f, const struct frames_entry *e)
{
    size_t max = f->limits.origin_bytes_max;
    size_t first, bytes = entry_bytes(e);
    const struct slot *same = slot_of(f, e->window);
    if (f->limits.epochs_max && same &&
        of_origin(same, e->origin, &first) >= f->limits.epochs_max)
        return false;
    if (!max)
        return true;
    if (bytes > max)
        return false;
    size_t held = origin_bytes(f, e->origin);
    size_t at = 0;
    while (held > max - bytes) {
        if (at == f->n_slots || f->slots[at].window >= e->window)
            return false;
        if (!of_origin(&f->slots[at], e->origin, &first)) {
            at++;
            continue;
        }
        held -= entry_bytes(f->slots[at].entries[first]);
        drop_entry(f, at, first);
    }
    return true;
}

static int grow(void **array, size_t n, size_t *size, size_t each)
{
    if (n < *size)
        return 0;
    size_t larger = *size ? *size * 2 : 8;
    void *grown = reallocarray(*array, larger, each);
    if (!grown)
        return ERR_NOMEM;
    *array = grown;
    *size = larger;
    return 0;
}

static struct slot *open_slot(struct frames *f, uint64_t window)
{
    size_t at = find_slot(f, window);
    if (at < f->n_slots && f->slots[at].window == window)
        return &f->slots[at];

    void *slots = f->slots;
    int err = grow(&slots, f->n_slots, &f->slots_size, sizeof(*f->slots));
    f->slots = slots;
    if (err)
        return NULL;
    struct slot *s = &f->slots[at];
    memmove(s + 1, s, (f->n_slots - at) * sizeof(*s));
    *s = (struct slot){.window = window};
    f->n_slots++;
    return s;
}

static struct frames_entry *entry_new(const struct frame_reader *key,
                                      const void *data, size_t len,
                                      uint64_t closed_ns)
{
    size_t head = entry_head(key->origin);
    struct frames_entry *e = malloc(head + len);
    if (!e)
        return NULL;
    e->window = key->window;
    e->epoch_ms = key->epoch_ms;
    e->hash = frames_hash(key->origin, key->epoch_ms, key->window);
    e->closed_ns = closed_ns;
    e->refs = 1;
    e->len = len;
    memcpy(e->origin, key->origin, strlen(key->origin) + 1);
    memcpy((uint8_t *)e + head, data, len);
    return e;
}

static int insert(struct frames *f, struct frames_entry *e)
{
    struct slot *s = open_slot(f, e->window);
    if (!s)
        return ERR_NOMEM;
    void *entries = s->entries;
    int err = grow(&entries, s->n, &s->size, sizeof(struct frames_entry *));
    s->entries = entries;
    if (err) {
        if (s->n == 0)
            drop_slot(f, (size_t)(s - f->slots));
        return err;
    }

    bool known;
    size_t at = find_entry(s, e->origin, e->epoch_ms, &known);
    assert(!known);
    memmove(s->entries + at + 1, s->entries + at,
            (s->n - at) * sizeof(struct frames_entry *));
    s->entries[at] = e;
    s->n++;
    s->hash ^= e->hash;
    f->count++;
    f->bytes += entry_bytes(e);
    return 0;
}

static void show(const struct frames_entry *e, struct frames_item *out)
{
    *out = (struct frames_item){
        .origin = e->origin,
        .epoch_ms = e->epoch_ms,
        .window = e->window,
        .hash = e->hash,
        .data = entry_data(e),
        .len = e->len,
        .closed_ns = e->closed_ns,
    };
}

void frames_listen(struct frames *f,
                   void (*on_added)(void *arg, const void *data, size_t len),
                   void *arg)
{
    f->on_added = on_added;
    f->listener = arg;
}

int frames_add(struct frames *f, const void *data, size_t len)
{
    return frames_put(f, data, len, 0, NULL);
}

void frames_expire(struct frames *f, uint64_t now_unix_s)
{
    f->now_window = now_unix_s / FRAME_WINDOW_S;
    if (f->given_up > f->now_window) /* the clock was set back */
        f->given_up = 0;
    while (f->n_slots > 0 && is_too_old(f, f->slots[0].window))
        drop_slot(f, 0);
    while (f->n_slots > 0 && is_too_new(f, f->slots[f->n_slots - 1].window))
        drop_slot(f, f->n_slots - 1);
}

/* The first frame behind `e`, which need not be there any more, or NULL. */
static struct frames_entry *entry_behind(const struct frames *f,
                                         const struct frames_entry *e)
{
    size_t at = find_slot(f, e->window);
    if (at < f->n_slots && f->slots[at].window == e->window) {
        const struct slot *s = &f->slots[at];
        bool is_there;
        size_t i = find_entry(s, e->origin, e->epoch_ms, &is_there);
        i += is_there;
        if (i < s->n)
            return s->entries[i];
        at++;
    }
    return at < f->n_slots ? f->slots[at].entries[0] : NULL;
}

bool frames_next(const struct frames *f, struct frames_cursor *c,
                 const void **data, size_t *len)
{
    struct frames_entry *next = NULL;
    if (c->at) {
        next = entry_behind(f, c->at);
    } else {
        size_t at = find_slot(f, c->first_window);
        next = at < f->n_slots ? f->slots[at].entries[0] : NULL;
    }
    if (!next)
        return false;
    next->refs++;
    entry_release(c->at);
    c->at = next;
    *data = entry_data(next);
    *len = next->len;
    return true;
}

/* ---- comparing and passing on ---- */

uint64_t frames_hash(const char *origin, uint64_t epoch_ms, uint64_t window)
{
    static const uint64_t key[2] = {UINT64_C(0x70726f6265722066),
                                    UINT64_C(0x72616d6520736574)};
    uint8_t text[16 + FRAME_NAME_MAX + 1];
    struct wr w;
    wr_init_fixed(&w, text, sizeof(text));
    wr_be64(&w, epoch_ms);
    wr_be64(&w, window);
    wr_text(&w, origin);
    assert(!wr_err(&w));
    return siphash(key, text, w.len);
}

int frames_put(struct frames *f, const void *data, size_t len,
               uint64_t closed_ns, struct frames_item *out)
{
    struct frames_item none;
    struct frame_reader key;
    if (!out)
        out = &none;
    *out = (struct frames_item){0};
    int err = frame_reader_open(&key, data, len);
    if (err)
        return err;
    /* Most that comes twice or too late is refused by its head alone. */
    if (is_too_old(f, key.window))
        return ERR_CLOSED;
    if (is_too_new(f, key.window))
        return ERR_BAD;
    const struct frames_entry *known =
        find_known(f, key.origin, key.epoch_ms, key.window);
    if (known) {
        show(known, out);
        return ERR_BUSY;
    }
    err = frame_reader_check(&key);
    if (err)
        return err;

    struct frames_entry *e = entry_new(&key, data, len, closed_ns);
    if (!e)
        err = ERR_NOMEM;
    else if (!make_share(f, e) || !make_space(f, e->window, entry_bytes(e)))
        err = ERR_TOOBIG;
    else
        err = insert(f, e);
    if (err) {
        free(e);
        return err;
    }
    show(e, out);
    if (f->on_added)
        f->on_added(f->listener, data, len);
    return 0;
}

void frames_window(const struct frames *f, uint64_t window,
                   struct frames_window *out)
{
    const struct slot *s = slot_of(f, window);
    *out = (struct frames_window){.window = window};
    if (!s)
        return;
    out->n = s->n;
    out->hash = s->hash;
}

bool frames_item(const struct frames *f, uint64_t window, size_t i,
                 struct frames_item *out)
{
    const struct slot *s = slot_of(f, window);
    if (!s || i >= s->n)
        return false;
    show(s->entries[i], out);
    return true;
}

bool frames_find(const struct frames *f, const char *origin, uint64_t epoch_ms,
                 uint64_t window, struct frames_item *out)
{
    const struct frames_entry *e = find_known(f, origin, epoch_ms, window);
    if (e)
        show(e, out);
    return e != NULL;
}

uint64_t frames_floor(const struct frames *f)
{
    uint64_t kept = retention_windows(f);
    uint64_t oldest = f->now_window > kept ? f->now_window - kept : 0;
    return f->given_up && oldest <= f->given_up ? f->given_up + 1 : oldest;
}

bool frames_is_ahead(const struct frames *f, uint64_t window)
{
    return is_too_new(f, window);
}

uint64_t frames_newest(const struct frames *f)
{
    return f->n_slots ? f->slots[f->n_slots - 1].window : 0;
}

void frames_check(const struct frames *f)
{
    size_t count = 0, bytes = 0;
    for (size_t at = 0; at < f->n_slots; at++) {
        const struct slot *s = &f->slots[at];
        uint64_t hash = 0;
        assert(s->n > 0 && s->n <= s->size);
        assert(at == 0 || s[-1].window < s->window);
        for (size_t i = 0; i < s->n; i++) {
            const struct frames_entry *e = s->entries[i];
            assert(e->window == s->window && e->refs > 0);
            assert(i == 0 ||
                   compare(s->entries[i - 1], e->origin, e->epoch_ms) < 0);
            hash ^= e->hash;
            bytes += entry_bytes(e);
        }
        assert(hash == s->hash);
        count += s->n;
    }
    assert(count == f->count);
    assert(bytes == f->bytes && bytes <= f->limits.bytes_max);
}

void frames_cursor_fini(struct frames_cursor *c)
{
    entry_release(c->at);
    *c = (struct frames_cursor){0};
}

size_t frames_count(const struct frames *f)
{
    return f->count;
}

size_t frames_bytes(const struct frames *f)
{
    return f->bytes;
}
