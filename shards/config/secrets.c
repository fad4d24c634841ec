/* Secrets in files: 64 hex digits, for their owner's eyes only. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/config/config_internal.h"

static int check_mode(int fd, const char *path, struct config_error *error)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        config_fail(error, "%s: cannot look at it: %s", path, strerror(errno));
        return NET_ERR_IO;
    }
    if (!S_ISREG(st.st_mode))
        return config_fail(error, "%s: found something that is not a file, allowed: a file with 64 hex digits", path);
    if (st.st_mode & 077)
        return config_fail(error, "%s: found mode %04o, which lets others at a secret, allowed: 0600 (chmod 600 %s)",
                           path, (unsigned)(st.st_mode & 07777), path);
    return NET_OK;
}

/* The 64 characters into `text`; "" when the file is longer or shorter than they and an LF. */
static int read_characters(const char *path, char text[65], struct config_error *error)
{
    char found[80]; /* more than right, so that too much is seen */
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe must not make us wait */
    if (fd < 0) {
        int err = errno;
        config_fail(error, "%s: cannot open: %s", path, strerror(err));
        return err == ENOENT || err == ENOTDIR ? NET_ERR_NOT_FOUND : NET_ERR_IO;
    }
    int err = check_mode(fd, path, error);
    while (!err && len < sizeof found) {
        ssize_t n = read(fd, found + len, sizeof found - len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t)n;
        else if (errno != EINTR) {
            config_fail(error, "%s: cannot read: %s", path, strerror(errno));
            err = NET_ERR_IO;
        }
    }
    close(fd);
    bool shaped = len == 64 || (len == 65 && found[64] == '\n');
    if (!err) {
        memcpy(text, found, 64);
        text[shaped ? 64 : 0] = '\0';
    }
    secure_wipe(found, sizeof found);
    return err;
}

int secret_read(const char *path, uint8_t out[32], struct config_error *error)
{
    char text[65];
    int err = admin_token_load(path, text, error);
    if (!err)
        err = config_parse_key(text, out);
    secure_wipe(text, sizeof text);
    return err;
}

int admin_token_load(const char *path, char token[65], struct config_error *error)
{
    uint8_t key[32];
    int err = read_characters(path, token, error);
    /* The message does not show what was found: it may be a secret with a slip in it. */
    if (!err && config_parse_key(token, key) != NET_OK)
        err = config_fail(error, "%s: found something else, allowed: 64 hex digits and a line feed", path);
    secure_wipe(key, sizeof key);
    return err;
}

int node_dir_load_tokens(const char *dir, struct node_tokens *t, struct config_error *error)
{
    char path[CONFIG_PATH_MAX];
    int err = file_path(dir, "admin.token", path, error);
    memset(t, 0, sizeof *t);
    if (!err)
        err = admin_token_load(path, t->admin, error);
    if (!err)
        err = file_path(dir, "readonly.token", path, error);
    if (!err)
        err = admin_token_load(path, t->readonly, error);
    if (err == NET_ERR_NOT_FOUND && t->admin[0]) {
        t->readonly[0] = '\0'; /* directories that were made before it, or it is not wanted */
        err = NET_OK;
    }
    if (err)
        secure_wipe(t, sizeof *t);
    return err;
}

int node_dir_load_secrets(const char *dir, struct node_secrets *s, struct config_error *error)
{
    const struct {
        const char *name;
        uint8_t *out;
    } files[] = {{"identity", s->seed}, {"noise.key", s->static_secret}, {"psk", s->psk}};
    char path[CONFIG_PATH_MAX];
    int err = NET_OK;
    memset(s, 0, sizeof *s);
    for (size_t i = 0; !err && i < sizeof files / sizeof files[0]; i++) {
        err = file_path(dir, files[i].name, path, error);
        if (!err)
            err = secret_read(path, files[i].out, error);
    }
    if (!err)
        err = node_dir_load_tokens(dir, &s->tokens, error);
    if (err)
        node_secrets_wipe(s);
    return err;
}

void node_secrets_wipe(struct node_secrets *s)
{
    secure_wipe(s, sizeof *s);
}
