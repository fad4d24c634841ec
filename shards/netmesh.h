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

struct netmesh_hooks { /* each may be NULL */
    void *ctx;         /* handed to all of them */
    /* The shard runs; called once on each shard's thread. */
    void (*on_start)(void *ctx, struct netmesh_shard *, unsigned index);
    /* Events of a channel this node subscribes to, on the shard of the peer, before they are stored. */
    void (*on_events)(void *ctx, struct netmesh_shard *, const struct netmesh_events *);
    /* Once a turn of the loop. true: call again without sleeping. */
    bool (*on_turn)(void *ctx, struct netmesh_shard *);
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

#define NETMESH_AGAIN (-1)
NETMESH_API const char *netmesh_error_text(int err); /* static, never NULL */

#ifdef __cplusplus
}
#endif
#endif
