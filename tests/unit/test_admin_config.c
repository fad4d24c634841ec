/* /v1/config, /v1/reload, and what of admin.* a reload changes. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/support/admin/expect.h"

static struct world w;
static struct response r;

static void set_up(void)
{
    world_init(&w);
    world_start(&w);
}

static void tear_down(void)
{
    response_free(&r);
    world_deinit(&w);
}

TestSuite(admin_config, .init = set_up, .fini = tear_down);

static void expect(int status, const char *body)
{
    cr_assert_eq(r.status, status, "%d: %s", r.status, r.body);
    cr_assert_str_eq(r.body, body);
    cr_assert(r.complete);
}

Test(admin_config, settings_with_their_sources)
{
    static const struct config_row rows[] = {
        {"listen", "[::]:20037", 0, "at the next start", false, NULL},
        {"shards.count", "2", 17, "at the next start", false, "4"},
        {"channels.prefixes.a/b.fsync", "each", 20, "at once on reload", true, NULL},
        {"logging.level", "debug", CONFIG_LINE_SET, "at once on reload", true, NULL}};
    world_get(&w, "/v1/config", &r);
    expect(200, "[]\n");
    w.node.settings = rows;
    w.node.setting_count = 4;
    world_get(&w, "/v1/config", &r);
    expect(200, "[{\"key\":\"listen\",\"value\":\"[::]:20037\",\"source\":\"default\",\"line\":null,"
                "\"applies\":\"at the next start\",\"pending\":null},"
                "{\"key\":\"shards.count\",\"value\":\"2\",\"source\":\"node.yaml\",\"line\":17,"
                "\"applies\":\"at the next start\",\"pending\":\"4\"},"
                "{\"key\":\"channels.prefixes.a/b.fsync\",\"value\":\"each\",\"source\":\"node.yaml\",\"line\":20,"
                "\"applies\":\"at once on reload\",\"pending\":null},"
                "{\"key\":\"logging.level\",\"value\":\"debug\",\"source\":\"--set\",\"line\":null,"
                "\"applies\":\"at once on reload\",\"pending\":null}]\n");
}

Test(admin_config, a_reload_says_what_came_of_it)
{
    world_request(&w, "POST", "/v1/reload", "", "", 0, &r);
    expect(200, "{\"applied\":[],\"restart_needed\":[]}\n");
    cr_assert_str_eq(w.node.asked, "reload");
    w.node.changes = (struct config_changes){
        .applied = {"channels.fsync", "logging.level"}, .applied_count = 2, .restart = {"listen"}, .restart_count = 1};
    world_request(&w, "POST", "/v1/reload", "", "", 0, &r);
    expect(200, "{\"applied\":[\"channels.fsync\",\"logging.level\"],\"restart_needed\":[\"listen\"]}\n");
}

Test(admin_config, a_mistake_is_told_with_its_place)
{
    w.node.err = NET_ERR_INVALID;
    w.node.message = "/node/node.yaml:2: shards.count: found \"many\", allowed: auto or 1..64";
    world_request(&w, "POST", "/v1/reload", "", "", 0, &r);
    expect(400, "{\"error\":{\"code\":\"invalid\",\"message\":\"/node/node.yaml:2: shards.count: found \\\"many\\\", "
                "allowed: auto or 1..64\"}}\n");
}

Test(admin_config, shorter_timeouts_and_fewer_connections_count_at_once)
{
    int idle = stream_connect(&w.stream);
    world_say(&w, idle, WORLD_HEALTHZ);
    w.node.config.admin_idle_timeout_ns = UINT64_C(2000000000);
    w.node.config.admin_connections = 1;
    w.node.config.admin_header_bytes = 1024;
    admin_apply(w.admin, &w.node.config);
    world_sleep(&w, 1900);
    cr_assert(!world_closed(&w, idle));
    world_sleep(&w, 200);
    cr_assert(world_closed(&w, idle));
    char headers[1200];
    memset(headers, 'x', sizeof headers);
    memcpy(headers, "X: ", 3);
    memcpy(headers + sizeof headers - 3, "\r\n", 3);
    world_request(&w, "GET", "/healthz", headers, "", 0, &r);
    cr_assert_eq(r.status, 431);
}
