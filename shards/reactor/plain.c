/* The plain calls: blocking, for start-up, recovery and shutdown. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shards/reactor/reactor_internal.h"

static int result(int res)
{
    return res < 0 ? -errno : 0;
}

static int plain_open(struct io *io, const char *path, int flags, mode_t mode, io_handle *out)
{
    (void)io;
    *out = open(path, flags | O_CLOEXEC, mode);
    return result(*out);
}

static int plain_close(struct io *io, io_handle h)
{
    (void)io;
    return result(close(h));
}

static ssize_t plain_read(struct io *io, io_handle h, void *data, size_t len, uint64_t offset)
{
    (void)io;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(h, (char *)data + done, len - done, (off_t)(offset + done));
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)done;
}

static int plain_write(struct io *io, io_handle h, const void *data, size_t len, uint64_t offset)
{
    (void)io;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(h, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n == 0)
            return -EIO;
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int64_t plain_size(struct io *io, io_handle h)
{
    (void)io;
    struct stat st;
    return fstat(h, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? st.st_size : -EINVAL;
}

static int plain_truncate(struct io *io, io_handle h, uint64_t len)
{
    (void)io;
    return result(ftruncate(h, (off_t)len));
}

static int plain_sync(struct io *io, io_handle h)
{
    (void)io;
    return result(fsync(h));
}

static int plain_sync_dir(struct io *io, const char *path)
{
    (void)io;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = result(fsync(fd));
    close(fd);
    return err;
}

static int plain_lock(struct io *io, io_handle h)
{
    (void)io;
    return result(flock(h, LOCK_EX | LOCK_NB));
}

static int plain_mkdir(struct io *io, const char *path, mode_t mode)
{
    (void)io;
    return result(mkdir(path, mode));
}

static int plain_rmdir(struct io *io, const char *path)
{
    (void)io;
    return result(rmdir(path));
}

static int plain_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return result(rename(from, to));
}

static int plain_unlink(struct io *io, const char *path)
{
    (void)io;
    return result(unlink(path));
}

static void describe(DIR *dir, const struct dirent *e, struct io_dirent *out)
{
    struct stat st;
    snprintf(out->name, sizeof out->name, "%s", e->d_name);
    out->is_dir = e->d_type == DT_DIR;
    out->is_file = e->d_type == DT_REG;
    if (e->d_type == DT_UNKNOWN && fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        out->is_dir = S_ISDIR(st.st_mode);
        out->is_file = S_ISREG(st.st_mode);
    }
}

static int plain_list(struct io *io, const char *path, io_dir_fn *fn, void *ctx)
{
    (void)io;
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    int res = 0;
    while (res == 0) {
        struct io_dirent entry;
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e) {
            res = -errno;
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        describe(dir, e, &entry);
        res = fn(ctx, &entry);
    }
    closedir(dir);
    return res;
}

/* A throw-away connected socket knows the route and its MTU, learned path MTUs included. */
static int plain_path_payload(struct io *io, const struct io_addr *to)
{
    enum { V4_HEADERS = 20 + 8, V6_HEADERS = 40 + 8, V4_MAX = 65535 - V4_HEADERS, V6_MAX = 65535 - 8 };
    (void)io;
    bool v4 = addr_is_v4(to);
    union socket_addr addr;
    socklen_t len = addr_to_sockaddr(to, v4 ? AF_INET : AF_INET6, &addr);
    int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int mtu = 0;
    socklen_t mtu_len = sizeof mtu;
    int err = result(connect(fd, &addr.any, len));
    if (!err)
        err = result(getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &mtu_len));
    close(fd);
    if (err)
        return err;
    int payload = mtu - (v4 ? V4_HEADERS : V6_HEADERS), most = v4 ? V4_MAX : V6_MAX;
    return payload < 0 ? -EMSGSIZE : payload < most ? payload : most;
}

static void plain_boot_id(struct io *io, uint8_t out[16])
{
    static const char hex[] = "0123456789abcdef";
    (void)io;
    char text[64] = "";
    memset(out, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    unsigned digits = 0;
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        const char *digit = strchr(hex, text[i]);
        if (!digit || !text[i])
            continue; /* a dash */
        unsigned value = (unsigned)(digit - hex);
        out[digits / 2] |= (uint8_t)(digits % 2 ? value : value << 4);
        digits++;
    }
    if (digits != 32)
        memset(out, 0, 16);
}

const struct io_plain reactor_plain = {
    .open = plain_open,
    .close = plain_close,
    .read = plain_read,
    .write = plain_write,
    .size = plain_size,
    .truncate = plain_truncate,
    .sync = plain_sync,
    .sync_dir = plain_sync_dir,
    .lock = plain_lock,
    .mkdir = plain_mkdir,
    .rmdir = plain_rmdir,
    .rename = plain_rename,
    .unlink = plain_unlink,
    .list = plain_list,
    .path_payload = plain_path_payload,
    .boot_id = plain_boot_id,
};
