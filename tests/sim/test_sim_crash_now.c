/* A process that dies at an operation of its disk: before its effect or after, asynchronous or plain, with power or
 * without; also while it starts. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/sim/mesh/sim_node.h"
#include "tests/sim/world/bare.h"

/* Dies at one operation. */
struct trap {
    struct sim_host *host;
    uint64_t number;
    bool after, power;
    unsigned seen;
    enum io_kind kind;
    char path[64];
};

static void spring(void *ctx, const struct sim_disk_event *e)
{
    struct trap *t = ctx;
    t->seen++;
    if (e->number != t->number || e->after != t->after)
        return;
    t->kind = e->kind;
    strncpy(t->path, e->path, sizeof t->path - 1);
    sim_host_crash_now(t->host, t->power);
}

struct rig {
    struct sim *sim;
    struct sim_host *host;
    struct io *io[1];
    struct trap trap;
};

static void rig_init(struct rig *r, uint64_t number, bool after, bool power)
{
    r->sim = sim_create(7);
    r->host = bare_host(r->sim, 1, r->io);
    r->trap = (struct trap){.host = r->host, .number = number, .after = after, .power = power};
    sim_disk_on_op(r->host, spring, &r->trap);
}

static int put(struct rig *r, const char *path, const char *text)
{
    const struct io_plain *plain = r->io[0]->plain;
    io_handle file;
    int err = plain->open(r->io[0], path, O_WRONLY | O_CREAT, 0600, &file);
    if (err)
        return err;
    err = plain->write(r->io[0], file, text, strlen(text), 0);
    if (!err)
        err = plain->sync(r->io[0], file);
    if (!err)
        err = plain->sync_dir(r->io[0], "/");
    plain->close(r->io[0], file);
    return err;
}

static bool holds(struct rig *r, const char *path, const char *text)
{
    struct cspan now = sim_disk_get(r->host, path);
    return now.data && now.len == strlen(text) && memcmp(now.data, text, now.len) == 0;
}

Test(crash_now, a_plain_call_has_its_effect_or_not_and_nothing_after_it_has)
{
    for (int after = 0; after < 2; after++) {
        struct rig r;
        rig_init(&r, 1, after, false); /* open is 0, write is 1 */
        cr_assert_lt(put(&r, "/a", "text"), 0);
        cr_assert_lt(put(&r, "/b", "late"), 0);
        cr_assert_eq(r.trap.kind, IO_WRITE);
        cr_assert_str_eq(r.trap.path, "/a");
        sim_run_for(r.sim, 1);
        cr_assert_null(sim_host_node(r.host), "it is taken down before time goes on");
        cr_assert(holds(&r, "/a", after ? "text" : ""));
        cr_assert_null(sim_disk_get(r.host, "/b").data);
        sim_destroy(r.sim);
    }
}

Test(crash_now, power_takes_what_is_not_synced)
{
    struct rig r;
    rig_init(&r, 3, true, true); /* open, write, sync, sync_dir */
    sim_disk_settings(r.host)->crash_keep = 0;
    cr_assert_eq(put(&r, "/a", "text"), 0, "the last of its operations was done");
    sim_run_for(r.sim, 1);
    cr_assert(holds(&r, "/a", "text"));
    cr_assert_eq(sim_host_boots(r.host), 1);
    sim_destroy(r.sim);

    rig_init(&r, 3, false, true);
    sim_disk_settings(r.host)->crash_keep = 0;
    cr_assert_lt(put(&r, "/a", "text"), 0);
    sim_run_for(r.sim, 1);
    cr_assert_null(sim_disk_get(r.host, "/a").data, "its name was not synced");
    sim_destroy(r.sim);
}

static bool lives(void *ctx)
{
    return sim_host_node(ctx) != NULL;
}

Test(crash_now, an_operation_in_flight_dies_with_its_process)
{
    for (int after = 0; after < 2; after++) {
        struct rig r;
        rig_init(&r, 0, after, false);
        struct bare_op op = {.op = {.kind = IO_OPEN, .path = {"/a", NULL, O_RDWR | O_CREAT, 0600}}};
        bare_submit(r.io[0], &op);
        cr_assert(sim_run_while(r.sim, lives, r.host, SIM_S));
        cr_assert_eq(sim_disk_get(r.host, "/a").data != NULL, after);
        cr_assert_not(op.finished, "its `done` never comes");
        cr_assert(sim_host_restart(r.host));
        sim_destroy(r.sim);
    }
}

Test(crash_now, without_a_death_each_operation_is_seen_twice)
{
    struct rig r;
    rig_init(&r, UINT64_MAX, true, false);
    cr_assert_eq(put(&r, "/a", "text"), 0);
    cr_assert_eq(r.trap.seen, 8);
    sim_disk_on_op(r.host, NULL, NULL);
    cr_assert_eq(put(&r, "/a", "text"), 0);
    cr_assert_eq(r.trap.seen, 8);
    sim_destroy(r.sim);
}

/* The start of a node makes and reads files: it may die at each of them and start again. */
Test(crash_now, a_node_may_die_at_every_operation_of_its_start_and_stop)
{
    unsigned deaths = 0;
    for (uint64_t number = 0;; number++) {
        struct mesh mesh;
        mesh_init(&mesh, number);
        struct mesh_node *m = mesh_add(&mesh, 2);
        mesh_start(m);
        cr_assert_eq(mesh_publish(m, "crash/now", 1, 0, 50, true, 10 * SIM_S).events, 50);
        mesh_kill(m);
        struct trap trap = {.host = m->host, .number = number / 2, .after = number & 1, .power = true};
        sim_disk_on_op(m->host, spring, &trap);
        if (sim_host_restart(m->host)) {
            sim_run_for(mesh.sim, SIM_S);
            if (m->node)
                mesh_stop(m, 10 * SIM_S);
        }
        sim_run_for(mesh.sim, 1);
        sim_disk_on_op(m->host, NULL, NULL);
        bool died = trap.seen && sim_host_boots(m->host) == 1;
        if (died) {
            deaths++;
            cr_assert(sim_host_restart(m->host), "after a death at %s: %s", trap.path, m->error.text);
            struct mesh_log log = mesh_read(m, "crash/now", NULL, 10 * SIM_S);
            cr_assert_eq(log.err, NET_OK);
            cr_assert_eq(log.count, 50, "a death at operation %u of kind %d (%s): %zu events", (unsigned)(number / 2),
                         (int)trap.kind, trap.path, log.count);
            mesh_log_free(&log);
        }
        mesh_deinit(&mesh);
        if (!died)
            break;
    }
    cr_assert_gt(deaths, 20);
}
