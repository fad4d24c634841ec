/* The orderly stop: publishers end, logs are written, synced and closed, the admin port says goodbye, receiving ends.
 */
#include <assert.h>

#include "shards/node/contacts.h"
#include "shards/node/key_log.h"
#include "shards/node/log.h"
#include "shards/node/mailbox.h"
#include "shards/node/reload.h"

static const uint64_t PUBLISHERS_NS = UINT64_C(5000000000); /* what publishers get to finish */

static void broadcast(struct contacts *cs, enum stop_phase phase)
{
    cs->phase = phase;
    cs->phase_waiting = cs->shard->node->shard_count;
    for (unsigned i = 0; i < cs->shard->node->shard_count; i++)
        mailbox_send(cs->shard, i, MSG_STOP, (uint16_t)phase, 0, NULL, 0);
}

/* Looks every so often whether the publishers and the files of shard 0 are done, for as long as they may take. */
void stop_on_timer(struct timer *t, uint64_t now)
{
    struct contacts *cs = container_of(t, struct contacts, stop_timer);
    bool waiting = !list_empty(&cs->publisher_list) || store_busy(cs) || reload_busy(cs) || key_log_busy(cs->key_log);
    if (waiting && now < cs->stop_deadline)
        timer_arm(&cs->shard->timers, t, now + 10000000);
    else
        broadcast(cs, STOP_LOGS);
}

void node_shutdown(struct node *node)
{
    struct contacts *cs = node->shards[0]->contacts;
    if (cs->phase != STOP_NONE)
        return;
    cs->phase = STOP_PUBLISHERS;
    requests_abort(cs);
    reload_abort(cs);
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next)
        dial_stop(container_of(n, struct contact, in_all));
    publishers_wake(cs); /* those that wait for room learn that none will come */
    cs->stop_deadline = cs->shard->now + PUBLISHERS_NS;
    timer_arm(&cs->shard->timers, &cs->stop_timer, cs->shard->now);
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
    cs->phase = STOP_DONE;
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
