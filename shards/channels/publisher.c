/* A publish as shard 0 sees it: what the admin port puts goes to the channel's owner, and answers come back. */
#include <assert.h>

#include "core/wire/packer.h"
#include "shards/peers/contacts.h"
#include "shards/node/mailbox.h"

static const uint64_t WINDOW_BYTES = 1 << 20; /* in flight to the owner, per publisher */

static void tell_owner(struct contacts *cs, struct publisher *p, bool begin)
{
    if (p->node.peer) { /* it needs to know only of the end */
        struct msg_append_cancel cancel = {p->node.peer, p->node.id};
        if (!begin)
            mailbox_send(cs->shard, p->node.home, MSG_APPEND_CANCEL, 0, 0, &cancel, sizeof cancel);
        return;
    }
    struct msg_publish_open m = {.publisher = p->node.id, .durable = p->node.durable};
    if (begin)
        m.channel = p->node.channel;
    mailbox_send(cs->shard, log_owner(cs->shard->node, p->node.hash), MSG_PUBLISH_OPEN, 0, 0, &m, sizeof m);
}

static void detach(struct contacts *cs, struct publisher *p)
{
    tell_owner(cs, p, false);
    map_remove(&cs->publishers, p->node.id);
    list_remove(&p->node.link);
}

static void finish(struct contacts *cs, struct publisher *p, int err)
{
    detach(cs, p);
    p->done(p, err);
}

static bool all_answered(const struct publisher *p)
{
    return p->node.accepted == p->node.acked && p->node.unanswered == 0;
}

/* Why nothing came within the time. */
static int reason_of(struct contacts *cs, const struct publisher *p)
{
    const struct contact *c = p->node.peer ? contact_find(cs, p->node.peer) : NULL;
    if (p->node.peer && (!c || c->state != PEER_CONNECTED))
        return NET_ERR_UNREACHABLE;
    return p->node.trouble ? p->node.trouble : NET_ERR_TIMEOUT;
}

static void arm(struct contacts *cs, struct publisher *p)
{
    p->node.deadline = cs->shard->now + cs->shard->config->publish_timeout_ns;
    if (!timer_armed(&cs->publish_timer))
        timer_arm(&cs->shard->timers, &cs->publish_timer, p->node.deadline);
}

/* The node had no room for publish_timeout: bounded waiting. */
void publishers_on_timer(struct timer *t, uint64_t now)
{
    struct contacts *cs = container_of(t, struct contacts, publish_timer);
    uint64_t next = UINT64_MAX;
    for (struct list *n = cs->publisher_list.next, *after; n != &cs->publisher_list; n = after) {
        struct publisher *p = container_of(n, struct publisher, node.link);
        after = n->next;
        if (all_answered(p))
            continue;
        if (now >= p->node.deadline) {
            int err = reason_of(cs, p);
            metrics_publish_failed(cs->shard, err);
            finish(cs, p, err);
            after = cs->publisher_list.next;
            next = UINT64_MAX;
        } else if (p->node.deadline < next) {
            next = p->node.deadline;
        }
    }
    if (next != UINT64_MAX)
        timer_arm(&cs->shard->timers, t, next);
}

/* p->node says where to, if it is a peer. */
static int open_publisher(struct contacts *cs, struct publisher *p, const struct channel_name *channel, bool durable)
{
    if (cs->phase != STOP_NONE)
        return NET_ERR_STATE;
    p->events = p->bytes = p->first_seq = p->last_seq = 0;
    p->node.channel = *channel;
    p->node.hash = channel_hash(channel->text, channel->len);
    p->node.durable = durable;
    p->node.id = ++cs->next_id;
    int err = map_put(&cs->publishers, p->node.id, p);
    if (err)
        return err;
    list_push_back(&cs->publisher_list, &p->node.link);
    tell_owner(cs, p, true);
    return NET_OK;
}

int node_publish_open(struct node *node, struct publisher *p, const struct channel_name *channel, bool durable)
{
    bool on_disk = config_channel(node->config, channel->text)->log == LOG_DISK;
    memset(&p->node, 0, sizeof p->node);
    int err = on_disk && !channel_name_storable(channel)
                  ? NET_ERR_INVALID
                  : open_publisher(node->shards[0]->contacts, p, channel, durable);
    if (err)
        metrics_publish_failed(node->shards[0], err);
    return err;
}

int node_publish_open_to(struct node *node, struct publisher *p, const struct channel_name *channel, bool durable,
                         uint64_t peer, const uint8_t producer[16], uint64_t sequence)
{
    struct contacts *cs = node->shards[0]->contacts;
    const struct contact *c = contact_find(cs, peer);
    int err = !c || c->state != PEER_CONNECTED ? NET_ERR_UNREACHABLE
              : c->features & FEATURE_APPEND   ? NET_OK
                                               : NET_ERR_UNSUPPORTED;
    memset(&p->node, 0, sizeof p->node);
    p->node.peer = peer;
    p->node.sequence = sequence;
    if (producer) {
        memcpy(p->node.producer, producer, sizeof p->node.producer);
    } else {
        io_random(cs->shard->io, p->node.producer, sizeof p->node.producer);
        p->node.introduction = STRANGE;
    }
    if (!err) {
        p->node.home = c->home;
        err = open_publisher(cs, p, channel, durable);
    }
    if (err)
        metrics_publish_failed(cs->shard, err);
    return err;
}

/* ---- putting ---- */

/* As many of the first frames as go into one append, or one event that is larger; sets how many they are. */
static size_t cut(struct cspan frames, uint32_t *count)
{
    struct wire_frames walk = wire_frames(frames, UINT32_MAX);
    struct cspan event = {NULL, 0};
    size_t len = 0;
    for (*count = 0; wire_frames_next(&walk, &event) && len + 4 + event.len <= APPEND_FRAMES_MAX; (*count)++)
        len += 4 + event.len;
    if (len == 0 && frames.len > 0) { /* goes in fragments */
        *count = 1;
        len = 4 + event.len;
    }
    return len;
}

/* False: no room. `given`: by reference. */
static bool submit(struct contacts *cs, struct publisher *p, struct cspan frames, uint32_t count, uint8_t *given)
{
    struct msg_append_submit m = {.node_id = p->node.peer,
                                  .sequence = p->node.sequence,
                                  .publisher = p->node.id,
                                  .count = count,
                                  .durable = p->node.durable,
                                  .channel = p->node.channel};
    memcpy(m.producer, p->node.producer, sizeof m.producer);
    if (p->node.unanswered >= APPEND_REMEMBERED)
        return false; /* what a restart of the peer leaves without an answer, it has to know */
    bool taken =
        given ? mailbox_give(cs->shard, p->node.home, MSG_APPEND_SUBMIT, 0, &m, sizeof m, given, frames.len)
              : mailbox_try(cs->shard, p->node.home, MSG_APPEND_SUBMIT, 0, 0, &m, sizeof m, frames.data, frames.len);
    p->node.unanswered += taken;
    p->node.sequence += taken;
    return taken;
}

/* False: no room. */
static bool put_to(struct contacts *cs, struct publisher *p, struct cspan frames)
{
    size_t pieces = 1 + 2 * frames.len / APPEND_FRAMES_MAX; /* two neighbours are longer than that together */
    if (p->node.unanswered + pieces > APPEND_REMEMBERED ||
        mailbox_room(cs->shard, p->node.home) < frames.len + pieces * (sizeof(struct msg_append_submit) + 64))
        return false;
    do {
        uint32_t count;
        size_t len = cut(frames, &count);
        bool taken = submit(cs, p, (struct cspan){frames.data, len}, count, NULL);
        assert(taken); /* there was room for all */
        frames.data += len;
        frames.len -= len;
    } while (frames.len > 0);
    return true;
}

/*
 * Append 0 of an id that was drawn is of nothing, and answered before the next one leaves: what the peer does not know
 * later it has forgotten, and refuses, where it would take a first append of events once more. False: not yet.
 */
static bool introduce(struct contacts *cs, struct publisher *p)
{
    if (p->node.introduction == STRANGE && submit(cs, p, (struct cspan){NULL, 0}, 0, NULL))
        p->node.introduction = INTRODUCING;
    else if (p->node.introduction == INTRODUCING && p->node.unanswered == 0)
        p->node.introduction = INTRODUCED;
    return p->node.introduction == INTRODUCED;
}

static bool put_at_peer(struct contacts *cs, struct publisher *p, struct cspan frames, uint32_t count, uint8_t *given)
{
    return introduce(cs, p) && (given ? submit(cs, p, frames, count, given) : put_to(cs, p, frames));
}

/* One large event is let in alone. */
static bool has_window(const struct publisher *p, size_t len)
{
    return p->node.in_flight == 0 || p->node.in_flight + len <= WINDOW_BYTES;
}

/* Sends the frames to the owner, copied, or `given`: by reference. False: no room. */
static bool send_frames(struct shard *s, unsigned owner, const struct msg_publish *m, struct cspan frames,
                        uint8_t *given)
{
    return given ? mailbox_give(s, owner, MSG_PUBLISH, 0, m, sizeof *m, given, frames.len)
                 : mailbox_try(s, owner, MSG_PUBLISH, 0, 0, m, sizeof *m, frames.data, frames.len);
}

static bool put_here(struct contacts *cs, struct publisher *p, struct cspan frames, uint32_t count, uint8_t *given)
{
    struct msg_publish m = {p->node.hash, p->node.id, count};
    return send_frames(cs->shard, log_owner(cs->shard->node, p->node.hash), &m, frames, given);
}

static int put(struct node *node, struct publisher *p, struct cspan frames, uint32_t count, uint8_t *given)
{
    struct contacts *cs = node->shards[0]->contacts;
    if (cs->phase != STOP_NONE) {
        metrics_publish_failed(cs->shard, NET_ERR_STATE);
        return NET_ERR_STATE;
    }
    bool taken = has_window(p, frames.len) &&
                 (p->node.peer ? put_at_peer(cs, p, frames, count, given) : put_here(cs, p, frames, count, given));
    p->node.want_writable = !taken;
    if (p->node.want_writable) {
        arm(cs, p);
        return NET_ERR_AGAIN;
    }
    p->node.accepted += count;
    p->node.in_flight += (uint32_t)frames.len;
    arm(cs, p);
    return NET_OK;
}

int node_publish_put(struct node *node, struct publisher *p, struct cspan frames, uint32_t count)
{
    assert((count > 0 || p->node.peer) && count <= WIRE_MAX_EVENTS && frames.len <= MAILBOX_COPIED);
    return put(node, p, frames, count, NULL);
}

int node_publish_give(struct node *node, struct publisher *p, uint8_t *frame, size_t len)
{
    assert(frame && len > MAILBOX_COPIED);
    return put(node, p, (struct cspan){frame, len}, 1, frame);
}

void node_publish_finish(struct node *node, struct publisher *p)
{
    p->node.finished = true;
    /* With nothing under way the owner's answer to nothing ends it: the callback never comes from inside a call. */
    if (all_answered(p)) {
        struct msg_published m = {.publisher = p->node.id};
        mailbox_send(node->shards[0], 0, MSG_PUBLISHED, 0, 0, &m, sizeof m);
    }
}

void node_publish_cancel(struct node *node, struct publisher *p)
{
    detach(node->shards[0]->contacts, p);
}

/* A channel without a log keeps its events in a ring, and each has to fit. */
uint32_t node_max_event(const struct node *node, const struct channel_name *channel, const char **key)
{
    const struct config *c = node->config;
    uint32_t ring = c->log_none_bytes - WIRE_FRAME_HEAD;
    bool none = config_channel(c, channel->text)->log == LOG_NONE && ring < c->event_bytes;
    *key = none ? "channels.none_bytes" : "limits.event_bytes";
    return none ? ring : c->event_bytes;
}

uint32_t node_max_append(const struct node *node)
{
    (void)node;
    return APPEND_FRAMES_MAX;
}

static void account(struct publisher *p, const struct msg_published *m)
{
    if (p->events == 0)
        p->first_seq = m->first_seq;
    p->events += m->count;
    p->bytes += m->bytes;
    p->last_seq = m->first_seq + m->count - 1;
}

void contacts_on_published(struct shard *s, const struct msg_published *m)
{
    struct contacts *cs = s->contacts;
    struct publisher *p = map_get(&cs->publishers, m->publisher);
    if (!p)
        return; /* its client went away */
    p->node.acked += m->count;
    if (m->delayed) {
        p->node.trouble = m->err;
        return;
    }
    if (p->node.unanswered)
        p->node.unanswered--;
    if (m->err) {
        finish(cs, p, m->err);
        return;
    }
    if (m->count) {
        account(p, m);
        p->node.trouble = NET_OK;
        p->node.in_flight -= (uint32_t)m->bytes + 4 * m->count;
        arm(cs, p);
    }
    if (p->node.finished && all_answered(p)) {
        finish(cs, p, NET_OK);
    } else if (p->node.want_writable) {
        p->node.want_writable = false;
        p->writable(p);
    }
}

void publishers_wake(struct contacts *cs)
{
    for (struct list *n = cs->publisher_list.next, *next; n != &cs->publisher_list; n = next) {
        struct publisher *p = container_of(n, struct publisher, node.link);
        next = n->next;
        if (p->node.want_writable) {
            p->node.want_writable = false;
            p->writable(p);
        }
    }
}

void publishers_end_idle(struct contacts *cs)
{
    for (struct list *n = cs->publisher_list.next, *next; n != &cs->publisher_list; n = next) {
        struct publisher *p = container_of(n, struct publisher, node.link);
        next = n->next;
        if (all_answered(p) && !p->node.finished)
            finish(cs, p, NET_ERR_STATE);
    }
}

/* A ring had no room: its publishers have no answer to wait for. */
void publishers_retry(struct contacts *cs)
{
    for (struct list *n = cs->publisher_list.next; n != &cs->publisher_list; n = n->next) {
        struct publisher *p = container_of(n, struct publisher, node.link);
        bool waits = p->node.introduction == INTRODUCING; /* for an answer */
        if (p->node.want_writable && p->node.in_flight == 0 && !waits) {
            p->node.want_writable = false;
            p->writable(p);
            return; /* the list may have changed: the next one has the next turn */
        }
    }
}
