/*
 * Recovery of arbitrary files. The input is cut into idx, dat, ts, manifest and seq~ by four 16-bit lengths; whatever
 * they hold, the log opens, reads in order, takes an append, and the second open finds nothing left to repair; nor does
 * the one after retention gave up a part and the rest was written anew. Some are a mirror's.
 */
#include <assert.h>

#include "core/base/err.h"
#include "tests/support/redex_store.h"

static struct cspan take(struct cspan *in, size_t len)
{
    len = len < in->len ? len : in->len;
    struct cspan out = {in->data, len};
    in->data += len;
    in->len -= len;
    return out;
}

/* Reads everything, each byte of it; returns how many events. */
static uint64_t read_all(struct redex *log)
{
    struct redex_event e[16];
    uint64_t seq = 0, count = 0, last = 0, sum = 0;
    for (size_t n; (n = redex_read(log, &seq, UINT64_MAX, e, 16)) > 0;) {
        for (size_t i = 0; i < n; i++, count++) {
            assert(count == 0 || e[i].seq > last);
            last = e[i].seq;
            for (size_t k = 0; k < e[i].data.len; k++)
                sum += e[i].data.data[k];
        }
    }
    assert(count == 0 || redex_next_seq(log) > last);
    assert(sum <= redex_bytes(log) * 255);
    return count;
}

static const char *const paths[] = {"c/v0000000001/idx", "c/v0000000001/dat", "c/v0000000001/ts", "c/manifest",
                                    "c/seq~"};
enum { FILES = 5, HEAD = 9 };

static void make_files(struct redex_store *s, struct cspan in)
{
    struct cspan head = take(&in, HEAD);
    for (int i = 0; i < FILES; i++) {
        struct cspan part = take(&in, i < FILES - 1 ? load_le16(head.data + 2 * i) : in.len);
        if (head.data[8] >> i & 1)
            redex_store_write(s, paths[i], part.data, part.len);
    }
}

/* Each change is file and kind, offset, value: 4 bytes. */
static void change_files(struct redex_store *s, struct cspan in)
{
    uint64_t seq;
    assert(redex_store_open(s) == NET_OK);
    redex_store_fill(s, 0, 12);
    assert(redex_append_inline(s->log, 5, (const uint8_t *)"inline12", &seq) == NET_OK);
    redex_store_fill(s, 13, 4);
    assert(redex_store_close(s) == NET_OK);
    while (in.len >= 4) {
        struct cspan change = take(&in, 4);
        const char *path = paths[change.data[0] % FILES];
        long size = redex_store_size(s, path), at = size > 0 ? load_le16(change.data + 1) % size : 0;
        if (size > 0 && change.data[0] & 0x80)
            redex_store_truncate(s, path, at);
        else if (size > 0)
            redex_store_flip(s, path, (size_t)at, change.data[3] % 8);
    }
}

static void be_mirror(struct redex_store *s)
{
    static const char name[] = "00112233445566778899aabbccddeeff\n";
    redex_store_write(s, "c/log.id", name, sizeof name - 1);
    s->options.mirror = true;
}

static int append(struct redex_store *s)
{
    static const uint8_t frame[] = "\x08\0\0\0appended", run[REDEX_RUN_SIZE] = {1};
    uint64_t seq = redex_next_seq(s->log), next = seq;
    int err = s->options.mirror
                  ? redex_append_at(s->log, next, (struct cspan){run, sizeof run}, (struct cspan){frame, 12}, 1)
                  : redex_append(s->log, 1, (struct cspan){frame + 4, 8}, &seq);
    assert(err == NET_OK ? seq == next : err == NET_ERR_FULL && next == UINT64_MAX);
    return err;
}

static void retain_some(struct redex_store *s, uint64_t keep)
{
    struct redex_policy policy = {.retain_events = 1 + keep};
    uint64_t before = redex_count(s->log), expected = before < policy.retain_events ? before : policy.retain_events;
    redex_set_policy(s->log, &policy);
    while (!list_empty(&s->dirty))
        redex_store_flush(s);
    assert(redex_error(s->log) == NET_OK && redex_compaction_error(s->log) == NET_OK);
    assert(read_all(s->log) == expected);
    uint64_t first = redex_first_seq(s->log), next = redex_next_seq(s->log), bytes = redex_bytes(s->log);
    assert(redex_store_close(s) == NET_OK);
    s->options.policy = policy;
    assert(redex_store_open(s) == NET_OK);
    assert(s->report.dropped_events == 0 && s->report.repaired_fields == 0 && s->report.trimmed_bytes == 0);
    assert(read_all(s->log) == expected && redex_first_seq(s->log) == first && redex_next_seq(s->log) == next);
    assert(redex_bytes(s->log) == bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redex_store s;
    uint64_t count;

    if (size < HEAD)
        return 0;
    redex_store_init(&s);
    s.options.min_dead = 1;
    if (data[0] & 1)
        make_files(&s, (struct cspan){data, size});
    else
        change_files(&s, (struct cspan){data + 1, size - 1});
    s.disk.boot[0] ^= data[0] & 2;
    if ((data[0] & 5) == 5)
        be_mirror(&s);

    assert(redex_store_open(&s) == NET_OK);
    count = read_all(s.log);
    int err = append(&s);
    assert(redex_store_close(&s) == NET_OK);

    assert(redex_store_open(&s) == NET_OK);
    assert(s.report.dropped_events == 0 && s.report.repaired_fields == 0 && s.report.trimmed_bytes == 0);
    assert(read_all(s.log) + (redex_next_seq(s.log) == UINT64_MAX) >= count + (err == NET_OK));
    retain_some(&s, data[0] >> 4);
    redex_store_deinit(&s);
    return 0;
}
