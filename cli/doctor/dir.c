/* Facts about a node's directory: its files, its disk, its ports, the ways to its peers, and the node that runs there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/doctor/doctor.h"
#include "core/base/err.h"
#include "core/base/text.h"

/* ---- files ---- */

/* The first trouble of each kind. */
static void on_trouble(void *ctx, enum check_kind kind, const char *text)
{
    struct doctor_dir *d = ctx;
    char *to = kind == CHECK_SECRET ? d->secrets : kind == CHECK_CONFIG ? d->config : d->warning;
    if (!*to)
        snprintf(to, sizeof d->config, "%s", text);
}

static void look_at_files(struct doctor_dir *d, struct config *config, struct peers_file *peers)
{
    struct config_error error;
    node_dir_check(d->dir, NULL, 0, on_trouble, d);
    if (config_load(d->dir, NULL, 0, config, &error) != NET_OK)
        config_defaults(config);
    if (peers_file_load(d->dir, peers, &error) != NET_OK)
        *peers = (struct peers_file){0};
}

static void look_at_disk(struct doctor_dir *d)
{
    static const struct {
        long magic;
        const char *name;
        bool network, overlay, memory;
    } types[] = {
        {0xef53, "ext4", 0, 0, 0},      {0x58465342, "xfs", 0, 0, 0},       {0x9123683e, "btrfs", 0, 0, 0},
        {0x2fc12fc1, "zfs", 0, 0, 0},   {0xf2f52010, "f2fs", 0, 0, 0},      {0x01021994, "tmpfs", 0, 0, 1},
        {0x858458f6, "ramfs", 0, 0, 1}, {0x794c7630, "overlayfs", 0, 1, 0}, {0x6969, "nfs", 1, 0, 0},
        {0x517b, "smb", 1, 0, 0},       {0xff534d42, "cifs", 1, 0, 0},      {0xfe534d42, "smb2", 1, 0, 0},
        {0x01021997, "9p", 1, 0, 0},    {0x65735546, "fuse", 1, 0, 0},      {0x00c36400, "ceph", 1, 0, 0},
        {0x47504653, "gpfs", 1, 0, 0},  {0x0bd00bd0, "lustre", 1, 0, 0},    {0x5346414f, "afs", 1, 0, 0},
    };
    struct statfs fs;
    struct statvfs room;
    if (statfs(d->dir, &fs) == 0) {
        snprintf(d->disk.type, sizeof d->disk.type, "type 0x%lx", (unsigned long)fs.f_type & 0xffffffff);
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
            if ((fs.f_type & 0xffffffff) == types[i].magic) {
                snprintf(d->disk.type, sizeof d->disk.type, "%s", types[i].name);
                d->disk.network = types[i].network;
                d->disk.overlay = types[i].overlay;
                d->disk.memory = types[i].memory;
            }
    }
    if (statvfs(d->dir, &room) == 0) {
        d->disk.read_only = room.f_flag & ST_RDONLY;
        d->disk.free = (uint64_t)room.f_bavail * room.f_frsize;
        d->disk.total = (uint64_t)room.f_blocks * room.f_frsize;
        d->disk.inodes_free = room.f_favail;
        d->disk.inodes = room.f_files;
    }
}

/* ---- ports ---- */

static socklen_t to_sockaddr(const struct io_addr *a, struct sockaddr_storage *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(out, 0, sizeof *out);
    if (memcmp(a->ip, mapped, sizeof mapped) == 0) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip + 12, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->port);
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof *in6;
}

/* Binds as a node would, and lets go at once: 0 or errno. */
static int try_to_bind(const struct io_addr *a, int type)
{
    struct sockaddr_storage addr;
    socklen_t len = to_sockaddr(a, &addr);
    int on = 1, off = 0, fd = socket(addr.ss_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (addr.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int err = bind(fd, (struct sockaddr *)&addr, len) != 0 ? errno : 0;
    close(fd);
    return err;
}

/* A socket that somebody listens on is in use; one that nobody does is left over, and a node replaces it. */
static int try_unix(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        return ENAMETOOLONG;
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int err = connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ? errno : 0;
    close(fd);
    return err == 0 || err == EAGAIN ? EADDRINUSE : err == ENOENT || err == ECONNREFUSED ? 0 : err;
}

static void look_at_ports(struct doctor_dir *d, const struct config *config)
{
    config_format_addr(&config->listen, d->listen);
    d->listen_error = try_to_bind(&config->listen, SOCK_DGRAM);
    if (!endpoint_format_admin(config, d->dir, d->admin, sizeof d->admin)) {
        d->admin_error = ENAMETOOLONG;
        return;
    }
    d->admin_error =
        config->admin.is_unix ? try_unix(d->admin + strlen("unix:")) : try_to_bind(&config->admin.addr, SOCK_STREAM);
}

/* ---- peers ---- */

static void look_at_path(struct doctor_path *p, const struct io_addr *to)
{
    struct sockaddr_storage addr;
    socklen_t len = to_sockaddr(to, &addr);
    int mtu = 0, fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t room = sizeof mtu;
    config_format_addr(to, p->addr);
    p->v4 = addr.ss_family == AF_INET;
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, len) != 0 ||
        getsockopt(fd, p->v4 ? IPPROTO_IP : IPPROTO_IPV6, p->v4 ? IP_MTU : IPV6_MTU, &mtu, &room) != 0)
        p->error = errno;
    p->mtu = (unsigned)mtu;
    if (fd >= 0)
        close(fd);
}

static void look_at_paths(struct doctor_dir *d, const struct peers_file *peers)
{
    d->paths = calloc(peers->peer_count + 1, sizeof *d->paths);
    for (size_t i = 0; d->paths && i < peers->peer_count; i++)
        if (peers->peers[i].has_addr) {
            struct doctor_path *p = &d->paths[d->path_count++];
            p->name = peers->peers[i].name;
            look_at_path(p, &peers->peers[i].addr);
        }
}

/* ---- the node that runs ---- */

/* Looked at without making the file; the lock is ours for a moment only. */
static bool is_locked(const char *dir)
{
    char path[CONFIG_PATH_MAX + 8];
    text_format(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return locked;
}

static void ask_node(struct doctor_dir *d, const struct cli_args *args)
{
    struct cli_args to_dir = *args;
    struct client c;
    to_dir.value[OPTION_ENDPOINT] = d->dir;
    d->asked = true;
    if (client_open(&c, &to_dir) == CLI_OK) {
        enum http_result result = client_send_head(&c, "GET", "/readyz", NULL, 0);
        if (result == HTTP_DONE || result == HTTP_ANSWERED)
            result = http_receive(&c.http);
        if (result == HTTP_DONE) {
            d->ready_status = c.http.status;
            snprintf(d->ready, sizeof d->ready, "%s", c.http.body ? c.http.body : "");
            d->ready[strcspn(d->ready, "\n")] = '\0';
        } else
            client_failed(&c, result);
    }
    client_close(&c);
}

void doctor_look_at_dir(struct doctor_dir *d, const struct cli_args *args, const char *dir, struct config *config,
                        struct peers_file *peers)
{
    struct stat st;
    *d = (struct doctor_dir){.dir = dir};
    *peers = (struct peers_file){0};
    config_defaults(config);
    d->error = stat(dir, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    if (d->error)
        return;
    d->mode = st.st_mode & 07777;
    d->mine = st.st_uid == geteuid();
    d->writable = access(dir, W_OK | X_OK) == 0;
    look_at_files(d, config, peers);
    look_at_disk(d);
    d->running = is_locked(dir);
    look_at_ports(d, config);
    look_at_paths(d, peers);
    if (d->writable && !d->disk.read_only)
        doctor_measure_sync(d, cli_has(args, OPTION_QUIET));
    if (d->running && !*d->config && !*d->secrets)
        ask_node(d, args);
}
