/* What the facts about a node's directory mean. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor/doctor.h"

#define MIB (UINT64_C(1) << 20)
#define MS UINT64_C(1000000)

enum {
    IP4_OVERHEAD = 28, /* IP and UDP headers, bytes */
    IP6_OVERHEAD = 48,
    DATAGRAM_LEAST = 1200, /* that a node ever sends as its largest */
};

static void judge_directory(struct doctor_report *r, const struct doctor_dir *d)
{
    struct doctor_check *c = doctor_found(r, "directory", "%s, mode %04o", d->dir, d->mode);
    if (!d->writable)
        doctor_wrong(c, DOCTOR_FAIL, "this user may not write there",
                     "run the node, and this command, as the directory's owner; or chown -R USER %s", d->dir);
    else if (!d->mine)
        doctor_wrong(c, DOCTOR_WARN, "it belongs to another user: files made now will not be the node's own",
                     "run this command as the user the node runs as, or chown -R USER %s", d->dir);
    if (d->mode & 077)
        doctor_wrong(c, DOCTOR_WARN, "others may look into it", "chmod 700 %s", d->dir);
}

/* Their troubles are sentences that name file, place and what is allowed. */
static void judge_files(struct doctor_report *r, const struct doctor_dir *d)
{
    struct doctor_check *c =
        doctor_found(r, "secrets", "%s", *d->secrets ? d->secrets : "for their owner alone, and well formed");
    if (*d->secrets)
        doctor_wrong(c, DOCTOR_FAIL, "a node does not start with it",
                     "do what the message says (chmod 600), or bring the file back from a copy of %s", d->dir);
    c = doctor_found(r, "config", "%s",
                     *d->config    ? d->config
                     : *d->warning ? d->warning
                                   : "node.yaml and peers.yaml are good");
    if (*d->config)
        doctor_wrong(
            c, DOCTOR_FAIL, "a node does not start with it",
            "correct the line (net-mesh config check %s shows all there is); `net-mesh init %s --force` writes a "
            "good node.yaml and keeps keys and logs",
            d->dir, d->dir);
    else if (*d->warning)
        doctor_wrong(c, DOCTOR_WARN, "it is legal, and may not be meant", "net-mesh config check %s shows all there is",
                     d->dir);
}

static void judge_file_system(struct doctor_report *r, const struct doctor_dir *d)
{
    struct doctor_check *c =
        doctor_found(r, "file_system", "%s%s", d->disk.type, d->disk.read_only ? ", read-only" : "");
    static const char elsewhere[] =
        "keep %s on a local disk (ext4, xfs): move it there, or mount a volume at its place";
    if (d->disk.read_only)
        doctor_wrong(c, DOCTOR_FAIL, "nothing can be stored",
                     "mount -o remount,rw `findmnt -no TARGET -T %s`; the kernel's log says why it is read-only",
                     d->dir);
    else if (d->disk.memory)
        doctor_wrong(c, DOCTOR_WARN, "it is memory: logs and keys are gone when the machine stops", elsewhere, d->dir);
    else if (d->disk.network)
        doctor_wrong(c, DOCTOR_WARN, "what sync and locks promise there depends on another machine", elsewhere, d->dir);
    else if (d->disk.overlay)
        doctor_wrong(c, DOCTOR_WARN, "it is a container's own layer: logs and keys are gone with the container",
                     elsewhere, d->dir);
}

static void judge_space(struct doctor_report *r, const struct doctor_dir *d)
{
    struct doctor_check *c = doctor_found(r, "disk_space", "%" PRIu64 " MiB of %" PRIu64 " MiB free",
                                          d->disk.free / MIB, d->disk.total / MIB);
    if (d->disk.inodes) {
        size_t len = strlen(c->found);
        snprintf(c->found + len, sizeof c->found - len, ", %" PRIu64 " inodes", d->disk.inodes_free);
    }
    static const char remedy[] = "free some, or bound the logs by channels.retention_bytes in %s/node.yaml";
    if (d->disk.free < 64 * MIB)
        doctor_wrong(c, DOCTOR_FAIL, "the disk is full: publishing will be refused", remedy, d->dir);
    else if (d->disk.free < 1024 * MIB || d->disk.free < d->disk.total / 50)
        doctor_wrong(c, DOCTOR_WARN, "the disk is nearly full", remedy, d->dir);
    if (d->disk.inodes && d->disk.inodes_free < 100)
        doctor_wrong(c, DOCTOR_FAIL, "no more files can be made: no channel can be opened",
                     "remove small files; `df -i %s`", d->dir);
    else if (d->disk.inodes && d->disk.inodes_free < 10000)
        doctor_wrong(c, DOCTOR_WARN, "few more files can be made; a log takes five", "remove small files; `df -i %s`",
                     d->dir);
}

static void judge_sync(struct doctor_report *r, const struct doctor_dir *d)
{
    if (d->sync.error) {
        doctor_wrong(doctor_found(r, "disk_sync", "%s", strerror(d->sync.error)), DOCTOR_FAIL,
                     "writing and syncing a file in the directory failed",
                     "look into the kernel's log (dmesg) for the disk, and at `df %s`", d->dir);
        return;
    }
    if (d->sync.count == 0) {
        doctor_found(r, "disk_sync", "not tried: nothing can be written");
        return;
    }
    struct doctor_check *c = doctor_found(r, "disk_sync", "p50 %.2f ms, p99 %.2f ms for 4 KiB (%u syncs)",
                                          (double)d->sync.p50_ns / 1e6, (double)d->sync.p99_ns / 1e6, d->sync.count);
    if (d->sync.p99_ns > 100 * MS)
        doctor_wrong(c, DOCTOR_WARN, "a durable publish waits that long, now and then",
                     "put %s on a disk of its own, best an SSD with power-loss protection; look for what else writes "
                     "there (iotop)",
                     d->dir);
    else if (d->sync.p50_ns < 20000 && !d->disk.memory)
        doctor_wrong(c, DOCTOR_WARN, "no disk is that fast: something takes syncs and does not write",
                     "look for libeatmydata in LD_PRELOAD, for a hypervisor's cache=unsafe, and for nobarrier in the "
                     "mount options of %s",
                     d->dir);
}

static void judge_port(struct doctor_report *r, const struct doctor_dir *d, const char *name, const char *addr, int err,
                       const char *protocol)
{
    const char *port = strrchr(addr, ':');
    bool ours = err == EADDRINUSE && d->running;
    struct doctor_check *c = doctor_found(r, name, "%s: %s", addr,
                                          ours       ? "in use by this node"
                                          : err == 0 ? "free"
                                                     : strerror(err));
    if (ours || err == 0)
        return;
    if (err == EADDRINUSE && strncmp(addr, "unix:", 5) == 0)
        doctor_wrong(c, DOCTOR_FAIL, "another process listens there", "see who: fuser %s", addr + 5);
    else if (err == EADDRINUSE)
        doctor_wrong(c, DOCTOR_FAIL, "another process has the port",
                     "see who: ss -Hnp%s 'sport = %s'; or choose another in %s/node.yaml", protocol, port, d->dir);
    else if (err == EACCES)
        doctor_wrong(c, DOCTOR_FAIL, "this user may not take the port",
                     "choose one from 1024 on, or setcap cap_net_bind_service=+ep `command -v net-mesh`");
    else if (err == EADDRNOTAVAIL)
        doctor_wrong(c, DOCTOR_FAIL, "no interface of this machine has that address",
                     "ip address show; then correct %s/node.yaml", d->dir);
    else
        doctor_wrong(c, DOCTOR_FAIL, "the address cannot be used", "correct %s/node.yaml", d->dir);
}

static unsigned carries(const struct doctor_path *p)
{
    unsigned overhead = p->v4 ? IP4_OVERHEAD : IP6_OVERHEAD;
    return p->mtu > overhead ? p->mtu - overhead : 0;
}

static void judge_path(struct doctor_check *c, const struct doctor_path *p, const struct config *config,
                       const char *dir)
{
    char wrong[256];
    if (p->error) {
        snprintf(wrong, sizeof wrong, "no way to %s (%s): %s", p->name, p->addr, strerror(p->error));
        doctor_wrong(c, DOCTOR_FAIL, wrong,
                     "`ip route get` says more; or correct the address: net-mesh --endpoint %s "
                     "peer rm %s, then peer add",
                     dir, p->name);
    } else if (carries(p) < DATAGRAM_LEAST) {
        snprintf(wrong, sizeof wrong, "the path to %s has MTU %u: datagrams of 1200 bytes go in pieces", p->name,
                 p->mtu);
        doctor_wrong(c, DOCTOR_WARN, wrong, "raise the MTU of the tunnel or interface to 1280 at least");
    } else if (config->max_datagram > carries(p)) {
        snprintf(wrong, sizeof wrong, "the path to %s carries %u bytes in one piece, transport.max_datagram is %u",
                 p->name, carries(p), config->max_datagram);
        doctor_wrong(c, DOCTOR_WARN, wrong, "set transport.max_datagram: auto in %s/node.yaml", dir);
    }
}

static void judge_paths(struct doctor_report *r, const struct doctor_dir *d, const struct config *config)
{
    unsigned least = UINT32_MAX, broken = 0;
    for (size_t i = 0; i < d->path_count; i++) {
        broken += d->paths[i].error != 0;
        if (!d->paths[i].error && d->paths[i].mtu < least)
            least = d->paths[i].mtu;
    }
    struct doctor_check *c =
        d->path_count == 0    ? doctor_found(r, "peer_paths", "none with an address")
        : least == UINT32_MAX ? doctor_found(r, "peer_paths", "%zu with an address, none within reach", d->path_count)
                              : doctor_found(r, "peer_paths", "%zu with an address, %u out of reach, least MTU %u",
                                             d->path_count, broken, least);
    for (size_t i = 0; i < d->path_count; i++)
        judge_path(c, &d->paths[i], config, d->dir);
}

static void judge_node(struct doctor_report *r, const struct doctor_dir *d)
{
    if (!d->running) {
        doctor_found(r, "node", "does not run");
        return;
    }
    struct doctor_check *c = doctor_found(r, "node", "runs%s%s", *d->ready ? ": " : "", d->ready);
    if (!d->asked)
        return;
    if (d->ready_status == 0)
        doctor_wrong(c, DOCTOR_FAIL, "it does not answer on its admin port", "net-mesh --endpoint %s status; its log",
                     d->dir);
    else if (d->ready_status == 404)
        strcpy(c->found, "runs: an older version, which does not know /readyz");
    else if (d->ready_status / 100 != 2)
        doctor_wrong(c, DOCTOR_FAIL, "it says that it is not ready",
                     "what it says names the trouble; net-mesh --endpoint %s status, and its log", d->dir);
}

void doctor_judge_dir(struct doctor_report *r, const struct doctor_dir *d, const struct config *config)
{
    if (d->error) {
        doctor_wrong(doctor_found(r, "directory", "%s: %s", d->dir, strerror(d->error)), DOCTOR_FAIL,
                     "there is no node's directory", "net-mesh init %s", d->dir);
        return;
    }
    judge_directory(r, d);
    judge_files(r, d);
    judge_file_system(r, d);
    judge_space(r, d);
    judge_sync(r, d);
    judge_port(r, d, "mesh_port", d->listen, d->listen_error, "ula");
    judge_port(r, d, "admin_port", d->admin, d->admin_error, "tla");
    judge_paths(r, d, config);
    judge_node(r, d);
}
