/* Membership on a peer's home shard: what we ask of it, what it asks of us. channels.md 6-8 */
#include <stdlib.h>

#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/peers/membership.h"

static const uint64_t ASK_AGAIN_MAX_NS = UINT64_C(60000000000);
/* An active subscription is asked for again now and then: the peer may have taken us for dead, and dropped us, while we
 * heard it all the time. */
static const uint64_t REFRESH_NS = UINT64_C(60000000000);

/* ---- sending ---- */

static void queue_message(struct peer *p, const struct membership *m)
{
    if (p->control_count == CONTROL_QUEUE) {
        COUNT(p->shard, drop_control_full); /* fire and forget, as the protocol has it: whoever asked asks again */
        return;
    }
    struct control_message *slot = &p->control[(p->control_head + p->control_count) % CONTROL_QUEUE];
    int len = membership_encode(m, slot->bytes, sizeof slot->bytes);
    if (len < 0)
        return;
    slot->len = (uint16_t)len;
    p->control_count++;
    peer_wants_tx(p);
}

static void again_later(struct subscription *sub, uint64_t now, uint64_t unit)
{
    uint64_t wait = unit << (sub->attempts < 4 ? sub->attempts : 4);
    sub->attempts++;
    sub->ask_at = now + (wait < ASK_AGAIN_MAX_NS ? wait : ASK_AGAIN_MAX_NS);
}

static void ask(struct subscription *sub, struct peer *p)
{
    io_random(p->shard->io, &sub->nonce, sizeof sub->nonce);
    struct membership m = {
        .type = sub->state == SUBSCRIPTION_LEAVING ? MEMBERSHIP_UNSUBSCRIBE : MEMBERSHIP_SUBSCRIBE,
        .nonce = sub->nonce,
        .channel = sub->channel,
    };
    queue_message(p, &m);
    sub->asked = true;
    again_later(sub, p->shard->now, p->shard->config->ack_timeout_ns);
}

static void report(struct peer *p, const struct subscription *sub, int err, const char *note)
{
    struct msg_subscribed a = {
        .node_id = p->node_id,
        .hash = sub->hash,
        .subscribe = sub->state != SUBSCRIPTION_LEAVING,
        .err = err,
        .live = !sub->followed,
        .note = note,
        .number = sub->number,
        .start = sub->start,
        .anew = sub->fresh,
    };
    mailbox_send(p->shard, 0, MSG_SUBSCRIBED, 0, 0, &a, sizeof a);
}

/* ---- our subscriptions at this peer ---- */

/* At most one subscription has a stream: shard 0 refuses the second. */
static struct subscription *find_stream(struct peer *p, uint64_t stream_id)
{
    for (struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        struct subscription *sub = container_of(n, struct subscription, in_peer);
        if (channel_stream_id(sub->hash) == stream_id)
            return sub;
    }
    return NULL;
}

static void end_live(struct peer *p, struct subscription *sub)
{
    struct stream *st = map_get(&p->streams, channel_stream_id(sub->hash));
    if (st && st->subscription == sub)
        stream_end_rx(p, st);
}

static void subscription_free(struct peer *p, struct subscription *sub)
{
    end_live(p, sub);
    list_remove(&sub->in_peer);
    free(sub);
}

/* The owner of our copy opens its log before the first event reaches it: same ring, same order. */
static void open_copy(struct peer *p, struct subscription *sub)
{
    if (sub->opened)
        return;
    sub->opened = true;
    struct msg_subscribe m = {.node_id = p->node_id, .channel = sub->channel};
    unsigned owner = log_owner(p->shard->node, sub->hash);
    if (owner == p->shard->index)
        log_on_receive_open(p->shard, &m);
    else
        mailbox_send(p->shard, owner, MSG_RECEIVE_OPEN, 0, 0, &m, sizeof m);
}

struct subscription *membership_find(struct peer *p, uint64_t stream_id)
{
    struct stream *st = map_get(&p->streams, stream_id);
    struct subscription *sub = st && st->subscription ? st->subscription : find_stream(p, stream_id);
    if (!sub || sub->followed || sub->state == SUBSCRIPTION_LEAVING || sub->state == SUBSCRIPTION_REFUSED)
        return NULL;
    open_copy(p, sub);
    if (!st)
        st = stream_get(p, stream_id);
    if (st)
        st->subscription = sub;
    return sub;
}

/* Asks in the way that is wanted, or that the peer knows. */
static void begin(struct peer *p, struct subscription *sub)
{
    bool logs = (p->features & FEATURE_FOLLOW) != 0 && (sub->has_no_log_of == 0 || sub->has_no_log_of != p->instance);
    sub->attempts = 0;
    sub->asked = false;
    if (sub->mode == SUBSCRIBE_FOLLOW && logs && peer_usable(p)) {
        end_live(p, sub);
        sub->followed = true;
        sub->note = "";
        following_begin(p, sub);
        return;
    }
    if (sub->followed)
        following_end(p, sub);
    sub->followed = false;
    if (sub->mode == SUBSCRIBE_LIVE)
        sub->note = "";
    else if (!(p->features & FEATURE_FOLLOW))
        sub->note = "the peer serves no logs";
    sub->state = SUBSCRIPTION_ASKING;
    sub->ask_at = p->shard->now;
}

void membership_go_live(struct peer *p, struct subscription *sub, const char *note)
{
    sub->has_no_log_of = p->instance;
    sub->note = note;
    begin(p, sub);
}

void membership_accepted(struct peer *p, struct subscription *sub)
{
    sub->state = SUBSCRIPTION_ACTIVE;
    sub->attempts = 0;
    report(p, sub, NET_OK, "");
}

void membership_refused(struct peer *p, struct subscription *sub, int err, const char *note)
{
    sub->state = SUBSCRIPTION_REFUSED;
    again_later(sub, p->shard->now, p->shard->config->ack_timeout_ns);
    report(p, sub, err, note);
}

static void subscribe(struct peer *p, const struct msg_want *m, uint64_t hash)
{
    const struct channel_name *channel = &m->ask.channel;
    struct subscription *sub = find_stream(p, channel_stream_id(hash));
    if (sub && !channel_name_equal(&sub->channel, channel)) { /* left, and its peer has not said so yet */
        subscription_free(p, sub);
        sub = NULL;
    }
    if (!sub) {
        sub = calloc(1, sizeof *sub);
        if (!sub)
            return; /* the request times out */
        sub->channel = *channel;
        sub->hash = hash;
        sub->note = "";
        list_push_back(&p->subscriptions, &sub->in_peer);
    }
    if (sub->number != m->number) { /* else some of it may be done */
        sub->number = m->number;
        sub->mode = m->ask.mode;
        sub->start = m->ask.start;
        sub->start_seq = m->ask.sequence;
        sub->fresh = m->anew;
    }
    sub->has_no_log_of = 0;
    begin(p, sub);
}

/* The peer goes on sending until it has heard of it, so it is told until it answers, after an outage too. Who asked
 * does not wait for that. */
static void unsubscribe(struct peer *p, uint64_t hash)
{
    struct subscription *sub = find_stream(p, channel_stream_id(hash));
    if (!sub)
        return;
    sub->state = SUBSCRIPTION_LEAVING;
    sub->asked = false;
    sub->attempts = 0;
    sub->ask_at = p->shard->now;
    if (sub->followed || !peer_usable(p))
        report(p, sub, NET_OK, "");
    if (sub->followed) { /* what it sends until it hears of it is refused */
        following_end(p, sub);
        subscription_free(p, sub);
    }
}

void membership_on_want(struct shard *s, bool on, const struct msg_want *m)
{
    const struct channel_name *channel = &m->ask.channel;
    struct peer *p = on ? peer_get(s, m->ask.peer) : peer_find(s, m->ask.peer);
    if (!p)
        return;
    uint64_t hash = channel_hash(channel->text, channel->len);
    if (on)
        subscribe(p, m, hash);
    else
        unsubscribe(p, hash);
    membership_tick(p, s->now);
    peer_schedule(p);
}

void membership_on_session(struct peer *p, bool anew)
{
    for (struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        struct subscription *sub = container_of(n, struct subscription, in_peer);
        sub->attempts = 0;
        sub->ask_at = p->shard->now;
        if (sub->followed && sub->state == SUBSCRIPTION_ACTIVE && !anew)
            sub->following.heard_at = p->shard->now; /* its stream goes on */
        else if (sub->state != SUBSCRIPTION_LEAVING)
            begin(p, sub);
    }
    membership_tick(p, p->shard->now);
}

void membership_tick(struct peer *p, uint64_t now)
{
    if (!peer_usable(p))
        return;
    for (struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        struct subscription *sub = container_of(n, struct subscription, in_peer);
        if (now < sub->ask_at)
            continue;
        if (sub->followed) {
            following_tick(p, sub, now);
            continue;
        }
        if (sub->state == SUBSCRIPTION_LEAVING && sub->attempts == 2)
            report(p, sub, NET_OK, "");
        if (sub->state == SUBSCRIPTION_REFUSED)
            sub->state = SUBSCRIPTION_ASKING;
        ask(sub, p);
    }
}

uint64_t membership_deadline(const struct peer *p)
{
    uint64_t at = UINT64_MAX;
    if (!peer_usable(p))
        return at;
    for (const struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        const struct subscription *sub = container_of(n, struct subscription, in_peer);
        if (sub->ask_at < at)
            at = sub->ask_at;
    }
    return at;
}

void membership_free(struct peer *p)
{
    while (!list_empty(&p->subscriptions))
        subscription_free(p, container_of(list_first(&p->subscriptions), struct subscription, in_peer));
}

static void on_ack(struct peer *p, const struct membership *m)
{
    for (struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        struct subscription *sub = container_of(n, struct subscription, in_peer);
        if (!sub->asked || sub->nonce != m->nonce || sub->followed || sub->state == SUBSCRIPTION_REFUSED)
            continue;
        if (m->accepted || sub->state == SUBSCRIPTION_LEAVING)
            report(p, sub, NET_OK, sub->state == SUBSCRIPTION_LEAVING ? "" : sub->note);
        else
            report(p, sub, NET_ERR_POLICY, membership_reason_text(m->reason));
        if (sub->state == SUBSCRIPTION_LEAVING) {
            subscription_free(p, sub);
        } else if (m->accepted) {
            sub->state = SUBSCRIPTION_ACTIVE;
            sub->attempts = 0;
            sub->ask_at = p->shard->now + REFRESH_NS;
            open_copy(p, sub);
        } else {
            sub->state = SUBSCRIPTION_REFUSED; /* asked again after the back-off */
        }
        return;
    }
    COUNT(p->shard, drop_ack); /* unknown nonce: late, a duplicate, or forged by guessing */
}

/* ---- what the peer asks ---- */

static void forward(struct peer *p, const struct membership *m, bool add)
{
    struct shard *s = p->shard;
    struct msg_subscribe body = {.node_id = p->node_id, .nonce = m->nonce, .channel = m->channel};
    unsigned owner = log_owner(s->node, channel_hash(m->channel.text, m->channel.len));
    if (!mailbox_try(s, owner, MSG_ROSTER, add, 0, &body, sizeof body, NULL, 0))
        COUNT(s, drop_ring_full);
}

void membership_on_packet(struct peer *p, struct cspan plaintext, uint32_t count)
{
    struct wire_frames walk = wire_frames(plaintext, count);
    struct cspan event;
    while (wire_frames_next(&walk, &event)) {
        struct membership m;
        if (membership_decode(event, &m) != NET_OK) {
            COUNT(p->shard, drop_membership);
        } else if (m.type == MEMBERSHIP_ACK) {
            on_ack(p, &m);
        } else if (m.type == MEMBERSHIP_SUBSCRIBE && m.queue_group.len) {
            /* A member of a group must not get what another member gets: refused until groups exist. */
            COUNT(p->shard, subscribe_group);
            queue_message(p, &(struct membership){.type = MEMBERSHIP_ACK, .nonce = m.nonce});
        } else {
            forward(p, &m, m.type == MEMBERSHIP_SUBSCRIBE);
        }
    }
    peer_schedule(p);
}

void membership_on_roster_ack(struct shard *s, const struct msg_answer *a)
{
    struct peer *p = peer_find(s, a->node_id);
    if (!p)
        return;
    struct membership m = {
        .type = MEMBERSHIP_ACK,
        .nonce = a->nonce,
        .accepted = a->accepted,
        .reason = (enum membership_reason)a->reason,
    };
    queue_message(p, &m);
}
