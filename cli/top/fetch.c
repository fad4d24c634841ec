/* One look at a node. */
#include "cli/top/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS (UINT64_C(5) * 1000000000)

static bool read_metrics(struct top_look *look, const char *text)
{
    return top_read_metrics(look, text, strlen(text));
}

static const struct {
    const char *target;
    bool (*read)(struct top_look *, const char *text);
    bool needed;
} routes[] = {
    {"/v1/node", top_read_node, true},
    {"/readyz", top_read_ready, false},
    {"/v1/shards", top_read_shards, false},
    {"/v1/peers", top_read_peers, true},
    {"/v1/sessions", top_read_sessions, false},
    {"/v1/channels", top_read_channels, true},
    {"/v1/subscribers", top_read_subscribers, false},
    {"/metrics", read_metrics, true},
};

/* Somebody who watches wants to know soon that nothing comes. */
static uint64_t timeout_ns(const struct client *c, const struct http_watch *watch)
{
    return watch->ready && c->args->timeout_ns > PATIENCE_NS ? PATIENCE_NS : c->args->timeout_ns;
}

static enum http_result get(struct client *c, const struct http_watch *watch, const char *target)
{
    struct http *h = &c->http;
    http_close(h);
    h->watch = *watch;
    enum http_result result = http_open(h, &c->endpoint, timeout_ns(c, watch));
    if (result == HTTP_DONE)
        result = http_send_head(h, &c->endpoint, "GET", target, NULL, 0);
    return result == HTTP_DONE || result == HTTP_ANSWERED ? http_receive(h) : result;
}

/* An error of the node's, for a person. */
static int explain_status(const struct client *c, const char *target, char trouble[TOP_TROUBLE_MAX])
{
    struct json_object *answer = c->http.body ? json_tokener_parse(c->http.body) : NULL;
    const char *message = client_error_text(answer, "message"), *code = client_error_text(answer, "code");
    int exit_code = client_exit_code(c->http.status, code ? code : "");
    if (c->http.status == 401)
        snprintf(trouble, TOP_TROUBLE_MAX, "%s: the node refuses the token", c->endpoint.shown);
    else if (message)
        snprintf(trouble, TOP_TROUBLE_MAX, "%s: %s: %s", c->endpoint.shown, target, message);
    else
        snprintf(trouble, TOP_TROUBLE_MAX, "%s: %s: HTTP status %u", c->endpoint.shown, target, c->http.status);
    json_object_put(answer);
    return exit_code;
}

static int take(struct client *c, const struct http_watch *watch, struct top_look *look, size_t i,
                char trouble[TOP_TROUBLE_MAX])
{
    char text[CLIENT_TEXT_MAX];
    enum http_result result = get(c, watch, routes[i].target);
    if (result == HTTP_TIMEOUT) {
        snprintf(trouble, TOP_TROUBLE_MAX, "%s: no answer within %g s", c->endpoint.shown,
                 (double)timeout_ns(c, watch) / 1e9);
        return CLI_TIMEOUT;
    }
    if (result != HTTP_DONE) {
        int code = client_failure(c, result, text);
        snprintf(trouble, TOP_TROUBLE_MAX, "%.*s", TOP_TROUBLE_MAX - 1, text);
        return code;
    }
    bool good = c->http.status / 100 == 2;
    if (!good && routes[i].needed)
        return explain_status(c, routes[i].target, trouble);
    /* /readyz says 503 and why; a node that does not have a route says 404 */
    bool read = (good || c->http.status == 503) && routes[i].read(look, c->http.body ? c->http.body : "");
    if (!read && routes[i].needed) {
        snprintf(trouble, TOP_TROUBLE_MAX, "%s: the answer to %s is malformed", c->endpoint.shown, routes[i].target);
        return CLI_FAILURE;
    }
    return CLI_OK;
}

bool top_fetch(struct client *c, const struct http_watch *watch, struct top_look *look, char trouble[TOP_TROUBLE_MAX],
               int *code)
{
    *code = CLI_OK;
    for (size_t i = 0; *code == CLI_OK && i < sizeof routes / sizeof routes[0]; i++)
        *code = take(c, watch, look, i, trouble);
    http_close(&c->http);
    return *code == CLI_OK;
}
