/* flows.h - the streams of a world: who writes what when, and whether it arrived. */
#ifndef TL_TESTS_SIM_FLOWS_H
#define TL_TESTS_SIM_FLOWS_H

#include "world.h"

uint64_t below(struct world *w, uint64_t n);
/* Keeps the first reason; returns false. */
bool world_broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void flow_plan(struct world *w);
/* Opens, writes, reads, finishes and resets, a little. */
void flow_act(struct world *w, unsigned side);
void flow_event(struct world *w, unsigned side, const struct session_event *ev);
uint64_t flow_next(const struct world *w);
bool flow_done(const struct world *w);
/* After the end: did everything arrive? */
void flow_verdict(struct world *w);
/* At any moment: bounds, offsets and credit of the engines. */
void flow_invariants(struct world *w, unsigned side);
/* After a rest: is the memory given back? */
void flow_idle(struct world *w);

#endif
