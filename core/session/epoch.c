#include "core/session/epoch_internal.h"

#include "core/base/err.h"

static uint64_t epoch_of(const struct session *s, uint64_t counter)
{
    return s->p.features & FEATURE_EPOCHS ? counter >> SESSION_EPOCH_SHIFT : 0;
}

static void drop(struct crypto *c, struct aead **a)
{
    aead_free(c, *a);
    *a = NULL;
}

static struct aead *warm(const struct session *s, struct crypto *c, struct aead **a, const uint8_t key[32])
{
    if (!*a)
        *a = aead_new(c, s->suite, key);
    return *a;
}

void session_next_epoch_key(struct crypto *c, uint8_t key[32], uint64_t next_epoch)
{
    uint8_t label[22] = "net-mesh epoch"; /* 14 characters, then LE64(next_epoch) */
    store_le64(label + 14, next_epoch);
    struct cspan part = {label, sizeof label};
    blake2s(c, key, 32, &part, 1, key);
}

struct aead *epoch_tx(struct session *s, struct crypto *c, uint64_t counter)
{
    while (s->tx_epoch < epoch_of(s, counter)) {
        drop(c, &s->tx_aead);
        session_next_epoch_key(c, s->p.tx_key, ++s->tx_epoch);
    }
    return warm(s, c, &s->tx_aead, s->p.tx_key);
}

int epoch_rx(struct session *s, struct crypto *c, uint64_t counter, struct aead **out)
{
    uint64_t epoch = epoch_of(s, counter);
    if (epoch == s->rx_epoch) {
        *out = warm(s, c, &s->rx_aead, s->p.rx_key);
    } else if (epoch == s->rx_epoch + 1) {
        if (!s->rx_next_valid) {
            memcpy(s->rx_next_key, s->p.rx_key, 32);
            session_next_epoch_key(c, s->rx_next_key, epoch);
            s->rx_next_valid = true;
        }
        *out = warm(s, c, &s->rx_next_aead, s->rx_next_key);
    } else if (epoch + 1 == s->rx_epoch && s->rx_previous_valid) {
        *out = warm(s, c, &s->rx_previous_aead, s->rx_previous_key);
    } else {
        return NET_ERR_REPLAY;
    }
    return *out ? NET_OK : NET_ERR_NO_MEMORY;
}

static void forget_previous(struct session *s, struct crypto *c)
{
    drop(c, &s->rx_previous_aead);
    secure_wipe(s->rx_previous_key, sizeof s->rx_previous_key);
    s->rx_previous_valid = false;
}

static void advance(struct session *s, struct crypto *c)
{
    forget_previous(s, c);
    memcpy(s->rx_previous_key, s->p.rx_key, 32);
    memcpy(s->p.rx_key, s->rx_next_key, 32);
    secure_wipe(s->rx_next_key, sizeof s->rx_next_key);
    s->rx_previous_aead = s->rx_aead;
    s->rx_aead = s->rx_next_aead;
    s->rx_next_aead = NULL;
    s->rx_previous_valid = true;
    s->rx_next_valid = false;
    s->rx_epoch++;
}

void epoch_rx_committed(struct session *s, struct crypto *c, uint64_t counter)
{
    if (epoch_of(s, counter) == s->rx_epoch + 1)
        advance(s, c);
    if (s->rx_previous_valid && s->replay.next >= (s->rx_epoch << SESSION_EPOCH_SHIFT) + REPLAY_WINDOW)
        forget_previous(s, c);
}
