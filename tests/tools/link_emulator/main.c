/* A link between two network namespaces with the faults one asks for; see --help. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/link_emulator/ends.h"
#include "tests/tools/link_emulator/options.h"

enum { BURST = 64 }; /* packets read before deliveries are looked at again */

struct emulator {
    struct options options;
    struct end ends[2];
    struct line lines[2]; /* lines[i] leads from ends[i] to the other */
    uint64_t multicast[2],
        refused[2]; /* not carried; not taken by the kernel at the far end, as when IP's header is damaged */
    int signals_fd;
    sigset_t inherited; /* the signal mask of a command */
    pid_t command;      /* 0: none */
    bool over;
    int status;
    FILE *out;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- what it says ---- */

static void print_line(const struct emulator *e, int direction)
{
    const struct line_counts *c = &e->lines[direction].counts;
    fprintf(
        e->out,
        "{\"offered\":%lu,\"offered_bytes\":%lu,\"delivered\":%lu,\"delivered_bytes\":%lu,\"queue_dropped\":%lu,"
        "\"lost\":%lu,"
        "\"duplicated\":%lu,\"corrupted\":%lu,\"reordered\":%lu,\"overflowed\":%lu,\"refused\":%lu,\"multicast\":%lu,"
        "\"device_dropped\":%lu,\"on_the_way\":%zu,\"queue_peak_bytes\":%lu,\"late_mean_us\":%.1f,\"late_max_us\":%."
        "1f}",
        c->offered, c->offered_bytes, c->delivered, c->delivered_bytes, c->queue_dropped, c->lost, c->duplicated,
        c->corrupted, c->reordered, c->overflowed, e->refused[direction], e->multicast[direction],
        end_dropped(&e->ends[direction]), e->lines[direction].heap_len, c->queue_peak,
        c->delivered ? (double)c->late_ns / 1e3 / (double)c->delivered : 0, (double)c->late_peak_ns / 1e3);
}

static void print_statistics(const struct emulator *e)
{
    fputs("{\"event\":\"statistics\",\"a_to_b\":", e->out);
    print_line(e, 0);
    fputs(",\"b_to_a\":", e->out);
    print_line(e, 1);
    fputs("}\n", e->out);
    fflush(e->out);
}

static void print_ready(const struct emulator *e)
{
    fprintf(e->out,
            "{\"event\":\"ready\",\"a\":{\"namespace\":\"%s\",\"addresses\":[\"10.77.0.1\",\"fd77::1\"]},"
            "\"b\":{\"namespace\":\"%s\",\"addresses\":[\"10.77.0.2\",\"fd77::2\"]},\"mtu\":%u,\"seed\":%lu}\n",
            e->ends[0].name, e->ends[1].name, e->options.mtu, e->options.seed);
    fflush(e->out);
}

/* ---- packets ---- */

static bool is_multicast(const uint8_t *packet, size_t len)
{
    if (packet[0] >> 4 == 6)
        return len > 24 && packet[24] == 0xff;
    return len > 16 && packet[16] >> 4 == 0xe;
}

static void absorb(struct emulator *e, int side)
{
    uint8_t packet[LINE_MAX_PACKET];
    for (int i = 0; i < BURST; i++) {
        ssize_t len = read(e->ends[side].tun_fd, packet, sizeof packet);
        if (len <= 0)
            return;
        if (is_multicast(packet, (size_t)len))
            e->multicast[side]++;
        else
            line_offer(&e->lines[side], packet, (size_t)len, now_ns());
    }
}

static void deliver(struct emulator *e, int direction, uint64_t now)
{
    struct line_packet *packet;
    while ((packet = line_pull(&e->lines[direction], now)) != NULL) {
        if (write(e->ends[!direction].tun_fd, packet->bytes, packet->len) < 0)
            e->refused[direction]++;
        free(packet);
    }
}

/* ---- signals and the command ---- */

static int watch_signals(struct emulator *e)
{
    sigset_t set;
    sigemptyset(&set);
    for (const int *number = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, 0}; *number; number++)
        sigaddset(&set, *number);
    sigprocmask(SIG_BLOCK, &set, &e->inherited);
    signal(SIGPIPE, SIG_IGN); /* whoever reads our lines may be gone: the namespaces go all the same */
    e->signals_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return e->signals_fd < 0 ? 1 : 0;
}

static int start_command(struct emulator *e)
{
    e->command = fork();
    if (e->command != 0)
        return e->command < 0 ? 1 : 0;
    sigprocmask(SIG_SETMASK, &e->inherited, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (setns(e->ends[0].namespace_fd, CLONE_NEWNET) == 0)
        execvp(e->options.command[0], e->options.command);
    fprintf(stderr, "link_emulator: %s: %s\n", e->options.command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static void reap(struct emulator *e)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == e->command) {
            e->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            e->over = true;
        }
}

static void on_signal(struct emulator *e)
{
    struct signalfd_siginfo info;
    while (read(e->signals_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGUSR1)
            print_statistics(e);
        else if (info.ssi_signo == SIGCHLD)
            reap(e);
        else if (e->command)
            kill(e->command, (int)info.ssi_signo); /* ends with it */
        else
            e->over = true;
}

/* ---- all of it ---- */

static struct timespec time_until(uint64_t deadline, uint64_t now)
{
    uint64_t wait = deadline > now ? deadline - now : 0, longest = UINT64_C(3600000000000);
    wait = wait < longest ? wait : longest;
    return (struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
}

static void run(struct emulator *e)
{
    struct pollfd fds[] = {{e->ends[0].tun_fd, POLLIN, 0}, {e->ends[1].tun_fd, POLLIN, 0}, {e->signals_fd, POLLIN, 0}};
    while (!e->over) {
        uint64_t now = now_ns(), next = UINT64_MAX;
        for (int direction = 0; direction < 2; direction++) {
            deliver(e, direction, now);
            uint64_t deadline = line_deadline(&e->lines[direction]);
            next = deadline < next ? deadline : next;
        }
        struct timespec wait = time_until(next, now_ns());
        if (ppoll(fds, 3, &wait, NULL) <= 0)
            continue;
        for (int side = 0; side < 2; side++)
            if (fds[side].revents)
                absorb(e, side);
        if (fds[2].revents)
            on_signal(e);
    }
}

static int open_all(struct emulator *e)
{
    int status = watch_signals(e); /* first: a signal from here on still ends with everything removed */
    for (unsigned side = 0; side < 2 && status == 0; side++)
        status = end_open(&e->ends[side], side, e->options.mtu);
    if (status == 0 && e->options.command)
        status = start_command(e);
    return status;
}

int main(int argc, char **argv)
{
    static const struct end closed = {.namespace_fd = -1, .tun_fd = -1, .counters_fd = -1};
    struct emulator e = {.ends = {closed, closed}};
    options_parse(&e.options, argc, argv);
    e.out = e.options.command ? stderr : stdout;
    prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds: packets leave on time */
    for (unsigned side = 0; side < 2; side++) {
        e.ends[side].name = e.options.names[side];
        line_init(&e.lines[side], &e.options.lines[side], e.options.seed, side);
    }
    e.status = open_all(&e);
    if (e.status == 0) {
        print_ready(&e);
        run(&e);
        print_statistics(&e);
    }
    for (unsigned side = 0; side < 2; side++) {
        line_deinit(&e.lines[side]);
        end_close(&e.ends[side]);
    }
    return e.status;
}
