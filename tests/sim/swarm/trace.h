/* What happens in a run, as lines a person reads: acts, starts and ends, sessions, subscriptions, and what is dropped.
 * It only looks: a run is the same with a trace and without. */
#ifndef NM_TESTS_SIM_TRACE_H
#define NM_TESTS_SIM_TRACE_H

#include <stdbool.h>

struct run;
struct act;

void trace_begin(struct run *);
void trace_tick(struct run *); /* between turns: tells what has changed */
void trace_logs(struct run *); /* trace_logs.c: what every log of every node holds */
void trace_end(struct run *);
void trace_act(struct run *, const struct act *, bool begins);

#endif
