/*
 * A log dies before and after every single operation of its disk, and each of them fails once, and all from there on
 * (redex.md, storage/README.md "redex"): while it is made, appends, is full, reserves sequences, gives up events, is
 * written anew and changes over, and ends. What must hold afterwards is in mesh/redex_logger.c, check_recovered(), and
 * mesh/crash_logger.h. Deaths of the recovery itself: test_sim_crash_recovery.c.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <xxhash.h>

#include "storage/redex/redex_internal.h"
#include "tests/sim/mesh/crash_logger.h"

static const struct crash_scenario of_logger = {
    .settle = crash_logger_settle, .died = crash_logger_died, .recover = crash_logger_recover, .end = crash_logger_end};

static struct crash_scenario scenario(const char *name, struct sim_host *(*begin)(void *, uint64_t, const char *),
                                      void (*work)(void *))
{
    struct crash_scenario s = of_logger;
    s.name = name;
    s.begin = begin;
    s.work = work;
    return s;
}

static void set_must(struct crash_scenario *s, const struct crash_op *must, size_t count)
{
    cr_assert_leq(count, CRASH_MUST);
    memset(s->must, 0, sizeof s->must);
    memcpy(s->must, must, count * sizeof *must);
}
#define MUST(s, must) set_must(s, must, sizeof(must) / sizeof(must)[0])

static void enumerate(const struct crash_scenario *s, struct crash_logger c, unsigned seeds, uint32_t fates)
{
    for (uint64_t seed = 1; seed <= seeds; seed++)
        crash_points(s, &c, seed, fates);
}

/* ---- a log that is made ---- */

static const struct crash_op making[] = {
    {IO_MKDIR, "/a/channel"},     {IO_OPEN, "/lock~"},         {IO_WRITE, "/seq~"},    {IO_FSYNC, "/seq~"},
    {IO_MKDIR, "/v0000000001"},   {IO_OPEN, "/idx"},           {IO_OPEN, "/dat"},      {IO_OPEN, "/ts"},
    {IO_FSYNC, "/v0000000001"},   {IO_WRITE, "/manifest.tmp"}, {IO_WRITE, "/log.id~"}, {IO_FSYNC, "/manifest.tmp"},
    {IO_RENAME, "/manifest.tmp"}, {IO_FSYNC, "/log.id~"},      {IO_FSYNC, "/channel"}, {IO_RENAME, "/log.id~"},
};

Test(crash_redex, making_a_log_and_stopping_it, .timeout = 100)
{
    struct crash_scenario s = scenario("making a log", crash_logger_empty, crash_logger_life);
    MUST(&s, making);
    enumerate(&s, (struct crash_logger){0}, 2, CRASH_ALL);
}

/* ---- appends ---- */

static const struct crash_op appends[] = {{IO_WRITE, "/idx"},     {IO_WRITE, "/dat"},     {IO_WRITE, "/ts"},
                                          {IO_FDATASYNC, "/idx"}, {IO_FDATASYNC, "/dat"}, {IO_FDATASYNC, "/ts"}};

Test(crash_redex, appends, .timeout = 100)
{
    struct crash_scenario s = scenario("appends", crash_logger_running, crash_logger_append);
    MUST(&s, appends);
    enumerate(&s, (struct crash_logger){0}, 1, CRASH_ALL);
    s.name = "appends, each synced";
    enumerate(&s, (struct crash_logger){.policy = {.sync_each = true}}, 1, CRASH_ALL);
}

Test(crash_redex, appends_under_drawn_policies, .timeout = 100)
{
    struct crash_scenario s = scenario("appends, policies drawn", crash_logger_running, crash_logger_append);
    MUST(&s, appends);
    enumerate(&s, (struct crash_logger){.draw_policy = true}, 3, CRASH_FATE(POWER_DRAWN) | CRASH_FATE(KILL));
}

/* ---- a log that is full ---- */

static struct sim_host *begin_nearly_full(void *ctx, uint64_t seed, const char *where)
{
    struct logger *l = &((struct crash_logger *)ctx)->l;
    crash_logger_running(ctx, seed, where);
    for (unsigned ms = 0; redex_bytes(l->log) < l->max_bytes * 8 / 10 && ms < 20; ms++)
        sim_run_for(l->sim, SIM_MS);
    return l->host;
}

Test(crash_redex, appends_until_the_log_is_full, .timeout = 100)
{
    struct crash_scenario s = scenario("a full log", begin_nearly_full, crash_logger_append);
    struct crash_logger c = {.max_bytes = 16000};
    MUST(&s, appends);
    crash_points(&s, &c, 1, CRASH_ALL);
    cr_assert_gt(c.refused_full, 1000);
}

/* ---- more sequences ---- */

/* As if nearly all of the block were used: what is reserved, in memory and on disk, is the next few. */
static struct sim_host *begin_used_up(void *ctx, uint64_t seed, const char *where)
{
    struct logger *l = &((struct crash_logger *)ctx)->l;
    uint8_t bytes[8192];
    crash_logger_started(ctx, seed, where);
    struct cspan file = sim_disk_get(l->host, CRASH_LOGGER_ROOT "/seq~");
    size_t len = file.len;
    check(l, len >= SEQ_SLOT_SIZE && len <= sizeof bytes);
    memcpy(bytes, file.data, len);
    l->log->reservation.reserved = redex_next_seq(l->log) + 3;
    for (uint8_t *slot = bytes; slot + SEQ_SLOT_SIZE <= bytes + len; slot += 4096) { /* reserve.c has the layout */
        store_le64(slot + 16, l->log->reservation.reserved);
        store_le64(slot + 56, XXH3_64bits(slot, 56));
    }
    sim_disk_put(l->host, CRASH_LOGGER_ROOT "/seq~", (struct cspan){bytes, len});
    return l->host;
}

static void use_up(void *ctx)
{
    sim_run_for(((struct crash_logger *)ctx)->l.sim, 5 * SIM_MS);
}

static const struct crash_op reserving[] = {{IO_WRITE, "/seq~"}, {IO_FDATASYNC, "/seq~"}, {IO_WRITE, "/idx"}};

Test(crash_redex, a_new_block_of_sequences, .timeout = 100)
{
    struct crash_scenario s = scenario("a new block of sequences", begin_used_up, use_up);
    MUST(&s, reserving);
    enumerate(&s, (struct crash_logger){0}, 2, CRASH_ALL);
}

/* ---- retention, compaction, and the change of the manifest ---- */

static const struct crash_op compaction[] = {
    {IO_MKDIR, "/v0000000002"},     {IO_OPEN, "/v0000000002/idx"},      {IO_WRITE, "/v0000000002/idx"},
    {IO_WRITE, "/v0000000002/dat"}, {IO_WRITE, "/v0000000002/ts"},      {IO_FDATASYNC, "/v0000000002/idx"},
    {IO_FSYNC, "/v0000000002"},     {IO_OPEN, "/manifest.tmp"},         {IO_WRITE, "/manifest.tmp"},
    {IO_RENAME, "/manifest.tmp"},   {IO_FDATASYNC, "/manifest.tmp"},    {IO_FSYNC, "/channel"},
    {IO_UNLINK, "/v0000000001"},    {IO_FDATASYNC, "/v0000000002/dat"}, {IO_UNLINK, "/v0000000001/idx"},
    {IO_WRITE, "/v0000000001/idx"}, {IO_FDATASYNC, "/v0000000001/idx"},
};

Test(crash_redex, compaction_by_events, .timeout = 100)
{
    struct crash_scenario s = scenario("compaction", crash_logger_started, crash_logger_compact);
    MUST(&s, compaction);
    enumerate(&s, (struct crash_logger){.policy = {.retain_events = 40}}, 1, CRASH_ALL);
}

Test(crash_redex, compaction_by_bytes, .timeout = 100)
{
    struct crash_scenario s =
        scenario("compaction by bytes, each append synced", crash_logger_started, crash_logger_compact);
    MUST(&s, compaction);
    enumerate(&s, (struct crash_logger){.policy = {.retain_bytes = 6000, .sync_each = true}}, 1, CRASH_DEATHS);
}

Test(crash_redex, compaction_by_age, .timeout = 100)
{
    struct crash_scenario s = scenario("compaction by age", crash_logger_started, crash_logger_compact);
    MUST(&s, compaction);
    enumerate(&s, (struct crash_logger){.policy = {.retain_age_ns = 4 * SIM_MS}}, 1, CRASH_DEATHS);
}

/* Appends wait for the room. */
Test(crash_redex, compaction_of_a_full_log, .timeout = 100)
{
    struct crash_scenario s = scenario("compaction of a full log", crash_logger_started, crash_logger_compact);
    MUST(&s, compaction);
    enumerate(&s, (struct crash_logger){.policy = {.retain_bytes = 12000}, .max_bytes = 16000}, 1, CRASH_ALL);
}

/* ---- the end of a log ---- */

static void stop(void *ctx)
{
    logger_stop(&((struct crash_logger *)ctx)->l);
}

static const struct crash_op stopping[] = {{IO_WRITE, "/seq~"},
                                           {IO_FDATASYNC, "/seq~"},
                                           {IO_FDATASYNC, "/idx"},
                                           {IO_FDATASYNC, "/dat"},
                                           {IO_FDATASYNC, "/ts"}};

Test(crash_redex, a_stop_in_order, .timeout = 100)
{
    struct crash_scenario s = scenario("a stop", crash_logger_running, stop);
    MUST(&s, stopping);
    enumerate(&s, (struct crash_logger){0}, 4, CRASH_ALL);
}
