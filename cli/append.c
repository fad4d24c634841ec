/*
 * The input is cut into appends, one under way at a time; before one is sent, its number of events stands in the
 * producer's file. A run that was cut off is taken up by the same command on the same input: events that were answered
 * are passed over (a checksum tells whether they are the same), those of the append without an answer go out once more
 * under its sequence, and the peer appends them or knows them. Then the run goes on. Where an append ends does not
 * matter: the file has it.
 */
#include "cli/append.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/client.h"
#include "cli/framing.h"
#include "cli/output.h"
#include "cli/producer_file.h"
#include "cli/progress.h"
#include "core/base/span.h"
#include "core/channel/append.h"

enum { READ_SIZE = 64 << 10, BATCH_EVENTS = 2028 };

struct append_run {
    const struct cli_args *args;
    struct client client;
    struct producer_file file;
    struct framing framing;
    struct progress progress;
    XXH3_state_t *sum; /* of the frames of events that were answered, or passed over */
    uint64_t seen;     /* events of the input that are behind the batch */
    bool resumed;      /* nothing is left of a run that was cut off */
    uint8_t *batch;    /* frames of the append that is being filled */
    size_t batch_len, batch_room;
    uint64_t batch_count;
    const char *name;   /* of the file that is read */
    uint64_t name_from; /* events of the files before it */
    bool interrupted;   /* Ctrl-C while waiting: there is no more input */
};

/* ---- one append ---- */

static enum http_result converse(struct append_run *r, const char *target)
{
    struct http *h = &r->client.http;
    enum http_result result = http_open(h, &r->client.endpoint, r->args->timeout_ns);
    if (result == HTTP_DONE)
        result = client_send_head(&r->client, "POST", target, "application/octet-stream", r->batch_len);
    if (result == HTTP_DONE && r->batch_len)
        result = http_send(h, r->batch, r->batch_len);
    http_allow(h, r->args->timeout_ns);
    return result == HTTP_DONE || result == HTTP_ANSWERED ? http_receive(h) : result;
}

static int take_answer(struct append_run *r)
{
    struct json_object *answer = r->client.http.body ? json_tokener_parse(r->client.http.body) : NULL;
    struct json_object *first = NULL, *last = NULL, *bytes = NULL;
    if (!json_object_is_type(answer, json_type_object)) {
        json_object_put(answer);
        return cli_error(CLI_FAILURE, "%s: the answer is not JSON", r->client.endpoint.shown);
    }
    if (r->batch_count && json_object_object_get_ex(answer, "first_seq", &first) &&
        json_object_object_get_ex(answer, "last_seq", &last) && json_object_object_get_ex(answer, "bytes", &bytes)) {
        if (!r->file.events)
            r->file.first_seq = json_object_get_uint64(first);
        r->file.last_seq = json_object_get_uint64(last);
        r->file.bytes += json_object_get_uint64(bytes);
    }
    json_object_put(answer);
    return CLI_OK;
}

/* Sends the batch as append `sequence`, and again what it says of it until it is answered. */
static int send_append(struct append_run *r)
{
    char target[TARGET_MAX], sequence[24];
    snprintf(sequence, sizeof sequence, "%llu", (unsigned long long)r->file.sequence);
    int code = client_channel_target(target, r->args->words[0], "/publish");
    if (code == CLI_OK)
        code = client_param(target, "to", r->args->value[OPTION_TO]);
    if (code == CLI_OK && cli_has(r->args, OPTION_DURABLE))
        code = client_param(target, "durable", "true");
    if (code == CLI_OK)
        code = client_param(target, "producer", r->file.id);
    if (code == CLI_OK)
        code = client_param(target, "sequence", sequence);
    if (code != CLI_OK)
        return code;
    enum http_result result = converse(r, target);
    code = result == HTTP_DONE ? client_check(&r->client) : client_failed(&r->client, result);
    if (code == CLI_OK)
        code = take_answer(r);
    http_close(&r->client.http);
    return code;
}

/* ---- batches ---- */

static void take_up(struct append_run *r, struct cspan frames, uint64_t count)
{
    XXH3_64bits_update(r->sum, frames.data, frames.len);
    r->seen += count;
}

/* It was answered: it counts. */
static void settle_batch(struct append_run *r)
{
    take_up(r, (struct cspan){r->batch, r->batch_len}, r->batch_count);
    r->file.events = r->seen;
    r->file.sum = XXH3_64bits_digest(r->sum);
    r->file.pending = 0;
    r->file.sequence++;
    r->batch_len = 0;
    r->batch_count = 0;
    progress_show(&r->progress, r->file.events, r->file.bytes);
}

static int other_input(const struct append_run *r)
{
    return cli_error(CLI_FAILURE,
                     "%s: the last run was not finished, and this is not its input: its first %llu events were "
                     "appended, %llu more perhaps. Give it again, or another --producer file",
                     r->file.path, (unsigned long long)r->file.events, (unsigned long long)r->file.pending);
}

static int flush(struct append_run *r)
{
    if (r->batch_count == 0)
        return CLI_OK;
    int code = CLI_OK;
    uint64_t sum = XXH3_64bits(r->batch, r->batch_len);
    if (!r->file.pending) {
        r->file.unfinished = true;
        r->file.pending = r->batch_count;
        r->file.pending_sum = sum;
        code = producer_file_save(&r->file);
    } else if (sum != r->file.pending_sum) { /* the file says already what it was */
        code = other_input(r);
    }
    if (code == CLI_OK)
        code = send_append(r);
    if (code == CLI_OK)
        settle_batch(r);
    return code;
}

/* Passed over so many events as were answered: are they the same? */
static int check_resumed(struct append_run *r)
{
    if (r->resumed || r->seen < r->file.events)
        return CLI_OK;
    r->resumed = true;
    return r->file.events && XXH3_64bits_digest(r->sum) != r->file.sum ? other_input(r) : CLI_OK;
}

/* Appends are of what one packet takes, or of one event that none does. */
static bool fits(const struct append_run *r, size_t len)
{
    return r->batch_count == 0 || r->batch_len + len <= APPEND_FRAMES_MAX;
}

/* The batch is empty. */
static bool grow(struct append_run *r, size_t len)
{
    uint8_t *grown = realloc(r->batch, len);
    if (!grown)
        return false;
    r->batch = grown;
    r->batch_room = len;
    return true;
}

static int take_event(struct append_run *r, struct cspan frame)
{
    int code = check_resumed(r);
    if (code != CLI_OK)
        return code;
    if (!r->resumed) {
        take_up(r, frame, 1);
        return CLI_OK;
    }
    bool full = !fits(r, frame.len) || r->batch_count == BATCH_EVENTS;
    if (r->file.pending ? r->batch_count == r->file.pending : full)
        code = flush(r);
    if (code == CLI_OK && !fits(r, frame.len))
        code = other_input(r); /* of a run that was cut off: its append was no larger */
    if (code == CLI_OK && frame.len > r->batch_room && !grow(r, frame.len))
        code = cli_error(CLI_FAILURE, "%s: out of memory", r->name);
    if (code != CLI_OK)
        return code;
    memcpy(r->batch + r->batch_len, frame.data, frame.len);
    r->batch_len += frame.len;
    r->batch_count++;
    return CLI_OK;
}

/* The input pauses, or ends: what there is goes out, unless it is part of an append that was larger. */
static int on_pause(struct append_run *r)
{
    int code = check_resumed(r);
    return code == CLI_OK && (!r->file.pending || r->batch_count == r->file.pending) ? flush(r) : code;
}

static int take_frames(struct append_run *r)
{
    const uint8_t *at = framing_frames(&r->framing), *end = at + r->framing.complete;
    int code = CLI_OK;
    while (code == CLI_OK && at < end) {
        size_t len = 4 + (size_t)load_le32(at);
        code = take_event(r, (struct cspan){at, len});
        at += len;
    }
    framing_taken(&r->framing);
    return code;
}

/* ---- input ---- */

/* SIGINT is held back only while we sleep: it ends the input. At work it kills, and the run goes on another time. */
static void sleep_for_input(struct append_run *r, int fd)
{
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    struct pollfd all[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = signalfd(-1, &interrupt, SFD_CLOEXEC), .events = POLLIN}};
    while (poll(all, 2, -1) < 0 && errno == EINTR)
        ;
    if (all[1].revents) {
        struct signalfd_siginfo info;
        r->interrupted = read(all[1].fd, &info, sizeof info) == sizeof info;
    }
    close(all[1].fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static int bad_input(const struct append_run *r, enum framing_result why)
{
    if (why == FRAMING_NO_MEMORY)
        return cli_error(CLI_FAILURE, "%s: out of memory", r->name);
    return cli_error(CLI_FAILURE, "%s:%llu: %s", r->name, (unsigned long long)r->framing.events - r->name_from + 1,
                     why == FRAMING_CUT_OFF ? "the record is cut off" : "longer than 16 MiB");
}

static int take_input(struct append_run *r, int fd)
{
    uint8_t bytes[READ_SIZE];
    for (;;) {
        struct pollfd input = {.fd = fd, .events = POLLIN};
        int code = poll(&input, 1, 0) == 0 ? on_pause(r) : CLI_OK;
        if (code == CLI_OK)
            sleep_for_input(r, fd);
        if (code != CLI_OK || r->interrupted)
            return code;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return cli_error(CLI_FAILURE, "%s: cannot read: %s", r->name, strerror(errno));
        enum framing_result framed = n ? framing_put(&r->framing, bytes, (size_t)n) : framing_end(&r->framing);
        code = take_frames(r);
        if (code == CLI_OK && framed != FRAMING_OK)
            code = bad_input(r, framed);
        if (code != CLI_OK || n == 0)
            return code;
    }
}

static int take_file(struct append_run *r, const char *name)
{
    bool is_stdin = strcmp(name, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    r->name = is_stdin ? "stdin" : name;
    r->name_from = r->framing.events;
    if (fd < 0)
        return cli_error(CLI_FAILURE, "%s: cannot open: %s", name, strerror(errno));
    int code = take_input(r, fd);
    if (!is_stdin)
        close(fd);
    return code;
}

/* ---- the command ---- */

/* Append 0 is of nothing: the peer knows the producer before it gets anything of it, and refuses what comes when it has
 * forgotten it. */
static int make_known(struct append_run *r)
{
    int code = r->file.sequence == 0 ? send_append(r) : CLI_OK;
    if (code == CLI_OK && r->file.sequence == 0)
        r->file.sequence = 1;
    return code;
}

static int finish(struct append_run *r)
{
    int code = check_resumed(r);
    if (code == CLI_OK && (!r->resumed || (r->file.pending && r->batch_count != r->file.pending)))
        code = other_input(r); /* it ended too early */
    if (code == CLI_OK)
        code = flush(r);
    if (code != CLI_OK)
        return code;
    r->file.unfinished = false;
    return producer_file_save(&r->file);
}

static int show(const struct append_run *r)
{
    const struct producer_file *f = &r->file;
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "channel", json_object_new_string(f->channel));
    json_object_object_add(o, "events", json_object_new_uint64(f->events));
    json_object_object_add(o, "bytes", json_object_new_uint64(f->bytes));
    json_object_object_add(o, "first_seq", f->events ? json_object_new_uint64(f->first_seq) : NULL);
    json_object_object_add(o, "last_seq", f->events ? json_object_new_uint64(f->last_seq) : NULL);
    json_object_object_add(o, "to", json_object_new_string(f->to));
    json_object_object_add(o, "producer", json_object_new_string(f->id));
    json_object_object_add(o, "next_sequence", json_object_new_uint64(f->sequence));
    int code = output_value(r->args, o);
    json_object_put(o);
    return code;
}

static int run(struct append_run *r)
{
    const struct cli_args *args = r->args;
    int code = client_resolve(&r->client, args);
    if (code == CLI_OK)
        code = producer_file_open(&r->file, args->value[OPTION_PRODUCER], args->words[0], args->value[OPTION_TO]);
    if (code == CLI_OK)
        code = make_known(r);
    if (code != CLI_OK)
        return code;
    progress_init(&r->progress, cli_has(args, OPTION_QUIET));
    if (args->word_count < 2)
        code = take_file(r, "-");
    for (size_t i = 1; i < args->word_count && code == CLI_OK && !r->interrupted; i++)
        code = take_file(r, args->words[i]);
    if (code == CLI_OK)
        code = finish(r);
    progress_clear(&r->progress);
    return code == CLI_OK ? show(r) : code;
}

int append_run(const struct cli_args *args)
{
    struct append_run *r = calloc(1, sizeof *r);
    int code = CLI_FAILURE;
    if (r) {
        r->args = args;
        r->file.lock = r->client.http.fd = -1;
        r->batch_room = APPEND_FRAMES_MAX;
        r->batch = malloc(r->batch_room);
        r->sum = XXH3_createState();
    }
    if (r && r->batch && r->sum && framing_init(&r->framing, framing_of(args))) {
        XXH3_64bits_reset(r->sum);
        code = run(r);
        client_close(&r->client);
        producer_file_close(&r->file);
    } else {
        cli_error(CLI_FAILURE, "out of memory");
    }
    if (r) {
        framing_deinit(&r->framing);
        XXH3_freeState(r->sum);
        free(r->batch);
    }
    free(r);
    return code;
}
