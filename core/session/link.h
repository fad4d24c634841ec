/*
 * The sessions two nodes have with each other over time: make before break, confirmation, heartbeats, silence. X1,
 * session.md 10 and 18. One link per peer; it decides, its owner sends: pure state and time. `now` and every moment
 * below are the shard's monotonic nanoseconds.
 */
#ifndef NM_CORE_SESSION_LINK_H
#define NM_CORE_SESSION_LINK_H

#include "core/session/session.h"

enum { LINK_CONFIRM_NS = 250000000 }; /* the initiator repeats its heartbeat until it is answered */

struct link_config {
    uint64_t heartbeat_interval_ns, session_timeout_ns, handshake_timeout_ns, rekey_interval_ns;
};

struct link_slot { /* the session is initialised while `used` */
    struct session session;
    bool used;
    uint64_t since; /* when its handshake ended */
    uint64_t until; /* when an unconfirmed or previous session is given up */
};

struct link {
    const struct link_config *config;
    uint64_t self_id, peer_id;
    struct link_slot current, next, previous;
    uint64_t current_since;
    uint64_t last_rx;             /* when anything last authenticated */
    uint64_t last_tx;             /* when anything was last sent */
    uint64_t first_unanswered_tx; /* 0: the peer answered since we last sent */
    uint64_t heartbeat_at;        /* next one under `current` */
    uint64_t confirm_at;          /* next one under `next`, initiator only; UINT64_MAX none */
    uint64_t redial_at;           /* not before: the owner was asked for a new handshake */
    bool answer;                  /* the initiator confirms the session: owe it a heartbeat */
    bool failed;                  /* silent for 3 x session_timeout */
};

/* `config` must outlive the link; the ids are node ids. */
void link_init(struct link *, const struct link_config *, uint64_t self_id, uint64_t peer_id, uint64_t now);
void link_deinit(struct link *, struct crypto *); /* wipes the keys of all sessions */

/*
 * A handshake ended. The session waits in `next` until a packet authenticates under it; a v0.19.0 session that we
 * dialled, or that replaces nothing, is in use at once. False: it lost a simultaneous open (the smaller node id stays
 * initiator). *promoted: it is in use now. The parameters are copied; the caller wipes its own.
 */
bool link_install(struct link *, struct crypto *, const struct session_params *, uint64_t now, bool *promoted);

/* The session that receives under `id`, or NULL. */
struct session *link_find(struct link *, uint64_t rx_id);

enum link_event { LINK_NOTHING, LINK_PROMOTED, LINK_RECOVERED };
/* A packet authenticated under `s` (from link_find). LINK_PROMOTED: `next` became `current`. */
enum link_event link_on_authenticated(struct link *, struct crypto *, struct session *s, uint64_t now);
/* A packet left under any of the sessions. */
void link_on_sent(struct link *, uint64_t now);
/* No stragglers: what the session before `current` carries is void. */
void link_forget_previous(struct link *, struct crypto *);

/* The session to send under, or NULL. */
struct session *link_tx(struct link *);

/* The values behind `config` have changed: what is due by them is not later than they say now. Tick by link_deadline().
 */
void link_on_config(struct link *, uint64_t now);

enum link_want { /* bits */
                 LINK_WANT_NOTHING = 0,
                 LINK_WANT_HEARTBEAT = 1, /* send one under link_tx() */
                 LINK_WANT_CONFIRM = 2,   /* send one under link->next */
                 LINK_WANT_REDIAL = 4,    /* start a handshake */
                 LINK_WANT_FAIL = 8       /* nothing came for 3 x session_timeout: the peer counts as gone */
};
/* What is due now; each is reported once per period. Drops sessions whose time is over. */
unsigned link_on_tick(struct link *, struct crypto *, uint64_t now);
uint64_t link_deadline(const struct link *); /* when to tick next; UINT64_MAX: never */
/* Nothing authenticated for three heartbeat intervals while we kept sending: hold what can wait. */
bool link_silent(const struct link *, uint64_t now);

#endif
