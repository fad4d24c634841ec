/* Making and ending a node: what its shards share before they run. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/node/mailbox.h"

static uint64_t offered_features(const struct config *c)
{
    uint64_t features = FEATURE_SECURE | FEATURE_ACK | FEATURE_FRAGMENT | FEATURE_CREDIT | FEATURE_RELAYED |
                        FEATURE_EPOCHS | FEATURE_FOLLOW | FEATURE_APPEND;
    if (c->cipher_aes_gcm && crypto_has_fast_aes())
        features |= FEATURE_AES_GCM;
    return features;
}

static int load_identity(struct node *n, const struct node_secrets *secrets, struct config_error *error)
{
    struct crypto *crypto;
    int err = crypto_init(&crypto, NULL);
    if (err) {
        text_format(error->text, sizeof error->text, "libcrypto lacks an algorithm: %s", net_err_text(err));
        return err;
    }
    n->local.identity = &n->identity;
    memcpy(n->local.static_secret, secrets->static_secret, 32);
    memcpy(n->local.psk, secrets->psk, 32);
    n->local.features = offered_features(n->config);
    handshake_local_init(&n->local, crypto);
    err = identity_init(&n->identity, crypto, secrets->seed);
    crypto_deinit(crypto);
    if (err)
        text_format(error->text, sizeof error->text,
                    "%s/identity: this identity cannot be used on the wire; make another node", n->dir);
    return err;
}

static int make_shards(struct node *n)
{
    size_t count = n->shard_count;
    n->shards = calloc(count, sizeof(struct shard *));
    n->rings = aligned_alloc(_Alignof(struct spsc), count * count * sizeof *n->rings);
    n->referenced = calloc(count * count, sizeof *n->referenced);
    if (!n->shards || !n->rings || !n->referenced)
        return NET_ERR_NO_MEMORY;
    memset(n->rings, 0, count * count * sizeof *n->rings);
    int err = NET_OK;
    for (size_t i = 0; i < count * count && !err; i++)
        err = spsc_init(&n->rings[i], n->config->ring_bytes);
    for (unsigned i = 0; i < count && !err; i++)
        err = shard_create(n, i);
    return err;
}

int node_create(struct node **out, const struct node_options *options, struct config_error *error)
{
    struct node *n = calloc(1, sizeof *n);
    if (!n) {
        struct peers_file peers = options->peers;
        peers_file_free(&peers);
        return NET_ERR_NO_MEMORY;
    }
    *out = n;
    n->options = *options;
    struct config *config = malloc(sizeof *config);
    if (config)
        *config = *options->config;
    n->config = config;
    n->started = options->read ? *options->read : *options->config;
    n->peers = options->peers;
    n->shard_count = options->config->shards;
    text_format(n->dir, sizeof n->dir, "%s", options->dir);
    node_set_log_level(n, options->config->log_level);
    int err = config ? load_identity(n, options->secrets, error) : NET_ERR_NO_MEMORY;
    if (!config)
        text_format(error->text, sizeof error->text, "out of memory");
    if (!err && !config->cipher_chacha && !(n->local.features & FEATURE_AES_GCM)) {
        text_format(error->text, sizeof error->text,
                    "security.ciphers: aes-256-gcm alone needs a CPU with AES and carry-less multiply instructions");
        err = NET_ERR_INVALID;
    }
    if (!err && (err = make_shards(n)) != NET_OK)
        text_format(error->text, sizeof error->text, "cannot make %u shards: %s", n->shard_count, net_err_text(err));
    if (err) {
        node_destroy(n);
        *out = NULL;
    }
    return err;
}

/* What nobody read may be a session's keys. */
static void discard(struct spsc *ring)
{
    struct spsc_record *r;
    while (ring->mem && (r = spsc_peek(ring))) {
        mailbox_drop(r);
        secure_wipe(r->body, r->len);
        spsc_release(ring);
    }
    spsc_deinit(ring);
}

void node_destroy(struct node *n)
{
    if (!n)
        return;
    for (unsigned i = 0; n->shards && i < n->shard_count; i++)
        shard_destroy(n->shards[i]);
    for (size_t i = 0; n->rings && i < (size_t)n->shard_count * n->shard_count; i++)
        discard(&n->rings[i]);
    free(n->shards);
    free(n->rings);
    free(n->referenced);
    peers_file_free(&n->peers);
    identity_deinit(&n->identity);
    handshake_local_deinit(&n->local);
    free((struct config *)n->config);
    free(n);
}

struct shard *node_shard(struct node *n, unsigned shard)
{
    return n->shards[shard];
}

void node_request_stop(struct node *n)
{
    atomic_store_explicit(&n->stop_requested, true, memory_order_relaxed);
}

void node_get_info(struct node *n, struct node_info *out)
{
    struct shard *s = n->shards[0];
    *out = (struct node_info){
        .node_id = n->identity.ids.node_id,
        .config = n->config,
        .shards = n->shard_count,
        .uptime_ns = s->now - n->started_ns,
        .stopping = node_stopping(n),
        .fast_cipher = (n->local.features & FEATURE_AES_GCM) != 0,
        .ipsec_mb = crypto_uses_ipsec_mb(s->crypto),
        .gso = n->options.gso,
        .gro = n->options.gro,
        .socket_buffer = n->options.socket_buffer,
    };
    memcpy(out->entity, n->identity.entity, 32);
    memcpy(out->public_key, n->local.static_public, 32);
}

enum config_level node_log_level(const struct node *n)
{
    return atomic_load_explicit(&n->log_level, memory_order_relaxed);
}

void node_set_log_level(struct node *n, enum config_level level)
{
    atomic_store_explicit(&n->log_level, level, memory_order_relaxed);
}
