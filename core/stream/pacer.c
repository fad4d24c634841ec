#include "core/stream/pacer.h"

#define SECOND UINT64_C(1000000000)
#define BURST_NS UINT64_C(2000000)
#define BATCH_NS UINT64_C(1000000)

static uint64_t duration(uint64_t bytes, uint64_t rate)
{
    return bytes * SECOND / rate;
}

void pacer_init(struct pacer *p, uint64_t now)
{
    *p = (struct pacer){.ready_ns = now};
}

void pacer_set_rate(struct pacer *p, uint64_t rate, uint64_t now)
{
    if (rate > PACER_MAX_RATE)
        rate = 0;
    if (rate == p->rate)
        return;
    uint64_t debt = p->ready_ns > now ? p->ready_ns - now : 0, burst = rate ? duration(PACER_MIN_BURST, rate) : 0;
    if (burst < BURST_NS)
        burst = BURST_NS;
    /* The same bytes at another rate, and the wait bounded: it is no reason to stop that the rate was better before. */
    debt = rate ? (uint64_t)((double)debt * (double)p->rate / (double)rate) : 0;
    p->ready_ns = now + (debt < 2 * burst ? debt : 2 * burst);
    p->rate = rate;
    p->burst_ns = burst;
}

bool pacer_allow(const struct pacer *p, uint64_t now)
{
    return p->rate == 0 || p->ready_ns <= now + p->burst_ns;
}

void pacer_spend(struct pacer *p, uint32_t bytes, uint64_t now)
{
    if (p->rate == 0)
        return;
    p->ready_ns = (p->ready_ns > now ? p->ready_ns : now) + duration(bytes, p->rate);
}

uint64_t pacer_deadline(const struct pacer *p)
{
    return p->rate && p->ready_ns > p->burst_ns ? p->ready_ns - p->burst_ns + BATCH_NS : 0;
}
