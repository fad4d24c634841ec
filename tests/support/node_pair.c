#include "tests/support/node_pair.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/identity/identity.h"
#include "shards/config/config.h"

/* A port nobody uses now, for UDP and TCP; nobody else is expected to take it before the node does. */
static uint16_t free_port(void)
{
    for (;;) {
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof addr;
        int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
        assert(udp >= 0 && tcp >= 0);
        bool ok = bind(udp, (struct sockaddr *)&addr, sizeof addr) == 0 &&
                  getsockname(udp, (struct sockaddr *)&addr, &len) == 0 &&
                  bind(tcp, (struct sockaddr *)&addr, sizeof addr) == 0;
        close(udp);
        close(tcp);
        if (ok)
            return ntohs(addr.sin_port);
    }
}

static void make_dir(const char *dir, const char *psk_from, uint16_t port, uint16_t admin)
{
    char listen[64], admin_listen[64], psk[NODE_PAIR_PATH + 8];
    text_format(listen, sizeof listen, "listen=127.0.0.1:%u", port);
    text_format(admin_listen, sizeof admin_listen, "admin.listen=127.0.0.1:%u", admin);
    text_format(psk, sizeof psk, "%s/psk", psk_from ? psk_from : "");
    const char *overrides[] = {listen, admin_listen};
    struct node_dir_init init = {
        .dir = dir, .psk_file = psk_from ? psk : NULL, .overrides = overrides, .override_count = 2};
    struct config_error e;
    int err = node_dir_create(&init, &e);
    if (err)
        fprintf(stderr, "%s\n", e.text);
    assert(err == NET_OK);
}

/* What a peer entry needs to know of the node in `dir`. */
static void fill_entry(struct peer_entry *entry, const char *dir)
{
    struct node_secrets secrets;
    struct config_error e;
    struct crypto *crypto;
    struct identity id;
    int err = node_dir_load_secrets(dir, &secrets, &e);
    assert(err == NET_OK);
    err = crypto_init(&crypto, NULL);
    assert(err == NET_OK);
    err = identity_init(&id, crypto, secrets.seed);
    assert(err == NET_OK);
    entry->node_id = id.ids.node_id;
    x25519_public(secrets.static_secret, entry->public_key);
    node_secrets_wipe(&secrets);
    identity_deinit(&id);
    crypto_deinit(crypto);
}

static void introduce(const char *dir, const char *other, uint16_t port, const char *channel,
                      enum subscription_mode mode)
{
    struct peer_entry peer = {.name = "other", .has_addr = true, .has_key = true};
    struct subscription_entry sub = {.mode = mode};
    char addr[64], path[NODE_PAIR_PATH + 16];
    fill_entry(&peer, other);
    text_format(addr, sizeof addr, "127.0.0.1:%u", port);
    int err = config_parse_addr(addr, &peer.addr);
    assert(err == NET_OK);
    sub.peer = peer.node_id;
    text_format(sub.channel, sizeof sub.channel, "%s", channel ? channel : "");
    struct peers_file f = {&peer, 1, &sub, channel ? 1 : 0};
    size_t len;
    char *text = peers_file_render(&f, &len);
    text_format(path, sizeof path, "%s/peers.yaml", dir);
    FILE *out = fopen(path, "w");
    assert(text && out);
    size_t written = fwrite(text, 1, len, out);
    err = fclose(out);
    assert(written == len && err == 0);
    free(text);
}

void node_pair_make(struct node_pair *p, const char *forth, const char *back, enum subscription_mode mode)
{
    text_format(p->root, sizeof p->root, "/var/tmp/net-mesh-pair-XXXXXX");
    char *made = mkdtemp(p->root);
    assert(made);
    text_format(p->a, sizeof p->a, "%s/a", p->root);
    text_format(p->b, sizeof p->b, "%s/b", p->root);
    p->port_a = free_port();
    p->port_b = free_port();
    p->admin_a = free_port();
    p->admin_b = free_port();
    make_dir(p->a, NULL, p->port_a, p->admin_a);
    make_dir(p->b, p->a, p->port_b, p->admin_b);
    introduce(p->a, p->b, p->port_b, back, mode);
    introduce(p->b, p->a, p->port_a, forth, mode);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void node_pair_remove(struct node_pair *p)
{
    nftw(p->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
