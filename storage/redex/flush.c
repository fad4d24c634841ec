/*
 * From memory to the page cache: at most one write per file at a time. A write that failed or stopped short is taken up
 * where it ended, so nothing in a file is ever truncated while the log runs.
 */
#include <assert.h>
#include <errno.h>

#include "storage/redex/redex_internal.h"

enum { WRITE_MAX = 1 << 30 }; /* one operation's; `res` is 32 bits */

int redex_write_err(int32_t res)
{
    int err = res < 0 ? net_err_from_errno(-res) : NET_ERR_IO; /* a write that wrote nothing is an error too */
    return err == NET_ERR_NO_SPACE || err == NET_ERR_READ_ONLY ? err : NET_ERR_IO;
}

static void submit_write(struct redex_file *f);

/* All three are done, one way or the other. */
static void flushed(struct redex *r)
{
    counter_add(&r->stats->writes, 1);
    counter_add(&r->stats->write_ns, io_now(r->io) - r->write_at);
    if (r->write_error != NET_OK) {
        counter_add(&r->stats->write_failures, 1);
        redex_set_error(r, r->write_error);
        redex_retry_later(r);
    } else {
        redex_set_error(r, NET_OK);
        r->written_seq = r->flush_seq;
        if (redex_unwritten_bytes(r) > 0)
            redex_mark_dirty(r);
        redex_sync_by_policy(r);
        redex_sync_start(r);
    }
    redex_settled(r);
}

static void on_write(struct io_op *op, int32_t res)
{
    struct redex_file *f = container_of(op, struct redex_file, write);
    struct redex *r = f->log;

    if (res > 0) {
        f->written += (uint32_t)res;
        r->written_bytes += (uint32_t)res;
        if (f->written < f->write_end) {
            submit_write(f);
            return;
        }
    } else {
        r->write_error = redex_write_err(res);
    }
    if (--r->writes == 0)
        flushed(r);
}

static void submit_write(struct redex_file *f)
{
    uint64_t len = f->write_end - f->written;
    f->iov = (struct iovec){f->memory.base + f->written, len < WRITE_MAX ? (size_t)len : WRITE_MAX};
    f->write.kind = IO_WRITE;
    f->write.handle = f->handle;
    f->write.done = on_write;
    f->write.write.iov = &f->iov;
    f->write.write.iov_count = 1;
    f->write.write.offset = f->written;
    io_submit(f->log->io, &f->write);
}

void redex_hold(struct redex *r, uint64_t seq)
{
    assert(r->mode == REDEX_DISK && (r->hold == UINT64_MAX || seq >= r->hold));
    r->hold = seq;
    redex_mark_dirty(r);
}

void redex_give_up(struct redex *r)
{
    redex_poison(r);
    redex_settled(r);
}

struct redex_end redex_end(const struct redex *r)
{
    struct redex_end end = {r->next_seq, {0}};
    for (int i = 0; i < PARTS; i++)
        end.offset[i] = r->file[i].len;
    if (r->hold >= r->next_seq)
        return end;
    const uint8_t *idx = r->file[PART_IDX].memory.base;
    uint64_t records = redex_records(r), low = redex_search(idx, records, r->hold);
    end.seq = r->hold;
    end.offset[PART_IDX] = low * RECORD_SIZE;
    end.offset[PART_TS] = low * STAMP_SIZE;
    for (; low < records; low++) { /* payloads of what was appended lie in the order of their records */
        struct record rec = record_load(idx + low * RECORD_SIZE);
        if (!record_is_inline(rec)) {
            end.offset[PART_DAT] = rec.offset;
            break;
        }
    }
    return end;
}

bool redex_write_start(struct redex *r)
{
    if (r->paused || r->writes > 0 || redex_unwritten_bytes(r) == 0)
        return false;
    struct redex_end end = redex_end(r);
    r->flush_seq = end.seq;
    r->write_error = NET_OK;
    r->write_at = io_now(r->io);
    for (int i = 0; i < PARTS; i++) {
        struct redex_file *f = &r->file[i];
        if (f->written == end.offset[i])
            continue;
        f->write_end = end.offset[i];
        r->writes++;
        submit_write(f);
    }
    return r->writes > 0;
}

static void write_turn(struct redex *r)
{
    if (r->mode == REDEX_MEMORY || r->error == NET_ERR_POISONED)
        return;
    if (r->error != NET_OK && io_now(r->io) < r->retry_at) {
        redex_mark_dirty(r);
        return;
    }
    redex_reservation_extend(r);
    redex_mirror_step(r);
    redex_write_start(r);
}

bool redex_flush(struct redex *r)
{
    list_remove(&r->link);
    if (r->closing)
        return false;
    bool again = redex_retain_turn(r);
    again = redex_compact_turn(r) || again;
    write_turn(r);
    if (r->tell_owner) {
        bool linked = list_linked(&r->link);
        r->tell_owner = false;
        redex_settled(r);
        again = again || linked != list_linked(&r->link); /* the owner appended what had waited */
    }
    return again;
}

bool redex_flush_all(struct list *dirty)
{
    struct list now;
    bool again = false;
    if (list_empty(dirty))
        return false;
    /* Take over the whole list first: a log that still has something to do links itself for the next turn. */
    list_init(&now);
    list_push_back(dirty, &now);
    list_remove(dirty);
    for (struct list *n; (n = list_first(&now)) != NULL;)
        again = redex_flush(container_of(n, struct redex, link)) || again;
    return again;
}
