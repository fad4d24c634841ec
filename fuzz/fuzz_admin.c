/*
 * Arbitrary bytes to connections of the admin port, with a scripted node behind it. The input is a list of records:
 * what to do, how much of it, bytes. The token is put in where the input says so, or nothing behind it would ever be
 * reached.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/support/admin/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum action { SAY, SAY_AUTHORIZED, SHUT, RESET, ROOM, SLEEP, HOLD, NODE, EVENT, ACTIONS };

enum { CLIENTS = 2 };

struct input {
    const uint8_t *data;
    size_t len;
};

static uint8_t take(struct input *in)
{
    if (!in->len)
        return 0;
    in->len--;
    return *in->data++;
}

static void say(struct world *w, int client, struct input *in, size_t len)
{
    if (len > in->len)
        len = in->len;
    stream_write(&w->stream, client, in->data, len);
    in->data += len;
    in->len -= len;
}

static void change_node(struct node *n, uint8_t how)
{
    n->room = how & 1 ? 1 : UINT32_MAX;
    n->put_err = how & 2 ? NET_ERR_POISONED : 0;
    n->done_err = how & 4 ? NET_ERR_IO : 0;
    n->tail_err = how & 8 ? NET_ERR_CORRUPT : 0;
    n->origins = how >> 4 & 3;
    n->err = how & 64 ? NET_ERR_TIMEOUT : 0;
    n->fail_early = how & 128;
}

/* n 255: a hole. Else n times 90 bytes, up to and above what a row can hold. */
static void add_event(struct node *n, struct input *in, uint8_t size)
{
    static const uint8_t control[254 * 90] = {0};
    bool from_input = size <= in->len;
    fake_node_add(n, (struct fake_event){.seq = n->event_count,
                                         .data = from_input ? in->data : control,
                                         .len = from_input ? size : size % 255 * 90u,
                                         .gap_to = size == 255 ? n->event_count + 1 : 0});
}

static void act(struct world *w, struct input *in)
{
    uint8_t what = take(in);
    int client = what / ACTIONS % CLIENTS;
    uint8_t n = take(in);
    struct stream_end *end = &w->stream.ends[client];
    switch ((enum action)(what % ACTIONS)) {
    case SAY_AUTHORIZED:
        say(w, client, in, n % 128);
        stream_write(&w->stream, client, "\r\n" WORLD_HEAD, sizeof("\r\n" WORLD_HEAD) - 1);
        break;
    case SAY:
        say(w, client, in, n);
        break;
    case SHUT:
        end->shut = true;
        break;
    case RESET:
        end->reset = true;
        break;
    case ROOM:
        end->room = n & 1 ? SIZE_MAX : n;
        end->recv_most = n & 2 ? SIZE_MAX : 1 + n / 4u;
        break;
    case SLEEP:
        world_sleep(w, (uint64_t)n * 500);
        break;
    case HOLD:
        w->node.hold = n & 1;
        break;
    case NODE:
        change_node(&w->node, n);
        break;
    case EVENT:
        add_event(&w->node, in, n);
        break;
    case ACTIONS:
        break;
    }
    if (!(what & 128))
        world_run(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w; /* large; made anew for each input */
    struct input in = {data, size};
    world_init(&w);
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.sessions[0] = (struct session_row){.peer = 0xb, .features = UINT64_MAX};
    w.node.session_count = w.node.subscriber_count = w.node.shard_count = 1;
    w.node.origins = 1;
    w.node.origin_self = true;
    world_start(&w);
    for (int i = 0; i < CLIENTS; i++)
        stream_connect(&w.stream);
    world_run(&w);
    while (in.len)
        act(&w, &in);
    w.node.hold = false;
    w.node.room = UINT32_MAX;
    world_run(&w);
    for (int i = 0; i < CLIENTS; i++) {
        const struct stream_bytes *heard = &w.stream.ends[i].from_server;
        assert(heard->len < 9 || memcmp(heard->data, "HTTP/1.1 ", 9) == 0);
    }
    world_deinit(&w);
    return 0;
}
