/*
 * Counts what the process allocates, to prove that a path does not. The counters see every malloc, calloc, realloc and
 * aligned_alloc of the program and of the libraries it uses. Linking a test with this file is enough.
 */
#ifndef NM_TESTS_SUPPORT_ALLOC_COUNT_H
#define NM_TESTS_SUPPORT_ALLOC_COUNT_H

#include <stdbool.h>
#include <stdint.h>

/* False under a sanitizer, whose allocator it leaves alone: skip the test (cr_skip). */
bool alloc_count_works(void);
/* Allocations so far, of all threads. */
uint64_t alloc_count(void);

#endif
