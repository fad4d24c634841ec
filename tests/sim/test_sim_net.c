/* The network loses, duplicates, delays and reorders as told, steers as the kernel does, splits and joins. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/wire/wire.h"
#include "tests/sim/world/sink.h"

struct pair {
    struct sim *sim;
    struct sim_host *a, *b;
    struct io *a_io[8], *b_io[8];
    struct sink sink[8];
};

static struct pair p;

static void pair_create(uint64_t seed, unsigned shards, const struct sim_link *link)
{
    p.sim = sim_create(seed);
    if (link)
        sim_settings(p.sim)->link = *link;
    p.a = bare_host(p.sim, shards, p.a_io);
    p.b = bare_host(p.sim, shards, p.b_io);
    for (unsigned i = 0; i < shards; i++)
        sink_start(&p.sink[i], p.b_io[i]);
}

static int32_t send_to(const struct io_addr *to, const void *data, size_t len, uint16_t segment)
{
    return sink_send(p.sim, p.a_io[0], to, (struct cspan){data, len}, segment);
}

static void send_numbered(unsigned count)
{
    struct io_addr to = sim_host_addr(p.b);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(sink_send_number(p.sim, p.a_io[0], &to, i, 64), 64);
}

Test(net, loss_and_duplication_are_as_likely_as_told)
{
    enum { N = 10000 };
    pair_create(1, 1, &(struct sim_link){.loss = 200000, .duplicate = 100000, .delay = {1000, 1000}});
    send_numbered(N);
    sim_run_for(p.sim, SIM_S);
    const struct sim_link *l = sim_link(p.sim, p.a, p.b);
    cr_assert_eq(l->sent, N);
    /* six standard deviations of a binomial distribution: 240 of 2000, and of 800 of 8000 that got through 161 */
    cr_assert(l->lost > 1760 && l->lost < 2240, "%llu", (unsigned long long)l->lost);
    cr_assert(l->duplicated > 639 && l->duplicated < 961, "%llu", (unsigned long long)l->duplicated);
    cr_assert_eq(l->delivered, N - l->lost + l->duplicated);
    cr_assert_eq(p.sink[0].datagrams, l->delivered);
    unsigned seen[N] = {0}, twice = 0;
    for (unsigned i = 0; i < p.sink[0].datagrams; i++)
        twice += seen[p.sink[0].first[i]]++ == 1;
    cr_assert_eq(twice, l->duplicated);
    sim_destroy(p.sim);
}

Test(net, delay_stays_in_its_range_and_its_jitter_reorders)
{
    pair_create(2, 1, &(struct sim_link){.delay = {SIM_MS, 3 * SIM_MS}});
    sim_settings(p.sim)->wake = (struct sim_range){0, 0};
    struct io_addr to = sim_host_addr(p.b);
    uint64_t sent[500], sum = 0;
    for (uint32_t i = 0; i < 500; i++) {
        uint8_t data[8] = {0};
        store_le32(data, i);
        send_to(&to, data, sizeof data, 0);
        sent[i] = sim_now(p.sim);
    }
    sim_run_for(p.sim, SIM_S);
    cr_assert_eq(p.sink[0].datagrams, 500);
    unsigned early = 0;
    for (unsigned i = 0; i < 500; i++) {
        uint32_t number = p.sink[0].first[i];
        uint64_t delay = p.sink[0].at[i] - sent[number];
        cr_assert_geq(delay + 2 * sim_settings(p.sim)->turn.max, SIM_MS);
        cr_assert_leq(delay, 3 * SIM_MS + 2 * sim_settings(p.sim)->turn.max);
        sum += delay;
        early += i > 0 && number < p.sink[0].first[i - 1];
    }
    cr_assert(sum / 500 > 18 * SIM_MS / 10 && sum / 500 < 22 * SIM_MS / 10);
    cr_assert_gt(early, 50);
    sim_destroy(p.sim);
}

Test(net, without_jitter_nothing_is_reordered)
{
    pair_create(2, 1, &(struct sim_link){.delay = {SIM_MS, SIM_MS}});
    send_numbered(300);
    sim_run_for(p.sim, SIM_S);
    cr_assert_eq(p.sink[0].datagrams, 300);
    for (uint32_t i = 0; i < 300; i++)
        cr_assert_eq(p.sink[0].first[i], i);
    sim_destroy(p.sim);
}

Test(net, gso_splits_and_gro_joins)
{
    static const uint32_t coalesce[] = {0, SIM_ALWAYS};
    for (unsigned c = 0; c < 2; c++) {
        pair_create(3, 1, NULL);
        sim_settings(p.sim)->coalesce = coalesce[c];
        struct io_addr to = sim_host_addr(p.b);
        uint8_t data[10 * 100 + 40];
        for (unsigned i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)(i / 100);
        cr_assert_eq(send_to(&to, data, sizeof data, 100), (int32_t)sizeof data);
        sim_run_for(p.sim, SIM_MS);
        const struct sink *s = &p.sink[0];
        cr_assert_eq(s->datagrams, 11);
        cr_assert_eq(sim_link(p.sim, p.a, p.b)->sent, 11);
        for (uint32_t i = 0; i < 11; i++) {
            cr_assert_eq(s->len[i], i < 10 ? 100 : 40);
            cr_assert_eq(s->first[i], i * 0x01010101u);
        }
        cr_assert_eq(s->largest, c ? 11 : 1);
        cr_assert_eq(s->arrivals, c ? 1 : 11);
        struct io_addr from = sim_host_addr(p.a);
        cr_assert_eq(memcmp(s->from.ip, from.ip, 16), 0);
        cr_assert_eq(s->from.port, from.port);
        sim_destroy(p.sim);
    }
}

Test(net, gro_joins_only_equal_lengths)
{
    pair_create(4, 1, &(struct sim_link){.delay = {SIM_MS, SIM_MS}});
    sim_settings(p.sim)->coalesce = SIM_ALWAYS;
    sim_settings(p.sim)->wake = (struct sim_range){2 * SIM_MS, 2 * SIM_MS};
    struct io_addr from = sim_host_addr(p.a), to = sim_host_addr(p.b);
    static const uint8_t data[300];
    static const size_t lens[] = {100, 100, 50, 100, 100, 200, 0, 100};
    for (unsigned i = 0; i < 8; i++)
        sim_inject(p.sim, &from, &to, (struct cspan){data, lens[i]});
    sim_run_for(p.sim, 10 * SIM_MS);
    cr_assert_eq(p.sink[0].datagrams, 8);
    cr_assert_eq(p.sink[0].arrivals, 5); /* 100+100+50, 100+100, 200, 0, 100 */
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(p.sink[0].len[i], lens[i]);
    sim_destroy(p.sim);
}

/* A data packet's first bytes, with a session id that steers to `shard`. */
static void packet_for(uint8_t out[80], unsigned shard, unsigned shards)
{
    struct wire_header header = {.session_id = UINT64_C(1) << 40};
    while (wire_steer_id(header.session_id, shards) != shard)
        header.session_id += 1u << 24;
    wire_header_encode(&header, out);
    memset(out + 64, 0, 16);
}

Test(net, datagrams_are_steered_by_session_id)
{
    pair_create(5, 4, NULL);
    struct io_addr to = sim_host_addr(p.b);
    for (unsigned shard = 0; shard < 4; shard++) {
        uint8_t data[80];
        packet_for(data, shard, 4);
        for (unsigned i = 0; i <= shard; i++)
            send_to(&to, data, sizeof data, 0);
    }
    send_to(&to, "keep alive", 10, 0); /* no session: shard 0 */
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(p.sink[0].datagrams, 2);
    for (unsigned shard = 1; shard < 4; shard++)
        cr_assert_eq(p.sink[shard].datagrams, shard + 1);
    sim_settings(p.sim)->missteer = SIM_ALWAYS;
    uint8_t data[80];
    packet_for(data, 2, 4);
    for (unsigned i = 0; i < 60; i++)
        send_to(&to, data, sizeof data, 0);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(p.sink[2].datagrams, 3); /* none more */
    cr_assert_eq(sim_stats(p.sim)->missteered, 60);
    cr_assert(p.sink[0].datagrams > 8 && p.sink[1].datagrams > 8 && p.sink[3].datagrams > 8);
    sim_destroy(p.sim);
}

Test(net, held_buffers_stay_and_their_number_is_bounded)
{
    pair_create(6, 1, NULL);
    sim_settings(p.sim)->coalesce = 0;
    sim_settings(p.sim)->recv_buffers = 4;
    p.sink[0].hold = 4;
    send_numbered(10);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(p.sink[0].datagrams, 4);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(load_le32(p.sink[0].held_data[i]), p.sink[0].first[i]);
    for (unsigned i = 0; i < 4; i++)
        p.b_io[0]->ops->udp_release(p.b_io[0], p.sink[0].held[i]);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(p.sink[0].datagrams, 10);
    sim_destroy(p.sim);
}

Test(net, a_full_socket_drops)
{
    pair_create(7, 1, &(struct sim_link){.delay = {SIM_MS, SIM_MS}});
    sim_settings(p.sim)->socket_buffer = 1000;
    sim_settings(p.sim)->wake.min = sim_settings(p.sim)->wake.max = SIM_MS;
    struct io_addr from = sim_host_addr(p.a), to = sim_host_addr(p.b);
    static const uint8_t data[100];
    for (unsigned i = 0; i < 15; i++)
        sim_inject(p.sim, &from, &to, (struct cspan){data, sizeof data});
    sim_run_for(p.sim, SIM_S);
    cr_assert_eq(p.sink[0].datagrams, 10);
    cr_assert_eq(sim_stats(p.sim)->overflows, 5);
    sim_destroy(p.sim);
}

Test(net, a_send_may_find_no_room)
{
    pair_create(8, 1, NULL);
    sim_settings(p.sim)->send_again = SIM_ALWAYS;
    struct io_addr to = sim_host_addr(p.b);
    cr_assert_eq(send_to(&to, "data", 4, 0), -EAGAIN);
    sim_settings(p.sim)->send_again = 0;
    cr_assert_eq(send_to(&to, "data", 4, 0), 4);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(p.sink[0].datagrams, 1);
    sim_destroy(p.sim);
}

Test(net, a_cut_loses_what_is_on_its_way)
{
    pair_create(9, 1, &(struct sim_link){.delay = {10 * SIM_MS, 10 * SIM_MS}});
    send_numbered(3);
    sim_cut(p.sim, p.a, p.b, true);
    send_numbered(2);
    sim_run_for(p.sim, SIM_S);
    cr_assert_eq(p.sink[0].datagrams, 0);
    cr_assert_eq(sim_link(p.sim, p.a, p.b)->lost, 5);
    sim_cut(p.sim, p.a, p.b, false);
    send_numbered(2);
    sim_run_for(p.sim, SIM_S);
    cr_assert_eq(p.sink[0].datagrams, 2);
    sim_destroy(p.sim);
}

Test(net, hosts_roam_and_die)
{
    pair_create(10, 1, NULL);
    struct io_addr old = sim_host_addr(p.b), new = old;
    new.ip[15] = 200;
    sim_host_set_addr(p.b, &new);
    send_to(&old, "old", 3, 0);
    send_to(&new, "new", 3, 0);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(p.sink[0].datagrams, 1);
    cr_assert_eq(sim_stats(p.sim)->unreachable, 1);
    send_to(&new, "late", 4, 0);
    sim_host_kill(p.b);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(sim_stats(p.sim)->unreachable, 2);
    sim_destroy(p.sim);
}

static bool spoil(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    unsigned *seen = ctx;
    struct io_addr a = sim_host_addr(p.a), b = sim_host_addr(p.b);
    cr_assert_eq(memcmp(from, &a, sizeof a), 0);
    cr_assert_eq(memcmp(to, &b, sizeof b), 0);
    datagram.data[3] ^= 0x80;
    return ++*seen % 2 == 0;
}

Test(net, a_tap_sees_changes_and_drops)
{
    pair_create(11, 1, &(struct sim_link){.delay = {1000, 1000}});
    unsigned seen = 0;
    sim_set_tap(p.sim, spoil, &seen);
    send_numbered(4);
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(seen, 4);
    cr_assert_eq(p.sink[0].datagrams, 2);
    cr_assert_eq(p.sink[0].first[0], 0x80000001u);
    cr_assert_eq(p.sink[0].first[1], 0x80000003u);
    sim_destroy(p.sim);
}

Test(net, bytes_are_read_when_the_send_completes_not_before)
{
    pair_create(12, 1, NULL);
    uint8_t data[4] = {1, 0, 0, 0};
    struct iovec iov = {data, 4};
    struct bare_op send = {.op = {.kind = IO_UDP_SEND, .handle = p.a_io[0]->udp}};
    send.op.udp.to = sim_host_addr(p.b);
    send.op.udp.iov = &iov;
    send.op.udp.iov_count = 1;
    bare_submit(p.a_io[0], &send);
    data[0] = 2; /* the back end's memory: whoever does this gets to see it */
    sim_run_for(p.sim, SIM_MS);
    cr_assert_eq(send.res, 4);
    cr_assert_eq(p.sink[0].first[0], 2);
    sim_destroy(p.sim);
}
