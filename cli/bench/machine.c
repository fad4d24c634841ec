/* What the machine can do by itself: the cipher on one core, and a sync of the disk. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/http.h"
#include "core/base/err.h"
#include "core/base/span.h"
#include "core/base/text.h"
#include "core/crypto/crypto.h"
#include "core/wire/wire.h"

enum { PACKET = 1392, SEALS = 256, FILES = 3, APPEND = 64 };
static const size_t appends[FILES] = {APPEND, 20, 8};               /* bytes of an event, its record and its time */
static const uint64_t AEAD_NS = 500000000, COMMITS_NS = 2000000000; /* at most */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Packets as they go over Ethernet: a new nonce, 52 bytes of AAD, in place, a tag. */
static int measure_aead(const struct bench *b, struct bench_machine *m)
{
    static const uint8_t key[32] = {1};
    uint8_t nonce[WIRE_NONCE] = {0}, aad[WIRE_AAD] = {0}, packet[PACKET + WIRE_TAG] = {0};
    struct crypto *crypto;
    enum aead_suite suite = crypto_has_fast_aes() ? AEAD_AES_256_GCM : AEAD_CHACHA20_POLY1305;
    if (crypto_init(&crypto, NULL) != NET_OK)
        return cli_error(CLI_FAILURE, "cannot set up libcrypto");
    struct aead *a = aead_new(crypto, suite, key);
    uint64_t start = http_now(), now = start, count = 0;
    while (a && now - start < least(b->duration_ns / 5, AEAD_NS)) {
        for (int i = 0; i < SEALS; i++) {
            store_le64(nonce + 4, count++);
            aead_seal(a, nonce, aad, sizeof aad, packet, packet, PACKET, packet + PACKET);
        }
        now = http_now();
    }
    m->cipher = suite == AEAD_AES_256_GCM ? "aes-256-gcm" : "chacha20-poly1305";
    m->aead_bytes_per_s = now > start ? (double)count * PACKET * 1e9 / (double)(now - start) : 0;
    aead_free(crypto, a);
    crypto_deinit(crypto);
    return a ? CLI_OK : cli_error(CLI_FAILURE, "out of memory");
}

/* Appends to the three files and syncs them at once. */
static bool commit(struct io_uring *ring, const int fd[FILES])
{
    static const uint8_t block[APPEND];
    bool ok = true;
    for (int i = 0; i < FILES; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
        ok &= sqe && write(fd[i], block, appends[i]) == (ssize_t)appends[i];
        if (sqe)
            io_uring_prep_fsync(sqe, fd[i], IORING_FSYNC_DATASYNC);
    }
    int submitted = io_uring_submit(ring);
    for (int i = 0; i < submitted; i++) {
        struct io_uring_cqe *cqe;
        int err = io_uring_wait_cqe(ring, &cqe);
        while (err == -EINTR)
            err = io_uring_wait_cqe(ring, &cqe);
        if (err < 0 || cqe->res < 0) {
            errno = err < 0 ? -err : -cqe->res;
            ok = false;
        }
        if (err == 0)
            io_uring_cqe_seen(ring, cqe);
    }
    return ok && submitted == FILES;
}

static bool open_files(const struct bench *b, int fd[FILES])
{
    bool ok = true;
    for (int i = 0; i < FILES; i++) {
        char path[BENCH_PATH];
        text_format(path, sizeof path, "%s/commits%d", b->root, i);
        fd[i] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ok &= fd[i] >= 0 && unlink(path) == 0;
    }
    return ok;
}

/* The same files, sizes and way of syncing as a durable publisher of the figures has them: what the disk itself takes.
 */
static int measure_commits(const struct bench *b, struct bench_machine *m)
{
    struct io_uring ring;
    int fd[FILES];
    uint64_t count = 0;
    int err = io_uring_queue_init(FILES, &ring, 0);
    if (err < 0)
        return cli_error(CLI_FAILURE, "io_uring: %s; net-mesh doctor says more", strerror(-err));
    bool ok = open_files(b, fd);
    uint64_t start = http_now(), now = start;
    while (ok && now - start < least(b->duration_ns / 2, COMMITS_NS) && !bench_interrupted()) {
        ok = commit(&ring, fd);
        count++;
        now = http_now();
    }
    int error = errno;
    for (int i = 0; i < FILES; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    io_uring_queue_exit(&ring);
    m->commits_per_s = now > start ? (double)count * 1e9 / (double)(now - start) : 0;
    return ok ? CLI_OK : cli_error(CLI_FAILURE, "%s: cannot write and sync: %s", b->root, strerror(error));
}

int bench_measure_machine(struct bench *b, struct bench_machine *m)
{
    int code = measure_aead(b, m);
    return code == CLI_OK ? measure_commits(b, m) : code;
}
