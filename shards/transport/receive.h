/* What arrives: classified (wire.md 1), relayed or opened, and handed to who deals with it. */
#ifndef NM_SHARDS_NODE_RECEIVE_H
#define NM_SHARDS_NODE_RECEIVE_H

#include "shards/node/shard.h"
#include "shards/transport/stream.h"

void receive_start(struct shard *);
/* A datagram to this node; its bytes are changed in place. `forwarded`: another shard passed it on, so it is not passed
 * on again. */
void receive_datagram(struct shard *, uint8_t *datagram, size_t len, const struct io_addr *from, bool forwarded);

/* Who deals with the packets of reliable streams, by their subprotocol: each once, before the shard runs. */
void receive_handle(struct shard *, uint16_t subprotocol, packet_handler *);
packet_handler *receive_handler(const struct shard *, uint16_t subprotocol); /* NULL: nobody */
void receive_init(struct shard *);                                           /* those of the node itself */

/* relay.c: sends `len` bytes at `offset` of the arrival on to `dest`, from the receive buffer, which is held until
 * then. False: dropped and counted. */
bool relay_forward(struct shard *, struct io_arrival *, size_t offset, size_t len, uint64_t dest);
void relay_on_route(struct shard *, const struct msg_route *);

#endif
