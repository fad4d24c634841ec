/* The end of a run: everything is healed, nothing new is begun, and what was promised has to hold. */
#ifndef NM_TESTS_SIM_PEACE_H
#define NM_TESTS_SIM_PEACE_H

struct run;

void make_peace(struct run *);

#endif
