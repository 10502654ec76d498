/* test/vectors.h - reads test/vectors/memberlist.txt: bytes of real peers.
 *
 * One line each: an id, hexadecimal digits, a description. Lines that begin
 * with '#' say what the letters of the ids mean.
 */
#ifndef TEST_VECTORS_H
#define TEST_VECTORS_H

#include <stdio.h>
#include <string.h>

#include "test/check.h"

#define VECTOR_SIZE 1024 /* bytes of the longest one, and more */

struct vector {
    char id[8];
    uint8_t bytes[VECTOR_SIZE];
    size_t len;
};

static inline FILE *vectors_open(void)
{
    char path[1024];
    const char *root = getenv("PROBER_SOURCE_ROOT");
    snprintf(path, sizeof(path), "%s/test/vectors/memberlist.txt",
             root ? root : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        print_error("cannot open %s\n", path);
    check_true(f != NULL);
    return f;
}

static inline int vector_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The next vector of the file; 0 at its end. */
static inline int vectors_next(FILE *f, struct vector *v)
{
    char line[4 * VECTOR_SIZE];
    do {
        if (!fgets(line, sizeof(line), f))
            return 0;
        check_true(strchr(line, '\n') != NULL);
    } while (line[0] == '#');

    size_t at = strcspn(line, " ");
    check_true(at < sizeof(v->id) && line[at] == ' ');
    memcpy(v->id, line, at);
    v->id[at++] = '\0';
    for (v->len = 0; line[at] != ' '; at += 2) {
        int high = vector_digit(line[at]);
        int low = high < 0 ? -1 : vector_digit(line[at + 1]);
        check_true(low >= 0 && v->len < VECTOR_SIZE);
        v->bytes[v->len++] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

/* The vector of this id, which there must be. */
static inline struct vector vector_get(const char *id)
{
    struct vector v;
    FILE *f = vectors_open();
    int found;
    do
        found = vectors_next(f, &v);
    while (found && strcmp(v.id, id) != 0);
    fclose(f);
    if (!found)
        print_error("there is no vector %s\n", id);
    check_true(found);
    return v;
}

#endif /* TEST_VECTORS_H */
