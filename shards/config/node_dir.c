/*
 * `init`: makes a node's directory. Keys are made once, with O_EXCL, and nothing here ever replaces one. What a failed
 * call made, it takes away again.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "core/identity/identity.h"
#include "shards/config/config_internal.h"

/* What makes a directory a node's: any of these. */
static const char *const contents[] = {"identity",  "noise.key",  "psk",   "admin.token", "readonly.token",
                                       "node.yaml", "peers.yaml", "redex", "redex-from",  "redex-follow"};
enum { CONTENTS = sizeof contents / sizeof contents[0] };

struct maker {
    const char *dir;
    int fd; /* of the directory */
    bool made_dir;
    const char *made[CONTENTS]; /* names made by this call */
    size_t made_count;
    struct config_error *error;
};

static int io_error(struct maker *m, const char *name, const char *what)
{
    int err = errno;
    config_fail(m->error, "%s/%s: cannot %s: %s", m->dir, name, what, strerror(err));
    return err == EEXIST ? NET_ERR_EXISTS : net_err_from_errno(err) == NET_ERR_NO_SPACE ? NET_ERR_NO_SPACE : NET_ERR_IO;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return fsync(fd);
}

/* A new file, on disk when this returns. */
static int make_file(struct maker *m, const char *name, const char *text)
{
    int fd = openat(m->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_error(m, name, "create");
    int err = write_all(fd, text, strlen(text)) == 0 ? NET_OK : io_error(m, name, "write");
    close(fd);
    if (err)
        unlinkat(m->fd, name, 0);
    return err;
}

static int add_file(struct maker *m, const char *name, const char *text)
{
    int err = make_file(m, name, text);
    if (!err)
        m->made[m->made_count++] = name;
    return err;
}

static int add_dir(struct maker *m, const char *name)
{
    if (mkdirat(m->fd, name, 0700) != 0)
        return io_error(m, name, "create");
    m->made[m->made_count++] = name;
    return NET_OK;
}

static int add_secret(struct maker *m, const char *name, const uint8_t secret[32])
{
    char text[66];
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", secret[i]);
    memcpy(text + 64, "\n", 2);
    int err = add_file(m, name, text);
    secure_wipe(text, sizeof text);
    return err;
}

static int draw(struct maker *m, uint8_t out[32])
{
    size_t got = 0;
    while (got < 32) {
        ssize_t n = getrandom(out + got, 32 - got, 0);
        if (n < 0 && errno != EINTR) {
            config_fail(m->error, "cannot get random bytes: %s", strerror(errno));
            return NET_ERR_IO;
        }
        if (n > 0)
            got += (size_t)n;
    }
    return NET_OK;
}

/* One in 65,536 seeds gives a node id that no node may have (wire.md 11.6): draw again. */
static int draw_seed(struct maker *m, struct crypto *crypto, uint8_t seed[32])
{
    struct identity id;
    int err;
    do {
        err = draw(m, seed);
        if (!err && (err = identity_init(&id, crypto, seed)) == NET_OK) {
            identity_deinit(&id);
            return NET_OK;
        }
    } while (err == NET_ERR_INVALID);
    return err;
}

static int add_identity(struct maker *m)
{
    struct crypto *crypto;
    uint8_t seed[32];
    int err = crypto_init(&crypto, NULL);
    if (err) {
        config_fail(m->error, "cannot set up libcrypto: %s", net_err_text(err));
        return err;
    }
    err = draw_seed(m, crypto, seed);
    if (!err)
        err = add_secret(m, "identity", seed);
    crypto_deinit(crypto);
    secure_wipe(seed, sizeof seed);
    return err;
}

static int add_drawn(struct maker *m, const char *name)
{
    uint8_t secret[32];
    int err = draw(m, secret);
    if (!err)
        err = add_secret(m, name, secret);
    secure_wipe(secret, sizeof secret);
    return err;
}

static int add_psk(struct maker *m, const char *psk_file)
{
    uint8_t psk[32];
    if (!psk_file)
        return add_drawn(m, "psk");
    int err = secret_read(psk_file, psk, m->error);
    if (!err)
        err = add_secret(m, "psk", psk);
    secure_wipe(psk, sizeof psk);
    return err;
}

/* Names made must not be lost with the directory's own entry. */
static int sync_dirs(struct maker *m)
{
    int parent = openat(m->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fsync(m->fd) == 0 && parent >= 0 && fsync(parent) == 0 ? NET_OK : io_error(m, ".", "sync");
    if (parent >= 0)
        close(parent);
    return err;
}

static void take_back(struct maker *m)
{
    while (m->made_count) {
        const char *name = m->made[--m->made_count];
        if (unlinkat(m->fd, name, 0) != 0)
            unlinkat(m->fd, name, AT_REMOVEDIR);
    }
    if (m->made_dir)
        rmdir(m->dir);
}

/* node.yaml comes last: a directory that has one is whole. */
static int make_everything(struct maker *m, const struct node_dir_init *init, const char *yaml)
{
    int err = add_psk(m, init->psk_file);
    if (!err)
        err = add_identity(m);
    if (!err)
        err = add_drawn(m, "noise.key");
    if (!err)
        err = add_drawn(m, "admin.token");
    if (!err)
        err = add_drawn(m, "readonly.token");
    if (!err)
        err = add_dir(m, "redex");
    if (!err)
        err = add_dir(m, "redex-from");
    if (!err)
        err = add_dir(m, "redex-follow");
    if (!err)
        err = add_file(m, "node.yaml", yaml);
    if (!err)
        err = sync_dirs(m);
    if (err)
        take_back(m);
    return err;
}

/* --force keeps the psk there is; asking for another one would be ignored silently. */
static int check_same_psk(struct maker *m, const char *psk_file)
{
    uint8_t theirs[32], ours[32];
    char path[CONFIG_PATH_MAX];
    if (!psk_file)
        return NET_OK;
    int err = file_path(m->dir, "psk", path, m->error);
    if (!err)
        err = secret_read(psk_file, theirs, m->error);
    if (!err)
        err = secret_read(path, ours, m->error);
    if (!err && !secure_equal(theirs, ours, sizeof ours)) {
        config_fail(m->error, "%s: is not the psk of %s, and --force rewrites node.yaml only", path, psk_file);
        err = NET_ERR_EXISTS;
    }
    secure_wipe(theirs, sizeof theirs);
    secure_wipe(ours, sizeof ours);
    return err;
}

static int replace_yaml(struct maker *m, const char *yaml)
{
    static const char temporary[] = "node.yaml.new";
    unlinkat(m->fd, temporary, 0); /* left by a call that was cut off */
    int err = make_file(m, temporary, yaml);
    if (!err && renameat(m->fd, temporary, m->fd, "node.yaml") != 0) {
        err = io_error(m, "node.yaml", "replace");
        unlinkat(m->fd, temporary, 0);
    }
    return err ? err : sync_dirs(m);
}

static const char *first_content(int dir)
{
    struct stat st;
    for (size_t i = 0; i < CONTENTS; i++)
        if (fstatat(dir, contents[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            return contents[i];
    return NULL;
}

/* What a disk mounted for the node brings along does not count. */
static bool is_empty(int dir)
{
    static const char *const no_content[] = {".", "..", "lost+found"};
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (!entries) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(entries)) != NULL;) {
        empty = false;
        for (size_t i = 0; i < sizeof no_content / sizeof no_content[0]; i++)
            empty |= strcmp(e->d_name, no_content[i]) == 0;
    }
    closedir(entries);
    return empty;
}

static int open_dir(struct maker *m)
{
    m->made_dir = mkdir(m->dir, 0700) == 0;
    if (!m->made_dir && errno != EEXIST) {
        config_fail(m->error, "%s: cannot create: %s", m->dir, strerror(errno));
        return NET_ERR_IO;
    }
    m->fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->fd >= 0)
        return NET_OK;
    config_fail(m->error, "%s: cannot open: %s", m->dir, strerror(errno));
    return NET_ERR_IO;
}

int node_dir_create(const struct node_dir_init *init, struct config_error *error)
{
    struct maker m = {.dir = init->dir, .error = error};
    char *yaml = config_render(init->overrides, init->override_count, error);
    if (!yaml)
        return NET_ERR_INVALID;
    int err = open_dir(&m);
    if (!err) {
        const char *there = first_content(m.fd);
        if (!there && !is_empty(m.fd)) {
            config_fail(error, "%s: is neither empty nor a node's directory; give a new or an empty one", m.dir);
            err = NET_ERR_EXISTS;
        } else if (!there)
            err = make_everything(&m, init, yaml);
        else if (init->force && (err = check_same_psk(&m, init->psk_file)) == NET_OK)
            err = replace_yaml(&m, yaml);
        else if (!init->force) {
            config_fail(error,
                        "%s: is a node's directory already (it has %s); --force rewrites node.yaml, never keys or logs",
                        m.dir, there);
            err = NET_ERR_EXISTS;
        }
        close(m.fd);
    }
    free(yaml);
    return err;
}
