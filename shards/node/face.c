/* The part of netmesh.h that hooks call, on their shard. */
#include <string.h>

#include "core/base/err.h"
#include "core/wire/wire.h"
#include "shards/logs/log.h"

unsigned netmesh_owner(const struct netmesh_shard *face, const char *channel)
{
    return log_owner(face->shard->node, channel_hash(channel, strlen(channel)));
}

enum { PUBLISH_BYTES_MAX = 60000 };

/* What the admin port's framer sees to for its clients: a batch of ordinary size, or one event within the limit. */
static int check_events(const struct config *c, struct cspan frames, uint32_t count)
{
    struct wire_frames walk = wire_frames(frames, count);
    struct cspan event;
    if ((count != 1 && frames.len > PUBLISH_BYTES_MAX) || count > WIRE_MAX_EVENTS)
        return NET_ERR_TOO_LARGE;
    while (wire_frames_next(&walk, &event))
        if (event.len > c->event_bytes)
            return NET_ERR_TOO_LARGE;
    return walk.left == 0 && walk.rest.len == 0 ? NET_OK : NET_ERR_FORMAT;
}

int netmesh_publish(struct netmesh_shard *face, const char *channel, const uint8_t *frames, size_t len, uint32_t count)
{
    struct shard *s = face->shard;
    struct channel_name name;
    struct log *log;
    uint64_t first;
    struct log_key key;
    int err = channel_name_parse(channel, strlen(channel), &name) == CHANNEL_NAME_OK ? NET_OK : NET_ERR_INVALID;
    if (!err) {
        key = (struct log_key){0, channel_hash(name.text, name.len), 0};
        err = log_owner(s->node, key.hash) == s->index ? check_events(s->config, (struct cspan){frames, len}, count)
                                                       : NET_ERR_INVALID;
    }
    if (!err)
        err = log_open(s, key, &name, &log);
    if (!err)
        err = log_append(log, (struct cspan){frames, len}, count, &first);
    if (err) {
        if (err != NET_ERR_AGAIN)
            metrics_publish_failed(s, err);
        return err;
    }
    log_on_hook_publish(log, first, count);
    COUNT_N(s, published_events, count);
    COUNT_N(s, published_bytes, len - 4 * (size_t)count);
    return NET_OK;
}
