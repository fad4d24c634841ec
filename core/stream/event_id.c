#include "core/stream/event_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "core/base/text.h"

void event_id_format(char out[EVENT_ID_MAX], uint64_t sequence, uint32_t index)
{
    text_format(out, EVENT_ID_MAX, "%llu:%lu", (unsigned long long)sequence, (unsigned long)index);
}

/* Digits from *at on, which goes behind them; false: none, or more than `most`. */
static bool take_number(const char **at, uint64_t most, uint64_t *out)
{
    const char *p = *at;
    uint64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    bool any = p != *at;
    *at = p;
    *out = value;
    return any;
}

static bool parse(const char *id, uint64_t *sequence, uint64_t *index)
{
    return take_number(&id, UINT64_MAX, sequence) && *id++ == ':' && take_number(&id, UINT32_MAX, index) && *id == '\0';
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int event_id_compare(const char *a, const char *b)
{
    uint64_t a_sequence, a_index, b_sequence, b_index;
    if (!parse(a, &a_sequence, &a_index) || !parse(b, &b_sequence, &b_index))
        return strcmp(a, b);
    return a_sequence != b_sequence ? order(a_sequence, b_sequence) : order(a_index, b_index);
}
