/*
 * `net-mesh doctor`: is this machine, and this directory, fit for a node? Facts are gathered first and judged
 * afterwards: gathering looks at the world and has no opinion, judging is a pure function that a test feeds with facts.
 */
#ifndef NM_CLI_DOCTOR_DOCTOR_H
#define NM_CLI_DOCTOR_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shards/config/config.h"

enum doctor_status { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };
const char *doctor_status_text(enum doctor_status); /* "ok", "warn", "fail" */

struct doctor_check {
    const char *name; /* static */
    enum doctor_status status;
    char found[512], wrong[768], remedy[768]; /* wrong and remedy: "" when ok */
};

enum { DOCTOR_MAX_CHECKS = 32 };
struct doctor_report {
    struct doctor_check checks[DOCTOR_MAX_CHECKS];
    size_t count;
};

/* Adds a check that is ok, and says what was found. */
struct doctor_check *doctor_found(struct doctor_report *, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Something is wrong: `wrong` is a sentence, the format tells what to do about it. A check keeps its gravest trouble,
 * and of equal ones the first. */
void doctor_wrong(struct doctor_check *, enum doctor_status, const char *wrong, const char *remedy, ...)
    __attribute__((format(printf, 4, 5)));
enum doctor_status doctor_worst(const struct doctor_report *);

enum { DOCTOR_UNKNOWN = -1 };

struct doctor_machine {
    char kernel[200];
    struct {
        bool works;
        char why[512]; /* what the probe said */
        int disabled;  /* kernel.io_uring_disabled, or DOCTOR_UNKNOWN */
        bool seccomp;  /* a filter of system calls is in force */
    } ring;
    struct {
        bool gso, gro, steering;
        uint32_t buffer;             /* bytes of socket buffer got for what the configuration asks */
        uint64_t rmem_max, wmem_max; /* net.core.*, 0: unknown */
        unsigned mtu_least;          /* of the interfaces that are up, 0: none */
        char mtu_interface[32];
    } net;
    uint64_t open_files, locked_memory, address_space; /* the limits that count; UINT64_MAX: none */
    bool may_lock;                                     /* CAP_IPC_LOCK: the limit does not count */
    struct {
        char source[32];
        double read_ns; /* what one reading costs */
        bool known, synchronised;
        uint64_t max_error_us;
    } clock;
    struct {
        unsigned allowed; /* CPUs of the affinity mask */
        double quota;     /* CPUs the cgroup grants, 0: all */
        int refused;      /* a CPU of shards.cpus that the mask lacks, or DOCTOR_UNKNOWN */
        bool fast_aes, ipsec_mb, wide_aes;
        char governor[32]; /* of the first CPU that has one */
    } cpu;
    struct {
        int overcommit;            /* vm.overcommit_memory, or DOCTOR_UNKNOWN */
        uint64_t available, limit; /* bytes: MemAvailable; the cgroup's memory.max, UINT64_MAX: none */
        uint64_t commit_left;      /* bytes: CommitLimit less Committed_AS */
    } memory;
};

/* What of a peer's address the kernel's routes say. */
struct doctor_path {
    const char *name; /* of the peers_file */
    char addr[64];
    int error;    /* errno; 0: there is a route */
    unsigned mtu; /* of the path, as far as it is known */
    bool v4;
};

enum { DOCTOR_SYNCS = 200 };

struct doctor_dir {
    const char *dir;
    int error; /* errno of looking at it; nothing else is known then */
    unsigned mode;
    bool mine, writable;
    char secrets[1024], config[1024], warning[1024]; /* the first trouble of each kind of `config check`, or "" */
    struct {
        char type[32];
        bool network, overlay, memory, read_only;
        uint64_t free, total, inodes_free, inodes; /* bytes; inodes 0: the file system has no such limit */
    } disk;
    struct {
        int error; /* errno of the file or of a sync */
        unsigned count;
        uint64_t p50_ns, p99_ns;
    } sync;
    bool running;              /* a node holds the directory's lock */
    int listen_error;          /* errno of binding, 0: free */
    int admin_error;           /* the same */
    char listen[64];           /* as in node.yaml */
    char admin[160];           /* the same */
    bool asked;                /* whether the node that runs was asked for its health */
    unsigned ready_status;     /* HTTP; 0: no answer */
    char ready[512];           /* what it said */
    struct doctor_path *paths; /* malloc'ed */
    size_t path_count;
};

struct cli_args;
/* `config` is resolved (machine_resolve). */
void doctor_look_at_machine(struct doctor_machine *, const struct config *);
/* Reads DIR and fills in its configuration, or the defaults when it has none that can be read. Measures its disk, with
 * a line of progress on stderr unless -q, and removes the file it used. */
void doctor_look_at_dir(struct doctor_dir *, const struct cli_args *, const char *dir, struct config *,
                        struct peers_file *);
void doctor_measure_sync(struct doctor_dir *, bool quiet);

void doctor_judge_machine(struct doctor_report *, const struct doctor_machine *, const struct config *);
void doctor_judge_dir(struct doctor_report *, const struct doctor_dir *, const struct config *);

#endif
