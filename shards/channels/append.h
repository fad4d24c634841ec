/*
 * Acknowledged append between nodes (extensions.md X8; bytes in core/channel/append.h).
 *
 * The producer's side keeps an append on the home shard of the peer until the answer comes, and sends it again when the
 * peer has lost its state. The log's side takes it on the home shard of the producer's node, appends it on the shard
 * that owns the channel, and answers when it is stored; what it was asked before it answers as before.
 */
#ifndef NM_SHARDS_NODE_APPEND_H
#define NM_SHARDS_NODE_APPEND_H

#include "shards/logs/log.h"
#include "shards/peers/peer.h"

/* ---- append_producer.c: of this node's publishers, on the home shard of the peer ---- */

void append_on_submit(struct shard *, const struct msg_append_submit *, struct cspan frames);
void append_on_cancel(struct shard *, const struct msg_append_cancel *);
packet_handler append_on_answers;               /* 0x0A12 */
void append_producer_on_session(struct peer *); /* a new one: what waits for it goes on */
void append_producer_free(struct peer *);       /* the peer is forgotten */

/* ---- append_taker.c: of the peer's producers, on the home shard of the peer ---- */

packet_handler append_on_requests; /* 0x0A11 */
void append_on_appended(struct shard *, const struct msg_appended *);
void append_taker_on_session(struct peer *);
void append_taker_free(struct peer *);

/* ---- append_owner.c: on the shard that owns the channel ---- */

void append_on_message(struct shard *, unsigned from, const struct msg_append *, struct cspan frames);
int append_open(struct log *);              /* reads what is known of its producers. net_err */
void append_on_progress(struct log *);      /* answers what is stored, appends what found no room */
bool append_is_waiting(const struct log *); /* for room */
void append_deinit(struct log *);           /* answers nobody */
void append_spare_free(struct shard *);

#endif
