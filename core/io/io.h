/*
 * The I/O seam (design: "The I/O seam"): everything a node can ask of the world. Two back ends implement it,
 * shards/reactor (io_uring) and tests/sim (a deterministic world). There is one `struct io` per shard and only that
 * shard's thread calls it.
 *
 * An operation is a struct embedded in its owner. io_submit() never blocks and never calls `done`; the back end calls
 * `done` later, from its dispatch, on the shard's thread. Until the last `done` (more == false) the operation and all
 * memory it names belong to the back end. `res` is a byte count, a new handle or 0; failures are negative errno values,
 * -ECANCELED after io_cancel(). A `done` callback may submit operations, its own included.
 */
#ifndef NM_CORE_IO_IO_H
#define NM_CORE_IO_IO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/base/list.h"
#include "core/base/span.h"

struct io;
struct io_op;

/* An open file, socket or connection of this shard; -1 is none. Not a file descriptor. */
typedef int32_t io_handle;
#define IO_NO_HANDLE ((io_handle)-1)

/* A UDP address in IPv6 form. IPv4 peers are v4-mapped (::ffff:a.b.c.d) everywhere above the seam. */
struct io_addr {
    uint8_t ip[16];
    uint32_t scope_id;
    uint16_t port; /* host order */
};

static inline bool io_addr_equal(const struct io_addr *a, const struct io_addr *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->port == b->port && a->scope_id == b->scope_id;
}

static inline bool io_addr_same_host(const struct io_addr *a, const struct io_addr *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->scope_id == b->scope_id;
}

enum io_kind {
    IO_UDP_RECV,  /* multishot: `done` per arrival while more == true */
    IO_UDP_SEND,  /* one message, or several datagrams by GSO; never queues in the kernel: -EAGAIN when there is no room
                   */
    IO_ACCEPT,    /* multishot on a listener; res = new connection handle */
    IO_RECV,      /* stream receive, res 0 = end */
    IO_SEND,      /* stream send, may be short */
    IO_OPEN,      /* path, flags, mode; res = handle */
    IO_READ,      /* at an offset; may be short */
    IO_WRITE,     /* gathered, at an offset or IO_AT_POSITION; may be short: the caller goes on with the rest */
    IO_FDATASYNC, /* covers only writes completed before it was submitted; a failure is final for the file */
    IO_FSYNC,     /* as above with metadata; also for directories */
    IO_RENAME,    /* path -> path2 */
    IO_UNLINK,    /* path; flags: 0, or AT_REMOVEDIR for an empty directory */
    IO_MKDIR,     /* path, mode */
    IO_CLOSE,     /* the handle is invalid from the submit on; cancel and await its operations first */
    IO_SIGNAL,    /* multishot: res = signal number (the set given to the back end at creation) */
};

/* What an IO_UDP_RECV arrival holds, valid during `done` only, unless io_udp_hold() was called. */
struct io_arrival {
    uint8_t *data; /* one datagram, or several of `segment` bytes each (the last may be shorter) */
    size_t len;
    size_t segment; /* = len when there is just one */
    struct io_addr from;
    uint32_t buffer; /* for io_udp_hold / io_udp_release */
    bool truncated;  /* did not fit: drop and count */
};

/* The offset of an IO_WRITE to what has none: a pipe, a terminal, a file that others append to. */
#define IO_AT_POSITION UINT64_MAX

typedef void io_done_fn(struct io_op *op, int32_t res);

struct io_op {
    enum io_kind kind;
    bool more;    /* set by the back end before `done`: further completions follow */
    bool pending; /* between submit and the last completion; kept by the back end */
    io_done_fn *done;
    io_handle handle;
    union {
        struct io_arrival arrival; /* IO_UDP_RECV, out */
        struct {                   /* IO_UDP_SEND */
            struct io_addr to;
            const struct iovec *iov;
            uint16_t iov_count;
            uint16_t segment; /* 0: one datagram; else GSO segment size in bytes, at most 64 segments, 65,000 bytes */
        } udp;
        struct { /* IO_RECV, IO_SEND, IO_READ */
            void *data;
            size_t len;
            uint64_t offset; /* IO_READ */
        } buf;
        struct { /* IO_WRITE */
            const struct iovec *iov;
            uint32_t iov_count;
            uint64_t offset;
        } write;
        struct { /* IO_OPEN, IO_RENAME, IO_UNLINK, IO_MKDIR */
            const char *path;
            const char *path2;
            int flags;
            mode_t mode;
        } path;
    };
    struct { /* owned by the back end */
        struct list link;
        uint64_t a, b;
        uint64_t space[40]; /* msghdr, sockaddr, control bytes: no allocation per operation */
    } backend;
};

/*
 * Plain calls for what io_uring cannot do and for start-up, recovery (the first opening of a log) and shutdown. They
 * block. 0 or a positive value, or a negative errno. Paths are the process's; handles are of the same kind as above.
 */
struct io_dirent {
    char name[256]; /* NUL-terminated, without its directory; never "." or ".." */
    uint8_t is_dir, is_file;
};
typedef int io_dir_fn(void *ctx, const struct io_dirent *); /* non-zero ends the walk and is returned */

struct io_plain {
    int (*open)(struct io *, const char *path, int flags, mode_t mode, io_handle *out); /* flags as of open(2) */
    int (*close)(struct io *, io_handle);
    ssize_t (*read)(struct io *, io_handle, void *data, size_t len, uint64_t offset); /* whole, unless the file ends */
    int (*write)(struct io *, io_handle, const void *data, size_t len, uint64_t offset); /* whole or an error */
    int64_t (*size)(struct io *, io_handle); /* of a regular file; -EINVAL of anything else */
    int (*truncate)(struct io *, io_handle, uint64_t len);
    int (*sync)(struct io *, io_handle);            /* fsync */
    int (*sync_dir)(struct io *, const char *path); /* fsync of a directory */
    int (*lock)(struct io *, io_handle);            /* exclusive, until the close; -EWOULDBLOCK when held elsewhere */
    int (*mkdir)(struct io *, const char *path, mode_t mode);
    int (*rmdir)(struct io *, const char *path);
    int (*rename)(struct io *, const char *from, const char *to);
    int (*unlink)(struct io *, const char *path);
    int (*list)(struct io *, const char *path, io_dir_fn *, void *ctx); /* of a directory, in any order */
    /* Largest UDP payload that reaches `to` unfragmented by the local route (1472 on IPv4 Ethernet), or negative. */
    int (*path_payload)(struct io *, const struct io_addr *to);
    /* 128 random bits that change with every boot of the machine, or zeros when unknown. */
    void (*boot_id)(struct io *, uint8_t out[16]);
};

struct io_ops {
    void (*submit)(struct io *, struct io_op *);
    void (*cancel)(struct io *, struct io_op *); /* no-op unless pending; its `done` still comes */
    /* Returns the receive buffer of the arrival to the pool only at io_udp_release(). Relaying sends from it. */
    void (*udp_hold)(struct io *, uint32_t buffer);
    void (*udp_release)(struct io *, uint32_t buffer);
    void (*doorbell)(struct io *, unsigned shard); /* makes that shard's wait return; may be called at any time */
    void (*random)(struct io *, void *out, size_t len);
    uint64_t (*clock)(struct io *); /* a fresh monotonic reading; hot code uses io_now() */
};

/* The public head of every back end's `struct io`. */
struct io {
    const struct io_ops *ops;
    const struct io_plain *plain;
    unsigned shard, shards; /* this one's number, how many there are */
    uint64_t now;           /* monotonic nanoseconds, read once per turn */
    uint64_t wall;          /* CLOCK_REALTIME nanoseconds, read once per turn */
    io_handle udp;          /* this shard's socket */
    io_handle listener;     /* the admin listener, or IO_NO_HANDLE (shards other than 0) */
    io_handle err; /* stderr, for IO_WRITE at IO_AT_POSITION; IO_NO_HANDLE: there is none (shards other than 0) */
};

static inline uint64_t io_now(const struct io *io)
{
    return io->now;
}
static inline uint64_t io_wall(const struct io *io)
{
    return io->wall;
}
static inline void io_submit(struct io *io, struct io_op *op)
{
    io->ops->submit(io, op);
}
static inline void io_cancel(struct io *io, struct io_op *op)
{
    io->ops->cancel(io, op);
}
static inline void io_random(struct io *io, void *out, size_t len)
{
    io->ops->random(io, out, len);
}
static inline void io_doorbell(struct io *io, unsigned shard)
{
    io->ops->doorbell(io, shard);
}

#endif
