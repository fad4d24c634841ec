#include "core/stream/ranges.h"

#include <string.h>

void ranges_init(struct ranges *r)
{
    r->count = 0;
}

/* Index of the first range, from the newest, that does not lie wholly above the counter; count if there is none. */
static uint32_t find(const struct ranges *r, uint64_t counter)
{
    uint32_t i = 0;
    while (i < r->count && r->list[i].first > counter)
        i++;
    return i;
}

static bool insert(struct ranges *r, uint32_t at, uint64_t counter)
{
    if (at == RANGES_MAX)
        return false;
    if (r->count < RANGES_MAX)
        r->count++;
    memmove(&r->list[at + 1], &r->list[at], (r->count - 1 - at) * sizeof r->list[0]);
    r->list[at] = (struct range){counter, counter};
    return true;
}

static void remove_at(struct ranges *r, uint32_t at)
{
    r->count--;
    memmove(&r->list[at], &r->list[at + 1], (r->count - at) * sizeof r->list[0]);
}

bool ranges_add(struct ranges *r, uint64_t counter)
{
    uint32_t at = find(r, counter);
    struct range *below = at < r->count ? &r->list[at] : NULL, *above = at > 0 ? &r->list[at - 1] : NULL;
    if (below && counter <= below->last)
        return false;
    bool joins_below = below && counter - below->last == 1, joins_above = above && above->first - counter == 1;
    if (joins_below && joins_above) {
        above->first = below->first;
        remove_at(r, at);
    } else if (joins_below) {
        below->last = counter;
    } else if (joins_above) {
        above->first = counter;
    } else {
        return insert(r, at, counter);
    }
    return true;
}

bool ranges_contain(const struct ranges *r, uint64_t counter)
{
    uint32_t at = find(r, counter);
    return at < r->count && counter <= r->list[at].last;
}
