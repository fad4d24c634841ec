/*
 * Logs of what peers publish, taken from the peers' own logs: mirrors. extensions.md X7.2 to X7.4
 *
 * Where such a log ends is all that says how far a follow has come. So an event is stored behind the one before it or
 * not at all; what finds no room waits, its credit withheld, and what cannot be stored is as if it had not arrived: it
 * is asked for again, from where the log ends.
 */
#include <assert.h>
#include <stdlib.h>

#include "shards/logs/log.h"
#include "shards/node/mailbox.h"

/* What may wait for room. A stream brings no more than its window; this stops one that does. */
enum { UNSTORED_MAX = 64 << 20 };
/* Directories that are tried for a new log: some may hold what could not be opened. */
enum { BEGIN_ATTEMPTS = 16 };

struct unstored {
    struct list link;
    struct msg_followed m;
    size_t runs_len, frames_len;
    uint8_t bytes[]; /* runs, frames */
};

/* ---- which log is the one that is followed ---- */

static uint64_t followed_key(uint64_t origin, uint64_t hash)
{
    return log_map_key((struct log_key){origin, hash, 1});
}

static bool is_edition_of(const struct log *log, uint64_t origin, uint64_t hash)
{
    return log && log->key.origin == origin && log->key.hash == hash;
}

struct log *log_followed(struct shard *s, uint64_t origin, uint64_t hash)
{
    struct log *log = map_get(&s->followed, followed_key(origin, hash));
    return is_edition_of(log, origin, hash) ? log : NULL;
}

int log_follow_opened(struct log *log)
{
    struct shard *s = log->shard;
    const struct log *now = log_followed(s, log->key.origin, log->key.hash);
    if (now && now->key.edition > log->key.edition)
        return NET_OK;
    return map_put(&s->followed, followed_key(log->key.origin, log->key.hash), log);
}

static void discard(struct log *log)
{
    struct list *n;
    while ((n = list_pop(&log->unstored))) {
        struct unstored *u = container_of(n, struct unstored, link);
        COUNT_N(log->shard, drop_followed, u->m.count);
        free(u);
    }
    log->unstored_bytes = 0;
}

void log_follow_forget(struct log *log)
{
    struct shard *s = log->shard;
    discard(log);
    if (log->key.edition && log_followed(s, log->key.origin, log->key.hash) == log)
        map_remove(&s->followed, followed_key(log->key.origin, log->key.hash));
}

void log_id(const struct log *log, uint8_t out[LOG_ID_SIZE])
{
    static_assert(LOG_ID_SIZE == (int)REDEX_ID_SIZE && TIME_RUN_SIZE == (int)REDEX_RUN_SIZE, "one format");
    memset(out, 0, LOG_ID_SIZE);
    if (log->open && log->redex)
        redex_id(log->redex, out);
}

static bool has_id(const struct log *log, const uint8_t id[LOG_ID_SIZE])
{
    uint8_t own[LOG_ID_SIZE];
    log_id(log, own);
    return log->open && memcmp(own, id, LOG_ID_SIZE) == 0;
}

/* ---- where to go on ---- */

/* The log goes on at next_seq. False: it is another one, or it reaches further. */
static bool goes_on(struct log *log, const struct msg_follow_open *m, struct msg_follow_place *place)
{
    if (!log || !has_id(log, m->log_id) || redex_next_seq(log->redex) > m->next_seq)
        return false;
    (void)redex_skip_to(log->redex, m->next_seq); /* noted now or, with what comes, later */
    place->next_seq = m->next_seq;
    return true;
}

static int begin(struct shard *s, const struct log *before, const struct msg_follow_open *m, struct log **out)
{
    struct log_key key = {m->node_id, channel_hash(m->channel.text, m->channel.len), before ? before->key.edition : 0};
    struct log_begin begin = {m->log_id, m->next_seq};
    int err = NET_ERR_EXISTS;
    if (config_channel(s->config, m->channel.text)->log == LOG_NONE)
        return NET_ERR_UNSUPPORTED;
    for (int i = 0; i < BEGIN_ATTEMPTS && err == NET_ERR_EXISTS; i++) {
        key.edition++;
        err = log_open_at(s, key, &m->channel, &begin, out);
    }
    return err;
}

static struct say_about about(const struct msg_follow_open *m)
{
    return (struct say_about){.peer = m->node_id, .channel = m->channel.text};
}

/* The log that is followed from now on, as the publisher's answer wants it; *log is the one so far. */
static int take_up(struct shard *s, struct log **log, const struct msg_follow_open *m, struct msg_follow_place *place)
{
    if (goes_on(*log, m, place))
        return NET_OK;
    struct log *next;
    int err = begin(s, *log, m, &next);
    if (err)
        return err;
    if (*log) {
        discard(*log);
        shard_say_about(s, LEVEL_INFO, about(m), "a new log begins; what was followed before stays as edition %u",
                        (*log)->key.edition);
    }
    *log = next;
    place->next_seq = m->next_seq;
    return NET_OK;
}

static int place_in(struct shard *s, const struct msg_follow_open *m, struct msg_follow_place *place)
{
    struct log *log = log_followed(s, m->node_id, place->hash);
    int err = NET_OK;
    if (log && !channel_name_equal(&log->name, &m->channel))
        return NET_ERR_EXISTS;
    if (!log && config_channel(s->config, m->channel.text)->log == LOG_NONE)
        return NET_ERR_UNSUPPORTED;
    if (log) {
        if (log->closing)
            return NET_ERR_STATE;
        discard(log);
        log->refuses = false;
        log->held_credit = 0;
        place->next_seq = redex_next_seq(log->redex);
    }
    if (m->begin)
        err = take_up(s, &log, m, place);
    place->known = !err && log;
    if (place->known)
        log_id(log, place->log_id);
    return err;
}

void log_on_follow_open(struct shard *s, unsigned from, const struct msg_follow_open *m)
{
    struct msg_follow_place place = {
        .node_id = m->node_id,
        .hash = channel_hash(m->channel.text, m->channel.len),
        .token = m->token,
    };
    place.err = place_in(s, m, &place);
    mailbox_send(s, from, MSG_FOLLOW_PLACE, 0, 0, &place, sizeof place);
}

/* ---- what comes ---- */

/* NET_OK: it is in the log, or was. */
static int store(struct log *log, const struct msg_followed *m, struct cspan runs, struct cspan frames)
{
    struct shard *s = log->shard;
    uint64_t before = redex_next_seq(log->redex), bytes = redex_bytes(log->redex);
    int err = redex_append_at(log->redex, m->first_seq, runs, frames, m->count);
    if (err)
        return err;
    uint64_t next = redex_next_seq(log->redex), skipped = m->first_seq > before ? m->first_seq - before : 0;
    COUNT_N(s, stored_events, next - before - skipped);
    log->appended_events += next - before - skipped;
    log->appended_bytes += redex_bytes(log->redex) - bytes;
    if (next != before)
        log_mark_grown(log);
    return NET_OK;
}

static void stored(struct log *log, const struct msg_followed *m)
{
    log->held_credit += m->credit;
    log_return_credit(log); /* or later, when the log has room again */
}

/* Not now, but perhaps later: without what came first, nothing that follows can be stored. */
static bool may_wait(const struct log *log, int err, size_t bytes)
{
    bool hopeless = err == NET_ERR_POISONED || err == NET_ERR_CLOSED || err == NET_ERR_FORMAT;
    return !hopeless && bytes <= UNSTORED_MAX - log->unstored_bytes;
}

static void refuse(struct log *log, uint32_t count)
{
    COUNT_N(log->shard, drop_followed, count);
    discard(log);
    log->refuses = true;
}

static void wait_for_room(struct log *log, int err, const struct msg_followed *m, struct cspan runs,
                          struct cspan frames)
{
    size_t bytes = runs.len + frames.len;
    struct unstored *u = may_wait(log, err, bytes) ? malloc(sizeof *u + bytes) : NULL;
    if (!u) {
        refuse(log, m->count);
        return;
    }
    *u = (struct unstored){.m = *m, .runs_len = runs.len, .frames_len = frames.len};
    if (runs.len)
        memcpy(u->bytes, runs.data, runs.len);
    if (frames.len)
        memcpy(u->bytes + runs.len, frames.data, frames.len);
    list_init(&u->link);
    list_push_back(&log->unstored, &u->link);
    log->unstored_bytes += bytes;
    if (err == NET_ERR_NO_MEMORY)
        log_starve(log); /* nobody tells when there is some */
}

void log_follow_store(struct log *log)
{
    struct list *n;
    while ((n = list_first(&log->unstored)) && !log->closing) {
        struct unstored *u = container_of(n, struct unstored, link);
        int err = store(log, &u->m, (struct cspan){u->bytes, u->runs_len},
                        (struct cspan){u->bytes + u->runs_len, u->frames_len});
        if (err && may_wait(log, err, 0)) {
            if (err == NET_ERR_NO_MEMORY)
                log_starve(log);
            return;
        }
        if (err) {
            refuse(log, 0);
            return;
        }
        stored(log, &u->m);
        log->unstored_bytes -= u->runs_len + u->frames_len;
        list_remove(n);
        free(u);
    }
}

void log_on_followed(struct shard *s, unsigned from, const struct msg_followed *m, struct cspan runs,
                     struct cspan frames)
{
    struct log *log = log_followed(s, m->origin, m->hash);
    if (!log || log->refuses || log->closing || !has_id(log, m->log_id)) { /* and no credit comes back */
        COUNT_N(s, drop_followed, m->count);
        return;
    }
    if (log->held_stream != m->stream_id)
        log->held_credit = 0;
    log->held_home = from;
    log->held_stream = m->stream_id;
    int err = list_empty(&log->unstored) ? store(log, m, runs, frames) : NET_ERR_AGAIN;
    if (err)
        wait_for_room(log, err, m, runs, frames);
    else
        stored(log, m);
}
