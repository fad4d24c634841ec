#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "storage/redex/redex_internal.h"

/*
 * Growing by remapping would move the bytes under a write in flight and under every reader's pointer. So the addresses
 * are taken once, without access, and made usable from the front: a megabyte first, then an eighth of what is there, so
 * that a log that grows to n bytes costs O(log n) calls.
 */
enum { FIRST_STEP = 1 << 20, PAGE = 4096 };

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

int redex_memory_reserve(struct redex_memory *m, size_t want, size_t need)
{
    want = round_up(want > need ? want : need, PAGE);
    for (;;) {
        void *p = mmap(NULL, want, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p != MAP_FAILED) {
            *m = (struct redex_memory){.base = p, .space = want};
            return NET_OK;
        }
        if (want / 2 < need || want / 2 < FIRST_STEP)
            return NET_ERR_NO_MEMORY;
        want = round_up(want / 2, PAGE);
    }
}

int redex_memory_grow(struct redex_memory *m, size_t size)
{
    if (size > m->space)
        return NET_ERR_TOO_LARGE;
    size_t step = m->committed / 8 > FIRST_STEP ? m->committed / 8 : FIRST_STEP;
    size_t target = round_up(size > m->committed + step ? size : m->committed + step, PAGE);
    if (target > m->space)
        target = m->space;
    if (mprotect(m->base + m->committed, target - m->committed, PROT_READ | PROT_WRITE) < 0)
        return NET_ERR_NO_MEMORY;
    m->committed = target;
    return NET_OK;
}

void redex_memory_release(struct redex_memory *m)
{
    int err = m->base ? munmap(m->base, m->space) : 0;
    assert(err == 0);
    *m = (struct redex_memory){0};
}
