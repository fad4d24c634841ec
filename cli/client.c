/* What all commands that talk to a node have in common. */
#include "cli/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "core/base/err.h"
#include "core/channel/channel.h"
#include "shards/config/config.h"

int client_resolve(struct client *c, const struct cli_args *args)
{
    c->args = args;
    c->subject = NULL;
    c->http.fd = -1;
    c->http.body = NULL;
    c->http.watch.ready = NULL;
    return endpoint_resolve(args, &c->endpoint);
}

int client_open(struct client *c, const struct cli_args *args)
{
    int code = client_resolve(c, args);
    if (code != CLI_OK)
        return code;
    cli_say(args, SAY_DEBUG, "connecting to %s, for at most %g s", c->endpoint.host, (double)args->timeout_ns / 1e9);
    enum http_result result = http_open(&c->http, &c->endpoint, args->timeout_ns);
    return result == HTTP_DONE ? CLI_OK : client_failed(c, result);
}

void client_close(struct client *c)
{
    http_close(&c->http);
    endpoint_wipe(&c->endpoint);
}

enum http_result client_send_head(struct client *c, const char *method, const char *target, const char *type,
                                  uint64_t length)
{
    cli_say(c->args, SAY_INFO, "%s %s at %s", method, target, c->endpoint.shown);
    c->asked = http_now();
    return http_send_head(&c->http, &c->endpoint, method, target, type, length);
}

static int explain(char text[CLIENT_TEXT_MAX], enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int explain(char text[CLIENT_TEXT_MAX], enum cli_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, CLIENT_TEXT_MAX, format, args);
    va_end(args);
    return (int)code;
}

int client_failure(const struct client *c, enum http_result result, char text[CLIENT_TEXT_MAX])
{
    const char *at = c->endpoint.shown;
    switch (result) {
    case HTTP_TIMEOUT:
        return explain(text, CLI_TIMEOUT, "%s: no answer within --timeout (%g s)", at,
                       (double)c->args->timeout_ns / 1e9);
    case HTTP_UNREACHED:
        return explain(text, CLI_UNREACHABLE, "%s: cannot reach the node: %s%s", at, strerror(c->http.error),
                       c->http.error == ECONNREFUSED || c->http.error == ENOENT ? " (does it run?)" : "");
    case HTTP_MALFORMED:
        return explain(text, CLI_UNREACHABLE, "%s: the answer is not HTTP; is this a node's admin port?", at);
    case HTTP_TOO_LARGE:
        return explain(text, CLI_FAILURE, "%s: the answer is larger than %d MiB", at, HTTP_ANSWER_MAX >> 20);
    default:
        return explain(text, CLI_UNREACHABLE, "%s: the node ended the connection before its answer was complete%s%s",
                       at, c->http.error ? ": " : "", c->http.error ? strerror(c->http.error) : "");
    }
}

int client_failed(const struct client *c, enum http_result result)
{
    char text[CLIENT_TEXT_MAX];
    int code = client_failure(c, result, text);
    return cli_error((enum cli_exit)code, "%s", text);
}

int client_exit_code(unsigned status, const char *code)
{
    if (status == 401 || strcmp(code, "unauthorized") == 0 || strcmp(code, "forbidden") == 0 ||
        strcmp(code, "auth") == 0 || strcmp(code, "unreachable") == 0)
        return CLI_UNREACHABLE;
    switch (status) {
    case 400:
        return CLI_USAGE;
    case 504:
        return CLI_TIMEOUT;
    default:
        return CLI_FAILURE;
    }
}

const char *client_error_text(struct json_object *answer, const char *key)
{
    struct json_object *error = NULL, *text = NULL;
    if (json_object_is_type(answer, json_type_object) && json_object_object_get_ex(answer, "error", &error) &&
        json_object_is_type(error, json_type_object) && json_object_object_get_ex(error, key, &text) &&
        json_object_is_type(text, json_type_string))
        return json_object_get_string(text);
    return NULL;
}

int client_check(const struct client *c)
{
    const struct http *h = &c->http;
    cli_say(c->args, SAY_INFO, "status %u after %.1f ms", h->status, (double)(http_now() - c->asked) / 1e6);
    if (h->body)
        cli_say(c->args, SAY_TRACE, "%zu bytes: %.1000s", h->body_len, h->body);
    if (h->status / 100 == 2)
        return CLI_OK;
    struct json_object *answer = h->body ? json_tokener_parse(h->body) : NULL;
    const char *message = client_error_text(answer, "message"), *code = client_error_text(answer, "code");
    int exit_code = client_exit_code(h->status, code ? code : "");
    if (h->status == 401)
        cli_error(CLI_UNREACHABLE, "%s: the node refuses the token", c->endpoint.shown);
    else if (code && strcmp(code, "forbidden") == 0)
        cli_error(CLI_UNREACHABLE, "%s: this token may only read; the node's admin.token may do more",
                  c->endpoint.shown);
    else if (message)
        cli_error(CLI_FAILURE, "%s%s%s", c->subject ? c->subject : "", c->subject ? ": " : "", message);
    else
        cli_error(CLI_FAILURE, "%s: the node answered with HTTP status %u", c->endpoint.shown, h->status);
    json_object_put(answer);
    return exit_code;
}

static enum http_result exchange(struct client *c, const char *method, const char *target, struct json_object *body)
{
    size_t len = 0;
    const char *text =
        body ? json_object_to_json_string_length(body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len)
             : "";
    enum http_result result = client_send_head(c, method, target, body ? "application/json" : NULL, len);
    if (result == HTTP_DONE)
        result = http_send(&c->http, text, len);
    return result == HTTP_DONE || result == HTTP_ANSWERED ? http_receive(&c->http) : result;
}

/* The operand of the command, "NAME" or "CHANNEL from PEER". */
static const char *name_subject(const struct cli_args *args, char *out, size_t room)
{
    const char *from = args->value[OPTION_FROM];
    if (args->word_count == 0)
        return NULL;
    snprintf(out, room, "%.180s%s%.180s", args->words[0], from ? " from " : "", from ? from : "");
    return out;
}

int client_ask(const struct cli_args *args, const char *method, const char *target, struct json_object *body,
               struct json_object **answer)
{
    struct client c;
    char subject[400];
    *answer = NULL;
    int code = client_open(&c, args);
    if (code == CLI_OK) {
        c.subject = name_subject(args, subject, sizeof subject);
        enum http_result result = exchange(&c, method, target, body);
        code = result == HTTP_DONE ? client_check(&c) : client_failed(&c, result);
    }
    if (code == CLI_OK && (*answer = c.http.body ? json_tokener_parse(c.http.body) : NULL) == NULL)
        code = cli_error(CLI_FAILURE, "%s: the answer is not JSON", c.endpoint.shown);
    client_close(&c);
    return code;
}

int client_run(const struct cli_args *args, const char *method, const char *target, struct json_object *body)
{
    struct json_object *answer;
    int code = client_ask(args, method, target, body, &answer);
    if (code == CLI_OK)
        code = output_value(args, answer);
    json_object_put(answer);
    return code;
}

int client_list(const struct cli_args *args, const char *target, const char *columns)
{
    struct json_object *answer;
    int code = client_ask(args, "GET", target, NULL, &answer);
    if (code == CLI_OK)
        code = output_list(args, answer, columns);
    json_object_put(answer);
    return code;
}

int client_target(char out[TARGET_MAX], const char *before, const char *text, const char *after)
{
    char encoded[TARGET_MAX];
    if (strlen(text) > 512)
        return cli_error(CLI_USAGE, "found an argument of %zu bytes, allowed: at most 512", strlen(text));
    http_encode(text, encoded, sizeof encoded);
    if (strlen(before) + strlen(encoded) + strlen(after) >= TARGET_MAX)
        return cli_error(CLI_USAGE, "the arguments are too long");
    snprintf(out, TARGET_MAX, "%s%s%s", before, encoded, after);
    return CLI_OK;
}

int client_param(char target[TARGET_MAX], const char *key, const char *text)
{
    char so_far[TARGET_MAX + 32];
    snprintf(so_far, sizeof so_far, "%s%c%s=", target, strchr(target, '?') ? '&' : '?', key);
    return client_target(target, so_far, text, "");
}

const char *client_position(const char *text, char number[POSITION_TEXT])
{
    uint64_t value;
    if (config_parse_id(text, &value) != NET_OK)
        return strcmp(text, "earliest") == 0 || strcmp(text, "latest") == 0 ? text : NULL;
    snprintf(number, POSITION_TEXT, "%" PRIu64, value);
    return number;
}

int client_channel_target(char out[TARGET_MAX], const char *channel, const char *verb)
{
    enum channel_name_error wrong = channel_name_parse(channel, strlen(channel), NULL);
    if (wrong != CHANNEL_NAME_OK)
        return cli_error(CLI_USAGE, "channel %.300s: %s", channel, channel_name_error_text(wrong));
    return client_target(out, "/v1/channels/", channel, verb);
}
