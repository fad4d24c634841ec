/*
 * An established session: packet protection in both directions. wire.md 3, session.md 4 and 9, extensions X1 and X6.
 * An idle session keeps raw keys and its replay window; expanded AEAD contexts are made on first use and can be dropped
 * by session_cool().
 */
#ifndef NM_CORE_SESSION_SESSION_H
#define NM_CORE_SESSION_SESSION_H

#include "core/crypto/crypto.h"
#include "core/session/replay.h"
#include "core/wire/wire.h"

enum { /* feature bits of X0, on when both sides offered them */
       FEATURE_SECURE = 1u << 0,
       FEATURE_ACK = 1u << 1,
       FEATURE_FRAGMENT = 1u << 2,
       FEATURE_CREDIT = 1u << 3,
       FEATURE_RELAYED = 1u << 4,
       FEATURE_EPOCHS = 1u << 5,
       FEATURE_AES_GCM = 1u << 6,
       FEATURE_FOLLOW = 1u << 7,
       FEATURE_APPEND = 1u << 8,
};

enum { SESSION_EPOCH_SHIFT = 24 }; /* X6: the epoch of a counter is counter >> 24 */

/* What a handshake yields, and all a shard needs to run the session: plain data, copied between shards, then wiped. */
struct session_params {
    uint64_t peer_node_id;
    uint8_t peer_entity[32]; /* zeros for v0.19 sessions */
    uint64_t rx_id, tx_id;   /* session ids we receive and send under; the same number in v0.19 sessions */
    uint8_t rx_key[32], tx_key[32];
    uint64_t features;          /* both offered; 0 = v0.19 session */
    uint64_t peer_instance;     /* X0 INSTANCE, 0 for v0.19 */
    uint32_t peer_window;       /* bytes of credit the peer grants per stream from the start */
    uint16_t peer_max_datagram; /* bytes the peer takes in one */
    bool initiator;             /* our role */
    uint64_t handshake_name;    /* LE64(h[0..8)): a name for logs */
};

struct session {
    struct session_params p;
    enum aead_suite suite;
    struct replay replay;
    uint64_t tx_counter;                     /* next to use: as many packets were sealed */
    uint64_t tx_bytes, rx_packets, rx_bytes; /* sealed; opened; headers and tags included */
    uint64_t open_failures;                  /* packets that failed authentication, for X1's integrity limit */
    /* X6: p holds the key of the current epoch of each direction; here the previous rx key while the window reaches
     * back, and the next one on trial, derived once. Without FEATURE_EPOCHS all is epoch 0. */
    uint64_t tx_epoch, rx_epoch;
    uint8_t rx_previous_key[32], rx_next_key[32];
    bool rx_previous_valid, rx_next_valid;
    struct aead *tx_aead, *rx_aead, *rx_previous_aead, *rx_next_aead;
};

enum { SESSION_COUNTER_BITS = 48 }; /* X1: counters of a secure session stay below 2^48 */

void session_init(struct session *, const struct session_params *); /* copies; the caller wipes its copy */
void session_deinit(struct session *, struct crypto *);             /* wipes keys */
void session_cool(struct session *, struct crypto *);               /* frees expanded contexts, keeps the session */

static inline bool session_secure(const struct session *s)
{
    return (s->p.features & FEATURE_SECURE) != 0;
}

/*
 * Seals the packet whose plaintext of h->payload_len bytes already stands at packet + WIRE_HEADER. Sets session id,
 * nonce and counter, writes header and tag: the packet is WIRE_OVERHEAD + payload_len bytes.
 * NET_ERR_LIMIT when the counter is used up (2^48 between our nodes, 2^64-1 else), NET_ERR_NO_MEMORY.
 */
int session_seal(struct session *, struct crypto *, struct wire_header *h, uint8_t *packet);

/*
 * Opens a data packet or heartbeat in place. `h` is its decoded header (session id already matched). On success the
 * plaintext stands at packet + WIRE_HEADER, h->payload_len bytes.
 * NET_ERR_FORMAT (length gate), NET_ERR_REPLAY (window or epoch), NET_ERR_AUTH, NET_ERR_NO_MEMORY. On failure nothing
 * changes but open_failures, and the bytes after the header.
 */
int session_open(struct session *, struct crypto *, const struct wire_header *h, uint8_t *packet, size_t len);

/* X1: time for a new handshake because of counters or failures. */
bool session_wants_rekey(const struct session *);

/* X6: key(e+1) from key(e). In place. */
void session_next_epoch_key(struct crypto *, uint8_t key[32], uint64_t next_epoch);

#endif
