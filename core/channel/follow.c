#include "core/channel/follow.h"

#include <assert.h>

#include "core/base/err.h"

enum { NUMBER_AT = 8, LOG_AT = 16, ASK_SEQUENCE = 32, ASK_NAME = 40, END_SIZE = 16 };

static const uint8_t no_log[LOG_ID];

/* ---- control messages ---- */

static size_t encode_ask(const struct follow_message *m, uint8_t *out)
{
    out[1] = (uint8_t)m->start;
    store_le32(out + 4, m->window);
    if (m->start == FOLLOW_RESUME)
        memcpy(out + LOG_AT, m->log_id, LOG_ID);
    if (m->start >= FOLLOW_SEQUENCE)
        store_le64(out + ASK_SEQUENCE, m->sequence);
    out[ASK_NAME] = m->channel.len;
    memcpy(out + ASK_NAME + 1, m->channel.text, m->channel.len);
    return ASK_NAME + 1 + (size_t)m->channel.len;
}

static size_t encode_answer(const struct follow_message *m, uint8_t *out)
{
    out[1] = (uint8_t)m->status;
    if (m->status == FOLLOW_GRANTED || m->status == FOLLOW_OTHER_LOG)
        memcpy(out + LOG_AT, m->log_id, LOG_ID);
    store_le64(out + 32, m->first);
    store_le64(out + 40, m->next);
    if (m->status == FOLLOW_GRANTED)
        store_le64(out + 48, m->sequence);
    return FOLLOW_ANSWER_SIZE;
}

size_t follow_message_encode(const struct follow_message *m, uint8_t out[FOLLOW_MESSAGE_MAX])
{
    assert(m->number <= FOLLOW_NUMBER_MAX);
    memset(out, 0, FOLLOW_MESSAGE_MAX);
    out[0] = (uint8_t)m->type;
    store_le64(out + NUMBER_AT, m->number);
    switch (m->type) {
    case FOLLOW_ASK:
        return encode_ask(m, out);
    case FOLLOW_ANSWER:
        return encode_answer(m, out);
    case FOLLOW_END:
        break;
    }
    return END_SIZE;
}

static bool zeros(const uint8_t *bytes, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= bytes[i];
    return any == 0;
}

static int decode_ask(struct cspan in, struct follow_message *out)
{
    if (in.len <= ASK_NAME)
        return NET_ERR_TRUNCATED;
    if (in.data[1] > FOLLOW_RESUME || !zeros(in.data + 2, 2))
        return NET_ERR_FORMAT;
    out->start = (enum follow_start)in.data[1];
    out->window = load_le32(in.data + 4);
    memcpy(out->log_id, in.data + LOG_AT, LOG_ID);
    out->sequence = load_le64(in.data + ASK_SEQUENCE);
    if ((out->start != FOLLOW_RESUME && memcmp(out->log_id, no_log, LOG_ID) != 0) ||
        (out->start < FOLLOW_SEQUENCE && out->sequence != 0))
        return NET_ERR_FORMAT;
    size_t len = in.data[ASK_NAME], there = in.len - ASK_NAME - 1;
    if (there != len)
        return there < len ? NET_ERR_TRUNCATED : NET_ERR_FORMAT;
    return channel_name_parse((const char *)in.data + ASK_NAME + 1, len, &out->channel) ? NET_ERR_INVALID : NET_OK;
}

static int decode_end(struct cspan in)
{
    return in.len == END_SIZE && zeros(in.data + 1, 7) ? NET_OK : NET_ERR_FORMAT;
}

static int decode_answer(struct cspan in, struct follow_message *out)
{
    if (in.len < FOLLOW_ANSWER_SIZE)
        return NET_ERR_TRUNCATED;
    if (in.len > FOLLOW_ANSWER_SIZE || in.data[1] > FOLLOW_NOT_NOW || !zeros(in.data + 2, 6))
        return NET_ERR_FORMAT;
    out->status = (enum follow_status)in.data[1];
    memcpy(out->log_id, in.data + LOG_AT, LOG_ID);
    out->first = load_le64(in.data + 32);
    out->next = load_le64(in.data + 40);
    out->sequence = load_le64(in.data + 48);
    if (out->status != FOLLOW_GRANTED && out->sequence != 0)
        return NET_ERR_FORMAT;
    bool names_log = out->status == FOLLOW_GRANTED || out->status == FOLLOW_OTHER_LOG;
    return names_log || memcmp(out->log_id, no_log, LOG_ID) == 0 ? NET_OK : NET_ERR_FORMAT;
}

int follow_message_decode(struct cspan event, struct follow_message *out)
{
    *out = (struct follow_message){0};
    if (event.len < END_SIZE)
        return NET_ERR_TRUNCATED;
    if (event.data[0] > FOLLOW_ANSWER)
        return NET_ERR_FORMAT;
    out->type = (enum follow_type)event.data[0];
    out->number = load_le64(event.data + NUMBER_AT);
    if (out->number > FOLLOW_NUMBER_MAX)
        return NET_ERR_FORMAT;
    switch (out->type) {
    case FOLLOW_ASK:
        return decode_ask(event, out);
    case FOLLOW_ANSWER:
        return decode_answer(event, out);
    case FOLLOW_END:
        break;
    }
    return decode_end(event);
}

const char *follow_status_text(enum follow_status status)
{
    switch (status) {
    case FOLLOW_GRANTED:
        return "granted";
    case FOLLOW_WAITING:
        return "nothing was published there yet";
    case FOLLOW_NO_LOG:
        return "the channel keeps no log there";
    case FOLLOW_OTHER_LOG:
        return "the log was made anew";
    case FOLLOW_NOT_NOW:
        return "the log cannot be read now";
    default:
        return membership_reason_text((enum membership_reason)status);
    }
}

/* ---- records ---- */

static int decode_events(struct cspan in, struct follow_record *out)
{
    if (in.len < FOLLOW_EVENTS_HEAD + FOLLOW_RUN)
        return NET_ERR_TRUNCATED;
    uint32_t count = load_le32(in.data + 4);
    out->apart = in.data[1] == 1;
    out->run_count = load_le16(in.data + 2);
    out->first = load_le64(in.data + 8);
    out->next = out->first + count;
    out->runs = (struct cspan){in.data + FOLLOW_EVENTS_HEAD, in.len - FOLLOW_EVENTS_HEAD};
    if (in.data[1] > 1 || count == 0 || (out->apart && count != 1) || out->next < out->first)
        return NET_ERR_FORMAT;
    if (out->runs.len != (size_t)out->run_count * FOLLOW_RUN)
        return out->runs.len < (size_t)out->run_count * FOLLOW_RUN ? NET_ERR_TRUNCATED : NET_ERR_FORMAT;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < out->run_count; i++) {
        uint32_t n = follow_run_count(out->runs.data + (size_t)i * FOLLOW_RUN);
        if (n == 0)
            return NET_ERR_FORMAT;
        sum += n;
    }
    return sum == count ? NET_OK : NET_ERR_FORMAT;
}

int follow_record_decode(struct cspan frame, struct follow_record *out)
{
    *out = (struct follow_record){0};
    if (frame.len < FOLLOW_RECORD_SHORT)
        return NET_ERR_TRUNCATED;
    if (frame.data[0] > FOLLOW_POSITION)
        return NET_ERR_FORMAT;
    out->type = (enum follow_record_type)frame.data[0];
    if (out->type == FOLLOW_EVENTS)
        return decode_events(frame, out);
    bool gap = out->type == FOLLOW_GAP;
    if (frame.len > FOLLOW_RECORD_SHORT || frame.data[1] > (gap ? FOLLOW_HOLE : 0) || !zeros(frame.data + 2, 6))
        return NET_ERR_FORMAT;
    out->why = (enum follow_gap_why)frame.data[1];
    out->first = load_le64(frame.data + 8);
    out->next = load_le64(frame.data + 16);
    return out->first < out->next || (!gap && out->first == out->next) ? NET_OK : NET_ERR_FORMAT;
}

void follow_record_encode(const struct follow_record *r, uint8_t out[FOLLOW_RECORD_SHORT])
{
    assert(r->type != FOLLOW_EVENTS);
    memset(out, 0, FOLLOW_RECORD_SHORT);
    out[0] = (uint8_t)r->type;
    out[1] = r->type == FOLLOW_GAP ? (uint8_t)r->why : 0;
    store_le64(out + 8, r->first);
    store_le64(out + 16, r->next);
}

void follow_events_encode(uint64_t first, uint32_t count, uint16_t runs, bool apart, uint8_t out[FOLLOW_EVENTS_HEAD])
{
    out[0] = FOLLOW_EVENTS;
    out[1] = apart;
    store_le16(out + 2, runs);
    store_le32(out + 4, count);
    store_le64(out + 8, first);
}
