/*
 * What comes of a peer's log, on the shard that stores it: MSG_FOLLOW_OPEN and MSG_FOLLOWED against a real node on a
 * simulated disk. The test is the home of the peer; what it says goes through the functions of log.h. extensions X7.4
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "shards/logs/log.h"
#include "tests/sim/mesh/sim_node.h"

enum { PUBLISHER = 0x42, STREAM = 77, CREDIT = 100 };

static struct mesh mesh;
static struct mesh_node *a;
static const uint8_t first_id[LOG_ID_SIZE] = {1}, second_id[LOG_ID_SIZE] = {2};

static void setup(void)
{
    mesh_init(&mesh, 1);
    a = mesh_add(&mesh, 2);
}

static void teardown(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_followed, .init = setup, .fini = teardown);

static uint64_t hash_of(const char *channel)
{
    return channel_hash(channel, strlen(channel));
}

static struct shard *owner_of(const char *channel)
{
    return node_shard(a->node, log_owner(a->node, hash_of(channel)));
}

static struct log *edition(const char *channel, uint32_t number)
{
    return log_find(owner_of(channel), (struct log_key){PUBLISHER, hash_of(channel), number});
}

static void run(uint64_t ns)
{
    for (unsigned i = 0; i < 2; i++)
        sim_host_poke(a->host, i);
    sim_run_for(mesh.sim, ns);
}

/* Asks, as the home on the other shard, and takes the answer out of the ring before that shard sees it. */
static struct msg_follow_place ask(const struct msg_follow_open *m)
{
    struct shard *owner = owner_of(m->channel.text);
    unsigned home = 1 - owner->index;
    struct spsc *ring = &a->node->rings[owner->index * 2 + home];
    struct msg_follow_place place;
    run(SIM_MS);
    cr_assert(spsc_empty(ring));
    log_on_follow_open(owner, home, m);
    struct spsc_record *r = spsc_peek(ring);
    cr_assert(r && r->kind == MSG_FOLLOW_PLACE && r->len >= sizeof place);
    memcpy(&place, r->body, sizeof place);
    spsc_release(ring);
    cr_assert_eq(place.node_id, PUBLISHER);
    cr_assert_eq(place.hash, hash_of(m->channel.text));
    cr_assert_eq(place.token, m->token);
    run(100 * SIM_MS);
    return place;
}

static struct msg_follow_open open_of(const char *channel)
{
    struct msg_follow_open m = {.node_id = PUBLISHER, .token = 5};
    cr_assert_eq(channel_name_parse(channel, strlen(channel), &m.channel), CHANNEL_NAME_OK);
    return m;
}

/* Where our log ends; UINT64_MAX: there is none. */
static uint64_t place_of(const char *channel, const uint8_t id[LOG_ID_SIZE])
{
    struct msg_follow_open m = open_of(channel);
    struct msg_follow_place place = ask(&m);
    cr_assert_eq(place.err, NET_OK);
    cr_assert(!place.known || memcmp(place.log_id, id, LOG_ID_SIZE) == 0);
    return place.known ? place.next_seq : UINT64_MAX;
}

static struct msg_follow_place begin(const char *channel, const uint8_t id[LOG_ID_SIZE], uint64_t next)
{
    struct msg_follow_open m = open_of(channel);
    m.begin = true;
    m.next_seq = next;
    memcpy(m.log_id, id, LOG_ID_SIZE);
    return ask(&m);
}

static void begin_at(const char *channel, const uint8_t id[LOG_ID_SIZE], uint64_t next)
{
    struct msg_follow_place place = begin(channel, id, next);
    cr_assert(place.err == NET_OK && place.known && place.next_seq == next);
    cr_assert_arr_eq(place.log_id, id, LOG_ID_SIZE);
}

/* Events of 8 bytes that say their sequence, at 1000 + sequence. */
static void bring(const char *channel, const uint8_t id[LOG_ID_SIZE], uint64_t first, uint32_t count)
{
    uint8_t runs[64 * TIME_RUN_SIZE], frames[64 * 12];
    struct msg_followed m = {PUBLISHER, hash_of(channel), STREAM, {0}, first, CREDIT, count, count};
    memcpy(m.log_id, id, LOG_ID_SIZE);
    cr_assert_leq(count, 64);
    for (uint32_t i = 0; i < count; i++) {
        store_le32(runs + i * TIME_RUN_SIZE, 1);
        store_le64(runs + i * TIME_RUN_SIZE + 4, 1000 + first + i);
        store_le32(frames + 12 * i, 8);
        store_le64(frames + 12 * i + 4, first + i);
    }
    struct shard *owner = owner_of(channel);
    log_on_followed(owner, 1 - owner->index, &m, (struct cspan){runs, count * (size_t)TIME_RUN_SIZE},
                    (struct cspan){frames, 12 * (size_t)count});
}

static void check(const char *channel, uint32_t number, const uint64_t *seqs, size_t count, uint64_t next)
{
    struct log *log = edition(channel, number);
    struct redex_event e;
    struct log_heads heads;
    uint64_t seq = 0;
    cr_assert(log && log->open);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(log_read(log, &seq, UINT64_MAX, &e, 1), 1, "%zu", i);
        cr_assert_eq(e.seq, seqs[i]);
        cr_assert_eq(e.ts_ns, 1000 + e.seq);
        cr_assert(e.data.len == 8 && load_le64(e.data.data) == e.seq);
    }
    cr_assert_eq(log_read(log, &seq, UINT64_MAX, &e, 1), 0);
    log_heads(log, &heads);
    cr_assert_eq(heads.live, next);
}

static void restart(void)
{
    cr_assert(mesh_stop(a, 60 * SIM_S));
    mesh_start(a);
}

Test(sim_followed, keeps_the_publishers_sequences_and_says_where_they_end)
{
    mesh_start(a);
    cr_assert_eq(place_of("x", first_id), UINT64_MAX);
    begin_at("x", first_id, 10);
    bring("x", first_id, 10, 4);
    bring("x", first_id, 12, 3); /* two of them once more */
    bring("x", first_id, 10, 5); /* all */
    check("x", 1, (const uint64_t[]){10, 11, 12, 13, 14}, 5, 15);
    bring("x", first_id, 20, 2); /* behind a hole, */
    bring("x", first_id, 30, 0); /* and nothing behind another */
    run(SIM_S);
    check("x", 1, (const uint64_t[]){10, 11, 12, 13, 14, 20, 21}, 7, 30);
    cr_assert_eq(edition("x", 1)->held_credit, 0);
    cr_assert_eq(MESH_COUNT(a, stored_events), 7);
    cr_assert_eq(MESH_COUNT(a, drop_followed), 0);
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            restart();
        else if (i == 1)
            mesh_kill(a);
        else
            mesh_crash(a);
        if (i > 0)
            mesh_start(a);
        cr_assert_eq(place_of("x", first_id), 30);
        check("x", 1, (const uint64_t[]){10, 11, 12, 13, 14, 20, 21}, 7, 30);
    }
}

Test(sim_followed, another_log_begins_beside_the_one_before)
{
    mesh_start(a);
    begin_at("x", first_id, 0);
    bring("x", first_id, 0, 3);
    begin_at("x/y", first_id, 0); /* its directory is inside the one of x */
    bring("x/y", first_id, 0, 2);
    begin_at("x", second_id, 100);
    bring("x", first_id, 3, 1); /* of the one before: it is over */
    bring("x", second_id, 100, 2);
    begin_at("x", second_id, 0); /* from the start, once more */
    bring("x", second_id, 0, 1);
    run(SIM_S);
    cr_assert_eq(MESH_COUNT(a, drop_followed), 1);
    for (int i = 0; i < 2; i++) {
        check("x", 1, (const uint64_t[]){0, 1, 2}, 3, 3);
        check("x", 2, (const uint64_t[]){100, 101}, 2, 102);
        check("x", 3, (const uint64_t[]){0}, 1, 1);
        check("x/y", 1, (const uint64_t[]){0, 1}, 2, 2);
        cr_assert_eq(place_of("x", second_id), 1);
        restart();
    }
    begin_at("x", second_id, 5); /* goes on, with a hole: no new one */
    bring("x", second_id, 5, 1);
    run(SIM_S);
    check("x", 3, (const uint64_t[]){0, 5}, 2, 6);
    cr_assert_null(edition("x", 4));
}

Test(sim_followed, what_has_no_name_yet_is_no_log)
{
    char path[256];
    text_format(path, sizeof path, "%s/redex-follow/0x%016x/x/manifest", "/node", PUBLISHER);
    sim_disk_put(a->host, path, (struct cspan){(const uint8_t *)"half", 4});
    mesh_start(a);
    cr_assert_null(edition("x", 1));
    cr_assert_eq(place_of("x", first_id), UINT64_MAX);
    begin_at("x", first_id, 3);
    bring("x", first_id, 3, 2);
    run(SIM_S);
    restart();
    check("x", 1, (const uint64_t[]){3, 4}, 2, 5);
}

Test(sim_followed, a_full_disk_loses_nothing)
{
    uint64_t all[300];
    for (uint64_t i = 0; i < 300; i++)
        all[i] = i;
    mesh_start(a);
    begin_at("x", first_id, 0);
    bring("x", first_id, 0, 50);
    run(SIM_S);
    struct sim_fault fault = {.kinds = 1u << IO_WRITE, .error = ENOSPC, .times = UINT32_MAX};
    sim_disk_fault(a->host, &fault);
    for (uint64_t i = 50; i < 250; i += 50) {
        bring("x", first_id, i, 50);
        run(SIM_S);
    }
    bring("x", first_id, 280, 1); /* behind a hole, which cannot be noted now: it waits */
    bring("x", first_id, 281, 9);
    run(SIM_S);
    struct log *log = edition("x", 1);
    cr_assert_eq(redex_written_seq(log->redex), 50);
    cr_assert_gt(log->held_credit, 0);
    cr_assert_leq(log->held_credit, 4 * CREDIT, "not of what waits, nor of what is in the file");
    check("x", 1, all, 250, 250);
    sim_disk_clear_faults(a->host);
    run(SIM_S);
    cr_assert_eq(log->held_credit, 0);
    for (uint64_t i = 0; i < 10; i++)
        all[250 + i] = 280 + i;
    check("x", 1, all, 260, 290);
    cr_assert_eq(redex_written_seq(log->redex), 290);
    cr_assert_eq(MESH_COUNT(a, drop_followed), 0);
}

Test(sim_followed, a_poisoned_log_takes_nothing_until_the_next_start)
{
    mesh_start(a);
    begin_at("x", first_id, 0);
    bring("x", first_id, 0, 5);
    run(SIM_S);
    struct log *log = edition("x", 1);
    struct sim_fault fault = {.kinds = 1u << IO_FDATASYNC, .error = EIO, .times = 1};
    sim_disk_fault(a->host, &fault);
    redex_want_sync(log->redex, 5);
    run(SIM_S);
    cr_assert_eq(redex_error(log->redex), NET_ERR_POISONED);
    bring("x", first_id, 5, 3);
    bring("x", first_id, 8, 3);
    run(SIM_S);
    cr_assert_eq(MESH_COUNT(a, drop_followed), 6);
    cr_assert_eq(log->held_credit, 0);
    cr_assert_eq(redex_next_seq(log->redex), 5);
    mesh_crash(a);
    mesh_start(a);
    uint64_t next = place_of("x", first_id);
    cr_assert_leq(next, 5);
    bring("x", first_id, next, (uint32_t)(11 - next));
    run(SIM_S);
    check("x", 1, (const uint64_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 11, 11);
}

/* What was refused leaves a hole in what comes: it must not be taken for one of the publisher's. */
Test(sim_followed, what_follows_something_refused_is_refused)
{
    static const uint8_t nonsense[] = {200, 0, 0, 0}, run_of_one[TIME_RUN_SIZE] = {1};
    mesh_start(a);
    begin_at("x", first_id, 0);
    bring("x", first_id, 0, 2);
    struct msg_followed m = {PUBLISHER, hash_of("x"), STREAM, {1}, 2, CREDIT, 1, 1};
    struct shard *owner = owner_of("x");
    log_on_followed(owner, 1 - owner->index, &m, (struct cspan){run_of_one, sizeof run_of_one},
                    (struct cspan){nonsense, sizeof nonsense});
    bring("x", first_id, 3, 2);
    cr_assert_eq(MESH_COUNT(a, drop_followed), 3);
    cr_assert_eq(place_of("x", first_id), 2);
    bring("x", first_id, 2, 3);
    check("x", 1, (const uint64_t[]){0, 1, 2, 3, 4}, 5, 5);
}

Test(sim_followed, a_channel_in_memory_begins_anew_and_one_without_a_log_is_refused)
{
    a->config.channel.log = LOG_MEMORY;
    mesh_start(a);
    begin_at("x", first_id, 7);
    bring("x", first_id, 7, 2);
    begin_at("x", second_id, 1);
    check("x", 1, (const uint64_t[]){7, 8}, 2, 9);
    restart();
    cr_assert_eq(place_of("x", first_id), UINT64_MAX);
    cr_assert(mesh_stop(a, 60 * SIM_S));
    a->config.channel.log = LOG_NONE;
    mesh_start(a);
    cr_assert_eq(begin("x", first_id, 7).err, NET_ERR_UNSUPPORTED);
    struct msg_follow_open m = open_of("x");
    cr_assert_eq(ask(&m).err, NET_ERR_UNSUPPORTED);
}

Test(sim_followed, retention_gives_up_what_is_old)
{
    a->config.channel.retention_events = 10;
    mesh_start(a);
    begin_at("x", first_id, 0);
    for (uint64_t i = 0; i < 640; i += 64) {
        bring("x", first_id, i, 64);
        run(10 * SIM_MS);
    }
    run(SIM_S);
    struct log_heads heads;
    for (int i = 0; i < 2; i++) {
        log_heads(edition("x", 1), &heads);
        cr_assert_eq(heads.first, 630);
        cr_assert_eq(place_of("x", first_id), 640);
        restart();
    }
}

Test(sim_followed, a_new_log_that_cannot_be_made_leaves_the_old_one)
{
    mesh_start(a);
    begin_at("x", first_id, 0);
    bring("x", first_id, 0, 2);
    run(SIM_S);
    struct sim_fault fault = {.kinds = 1u << IO_OPEN, .suffix = "log.id~", .error = ENOSPC, .times = 1};
    sim_disk_fault(a->host, &fault);
    cr_assert_eq(begin("x", second_id, 5).err, NET_ERR_NO_SPACE);
    cr_assert_eq(place_of("x", first_id), 2);
    begin_at("x", second_id, 6); /* where it was tried before: nothing of that attempt counts */
    bring("x", second_id, 6, 1);
    run(SIM_S);
    restart();
    check("x", 1, (const uint64_t[]){0, 1}, 2, 2);
    check("x", 2, (const uint64_t[]){6}, 1, 7);
}

/* ---- reading them ---- */

struct found {
    struct log_lookup lookup;
    bool done;
    int origins;
    bool self;
    uint64_t origin;
    uint32_t edition;
};

static void on_found(struct log_lookup *l, int origins, bool self, uint64_t origin, uint32_t number)
{
    struct found *f = container_of(l, struct found, lookup);
    *f = (struct found){.done = true, .origins = origins, .self = self, .origin = origin, .edition = number};
}

static struct found find(const char *channel, struct log_choice choice)
{
    struct found f = {.lookup = {.done = on_found}};
    struct channel_name name;
    cr_assert_eq(channel_name_parse(channel, strlen(channel), &name), CHANNEL_NAME_OK);
    node_find_log(a->node, &name, &choice, &f.lookup);
    run(100 * SIM_MS);
    cr_assert(f.done);
    return f;
}

static void expect_edition(const char *channel, struct log_choice choice, uint32_t number)
{
    struct found f = find(channel, choice);
    cr_assert(f.origins == 1 && !f.self && f.origin == PUBLISHER);
    cr_assert_eq(f.edition, number, "%u", f.edition);
}

Test(sim_followed, is_read_in_place_of_what_came_live)
{
    struct log_choice any = {.any_origin = true}, peer = {.origin = PUBLISHER}, self = {.self = true};
    struct log *log;
    mesh_start(a);
    cr_assert_eq(find("x", any).origins, 0);
    struct msg_follow_open m = open_of("x");
    cr_assert_eq(log_open(owner_of("x"), (struct log_key){PUBLISHER, hash_of("x"), 0}, &m.channel, &log), NET_OK);
    expect_edition("x", any, 0);
    expect_edition("x", peer, 0);
    cr_assert_eq(find("x", (struct log_choice){.origin = PUBLISHER, .kind = LOG_FOLLOWED}).origins, 0);
    begin_at("x", first_id, 0);
    begin_at("x", second_id, 0);
    expect_edition("x", any, 2);
    expect_edition("x", peer, 2);
    expect_edition("x", (struct log_choice){.origin = PUBLISHER, .kind = LOG_FOLLOWED}, 2);
    expect_edition("x", (struct log_choice){.origin = PUBLISHER, .kind = LOG_LIVE}, 0);
    expect_edition("x", (struct log_choice){.origin = PUBLISHER, .kind = LOG_EDITION, .edition = 1}, 1);
    cr_assert_eq(find("x", (struct log_choice){.origin = PUBLISHER, .kind = LOG_EDITION, .edition = 3}).origins, 0);
    cr_assert_eq(find("x", self).origins, 0);
    cr_assert_eq(mesh_publish(a, "x", 1, 0, 1, false, SIM_S).err, NET_OK);
    cr_assert_eq(find("x", any).origins, 2);
    cr_assert(find("x", self).self);
    expect_edition("x", peer, 2);
}

struct reader {
    struct tail tail;
    uint64_t last, events, missing;
    bool done;
};

static bool on_event(struct tail *t, const struct tail_event *e)
{
    struct reader *r = container_of(t, struct reader, tail);
    cr_assert(e->data.len == 8 && load_le64(e->data.data) == e->seq && e->ts_ns == 1000 + e->seq);
    r->last = e->seq;
    r->events++;
    return true;
}

static bool on_gap(struct tail *t, uint64_t from, uint64_t to)
{
    container_of(t, struct reader, tail)->missing += to - from + 1;
    return true;
}

static void on_done(struct tail *t, int err)
{
    struct reader *r = container_of(t, struct reader, tail);
    cr_assert_eq(err, NET_OK);
    r->done = true;
}

Test(sim_followed, a_tail_goes_on_as_it_grows)
{
    static const char *const channels[] = {"x", "y", "z", "w"}; /* on both shards */
    unsigned on_shard[2] = {0};
    mesh_start(a);
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        struct msg_follow_open m = open_of(channels[i]);
        struct tail_request request = {.channel = m.channel, .origin = PUBLISHER, .edition = 1, .follow = true};
        struct reader r = {.tail = {.event = on_event, .gap = on_gap, .done = on_done}};
        on_shard[owner_of(channels[i])->index]++;
        begin_at(channels[i], first_id, 5);
        bring(channels[i], first_id, 5, 3);
        cr_assert_eq(node_tail_open(a->node, &r.tail, &request), NET_OK);
        run(SIM_S);
        cr_assert(r.events == 3 && r.last == 7 && r.missing == 0);
        bring(channels[i], first_id, 8, 3);
        bring(channels[i], first_id, 20, 3);
        run(SIM_S);
        cr_assert(r.events == 9 && r.last == 22 && r.missing == 9 && !r.done);
        node_tail_cancel(a->node, &r.tail);
    }
    cr_assert(on_shard[0] > 0 && on_shard[1] > 0);
}

/* The closing node stores no more, and the next start asks for what it missed. */
Test(sim_followed, what_comes_while_the_logs_close_is_asked_for_again)
{
    mesh_start(a);
    begin_at("x", first_id, 0);
    bring("x", first_id, 0, 2);
    edition("x", 1)->closing = true;
    bring("x", first_id, 2, 2);
    cr_assert_eq(MESH_COUNT(a, drop_followed), 2);
    struct msg_follow_open m = open_of("x");
    cr_assert_eq(ask(&m).err, NET_ERR_STATE);
    edition("x", 1)->closing = false;
    cr_assert_eq(place_of("x", first_id), 2);
}
