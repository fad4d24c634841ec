/*
 * The file `seq~` of a channel root: a sequence never names two events (design "Logs", gap G1).
 *
 * Two slots of 64 bytes, 4 KiB apart so that no torn sector spoils both; a record goes to the slot that does not hold
 * the newest good one, and is in force when it is synced. The reference ignores the file, and no channel can be named
 * like it.
 *
 *      0  "NMSQ"                              16  reserved u64     40  boot id
 *      4  1 = clean stop, 2 = a sync failed   24  next_seq u64     56  XXH3-64 of 0..56
 *      8  version u64: the higher is newer    32  end u64
 *
 * next_seq is where this run went on (clean: where the next goes on), `end` the sequence after the last event in the
 * files then: together they tell the scan a hole that we made from a flipped bit.
 *
 * Where does a log go on?
 * - After a clean stop: at next_seq. Nothing was used beyond it.
 * - After a kill (no clean stop, same boot): behind the last event in the files. Answers, tails and followers only show
 * a sequence whose write had completed, so it is in the page cache, which outlived the process. Live fan-out may have
 * shown an event that was never written, but not its sequence: what goes to a peer carries none, and the peer's log of
 * it has sequences of its own.
 * - Else (power cut, unknown boot, a slot that cannot be read): what was written may be gone though its sequence was
 * shown, so behind everything that was reserved. The hole is a gap.
 *
 * A mirror gives no sequences away, and reserves none (mirror.c): next_seq is where it began or, when the other log has
 * a hole, goes on behind it; what the files hold below `end` is on stable storage.
 */
#include <errno.h>
#include <fcntl.h>

#include "storage/redex/redex_internal.h"

enum { SLOT_GAP = 4096, SLOTS = 2, SUMMED = 56 };
#define SLOT_MAGIC UINT32_C(0x51534d4e) /* "NMSQ" */

enum { RUNNING, CLEAN, SYNC_FAILED };

static void encode(uint8_t out[SEQ_SLOT_SIZE], const struct redex_reservation *s, bool clean, uint64_t next_seq,
                   uint64_t end)
{
    store_le32(out, SLOT_MAGIC);
    store_le32(out + 4, clean ? CLEAN : s->sync_failed ? SYNC_FAILED : RUNNING);
    store_le64(out + 8, s->version + 1);
    store_le64(out + 16, s->pending);
    store_le64(out + 24, next_seq);
    store_le64(out + 32, end);
    memcpy(out + 40, s->boot, sizeof s->boot);
    store_le64(out + SUMMED, XXH3_64bits(out, SUMMED));
}

static bool slot_valid(const uint8_t *p)
{
    return load_le32(p) == SLOT_MAGIC && load_le32(p + 4) <= SYNC_FAILED &&
           load_le64(p + SUMMED) == XXH3_64bits(p, SUMMED);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    size_t i = 0;
    while (i < len && p[i] == 0)
        i++;
    return i == len;
}

static void decode(struct redex_reservation *s, const uint8_t *p, struct redex_seq_state *out)
{
    static const uint8_t unknown[16];
    out->known = true;
    out->clean = load_le32(p + 4) == CLEAN;
    s->version = load_le64(p + 8);
    out->reserved = load_le64(p + 16);
    out->next_seq = load_le64(p + 24);
    out->end = load_le64(p + 32);
    out->sync_failed = load_le32(p + 4) == SYNC_FAILED;
    out->same_boot = memcmp(p + 40, s->boot, sizeof s->boot) == 0 && memcmp(s->boot, unknown, sizeof unknown) != 0;
}

int redex_reservation_open(struct redex *r, struct redex_seq_state *out)
{
    struct redex_reservation *s = &r->reservation;
    struct redex_path path;
    uint8_t bytes[SEQ_SLOT_SIZE];

    *out = (struct redex_seq_state){0};
    r->io->plain->boot_id(r->io, s->boot);
    if (!redex_path(&path, r, 0, "seq~"))
        return NET_ERR_INVALID;
    int err = r->io->plain->open(r->io, path.text, O_RDWR | O_CREAT, 0600, &s->handle);
    if (err < 0) {
        s->handle = IO_NO_HANDLE;
        return net_err_from_errno(-err);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        ssize_t n = r->io->plain->read(r->io, s->handle, bytes, sizeof bytes, i * SLOT_GAP);
        if (n < 0)
            return net_err_from_errno((int)-n);
        if (n == sizeof bytes && slot_valid(bytes)) {
            if (out->known && load_le64(bytes + 8) <= s->version)
                continue;
            decode(s, bytes, out);
            s->slot = (i + 1) % SLOTS;
        } else if (!all_zero(bytes, (size_t)n)) {
            out->damaged = true;
        }
    }
    return NET_OK;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t redex_reservation_next(const struct redex_seq_state *s, uint64_t used)
{
    uint64_t next = used;
    if (s->known && s->next_seq > next)
        next = s->next_seq;
    if (s->damaged) /* the lost record reserved a block more, or several: a block holds half a million events */
        return add(s->known && s->reserved > next ? s->reserved : next, 2 * REDEX_BLOCK);
    if (s->known && !s->clean && !s->same_boot && s->reserved > next)
        next = s->reserved;
    return next;
}

static int begin(struct redex *r)
{
    struct redex_reservation *s = &r->reservation;
    encode(s->record, s, false, s->start, s->end);
    int err = r->io->plain->write(r->io, s->handle, s->record, sizeof s->record, s->slot * SLOT_GAP);
    if (err >= 0)
        err = r->io->plain->sync(r->io, s->handle);
    if (err < 0)
        return net_err_from_errno(-err);
    s->version++;
    s->slot = (s->slot + 1) % SLOTS;
    s->reserved = s->pending;
    return NET_OK;
}

int redex_reservation_begin(struct redex *r, const struct redex_seq_state *state, uint64_t end)
{
    r->reservation.start = r->next_seq;
    r->reservation.end = end;
    r->reservation.pending = r->mirror ? UINT64_MAX : add(r->next_seq, REDEX_BLOCK);
    r->reservation.sync_failed = state->sync_failed;
    int err = begin(r);
    /* The other slot too: a damaged one would make a gap at every open, and one that was never written would want
     * space when the disk is full. */
    return err == NET_OK && (state->damaged || !state->known) ? begin(r) : err;
}

/* Of a mirror nothing was begun yet: what its record says, it goes on to say. */
void redex_reservation_distrust(struct redex *r, const struct redex_seq_state *state)
{
    struct redex_reservation *s = &r->reservation;
    if (r->mirror) {
        s->start = state->next_seq;
        s->end = state->end;
        s->pending = UINT64_MAX;
    }
    s->sync_failed = true;
    (void)begin(r); /* one attempt: the disk is failing */
}

int redex_reservation_trust(struct redex *r)
{
    r->reservation.sync_failed = false;
    return begin(r);
}

static struct redex *owner(struct io_op *op)
{
    return container_of(op, struct redex, reservation.op);
}

static void submit(struct redex *r, bool clean, uint64_t next_seq, uint64_t end);

/* The sequence after the last event in the files. */
static uint64_t end_of(const struct redex *r)
{
    return redex_records(r) ? redex_last_seq(r) + 1 : 0;
}

static void say_failed(struct redex *r)
{
    struct redex_reservation *s = &r->reservation;
    if (s->busy || !s->say_failed)
        return;
    s->say_failed = false; /* one attempt: the disk is failing */
    s->pending = s->reserved;
    submit(r, false, s->start, s->end);
}

void redex_poison(struct redex *r)
{
    struct redex_reservation *s = &r->reservation;
    redex_set_error(r, NET_ERR_POISONED);
    s->say_failed = s->say_failed || !s->sync_failed; /* it may wait for a record under way, and that fail too */
    s->sync_failed = true;
    say_failed(r);
}

/* Not in force, and the old reservation still is: the next flush tries again, in the same slot. */
static void failed(struct redex *r, int err)
{
    r->reservation.busy = r->reservation.skipping = false;
    redex_set_error(r, redex_write_err(-err));
    redex_retry_later(r);
    say_failed(r);
    redex_settled(r);
}

/* The record is in force: the log goes on behind the hole. All before is synced, and nothing is in flight. */
static void skipped(struct redex *r)
{
    r->reservation.start = r->skip_to;
    r->reservation.end = end_of(r);
    r->next_seq = r->written_seq = r->synced_seq = r->flush_seq = r->triggered_seq = r->skip_to;
}

static void on_synced(struct io_op *op, int32_t res)
{
    struct redex *r = owner(op);
    struct redex_reservation *s = &r->reservation;

    s->busy = false;
    if (res < 0) {
        redex_poison(r);
    } else {
        s->version++;
        s->slot = (s->slot + 1) % SLOTS;
        s->reserved = s->pending;
        s->clean = s->marking_clean;
        if (s->skipping)
            skipped(r);
        if (redex_unwritten_bytes(r) == 0)
            redex_set_error(r, NET_OK);
        say_failed(r);
    }
    s->skipping = false;
    redex_settled(r);
}

static void submit_write(struct redex *r);

static void on_written(struct io_op *op, int32_t res)
{
    struct redex *r = owner(op);
    struct redex_reservation *s = &r->reservation;

    if (res <= 0) {
        failed(r, res < 0 ? -res : EIO);
        return;
    }
    s->done += (size_t)res;
    if (s->done < sizeof s->record) {
        submit_write(r);
        return;
    }
    op->kind = IO_FDATASYNC;
    op->handle = s->handle;
    op->done = on_synced;
    io_submit(r->io, op);
}

static void submit_write(struct redex *r)
{
    struct redex_reservation *s = &r->reservation;
    s->iov = (struct iovec){s->record + s->done, sizeof s->record - s->done};
    s->op.kind = IO_WRITE;
    s->op.handle = s->handle;
    s->op.done = on_written;
    s->op.write.iov = &s->iov;
    s->op.write.iov_count = 1;
    s->op.write.offset = s->slot * SLOT_GAP + s->done;
    io_submit(r->io, &s->op);
}

static void submit(struct redex *r, bool clean, uint64_t next_seq, uint64_t end)
{
    struct redex_reservation *s = &r->reservation;
    encode(s->record, s, clean, next_seq, end);
    s->busy = true;
    s->marking_clean = clean;
    s->done = 0;
    submit_write(r);
}

void redex_reservation_extend(struct redex *r)
{
    struct redex_reservation *s = &r->reservation;
    if (s->busy || (s->reserved > add(r->next_seq, REDEX_BLOCK / 2) && s->reserved >= s->requested))
        return;
    s->pending = add(r->next_seq > s->requested ? r->next_seq : s->requested, REDEX_BLOCK);
    if (s->pending > s->reserved)
        submit(r, false, s->start, s->end);
}

void redex_reservation_end(struct redex *r)
{
    struct redex_reservation *s = &r->reservation;
    s->pending = s->reserved;
    submit(r, true, r->next_seq, end_of(r));
}

void redex_reservation_skip(struct redex *r)
{
    r->reservation.pending = r->reservation.reserved;
    r->reservation.skipping = true;
    submit(r, false, r->skip_to, end_of(r));
}
