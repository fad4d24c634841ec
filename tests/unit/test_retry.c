/* Pauses between attempts. streams.md 5.5 and 19 (44). */
#include <criterion/criterion.h>

#include "core/stream/retry.h"

Test(retry, pauses)
{
    static const uint64_t ms[] = {5, 10, 20, 40, 80, 160, 200, 200};
    for (uint32_t i = 0; i < sizeof ms / sizeof ms[0]; i++)
        cr_assert_eq(retry_pause_ns(i), ms[i] * 1000000);
    cr_assert_eq(retry_pause_ns(4097), 200000000);
    cr_assert_eq(retry_pause_ns(UINT32_MAX), 200000000);
}
