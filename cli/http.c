/* The client side of HTTP/1.1. The answer is parsed by http-parser. */
#include "cli/http.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/crypto/crypto.h"

uint64_t http_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int http_poll_ms(uint64_t deadline, int cap)
{
    if (deadline == UINT64_MAX)
        return cap;
    uint64_t now = http_now();
    uint64_t ms = deadline > now ? (deadline - now + 999999) / 1000000 : 0;
    int left = ms > 86400000 ? 86400000 : (int)ms; /* a day at a time */
    return cap != HTTP_FOREVER && cap < left ? cap : left;
}

static enum http_result broken(struct http *h, int error)
{
    h->error = error;
    return HTTP_BROKEN;
}

/* Waits for any of `events`. */
static enum http_result wait_for(struct http *h, short events, short *got)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = h->fd, .events = events}, {.fd = h->watch.fd, .events = POLLIN}};
        int n = poll(p, h->watch.ready ? 2 : 1, http_poll_ms(h->deadline, HTTP_FOREVER));
        if (n > 0 && h->watch.ready && p[1].revents && !h->watch.ready(h->watch.ctx))
            return HTTP_STOPPED;
        if (n > 0 && p[0].revents) {
            *got = p[0].revents;
            return HTTP_DONE;
        }
        if (n < 0 && errno != EINTR)
            return broken(h, errno);
        if (h->deadline != UINT64_MAX && http_now() >= h->deadline)
            return HTTP_TIMEOUT;
    }
}

static enum http_result finish_connect(struct http *h)
{
    short got;
    int error = 0;
    socklen_t len = sizeof error;
    enum http_result result = wait_for(h, POLLOUT, &got);
    if (result != HTTP_DONE)
        return result;
    if (getsockopt(h->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    h->error = error;
    return error ? HTTP_UNREACHED : HTTP_DONE;
}

void http_allow(struct http *h, uint64_t timeout_ns)
{
    uint64_t now = http_now();
    h->deadline = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
}

enum http_result http_open(struct http *h, const struct endpoint *e, uint64_t timeout_ns)
{
    struct http_watch watch = h->watch;
    memset(h, 0, offsetof(struct http, in));
    h->watch = watch;
    http_parser_init(&h->parser, HTTP_RESPONSE);
    h->parser.data = h;
    http_allow(h, timeout_ns);
    h->fd = socket(e->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (h->fd < 0) {
        h->error = errno;
        return HTTP_UNREACHED;
    }
    int on = 1;
    if (e->addr.ss_family != AF_UNIX)
        setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (;;) {
        if (connect(h->fd, (const struct sockaddr *)&e->addr, e->addr_len) == 0)
            return HTTP_DONE;
        if (errno == EINPROGRESS)
            return finish_connect(h);
        if (errno != EAGAIN) { /* a unix listener whose backlog is full */
            h->error = errno;
            return HTTP_UNREACHED;
        }
        if (http_now() >= h->deadline)
            return HTTP_TIMEOUT;
        poll(NULL, 0, http_poll_ms(h->deadline, 10));
    }
}

void http_close(struct http *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    free(h->body);
    h->body = NULL;
}

enum http_result http_send(struct http *h, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        short got = 0;
        enum http_result result = wait_for(h, POLLIN | POLLOUT, &got);
        if (result != HTTP_DONE)
            return result;
        if (got & POLLIN)
            return HTTP_ANSWERED;
        ssize_t n = send(h->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            if (h->stall_ns)
                http_allow(h, h->stall_ns);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return HTTP_ANSWERED; /* what the node said before it closed is perhaps still there to read */
        } else if (errno != EAGAIN && errno != EINTR) {
            return broken(h, errno);
        }
    }
    return HTTP_DONE;
}

enum http_result http_send_head(struct http *h, const struct endpoint *e, const char *method, const char *target,
                                const char *type, uint64_t length)
{
    char head[4096], framing[64] = "";
    if (type && length == HTTP_CHUNKED)
        strcpy(framing, "Transfer-Encoding: chunked\r\n");
    else if (type || strcmp(method, "POST") == 0)
        snprintf(framing, sizeof framing, "Content-Length: %llu\r\n", (unsigned long long)length);
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s%s%s%s\r\n",
                     method, target, e->host, e->token, type ? "Content-Type: " : "", type ? type : "",
                     type ? "\r\n" : "", framing);
    assert((size_t)n < sizeof head); /* targets are built from names of bounded length */
    enum http_result result = http_send(h, head, (size_t)n);
    secure_wipe(head, sizeof head);
    return result;
}

/* ---- the answer ---- */

static int on_headers(http_parser *p)
{
    struct http *h = p->data;
    if (p->status_code / 100 == 1)
        return 0;
    h->headed = true;
    h->status = p->status_code;
    return 0;
}

static bool keep(struct http *h, const char *data, size_t len)
{
    if (len > HTTP_ANSWER_MAX - h->body_len) {
        h->overflow = true;
        return false;
    }
    if (h->body_len + len + 1 > h->body_room) {
        size_t room = h->body_room ? h->body_room : 4096;
        while (room < h->body_len + len + 1)
            room *= 2;
        char *body = realloc(h->body, room);
        if (!body) {
            h->overflow = true;
            return false;
        }
        h->body = body;
        h->body_room = room;
    }
    memcpy(h->body + h->body_len, data, len);
    h->body_len += len;
    h->body[h->body_len] = '\0';
    return true;
}

static int on_body(http_parser *p, const char *data, size_t len)
{
    struct http *h = p->data;
    if (!h->sink.body || h->status / 100 != 2)
        return keep(h, data, len) ? 0 : 1;
    h->stopped = !h->sink.body(h->sink.ctx, data, len);
    return h->stopped;
}

static int on_complete(http_parser *p)
{
    struct http *h = p->data;
    h->complete = h->headed; /* a 1xx answer is followed by another */
    return 0;
}

static enum http_result parse(struct http *h, size_t len)
{
    const http_parser_settings settings = {
        .on_headers_complete = on_headers, .on_body = on_body, .on_message_complete = on_complete};
    size_t used = http_parser_execute(&h->parser, &settings, h->in, len);
    if (h->stopped)
        return HTTP_STOPPED;
    if (h->overflow)
        return HTTP_TOO_LARGE;
    if (h->complete)
        return HTTP_DONE;
    return used == len && !h->parser.upgrade ? HTTP_DONE : HTTP_MALFORMED;
}

/* End of the connection: an answer without a length ends with it, any other is cut off. */
static enum http_result at_end(struct http *h)
{
    if (!h->headed)
        return broken(h, 0);
    enum http_result result = parse(h, 0);
    return result == HTTP_DONE && !h->complete ? broken(h, 0) : result == HTTP_MALFORMED ? broken(h, 0) : result;
}

enum http_result http_receive(struct http *h)
{
    enum http_result result = HTTP_DONE;
    while (result == HTTP_DONE && !h->complete) {
        ssize_t n = recv(h->fd, h->in, sizeof h->in, MSG_DONTWAIT);
        if (n > 0) {
            result = parse(h, (size_t)n);
            if (h->headed && h->stream && h->status / 100 == 2)
                h->deadline = UINT64_MAX;
        } else if (n == 0) {
            result = at_end(h);
        } else if (errno == EAGAIN) {
            short got;
            if (h->headed && h->sink.idle && !h->sink.idle(h->sink.ctx))
                return HTTP_STOPPED;
            result = wait_for(h, POLLIN, &got);
        } else if (errno != EINTR) {
            result = broken(h, errno);
        }
    }
    return result;
}

size_t http_encode(const char *text, char *out, size_t room)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *text; text++) {
        assert(n + 4 <= room);
        if (strchr(plain, *text))
            out[n++] = *text;
        else {
            out[n++] = '%';
            out[n++] = hex[(unsigned char)*text >> 4];
            out[n++] = hex[*text & 15];
        }
    }
    out[n] = '\0';
    return n;
}
