/* What a service manager is told: the environment, and the datagrams. sd_notify(3), sd_watchdog_enabled(3). */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shards/process/service.h"

static char dir[] = "/tmp/net-mesh-service-XXXXXX";

static int manager(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    memcpy(addr.sun_path, name, len);
    if (name[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *received(int fd)
{
    static char text[1024];
    ssize_t len = recv(fd, text, sizeof text - 1, 0);
    text[len < 0 ? 0 : len] = '\0';
    return text;
}

static void check_told(const char *name)
{
    struct service sv;
    int fd = manager(name);
    service_init(&sv);
    cr_assert_geq(sv.fd, 0);
    cr_expect_null(getenv("NOTIFY_SOCKET"), "children must not speak for us");
    service_tell(&sv, "READY=1\nSTATUS=%s %d", "shards:", 2);
    cr_expect_str_eq(received(fd), "READY=1\nSTATUS=shards: 2");
    for (int i = 0; i < 10000; i++) /* more than it has room for: none of them waits */
        service_tell(&sv, "WATCHDOG=1");
    cr_expect_str_eq(received(fd), "WATCHDOG=1");
    close(fd);
    service_tell(&sv, "STOPPING=1"); /* it went: no signal */
    service_deinit(&sv);
    cr_expect_eq(sv.fd, -1);
}

Test(service, path)
{
    char name[128];
    cr_assert(mkdtemp(dir));
    snprintf(name, sizeof name, "%s/notify", dir);
    check_told(name);
    unlink(name);
    rmdir(dir);
}

Test(service, abstract_name)
{
    char name[64];
    snprintf(name, sizeof name, "@net-mesh-test-%d", (int)getpid());
    check_told(name);
}

Test(service, no_manager)
{
    static const char *const names[] = {NULL, "", "relative", "@", "/nowhere/at/all", "vsock:1:2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct service sv;
        unsetenv("NOTIFY_SOCKET");
        if (names[i])
            setenv("NOTIFY_SOCKET", names[i], 1);
        setenv("WATCHDOG_USEC", "1000000", 1);
        service_init(&sv);
        cr_expect_eq(sv.fd, -1, "%s", names[i] ? names[i] : "not set");
        cr_expect_eq(sv.watchdog_ns, 0);
        cr_expect_null(getenv("WATCHDOG_USEC"));
        service_tell(&sv, "READY=1");
        cr_expect_eq(service_watch(&sv, NULL, NULL), UINT64_MAX);
        service_deinit(&sv);
    }
}

Test(service, a_name_that_is_too_long)
{
    struct service sv;
    char name[sizeof((struct sockaddr_un *)0)->sun_path + 1];
    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    service_init(&sv);
    cr_expect_eq(sv.fd, -1);
}

Test(service, watchdog_of_whom)
{
    char me[32], other[32], name[64];
    snprintf(me, sizeof me, "%d", (int)getpid());
    snprintf(other, sizeof other, "%d", (int)getpid() + 1);
    snprintf(name, sizeof name, "@net-mesh-watchdog-%d", (int)getpid());
    const struct {
        const char *us, *pid;
        uint64_t ns;
    } cases[] = {{"30000000", NULL, UINT64_C(30000000000)},
                 {"30000000", me, UINT64_C(30000000000)},
                 {"30000000", other, 0},
                 {"many", me, 0},
                 {"-1", me, 0},
                 {"18446744073709551615", me, 0},
                 {NULL, me, 0}};
    int fd = manager(name);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct service sv;
        setenv("NOTIFY_SOCKET", name, 1);
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (cases[i].us)
            setenv("WATCHDOG_USEC", cases[i].us, 1);
        if (cases[i].pid)
            setenv("WATCHDOG_PID", cases[i].pid, 1);
        service_init(&sv);
        cr_expect_eq(sv.watchdog_ns, cases[i].ns, "case %zu", i);
        cr_expect(!getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
        service_deinit(&sv);
    }
    close(fd);
}
