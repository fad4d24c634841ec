/* The golden stores of the reference: conformance 10, 61; the four rules of their README (rule 4: tests/interop). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/base/err.h"
#include "storage/redex/record.h"
#include "tests/support/redex_store.h"

static json_object *field(json_object *o, const char *name)
{
    json_object *v = NULL;
    json_object_object_get_ex(o, name, &v);
    return v;
}

static uint64_t number(json_object *o, const char *name)
{
    return json_object_get_uint64(field(o, name));
}

/* The event of `list` with this sequence, payload and kind. */
static json_object *find_event(json_object *list, const struct redex_event *e)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)XXH3_64bits(e->data.data, e->data.len));
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *o = json_object_array_get_idx(list, i);
        if (number(o, "seq") == e->seq && number(o, "len") == e->data.len &&
            json_object_get_boolean(field(o, "inline")) == e->is_inline &&
            strcmp(json_object_get_string(field(o, "xxh3")), hash) == 0)
            return o;
    }
    return NULL;
}

/* Events and their times as the log has them; at most `room`. */
static size_t read_all(struct redex *log, struct redex_event *out, size_t room)
{
    uint64_t seq = 0;
    size_t n = redex_read(log, &seq, UINT64_MAX, out, room);
    cr_assert_lt(n, room);
    return n;
}

static void check_exact(const char *store, struct redex *log, json_object *expected, uint64_t opened_at)
{
    struct redex_event e[512];
    json_object *list = field(expected, "events"), *ts = field(expected, "ts");
    size_t n = read_all(log, e, 512);

    cr_assert_eq(n, json_object_array_length(list), "%s: %zu events", store, n);
    cr_assert_eq(redex_next_seq(log), number(expected, "next_seq"), "%s", store);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(find_event(list, &e[i]), json_object_array_get_idx(list, i), "%s: event %zu", store, i);
        uint64_t want = ts ? json_object_get_uint64(json_object_array_get_idx(ts, i)) : opened_at;
        cr_assert_eq(e[i].ts_ns, want, "%s: time of event %zu", store, i);
    }
}

static void check_damaged(const char *store, struct redex *log, json_object *expected, json_object *acknowledged)
{
    struct redex_event e[512];
    size_t n = read_all(log, e, 512), wanted = 0;
    json_object *list = field(expected, "events"), *acked = field(acknowledged, "events");
    bool wrong_seq = strncmp(store, "flip-seq", 8) == 0;
    uint64_t next = redex_next_seq(log), acked_next = number(acknowledged, "next_seq");

    for (size_t i = 0; i < n; i++) {
        wanted += find_event(list, &e[i]) != NULL;
        cr_assert(find_event(acked, &e[i]) || find_event(list, &e[i]), "%s: event %zu was never written", store, i);
    }
    cr_assert_geq(wanted + wrong_seq, json_object_array_length(list), "%s: %zu events", store, wanted);
    cr_assert(next <= acked_next && (next >= number(expected, "next_seq") || (wrong_seq && next == acked_next)),
              "%s: next %llu", store, (unsigned long long)next);
}

/* Open as it is; then what we made of it must read the same once more, appended to. */
static void check_channel(const char *store, struct redex_store *s, json_object *expected, json_object *acknowledged)
{
    uint64_t seq, next, count;
    cr_assert_eq(redex_store_open(s), NET_OK, "%s %s", store, s->options.name);
    if (acknowledged)
        check_damaged(store, s->log, expected, acknowledged);
    else
        check_exact(store, s->log, expected, s->disk.io.wall);
    next = redex_next_seq(s->log);
    count = redex_count(s->log);
    cr_assert_eq(redex_append(s->log, 7, (struct cspan){(const uint8_t *)"more", 4}, &seq), NET_OK);
    cr_assert_eq(seq, next);
    cr_assert_eq(redex_store_close(s), NET_OK);

    cr_assert_eq(redex_store_open(s), NET_OK);
    cr_assert_eq(redex_count(s->log), count + 1, "%s", store);
    cr_assert_eq(redex_next_seq(s->log), next + 1, "%s", store);
    cr_assert_eq(s->report.dropped_events + s->report.repaired_fields + s->report.trimmed_bytes, 0, "%s", store);
    cr_assert(!s->report.torn && !s->report.unclean && !s->report.migrated && !s->report.timestamps_lost, "%s", store);
    cr_assert_eq(redex_store_close(s), NET_OK);
}

static void check_store(const char *store)
{
    char path[512];
    struct redex_store s;
    snprintf(path, sizeof path, TEST_DATA "/redex/%s/store", store);
    redex_store_init_from(&s, path);
    snprintf(path, sizeof path, TEST_DATA "/redex/%s/expected.json", store);
    json_object *expected = json_object_from_file(path), *channels = field(expected, "channels");
    snprintf(path, sizeof path, TEST_DATA "/redex/%s/acknowledged.json", store);
    json_object *acknowledged = access(path, R_OK) == 0 ? json_object_from_file(path) : NULL;

    cr_assert_gt(json_object_array_length(channels), 0);
    for (size_t i = 0; i < json_object_array_length(channels); i++) {
        json_object *c = json_object_array_get_idx(channels, i);
        s.options.name = json_object_get_string(field(c, "name"));
        check_channel(store, &s, c, acknowledged ? field(acknowledged, s.options.name) : NULL);
    }
    json_object_put(expected);
    json_object_put(acknowledged);
    redex_store_deinit(&s);
}

Test(redex_golden, stores)
{
    DIR *dir = opendir(TEST_DATA "/redex");
    int stores = 0;
    cr_assert(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.' || e->d_type != DT_DIR)
            continue;
        check_store(e->d_name);
        stores++;
    }
    closedir(dir);
    cr_assert_eq(stores, 42);
}

/* Damaged stores from which more can be had than the reference gets: everything that was acknowledged. */
Test(redex_golden, nothing_lost_that_is_there)
{
    static const struct {
        const char *store;
        uint64_t events;
    } cases[] = {{"flip-sum", 6},
                 {"flip-seq", 6},
                 {"flip-off-last", 6},
                 {"flip-off-mid", 6},
                 {"flip-inline-cleared", 5},
                 {"flip-inline-set", 6},
                 {"ts-missing", 6},
                 {"ts-short", 6},
                 {"extra-idx-zero", 6},
                 {"live-gen-incomplete", 5},
                 {"flip-tombstone", 6},
                 {"torn-dat-inline-tail", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        struct redex_store s;
        snprintf(path, sizeof path, TEST_DATA "/redex/%s/store", cases[i].store);
        redex_store_init_from(&s, path);
        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_eq(redex_count(s.log), cases[i].events, "%s: %llu", cases[i].store,
                     (unsigned long long)redex_count(s.log));
        redex_store_deinit(&s);
    }
}

/* A short ts keeps what it has; only the event whose stamp is missing gets the time of the open. */
Test(redex_golden, stamps_of_a_short_ts_are_kept)
{
    struct redex_event e[8];
    struct redex_store s;
    uint64_t seq = 0;
    redex_store_init_from(&s, TEST_DATA "/redex/ts-short/store");
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert(s.report.timestamps_lost);
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, e, 8), 6);
    cr_assert_eq(e[4].ts_ns, UINT64_C(1700000004000000028));
    cr_assert_eq(e[5].ts_ns, 1000);
    redex_store_deinit(&s);
}

/* Hex to bytes; returns how many. */
static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(sscanf(hex + 2 * i, "%2hhx", &out[i]), 1);
    return n;
}

static void replay(struct redex *log, json_object *op)
{
    uint8_t payload[1024], frames[8192];
    uint64_t seq;
    if (strcmp(json_object_get_string(field(op, "op")), "append") == 0) {
        size_t len = unhex(json_object_get_string(field(op, "payload")), payload);
        cr_assert_eq(redex_append(log, 1, (struct cspan){payload, len}, &seq), NET_OK);
        cr_assert_eq(seq, number(op, "seq"));
        return;
    }
    json_object *list = field(op, "payloads");
    size_t count = json_object_array_length(list), at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = unhex(json_object_get_string(json_object_array_get_idx(list, i)), frames + at + 4);
        store_le32(frames + at, (uint32_t)len);
        at += 4 + len;
    }
    cr_assert_eq(redex_append_frames(log, 1, (struct cspan){frames, at}, (uint32_t)count, &seq), NET_OK);
    if (count)
        cr_assert_eq(seq, number(op, "seq"));
}

/* The same appends leave the same bytes on disk as the reference's, stamps aside. */
Test(redex_golden, files_are_the_references)
{
    json_object *root = json_object_from_file(TEST_DATA "/redex_records/files.json"), *cases = field(root, "cases");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i), *ops = field(c, "ops");
        struct redex_store s;
        redex_store_init(&s);
        s.options.name = json_object_get_string(field(c, "name"));
        cr_assert_eq(redex_store_open(&s), NET_OK);
        for (size_t k = 0; k < json_object_array_length(ops); k++)
            replay(s.log, json_object_array_get_idx(ops, k));
        cr_assert_eq(redex_store_close(&s), NET_OK);
        json_object_object_foreach(field(c, "files"), path, bytes)
        {
            uint8_t want[8192], got[8192];
            size_t len = unhex(json_object_get_string(bytes), want);
            cr_assert_eq(redex_store_read(&s, path, got, sizeof got), len, "%s", path);
            if (strcmp(path + strlen(path) - 3, "/ts") != 0)
                cr_assert_eq(memcmp(got, want, len), 0, "%s", path);
        }
        redex_store_deinit(&s);
    }
    json_object_put(root);
}

Test(redex_golden, records)
{
    json_object *root = json_object_from_file(TEST_DATA "/redex_records/entries.json"), *cases = field(root, "cases");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        uint8_t want[RECORD_SIZE], got[RECORD_SIZE];
        uint32_t sum = (uint32_t)strtoul(json_object_get_string(field(c, "checksum_arg")), NULL, 16);
        uint32_t flags = (uint32_t)strtoul(json_object_get_string(field(c, "flags")), NULL, 16);
        cr_assert_eq(unhex(json_object_get_string(field(c, "bytes")), want), RECORD_SIZE);
        record_store(got, (struct record){strtoull(json_object_get_string(field(c, "seq")), NULL, 16),
                                          (uint32_t)number(c, "offset"), (uint32_t)number(c, "len"),
                                          flags | (sum & RECORD_SUM_MASK)});
        cr_assert_eq(memcmp(got, want, RECORD_SIZE), 0, "case %zu", i);
        struct record back = record_load(want);
        cr_assert_eq(back.flags_sum, flags | (sum & RECORD_SUM_MASK));
    }
    json_object_put(root);
}
