#include "core/session/replay.h"

#include <string.h>

enum { WORD = 64, WORDS = REPLAY_WINDOW / WORD };

/*
 * The window is a ring: counter c has bit c mod 1024, so moving forward clears the bits of the counters that are
 * skipped instead of shifting 128 bytes. Bits between next - 1024 and next - 1 are valid.
 */
static bool get(const struct replay *r, uint64_t counter)
{
    return r->bits[counter / WORD % WORDS] >> counter % WORD & 1;
}

static void set(struct replay *r, uint64_t counter)
{
    r->bits[counter / WORD % WORDS] |= UINT64_C(1) << counter % WORD;
}

/* Forgets what the places of [from, to) held 1024 counters ago. */
static void clear(struct replay *r, uint64_t from, uint64_t to)
{
    if (to - from >= REPLAY_WINDOW) {
        memset(r->bits, 0, sizeof r->bits);
        return;
    }
    while (from < to) {
        uint64_t first = from % WORD, count = WORD - first;
        if (count > to - from)
            count = to - from;
        uint64_t mask = count == WORD ? UINT64_MAX : ((UINT64_C(1) << count) - 1) << first;
        r->bits[from / WORD % WORDS] &= ~mask;
        from += count;
    }
}

void replay_init(struct replay *r)
{
    *r = (struct replay){0};
}

bool replay_check(const struct replay *r, uint64_t counter, bool bounded)
{
    if (counter == UINT64_MAX)
        return false;
    if (counter >= r->next)
        return !bounded || counter - r->next <= REPLAY_MAX_FORWARD;
    return r->next - 1 - counter < REPLAY_WINDOW && !get(r, counter);
}

bool replay_commit(struct replay *r, uint64_t counter)
{
    if (counter == UINT64_MAX || r->next == UINT64_MAX)
        return false;
    if (counter >= r->next) {
        clear(r, r->next, counter + 1);
        r->next = counter + 1;
    } else if (r->next - 1 - counter >= REPLAY_WINDOW || get(r, counter)) {
        return false;
    }
    set(r, counter);
    return true;
}
