/* A struct recovery with what it reported, for tests that drive it by hand. */
#ifndef NM_TESTS_SUPPORT_RECOVERY_LOG_H
#define NM_TESTS_SUPPORT_RECOVERY_LOG_H

#include "core/stream/recovery.h"

enum { RECOVERY_LOG = 4096 };

struct recovery_log {
    struct recovery r;
    struct recovery_events events;
    uint64_t acked[RECOVERY_LOG], lost[RECOVERY_LOG], spurious[RECOVERY_LOG]; /* counters, as reported */
    size_t acked_count, lost_count, spurious_count;
    const void *last_lost; /* its `what` */
    uint32_t last_cost;
};

/* In place, as the events point into it. */
void recovery_log_init(struct recovery_log *, uint64_t rtt_guess_ns, uint32_t limit, uint64_t now);
void recovery_log_deinit(struct recovery_log *, uint64_t now);
void recovery_log_clear(struct recovery_log *);
/* KEPT packets [first, last] of 1000 bytes, whose `what` is the address of `kept[counter]`. */
void recovery_log_send(struct recovery_log *, uint64_t first, uint64_t last, uint64_t now);
/* One eliciting packet of 1000 bytes that is not kept, cost 900. */
void recovery_log_send_loose(struct recovery_log *, uint64_t counter, uint64_t now);
/* Acknowledges `count` ranges given as first, last pairs, descending. */
int recovery_log_ack(struct recovery_log *, uint64_t now, uint64_t delay_ns, size_t count, const struct range *);

extern const char recovery_log_kept[RECOVERY_LOG];

#endif
