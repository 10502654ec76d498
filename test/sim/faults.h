/* test/sim/faults.h - carries out the faults of a plan. */
#ifndef TEST_SIM_FAULTS_H
#define TEST_SIM_FAULTS_H

#include "test/sim/sim.h"

void faults_open(struct sim *s); /* puts them on the clock */
void faults_switch(struct sim *s, const struct event *e); /* EV_FAULT */
/* All over: the core is picked, started and connected, the rest is not. */
void faults_heal(struct sim *s);

#endif /* TEST_SIM_FAULTS_H */
