/* `producers~`: whatever stands in it, its log opens, what is remembered is told as it was noted, and the file that was
 * written anew is read as the same. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/producers/producers_internal.h"
#include "tests/support/redex_store.h"

static struct redex_store s;
static struct list dirty;
static char root[160];

static void on_progress(void *ctx, struct producers *p)
{
    (void)ctx;
    (void)p;
}

static struct producers *open_all(void)
{
    struct producers *p;
    struct producers_options options = {.root = root,
                                        .max = 100,
                                        .dirty = &dirty,
                                        .timers = &s.timers,
                                        .syncs = &s.syncs,
                                        .stats = &s.stats,
                                        .progress = on_progress};
    int err = producers_open(&p, &s.disk.io, &options);
    assert(err == NET_OK);
    s.options.torn = producers_torn;
    s.options.torn_ctx = p;
    err = redex_store_open(&s);
    assert(err == NET_OK);
    err = producers_begin(p, s.log);
    assert(err == NET_OK);
    return p;
}

/* What is remembered, as bytes. */
static uint8_t *remember(struct producers *p, size_t *len)
{
    *len = (size_t)producers_records(p) * INTENT_SIZE;
    uint8_t *bytes = malloc(*len + 1);
    assert(bytes && producers_encode(p, bytes) == bytes + *len);
    return bytes;
}

/* Most records get what makes them records: a fuzzer finds no checksum. */
static uint8_t *make_file(const uint8_t *data, size_t size)
{
    uint8_t *file = malloc(size + 1);
    assert(file);
    if (size)
        memcpy(file, data, size);
    for (uint8_t *at = file; at + INTENT_SIZE <= file + size; at += INTENT_SIZE) {
        if (at[0] % 4 == 3)
            continue;
        struct intent in = {.kind = at[0] % 4 == 2 ? INTENT_MARK : INTENT_APPEND,
                            .append = {.id = {at[1] % 4}, .sequence = at[2] % 16, .sum = at[3], .count = at[4] % 4},
                            .first_seq = at[5] % 24,
                            .wall_ns = load_le64(at + 8)};
        intent_encode(&in, at);
    }
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    uint8_t record[INTENT_SIZE], *data = make_file(input, size);
    struct intent in;
    redex_store_init(&s);
    list_init(&dirty);
    snprintf(root, sizeof root, "%s/c", s.base);
    redex_store_make(&s, 20);
    redex_store_write(&s, "c/producers~", data, size);
    for (size_t at = 0; at + INTENT_SIZE <= size; at += INTENT_SIZE)
        if (intent_decode(data + at, &in) && in.kind == INTENT_APPEND) {
            intent_encode(&in, record);
            assert(memcmp(record, data + at, INTENT_SIZE) == 0);
        }
    struct producers *p = open_all();
    size_t len, again_len;
    uint8_t *bytes = remember(p, &len);
    redex_store_kill(&s); /* not closed: the next open judges what it finds */
    producers_free(p);
    p = open_all();
    uint8_t *again = remember(p, &again_len);
    assert(again_len <= len); /* only what the log does not have may be gone */
    free(bytes);
    free(again);
    producers_free(p);
    redex_store_deinit(&s);
    free(data);
    return 0;
}
