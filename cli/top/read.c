/* From the admin port's answers to tables. */
#include "cli/top/read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top/prom.h"

enum { REASONS_MAX = 256, LABEL_MAX = 320, ID_MAX = 2 * LABEL_MAX };

void top_look_init(struct top_look *look, uint64_t at_ns)
{
    *look = (struct top_look){.at_ns = at_ns, .node = {.uptime_ms = NAN, .shards = NAN, .pid = NAN}};
    for (unsigned i = 0; i < TOP_PANES; i++)
        top_table_init(&look->tables[i], (enum top_pane)i);
}

void top_look_deinit(struct top_look *look)
{
    for (unsigned i = 0; i < TOP_PANES; i++)
        top_table_deinit(&look->tables[i]);
}

static struct json_object *parse(const char *text, enum json_type type)
{
    struct json_tokener *tokener = json_tokener_new_ex(TOP_DOCUMENT_DEPTH);
    struct json_object *value = tokener ? json_tokener_parse_ex(tokener, text, -1) : NULL;
    if (tokener)
        json_tokener_free(tokener);
    if (json_object_is_type(value, type))
        return value;
    json_object_put(value);
    return NULL;
}

/* A member's text, NULL when there is none. Valid while the object lives. */
static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value = json_object_object_get(object, key);
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static double as_number(struct json_object *value)
{
    bool number = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    return number ? json_object_get_double(value) : NAN;
}

static double number_of(struct json_object *object, const char *key)
{
    return as_number(json_object_object_get(object, key));
}

bool top_read_node(struct top_look *look, const char *text)
{
    struct json_object *o = parse(text, json_type_object);
    if (!o)
        return false;
    const char *id = text_of(o, "node_id"), *version = text_of(o, "version");
    struct top_node *n = &look->node;
    snprintf(n->node_id, sizeof n->node_id, "%s", id ? id : "");
    snprintf(n->version, sizeof n->version, "%s", version ? version : "");
    n->uptime_ms = number_of(o, "uptime_ms");
    n->shards = number_of(o, "shards");
    n->pid = number_of(o, "pid");
    n->stopping = json_object_get_boolean(json_object_object_get(o, "stopping"));
    json_object_put(o);
    return true;
}

/* A problem is a text, or an object with one. */
static void add_problem(struct top_node *n, struct json_object *problem)
{
    const char *text = json_object_is_type(problem, json_type_object)
                           ? text_of(problem, text_of(problem, "text") ? "text" : "code")
                       : json_object_is_type(problem, json_type_string) ? json_object_get_string(problem)
                                                                        : NULL;
    if (text && n->problem_count < TOP_PROBLEMS_MAX)
        snprintf(n->problems[n->problem_count], TOP_PROBLEM_MAX, "%s", text);
    n->problem_count += text != NULL;
}

bool top_read_ready(struct top_look *look, const char *text)
{
    struct json_object *o = parse(text, json_type_object), *ready = NULL;
    if (!o)
        return false;
    if (json_object_object_get_ex(o, "ready", &ready) && json_object_is_type(ready, json_type_boolean))
        look->node.ready = json_object_get_boolean(ready) ? TOP_READY : TOP_NOT_READY;
    struct json_object *problems = json_object_object_get(o, "problems");
    if (json_object_is_type(problems, json_type_array))
        for (size_t i = 0; i < json_object_array_length(problems); i++)
            add_problem(&look->node, json_object_array_get_idx(problems, i));
    json_object_put(o);
    return true;
}

/* A column's field may name two members: the first that is there. */
static struct json_object *member(struct json_object *object, const char *field)
{
    struct json_object *value = NULL;
    char first[64];
    const char *slash = strchr(field, '/');
    if (!slash)
        return json_object_object_get(object, field);
    snprintf(first, sizeof first, "%.*s", (int)(slash - field), field);
    json_object_object_get_ex(object, first, &value);
    return value ? value : json_object_object_get(object, slash + 1);
}

static bool read_cells(const struct top_table *t, struct top_row *row, struct json_object *object)
{
    const struct top_pane_info *info = &top_panes[t->pane];
    for (unsigned c = 0; c < info->count; c++) {
        const struct top_column *column = &info->columns[c];
        struct json_object *value = column->field ? member(object, column->field) : NULL;
        if (column->kind != TOP_TEXT)
            row->cells[c].number = as_number(value);
        else if (json_object_is_type(value, json_type_string) &&
                 !top_cell_text(&row->cells[c], json_object_get_string(value)))
            return false;
    }
    return true;
}

/* Calls `take` for each object of a list; false: it is no list, or `take` said so. */
static bool each_object(struct top_look *look, const char *text,
                        bool (*take)(struct top_look *look, struct json_object *object))
{
    struct json_object *list = parse(text, json_type_array);
    bool done = list != NULL;
    for (size_t i = 0; done && i < json_object_array_length(list); i++) {
        struct json_object *object = json_object_array_get_idx(list, i);
        if (json_object_is_type(object, json_type_object))
            done = take(look, object);
    }
    json_object_put(list);
    return done;
}

static bool add_row(struct top_table *t, const char *id, struct json_object *object)
{
    struct top_row *row = top_table_add(t, id);
    return row && read_cells(t, row, object);
}

static bool take_shard(struct top_look *look, struct json_object *object)
{
    struct top_table *t = &look->tables[TOP_SHARDS];
    struct json_object *ring = json_object_object_get(object, "ring");
    double shard = number_of(object, "shard");
    char id[32];
    if (!(shard >= 0 && shard < 1000))
        return true;
    snprintf(id, sizeof id, "%.0f", shard);
    if (!add_row(t, id, object))
        return false;
    if (json_object_is_type(ring, json_type_object))
        t->rows[t->count - 1].cells[TOP_SHARD_RING].number = number_of(ring, "used") / number_of(ring, "bytes");
    return true;
}

static bool take_peer(struct top_look *look, struct json_object *object)
{
    const char *id = text_of(object, "node_id");
    return !id || add_row(&look->tables[TOP_PEERS], id, object);
}

/* A channel has logs by origin, and by edition of what was followed. */
static void channel_id(const char *channel, const char *origin, double edition, char id[ID_MAX])
{
    if (isnan(edition))
        snprintf(id, ID_MAX, "%s\n%s", channel, origin);
    else
        snprintf(id, ID_MAX, "%s\n%s\n%.0f", channel, origin, edition);
}

static bool take_channel(struct top_look *look, struct json_object *object)
{
    const char *channel = text_of(object, "channel"), *origin = text_of(object, "origin");
    char id[ID_MAX];
    if (!channel || !origin)
        return true;
    channel_id(channel, origin, number_of(object, "edition"), id);
    return add_row(&look->tables[TOP_CHANNELS], id, object);
}

static void add_number(struct top_cell *cell, double number)
{
    if (!isnan(number))
        top_cell_add(cell, number);
}

/* A peer may have several sessions while one follows another. */
static bool take_session(struct top_look *look, struct json_object *object)
{
    const char *peer = text_of(object, "peer");
    struct top_row *row = peer ? top_table_find(&look->tables[TOP_PEERS], peer) : NULL;
    if (row) {
        add_number(&row->cells[TOP_PEER_RX], number_of(object, "rx_packets"));
        add_number(&row->cells[TOP_PEER_TX], number_of(object, "tx_packets"));
        add_number(&row->cells[TOP_PEER_RX_BYTES], number_of(object, "rx_bytes"));
        add_number(&row->cells[TOP_PEER_TX_BYTES], number_of(object, "tx_bytes"));
    }
    return true;
}

/* A peer is behind by the sum of its channels, a channel by its slowest subscriber. */
static bool take_subscriber(struct top_look *look, struct json_object *object)
{
    const char *peer = text_of(object, "peer"), *channel = text_of(object, "channel");
    double lag = number_of(object, "lag");
    char id[ID_MAX];
    if (!peer || !channel || isnan(lag))
        return true;
    channel_id(channel, "self", NAN, id);
    struct top_row *row = top_table_find(&look->tables[TOP_PEERS], peer);
    if (row)
        top_cell_add(&row->cells[TOP_PEER_LAG], lag);
    row = top_table_find(&look->tables[TOP_CHANNELS], id);
    if (row && !(row->cells[TOP_CHANNEL_LAG].number > lag))
        row->cells[TOP_CHANNEL_LAG].number = lag;
    return true;
}

bool top_read_shards(struct top_look *look, const char *text)
{
    return each_object(look, text, take_shard);
}

bool top_read_peers(struct top_look *look, const char *text)
{
    return each_object(look, text, take_peer);
}

bool top_read_sessions(struct top_look *look, const char *text)
{
    return each_object(look, text, take_session);
}

bool top_read_channels(struct top_look *look, const char *text)
{
    return each_object(look, text, take_channel);
}

bool top_read_subscribers(struct top_look *look, const char *text)
{
    return each_object(look, text, take_subscriber);
}

/* ---- metrics ---- */

static bool is_shard_number(const char *label)
{
    size_t digits = strspn(label, "0123456789");
    return digits >= 1 && digits <= 3 && label[digits] == '\0';
}

/* The row a sample is about; a shard that is not there yet is added. NULL: none. */
static struct top_row *row_of(struct top_table *t, const struct prom_sample *s)
{
    char label[LABEL_MAX];
    if (t->pane == TOP_PEERS)
        return prom_label(s, "node_id", label, sizeof label) ? top_table_find(t, label) : NULL;
    if (!prom_label(s, "shard", label, sizeof label) || !is_shard_number(label))
        return NULL;
    struct top_row *row = top_table_find(t, label);
    if (!row && (row = top_table_add(t, label)) != NULL)
        row->cells[TOP_SHARD].number = strtod(label, NULL);
    return row;
}

static void read_sample(struct top_table *t, const struct prom_sample *s)
{
    const struct top_pane_info *info = &top_panes[t->pane];
    for (unsigned c = 0; c < info->count; c++) {
        struct top_row *row =
            info->columns[c].metric && prom_is(s->name, info->columns[c].metric) ? row_of(t, s) : NULL;
        if (row)
            top_cell_add(&row->cells[c], s->value);
    }
}

static void read_drop_sample(struct top_table *t, const struct prom_sample *s)
{
    char reason[LABEL_MAX];
    if (prom_is(s->name, "netmesh_socket_overflow_datagrams_total"))
        strcpy(reason, "socket_overflow");
    else if (!prom_is(s->name, "netmesh_drops_total") || !prom_label(s, "reason", reason, sizeof reason))
        return;
    struct top_row *row = top_table_find(t, reason);
    if (!row && t->count < REASONS_MAX && (row = top_table_add(t, reason)) != NULL)
        top_cell_text(&row->cells[TOP_DROP_REASON], reason);
    if (row) {
        top_cell_add(&row->cells[TOP_DROP_RATE], s->value);
        top_cell_add(&row->cells[TOP_DROP_TOTAL], s->value);
    }
}

bool top_read_metrics(struct top_look *look, const char *text, size_t len)
{
    struct prom_text rest = {text, text + len};
    struct prom_sample sample;
    enum prom_result result;
    bool any = false;
    while ((result = prom_next(&rest, &sample)) != PROM_END) {
        if (result == PROM_MALFORMED || !isfinite(sample.value))
            continue;
        any = true;
        read_sample(&look->tables[TOP_SHARDS], &sample);
        read_sample(&look->tables[TOP_PEERS], &sample);
        read_drop_sample(&look->tables[TOP_DROPS], &sample);
    }
    return any;
}

/* ---- the whole ---- */

static bool same_run(const struct top_node *now, const struct top_node *before)
{
    return !(now->uptime_ms < before->uptime_ms) && !(now->pid < before->pid) && !(now->pid > before->pid);
}

void top_look_compare(struct top_look *now, struct top_look *before)
{
    bool related = before && now->at_ns > before->at_ns && same_run(&now->node, &before->node);
    for (unsigned i = 0; i < TOP_PANES; i++)
        top_table_rates(&now->tables[i], related ? &before->tables[i] : NULL,
                        related ? (double)(now->at_ns - before->at_ns) / 1e9 : 0);
}
