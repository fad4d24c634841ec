/* peers.yaml, replaced atomically: write beside it, sync, rename, sync the directory. One save at a time; what changes
 * meanwhile is in the next. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/peers/contacts.h"

static void next_step(struct io_op *op, int32_t res);

static char *render(struct contacts *cs, size_t *len)
{
    struct peers_file f = {0};
    size_t wanted = 0, entries = 0;
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
        struct contact *c = container_of(n, struct contact, in_all);
        entries += c->entry != NULL;
        for (struct list *w = c->wanted.next; w != &c->wanted; w = w->next)
            wanted++;
    }
    f.peers = calloc(entries + 1, sizeof *f.peers);
    f.subscriptions = calloc(wanted + 1, sizeof *f.subscriptions);
    for (struct list *n = cs->all.next; f.peers && f.subscriptions && n != &cs->all; n = n->next) {
        struct contact *c = container_of(n, struct contact, in_all);
        if (c->entry)
            f.peers[f.peer_count++] = *c->entry;
        for (struct list *l = c->wanted.next; l != &c->wanted; l = l->next) {
            struct wanted *w = container_of(l, struct wanted, in_contact);
            if (w->leaving)
                continue;
            struct subscription_entry *e = &f.subscriptions[f.subscription_count++];
            memcpy(e->channel, w->channel.text, sizeof e->channel);
            e->peer = c->node_id;
            e->mode = w->mode;
            e->start = w->start;
            e->sequence = w->sequence;
            e->anew = w->anew;
        }
    }
    char *text = f.peers && f.subscriptions ? peers_file_render(&f, len) : NULL;
    free(f.peers);
    free(f.subscriptions);
    return text;
}

static void submit(struct contacts *cs, enum io_kind kind)
{
    struct store *st = &cs->store;
    st->op = (struct io_op){.kind = kind, .done = next_step, .handle = st->file};
    switch (kind) {
    case IO_OPEN: {
        bool file = st->step == STORE_OPEN;
        st->op.path.path = file ? st->temporary : st->dir;
        st->op.path.flags = file ? O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_DIRECTORY | O_CLOEXEC;
        st->op.path.mode = 0600;
        break;
    }
    case IO_WRITE:
        st->iov = (struct iovec){st->text + st->written, st->len - st->written};
        st->op.write.iov = &st->iov;
        st->op.write.iov_count = 1;
        st->op.write.offset = st->written;
        break;
    case IO_RENAME:
        st->op.path.path = st->temporary;
        st->op.path.path2 = st->path;
        break;
    default:
        break;
    }
    io_submit(cs->shard->io, &st->op);
}

static void start(struct contacts *cs)
{
    struct store *st = &cs->store;
    struct list *n;
    while ((n = list_pop(&st->waiting)))
        list_push_back(&st->saving, n);
    free(st->text);
    st->text = render(cs, &st->len);
    st->written = 0;
    st->err = st->text ? 0 : -ENOMEM;
    st->file = IO_NO_HANDLE;
    st->step = STORE_OPEN;
    submit(cs, IO_OPEN);
}

static void finish(struct contacts *cs)
{
    struct store *st = &cs->store;
    struct list *n;
    int err = st->err ? net_err_from_errno(-st->err) : NET_OK;
    while ((n = list_pop(&st->saving))) /* what one of them ends, another may name: wanted_free() looks here */
        request_saved(cs, container_of(n, struct control_request, link), err, st->err ? strerror(-st->err) : "");
    st->step = STORE_IDLE;
    if (!list_empty(&st->waiting))
        start(cs);
}

static void on_opened(struct contacts *cs, int32_t res)
{
    struct store *st = &cs->store;
    if (res < 0 || st->err) {
        st->err = st->err ? st->err : res;
        finish(cs);
        return;
    }
    st->file = res;
    st->step = STORE_WRITE;
    submit(cs, IO_WRITE);
}

static void on_written(struct contacts *cs, int32_t res)
{
    struct store *st = &cs->store;
    if (res > 0 && (st->written += (size_t)res) < st->len) {
        submit(cs, IO_WRITE);
        return;
    }
    st->err = res > 0 ? 0 : res == 0 ? -EIO : res;
    st->step = st->err ? STORE_CLOSE : STORE_SYNC;
    submit(cs, st->err ? IO_CLOSE : IO_FSYNC);
}

static void next_step(struct io_op *op, int32_t res)
{
    struct contacts *cs = container_of(op, struct contacts, store.op);
    struct store *st = &cs->store;
    switch (st->step) {
    case STORE_OPEN:
        on_opened(cs, res);
        break;
    case STORE_WRITE:
        on_written(cs, res);
        break;
    case STORE_SYNC:
        st->err = res < 0 ? res : 0;
        st->step = STORE_CLOSE;
        submit(cs, IO_CLOSE);
        break;
    case STORE_CLOSE:
        st->file = IO_NO_HANDLE;
        if (st->err) {
            finish(cs);
            break;
        }
        st->step = STORE_RENAME;
        submit(cs, IO_RENAME);
        break;
    case STORE_RENAME:
        if (res < 0) {
            st->err = res;
            finish(cs);
            break;
        }
        st->step = STORE_OPEN_DIR;
        submit(cs, IO_OPEN);
        break;
    case STORE_OPEN_DIR:
        st->file = res;
        st->step = res < 0 ? STORE_CLOSE_DIR : STORE_SYNC_DIR;
        st->err = res < 0 ? res : 0; /* renamed, but a power cut may undo that */
        if (res < 0)
            finish(cs);
        else
            submit(cs, IO_FSYNC);
        break;
    case STORE_SYNC_DIR:
        st->err = res < 0 ? res : 0;
        st->step = STORE_CLOSE_DIR;
        submit(cs, IO_CLOSE);
        break;
    default:
        finish(cs);
    }
}

void store_init(struct contacts *cs)
{
    struct store *st = &cs->store;
    list_init(&st->waiting);
    list_init(&st->saving);
    text_format(st->dir, sizeof st->dir, "%s", cs->shard->node->dir);
    text_format(st->path, sizeof st->path, "%s/peers.yaml", cs->shard->node->dir);
    text_format(st->temporary, sizeof st->temporary, "%s/peers.yaml.tmp", cs->shard->node->dir);
}

void store_save(struct contacts *cs, struct control_request *r)
{
    list_push_back(&cs->store.waiting, &r->link);
    if (cs->store.step == STORE_IDLE)
        start(cs);
}

bool store_busy(const struct contacts *cs)
{
    return cs->store.step != STORE_IDLE;
}
