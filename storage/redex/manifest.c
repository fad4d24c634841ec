/* The 16 bytes that name the live generation. redex.md 3 */
#include <fcntl.h>

#include "storage/redex/redex_internal.h"

static const uint8_t magic_version[5] = {'R', 'E', 'D', 'M', 1};

void manifest_encode(uint8_t out[MANIFEST_SIZE], uint32_t generation)
{
    memset(out, 0, MANIFEST_SIZE);
    memcpy(out, magic_version, sizeof magic_version);
    store_le32(out + 5, generation);
    store_le32(out + 12, (uint32_t)XXH3_64bits(out, 12));
}

uint32_t manifest_decode(const uint8_t *data, size_t len)
{
    static const uint8_t reserved[3];
    if (len < MANIFEST_SIZE || memcmp(data, magic_version, sizeof magic_version) != 0 ||
        memcmp(data + 9, reserved, sizeof reserved) != 0 || load_le32(data + 12) != (uint32_t)XXH3_64bits(data, 12))
        return 0;
    return load_le32(data + 5);
}

/* redex.md 3: the rename is the one moment. The caller syncs the channel root before it relies on it. */
int redex_manifest_write(struct redex *r, uint32_t generation)
{
    const struct io_plain *plain = r->io->plain;
    struct redex_path tmp, final;
    uint8_t bytes[MANIFEST_SIZE];
    io_handle h;

    if (!redex_path(&tmp, r, 0, "manifest.tmp") || !redex_path(&final, r, 0, "manifest"))
        return NET_ERR_INVALID;
    manifest_encode(bytes, generation);
    int err = plain->open(r->io, tmp.text, O_WRONLY | O_CREAT | O_TRUNC, 0600, &h);
    if (err < 0)
        return net_err_from_errno(-err);
    err = plain->write(r->io, h, bytes, sizeof bytes, 0);
    int sync = err < 0 ? err : plain->sync(r->io, h);
    int closing = plain->close(r->io, h);
    err = sync < 0 ? sync : closing;
    if (err >= 0)
        err = plain->rename(r->io, tmp.text, final.text);
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}
