/*
 * security.key_log: the keys of sessions in a file, for whoever must look into captured packets
 * (deploy/wireshark). Shard 0 adds two lines a handshake, one for each direction:
 *
 *     NETMESH_SESSION id=0x<16 hex> from=0x<16 hex> to=0x<16 hex> cipher=<aes-256-gcm|chacha20-poly1305>
 *                     epochs=<yes|no> key=<64 hex>                                            (one line)
 *
 * `id` is the session id packets of that direction carry; the nonce's prefix follows from it (wire.md 3.2). `key` is
 * that of epoch 0, from which the later ones follow (extensions X6).
 */
#ifndef NM_SHARDS_NODE_KEY_LOG_H
#define NM_SHARDS_NODE_KEY_LOG_H

#include "core/io/io.h"
#include "core/session/session.h"
#include "shards/config/config.h"

struct key_log;

/* The path is copied. NULL: no memory. */
struct key_log *key_log_new(struct io *, const char *path);
/* What is not written yet is lost; nothing may be pending. NULL is fine. */
void key_log_free(struct key_log *);
/* Appends the lines of a session; they are written soon, the file being opened anew each time, so that it may be moved
 * away. False: there was no room, or an earlier write failed; then the session is missing in the file. */
bool key_log_add(struct key_log *, uint64_t self_id, const struct session_params *);
bool key_log_busy(const struct key_log *); /* a write is under way; NULL: never */

#endif
