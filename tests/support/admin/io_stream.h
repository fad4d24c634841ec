/*
 * Streams in memory behind the I/O seam: a listener and its connections, for driving a server byte by byte. Time stands
 * still unless the test moves it. While an operation is pending its memory is watched: what is being received into is
 * poisoned under ASan, what is being sent must not change.
 */
#ifndef NM_TESTS_SUPPORT_ADMIN_IO_STREAM_H
#define NM_TESTS_SUPPORT_ADMIN_IO_STREAM_H

#include "core/io/io.h"

enum { STREAM_CONNECTIONS = 64 };

struct stream_bytes {
    uint8_t *data;
    size_t len, cap;
};

/* The client's end of a connection; its index is the server's handle. */
struct stream_end {
    bool connected, accepted, closed; /* closed: by the server */
    bool shut, reset;                 /* by the client: no more bytes; gone */
    struct stream_bytes to_server, from_server;
    size_t taken;                /* of to_server */
    size_t recv_most, send_most; /* bytes a single operation moves at most */
    size_t room;                 /* bytes the server may still send */
};

struct io_stream {
    struct io io;
    struct list pending;
    struct stream_end ends[STREAM_CONNECTIONS];
    int accept_error; /* given once instead of the next connection */
    bool accept_once; /* the multishot ends after each connection */
    unsigned plain_closes;
};

void io_stream_init(struct io_stream *);
void io_stream_deinit(struct io_stream *);
int stream_connect(struct io_stream *); /* handle */
void stream_write(struct io_stream *, int handle, const void *data, size_t len);
/* Completes what can complete now, once each. False: nothing could. */
bool io_stream_turn(struct io_stream *);

#endif
