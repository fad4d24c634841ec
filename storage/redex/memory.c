#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "storage/redex/redex_internal.h"

/*
 * Growing by remapping would move the bytes under a write in flight and under every reader's pointer. So the addresses
 * are taken once, without access, and made usable from the front: a megabyte first, then an eighth of what is there, so
 * that a log that grows to n bytes costs O(log n) calls. What retention has passed is given back in steps, for the same
 * reason.
 */
enum { FIRST_STEP = 1 << 20, DISCARD_MIN = 1 << 18, DISCARD_MAX = 8 << 20, PAGE = 4096 };

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

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
            *m = (struct redex_memory){.base = p, .space = want, .map = p, .map_size = want};
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
        return NET_ERR_FULL;
    size_t shift = (size_t)(m->base - m->map), from = shift + m->committed; /* in the map: `from` is a page's start */
    size_t step = m->committed / 8 > FIRST_STEP ? m->committed / 8 : FIRST_STEP;
    size_t target = round_up(shift + (size > m->committed + step ? size : m->committed + step), PAGE);
    if (target > m->map_size)
        target = m->map_size;
    if (mprotect(m->map + from, target - from, PROT_READ | PROT_WRITE) < 0)
        return NET_ERR_NO_MEMORY;
    m->committed = target - shift;
    return NET_OK;
}

bool redex_memory_discard(struct redex_memory *m, size_t size)
{
    size_t shift = (size_t)(m->base - m->map), end = (shift + size) / PAGE * PAGE;
    if (end < m->discarded + DISCARD_MIN)
        return false;
    bool more = end > m->discarded + DISCARD_MAX;
    if (more)
        end = m->discarded + DISCARD_MAX;
    /* Locked memory (memory.lock) is given back only by the second call; where the kernel has no such, it stays until
     * the whole of it is released, which harms nothing. */
    if (madvise(m->map + m->discarded, end - m->discarded, MADV_DONTNEED) < 0)
        (void)madvise(m->map + m->discarded, end - m->discarded, MADV_DONTNEED_LOCKED);
    m->discarded = end;
    return more;
}

void redex_memory_advance(struct redex_memory *m, size_t size)
{
    assert(size <= m->committed);
    m->base += size;
    m->committed -= size;
    m->space -= size;
}

bool redex_memory_release_some(struct redex_memory *m, size_t size)
{
    if (!m->map)
        return false;
    if (size >= (size_t)(m->base + m->committed - m->map)) /* what is behind has no memory: it costs nothing */
        size = m->map_size;
    int err = munmap(m->map, size);
    assert(err == 0);
    m->map += size;
    m->map_size -= size;
    if (m->map_size > 0)
        return true;
    *m = (struct redex_memory){0};
    return false;
}

void redex_memory_release(struct redex_memory *m)
{
    redex_memory_release_some(m, SIZE_MAX);
}
