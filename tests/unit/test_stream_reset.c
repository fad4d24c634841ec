/* The bytes of RESET: extensions X2.6, written down in core/stream/reset.h. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/reset.h"

/* By hand, from the table in the header. */
static const uint8_t EXAMPLE[RESET_MESSAGE] = {0x0d, 0xf0, 0xfe, 0xca, 0xef, 0xbe, 0xad, 0xde,
                                               0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

Test(reset, bytes)
{
    uint8_t out[RESET_MESSAGE];
    reset_encode(UINT64_C(0xdeadbeefcafef00d), RESET_LIMIT, out);
    cr_assert_arr_eq(out, EXAMPLE, sizeof out);
    uint64_t id;
    uint32_t code;
    cr_assert_eq(reset_decode((struct cspan){EXAMPLE, sizeof EXAMPLE}, &id, &code), NET_OK);
    cr_assert(id == UINT64_C(0xdeadbeefcafef00d) && code == RESET_LIMIT);
    reset_encode(UINT64_C(0xdeadbeefcafef00d), RESET_FINISHED, out);
    cr_assert_eq(out[8], 5, "ends nothing: all of it was acknowledged");
}

Test(reset, what_is_malformed)
{
    uint8_t in[RESET_MESSAGE + 1] = {0};
    uint64_t id;
    uint32_t code;
    for (size_t len = 0; len <= sizeof in; len++)
        cr_assert_eq(reset_decode((struct cspan){in, len}, &id, &code), len == RESET_MESSAGE ? NET_OK : NET_ERR_FORMAT);
    for (size_t i = 12; i < RESET_MESSAGE; i++) {
        in[i] = 1;
        cr_assert_eq(reset_decode((struct cspan){in, RESET_MESSAGE}, &id, &code), NET_ERR_FORMAT);
        in[i] = 0;
    }
}
