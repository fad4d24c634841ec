/* Sending: a fixed pool of buffers per shard, each one datagram or one GSO batch for one address. */
#ifndef NM_SHARDS_NODE_TRANSMIT_H
#define NM_SHARDS_NODE_TRANSMIT_H

#include "core/wire/wire.h"
#include "shards/node/shard.h"

struct peer;

struct tx_buffer {
    struct list link; /* free list, or blocked list */
    struct io_op op;
    struct iovec iov;
    struct shard *shard;
    uint32_t size; /* bytes at data */
    uint32_t packets;
    int64_t held; /* receive buffer this one sends from (relay), or -1 */
    uint8_t *data;
};

int transmit_init(struct shard *); /* NET_OK, NET_ERR_NO_MEMORY */
void transmit_deinit(struct shard *);
/* A large buffer takes a GSO batch, a small one a datagram of the usual path. NULL: all are in flight; the shard is
 * turned again when one comes back. The buffer goes to transmit_send() or transmit_release(). */
struct tx_buffer *transmit_get(struct shard *, bool large);
/* Sends `len` bytes as datagrams of `segment` bytes, the last one shorter; 0: one datagram. Fire and forget. */
void transmit_send(struct shard *, struct tx_buffer *, const struct io_addr *to, size_t len, size_t segment,
                   uint32_t packets);
void transmit_release(struct shard *, struct tx_buffer *);
void transmit_retry(struct shard *); /* once a turn: what the socket had no room for */
/* Seals one packet standing at `at` (space for the routing header included when routed); its full length, 0 on
 * failure. wire.md 3.5, 4. */
size_t transmit_seal(struct peer *, struct session *, struct wire_header *, uint8_t *at);

#endif
