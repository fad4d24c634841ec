/* The two nodes of a figure: their directories and their processes. */
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/http.h"
#include "core/base/err.h"
#include "core/base/text.h"
#include "core/identity/identity.h"
#include "shards/netmesh.h"

const char BENCH_FORTH[] = "bench/forth", BENCH_BACK[] = "bench/back";
static const uint64_t START_NS = 20000000000, STOP_NS = 20000000000;

/* ---- directories ---- */

/* A port nobody uses now, for UDP and TCP; 0 when there is none. */
static uint16_t free_port(void)
{
    uint16_t port = 0;
    for (int tries = 0; port == 0 && tries < 100; tries++) {
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof addr;
        int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (udp >= 0 && tcp >= 0 && bind(udp, (struct sockaddr *)&addr, len) == 0 &&
            getsockname(udp, (struct sockaddr *)&addr, &len) == 0 && bind(tcp, (struct sockaddr *)&addr, len) == 0)
            port = ntohs(addr.sin_port);
        close(udp);
        close(tcp);
    }
    return port;
}

static int make_dir(const struct bench *b, struct bench_node *n, const char *name, const char *psk_from)
{
    char listen[80], admin[88], psk[BENCH_PATH + 8];
    struct config_error error;
    const char *overrides[] = {listen, admin};
    text_format(n->dir, sizeof n->dir, "%s/%s", b->root, name);
    text_format(n->listen, sizeof n->listen, "127.0.0.1:%u", free_port());
    text_format(n->admin, sizeof n->admin, "127.0.0.1:%u", free_port());
    text_format(listen, sizeof listen, "listen=%s", n->listen);
    text_format(admin, sizeof admin, "admin.listen=%s", n->admin);
    text_format(psk, sizeof psk, "%s/psk", psk_from ? psk_from : "");
    struct node_dir_init init = {
        .dir = n->dir, .psk_file = psk_from ? psk : NULL, .overrides = overrides, .override_count = 2};
    if (node_dir_create(&init, &error) != NET_OK)
        return cli_error(CLI_FAILURE, "%s", error.text);
    if (config_parse_addr(n->listen, &n->addr) != NET_OK || config_parse_addr(n->admin, &n->admin_addr) != NET_OK)
        return cli_error(CLI_FAILURE, "no port is free on 127.0.0.1");
    return CLI_OK;
}

/* What a peer entry says of the node in that directory. */
static int describe(struct peer_entry *entry, const struct bench_node *n)
{
    struct node_secrets secrets;
    struct config_error error;
    struct crypto *crypto;
    struct identity id;
    if (node_dir_load_secrets(n->dir, &secrets, &error) != NET_OK)
        return cli_error(CLI_FAILURE, "%s", error.text);
    int err = crypto_init(&crypto, NULL);
    if (!err) {
        err = identity_init(&id, crypto, secrets.seed);
        crypto_deinit(crypto);
    }
    if (!err) {
        entry->node_id = id.ids.node_id;
        x25519_public(secrets.static_secret, entry->public_key);
        identity_deinit(&id);
    }
    node_secrets_wipe(&secrets);
    entry->addr = n->addr;
    return err ? cli_error(CLI_FAILURE, "%s: %s", n->dir, net_err_text(err)) : CLI_OK;
}

static int introduce(const struct bench_node *n, const struct bench_node *other, const char *channel)
{
    struct peer_entry peer = {.name = "other", .has_addr = true, .has_key = true};
    struct subscription_entry sub = {.mode = SUBSCRIBE_LIVE};
    char path[BENCH_PATH + 16];
    size_t len;
    int code = describe(&peer, other);
    if (code != CLI_OK)
        return code;
    sub.peer = peer.node_id;
    text_format(sub.channel, sizeof sub.channel, "%s", channel ? channel : "");
    struct peers_file f = {&peer, 1, &sub, channel ? 1 : 0};
    char *text = peers_file_render(&f, &len);
    text_format(path, sizeof path, "%s/peers.yaml", n->dir);
    FILE *out = text ? fopen(path, "we") : NULL;
    bool written = out && fwrite(text, 1, len, out) == len;
    if (out && fclose(out) != 0)
        written = false;
    free(text);
    return written ? CLI_OK : cli_error(CLI_FAILURE, "%s: cannot write: %s", path, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* ---- processes ---- */

/* Each on a CPU of its own, where there are two: what is measured is the nodes, not the scheduler. */
static void take_cpu(enum bench_role role)
{
    cpu_set_t set, one;
    unsigned n = 0, want = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    want = CPU_COUNT(&set) > 1 ? role : 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set) && n++ == want) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
}

static void say_ready(void *ctx, const char *json_line)
{
    struct bench_shared *s = ctx;
    (void)json_line;
    atomic_fetch_add(&s->ready, 1);
}

static int run_node(struct bench *b, enum bench_role role, const char *log, const struct netmesh_hooks *hooks)
{
    char error[1024] = "", kept[64];
    struct netmesh *nm;
    text_format(kept, sizeof kept, "channels.log=%s", log);
    const char *overrides[] = {"shards.count=1", "logging.level=error", "session.heartbeat_interval=50ms", kept};
    take_cpu(role);
    int err = netmesh_open(&nm, b->nodes[role].dir, overrides, 4, hooks, error, sizeof error);
    if (err == 0)
        err = netmesh_run(nm, true, say_ready, b->shared, error, sizeof error);
    if (err)
        cli_error(CLI_FAILURE, "bench: %s", error);
    netmesh_close(nm);
    return err ? 1 : 0;
}

static int start(struct bench *b, enum bench_role role, const char *log, const struct netmesh_hooks *hooks)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return cli_error(CLI_FAILURE, "cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1);
        _exit(run_node(b, role, log, hooks));
    }
    b->nodes[role].pid = pid;
    return CLI_OK;
}

bool bench_pair_lives(struct bench *b)
{
    for (int i = 0; i < 2; i++) {
        int status;
        if (b->nodes[i].pid && waitpid(b->nodes[i].pid, &status, WNOHANG) == b->nodes[i].pid) {
            b->nodes[i].pid = 0;
            if (!bench_interrupted())
                cli_error(CLI_FAILURE, "bench: a node ended unasked (%s %d)", WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            return false;
        }
    }
    return !bench_interrupted();
}

static int make_pair(struct bench *b, bool back)
{
    struct bench_node *n = b->nodes;
    int code = make_dir(b, &n[BENCH_SENDER], "sender", NULL);
    if (code == CLI_OK)
        code = make_dir(b, &n[BENCH_RECEIVER], "receiver", n[BENCH_SENDER].dir);
    if (code == CLI_OK)
        code = introduce(&n[BENCH_SENDER], &n[BENCH_RECEIVER], back ? BENCH_BACK : NULL);
    return code == CLI_OK ? introduce(&n[BENCH_RECEIVER], &n[BENCH_SENDER], BENCH_FORTH) : code;
}

int bench_pair_start(struct bench *b, bool back, const char *log, const struct netmesh_hooks *sender,
                     const struct netmesh_hooks *receiver)
{
    struct bench_shared *s = b->shared;
    uint64_t until = http_now() + START_NS;
    atomic_store(&s->published, 0);
    atomic_store(&s->received, 0);
    atomic_store(&s->ready, 0);
    atomic_store(&s->stop, false);
    atomic_store(&s->spent, false);
    atomic_store(&s->sample_count, 0);
    int code = make_pair(b, back);
    if (code == CLI_OK)
        code = start(b, BENCH_RECEIVER, log, receiver);
    if (code == CLI_OK)
        code = start(b, BENCH_SENDER, log, sender);
    while (code == CLI_OK && atomic_load(&s->ready) < 2) {
        if (!bench_pair_lives(b))
            code = CLI_FAILURE;
        else if (http_now() > until)
            code = cli_error(CLI_TIMEOUT, "bench: the nodes do not start");
        usleep(1000);
    }
    return code;
}

/* SIGTERM, and SIGKILL for one that does not go. */
static bool end(struct bench_node *n)
{
    int status = 0;
    uint64_t until = http_now() + STOP_NS;
    if (n->pid == 0)
        return true;
    kill(n->pid, SIGTERM);
    while (waitpid(n->pid, &status, WNOHANG) != n->pid) {
        if (http_now() > until)
            kill(n->pid, SIGKILL);
        usleep(1000);
    }
    n->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int bench_pair_end(struct bench *b)
{
    bool sender = end(&b->nodes[BENCH_SENDER]), receiver = end(&b->nodes[BENCH_RECEIVER]);
    for (int i = 0; i < 2; i++)
        if (*b->nodes[i].dir)
            nftw(b->nodes[i].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return (sender && receiver) || bench_interrupted() ? CLI_OK
                                                       : cli_error(CLI_FAILURE, "bench: a node did not end well");
}
