/*
 * The table of routes: the one place that says what is served. Dispatch, the check of parameters, who may ask and
 * /openapi.json follow from it.
 */
#ifndef NM_SHARDS_ADMIN_ROUTE_H
#define NM_SHARDS_ADMIN_ROUTE_H

#include <http_parser.h>

#include "shards/admin/schema.h"

struct connection;

enum access {
    ACCESS_OPEN, /* no token */
    ACCESS_READ, /* either token */
    ACCESS_ADMIN /* the admin token */
};

/* A parameter of the query. Flags, numbers, positions and choices are checked before the route sees them; of a text the
 * route says what is allowed. */
struct route_param {
    const char *name;
    const struct schema *schema;
    const char *about;
    bool required;
    uint64_t max; /* of a number; 0: any */
};

/* A body that is taken or answered. schema NULL: no JSON. */
struct media {
    unsigned status; /* of the answer; 0 for bodies taken */
    const char *type;
    const struct schema *schema;
    const char *about;
};

enum { ROUTE_PARAMS = 6, ROUTE_MEDIA = 4 };

struct route {
    enum http_method method;
    const char *path; /* "{name}" stands for anything without a slash; "{channel}" must be a channel's name */
    void (*end)(struct connection *); /* the request is complete; body in c->body */
    enum access access;
    const char *id, *summary;
    struct route_param params[ROUTE_PARAMS]; /* of the query */
    struct media takes[ROUTE_MEDIA];
    struct media answers[ROUTE_MEDIA]; /* those of one status are neighbours; all others are errors */
    const struct schema *error;        /* NULL: schema_error */
    /* Streamed body, all NULL or none. begin: the head is good. body: returns how much was taken; less means wait.
     * drained: there is nothing more to take now. */
    void (*begin)(struct connection *);
    size_t (*body)(struct connection *, const uint8_t *data, size_t len);
    void (*drained)(struct connection *);
};

extern const struct route routes[]; /* route_table.c; those of one path are neighbours */
extern const size_t route_count;

#endif
