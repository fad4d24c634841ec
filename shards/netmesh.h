/*
 * libnetmesh: a node inside your own process.
 *
 * A node lives in a directory made by `net-mesh init`. netmesh_open() reads it, netmesh_run() runs it until
 * netmesh_stop(). Hooks run on the node's own shard threads: they must not block, and what they are handed is valid
 * only during the call. Everything else about a node is reached through its admin port.
 *
 * Errors are negative; netmesh_error_text() names them. `error` takes a sentence for a person, always terminated, cut
 * at error_len bytes.
 */
#ifndef NETMESH_H
#define NETMESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NETMESH_API __attribute__((visibility("default")))

struct netmesh;       /* a node: made by netmesh_open(), freed by netmesh_close() */
struct netmesh_shard; /* one of its shards, as hooks see it; the node's */

/* Events of one packet or publish: `count` frames of u32 little-endian length and that many bytes, one after the other.
 */
struct netmesh_events {
    uint64_t channel; /* canonical hash of the channel's name */
    uint64_t peer;    /* node id of the peer they came from */
    const uint8_t *frames;
    size_t len; /* bytes */
    uint32_t count;
};

/*
 * Streams: numbered flows of events between this node and one peer, of either direction, beside its channels. Nothing
 * is stored. Ids are the application's, the same at both ends. A reliable stream brings every event once and in order,
 * for as long as both nodes keep running, or says that it broke; a fire-and-forget stream brings what arrives. A stream
 * belongs to the shard where its peer is at home (on_peer tells): all calls are made there.
 */
enum netmesh_stream_mode { NETMESH_FIRE_AND_FORGET, NETMESH_RELIABLE };

/* A stream that was opened for sending. A value: copy and forget it as you like. */
struct netmesh_stream {
    uint64_t peer, id; /* node id; the stream's own */
    uint64_t epoch;    /* which of the streams that had this id */
};

struct netmesh_stream_options {
    enum netmesh_stream_mode mode;
    uint32_t window; /* bytes that may be on their way, events and 84 or more a packet; 0, or more than the peer grants:
                        what it grants */
    uint8_t weight;  /* its share where streams compete, 0 counts as 1 */
};
#define NETMESH_STREAM_DEFAULTS ((struct netmesh_stream_options){NETMESH_FIRE_AND_FORGET, 65536, 1})

enum netmesh_stream_end {
    NETMESH_STREAM_GOES_ON,
    NETMESH_STREAM_FINISHED, /* the peer closed it, and these are its last events */
    NETMESH_STREAM_BROKEN,   /* the peer restarted, or gave it up: the events that were to come never will; none here */
};

/* Events that came on a stream: of one packet, or one that came in several. */
struct netmesh_stream_events {
    uint64_t peer, stream;
    uint64_t sequence; /* of the packet, or the last of them; with the index in it, from 0, it names an event:
                          netmesh_event_id() */
    const uint8_t *frames;
    size_t len; /* bytes */
    uint32_t count;
    enum netmesh_stream_mode mode;
    enum netmesh_stream_end end;
};

struct netmesh_hooks { /* each may be NULL */
    void *ctx;         /* handed to all of them */
    /* The shard runs; called once on each shard's thread. */
    void (*on_start)(void *ctx, struct netmesh_shard *, unsigned index);
    /* Events of a channel this node subscribes to, on the shard of the peer, before they are stored. */
    void (*on_events)(void *ctx, struct netmesh_shard *, const struct netmesh_events *);
    /* Once a turn of the loop. true: call again without sleeping. */
    bool (*on_turn)(void *ctx, struct netmesh_shard *);
    /* On the shard where the peer is at home, which never changes while the node knows it: it can be sent to, or no
     * longer. A stream lives through a break. A peer that restarted is told of again, and its streams end first. */
    void (*on_peer)(void *ctx, struct netmesh_shard *, uint64_t peer, bool connected);
    /* false: no room for them now. Of a reliable stream they are offered again in later turns, and the peer gets no
     * new credit meanwhile; of another they are dropped and counted. Without this hook this node takes no streams. */
    bool (*on_stream)(void *ctx, struct netmesh_shard *, const struct netmesh_stream_events *);
    /* A stream opened here is over, and its handle worth nothing: 0, closed, and all of it has arrived
     * (fire-and-forget: left); NETMESH_CLOSED, the peer restarted or gave it up, and what is not known to have arrived
     * may not have, or nothing moved on a fire-and-forget stream for limits.stream_idle. Not told of one that was
     * reset. */
    void (*on_stream_end)(void *ctx, struct netmesh_shard *, const struct netmesh_stream *, int err);
};

/* Reads configuration, secrets and peers. Unless memory.core_dumps is true, the process leaves no core dump from then
 * on. `overrides` are KEY=VALUE as for --set; they and the hooks (or NULL) are copied. 0, or negative, with `error`
 * filled and *out NULL. */
NETMESH_API int netmesh_open(struct netmesh **out, const char *dir, const char *const *overrides, size_t count,
                             const struct netmesh_hooks *, char *error, size_t error_len);
/* Runs the node: shard 0 on the calling thread, the others on threads of their own. `ready` (may be NULL) is called
 * once when the node serves; its text is the JSON line `net-mesh node run` prints. Returns 0 after an orderly stop, or
 * negative with `error` filled. Once per netmesh_open().
 * SIGINT and SIGTERM stop it, another one ends the stop at once, and SIGHUP makes it read node.yaml again, when
 * `handle_signals`. A stop that took longer than stop.timeout is an error: nothing acknowledged is lost, but where a
 * disk hangs, memory and threads stay behind until the process ends. */
NETMESH_API int netmesh_run(struct netmesh *, bool handle_signals, void (*ready)(void *ctx, const char *json_line),
                            void *ctx, char *error, size_t error_len);
/* Before netmesh_run(), in a program that is a service: from now on the service manager that started it is told, in the
 * way of sd_notify(3), when the node is ready, reloads and stops, and, if the manager wants to know (WATCHDOG_USEC),
 * that all shards turn. Takes NOTIFY_SOCKET and its kin out of the environment; without them nothing happens. */
NETMESH_API void netmesh_tell_service_manager(struct netmesh *);
NETMESH_API void netmesh_stop(struct netmesh *);  /* any thread; signal-safe */
NETMESH_API void netmesh_close(struct netmesh *); /* after netmesh_run() has returned, or without it; NULL is fine */

/* From a hook, on its shard. Frames as in netmesh_events, copied; at most 60,000 bytes and 2,028 events a call, or one
 * event of up to limits.event_bytes (at most 16 MiB; a channel with log: none takes as much as channels.none_bytes
 * holds). What exceeds 8108 bytes goes to subscribers in fragments, and not to peers that take none. The channel must
 * be one whose events this shard owns (netmesh_owner). Returns 0, NETMESH_AGAIN when there is no room now, or an error:
 * then nothing was taken. */
NETMESH_API int netmesh_publish(struct netmesh_shard *, const char *channel, const uint8_t *frames, size_t len,
                                uint32_t count);
/* The index of the shard that owns the channel's events. */
NETMESH_API unsigned netmesh_owner(const struct netmesh_shard *, const char *channel);

/* Opens the sending half of a stream. While it is open, opening it again gives the same handle and changes nothing.
 * `options` NULL: NETMESH_STREAM_DEFAULTS. Returns 0, or NETMESH_NOT_FOUND (no such peer is at home on this shard),
 * NETMESH_UNREACHABLE (it has no session, or, for a reliable stream, its version knows none), NETMESH_AGAIN (a stream
 * of that id was closed less than two seconds ago, or the peer still sends on it), or another error. */
NETMESH_API int netmesh_stream_open(struct netmesh_shard *, uint64_t peer, uint64_t id,
                                    const struct netmesh_stream_options *options, struct netmesh_stream *out);
/* Sends the events, as many to a packet as fit. *sent (may be NULL) says how many were taken, also when it fails: go on
 * behind them. NETMESH_AGAIN is backpressure: no credit or no memory for the rest, now. NETMESH_CLOSED: the stream is
 * not open, or another one has its id. NETMESH_UNREACHABLE: no session with the peer now. No events: nothing is sent,
 * 0. An event larger than can be sent, or bytes that are no frames: an error, and nothing is sent. On a reliable stream
 * an event may have limits.event_bytes (if its window holds a packet, and with peers that know fragments); the peer
 * puts it together within its limits.reassembly and reassembly_per_peer, and the stream breaks where it takes less.
 * Else it may have what a packet holds, 8,090 bytes at least with the window for it. */
NETMESH_API int netmesh_stream_send(struct netmesh_shard *, const struct netmesh_stream *, const uint8_t *frames,
                                    size_t len, uint32_t count, uint32_t *sent);
/* Ends the sending half. What was taken still goes out, and then the peer hears that it is finished (v0.19.0 has no
 * word for it). Closing what is not open is fine: 0. NETMESH_NOT_FOUND as for open. */
NETMESH_API int netmesh_stream_close(struct netmesh_shard *, const struct netmesh_stream *);
/* Gives up a stream, both halves: nothing of it is sent any more, and the peer of a reliable one hears that it broke.
 * 0, or NETMESH_CLOSED, NETMESH_NOT_FOUND. */
NETMESH_API int netmesh_stream_reset(struct netmesh_shard *, const struct netmesh_stream *);

/* A send that goes on by itself: tries at once, and after backpressure again 5, 10, 20 ... 200 ms later, each time with
 * the first event not yet taken. The caller's, with its frames, until `done`, which comes once and never from inside
 * netmesh_stream_retry(); with the shard's end nothing comes any more. `err` as of netmesh_stream_send(): NETMESH_AGAIN
 * after the last attempt. */
struct netmesh_retry {
    struct netmesh_stream stream;
    const uint8_t *frames; /* what is left to be sent, as are `len` and `count` */
    size_t len;
    uint32_t count;
    uint32_t max_retries; /* attempts after the first one; 4096 take some 13 minutes */
    void (*done)(struct netmesh_retry *, struct netmesh_shard *, int err);
    void *ctx;         /* the caller's */
    uint64_t node[12]; /* the node's */
};
NETMESH_API void netmesh_stream_retry(struct netmesh_shard *, struct netmesh_retry *);
NETMESH_API void netmesh_stream_retry_cancel(struct netmesh_retry *); /* `done` will not come; it must be under way */

/* Of one stream, both directions. Bytes are those of credit: payload and 80 a packet. */
struct netmesh_stream_stats {
    uint64_t tx_seq, rx_seq;  /* of the next packet sent; highest that came, 0 also when none did */
    uint64_t inbound_pending; /* packets that came and wait: for one before them, or for room */
    uint64_t idle_ns;         /* since anything was sent or came */
    bool active;              /* open for sending */
    uint64_t backpressure_events;
    uint32_t tx_window, tx_credit_remaining;
    uint64_t credit_grants_received, credit_grants_sent;
};
/* 0, or NETMESH_NOT_FOUND: no such peer here, or it has no such stream. */
NETMESH_API int netmesh_stream_get_stats(struct netmesh_shard *, uint64_t peer, uint64_t id,
                                         struct netmesh_stream_stats *);

/* Names of events, "SEQUENCE:INDEX", and their order: below, at or above 0 as `a` stands before, at or behind `b`. */
#define NETMESH_EVENT_ID_MAX 32
NETMESH_API void netmesh_event_id(char out[NETMESH_EVENT_ID_MAX], uint64_t sequence, uint32_t index);
NETMESH_API int netmesh_event_id_compare(const char *a, const char *b);

#define NETMESH_AGAIN (-1)
#define NETMESH_NOT_FOUND (-10)
#define NETMESH_CLOSED (-14)
#define NETMESH_UNREACHABLE (-23)
NETMESH_API const char *netmesh_error_text(int err); /* static, never NULL */

#ifdef __cplusplus
}
#endif
#endif
