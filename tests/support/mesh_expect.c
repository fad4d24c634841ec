#include "tests/support/mesh_expect.h"

#include <criterion/criterion.h>

#include "core/base/err.h"

void expect_published(struct mesh_node *m, const char *channel, uint32_t tag, uint64_t from, uint64_t count,
                      bool durable)
{
    struct mesh_published p = mesh_publish(m, channel, tag, from, count, durable, 60 * SIM_S);
    cr_assert_eq(p.err, NET_OK, "%s", net_err_name(p.err));
    cr_assert_eq(p.events, count);
}

void expect_ascending(struct mesh_node *m, const char *channel, const struct mesh_node *origin, size_t least,
                      uint64_t last)
{
    struct mesh_log log = mesh_read(m, channel, origin, 10 * SIM_S);
    cr_assert_eq(log.err, NET_OK, "%s", net_err_name(log.err));
    cr_assert_geq(log.count, least, "node %u: %zu of %zu events", m->number, log.count, least);
    for (size_t i = 1; i < log.count; i++)
        cr_assert_gt(log.entries[i].number, log.entries[i - 1].number);
    cr_assert_eq(log.entries[log.count - 1].number, last, "the last is %lu, not %lu", log.entries[log.count - 1].number,
                 last);
    mesh_log_free(&log);
}
