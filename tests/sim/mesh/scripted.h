/*
 * A peer whose every packet a test decides: core/session makes its handshakes and seals and opens its packets, nothing
 * else happens by itself. For what a well-behaved node never sends, and for looking at what one sends.
 */
#ifndef NM_TESTS_SIM_SCRIPTED_H
#define NM_TESTS_SIM_SCRIPTED_H

#include "core/channel/channel.h"
#include "core/session/handshake.h"
#include "tests/sim/mesh/sim_node.h"

enum { SCRIPTED_MAX_HEARD = 4096 };

/* A packet that opened under the session. */
struct heard {
    struct wire_header header;
    struct wire_route route; /* when routed */
    bool routed;
    size_t datagram_len, text_len;
    uint8_t *text;
    uint64_t at;
};

struct scripted {
    struct mesh *mesh;
    struct mesh_node *node; /* the one it talks to */
    bool compat;            /* plays v0.19.0 */
    struct sim_host *host;
    struct io *io;
    struct io_op recv;
    struct crypto *crypto;
    struct identity identity;
    struct handshake_local local;
    struct handshake_offer offer; /* of the next handshake; receive_id is drawn anew for each */
    struct handshake attempt;
    struct session session;
    bool has_session;
    bool dialling; /* the msg2 that comes begins the session */
    bool answers;  /* a node's msg1 is answered at once */

    struct heard heard[SCRIPTED_MAX_HEARD];
    size_t heard_count;
    unsigned handshakes;             /* handshake datagrams that came */
    unsigned unopened;               /* other datagrams that did not open under the session */
    uint64_t msg1_at;                /* when the last handshake datagram came */
    uint8_t last[WIRE_MAX_DATAGRAM]; /* the last datagram of these two kinds, as it came */
    size_t last_len;
};

/* A machine of its own in `mesh`, for a conversation with `node`. */
void scripted_init(struct scripted *, struct mesh *, struct mesh_node *node, bool compat);
void scripted_deinit(struct scripted *);
/* Gives `node` an entry for it, before its start: with address and key, or (listen_only) inbound only. */
struct peer_entry *scripted_list(struct scripted *, bool listen_only);

/* msg1 to the node, into `out` (HANDSHAKE_MAX_DATAGRAM): made, not sent. The session begins when its msg2 comes. */
struct cspan scripted_msg1(struct scripted *, enum handshake_mode, uint8_t *out);
/* msg1 and msg2. False: not within 200 ms; then there is no session, or still the old one. */
bool scripted_dial(struct scripted *, enum handshake_mode);
/* The whole of it: dials (routed), confirms, and runs until the node's heartbeat. */
void scripted_connect(struct scripted *);
/* Makes msg2 for the node's msg1 in `last`; the session begins. Empty when it cannot be read. */
struct cspan scripted_msg2(struct scripted *, uint8_t *out);

/* Seals one packet of the session: payload_len is set from `text`. Into `out` (WIRE_MAX_DATAGRAM). */
struct cspan scripted_seal(struct scripted *, struct wire_header, struct cspan text, uint8_t *out);
/* The same, behind a routing header. */
struct cspan scripted_seal_routed(struct scripted *, struct wire_header, struct cspan text, uint8_t *out);
/* From its address to the node, whatever the links say. */
void scripted_inject(struct scripted *, struct cspan datagram);
void scripted_send(struct scripted *, struct wire_header, struct cspan text);
void scripted_heartbeat(struct scripted *);

/* A membership message as an event frame, into `out`; no token, no group. And what its packet's header must be. */
enum { MESSAGE_FRAME = 4 + MEMBERSHIP_MAX_SENT };
struct cspan message_frame(enum membership_type, const char *channel, uint64_t nonce, uint8_t out[MESSAGE_FRAME]);
extern const struct wire_header membership_header;

/* The first packet heard at or after *at that `want` says yes to; *at goes behind it. NULL: none. */
typedef bool heard_fn(const struct heard *);
const struct heard *scripted_next(const struct scripted *, size_t *at, heard_fn *want);
size_t scripted_count(const struct scripted *, size_t from, heard_fn *want);
bool heard_heartbeat(const struct heard *);
bool heard_membership(const struct heard *);
bool heard_credit(const struct heard *);
bool heard_events(const struct heard *);

/* How the node sees the peer; PEER_DOWN with *known false when it does not know it. */
enum peer_state scripted_state(struct scripted *, bool *known);
bool scripted_connected(struct scripted *);
/* netmesh_publish() of one event of `len` bytes. */
int mesh_publish_size(struct mesh_node *, const char *channel, size_t len);

#endif
