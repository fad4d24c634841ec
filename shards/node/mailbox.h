/*
 * Messages to other shards (and to oneself), by the rings of the node. A message is `kind`, `aux`, `arg` and a body of
 * plain data, copied; messages.h says which kinds there are. All of one sender arrive in order.
 */
#ifndef NM_SHARDS_NODE_MAILBOX_H
#define NM_SHARDS_NODE_MAILBOX_H

#include "shards/node/shard.h"

/* Waits for room if it must: for what may not be lost and is bounded by what it speaks of (peers, logs, requests). */
void mailbox_send(struct shard *, unsigned to, enum message_kind, uint16_t aux, uint64_t arg, const void *body,
                  size_t len);
/* For what may be lost, or comes again: false when there is no room. `tail` is appended to the body. */
bool mailbox_try(struct shard *, unsigned to, enum message_kind, uint16_t aux, uint64_t arg, const void *body,
                 size_t len, const void *tail, size_t tail_len);
/* As mailbox_try(), for a tail that is larger than what is copied (MAILBOX_COPIED bytes): it is of malloc() and the
 * message's from then on, freed when that was handled. False, and it stays the caller's, also while more than
 * MAILBOX_REFERENCED bytes are on their way to that shard. */
enum { MAILBOX_COPIED = 60000, MAILBOX_REFERENCED = 64 << 20 };
bool mailbox_give(struct shard *, unsigned to, enum message_kind, uint64_t arg, const void *body, size_t len,
                  uint8_t *tail, size_t tail_len);
/* To write a body in place: room for `len` bytes, or NULL; then as many of them as it became. */
struct spsc_record *mailbox_reserve(struct shard *, unsigned to, size_t len);
void mailbox_commit(struct shard *, unsigned to, struct spsc_record *, size_t len);
size_t mailbox_room(struct shard *, unsigned to); /* bytes of the longest body that would be taken now */

/* What follows the `body` bytes of one that arrived, wherever it stands. */
struct cspan mailbox_tail(const struct spsc_record *, size_t body);
void mailbox_drop(struct spsc_record *); /* frees what it refers to: of a message that nobody will handle */

void mailbox_drain(struct shard *);   /* handles what arrived */
void mailbox_flush(struct shard *);   /* end of a turn: parked messages, then doorbells */
void mailbox_discard(struct shard *); /* frees what is parked */

/* messages.c: handles one; its body may be changed in place */
void shard_on_message(struct shard *, unsigned from, struct spsc_record *);

#endif
