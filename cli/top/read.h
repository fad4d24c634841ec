/* The admin port's answers become one look at a node. What they lack or have in another shape than expected is unknown.
 */
#ifndef NM_CLI_TOP_READ_H
#define NM_CLI_TOP_READ_H

#include <json-c/json.h>

#include "cli/top/table.h"

enum { TOP_PROBLEMS_MAX = 8, TOP_PROBLEM_MAX = 256, TOP_DOCUMENT_DEPTH = 16 };

enum top_ready { TOP_READY_UNKNOWN, TOP_READY, TOP_NOT_READY };

struct top_node {
    char node_id[32], version[32];
    double uptime_ms, shards, pid; /* NAN: unknown */
    bool stopping;
    enum top_ready ready;
    char problems[TOP_PROBLEMS_MAX][TOP_PROBLEM_MAX];
    unsigned problem_count; /* more than are kept are counted, too */
};

struct top_look {
    uint64_t at_ns; /* monotonic */
    struct top_node node;
    struct top_table tables[TOP_PANES];
    size_t worth[TOP_PANES]; /* rows worth showing, as of the last sort */
};

void top_look_init(struct top_look *, uint64_t at_ns);
void top_look_deinit(struct top_look *);

/* Each takes the text of one answer, as shards/admin/API.md has it. False: it is not what the route promises at all, or
 * there was no memory. */
bool top_read_node(struct top_look *, const char *text);     /* /v1/node */
bool top_read_ready(struct top_look *, const char *text);    /* /readyz, whatever its status */
bool top_read_shards(struct top_look *, const char *text);   /* /v1/shards */
bool top_read_peers(struct top_look *, const char *text);    /* /v1/peers */
bool top_read_channels(struct top_look *, const char *text); /* /v1/channels */
/* What more there is about the rows that are there already: /v1/sessions, /v1/subscribers, /metrics. */
bool top_read_sessions(struct top_look *, const char *text);
bool top_read_subscribers(struct top_look *, const char *text);
bool top_read_metrics(struct top_look *, const char *text, size_t len);

/* Rates against an earlier look; none when the node was restarted in between, or `before` is NULL. */
void top_look_compare(struct top_look *now, struct top_look *before);

/* All of it as one value, the tables as lists of objects in their present order; unknown is null. */
struct json_object *top_look_json(const struct top_look *);

#endif
