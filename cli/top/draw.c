/* The screen of `top`, on a canvas. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/top/text.h"
#include "cli/top/view.h"

enum { GAP = 2, NAME_MIN = 12, NAME_MAX = 256, PROBLEM_LINES = 3, SHARE_WIDTH = 4, PANE_MIN = 2 };

/* One line, written from left to right. */
struct line {
    const struct top_canvas *canvas;
    unsigned row, column;
};

static void put(struct line *l, enum top_style style, const char *text, unsigned width)
{
    char fit[TOP_TEXT_MAX];
    if (l->row >= l->canvas->rows || l->column >= l->canvas->columns)
        return;
    unsigned left = l->canvas->columns - l->column;
    unsigned used = top_text_fit(text, width < left ? width : left, fit);
    if (used)
        l->canvas->put(l->canvas->ctx, l->row, l->column, style, fit);
    l->column += used;
}

static void put_blanks(struct line *l, enum top_style style, unsigned n)
{
    static const char blanks[] = "                                                                ";
    for (unsigned piece; n; n -= piece) {
        piece = n < sizeof blanks - 1 ? n : (unsigned)sizeof blanks - 1;
        put(l, style, blanks + sizeof blanks - 1 - piece, piece);
    }
}

static void put_all(struct line *l, enum top_style style, const char *text)
{
    put(l, style, text, NAME_MAX);
}

/* ---- columns ---- */

struct columns {
    unsigned width[TOP_COLUMNS_MAX]; /* 0: not shown */
};

static void cell_text(const struct top_column *column, const struct top_cell *cell, char number[32], const char **out)
{
    *out = number;
    if (column->kind == TOP_TEXT)
        *out = cell->text ? cell->text : "-";
    else
        top_number_text(column->kind, cell->shown, number);
}

static unsigned natural_width(const struct top_table *t, unsigned c, size_t worth)
{
    const struct top_column *column = &top_panes[t->pane].columns[c];
    unsigned width = (unsigned)strlen(column->head);
    if (column->kind == TOP_SHARE)
        return width > SHARE_WIDTH ? width : SHARE_WIDTH;
    if (column->kind != TOP_TEXT && column->kind != TOP_EXACT)
        return width > TOP_NUMBER_WIDTH ? width : TOP_NUMBER_WIDTH;
    for (size_t i = 0; i < worth; i++) {
        char number[32];
        const char *text;
        cell_text(column, &t->rows[i].cells[c], number, &text);
        unsigned w = top_text_width(text);
        width = w > width ? w : width;
    }
    return width < NAME_MAX ? width : NAME_MAX;
}

/* All columns that know something, as wide as they like; when that is too much, first the name gives way, then the last
 * columns go. */
static void fit_columns(const struct top_table *t, size_t worth, unsigned room, struct columns *out)
{
    const struct top_pane_info *info = &top_panes[t->pane];
    unsigned total = 0;
    for (unsigned c = 0; c < info->count; c++) {
        out->width[c] = c && top_column_unknown(t, c) ? 0 : natural_width(t, c, worth);
        total += out->width[c] ? out->width[c] + (c ? GAP : 0) : 0;
    }
    for (unsigned c = info->count - 1; total > room; c--) {
        unsigned spare = out->width[0] > NAME_MIN ? out->width[0] - NAME_MIN : 0;
        if (total - room <= spare || c == 0) {
            out->width[0] -= total - room < spare ? total - room : spare;
            return;
        }
        total -= out->width[c] ? out->width[c] + GAP : 0;
        out->width[c] = 0;
    }
}

/* Texts stand left, figures right. */
static void put_cell(struct line *l, bool left, bool first, unsigned width, enum top_style blank, enum top_style style,
                     const char *text)
{
    unsigned w = top_text_width(text);
    unsigned pad = w < width ? width - w : 0;
    put_blanks(l, blank, (first ? 0 : GAP) + (left ? 0 : pad));
    put(l, style, text, width);
    put_blanks(l, blank, left ? pad : 0);
}

static void draw_bar(struct line l, const struct top_state *s, const struct top_table *t, size_t worth,
                     const struct columns *columns)
{
    const struct top_pane_info *info = &top_panes[t->pane];
    const struct top_pane_state *p = &s->panes[t->pane];
    enum top_style style = s->interactive && s->chosen == t->pane ? TOP_BAR_CHOSEN : TOP_BAR;
    char where[64] = "";
    for (unsigned c = 0; c < info->count; c++)
        if (columns->width[c])
            put_cell(&l, info->columns[c].kind == TOP_TEXT, c == 0, columns->width[c], style, style,
                     info->columns[c].head);
    if (p->visible < worth)
        snprintf(where, sizeof where, "  %zu-%zu of %zu", p->scroll + 1, p->scroll + p->visible, worth);
    unsigned width = (unsigned)strlen(where);
    if (l.column + width <= l.canvas->columns) {
        put_blanks(&l, style, l.canvas->columns - l.column - width);
        put(&l, style, where, width);
    } else if (l.column < l.canvas->columns)
        put_blanks(&l, style, l.canvas->columns - l.column);
}

static enum top_style cell_style(const struct top_column *column, const struct top_cell *cell)
{
    if (strcmp(column->key, "state") == 0 && cell->text)
        return strcmp(cell->text, "connected") == 0 ? TOP_GOOD : TOP_BAD;
    if (strcmp(column->key, "drops_per_s") == 0)
        return cell->shown > 0 ? TOP_BAD : TOP_PLAIN;
    return strcmp(column->key, "error") == 0 && cell->text ? TOP_BAD : TOP_PLAIN;
}

static void draw_row(struct line l, enum top_pane pane, const struct top_row *row, const struct columns *columns)
{
    const struct top_pane_info *info = &top_panes[pane];
    for (unsigned c = 0; c < info->count; c++) {
        char number[32];
        const char *text;
        if (!columns->width[c])
            continue;
        cell_text(&info->columns[c], &row->cells[c], number, &text);
        put_cell(&l, info->columns[c].kind == TOP_TEXT, c == 0, columns->width[c], TOP_PLAIN,
                 cell_style(&info->columns[c], &row->cells[c]), text);
    }
}

/* `height` rows of the canvas from `top` on, the bar included. */
static void draw_pane(const struct top_canvas *canvas, struct top_state *s, const struct top_look *look,
                      enum top_pane pane, unsigned top, unsigned height)
{
    const struct top_table *t = &look->tables[pane];
    struct top_pane_state *p = &s->panes[pane];
    struct columns columns = {0};
    size_t worth = look->worth[pane], room = height - 1;
    p->visible = worth < room ? worth : room;
    if (p->scroll > worth - p->visible)
        p->scroll = worth - p->visible;
    fit_columns(t, worth, canvas->columns, &columns);
    draw_bar((struct line){canvas, top, 0}, s, t, worth, &columns);
    for (size_t i = 0; i < p->visible; i++)
        draw_row((struct line){canvas, top + 1 + (unsigned)i, 0}, pane, &t->rows[p->scroll + i], &columns);
    if (worth == 0 && room) {
        struct line l = {canvas, top + 1, 0};
        put_all(&l, TOP_PLAIN, "(none)");
    }
}

/* ---- what is above and below ---- */

static void draw_node(const struct top_canvas *canvas, const struct top_state *s, const struct top_node *n)
{
    struct line l = {canvas, 0, 0};
    char text[256], uptime[32];
    put_all(&l, TOP_STRONG, "net-mesh ");
    put_all(&l, TOP_PLAIN, s->endpoint);
    put_all(&l, TOP_PLAIN, "  ");
    if (s->trouble)
        put_all(&l, TOP_BAD, "unreachable");
    else if (n->stopping || n->ready == TOP_NOT_READY)
        put_all(&l, TOP_BAD, n->stopping ? "stopping" : "not ready");
    else
        put_all(&l, TOP_GOOD, n->ready == TOP_READY ? "ready" : "up");
    put_all(&l, TOP_STRONG, s->paused ? "  PAUSED" : "");
    top_uptime_text(n->uptime_ms, uptime);
    snprintf(text, sizeof text, "  node %s  up %s  v%s", *n->node_id ? n->node_id : "-", uptime,
             *n->version ? n->version : "-");
    put_all(&l, TOP_PLAIN, text);
}

/* Why the node is not as it should be. Returns the first row below. */
static unsigned draw_problems(const struct top_canvas *canvas, const struct top_state *s, const struct top_node *n)
{
    unsigned row = 1;
    if (s->trouble) {
        struct line l = {canvas, row++, 0};
        put_all(&l, TOP_BAD, "trying again: ");
        put_all(&l, TOP_BAD, s->trouble);
    }
    for (unsigned i = 0; i < n->problem_count && i < PROBLEM_LINES; i++) {
        struct line l = {canvas, row++, 0};
        char more[64] = "";
        if (i + 1 == PROBLEM_LINES && n->problem_count > PROBLEM_LINES)
            snprintf(more, sizeof more, " (and %u more)", n->problem_count - PROBLEM_LINES);
        put_all(&l, TOP_BAD, n->problems[i]);
        put_all(&l, TOP_BAD, more);
    }
    return row;
}

static void draw_keys(const struct top_canvas *canvas, const struct top_state *s, unsigned row)
{
    struct line l = {canvas, row, 0};
    char text[256];
    const struct top_pane_state *p = &s->panes[s->chosen];
    snprintf(text, sizeof text, "q quit  h help  p %s  tab pane  +/- %.3gs  r reverse  s sort: %s%s",
             s->paused ? "go on" : "pause", (double)s->interval_ns / 1e9, top_panes[s->chosen].columns[p->sort].head,
             p->descending ? "" : " (up)");
    put_all(&l, TOP_PLAIN, text);
}

static void draw_help(const struct top_canvas *canvas, unsigned top, unsigned end)
{
    static const char *const lines[] = {
        "q           quit; so does Ctrl-C",
        "p           pause, and go on",
        "tab, right  choose the next pane; shift-tab, left: the one before",
        "up, down    scroll the chosen pane; also page up, page down, home, end",
        "s           sort the chosen pane by its next column",
        "r           sort it the other way round",
        "+ -         look less often, more often",
        "h ?         this help, and back",
        "",
        "Rates are per second, between the last two looks; - is what the node does not tell.",
    };
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0] && top + i < end; i++) {
        struct line l = {canvas, top + i, 0};
        put_all(&l, TOP_PLAIN, lines[i]);
    }
}

/* ---- the whole ---- */

/* Rows for each pane: a bar and one row for all, the rest to the chosen one first, then to those that want more. */
static void share_rows(const struct top_state *s, const struct top_look *look, unsigned rows,
                       unsigned height[TOP_PANES])
{
    memset(height, 0, TOP_PANES * sizeof *height);
    if (rows < TOP_PANES * PANE_MIN) {
        height[s->chosen] = rows;
        return;
    }
    unsigned left = rows - TOP_PANES * PANE_MIN, want[TOP_PANES];
    bool given = true;
    for (unsigned p = 0; p < TOP_PANES; p++) {
        height[p] = PANE_MIN;
        want[p] = look->worth[p] > 1 ? (unsigned)look->worth[p] - 1 : 0;
    }
    unsigned most = s->interactive ? left / 2 : 0; /* the chosen one leaves something to the others */
    height[s->chosen] += want[s->chosen] < most ? want[s->chosen] : most;
    left -= height[s->chosen] - PANE_MIN;
    want[s->chosen] -= height[s->chosen] - PANE_MIN;
    while (left && given) {
        given = false;
        for (unsigned p = 0; p < TOP_PANES; p++)
            if (want[p] && left) {
                want[p]--, left--, height[p]++;
                given = true;
            }
    }
}

void top_draw(const struct top_canvas *canvas, struct top_state *s, struct top_look *look)
{
    unsigned height[TOP_PANES];
    for (unsigned p = 0; p < TOP_PANES; p++)
        look->worth[p] = top_table_sort(&look->tables[p], s->panes[p].sort, s->panes[p].descending);
    draw_node(canvas, s, &look->node);
    unsigned top = draw_problems(canvas, s, &look->node);
    unsigned end = s->interactive && canvas->rows > top + PANE_MIN ? canvas->rows - 1 : canvas->rows;
    if (end < canvas->rows)
        draw_keys(canvas, s, end);
    if (s->help) {
        draw_help(canvas, top, end);
        return;
    }
    share_rows(s, look, end > top ? end - top : 0, height);
    for (unsigned p = 0; p < TOP_PANES; p++) {
        if (height[p])
            draw_pane(canvas, s, look, (enum top_pane)p, top, height[p]);
        top += height[p];
    }
}
