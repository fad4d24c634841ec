/* Anti-replay window of one direction of one session. session.md 9, extensions X1 (no MAX_FORWARD between our nodes).
 */
#ifndef NM_CORE_SESSION_REPLAY_H
#define NM_CORE_SESSION_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLAY_WINDOW = 1024, REPLAY_MAX_FORWARD = 1024 }; /* counters */

struct replay {
    uint64_t next; /* 1 + highest accepted counter */
    uint64_t bits[REPLAY_WINDOW / 64];
};

void replay_init(struct replay *);
/* Before decryption, read-only. bounded: apply MAX_FORWARD (v0.19 sessions). */
bool replay_check(const struct replay *, uint64_t counter, bool bounded);
/* After authentication. True iff novel. */
bool replay_commit(struct replay *, uint64_t counter);

#endif
