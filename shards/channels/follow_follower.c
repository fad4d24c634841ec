/* We follow a log of the peer's: asking, from where ours ends, again after every break, and handing on what comes.
 * extensions X7.2, X7.4, X7.6 */
#include <inttypes.h>
#include <stdlib.h>

#include "shards/channels/follow.h"
#include "shards/transport/fragments.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/peers/membership.h"

static const uint64_t SILENCE_NS = UINT64_C(5000000000); /* a position comes every second */
/* No credit comes back from our log: it is full, or refuses. What was on its way to it is given up then. */
static const uint64_t STUCK_NS = UINT64_C(30000000000);
static const uint64_t ROOM_NS = UINT64_C(20000000);

static struct subscription *find(struct peer *p, bool (*is)(const struct subscription *, uint64_t), uint64_t value)
{
    for (struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        struct subscription *sub = container_of(n, struct subscription, in_peer);
        if (sub->followed && is(sub, value))
            return sub;
    }
    return NULL;
}

static bool has_number(const struct subscription *sub, uint64_t number)
{
    return sub->following.sent && sub->following.number == number;
}

static bool has_token(const struct subscription *sub, uint64_t token)
{
    return sub->following.token == token;
}

static void wait(struct subscription *sub, uint64_t until)
{
    sub->ask_at = until;
}

/* ---- the owner of our log ---- */

/* In order with the events, which take the same way. */
static void tell_owner(struct peer *p, const struct subscription *sub, const struct msg_follow_open *m)
{
    unsigned owner = log_owner(p->shard->node, sub->hash);
    if (owner == p->shard->index)
        log_on_follow_open(p->shard, owner, m);
    else
        mailbox_send(p->shard, owner, MSG_FOLLOW_OPEN, 0, 0, m, sizeof *m);
}

static void drop_stream(struct peer *p, struct subscription *sub)
{
    struct following *f = &sub->following;
    struct stream *st = f->expected ? stream_find(p, follow_stream_id(f->number)) : NULL;
    if (st && st->ended)
        st = NULL; /* there is nothing left to reset */
    if (f->expected && p->reassembly)
        reassembly_end_stream(p->reassembly, follow_stream_id(f->number));
    f->expected = f->sent = f->begun = f->apart = false;
    if (st)
        stream_reset(p, st, 0);
}

void following_begin(struct peer *p, struct subscription *sub)
{
    struct following *f = &sub->following;
    drop_stream(p, sub);
    f->placed = false;
    io_random(p->shard->io, &f->token, sizeof f->token);
    sub->state = SUBSCRIPTION_ASKING;
    wait(sub, p->shard->now + SILENCE_NS);
    tell_owner(p, sub, &(struct msg_follow_open){.node_id = p->node_id, .token = f->token, .channel = sub->channel});
}

/* ---- asking the peer ---- */

static void fill_start(const struct subscription *sub, struct follow_message *m)
{
    static const enum follow_start starts[] = {FOLLOW_EARLIEST, FOLLOW_EARLIEST, FOLLOW_LATEST, FOLLOW_SEQUENCE};
    const struct following *f = &sub->following;
    if (f->known && !sub->fresh) {
        m->start = FOLLOW_RESUME;
        m->sequence = f->next;
        memcpy(m->log_id, f->log_id, LOG_ID);
        return;
    }
    m->start = starts[sub->start];
    m->sequence = sub->start == START_SEQUENCE ? sub->start_seq : 0;
}

static void send_ask(struct peer *p, struct subscription *sub)
{
    struct following *f = &sub->following;
    struct follow_message m = {.type = FOLLOW_ASK, .window = p->shard->config->follow_window, .channel = sub->channel};
    uint8_t bytes[FOLLOW_MESSAGE_MAX];
    if (!f->expected) {
        io_random(p->shard->io, &f->number, sizeof f->number);
        f->number &= FOLLOW_NUMBER_MAX;
        f->expected = stream_expect(p, follow_stream_id(f->number), m.window) == NET_OK;
    }
    m.number = f->number;
    fill_start(sub, &m);
    size_t len = follow_message_encode(&m, bytes);
    f->sent =
        f->expected && stream_send_message(p, SUBPROTO_FOLLOW, SUBPROTO_FOLLOW, (struct cspan){bytes, len}) == NET_OK;
    f->heard_at = p->shard->now;
    wait(sub, p->shard->now + (f->sent ? SILENCE_NS : ROOM_NS));
}

void follow_on_place(struct shard *s, const struct msg_follow_place *m)
{
    struct peer *p = peer_find(s, m->node_id);
    struct subscription *sub = p ? find(p, has_token, m->token) : NULL;
    if (!sub)
        return;
    struct following *f = &sub->following;
    if (m->err == NET_ERR_UNSUPPORTED) {
        drop_stream(p, sub);
        membership_go_live(p, sub, "this node keeps no log of the channel");
    } else if (m->err) {
        drop_stream(p, sub);
        membership_refused(p, sub, m->err, net_err_text(m->err));
    } else if (!f->placed) {
        f->placed = true;
        f->known = m->known;
        f->next = m->known ? m->next_seq : 0;
        memcpy(f->log_id, m->log_id, LOG_ID);
        wait(sub, s->now);
    } else if (f->begun) { /* the log is there: from now on a restart goes on in it, and the start counts no more */
        sub->fresh = false;
        membership_accepted(p, sub);
    }
    membership_tick(p, s->now);
    peer_schedule(p);
}

/* ---- what the peer answers ---- */

/* We asked to go on in the log we have, and only that can be granted: another log begins when somebody says so. */
static bool is_astray(const struct subscription *sub, const struct follow_message *m)
{
    const struct following *f = &sub->following;
    return f->known && !sub->fresh && (memcmp(f->log_id, m->log_id, LOG_ID) != 0 || f->next != m->sequence);
}

/* From here on events may come: of the log we have, or of one that begins now; false: whose owner has not made it yet.
 */
static bool on_granted(struct peer *p, struct subscription *sub, const struct follow_message *m)
{
    struct following *f = &sub->following;
    bool goes_on = f->known && memcmp(f->log_id, m->log_id, LOG_ID) == 0 && f->next == m->sequence && !sub->fresh;
    if (memcmp(f->log_id, m->log_id, LOG_ID) != 0 || m->sequence < f->next)
        f->shown = 0;
    memcpy(f->log_id, m->log_id, LOG_ID);
    f->next = m->sequence;
    f->known = f->begun = true;
    if (goes_on)
        return true;
    struct msg_follow_open open = {
        .node_id = p->node_id, .token = f->token, .channel = sub->channel, .begin = true, .next_seq = m->sequence};
    memcpy(open.log_id, m->log_id, LOG_ID);
    tell_owner(p, sub, &open);
    return false;
}

void following_on_answer(struct peer *p, const struct follow_message *m)
{
    struct subscription *sub = find(p, has_number, m->number);
    if (!sub || sub->following.begun) {
        COUNT(p->shard, drop_ack); /* late, or of a follow that was given up */
        return;
    }
    enum follow_status status = m->status;
    if (status == FOLLOW_GRANTED && is_astray(sub, m)) {
        COUNT(p->shard, drop_follow);
        status = FOLLOW_OTHER_LOG;
    }
    switch (status) {
    case FOLLOW_GRANTED:
        if (on_granted(p, sub, m))
            membership_accepted(p, sub);
        break;
    case FOLLOW_WAITING:
        if (sub->start == START_LATEST) /* all that comes is later, also what comes before we ask again */
            sub->start = START_EARLIEST;
        membership_accepted(p, sub);
        break;
    case FOLLOW_NO_LOG:
        drop_stream(p, sub);
        membership_go_live(p, sub, follow_status_text(status));
        break;
    default:
        drop_stream(p, sub);
        membership_refused(p, sub, NET_ERR_POLICY, follow_status_text(status));
    }
    sub->following.heard_at = p->shard->now;
}

/* ---- what comes ---- */

/* An event that came in fragments: by reference. */
static bool give(struct peer *p, struct stream *st, unsigned owner, const struct msg_followed *m, struct cspan runs,
                 struct cspan frame)
{
    uint8_t body[sizeof *m + FOLLOW_RUN];
    memcpy(body, m, sizeof *m);
    memcpy(body + sizeof *m, runs.data, FOLLOW_RUN);
    if (!mailbox_give(p->shard, owner, MSG_FOLLOWED, 0, body, sizeof body, st->whole.frame, frame.len))
        return false;
    (void)stream_take_message(st); /* the message has it */
    return true;
}

static bool hand_on(struct peer *p, struct subscription *sub, struct stream *st, const struct msg_followed *m,
                    struct cspan runs, struct cspan frames)
{
    struct shard *s = p->shard;
    unsigned owner = log_owner(s->node, sub->hash);
    if (owner == s->index) {
        log_on_followed(s, owner, m, runs, frames);
        return true;
    }
    if (frames.len > MAILBOX_COPIED)
        return give(p, st, owner, m, runs, frames);
    struct spsc_record *r = mailbox_reserve(s, owner, sizeof *m + runs.len + frames.len);
    if (!r)
        return false;
    r->kind = MSG_FOLLOWED;
    r->aux = 0;
    r->arg = 0;
    memcpy(r->body, m, sizeof *m);
    if (runs.len)
        memcpy(r->body + sizeof *m, runs.data, runs.len);
    if (frames.len)
        memcpy(r->body + sizeof *m + runs.len, frames.data, frames.len);
    mailbox_commit(s, owner, r, sizeof *m + runs.len + frames.len);
    return true;
}

/* Each event once, also when what was on its way to the log is sent again. */
static void show(struct peer *p, struct subscription *sub, uint64_t first, struct cspan frames, uint32_t count)
{
    const struct netmesh_hooks *hooks = &p->shard->node->options.hooks;
    struct following *f = &sub->following;
    for (; count > 0 && first < f->shown; first++, count--) {
        size_t step = 4 + (size_t)load_le32(frames.data);
        frames = (struct cspan){frames.data + step, frames.len - step};
    }
    if (count == 0)
        return;
    f->shown = first + count;
    if (hooks->on_events) {
        struct netmesh_events e = {sub->hash, p->node_id, frames.data, frames.len, count};
        hooks->on_events(hooks->ctx, p->shard->face, &e);
    }
}

static bool take_events(struct peer *p, struct subscription *sub, struct stream *st, uint32_t count, struct cspan runs,
                        struct cspan frames, struct msg_followed *m)
{
    struct following *f = &sub->following;
    m->first_seq = f->next;
    m->count = count;
    m->runs = (uint32_t)(runs.len / FOLLOW_RUN);
    show(p, sub, f->next, frames, count); /* and not again when it is offered again */
    if (!hand_on(p, sub, st, m, runs, frames))
        return false;
    COUNT_N(p->shard, rx_events, count);
    p->rx_events += count;
    f->next += count;
    return true;
}

static void report_lag(struct peer *p, const struct subscription *sub, uint64_t end)
{
    const struct following *f = &sub->following;
    struct msg_follow_lag m = {p->node_id, sub->hash, end > f->next ? end - f->next : 0};
    mailbox_try(p->shard, 0, MSG_FOLLOW_LAG, 0, 0, &m, sizeof m, NULL, 0); /* another is said in a second */
}

static void say_gap(struct peer *p, const struct subscription *sub, const struct follow_record *r)
{
    COUNT_N(p->shard, follow_missing, r->next - r->first);
    shard_say_about(p->shard, LEVEL_WARN, (struct say_about){.peer = p->node_id, .channel = sub->channel.text},
                    "the log we follow lacks %" PRIu64 " events from %" PRIu64 " on: %s", r->next - r->first, r->first,
                    r->why == FOLLOW_TRIMMED ? "its retention gave them up" : "they were never written");
}

/* `count` frames at the front of what is left of a packet. */
static bool cut_frames(struct cspan rest, uint64_t count, struct cspan *out)
{
    struct wire_frames walk = wire_frames(rest, (uint32_t)count);
    struct cspan event;
    uint64_t n = 0;
    while (wire_frames_next(&walk, &event))
        n++;
    *out = (struct cspan){rest.data, rest.len - walk.rest.len};
    return n == count;
}

enum taken { TAKEN, NO_ROOM, NONSENSE };

static enum taken take_apart(struct peer *p, struct subscription *sub, struct stream *st, struct cspan plaintext,
                             struct msg_followed *m)
{
    struct following *f = &sub->following;
    struct cspan frame;
    uint8_t run[FOLLOW_RUN];
    if (!cut_frames(plaintext, 1, &frame))
        return NONSENSE;
    follow_run_encode(f->apart_at, 1, run);
    if (!take_events(p, sub, st, 1, (struct cspan){run, sizeof run}, frame, m))
        return NO_ROOM;
    m->credit = 0; /* it comes back from the owner */
    f->apart = false;
    return TAKEN;
}

static enum taken take_record(struct peer *p, struct subscription *sub, struct stream *st,
                              const struct follow_record *r, struct cspan rest, struct msg_followed *m)
{
    struct following *f = &sub->following;
    if (r->type == FOLLOW_POSITION) {
        report_lag(p, sub, r->next);
        return TAKEN;
    }
    if (r->first != f->next)
        return NONSENSE;
    if (r->type == FOLLOW_GAP) {
        m->first_seq = r->next;
        if (!hand_on(p, sub, st, m, (struct cspan){NULL, 0}, (struct cspan){NULL, 0}))
            return NO_ROOM;
        m->credit = 0;
        say_gap(p, sub, r);
        f->next = r->next;
        return TAKEN;
    }
    if (r->apart) {
        f->apart = true;
        f->apart_at = follow_run_time(r->runs.data);
        return TAKEN;
    }
    struct cspan frames;
    if (!cut_frames(rest, r->next - r->first, &frames))
        return NONSENSE;
    if (!take_events(p, sub, st, (uint32_t)(r->next - r->first), r->runs, frames, m))
        return NO_ROOM;
    m->credit = 0;
    return TAKEN;
}

/* What cannot be: the log is asked for anew, from where ours ends. */
static bool give_up(struct peer *p, struct subscription *sub)
{
    COUNT(p->shard, drop_follow);
    following_begin(p, sub);
    return true;
}

bool follow_on_records(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct subscription *sub = find(p, has_number, st->id & FOLLOW_NUMBER_MAX);
    bool ours = sub && st->id == follow_stream_id(sub->following.number);
    if (st->ended) {
        if (ours)
            following_begin(p, sub);
        return true;
    }
    if (!ours) { /* of one that we gave up, which the peer has not heard */
        COUNT(p->shard, drop_unsubscribed);
        stream_reset(p, st, 0);
        return true;
    }
    struct following *f = &sub->following;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct msg_followed m = {p->node_id, sub->hash, st->id, .credit = h->payload_len + (uint32_t)WIRE_OVERHEAD};
    struct follow_record r;
    struct cspan record;
    memcpy(m.log_id, f->log_id, LOG_ID);
    f->heard_at = p->shard->now;
    enum taken taken = NONSENSE;
    if (f->apart)
        taken = take_apart(p, sub, st, plaintext, &m);
    else if (wire_frames_next(&walk, &record) && follow_record_decode(record, &r) == NET_OK)
        taken = f->begun || r.type == FOLLOW_POSITION ? take_record(p, sub, st, &r, walk.rest, &m) : NO_ROOM;
    if (taken == NONSENSE)
        return give_up(p, sub);
    if (taken == TAKEN && m.credit)
        stream_consumed(p, st, m.credit);
    return taken == TAKEN;
}

/* ---- time ---- */

/* Nothing was heard, though the peer answers otherwise, and we hold nothing of what it sent, or too long. */
static bool silent(struct peer *p, const struct subscription *sub, uint64_t now)
{
    const struct following *f = &sub->following;
    const struct stream *st = stream_find(p, follow_stream_id(f->number));
    bool held = st && st->rx_taken > st->rx.consumed;
    return now - f->heard_at >= (held ? STUCK_NS : SILENCE_NS);
}

void following_tick(struct peer *p, struct subscription *sub, uint64_t now)
{
    struct following *f = &sub->following;
    if (now < sub->ask_at)
        return;
    if (f->placed && !f->sent && sub->state == SUBSCRIPTION_ASKING) {
        send_ask(p, sub);
    } else if (!f->sent || silent(p, sub, now)) {
        COUNT(p->shard, follows_asked_again);
        following_begin(p, sub);
    } else {
        uint64_t at = f->heard_at + SILENCE_NS;
        wait(sub, at > now ? at : now + SILENCE_NS);
    }
}

void following_end(struct peer *p, struct subscription *sub)
{
    struct following *f = &sub->following;
    struct follow_message m = {.type = FOLLOW_END, .number = f->number};
    uint8_t bytes[FOLLOW_MESSAGE_MAX];
    if (f->sent) { /* if it cannot be said, the reset of the stream, or of the next packet on it, does */
        size_t len = follow_message_encode(&m, bytes);
        (void)stream_send_message(p, SUBPROTO_FOLLOW, SUBPROTO_FOLLOW, (struct cspan){bytes, len});
    }
    drop_stream(p, sub);
    f->placed = false;
}
