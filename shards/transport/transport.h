/*
 * What the streams of a peer share: acknowledgements, loss recovery, congestion control and pacing of the session in
 * use (extensions X2), and whose turn it is to send. Towards a peer without X2 nothing of it acts but the turns.
 */
#ifndef NM_SHARDS_NODE_TRANSPORT_H
#define NM_SHARDS_NODE_TRANSPORT_H

#include "core/stream/ack.h"
#include "core/stream/recovery.h"
#include "core/stream/schedule.h"
#include "core/wire/wire.h"

struct peer;

enum { FRAME_ACK = 2 }; /* frag_flags bit 1: the first event frame is an acknowledgement (X2.3) */

enum pull_result {
    PULL_IDLE,     /* nothing more to send, until it is woken */
    PULL_MORE,     /* its allowance is used up, or it may not send now */
    PULL_NO_BUFFER /* all transmit buffers are in flight */
};

/* What sends packets of a peer by turns with the others: a live cursor, a reliable stream. Embedded in it. */
struct sender {
    struct flow flow;
    bool reliable;
    /* Sends at most one batch, `allowance` bytes as far as packets go, while transport_may_send(); *spent is what it
     * sent. */
    enum pull_result (*pull)(struct sender *, uint64_t allowance, uint64_t *spent);
};

struct transport {
    struct recovery recovery;
    struct ack_state acks;
    struct schedule schedule;
    uint32_t reliable_waiting; /* reliable senders in the schedule */
    uint32_t probes;           /* packets to be sent whatever congestion control says */
};

void transport_init(struct peer *);
void transport_deinit(struct peer *); /* its streams are gone */
/* `current` is a new session: what is in flight under the one before is lost. */
void transport_on_session(struct peer *);
void transport_on_path(struct peer *); /* it is reached at another host's address, or in another way */

bool transport_acknowledges(const struct peer *); /* X2 is on */
/*
 * May one more packet that is acknowledged leave now? Fire-and-forget waits for the pacer only, unless reliable traffic
 * waits too: then both share what congestion control allows, by their turns, and neither starves the other.
 */
bool transport_may_send(struct peer *);
/* Would on_lost be told of one more packet? Not where the most are in flight, or memory is out. True towards a peer
 * without X2, of whom nobody hears what is lost: what goes there is repaired otherwise. */
bool transport_notices_loss(struct peer *);
/* Seals a packet under the session in use (transmit_seal) and records it; `how` says what it is, see recovery.h. 0 also
 * where what is kept cannot be recorded. */
size_t transport_seal(struct peer *, struct wire_header *, const struct sent *how, uint8_t *at);

void transport_on_packet(struct peer *, const struct wire_header *, bool eliciting); /* it has its place */
void transport_on_ack(struct peer *, struct cspan block);                            /* of the session in use */

void sender_init(struct sender *, uint8_t weight, bool priority, bool reliable,
                 enum pull_result (*pull)(struct sender *, uint64_t, uint64_t *));
void sender_wake(struct peer *, struct sender *); /* it has something to send */
void sender_sleep(struct peer *, struct sender *);
bool transport_pull(struct peer *); /* the senders, as far as a fair share of the turn goes; true: there is more */

uint64_t transport_deadline(const struct peer *);
void transport_tick(struct peer *, uint64_t now);

#endif
