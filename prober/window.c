#include "prober/window.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

#define NS_PER_S  1000000000u
#define NS_PER_US 1000u

/* All series of a cell with all buckets take less. */
#define SERIES_BYTES_MAX 65536

#define NONE  UINT32_MAX
#define KINDS ((size_t)PROTOCOL_N * MODE_N)

/* A name that the list or a window uses. They refer to names by number, so that
 * a target which comes back in another place keeps its cells. */
struct name {
    char *name, *zone, *region; /* name is NULL: free */
    unsigned refs;
};

/* The target list: who is meant by a place and a generation. */
struct who {
    uint32_t name; /* its number; NONE: nobody */
    uint32_t generation;
};

struct list {
    size_t n;
    struct who *places;
};

/* What a window knows of a name: its cells, one more than the index. */
struct place {
    uint32_t cells[KINDS];
    uint32_t target; /* index in the frame, one more; 0: none yet */
};

/* A cell of the coming frame; a tenth of a struct frame_cell, because there
 * are thousands. */
struct cell {
    uint32_t target; /* index in window.targets */
    uint8_t protocol, mode;
    uint32_t attempts, retransmits, reconnects, user_clock;
    uint32_t series_len;
    uint64_t max_lag_us;
    uint8_t *series; /* frame_put_series(), NULL: none yet */
    uint32_t outcomes[OUTCOME_N];
};

/* An open window. The names are written only when it is closed. */
struct window {
    uint64_t number;
    struct cell *cells;
    uint32_t *targets;    /* numbers of names */
    struct place *places; /* by number of name */
    size_t n_cells, cells_size;
    size_t n_targets, targets_size;
    size_t n_places;
};

struct windows {
    char *origin, *zone, *region;
    uint64_t epoch_ms;

    struct name *names;
    size_t n_names;
    struct list list;

    bool is_started;
    struct window open[2]; /* [0].number < [1].number; [1] only if in use */
    bool has_second;
    size_t cells_hint; /* of the last window, to allocate at once */

    /* The cell being added to, with its series decoded, and encoded again. */
    struct frame_cell scratch;
    struct wr bytes;
};

struct windows *windows_open(const struct windows_config *c)
{
    struct windows *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    wr_init_grow(&w->bytes, SERIES_BYTES_MAX);
    w->epoch_ms = c->epoch_ms;
    w->origin = strdup(c->origin);
    w->zone = strdup(c->zone ? c->zone : "");
    w->region = strdup(c->region ? c->region : "");
    if (!w->origin || !w->zone || !w->region) {
        windows_close(w);
        return NULL;
    }
    return w;
}

static void window_fini(struct window *o)
{
    for (size_t i = 0; i < o->n_cells; i++)
        free(o->cells[i].series);
    free(o->cells);
    free(o->targets);
    free(o->places);
    *o = (struct window){0};
}

void windows_close(struct windows *w)
{
    if (!w)
        return;
    window_fini(&w->open[0]);
    window_fini(&w->open[1]);
    free(w->list.places);
    for (size_t i = 0; i < w->n_names; i++) {
        free(w->names[i].name);
        free(w->names[i].zone);
        free(w->names[i].region);
    }
    frame_cell_fini(&w->scratch);
    wr_fini(&w->bytes);
    free(w->names);
    free(w->origin);
    free(w->zone);
    free(w->region);
    free(w);
}

/* --- targets ------------------------------------------------------------ */

static void name_release(struct windows *w, uint32_t number)
{
    struct name *n = &w->names[number];
    assert(n->refs > 0);
    if (--n->refs > 0)
        return;
    free(n->name);
    free(n->zone);
    free(n->region);
    *n = (struct name){0};
}

static void list_fini(struct windows *w, struct list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->places[i].name != NONE)
            name_release(w, l->places[i].name);
    }
    free(l->places);
    *l = (struct list){0};
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static uint64_t hash_target(const char *name, const char *zone,
                            const char *region)
{
    /* The final NULs count, so that "a" "bc" is not "ab" "c". */
    uint64_t h = hash_bytes(0, name, strlen(name) + 1);
    h = hash_bytes(h, zone, strlen(zone) + 1);
    return hash_bytes(h, region, strlen(region) + 1);
}

/* A table from texts to numbers of names, alive only while a list is set.
 * Slots hold number + 1; open addressing, never more than half full. */
struct index {
    uint32_t *slots;
    size_t mask;
};

static uint32_t *index_find(const struct windows *w, const struct index *x,
                            const struct window_target *t)
{
    const char *zone = text_or_empty(t->zone);
    const char *region = text_or_empty(t->region);
    size_t at = (size_t)hash_target(t->name, zone, region) & x->mask;
    for (;; at = (at + 1) & x->mask) {
        if (x->slots[at] == 0)
            return &x->slots[at];
        const struct name *n = &w->names[x->slots[at] - 1];
        if (!strcmp(n->name, t->name) && !strcmp(n->zone, zone) &&
            !strcmp(n->region, region))
            return &x->slots[at];
    }
}

static int index_init(const struct windows *w, struct index *x, size_t more)
{
    size_t size = 16;
    while (size < 2 * (w->n_names + more))
        size *= 2;
    *x = (struct index){.slots = calloc(size, sizeof(*x->slots)),
                        .mask = size - 1};
    if (!x->slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < w->n_names; i++) {
        const struct name *n = &w->names[i];
        if (n->name) {
            struct window_target t = {n->name, n->zone, n->region, 0};
            *index_find(w, x, &t) = (uint32_t)i + 1;
        }
    }
    return 0;
}

/* Add a name without references. There is a free place: set_targets() made
 * room for all of them. Returns its number or NONE without memory. */
static uint32_t name_add(struct windows *w, const struct window_target *t,
                         size_t *search)
{
    while (w->names[*search].name)
        (*search)++;
    struct name *n = &w->names[*search];
    n->name = strdup(t->name);
    n->zone = strdup(text_or_empty(t->zone));
    n->region = strdup(text_or_empty(t->region));
    n->refs = 0;
    if (!n->name || !n->zone || !n->region) {
        free(n->name);
        free(n->zone);
        free(n->region);
        *n = (struct name){0};
        return NONE;
    }
    return (uint32_t)*search;
}

static int grow_names(struct windows *w, size_t more)
{
    size_t n_free = 0;
    for (size_t i = 0; i < w->n_names; i++)
        n_free += !w->names[i].name;
    if (n_free >= more)
        return 0;

    size_t n = w->n_names + more - n_free;
    struct name *names = reallocarray(w->names, n, sizeof(*names));
    if (!names)
        return ERR_NOMEM;
    memset(names + w->n_names, 0, (n - w->n_names) * sizeof(*names));
    w->names = names;
    w->n_names = n;
    return 0;
}

static bool is_fitting(const char *text)
{
    return !text || strnlen(text, FRAME_NAME_MAX + 1) <= FRAME_NAME_MAX;
}

static bool are_fitting(const struct window_target *targets, size_t n)
{
    if (n > WINDOW_TARGETS_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_fitting(targets[i].name) || !is_fitting(targets[i].zone) ||
            !is_fitting(targets[i].region))
            return false;
    }
    return true;
}

/* The number of the target's name, referred to once more; NONE without
 * memory. */
static uint32_t name_take(struct windows *w, struct index *x,
                          const struct window_target *t, size_t *search)
{
    uint32_t *slot = index_find(w, x, t);
    if (*slot == 0) {
        uint32_t number = name_add(w, t, search);
        if (number == NONE)
            return NONE;
        *slot = number + 1;
    }
    w->names[*slot - 1].refs++;
    return *slot - 1;
}

static int fill_list(struct windows *w, struct list *list, struct index *x,
                     const struct window_target *targets, size_t n)
{
    size_t search = 0;
    for (; list->n < n; list->n++) {
        const struct window_target *t = &targets[list->n];
        struct who *who = &list->places[list->n];
        *who = (struct who){.name = NONE, .generation = t->generation};
        if (!t->name)
            continue;
        who->name = name_take(w, x, t, &search);
        if (who->name == NONE)
            return ERR_NOMEM;
    }
    return 0;
}

int windows_set_targets(struct windows *w, const struct window_target *targets,
                        size_t n)
{
    struct list list = {0};
    struct index x = {0};
    int err;

    if (!are_fitting(targets, n))
        return ERR_TOOBIG;
    list.places = calloc(n ? n : 1, sizeof(*list.places));
    err = list.places ? grow_names(w, n) : ERR_NOMEM;
    if (!err)
        err = index_init(w, &x, n);
    if (!err)
        err = fill_list(w, &list, &x, targets, n);
    /* The old one goes last, so that names which stay are not made anew. */
    struct list over = err ? list : w->list;
    if (!err)
        w->list = list;
    list_fini(w, &over);
    free(x.slots);
    return err;
}

static uint32_t find_name(const struct windows *w, const struct sample *s)
{
    const struct list *l = &w->list;
    if (s->target >= l->n || l->places[s->target].generation != s->target_gen)
        return NONE;
    return l->places[s->target].name;
}

/* --- which window ------------------------------------------------------- */

/* Never 0, which means "none" to our callers; a clock that stands at 1970 is
 * wrong by more than that. */
static uint64_t window_of(uint64_t unix_ns)
{
    uint64_t number = unix_ns / NS_PER_S / FRAME_WINDOW_S;
    return number ? number : 1;
}

static uint64_t closes_at_s(uint64_t number)
{
    return (number + 1) * FRAME_WINDOW_S + WINDOW_CLOSE_AFTER_S;
}

/* The earliest window that is open by the clock. */
static uint64_t earliest_open(uint64_t now_unix_ns)
{
    uint64_t after_ns = (uint64_t)WINDOW_CLOSE_AFTER_S * NS_PER_S;
    return window_of(now_unix_ns > after_ns ? now_unix_ns - after_ns : 0);
}

static void start(struct windows *w, uint64_t number)
{
    w->is_started = true;
    w->open[0].number = number;
}

static struct window *window_for(struct windows *w, uint64_t started_unix_ns,
                                 uint64_t now_unix_ns)
{
    /* Nothing starts later than now; it was the clock that went back. */
    uint64_t number = window_of(started_unix_ns < now_unix_ns ? started_unix_ns
                                                              : now_unix_ns);

    if (!w->is_started) {
        uint64_t earliest = earliest_open(now_unix_ns);
        start(w, number > earliest ? number : earliest);
    }
    if (number <= w->open[0].number)
        return &w->open[0];
    if (!w->has_second) {
        w->has_second = true;
        w->open[1].number = number;
    }
    return &w->open[1];
}

/* --- counting ----------------------------------------------------------- */

/* Room for one more thing in an array that grows by half. */
static int make_room(void **array, size_t n, size_t *size, size_t each,
                     size_t hint)
{
    if (n < *size)
        return 0;
    size_t larger = n ? n + n / 2 + 1 : hint;
    void *grown = reallocarray(*array, larger, each);
    if (!grown)
        return ERR_NOMEM;
    *array = grown;
    *size = larger;
    return 0;
}

static struct place *place_of(struct windows *w, struct window *o,
                              uint32_t name)
{
    if (name >= o->n_places) {
        struct place *places =
            reallocarray(o->places, w->n_names, sizeof(*places));
        if (!places)
            return NULL;
        memset(places + o->n_places, 0,
               (w->n_names - o->n_places) * sizeof(*places));
        o->places = places;
        o->n_places = w->n_names;
    }
    return &o->places[name];
}

static int add_target(struct windows *w, struct window *o, struct place *p,
                      uint32_t name)
{
    if (o->n_targets == FRAME_TARGETS_MAX)
        return ERR_NOMEM; /* the whole list replaced in one window */
    void *targets = o->targets;
    int err = make_room(&targets, o->n_targets, &o->targets_size,
                        sizeof(*o->targets), 16);
    o->targets = targets;
    if (err)
        return err;
    w->names[name].refs++;
    o->targets[o->n_targets++] = name;
    p->target = (uint32_t)o->n_targets;
    return 0;
}

static int add_cell(struct windows *w, struct window *o, struct place *p,
                    const struct sample *s)
{
    if (o->n_cells == FRAME_CELLS_MAX)
        return ERR_NOMEM;
    void *cells = o->cells;
    int err = make_room(&cells, o->n_cells, &o->cells_size, sizeof(*o->cells),
                        w->cells_hint ? w->cells_hint : 4);
    o->cells = cells;
    if (err)
        return err;
    o->cells[o->n_cells++] = (struct cell){
        .target = p->target - 1,
        .protocol = s->protocol,
        .mode = s->mode,
        .series_len = 1,
    };
    p->cells[s->protocol * MODE_N + s->mode] = (uint32_t)o->n_cells;
    return 0;
}

static struct cell *cell_for(struct windows *w, struct window *o, uint32_t name,
                             const struct sample *s)
{
    struct place *p = place_of(w, o, name);
    if (!p)
        return NULL;
    uint32_t *cell = &p->cells[s->protocol * MODE_N + s->mode];
    if (*cell == 0) {
        if (p->target == 0 && add_target(w, o, p, name))
            return NULL;
        if (add_cell(w, o, p, s))
            return NULL;
    }
    return &o->cells[*cell - 1];
}

/* A cell begins with an empty list, which is one byte for all of them. */
static const void *series_of(const struct cell *c)
{
    return c->series ? c->series : (const void *)"\x90";
}

static int add_value(struct hist *h, int64_t ns)
{
    return ns < 0 ? 0 : hist_add(h, (uint64_t)ns); /* < 0: absent */
}

static int add_values(struct hist series[SERIES_N], const struct sample *s)
{
    int err = 0;
    for (size_t i = 0; i < PHASE_N && !err; i++)
        err = add_value(&series[i], s->phases_ns[i]);
    if (!err)
        err = add_value(&series[SERIES_TOTAL], s->total_ns);
    if (!err)
        err = add_value(&series[SERIES_SERVER], s->server_ns);
    return err;
}

/* Take the series apart, add to them, put them together again. */
static int count_values(struct windows *w, struct cell *c,
                        const struct sample *s)
{
    struct hist *series = w->scratch.series;
    int err = frame_get_series(series, series_of(c), c->series_len);
    if (err)
        return err;
    int worst = add_values(series, s);
    wr_reset(&w->bytes);
    frame_put_series(&w->bytes, series);
    if (wr_err(&w->bytes))
        return wr_err(&w->bytes);
    if (!c->series || w->bytes.len != c->series_len) {
        uint8_t *bytes = realloc(c->series, w->bytes.len);
        if (!bytes)
            return ERR_NOMEM;
        c->series = bytes;
        c->series_len = (uint32_t)w->bytes.len;
    }
    memcpy(c->series, w->bytes.data, w->bytes.len);
    return worst;
}

static int count_sample(struct windows *w, struct cell *c,
                        const struct sample *s)
{
    c->attempts++;
    c->outcomes[s->outcome]++;
    c->reconnects += s->is_reconnected;
    c->user_clock += s->clock == STAMP_USER;
    if (s->retransmits > 0)
        c->retransmits += (uint32_t)s->retransmits;
    if (s->lag_ns > 0 && (uint64_t)s->lag_ns / NS_PER_US > c->max_lag_us)
        c->max_lag_us = (uint64_t)s->lag_ns / NS_PER_US;
    return s->outcome == OUTCOME_OK ? count_values(w, c, s) : 0;
}

int windows_add(struct windows *w, const struct sample *s, uint64_t now_unix_ns)
{
    if (s->job != 0)
        return 0;
    uint32_t name = find_name(w, s);
    if (name == NONE || s->protocol >= PROTOCOL_N || s->mode >= MODE_N ||
        s->outcome >= OUTCOME_N)
        return ERR_BAD;

    struct window *o = window_for(w, s->started_unix_ns, now_unix_ns);
    struct cell *c = cell_for(w, o, name, s);
    return c ? count_sample(w, c, s) : ERR_NOMEM;
}

/* --- closing ------------------------------------------------------------ */

uint64_t windows_due(struct windows *w, uint64_t now_unix_ns)
{
    if (!w->is_started)
        start(w, window_of(now_unix_ns));

    /* The newest window that is due; it may be before the oldest open one. */
    uint64_t newest = earliest_open(now_unix_ns) - 1;
    struct window *o = &w->open[0];
    if (o->n_cells == 0 && newest >= o->number + WINDOW_BACKLOG_MAX) {
        uint64_t number = newest - WINDOW_BACKLOG_MAX + 1;
        if (w->has_second && number > w->open[1].number - 1)
            number = w->open[1].number - 1;
        if (number > o->number)
            o->number = number;
    }
    return now_unix_ns / NS_PER_S >= closes_at_s(o->number) ? o->number : 0;
}

uint64_t windows_lead_s(const struct windows *w, uint64_t now_unix_ns)
{
    uint64_t start_s = w->open[0].number * FRAME_WINDOW_S;
    uint64_t now_s = now_unix_ns / NS_PER_S;
    return w->is_started && start_s > now_s ? start_s - now_s : 0;
}

static void put_targets(const struct windows *w, const struct window *o,
                        struct wr *out)
{
    for (size_t i = 0; i < o->n_targets; i++) {
        const struct name *n = &w->names[o->targets[i]];
        struct frame_target t = {n->name, n->zone, n->region};
        frame_put_target(out, &t);
    }
}

static void put_cell(const struct cell *c, bool is_trusted, struct wr *out)
{
    struct frame_cell head = {
        .target = c->target,
        .protocol = c->protocol,
        .mode = c->mode,
        .is_trusted = is_trusted,
        .attempts = c->attempts,
        .retransmits = c->retransmits,
        .reconnects = c->reconnects,
        .user_clock = c->user_clock,
        .max_lag_us = c->max_lag_us,
    };
    memcpy(head.outcomes, c->outcomes, sizeof(head.outcomes));
    frame_put_cell(out, &head, series_of(c), c->series_len);
}

/* The oldest window is done with; the next number is open from now on. */
static void advance(struct windows *w)
{
    struct window *o = &w->open[0];
    uint64_t next = o->number + 1;

    for (size_t i = 0; i < o->n_targets; i++)
        name_release(w, o->targets[i]);
    window_fini(o);
    o->number = next;
    if (w->has_second && w->open[1].number == next) {
        *o = w->open[1];
        w->open[1] = (struct window){0};
        w->has_second = false;
    }
}

bool windows_has_rest(struct windows *w)
{
    struct window *o = &w->open[0];
    if (o->n_cells == 0 && w->has_second) {
        o->number = w->open[1].number - 1;
        advance(w);
    }
    return o->n_cells > 0;
}

int windows_cut(struct windows *w, const struct frame_context *context,
                struct wr *out)
{
    if (!w->is_started)
        return ERR_BUSY;

    const struct window *o = &w->open[0];
    const struct frame head = {
        .origin = w->origin,
        .zone = w->zone,
        .region = w->region,
        .epoch_ms = w->epoch_ms,
        .window = o->number,
        .context = *context,
        .n_targets = o->n_targets,
    };
    size_t before = out->len;
    frame_put_head(out, &head);
    put_targets(w, o, out);
    frame_put_cells(out, o->n_cells);
    for (size_t i = 0; i < o->n_cells && !wr_err(out); i++)
        put_cell(&o->cells[i], !context->is_starved, out);
    int err = wr_err(out);
    if (err == ERR_NOMEM) {
        out->len = before;
        out->err = 0;
        return err;
    }
    w->cells_hint = o->n_cells;
    advance(w);
    return err;
}
