/* The orderly stop: publishers end, logs are written, synced and closed, the admin port says goodbye, receiving ends;
 * all that by a deadline (stop.timeout). */
#include <assert.h>
#include <inttypes.h>

#include "shards/peers/contacts.h"
#include "shards/peers/key_log.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/node/reload.h"

static const uint64_t LOOK_NS = 10000000; /* how often shard 0 looks whether publishers and peers.yaml are done */

static const char *const doing[] = {
    [STOP_PUBLISHERS] = "waiting for publishers",
    [STOP_LOGS] = "closing the logs",
    [STOP_IO] = "closing the sockets",
    [STOP_DONE] = "ending the shards",
};

static void enter(struct contacts *cs, enum stop_phase phase)
{
    struct shard *s = cs->shard;
    if (cs->phase == STOP_NONE)
        shard_say(s, LEVEL_INFO, "stopping: %s", doing[phase]);
    else
        shard_say(s, LEVEL_INFO, "stopping: %s took %" PRIu64 " ms; %s", doing[cs->phase],
                  (s->now - cs->phase_since) / 1000000, doing[phase]);
    cs->phase = phase;
    cs->phase_since = s->now;
}

static void broadcast(struct contacts *cs, enum stop_phase phase)
{
    enter(cs, phase);
    cs->phase_waiting = cs->shard->node->shard_count;
    for (unsigned i = 0; i < cs->shard->node->shard_count; i++)
        mailbox_send(cs->shard, i, MSG_STOP, (uint16_t)phase, 0, NULL, 0);
}

/* The time is over. What was acknowledged is written, or synced, as it was promised; the rest is said and left. */
static void give_up(struct contacts *cs)
{
    struct shard *s = cs->shard;
    shard_say(s, LEVEL_ERROR, "giving up the stop after %" PRIu64 " ms, while %s; publishers left: %zu%s",
              (s->now - cs->stop_since) / 1000000, doing[cs->phase], cs->publishers.count,
              store_busy(cs) ? "; peers.yaml is not written" : "");
    atomic_store_explicit(&s->node->gave_up, true, memory_order_relaxed);
    for (unsigned i = 0; i < s->node->shard_count; i++) {
        shard_abandon(s->node->shards[i]);
        if (i != s->index)
            io_doorbell(s->io, i);
    }
}

void stop_on_timer(struct timer *t, uint64_t now)
{
    struct contacts *cs = container_of(t, struct contacts, stop_timer);
    if (now >= cs->stop_deadline) {
        give_up(cs);
        return;
    }
    uint64_t next = cs->stop_deadline;
    if (cs->phase == STOP_PUBLISHERS) {
        publishers_end_idle(cs);
        if (!list_empty(&cs->publisher_list) || store_busy(cs) || reload_busy(cs) || key_log_busy(cs->key_log))
            next = timer_earlier(next, now + LOOK_NS);
        else
            broadcast(cs, STOP_LOGS);
    }
    timer_arm(&cs->shard->timers, t, next);
}

void node_shutdown(struct node *node)
{
    struct contacts *cs = node->shards[0]->contacts;
    if (cs->phase != STOP_NONE)
        return;
    enter(cs, STOP_PUBLISHERS);
    requests_abort(cs);
    reload_abort(cs);
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next)
        dial_stop(container_of(n, struct contact, in_all));
    publishers_wake(cs); /* those that wait for room learn that none will come */
    cs->stop_since = cs->shard->now;
    cs->stop_deadline = cs->shard->now + cs->shard->config->stop_timeout_ns;
    timer_arm(&cs->shard->timers, &cs->stop_timer, cs->shard->now);
}

void node_stop_now(struct node *node)
{
    struct contacts *cs = node->shards[0]->contacts;
    node_shutdown(node);
    cs->stop_deadline = cs->shard->now;
    timer_arm(&cs->shard->timers, &cs->stop_timer, cs->shard->now);
}

bool node_stopping(const struct node *node)
{
    return node->shards[0]->contacts->phase != STOP_NONE;
}

bool node_gave_up(const struct node *node)
{
    return atomic_load_explicit(&node->gave_up, memory_order_relaxed);
}

bool node_stop_incomplete(const struct node *node)
{
    return atomic_load_explicit(&node->stop_incomplete, memory_order_relaxed);
}

void shard_tell_unfinished(struct shard *s)
{
    uint64_t logs = 0, events = 0;
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        const struct log *log = container_of(n, struct log, in_shard);
        if (!log->open || log->kind != LOG_DISK)
            continue;
        logs++;
        events += redex_next_seq(log->redex) - redex_written_seq(log->redex);
    }
    if (logs)
        shard_say(s, LEVEL_ERROR, "%" PRIu64 " logs were not closed; events in them that are not written: %" PRIu64,
                  logs, events);
}

void stop_log_closed(struct shard *s)
{
    if (--s->logs_closing == 0)
        mailbox_send(s, 0, MSG_STOPPED, STOP_LOGS, 0, NULL, 0);
}

void stop_on_message(struct shard *s, enum stop_phase phase)
{
    s->stopping = phase;
    if (phase == STOP_LOGS) {
        log_close_all(s);
    } else if (phase == STOP_IO) {
        if (s->receiving)
            io_cancel(s->io, &s->recv);
        mailbox_send(s, 0, MSG_STOPPED, STOP_IO, 0, NULL, 0);
    }
}

void node_on_quiesced(struct node *node, void (*quiesced)(void *ctx), void *ctx)
{
    node->quiesced = quiesced;
    node->quiesced_ctx = ctx;
}

void node_admin_stopped(struct node *node)
{
    broadcast(node->shards[0]->contacts, STOP_IO);
}

/* Every shard said it; the last message of the node's life is the one that lets each thread go. */
static void all_done(struct contacts *cs)
{
    enter(cs, STOP_DONE);
    for (unsigned i = 0; i < cs->shard->node->shard_count; i++)
        mailbox_send(cs->shard, i, MSG_STOP, STOP_DONE, 0, NULL, 0);
}

void contacts_on_stopped(struct shard *s, unsigned from, enum stop_phase phase)
{
    (void)from;
    struct contacts *cs = s->contacts;
    assert(phase == cs->phase && cs->phase_waiting > 0);
    if (--cs->phase_waiting)
        return;
    if (phase == STOP_IO)
        all_done(cs);
    else if (s->node->quiesced)
        s->node->quiesced(s->node->quiesced_ctx);
    else
        node_admin_stopped(s->node);
}
