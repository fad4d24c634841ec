/*
 * What the service manager that started the process is told: sd_notify(3), spoken here in its few lines. Ready, status,
 * reloading, stopping, and that every shard turns. Nothing when there is no such manager.
 */
#ifndef NM_SHARDS_PROCESS_SERVICE_H
#define NM_SHARDS_PROCESS_SERVICE_H

#include <stdbool.h>

#include "shards/node/node.h"

struct service {
    int fd;               /* connected to the manager; -1: there is none */
    uint64_t watchdog_ns; /* it wants a sign of life within that time; 0: none */
    uint64_t next;        /* monotonic ns of the next look at the shards */
    uint64_t turns[CONFIG_MAX_SHARDS];
};

void service_none(struct service *);
/* Takes NOTIFY_SOCKET (a path, or an abstract name with @), WATCHDOG_USEC and WATCHDOG_PID out of the environment. */
void service_init(struct service *);
void service_deinit(struct service *);
/* One datagram of NAME=VALUE lines. Never waits; what the manager has no room for is lost. */
__attribute__((format(printf, 2, 3))) void service_tell(const struct service *, const char *format, ...);
/* Shard 0, once a turn: a sign of life when all shards have turned since the last look. Those that sleep are woken for
 * it. Returns when to call next. */
uint64_t service_watch(struct service *, struct node *, struct io *);

#endif
