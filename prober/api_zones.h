/* prober/api_zones.h - a matrix of zones, read from the history.
 *
 * Which rows and columns there are, which of them drain and which origins are
 * missing is settled when it is opened; a cell is merged when it is asked for,
 * and is of that moment. Everything means what it means in mesh/matrix.h.
 */
#ifndef PROBER_API_ZONES_H
#define PROBER_API_ZONES_H

#include <stddef.h>

#include "prober/api.h"

struct zones; /* opaque */

/* `nodes` are those expected, none for a question about the past. NULL without
 * memory. The history is borrowed until zones_close(). */
struct zones *zones_open(const struct history *h, const struct matrix_query *q,
                         uint64_t retention_s, const struct matrix_node *nodes,
                         size_t n_nodes);
void zones_close(struct zones *z);

size_t zones_rows(const struct zones *z);
size_t zones_columns(const struct zones *z);
const char *zones_row_name(const struct zones *z, size_t row);
const char *zones_column_name(const struct zones *z, size_t column);

/* The cell as of now, until the next is asked for; NULL without memory. */
const struct matrix_cell *zones_at(struct zones *z, size_t row, size_t column,
                                   uint64_t now_unix_ns);

size_t zones_expected(const struct zones *z);
size_t zones_missing(const struct zones *z);
const char *zones_missing_name(const struct zones *z, size_t i);

struct history_cover zones_covered(const struct zones *z);

#endif /* PROBER_API_ZONES_H */
