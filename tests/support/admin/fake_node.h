/*
 * A scripted shards/node/control.h: the test says what the node knows and answers, and sees what it was asked. Nothing
 * is answered from inside a call; fake_node_turn() does it. What is asked twice, or cancelled without being asked,
 * asserts.
 */
#ifndef NM_TESTS_SUPPORT_ADMIN_FAKE_NODE_H
#define NM_TESTS_SUPPORT_ADMIN_FAKE_NODE_H

#include "shards/node/control.h"

enum { FAKE_ROWS = 8 };

struct fake_event {
    uint64_t seq, ts_ns;
    const uint8_t *data; /* the test's */
    size_t len;
    uint64_t gap_to;   /* not 0: a hole from seq to this */
    size_t lost_after; /* not 0: when so many bytes were taken, the log has given it up */
};

struct node {
    struct config config;
    struct node_info info;
    bool hold; /* answer nothing for now */

    struct peer_row peers[FAKE_ROWS];
    size_t peer_count;
    struct channel_row channels[FAKE_ROWS];
    size_t channel_count;
    struct shard_row shards[FAKE_ROWS];
    size_t shard_count;
    struct session_row sessions[FAKE_ROWS];
    size_t session_count;
    struct stream_row streams[FAKE_ROWS];
    size_t stream_count;
    uint64_t streams_of; /* the peer that was asked for; 0: all */
    struct subscriber_row subscribers[FAKE_ROWS];
    size_t subscriber_count;
    enum config_level log_level;
    struct subscription_row subscriptions[FAKE_ROWS];
    size_t subscription_count;
    const char *metrics;
    struct problem_row problems[FAKE_ROWS];
    size_t problem_count;

    /* One-shot requests: what the next is answered, and the last that was asked, as text. */
    int err;
    const char *message;
    bool live; /* a subscription is granted as live, whatever was asked for */
    char asked[512];
    struct peer_entry added;
    struct config_changes changes; /* of a reload */
    const struct config_row *settings;
    size_t setting_count;
    struct list requests, reloads, lists, lookups, scrapes, publishers, tails;
    unsigned cancels, shutdowns;

    /* Publishing: frames taken. */
    uint8_t *taken;
    size_t taken_len;
    uint64_t taken_events;
    uint32_t max_event;
    unsigned puts;
    unsigned room;   /* puts until NET_ERR_AGAIN; `writable` comes when it is above 0 again */
    int put_err;     /* what the next put fails with */
    int done_err;    /* with which a publish ends */
    bool fail_early; /* `done` without a finish */
    int open_err;
    bool durable;
    uint64_t next_seq;

    /* The one log there is. */
    struct fake_event *events; /* fake_node_add() */
    size_t event_count;
    int origins; /* how many logs a lookup finds */
    bool origin_self;
    uint64_t origin;
    uint32_t edition;
    struct log_choice choice; /* of the last lookup */
    struct tail_request tail; /* as last opened */
    int tail_open_err, tail_err;
    size_t piece_bytes; /* of a large event, at most so many come at a time; 0: all */
    unsigned resumes, refused_rows;
};

void fake_node_init(struct node *);
void fake_node_add(struct node *, struct fake_event); /* to its log */
void fake_node_deinit(struct node *);                 /* asserts that nothing is left open */
bool fake_node_turn(struct node *);                   /* false: nothing to do */
bool fake_node_idle(const struct node *);             /* no request, publisher or tail is left */

#endif
