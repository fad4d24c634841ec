/* APPEND and its answer. extensions.md X8; the bytes are in append.h. */
#include "core/channel/append.h"
#include "core/base/err.h"

enum { FLAG_DURABLE = 1 };

int append_encode(const struct append *a, uint8_t *out, size_t cap)
{
    size_t head = APPEND_HEAD + (size_t)a->channel.len;
    if (head > cap || a->frames.len > cap - head)
        return NET_ERR_TOO_LARGE;
    out[0] = a->durable ? FLAG_DURABLE : 0;
    out[1] = a->channel.len;
    store_le16(out + 2, 0);
    store_le32(out + 4, a->count);
    memcpy(out + 8, a->producer, PRODUCER_ID_SIZE);
    store_le64(out + 24, a->sequence);
    memcpy(out + APPEND_HEAD, a->channel.text, a->channel.len);
    if (a->frames.len)
        memcpy(out + head, a->frames.data, a->frames.len);
    return (int)(head + a->frames.len);
}

static bool frames_fill(struct cspan frames, uint32_t count)
{
    struct wire_frames f = wire_frames(frames, count);
    struct cspan event;
    while (wire_frames_next(&f, &event))
        ;
    return f.left == 0 && f.rest.len == 0;
}

int append_decode(struct cspan event, struct append *out)
{
    const uint8_t *p = event.data;
    if (event.len < APPEND_HEAD)
        return NET_ERR_TRUNCATED;
    if ((p[0] & ~FLAG_DURABLE) != 0 || load_le16(p + 2) != 0)
        return NET_ERR_FORMAT;
    size_t head = APPEND_HEAD + (size_t)p[1];
    if (event.len < head)
        return NET_ERR_TRUNCATED;
    if (channel_name_parse((const char *)p + APPEND_HEAD, p[1], &out->channel) != CHANNEL_NAME_OK)
        return NET_ERR_INVALID;
    out->durable = p[0] == FLAG_DURABLE;
    out->count = load_le32(p + 4);
    memcpy(out->producer, p + 8, PRODUCER_ID_SIZE);
    out->sequence = load_le64(p + 24);
    out->frames = (struct cspan){p + head, event.len - head};
    return frames_fill(out->frames, out->count) ? NET_OK : NET_ERR_FORMAT;
}

void append_answer_encode(const struct append_answer *a, uint8_t out[APPEND_ANSWER_SIZE])
{
    memcpy(out, a->producer, PRODUCER_ID_SIZE);
    store_le64(out + 16, a->sequence);
    store_le64(out + 24, a->channel_hash);
    store_le64(out + 32, a->first_seq);
    store_le32(out + 40, a->count);
    store_le32(out + 44, a->status);
}

int append_answer_decode(struct cspan event, struct append_answer *out)
{
    const uint8_t *p = event.data;
    if (event.len < APPEND_ANSWER_SIZE)
        return NET_ERR_TRUNCATED;
    if (event.len > APPEND_ANSWER_SIZE || load_le32(p + 44) > UINT8_MAX)
        return NET_ERR_FORMAT;
    memcpy(out->producer, p, PRODUCER_ID_SIZE);
    out->sequence = load_le64(p + 16);
    out->channel_hash = load_le64(p + 24);
    out->first_seq = load_le64(p + 32);
    out->count = load_le32(p + 40);
    out->status = p[44];
    return out->status == APPEND_STORED || (out->first_seq == 0 && out->count == 0) ? NET_OK : NET_ERR_FORMAT;
}

static const int errors[] = {
    [APPEND_STORED] = NET_OK,
    [APPEND_REFUSED] = NET_ERR_POLICY,
    [APPEND_TOO_OLD] = NET_ERR_REPLAY,
    [APPEND_GAP] = NET_ERR_STATE,
    [APPEND_CONFLICT] = NET_ERR_EXISTS,
    [APPEND_TOO_LARGE] = NET_ERR_TOO_LARGE,
    [APPEND_LIMIT] = NET_ERR_LIMIT,
    [APPEND_FULL] = NET_ERR_FULL,
    [APPEND_NO_SPACE] = NET_ERR_NO_SPACE,
    [APPEND_IO] = NET_ERR_IO,
    [APPEND_POISONED] = NET_ERR_POISONED,
    [APPEND_BAD_CHANNEL] = NET_ERR_INVALID,
    [APPEND_NO_MEMORY] = NET_ERR_NO_MEMORY,
};
enum { STATUSES = sizeof errors / sizeof errors[0] };

enum append_status append_status_of(int err)
{
    for (unsigned status = 0; status < STATUSES; status++)
        if (errors[status] == err)
            return (enum append_status)status;
    return APPEND_IO;
}

int append_status_err(uint8_t status)
{
    return status < STATUSES ? errors[status] : NET_ERR_IO;
}
