#include "cli/producer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"

enum { FILE_MAX = 8192, VERSION = 1 };

static int failed(const struct producer_file *f, const char *what)
{
    return cli_error(CLI_FAILURE, "%s: %s: %s", f->path, what, strerror(errno));
}

/* ---- reading ---- */

static bool get_text(struct json_object *o, const char *key, char *out, size_t room)
{
    struct json_object *value;
    if (!json_object_object_get_ex(o, key, &value) || !json_object_is_type(value, json_type_string) ||
        (size_t)json_object_get_string_len(value) >= room)
        return false;
    strcpy(out, json_object_get_string(value));
    return true;
}

static bool get_u64(struct json_object *o, const char *key, uint64_t *out)
{
    struct json_object *value;
    if (!json_object_object_get_ex(o, key, &value) || !json_object_is_type(value, json_type_int))
        return false;
    errno = 0;
    *out = json_object_get_uint64(value);
    return errno == 0;
}

/* A checksum: 16 hex digits. */
static bool get_sum(struct json_object *o, const char *key, uint64_t *out)
{
    char text[17], *end;
    if (!get_text(o, key, text, sizeof text))
        return false;
    *out = strtoull(text, &end, 16);
    return text[0] && !*end;
}

static bool get_unfinished(struct json_object *o, struct producer_file *f)
{
    f->unfinished = true;
    return get_u64(o, "events", &f->events) && get_u64(o, "bytes", &f->bytes) &&
           get_u64(o, "first_seq", &f->first_seq) && get_u64(o, "last_seq", &f->last_seq) &&
           get_sum(o, "sum", &f->sum) && get_u64(o, "pending", &f->pending) &&
           get_sum(o, "pending_sum", &f->pending_sum);
}

static bool parse(struct producer_file *f, const char *text)
{
    struct json_object *o = json_tokener_parse(text), *unfinished = NULL;
    uint64_t version;
    bool ok = json_object_is_type(o, json_type_object) && get_u64(o, "version", &version) && version == VERSION &&
              get_text(o, "producer", f->id, sizeof f->id) && strlen(f->id) == PRODUCER_HEX &&
              strspn(f->id, "0123456789abcdef") == PRODUCER_HEX &&
              get_text(o, "channel", f->channel, sizeof f->channel) && get_text(o, "to", f->to, sizeof f->to) &&
              get_u64(o, "sequence", &f->sequence);
    if (ok && json_object_object_get_ex(o, "unfinished", &unfinished))
        ok = json_object_is_type(unfinished, json_type_object) && get_unfinished(unfinished, f);
    json_object_put(o);
    return ok;
}

/* CLI_OK also when there is none: f->id is empty then. */
static int load(struct producer_file *f)
{
    char text[FILE_MAX + 1];
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? CLI_OK : failed(f, "cannot open");
    ssize_t n = read(fd, text, FILE_MAX);
    int error = errno;
    close(fd);
    errno = error;
    if (n < 0)
        return failed(f, "cannot read");
    text[n] = '\0';
    if (!parse(f, text))
        return cli_error(CLI_FAILURE, "%s: not the file of a producer of this program", f->path);
    return CLI_OK;
}

/* ---- writing ---- */

static void add_sum(struct json_object *o, const char *key, uint64_t sum)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)sum);
    json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *to_json(const struct producer_file *f)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "version", json_object_new_int(VERSION));
    json_object_object_add(o, "producer", json_object_new_string(f->id));
    json_object_object_add(o, "channel", json_object_new_string(f->channel));
    json_object_object_add(o, "to", json_object_new_string(f->to));
    json_object_object_add(o, "sequence", json_object_new_uint64(f->sequence));
    if (!f->unfinished)
        return o;
    struct json_object *run = json_object_new_object();
    json_object_object_add(run, "events", json_object_new_uint64(f->events));
    json_object_object_add(run, "bytes", json_object_new_uint64(f->bytes));
    json_object_object_add(run, "first_seq", json_object_new_uint64(f->first_seq));
    json_object_object_add(run, "last_seq", json_object_new_uint64(f->last_seq));
    add_sum(run, "sum", f->sum);
    json_object_object_add(run, "pending", json_object_new_uint64(f->pending));
    add_sum(run, "pending_sum", f->pending_sum);
    json_object_object_add(o, "unfinished", run);
    return o;
}

static bool write_synced(const char *path, const char *text)
{
    size_t len = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    errno = EIO; /* for a short write */
    bool ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    int error = errno;
    ok = close(fd) == 0 && ok;
    errno = ok ? errno : error;
    return ok;
}

static bool sync_directory(const char *path)
{
    char *copy = strdup(path);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(copy);
    return ok;
}

int producer_file_save(const struct producer_file *f)
{
    char *temporary;
    if (asprintf(&temporary, "%s.new", f->path) < 0)
        return cli_error(CLI_FAILURE, "out of memory");
    struct json_object *o = to_json(f);
    const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
    bool ok = write_synced(temporary, text) && rename(temporary, f->path) == 0 && sync_directory(f->path);
    int code = ok ? CLI_OK : failed(f, "cannot write");
    json_object_put(o);
    free(temporary);
    return code;
}

/* ---- the command ---- */

/* Beside the file, which every change replaces. */
static int take_lock(struct producer_file *f)
{
    char *path;
    if (asprintf(&path, "%s.lock", f->path) < 0)
        return cli_error(CLI_FAILURE, "out of memory");
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (f->lock < 0)
        return failed(f, "cannot make its .lock");
    if (flock(f->lock, LOCK_EX | LOCK_NB) == 0)
        return CLI_OK;
    return errno == EWOULDBLOCK ? cli_error(CLI_FAILURE, "%s: in use by another publish", f->path)
                                : failed(f, "cannot lock");
}

static int begin(struct producer_file *f, const char *channel, const char *to)
{
    uint8_t id[PRODUCER_HEX / 2];
    if (getrandom(id, sizeof id, 0) != sizeof id)
        return failed(f, "no random bytes");
    for (size_t i = 0; i < sizeof id; i++)
        snprintf(f->id + 2 * i, 3, "%02x", id[i]);
    snprintf(f->channel, sizeof f->channel, "%s", channel);
    snprintf(f->to, sizeof f->to, "%s", to);
    return producer_file_save(f);
}

int producer_file_open(struct producer_file *f, const char *path, const char *channel, const char *to)
{
    *f = (struct producer_file){.path = path, .lock = -1};
    if (strlen(channel) >= sizeof f->channel || strlen(to) >= sizeof f->to)
        return cli_error(CLI_USAGE, "the channel's or the peer's name is too long");
    int code = take_lock(f);
    if (code == CLI_OK)
        code = load(f);
    if (code != CLI_OK)
        return code;
    if (!f->id[0])
        return begin(f, channel, to);
    if (strcmp(f->channel, channel) != 0 || strcmp(f->to, to) != 0)
        return cli_error(CLI_USAGE, "%s is for --to %s and the channel %s: each needs a file of its own", path, f->to,
                         f->channel);
    return CLI_OK;
}

void producer_file_close(struct producer_file *f)
{
    if (f->lock >= 0)
        close(f->lock);
}
