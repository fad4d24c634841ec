/*
 * `net-mesh bench`: what two nodes do on this machine, beside what the machine itself can. The nodes are children of
 * this process, which run `libnetmesh` in directories made for each figure and removed after it, joined over loopback:
 * every event goes through handshake keys, streams, credit, a subscription and (unless off) the logs of both.
 */
#ifndef NM_CLI_BENCH_BENCH_H
#define NM_CLI_BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/cli.h"
#include "shards/config/config.h"

enum { BENCH_MAX_SIZES = 16, BENCH_PATH = 1024, BENCH_SAMPLES = 1 << 17, BENCH_MAX_WRITERS = 16 };
extern const char BENCH_FORTH[], BENCH_BACK[]; /* channels: of the sender, of the receiver */

enum bench_role { BENCH_SENDER, BENCH_RECEIVER };

struct bench_shared { /* between this process and the nodes */
    _Atomic uint64_t published, received;
    atomic_uint ready; /* nodes that serve */
    atomic_bool stop;  /* the sender is to rest */
    atomic_bool spent; /* the sender has published all that the disk and the memory are to take */
    _Atomic uint32_t sample_count;
    uint32_t samples[BENCH_SAMPLES]; /* ns, of round trips */
};

struct bench_node {
    char dir[BENCH_PATH];
    char listen[64], admin[64];
    struct io_addr addr, admin_addr;
    pid_t pid; /* 0: does not run */
};

struct bench {
    bool progress;
    uint64_t duration_ns; /* of each figure */
    uint32_t sizes[BENCH_MAX_SIZES];
    size_t size_count;
    char root[BENCH_PATH - 64]; /* of everything on the disk */
    uint64_t budget;            /* bytes a log may take */
    struct bench_shared *shared;
    struct bench_node nodes[2]; /* by role */
};

/* ---- figures ---- */

struct bench_machine {
    const char *cipher;
    double aead_bytes_per_s; /* sealing packets of 1392 bytes, one core */
    double commits_per_s;    /* an event appended to the three files of a log and synced, one after the other */
};
struct bench_rate {
    double events_per_s, seconds;
    uint64_t lost; /* published and never received */
};
struct bench_latency {
    uint32_t count;
    double p50_us, p99_us;
};

/* All return CLI_OK or an exit code that was said; CLI_FAILURE unsaid when bench_interrupted(). */
int bench_measure_machine(struct bench *, struct bench_machine *);
int bench_measure_rate(struct bench *, uint32_t size, bool log, struct bench_rate *);
int bench_measure_round_trip(struct bench *, struct bench_latency *);
int bench_measure_tail(struct bench *, struct bench_latency *);
int bench_measure_durable(struct bench *, unsigned writers, double *events_per_s);

/* ---- what they share ---- */

bool bench_interrupted(void);
void bench_say(const struct bench *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sorts them. */
struct bench_latency bench_latency_of(uint32_t *samples, uint32_t count);

/* Makes two directories that know each other, the receiver subscribed to BENCH_FORTH and, with `back`, the sender to
 * BENCH_BACK; starts both nodes, with hooks or NULL, and waits until they serve. `log` is for channels.log. */
struct netmesh_hooks;
int bench_pair_start(struct bench *, bool back, const char *log, const struct netmesh_hooks *sender,
                     const struct netmesh_hooks *receiver);
/* Ends what runs and removes the directories, also after a start that failed. CLI_OK, or CLI_FAILURE (said) when a node
 * did not end well. */
int bench_pair_end(struct bench *);
/* Both nodes live; says it when not. */
bool bench_pair_lives(struct bench *);

#endif
