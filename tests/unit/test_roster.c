/* Rosters in broadcast mode. channels.md 10 and 18 (32, 35, 36). */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/channel/roster.h"
#include "tests/support/splitmix.h"

static struct channel_name name_of(const char *text)
{
    struct channel_name name;
    cr_assert_eq(channel_name_parse(text, strlen(text), &name), CHANNEL_NAME_OK);
    return name;
}

Test(roster, add_and_remove)
{
    struct roster r;
    struct channel_name a = name_of("a"), b = name_of("b");
    cr_assert_eq(roster_init(&r, 10, 10, 1), NET_OK);
    cr_assert_eq(roster_count(&r, &a), 0);
    cr_assert_null(roster_next(&r, &a, NULL));
    cr_assert_eq(roster_add(&r, &a, 7, 0), 1);
    cr_assert_eq(roster_add(&r, &a, 7, 0), 0, "the same again is no change");
    cr_assert_eq(roster_add(&r, &a, 0, 2), 1, "any id is an id");
    cr_assert_eq(roster_add(&r, &b, 7, 0), 1);
    cr_assert(roster_has(&r, &a, 7));
    cr_assert(!roster_has(&r, &b, 0));
    cr_assert_eq(roster_count(&r, &a), 2);
    cr_assert_eq(roster_peer_channels(&r, 7), 2);

    cr_assert(roster_remove(&r, &a, 7));
    cr_assert(!roster_remove(&r, &a, 7));
    cr_assert(!roster_remove(&r, &a, 99));
    cr_assert_eq(r.channel_count, 2);
    cr_assert(roster_remove(&r, &a, 0));
    cr_assert_eq(r.channel_count, 1, "an empty channel is deleted");
    cr_assert_eq(roster_remove_peer(&r, 7), 1);
    cr_assert_eq(roster_remove_peer(&r, 7), 0);
    cr_assert_eq(r.channel_count, 0);
    cr_assert_eq(r.channels.count, 0);
    cr_assert_eq(r.peers.count, 0);
    roster_deinit(&r);
}

Test(roster, members_once_each_in_order_with_their_shard)
{
    struct roster r;
    struct channel_name a = name_of("a");
    const struct roster_member *m = NULL;
    cr_assert_eq(roster_init(&r, 10, 10, 1), NET_OK);
    for (uint64_t id = 100; id < 110; id++)
        cr_assert_eq(roster_add(&r, &a, id, (unsigned)id % 4), 1);
    cr_assert_eq(roster_add(&r, &a, 105, 3), 0, "the peer moved");
    for (uint64_t id = 100; id < 110; id++) {
        m = roster_next(&r, &a, m);
        cr_assert_not_null(m);
        cr_assert_eq(m->node_id, id);
        cr_assert_eq(m->shard, id == 105 ? 3 : id % 4);
    }
    cr_assert_null(roster_next(&r, &a, m));
    roster_deinit(&r);
}

Test(roster, limits)
{
    struct roster r;
    struct channel_name names[4] = {name_of("a"), name_of("b"), name_of("c"), name_of("d")};
    cr_assert_eq(roster_init(&r, 3, 2, 1), NET_OK);
    cr_assert_eq(roster_add(&r, &names[0], 1, 0), 1);
    cr_assert_eq(roster_add(&r, &names[1], 1, 0), 1);
    cr_assert_eq(roster_add(&r, &names[2], 1, 0), NET_ERR_LIMIT, "of the peer");
    cr_assert_eq(roster_add(&r, &names[0], 1, 0), 0, "what it holds it may ask for again");
    cr_assert_eq(roster_add(&r, &names[2], 2, 0), 1);
    cr_assert_eq(roster_add(&r, &names[3], 3, 0), NET_ERR_LIMIT, "of channels");
    cr_assert_eq(r.peers.count, 2, "a refusal leaves nothing behind");
    cr_assert_eq(roster_add(&r, &names[0], 3, 0), 1);
    cr_assert(roster_remove(&r, &names[2], 2));
    cr_assert_eq(roster_add(&r, &names[3], 3, 0), 1);
    roster_deinit(&r);
}

/* XXH3 is no cryptographic hash: two names of one hash are found within minutes. Each still is its own channel. */
Test(roster, names_of_the_same_hash)
{
    struct roster r;
    struct channel_name a = name_of("doglhkojgeelmjgd"), b = name_of("jbphgedkkncgigag");
    cr_assert_eq(channel_hash(a.text, a.len), UINT64_C(0xd8a88b20b870fa74));
    cr_assert_eq(channel_hash(b.text, b.len), UINT64_C(0xd8a88b20b870fa74));
    for (int first = 0; first < 2; first++) { /* whichever goes first */
        cr_assert_eq(roster_init(&r, 2, 2, 1), NET_OK);
        cr_assert_eq(roster_add(&r, &a, 1, 0), 1);
        cr_assert(!roster_has(&r, &b, 1));
        cr_assert_eq(roster_add(&r, &b, 1, 0), 1);
        cr_assert_eq(roster_add(&r, &b, 2, 0), 1);
        cr_assert_eq(roster_count(&r, &a), 1);
        cr_assert_eq(roster_count(&r, &b), 2);
        cr_assert(roster_remove(&r, first ? &a : &b, 1));
        cr_assert_eq(roster_count(&r, &a), first ? 0 : 1);
        cr_assert_eq(roster_count(&r, &b), first ? 2 : 1);
        cr_assert(roster_remove(&r, &b, 2));
        cr_assert_eq(roster_remove_peer(&r, 1), 1);
        cr_assert_eq(r.channel_count, 0);
        cr_assert_eq(r.channels.count, 0);
        roster_deinit(&r);
    }
}

enum { CHANNELS = 40, PEERS = 60 };

struct model {
    struct roster roster;
    struct channel_name names[CHANNELS];
    bool in[CHANNELS][PEERS];
    uint64_t seed;
};

static void check(struct model *m)
{
    uint32_t channels = 0;
    for (int c = 0; c < CHANNELS; c++) {
        uint32_t count = 0, listed = 0;
        for (int p = 0; p < PEERS; p++) {
            count += m->in[c][p];
            cr_assert_eq(roster_has(&m->roster, &m->names[c], (uint64_t)p), m->in[c][p]);
        }
        for (const struct roster_member *x = NULL; (x = roster_next(&m->roster, &m->names[c], x)); listed++)
            cr_assert(m->in[c][x->node_id]);
        cr_assert_eq(listed, count);
        cr_assert_eq(roster_count(&m->roster, &m->names[c]), count);
        channels += count > 0;
    }
    cr_assert_eq(m->roster.channel_count, channels);
}

static void step(struct model *m)
{
    size_t c = (size_t)splitmix_below(&m->seed, CHANNELS), p = (size_t)splitmix_below(&m->seed, PEERS);
    uint32_t held = 0;
    switch (splitmix_below(&m->seed, 10)) {
    case 0:
        for (int i = 0; i < CHANNELS; i++) {
            held += m->in[i][p];
            m->in[i][p] = false;
        }
        cr_assert_eq(roster_peer_channels(&m->roster, p), held);
        cr_assert_eq(roster_remove_peer(&m->roster, p), held);
        break;
    case 1:
    case 2:
    case 3:
        cr_assert_eq(roster_remove(&m->roster, &m->names[c], p), m->in[c][p]);
        m->in[c][p] = false;
        break;
    default:
        cr_assert_eq(roster_add(&m->roster, &m->names[c], p, 0), !m->in[c][p]);
        m->in[c][p] = true;
    }
}

Test(roster, model)
{
    struct model *m = calloc(1, sizeof *m);
    m->seed = 11;
    cr_assert_eq(roster_init(&m->roster, CHANNELS, CHANNELS, 2), NET_OK);
    for (int c = 0; c < CHANNELS; c++) {
        char text[16];
        snprintf(text, sizeof text, "c/%d", c);
        m->names[c] = name_of(text);
    }
    for (int i = 0; i < 20000; i++) {
        step(m);
        if (i % 100 == 0)
            check(m);
    }
    check(m);
    roster_deinit(&m->roster);
    free(m);
}
