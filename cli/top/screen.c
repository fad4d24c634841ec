/* The terminal of `top`, through curses. */
#include "cli/top/screen.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define NCURSES_NOMACROS
#include <ncurses.h>
#include <term.h>
#undef columns /* a macro of term.h */

#include "cli/cli.h"

enum { PAIR_GOOD = 1, PAIR_BAD, PAIR_BAR };

/* What ends the program and what changes the screen come in order with the keys, not in the middle of a drawing. curses
 * would end the program without our exit code. */
static bool take_signals(struct top_screen *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals >= 0;
}

static bool watch(struct top_screen *s, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(s->input, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void choose_colours(struct top_screen *s, bool colours)
{
    s->coloured = colours && has_colors() && start_color() == OK && use_default_colors() == OK &&
                  init_pair(PAIR_GOOD, COLOR_GREEN, -1) == OK && init_pair(PAIR_BAD, COLOR_RED, -1) == OK &&
                  init_pair(PAIR_BAR, COLOR_BLACK, COLOR_CYAN) == OK;
}

/* newterm() does not give back all of its memory when it fails. */
static bool is_known_terminal(void)
{
    int found;
    if (setupterm(NULL, STDOUT_FILENO, &found) != OK)
        return false;
    del_curterm(cur_term);
    return true;
}

bool top_screen_open(struct top_screen *s, bool colours)
{
    const char *name = getenv("TERM");
    *s = (struct top_screen){.input = epoll_create1(EPOLL_CLOEXEC), .signals = -1};
    if (s->input < 0 || !take_signals(s) || !watch(s, s->signals) || !watch(s, STDIN_FILENO)) {
        cli_error(CLI_FAILURE, "top: cannot listen to the terminal");
        return false;
    }
    if (is_known_terminal())
        s->terminal = newterm(NULL, stdout, stdin);
    if (!s->terminal) {
        cli_error(CLI_FAILURE, "top: cannot draw on a terminal of type %s; see TERM, or use --once",
                  name ? name : "(none)");
        return false;
    }
    choose_colours(s, colours);
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    return true;
}

void top_screen_close(struct top_screen *s)
{
    if (s->terminal) {
        endwin();
        delscreen(s->terminal);
    }
    if (s->signals >= 0)
        close(s->signals);
    if (s->input >= 0)
        close(s->input);
}

static void on_resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
        resizeterm(size.ws_row, size.ws_col);
    clear();
}

static void read_signals(struct top_screen *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGWINCH)
            on_resize();
        else
            s->ended = true;
    }
}

static int translate(int key)
{
    static const struct {
        int from, to;
    } keys[] = {{KEY_UP, TOP_KEY_UP},       {KEY_DOWN, TOP_KEY_DOWN},     {KEY_LEFT, TOP_KEY_LEFT},
                {KEY_RIGHT, TOP_KEY_RIGHT}, {KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
                {KEY_HOME, TOP_KEY_HOME},   {KEY_END, TOP_KEY_END},       {KEY_BTAB, TOP_KEY_BACK_TAB}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (keys[i].from == key)
            return keys[i].to;
    return key > 0 && key < KEY_MIN ? key : ' '; /* a blank does nothing */
}

int top_screen_key(struct top_screen *s)
{
    struct epoll_event events[2];
    int n = epoll_wait(s->input, events, 2, 0);
    for (int i = 0; i < n; i++)
        if (events[i].events & (EPOLLHUP | EPOLLERR))
            s->ended = true; /* nobody is there any more */
    read_signals(s);
    int key = s->ended ? ERR : getch();
    return key == ERR ? 0 : translate(key);
}

static attr_t attributes(const struct top_screen *s, enum top_style style)
{
    switch (style) {
    case TOP_STRONG:
        return A_BOLD;
    case TOP_BAR:
        return A_REVERSE;
    case TOP_BAR_CHOSEN:
        return A_BOLD | (s->coloured ? (attr_t)COLOR_PAIR(PAIR_BAR) : A_REVERSE);
    case TOP_GOOD:
        return s->coloured ? (attr_t)COLOR_PAIR(PAIR_GOOD) : A_NORMAL;
    case TOP_BAD:
        return s->coloured ? (attr_t)COLOR_PAIR(PAIR_BAD) | A_BOLD : A_BOLD;
    default:
        return A_NORMAL;
    }
}

static void put(void *ctx, unsigned row, unsigned column, enum top_style style, const char *text)
{
    attrset((int)attributes(ctx, style));
    mvaddstr((int)row, (int)column, text);
}

void top_screen_draw(struct top_screen *s, struct top_state *state, struct top_look *look)
{
    int rows = getmaxy(stdscr), columns = getmaxx(stdscr);
    const struct top_canvas canvas = {
        .rows = rows > 0 ? (unsigned)rows : 0, .columns = columns > 0 ? (unsigned)columns : 0, .put = put, .ctx = s};
    erase();
    top_draw(&canvas, state, look);
    refresh();
}
