/* peers.yaml and the rules of a peer entry. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"

static int parse(const char *text, struct peers_file *f, struct config_error *e)
{
    memset(e, 0, sizeof *e);
    return peers_file_parse(text, strlen(text), "D/peers.yaml", f, e);
}

static void refuses(const char *text, const char *message)
{
    struct peers_file f;
    struct config_error e;
    cr_expect_eq(parse(text, &f, &e), NET_ERR_INVALID, "accepted: %s", text);
    cr_expect_str_eq(e.text, message);
    cr_expect_null(f.peers);
    cr_expect_null(f.subscriptions);
}

static struct peer_entry entry(void)
{
    struct peer_entry e = {.name = "beta", .node_id = 7, .has_addr = true, .has_key = true, .public_key = {1}};
    cr_assert_eq(config_parse_addr("127.0.0.1:5", &e.addr), NET_OK);
    return e;
}

static void check(const struct peer_entry *e, const char *message)
{
    struct config_error error = {{0}};
    cr_expect_eq(peer_entry_check(e, &error), message ? NET_ERR_INVALID : NET_OK);
    cr_expect_str_eq(error.text, message ? message : "");
}

Test(peers_file, reads_all_there_is)
{
    struct peers_file f;
    struct config_error e;
    char addr[64];
    cr_assert_eq(parse("peers:\n"
                       "  - {name: beta, node_id: 0xbd826a5d0a6394f5, addr: \"10.0.0.2:20037\", public_key: " KEY "}\n"
                       "  - name: old\n    node_id: 12\n    compat: v0.19\n    mode: direct\n"
                       "subscriptions:\n  - channel: sensors/lidar\n    from: 0xbd826a5d0a6394f5\n",
                       &f, &e),
                 NET_OK, "%s", e.text);
    cr_assert_eq(f.peer_count, 2);
    cr_expect_str_eq(f.peers[0].name, "beta");
    cr_expect_eq(f.peers[0].node_id, UINT64_C(0xbd826a5d0a6394f5));
    config_format_addr(&f.peers[0].addr, addr);
    cr_expect_str_eq(addr, "10.0.0.2:20037");
    cr_expect(f.peers[0].public_key[0] == 0x01 && f.peers[0].public_key[31] == 0xef);
    cr_expect_eq(f.peers[0].compat, PEER_OURS);
    cr_expect_eq(f.peers[1].node_id, 12);
    cr_expect(!f.peers[1].has_addr && !f.peers[1].has_key);
    cr_expect_eq(f.peers[1].compat, PEER_V019);
    cr_expect_eq(f.peers[1].mode, PEER_MODE_DIRECT);
    cr_assert_eq(f.subscription_count, 1);
    cr_expect_str_eq(f.subscriptions[0].channel, "sensors/lidar");
    cr_expect_eq(f.subscriptions[0].peer, UINT64_C(0xbd826a5d0a6394f5));
    peers_file_free(&f);
    cr_expect_null(f.peers);
}

Test(peers_file, empty_files)
{
    static const char *const texts[] = {"", "# nothing\n", "peers: []\nsubscriptions: []\n",
                                        "peers:\nsubscriptions:\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct peers_file f;
        struct config_error e;
        cr_expect_eq(parse(texts[i], &f, &e), NET_OK, "%s", e.text);
        cr_expect(f.peer_count == 0 && f.subscription_count == 0);
        peers_file_free(&f);
    }
    struct peers_file f;
    struct config_error e;
    cr_expect_eq(peers_file_load("/nonexistent", &f, &e), NET_OK, "a missing file is empty");
    cr_expect_eq(f.peer_count, 0);
}

Test(peers_file, what_is_rendered_reads_back)
{
    struct peer_entry peers[2] = {entry(),
                                  {.name = "true", .node_id = 9, .compat = PEER_V019, .mode = PEER_MODE_DIRECT}};
    struct subscription_entry subscriptions[] = {
        {.channel = "a.b/c_d-1", .peer = UINT64_MAX},
        {.channel = "a", .peer = 9, .mode = SUBSCRIBE_LIVE},
        {.channel = "b", .peer = 9, .start = START_EARLIEST},
        {.channel = "c", .peer = 9, .start = START_LATEST},
        {.channel = "d", .peer = 9, .start = START_SEQUENCE, .sequence = UINT64_MAX},
        {.channel = "e", .peer = 9, .start = START_SEQUENCE, .sequence = 0, .anew = true},
    };
    struct peers_file f = {peers, 2, subscriptions, 6}, back;
    struct config_error e;
    size_t len = 0;
    char *text = peers_file_render(&f, &len);
    cr_assert_not_null(text);
    cr_expect_eq(strlen(text), len);
    cr_assert_eq(parse(text, &back, &e), NET_OK, "%s", e.text);
    cr_assert_eq(back.peer_count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_str_eq(back.peers[i].name, peers[i].name);
        cr_expect_eq(back.peers[i].node_id, peers[i].node_id);
        cr_expect_eq(back.peers[i].has_addr, peers[i].has_addr);
        cr_expect_eq(memcmp(&back.peers[i].addr, &peers[i].addr, sizeof peers[i].addr), 0);
        cr_expect_eq(memcmp(back.peers[i].public_key, peers[i].public_key, 32), 0);
        cr_expect_eq(back.peers[i].compat, peers[i].compat);
        cr_expect_eq(back.peers[i].mode, peers[i].mode);
    }
    cr_assert_eq(back.subscription_count, 6);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_str_eq(back.subscriptions[i].channel, subscriptions[i].channel);
        cr_expect_eq(back.subscriptions[i].peer, subscriptions[i].peer);
        cr_expect_eq(back.subscriptions[i].mode, subscriptions[i].mode);
        cr_expect_eq(back.subscriptions[i].start, subscriptions[i].start);
        cr_expect_eq(back.subscriptions[i].sequence, subscriptions[i].sequence);
        cr_expect_eq(back.subscriptions[i].anew, subscriptions[i].anew);
    }
    free(text);
    peers_file_free(&back);
}

Test(peers_file, errors_have_lines)
{
    refuses("peers:\n  - name: 12\n",
            "D/peers.yaml:2: name: found \"12\", allowed: 1 to 63 of A-Z a-z 0-9 . _ -, not all digits, not "
            "starting with 0x, and not \"self\"");
    refuses("peers:\n  - name: a\n    node_id: zz\n",
            "D/peers.yaml:3: node_id: found \"zz\", allowed: 0x and 16 hex digits");
    refuses("peers:\n  - name: a\n    addr: [1]\n",
            "D/peers.yaml:3: addr: found a list, allowed: ADDRESS:PORT or [IPV6]:PORT, port 1..65535");
    refuses("peers:\n  - {name: a, public_key: 00}\n",
            "D/peers.yaml:2: public_key: found \"00\", allowed: 64 hex digits");
    refuses("peers:\n  - {name: a, compat: v0.18}\n", "D/peers.yaml:2: compat: found \"v0.18\", allowed: v0.19");
    refuses("peers:\n  - {name: a, mode: fast}\n", "D/peers.yaml:2: mode: found \"fast\", allowed: direct or routed");
    refuses("peers:\n  - {name: a, port: 1}\n",
            "D/peers.yaml:2: found the unknown key \"port\", allowed: name, node_id, addr, public_key, compat, mode");
    refuses("peers:\n  - {name: a, name: b}\n",
            "D/peers.yaml:2: peers.name: found twice (first in line 2), allowed: once");
    refuses("peers:\n  - {name: a, compat: v0.19}\n",
            "D/peers.yaml:2: node_id: found 0, allowed: the node id of the peer (net-mesh node info shows it)");
    refuses("peers:\n  - 4\n", "D/peers.yaml:2: peers: found \"4\", allowed: a mapping of keys to values");
    refuses("peers: 4\n", "D/peers.yaml:1: peers: found \"4\", allowed: a list");
    refuses("others: []\n", "D/peers.yaml:1: found the unknown key \"others\", allowed: peers, subscriptions");
    refuses("subscriptions:\n  - {channel: a, from: beta}\n",
            "D/peers.yaml:2: from: found \"beta\", allowed: the peer's node id, 0x and 16 hex digits");
    refuses("subscriptions:\n  - channel: a\n",
            "D/peers.yaml:2: found a subscription without from, allowed: channel and from");
    refuses("subscriptions:\n  - from: 1\n",
            "D/peers.yaml:2: found a subscription without channel, allowed: channel and from");
    refuses("subscriptions:\n  - {channel: a, from: 1, anew: yes}\n",
            "D/peers.yaml:2: anew: found \"yes\", allowed: true or false");
    refuses("subscriptions:\n  - {channel: a, from: 1, mode: live, anew: true}\n",
            "D/peers.yaml:2: start or anew: found beside mode: live, allowed: only with mode: follow");
}

Test(peers_file, no_row_twice)
{
    refuses("peers:\n"
            "  - {name: b, node_id: 1, compat: v0.19}\n"
            "  - {name: a, node_id: 2, compat: v0.19}\n"
            "  - {name: b, node_id: 3, compat: v0.19}\n",
            "D/peers.yaml:4: found the name of line 2 again, allowed: once");
    refuses("peers:\n"
            "  - {name: b, node_id: 1, compat: v0.19}\n"
            "  - {name: a, node_id: 1, compat: v0.19}\n",
            "D/peers.yaml:3: found the node_id of line 2 again, allowed: once");
    refuses("subscriptions:\n  - {channel: a, from: 1}\n  - {channel: a, from: 2}\n  - {channel: a, from: 1}\n",
            "D/peers.yaml:4: found the subscription of line 2 again, allowed: once");
}

Test(peers_file, bad_channel_names_are_refused)
{
    struct peers_file f;
    struct config_error e;
    cr_expect_eq(parse("subscriptions:\n  - {channel: Sensors, from: 1}\n", &f, &e), NET_ERR_INVALID);
    cr_expect(strncmp(e.text, "D/peers.yaml:2: channel: found \"Sensors\", allowed: ", 50) == 0, "%s", e.text);
}

Test(peers_file, the_rules_of_an_entry)
{
    static const char *const names[] = {"", "1234", "0xab", "0Xab", "self", "a b", "a/b", "\xc3\xa4"};
    struct peer_entry e = entry();
    check(&e, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct config_error error;
        strcpy(e.name, names[i]);
        cr_expect_eq(peer_entry_check(&e, &error), NET_ERR_INVALID, "accepted: %s", names[i]);
    }
    memset(e.name, 'a', sizeof e.name);
    cr_expect_eq(peer_entry_check(&e, &(struct config_error){{0}}), NET_ERR_INVALID, "64 bytes without an end");

    e = entry();
    e.has_key = false;
    check(&e, "public_key: found nothing, allowed: only a peer with compat: v0.19 may go without");
    e.compat = PEER_V019;
    check(&e, "public_key: found nothing, allowed: addr and public_key together, or neither (inbound only)");
    e.has_addr = false;
    check(&e, NULL);
    e.has_key = true;
    check(&e, "addr: found nothing, allowed: addr and public_key together, or neither (inbound only)");
    e = entry();
    e.mode = PEER_MODE_DIRECT;
    check(&e, "mode: found direct, allowed: a mode only with compat: v0.19");
    e = entry();
    cr_assert_eq(config_parse_addr("0.0.0.0:5", &e.addr), NET_OK);
    check(&e, "addr: found 0.0.0.0:5, allowed: the address and port of one host");
    e = entry();
    memset(e.public_key, 0, sizeof e.public_key);
    check(&e, "public_key: found zeros, allowed: the peer's public key (net-mesh node info shows it)");
}
