/* Every datagram as it leaves, a line each: from whom to whom, and what its clear header says. */
#ifndef NM_TESTS_SIM_TRACE_PACKETS_H
#define NM_TESTS_SIM_TRACE_PACKETS_H

struct run;

void trace_packets(struct run *); /* from now on, into its trace */

#endif
