/* Which generation directory is the live one, and what becomes of the others. redex.md 7.1, 7.2, 7.3.10, gaps G2, G14
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "storage/redex/redex_internal.h"

/* Some errors say that there is no such file. Any other (a disk that fails, no handle left) says nothing, and is noted
 * in *err: who took it for the absence of a manifest would choose another generation, and delete the live one. */
static void note_unless_absent(int error, int *err)
{
    bool absent = error == -ENOENT || error == -ENOTDIR || error == -EISDIR || error == -EINVAL || error == -ENXIO;
    if (!absent && *err == NET_OK)
        *err = net_err_from_errno(-error);
}

/* Size of a regular file; -1: there is none, or *err; opening for writing is what tells it from a directory. */
static int64_t file_size(struct redex *r, uint32_t generation, const char *name, int *err)
{
    struct redex_path path;
    io_handle h;
    if (!redex_path(&path, r, generation, name))
        return -1;
    int opened = r->io->plain->open(r->io, path.text, O_RDWR | O_NONBLOCK, 0, &h);
    if (opened < 0) {
        note_unless_absent(opened, err);
        return -1;
    }
    int64_t size = r->io->plain->size(r->io, h);
    int closed = r->io->plain->close(r->io, h);
    if (size < 0 || closed < 0)
        note_unless_absent(closed < 0 ? closed : (int)size, err);
    return size < 0 || closed < 0 ? -1 : size;
}

static bool present(struct redex *r, uint32_t generation, enum redex_part part, int *err)
{
    return file_size(r, generation, redex_part_name[part], err) >= 0;
}

static bool complete(struct redex *r, uint32_t generation, int *err)
{
    return present(r, generation, PART_IDX, err) && present(r, generation, PART_DAT, err) &&
           present(r, generation, PART_TS, err);
}

/* True if no record of the generation needs a `dat`. */
static bool needs_no_dat(struct redex *r, uint32_t generation, int *err)
{
    struct redex_path path;
    uint8_t bytes[RECORD_SIZE];
    io_handle h;
    bool needs = false;
    ssize_t n = 0;

    if (!redex_path(&path, r, generation, "idx"))
        return false;
    int opened = r->io->plain->open(r->io, path.text, O_RDONLY | O_NONBLOCK, 0, &h);
    if (opened < 0) {
        note_unless_absent(opened, err);
        return false;
    }
    for (uint64_t at = 0; !needs && (n = r->io->plain->read(r->io, h, bytes, sizeof bytes, at)) == RECORD_SIZE;
         at += RECORD_SIZE) {
        struct record rec = record_load(bytes);
        needs = !record_is_inline(rec) && rec.len > 0;
    }
    int closed = r->io->plain->close(r->io, h);
    if (n < 0 || closed < 0)
        note_unless_absent(n < 0 ? (int)n : closed, err);
    return n >= 0 && closed >= 0 && !needs;
}

/* 0: there is none that can be believed, or *err. */
static uint32_t read_manifest(struct redex *r, int *err)
{
    struct redex_path path;
    uint8_t bytes[MANIFEST_SIZE];
    io_handle h;
    if (!redex_path(&path, r, 0, "manifest"))
        return 0;
    int opened = r->io->plain->open(r->io, path.text, O_RDONLY | O_NONBLOCK, 0, &h);
    if (opened < 0) {
        note_unless_absent(opened, err);
        return 0;
    }
    ssize_t n = r->io->plain->read(r->io, h, bytes, sizeof bytes, 0);
    int closed = r->io->plain->close(r->io, h);
    if (n < 0 || closed < 0)
        note_unless_absent(n < 0 ? (int)n : closed, err);
    return n > 0 && closed >= 0 ? manifest_decode(bytes, (size_t)n) : 0;
}

/* `v` and 10 decimal digits, 1 to 2^32-1; else 0. */
static uint32_t parse_generation(const struct io_dirent *e)
{
    if (!e->is_dir || strlen(e->name) != 11 || e->name[0] != 'v')
        return 0;
    uint64_t n = 0;
    for (int i = 1; i < 11; i++) {
        if (e->name[i] < '0' || e->name[i] > '9')
            return 0;
        n = n * 10 + (uint64_t)(e->name[i] - '0');
    }
    return n <= UINT32_MAX ? (uint32_t)n : 0;
}

struct walk {
    struct redex *r;
    uint32_t highest_complete, highest_records; /* the latter has an idx that is not empty */
    int err;
};

static int look_at(void *ctx, const struct io_dirent *e)
{
    struct walk *w = ctx;
    uint32_t g = parse_generation(e);
    if (g > w->highest_complete && complete(w->r, g, &w->err))
        w->highest_complete = g;
    if (g > w->highest_records && file_size(w->r, g, "idx", &w->err) > 0)
        w->highest_records = g;
    return w->err;
}

static int make_generation(struct redex *r, uint32_t generation)
{
    struct redex_path path;
    if (!redex_path(&path, r, generation, ""))
        return NET_ERR_INVALID;
    int err = r->io->plain->mkdir(r->io, path.text, 0700);
    return err < 0 && err != -EEXIST ? net_err_from_errno(-err) : NET_OK;
}

/* redex.md 7.2. Resumes when any subset was moved already; what is in generation 1 is never overwritten. */
static int migrate(struct redex *r, bool *migrated)
{
    struct redex_path from, to;
    int err = make_generation(r, 1);

    for (int i = 0; err >= 0 && i < PARTS; i++) {
        if (file_size(r, 0, redex_part_name[i], &err) < 0 || present(r, 1, (enum redex_part)i, &err) || err < 0)
            continue;
        if (!redex_path(&from, r, 0, redex_part_name[i]) || !redex_path(&to, r, 1, redex_part_name[i]))
            return NET_ERR_INVALID;
        int moved = r->io->plain->rename(r->io, from.text, to.text);
        err = moved < 0 ? net_err_from_errno(-moved) : NET_OK;
        *migrated = true;
    }
    return err;
}

static bool has_flat_file(struct redex *r, int *err)
{
    return file_size(r, 0, "idx", err) >= 0 || file_size(r, 0, "dat", err) >= 0 || file_size(r, 0, "ts", err) >= 0;
}

/*
 * redex.md 7.1, with G14: a generation whose idx is there is not given up because a file is missing that holds no event
 * (ts never does, dat not if all events are inline or empty), and not before the flat layout or a fresh start when
 * nothing complete exists.
 */
int redex_generation_find(struct redex *r, bool *migrated, bool *by_manifest)
{
    int err = NET_OK;
    uint32_t named = read_manifest(r, &err);
    struct walk w = {.r = r};

    *migrated = false;
    *by_manifest = named && present(r, named, PART_IDX, &err) &&
                   (present(r, named, PART_DAT, &err) || needs_no_dat(r, named, &err));
    if (err != NET_OK)
        return err;
    if (*by_manifest) {
        r->generation = named;
        return NET_OK;
    }
    int listed = r->io->plain->list(r->io, r->root, look_at, &w);
    bool named_has_records = named && file_size(r, named, "idx", &w.err) > 0;
    bool flat = has_flat_file(r, &w.err);
    if (w.err != NET_OK || listed < 0)
        return w.err != NET_OK ? w.err : net_err_from_errno(-listed);
    if (w.highest_complete)
        r->generation = w.highest_complete;
    else if (named_has_records)
        r->generation = named;
    else if (w.highest_records > 1)
        r->generation = w.highest_records;
    else {
        r->generation = 1;
        err = flat ? migrate(r, migrated) : make_generation(r, 1);
    }
    return err;
}

int redex_generation_open(struct redex *r, int flags)
{
    struct redex_path path;
    int err = make_generation(r, r->generation);
    for (int i = 0; err >= 0 && i < PARTS; i++) {
        if (!redex_path(&path, r, r->generation, redex_part_name[i]))
            return NET_ERR_INVALID;
        int opened = r->io->plain->open(r->io, path.text, O_RDWR | O_CREAT | flags, 0600, &r->file[i].handle);
        if (opened < 0) {
            r->file[i].handle = IO_NO_HANDLE;
            err = net_err_from_errno(-opened);
        }
    }
    return err;
}

void redex_generation_close(struct redex *r)
{
    for (int i = 0; i < PARTS; i++) {
        if (r->file[i].handle != IO_NO_HANDLE)
            r->io->plain->close(r->io, r->file[i].handle);
        r->file[i].handle = IO_NO_HANDLE;
    }
}

void redex_generation_delete(struct redex *r, uint32_t generation)
{
    struct redex_path path;
    for (int i = 0; i < PARTS; i++)
        if (redex_path(&path, r, generation, redex_part_name[i]))
            r->io->plain->unlink(r->io, path.text);
    if (redex_path(&path, r, generation, ""))
        r->io->plain->rmdir(r->io, path.text);
}

bool redex_generation_taken(struct redex *r, uint32_t generation, int *err)
{
    return file_size(r, generation, "manifest", err) >= 0;
}

static void move_aside(struct redex *r, uint32_t generation)
{
    struct redex_path from, to;
    char name[16];
    snprintf(name, sizeof name, "v%010u~", generation);
    if (redex_path(&from, r, generation, "") && redex_path(&to, r, 0, name))
        r->io->plain->rename(r->io, from.text, to.text);
}

struct sweep {
    uint32_t found[64];
    size_t count;
    uint32_t live;
};

static int note_other(void *ctx, const struct io_dirent *e)
{
    struct sweep *s = ctx;
    uint32_t g = parse_generation(e);
    if (g && g != s->live && s->count < sizeof s->found / sizeof s->found[0])
        s->found[s->count++] = g;
    return 0;
}

/* Best effort: what stays is met again by the next open. */
void redex_generation_sweep(struct redex *r, bool by_manifest)
{
    struct redex_path path;
    struct sweep s = {.live = r->generation};

    if (redex_path(&path, r, 0, "manifest.tmp"))
        r->io->plain->unlink(r->io, path.text);
    r->io->plain->list(r->io, r->root, note_other, &s);
    for (size_t i = 0; i < s.count; i++) {
        uint32_t g = s.found[i];
        int err = NET_OK;
        if (redex_generation_taken(r, g, &err))
            continue;
        bool astray = !by_manifest && !complete(r, g, &err) &&
                      (file_size(r, g, "idx", &err) > 0 || file_size(r, g, "dat", &err) > 0);
        if (err != NET_OK)
            continue;
        if (astray)
            move_aside(r, g);
        else
            redex_generation_delete(r, g);
    }
}
