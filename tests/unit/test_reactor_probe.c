/* Kernels that refuse something, played by seccomp: what is needed is said with a remedy, the rest is done without. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/support/reactor_fixture.h"

/* From now on `call` fails with `error` when its argument number `arg` is `value`. */
static void forbid(int call, unsigned arg, uint32_t value, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, args) + 8 * arg),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static struct reactor_group_options options(unsigned shards, const struct io_addr *listen)
{
    return (struct reactor_group_options){
        .listen = *listen, .shards = shards, .gso = true, .gro = true, .no_admin = true};
}

static void expect_refused(const char *feature, const char *remedy)
{
    struct reactor_group_options o = options(1, &loopback_v4);
    struct reactor_group *g = (struct reactor_group *)&o;
    char why[512] = "";
    cr_expect_eq(reactor_group_create(&g, &o, why, sizeof why), NET_ERR_UNSUPPORTED);
    cr_expect_null(g);
    cr_expect_not_null(strstr(why, feature), "%s", why);
    cr_expect_not_null(strstr(why, remedy), "%s", why);
}

/* io_uring_setup(entries, …): the ring is asked for with 256 entries. */
Test(reactor_probe, io_uring_forbidden)
{
    forbid(SYS_io_uring_setup, 0, 256, EPERM);
    expect_refused("EPERM", "kernel.io_uring_disabled=0");
}
Test(reactor_probe, io_uring_hidden)
{
    forbid(SYS_io_uring_setup, 0, 256, ENOSYS);
    expect_refused("ENOSYS", "seccomp");
}
Test(reactor_probe, kernel_before_6_1)
{
    forbid(SYS_io_uring_setup, 0, 256, EINVAL);
    expect_refused("DEFER_TASKRUN", "Linux 6.1");
}
Test(reactor_probe, no_memory_for_a_ring)
{
    forbid(SYS_io_uring_setup, 0, 256, ENOMEM);
    expect_refused("ENOMEM", "ulimit -l");
}
Test(reactor_probe, no_registered_files)
{
    forbid(SYS_io_uring_register, 1, IORING_REGISTER_FILES2, EINVAL);
    expect_refused("register files", "Linux 6.1");
}
Test(reactor_probe, no_buffer_rings)
{
    forbid(SYS_io_uring_register, 1, IORING_REGISTER_PBUF_RING, EINVAL);
    expect_refused("buffer rings", "Linux 6.1");
}
Test(reactor_probe, no_list_of_operations)
{
    forbid(SYS_io_uring_register, 1, IORING_REGISTER_PROBE, EINVAL);
    expect_refused("PROBE", "Linux 6.1");
}

static void expect_works_without(bool gso, bool gro, bool steering)
{
    struct reactor_group_options o = options(2, &loopback_v4);
    struct fixture f;
    fixture_open_with(&f, &o, NULL);
    cr_expect_eq(f.features.gso, gso);
    cr_expect_eq(f.features.gro, gro);
    cr_expect_eq(f.features.steering, steering);
    fixture_close(&f);
}

Test(reactor_probe, no_gso)
{
    forbid(SYS_setsockopt, 2, UDP_SEGMENT, ENOPROTOOPT);
    expect_works_without(false, true, true);
}
Test(reactor_probe, no_gro)
{
    forbid(SYS_setsockopt, 2, UDP_GRO, ENOPROTOOPT);
    expect_works_without(true, false, true);
}
Test(reactor_probe, no_steering)
{
    forbid(SYS_setsockopt, 2, SO_ATTACH_REUSEPORT_CBPF, EPERM);
    expect_works_without(true, true, false);
}

/* An ordinary user gets what net.core.rmem_max allows. */
Test(reactor_probe, no_forced_buffers)
{
    forbid(SYS_setsockopt, 2, SO_RCVBUFFORCE, EPERM);
    struct reactor_group_options o = options(1, &loopback_v4);
    struct fixture f;
    o.socket_buffer = 1 << 30;
    fixture_open_with(&f, &o, NULL);
    cr_expect_geq(f.features.socket_buffer, 100000);
    cr_expect_lt(f.features.socket_buffer, 1 << 30);
    fixture_close(&f);
}

/* A machine booted without IPv6 takes the default listen address [::] as IPv4's. */
Test(reactor_probe, no_ipv6)
{
    forbid(SYS_socket, 0, AF_INET6, EAFNOSUPPORT);
    struct reactor_group_options o = options(1, &any_v6);
    struct fixture f;
    fixture_open_with(&f, &o, NULL);
    struct iovec iov = {"hello", 5};
    struct tracked in = {.op = {.kind = IO_UDP_RECV, .done = tracked_done, .handle = f.io[0]->udp}};
    struct tracked out = {
        .op = {.kind = IO_UDP_SEND,
               .handle = f.io[0]->udp,
               .udp = {.to = with_port(loopback_v4, f.features.listen.port), .iov = &iov, .iov_count = 1}}};
    io_submit(f.io[0], &in.op);
    cr_expect_eq(run_op(f.reactor[0], &out), 5);
    turn_until(f.reactor[0], &in.completions, 1);
    cr_expect_eq(in.res, 5);
    fixture_close(&f);

    struct reactor_group *g;
    char why[256] = "";
    o.listen = loopback_v6;
    cr_expect_eq(reactor_group_create(&g, &o, why, sizeof why), NET_ERR_IO);
    cr_expect_not_null(strstr(why, "[::1]:0"), "%s", why);
}
