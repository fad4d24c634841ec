/*
 * NAT boxes, in the terms of RFC 4787: cones map an inner endpoint to one outer port whoever it talks to, a symmetric
 * one to another port for each remote endpoint; what comes in has to pass the kind's filter. A box keeps a list of who
 * talked to whom, which is its mappings and its filters in one.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/sim_internal.h"

/* What an inner endpoint sent to a remote one went out from `port`, last at `used_at`. */
struct contact {
    struct io_addr inner, remote;
    uint16_t port;
    uint64_t used_at;
};

struct nat {
    struct sim_nat face; /* first: struct sim_nat * is struct nat * */
    struct sim *sim;
    struct nat *next;
    struct rng rng; /* of ports */
    struct io_addr outer;
    struct contact *contacts;
    size_t count, room;
};

enum { FIRST_PORT = 1024, PORTS = 65536 - FIRST_PORT, MOST_CONTACTS = 16384 };

static struct nat *nat_of(struct sim_nat *face)
{
    return (struct nat *)(void *)face;
}

static bool same_ip(const struct io_addr *a, const struct io_addr *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static struct io_addr v4(uint8_t a, uint8_t b, unsigned low, uint16_t port)
{
    struct io_addr addr = {.port = port};
    memcpy(addr.ip, (uint8_t[16]){[10] = 0xff, 0xff, a, b, (uint8_t)(low >> 8), (uint8_t)low}, 16);
    return addr;
}

struct sim_nat *sim_add_nat(struct sim *sim, enum sim_nat_kind kind, uint64_t timeout)
{
    struct nat *n = calloc(1, sizeof *n);
    assert(n);
    *n = (struct nat){.face = {.kind = kind, .timeout = timeout}, .sim = sim, .next = sim->nats};
    rng_init(&n->rng, sim->seed, UINT64_C(3) << 62 | sim->nat_addrs);
    n->outer = v4(198, 18, ++sim->nat_addrs, 0);
    sim->nats = n;
    return &n->face;
}

void sim_nat_free_all(struct sim *sim)
{
    for (struct nat *n; (n = sim->nats);) {
        sim->nats = n->next;
        free(n->contacts);
        free(n);
    }
}

void sim_host_behind(struct sim_host *h, struct sim_nat *nat)
{
    assert(nat);
    h->nat = nat_of(nat);
    struct io_addr inner = v4(192, 168, h->number + 1, h->addr.port);
    sim_host_set_addr(h, &inner);
}

struct io_addr sim_nat_addr(const struct sim_nat *nat)
{
    return ((const struct nat *)(const void *)nat)->outer;
}

void sim_nat_restart(struct sim_nat *nat)
{
    nat_of(nat)->count = 0;
}

void sim_nat_roam(struct sim_nat *nat)
{
    struct nat *n = nat_of(nat);
    assert(n->sim->nat_addrs < UINT16_MAX);
    n->outer = v4(198, 18, ++n->sim->nat_addrs, 0);
    sim_nat_restart(nat);
}

static bool alive(const struct nat *n, const struct contact *c)
{
    return n->sim->now - c->used_at < n->face.timeout;
}

static void forget_old(struct nat *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->count; i++)
        if (alive(n, &n->contacts[i]))
            n->contacts[kept++] = n->contacts[i];
    n->count = kept;
}

static bool port_taken(const struct nat *n, uint16_t port)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->contacts[i].port == port)
            return true;
    return false;
}

static uint16_t new_port(struct nat *n)
{
    uint16_t port;
    do
        port = (uint16_t)(FIRST_PORT + rng_below(&n->rng, PORTS));
    while (port_taken(n, port));
    n->face.mapped++;
    return port;
}

static struct contact *add_contact(struct nat *n)
{
    assert(n->count < MOST_CONTACTS);
    if (n->count == n->room) {
        n->room = n->room ? n->room * 2 : 16;
        n->contacts = realloc(n->contacts, n->room * sizeof *n->contacts);
        assert(n->contacts);
    }
    return &n->contacts[n->count++];
}

/* The port that goes out to `remote`; the contact is refreshed, or begun. */
static uint16_t outer_port(struct nat *n, const struct io_addr *inner, const struct io_addr *remote)
{
    uint16_t port = 0;
    forget_old(n);
    for (size_t i = 0; i < n->count; i++) {
        struct contact *c = &n->contacts[i];
        if (!io_addr_equal(&c->inner, inner))
            continue;
        if (io_addr_equal(&c->remote, remote)) {
            c->used_at = n->sim->now;
            return c->port;
        }
        if (n->face.kind != SIM_NAT_SYMMETRIC)
            port = c->port;
    }
    if (port == 0)
        port = new_port(n);
    *add_contact(n) = (struct contact){*inner, *remote, port, n->sim->now};
    return port;
}

bool sim_nat_out(const struct sim_host *h, const struct io_addr *to, struct io_addr *from)
{
    struct nat *n = h->nat;
    const struct sim_host *near = n ? sim_host_at(h->sim, to) : NULL;
    if (!n || (near && near->nat == n))
        return true;
    if (same_ip(&n->outer, to)) {
        n->face.hairpins++;
        return false;
    }
    uint16_t port = outer_port(n, from, to);
    *from = n->outer;
    from->port = port;
    return true;
}

static bool passes(const struct nat *n, const struct contact *c, const struct io_addr *from)
{
    switch (n->face.kind) {
    case SIM_NAT_FULL_CONE:
        return true;
    case SIM_NAT_RESTRICTED:
        return same_ip(&c->remote, from);
    default:
        return io_addr_equal(&c->remote, from);
    }
}

struct sim_host *sim_nat_in(struct nat *n, const struct io_addr *from, uint16_t port)
{
    for (size_t i = 0; i < n->count; i++) {
        const struct contact *c = &n->contacts[i];
        if (c->port == port && alive(n, c) && passes(n, c, from))
            return sim_host_at(n->sim, &c->inner);
    }
    n->face.refused++;
    return NULL;
}

struct nat *sim_nat_at(const struct sim *sim, const struct io_addr *addr)
{
    struct nat *n = sim->nats;
    while (n && !same_ip(&n->outer, addr))
        n = n->next;
    return n;
}

static struct sim_host *first_behind(const struct nat *n)
{
    for (unsigned i = 0; i < n->sim->host_count; i++)
        if (n->sim->hosts[i]->nat == n)
            return n->sim->hosts[i];
    return NULL;
}

struct sim_host *sim_nat_route(const struct sim_host *near, const struct io_addr *to)
{
    struct sim_host *far = sim_host_at(near->sim, to);
    if (far)
        return !far->nat || far->nat == near->nat ? far : NULL; /* from outside nobody has an inner address */
    const struct nat *n = sim_nat_at(near->sim, to);
    for (size_t i = 0; n && i < n->count; i++)
        if (n->contacts[i].port == to->port)
            return sim_host_at(n->sim, &n->contacts[i].inner);
    return n ? first_behind(n) : NULL;
}
