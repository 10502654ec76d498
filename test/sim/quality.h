/* test/sim/quality.h - figures: how fast, how often wrong, at what cost.
 *
 * Not tests: a table for people, beside what memberlist itself does. */
#ifndef TEST_SIM_QUALITY_H
#define TEST_SIM_QUALITY_H

#include "test/sim/sim.h"

void quality_on_measure(struct sim *s, const struct event *e);
void quality_on_event(struct sim *s, const struct node *n,
                      const struct mesh_effect *e, uint32_t subject);

/* Run one table ("all": each of them). False if there is none of that name. */
bool quality_run(const char *name, uint64_t seed);

#endif /* TEST_SIM_QUALITY_H */
