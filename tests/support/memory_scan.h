/* Looks for secrets in all memory of this process, freed memory included. */
#ifndef NM_TESTS_SUPPORT_MEMORY_SCAN_H
#define NM_TESTS_SUPPORT_MEMORY_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sanitizers keep copies of what was freed, and map more than can be read. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEMORY_SCAN_WORKS = 0 };
#else
enum { MEMORY_SCAN_WORKS = 1 };
#endif

enum { MEMORY_NEEDLE = 32 };

/* A secret in disguise, so that the copy that is looked for is not itself found. */
struct memory_needle {
    uint8_t disguised[MEMORY_NEEDLE];
};
void memory_hide(struct memory_needle *, const uint8_t secret[MEMORY_NEEDLE]);
/* How often 16 bytes of it, from its beginning or from its middle on, stand in writable memory; says where on stderr.
 */
size_t memory_count(const struct memory_needle *);

#endif
