/*
 * Makes the files what the scan found. Nothing is lost on the way: what is cut off or rewritten is copied aside first,
 * and running again after a crash anywhere in here comes to the same end.
 */
#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "storage/redex/redex_internal.h"

/* The copies have their names on stable storage before the caller cuts anything: a power cut may not take both.
 * `dat_keep`: dat stays as it is up to there. */
static int set_aside(struct redex *r, const struct redex_scan *scan, const uint64_t len[PARTS], uint64_t dat_keep)
{
    uint64_t keep = scan->moved ? 0 : scan->kept * RECORD_SIZE;
    bool idx = keep < len[PART_IDX], dat = dat_keep < len[PART_DAT];
    int err = idx ? redex_set_aside(r, PART_IDX, keep) : NET_OK;
    if (err == NET_OK && dat)
        err = redex_set_aside(r, PART_DAT, dat_keep);
    return err == NET_OK && (idx || dat) ? redex_root_sync(r) : err;
}

static int write_part(struct redex *r, enum redex_part part, uint64_t from)
{
    struct redex_file *f = &r->file[part];
    if (from >= f->len)
        return NET_OK;
    int err = r->io->plain->write(r->io, f->handle, f->memory.base + from, (size_t)(f->len - from), from);
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}

static int cut(struct redex *r, enum redex_part part, uint64_t len, uint64_t found)
{
    if (found <= len)
        return NET_OK;
    int err = r->io->plain->truncate(r->io, r->file[part].handle, len);
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}

static int sync_parts(struct redex *r)
{
    int err = 0;
    for (int i = 0; i < PARTS && err >= 0; i++)
        err = r->io->plain->sync(r->io, r->file[i].handle);
    return err < 0 ? net_err_from_errno(-err) : NET_OK;
}

/* What is kept is what was there, up to a point: the usual case after a crash. */
static int trim(struct redex *r, const struct redex_scan *scan, const struct redex_seq_state *state,
                const uint64_t len[PARTS])
{
    int err = cut(r, PART_IDX, r->file[PART_IDX].len, len[PART_IDX]);
    if (err == NET_OK)
        err = cut(r, PART_DAT, r->file[PART_DAT].len, len[PART_DAT]);
    if (err == NET_OK)
        err = cut(r, PART_TS, scan->stamps_lost ? scan->stamps * STAMP_SIZE : r->file[PART_TS].len, len[PART_TS]);
    if (err == NET_OK)
        err = write_part(r, PART_TS, scan->stamps * STAMP_SIZE);
    if (err != NET_OK)
        return err;
    err = sync_parts(r);
    if (err != NET_OK) /* also of what a process that was killed had written: the next open would believe it is safe */
        redex_reservation_distrust(r, state);
    return err;
}

static int sync_generation_dir(struct redex *r)
{
    struct redex_path path;
    if (!redex_path(&path, r, r->generation, ""))
        return NET_ERR_INVALID;
    int err = r->io->plain->sync_dir(r->io, path.text);
    return err < 0 ? net_err_from_errno(-err) : redex_root_sync(r);
}

static int write_generation(struct redex *r)
{
    int err = redex_generation_open(r, O_TRUNC);
    for (int i = 0; i < PARTS && err == NET_OK; i++)
        err = write_part(r, (enum redex_part)i, 0);
    if (err == NET_OK)
        err = sync_parts(r);
    if (err == NET_OK)
        err = sync_generation_dir(r);
    return err == NET_OK ? redex_manifest_write(r, r->generation) : err;
}

/* The payloads of dropped events leave no gaps, in memory: else they would count against the log's limit for as long as
 * what is before them is kept. Returns where the first was. Payloads that are out of order stay where they are. */
static uint64_t close_gaps(struct redex *r)
{
    struct redex_file *dat = &r->file[PART_DAT];
    uint8_t *idx = r->file[PART_IDX].memory.base;
    uint64_t end = 0, first = dat->len;
    if (!r->ascending || r->heap_bytes == dat->len)
        return first;
    for (uint64_t i = 0; i < r->count; i++) {
        struct record rec = record_load(idx + i * RECORD_SIZE);
        if (record_is_inline(rec))
            continue;
        if (rec.offset > end && end < first)
            first = end;
        memmove(dat->memory.base + end, dat->memory.base + rec.offset, rec.len);
        rec.offset = (uint32_t)end;
        record_store(idx + i * RECORD_SIZE, rec);
        end += rec.len;
    }
    dat->len = dat->written = dat->synced = end;
    return first;
}

/*
 * Events were dropped from the middle, or fields put right: all three files change together, and only the manifest can
 * change more than one at once (gap G3).
 */
static int rewrite(struct redex *r)
{
    uint32_t old = r->generation;
    int err = NET_OK;
    do {
        if (r->generation == UINT32_MAX) {
            r->generation = old;
            return NET_ERR_CORRUPT;
        }
        r->generation++;
    } while (redex_generation_taken(r, r->generation, &err));
    if (err != NET_OK) {
        r->generation = old;
        return err;
    }

    redex_generation_close(r);
    err = write_generation(r);
    if (err != NET_OK) { /* a partial copy would win over the old one if the manifest were lost (gap G16) */
        redex_generation_close(r);
        redex_generation_delete(r, r->generation);
        r->generation = old;
    }
    return err;
}

int redex_repair(struct redex *r, const struct redex_scan *scan, const struct redex_seq_state *state,
                 const uint64_t len[PARTS])
{
    assert(r->file[PART_IDX].len == scan->kept * RECORD_SIZE && r->file[PART_TS].len == scan->kept * STAMP_SIZE);
    uint64_t dat_keep = scan->moved ? close_gaps(r) : scan->dat_end;
    int err = set_aside(r, scan, len, dat_keep);
    if (err == NET_OK)
        err = scan->moved || scan->unsure ? rewrite(r) : trim(r, scan, state, len);
    return err;
}
