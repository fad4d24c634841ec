#include "tests/sim/swarm/feeds.h"

#include <string.h>

#include "core/base/err.h"
#include "core/base/span.h"
#include "tests/sim/mesh/check_internal.h"
#include "tests/sim/swarm/runner.h"

enum { CALL_EVENTS = 100, CALL_ROOM = CALL_EVENTS * 260, BURST = 100 };

static struct channel_name name_of(unsigned channel)
{
    struct channel_name name;
    const char *text = plan_channel(channel);
    channel_name_parse(text, strlen(text), &name);
    return name;
}

/* ---- a batch: one publish, from open to done ---- */

static uint32_t make_frames(const struct feed *f, uint8_t *out, size_t *len)
{
    uint32_t count = 0;
    *len = 0;
    for (; count < CALL_EVENTS && f->at + count < f->end; count++) {
        size_t n = mesh_event(f->tag, f->at + count, out + *len + 4);
        store_le32(out + *len, (uint32_t)n);
        *len += 4 + n;
    }
    return count;
}

static void give(struct feed *f, struct mesh_node *m)
{
    uint8_t frames[CALL_ROOM];
    size_t len;
    while (f->at < f->end && f->open) {
        uint32_t count = make_frames(f, frames, &len);
        int err = node_publish_put(m->node, &f->publisher, (struct cspan){frames, len}, count);
        if (err == NET_ERR_AGAIN)
            return;
        if (err)
            break;
        f->at += count;
    }
    if (f->open && !f->finished) {
        f->finished = true;
        node_publish_finish(m->node, &f->publisher);
    }
}

static void on_writable(struct publisher *p)
{
    struct feed *f = (struct feed *)p;
    give(f, &f->run->mesh.nodes[f->plan->node]);
}

static void begin_producer(struct feed *f)
{
    f->sequence = 0;
    f->unanswered = false;
    for (size_t i = 0; i < sizeof f->producer; i += 8)
        store_le64(f->producer + i, sim_random(f->run->mesh.sim));
}

/* Whether the log at the other end may have lost what it acknowledged: it is not on a disk, nobody asked for a sync,
 * its disk failed, or its clock says that the producer is long gone. */
static bool may_have_forgotten(const struct feed *f)
{
    const struct life *l = &f->run->lives[f->plan->to];
    const struct config *c = &f->run->plan->node[f->plan->to].config;
    bool synced = config_channel(c, plan_channel(f->plan->channel))->log == LOG_DISK && f->plan->durable;
    return !synced || l->disk_failed || l->clock_stepped;
}

/* An append that failed is made again, the same, until there is an answer; extensions X8. */
static void answered(struct feed *f, int err)
{
    switch (err) {
    case NET_OK:
        f->sequence++;
        f->unanswered = false;
        return;
    case NET_ERR_STATE:
    case NET_ERR_REPLAY:
        if (!may_have_forgotten(f))
            run_fail(f->run, "node %u has lost what it acknowledged to node %u in %s: append %llu got %s", f->plan->to,
                     f->plan->node, plan_channel(f->plan->channel), (unsigned long long)f->sequence, net_err_name(err));
        begin_producer(f);
        return;
    case NET_ERR_EXISTS:
        run_fail(f->run, "node %u takes append %llu of node %u to %s for another", f->plan->to,
                 (unsigned long long)f->sequence, f->plan->node, plan_channel(f->plan->channel));
    }
}

static struct mesh_node *log_node(const struct feed *f)
{
    return &f->run->mesh.nodes[f->plan->to == PLAN_HERE ? f->plan->node : f->plan->to];
}

/* An answer that a life of the peer gave before this one says nothing of what this one has to know. */
static void tell_check(const struct feed *f)
{
    const struct publisher *p = &f->publisher;
    const struct mesh_node *at = log_node(f);
    bool in_a_row = p->events > 0 && p->last_seq - p->first_seq + 1 == p->events;
    if (f->life == at->lives && f->boot == sim_host_boots(at->host))
        check_acked(&f->run->check, at, plan_channel(f->plan->channel), f->tag, f->from, p->events,
                    in_a_row ? p->first_seq : CHECK_SEQ, f->plan->durable);
}

static void on_done(struct publisher *p, int err)
{
    struct feed *f = (struct feed *)p;
    if (f->ignored)
        return;
    f->open = false;
    if (f->plan->to == PLAN_HERE || !err)
        tell_check(f);
    if (f->plan->to != PLAN_HERE)
        answered(f, err);
    f->run->outcome->acknowledged += p->events;
    if (err)
        run_note(f->run, "node %u publishes %s: %llu of %llu events, %s", f->plan->node, plan_channel(f->plan->channel),
                 (unsigned long long)p->events, (unsigned long long)(f->end - f->from), net_err_name(err));
}

static void begin(struct feed *f, struct mesh_node *m)
{
    struct channel_name name = name_of(f->plan->channel);
    struct run *r = f->run;
    f->publisher = (struct publisher){.writable = on_writable, .done = on_done};
    sim_host_poke(m->host, 0);
    int err = f->plan->to == PLAN_HERE
                  ? node_publish_open(m->node, &f->publisher, &name, f->plan->durable)
                  : node_publish_open_to(m->node, &f->publisher, &name, f->plan->durable,
                                         r->mesh.nodes[f->plan->to].node_id, f->producer, f->sequence);
    if (err)
        return;
    f->open = true;
    f->ignored = f->finished = false;
    f->at = f->from;
    f->life = log_node(f)->lives;
    f->boot = sim_host_boots(log_node(f)->host);
    give(f, m);
}

static void begin_new(struct feed *f, struct mesh_node *m)
{
    struct run *r = f->run;
    uint64_t count = 1 + sim_random_below(r->mesh.sim, f->plan->batch);
    if (f->plan->to != PLAN_HERE)
        count = count > CALL_EVENTS ? CALL_EVENTS : count;
    else if (f->plan->burst && sim_random_below(r->mesh.sim, SIM_ALWAYS) < f->plan->burst)
        count *= BURST;
    f->from = f->end;
    f->end += count;
    f->unanswered = f->plan->to != PLAN_HERE;
    r->outcome->published += count;
    check_handed(&r->check, log_node(f), plan_channel(f->plan->channel), f->tag, f->from, count);
    struct source *s = ledger_source(&r->check, f->tag);
    s->retries = f->unanswered;
    s->synced = f->plan->durable;
    begin(f, m);
}

static void tick(struct feed *f)
{
    struct run *r = f->run;
    struct mesh_node *m = life_up(r, f->plan->node);
    if (!m || f->open || sim_now(r->mesh.sim) < f->next)
        return;
    f->next = sim_now(r->mesh.sim) + f->plan->every / 2 + sim_random_below(r->mesh.sim, f->plan->every);
    if (f->unanswered)
        begin(f, m);
    else if (!r->feeds.closing)
        begin_new(f, m);
}

/* ---- all of them ---- */

void feeds_init(struct run *r)
{
    for (unsigned i = 0; i < r->plan->feeds; i++) {
        struct feed *f = &r->feeds.all[i];
        *f = (struct feed){.run = r, .plan = &r->plan->feed[i], .tag = i + 1, .next = 2 * SIM_S};
        begin_producer(f);
    }
}

void feeds_tick(struct run *r)
{
    for (unsigned i = 0; i < r->plan->feeds; i++)
        tick(&r->feeds.all[i]);
}

void feeds_gone(struct run *r, unsigned node)
{
    for (unsigned i = 0; i < r->plan->feeds; i++) {
        struct feed *f = &r->feeds.all[i];
        if (f->plan->node != node)
            continue;
        f->ignored = true;
        f->open = false;
    }
}

bool feeds_idle(const struct run *r)
{
    for (unsigned i = 0; i < r->plan->feeds; i++)
        if (r->feeds.all[i].open || r->feeds.all[i].unanswered)
            return false;
    return r->feeds.closing;
}
