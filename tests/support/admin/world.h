/* An admin port with its node and its streams, for tests: ask, look at the answer. */
#ifndef NM_TESTS_SUPPORT_ADMIN_WORLD_H
#define NM_TESTS_SUPPORT_ADMIN_WORLD_H

#include "shards/admin/admin.h"
#include "tests/support/admin/fake_node.h"
#include "tests/support/admin/io_stream.h"

#define WORLD_TOKEN "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define WORLD_READONLY "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
/* The lines every authorised request has. */
#define WORLD_HEAD "Host: 127.0.0.1:20038\r\nAuthorization: Bearer " WORLD_TOKEN "\r\n"
/* A whole request that needs no authority. */
#define WORLD_HEALTHZ "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

struct world {
    struct io_stream stream;
    struct node node;
    struct admin *admin;
    bool stopped;
};

void world_init(struct world *);  /* node as fake_node_init() makes it */
void world_start(struct world *); /* after the test changed node.config; world_init() calls neither */
/* Stops the port, lets everything end, checks that nothing is left. */
void world_deinit(struct world *);
void world_run(struct world *);                               /* until nothing moves */
void world_sleep(struct world *, uint64_t ms);                /* time passes, with the port's deadlines */
void world_say(struct world *, int client, const char *text); /* write and run */
/* A new connection says `text`; everything the server sent by then, NUL-terminated, valid until it sends more. */
const char *world_ask(struct world *, const char *text);
const char *world_heard(struct world *, int client);
void world_forget(struct world *, int client); /* what was heard so far */
bool world_closed(const struct world *, int client);

/* One HTTP response at `text`; chunks are put together. */
struct response {
    int status;
    char head[2048];
    char *body; /* NUL-terminated; response_free() */
    size_t body_len;
    bool complete;    /* its length was known and all of it is there */
    const char *next; /* what follows it */
};
void response_parse(const char *text, size_t len, struct response *);
void response_free(struct response *);
/* The value of a header, in a buffer of the response's; "" when it is not there. */
const char *response_header(const struct response *, const char *name, char out[256]);

/* Asks on a new connection and parses. `target` with leading slash; the token is given. A response that is still there
 * (zeros: none) is freed first; the caller frees the last one. */
void world_get(struct world *, const char *target, struct response *);
void world_request(struct world *, const char *method, const char *target, const char *headers, const char *body,
                   size_t len, struct response *);

#endif
