/* NAT boxes let out everything and in what their kind lets in, forget in time, and are no way back into themselves. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/sim/world/sink.h"

enum { B, C, IN, IN2, HOSTS };

static struct sim *sim;
static struct sim_nat *nat;
static struct sim_host *host[HOSTS]; /* two in the open, two behind the NAT */
static struct io *io[HOSTS];
static struct sink sink[HOSTS];
static struct io_addr addr[HOSTS];

static void make(uint64_t seed, enum sim_nat_kind kind, uint64_t timeout)
{
    sim = sim_create(seed);
    nat = sim_add_nat(sim, kind, timeout);
    for (int i = 0; i < HOSTS; i++) {
        host[i] = bare_host(sim, 1, &io[i]);
        sink_start(&sink[i], io[i]);
        if (i >= IN)
            sim_host_behind(host[i], nat);
        addr[i] = sim_host_addr(host[i]);
    }
}

static void end(void)
{
    sim_destroy(sim);
}

TestSuite(net_nat, .fini = end, .timeout = 60);

/* From host to address; true: it was delivered to `at`. */
static bool passes(int from, const struct io_addr *to, int at)
{
    unsigned before = sink[at].datagrams;
    cr_assert_eq(sink_send_number(sim, io[from], to, 7, 32), 32);
    sim_run_for(sim, SIM_MS);
    return sink[at].datagrams == before + 1;
}

static bool injected(struct io_addr from, const struct io_addr *to, int at)
{
    unsigned before = sink[at].datagrams;
    sim_inject(sim, &from, to, (struct cspan){(const uint8_t *)"data", 4});
    sim_run_for(sim, SIM_MS);
    return sink[at].datagrams == before + 1;
}

/* The endpoint that `at` sees when `from` sends to it. */
static struct io_addr seen(int from, int at)
{
    cr_assert(passes(from, &addr[at], at));
    return sink[at].from;
}

static bool same(struct io_addr a, struct io_addr b)
{
    return io_addr_equal(&a, &b);
}

Test(net_nat, each_kind_lets_in_what_it_should)
{
    static const struct {
        bool port, address, anybody;
    } let_in[] = {
        [SIM_NAT_FULL_CONE] = {true, true, true},
        [SIM_NAT_RESTRICTED] = {true, false, false},
        [SIM_NAT_PORT_RESTRICTED] = {false, false, false},
        [SIM_NAT_SYMMETRIC] = {false, false, false},
    };
    for (int kind = SIM_NAT_FULL_CONE; kind <= SIM_NAT_SYMMETRIC; kind++) {
        make(1, (enum sim_nat_kind)kind, SIM_NEVER);
        struct io_addr outer = seen(IN, B), nat_addr = sim_nat_addr(nat), other_port = addr[B], nowhere = outer;
        cr_assert(memcmp(outer.ip, nat_addr.ip, 16) == 0 && outer.port >= 1024);
        cr_assert(passes(B, &outer, IN) && same(sink[IN].from, addr[B]));
        other_port.port++;
        nowhere.port = (uint16_t)(nowhere.port ^ 1);
        cr_assert_eq(injected(other_port, &outer, IN), let_in[kind].port, "kind %d", kind);
        cr_assert_eq(passes(C, &outer, IN), let_in[kind].anybody, "kind %d", kind);
        cr_assert_not(passes(B, &nowhere, IN));
        uint64_t refused = 1u + !let_in[kind].port + !let_in[kind].anybody;
        cr_assert_eq(nat->refused, refused);
        cr_assert_eq(sim_link(sim, host[C], host[IN])->lost_by[SIM_LOST_NAT], !let_in[kind].anybody);
        if (kind < SIM_NAT_SYMMETRIC)
            end();
    }
}

Test(net_nat, cones_keep_their_port_and_symmetric_ones_have_one_for_each)
{
    for (int kind = SIM_NAT_FULL_CONE; kind <= SIM_NAT_SYMMETRIC; kind++) {
        make(2, (enum sim_nat_kind)kind, SIM_NEVER);
        struct io_addr to_b = seen(IN, B), to_c = seen(IN, C);
        cr_assert_eq(same(to_b, to_c), kind != SIM_NAT_SYMMETRIC);
        cr_assert(same(seen(IN, B), to_b) && same(seen(IN, C), to_c));
        cr_assert(passes(B, &to_b, IN) && passes(C, &to_c, IN));
        cr_assert_eq(nat->mapped, kind == SIM_NAT_SYMMETRIC ? 2 : 1);
        if (kind < SIM_NAT_SYMMETRIC)
            end();
    }
}

Test(net_nat, two_hosts_behind_one_box_have_a_port_each)
{
    make(3, SIM_NAT_PORT_RESTRICTED, SIM_NEVER);
    struct io_addr one = seen(IN, B), two = seen(IN2, B);
    cr_assert_not(same(one, two));
    cr_assert(passes(B, &two, IN2) && sink[IN].datagrams == 0);
    cr_assert(passes(B, &one, IN) && sink[IN2].datagrams == 1);
}

Test(net_nat, a_mapping_lives_from_what_goes_out_only)
{
    make(4, SIM_NAT_FULL_CONE, 10 * SIM_S);
    struct io_addr outer = seen(IN, B);
    for (int i = 0; i < 3; i++) {
        sim_run_for(sim, 8 * SIM_S);
        cr_assert(same(seen(IN, B), outer), "each send keeps it");
    }
    sim_run_for(sim, 6 * SIM_S);
    cr_assert(passes(B, &outer, IN));
    sim_run_for(sim, 6 * SIM_S);
    cr_assert_not(passes(B, &outer, IN), "what came in did not");
    cr_assert_eq(nat->refused, 1);
    struct io_addr later = seen(IN, B);
    cr_assert_not(same(later, outer), "another port");
    cr_assert(passes(B, &later, IN) && !passes(B, &outer, IN));
}

Test(net_nat, leave_to_answer_ends_for_each_remote_by_itself)
{
    make(5, SIM_NAT_PORT_RESTRICTED, 10 * SIM_S);
    struct io_addr outer = seen(IN, B);
    cr_assert(same(seen(IN, C), outer));
    for (int i = 0; i < 3; i++) {
        sim_run_for(sim, 6 * SIM_S);
        cr_assert(same(seen(IN, C), outer));
    }
    cr_assert(passes(C, &outer, IN) && !passes(B, &outer, IN));
}

Test(net_nat, a_datagram_on_its_way_meets_the_box_as_it_is_then)
{
    make(6, SIM_NAT_PORT_RESTRICTED, 10 * SIM_S);
    sim_link(sim, host[B], host[IN])->delay = (struct sim_range){SIM_S, SIM_S};
    struct io_addr outer = seen(IN, B);
    cr_assert_eq(sink_send_number(sim, io[B], &outer, 1, 32), 32);
    sim_nat_restart(nat);
    sim_run_for(sim, 2 * SIM_S);
    const struct sim_link *l = sim_link(sim, host[B], host[IN]);
    cr_assert(sink[IN].datagrams == 0 && l->lost_by[SIM_LOST_NAT] == 1 && l->flying == 0 && l->sent == l->lost);
}

Test(net_nat, a_restart_and_a_move_lose_all_mappings)
{
    make(7, SIM_NAT_FULL_CONE, SIM_NEVER);
    struct io_addr outer = seen(IN, B), before = sim_nat_addr(nat);
    sim_nat_restart(nat);
    cr_assert_not(passes(B, &outer, IN));
    struct io_addr again = seen(IN, B);
    cr_assert(memcmp(again.ip, before.ip, 16) == 0 && again.port != outer.port);
    sim_nat_roam(nat);
    cr_assert_not(passes(B, &again, IN));
    struct io_addr moved = seen(IN, B), now = sim_nat_addr(nat);
    cr_assert(memcmp(moved.ip, now.ip, 16) == 0 && memcmp(moved.ip, before.ip, 16) != 0);
    cr_assert(passes(B, &moved, IN));
}

Test(net_nat, inner_addresses_are_for_those_inside)
{
    make(8, SIM_NAT_FULL_CONE, SIM_NEVER);
    struct sim_host *elsewhere;
    struct io *elsewhere_io;
    elsewhere = bare_host(sim, 1, &elsewhere_io);
    sim_host_behind(elsewhere, sim_add_nat(sim, SIM_NAT_FULL_CONE, SIM_NEVER));
    cr_assert_not(passes(B, &addr[IN], IN));
    cr_assert_eq(sink_send_number(sim, elsewhere_io, &addr[IN], 1, 32), 32);
    sim_run_for(sim, SIM_MS);
    cr_assert_eq(sink[IN].datagrams, 0);
    cr_assert_eq(sim_stats(sim)->unreachable, 2);
    cr_assert(passes(IN2, &addr[IN], IN) && same(sink[IN].from, addr[IN2]), "as they are");
}

Test(net_nat, there_is_no_hairpin)
{
    make(9, SIM_NAT_FULL_CONE, SIM_NEVER);
    struct io_addr outer = seen(IN, B);
    cr_assert(!passes(IN2, &outer, IN) && !passes(IN, &outer, IN));
    cr_assert_eq(nat->hairpins, 2);
}

/* Both know the other's outer endpoint, as a third party would tell them: cones meet, symmetric ones do not. */
Test(net_nat, cones_meet_in_the_middle_and_symmetric_ones_do_not)
{
    for (int kind = SIM_NAT_PORT_RESTRICTED; kind <= SIM_NAT_SYMMETRIC; kind++) {
        make(10, (enum sim_nat_kind)kind, SIM_NEVER);
        struct io_addr mine = seen(IN, B);
        sim_host_behind(host[C], sim_add_nat(sim, (enum sim_nat_kind)kind, SIM_NEVER));
        struct io_addr theirs = seen(C, B);
        cr_assert_not(passes(IN, &theirs, C), "the first comes too early");
        cr_assert_eq(passes(C, &mine, IN), kind == SIM_NAT_PORT_RESTRICTED);
        cr_assert_eq(passes(IN, &theirs, C), kind == SIM_NAT_PORT_RESTRICTED);
        if (kind < SIM_NAT_SYMMETRIC)
            end();
    }
}

static uint64_t ports_of(uint64_t seed)
{
    uint64_t all = 0;
    make(seed, SIM_NAT_SYMMETRIC, SIM_NEVER);
    for (int i = B; i <= C; i++)
        all = all << 16 | seen(IN, i).port;
    for (int i = B; i <= C; i++)
        all = all << 16 | seen(IN2, i).port;
    return all;
}

Test(net_nat, ports_are_of_the_seed)
{
    uint64_t first = ports_of(11);
    uint64_t hash = sim_trace_hash(sim);
    end();
    cr_assert(ports_of(11) == first && sim_trace_hash(sim) == hash);
    end();
    cr_assert_neq(ports_of(12), first);
}
