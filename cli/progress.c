/* Progress of a publish. */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/http.h"

enum { REDRAW_NS = 200000000 };

void progress_init(struct progress *p, bool quiet)
{
    uint64_t now = http_now();
    *p = (struct progress){.on = !quiet && isatty(STDERR_FILENO), .started = now, .next = now + REDRAW_NS};
}

void progress_show(struct progress *p, uint64_t events, uint64_t bytes)
{
    if (!p->on)
        return;
    uint64_t now = http_now();
    if (now < p->next)
        return;
    char text[128];
    double seconds = (double)(now - p->started) / 1e9;
    snprintf(text, sizeof text, "%.1f MB, %llu events, %.0f events/s", (double)bytes / 1e6, (unsigned long long)events,
             (double)events / seconds);
    int width = cli_terminal_width(STDERR_FILENO); /* a line that wrapped could not be taken back */
    fprintf(stderr, "\r%.*s\033[K", width > 1 ? width - 1 : 79, text);
    p->next = now + REDRAW_NS;
    p->shown = true;
}

void progress_clear(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
