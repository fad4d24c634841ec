/* The start: every log there is on disk, of the channels this shard owns. */
#include <errno.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/logs/log.h"

struct scan {
    struct shard *shard;
    uint64_t origin;
    bool followed; /* below redex-follow */
    char path[CONFIG_PATH_MAX + 512];
    size_t base_len; /* of the part that is not the channel's name */
    struct config_error *error;
    int err;               /* what ended the scan, 0 so far */
    bool is_log, is_named; /* has a manifest, has a name: log.id */
    int depth;
};

enum { SCAN_GO_ON = 0, SCAN_STOP = 1, SCAN_DEPTH = 128 };

static int scan_directory(struct scan *);

static int scan_failed(struct scan *sc, int err, const char *what, const char *why)
{
    sc->err = err;
    text_format(sc->error->text, sizeof sc->error->text, "%s: %s: %s", sc->path, what, why);
    return SCAN_STOP;
}

/* CHANNEL, or CHANNEL~N: log.h, log_directory(). False: neither. */
static bool parse_followed(const char *text, struct channel_name *channel, uint32_t *edition)
{
    const char *mark = strchr(text, '~');
    uint64_t number = 0;
    if (mark &&
        (mark[1] < '1' || mark[1] > '9' || config_parse_number(mark + 1, &number) != NET_OK || number >= UINT32_MAX))
        return false;
    *edition = (uint32_t)number + 1;
    return channel_name_parse(text, mark ? (size_t)(mark - text) : strlen(text), channel) == CHANNEL_NAME_OK;
}

static int open_found(struct scan *sc)
{
    const char *name = sc->path + sc->base_len + 1;
    struct channel_name channel;
    uint32_t edition = 0;
    if (sc->followed ? !parse_followed(name, &channel, &edition)
                     : channel_name_parse(name, strlen(name), &channel) != CHANNEL_NAME_OK)
        return SCAN_GO_ON; /* a stranger's directory: not ours to touch */
    if (sc->followed && !sc->is_named)
        return SCAN_GO_ON; /* its making did not come to its end; the next that is followed takes its place */
    uint64_t hash = channel_hash(channel.text, channel.len);
    if (log_owner(sc->shard->node, hash) != sc->shard->index)
        return SCAN_GO_ON;
    if (config_channel(sc->shard->config, channel.text)->log != LOG_DISK)
        return SCAN_GO_ON; /* the channel is kept elsewhere now; what it has on disk waits for the setting to return */
    struct log *log;
    int err = log_open(sc->shard, (struct log_key){sc->origin, hash, edition}, &channel, &log);
    if (err == NET_ERR_LIMIT)
        return scan_failed(sc, err, "cannot open the log", "more logs than limits.channels allows");
    return err ? scan_failed(sc, err, "cannot open the log", net_err_text(err)) : SCAN_GO_ON;
}

static int on_entry(void *ctx, const struct io_dirent *entry)
{
    struct scan *sc = ctx;
    if (strcmp(entry->name, "manifest") == 0 && entry->is_file)
        sc->is_log = true;
    if (strcmp(entry->name, "log.id") == 0 && entry->is_file)
        sc->is_named = true;
    size_t len = strlen(sc->path), more = strlen(entry->name);
    if (!entry->is_dir || sc->depth >= SCAN_DEPTH || len + 1 + more + 1 > sizeof sc->path)
        return SCAN_GO_ON;
    sc->path[len] = '/';
    memcpy(sc->path + len + 1, entry->name, more + 1);
    bool is_log = sc->is_log, is_named = sc->is_named;
    sc->depth++;
    int stop = scan_directory(sc);
    sc->depth--;
    sc->is_log = is_log;
    sc->is_named = is_named;
    if (!stop)
        sc->path[len] = '\0';
    return stop;
}

/* A channel root is a directory with a manifest; names nest, so its subdirectories may be channels too. */
static int scan_directory(struct scan *sc)
{
    struct io *io = sc->shard->io;
    sc->is_log = sc->is_named = false;
    int res = io->plain->list(io, sc->path, on_entry, sc);
    if (res == SCAN_STOP || res == -ENOENT)
        return res == SCAN_STOP;
    if (res < 0)
        return scan_failed(sc, NET_ERR_IO, "cannot list", strerror(-res));
    return sc->is_log && strlen(sc->path) > sc->base_len ? open_found(sc) : SCAN_GO_ON;
}

static int scan_base(struct scan *sc, uint64_t origin)
{
    sc->origin = origin;
    log_directory(sc->shard->node, (struct log_key){origin, 0, sc->followed}, sc->path, CONFIG_PATH_MAX);
    sc->base_len = strlen(sc->path);
    sc->depth = 0;
    return scan_directory(sc);
}

static int on_origin(void *ctx, const struct io_dirent *entry)
{
    uint64_t origin;
    if (!entry->is_dir || strlen(entry->name) != 18 || config_parse_id(entry->name, &origin) != NET_OK || origin == 0)
        return SCAN_GO_ON;
    return scan_base(ctx, origin);
}

/* What came from peers live, or what was taken from their logs. */
static int scan_origins(struct scan *sc, bool followed)
{
    const char *name = followed ? "redex-follow" : "redex-from";
    char path[CONFIG_PATH_MAX + 16];
    sc->followed = followed;
    text_format(path, sizeof path, "%s/%s", sc->shard->node->dir, name);
    int res = sc->shard->io->plain->list(sc->shard->io, path, on_origin, sc);
    if (res >= 0 || res == -ENOENT)
        return res > 0 ? SCAN_STOP : SCAN_GO_ON;
    text_format(sc->path, sizeof sc->path, "%s", path);
    return scan_failed(sc, NET_ERR_IO, "cannot list", strerror(-res));
}

static bool any_on_disk(const struct config *c)
{
    bool any = c->channel.log == LOG_DISK;
    for (uint32_t i = 0; i < c->rule_count; i++)
        any |= c->rules[i].settings.log == LOG_DISK;
    return any;
}

int log_open_all(struct shard *s, struct config_error *error)
{
    if (!any_on_disk(s->config))
        return NET_OK;
    struct scan *sc = calloc(1, sizeof *sc);
    if (!sc)
        return NET_ERR_NO_MEMORY;
    sc->shard = s;
    sc->error = error;
    if (scan_base(sc, 0) == SCAN_GO_ON && scan_origins(sc, false) == SCAN_GO_ON)
        scan_origins(sc, true);
    int err = sc->err;
    free(sc);
    return err;
}
