/* A node inside this process leaves none of its secrets behind: neither the files' text nor what it became. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/crypto/crypto.h"
#include "shards/config/config.h"
#include "shards/netmesh.h"
#include "tests/support/memory_scan.h"
#include "tests/support/node_pair.h"

static const char *const files[] = {"identity", "noise.key", "psk", "admin.token", "readonly.token"};

enum { FILES = sizeof files / sizeof files[0] };

struct secret {
    struct memory_needle text, raw;
};

static void hide_file(const char *dir, const char *name, struct secret *out)
{
    char path[256], text[65] = "";
    uint8_t raw[32];
    text_format(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(fd, text, 64), 64, "%s", path);
    close(fd);
    cr_assert_eq(config_parse_key(text, raw), NET_OK);
    memory_hide(&out->text, (const uint8_t *)text);
    memory_hide(&out->raw, raw);
    secure_wipe(text, sizeof text);
    secure_wipe(raw, sizeof raw);
}

struct run {
    struct netmesh *nm;
    const struct secret *secrets;
    size_t seen;
};

static void on_ready(void *ctx, const char *line)
{
    struct run *run = ctx;
    (void)line;
    for (size_t i = 0; i < FILES; i++)
        run->seen += memory_count(&run->secrets[i].text) + memory_count(&run->secrets[i].raw) > 0;
    fprintf(stderr, "that was to be expected; now they must be gone\n");
    netmesh_stop(run->nm);
}

Test(secrets, of_the_directory_are_wiped, .timeout = 60)
{
    static struct node_pair pair;
    static struct secret secrets[FILES];
    static struct run run;
    char error[1024] = "";
    const char *overrides[] = {"shards.count=2"};
    if (!MEMORY_SCAN_WORKS)
        return;
    node_pair_make(&pair, "x", NULL, SUBSCRIBE_LIVE);
    for (size_t i = 0; i < FILES; i++)
        hide_file(pair.a, files[i], &secrets[i]);
    cr_assert_eq(netmesh_open(&run.nm, pair.a, overrides, 1, NULL, error, sizeof error), 0, "%s", error);
    run.secrets = secrets;
    cr_assert_eq(netmesh_run(run.nm, false, on_ready, &run, error, sizeof error), 0, "%s", error);
    netmesh_close(run.nm);
    cr_expect_eq(run.seen, FILES, "each is found while it is in use");
    for (size_t i = 0; i < FILES; i++) {
        cr_expect_eq(memory_count(&secrets[i].text), 0, "%s, as text", files[i]);
        cr_expect_eq(memory_count(&secrets[i].raw), 0, "%s", files[i]);
    }
    node_pair_remove(&pair);
}

/* memory.core_dumps */
Test(secrets, no_core_dump)
{
    static struct node_pair pair;
    struct netmesh *nm;
    struct rlimit limit;
    char error[1024] = "";
    const char *allowed[] = {"memory.core_dumps=true"};
    node_pair_make(&pair, "x", NULL, SUBSCRIBE_LIVE);
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    cr_assert_eq(netmesh_open(&nm, pair.a, allowed, 1, NULL, error, sizeof error), 0, "%s", error);
    netmesh_close(nm);
    cr_expect_eq(prctl(PR_GET_DUMPABLE), 1);
    getrlimit(RLIMIT_CORE, &limit);
    cr_expect_eq(limit.rlim_cur, limit.rlim_max);
    cr_assert_eq(netmesh_open(&nm, pair.a, NULL, 0, NULL, error, sizeof error), 0, "%s", error);
    netmesh_close(nm);
    cr_expect_eq(prctl(PR_GET_DUMPABLE), 0);
    getrlimit(RLIMIT_CORE, &limit);
    cr_expect_eq(limit.rlim_cur, 0);
    node_pair_remove(&pair);
}
