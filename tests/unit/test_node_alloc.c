/* Hot-path rule 1: nothing is allocated per datagram or event. Two real nodes, each with threads of its own, in one
 * process; the counter sees all of them. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "shards/logs/view.h"
#include "tests/support/alloc_count.h"
#include "tests/support/node_pair.h"

enum { SIZE = 100, BATCH = 40, WARM_EVENTS = 20000, EVENTS = 400000 };
/* The ring of what is in flight (recovery.h) doubles when more is than ever before, from 64 packets to 65536. */
enum { DOUBLINGS = 10 };
static const char CHANNEL[] = "alloc/test";

struct node_thread {
    struct netmesh *nm;
    pthread_t thread;
    char error[1024];
    int err;
};

struct run {
    atomic_ulong received;
    atomic_bool stop;
    uint8_t frames[BATCH * (SIZE + 4)];
};

static bool publish_turn(void *ctx, struct netmesh_shard *face)
{
    struct run *run = ctx;
    struct log *log = log_find(face->shard, (struct log_key){0, channel_hash(CHANNEL, strlen(CHANNEL)), 0});
    if (atomic_load(&run->stop) || !log || !log->view || list_empty(&log->view->cursors))
        return false; /* nobody subscribed yet */
    struct cursor *c = container_of(list_first(&log->view->cursors), struct cursor, in_view);
    struct log_heads heads;
    log_heads(log, &heads);
    if (heads.live - c->next > 20000)
        return false;
    return netmesh_publish(face, CHANNEL, run->frames, sizeof run->frames, BATCH) == 0;
}

static void on_events(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    (void)face;
    struct run *run = ctx;
    atomic_fetch_add(&run->received, e->count);
}

static void *run_node(void *arg)
{
    struct node_thread *t = arg;
    t->err = netmesh_run(t->nm, false, NULL, NULL, t->error, sizeof t->error);
    return NULL;
}

static void start(struct node_thread *t, const char *dir, const char *log, const struct netmesh_hooks *hooks)
{
    const char *overrides[] = {"shards.count=1", log};
    t->err = netmesh_open(&t->nm, dir, overrides, 2, hooks, t->error, sizeof t->error);
    cr_assert_eq(t->err, 0, "%s", t->error);
    cr_assert_eq(pthread_create(&t->thread, NULL, run_node, t), 0);
}

static void stop(struct node_thread *t)
{
    netmesh_stop(t->nm);
    pthread_join(t->thread, NULL);
    cr_assert_eq(t->err, 0, "%s", t->error);
    netmesh_close(t->nm);
}

static void wait_for(struct run *run, unsigned long events)
{
    for (int i = 0; i < 60000 && atomic_load(&run->received) < events; i++)
        usleep(1000);
    cr_assert_geq(atomic_load(&run->received), events);
}

static void count_allocations(const char *log)
{
    static struct run run;
    struct node_pair pair;
    struct node_thread a, b;
    memset(&run, 0, sizeof run);
    for (size_t i = 0; i < BATCH; i++)
        store_le32(run.frames + i * (SIZE + 4), SIZE);
    node_pair_make(&pair, CHANNEL, NULL, SUBSCRIBE_LIVE);
    start(&a, pair.a, log, &(struct netmesh_hooks){.ctx = &run, .on_turn = publish_turn});
    start(&b, pair.b, log, &(struct netmesh_hooks){.ctx = &run, .on_events = on_events});
    wait_for(&run, WARM_EVENTS);
    uint64_t before = alloc_count();
    wait_for(&run, WARM_EVENTS + EVENTS);
    uint64_t allocated = alloc_count() - before;
    atomic_store(&run.stop, true);
    stop(&a);
    stop(&b);
    node_pair_remove(&pair);
    cr_assert_leq(allocated, DOUBLINGS, "%lu allocations while %d events passed", allocated, EVENTS);
}

Test(node_alloc, none_per_event_without_a_log, .timeout = 120)
{
    if (!alloc_count_works())
        cr_skip("the sanitizer's allocator is not counted");
    count_allocations("channels.log=none");
}

Test(node_alloc, none_per_event_with_redex, .timeout = 120)
{
    if (!alloc_count_works())
        cr_skip("the sanitizer's allocator is not counted");
    count_allocations("channels.log=disk");
}
