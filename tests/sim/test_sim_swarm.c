/* The parts of swarm runs (sim/swarm): what a seed draws, how it is told, what makes a failing script small, and that a
 * seed is a run, byte for byte, in whatever process. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/swarm/acts.h"
#include "tests/sim/swarm/minimise.h"

static const struct plan_limits no_limits;

Test(sim_swarm, a_seed_draws_the_same_plan_again)
{
    static struct plan a, b;
    for (uint64_t seed = 0; seed < 200; seed++) {
        plan_draw(&a, seed, &no_limits);
        plan_draw(&b, seed, &no_limits);
        cr_assert_eq(memcmp(&a, &b, sizeof a), 0, "seed %lu", seed);
    }
}

Test(sim_swarm, plans_stay_within_their_bounds)
{
    static struct plan p;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        plan_draw(&p, seed, &no_limits);
        cr_assert(p.nodes >= 2 && p.nodes <= PLAN_NODES && p.acts <= PLAN_ACTS && p.feeds <= PLAN_FEEDS);
        cr_assert_geq(p.ends, 61 * SIM_S);
        for (unsigned i = 0; i < p.acts; i++) {
            const struct act *a = &p.act[i];
            cr_assert(i == 0 || a->at > p.act[i - 1].at, "seed %lu: two acts at a time, or out of order", seed);
            cr_assert(a->at < p.ends && a->node < p.nodes && p.kinds >> a->kind & 1, "seed %lu, act %u", seed, i);
        }
        for (unsigned i = 0; i < p.wants; i++)
            cr_assert(p.knows[p.want[i].node][p.want[i].from], "seed %lu: it reads at one it does not know", seed);
    }
}

/* No fault hides behind the others: each is drawn, each seed lacks some, and some have none at all. */
Test(sim_swarm, each_kind_of_act_comes_and_no_seed_has_all)
{
    static struct plan p;
    uint64_t seen = 0, all = (UINT64_C(1) << act_kinds()) - 1;
    unsigned calm = 0;
    cr_assert_leq(act_kinds(), RUN_KINDS);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        plan_draw(&p, seed, &no_limits);
        cr_assert_neq(p.kinds, all);
        calm += p.acts == 0;
        for (unsigned i = 0; i < p.acts; i++)
            seen |= UINT64_C(1) << p.act[i].kind;
    }
    cr_assert_eq(seen, all, "never drawn: %lx", all & ~seen);
    cr_assert_gt(calm, 0);
}

Test(sim_swarm, limits_take_the_place_of_what_is_drawn)
{
    static struct plan p;
    struct plan_limits limits = {.nodes = 5, .shards = 3, .seconds = 90};
    for (uint64_t seed = 0; seed < 100; seed++) {
        plan_draw(&p, seed, &limits);
        cr_assert(p.nodes == 5 && p.ends == 91 * SIM_S);
        for (unsigned i = 0; i < p.nodes; i++)
            cr_assert_eq(p.node[i].shards, 3);
    }
}

/* ---- what a person reads ---- */

static char *told(const struct plan *p, const struct act *a)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (a)
        plan_print_act(p, a, out);
    else
        plan_print(p, out);
    fclose(out);
    return text;
}

Test(sim_swarm, an_act_is_a_line)
{
    static struct plan p;
    plan_draw(&p, 1, &no_limits);
    struct act cut = {.at = 12345 * SIM_MS, .lasts = 1500 * SIM_MS, .node = 2, .other = 3};
    while (strcmp(act_kind(cut.kind)->name, "cut") != 0)
        cut.kind++;
    char *text = told(&p, &cut);
    cr_assert_str_eq(text, "    12.345 s  cut node 2 -> node 3 for 1.500 s\n");
    free(text);
}

static size_t lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

Test(sim_swarm, a_plan_is_told_to_the_last_act)
{
    static struct plan p;
    for (uint64_t seed = 0; seed < 100; seed++) {
        plan_draw(&p, seed, &no_limits);
        char *text = told(&p, NULL);
        cr_assert_eq(lines_of(text), 1 + p.nodes * (1 + p.channels) + (p.behind < p.nodes) + p.feeds + p.wants + p.acts,
                     "seed %lu", seed);
        free(text);
    }
}

/* ---- making it small ---- */

static bool has(const struct job *job, unsigned act)
{
    return act < job->acts && !job->without[act];
}

static unsigned asked;

static void expect_small(const struct job *job, unsigned acts, const unsigned *kept, size_t count)
{
    cr_assert_eq(job->acts, acts);
    for (unsigned i = 0, k = 0; i < acts; i++) {
        bool stays = k < count && kept[k] == i;
        cr_assert_eq(!job->without[i], stays, "act %u", i);
        k += stays;
    }
}

/* In processes of their own: each is told by the outcome of a run that is none. */
static void fails_with_3_and_7(const struct job *job, struct outcome *o)
{
    o->failed = has(job, 3) && has(job, 7);
}

/* One that a longer prefix hides: halving would miss it. */
static void fails_with_5_but_not_with_9(const struct job *job, struct outcome *o)
{
    o->failed = (has(job, 5) && !has(job, 9)) || has(job, 30);
}

static void dies_with_4(const struct job *job, struct outcome *o)
{
    o->failed = false;
    if (has(job, 4))
        abort();
}

static struct job small(void (*run)(const struct job *, struct outcome *), unsigned at_a_time)
{
    struct children c;
    struct job job = {.seed = 1, .acts = 40};
    children_init(&c, at_a_time);
    c.run = run;
    asked = 0;
    minimise(&c, &job, &asked);
    cr_assert_eq(c.running, 0);
    return job;
}

Test(sim_swarm, a_failing_script_is_made_small)
{
    for (unsigned at_a_time = 1; at_a_time <= 3; at_a_time++) {
        struct job job = small(fails_with_3_and_7, at_a_time);
        expect_small(&job, 8, (const unsigned[]){3, 7}, 2);
        job = small(fails_with_5_but_not_with_9, at_a_time);
        expect_small(&job, 6, (const unsigned[]){5}, 1);
        job = small(dies_with_4, at_a_time);
        expect_small(&job, 5, (const unsigned[]){4}, 1);
    }
}

Test(sim_swarm, what_a_child_says_and_how_it_ends_is_told)
{
    struct children c;
    struct job job = {.acts = 40};
    children_init(&c, 1);
    c.run = dies_with_4;
    children_start(&c, &job);
    struct result r = children_next(&c);
    cr_assert(r.outcome.failed);
    cr_assert_str_eq(r.outcome.what, "it died: Aborted");
    free(r.output);
}

/* ---- replay ---- */

/* The line with the hash at the end of what the program prints, another process with its own addresses each time. */
static void run_program(const char *arguments, char *line, size_t room)
{
    char command[512], text[4096];
    snprintf(command, sizeof command, "%s %s", SWARM_PROGRAM, arguments);
    FILE *f = popen(command, "r");
    cr_assert_not_null(f);
    line[0] = '\0';
    while (fgets(text, sizeof text, f))
        if (strstr(text, "trace hash"))
            snprintf(line, room, "%s", text);
    int status = pclose(f);
    cr_assert(status == 0 && line[0], "%s: %d", command, status);
}

Test(sim_swarm, a_seed_replays_byte_for_byte, .timeout = 280)
{
    static const char *const limits[] = {"",           "--nodes 2 --shards 1", "--nodes 3 --shards 2", "--nodes 5",
                                         "--shards 4", "--nodes 8 --shards 3", "--seconds 20"};
    char first[4096], second[4096], traced[4096], arguments[200];
    for (unsigned seed = 1; seed <= 21; seed++) {
        snprintf(arguments, sizeof arguments, "--seed %u %s", 7000 + seed, limits[seed % 7]);
        run_program(arguments, first, sizeof first);
        run_program(arguments, second, sizeof second);
        cr_assert_str_eq(first, second);
        snprintf(arguments, sizeof arguments, "--seed %u %s --trace /dev/null", 7000 + seed, limits[seed % 7]);
        run_program(arguments, traced, sizeof traced);
        cr_assert_str_eq(first, traced, "a trace only looks");
    }
}

Test(sim_swarm, another_seed_is_another_run)
{
    char first[4096], second[4096];
    run_program("--seed 1 --seconds 10", first, sizeof first);
    run_program("--seed 2 --seconds 10", second, sizeof second);
    cr_assert_str_neq(strstr(first, "hash"), strstr(second, "hash"));
}
