/* Randomness: getrandom by the page, so that a nonce or an id costs no system call. What was handed out is wiped. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "shards/reactor/reactor_internal.h"

static void fill(uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        assert(n > 0 || errno == EINTR); /* nothing else can happen, and nothing may go on without it */
        if (n > 0) {
            out += n;
            len -= (size_t)n;
        }
    }
}

void entropy_random(struct io *io, void *out, size_t len)
{
    struct entropy *e = &reactor_of(io)->entropy;
    if (len > sizeof e->bytes) {
        fill(out, len);
        return;
    }
    if (e->left < len) {
        fill(e->bytes, sizeof e->bytes);
        e->left = sizeof e->bytes;
    }
    uint8_t *from = e->bytes + e->left - len;
    memcpy(out, from, len);
    explicit_bzero(from, len);
    e->left -= len;
}

void entropy_deinit(struct entropy *e)
{
    explicit_bzero(e, sizeof *e);
}
