/*
 * The file `log.id` of a channel root: 16 random bytes in hex and a newline, made with the log (extensions.md X7.1). A
 * log that was deleted and made anew has another, so who follows one notices. Compaction leaves the channel root alone,
 * the reference ignores the file, and no storable channel is named like it.
 */
#include <errno.h>
#include <fcntl.h>

#include "storage/redex/redex_internal.h"

enum { TEXT_SIZE = 2 * REDEX_ID_SIZE + 1 };

static const char digits[] = "0123456789abcdef";

static bool parse(const char *text, size_t len, uint8_t out[REDEX_ID_SIZE])
{
    if (len != TEXT_SIZE || text[TEXT_SIZE - 1] != '\n')
        return false;
    for (size_t i = 0; i < TEXT_SIZE - 1; i++) {
        const char *digit = memchr(digits, text[i], sizeof digits - 1);
        if (!digit)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static void format(char out[TEXT_SIZE], const uint8_t id[REDEX_ID_SIZE])
{
    for (size_t i = 0; i < REDEX_ID_SIZE; i++) {
        out[2 * i] = digits[id[i] >> 4];
        out[2 * i + 1] = digits[id[i] & 15];
    }
    out[TEXT_SIZE - 1] = '\n';
}

int redex_identity_read(struct redex *r, bool *known)
{
    const struct io_plain *plain = r->io->plain;
    struct redex_path path;
    char text[TEXT_SIZE + 1]; /* one more: a longer file is none of ours */
    io_handle h;

    *known = false;
    if (!redex_path(&path, r, 0, "log.id"))
        return NET_ERR_INVALID;
    int err = plain->open(r->io, path.text, O_RDONLY | O_NONBLOCK, 0, &h);
    if (err < 0)
        return err == -ENOENT ? NET_OK : net_err_from_errno(-err);
    ssize_t n = plain->read(r->io, h, text, sizeof text, 0);
    err = plain->close(r->io, h);
    if (n < 0 || err < 0)
        return net_err_from_errno(n < 0 ? (int)-n : -err);
    *known = parse(text, (size_t)n, r->id);
    if (!*known && r->mirror) { /* damaged: what it mirrors is not known any more, but it can be read */
        io_random(r->io, r->id, sizeof r->id);
        *known = true;
    }
    return NET_OK;
}

/* The caller syncs the channel root. */
int redex_identity_write(struct redex *r)
{
    const struct io_plain *plain = r->io->plain;
    struct redex_path tmp, final;
    char text[TEXT_SIZE];
    io_handle h;

    if (!redex_path(&tmp, r, 0, "log.id~") || !redex_path(&final, r, 0, "log.id"))
        return NET_ERR_INVALID;
    format(text, r->id);
    int err = plain->open(r->io, tmp.text, O_WRONLY | O_CREAT | O_TRUNC, 0600, &h);
    if (err < 0)
        return net_err_from_errno(-err);
    err = plain->write(r->io, h, text, TEXT_SIZE, 0);
    int sync = err < 0 ? err : plain->sync(r->io, h);
    int closing = plain->close(r->io, h);
    err = sync < 0 ? sync : closing;
    if (err >= 0)
        err = plain->rename(r->io, tmp.text, final.text);
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}
