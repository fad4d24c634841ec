/* Directories, manifest, generations, migration: redex.md 24, items 1 to 7, 17 to 23, 62, 64; gaps G2, G5, G6, G14. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"

static struct redex_store s;

static void setup(void)
{
    redex_store_init(&s);
}

static void teardown(void)
{
    redex_store_deinit(&s);
}

TestSuite(redex_layout, .init = setup, .fini = teardown);

static const uint8_t manifest1[16] = {0x52, 0x45, 0x44, 0x4d, 1, 1, 0, 0, 0, 0, 0, 0, 0x3e, 0xe1, 0xc1, 0x50};
static const uint8_t manifest2[16] = {0x52, 0x45, 0x44, 0x4d, 1, 2, 0, 0, 0, 0, 0, 0, 0x7e, 0x22, 0x5a, 0x93};
static const uint8_t manifest7[16] = {0x52, 0x45, 0x44, 0x4d, 1, 7, 0, 0, 0, 0, 0, 0, 0xe3, 0x85, 0x10, 0x2b};

/* The three files of generation 1, again as those of `dir` without one of them (or all, if without is ""). */
static void copy_generation(const char *dir, const char *without)
{
    static uint8_t bytes[65536];
    for (int i = 0; i < PARTS; i++) {
        char from[128], to[128];
        snprintf(from, sizeof from, "c/v0000000001/%s", redex_part_name[i]);
        snprintf(to, sizeof to, "c/%s/%s", dir, redex_part_name[i]);
        if (strcmp(redex_part_name[i], without) != 0)
            redex_store_write(&s, to, bytes, redex_store_read(&s, from, bytes, sizeof bytes));
    }
}

static void drop_file(const char *path)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", s.base, path);
    cr_assert_eq(unlink(full), 0, "%s", path);
}

static void drop_generation(const char *dir)
{
    for (int i = 0; i < PARTS; i++) {
        char path[128];
        snprintf(path, sizeof path, "c/%s/%s", dir, redex_part_name[i]);
        if (redex_store_size(&s, path) >= 0)
            drop_file(path);
    }
    char full[512];
    snprintf(full, sizeof full, "%s/c/%s", s.base, dir);
    cr_assert_eq(rmdir(full), 0);
}

static void expect_manifest(uint32_t generation)
{
    uint8_t got[32];
    cr_assert_eq(redex_store_read(&s, "c/manifest", got, sizeof got), 16);
    cr_assert_eq(manifest_decode(got, 16), generation);
}

Test(redex_layout, manifest_bytes)
{
    static const struct {
        const uint8_t *bytes;
        uint32_t generation;
    } cases[] = {{manifest1, 1}, {manifest2, 2}, {manifest7, 7}};
    for (size_t i = 0; i < 3; i++) {
        uint8_t got[16];
        manifest_encode(got, cases[i].generation);
        cr_assert_eq(memcmp(got, cases[i].bytes, 16), 0);
        cr_assert_eq(manifest_decode(cases[i].bytes, 16), cases[i].generation);
        for (unsigned bit = 0; bit < 128; bit++) {
            memcpy(got, cases[i].bytes, 16);
            got[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_eq(manifest_decode(got, 16), 0, "bit %u", bit);
        }
        cr_assert_eq(manifest_decode(cases[i].bytes, 15), 0);
    }
    cr_assert_eq(manifest_decode(NULL, 0), 0);
}

/* Item 3: what the checksum alone would let through. */
Test(redex_layout, manifest_fields)
{
    uint8_t m[16];
    manifest_encode(m, 0);
    cr_assert_eq(manifest_decode(m, 16), 0);
    for (size_t at = 9; at < 12; at++) {
        manifest_encode(m, 3);
        m[at] = 1;
        store_le32(m + 12, (uint32_t)XXH3_64bits(m, 12));
        cr_assert_eq(manifest_decode(m, 16), 0);
    }
}

/* Items 5 and 6. */
Test(redex_layout, a_new_channel)
{
    static const uint8_t idx[40] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0xfd, 0xdc, 0x62, 0x0c,
                                    1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0x25, 0x51, 0x30, 0x0d};
    uint8_t bytes[64];
    uint64_t seq;
    s.options.name = "sensors/lidar";
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_store_size(&s, "sensors/lidar/v0000000001/idx"), 0);
    cr_assert_eq(redex_store_size(&s, "sensors/lidar/v0000000001/dat"), 0);
    cr_assert_eq(redex_store_size(&s, "sensors/lidar/v0000000001/ts"), 0);
    cr_assert_eq(redex_store_read(&s, "sensors/lidar/manifest", bytes, sizeof bytes), 16);
    cr_assert_eq(memcmp(bytes, manifest1, 16), 0);
    uint64_t now = UINT64_C(1700000000000000000);
    cr_assert_eq(redex_append(s.log, now, (struct cspan){(const uint8_t *)"hello", 5}, &seq), NET_OK);
    cr_assert_eq(redex_append(s.log, now, (struct cspan){(const uint8_t *)"world!", 6}, &seq), NET_OK);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, "sensors/lidar/v0000000001/idx", bytes, sizeof bytes), 40);
    cr_assert_eq(memcmp(bytes, idx, 40), 0);
    cr_assert_eq(redex_store_read(&s, "sensors/lidar/v0000000001/dat", bytes, sizeof bytes), 11);
    cr_assert_eq(memcmp(bytes, "helloworld!", 11), 0);
    static const uint8_t stamp[8] = {0, 0, 0x2a, 0x36, 0xfe, 0x9c, 0x97, 0x17};
    cr_assert_eq(redex_store_read(&s, "sensors/lidar/v0000000001/ts", bytes, sizeof bytes), 16);
    cr_assert_eq(memcmp(bytes, stamp, 8) | memcmp(bytes + 8, stamp, 8), 0);
}

/* Items 7 and 8. */
Test(redex_layout, an_inline_event)
{
    static const uint8_t record[20] = {7,   0,   0,   0,   0,   0,   0,    0,    'a',  'b',
                                       'c', 'd', '1', '2', '3', '4', 0x95, 0xb9, 0x7f, 0x83};
    uint8_t bytes[256];
    uint64_t seq;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    for (int i = 0; i < 7; i++)
        cr_assert_eq(redex_append_inline(s.log, 1, (const uint8_t *)"........", &seq), NET_OK);
    cr_assert_eq(redex_append_inline(s.log, 1, (const uint8_t *)"abcd1234", &seq), NET_OK);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){(const uint8_t *)"abc", 3}, &seq), NET_OK);
    cr_assert_eq(redex_bytes(s.log), 67);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, "c/v0000000001/idx", bytes, sizeof bytes), 180);
    cr_assert_eq(memcmp(bytes + 140, record, 20), 0);
    cr_assert_eq(load_le32(bytes + 176) & RECORD_INLINE, 0);
    cr_assert_eq(redex_store_size(&s, "c/v0000000001/dat"), 3);
}

/* Items 2, 4, 21. */
Test(redex_layout, a_bad_manifest_means_the_highest_complete_generation)
{
    redex_store_make(&s, 5);
    copy_generation("v0000000004", "");
    copy_generation("v0000000009", "ts");
    drop_generation("v0000000001");
    redex_store_write(&s, "c/manifest", manifest7, 15);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 5);
    cr_assert_eq(s.log->generation, 4);
    cr_assert_eq(redex_store_size(&s, "c/v0000000009/idx"), -1);
    cr_assert_eq(redex_store_size(&s, "c/v0000000009~/idx"), 100, "what may hold records is not deleted");
    expect_manifest(4);
}

/* Items 22 and 23. */
Test(redex_layout, orphans_go_strangers_stay)
{
    redex_store_make(&s, 3);
    copy_generation("v0000000002", "");
    copy_generation("v0000000003", "ts");
    redex_store_write(&s, "c/manifest.tmp", "x", 1);
    redex_store_write(&s, "c/notes.txt", "x", 1);
    redex_store_write(&s, "c/idx", "x", 1);
    redex_store_write(&s, "c/v0000000000/idx", "x", 1);
    redex_store_write(&s, "c/v00000000a1/idx", "x", 1);
    redex_store_write(&s, "c/v4294967296/idx", "x", 1);
    redex_store_write(&s, "c/v0000000008", "x", 1);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 3);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002"), -1);
    cr_assert_eq(redex_store_size(&s, "c/v0000000003"), -1, "the manifest ruled: a half compaction");
    cr_assert_eq(redex_store_size(&s, "c/manifest.tmp"), -1);
    static const char *const stay[] = {"c/notes.txt",       "c/idx",        "c/v0000000000/idx", "c/v00000000a1/idx",
                                       "c/v4294967296/idx", "c/v0000000008"};
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        cr_assert_eq(redex_store_size(&s, stay[i]), 1, "%s", stay[i]);
}

/* Items 19 and 20: any subset of the flat files may have been moved already. */
Test(redex_layout, migration_resumes)
{
    static uint8_t bytes[PARTS][4096];
    size_t len[PARTS];
    redex_store_make(&s, 6);
    for (int i = 0; i < PARTS; i++) {
        char path[64];
        snprintf(path, sizeof path, "c/v0000000001/%s", redex_part_name[i]);
        len[i] = redex_store_read(&s, path, bytes[i], sizeof bytes[i]);
    }
    for (int moved = 0; moved < 8; moved++) {
        char name[16], path[64];
        snprintf(name, sizeof name, "m%d", moved);
        s.options.name = name;
        for (int i = 0; i < PARTS; i++) {
            snprintf(path, sizeof path, "m%d/%s%s", moved, moved & 1 << i ? "v0000000001/" : "", redex_part_name[i]);
            redex_store_write(&s, path, bytes[i], len[i]);
        }
        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_eq(s.report.migrated, moved != 7);
        cr_assert_eq(s.report.dropped_events, 0);
        redex_store_check(&s, 0, 6);
        cr_assert_eq(redex_store_close(&s), NET_OK);
        for (int i = 0; i < PARTS; i++) {
            snprintf(path, sizeof path, "m%d/%s", moved, redex_part_name[i]);
            cr_assert_eq(redex_store_size(&s, path), -1);
        }
        snprintf(path, sizeof path, "m%d/manifest", moved);
        cr_assert_eq(redex_store_size(&s, path), 16);
    }
    s.options.name = "c";
}

/* Item 62, G14. */
Test(redex_layout, a_live_generation_that_lacks_a_file)
{
    static const char *const missing[][2] = {{"ts", ""}, {"dat", ""}, {"dat", "ts"}};
    for (size_t i = 0; i < 3; i++) {
        uint64_t seq;
        struct redex_event e;
        char name[16], path[64];
        snprintf(name, sizeof name, "g%zu", i);
        s.options.name = name;
        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_eq(redex_append_inline(s.log, 5, (const uint8_t *)"inline01", &seq), NET_OK);
        cr_assert_eq(redex_append(s.log, 5, (struct cspan){NULL, 0}, &seq), NET_OK);
        cr_assert_eq(redex_append_inline(s.log, 5, (const uint8_t *)"inline03", &seq), NET_OK);
        cr_assert_eq(redex_store_close(&s), NET_OK);
        for (size_t k = 0; k < 2 && *missing[i][k]; k++) {
            snprintf(path, sizeof path, "g%zu/v0000000001/%s", i, missing[i][k]);
            drop_file(path);
        }
        char from[512], to[512];
        snprintf(from, sizeof from, "%s/g%zu/v0000000001", s.base, i);
        snprintf(to, sizeof to, "%s/g%zu/v0000000002", s.base, i);
        cr_assert_eq(rename(from, to), 0);
        snprintf(path, sizeof path, "g%zu/manifest", i);
        redex_store_write(&s, path, manifest2, 16);

        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_eq(redex_count(s.log), 3);
        seq = 2;
        cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, &e, 1), 1);
        cr_assert_eq(memcmp(e.data.data, "inline03", 8), 0);
        cr_assert_eq(redex_store_close(&s), NET_OK);
    }
    s.options.name = "c";
}

/* Item 64, G2. */
Test(redex_layout, names_inside_a_layout_are_refused)
{
    static const char *const refused[] = {
        "c/v0000000001", "c/v0000000002", "c/manifest", "c/manifest.tmp", "c/log.id", "../c", "C", "", "c//d"};
    redex_store_make(&s, 4);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        s.options.name = refused[i];
        cr_assert_eq(redex_store_open(&s), NET_ERR_INVALID, "%s", refused[i]);
    }
    s.options.name = "c/idx"; /* odd, but no collision */
    redex_store_make(&s, 2);
    s.options.name = "c";
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 4);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    s.options.name = "c/idx";
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 2);
}

/* G2: the reference may have made a channel where a generation would be; it is left alone, by sweep and by repair. */
Test(redex_layout, a_channel_in_place_of_a_generation_survives)
{
    redex_store_make(&s, 4);
    redex_store_write(&s, "c/v0000000002/manifest", manifest1, 16);
    redex_store_write(&s, "c/v0000000002/v0000000001/idx", "", 0);
    redex_store_flip(&s, "c/v0000000001/idx", 20, 3); /* has to be rewritten */
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 4);
    cr_assert_eq(s.log->generation, 3);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/manifest"), 16);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/v0000000001/idx"), 0);
}

/* G6. */
Test(redex_layout, one_process_at_a_time)
{
    struct redex *second;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_open(&second, &s.disk.io, &s.options, NULL), NET_ERR_BUSY);
    cr_assert_null(second);
    redex_store_fill(&s, 0, 3);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 3);
}

static int (*real_sync_dir)(struct io *, const char *);
static char synced[32][512];
static unsigned synced_count;

static int note_sync_dir(struct io *io, const char *path)
{
    if (synced_count < 32)
        snprintf(synced[synced_count++], sizeof synced[0], "%s", path);
    return real_sync_dir(io, path);
}

/* G5: every directory that got a new name is synced, from the base's parent down to the generation. */
Test(redex_layout, new_directories_are_synced)
{
    static const char *const want[] = {"", "/deep", "/deep/a", "/deep/a/b", "/deep/a/b/v0000000001"};
    char base[256];
    real_sync_dir = s.disk.plain.sync_dir;
    s.disk.plain.sync_dir = note_sync_dir;
    snprintf(base, sizeof base, "%s/deep", s.base);
    s.options.base = base;
    s.options.name = "a/b";
    cr_assert_eq(redex_store_open(&s), NET_OK);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char path[512];
        bool found = false;
        snprintf(path, sizeof path, "%s%s", s.base, want[i]);
        for (unsigned k = 0; k < synced_count; k++)
            found |= strcmp(path, synced[k]) == 0;
        cr_assert(found, "%s", path);
    }
    cr_assert_eq(redex_store_close(&s), NET_OK);
}

Test(redex_layout, what_cannot_be_opened)
{
    redex_store_write(&s, "c", "a file", 6);
    cr_assert_eq(redex_store_open(&s), NET_ERR_IO);
    cr_assert_null(s.log);
    s.options.name = "full";
    s.disk.plain_write_fault = (struct io_posix_fault){.times = 1, .err = ENOSPC};
    cr_assert_eq(redex_store_open(&s), NET_ERR_NO_SPACE);
    cr_assert_eq(redex_store_open(&s), NET_OK, "it can be tried again");
}
