/* publish: files or stdin, cut into events here and streamed to the node, until it has all or refuses one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/append.h"
#include "cli/client.h"
#include "cli/framing.h"
#include "cli/output.h"
#include "cli/progress.h"

enum { READ_SIZE = 128 << 10, SEND_FROM = 64 << 10 };

struct source {
    const char *name;     /* "-": stdin */
    uint64_t first_event; /* index of its first event; UINT64_MAX: not begun */
};

struct publish {
    struct client client;
    struct framing framing;
    struct progress progress;
    struct source *sources;
    size_t source_count;
    bool chunked;       /* a chunk was sent: its CR LF is due */
    bool interrupted;   /* Ctrl-C while waiting for input: there is no more */
    char problem[1024]; /* what is wrong with the input; "" nothing */
    uint8_t input[READ_SIZE];
};

static const char *shown_name(const struct source *s)
{
    return strcmp(s->name, "-") == 0 ? "stdin" : s->name;
}

/* ---- out ---- */

static enum http_result send_frames(struct publish *p)
{
    struct framing *f = &p->framing;
    char head[FRAMING_HEAD + 1];
    if (f->complete == 0)
        return HTTP_DONE;
    snprintf(head, sizeof head, "\r\n%08x\r\n", (unsigned)f->complete);
    memcpy(f->buffer, head, FRAMING_HEAD);
    size_t skip = p->chunked ? 0 : 2; /* no chunk before this one */
    p->chunked = true;
    http_allow(&p->client.http, p->client.args->timeout_ns);
    enum http_result result = http_send(&p->client.http, f->buffer + skip, FRAMING_HEAD - skip + f->complete);
    framing_taken(f);
    progress_show(&p->progress, f->events, f->bytes);
    return result;
}

static enum http_result send_end(struct publish *p)
{
    enum http_result result = send_frames(p);
    if (result != HTTP_DONE)
        return result;
    http_allow(&p->client.http, p->client.args->timeout_ns);
    return p->chunked ? http_send(&p->client.http, "\r\n0\r\n\r\n", 7) : http_send(&p->client.http, "0\r\n\r\n", 5);
}

/* ---- in ---- */

static void input_problem(struct publish *p, const struct source *s, enum framing_result why)
{
    uint64_t number = p->framing.events - s->first_event + 1;
    const char *name = shown_name(s);
    if (why == FRAMING_NO_MEMORY)
        snprintf(p->problem, sizeof p->problem, "%s: out of memory", name);
    else if (why == FRAMING_CUT_OFF)
        snprintf(p->problem, sizeof p->problem, "%s: the record at offset %llu is cut off", name,
                 (unsigned long long)p->framing.offset);
    else if (p->framing.input == FRAMING_WHOLE)
        snprintf(p->problem, sizeof p->problem, "%s: longer than 16 MiB", name);
    else if (p->framing.input == FRAMING_RECORDS)
        snprintf(p->problem, sizeof p->problem, "%s: the record at offset %llu is longer than 16 MiB", name,
                 (unsigned long long)p->framing.offset);
    else
        snprintf(p->problem, sizeof p->problem, "%s:%llu: the line is longer than 16 MiB", name,
                 (unsigned long long)number);
}

/* Sleeps until there is input, an early answer, or Ctrl-C, which ends the input as its end would. */
static enum http_result sleep_for_input(struct publish *p, int fd, int signals)
{
    struct pollfd all[3] = {
        {.fd = fd, .events = POLLIN}, {.fd = p->client.http.fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    for (;;) {
        int n = poll(all, 3, p->progress.on ? 200 : HTTP_FOREVER);
        if (n > 0 && all[2].revents) {
            struct signalfd_siginfo info;
            p->interrupted = read(signals, &info, sizeof info) == sizeof info;
            return HTTP_DONE;
        }
        if (n > 0 && all[1].revents)
            return HTTP_ANSWERED;
        if (n > 0 || (n < 0 && errno != EINTR))
            return HTTP_DONE; /* a poll that fails leaves the error to read() */
        progress_show(&p->progress, p->framing.events, p->framing.bytes);
    }
}

/* Returns when there is input, sending what is ready before it sleeps, or when the node answers early. SIGINT is held
 * back only while we sleep: at work, it kills. */
static enum http_result wait_for_input(struct publish *p, int fd)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    sigset_t interrupt, before;
    if (poll(&input, 1, 0) != 0)
        return HTTP_DONE;
    enum http_result result = send_frames(p);
    if (result != HTTP_DONE)
        return result;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    int signals = signalfd(-1, &interrupt, SFD_CLOEXEC);
    result = sleep_for_input(p, fd, signals); /* without a descriptor for it, Ctrl-C waits for input */
    close(signals);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}

static enum http_result send_file(struct publish *p, struct source *s, int fd)
{
    s->first_event = p->framing.events;
    p->framing.offset = 0;
    for (;;) {
        enum http_result result = wait_for_input(p, fd);
        if (result != HTTP_DONE || p->interrupted)
            return result;
        ssize_t n = read(fd, p->input, sizeof p->input);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0) {
            snprintf(p->problem, sizeof p->problem, "%s: cannot read: %s", shown_name(s), strerror(errno));
            return HTTP_DONE;
        }
        enum framing_result framed = n ? framing_put(&p->framing, p->input, (size_t)n) : framing_end(&p->framing);
        if (framed != FRAMING_OK)
            input_problem(p, s, framed);
        if (framed != FRAMING_OK || n == 0)
            return HTTP_DONE;
        if (p->framing.complete >= SEND_FROM && (result = send_frames(p)) != HTTP_DONE)
            return result;
    }
}

static enum http_result send_source(struct publish *p, struct source *s)
{
    if (strcmp(s->name, "-") == 0)
        return send_file(p, s, STDIN_FILENO);
    int fd = open(s->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(p->problem, sizeof p->problem, "%s: cannot open: %s", s->name, strerror(errno));
        return HTTP_DONE;
    }
    enum http_result result = send_file(p, s, fd);
    close(fd);
    return result;
}

/* ---- the answer ---- */

/* Which line of which file is event number `index`. */
static void name_event(const struct publish *p, uint64_t index, char *out, size_t room)
{
    const struct source *s = &p->sources[0];
    for (size_t i = 1; i < p->source_count; i++)
        if (p->sources[i].first_event <= index)
            s = &p->sources[i]; /* files without events share a first_event: the last of them has it */
    uint64_t number = index - s->first_event + 1;
    if (s->first_event > index)
        snprintf(out, room, "event %llu", (unsigned long long)index + 1);
    else if (p->framing.input == FRAMING_WHOLE)
        snprintf(out, room, "%.512s", shown_name(s));
    else
        snprintf(out, room, p->framing.input == FRAMING_RECORDS ? "%.512s: record %llu" : "%.512s:%llu", shown_name(s),
                 (unsigned long long)number);
}

static int print_counts(const struct publish *p, struct json_object *answer)
{
    json_object_object_del(answer, "error");
    if (!json_object_object_get_ex(answer, "events", NULL))
        return CLI_OK;
    return output_value(p->client.args, answer);
}

/* An error of the node about one event: what went before it stays, and is shown. */
static int report_refusal(const struct publish *p, struct json_object *answer)
{
    struct json_object *error = NULL, *event = NULL;
    char where[600];
    json_object_object_get_ex(answer, "error", &error);
    if (!json_object_is_type(error, json_type_object) || !json_object_object_get_ex(error, "event", &event))
        return client_check(&p->client);
    const char *message = client_error_text(answer, "message"), *code = client_error_text(answer, "code");
    int exit_code = client_exit_code(p->client.http.status, code ? code : "");
    name_event(p, json_object_get_uint64(event), where, sizeof where);
    cli_error(CLI_FAILURE, "%s: %s", where, message ? message : "refused");
    print_counts(p, answer);
    return exit_code == CLI_USAGE ? CLI_FAILURE : exit_code; /* 2 is for the command line, not for what is in a file */
}

static int report(const struct publish *p)
{
    const struct http *h = &p->client.http;
    struct json_object *answer = h->body ? json_tokener_parse(h->body) : NULL;
    int code;
    if (h->status / 100 != 2)
        code = json_object_is_type(answer, json_type_object) ? report_refusal(p, answer) : client_check(&p->client);
    else if (!json_object_is_type(answer, json_type_object))
        code = cli_error(CLI_FAILURE, "%s: the answer is not JSON", p->client.endpoint.shown);
    else
        code = print_counts(p, answer);
    json_object_put(answer);
    if (p->problem[0])
        return cli_error(CLI_FAILURE, "%s", p->problem);
    return code;
}

static enum http_result converse(struct publish *p, const char *target)
{
    struct http *h = &p->client.http;
    enum http_result result = client_send_head(&p->client, "POST", target, "application/octet-stream", HTTP_CHUNKED);
    h->stall_ns = p->client.args->timeout_ns;
    for (size_t i = 0; result == HTTP_DONE && !p->problem[0] && !p->interrupted && i < p->source_count; i++)
        result = send_source(p, &p->sources[i]);
    if (result == HTTP_DONE)
        result = send_end(p);
    http_allow(h, p->client.args->timeout_ns);
    return result == HTTP_DONE || result == HTTP_ANSWERED ? http_receive(h) : result;
}

/* ---- the command ---- */

static int name_sources(struct publish *p, const struct cli_args *args)
{
    p->source_count = args->word_count > 1 ? args->word_count - 1 : 1;
    p->sources = calloc(p->source_count, sizeof *p->sources);
    if (!p->sources || !framing_init(&p->framing, framing_of(args)))
        return cli_error(CLI_FAILURE, "out of memory");
    for (size_t i = 0; i < p->source_count; i++) {
        const char *name = args->word_count > 1 ? args->words[i + 1] : "-";
        p->sources[i] = (struct source){name, UINT64_MAX};
        if (strcmp(name, "-") != 0 && access(name, R_OK) != 0) /* before anything is published */
            return cli_error(CLI_FAILURE, "%s: cannot open: %s", name, strerror(errno));
    }
    return CLI_OK;
}

static int publish(struct publish *p, const struct cli_args *args)
{
    char target[TARGET_MAX];
    int code = client_channel_target(target, args->words[0], "/publish");
    if (code == CLI_OK && cli_has(args, OPTION_DURABLE))
        code = client_param(target, "durable", "true");
    if (code == CLI_OK && cli_has(args, OPTION_TO))
        code = client_param(target, "to", args->value[OPTION_TO]);
    if (code == CLI_OK)
        code = name_sources(p, args);
    if (code == CLI_OK)
        code = client_open(&p->client, args);
    if (code != CLI_OK)
        return code;
    progress_init(&p->progress, cli_has(args, OPTION_QUIET));
    enum http_result result = converse(p, target);
    progress_clear(&p->progress);
    return result == HTTP_DONE ? report(p) : client_failed(&p->client, result);
}

int command_publish(const struct cli_args *args)
{
    if (cli_has(args, OPTION_BINARY) && cli_has(args, OPTION_WHOLE))
        return cli_error(CLI_USAGE, "--binary or --whole, not both");
    if (cli_has(args, OPTION_PRODUCER))
        return cli_has(args, OPTION_TO) ? append_run(args) : cli_error(CLI_USAGE, "--producer wants --to PEER, too");
    struct publish *p = calloc(1, sizeof *p);
    if (!p)
        return cli_error(CLI_FAILURE, "out of memory");
    p->client.http.fd = -1;
    int code = publish(p, args);
    client_close(&p->client);
    framing_deinit(&p->framing);
    free(p->sources);
    free(p);
    return code;
}
