/* Shard 0's knowledge of the nodes this one deals with: entries, dialling, answering, wanted subscriptions, requests.
 */
#ifndef NM_SHARDS_NODE_CONTACTS_H
#define NM_SHARDS_NODE_CONTACTS_H

#include "shards/peers/guard.h"
#include "shards/node/shard.h"

struct wanted { /* a subscription of ours, as peers.yaml has it */
    struct list in_contact;
    struct contact *contact;
    struct channel_name channel;
    uint64_t hash;
    enum subscription_mode mode;
    enum subscription_start start; /* where a followed log begins */
    uint64_t sequence;             /* of START_SEQUENCE */
    bool anew;                     /* it counts, whatever log there is of an earlier follow */
    uint32_t number;               /* of the wish; another when it changes */
    bool active;                   /* the peer, as it is since its last start, has acknowledged it */
    bool live;                     /* and sends live events */
    bool leaving;
    bool told;            /* the home of the peer was told of it, and not since that it is over */
    uint64_t lag;         /* of what is followed, as last heard */
    const char *note;     /* static: why it is not active, or live though it was to be followed; "" */
    struct list requests; /* control_request waiting for the peer's answer */
    /* An answer that nobody hears before peers.yaml has it: what `start` and `anew` have become. Where that cannot be
     * written the answer is given, and writing is tried again. */
    struct control_request settled;
    struct msg_subscribed answer;
    bool answered;
    struct timer write_again;
};

struct dial {
    struct handshake handshake;
    bool sent;         /* a msg1 is under way: its answer may come */
    uint32_t attempts; /* since the last success */
    uint64_t sent_at;
    struct timer timer; /* next attempt, or giving the confirmation up */
};

struct contact {
    uint64_t node_id;
    struct list in_all;
    struct peer_entry *entry; /* NULL: let in without one */
    unsigned home;
    uint64_t instance; /* ours towards it (X0) */
    enum peer_state state;
    struct io_addr addr;
    bool has_addr;
    uint64_t features, rtt_ns;
    uint32_t window; /* bytes a stream of ours may bring before we have taken any, as last offered */
    bool compat_session;
    struct list wanted;
    struct dial dial;
    struct contacts *owner;
};

/* peers.yaml, replaced atomically through the ring. */
enum { STORE_PATH = CONFIG_PATH_MAX + 32 };
struct store {
    struct io_op op;
    struct iovec iov;
    char path[STORE_PATH], temporary[STORE_PATH], dir[STORE_PATH];
    char *text;
    size_t len, written;
    io_handle file;
    int err;
    enum {
        STORE_IDLE,
        STORE_OPEN,
        STORE_WRITE,
        STORE_SYNC,
        STORE_CLOSE,
        STORE_RENAME,
        STORE_OPEN_DIR,
        STORE_SYNC_DIR,
        STORE_CLOSE_DIR
    } step;
    struct list waiting, saving; /* control_request */
};

struct reload; /* reload.h */

struct contacts {
    struct shard *shard;
    struct map by_id;
    struct list all;
    uint32_t entries;
    uint32_t wanted_count; /* of all contacts */
    uint32_t wishes;       /* the number of the last one: no two have the same */
    struct guard guard;
    struct store store;
    struct key_log *key_log; /* NULL: keys stay where they are */
    struct reload *reload;
    struct timer request_timer, publish_timer;
    struct list requests;  /* control_request waiting for a peer, by deadline scan */
    struct list refusals;  /* answers that are due in the next turn */
    uint32_t next_id;      /* of publishers and lists */
    struct map publishers; /* id -> struct publisher */
    struct list publisher_list;
    struct list lists;       /* struct listing */
    struct list scrapes;     /* struct metrics_scrape */
    struct list woken_tails; /* struct tail: a step is due */
    enum stop_phase phase;
    uint32_t phase_waiting;
    struct timer stop_timer;
    uint64_t stop_since, phase_since, stop_deadline;
};

int contacts_init(struct shard *, struct config_error *);
void contacts_deinit(struct shard *);
/* What other shards, or the socket, tell shard 0. */
void contacts_on_handshake(struct shard *, struct cspan datagram, const struct io_addr *from);
void contacts_on_peer_state(struct shard *, unsigned home, const struct msg_peer_state *);
void contacts_on_redial(struct shard *, uint64_t node_id);
void contacts_on_subscribed(struct shard *, const struct msg_subscribed *);
void contacts_on_follow_lag(struct shard *, const struct msg_follow_lag *);
void contacts_on_published(struct shard *, const struct msg_published *);
void contacts_on_list_row(struct shard *, uint64_t request, const void *body);
void contacts_on_list_end(struct shard *, uint64_t request);
void contacts_on_stopped(struct shard *, unsigned from, enum stop_phase);

struct contact *contact_find(struct contacts *, uint64_t node_id);
struct contact *contact_get(struct contacts *, uint64_t node_id, int *err); /* creates; NULL with *err: limit, memory */
struct contact *contact_by_name(struct contacts *, const char *name);
void contact_remove(struct contacts *, struct contact *);
bool contact_is_compat(const struct contact *);
/* security.ciphers (X6): may a session have the cipher that follows from these features? */
bool cipher_allowed(const struct node *, uint64_t features);
void contact_session(struct contact *, const struct session_params *, const struct io_addr *, bool relayed,
                     uint64_t rtt_ns);
void contact_offer(struct contact *, struct handshake_offer *);

/* dial.c */
void dial_init(struct contact *);
void dial_start(struct contact *);
void dial_stop(struct contact *);
bool dial_on_datagram(struct contacts *, struct cspan datagram,
                      const struct io_addr *from); /* true: it was a msg2 of ours */
bool dial_has_precedence(const struct contact *);  /* simultaneous open: ours goes on, the other's is not answered */
/* answer.c */
void answer_on_datagram(struct contacts *, struct cspan datagram, const struct io_addr *from);
void send_handshake(struct shard *, const struct io_addr *to, const uint8_t *datagram, size_t len);

/* peers_store.c */
void store_init(struct contacts *);
void store_save(struct contacts *, struct control_request *); /* requests.c goes on in request_saved() */
bool store_busy(const struct contacts *);
/* requests.c */
void request_saved(struct contacts *, struct control_request *, int err, const char *why);
void request_answered(struct contacts *, struct wanted *, const struct msg_subscribed *);
void requests_init(struct contacts *);
void requests_deinit(struct contacts *); /* nobody is answered any more */
void requests_abort(struct contacts *);
/* Finds or makes it. NET_ERR_EXISTS (another channel of that peer has its stream), NET_ERR_NO_MEMORY; *out is set only
 * on success. */
int wanted_add(struct contact *, const struct subscribe_ask *, struct wanted **out);
void wanted_free(struct wanted *);
void wanted_tell_home(struct wanted *, bool on);
/* tail.c */
void tails_wake(struct contacts *); /* once a turn */
/* stop.c */
timer_fn stop_on_timer;
/* publisher.c */
timer_fn publishers_on_timer;
void publishers_retry(struct contacts *); /* once a turn */
void publishers_wake(struct contacts *);
void publishers_end_idle(struct contacts *); /* a stop: those that wait for no answer get theirs */

#endif
