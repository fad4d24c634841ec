#include "shards/process/service.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shards/node/shard.h"

enum { LOOKS = 4 }; /* at the shards, in the time of the watchdog */

void service_none(struct service *sv)
{
    *sv = (struct service){.fd = -1};
}

static int connect_to(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len >= sizeof addr.sun_path)
        return -1;
    memcpy(addr.sun_path, name, len);
    if (name[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, size) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The watchdog's time, if it is meant for this process. */
static uint64_t watchdog_ns(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t value;
    if (!us || config_parse_number(us, &value) != 0 || value > UINT64_MAX / 1000)
        return 0;
    if (pid && strtoimax(pid, NULL, 10) != getpid())
        return 0;
    return value * 1000;
}

void service_init(struct service *sv)
{
    const char *name = getenv("NOTIFY_SOCKET");
    service_none(sv);
    if (name)
        sv->fd = connect_to(name);
    if (sv->fd >= 0)
        sv->watchdog_ns = watchdog_ns();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void service_deinit(struct service *sv)
{
    if (sv->fd >= 0)
        close(sv->fd);
    sv->fd = -1;
}

void service_tell(const struct service *sv, const char *format, ...)
{
    char text[512];
    va_list args;
    if (sv->fd < 0)
        return;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof text)
        (void)!send(sv->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL); /* a lost one is not worth a line */
}

static bool all_turned(struct service *sv, const struct node *n)
{
    bool all = true;
    for (unsigned i = 0; i < n->shard_count; i++) {
        uint64_t turns = counter_get(&n->shards[i]->metrics.turns);
        all &= turns != sv->turns[i];
        sv->turns[i] = turns;
    }
    return all;
}

uint64_t service_watch(struct service *sv, struct node *n, struct io *io)
{
    if (!sv->watchdog_ns)
        return UINT64_MAX;
    if (io_now(io) < sv->next)
        return sv->next;
    if (all_turned(sv, n))
        service_tell(sv, "WATCHDOG=1");
    for (unsigned i = 0; i < n->shard_count; i++)
        if (i != io->shard)
            io_doorbell(io, i);
    sv->next = io_now(io) + sv->watchdog_ns / LOOKS;
    return sv->next;
}
