/* The admin port as a whole: accepting, refusing, timeouts, stopping. */
#include "shards/admin/admin.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/admin/admin_internal.h"

#define SECONDS(n) ((uint64_t)(n)*UINT64_C(1000000000))
#define MILLIS(n) ((uint64_t)(n)*UINT64_C(1000000))

static const uint64_t slow_ns = SECONDS(10);
static const uint64_t linger_ns = SECONDS(2);
static const uint64_t pause_ns = MILLIS(100);
static const uint64_t log_retry_ns = MILLIS(100);
static const uint64_t alive_ns = SECONDS(15);
static const uint64_t stop_ns = SECONDS(1);
static const uint64_t accept_pause_ns = MILLIS(100);

static const char refusal_text[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    "Content-Length: 78\r\n\r\n"
    "{\"error\":{\"code\":\"limit\",\"message\":\"admin.connections connections are open\"}}\n";

static void accept_again(struct admin *a)
{
    a->accept_at = UINT64_MAX;
    io_submit(a->io, &a->accept);
}

static void refusal_on_closed(struct io_op *op, int32_t res)
{
    struct refusal *r = container_of(op, struct refusal, op);
    (void)res;
    r->handle = IO_NO_HANDLE;
    r->admin->refusing--;
    admin_check_stopped(r->admin);
}

static void refusal_close(struct refusal *r)
{
    r->op = (struct io_op){.kind = IO_CLOSE, .done = refusal_on_closed, .handle = r->handle};
    r->until = UINT64_MAX;
    io_submit(r->admin->io, &r->op);
}

static void refusal_on_sent(struct io_op *op, int32_t res)
{
    (void)res; /* short or failed: a client that is told less */
    refusal_close(container_of(op, struct refusal, op));
}

static void refuse_connection(struct admin *a, io_handle handle)
{
    struct refusal *r = a->refusals;
    a->stats.refused++;
    while (r < a->refusals + REFUSALS && r->handle != IO_NO_HANDLE)
        r++;
    if (r == a->refusals + REFUSALS) {
        a->io->plain->close(a->io, handle); /* a flood: no word for this one */
        return;
    }
    r->handle = handle;
    a->refusing++;
    if (a->stopping) {
        refusal_close(r);
        return;
    }
    r->until = io_now(a->io) + linger_ns;
    r->op = (struct io_op){.kind = IO_SEND, .done = refusal_on_sent, .handle = handle};
    r->op.buf.data = (void *)(uintptr_t)refusal_text;
    r->op.buf.len = sizeof refusal_text - 1;
    io_submit(a->io, &r->op);
}

/* Whoever shows no token cannot keep out who has one: the stranger who was quiet longest makes room. */
static bool evict_stranger(struct admin *a)
{
    struct list *quiet = list_first(&a->strangers);
    if (!quiet || a->evicting >= a->max_connections)
        return false;
    connection_evict(container_of(quiet, struct connection, stranger));
    return true;
}

static bool has_room(struct admin *a)
{
    return a->stats.open - a->evicting < a->max_connections || evict_stranger(a);
}

static void on_accept(struct io_op *op, int32_t res)
{
    struct admin *a = container_of(op, struct admin, accept);
    if (res >= 0 && (a->stopping || !has_room(a) || !connection_open(a, res)))
        refuse_connection(a, res);
    if (!op->more && !a->stopping) {
        if (res >= 0) {
            accept_again(a);
        } else {
            evict_stranger(a); /* the process may have fewer files than admin.connections needs */
            a->accept_at = io_now(a->io) + accept_pause_ns; /* EMFILE and the like pass; spinning does not help */
        }
    }
    admin_check_stopped(a);
}

/* Nobody waits longer than the new timeout from now on; the lists stay in order of their deadlines. */
static void shorten_waits(struct admin *a, enum wait_kind kind)
{
    uint64_t latest = io_now(a->io) + a->timeout[kind];
    for (struct list *l = a->waiting[kind].next; l != &a->waiting[kind]; l = l->next) {
        struct connection *c = container_of(l, struct connection, wait_link);
        if (c->wait_until > latest)
            c->wait_until = latest;
    }
}

void admin_apply(struct admin *a, const struct config *config)
{
    uint64_t idle = config->admin_idle_timeout_ns;
    a->max_connections = config->admin_connections;
    a->header_bytes = config->admin_header_bytes;
    a->timeout[WAIT_IDLE] = idle;
    a->timeout[WAIT_SLOW] = idle < slow_ns ? idle : slow_ns;
    shorten_waits(a, WAIT_IDLE);
    shorten_waits(a, WAIT_SLOW);
}

int admin_set_tokens(struct admin *a, const struct node_tokens *tokens)
{
    _Static_assert(sizeof tokens->admin <= TOKEN_BYTES && sizeof tokens->readonly <= TOKEN_BYTES, "they fit");
    if (!tokens->admin[0])
        return NET_ERR_INVALID;
    secure_wipe(a->token, sizeof a->token);
    secure_wipe(a->readonly, sizeof a->readonly);
    memcpy(a->token, tokens->admin, strlen(tokens->admin));
    memcpy(a->readonly, tokens->readonly, strlen(tokens->readonly));
    return NET_OK;
}

int admin_init(struct admin **out, struct io *io, struct node *node, const struct config *config,
               const struct node_tokens *tokens)
{
    assert(io->listener != IO_NO_HANDLE);
    struct admin *a = calloc(1, sizeof *a);
    if (!a)
        return NET_ERR_NO_MEMORY;
    int err = admin_set_tokens(a, tokens);
    if (err) {
        free(a);
        return err;
    }
    a->io = io;
    a->node = node;
    a->large_events.limit = LARGE_EVENTS_BYTES;
    a->is_unix = config->admin.is_unix;
    a->timeout[WAIT_LINGER] = linger_ns;
    a->timeout[WAIT_PAUSE] = pause_ns;
    a->timeout[WAIT_LOG] = log_retry_ns;
    a->timeout[WAIT_ALIVE] = alive_ns;
    a->timeout[WAIT_STOP] = stop_ns;
    for (int i = 0; i < WAIT_KINDS; i++)
        list_init(&a->waiting[i]);
    admin_apply(a, config);
    list_init(&a->connections);
    list_init(&a->strangers);
    for (int i = 0; i < REFUSALS; i++)
        a->refusals[i] = (struct refusal){.admin = a, .handle = IO_NO_HANDLE, .until = UINT64_MAX};
    a->accept = (struct io_op){.kind = IO_ACCEPT, .done = on_accept, .handle = io->listener};
    accept_again(a);
    *out = a;
    return 0;
}

const struct admin_stats *admin_get_stats(const struct admin *a)
{
    return &a->stats;
}

static struct connection *first_waiting(const struct admin *a, int kind)
{
    const struct list *l = &a->waiting[kind];
    return list_empty(l) ? NULL : container_of(l->next, struct connection, wait_link);
}

uint64_t admin_deadline(const struct admin *a)
{
    uint64_t at = a->accept_at;
    for (int i = 0; i < WAIT_KINDS; i++) {
        const struct connection *c = first_waiting(a, i);
        if (c && c->wait_until < at)
            at = c->wait_until;
    }
    for (int i = 0; a->refusing && i < REFUSALS; i++)
        if (a->refusals[i].until < at)
            at = a->refusals[i].until;
    return at;
}

void admin_tick(struct admin *a, uint64_t now)
{
    if (now >= a->accept_at)
        accept_again(a);
    for (int i = 0; i < WAIT_KINDS; i++) {
        struct connection *c;
        while ((c = first_waiting(a, i)) && now >= c->wait_until)
            connection_on_timeout(c);
    }
    for (int i = 0; a->refusing && i < REFUSALS; i++) {
        struct refusal *r = &a->refusals[i];
        if (now >= r->until) {
            r->until = UINT64_MAX;
            io_cancel(a->io, &r->op);
        }
    }
}

static bool quiet(struct admin *a)
{
    if (a->accept.pending || a->refusing)
        return false;
    for (struct list *l = a->connections.next; l != &a->connections; l = l->next) {
        const struct connection *c = container_of(l, struct connection, link);
        if (c->state != CONN_PARKED || c->recv.pending || c->send.pending)
            return false;
    }
    return true;
}

void admin_check_stopped(struct admin *a)
{
    if (!a->stopped || !quiet(a))
        return;
    void (*stopped)(void *) = a->stopped;
    a->stopped = NULL;
    stopped(a->stopped_ctx);
}

void admin_stop(struct admin *a, void (*stopped)(void *ctx), void *ctx)
{
    assert(!a->stopping);
    a->stopping = true;
    a->accept_at = UINT64_MAX;
    io_cancel(a->io, &a->accept);
    for (struct list *l = a->connections.next; l != &a->connections; l = l->next)
        connection_stop(container_of(l, struct connection, link)); /* frees none: their completions do */
    for (int i = 0; i < REFUSALS; i++)
        if (a->refusals[i].until != UINT64_MAX)
            io_cancel(a->io, &a->refusals[i].op);
    a->stopped = stopped;
    a->stopped_ctx = ctx;
    admin_check_stopped(a);
}

void admin_deinit(struct admin *a)
{
    if (!a)
        return;
    while (!list_empty(&a->connections))
        connection_free(container_of(a->connections.next, struct connection, link));
    secure_wipe(a->token, sizeof a->token);
    secure_wipe(a->readonly, sizeof a->readonly);
    free(a);
}
