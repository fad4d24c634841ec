/* The line on stderr that tells how far a publish is; only on a terminal. */
#ifndef NM_CLI_PROGRESS_H
#define NM_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool on, shown;
    uint64_t started, next; /* monotonic ns */
};

void progress_init(struct progress *, bool quiet);
/* Redraws at most five times a second. */
void progress_show(struct progress *, uint64_t events, uint64_t bytes);
void progress_clear(struct progress *); /* takes the line away */

#endif
