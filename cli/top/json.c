/* One look at a node as data. */
#include <math.h>
#include <stdio.h>

#include "cli/top/read.h"

/* As a whole number where the column counts; rates keep three decimals. */
static struct json_object *number(enum top_rate rate, enum top_kind kind, double value)
{
    char text[64];
    if (!isfinite(value))
        return NULL;
    if (rate == TOP_AS_IS && kind != TOP_SHARE && fabs(value) < 9e15)
        return json_object_new_int64((int64_t)value);
    snprintf(text, sizeof text, "%.3f", value);
    return json_object_new_double_s(value, text);
}

static struct json_object *text(const char *value)
{
    return value && *value ? json_object_new_string(value) : NULL;
}

static struct json_object *node_json(const struct top_node *n)
{
    static const char *const ready[] = {
        [TOP_READY_UNKNOWN] = "up", [TOP_READY] = "ready", [TOP_NOT_READY] = "not ready"};
    struct json_object *o = json_object_new_object(), *problems = json_object_new_array();
    json_object_object_add(o, "node_id", text(n->node_id));
    json_object_object_add(o, "version", text(n->version));
    json_object_object_add(o, "uptime_ms", number(TOP_AS_IS, TOP_EXACT, n->uptime_ms));
    json_object_object_add(o, "shards", number(TOP_AS_IS, TOP_EXACT, n->shards));
    json_object_object_add(o, "state", text(n->stopping ? "stopping" : ready[n->ready]));
    for (unsigned i = 0; i < n->problem_count && i < TOP_PROBLEMS_MAX; i++)
        json_object_array_add(problems, text(n->problems[i]));
    json_object_object_add(o, "problems", problems);
    return o;
}

static struct json_object *row_json(const struct top_pane_info *info, const struct top_row *row)
{
    struct json_object *o = json_object_new_object();
    for (unsigned c = 0; c < info->count; c++) {
        const struct top_column *column = &info->columns[c];
        const struct top_cell *cell = &row->cells[c];
        json_object_object_add(o, column->key,
                               column->kind == TOP_TEXT ? text(cell->text)
                                                        : number(column->rate, column->kind, cell->shown));
    }
    return o;
}

struct json_object *top_look_json(const struct top_look *look)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "node", node_json(&look->node));
    for (unsigned p = 0; p < TOP_PANES; p++) {
        struct json_object *list = json_object_new_array();
        for (size_t i = 0; i < look->worth[p]; i++)
            json_object_array_add(list, row_json(&top_panes[p], &look->tables[p].rows[i]));
        json_object_object_add(o, top_panes[p].key, list);
    }
    return o;
}
