/* Lines for the operator on their way from the shards to stderr, which may take them slowly, in part, or not at all. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/sim_node.h"

enum { SHARDS = 3 };

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_say, .fini = end, .timeout = 60);

static struct mesh_node *start(uint64_t seed)
{
    mesh_init(&mesh, seed);
    sim_settings(mesh.sim)->short_io = SIM_ALWAYS / 4;
    struct mesh_node *m = mesh_add(&mesh, SHARDS);
    m->says = true;
    m->config.log_rate = 0;
    mesh_start(m);
    return m;
}

/* A line of each shard, then time for turns. */
static void say(struct mesh_node *m, unsigned number)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_say(node_shard(m->node, i), LEVEL_WARN, "number %u", number);
        sim_host_poke(m->host, i);
    }
    sim_run_for(mesh.sim, 100 * SIM_US);
}

static const char *text_of(struct mesh_node *m)
{
    static char text[4 << 20];
    struct cspan file = sim_disk_get(m->host, "/stderr");
    cr_assert_lt(file.len, sizeof text);
    if (file.len)
        memcpy(text, file.data, file.len);
    text[file.len] = '\0';
    return text;
}

/* Lines "number N" of a shard: N grows. Returns how many. */
static unsigned count_of_shard(const char *text, unsigned shard)
{
    char mark[32];
    unsigned count = 0, number, next = 0;
    text_format(mark, sizeof mark, " warn shard=%u number ", shard);
    for (const char *at = text; (at = strstr(at, mark)); at++, count++) {
        cr_assert_eq(sscanf(at + strlen(mark), "%u\n", &number), 1);
        cr_assert_geq(number, next, "in order");
        next = number + 1;
    }
    return count;
}

Test(sim_say, every_line_of_every_shard)
{
    struct mesh_node *m = start(1);
    for (unsigned i = 0; i < 500; i++)
        say(m, i);
    sim_run_for(mesh.sim, SIM_S);
    for (unsigned shard = 0; shard < SHARDS; shard++)
        cr_expect_eq(count_of_shard(text_of(m), shard), 500, "shard %u", shard);
    cr_expect_eq(MESH_COUNT(m, drop_say), 0);
}

/* Nothing can be written for a while: some are lost, and how many is known, and said. */
Test(sim_say, what_is_lost_is_counted)
{
    enum { LINES = 2000 };
    struct sim_fault full = {.kinds = 1u << IO_WRITE, .suffix = "/stderr", .error = ENOSPC, .times = UINT32_MAX};
    struct mesh_node *m = start(2);
    sim_disk_fault(m->host, &full);
    for (unsigned i = 0; i < LINES; i++)
        say(m, i);
    uint64_t lost = MESH_COUNT(m, drop_say);
    cr_assert_gt(lost, 0);
    sim_disk_clear_faults(m->host);
    sim_run_for(mesh.sim, SIM_S);
    say(m, LINES);
    sim_run_for(mesh.sim, SIM_S);
    const char *text = text_of(m), *told = strstr(text, " lines before this one were lost");
    unsigned said = 0;
    for (unsigned shard = 0; shard < SHARDS; shard++)
        said += count_of_shard(text, shard);
    cr_expect_eq(said + lost, SHARDS * (LINES + 1));
    cr_assert(told, "it is said");
    while (told[-1] != ' ')
        told--;
    cr_expect_eq(strtoull(told, NULL, 10), lost);
}

/* A kind that is held back is summed up when its time is over, without another line of it. */
Test(sim_say, a_summary_comes_by_itself)
{
    struct mesh_node *m = start(3);
    m->config.log_rate = 0;
    mesh_stop(m, 10 * SIM_S);
    m->config.log_rate = 5;
    mesh_start(m);
    for (unsigned i = 0; i < 50; i++)
        say(m, i);
    cr_expect_eq(count_of_shard(text_of(m), 1), 5);
    cr_expect_eq(MESH_COUNT(m, say_suppressed), SHARDS * 45);
    sim_run_for(mesh.sim, 2 * SIM_S);
    cr_expect(strstr(text_of(m), " warn shard=1 45 more lines like this one were suppressed: number 4\n"));
}
