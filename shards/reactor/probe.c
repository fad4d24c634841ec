/* Is this kernel enough? Found out by trying, on a throw-away ring and socket; versions say nothing about back-ports,
 * containers and administrators. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/err.h"
#include "shards/reactor/reactor_internal.h"

#define NEEDS "net-mesh needs Linux 6.1 or later with io_uring"

static int explain_setup(int err, char *why, size_t why_len)
{
    switch (err) {
    case -EPERM:
        return explain(
            why, why_len, NET_ERR_UNSUPPORTED,
            "io_uring_setup is refused (EPERM): set sysctl kernel.io_uring_disabled=0, and in a container allow "
            "io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile");
    case -ENOSYS:
        return explain(why, why_len, NET_ERR_UNSUPPORTED,
                       "io_uring_setup does not exist (ENOSYS): " NEEDS ", or a seccomp profile hides it");
    case -EINVAL:
        return explain(why, why_len, NET_ERR_UNSUPPORTED,
                       "io_uring has no SINGLE_ISSUER, DEFER_TASKRUN or TASKRUN_FLAG: " NEEDS);
    case -ENOMEM:
        return explain(
            why, why_len, NET_ERR_UNSUPPORTED,
            "no memory for an io_uring (ENOMEM): raise the limit of locked memory (ulimit -l) or of the cgroup");
    case -EMFILE:
    case -ENFILE:
        return explain(why, why_len, NET_ERR_UNSUPPORTED,
                       "no descriptor for an io_uring: raise the limit of open files "
                       "(ulimit -n)");
    default:
        return explain(why, why_len, NET_ERR_UNSUPPORTED, "io_uring_setup fails: %s", strerror(-err));
    }
}

int ring_open(struct io_uring *ring, char *why, size_t why_len)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = RING_CQ_ENTRIES,
    };
    int err = io_uring_queue_init_params(RING_SQ_ENTRIES, ring, &params);
    if (err < 0)
        return explain_setup(err, why, why_len);
    unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG |
                      IORING_FEAT_CQE_SKIP;
    if ((params.features & needed) != needed) {
        io_uring_queue_exit(ring);
        return explain(why, why_len, NET_ERR_UNSUPPORTED, "io_uring lacks features 0x%x: " NEEDS,
                       needed & ~params.features);
    }
    return 0;
}

static int probe_operations(struct io_uring *ring, char *why, size_t why_len)
{
    static const struct {
        int op;
        const char *name;
    } needed[] = {
        {IORING_OP_RECVMSG, "RECVMSG"},   {IORING_OP_SENDMSG, "SENDMSG"},   {IORING_OP_ACCEPT, "ACCEPT"},
        {IORING_OP_RECV, "RECV"},         {IORING_OP_SEND, "SEND"},         {IORING_OP_OPENAT, "OPENAT"},
        {IORING_OP_READ, "READ"},         {IORING_OP_WRITEV, "WRITEV"},     {IORING_OP_FSYNC, "FSYNC"},
        {IORING_OP_RENAMEAT, "RENAMEAT"}, {IORING_OP_UNLINKAT, "UNLINKAT"}, {IORING_OP_MKDIRAT, "MKDIRAT"},
        {IORING_OP_CLOSE, "CLOSE"},       {IORING_OP_POLL_ADD, "POLL_ADD"}, {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
        {IORING_OP_MSG_RING, "MSG_RING"},
    };
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    const char *missing = probe ? NULL : "PROBE";
    for (size_t i = 0; probe && !missing && i < sizeof needed / sizeof needed[0]; i++)
        if (!io_uring_opcode_supported(probe, needed[i].op))
            missing = needed[i].name;
    io_uring_free_probe(probe);
    return missing ? explain(why, why_len, NET_ERR_UNSUPPORTED, "io_uring lacks the operation %s: " NEEDS, missing) : 0;
}

/* One datagram to itself by an addressed send, through a multishot receive into a provided buffer: the heart of the
 * data path. */
static int try_multishot(struct io_uring *ring, struct io_uring_buf_ring *buffers, size_t page, int fd)
{
    char byte = 0;
    union socket_addr to = {0};
    socklen_t to_len = sizeof to;
    struct msghdr msg = {.msg_namelen = RECV_NAME, .msg_controllen = RECV_CONTROL};
    io_uring_buf_ring_init(buffers);
    io_uring_buf_ring_add(buffers, (uint8_t *)buffers + page, (unsigned)page, 0, 0, 0);
    io_uring_buf_ring_advance(buffers, 1);
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_recvmsg_multishot(sqe, fd, &msg, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = RECV_GROUP;
    if (getsockname(fd, &to.any, &to_len) < 0)
        return -errno;
    struct io_uring_sqe *send = io_uring_get_sqe(ring);
    io_uring_prep_send(send, fd, &byte, 1, 0);
    io_uring_prep_send_set_addr(send, &to.any, (uint16_t)to_len);
    send->flags |= IOSQE_CQE_SKIP_SUCCESS;
    struct __kernel_timespec patience = {.tv_sec = 1};
    struct io_uring_cqe *cqe = NULL;
    io_uring_submit_and_wait_timeout(ring, &cqe, 1, &patience, NULL);
    if (io_uring_peek_cqe(ring, &cqe) < 0)
        return -ETIMEDOUT;
    return cqe->res < 0 ? cqe->res : cqe->flags & IORING_CQE_F_BUFFER && cqe->flags & IORING_CQE_F_MORE ? 0 : -EINVAL;
}

static int probe_receive(struct io_uring *ring, char *why, size_t why_len)
{
    struct udp_options udp = {.addr = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}}};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = udp_socket_open(&udp);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)memory, .ring_entries = 1, .bgid = RECV_GROUP};
    int err = 0;
    if (memory == MAP_FAILED || fd < 0)
        err = explain(why, why_len, NET_ERR_IO, "cannot make a loopback socket: %s", strerror(fd < 0 ? -fd : ENOMEM));
    else if ((err = io_uring_register_buf_ring(ring, &reg, 0)) < 0)
        err = explain(why, why_len, NET_ERR_UNSUPPORTED, "io_uring has no provided buffer rings (%s): " NEEDS,
                      strerror(-err));
    else if ((err = try_multishot(ring, memory, page, fd)) < 0)
        err =
            explain(why, why_len, NET_ERR_UNSUPPORTED,
                    "io_uring cannot send to an address or receive by multishot recvmsg (%s): " NEEDS, strerror(-err));
    io_uring_queue_exit(ring); /* ends the multishot before its memory goes */
    if (fd >= 0)
        close(fd);
    if (memory != MAP_FAILED)
        munmap(memory, 2 * page);
    return err;
}

int probe_kernel(char *why, size_t why_len)
{
    struct io_uring ring;
    int err = ring_open(&ring, why, why_len);
    if (err)
        return err;
    err = io_uring_register_files_sparse(&ring, RING_FIXED_FILES);
    if (err < 0)
        err = explain(why, why_len, NET_ERR_UNSUPPORTED, "io_uring cannot register files (%s): " NEEDS, strerror(-err));
    else
        err = probe_operations(&ring, why, why_len);
    if (err) {
        io_uring_queue_exit(&ring);
        return err;
    }
    return probe_receive(&ring, why, why_len);
}
