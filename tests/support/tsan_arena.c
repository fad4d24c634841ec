/*
 * What it takes to run Criterion under ThreadSanitizer.
 *
 * Criterion's sandbox (boxfort) maps its arena at 0x200000000000 + (rand_r() & 0x3fffff) * 16 MiB. Of that range
 * ThreadSanitizer can only shadow where position-independent programs are loaded, and refuses all other mappings; so
 * under it the "random" place is one there, below the programs themselves (0x555555554000). boxfort checks that it is
 * free.
 */
#ifdef __SANITIZE_THREAD__
#include <stdlib.h>

/* Criterion looks at the test's verdict, not at the exit code that a report leaves: a race must end the test at once.
 */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
    return "halt_on_error=1";
}

int rand_r(unsigned *seed)
{
    return 0x350000 + (int)((*seed = *seed * 1103515245u + 12345u) >> 16) % 0x5000;
}
#endif

/* ISO C wants something in every file. */
typedef int tsan_arena_unused;
