/* Which key protects which counter: extensions X6. Sessions without FEATURE_EPOCHS stay in epoch 0 for life. */
#ifndef NM_CORE_SESSION_EPOCH_INTERNAL_H
#define NM_CORE_SESSION_EPOCH_INTERNAL_H

#include "core/session/session.h"

/* The context to seal this counter with; the key of an epoch that has passed is gone. NULL: no memory. */
struct aead *epoch_tx(struct session *, struct crypto *, uint64_t counter);
/* The context to open this counter with. NET_ERR_REPLAY for an epoch that has no key, NET_ERR_NO_MEMORY. */
int epoch_rx(struct session *, struct crypto *, uint64_t counter, struct aead **);
/* The counter authenticated and is in the window: moves on to its epoch, forgets the epoch the window has left. */
void epoch_rx_committed(struct session *, struct crypto *, uint64_t counter);

#endif
