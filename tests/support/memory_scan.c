#include "tests/support/memory_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISGUISE = 0x5a, PART = 16 };

void memory_hide(struct memory_needle *n, const uint8_t secret[MEMORY_NEEDLE])
{
    for (size_t i = 0; i < MEMORY_NEEDLE; i++)
        n->disguised[i] = secret[i] ^ DISGUISE;
}

static bool matches(const uint8_t *at, const uint8_t *disguised)
{
    for (size_t i = 0; i < PART; i++)
        if ((at[i] ^ DISGUISE) != disguised[i])
            return false;
    return true;
}

/* No copy is made: the bytes are looked at where they are. */
static size_t count_in(const struct memory_needle *n, const uint8_t *from, size_t len, const char *name)
{
    size_t found = 0;
    for (size_t i = 0; i + PART <= len; i++) {
        if (!matches(from + i, n->disguised) && !matches(from + i, n->disguised + PART))
            continue;
        fprintf(stderr, "a secret stands at %p, %s\n", (const void *)(from + i), name[0] ? name : "anonymous memory");
        found++;
    }
    return found;
}

/* Of a mapping that is reserved and hardly used only what is there is read. */
static size_t count_resident(const struct memory_needle *n, uint8_t *from, const uint8_t *to, const char *name)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), found = 0;
    uint8_t *run = NULL;
    for (uint8_t *p = from; p <= to; p += page) {
        unsigned char there = 0;
        bool in = p < to && mincore(p, page, &there) == 0 && (there & 1);
        if (in && !run)
            run = p;
        if (!in && run) {
            found += count_in(n, run, (size_t)(p - run), name);
            run = NULL;
        }
    }
    return found;
}

size_t memory_count(const struct memory_needle *n)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    size_t found = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        char mode[8] = "", name[256] = "";
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %*s %*s %*s %255[^\n]", &from, &to, mode, name) >= 3 &&
            strncmp(mode, "rw", 2) == 0)
            found += count_resident(n, (uint8_t *)from, (const uint8_t *)to, name);
    }
    if (maps)
        fclose(maps);
    return found;
}
