/* The world's agenda: a binary heap of intrusive events, ordered by time, then by the order they were put in. */
#ifndef NM_TESTS_SIM_QUEUE_H
#define NM_TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim;

struct sim_event {
    uint64_t at, serial;
    size_t place;                                  /* in the heap, from 1; 0 = not queued */
    void (*run)(struct sim *, struct sim_event *); /* after it has left the queue: may free or put it again */
};

struct sim_queue {
    struct sim_event **heap;
    size_t count, room;
    uint64_t serial;
};

void sim_queue_deinit(struct sim_queue *); /* events stay their owners' */
void sim_queue_put(struct sim_queue *, struct sim_event *, uint64_t at);
void sim_queue_remove(struct sim_queue *, struct sim_event *); /* no-op when not queued */
struct sim_event *sim_queue_first(const struct sim_queue *);   /* stays; NULL when empty */

#endif
