/* Two buffers: one fills while the other is written. */
#include "shards/peers/key_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 16 << 10, LINE_MAX = 256 }; /* bytes: some 35 sessions while a write is under way */

struct key_log {
    struct io *io;
    char *path;
    enum { IDLE, OPENING, WRITING, CLOSING } step;
    io_handle file;
    bool failed; /* the last write, or opening for it */
    struct io_op op;
    struct iovec iov;
    size_t filled, len, written; /* bytes in `next`; in `out`, and of them written */
    char next[ROOM], out[ROOM];
};

static void next_step(struct io_op *op, int32_t res);

static void submit(struct key_log *k, enum io_kind kind)
{
    k->op = (struct io_op){.kind = kind, .done = next_step, .handle = k->file};
    if (kind == IO_OPEN) {
        k->op.path.path = k->path;
        k->op.path.flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
        k->op.path.mode = 0600;
    } else if (kind == IO_WRITE) {
        k->iov = (struct iovec){k->out + k->written, k->len - k->written};
        k->op.write.iov = &k->iov;
        k->op.write.iov_count = 1;
        k->op.write.offset = 0; /* O_APPEND */
    }
    io_submit(k->io, &k->op);
}

static void start(struct key_log *k)
{
    memcpy(k->out, k->next, k->filled);
    secure_wipe(k->next, k->filled);
    k->len = k->filled;
    k->filled = k->written = 0;
    k->step = OPENING;
    submit(k, IO_OPEN);
}

static void finish(struct key_log *k)
{
    secure_wipe(k->out, k->len);
    k->len = 0;
    k->file = IO_NO_HANDLE;
    k->step = IDLE;
    if (k->filled)
        start(k);
}

static void next_step(struct io_op *op, int32_t res)
{
    struct key_log *k = container_of(op, struct key_log, op);
    if (k->step == OPENING) {
        k->failed = res < 0;
        if (k->failed) {
            finish(k);
            return;
        }
        k->file = res;
        k->step = WRITING;
        submit(k, IO_WRITE);
    } else if (k->step == WRITING) {
        k->failed = res <= 0;
        k->written += k->failed ? 0 : (size_t)res;
        k->step = k->failed || k->written == k->len ? CLOSING : WRITING;
        submit(k, k->step == CLOSING ? IO_CLOSE : IO_WRITE);
    } else {
        finish(k);
    }
}

struct key_log *key_log_new(struct io *io, const char *path)
{
    struct key_log *k = calloc(1, sizeof *k);
    char *copy = strdup(path);
    if (!k || !copy) {
        free(k);
        free(copy);
        return NULL;
    }
    k->io = io;
    k->path = copy;
    k->file = IO_NO_HANDLE;
    return k;
}

void key_log_free(struct key_log *k)
{
    if (!k)
        return;
    free(k->path);
    secure_wipe(k, sizeof *k);
    free(k);
}

bool key_log_busy(const struct key_log *k)
{
    return k && k->step != IDLE;
}

static void add_line(struct key_log *k, uint64_t id, uint64_t from, uint64_t to, uint64_t features,
                     const uint8_t key[32])
{
    char hex[65];
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    k->filled += (size_t)snprintf(k->next + k->filled, ROOM - k->filled,
                                  "NETMESH_SESSION id=0x%016" PRIx64 " from=0x%016" PRIx64 " to=0x%016" PRIx64
                                  " cipher=%s epochs=%s key=%s\n",
                                  id, from, to, features & FEATURE_AES_GCM ? "aes-256-gcm" : "chacha20-poly1305",
                                  features & FEATURE_EPOCHS ? "yes" : "no", hex);
    secure_wipe(hex, sizeof hex);
}

bool key_log_add(struct key_log *k, uint64_t self_id, const struct session_params *p)
{
    if (ROOM - k->filled < 2 * LINE_MAX)
        return false;
    bool good = !k->failed;
    add_line(k, p->tx_id, self_id, p->peer_node_id, p->features, p->tx_key);
    add_line(k, p->rx_id, p->peer_node_id, self_id, p->features, p->rx_key);
    if (k->step == IDLE)
        start(k);
    return good;
}
