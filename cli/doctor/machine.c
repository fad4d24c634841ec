/* Facts about the machine: what the kernel, its limits, its clock, its CPUs and its memory are. */
#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor/doctor.h"
#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/reactor/reactor.h"

enum { CAPABILITY_IPC_LOCK = 14, SECCOMP_FILTER = 2, CLOCK_READINGS = 20000 };

/* The first line of a file of /proc or /sys, without its line feed. False: there is none, and out is "". */
static bool read_line(const char *path, char *out, size_t room)
{
    FILE *in = fopen(path, "re");
    out[0] = '\0';
    bool there = in && fgets(out, (int)room, in);
    if (in)
        fclose(in);
    out[strcspn(out, "\n")] = '\0';
    return there;
}

static long long read_number(const char *path, long long otherwise)
{
    char line[64];
    return read_line(path, line, sizeof line) ? strtoll(line, NULL, 10) : otherwise;
}

/* The number behind "NAME:" in a file of such lines. */
static uint64_t read_field(const char *path, const char *name, int base, uint64_t otherwise)
{
    char line[256];
    uint64_t value = otherwise;
    FILE *in = fopen(path, "re");
    size_t len = strlen(name);
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            value = strtoull(line + len + 1, NULL, base);
    if (in)
        fclose(in);
    return value;
}

static void look_at_kernel(struct doctor_machine *m)
{
    struct utsname u;
    if (uname(&u) == 0)
        snprintf(m->kernel, sizeof m->kernel, "%.60s %.60s %.60s", u.sysname, u.release, u.machine);
    m->ring.disabled = (int)read_number("/proc/sys/kernel/io_uring_disabled", DOCTOR_UNKNOWN);
    m->ring.seccomp = read_field("/proc/self/status", "Seccomp", 10, 0) == SECCOMP_FILTER;
    m->may_lock = read_field("/proc/self/status", "CapEff", 16, 0) >> CAPABILITY_IPC_LOCK & 1;
}

/* Sockets as a node opens them, on a port of the kernel's choice. */
static void look_at_reactor(struct doctor_machine *m, const struct config *config)
{
    struct reactor_group *group;
    struct reactor_features features;
    struct reactor_group_options options = {
        .listen = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}},
        .shards = 2, /* fewer need no steering */
        .socket_buffer = config->socket_buffer,
        .gso = true,
        .gro = true,
        .no_admin = true,
    };
    m->ring.works = reactor_group_create(&group, &options, m->ring.why, sizeof m->ring.why) == 0;
    if (m->ring.works) {
        reactor_group_features(group, &features);
        m->net.gso = features.gso;
        m->net.gro = features.gro;
        m->net.steering = features.steering;
        m->net.buffer = features.socket_buffer;
        reactor_group_destroy(group);
    }
    m->net.rmem_max = (uint64_t)read_number("/proc/sys/net/core/rmem_max", 0);
    m->net.wmem_max = (uint64_t)read_number("/proc/sys/net/core/wmem_max", 0);
}

static void look_at_interfaces(struct doctor_machine *m)
{
    struct ifaddrs *all = NULL;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && getifaddrs(&all) == 0)
        for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
            struct ifreq req = {0};
            bool counts = i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6) &&
                          (i->ifa_flags & IFF_UP);
            if (!counts || strlen(i->ifa_name) >= sizeof req.ifr_name)
                continue;
            strcpy(req.ifr_name, i->ifa_name);
            if (ioctl(fd, SIOCGIFMTU, &req) != 0 || req.ifr_mtu <= 0)
                continue;
            if (m->net.mtu_least == 0 || (unsigned)req.ifr_mtu < m->net.mtu_least) {
                m->net.mtu_least = (unsigned)req.ifr_mtu;
                snprintf(m->net.mtu_interface, sizeof m->net.mtu_interface, "%.31s", i->ifa_name);
            }
        }
    freeifaddrs(all);
    if (fd >= 0)
        close(fd);
}

/* A node raises the limit of open files to what it may have, and no other. */
static uint64_t limit_of(__rlimit_resource_t which)
{
    struct rlimit limit;
    if (getrlimit(which, &limit) != 0)
        return UINT64_MAX;
    rlim_t counts = which == RLIMIT_NOFILE ? limit.rlim_max : limit.rlim_cur;
    return counts == RLIM_INFINITY ? UINT64_MAX : counts;
}

static void look_at_clock(struct doctor_machine *m)
{
    struct timespec t, from, to;
    struct timex now = {0};
    if (!read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", m->clock.source,
                   sizeof m->clock.source))
        strcpy(m->clock.source, "unknown");
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < CLOCK_READINGS; i++)
        clock_gettime(CLOCK_MONOTONIC, &t);
    clock_gettime(CLOCK_MONOTONIC, &to);
    m->clock.read_ns = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / CLOCK_READINGS;
    int state = adjtimex(&now);
    m->clock.known = state >= 0;
    m->clock.synchronised = state >= 0 && state != TIME_ERROR && !(now.status & STA_UNSYNC);
    m->clock.max_error_us = now.maxerror > 0 ? (uint64_t)now.maxerror : 0;
}

static void look_at_governor(struct doctor_machine *m, const struct config *config)
{
    char path[96];
    for (uint32_t i = 0; i < config->cpu_count && !*m->cpu.governor; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor",
                 (unsigned)config->cpus[i]);
        read_line(path, m->cpu.governor, sizeof m->cpu.governor);
    }
}

/* cgroup v2; what a cgroup above this one allows is not looked at. */
static void look_at_cgroup(struct doctor_machine *m)
{
    char line[512], path[640], value[64];
    char *rest;
    m->memory.limit = UINT64_MAX;
    if (!read_line("/proc/self/cgroup", line, sizeof line) || strncmp(line, "0::", 3) != 0)
        return;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", line + 3);
    if (read_line(path, value, sizeof value) && value[0] >= '0' && value[0] <= '9') { /* else "max" */
        double quota = strtod(value, &rest), period = strtod(rest, NULL);
        m->cpu.quota = period > 0 ? quota / period : 0;
    }
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
    if (read_line(path, value, sizeof value) && value[0] >= '0' && value[0] <= '9')
        m->memory.limit = strtoull(value, NULL, 10);
}

/* VAES: leaf 7, bit 9 of ECX. */
static bool has_wide_aes(void)
{
#ifdef __x86_64__
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 9 & 1);
#else
    return false;
#endif
}

static void look_at_cpus(struct doctor_machine *m, const struct config *config)
{
    cpu_set_t set;
    struct crypto *crypto;
    m->cpu.refused = DOCTOR_UNKNOWN;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        m->cpu.allowed = (unsigned)CPU_COUNT(&set);
        for (uint32_t i = 0; i < config->cpu_count && m->cpu.refused < 0; i++)
            if (!CPU_ISSET(config->cpus[i], &set))
                m->cpu.refused = config->cpus[i];
    }
    m->cpu.fast_aes = crypto_has_fast_aes();
    if (crypto_init(&crypto, NULL) == NET_OK) {
        m->cpu.ipsec_mb = crypto_uses_ipsec_mb(crypto);
        crypto_deinit(crypto);
    }
    m->cpu.wide_aes = has_wide_aes();
    look_at_governor(m, config);
}

static void look_at_memory(struct doctor_machine *m)
{
    static const char file[] = "/proc/meminfo";
    uint64_t promise = read_field(file, "CommitLimit", 10, 0), promised = read_field(file, "Committed_AS", 10, 0);
    m->memory.overcommit = (int)read_number("/proc/sys/vm/overcommit_memory", DOCTOR_UNKNOWN);
    m->memory.available = read_field(file, "MemAvailable", 10, UINT64_MAX >> 10) << 10;
    m->memory.commit_left = promise > promised ? (promise - promised) << 10 : 0;
}

void doctor_look_at_machine(struct doctor_machine *m, const struct config *config)
{
    *m = (struct doctor_machine){.open_files = limit_of(RLIMIT_NOFILE),
                                 .locked_memory = limit_of(RLIMIT_MEMLOCK),
                                 .address_space = limit_of(RLIMIT_AS)};
    look_at_kernel(m);
    look_at_reactor(m, config);
    look_at_interfaces(m);
    look_at_clock(m);
    look_at_cpus(m, config);
    look_at_cgroup(m);
    look_at_memory(m);
}
