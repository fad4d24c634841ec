/*
 * Two nodes of ours that share a PSK, and the attempt between them: what the tests of the handshake start from.
 * Criterion runs each test in a process of its own, so one pair is enough.
 */
#ifndef NM_TESTS_SUPPORT_HANDSHAKE_PAIR_H
#define NM_TESTS_SUPPORT_HANDSHAKE_PAIR_H

#include "core/session/handshake_internal.h"

struct side {
    struct identity identity;
    struct handshake_local local;
    struct handshake_offer offer;
    uint8_t ephemeral[32];
};

struct handshake_pair {
    struct crypto *crypto;
    struct side alice, bob; /* alice dials */
    struct handshake attempt;
    struct handshake_target target;
    struct handshake_hello hello;
    struct handshake_claim claim;
    struct session_params ours, theirs; /* alice's, bob's */
    uint8_t msg1[HANDSHAKE_MAX_DATAGRAM], msg2[HANDSHAKE_MAX_DATAGRAM];
};
extern struct handshake_pair hp;

#define HP_ALL_FEATURES                                                                                                \
    ((uint64_t)(FEATURE_SECURE | FEATURE_ACK | FEATURE_CREDIT | FEATURE_RELAYED | FEATURE_EPOCHS | FEATURE_AES_GCM))

enum { NET1 = WIRE_ROUTE, GATE1 = NET1 + 32, NOISE1 = NET1 + WIRE_HEADER }; /* offsets in a routed datagram */

void hp_init(void); /* bob lacks FEATURE_CREDIT */
void hp_deinit(void);
void hp_side(struct side *, uint8_t seed_byte, uint64_t features);

struct cspan hp_dial(void);                                /* alice's msg1, in hp.msg1 */
int hp_receive(struct cspan datagram, uint64_t candidate); /* by bob: hp.hello, hp.claim */
struct cspan hp_answer(void);                              /* bob's msg2, in hp.msg2; hp.theirs */
int hp_finish(struct cspan datagram);                      /* by alice: hp.ours */
void hp_expect_fit(void);                                  /* the two sessions belong together */

/* What bob's end of Noise holds, from the primitives. */
struct expected {
    struct noise noise; /* after msg1 or msg2 */
    uint8_t h[32];      /* just before the payload */
};
void hp_follow_msg1(struct expected *, uint8_t payload[OFFER_MAX_PAYLOAD]); /* payload NULL: up to before it */
void hp_expect_gate(const uint8_t *gate, struct cspan noise);

/* A msg1 from alice with any payload, properly gated and sealed: what a hostile holder of the PSK can send. */
struct cspan hp_forge_msg1(struct cspan payload, bool routed);
/* The payload alice would send, for a test to damage; the signature is right for hp_forge_msg1(). */
size_t hp_honest_payload(const struct side *from, uint64_t node_id, enum handshake_role role, uint8_t *payload);

#endif
