/* Membership messages, subprotocol 0x0A00. channels.md 6. */
#include <assert.h>

#include "core/base/err.h"
#include "core/base/utf8.h"
#include "core/channel/channel.h"

enum { TYPE_AND_NONCE = 9, TOKEN_MAX = UINT16_MAX };

int membership_encode(const struct membership *m, uint8_t *out, size_t cap)
{
    bool subscribe = m->type == MEMBERSHIP_SUBSCRIBE;
    size_t len = TYPE_AND_NONCE + (m->type == MEMBERSHIP_ACK ? 2 : 1 + (size_t)m->channel.len);
    if (subscribe) {
        if (m->token.len > TOKEN_MAX || m->queue_group.len > QUEUE_GROUP_MAX)
            return NET_ERR_TOO_LARGE;
        len += 2 + m->token.len + (m->queue_group.len ? 1 + m->queue_group.len : 0);
    }
    if (len > cap)
        return NET_ERR_TOO_LARGE;

    out[0] = (uint8_t)m->type;
    store_le64(out + 1, m->nonce);
    out += TYPE_AND_NONCE;
    if (m->type == MEMBERSHIP_ACK) {
        out[0] = m->accepted;
        out[1] = (uint8_t)m->reason;
        return (int)len;
    }
    *out++ = m->channel.len;
    memcpy(out, m->channel.text, m->channel.len);
    out += m->channel.len;
    if (!subscribe)
        return (int)len;
    store_le16(out, (uint16_t)m->token.len);
    if (m->token.len)
        memcpy(out + 2, m->token.data, m->token.len);
    if (m->queue_group.len) { /* nothing at all for broadcast: receivers before v0.12 reject further bytes */
        out += 2 + m->token.len;
        *out++ = (uint8_t)m->queue_group.len;
        memcpy(out, m->queue_group.data, m->queue_group.len);
    }
    return (int)len;
}

/* Takes `len` bytes off the front. */
static int take(struct cspan *in, size_t len, struct cspan *out)
{
    if (len > in->len)
        return NET_ERR_TOO_LARGE;
    *out = (struct cspan){in->data, len};
    in->data += len;
    in->len -= len;
    return NET_OK;
}

/* Rule 3. */
static int decode_name(struct cspan *in, struct channel_name *out)
{
    struct cspan name;
    if (in->len == 0 || in->data[0] == 0)
        return NET_ERR_TRUNCATED;
    size_t len = in->data[0];
    *in = (struct cspan){in->data + 1, in->len - 1};
    int err = take(in, len, &name);
    if (err)
        return err;
    if (!utf8_valid(name.data, name.len))
        return NET_ERR_TRUNCATED;
    return channel_name_parse((const char *)name.data, name.len, out) ? NET_ERR_INVALID : NET_OK;
}

/* Rules 4 and 5: both fields may be missing from the end. */
static int decode_token_and_group(struct cspan in, struct membership *out)
{
    struct cspan field;
    int err;
    if (in.len == 0)
        return NET_OK;
    if (take(&in, 2, &field))
        return NET_ERR_TRUNCATED;
    if ((err = take(&in, load_le16(field.data), &out->token)))
        return err;
    if (in.len == 0)
        return NET_OK;
    take(&in, 1, &field);
    if ((err = take(&in, field.data[0], &out->queue_group)))
        return err;
    return utf8_valid(out->queue_group.data, out->queue_group.len) && in.len == 0 ? NET_OK : NET_ERR_TRUNCATED;
}

static int decode_ack(struct cspan in, struct membership *out)
{
    if (in.len < 2)
        return NET_ERR_TRUNCATED;
    if (in.data[0] > 1 || in.data[1] > REASON_TOO_MANY_CHANNELS)
        return NET_ERR_FORMAT;
    out->accepted = in.data[0] == 1;
    out->reason = (enum membership_reason)in.data[1];
    return in.len == 2 ? NET_OK : NET_ERR_TRUNCATED;
}

int membership_decode(struct cspan event, struct membership *out)
{
    *out = (struct membership){0};
    if (event.len == 0)
        return NET_ERR_TRUNCATED;
    if (event.data[0] > MEMBERSHIP_ACK)
        return NET_ERR_FORMAT;
    if (event.len < TYPE_AND_NONCE)
        return NET_ERR_TRUNCATED;
    out->type = (enum membership_type)event.data[0];
    out->nonce = load_le64(event.data + 1);
    struct cspan rest = {event.data + TYPE_AND_NONCE, event.len - TYPE_AND_NONCE};
    if (out->type == MEMBERSHIP_ACK)
        return decode_ack(rest, out);
    int err = decode_name(&rest, &out->channel);
    if (err)
        return err;
    if (out->type == MEMBERSHIP_UNSUBSCRIBE)
        return rest.len == 0 ? NET_OK : NET_ERR_TRUNCATED;
    return decode_token_and_group(rest, out);
}

const char *membership_reason_text(enum membership_reason reason)
{
    static const char *const texts[] = {
        [REASON_NONE] = "no reason given",
        [REASON_UNAUTHORIZED] = "not authorized",
        [REASON_UNKNOWN_CHANNEL] = "unknown channel",
        [REASON_RATE_LIMITED] = "too many refused attempts, try again later",
        [REASON_TOO_MANY_CHANNELS] = "too many channels",
    };
    assert((size_t)reason < sizeof texts / sizeof texts[0]);
    return texts[reason];
}
