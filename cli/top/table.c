/* Tables, rates and orders. */
#include "cli/top/table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct top_column shard_columns[] = {
    {"shard", "SHARD", TOP_EXACT, TOP_AS_IS, "shard", NULL},
    {"turns_per_s", "TURNS/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_turns_total"},
    {"busy", "BUSY", TOP_SHARE, TOP_COUNTER, NULL, "netmesh_turn_seconds_sum"},
    {"rx_datagrams_per_s", "RX/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_rx_datagrams_total"},
    {"tx_datagrams_per_s", "TX/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_tx_datagrams_total"},
    {"rx_events_per_s", "EV IN/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_rx_events_total"},
    {"tx_events_per_s", "EV OUT/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_tx_events_total"},
    {"published_per_s", "PUBL/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_published_events_total"},
    {"drops_per_s", "DROPS/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_drops_total"},
    [TOP_SHARD_RING] = {"ring", "RING", TOP_SHARE, TOP_AS_IS, NULL, NULL},
    {"rx_bytes_per_s", "RX B/S", TOP_BYTES, TOP_COUNTER, NULL, "netmesh_rx_bytes_total"},
    {"tx_bytes_per_s", "TX B/S", TOP_BYTES, TOP_COUNTER, NULL, "netmesh_tx_bytes_total"},
    {"sessions", "SESSIONS", TOP_EXACT, TOP_AS_IS, NULL, "netmesh_sessions"},
    {"logs", "LOGS", TOP_EXACT, TOP_AS_IS, NULL, "netmesh_logs"},
};

static const struct top_column peer_columns[] = {
    {"peer", "PEER", TOP_TEXT, TOP_AS_IS, "name/node_id", NULL},
    {"state", "STATE", TOP_TEXT, TOP_AS_IS, "state", NULL},
    {"rtt_us", "RTT", TOP_MICROSECONDS, TOP_AS_IS, "rtt_us", NULL},
    [TOP_PEER_RX] = {"rx_packets_per_s", "RX/S", TOP_COUNT, TOP_GROWTH, NULL, NULL},
    [TOP_PEER_TX] = {"tx_packets_per_s", "TX/S", TOP_COUNT, TOP_GROWTH, NULL, NULL},
    {"rx_events_per_s", "EV IN/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_peer_rx_events_total"},
    {"tx_events_per_s", "EV OUT/S", TOP_COUNT, TOP_COUNTER, NULL, "netmesh_peer_tx_events_total"},
    [TOP_PEER_LAG] = {"lag", "LAG", TOP_EXACT, TOP_AS_IS, NULL, NULL},
    [TOP_PEER_RX_BYTES] = {"rx_bytes_per_s", "RX B/S", TOP_BYTES, TOP_GROWTH, NULL, NULL},
    [TOP_PEER_TX_BYTES] = {"tx_bytes_per_s", "TX B/S", TOP_BYTES, TOP_GROWTH, NULL, NULL},
    {"node_id", "NODE ID", TOP_TEXT, TOP_AS_IS, "node_id", NULL},
    {"addr", "ADDRESS", TOP_TEXT, TOP_AS_IS, "addr", NULL},
};

static const struct top_column channel_columns[] = {
    {"channel", "CHANNEL", TOP_TEXT, TOP_AS_IS, "channel", NULL},
    {"origin", "ORIGIN", TOP_TEXT, TOP_AS_IS, "origin_name/origin", NULL},
    {"events_per_s", "EVENTS/S", TOP_COUNT, TOP_GROWTH, "appended_events/next_seq", NULL},
    {"bytes_per_s", "BYTES/S", TOP_BYTES, TOP_GROWTH, "appended_bytes/bytes", NULL},
    {"next_seq", "NEXT SEQ", TOP_EXACT, TOP_AS_IS, "next_seq", NULL},
    {"subscribers", "SUBS", TOP_EXACT, TOP_AS_IS, "subscribers", NULL},
    [TOP_CHANNEL_LAG] = {"lag", "LAG", TOP_EXACT, TOP_AS_IS, NULL, NULL},
    {"error", "ERROR", TOP_TEXT, TOP_AS_IS, "error", NULL},
    {"bytes", "STORED", TOP_BYTES, TOP_AS_IS, "bytes", NULL},
    {"source", "SOURCE", TOP_TEXT, TOP_AS_IS, "source", NULL},
};

static const struct top_column drop_columns[] = {
    [TOP_DROP_REASON] = {"reason", "DROPPED", TOP_TEXT, TOP_AS_IS, NULL, NULL},
    [TOP_DROP_RATE] = {"drops_per_s", "DROPS/S", TOP_COUNT, TOP_COUNTER, NULL, NULL},
    [TOP_DROP_TOTAL] = {"total", "TOTAL", TOP_EXACT, TOP_AS_IS, NULL, NULL},
};

#define COLUMNS(c) (c), sizeof(c) / sizeof(c)[0]

const struct top_pane_info top_panes[TOP_PANES] = {
    [TOP_SHARDS] = {"shards", COLUMNS(shard_columns), TOP_SHARD},
    [TOP_PEERS] = {"peers", COLUMNS(peer_columns), 0},
    [TOP_CHANNELS] = {"channels", COLUMNS(channel_columns), 2},
    [TOP_DROPS] = {"drops", COLUMNS(drop_columns), TOP_DROP_RATE},
};

void top_table_init(struct top_table *t, enum top_pane pane)
{
    assert(top_panes[pane].count <= TOP_COLUMNS_MAX);
    *t = (struct top_table){.pane = pane};
}

void top_table_deinit(struct top_table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->rows[i].id);
        for (unsigned c = 0; c < TOP_COLUMNS_MAX; c++)
            free(t->rows[i].cells[c].text);
    }
    free(t->rows);
    *t = (struct top_table){.pane = t->pane};
}

static bool make_room(struct top_table *t)
{
    if (t->count < t->room)
        return true;
    size_t room = t->room ? 2 * t->room : 16;
    struct top_row *rows = room <= TOP_ROWS_MAX ? realloc(t->rows, room * sizeof *rows) : NULL;
    if (!rows)
        return false;
    t->rows = rows;
    t->room = room;
    return true;
}

struct top_row *top_table_add(struct top_table *t, const char *id)
{
    char *copy = make_room(t) ? strdup(id) : NULL;
    if (!copy)
        return NULL;
    struct top_row *row = &t->rows[t->count++];
    t->by_id = false;
    row->id = copy;
    for (unsigned c = 0; c < TOP_COLUMNS_MAX; c++)
        row->cells[c] = (struct top_cell){NULL, NAN, NAN};
    return row;
}

bool top_cell_text(struct top_cell *cell, const char *text)
{
    free(cell->text);
    cell->text = strdup(text);
    return cell->text != NULL;
}

void top_cell_add(struct top_cell *cell, double number)
{
    cell->number = isnan(cell->number) ? number : cell->number + number;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct top_row *)a)->id, ((const struct top_row *)b)->id);
}

static void sort_by_id(struct top_table *t)
{
    if (t->count && !t->by_id)
        qsort(t->rows, t->count, sizeof *t->rows, compare_ids);
    t->by_id = true;
}

static int compare_id(const void *id, const void *row)
{
    return strcmp(id, ((const struct top_row *)row)->id);
}

struct top_row *top_table_find(struct top_table *t, const char *id)
{
    sort_by_id(t);
    return t->count ? bsearch(id, t->rows, t->count, sizeof *t->rows, compare_id) : NULL;
}

static double rate(enum top_rate how, double now, double before, double seconds)
{
    double growth = how == TOP_COUNTER && now < before ? now : now - before;
    return growth >= 0 && seconds > 0 ? growth / seconds : NAN; /* of NAN, too */
}

void top_table_rates(struct top_table *now, struct top_table *before, double seconds)
{
    const struct top_pane_info *info = &top_panes[now->pane];
    for (size_t i = 0; i < now->count; i++) {
        struct top_row *row = &now->rows[i];
        const struct top_row *old = before ? top_table_find(before, row->id) : NULL;
        for (unsigned c = 0; c < info->count; c++) {
            struct top_cell *cell = &row->cells[c];
            enum top_rate how = info->columns[c].rate;
            cell->shown = how == TOP_AS_IS ? cell->number
                          : old            ? rate(how, cell->number, old->cells[c].number, seconds)
                                           : NAN;
        }
    }
}

bool top_column_unknown(const struct top_table *t, unsigned column)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->rows[i].cells[column].text || !isnan(t->rows[i].cells[column].number))
            return false;
    return true;
}

/* Nothing was ever dropped for this reason. */
static bool is_idle(enum top_pane pane, const struct top_row *row)
{
    return pane == TOP_DROPS && !(row->cells[TOP_DROP_TOTAL].number > 0);
}

struct order {
    enum top_pane pane;
    unsigned column;
    bool text, descending;
};

static int compare_cells(const void *a, const void *b, void *ctx)
{
    const struct order *o = ctx;
    int idle = is_idle(o->pane, a) - is_idle(o->pane, b);
    const struct top_cell *x = &((const struct top_row *)a)->cells[o->column],
                          *y = &((const struct top_row *)b)->cells[o->column];
    bool x_known = o->text ? x->text != NULL : !isnan(x->shown), y_known = o->text ? y->text != NULL : !isnan(y->shown);
    int result;
    if (idle)
        return idle;
    if (!x_known || !y_known)
        result = x_known ? -1 : y_known;
    else {
        result = o->text ? strcmp(x->text, y->text) : (x->shown > y->shown) - (x->shown < y->shown);
        result = o->descending ? -result : result;
    }
    return result ? result : compare_ids(a, b);
}

size_t top_table_sort(struct top_table *t, unsigned column, bool descending)
{
    struct order o = {t->pane, column, top_panes[t->pane].columns[column].kind == TOP_TEXT, descending};
    size_t worth = 0;
    if (t->count)
        qsort_r(t->rows, t->count, sizeof *t->rows, compare_cells, &o);
    t->by_id = false;
    while (worth < t->count && !is_idle(t->pane, &t->rows[worth]))
        worth++;
    return worth;
}
