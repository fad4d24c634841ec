/* Paths, directories and copies of what recovery cuts off. redex.md 1, 2 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/redex/redex_internal.h"

const char *const redex_part_name[PARTS] = {"dat", "idx", "ts"};

const char *redex_path(struct redex_path *out, const struct redex *r, uint32_t generation, const char *file)
{
    const char *slash = *file ? "/" : "";
    int n = generation ? snprintf(out->text, sizeof out->text, "%s/v%010u%s%s", r->root, generation, slash, file)
                       : snprintf(out->text, sizeof out->text, "%s%s%s", r->root, slash, file);
    return n > 0 && (size_t)n < sizeof out->text ? out->text : NULL;
}

int redex_layout_make(struct redex *r, size_t *created_from)
{
    struct redex_path path;
    size_t len = strlen(r->root);

    *created_from = SIZE_MAX;
    if (len >= sizeof path.text)
        return NET_ERR_INVALID;
    memcpy(path.text, r->root, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path.text[i] != '/' && path.text[i] != 0)
            continue;
        path.text[i] = 0;
        int err = r->io->plain->mkdir(r->io, path.text, 0700);
        if (err < 0 && err != -EEXIST)
            return net_err_from_errno(-err);
        if (err >= 0 && *created_from == SIZE_MAX)
            *created_from = i;
        path.text[i] = r->root[i];
    }
    return NET_OK;
}

/* A file is only as durable as the names that lead to it (gap G5): every directory that got a new name is synced. */
int redex_layout_sync(struct redex *r, size_t created_from)
{
    struct redex_path path;
    size_t len = strlen(r->root), base = strlen(r->base);

    memcpy(path.text, r->root, len + 1);
    if (base < created_from)
        created_from = base; /* that of the base and those below may be of an open that failed */
    for (size_t i = len;; i--) {
        if (i != 0 && i != len && path.text[i] != '/')
            continue;
        path.text[i] = 0;
        int err = r->io->plain->sync_dir(r->io, i > 0 ? path.text : r->root[0] == '/' ? "/" : ".");
        if (err < 0)
            return net_err_from_errno(-err);
        if (i < created_from)
            return NET_OK;
    }
}

int redex_root_sync(struct redex *r)
{
    int err = r->io->plain->sync_dir(r->io, r->root);
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}

/* root/<part>~<n>: no channel name has a `~`, so a nested channel can never meet such a file. */
static const char *aside_path(struct redex_path *out, const struct redex *r, enum redex_part part, int n)
{
    char name[16];
    snprintf(name, sizeof name, "%s~%d", redex_part_name[part], n);
    return redex_path(out, r, 0, name);
}

static int copy_from(struct redex *r, io_handle from, io_handle to, uint64_t offset)
{
    const struct io_plain *plain = r->io->plain;
    size_t room = 1 << 20;
    uint8_t *chunk = malloc(room);
    uint64_t done = 0;
    ssize_t n;
    int err = chunk ? 0 : -ENOMEM;

    while (err >= 0 && (n = plain->read(r->io, from, chunk, room, offset + done)) != 0) {
        err = n < 0 ? (int)n : plain->write(r->io, to, chunk, (size_t)n, done);
        done += n > 0 ? (uint64_t)n : 0;
    }
    free(chunk);
    return err < 0 ? err : plain->sync(r->io, to);
}

int redex_set_aside(struct redex *r, enum redex_part part, uint64_t from)
{
    struct redex_path a, b;
    io_handle h;

    for (int n = SET_ASIDE_KEEP; n > 1; n--) {
        if (!aside_path(&a, r, part, n - 1) || !aside_path(&b, r, part, n))
            return NET_ERR_INVALID;
        int err = r->io->plain->rename(r->io, a.text, b.text);
        if (err < 0 && err != -ENOENT)
            return net_err_from_errno(-err);
    }
    int err = r->io->plain->open(r->io, a.text, O_WRONLY | O_CREAT | O_TRUNC, 0600, &h);
    if (err < 0)
        return net_err_from_errno(-err);
    err = copy_from(r, r->file[part].handle, h, from);
    int closing = r->io->plain->close(r->io, h);
    err = err < 0 ? err : closing;
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}
