/*
 * A session fed by a hostile path: the input is a list of actions on packets that were really sealed (deliver, deliver
 * twice, damage, cut, jump ahead in counters) and of raw bytes. What opens is what was sealed, and opens once.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/session/session.h"

static struct crypto *crypto;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    int err = crypto_init(&crypto, NULL);
    assert(err == NET_OK);
    return 0;
}

static void make(struct session *from, struct session *to, uint8_t kind)
{
    const uint64_t features[] = {0, FEATURE_SECURE, FEATURE_SECURE | FEATURE_EPOCHS,
                                 FEATURE_SECURE | FEATURE_EPOCHS | FEATURE_AES_GCM};
    struct session_params p = {.rx_id = 9, .tx_id = 9, .features = features[kind & 3], .tx_key = {1}, .rx_key = {1}};
    session_init(from, &p);
    session_init(to, &p);
}

static int deliver(struct session *to, const uint8_t *bytes, size_t len, uint64_t *counter)
{
    static uint8_t copy[WIRE_MAX_DATAGRAM];
    struct wire_header h;
    if (len > sizeof copy)
        return NET_ERR_TOO_LARGE;
    memcpy(copy, bytes, len);
    int err = wire_header_decode((struct cspan){copy, len}, &h);
    if (err)
        return err;
    *counter = h.counter;
    err = session_open(to, crypto, &h, copy, len);
    for (size_t i = 0; !err && i < h.payload_len; i++)
        assert(copy[WIRE_HEADER + i] == (uint8_t)(h.counter + i));
    return err;
}

/* One packet, its text a function of its counter, and what happens to it on the way. */
static void act(struct session *from, struct session *to, uint8_t action, uint8_t amount)
{
    static uint8_t packet[WIRE_MAX_PACKET];
    struct wire_header h = {.payload_len = amount, .event_count = 1};
    uint64_t counter;
    if (action & 0x80) /* over an epoch now and then; at most 2^13 in all */
        from->tx_counter += (uint64_t)amount << (action & 31 ? 0 : 17);
    for (size_t i = 0; i < amount; i++)
        packet[WIRE_HEADER + i] = (uint8_t)(from->tx_counter + i);
    if (session_seal(from, crypto, &h, packet) != NET_OK)
        return;
    size_t len = (size_t)WIRE_OVERHEAD + amount;
    struct replay window = to->replay;
    uint64_t epoch = to->rx_epoch;
    const unsigned damage = action >> 5 & 3;
    if (damage == 1)
        packet[16 + action % 48] ^= 0x20;
    else if (damage == 2)
        len -= action & 31;
    int err = deliver(to, packet, len, &counter);
    if (damage == 1)
        assert(err != NET_OK);
    if (err) {
        assert(memcmp(&window, &to->replay, sizeof window) == 0 && epoch == to->rx_epoch);
        return;
    }
    assert(deliver(to, packet, len, &counter) == NET_ERR_REPLAY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct session from, to;
    uint64_t counter;
    if (len < 1)
        return 0;
    make(&from, &to, data[0]);
    int err = deliver(&to, data + 1, len - 1, &counter);
    assert(err != NET_OK); /* nobody has sealed that */
    for (size_t i = 1; i + 1 < len && i < 400; i += 2)
        act(&from, &to, data[i], data[i + 1]);
    session_deinit(&from, crypto);
    session_deinit(&to, crypto);
    return 0;
}
