/*
 * The screen of `top`, drawn on a canvas that is a terminal, a file or a test; and what keys do to it. A line for the
 * node, then the panes under their bars, then a line of help. Where four panes do not fit, the chosen one is alone.
 */
#ifndef NM_CLI_TOP_VIEW_H
#define NM_CLI_TOP_VIEW_H

#include "cli/top/read.h"

enum top_style { TOP_PLAIN, TOP_STRONG, TOP_BAR, TOP_BAR_CHOSEN, TOP_GOOD, TOP_BAD, TOP_STYLES };

struct top_canvas {
    unsigned rows, columns;
    /* `text` is harmless (text.h) and ends within the columns; every cell is put at most once. */
    void (*put)(void *ctx, unsigned row, unsigned column, enum top_style, const char *text);
    void *ctx;
};

/* Keys that are no characters. */
enum top_key {
    TOP_KEY_UP = 0x110000,
    TOP_KEY_DOWN,
    TOP_KEY_LEFT,
    TOP_KEY_RIGHT,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_END,
    TOP_KEY_BACK_TAB
};

struct top_pane_state {
    unsigned sort;
    bool descending;
    size_t scroll, visible; /* the first row shown, and how many are, as of the last drawing */
};

struct top_state {
    const char *endpoint; /* where the node is, for people */
    const char *trouble;  /* why there is nothing newer; NULL: there is */
    bool interactive;     /* with a line about keys */
    bool paused, help, quit;
    enum top_pane chosen;
    uint64_t interval_ns;
    struct top_pane_state panes[TOP_PANES];
};

#define TOP_INTERVAL_MIN (UINT64_C(100) * 1000000)
#define TOP_INTERVAL_MAX (UINT64_C(3600) * 1000000000)

void top_state_init(struct top_state *, const char *endpoint, uint64_t interval_ns);
/* "COLUMN", of every pane that has it, or "PANE.COLUMN". False: there is none of that name. */
bool top_state_sort(struct top_state *, const char *name);
/* A character, or one of enum top_key; others do nothing. `look` is what the screen shows. */
void top_state_key(struct top_state *, const struct top_look *look, int key);

/* Sorts the tables of `look` as the state says and draws. Nothing is put outside of the canvas, however small. */
void top_draw(const struct top_canvas *, struct top_state *, struct top_look *look);

#endif
