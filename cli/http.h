/*
 * One HTTP/1.1 request on one connection. The socket never blocks: every wait is a poll with the deadline of the
 * command. An answer may come while the request is still being sent (the node refused an event); senders learn of it
 * and stop.
 */
#ifndef NM_CLI_HTTP_H
#define NM_CLI_HTTP_H

#include <http_parser.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/endpoint.h"

enum http_result {
    HTTP_DONE,
    HTTP_ANSWERED, /* while sending: an answer is coming, send no more */
    HTTP_TIMEOUT,
    HTTP_UNREACHED, /* error has errno */
    HTTP_BROKEN,    /* the connection failed; error has errno, 0: it ended too early */
    HTTP_MALFORMED, /* the answer is not HTTP */
    HTTP_TOO_LARGE, /* an answer to be kept whole exceeds HTTP_ANSWER_MAX */
    HTTP_STOPPED,   /* the sink or the watch refused */
};

enum { HTTP_ANSWER_MAX = 64 << 20, HTTP_FOREVER = -1 };

/* Takes the body of a successful (2xx) answer as it comes. Without a sink it is kept in http.body, as errors always
 * are. */
struct http_sink {
    bool (*body)(void *ctx, const char *data, size_t len); /* false: stop */
    bool (*idle)(void *ctx);                               /* nothing more is there at the moment; may be NULL */
    void *ctx;
};

/* Another descriptor that is looked at during every wait: a terminal, so that a slow node does not make it deaf. */
struct http_watch {
    int fd;
    bool (*ready)(void *ctx); /* it is readable; false: stop. NULL: there is nothing to watch */
    void *ctx;
};

struct http {
    int fd; /* -1: not connected */
    int error;
    uint64_t deadline; /* monotonic ns; UINT64_MAX: none */
    uint64_t stall_ns; /* not 0: sending renews the deadline by this with every byte that goes */
    bool stream;       /* the deadline is for the head of the answer only */
    struct http_sink sink;
    struct http_watch watch; /* set before http_open() */
    http_parser parser;
    bool headed, complete, stopped, overflow;
    unsigned status; /* 0: no answer yet */
    char *body;      /* NUL-terminated; the http's */
    size_t body_len, body_room;
    char in[64 << 10];
};

uint64_t http_now(void); /* monotonic ns */
/* The time left until `deadline`, for poll(): ms, at most `cap` (HTTP_FOREVER: no cap). */
int http_poll_ms(uint64_t deadline, int cap);

/* Sets the deadline anew. */
void http_allow(struct http *, uint64_t timeout_ns);

/* Everything but the watch begins anew. */
enum http_result http_open(struct http *, const struct endpoint *, uint64_t timeout_ns);
void http_close(struct http *);

/* The head; `type` is the body's Content-Type or NULL for none. `length` HTTP_CHUNKED sends Transfer-Encoding: chunked.
 */
#define HTTP_CHUNKED UINT64_MAX
enum http_result http_send_head(struct http *, const struct endpoint *, const char *method, const char *target,
                                const char *type, uint64_t length);
/* All of it, or until an answer comes. */
enum http_result http_send(struct http *, const void *data, size_t len);
/* Reads the answer to its end. */
enum http_result http_receive(struct http *);

/* Bytes other than A-Z a-z 0-9 - . _ ~ become %XX. Returns how many were written; `room` must hold 3 a byte and a NUL.
 */
size_t http_encode(const char *text, char *out, size_t room);

#endif
