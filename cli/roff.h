/* Manual pages in the man(7) macros. */
#ifndef NM_CLI_ROFF_H
#define NM_CLI_ROFF_H

#include <stddef.h>

/* Text on stdout so that it reads as itself; - becomes the hyphen of command lines. Ends no line. */
void roff_put(const char *text);
/* Sentences: line ends are blanks, and lines that begin with blanks stand as they are. */
void roff_text(const char *text);
/* Lines as they are, without the indentation they have in common with the first. */
void roff_lines(const char *text);

#endif
