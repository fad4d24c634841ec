/* Which logs there are, asked of every shard; and which of them share a channel's name. */
#include "shards/node/contacts.h"
#include "shards/node/mailbox.h"

void node_list_channels(struct node *node, struct channel_list *l)
{
    struct contacts *cs = node->shards[0]->contacts;
    l->node.id = ++cs->next_id;
    l->node.waiting = node->shard_count;
    list_push_back(&cs->lists, &l->node.link);
    for (unsigned i = 0; i < node->shard_count; i++)
        mailbox_send(node->shards[0], i, MSG_LIST, 0, l->node.id, NULL, 0);
}

void node_list_channels_cancel(struct node *node, struct channel_list *l)
{
    (void)node;
    list_remove(&l->node.link);
}

static struct channel_list *find(struct contacts *cs, uint64_t id)
{
    for (struct list *n = cs->lists.next; n != &cs->lists; n = n->next) {
        struct channel_list *l = container_of(n, struct channel_list, node.link);
        if (l->node.id == id)
            return l;
    }
    return NULL;
}

void contacts_on_list_row(struct shard *s, uint64_t request, const struct msg_list_row *m)
{
    struct channel_list *l = find(s->contacts, request);
    if (!l)
        return; /* its client went away */
    struct channel_row row = {
        .channel = m->channel.text,
        .self = m->origin == 0,
        .origin = m->origin,
        .log = m->log,
        .first_seq = m->first_seq,
        .next_seq = m->next_seq,
        .bytes = m->bytes,
        .subscribers = m->subscribers,
        .exists = m->exists,
        .error = m->error,
    };
    l->row(l, &row);
}

void contacts_on_list_end(struct shard *s, uint64_t request)
{
    struct channel_list *l = find(s->contacts, request);
    if (!l || --l->node.waiting)
        return;
    list_remove(&l->node.link);
    l->done(l);
}

static void on_lookup_row(struct channel_list *l, const struct channel_row *row)
{
    struct origin_lookup *k = container_of(l, struct origin_lookup, node.list);
    if (!row->exists || strcmp(row->channel, k->node.channel.text) != 0)
        return;
    k->node.found++;
    k->node.self = row->self;
    k->node.origin = row->origin;
}

static void on_lookup_done(struct channel_list *l)
{
    struct origin_lookup *k = container_of(l, struct origin_lookup, node.list);
    k->done(k, k->node.found > 2 ? 2 : (int)k->node.found, k->node.self, k->node.origin);
}

void node_find_origins(struct node *node, const struct channel_name *channel, struct origin_lookup *k)
{
    k->node.channel = *channel;
    k->node.found = 0;
    k->node.list.row = on_lookup_row;
    k->node.list.done = on_lookup_done;
    node_list_channels(node, &k->node.list);
}

void node_find_origins_cancel(struct node *node, struct origin_lookup *k)
{
    node_list_channels_cancel(node, &k->node.list);
}
