/* A send that fails as the kernel's do: no room, no memory, no route, too large; or in part. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/sim/world/sink.h"

static struct sim *sim;
static struct sim_host *a, *b, *c;
static struct io *a_io, *b_io, *c_io;
static struct sink at_b, at_c;
static struct io_addr to_b, to_c;

static void begin(void)
{
    sim = sim_create(1);
    a = bare_host(sim, 1, &a_io);
    b = bare_host(sim, 1, &b_io);
    c = bare_host(sim, 1, &c_io);
    sink_start(&at_b, b_io);
    sink_start(&at_c, c_io);
    to_b = sim_host_addr(b);
    to_c = sim_host_addr(c);
}

static void end(void)
{
    sim_destroy(sim);
}

TestSuite(net_send, .init = begin, .fini = end, .timeout = 60);

static int32_t send_to_b(void)
{
    return sink_send_number(sim, a_io, &to_b, 1, 64);
}

Test(net_send, no_buffers_as_often_as_told)
{
    sim_settings(sim)->send_enobufs = SIM_ALWAYS / 4;
    unsigned refused = 0;
    for (unsigned i = 0; i < 4000; i++) {
        int32_t res = send_to_b();
        cr_assert(res == 64 || res == -ENOBUFS);
        refused += res < 0;
    }
    sim_run_for(sim, SIM_S);
    cr_assert(refused > 1000 - 165 && refused < 1000 + 165, "%u", refused);
    cr_assert_eq(at_b.datagrams, 4000 - refused);
    cr_assert_eq(sim_link(sim, a, b)->sent, 4000 - refused, "what was refused was never sent");
}

Test(net_send, no_route_to_one_destination)
{
    sim_link(sim, a, b)->error = EHOSTUNREACH;
    cr_assert_eq(send_to_b(), -EHOSTUNREACH);
    cr_assert_eq(sink_send_number(sim, a_io, &to_c, 1, 64), 64);
    cr_assert_eq(sink_send_number(sim, b_io, &to_c, 1, 64), 64);
    sim_link(sim, a, b)->error = 0;
    cr_assert_eq(send_to_b(), 64);
    sim_run_for(sim, SIM_S);
    cr_assert(at_b.datagrams == 1 && at_c.datagrams == 2);
}

Test(net_send, no_network_at_all)
{
    struct io_addr nobody = to_b;
    nobody.ip[15] = 77;
    sim_host_set_send_error(a, ENETUNREACH);
    cr_assert_eq(send_to_b(), -ENETUNREACH);
    cr_assert_eq(sink_send_number(sim, a_io, &nobody, 1, 64), -ENETUNREACH);
    cr_assert_eq(sink_send_number(sim, b_io, &to_c, 1, 64), 64, "others have one");
    sim_host_set_send_error(a, 0);
    cr_assert_eq(send_to_b(), 64);
    cr_assert_eq(sink_send_number(sim, a_io, &nobody, 1, 64), 64, "nobody there: UDP does not say");
}

Test(net_send, too_large_for_a_socket_that_does_not_fragment)
{
    sim_settings(sim)->send_whole = true;
    sim_link(sim, a, b)->mtu = 1000;
    cr_assert_eq(sink_send_number(sim, a_io, &to_b, 1, 1001), -EMSGSIZE);
    cr_assert_eq(sink_send_number(sim, a_io, &to_b, 2, 1000), 1000);
    cr_assert_eq(sink_send_number(sim, a_io, &to_c, 3, 1001), 1001);
    uint8_t data[2 * 1200 + 300] = {0};
    cr_assert_eq(sink_send(sim, a_io, &to_b, (struct cspan){data, sizeof data}, 1200), 300, "the last one fits");
    sim_run_for(sim, SIM_S);
    cr_assert(at_b.datagrams == 2 && at_c.datagrams == 1);
    cr_assert_eq(sim_link(sim, a, b)->lost_by[SIM_LOST_MTU], 0, "they never left");
}

Test(net_send, a_train_may_leave_in_part)
{
    uint8_t data[4 * 100 + 40];
    unsigned at = 0, lengths[6] = {0};
    sim_settings(sim)->send_part = SIM_ALWAYS;
    for (unsigned round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 5; i++)
            store_le32(data + (size_t)i * 100, i);
        int32_t res = sink_send(sim, a_io, &to_b, (struct cspan){data, sizeof data}, 100);
        sim_run_for(sim, SIM_MS);
        cr_assert(res % 100 == 0 && res >= 100 && res <= 400, "%d", res);
        cr_assert_eq(at_b.datagrams - at, (unsigned)res / 100);
        for (uint32_t i = 0; at < at_b.datagrams; at++, i++)
            cr_assert_eq(at_b.first[at], i);
        lengths[res / 100]++;
    }
    for (unsigned i = 1; i <= 4; i++)
        cr_assert_gt(lengths[i], 10);
    cr_assert_eq(sink_send(sim, a_io, &to_b, (struct cspan){data, 100}, 100), 100, "one datagram leaves whole");
}
