/* What doctor makes of facts: a machine and a directory that are fit, and each trouble alone. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cli/doctor/doctor.h"

#define MIB (UINT64_C(1) << 20)

static struct config config;
static struct doctor_machine machine;
static struct doctor_path paths[2];
static struct doctor_dir dir;
static struct doctor_report report;

static void set_up(void)
{
    config_defaults(&config);
    config.shards = 2;
    machine = (struct doctor_machine){
        .kernel = "Linux 6.1.0 x86_64",
        .ring = {.works = true, .disabled = 0},
        .net = {.gso = true,
                .gro = true,
                .steering = true,
                .buffer = 4 << 20,
                .rmem_max = 8 << 20,
                .wmem_max = 8 << 20,
                .mtu_least = 1500,
                .mtu_interface = "eth0"},
        .open_files = 524288,
        .locked_memory = 8 << 20,
        .address_space = UINT64_MAX,
        .clock = {.source = "tsc", .read_ns = 20, .known = true, .synchronised = true, .max_error_us = 2000},
        .cpu = {.allowed = 2, .refused = DOCTOR_UNKNOWN, .fast_aes = true, .ipsec_mb = true, .governor = "performance"},
        .memory = {.available = 4096 * MIB, .limit = UINT64_MAX, .commit_left = 4096 * MIB},
    };
    paths[0] = (struct doctor_path){.name = "alice", .addr = "10.0.0.1:20037", .mtu = 1500, .v4 = true};
    paths[1] = (struct doctor_path){.name = "bob", .addr = "[fd00::1]:20037", .mtu = 1500};
    dir = (struct doctor_dir){
        .dir = "a",
        .mode = 0700,
        .mine = true,
        .writable = true,
        .disk = {.type = "ext4", .free = 50000 * MIB, .total = 100000 * MIB, .inodes_free = 1000000, .inodes = 2000000},
        .sync = {.count = DOCTOR_SYNCS, .p50_ns = 1000000, .p99_ns = 5000000},
        .listen = "[::]:20037",
        .admin = "127.0.0.1:20038",
        .paths = paths,
        .path_count = 2,
    };
}

TestSuite(doctor, .init = set_up);

static void judge(void)
{
    memset(&report, 0, sizeof report);
    doctor_judge_machine(&report, &machine, &config);
    doctor_judge_dir(&report, &dir, &config);
}

/* One trouble, and no other: this check has this status, and its remedy says `remedy`. */
static void expect_only(const char *name, enum doctor_status status, const char *remedy)
{
    bool seen = false;
    judge();
    for (size_t i = 0; i < report.count; i++) {
        const struct doctor_check *c = &report.checks[i];
        bool it = strcmp(c->name, name) == 0;
        seen |= it;
        cr_expect_eq(c->status, it ? status : DOCTOR_OK, "%s: %s: found %s, wrong %s", c->name,
                     doctor_status_text(c->status), c->found, c->wrong);
        cr_expect(!it || strstr(c->remedy, remedy), "%s: the remedy %s lacks %s", c->name, c->remedy, remedy);
        cr_expect(*c->found, "%s says what it found", c->name);
        cr_expect_eq(*c->wrong != '\0', c->status != DOCTOR_OK);
        cr_expect_eq(*c->remedy != '\0', c->status != DOCTOR_OK);
    }
    cr_expect(seen, "%s was checked", name);
    cr_expect_eq(doctor_worst(&report), status);
    set_up();
}

Test(doctor, a_fit_machine_and_directory)
{
    expect_only("kernel", DOCTOR_OK, "");
}

Test(doctor, io_uring)
{
    machine.ring.works = false;
    strcpy(machine.ring.why, "io_uring_setup is refused (EPERM)");
    machine.ring.disabled = 2;
    expect_only("io_uring", DOCTOR_FAIL, "kernel.io_uring_disabled=0");
    machine.ring.works = false;
    strcpy(machine.ring.why, "io_uring_setup is refused (EPERM)");
    machine.ring.seccomp = true;
    expect_only("io_uring", DOCTOR_FAIL, "seccomp=PROFILE.json");
    machine.ring.works = false;
    strcpy(machine.ring.why, "io_uring_setup is refused (EPERM)");
    expect_only("io_uring", DOCTOR_FAIL, "security module");
    machine.ring.works = false;
    strcpy(machine.ring.why, "io_uring_setup does not exist (ENOSYS)");
    machine.ring.disabled = DOCTOR_UNKNOWN;
    expect_only("io_uring", DOCTOR_FAIL, "6.1");
}

Test(doctor, network)
{
    machine.net.gso = false;
    expect_only("udp_offload", DOCTOR_WARN, "gVisor");
    machine.net.gso = false;
    config.gso = false;
    expect_only("udp_offload", DOCTOR_OK, "");
    machine.net.steering = false;
    expect_only("udp_offload", DOCTOR_WARN, "SO_ATTACH_REUSEPORT_CBPF");
    machine.net.buffer = 212992;
    machine.net.rmem_max = 212992;
    expect_only("socket_buffer", DOCTOR_WARN, "net.core.rmem_max=4194304 net.core.wmem_max=4194304");
    machine.net.wmem_max = 212992; /* got, for CAP_NET_ADMIN, but no other user will */
    expect_only("socket_buffer", DOCTOR_WARN, "90-net-mesh.conf");
    machine.net.mtu_least = 1240;
    expect_only("mtu", DOCTOR_WARN, "eth0 mtu 1500");
    machine.net.mtu_least = 1248;
    expect_only("mtu", DOCTOR_OK, "");
    machine.net.mtu_least = 0;
    expect_only("mtu", DOCTOR_WARN, "ip link");
}

Test(doctor, limits)
{
    machine.open_files = 256;
    expect_only("open_files", DOCTOR_FAIL, "LimitNOFILE=");
    machine.open_files = 4096;
    expect_only("open_files", DOCTOR_WARN, "limits.channels");
    machine.open_files = UINT64_MAX;
    expect_only("open_files", DOCTOR_OK, "");
    config.memory_lock = true;
    expect_only("locked_memory", DOCTOR_WARN, "LimitMEMLOCK=infinity");
    config.memory_lock = machine.may_lock = true;
    expect_only("locked_memory", DOCTOR_OK, "");
    machine.address_space = 4096 * MIB;
    expect_only("overcommit", DOCTOR_FAIL, "ulimit -v unlimited");
}

Test(doctor, clock)
{
    strcpy(machine.clock.source, "acpi_pm");
    machine.clock.read_ns = 1500;
    expect_only("clock_source", DOCTOR_WARN, "current_clocksource");
    machine.clock.synchronised = false;
    expect_only("clock_sync", DOCTOR_WARN, "chrony");
    machine.clock.max_error_us = 3000000;
    expect_only("clock_sync", DOCTOR_WARN, "waitsync");
    machine.clock.known = machine.clock.synchronised = false;
    expect_only("clock_sync", DOCTOR_OK, "");
}

Test(doctor, cpus)
{
    machine.cpu.fast_aes = false;
    expect_only("cipher", DOCTOR_WARN, "-cpu host");
    machine.cpu.fast_aes = config.cipher_aes_gcm = false;
    expect_only("cipher", DOCTOR_OK, "");
    strcpy(machine.cpu.governor, "powersave");
    expect_only("cpu_governor", DOCTOR_WARN, "performance");
    config.shards = 4;
    expect_only("cpus", DOCTOR_WARN, "at most 2");
    machine.cpu.quota = 0.5;
    expect_only("cpus", DOCTOR_WARN, "shards.count to 1");
    machine.cpu.refused = 7;
    expect_only("cpus", DOCTOR_WARN, "take 7 out");
    machine.cpu.refused = 7;
    config.pin = true;
    expect_only("cpus", DOCTOR_FAIL, "take 7 out");
}

Test(doctor, memory)
{
    machine.memory.available = 32 * MIB;
    expect_only("memory", DOCTOR_FAIL, "shards.ring_bytes");
    machine.memory.limit = 200 * MIB; /* of the cgroup */
    expect_only("memory", DOCTOR_WARN, "retention");
    machine.memory.overcommit = 2;
    expect_only("overcommit", DOCTOR_WARN, "vm.overcommit_memory=0");
    machine.memory.overcommit = 2;
    machine.memory.commit_left = 10 * MIB;
    expect_only("overcommit", DOCTOR_FAIL, "10 MiB are left");
}

Test(doctor, directory)
{
    dir.mode = 0755;
    expect_only("directory", DOCTOR_WARN, "chmod 700 a");
    dir.writable = false;
    expect_only("directory", DOCTOR_FAIL, "chown -R USER a");
    dir.mine = false;
    expect_only("directory", DOCTOR_WARN, "chown");
    strcpy(dir.secrets, "a/psk: found mode 0644");
    expect_only("secrets", DOCTOR_FAIL, "chmod 600");
    strcpy(dir.config, "a/node.yaml:3: shards.count: found \"many\", allowed: auto or 1..64");
    expect_only("config", DOCTOR_FAIL, "net-mesh init a --force");
    strcpy(dir.warning, "a/node.yaml:3: security.peers: listed, but peers.yaml has no peer");
    expect_only("config", DOCTOR_WARN, "net-mesh config check a");
    dir.error = ENOENT;
    expect_only("directory", DOCTOR_FAIL, "net-mesh init a");
}

Test(doctor, disk)
{
    dir.disk.read_only = true;
    expect_only("file_system", DOCTOR_FAIL, "remount,rw");
    dir.disk.network = true;
    expect_only("file_system", DOCTOR_WARN, "local disk");
    dir.disk.overlay = true;
    expect_only("file_system", DOCTOR_WARN, "volume");
    dir.disk.free = 10 * MIB;
    expect_only("disk_space", DOCTOR_FAIL, "retention_bytes");
    dir.disk.free = 1500 * MIB; /* of 100,000 */
    expect_only("disk_space", DOCTOR_WARN, "retention_bytes");
    dir.disk.inodes_free = 5000;
    expect_only("disk_space", DOCTOR_WARN, "df -i a");
    dir.disk.inodes_free = 5;
    expect_only("disk_space", DOCTOR_FAIL, "df -i a");
    dir.disk.inodes_free = dir.disk.inodes = 0; /* btrfs has no table of them */
    expect_only("disk_space", DOCTOR_OK, "");
    dir.sync.error = EIO;
    expect_only("disk_sync", DOCTOR_FAIL, "dmesg");
    dir.sync.p99_ns = 400000000;
    expect_only("disk_sync", DOCTOR_WARN, "SSD");
    dir.sync.p50_ns = dir.sync.p99_ns = 3000;
    expect_only("disk_sync", DOCTOR_WARN, "libeatmydata");
    dir.sync.p50_ns = dir.sync.p99_ns = 3000;
    dir.disk.memory = true;
    expect_only("file_system", DOCTOR_WARN, "local disk");
}

Test(doctor, ports)
{
    dir.listen_error = EADDRINUSE;
    expect_only("mesh_port", DOCTOR_FAIL, "ss -Hnpula 'sport = :20037'");
    dir.listen_error = EADDRINUSE;
    dir.running = true;
    expect_only("mesh_port", DOCTOR_OK, "");
    dir.listen_error = EADDRNOTAVAIL;
    expect_only("mesh_port", DOCTOR_FAIL, "ip address show");
    dir.admin_error = EACCES;
    expect_only("admin_port", DOCTOR_FAIL, "cap_net_bind_service");
    strcpy(dir.admin, "unix:a/admin.sock");
    dir.admin_error = EADDRINUSE;
    expect_only("admin_port", DOCTOR_FAIL, "fuser a/admin.sock");
}

Test(doctor, paths)
{
    paths[1].error = ENETUNREACH;
    expect_only("peer_paths", DOCTOR_FAIL, "peer rm bob");
    paths[1].mtu = 1240; /* 1192 bytes over IPv6 */
    expect_only("peer_paths", DOCTOR_WARN, "1280");
    paths[0].mtu = 1240; /* 1212 over IPv4 */
    expect_only("peer_paths", DOCTOR_OK, "");
    config.max_datagram = 1452;
    expect_only("peer_paths", DOCTOR_OK, "");
    config.max_datagram = 1453; /* one byte more than IPv6 carries of 1500 */
    judge();
    cr_expect_eq(doctor_worst(&report), DOCTOR_WARN);
    dir.path_count = 0;
    config.max_datagram = 0;
    expect_only("peer_paths", DOCTOR_OK, "");
}

Test(doctor, node)
{
    dir.running = dir.asked = true;
    dir.ready_status = 200;
    expect_only("node", DOCTOR_OK, "");
    dir.running = dir.asked = true;
    expect_only("node", DOCTOR_FAIL, "status");
    dir.running = dir.asked = true;
    dir.ready_status = 503;
    strcpy(dir.ready, "{\"ready\":false}");
    expect_only("node", DOCTOR_FAIL, "names the trouble");
    dir.running = dir.asked = true;
    dir.ready_status = 404;
    expect_only("node", DOCTOR_OK, "");
}

Test(doctor, the_gravest_trouble_of_a_check_is_kept)
{
    struct doctor_check *c = doctor_found(&report, "x", "y");
    doctor_wrong(c, DOCTOR_WARN, "first", "one");
    doctor_wrong(c, DOCTOR_WARN, "second", "two");
    cr_expect_str_eq(c->wrong, "first");
    doctor_wrong(c, DOCTOR_FAIL, "third", "three %d", 3);
    doctor_wrong(c, DOCTOR_WARN, "fourth", "four");
    cr_expect_str_eq(c->wrong, "third");
    cr_expect_str_eq(c->remedy, "three 3");
}
