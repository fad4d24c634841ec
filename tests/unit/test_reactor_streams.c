/* The reactor's connections: admin listener on TCP and on a unix socket; creation of a group and its refusals. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/support/reactor_fixture.h"

enum { MAX_ACCEPTED = 64 };

struct listener {
    struct io_op op; /* first */
    struct io *io;
    unsigned accepted, ended;
    io_handle handles[MAX_ACCEPTED];
    int32_t res;
};

static void on_accept(struct io_op *op, int32_t res)
{
    struct listener *l = (struct listener *)(void *)op;
    if (res >= 0)
        l->handles[l->accepted++] = res;
    l->res = res;
    l->ended += !op->more;
}

static void accept_on(struct listener *l, struct io *io)
{
    memset(l, 0, sizeof *l);
    l->io = io;
    l->op = (struct io_op){.kind = IO_ACCEPT, .done = on_accept, .handle = io->listener};
    io_submit(io, &l->op);
}

static struct reactor_group_options admin_tcp(const struct io_addr *addr)
{
    return (struct reactor_group_options){
        .listen = loopback_v4, .shards = 1, .gso = true, .gro = true, .admin_addr = *addr};
}

static struct reactor_group_options admin_unix(const char *path)
{
    return (struct reactor_group_options){
        .listen = loopback_v4, .shards = 1, .gso = true, .gro = true, .admin_is_unix = true, .admin_path = path};
}

static int32_t run_buf(struct reactor *r, enum io_kind kind, io_handle h, void *data, size_t len)
{
    struct tracked t = {.op = {.kind = kind, .handle = h, .buf = {.data = data, .len = len}}};
    return run_op(r, &t);
}

static int32_t run_close(struct reactor *r, io_handle h)
{
    struct tracked t = {.op = {.kind = IO_CLOSE, .handle = h}};
    return run_op(r, &t);
}

/* Everything a connection does, from accept to the end of either side. */
static void check_connection(struct fixture *f, struct listener *l, int fd)
{
    char in[64] = "";
    unsigned before = l->accepted;
    turn_until(f->reactor[0], &l->accepted, before + 1);
    io_handle h = l->handles[before];
    cr_assert_eq(send(fd, "request", 7, 0), 7);
    cr_expect_eq(run_buf(f->reactor[0], IO_RECV, h, in, sizeof in), 7);
    cr_expect_eq(memcmp(in, "request", 7), 0);
    cr_expect_eq(run_buf(f->reactor[0], IO_SEND, h, (char[]){"answer"}, 6), 6);
    cr_expect_eq(recv(fd, in, sizeof in, 0), 6);
    cr_expect_eq(memcmp(in, "answer", 6), 0);

    /* A receive that waits is cancelled, then the close reaches the other side. */
    struct tracked waiting = {
        .op = {.kind = IO_RECV, .done = tracked_done, .handle = h, .buf = {.data = in, .len = 64}}};
    io_submit(f->io[0], &waiting.op);
    turn_for(f->reactor[0], 2000000);
    cr_expect_eq(waiting.completions, 0);
    io_cancel(f->io[0], &waiting.op);
    io_cancel(f->io[0], &waiting.op);
    turn_until(f->reactor[0], &waiting.completions, 1);
    cr_expect_eq(waiting.res, -ECANCELED);
    io_cancel(f->io[0], &waiting.op); /* nothing is pending: nothing happens */
    cr_expect_eq(run_close(f->reactor[0], h), 0);
    cr_expect_eq(recv(fd, in, sizeof in, 0), 0, "end of stream");
    close(fd);
}

static void check_tcp(const struct io_addr *listen, const struct io_addr *host)
{
    struct reactor_group_options g = admin_tcp(listen);
    struct fixture f;
    struct listener l;
    fixture_open_with(&f, &g, NULL);
    cr_assert_neq(f.io[0]->listener, IO_NO_HANDLE);
    cr_assert_neq(f.features.admin.port, 0);
    accept_on(&l, f.io[0]);
    struct io_addr to = with_port(*host, f.features.admin.port);
    for (unsigned i = 0; i < 5; i++)
        check_connection(&f, &l, plain_connect(&to));
    cr_expect(l.op.pending, "one accept took them all");
    io_cancel(f.io[0], &l.op);
    turn_until(f.reactor[0], &l.ended, 1);
    cr_expect_eq(l.res, -ECANCELED);
    fixture_close(&f);
}

Test(reactor_streams, tcp)
{
    check_tcp(&loopback_v4, &loopback_v4);
    check_tcp(&loopback_v6, &loopback_v6);
    check_tcp(&any_v6, &loopback_v4);
}

Test(reactor_streams, the_peers_end_and_reset)
{
    struct reactor_group_options g = admin_tcp(&loopback_v4);
    struct fixture f;
    struct listener l;
    char in[16];
    fixture_open_with(&f, &g, NULL);
    accept_on(&l, f.io[0]);
    int fd = plain_connect(&f.features.admin);
    turn_until(f.reactor[0], &l.accepted, 1);
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    cr_expect_eq(run_buf(f.reactor[0], IO_RECV, l.handles[0], in, sizeof in), 0);
    close(fd);

    fd = plain_connect(&f.features.admin);
    turn_until(f.reactor[0], &l.accepted, 2);
    struct linger linger = {1, 0};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
    cr_expect_eq(run_buf(f.reactor[0], IO_RECV, l.handles[1], in, sizeof in), -ECONNRESET);
    cr_expect_eq(run_buf(f.reactor[0], IO_SEND, l.handles[1], in, sizeof in), -EPIPE, "and no SIGPIPE");
    run_close(f.reactor[0], l.handles[0]);
    run_close(f.reactor[0], l.handles[1]);
    fixture_close(&f);
}

Test(reactor_streams, a_send_waits_for_a_slow_reader)
{
    static char big[1 << 23], in[1 << 16];
    struct reactor_group_options g = admin_tcp(&loopback_v4);
    struct fixture f;
    struct listener l;
    fixture_open_with(&f, &g, NULL);
    accept_on(&l, f.io[0]);
    int fd = plain_connect(&f.features.admin);
    turn_until(f.reactor[0], &l.accepted, 1);
    size_t sent = 0, got = 0;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i % 251);
    struct tracked t = {.op = {.kind = IO_SEND, .done = tracked_done, .handle = l.handles[0]}};
    bool same = true;
    while (got < sizeof big) {
        if (!t.op.pending && sent < sizeof big) {
            t.op.buf.data = big + sent;
            t.op.buf.len = sizeof big - sent;
            unsigned before = t.completions;
            io_submit(f.io[0], &t.op);
            turn_for(f.reactor[0], 1000000);
            sent += t.completions > before ? (size_t)t.res : 0;
        } else {
            unsigned before = t.completions;
            turn_for(f.reactor[0], 1000000);
            sent += t.completions > before ? (size_t)t.res : 0;
        }
        ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++)
            same &= in[i] == big[got + (size_t)i];
        got += n > 0 ? (size_t)n : 0;
    }
    cr_expect(same);
    cr_expect_eq(sent, sizeof big);
    close(fd);
    run_close(f.reactor[0], l.handles[0]);
    fixture_close(&f);
}

Test(reactor_streams, out_of_descriptors_is_told_to_the_owner)
{
    struct reactor_group_options g = admin_tcp(&loopback_v4);
    struct fixture f;
    struct listener l;
    fixture_open_with(&f, &g, NULL);
    int fd = plain_connect(&f.features.admin);
    struct rlimit limit, none;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)fd + 1;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    accept_on(&l, f.io[0]);
    turn_until(f.reactor[0], &l.ended, 1);
    cr_expect_eq(l.res, -EMFILE);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(fd);
    fixture_close(&f);
}

static int unix_connect(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 2};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

Test(reactor_streams, unix_socket_is_private_and_replaces_only_a_dead_one)
{
    char dir[] = "/tmp/nm-reactor-XXXXXX", path[64], why[256] = "";
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/admin.sock", dir);
    struct reactor_group_options g = admin_unix(path);
    struct fixture f;
    struct listener l;
    struct reactor_group *second;
    struct stat st;

    fixture_open_with(&f, &g, NULL);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    accept_on(&l, f.io[0]);
    check_connection(&f, &l, unix_connect(path));
    cr_expect_eq(reactor_group_create(&second, &g, why, sizeof why), NET_ERR_IO);
    cr_expect_null(second);
    cr_expect_not_null(strstr(why, path), "%s", why);
    turn_for(f.reactor[0], 50000000); /* the second one looked whether somebody lives here, a few times */
    cr_expect_geq(l.accepted, 2);
    check_connection(&f, &l, unix_connect(path));
    fixture_close(&f);
    cr_expect_eq(stat(path, &st), -1, "removed with the group");

    /* What a killed process leaves. */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(dead, (struct sockaddr *)&a, sizeof a), 0);
    close(dead);
    fixture_open_with(&f, &g, NULL);
    accept_on(&l, f.io[0]);
    check_connection(&f, &l, unix_connect(path));
    fixture_close(&f);

    /* A file that is no socket is not ours to remove. */
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
    cr_expect_eq(reactor_group_create(&second, &g, why, sizeof why), NET_ERR_IO);
    cr_expect_eq(stat(path, &st), 0);
    cr_expect(S_ISREG(st.st_mode));
    unlink(path);
    rmdir(dir);

    char deep[200];
    memset(deep, 'x', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    g.admin_path = deep;
    cr_expect_eq(reactor_group_create(&second, &g, why, sizeof why), NET_ERR_IO);
}

Test(reactor_streams, an_address_in_use_is_refused_with_a_reason)
{
    struct fixture f;
    struct reactor_group *second;
    char why[256] = "", port[16];
    fixture_open(&f, 3, &loopback_v4);
    struct reactor_group_options g = {.listen = f.features.listen, .shards = 3, .no_admin = true};
    snprintf(port, sizeof port, ":%u", f.features.listen.port);
    cr_expect_eq(reactor_group_create(&second, &g, why, sizeof why), NET_ERR_IO, "reuseport must not let it in");
    cr_expect_not_null(strstr(why, port), "%s", why);
    cr_expect_not_null(strstr(why, "another process"), "%s", why);
    g.shards = 1;
    cr_expect_eq(reactor_group_create(&second, &g, why, sizeof why), NET_ERR_IO);
    fixture_close(&f);

    /* Free again at once: the sockets do not linger in dead rings. */
    for (unsigned i = 0; i < 20; i++) {
        g.shards = 1 + i % 3;
        fixture_open_with(&f, &g, NULL);
        cr_expect_eq(f.features.listen.port, g.listen.port);
        struct tracked t = {.op = {.kind = IO_UDP_RECV, .done = tracked_done, .handle = f.io[0]->udp}};
        io_submit(f.io[0], &t.op);
        reactor_turn(f.reactor[0], 0, NULL, NULL);
        fixture_close(&f);
    }
}

Test(reactor_streams, features_tell_what_was_got)
{
    struct fixture f;
    fixture_open(&f, 2, &loopback_v4);
    cr_expect(f.features.gso);
    cr_expect(f.features.gro);
    cr_expect(f.features.steering);
    cr_expect_geq(f.features.socket_buffer, 65536);
    cr_expect_eq(memcmp(f.features.listen.ip, loopback_v4.ip, 16), 0);
    cr_expect_eq(f.io[0]->listener, IO_NO_HANDLE);
    cr_expect_eq(f.io[1]->shard, 1);
    cr_expect_eq(f.io[1]->shards, 2);
    fixture_close(&f);
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .no_admin = true};
    fixture_open_with(&f, &g, NULL);
    cr_expect_not(f.features.gso);
    cr_expect_not(f.features.gro);
    cr_expect_not(f.features.steering);
    fixture_close(&f);
}
