/* The owner of a log says who may follow it, and from where. extensions X7.2 */
#include "shards/channels/follow.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"

static struct say_about about(const struct msg_follow *m)
{
    return (struct say_about){.peer = m->node_id, .channel = m->m.channel.text};
}

/* A peer reads a channel in one way: who follows it no longer gets it live. */
static void end_live(struct shard *s, unsigned home, const struct msg_follow *m, uint64_t hash)
{
    if (!roster_remove(&s->roster, &m->m.channel, m->node_id))
        return;
    struct msg_cursor c = {m->node_id, hash, 0, m->m.channel};
    mailbox_send(s, home, MSG_CURSOR, 0, 0, &c, sizeof c);
}

static enum follow_status admit(struct shard *s, unsigned home, const struct msg_follow *m, struct log **out)
{
    uint64_t hash = channel_hash(m->m.channel.text, m->m.channel.len);
    struct log_key key = {0, hash, 0};
    const struct log *there = log_find(s, key);
    enum config_log kind = there && there->open ? there->kind : config_channel(s->config, m->m.channel.text)->log;
    enum membership_reason reason = log_authorize(s, &m->m.channel, m->node_id);
    if (reason != REASON_NONE)
        return (enum follow_status)reason;
    if (kind == LOG_NONE)
        return FOLLOW_NO_LOG;
    int err = log_touch(s, key, &m->m.channel, out);
    if (err == NET_OK && (err = roster_add(&s->followers, &m->m.channel, m->node_id, home)) < 0)
        log_release(*out);
    if (err < 0)
        return err == NET_ERR_NO_MEMORY ? FOLLOW_NOT_NOW : (enum follow_status)log_count_refused(s, err);
    if (err > 0)
        shard_say_about(s, LEVEL_INFO, about(m), "the peer has subscribed, and follows the log");
    end_live(s, home, m, hash);
    return FOLLOW_GRANTED;
}

/* Where the log is, and where the follower shall begin in it. */
static enum follow_status place(const struct log *log, const struct follow_message *ask, struct follow_message *answer)
{
    struct log_heads heads;
    log_heads(log, &heads);
    if (!heads.exists)
        return FOLLOW_WAITING;
    log_id(log, answer->log_id);
    answer->first = heads.first;
    answer->next = heads.written;
    if (ask->start == FOLLOW_RESUME && memcmp(ask->log_id, answer->log_id, LOG_ID) != 0)
        return FOLLOW_OTHER_LOG;
    answer->sequence = ask->start == FOLLOW_EARLIEST ? heads.first
                       : ask->start == FOLLOW_LATEST ? heads.written
                                                     : ask->sequence;
    return FOLLOW_GRANTED;
}

static void leave(struct shard *s, const struct msg_follow *m)
{
    const struct channel_name *name = &m->m.channel;
    if (roster_remove(&s->followers, name, m->node_id))
        shard_say_about(s, LEVEL_INFO, about(m), "the peer has unsubscribed");
    struct log *log = log_find(s, (struct log_key){0, channel_hash(name->text, name->len), 0});
    if (log)
        log_release(log);
}

void follow_on_ask(struct shard *s, unsigned home, const struct msg_follow *m)
{
    struct msg_follow answer = {m->node_id, {.type = FOLLOW_ANSWER, .number = m->m.number, .channel = m->m.channel}};
    struct log *log;
    answer.m.status = admit(s, home, m, &log);
    if (answer.m.status == FOLLOW_GRANTED) {
        answer.m.status = place(log, &m->m, &answer.m);
        if (answer.m.status == FOLLOW_OTHER_LOG)
            leave(s, m);
    }
    if (answer.m.status != FOLLOW_GRANTED && answer.m.status != FOLLOW_WAITING)
        shard_say_about(s, LEVEL_WARN, about(m), "refused to let the peer follow: %s",
                        follow_status_text(answer.m.status));
    mailbox_send(s, home, MSG_FOLLOW_GRANT, 0, 0, &answer, sizeof answer);
}

void follow_on_end(struct shard *s, const struct msg_follow *m)
{
    leave(s, m);
}
