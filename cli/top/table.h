/*
 * What `top` knows of a node: a table for each pane, a row for each shard, peer, channel and reason of dropping, and of
 * two looks at the node the rates between them. Nothing here talks to a node or to a terminal.
 */
#ifndef NM_CLI_TOP_TABLE_H
#define NM_CLI_TOP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum top_pane { TOP_SHARDS, TOP_PEERS, TOP_CHANNELS, TOP_DROPS, TOP_PANES };

enum top_kind { TOP_TEXT, TOP_EXACT, TOP_COUNT, TOP_BYTES, TOP_SHARE /* 1 is all */, TOP_MICROSECONDS };

/* What a column shows of its number. */
enum top_rate {
    TOP_AS_IS,
    TOP_COUNTER, /* its growth in a second; when it fell, it began anew at 0 */
    TOP_GROWTH,  /* the same of a figure that may fall for other reasons: unknown then */
};

struct top_column {
    const char *key;  /* as in --sort and in JSON */
    const char *head; /* as on the screen */
    enum top_kind kind;
    enum top_rate rate;
    const char *field;  /* where it comes from: a member of the admin port's rows, of "a/b" the first that is there;
                           NULL:  not from there */
    const char *metric; /* or a metric, summed over the labels that do not name the row; NULL likewise */
};

struct top_pane_info {
    const char *key;
    const struct top_column *columns;
    unsigned count;
    unsigned sort; /* at first, by this column */
};
extern const struct top_pane_info top_panes[TOP_PANES];

enum { TOP_COLUMNS_MAX = 16, TOP_ROWS_MAX = 1 << 20 };
/* Columns that code names. */
enum { TOP_SHARD = 0, TOP_SHARD_RING = 9 };
enum { TOP_PEER_RX = 3, TOP_PEER_TX = 4, TOP_PEER_LAG = 7, TOP_PEER_RX_BYTES = 8, TOP_PEER_TX_BYTES = 9 };
enum { TOP_CHANNEL_LAG = 6 };
enum { TOP_DROP_REASON = 0, TOP_DROP_RATE = 1, TOP_DROP_TOTAL = 2 };

struct top_cell {
    char *text;    /* TOP_TEXT; NULL: unknown */
    double number; /* as the node gave it; NAN: unknown */
    double shown;  /* as the column shows it; NAN: unknown */
};

struct top_row {
    char *id; /* tells the rows of a table apart */
    struct top_cell cells[TOP_COLUMNS_MAX];
};

struct top_table {
    enum top_pane pane;
    struct top_row *rows;
    size_t count, room;
    bool by_id; /* the rows are sorted by id */
};

void top_table_init(struct top_table *, enum top_pane);
void top_table_deinit(struct top_table *);
/* A new row, all unknown; `id` is copied. NULL: no memory, or TOP_ROWS_MAX rows. Moves the rows there are. */
struct top_row *top_table_add(struct top_table *, const char *id);
/* NULL: none. Sorts the rows by id when they are not. */
struct top_row *top_table_find(struct top_table *, const char *id);
/* False: no memory. */
bool top_cell_text(struct top_cell *, const char *text);
/* Adds to what is there; unknown counts as 0. */
void top_cell_add(struct top_cell *, double number);

/* Fills `shown` of every cell. `before` is an earlier look, NULL: there is none; it gets its rows sorted by id. */
void top_table_rates(struct top_table *now, struct top_table *before, double seconds);
/* True when no row knows anything for this column: it is left out on the screen. */
bool top_column_unknown(const struct top_table *, unsigned column);
/* Sorts the rows; those that know nothing are last either way, and equal ones are in the order of their ids. How many
 * are worth showing: of the reasons of dropping only those that dropped anything; the others come last. */
size_t top_table_sort(struct top_table *, unsigned column, bool descending);

#endif
