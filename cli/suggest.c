#include "cli/suggest.h"

#include <string.h>

enum { LEN_MAX = 32, DISTANCE_MAX = 2 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Of Damerau and Levenshtein, with a swap of neighbours as one step; both texts at most LEN_MAX. */
static unsigned distance_of(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned d[LEN_MAX + 1][LEN_MAX + 1];
    for (size_t i = 0; i <= a_len; i++)
        for (size_t j = 0; j <= b_len; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[a_len][b_len];
}

void suggest_begin(struct suggestion *s, const char *typed, size_t len)
{
    *s = (struct suggestion){.typed = typed, .len = len, .distance = DISTANCE_MAX + 1};
}

void suggest_try(struct suggestion *s, const char *word)
{
    size_t len = strlen(word);
    if (s->len > LEN_MAX || len > LEN_MAX)
        return;
    unsigned distance = distance_of(s->typed, s->len, word, len);
    if (distance < s->distance && 2 * distance < len) {
        s->distance = distance;
        s->best = word;
    }
}
