/* test/torture/faults_private.h - what the parts of faults.h share.
 *
 *     faults.c         the points, and the blocks that are allocated
 *     faults_memory.c  malloc and its like, hooks of libraries
 *     faults_call.c    system calls
 */
#ifndef TEST_TORTURE_FAULTS_PRIVATE_H
#define TEST_TORTURE_FAULTS_PRIVATE_H

#include "test/torture/faults.h"

/* A point is passed: is it to fail? `what` is for people. */
bool faults_strike(enum fault_kind kind, const char *what);
int faults_error(void);

/* Remember a block; returns it. NULL is passed through. */
void *faults_note(void *p, size_t size, const void *site);
void faults_forget(const void *p);

void faults_install_memory(void);

#endif /* TEST_TORTURE_FAULTS_PRIVATE_H */
