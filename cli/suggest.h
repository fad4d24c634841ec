/* What a mistyped word may have been. */
#ifndef NM_CLI_SUGGEST_H
#define NM_CLI_SUGGEST_H

#include <stddef.h>

struct suggestion {
    const char *typed;
    size_t len;
    const char *best; /* NULL: nothing is near */
    unsigned distance;
};

void suggest_begin(struct suggestion *, const char *typed, size_t len);
/* Takes `word` if it is nearer than what came before: at most two letters more, fewer, other or swapped, and less than
 * half of it. */
void suggest_try(struct suggestion *, const char *word);

#endif
