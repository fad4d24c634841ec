/* status, shard ls, session ls, stream ls, node log-level, metrics, shutdown, version. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/output.h"

int command_status(const struct cli_args *args)
{
    return client_run(args, "GET", "/v1/node", NULL);
}

int command_shard_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/shards",
                       "shard sessions logs rx_events tx_events published_events stored_events drops");
}

int command_session_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/sessions", "peer_name|peer state cipher age_ms rtt_us rx_bytes tx_bytes shard");
}

int command_stream_ls(const struct cli_args *args)
{
    char target[TARGET_MAX] = "/v1/streams";
    int code = cli_has(args, OPTION_PEER) ? client_param(target, "peer", args->value[OPTION_PEER]) : CLI_OK;
    return code == CLI_OK ? client_list(args, target,
                                        "peer_name|peer id channel tx_reliable rx_reliable tx_seq rx_seq tx_window "
                                        "tx_credit_remaining idle_ms")
                          : code;
}

int command_node_log_level(const struct cli_args *args)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    const char *level = args->word_count ? args->words[0] : NULL;
    bool known = false;
    for (size_t i = 0; level && i < sizeof levels / sizeof levels[0]; i++)
        known |= strcmp(level, levels[i]) == 0;
    if (!level)
        return client_run(args, "GET", "/v1/log-level", NULL);
    if (!known)
        return cli_error(CLI_USAGE, "level: found %.100s, allowed: error, warn, info or debug", level);
    struct json_object *body = json_object_new_object();
    json_object_object_add(body, "level", json_object_new_string(level));
    int code = client_run(args, "PUT", "/v1/log-level", body);
    json_object_put(body);
    return code;
}

static bool write_text(void *ctx, const char *data, size_t len)
{
    int *error = ctx;
    *error = output_bytes(data, len);
    return *error == 0;
}

/* Prometheus text in every format: nothing reads it otherwise. */
int command_metrics(const struct cli_args *args)
{
    struct client c;
    int error = 0, code = client_open(&c, args);
    if (code == CLI_OK) {
        c.http.sink = (struct http_sink){.body = write_text, .ctx = &error};
        enum http_result result = client_send_head(&c, "GET", "/metrics", NULL, 0);
        if (result == HTTP_DONE || result == HTTP_ANSWERED)
            result = http_receive(&c.http);
        if (result == HTTP_DONE)
            code = client_check(&c);
        else if (result != HTTP_STOPPED)
            code = client_failed(&c, result);
    }
    client_close(&c);
    return code != CLI_OK ? code : output_error(error);
}

/* Waits until the process is gone, as far as it is one of this machine that we can see. */
static int wait_for_process(const struct client *c, uint64_t pid)
{
    if (!c->endpoint.local || pid == 0 || pid > INT32_MAX)
        return CLI_OK;
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0)
        return CLI_OK; /* gone, or out of sight */
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, http_poll_ms(c->http.deadline, HTTP_FOREVER));
        if (n < 0 && errno == EINTR)
            continue;
        close(fd);
        return n == 0 ? cli_error(CLI_TIMEOUT, "the node is stopping, but process %llu is not gone within --timeout",
                                  (unsigned long long)pid)
                      : CLI_OK;
    }
}

/* The answer is there, but the connection lasts as long as the process. */
static enum http_result wait_for_end(struct http *h)
{
    for (;;) {
        char rest[256];
        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        int n = poll(&p, 1, http_poll_ms(h->deadline, HTTP_FOREVER));
        if (n == 0)
            return HTTP_TIMEOUT;
        if (n < 0 && errno == EINTR)
            continue;
        ssize_t got = recv(h->fd, rest, sizeof rest, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return HTTP_DONE; /* a reset is an end, too: the process went with bytes of ours unread */
    }
}

static int finish_shutdown(struct client *c)
{
    enum http_result result = wait_for_end(&c->http);
    if (result != HTTP_DONE)
        return cli_error(CLI_TIMEOUT, "the node is stopping, but not gone within --timeout");
    struct json_object *answer = json_tokener_parse(c->http.body ? c->http.body : ""), *pid = NULL;
    if (!json_object_is_type(answer, json_type_object)) {
        json_object_put(answer);
        return cli_error(CLI_FAILURE, "%s: the answer is not JSON", c->endpoint.shown);
    }
    json_object_object_get_ex(answer, "pid", &pid);
    int code = wait_for_process(c, json_object_get_uint64(pid));
    if (code == CLI_OK)
        code = output_value(c->args, answer);
    json_object_put(answer);
    return code;
}

int command_shutdown(const struct cli_args *args)
{
    struct client c;
    int code = client_open(&c, args);
    if (code == CLI_OK) {
        enum http_result result = client_send_head(&c, "POST", "/v1/shutdown", NULL, 0);
        if (result == HTTP_DONE || result == HTTP_ANSWERED)
            result = http_receive(&c.http);
        if (result == HTTP_BROKEN && c.http.headed && c.http.error)
            result = HTTP_DONE; /* reset: the process went with bytes of ours unread */
        if (result == HTTP_TIMEOUT && c.http.headed)
            code = cli_error(CLI_TIMEOUT, "the node is stopping, but not gone within --timeout");
        else
            code = result == HTTP_DONE ? client_check(&c) : client_failed(&c, result);
    }
    if (code == CLI_OK)
        code = finish_shutdown(&c);
    client_close(&c);
    return code;
}

int command_version(const struct cli_args *args)
{
    if (cli_has(args, OPTION_VERSION)) {
        static const char line[] = "net-mesh " NM_VERSION "\n";
        return output_error(output_bytes(line, sizeof line - 1));
    }
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "cli_version", json_object_new_string(NM_VERSION));
    json_object_object_add(o, "sdk_version", json_object_new_string(NM_VERSION));
    json_object_object_add(o, "git_revision", NULL);
    int code = output_value(args, o);
    json_object_put(o);
    return code;
}
