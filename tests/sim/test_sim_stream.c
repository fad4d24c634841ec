/* Connections: complete, in order, in pieces; ends, resets, back-pressure, cancel. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/sim/world/bare.h"

struct rig {
    struct sim *sim;
    struct sim_host *host;
    struct io *io;
    struct sim_stream *far; /* the test's end */
    io_handle near;
};

static struct rig rig_create(uint64_t seed)
{
    struct rig r = {.sim = sim_create(seed)};
    sim_settings(r.sim)->multishot_end = 0;
    struct io *io[2];
    r.host = bare_host(r.sim, 2, io);
    r.io = io[0];
    cr_assert_neq(io[0]->listener, IO_NO_HANDLE);
    cr_assert_eq(io[1]->listener, IO_NO_HANDLE);
    r.far = sim_connect(r.host); /* waits to be accepted */
    struct bare_op accept = {.op = {.kind = IO_ACCEPT, .handle = r.io->listener}};
    r.near = bare_run(r.sim, r.io, &accept);
    cr_assert_geq(r.near, 0);
    cr_assert(accept.op.more);
    io_cancel(r.io, &accept.op);
    sim_run_for(r.sim, SIM_MS);
    cr_assert_eq(accept.res, -ECANCELED);
    cr_assert(!accept.op.pending);
    return r;
}

static int32_t transfer(struct rig *r, enum io_kind kind, const void *data, size_t len)
{
    struct bare_op op = {.op = {.kind = kind, .handle = r->near, .buf = {(void *)(uintptr_t)data, len, 0}}};
    return bare_run(r->sim, r->io, &op);
}

static void far_send(struct rig *r, const char *text)
{
    sim_stream_send(r->far, (struct cspan){(const uint8_t *)text, strlen(text)});
}

Test(stream, bytes_arrive_complete_in_order_and_in_pieces)
{
    struct rig r = rig_create(1);
    char sent[3000], got[3000], piece[100];
    unsigned whole = 0, cut = 0;
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 % 251);
    sim_stream_send(r.far, (struct cspan){(const uint8_t *)sent, 1000});
    sim_stream_send(r.far, (struct cspan){(const uint8_t *)sent + 1000, 2000});
    sim_stream_finish(r.far);
    size_t at = 0;
    for (int32_t n; (n = transfer(&r, IO_RECV, piece, sizeof piece)) > 0; at += (size_t)n) {
        cr_assert_leq(at + (size_t)n, sizeof got);
        memcpy(got + at, piece, (size_t)n);
        whole += n == sizeof piece;
        cut += n < (int32_t)sizeof piece;
    }
    cr_assert_eq(at, sizeof sent);
    cr_assert_eq(memcmp(sent, got, at), 0);
    cr_assert(whole > 0 && cut > 1);
    sim_stream_close(r.far);
    sim_destroy(r.sim);
}

Test(stream, the_node_sends_until_the_window_is_full)
{
    struct rig r = rig_create(2);
    static char block[50000];
    size_t sent = 0;
    struct bare_op op = {.op = {.kind = IO_SEND, .handle = r.near, .buf = {block, sizeof block, 0}}};
    do {
        bare_submit(r.io, &op);
        sim_run_for(r.sim, SIM_MS);
        if (op.finished)
            sent += (size_t)op.res;
    } while (op.finished);
    cr_assert_eq(sent, 65536);
    cr_assert_eq(sim_stream_recv(r.far, block, 1000), 1000);
    sim_run_for(r.sim, SIM_MS);
    cr_assert(op.finished);
    cr_assert(op.res > 0 && op.res <= 1000);
    sim_stream_close(r.far);
    sim_destroy(r.sim);
}

Test(stream, both_sides_see_the_other_close)
{
    struct rig r = rig_create(3);
    char out[8];
    cr_assert_eq(sim_stream_recv(r.far, out, sizeof out), -EAGAIN);
    cr_assert_eq(transfer(&r, IO_SEND, "x", 1), 1);
    struct bare_op close = {.op = {.kind = IO_CLOSE, .handle = r.near}};
    cr_assert_eq(bare_run(r.sim, r.io, &close), 0);
    cr_assert_eq(sim_stream_recv(r.far, out, sizeof out), 1);
    cr_assert_eq(out[0], 'x');
    cr_assert_eq(sim_stream_recv(r.far, out, sizeof out), 0);
    sim_stream_close(r.far);
    sim_destroy(r.sim);

    r = rig_create(4);
    far_send(&r, "last");
    sim_stream_close(r.far);
    size_t got = 0;
    for (int32_t n; (n = transfer(&r, IO_RECV, out, sizeof out)) > 0;)
        got += (size_t)n;
    cr_assert_eq(got, 4);
    cr_assert_eq(transfer(&r, IO_SEND, "x", 1), -EPIPE);
    sim_destroy(r.sim);
}

Test(stream, a_dead_process_resets)
{
    struct rig r = rig_create(5);
    struct sim_stream *waiting = sim_connect(r.host);
    char out[8];
    cr_assert_eq(transfer(&r, IO_SEND, "x", 1), 1);
    sim_host_kill(r.host);
    cr_assert_eq(sim_stream_recv(r.far, out, sizeof out), -ECONNRESET);
    cr_assert_eq(sim_stream_recv(waiting, out, sizeof out), -ECONNRESET);
    struct sim_stream *late = sim_connect(r.host);
    far_send(&r, "to nobody");
    cr_assert_eq(sim_stream_recv(late, out, sizeof out), -ECONNRESET);
    sim_stream_close(late);
    sim_stream_close(r.far);
    sim_destroy(r.sim); /* and `waiting` with it */
}

Test(stream, a_waiting_receive_can_be_cancelled_and_loses_nothing)
{
    struct rig r = rig_create(6);
    char out[8];
    struct bare_op op = {.op = {.kind = IO_RECV, .handle = r.near, .buf = {out, sizeof out, 0}}};
    bare_submit(r.io, &op);
    sim_run_for(r.sim, SIM_MS);
    cr_assert(!op.finished);
    io_cancel(r.io, &op.op);
    far_send(&r, "a");
    sim_run_for(r.sim, SIM_MS);
    cr_assert(op.finished);
    cr_assert_eq(op.res, -ECANCELED);
    cr_assert_eq(transfer(&r, IO_RECV, out, sizeof out), 1);
    cr_assert_eq(out[0], 'a');
    sim_stream_close(r.far);
    sim_destroy(r.sim);
}
