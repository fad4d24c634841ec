/* The terminal of `top`: a canvas, and the keys and signals that come from it. */
#ifndef NM_CLI_TOP_SCREEN_H
#define NM_CLI_TOP_SCREEN_H

#include "cli/top/view.h"

struct top_screen {
    void *terminal;       /* curses' */
    int input, signals;   /* an epoll of what the user may do; a signalfd, part of it */
    bool coloured, ended; /* the terminal is gone, or a signal asks for the end */
};

/* Takes the terminal over. False: it cannot, said why. */
bool top_screen_open(struct top_screen *, bool colours);
/* Gives the terminal back as it was. */
void top_screen_close(struct top_screen *);
/* What the user did since the last call, as top_state_key() takes it; 0: nothing more. Never waits. */
int top_screen_key(struct top_screen *);
void top_screen_draw(struct top_screen *, struct top_state *, struct top_look *look);

#endif
