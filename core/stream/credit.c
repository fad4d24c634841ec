#include "core/stream/credit.h"

#include "core/base/err.h"

#define NEVER UINT64_MAX
#define RECOVER_MIN_NS UINT64_C(200000000)
#define RECOVER_RTTS 4
#define GRANT_QUARTER 4

void credit_tx_init(struct credit_tx *c, uint32_t window, uint64_t now)
{
    *c = (struct credit_tx){.window = window, .remaining = window, .last_grant_ns = now, .exhausted_ns = NEVER};
}

/* Sent, and neither reported by the receiver nor written off. */
static uint64_t outstanding(const struct credit_tx *c)
{
    return c->sent > c->max_consumed ? c->sent - c->max_consumed : 0;
}

void credit_tx_refuse(struct credit_tx *c, uint64_t now)
{
    c->refusals++;
    if (c->exhausted_ns == NEVER && outstanding(c) > 0)
        c->exhausted_ns = now;
}

bool credit_tx_acquire(struct credit_tx *c, uint32_t bytes, uint64_t now)
{
    if (c->window == 0)
        return true;
    if (c->remaining < bytes) {
        credit_tx_refuse(c, now);
        return false;
    }
    c->remaining -= bytes;
    c->sent += bytes;
    return true;
}

void credit_tx_refund(struct credit_tx *c, uint32_t bytes)
{
    if (c->window == 0)
        return;
    c->remaining = bytes > UINT32_MAX - c->remaining ? UINT32_MAX : c->remaining + bytes;
    c->sent = bytes > c->sent ? 0 : c->sent - bytes;
}

void credit_tx_lost(struct credit_tx *c, uint32_t bytes)
{
    uint64_t lost = outstanding(c);
    if (c->window == 0 || lost == 0)
        return;
    if (lost > bytes)
        lost = bytes;
    c->written_off += lost;
    c->max_consumed += lost;
    uint64_t remaining = c->remaining + lost;
    c->remaining = remaining < c->window ? (uint32_t)remaining : c->window;
    c->exhausted_ns = NEVER;
}

void credit_tx_found(struct credit_tx *c, uint32_t bytes)
{
    uint64_t known = c->arrived < bytes ? c->arrived : bytes;
    uint64_t found = c->written_off < c->remaining ? c->written_off : c->remaining;
    c->arrived -= known;
    if (found > bytes - known)
        found = bytes - known;
    c->written_off -= found;
    c->max_consumed -= found;
    c->remaining -= (uint32_t)found;
}

void credit_tx_grant(struct credit_tx *c, uint64_t total, uint64_t now)
{
    c->grants++;
    if (c->window == 0)
        return;
    if (total > c->sent)
        total = c->sent;
    if (c->written_off > c->sent - total) { /* some of it has arrived after all */
        c->arrived += c->written_off - (c->sent - total);
        c->written_off = c->sent - total;
    }
    total += c->written_off;
    if (total <= c->max_consumed)
        return;
    uint64_t remaining = c->remaining + (total - c->max_consumed);
    c->max_consumed = total;
    c->remaining = remaining < c->window ? (uint32_t)remaining : c->window;
    c->last_grant_ns = now;
    c->exhausted_ns = NEVER;
}

uint64_t credit_tx_deadline(const struct credit_tx *c, uint64_t rtt_ns)
{
    if (c->exhausted_ns == NEVER)
        return NEVER;
    uint64_t silence = rtt_ns > RECOVER_MIN_NS / RECOVER_RTTS ? rtt_ns * RECOVER_RTTS : RECOVER_MIN_NS;
    uint64_t since = c->last_grant_ns > c->exhausted_ns ? c->last_grant_ns : c->exhausted_ns;
    return since > NEVER - silence ? NEVER : since + silence;
}

bool credit_tx_recover(struct credit_tx *c, uint64_t now, uint64_t rtt_ns)
{
    if (c->exhausted_ns == NEVER || now < credit_tx_deadline(c, rtt_ns))
        return false;
    c->written_off += outstanding(c);
    c->max_consumed = c->sent;
    c->remaining = c->window;
    c->exhausted_ns = NEVER;
    return true;
}

void credit_rx_init(struct credit_rx *c, uint32_t window)
{
    *c = (struct credit_rx){.window = window, .due_ns = NEVER};
}

void credit_rx_consume(struct credit_rx *c, uint32_t bytes, uint64_t now, uint64_t max_delay_ns)
{
    c->consumed += bytes;
    if (c->window && c->due_ns == NEVER)
        c->due_ns = now + max_delay_ns;
}

bool credit_rx_due(const struct credit_rx *c, uint64_t now)
{
    if (c->due_ns == NEVER)
        return false;
    return now >= c->due_ns || c->consumed - c->granted >= c->window / GRANT_QUARTER;
}

void credit_rx_granted(struct credit_rx *c)
{
    c->granted = c->consumed;
    c->grants++;
    c->due_ns = NEVER;
}

void credit_encode(uint64_t stream_id, uint64_t total, uint8_t out[CREDIT_MESSAGE])
{
    store_le64(out, stream_id);
    store_le64(out + 8, total);
}

int credit_decode(struct cspan event, uint64_t *stream_id, uint64_t *total)
{
    if (event.len != CREDIT_MESSAGE)
        return NET_ERR_FORMAT;
    *stream_id = load_le64(event.data);
    *total = load_le64(event.data + 8);
    return NET_OK;
}
