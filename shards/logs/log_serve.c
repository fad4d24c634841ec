/* What other shards, and the peers behind them, ask of a log's owner: watching, reading, storing, rosters, lists. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "shards/channels/follow.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/peers/peer.h"

/* ---- readers ---- */

enum { DATA_BYTES_MAX = 262144, ROW_HEAD = 24, ROW_ALIGN = 8 }; /* of one MSG_DATA; of a row */

void log_on_watch(struct shard *s, unsigned from, bool on, const struct msg_watch *m)
{
    struct log *log = log_find(s, m->key);
    if (!on) {
        if (log && channel_name_equal(&log->name, &m->channel)) {
            log->watchers &= ~(UINT64_C(1) << from);
            log_release(log);
        }
        return;
    }
    if (log_touch(s, m->key, &m->channel, &log) != NET_OK) {
        struct msg_head none = {.key = m->key}; /* it will never exist, as far as this reader can tell */
        mailbox_send(s, from, MSG_HEAD, 0, 0, &none, sizeof none);
        return;
    }
    struct log_heads heads;
    log_heads(log, &heads);
    log->watchers |= UINT64_C(1) << from;
    log->readers[from] = (struct log_reader){.next = heads.live, .at = s->now};
    log_mark_grown(log); /* the answer is the first MSG_HEAD */
}

static uint8_t *put_row(uint8_t *at, const struct redex_event *e)
{
    store_le64(at, e->seq);
    store_le64(at + 8, e->ts_ns);
    store_le32(at + 16, (uint32_t)e->data.len);
    store_le32(at + 20, 0);
    if (e->data.len)
        memcpy(at + ROW_HEAD, e->data.data, e->data.len);
    return at + ROW_HEAD + ((e->data.len + ROW_ALIGN - 1) & ~(size_t)(ROW_ALIGN - 1));
}

/* Rows into one record, as many as were asked for, fit, and are there. */
static uint32_t put_rows(struct log *log, const struct msg_read *m, uint8_t *at, const uint8_t *end, uint64_t *next,
                         uint8_t **stop)
{
    uint32_t count = 0;
    *next = m->from;
    *stop = at;
    if (m->offset)
        return 0; /* the event at `from` goes on first */
    while (count < DATA_EVENTS_MAX && *next < m->end) {
        struct redex_event e;
        uint64_t seq = *next;
        if (log_read(log, &seq, m->end, &e, 1) == 0) {
            *next = seq;
            break;
        }
        if ((size_t)(end - at) < ROW_HEAD + ROW_ALIGN + e.data.len)
            break;
        at = put_row(at, &e);
        *next = seq;
        count++;
    }
    *stop = at;
    return count;
}

static enum part_text judge(const struct msg_read *m, struct cspan data)
{
    if (m->offset || !m->judge)
        return PART_NOT_JUDGED;
    return utf8_valid(data.data, data.len) ? PART_TEXT : PART_BINARY;
}

/* As much as fits of the event at `from`, which is larger than a record or was begun before. */
static uint8_t *put_part(struct log *log, const struct msg_read *m, struct msg_data *d, uint8_t *at, const uint8_t *end)
{
    struct redex_event e;
    uint64_t seq = m->from;
    if (log_read(log, &seq, m->end, &e, 1) == 0 || e.seq != m->from || m->offset >= e.data.len)
        return at; /* it is gone, as the heads say */
    size_t room = (size_t)(end - at) - ROW_HEAD - ROW_ALIGN, rest = e.data.len - m->offset;
    size_t len = rest <= room ? rest : room - room % 3;
    d->part = (struct log_part){m->offset, (uint32_t)e.data.len, judge(m, e.data)};
    d->count = 1;
    d->next = len == rest ? seq : m->from;
    e.data = (struct cspan){e.data.data + m->offset, len};
    return put_row(at, &e);
}

/* False: no room in the ring, the reader is behind. */
static bool serve_read(struct log *log, unsigned to, const struct msg_read *m)
{
    struct shard *s = log->shard;
    size_t room = mailbox_room(s, to), want = sizeof(struct msg_data) + DATA_BYTES_MAX;
    if (room > want)
        room = want;
    struct spsc_record *r = room >= sizeof(struct msg_data) + 65536 ? mailbox_reserve(s, to, room) : NULL;
    if (!r)
        return false;
    struct msg_data d = {.key = m->key, .from = m->from, .asked = m->offset};
    uint8_t *stop;
    d.count = put_rows(log, m, r->body + sizeof d, r->body + room, &d.next, &stop);
    if (d.count == 0 && d.next == m->from)
        stop = put_part(log, m, &d, r->body + sizeof d, r->body + room);
    log_heads(log, &d.heads);
    if (d.next < d.heads.first && d.count == 0)
        d.next = d.heads.first;
    memcpy(r->body, &d, sizeof d);
    r->kind = MSG_DATA;
    r->aux = 0;
    r->arg = 0;
    mailbox_commit(s, to, r, (size_t)(stop - r->body));
    return true;
}

/* Not what was sent to a reader is done with, but what its cursors took: without credit they ask for it again. */
void log_on_place(struct shard *s, unsigned from, const struct msg_place *m)
{
    struct log *log = log_find(s, m->key);
    if (!log || m->keep == log->readers[from].next)
        return;
    log->readers[from].next = m->keep;
    log->readers[from].at = s->now;
}

/* A view asks once and waits: there is at most one read of a shard. */
void log_on_read(struct shard *s, unsigned from, const struct msg_read *m)
{
    struct log *log = log_find(s, m->key);
    if (!log || !(log->watchers >> from & 1))
        return;
    struct log_reader *reader = &log->readers[from];
    reader->waiting = !serve_read(log, from, m);
    if (reader->waiting) {
        reader->read = *m;
        log_starve(log);
    }
}

bool log_serve_waiting(struct log *log)
{
    bool all = true;
    for (unsigned i = 0; i < log->shard->node->shard_count; i++) {
        struct log_reader *reader = &log->readers[i];
        if (!(log->watchers >> i & 1) || !reader->waiting)
            continue;
        reader->waiting = !serve_read(log, i, &reader->read);
        all = all && !reader->waiting;
    }
    return all;
}

/* ---- what peers publish to us ---- */

static const uint64_t OPEN_RETRY_NS = 1000000000;

void log_on_receive_open(struct shard *s, const struct msg_subscribe *m)
{
    struct log_key key = {m->node_id, channel_hash(m->channel.text, m->channel.len), 0};
    struct log *log;
    int err = log_touch(s, key, &m->channel, &log);
    if (err == NET_OK) {
        log->receives = true;
        log->name_taken = false;
        (void)log_open(s, key, &m->channel, &log); /* else when events come, or they drop */
    } else if ((log = log_find(s, key)) != NULL) {
        log->name_taken = err == NET_ERR_EXISTS;
    }
}

/* Events for a log that could not be opened, as on a full disk. */
static void open_late(struct log *log)
{
    struct shard *s = log->shard;
    if (log->open || log->closing || s->now < log->open_at)
        return;
    log->open_at = s->now + OPEN_RETRY_NS;
    (void)log_open(s, log->key, &log->name, &log);
}

static void give_credit(struct shard *s, unsigned home, const struct msg_credit *m, struct log *log)
{
    if (home == s->index) {
        struct peer *p = peer_find(s, m->node_id);
        struct stream *st = p ? map_get(&p->streams, m->stream_id) : NULL;
        if (st)
            stream_consumed(p, st, m->credit);
    } else if (!mailbox_try(s, home, MSG_CREDIT, 0, 0, m, sizeof *m, NULL, 0)) {
        log->held_credit += m->credit;
        log_starve(log);
    }
}

void log_return_credit(struct log *log)
{
    if (log->held_credit == 0 || log_congested(log))
        return;
    struct msg_credit m = {log->key.origin, log->held_stream, log->held_credit};
    log->held_credit = 0;
    give_credit(log->shard, log->held_home, &m, log);
}

static void count_not_stored(struct shard *s, int err, uint32_t events)
{
    if (err == NET_ERR_AGAIN || err == NET_ERR_TOO_LARGE)
        COUNT_N(s, drop_log_full, events);
    else if (err == NET_ERR_CLOSED)
        COUNT_N(s, drop_no_log, events);
    else
        COUNT_N(s, drop_log_failed, events);
}

void log_on_received(struct shard *s, unsigned from, const struct msg_received *m, struct cspan frames)
{
    struct log *log = log_find(s, (struct log_key){m->origin, m->hash, 0});
    if (!log || log->name_taken || log->closing) { /* and no credit comes back */
        COUNT_N(s, drop_no_log, m->count);
        return;
    }
    open_late(log);
    uint64_t first;
    int err = log_append(log, frames, m->count, &first);
    if (err)
        count_not_stored(s, err, m->count);
    else
        COUNT_N(s, stored_events, m->count);
    log->held_home = from;
    log->held_stream = m->stream_id;
    log->held_credit += m->credit;
    log_return_credit(log); /* or later, when the log has room again */
}

/* ---- rosters ---- */

/* Room in the ring for what a request sets off: peers cannot make messages wait, however fast they ask. */
enum { ROSTER_ANSWER = sizeof(struct msg_cursor) + sizeof(struct msg_answer) + sizeof(struct msg_follow) + 96 };

enum membership_reason log_count_refused(struct shard *s, int err)
{
    if (err == NET_ERR_EXISTS) {
        COUNT(s, subscribe_name);
        return REASON_UNKNOWN_CHANNEL;
    }
    if (err == NET_ERR_NO_MEMORY)
        COUNT(s, subscribe_no_memory);
    else
        COUNT(s, subscribe_channels);
    return REASON_TOO_MANY_CHANNELS;
}

/* Nobody is asked who may: tokens and visibility come later; until then any connected peer may read. */
enum membership_reason log_authorize(struct shard *s, const struct channel_name *name, uint64_t node_id)
{
    bool has = roster_has(&s->roster, name, node_id) || roster_has(&s->followers, name, node_id);
    uint32_t held = roster_peer_channels(&s->roster, node_id) + roster_peer_channels(&s->followers, node_id);
    if (!has && held >= s->config->max_channels_per_peer)
        return log_count_refused(s, NET_ERR_LIMIT);
    /* Channels that only peers ask for leave half of the table to what this node publishes and receives. */
    struct log_key key = {0, channel_hash(name->text, name->len), 0};
    if (!log_find(s, key) && s->logs.count >= (s->config->max_channels + 1) / 2)
        return log_count_refused(s, NET_ERR_LIMIT);
    return REASON_NONE;
}

uint32_t log_readers(const struct log *log)
{
    const struct shard *s = log->shard;
    return log->key.origin ? 0 : roster_count(&s->roster, &log->name) + roster_count(&s->followers, &log->name);
}

static struct say_about about(const struct msg_subscribe *m)
{
    return (struct say_about){.peer = m->node_id, .channel = m->channel.text};
}

/* A peer reads a channel in one way. Its home ends what it sends when it hears of the other. */
static void end_follow(struct shard *s, unsigned home, const struct msg_subscribe *m)
{
    if (!roster_remove(&s->followers, &m->channel, m->node_id))
        return;
    struct msg_follow end = {m->node_id, {.type = FOLLOW_END, .channel = m->channel}};
    mailbox_send(s, home, MSG_FOLLOW_GRANT, 0, 0, &end, sizeof end);
}

static enum membership_reason subscribe(struct shard *s, unsigned home, const struct msg_subscribe *m, uint64_t hash)
{
    enum membership_reason reason = log_authorize(s, &m->channel, m->node_id);
    struct log *log;
    if (reason != REASON_NONE)
        return reason;
    struct log_key key = {0, hash, 0};
    int err = log_touch(s, key, &m->channel, &log);
    if (err == NET_OK && (err = roster_add(&s->roster, &m->channel, m->node_id, home)) < 0)
        log_release(log);
    if (err < 0)
        return log_count_refused(s, err);
    if (err > 0)
        shard_say_about(s, LEVEL_INFO, about(m), "the peer has subscribed");
    end_follow(s, home, m);
    struct log_heads heads;
    log_heads(log, &heads);
    struct msg_cursor c = {m->node_id, hash, heads.live, m->channel};
    mailbox_send(s, home, MSG_CURSOR, 1, 0, &c, sizeof c);
    return REASON_NONE;
}

void log_on_roster(struct shard *s, unsigned from, bool add, const struct msg_subscribe *m)
{
    uint64_t hash = channel_hash(m->channel.text, m->channel.len);
    struct msg_answer a = {.node_id = m->node_id, .nonce = m->nonce, .hash = hash, .subscribe = add, .accepted = true};
    if (mailbox_room(s, from) < ROSTER_ANSWER) {
        COUNT(s, drop_ring_full); /* the peer asks again */
        return;
    }
    if (add) {
        a.reason = (uint8_t)subscribe(s, from, m, hash);
        a.accepted = a.reason == REASON_NONE;
        if (!a.accepted)
            shard_say_about(s, LEVEL_WARN, about(m), "refused the peer's subscription: %s",
                            membership_reason_text((enum membership_reason)a.reason));
    } else {
        if (roster_has(&s->roster, &m->channel, m->node_id))
            shard_say_about(s, LEVEL_INFO, about(m), "the peer has unsubscribed");
        roster_remove(&s->roster, &m->channel, m->node_id);
        struct msg_cursor c = {m->node_id, hash, 0, m->channel};
        mailbox_send(s, from, MSG_CURSOR, 0, 0, &c, sizeof c);
        struct log *log = log_find(s, (struct log_key){0, hash, 0});
        if (log)
            log_release(log);
    }
    mailbox_send(s, from, MSG_ROSTER_ACK, 0, 0, &a, sizeof a);
}

void log_on_peer_gone(struct shard *s, uint64_t node_id)
{
    if (roster_peer_channels(&s->roster, node_id) == 0)
        return;
    roster_remove_peer(&s->roster, node_id);
    for (struct list *n = s->log_list.next, *next; n != &s->log_list; n = next) {
        next = n->next;
        log_release(container_of(n, struct log, in_shard));
    }
}

/* ---- lists ---- */

void log_on_list(struct shard *s, unsigned from, uint64_t request, const uint64_t *hash)
{
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        struct log *log = container_of(n, struct log, in_shard);
        struct log_heads heads;
        if (hash && log->key.hash != *hash)
            continue;
        log_heads(log, &heads);
        uint32_t subscribers = log_readers(log);
        if (!log->open && subscribers == 0)
            continue; /* only watched: nothing there yet */
        struct msg_list_row row = {
            .channel = log->name,
            .origin = log->key.origin,
            .edition = log->key.edition,
            .followed = log_followed(s, log->key.origin, log->key.hash) == log,
            .first_seq = heads.first,
            .next_seq = heads.live,
            .bytes = log->open && log->redex ? redex_bytes(log->redex) : 0,
            .appended_events = log->appended_events,
            .appended_bytes = log->appended_bytes,
            .subscribers = subscribers,
            .error = log->redex ? redex_error(log->redex) : NET_OK,
            .log = log->kind,
            .exists = log->open,
        };
        mailbox_send(s, from, MSG_LIST_ROW, LIST_CHANNELS, request, &row, sizeof row);
    }
}
