#include "tests/sim/swarm/trace_packets.h"

#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/channel/append.h"
#include "core/channel/channel.h"
#include "core/channel/follow.h"
#include "core/wire/wire.h"
#include "tests/sim/swarm/runner.h"

static void name_of(const struct run *r, const struct io_addr *addr, char out[64])
{
    for (unsigned i = 0; i < r->plan->nodes; i++) {
        struct io_addr at = sim_host_addr(r->mesh.nodes[i].host);
        if (at.port == addr->port && memcmp(at.ip, addr->ip, sizeof at.ip) == 0) {
            text_format(out, 64, "node %u", i);
            return;
        }
    }
    config_format_addr(addr, out);
}

/* The channel a live stream carries; "": none of the plan's. */
static const char *channel_of(const struct run *r, uint64_t stream_id)
{
    for (unsigned i = 0; i < r->plan->channels; i++) {
        const char *text = plan_channel(i);
        if (channel_stream_id(channel_hash(text, strlen(text))) == stream_id)
            return text;
    }
    return "";
}

static const char *what_of(const struct wire_header *h)
{
    static const struct {
        uint16_t subprotocol;
        const char *name;
    } names[] = {{SUBPROTO_EVENTS, "events"}, {SUBPROTO_MEMBERSHIP, "membership"},
                 {SUBPROTO_CREDIT, "credit"}, {SUBPROTO_ACK, "ack"},
                 {SUBPROTO_STREAM, "stream"}, {SUBPROTO_FOLLOW, "follow"},
                 {SUBPROTO_APPEND, "append"}, {SUBPROTO_APPEND_ANSWER, "append answer"}};
    if (h->flags & WIRE_HANDSHAKE)
        return "handshake";
    if (h->flags & WIRE_HEARTBEAT)
        return "heartbeat";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].subprotocol == h->subprotocol)
            return names[i].name;
    return NULL;
}

static void tell(const struct run *r, struct cspan datagram)
{
    struct wire_header h;
    size_t at = wire_classify(datagram) == WIRE_CLASS_ROUTED ? WIRE_ROUTE : 0;
    struct cspan packet = {datagram.data + at, datagram.len - at};
    if (wire_header_decode(packet, &h) != NET_OK) {
        fprintf(r->trace, "  no packet");
        return;
    }
    const char *what = what_of(&h);
    if (what)
        fprintf(r->trace, "  %s", what);
    else
        fprintf(r->trace, "  subprotocol %04x", h.subprotocol);
    if (h.flags & WIRE_HANDSHAKE)
        return;
    fprintf(r->trace, " %s stream %016llx packet %llu, %u events, counter %llu%s%s", channel_of(r, h.stream_id),
            (unsigned long long)h.stream_id, (unsigned long long)h.sequence, h.event_count,
            (unsigned long long)h.counter, h.flags & WIRE_RELIABLE ? ", reliable" : "",
            h.flags & WIRE_FIN ? ", fin" : "");
}

static bool on_datagram(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct run *r = ctx;
    char left[64], right[64];
    name_of(r, from, left);
    name_of(r, to, right);
    fprintf(r->trace, "%13.6f s  %s -> %s", (double)sim_now(r->mesh.sim) / 1e9, left, right);
    tell(r, (struct cspan){datagram.data, datagram.len});
    fprintf(r->trace, ", %zu bytes\n", datagram.len);
    return true;
}

void trace_packets(struct run *r)
{
    sim_set_tap(r->mesh.sim, on_datagram, r);
}
