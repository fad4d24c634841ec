/* Figures as an application behind the admin port has them: publish to tail, and publishing that waits for the disk. */
#include <arpa/inet.h>
#include <errno.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/http.h"
#include "core/base/err.h"
#include "core/base/span.h"
#include "core/base/text.h"
#include "core/crypto/crypto.h"

enum { EVENT = 64, ANSWER_MS = 10000, LOST_MS = 200 };
static const uint64_t CONNECT_NS = 20000000000;

/* One connection that is asked again and again. */
struct conn {
    int fd;
    http_parser parser;
    bool complete;
    uint64_t rows; /* bytes of a stream's body */
};

static int on_complete(http_parser *p)
{
    ((struct conn *)p->data)->complete = true;
    return 0;
}

static int on_body(http_parser *p, const char *data, size_t len)
{
    (void)data;
    ((struct conn *)p->data)->rows += len;
    return 0;
}

static int conn_open(struct conn *c, const struct bench_node *n)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(n->admin_addr.port)};
    int on = 1;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    http_parser_init(&c->parser, HTTP_RESPONSE);
    c->parser.data = c;
    if (c->fd >= 0)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        return cli_error(CLI_FAILURE, "bench: %s: cannot connect: %s", n->admin, strerror(errno));
    return CLI_OK;
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static bool conn_ask(struct conn *c, const char *request, size_t len)
{
    c->complete = false;
    return send(c->fd, request, len, MSG_NOSIGNAL) == (ssize_t)len; /* small: it fits into the socket's buffer */
}

/* Takes what is there. False: the connection or the node failed. */
static bool conn_take(struct conn *c)
{
    static const http_parser_settings settings = {.on_body = on_body, .on_message_complete = on_complete};
    char in[4096];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    return n > 0 && http_parser_execute(&c->parser, &settings, in, (size_t)n) == (size_t)n &&
           (c->parser.status_code == 0 || c->parser.status_code == 200);
}

static bool conn_wait(struct conn *c, int ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, ms) > 0;
}

static int conn_failed(const struct conn *c)
{
    return bench_interrupted()
               ? CLI_FAILURE
               : cli_error(CLI_FAILURE, "bench: the admin port failed (status %u)", c->parser.status_code);
}

/* A request to the node's admin port, ready to be sent as often as wanted. 0: said. */
static size_t make_request(char *out, size_t room, const struct bench_node *n, const char *line, size_t body)
{
    char path[BENCH_PATH + 16], token[65];
    struct config_error error;
    text_format(path, sizeof path, "%s/admin.token", n->dir);
    if (admin_token_load(path, token, &error) != NET_OK) {
        cli_error(CLI_FAILURE, "%s", error.text);
        return 0;
    }
    int len = snprintf(out, room,
                       "%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
                       "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
                       line, n->admin, token, body);
    secure_wipe(token, sizeof token);
    if (body) {
        store_le32((uint8_t *)out + len, (uint32_t)body - 4);
        memset(out + len + 4, 'e', body - 4);
    }
    return (size_t)len + body;
}

/* ---- publish to tail ---- */

struct tail {
    struct conn publisher, reader;
    char request[1024];
    size_t len;
};

/* One event there and its row here; *ns 0: it did not come. False: something failed. */
static bool tail_once(struct tail *t, uint64_t *ns)
{
    uint64_t start = http_now(), rows = t->reader.rows;
    *ns = 0;
    if (!conn_ask(&t->publisher, t->request, t->len))
        return false;
    while (t->reader.rows < rows + 4 + EVENT && conn_wait(&t->reader, LOST_MS))
        if (!conn_take(&t->reader))
            return false;
    if (t->reader.rows == rows + 4 + EVENT)
        *ns = http_now() - start;
    while (!t->publisher.complete)
        if (!conn_wait(&t->publisher, ANSWER_MS) || !conn_take(&t->publisher))
            return false;
    return true;
}

static int tail_open(struct bench *b, struct tail *t)
{
    char follow[768];
    const struct bench_node *n = b->nodes;
    size_t len = make_request(follow, sizeof follow, &n[BENCH_RECEIVER],
                              "GET /v1/channels/bench%2Fforth/events?follow=true&format=binary", 0);
    t->len = make_request(t->request, sizeof t->request, &n[BENCH_SENDER], "POST /v1/channels/bench%2Fforth/publish",
                          4 + EVENT);
    if (len == 0 || t->len == 0)
        return CLI_FAILURE;
    int code = conn_open(&t->publisher, &n[BENCH_SENDER]);
    if (code == CLI_OK)
        code = conn_open(&t->reader, &n[BENCH_RECEIVER]);
    if (code == CLI_OK && !conn_ask(&t->reader, follow, len))
        code = conn_failed(&t->reader);
    secure_wipe(follow, sizeof follow);
    return code;
}

static int tail_take(struct bench *b, struct tail *t, uint32_t *count)
{
    uint64_t until = http_now() + CONNECT_NS, end = UINT64_MAX, ns;
    while (http_now() < end && *count < BENCH_SAMPLES) {
        if (!tail_once(t, &ns))
            return conn_failed(&t->publisher);
        if (!bench_pair_lives(b))
            return CLI_FAILURE;
        if (ns && end == UINT64_MAX)
            end = http_now() + b->duration_ns; /* the subscription stands */
        else if (ns)
            b->shared->samples[(*count)++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        if (end == UINT64_MAX && http_now() > until)
            return cli_error(CLI_TIMEOUT, "bench: nothing arrives");
    }
    return CLI_OK;
}

int bench_measure_tail(struct bench *b, struct bench_latency *out)
{
    struct tail t = {.publisher.fd = -1, .reader.fd = -1};
    uint32_t count = 0;
    int code = bench_pair_start(b, false, "disk", NULL, NULL);
    if (code == CLI_OK)
        code = tail_open(b, &t);
    if (code == CLI_OK)
        code = tail_take(b, &t, &count);
    conn_close(&t.publisher);
    conn_close(&t.reader);
    secure_wipe(t.request, sizeof t.request);
    int end = bench_pair_end(b);
    *out = bench_latency_of(b->shared->samples, count);
    return code != CLI_OK ? code : end;
}

/* ---- durable ---- */

/* Each writer waits for its answer before it publishes again; all of them wait at once. */
static int durable_take(struct bench *b, struct conn *conns, unsigned writers, const char *request, size_t len,
                        double *events_per_s)
{
    struct pollfd fds[BENCH_MAX_WRITERS];
    uint64_t start = http_now(), now = start, count = 0;
    for (unsigned i = 0; i < writers; i++) {
        fds[i] = (struct pollfd){.fd = conns[i].fd, .events = POLLIN};
        if (!conn_ask(&conns[i], request, len))
            return conn_failed(&conns[i]);
    }
    while (now - start < b->duration_ns) {
        if (poll(fds, writers, ANSWER_MS) <= 0 || !bench_pair_lives(b))
            return conn_failed(&conns[0]);
        for (unsigned i = 0; i < writers; i++) {
            if (!fds[i].revents)
                continue;
            if (!conn_take(&conns[i]))
                return conn_failed(&conns[i]);
            count += conns[i].complete;
            if (conns[i].complete && !conn_ask(&conns[i], request, len))
                return conn_failed(&conns[i]);
        }
        now = http_now();
    }
    *events_per_s = (double)count * 1e9 / (double)(now - start);
    return CLI_OK;
}

int bench_measure_durable(struct bench *b, unsigned writers, double *events_per_s)
{
    struct conn conns[BENCH_MAX_WRITERS] = {0};
    char request[1024];
    const struct bench_node *n = &b->nodes[BENCH_SENDER];
    *events_per_s = 0;
    for (unsigned i = 0; i < writers; i++)
        conns[i].fd = -1;
    int code = bench_pair_start(b, false, "disk", NULL, NULL);
    size_t len = code == CLI_OK ? make_request(request, sizeof request, n,
                                               "POST /v1/channels/bench%2Fdurable/publish?durable=true", 4 + EVENT)
                                : 0;
    if (len == 0)
        code = CLI_FAILURE;
    for (unsigned i = 0; code == CLI_OK && i < writers; i++)
        code = conn_open(&conns[i], n);
    if (code == CLI_OK)
        code = durable_take(b, conns, writers, request, len, events_per_s);
    for (unsigned i = 0; i < writers; i++)
        conn_close(&conns[i]);
    secure_wipe(request, sizeof request);
    int end = bench_pair_end(b);
    return code != CLI_OK ? code : end;
}
