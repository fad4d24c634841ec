#include "core/session/session.h"

#include <assert.h>

#include "core/base/err.h"
#include "core/session/epoch_internal.h"

#define FAILURES_BEFORE_REKEY (UINT64_C(1) << 35) /* X1: half of the integrity limit in RFC 9001 6.6 */
#define COUNTERS_BEFORE_REKEY (UINT64_C(1) << 40) /* left at the end of a direction: hours at any rate there is */

/* The first counter that may not be used: nonces must not run out (session.md 9), nor epochs (X1). */
static uint64_t counter_limit(const struct session *s)
{
    return session_secure(s) ? UINT64_C(1) << SESSION_COUNTER_BITS : UINT64_MAX;
}

void session_init(struct session *s, const struct session_params *p)
{
    assert(!(p->features & FEATURE_AES_GCM) || (p->features & FEATURE_EPOCHS));
    assert(!(p->features & FEATURE_EPOCHS) || (p->features & FEATURE_SECURE));
    *s = (struct session){.p = *p};
    s->suite = p->features & FEATURE_AES_GCM ? AEAD_AES_256_GCM : AEAD_CHACHA20_POLY1305;
    replay_init(&s->replay);
}

void session_cool(struct session *s, struct crypto *c)
{
    struct aead **all[] = {&s->tx_aead, &s->rx_aead, &s->rx_previous_aead, &s->rx_next_aead};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        aead_free(c, *all[i]);
        *all[i] = NULL;
    }
}

void session_deinit(struct session *s, struct crypto *c)
{
    session_cool(s, c);
    secure_wipe(s, sizeof *s);
}

int session_seal(struct session *s, struct crypto *c, struct wire_header *h, uint8_t *packet)
{
    uint8_t nonce[WIRE_NONCE], aad[WIRE_AAD];
    assert(h->payload_len <= WIRE_MAX_PLAINTEXT);
    if (s->tx_counter >= counter_limit(s))
        return NET_ERR_LIMIT;
    struct aead *a = epoch_tx(s, c, s->tx_counter);
    if (!a)
        return NET_ERR_NO_MEMORY;
    h->session_id = s->p.tx_id;
    h->counter = s->tx_counter++;
    wire_nonce(h->session_id, h->counter, nonce);
    memcpy(h->nonce_prefix, nonce, sizeof h->nonce_prefix);
    wire_header_encode(h, packet);
    wire_aad(packet, aad);
    uint8_t *text = packet + WIRE_HEADER;
    aead_seal(a, nonce, aad, sizeof aad, text, text, h->payload_len, text + h->payload_len);
    s->tx_bytes += WIRE_OVERHEAD + h->payload_len;
    return NET_OK;
}

int session_open(struct session *s, struct crypto *c, const struct wire_header *h, uint8_t *packet, size_t len)
{
    uint8_t nonce[WIRE_NONCE], aad[WIRE_AAD];
    struct aead *a;
    if (!wire_length_ok(h, len))
        return NET_ERR_FORMAT;
    if (h->counter >= counter_limit(s) || !replay_check(&s->replay, h->counter, !session_secure(s)))
        return NET_ERR_REPLAY;
    int err = epoch_rx(s, c, h->counter, &a);
    if (err)
        return err;
    wire_nonce(s->p.rx_id, h->counter, nonce);
    wire_aad(packet, aad);
    uint8_t *text = packet + WIRE_HEADER;
    if (!aead_open(a, nonce, aad, sizeof aad, text, text, h->payload_len, text + h->payload_len)) {
        s->open_failures++;
        return NET_ERR_AUTH;
    }
    if (!replay_commit(&s->replay, h->counter))
        return NET_ERR_REPLAY;
    epoch_rx_committed(s, c, h->counter);
    s->rx_packets++;
    s->rx_bytes += WIRE_OVERHEAD + h->payload_len;
    return NET_OK;
}

bool session_wants_rekey(const struct session *s)
{
    uint64_t soon = counter_limit(s) - COUNTERS_BEFORE_REKEY;
    return s->tx_counter >= soon || s->replay.next >= soon || s->open_failures >= FAILURES_BEFORE_REKEY;
}
