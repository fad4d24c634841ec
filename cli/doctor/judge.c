/* The list of checks, and what the machine's facts mean for a node. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor/doctor.h"

#define MIB (UINT64_C(1) << 20)

enum {
    FILES_OF_LOG = 5,        /* data, index, times, sequences, lock */
    FILES_BESIDE = 128,      /* sockets, rings, directories, what the libraries open */
    RECV_BYTES = 16 << 16,   /* of a shard's receive buffers */
    SLOW_CLOCK_NS = 300,     /* a reading that is a system call, or worse */
    CLOCK_ERROR_US = 500000, /* a clock so far off will be stepped */
};

const char *doctor_status_text(enum doctor_status status)
{
    static const char *const texts[] = {"ok", "warn", "fail"};
    return texts[status];
}

struct doctor_check *doctor_found(struct doctor_report *r, const char *name, const char *format, ...)
{
    va_list args;
    if (r->count == DOCTOR_MAX_CHECKS)
        r->count--;
    struct doctor_check *c = &r->checks[r->count++];
    *c = (struct doctor_check){.name = name};
    va_start(args, format);
    vsnprintf(c->found, sizeof c->found, format, args);
    va_end(args);
    return c;
}

void doctor_wrong(struct doctor_check *c, enum doctor_status status, const char *wrong, const char *remedy, ...)
{
    va_list args;
    if (status <= c->status)
        return;
    c->status = status;
    snprintf(c->wrong, sizeof c->wrong, "%s", wrong);
    va_start(args, remedy);
    vsnprintf(c->remedy, sizeof c->remedy, remedy, args);
    va_end(args);
}

enum doctor_status doctor_worst(const struct doctor_report *r)
{
    enum doctor_status worst = DOCTOR_OK;
    for (size_t i = 0; i < r->count; i++)
        if (r->checks[i].status > worst)
            worst = r->checks[i].status;
    return worst;
}

/* ---- kernel ---- */

static void judge_ring(struct doctor_report *r, const struct doctor_machine *m)
{
    struct doctor_check *c = doctor_found(r, "io_uring", "%s", m->ring.works ? "all that a node needs" : m->ring.why);
    if (m->ring.works)
        return;
    static const char wrong[] = "a node cannot run without it";
    if (m->ring.disabled > 0)
        doctor_wrong(c, DOCTOR_FAIL, wrong,
                     "sysctl -w kernel.io_uring_disabled=0, and the same line in /etc/sysctl.d/90-net-mesh.conf "
                     "(it is %d now)",
                     m->ring.disabled);
    else if (m->ring.seccomp || strstr(m->ring.why, "EPERM"))
        doctor_wrong(
            c, DOCTOR_FAIL, wrong,
            "let the seccomp profile of the container allow io_uring_setup, io_uring_enter and "
            "io_uring_register (docker run --security-opt seccomp=PROFILE.json); else a security module refuses "
            "it");
    else
        doctor_wrong(c, DOCTOR_FAIL, wrong, "run a kernel from 6.1 on, built with CONFIG_IO_URING");
}

static void judge_offload(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    struct doctor_check *c =
        doctor_found(r, "udp_offload", "GSO %s, GRO %s, steering by session %s", m->net.gso ? "yes" : "no",
                     m->net.gro ? "yes" : "no", m->net.steering ? "yes" : "no");
    if (!m->ring.works)
        strcpy(c->found, "not tried, for want of io_uring");
    else if ((config->gso && !m->net.gso) || (config->gro && !m->net.gro))
        doctor_wrong(c, DOCTOR_WARN, "each datagram costs a pass through the kernel: some ten times the CPU time",
                     "run a kernel from 5.0 on whose network stack is not replaced by a sandbox (gVisor has neither)");
    else if (!m->net.steering)
        doctor_wrong(c, DOCTOR_WARN, "datagrams reach any shard and are passed on: more CPU time, and more latency",
                     "allow SO_ATTACH_REUSEPORT_CBPF in the sandbox's filter");
}

static void judge_buffer(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    uint64_t want = config->socket_buffer;
    struct doctor_check *c = doctor_found(
        r, "socket_buffer", "got %u of %" PRIu64 " bytes; net.core.rmem_max %" PRIu64 ", wmem_max %" PRIu64,
        m->net.buffer, want, m->net.rmem_max, m->net.wmem_max);
    static const char remedy[] = "sysctl -w net.core.rmem_max=%" PRIu64 " net.core.wmem_max=%" PRIu64
                                 ", for good by deploy/sysctl.d/90-net-mesh.conf in /etc/sysctl.d";
    if (!m->ring.works) {
        snprintf(c->found, sizeof c->found, "net.core.rmem_max %" PRIu64 ", wmem_max %" PRIu64, m->net.rmem_max,
                 m->net.wmem_max);
    } else if (m->net.buffer < want) {
        doctor_wrong(c, DOCTOR_WARN,
                     "the kernel gives less than transport.socket_buffer asks for: credit windows shrink, and bursts "
                     "overflow",
                     remedy, want, want);
        return;
    }
    if ((m->net.rmem_max && m->net.rmem_max < want) || (m->net.wmem_max && m->net.wmem_max < want))
        doctor_wrong(c, DOCTOR_WARN,
                     "the limits are lower than transport.socket_buffer: only a node with CAP_NET_ADMIN gets what it "
                     "asks for",
                     remedy, want, want);
}

static void judge_mtu(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    if (m->net.mtu_least == 0) {
        doctor_wrong(doctor_found(r, "mtu", "no interface is up"), DOCTOR_WARN, "there is no way to a peer",
                     "ip link set dev INTERFACE up");
        return;
    }
    struct doctor_check *c = doctor_found(r, "mtu", "least is %u, of %s", m->net.mtu_least, m->net.mtu_interface);
    unsigned carries = m->net.mtu_least > 48 ? m->net.mtu_least - 48 : 0;
    if (carries < 1200)
        doctor_wrong(c, DOCTOR_WARN, "datagrams of 1200 bytes, the least a node sends, do not fit in one piece",
                     "ip link set dev %s mtu 1500, unless no peer is reached through it", m->net.mtu_interface);
    else if (config->max_datagram > carries)
        doctor_wrong(c, DOCTOR_WARN, "transport.max_datagram is larger than what this interface carries in one piece",
                     "set transport.max_datagram: auto in node.yaml, or at most %u", carries);
}

/* ---- limits ---- */

static void judge_files(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    uint64_t least = config->admin_connections + FILES_BESIDE + 16 * FILES_OF_LOG;
    uint64_t most =
        config->admin_connections + FILES_BESIDE + (uint64_t)config->max_channels * config->shards * FILES_OF_LOG;
    struct doctor_check *c = doctor_found(
        r, "open_files", "at most %" PRIu64 "; a node needs %" PRIu64 " with every log that limits.channels allows",
        m->open_files, most);
    static const char remedy[] = "LimitNOFILE=%" PRIu64 " in the unit, or `ulimit -n %" PRIu64
                                 "` and a line in /etc/security/limits.d; or lower limits.channels in node.yaml";
    if (m->open_files < least)
        doctor_wrong(c, DOCTOR_FAIL, "too few for admin.connections and a handful of logs", remedy, most, most);
    else if (m->open_files < most)
        doctor_wrong(c, DOCTOR_WARN, "fewer logs can be open than limits.channels promises", remedy, most, most);
}

static void judge_locking(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    struct doctor_check *c = m->locked_memory == UINT64_MAX
                                 ? doctor_found(r, "locked_memory", "no limit")
                                 : doctor_found(r, "locked_memory", "at most %" PRIu64 " bytes%s", m->locked_memory,
                                                m->may_lock ? ", which do not count (CAP_IPC_LOCK)" : "");
    if (config->memory_lock && !m->may_lock && m->locked_memory != UINT64_MAX)
        doctor_wrong(c, DOCTOR_WARN, "memory.lock is on, and the system will refuse it: the node goes on without",
                     "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`");
}

/* ---- time ---- */

static void judge_clock(struct doctor_report *r, const struct doctor_machine *m)
{
    struct doctor_check *c =
        doctor_found(r, "clock_source", "%s, %.0f ns a reading", m->clock.source, m->clock.read_ns);
    if (m->clock.read_ns > SLOW_CLOCK_NS)
        doctor_wrong(c, DOCTOR_WARN, "reading the clock is a system call or slow hardware; a node reads it every turn",
                     "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource (kvm-clock or "
                     "hyperv_clocksource_tsc_page in a virtual machine); the kernel's log says why it chose another");
    if (!m->clock.known) {
        doctor_found(r, "clock_sync", "the kernel does not say");
        return;
    }
    if (m->clock.synchronised)
        c = doctor_found(r, "clock_sync", "synchronised, at most %.1f ms off", (double)m->clock.max_error_us / 1e3);
    else
        c = doctor_found(r, "clock_sync", "nothing synchronises it");
    if (!m->clock.synchronised)
        doctor_wrong(c, DOCTOR_WARN,
                     "nothing keeps the clock right: times of events mean little, and retention by age errs by as much",
                     "apt-get install chrony (or timedatectl set-ntp true); in a container, on the host");
    else if (m->clock.max_error_us > CLOCK_ERROR_US)
        doctor_wrong(c, DOCTOR_WARN, "the clock is so far off that it may be stepped",
                     "let it settle before the node starts: chronyc waitsync");
}

/* ---- CPU and memory ---- */

static void judge_cipher(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    struct doctor_check *c = doctor_found(r, "cipher", "%s",
                                          !m->cpu.fast_aes   ? "no AES instructions: ChaCha20-Poly1305 by libcrypto"
                                          : !m->cpu.ipsec_mb ? "AES-256-GCM by libcrypto"
                                          : m->cpu.wide_aes  ? "AES-256-GCM by intel-ipsec-mb (VAES)"
                                                             : "AES-256-GCM by intel-ipsec-mb (AES-NI)");
    if (!m->cpu.fast_aes && config->cipher_aes_gcm)
        doctor_wrong(c, DOCTOR_WARN, "packets cost some four to ten times the CPU time",
                     "in a virtual machine pass the host's CPU through (qemu -cpu host); else there is nothing to do");
}

static void judge_governor(struct doctor_report *r, const struct doctor_machine *m)
{
    struct doctor_check *c = doctor_found(r, "cpu_governor", "%s", *m->cpu.governor ? m->cpu.governor : "none here");
    if (strcmp(m->cpu.governor, "powersave") == 0 || strcmp(m->cpu.governor, "conservative") == 0 ||
        strcmp(m->cpu.governor, "ondemand") == 0)
        doctor_wrong(c, DOCTOR_WARN, "CPUs slow down between bursts, which shows as latency",
                     "cpupower frequency-set -g performance");
}

static void judge_cpus(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    struct doctor_check *c = m->cpu.quota > 0
                                 ? doctor_found(r, "cpus", "%u, of which the cgroup grants %.2f; shards: %u",
                                                m->cpu.allowed, m->cpu.quota, config->shards)
                                 : doctor_found(r, "cpus", "%u; shards: %u", m->cpu.allowed, config->shards);
    if (m->cpu.refused >= 0)
        doctor_wrong(c, config->pin ? DOCTOR_FAIL : DOCTOR_WARN, "shards.cpus names a CPU this process may not use",
                     "take %d out of shards.cpus in node.yaml, or into the CPUAffinity= of the unit", m->cpu.refused);
    if (config->shards > m->cpu.allowed)
        doctor_wrong(c, DOCTOR_WARN, "shards share CPUs: each waits for the others",
                     "set shards.count: auto in node.yaml, or at most %u", m->cpu.allowed);
    else if (m->cpu.quota > 0 && m->cpu.quota < config->shards)
        doctor_wrong(c, DOCTOR_WARN, "the cgroup's quota stops all shards for the rest of a period once it is used up",
                     "raise cpu.max (docker run --cpus, CPUQuota= of the unit), or set shards.count to %.0f",
                     m->cpu.quota < 1 ? 1.0 : m->cpu.quota);
}

static void judge_memory(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    uint64_t n = config->shards, base = n * (n - 1) * config->ring_bytes + n * RECV_BYTES + 64 * MIB;
    uint64_t have = m->memory.available < m->memory.limit ? m->memory.available : m->memory.limit;
    struct doctor_check *c =
        doctor_found(r, "memory", "%" PRIu64 " MiB to be had; a node takes %" PRIu64 " MiB before its logs grow",
                     have / MIB, base / MIB);
    if (have < base)
        doctor_wrong(c, DOCTOR_FAIL, "rings and buffers of the shards do not fit",
                     "lower shards.count or shards.ring_bytes in node.yaml, or give the machine more");
    else if (have < base + 256 * MIB)
        doctor_wrong(c, DOCTOR_WARN, "logs are mirrored in memory, and there is little left for them",
                     "give it more, or bound the logs by channels.retention_bytes in node.yaml");
    c = doctor_found(r, "overcommit", "vm.overcommit_memory %d", m->memory.overcommit);
    if (m->address_space != UINT64_MAX)
        doctor_wrong(c, DOCTOR_FAIL, "a log reserves gigabytes of addresses, and RLIMIT_AS counts them",
                     "ulimit -v unlimited (LimitAS=infinity in the unit); it is %" PRIu64 " bytes", m->address_space);
    if (m->memory.overcommit == 2 && m->memory.commit_left < base)
        doctor_wrong(c, DOCTOR_FAIL, "the kernel has no memory left that it may promise",
                     "sysctl -w vm.overcommit_memory=0, or raise vm.overcommit_ratio; %" PRIu64 " MiB are left",
                     m->memory.commit_left / MIB);
    else if (m->memory.overcommit == 2)
        doctor_wrong(c, DOCTOR_WARN,
                     "the kernel refuses memory to growing logs once it has promised all, long before it is used",
                     "sysctl -w vm.overcommit_memory=0, or raise vm.overcommit_ratio; %" PRIu64 " MiB are left",
                     m->memory.commit_left / MIB);
}

void doctor_judge_machine(struct doctor_report *r, const struct doctor_machine *m, const struct config *config)
{
    doctor_found(r, "kernel", "%s", m->kernel);
    judge_ring(r, m);
    judge_offload(r, m, config);
    judge_buffer(r, m, config);
    judge_mtu(r, m, config);
    judge_files(r, m, config);
    judge_locking(r, m, config);
    judge_clock(r, m);
    judge_cipher(r, m, config);
    judge_governor(r, m);
    judge_cpus(r, m, config);
    judge_memory(r, m, config);
}
