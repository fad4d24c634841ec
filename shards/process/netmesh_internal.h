/* Inside of libnetmesh: what its three files share. netmesh.c opens and ends a node, workers.c has the threads, serve.c
 * what shard 0 does besides its turns: signals, the admin port, the service manager. */
#ifndef NM_SHARDS_PROCESS_NETMESH_INTERNAL_H
#define NM_SHARDS_PROCESS_NETMESH_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

#include "shards/admin/admin.h"
#include "shards/netmesh.h"
#include "shards/node/control.h"
#include "shards/node/node.h"
#include "shards/process/service.h"

struct worker {
    struct netmesh *nm;
    unsigned index;
    pthread_t thread;
    bool started;
    bool stuck; /* the kernel did not give back what its reactor lent it */
    int err;
    struct config_error error;
};

struct netmesh {
    char dir[CONFIG_PATH_MAX];
    struct config config; /* of the start: the node has its own */
    struct config read;   /* the same, before what it leaves to the machine was filled in */
    char **overrides;
    size_t override_count;
    struct node_secrets secrets;
    struct peers_file peers;
    bool peers_taken;
    struct netmesh_hooks hooks;
    struct node *node;
    struct reactor_group *group;
    struct admin *admin;
    struct worker *workers;
    sem_t started; /* a worker runs, or failed */
    int lock_fd;
    atomic_bool stop; /* netmesh_stop() was called; control_loop() looks every 100 ms */
    bool admin_stopped, handle_signals;
    bool stuck;            /* a thread did not end, or its reactor: what they use may never be freed */
    unsigned stop_signals; /* how many came */
    struct io_op signal_op;
    struct reload_request hangup; /* SIGHUP */
    bool hangup_pending, hangup_again;
    sigset_t signals;
    struct service service;
};

/* Writes why something failed, for a person. Returns NET_ERR_IO. */
__attribute__((format(printf, 3, 4))) int netmesh_fail(char *error, size_t len, const char *format, ...);

/* workers.c: all but shard 0. NET_OK, or an error with `error` filled: some may run even so. */
int workers_start(struct netmesh *, char *error, size_t len);
void workers_abandon(struct netmesh *); /* they end without a control shard */
void workers_join(struct netmesh *);
/* Makes the shard's reactor and starts the shard on it; the thread is the shard's from here on. */
int shard_run(struct netmesh *, unsigned index, struct reactor **, struct config_error *);
/* After the last turn. False: the kernel is still at it, as with a disk that hangs, and nothing cancels that. The
 * reactor stays. */
bool reactor_end(struct reactor *, struct shard *);

/* serve.c: shard 0, on the calling thread, until the node has stopped: last to start, last to end. */
int serve(struct netmesh *, void (*ready)(void *, const char *), void *ctx, char *error, size_t len);

#endif
