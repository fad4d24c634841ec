/* What a link does beyond loss and jitter: bursts, tails, damage, a largest size, a rate; and its books are right. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/sim/world/sink.h"

static struct sim *sim;
static struct sim_host *a, *b;
static struct io *a_io, *b_io;
static struct sink sink, back;
static struct io_addr to_a, to_b;
static struct sim_link *l;

static void make(uint64_t seed, const struct sim_link *link)
{
    sim = sim_create(seed);
    sim_settings(sim)->link = *link;
    a = bare_host(sim, 1, &a_io);
    b = bare_host(sim, 1, &b_io);
    sink_start(&back, a_io);
    sink_start(&sink, b_io);
    to_a = sim_host_addr(a);
    to_b = sim_host_addr(b);
    l = sim_link(sim, a, b);
}

static void end(void)
{
    sim_destroy(sim);
}

TestSuite(net_link, .fini = end, .timeout = 60);

static void send_numbers(uint32_t count, size_t len)
{
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(sink_send_number(sim, a_io, &to_b, i + 1, len), (int32_t)len);
}

static bool books_right(const struct sim_link *link)
{
    uint64_t lost = 0;
    for (int i = 0; i < SIM_LOSSES; i++)
        lost += link->lost_by[i];
    return lost == link->lost && link->sent + link->duplicated == link->delivered + link->lost + link->flying;
}

Test(net_link, bursts_lose_neighbours)
{
    enum { N = 15000 };
    make(1, &(struct sim_link){.burst_begin = 10000, .burst_end = 200000, .delay = {1000, 1000}});
    send_numbers(N, 16);
    sim_run_for(sim, SIM_S);
    unsigned bursts = 0;
    for (unsigned i = 1; i < sink.datagrams; i++)
        bursts += sink.first[i] != sink.first[i - 1] + 1;
    uint64_t lost = l->lost_by[SIM_LOST_BURST];
    /* A burst is 1 / 0.2 long and the link is bad for 0.01 / 0.21 of the time: 714 lost in 143 bursts; within six
     * standard deviations. */
    cr_assert(lost > 234 && lost < 1194, "%llu", (unsigned long long)lost);
    cr_assert(lost > bursts * 28 / 10 && lost < bursts * 72 / 10, "%llu in %u", (unsigned long long)lost, bursts);
    cr_assert(lost == l->lost && sink.datagrams == N - lost && books_right(l));
}

Test(net_link, a_burst_ends_when_bursts_are_switched_off)
{
    make(2, &(struct sim_link){.burst_begin = SIM_ALWAYS, .burst_end = 0, .delay = {1000, 1000}});
    send_numbers(50, 16);
    cr_assert_eq(l->lost_by[SIM_LOST_BURST], 50);
    l->burst_begin = 0;
    send_numbers(50, 16);
    sim_run_for(sim, SIM_S);
    cr_assert_eq(sink.datagrams, 50);
}

Test(net_link, a_tail_of_delays_halves_with_every_sixteenth)
{
    enum { N = 16000, STEP = 1000000 };
    make(3, &(struct sim_link){.tail = SIM_ALWAYS / 2, .tail_max = 16ull * STEP, .delay = {STEP, STEP}});
    sim_settings(sim)->wake = (struct sim_range){0, 0};
    sim_settings(sim)->turn = (struct sim_range){1, 1};
    static uint64_t sent[N];
    unsigned within[17] = {0}, short_ones = 0;
    for (uint32_t i = 0; i < N; i++) {
        sink_send_number(sim, a_io, &to_b, i, 16);
        sent[i] = sim_now(sim);
    }
    sim_run_for(sim, SIM_S);
    cr_assert_eq(sink.datagrams, N);
    for (unsigned i = 0; i < N; i++) {
        uint64_t delay = sink.at[i] - sent[sink.first[i]], extra = delay - STEP;
        cr_assert(delay + 10 >= STEP && delay <= 17ull * STEP + 10, "%llu", (unsigned long long)delay);
        if (delay <= STEP + 10)
            short_ones++;
        else
            within[extra / STEP]++;
    }
    /* 8000 without, and of 8000 with: 4000, 2000, 1000, 500; six standard deviations of each. */
    static const unsigned expected[] = {4000, 2000, 1000, 500}, deviation[] = {269, 233, 178, 130};
    cr_assert(short_ones > 8000 - 380 && short_ones < 8000 + 380, "%u", short_ones);
    for (int i = 0; i < 4; i++)
        cr_assert(within[i] > expected[i] - deviation[i] && within[i] < expected[i] + deviation[i], "%d: %u", i,
                  within[i]);
}

/* ---- damage ---- */

static struct {
    unsigned whole, cut, flipped, flips[9];
} seen;

static void see_damage(void *ctx, struct cspan d)
{
    (void)ctx;
    unsigned bits = 0;
    for (size_t i = 0; i < d.len; i++)
        bits += (unsigned)__builtin_popcount(d.data[i] ^ 0x5au);
    if (d.len < 100) {
        cr_assert_eq(bits, 0, "cut short, and otherwise as it was");
        seen.cut++;
        return;
    }
    cr_assert(d.len == 100 && bits <= 8);
    seen.whole += bits == 0;
    seen.flipped += bits > 0;
    seen.flips[bits]++;
}

Test(net_link, damage_flips_one_to_eight_bits_or_cuts_short)
{
    enum { N = 8000 };
    uint8_t data[100];
    make(4, &(struct sim_link){.corrupt = SIM_ALWAYS / 4, .delay = {1000, 1000}});
    memset(data, 0x5a, sizeof data);
    memset(&seen, 0, sizeof seen);
    sink.see = see_damage;
    for (unsigned i = 0; i < N; i++)
        sink_send(sim, a_io, &to_b, (struct cspan){data, sizeof data}, 0);
    sim_run_for(sim, SIM_S);
    cr_assert_eq(seen.whole + seen.flipped + seen.cut, N);
    /* 2000 damaged, half of them cut, an eighth of the rest with each number of flips. */
    cr_assert(l->corrupted > 2000 - 232 && l->corrupted < 2000 + 232);
    cr_assert_eq(l->corrupted, seen.flipped + seen.cut, "damage is never undone by chance");
    cr_assert(seen.cut > 1000 - 180 && seen.cut < 1000 + 180);
    cr_assert(seen.flips[1] > 60 && seen.flips[1] < 190, "%u", seen.flips[1]);
    cr_assert(seen.flips[8] > 30, "%u", seen.flips[8]);
    cr_assert(l->lost == 0 && l->delivered == N && books_right(l));
}

Test(net_link, each_copy_is_damaged_by_itself)
{
    uint8_t data[100];
    make(5, &(struct sim_link){.corrupt = SIM_ALWAYS / 2, .duplicate = SIM_ALWAYS, .delay = {1000, 1000}});
    memset(data, 0x5a, sizeof data);
    memset(&seen, 0, sizeof seen);
    sink.see = see_damage;
    for (unsigned i = 0; i < 400; i++)
        sink_send(sim, a_io, &to_b, (struct cspan){data, sizeof data}, 0);
    sim_run_for(sim, SIM_S);
    cr_assert(seen.whole + seen.flipped + seen.cut == 800 && l->duplicated == 400 && books_right(l));
    cr_assert(seen.whole > 315 && seen.whole < 485, "%u", seen.whole);
}

/* ---- the largest size ---- */

Test(net_link, what_is_larger_than_the_mtu_is_lost)
{
    make(6, &(struct sim_link){.delay = {1000, 1000}});
    l->mtu = 1400;
    sink_send_number(sim, a_io, &to_b, 1, 1400);
    sink_send_number(sim, a_io, &to_b, 2, 1401);
    sink_send_number(sim, b_io, &to_a, 3, 1500);
    sim_run_for(sim, SIM_S);
    cr_assert(sink.datagrams == 1 && sink.len[0] == 1400);
    cr_assert(l->lost_by[SIM_LOST_MTU] == 1 && books_right(l));
    cr_assert_eq(back.datagrams, 1, "the other direction has its own");
}

Test(net_link, the_path_says_what_fits_unless_it_is_silent)
{
    make(7, &(struct sim_link){.delay = {1000, 1000}});
    l->mtu = 1300;
    cr_assert_eq(a_io->plain->path_payload(a_io, &to_b), 1300);
    cr_assert_eq(b_io->plain->path_payload(b_io, &to_a), 1472);
    l->mtu = 9000;
    cr_assert_eq(a_io->plain->path_payload(a_io, &to_b), 1472, "its own interface has no more");
    l->mtu = 1300;
    l->mtu_silent = true;
    cr_assert_eq(a_io->plain->path_payload(a_io, &to_b), 1472);
}

/* ---- rate and queue ---- */

Test(net_link, a_rate_spaces_what_leaves_together)
{
    uint8_t data[10 * 1000];
    make(8, &(struct sim_link){.rate = 1000000, .delay = {SIM_MS, SIM_MS}});
    sim_settings(sim)->wake = (struct sim_range){0, 0};
    sim_settings(sim)->turn = (struct sim_range){1, 1};
    memset(data, 0, sizeof data);
    uint64_t start = sim_now(sim);
    cr_assert_eq(sink_send(sim, a_io, &to_b, (struct cspan){data, sizeof data}, 1000), (int32_t)sizeof data);
    sim_run_for(sim, SIM_S);
    cr_assert_eq(sink.datagrams, 10);
    for (unsigned i = 0; i < 10; i++) {
        uint64_t at = sink.at[i] - start, ideal = (i + 1) * SIM_MS + SIM_MS; /* 1000 bytes at 1 MB/s, and the delay */
        cr_assert(at >= ideal && at < ideal + 10 * SIM_US, "%u after %llu ns", i, (unsigned long long)at);
    }
    start = sim_now(sim);
    sink_send_number(sim, a_io, &to_b, 1, 500);
    sim_run_for(sim, SIM_S);
    cr_assert_lt(sink.at[10] - start, 1510 * SIM_US, "an idle link does not make anybody wait");
}

Test(net_link, a_full_queue_drops_the_tail)
{
    uint8_t data[20 * 1000];
    make(9, &(struct sim_link){.rate = 1000000, .queue = 5000, .delay = {SIM_MS, SIM_MS}});
    memset(data, 0, sizeof data);
    for (uint32_t i = 0; i < 20; i++)
        store_le32(data + (size_t)i * 1000, i);
    sink_send(sim, a_io, &to_b, (struct cspan){data, sizeof data}, 1000);
    cr_assert_eq(l->flying, 5);
    sim_run_for(sim, SIM_S);
    cr_assert(l->lost_by[SIM_LOST_QUEUE] == 15 && sink.datagrams == 5 && books_right(l));
    for (uint32_t i = 0; i < 5; i++)
        cr_assert_eq(sink.first[i], i);
    for (uint32_t i = 0; i < 20; i++) { /* at its rate everything passes */
        sink_send_number(sim, a_io, &to_b, i, 1000);
        sim_run_for(sim, SIM_MS);
    }
    sim_run_for(sim, SIM_S);
    cr_assert_eq(sink.datagrams, 25);
}

Test(net_link, one_datagram_passes_an_idle_link_however_small_the_queue)
{
    make(10, &(struct sim_link){.rate = 1000, .queue = 10, .delay = {1000, 1000}});
    sink_send_number(sim, a_io, &to_b, 1, 1000);
    sink_send_number(sim, a_io, &to_b, 2, 1000);
    sim_run_for(sim, 3 * SIM_S);
    cr_assert(sink.datagrams == 1 && l->lost_by[SIM_LOST_QUEUE] == 1);
}

/* ---- partitions ---- */

Test(net_link, a_partition_can_have_one_direction)
{
    make(11, &(struct sim_link){.delay = {1000, 1000}});
    l->down = true;
    for (uint32_t i = 0; i < 10; i++) {
        sink_send_number(sim, a_io, &to_b, i, 16);
        sink_send_number(sim, b_io, &to_a, i, 16);
    }
    sim_run_for(sim, SIM_S);
    cr_assert(sink.datagrams == 0 && back.datagrams == 10 && l->lost_by[SIM_LOST_DOWN] == 10);
}

/* ---- the books ---- */

static const struct sim_link everything = {.loss = 20000,
                                           .duplicate = 30000,
                                           .reorder = 100000,
                                           .corrupt = 10000,
                                           .burst_begin = 5000,
                                           .burst_end = 100000,
                                           .delay = {SIM_MS / 10, 2 * SIM_MS},
                                           .tail = 50000,
                                           .tail_max = 30 * SIM_MS,
                                           .mtu = 1000,
                                           .rate = 4000000,
                                           .queue = 20000};

static bool sometimes_no(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    unsigned *count = ctx;
    (void)from, (void)to, (void)d;
    return ++*count % 50 != 0;
}

static void move_b(void)
{
    struct io_addr addr = to_b;
    if (sim_random_below(sim, 2))
        addr.ip[15] = 99;
    sim_host_set_addr(b, &addr);
}

/* Every kind of trouble at once, for `rounds` sends both ways. */
static void trouble(unsigned rounds)
{
    unsigned count = 0;
    sim_set_tap(sim, sometimes_no, &count);
    for (unsigned i = 0; i < rounds; i++) {
        static uint8_t data[8000];
        uint16_t segment = (uint16_t)(50 + sim_random_below(sim, 1000));
        size_t len = 1 + (size_t)sim_random_below(sim, (uint64_t)segment * 7);
        sink_send(sim, a_io, &to_b, (struct cspan){data, len}, segment);
        sink_send_number(sim, b_io, &to_a, i, 4 + (size_t)sim_random_below(sim, 1100));
        if (sim_random_below(sim, 50) == 0)
            l->down = !l->down;
        if (sim_random_below(sim, 50) == 0)
            move_b();
        cr_assert(books_right(l) && books_right(sim_link(sim, b, a)), "round %u", i);
    }
}

Test(net_link, every_datagram_is_accounted_for)
{
    make(12, &everything);
    trouble(1500);
    sim_run_for(sim, SIM_S);
    cr_assert(books_right(l) && l->flying == 0);
    cr_assert_eq(l->delivered, sink.datagrams);
    static const enum sim_loss reasons[] = {SIM_LOST_LOSS, SIM_LOST_BURST, SIM_LOST_DOWN,  SIM_LOST_MTU,
                                            SIM_LOST_TAP,  SIM_LOST_QUEUE, SIM_LOST_NOBODY};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        cr_assert_gt(l->lost_by[reasons[i]], 0, "reason %d", reasons[i]);
    cr_assert(l->duplicated > 0 && l->corrupted > 0);
}

/* ---- a seed is a run ---- */

static uint64_t run_of(uint64_t seed, const struct sim_link *link)
{
    make(seed, link);
    trouble(300);
    uint64_t hash = sim_trace_hash(sim);
    return hash;
}

Test(net_link, a_seed_is_a_run)
{
    uint64_t first = run_of(13, &everything);
    end();
    uint64_t again = run_of(13, &everything);
    end();
    cr_assert_eq(first, again);
    cr_assert_neq(first, run_of(14, &everything));
}

/* Settings of a fault that is off change nothing: old seeds keep their runs. */
Test(net_link, what_is_off_draws_nothing)
{
    static const struct sim_link calm = {.loss = 20000, .delay = {SIM_MS, 2 * SIM_MS}};
    static const struct sim_link off = {.loss = 20000,
                                        .delay = {SIM_MS, 2 * SIM_MS},
                                        .burst_end = 300000,
                                        .tail_max = 30 * SIM_MS,
                                        .queue = 10,
                                        .mtu = 60000};
    uint64_t hash = run_of(15, &calm);
    end();
    cr_assert_eq(hash, run_of(15, &off));
}
