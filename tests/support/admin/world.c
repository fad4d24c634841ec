#include "tests/support/admin/world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    io_stream_init(&w->stream);
    fake_node_init(&w->node);
}

void world_start(struct world *w)
{
    static const struct node_tokens tokens = {WORLD_TOKEN, WORLD_READONLY};
    int err = admin_init(&w->admin, &w->stream.io, &w->node, &w->node.config, &tokens);
    assert(err == 0);
    world_run(w);
}

void world_run(struct world *w)
{
    bool any = true;
    while (any) {
        any = io_stream_turn(&w->stream);
        any = fake_node_turn(&w->node) || any;
    }
}

void world_sleep(struct world *w, uint64_t ms)
{
    uint64_t until = w->stream.io.now + ms * 1000000;
    uint64_t next;
    while (w->admin && (next = admin_deadline(w->admin)) <= until) {
        if (next > w->stream.io.now)
            w->stream.io.now = next;
        admin_tick(w->admin, w->stream.io.now);
        world_run(w);
    }
    w->stream.io.now = until;
}

static void on_stopped(void *ctx)
{
    struct world *w = ctx;
    assert(!w->stopped);
    w->stopped = true;
}

void world_deinit(struct world *w)
{
    for (int i = 0; i < STREAM_CONNECTIONS; i++)
        w->stream.ends[i].room = SIZE_MAX;
    admin_stop(w->admin, on_stopped, w);
    world_run(w);
    world_sleep(w, 5000);
    assert(w->stopped);
    admin_deinit(w->admin);
    fake_node_deinit(&w->node);
    io_stream_deinit(&w->stream);
}

void world_say(struct world *w, int client, const char *text)
{
    stream_write(&w->stream, client, text, strlen(text));
    world_run(w);
}

const char *world_heard(struct world *w, int client)
{
    struct stream_bytes *b = &w->stream.ends[client].from_server;
    if (b->cap == b->len) {
        b->cap += 4096;
        b->data = realloc(b->data, b->cap);
        assert(b->data);
    }
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

void world_forget(struct world *w, int client)
{
    w->stream.ends[client].from_server.len = 0;
}

bool world_closed(const struct world *w, int client)
{
    return w->stream.ends[client].closed;
}

const char *world_ask(struct world *w, const char *text)
{
    int client = stream_connect(&w->stream);
    world_say(w, client, text);
    return world_heard(w, client);
}

const char *response_header(const struct response *r, const char *name, char out[256])
{
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            snprintf(out, 256, "%.*s", (int)strcspn(line + len + 2, "\r"), line + len + 2);
    }
    return out;
}

static void take_chunks(struct response *r, const char *at, const char *end)
{
    for (;;) {
        const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line)
            break;
        size_t size = strtoul(at, NULL, 16);
        at = line + 2;
        if ((size_t)(end - at) < size + 2)
            break;
        memcpy(r->body + r->body_len, at, size);
        r->body_len += size;
        at += size;
        assert(memcmp(at, "\r\n", 2) == 0);
        at += 2;
        if (!size) {
            r->complete = true;
            break;
        }
    }
    r->next = at;
}

void response_parse(const char *text, size_t len, struct response *r)
{
    char value[256];
    const char *end = text + len;
    const char *blank = memmem(text, len, "\r\n\r\n", 4);
    memset(r, 0, sizeof *r);
    r->next = text;
    r->body = calloc(1, len + 1);
    assert(r->body);
    if (!blank)
        return;
    snprintf(r->head, sizeof r->head, "%.*s", (int)(blank - text + 2), text);
    assert(sscanf(text, "HTTP/1.1 %d ", &r->status) == 1);
    const char *body = blank + 4;
    if (*response_header(r, "Transfer-Encoding", value)) {
        assert(strcmp(value, "chunked") == 0);
        take_chunks(r, body, end);
    } else {
        bool known = *response_header(r, "Content-Length", value) != '\0';
        size_t size = known ? strtoul(value, NULL, 10) : (size_t)(end - body);
        size_t there = (size_t)(end - body);
        r->body_len = size < there ? size : there;
        r->complete = known && size <= there;
        memcpy(r->body, body, r->body_len);
        r->next = body + r->body_len;
    }
    r->body[r->body_len] = '\0';
}

void response_free(struct response *r)
{
    free(r->body);
}

void world_request(struct world *w, const char *method, const char *target, const char *headers, const char *body,
                   size_t len, struct response *r)
{
    char head[4096];
    int client = stream_connect(&w->stream);
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\n" WORLD_HEAD "%sContent-Length: %zu\r\n\r\n", method, target,
                     headers, len);
    assert(n > 0 && (size_t)n < sizeof head);
    stream_write(&w->stream, client, head, (size_t)n);
    stream_write(&w->stream, client, body, len);
    world_run(w);
    const char *heard = world_heard(w, client);
    response_free(r);
    response_parse(heard, w->stream.ends[client].from_server.len, r);
    w->stream.ends[client].shut = true; /* makes room among the connections */
    world_run(w);
}

void world_get(struct world *w, const char *target, struct response *r)
{
    world_request(w, "GET", target, "", "", 0, r);
}
