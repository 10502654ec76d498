#include "test/torture/faults.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/torture/faults_private.h"

/* ---- points ---- */

#define BLOCKS (1u << 17)

struct block {
    uintptr_t hidden; /* ~pointer: a leak checker must not find it here */
    uintptr_t site;
    uint64_t serial;
    size_t size;
};

static struct {
    struct fault fault;
    bool is_on;
    unsigned paused;
    uint64_t passed, struck;
    char where[96];
    struct block blocks[BLOCKS];
    size_t n_blocks;
    uint64_t serial, begun;
} state;

static const char *const exempt[] = {
    "libuv's epoll_ctl, epoll_pwait, eventfd and signal pipes: it aborts",
    "libuv's realloc: it aborts when it cannot watch one more descriptor",
    "nghttp2's realloc: it frees data twice that it could not queue (1.52)",
    "EINTR and EAGAIN for good: no kernel says so, and we ask again",
    "OpenSSL's clean-up at exit: it frees twice what it made without memory",
    "what OpenSSL keeps (error queues, lists) is no leak",
    "libyaml, nghttp2's options and callbacks: they have no hook",
    "close, clocks, uv_random: nobody can do anything about them",
};

void faults_print_exempt(void)
{
    for (size_t i = 0; i < sizeof(exempt) / sizeof(exempt[0]); i++)
        printf("# exempt: %s\n", exempt[i]);
}

bool faults_strike(enum fault_kind kind, const char *what)
{
    const struct fault *f = &state.fault;
    if (!state.is_on || state.paused || f->kind != kind)
        return false;
    state.passed++;
    bool is_hit = f->at && (f->is_lasting ? state.passed >= f->at
                                          : state.passed == f->at);
    if (!is_hit)
        return false;
    state.struck++;
    snprintf(state.where, sizeof(state.where), "%s", what);
    return true;
}

int faults_error(void)
{
    return state.fault.error;
}

void faults_begin(const struct fault *f)
{
    state.fault = *f;
    state.is_on = true;
    state.paused = 0;
    state.passed = state.struck = 0;
    state.begun = state.serial;
    state.where[0] = '\0';
}

uint64_t faults_end(void)
{
    state.is_on = false;
    return state.passed;
}

uint64_t faults_struck(void)
{
    return state.struck;
}

const char *faults_where(void)
{
    return state.where;
}

void faults_pause(void)
{
    state.paused++;
}

void faults_resume(void)
{
    assert(state.paused > 0);
    state.paused--;
}

/* ---- blocks ---- */

static size_t place_of(uintptr_t hidden)
{
    return (size_t)((hidden >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 47);
}

_Static_assert(BLOCKS == 1u << (64 - 47), "places");

/* Where it is, or where it would be put. */
static struct block *find_block(uintptr_t hidden)
{
    size_t i = place_of(hidden);
    while (state.blocks[i].hidden && state.blocks[i].hidden != hidden)
        i = (i + 1) % BLOCKS;
    return &state.blocks[i];
}

void *faults_note(void *p, size_t size, const void *site)
{
    if (!p)
        return NULL;
    uintptr_t hidden = ~(uintptr_t)p;
    struct block *b = find_block(hidden);
    assert(state.n_blocks < BLOCKS / 2);
    assert(!b->hidden);
    *b = (struct block){hidden, (uintptr_t)site, ++state.serial, size};
    state.n_blocks++;
    return p;
}

/* Later ones of the same run of places move up. */
void faults_forget(const void *p)
{
    struct block *b = find_block(~(uintptr_t)p);
    if (!p || !b->hidden)
        return; /* the C library's own */
    state.n_blocks--;
    size_t hole = (size_t)(b - state.blocks);
    state.blocks[hole] = (struct block){0};
    for (size_t i = (hole + 1) % BLOCKS; state.blocks[i].hidden;
         i = (i + 1) % BLOCKS) {
        struct block moved = state.blocks[i];
        state.blocks[i] = (struct block){0};
        *find_block(moved.hidden) = moved;
    }
}

size_t faults_live_blocks(void)
{
    return state.n_blocks;
}

void faults_print_live(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < BLOCKS && n < 10; i++) {
        const struct block *b = &state.blocks[i];
        Dl_info info = {0};
        if (!b->hidden || b->serial <= state.begun)
            continue;
        n++;
        (void)dladdr((const void *)b->site, &info);
        fprintf(stderr, "  %zu bytes from %s+%#zx\n", b->size,
                info.dli_fname ? info.dli_fname : "?",
                (size_t)(b->site - (uintptr_t)info.dli_fbase));
    }
}
