/* Figures and names as a person reads them, fit for a terminal. */
#ifndef NM_CLI_TOP_TEXT_H
#define NM_CLI_TOP_TEXT_H

#include "cli/top/table.h"

enum { TOP_TEXT_MAX = 512, TOP_NUMBER_WIDTH = 7 };

/*
 * Copies as much of `text` as fits into `columns` columns of a terminal and TOP_TEXT_MAX bytes. What is no UTF-8, or
 * nothing the locale prints (control characters, marks that change the direction of writing), becomes '?'; a text that
 * was cut ends in '~'. Returns how many columns it takes.
 */
unsigned top_text_fit(const char *text, unsigned columns, char out[TOP_TEXT_MAX]);
/* How many columns the whole text takes. */
unsigned top_text_width(const char *text);

/* At most TOP_NUMBER_WIDTH columns, TOP_EXACT apart: "12.3k", "1.50MiB", "45%", "478us"; "-" for NAN. */
void top_number_text(enum top_kind, double number, char out[32]);
/* "4s", "12m 03s", "5h 02m", "1d 02h" */
void top_uptime_text(double ms, char out[32]);

#endif
