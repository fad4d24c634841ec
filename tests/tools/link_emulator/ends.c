#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/link_emulator/ends.h"

static const char DEVICE[] = "link0";
static const char *const ADDRESSES[2][2] = {{"10.77.0.1/24", "fd77::1/64"}, {"10.77.0.2/24", "fd77::2/64"}};

extern char **environ;

static int fail(const char *what, const char *name)
{
    bool forbidden = errno == EPERM || errno == EACCES || errno == ENOENT || errno == ENODEV || errno == ENXIO;
    fprintf(stderr, "link_emulator: %s %s: %s%s\n", what, name, strerror(errno),
            forbidden ? "; needs root, network namespaces and TUN devices" : "");
    return forbidden ? EXIT_NOT_PERMITTED : 1;
}

/* ip(8) with words, which end with NULL; true: it did. */
static bool ip(const char *const *words)
{
    char *argv[24] = {"ip"};
    for (int i = 0; words[i]; i++)
        argv[i + 1] = (char *)words[i];
    pid_t pid;
    int status;
    errno = posix_spawnp(&pid, "ip", NULL, NULL, argv, environ);
    if (errno != 0) {
        fprintf(stderr, "link_emulator: ip, of iproute2: %s\n", strerror(errno));
        return false;
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#define IP(...) ip((const char *const[]){__VA_ARGS__, NULL})

static int open_namespace(struct end *end)
{
    char path[300];
    snprintf(path, sizeof path, "/run/netns/%s", end->name);
    end->namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (end->namespace_fd < 0 && errno == ENOENT) {
        if (geteuid() != 0) {
            errno = EPERM;
            return fail("making the network namespace", end->name);
        }
        if (!IP("netns", "add", end->name))
            return EXIT_NOT_PERMITTED; /* ip said why */
        end->made = true;
        end->namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return end->namespace_fd < 0 ? fail("the network namespace", end->name) : 0;
}

/* The calling thread is in the namespace: whatever is opened now belongs to it. */
static int open_device(struct end *end)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    memcpy(request.ifr_name, DEVICE, sizeof DEVICE);
    end->tun_fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (end->tun_fd < 0)
        return fail("opening", "/dev/net/tun");
    if (ioctl(end->tun_fd, TUNSETIFF, &request) != 0)
        return fail("making the TUN device in", end->name);
    end->counters_fd = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
    return end->counters_fd < 0 ? fail("opening", "/proc/thread-self/net/dev") : 0;
}

static int open_within(struct end *end)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return fail("opening", "/proc/thread-self/ns/net");
    int status = setns(end->namespace_fd, CLONE_NEWNET) == 0 ? open_device(end) : fail("entering", end->name);
    if (setns(home, CLONE_NEWNET) != 0)
        status = fail("leaving", end->name);
    close(home);
    return status;
}

/* The device's own queue is long, so that the link's is the one that counts. */
static int configure(const struct end *end, unsigned side, unsigned mtu)
{
    char mtu_text[16];
    snprintf(mtu_text, sizeof mtu_text, "%u", mtu);
    bool done = IP("-n", end->name, "link", "set", "lo", "up") &&
                IP("-n", end->name, "link", "set", DEVICE, "mtu", mtu_text, "txqueuelen", "10000") &&
                IP("-n", end->name, "address", "add", ADDRESSES[side][0], "dev", DEVICE);
    if (done && access("/proc/sys/net/ipv6", F_OK) == 0)
        done = IP("-n", end->name, "address", "add", ADDRESSES[side][1], "dev", DEVICE, "nodad");
    done = done && IP("-n", end->name, "link", "set", DEVICE, "up");
    return done ? 0 : 1;
}

int end_open(struct end *end, unsigned side, unsigned mtu)
{
    end->namespace_fd = end->tun_fd = end->counters_fd = -1;
    int status = open_namespace(end);
    if (status == 0)
        status = open_within(end);
    return status == 0 ? configure(end, side, mtu) : status;
}

void end_close(struct end *end)
{
    for (int *fds[] = {&end->tun_fd, &end->counters_fd, &end->namespace_fd}, i = 0; i < 3; i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
    if (end->made)
        IP("netns", "delete", end->name);
    end->made = false;
}

uint64_t end_dropped(const struct end *end)
{
    char text[4096], *line;
    ssize_t len = pread(end->counters_fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = 0;
    line = strstr(text, DEVICE);
    if (!line)
        return 0;
    line += sizeof DEVICE;                      /* and its colon */
    for (int column = 0; column < 11; column++) /* eight of reception, then bytes, packets, errors */
        strtoull(line, &line, 10);
    return strtoull(line, NULL, 10);
}
