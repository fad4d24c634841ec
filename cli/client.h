/* A command's conversation with the node: targets, JSON requests, and what the node's errors mean for the exit code. */
#ifndef NM_CLI_CLIENT_H
#define NM_CLI_CLIENT_H

#include <json-c/json.h>

#include "cli/http.h"

struct client {
    const struct cli_args *args;
    const char *subject; /* what the node's errors are about, for messages; NULL: they say it themselves */
    uint64_t asked;      /* when the request went out, monotonic ns */
    struct endpoint endpoint;
    struct http http;
};

/* Resolves the endpoint and does not connect yet. CLI_OK, or an exit code (said). client_close() in any case. */
int client_resolve(struct client *, const struct cli_args *);
/* Resolves the endpoint and connects. CLI_OK, or an exit code (said). client_close() in any case. */
int client_open(struct client *, const struct cli_args *);
void client_close(struct client *);

/* Sends the head; with -v says so. Parameters as http_send_head. */
enum http_result client_send_head(struct client *, const char *method, const char *target, const char *type,
                                  uint64_t length);
/* Why a conversation failed, for a person, and the exit code that stands for it. */
enum { CLIENT_TEXT_MAX = 512 };
int client_failure(const struct client *, enum http_result, char text[CLIENT_TEXT_MAX]);
/* Says it, and returns the exit code. */
int client_failed(const struct client *, enum http_result);
/* After an answer was read: CLI_OK for 2xx; else says the node's message and returns its exit code. */
int client_check(const struct client *);
/* The exit code an error answer stands for; `code` is error.code of its body or "". */
int client_exit_code(unsigned status, const char *code);
/* error.code / error.message of an error answer; NULL when there is none. Valid while `answer` lives. */
const char *client_error_text(struct json_object *answer, const char *key);

/* One request with a JSON body (or NULL) and a JSON answer, which the caller puts; NULL unless CLI_OK. */
int client_ask(const struct cli_args *, const char *method, const char *target, struct json_object *body,
               struct json_object **answer);
/* The same, and the answer is printed in the format asked for. */
int client_run(const struct cli_args *, const char *method, const char *target, struct json_object *body);

/* A list, of whose columns a table shows these (table.h). */
int client_list(const struct cli_args *, const char *target, const char *columns);

/* "/v1/..." with %s places filled by percent-encoded text; says it when something is too long. CLI_OK or CLI_USAGE. */
enum { TARGET_MAX = 2048 };
int client_target(char out[TARGET_MAX], const char *before, const char *text, const char *after);
/* Adds "?key=text", or "&key=text" when there is a '?' already. */
int client_param(char target[TARGET_MAX], const char *key, const char *text);
/* A position in a log as the node wants it: earliest, latest or a sequence, for which `number` has the room. NULL: it
 * is none. 0x10 and 16 are the same (cli.md 2.2). */
enum { POSITION_TEXT = 24 };
const char *client_position(const char *text, char number[POSITION_TEXT]);
/* A channel's target: "/v1/channels/NAME/verb"; refuses names that no channel can have. */
int client_channel_target(char out[TARGET_MAX], const char *channel, const char *verb);

#endif
