/* Forwarding what is for other nodes: wire.md 4.2. The datagram leaves from the receive buffer it came in. */
#include <stdlib.h>

#include "shards/transport/receive.h"
#include "shards/transport/transmit.h"

struct route {
    struct io_addr addr;
};

void relay_on_route(struct shard *s, const struct msg_route *m)
{
    struct route *r = map_get(&s->routes, m->node_id);
    if (!m->up) {
        free(map_remove(&s->routes, m->node_id));
        return;
    }
    if (!r) {
        r = malloc(sizeof *r);
        if (!r || map_put(&s->routes, m->node_id, r) != NET_OK) {
            free(r);
            COUNT(s, drop_no_memory);
            return;
        }
    }
    r->addr = m->addr;
}

bool relay_forward(struct shard *s, struct io_arrival *a, size_t offset, size_t len, uint64_t dest)
{
    struct route *r = map_get(&s->routes, dest);
    if (!r || io_addr_equal(&r->addr, &a->from)) { /* back to where it came from is a loop */
        COUNT(s, drop_no_route);
        return false;
    }
    if (wire_route_forward(a->data + offset, len) != NET_OK) {
        COUNT(s, drop_ttl);
        return false;
    }
    struct tx_buffer *b = transmit_get(s, false);
    if (!b) {
        COUNT(s, drop_relay_busy);
        return false;
    }
    s->io->ops->udp_hold(s->io, a->buffer);
    b->held = a->buffer;
    b->iov.iov_base = a->data + offset;
    transmit_send(s, b, &r->addr, len, 0, 1);
    COUNT(s, relayed);
    return true;
}
