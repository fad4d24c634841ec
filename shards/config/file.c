/* Plain reading of small files; only start-up and tools come here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "shards/config/config_internal.h"

int file_path(const char *dir, const char *name, char out[CONFIG_PATH_MAX], struct config_error *error)
{
    int n = snprintf(out, CONFIG_PATH_MAX, "%s/%s", dir, name);
    return n < CONFIG_PATH_MAX ? NET_OK : config_fail(error, "the path %.100s... is too long", dir);
}

static int read_all(int fd, size_t max, char **text, size_t *len)
{
    size_t size = 0, room = 4096;
    char *data = malloc(room);
    while (data) {
        ssize_t n = read(fd, data + size, room - size - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            data[size] = '\0';
            *text = data;
            *len = size;
            return n == 0 ? NET_OK : NET_ERR_IO;
        }
        size += (size_t)n;
        if (size > max) {
            *text = data;
            return NET_ERR_TOO_LARGE;
        }
        if (room - size < 2) {
            char *grown = realloc(data, room *= 2);
            if (!grown)
                free(data);
            data = grown;
        }
    }
    *text = NULL;
    return NET_ERR_NO_MEMORY;
}

int file_read(const char *path, size_t max, char **text, size_t *len, struct config_error *error)
{
    *text = NULL;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe must not make us wait */
    if (fd < 0) {
        int err = errno;
        config_fail(error, "%s: cannot open: %s", path, strerror(err));
        return err == ENOENT || err == ENOTDIR ? NET_ERR_NOT_FOUND : NET_ERR_IO;
    }
    struct stat st;
    int err = fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) ? NET_ERR_INVALID : read_all(fd, max, text, len);
    if (err == NET_ERR_INVALID)
        config_fail(error, "%s: found something that is not a file, allowed: a file", path);
    else if (err == NET_ERR_TOO_LARGE)
        config_fail(error, "%s: found more than %zu bytes, allowed: at most that", path, max);
    else if (err)
        config_fail(error, "%s: cannot read: %s", path, err == NET_ERR_IO ? strerror(errno) : net_err_text(err));
    close(fd);
    if (err) {
        free(*text);
        *text = NULL;
    }
    return err;
}
