/* From the admin port's answers to tables. */
#include "cli/top_read.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/prom.h"

enum { REASONS_MAX = 256, LABEL_MAX = 320 };

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

static double number_of(struct json_object *object, const char *key)
{
    struct json_object *value = json_object_object_get(object, key);
    bool number = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    return number ? json_object_get_double(value) : NAN;
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
    const char *text = json_object_is_type(problem, json_type_object)   ? text_of(problem, "message")
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

/* The same for a column's field, which may name two members. */
static const char *text_of_field(struct json_object *object, const char *field)
{
    char first[64];
    const char *slash = strchr(field, '/');
    if (!slash)
        return text_of(object, field);
    snprintf(first, sizeof first, "%.*s", (int)(slash - field), field);
    const char *text = text_of(object, first);
    return text ? text : text_of(object, slash + 1);
}

static bool read_cells(const struct top_table *t, struct top_row *row, struct json_object *object)
{
    const struct top_pane_info *info = &top_panes[t->pane];
    for (unsigned c = 0; c < info->count; c++) {
        const struct top_column *column = &info->columns[c];
        if (!column->field)
            continue;
        if (column->kind != TOP_TEXT) {
            row->cells[c].number = number_of(object, column->field);
            continue;
        }
        const char *text = text_of_field(object, column->field);
        if (text && !top_cell_text(&row->cells[c], text))
            return false;
    }
    return true;
}

/* A list of objects becomes rows; `make_id` says what tells them apart, false: nothing does, so there is no row. */
static bool read_list(struct top_table *t, const char *text,
                      bool (*make_id)(struct json_object *object, char id[LABEL_MAX * 2]))
{
    char id[LABEL_MAX * 2];
    struct json_object *list = parse(text, json_type_array);
    bool done = list != NULL;
    for (size_t i = 0; done && i < json_object_array_length(list); i++) {
        struct json_object *object = json_object_array_get_idx(list, i);
        if (!json_object_is_type(object, json_type_object) || !make_id(object, id))
            continue;
        struct top_row *row = top_table_add(t, id);
        done = row && read_cells(t, row, object);
    }
    json_object_put(list);
    return done;
}

static bool peer_id(struct json_object *object, char id[LABEL_MAX * 2])
{
    const char *node_id = text_of(object, "node_id");
    snprintf(id, LABEL_MAX * 2, "%s", node_id ? node_id : "");
    return node_id;
}

static bool channel_id(struct json_object *object, char id[LABEL_MAX * 2])
{
    const char *channel = text_of(object, "channel"), *origin = text_of(object, "origin");
    if (channel && origin)
        snprintf(id, LABEL_MAX * 2, "%s\n%s", channel, origin);
    return channel && origin;
}

bool top_read_peers(struct top_look *look, const char *text)
{
    return read_list(&look->tables[TOP_PEERS], text, peer_id);
}

bool top_read_channels(struct top_look *look, const char *text)
{
    return read_list(&look->tables[TOP_CHANNELS], text, channel_id);
}

/* ---- metrics ---- */

static bool is_shard_number(const char *label)
{
    size_t digits = strspn(label, "0123456789");
    return digits >= 1 && digits <= 3 && label[digits] == '\0';
}

static struct top_row *find_or_add(struct top_table *t, const char *id)
{
    struct top_row *row = top_table_find(t, id);
    return row ? row : top_table_add(t, id);
}

static bool read_shard_sample(struct top_table *t, const struct prom_sample *s)
{
    const struct top_pane_info *info = &top_panes[TOP_SHARDS];
    char label[LABEL_MAX];
    for (unsigned c = 0; c < info->count; c++) {
        const char *metric = info->columns[c].metric;
        if (!metric || !prom_is(s->name, metric) || !prom_label(s, "shard", label, sizeof label) ||
            !is_shard_number(label))
            continue;
        struct top_row *row = find_or_add(t, label);
        if (!row)
            return false;
        if (isnan(row->cells[TOP_SHARD].number))
            sscanf(label, "%lf", &row->cells[TOP_SHARD].number);
        top_cell_add(&row->cells[c], s->value);
    }
    return true;
}

static bool read_drop_sample(struct top_table *t, const struct prom_sample *s)
{
    char reason[LABEL_MAX];
    if (prom_is(s->name, "netmesh_socket_overflow_datagrams_total"))
        strcpy(reason, "socket_overflow");
    else if (!prom_is(s->name, "netmesh_drops_total") || !prom_label(s, "reason", reason, sizeof reason))
        return true;
    struct top_row *row = top_table_find(t, reason);
    if (!row && t->count < REASONS_MAX) {
        row = top_table_add(t, reason);
        if (!row || !top_cell_text(&row->cells[TOP_DROP_REASON], reason))
            return false;
    }
    if (row) {
        top_cell_add(&row->cells[TOP_DROP_RATE], s->value);
        top_cell_add(&row->cells[TOP_DROP_TOTAL], s->value);
    }
    return true;
}

bool top_read_metrics(struct top_look *look, const char *text, size_t len)
{
    struct prom_text rest = {text, text + len};
    struct prom_sample sample;
    enum prom_result result;
    while ((result = prom_next(&rest, &sample)) != PROM_END) {
        if (result == PROM_MALFORMED || !isfinite(sample.value))
            continue;
        if (!read_shard_sample(&look->tables[TOP_SHARDS], &sample) ||
            !read_drop_sample(&look->tables[TOP_DROPS], &sample))
            return false;
    }
    return true;
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
