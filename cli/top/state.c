/* What the keys of `top` do. */
#include <string.h>

#include "cli/top/view.h"

static void sort_by(struct top_state *s, enum top_pane pane, unsigned column)
{
    s->panes[pane].sort = column;
    s->panes[pane].descending = column != 0 && top_panes[pane].columns[column].kind != TOP_TEXT; /* most comes first */
    s->panes[pane].scroll = 0;
}

void top_state_init(struct top_state *s, const char *endpoint, uint64_t interval_ns)
{
    *s = (struct top_state){.endpoint = endpoint, .chosen = TOP_CHANNELS, .interval_ns = interval_ns};
    for (unsigned p = 0; p < TOP_PANES; p++)
        sort_by(s, (enum top_pane)p, top_panes[p].sort);
}

bool top_state_sort(struct top_state *s, const char *name)
{
    bool found = false;
    const char *dot = strchr(name, '.');
    for (unsigned p = 0; p < TOP_PANES; p++) {
        const char *pane = top_panes[p].key;
        if (dot && (strlen(pane) != (size_t)(dot - name) || memcmp(pane, name, (size_t)(dot - name)) != 0))
            continue;
        for (unsigned c = 0; c < top_panes[p].count; c++)
            if (strcmp(top_panes[p].columns[c].key, dot ? dot + 1 : name) == 0) {
                sort_by(s, (enum top_pane)p, c);
                found = true;
            }
    }
    return found;
}

static void next_sort(struct top_state *s, const struct top_look *look)
{
    unsigned count = top_panes[s->chosen].count, column = s->panes[s->chosen].sort;
    for (unsigned i = 0; i < count; i++) {
        column = (column + 1) % count;
        if (!top_column_unknown(&look->tables[s->chosen], column))
            break;
    }
    sort_by(s, s->chosen, column);
}

/* The next of round figures: 100 ms, 200 ms, 500 ms, 1 s, ... */
static void change_interval(struct top_state *s, bool longer)
{
    static const unsigned steps_ms[] = {100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000, 600000, 3600000};
    uint64_t now_ms = s->interval_ns / 1000000, to_ms = now_ms;
    for (size_t i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++) {
        if (longer && steps_ms[i] > now_ms) {
            to_ms = steps_ms[i];
            break;
        }
        if (!longer && steps_ms[i] < now_ms)
            to_ms = steps_ms[i];
    }
    s->interval_ns = to_ms * 1000000;
}

/* Drawing clamps what goes too far. */
static void scroll(struct top_state *s, const struct top_look *look, int key)
{
    struct top_pane_state *p = &s->panes[s->chosen];
    size_t page = p->visible ? p->visible : 1;
    size_t back = key == TOP_KEY_UP ? 1 : page;
    if (key == TOP_KEY_UP || key == TOP_KEY_PAGE_UP)
        p->scroll = p->scroll > back ? p->scroll - back : 0;
    else if (key == TOP_KEY_HOME)
        p->scroll = 0;
    else
        p->scroll += key == TOP_KEY_DOWN ? 1 : key == TOP_KEY_PAGE_DOWN ? page : look->worth[s->chosen];
}

void top_state_key(struct top_state *s, const struct top_look *look, int key)
{
    switch (key) {
    case 'q':
        s->quit = true;
        break;
    case 'p':
        s->paused = !s->paused;
        break;
    case 'h':
    case '?':
        s->help = !s->help;
        break;
    case 's':
        next_sort(s, look);
        break;
    case 'r':
        s->panes[s->chosen].descending = !s->panes[s->chosen].descending;
        break;
    case '+':
    case '-':
        change_interval(s, key == '+');
        break;
    case '\t':
    case TOP_KEY_RIGHT:
        s->chosen = (s->chosen + 1) % TOP_PANES;
        break;
    case TOP_KEY_BACK_TAB:
    case TOP_KEY_LEFT:
        s->chosen = (s->chosen + TOP_PANES - 1) % TOP_PANES;
        break;
    case TOP_KEY_UP:
    case TOP_KEY_DOWN:
    case TOP_KEY_PAGE_UP:
    case TOP_KEY_PAGE_DOWN:
    case TOP_KEY_HOME:
    case TOP_KEY_END:
        scroll(s, look, key);
        break;
    }
}
