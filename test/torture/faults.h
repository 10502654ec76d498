/* test/torture/faults.h - memory and system calls that fail when they are told
 * to.
 *
 * Each allocation and each system call of the code under test is a point, and
 * points are numbered in the order in which they are passed. A fault names a
 * point: what is asked for there fails, once or from there on.
 *
 *     memory   our own calls, wrapped by the linker (see meson.build), and
 *              those of libuv, OpenSSL, c-ares, nghttp2 and jansson through the
 *              hooks that they have. Not libyaml's: it has none.
 *     calls    our own calls of the C library, which the program itself
 *              defines; of libraries only reading and writing of sockets.
 *
 * What is left alone, and why, is in exempt[] of faults.c. One thread; state of
 * the process.
 */
#ifndef TEST_TORTURE_FAULTS_H
#define TEST_TORTURE_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind { FAULT_NONE, FAULT_MEMORY, FAULT_CALL };

struct fault {
    enum fault_kind kind; /* which points count */
    uint64_t at;          /* 1..; 0: none, they are only counted */
    bool is_lasting;      /* all later ones too */
    int error;            /* errno of a call; 0: it moves one byte */
};

/* First in main(), before anything uses a library. */
void faults_install(void);

/* From here on points count, until faults_end(), which says how many were
 * passed. */
void faults_begin(const struct fault *f);
uint64_t faults_end(void);
uint64_t faults_struck(void); /* how many failed since faults_begin() */

/* Between these, which nest, the caller is the test: nothing counts. */
void faults_pause(void);
void faults_resume(void);

/* Blocks that are allocated, by whomever but OpenSSL, which keeps some. */
size_t faults_live_blocks(void);
/* Descriptors that are open. */
size_t faults_live_files(void);
/* Say where the blocks come from that were allocated since faults_begin(). */
void faults_print_live(void);
/* The latest that failed, for people. */
const char *faults_where(void);

/* The reasons, one a line. */
void faults_print_exempt(void);

#endif /* TEST_TORTURE_FAULTS_H */
