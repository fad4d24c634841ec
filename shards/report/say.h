/*
 * What a person should know: one line to whoever runs the node, where logging.level lets it through and its kind (told
 * by the address of its format) was not said too often (say_rate.h). For rare things only, never on the way of a packet
 * or an event. No shard ever waits for whoever reads stderr: lines go to shard 0, which has one write under way and
 * keeps SAY_BUFFER bytes of what comes meanwhile; what finds no room is counted, and the count is said when there is.
 */
#ifndef NM_SHARDS_NODE_SAY_H
#define NM_SHARDS_NODE_SAY_H

#include "core/io/io.h"
#include "core/ring/spsc.h"
#include "shards/report/say_line.h"
#include "shards/report/say_rate.h"

struct node;
struct shard;

enum { SAY_BUFFER = 65536 };

/* What a line is about, for who filters; empty fields are left out. */
struct say_about {
    uint64_t peer;              /* node id */
    const char *channel;        /* its name */
    const struct io_addr *addr; /* of the peer */
};

/* From a shard, on its thread. */
__attribute__((format(printf, 3, 4))) void shard_say(struct shard *, enum config_level, const char *format, ...);
__attribute__((format(printf, 4, 5))) void shard_say_about(struct shard *, enum config_level, struct say_about,
                                                           const char *format, ...);
/* From outside of the shards, when none runs: at the start and at the end. Written at once. */
__attribute__((format(printf, 3, 4))) void node_say(const struct node *, enum config_level, const char *format, ...);

/* Shard 0's end of it. */
struct say_writer {
    struct shard *shard;
    struct io_op op; /* one IO_WRITE to stderr at most, of what the buffer held when it was submitted */
    struct iovec iov;
    uint32_t len;      /* bytes in the buffer */
    uint64_t lost;     /* lines since the last time that was said */
    uint64_t retry_at; /* monotonic ns, after a write that failed */
    char buffer[SAY_BUFFER];
};
int say_init(struct shard *); /* NET_OK, NET_ERR_NO_MEMORY */
void say_deinit(struct shard *);

void say_on_message(struct shard *, const struct spsc_record *); /* MSG_SAY: shard 0 writes another one's line */
/* Once a turn: summaries that are due, and shard 0's write. */
void say_turn(struct shard *);
uint64_t say_deadline(const struct shard *); /* monotonic ns: when say_turn() has to come next */
/* After the shards have ended: what is left in the buffer, as far as stderr takes it at once. */
void say_finish(struct node *);

#endif
