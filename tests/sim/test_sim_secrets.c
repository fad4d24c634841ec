/* What a node knew is gone when the node is: its keys, and those of its sessions. */
#include <criterion/criterion.h>

#include "core/crypto/crypto.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/sim_node.h"
#include "tests/support/memory_scan.h"

enum { NEEDLES = 8 };

static struct mesh mesh;

/* The keys of the session with the only peer, in disguise; how many. */
static size_t hide_session(struct mesh_node *m, struct memory_needle *out)
{
    for (unsigned i = 0; i < m->config.shards; i++) {
        const struct shard *s = node_shard(m->node, i);
        if (list_empty(&s->peer_list))
            continue;
        const struct peer *p = container_of(s->peer_list.next, struct peer, in_shard);
        cr_assert(p->link.current.used);
        memory_hide(&out[0], p->link.current.session.p.tx_key);
        memory_hide(&out[1], p->link.current.session.p.rx_key);
        return 2;
    }
    return 0;
}

static void forget(void *secret, size_t len)
{
    secure_wipe(secret, len);
}

Test(sim_secrets, are_wiped)
{
    static struct memory_needle needles[NEEDLES];
    size_t count = 0;
    if (!MEMORY_SCAN_WORKS)
        return;
    mesh_init(&mesh, 5);
    struct mesh_node *a = mesh_add(&mesh, 2), *b = mesh_add(&mesh, 2);
    mesh_know(a, b);
    mesh_know(b, a);
    mesh_subscribe(b, "x", a);
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 10 * SIM_S));
    mesh_publish(a, "x", 1, 0, 100, false, SIM_S);
    count += hide_session(a, needles);
    cr_assert_eq(count, 2);
    memory_hide(&needles[count++], a->secrets.seed);
    memory_hide(&needles[count++], a->secrets.static_secret);
    memory_hide(&needles[count++], a->secrets.psk);
    for (size_t i = 0; i < count; i++)
        cr_assert_gt(memory_count(&needles[i]), 0, "needle %zu is found while it is in use", i);
    fprintf(stderr, "that was to be expected; now they must be gone\n");

    cr_assert(mesh_stop(a, 30 * SIM_S));
    cr_assert(mesh_stop(b, 30 * SIM_S));
    for (unsigned i = 0; i < mesh.count; i++)
        forget(&mesh.nodes[i].secrets, sizeof mesh.nodes[i].secrets);
    forget(mesh.psk, sizeof mesh.psk);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(memory_count(&needles[i]), 0, "needle %zu", i);
    mesh_deinit(&mesh);
}
