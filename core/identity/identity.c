#include "core/identity/identity.h"

#include "core/base/err.h"

static uint64_t project(struct crypto *c, const char *label, const uint8_t entity[32])
{
    uint8_t hash[32];
    struct cspan part = {entity, 32};
    blake2s(c, (const uint8_t *)label, strlen(label), &part, 1, hash);
    return load_le64(hash);
}

struct identity_ids identity_ids_of(struct crypto *c, const uint8_t entity[32])
{
    return (struct identity_ids){project(c, "net-node-id-v1", entity), project(c, "net-origin-v1", entity)};
}

int identity_init(struct identity *id, struct crypto *c, const uint8_t seed[32])
{
    enum { NET_MAGIC = 0x4E45 }; /* pingwaves begin with the node id and would look like Net packets */
    memcpy(id->seed, seed, sizeof id->seed);
    ed25519_public(seed, id->entity);
    id->ids = identity_ids_of(c, id->entity);
    if (id->ids.node_id == 0 || (id->ids.node_id & 0xffff) == NET_MAGIC) {
        identity_deinit(id);
        return NET_ERR_INVALID;
    }
    return NET_OK;
}

void identity_deinit(struct identity *id)
{
    secure_wipe(id->seed, sizeof id->seed);
}
