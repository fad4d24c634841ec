/*
 * Inside of the admin port. A connection has one object, made when it is accepted; it handles one request at a time:
 *
 *   HEAD -> BODY -> RUN -> FLUSH -> HEAD ...       RUN only when the answer comes later or is a stream
 *                    `-> PARKED                    after POST /v1/shutdown, until the process ends
 *   FLUSH -> PAUSE -> HEAD                         a stranger who has sent requests ahead
 *   any -> FLUSH -> LINGER -> CLOSING              refused with a body still on its way
 *
 * Every entry from outside (a completion, a callback of the node, a tick) changes the state and ends with
 * connection_run(), which does what can be done and arms the I/O. Nothing else calls it.
 */
#ifndef NM_SHARDS_ADMIN_ADMIN_INTERNAL_H
#define NM_SHARDS_ADMIN_ADMIN_INTERNAL_H

#include "shards/admin/admin.h"
#include "shards/admin/framer.h"
#include "shards/admin/json.h"
#include "shards/admin/route.h"

enum {
    IN_BYTES = 64 << 10, /* read ahead of the request at work, at most */
    OUT_BYTES =
        64 << 10,    /* each of two halves; the largest row, or piece of one, is some 49 KB (8108 bytes as \u00XX) */
    OUT_RESERVE = 8, /* of a half: CRLF after a chunk, and the last chunk */
    BODY_BYTES = 64 << 10,  /* a JSON body, or the frames of a publish */
    REPLY_BYTES = 64 << 20, /* an answer made in memory: lists, /metrics */
    TARGET_BYTES = 2048,
    HEADER_NAME_BYTES = 32, /* longer ones are none of ours */
    HEADER_BYTES = 256,
    TOKEN_BYTES = 128,
    LARGE_EVENTS_BYTES = 128 << 20, /* of all publishes: an event that takes more than BODY_BYTES, or its text */
    REFUSALS = 16,                  /* connections above the limit that are being told so at a time */
};

/* What an idle or slow connection waits for. Each kind has one timeout, so its list is in order of deadlines. */
enum wait_kind {
    WAIT_IDLE,   /* for a request, or for the client to take an answer: admin.idle_timeout */
    WAIT_SLOW,   /* for the rest of a head or a JSON body */
    WAIT_LINGER, /* for the client to read why it was refused */
    WAIT_PAUSE,  /* before the next of the requests a stranger sent ahead */
    WAIT_LOG,    /* to look again for a log that does not exist yet */
    WAIT_ALIVE,  /* to say that a stream of Server-Sent Events lives */
    WAIT_STOP,   /* for the last bytes to go while stopping */
    WAIT_KINDS,
    WAIT_NONE = WAIT_KINDS,
};

enum connection_state {
    CONN_HEAD,
    CONN_BODY,
    CONN_RUN,
    CONN_FLUSH,
    CONN_PAUSE,
    CONN_LINGER,
    CONN_PARKED,
    CONN_CLOSING
};

enum header {
    HEADER_AUTHORIZATION,
    HEADER_HOST,
    HEADER_ORIGIN,
    HEADER_SEC_FETCH_SITE,
    HEADER_ACCEPT,
    HEADER_LAST_EVENT_ID,
    HEADER_CONTENT_TYPE,
    HEADER_CONTENT_ENCODING,
    HEADER_TRANSFER_ENCODING,
    HEADER_EXPECT,
    HEADER_COUNT
};

struct header_value {
    char text[HEADER_BYTES]; /* NUL-terminated, no blanks around it */
    uint16_t len;
    uint16_t times;
    bool overflow; /* did not fit */
};

struct connection;

enum { PARSED_HEAD = 1, PARSED_BODY = 2, PARSED_END = 4 };

struct param {
    const char *key, *value; /* value: decoded, NUL-terminated, without NUL inside */
};

/* One request, zeroed between two. */
struct request {
    char target[TARGET_BYTES];
    size_t target_len;
    bool target_overflow;
    bool malformed;               /* a header's name, or a folded value */
    bool at_line_start;           /* the last byte of the head that was read is a LF */
    char name[HEADER_NAME_BYTES]; /* of the header being read */
    size_t name_len;
    int header; /* the one being read, HEADER_COUNT: none of ours */
    bool in_value;
    struct header_value headers[HEADER_COUNT];
    size_t head_bytes;
    bool has_body, complete; /* a body follows the head; all of it was read */
    bool head_only;          /* HEAD: the answer has no body */
    const struct route *route;
    char text[TARGET_BYTES]; /* holds `path_param` and the values of `params`, decoded */
    const char *path_param;  /* NAME or CHANNEL */
    size_t path_param_len;
    struct param params[ROUTE_PARAMS];
    size_t param_count;
    struct channel_name channel;
    uint64_t peer; /* the one named by from= or origin= */
    size_t body_len;
};

struct publishing {
    struct publisher publisher;
    struct framer framer;
    uint64_t to; /* a peer's node id; 0: here */
    bool whole;  /* the body is one append, of the producer's `sequence` */
    bool put;    /* ... which the node has */
    uint64_t sequence;
    bool blocked;   /* put said NET_ERR_AGAIN, `writable` has not come */
    bool ended;     /* the body is complete */
    bool finishing; /* node_publish_finish() was called */
    int err;        /* what refused an event, 0 so far */
    const char *message;
    const char *limit; /* the key of node.yaml that bounds an event */
    char text[96];     /* a message that names the limit, or the line */
    uint64_t refused;  /* its index */
};

enum row_format { ROWS_NDJSON, ROWS_BINARY, ROWS_SSE };

struct tailing {
    struct tail tail;
    struct tail_request request;
    struct log_choice choice;
    struct log_lookup lookup;
    char origin[20]; /* "self" or an id, as rows show it */
    enum row_format format;
    uint64_t alive_at; /* when to say so next */
    bool paused, open, looking;
    bool in_row; /* a part of it is out */
    bool torn;   /* ... and the rest will not come: the log gave the event up */
};

/* What a request in RUN (or a publish in BODY) needs from its route when it cannot go on. */
struct exchange {
    void (*cancel)(struct connection *); /* the client is gone: no callback of the node may follow */
    void (*stop)(struct connection *);   /* admin_stop(): likewise, and answer with what there is */
};

struct connection {
    struct admin *admin;
    struct list link;      /* admin->connections */
    struct list wait_link; /* admin->waiting[wait] */
    struct list stranger;  /* admin->strangers, until a token was right */
    bool evicted;          /* counted in admin->evicting */
    enum wait_kind wait;
    uint64_t wait_until;
    enum connection_state state;
    io_handle handle;
    struct io_op recv, send, close;
    bool eof;         /* the client sends no more */
    bool close_after; /* this answer is the last */

    http_parser parser;
    unsigned parsed;      /* PARSED_*, since the last look */
    const uint8_t *piece; /* of the body, inside `in`, not yet taken */
    size_t piece_len;
    size_t in_start, in_end;
    size_t in_used; /* the furthest in_end: to be wiped */
    struct request request;

    /* Answers. One half of `out` is filled while the other is sent; `reply` follows the halves. */
    struct buffer out[2];
    unsigned fill;
    bool sending_reply, reply_ready;
    bool streaming, chunked;
    size_t chunk_at; /* of the open chunk's size in the filling half, SIZE_MAX: none */
    struct buffer reply;

    const struct exchange *exchange; /* of the request at work, or NULL */
    union {
        struct control_request control;
        struct metrics_scrape scrape;
        struct reload_request reload;
        struct {
            union {
                struct channel_list channels;
                struct session_list sessions;
                struct stream_list streams;
                struct subscriber_list subscribers;
            };
            struct listing *asked; /* that one's */
        } lists;
        struct publishing publishing;
        struct tailing tailing;
    };

    uint8_t in[IN_BYTES];
    uint8_t out_bytes[2][OUT_BYTES];
    uint8_t body[BODY_BYTES + 1]; /* one more for a NUL */
};

/* A connection above the limit: told so and closed, without an object of its own. */
struct refusal {
    struct io_op op;
    struct admin *admin;
    io_handle handle; /* IO_NO_HANDLE: free */
    uint64_t until;
};

struct admin {
    struct io *io;
    struct node *node;
    char token[TOKEN_BYTES], readonly[TOKEN_BYTES]; /* padded with zeros; readonly "": there is none */
    uint32_t max_connections, header_bytes;
    bool is_unix;
    uint64_t timeout[WAIT_KINDS];
    struct list strangers; /* connections that never showed a token, the longest quiet first */
    unsigned evicting;     /* connections that are closing to make room: at most max_connections, beside as many */
    struct list waiting[WAIT_KINDS];
    struct list connections;
    struct io_op accept;
    uint64_t accept_at; /* accept again then; UINT64_MAX: armed, or stopping */
    struct framer_memory large_events;
    struct refusal refusals[REFUSALS];
    unsigned refusing; /* how many are in use */
    struct admin_stats stats;
    bool stopping;
    void (*stopped)(void *);
    void *stopped_ctx;
};

/* admin.c */
void admin_check_stopped(
    struct admin *); /* something ended: is it all? May call `stopped`: touch nothing afterwards. */

/* connection.c */
bool connection_open(struct admin *, io_handle); /* false: no memory */
void connection_free(struct connection *);
void connection_run(struct connection *);
void connection_abort(struct connection *); /* forgets request and answer; connection_run() closes it */
void connection_wait(struct connection *, enum wait_kind);
void connection_on_timeout(struct connection *);
void connection_stop(struct connection *);

void connection_heard(struct connection *); /* a request of it came */
void connection_evict(struct connection *); /* its place is needed */
void connection_known(struct connection *); /* it has shown a token: nobody takes its place */

/* request.c: what the parser says */
void request_init(struct connection *);
/* Parses on. False when nothing more can be done with what has been read. */
bool request_step(struct connection *);

/* access.c: false when it has refused */
bool access_allow(struct connection *);
bool access_check_token(struct connection *, enum access);
bool access_has_token(const struct connection *); /* one that may read; refuses nothing */

/* route.c */
bool route_find(struct connection *); /* fills request.route and its parameters, or refuses */
const char *route_param(const struct connection *, const char *key); /* NULL: not given */
/* Their values were checked; false or `absent` when not given. */
bool route_param_flag(const struct connection *, const char *key);
uint64_t route_param_u64(const struct connection *, const char *key, uint64_t absent);
/* `text` names a peer: request.peer. With `unknown`, an id nobody has is fine. False when it has refused. */
bool route_param_peer(struct connection *, const char *text, bool unknown);

/* respond.c */
struct buffer *reply_begin(struct connection *);                      /* empty; then one of: */
void respond(struct connection *, unsigned status, const char *type); /* reply as it is */
void respond_json(struct connection *, unsigned status);              /* a line end is added */
/* message NULL: the table's. `respond_refusal` has a status and code of HTTP's own and header lines (or ""). */
void respond_error(struct connection *, int err, const char *message);
void respond_refusal(struct connection *, unsigned status, const char *code, const char *message, const char *headers);
void respond_error_object(struct buffer *, const char *code, const char *message,
                          const uint64_t *event); /* "error":{…} */
void respond_continue(struct connection *);
void respond_until_close(struct connection *); /* reply without a length, then PARKED */
/* An answer in pieces. A row: write to stream_row(), then stream_row_end(); false: no room now, nothing was written. */
void stream_begin(struct connection *, const char *type);
struct buffer *stream_row(struct connection *, size_t *mark);
bool stream_row_end(struct connection *, size_t mark);
void stream_end(struct connection *, bool whole); /* whole false: the client shall see that something is missing */
bool out_empty(const struct connection *);
void out_send(struct connection *);
bool out_on_sent(struct connection *, size_t n); /* sends on; true: there is room again */

/* route_*.c */
void healthz_get(struct connection *);
void readyz_get(struct connection *);
void openapi_get(struct connection *);
void node_get(struct connection *);
void shards_get(struct connection *);
void config_get(struct connection *);
void reload_post(struct connection *);
void log_level_get(struct connection *);
void log_level_put(struct connection *);
void metrics_get(struct connection *);
void shutdown_post(struct connection *);
void peers_get(struct connection *);
void peers_post(struct connection *);
void peers_delete(struct connection *);
void put_features(struct buffer *, uint64_t bits); /* "features":[...] of peers and sessions */
void put_rtt(struct buffer *, bool known, uint64_t ns);
void sessions_get(struct connection *);
void streams_get(struct connection *);
void channels_get(struct connection *);
void subscribers_get(struct connection *);
void subscriptions_get(struct connection *);
void subscribe_post(struct connection *);
void unsubscribe_post(struct connection *);
void publish_begin(struct connection *);
size_t publish_body(struct connection *, const uint8_t *data, size_t len);
void publish_drained(struct connection *);
void publish_end(struct connection *);
void events_get(struct connection *);
void events_on_wait(struct connection *); /* WAIT_LOG or WAIT_ALIVE is over */
void events_on_room(struct connection *); /* the stream has room again */

/* event_rows.c: a row of `events` */
const char *rows_type(enum row_format); /* Content-Type */
void rows_put_event(struct buffer *, enum row_format, const char *origin, const struct tail_event *);
/* What comes next of a large event: the row's beginning before its first byte, its end behind the last. */
void rows_put_piece(struct buffer *, enum row_format, const char *origin, const struct tail_piece *);
void rows_put_gap(struct buffer *, enum row_format, uint64_t from, uint64_t to);

/* body.c: the body as JSON, to be put by the caller; NULL when it is not */
struct json_object *body_parse(const struct connection *);

enum { TIMEOUT_MS_MAX = 3600000 };

extern const struct exchange control_exchange; /* route_control.c: c->control is pending */
/* The reply as it stands, or the error. For the `done` of a request; runs the connection. */
void control_answer(struct connection *, unsigned status, int err, const char *message);

#endif
