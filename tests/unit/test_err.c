#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/base/err.h"

static const int all[] = {
#define X(name, value, text, http) name,
    NET_ERR_TABLE(X)
#undef X
};
enum { COUNT = sizeof all / sizeof *all };

/* The code of an error is its name without prefix, in lower case. */
static void lower_code(const char *name, char *out)
{
    name += strncmp(name, "NET_ERR_", 8) == 0 ? 8 : 4;
    for (; *name; name++)
        *out++ = (char)tolower((unsigned char)*name);
    *out = '\0';
}

Test(err, every_error_has_name_code_text_and_status)
{
    for (int i = 0; i < COUNT; i++) {
        char code[64];
        cr_assert_eq(all[i], -i, "the values are dense");
        lower_code(net_err_name(all[i]), code);
        cr_assert_str_eq(net_err_code(all[i]), code);
        cr_assert_gt(strlen(net_err_text(all[i])), 0);
        cr_assert(net_err_http(all[i]) == 200 ? all[i] == NET_OK
                                              : net_err_http(all[i]) >= 400 && net_err_http(all[i]) < 600);
        for (int j = 0; j < i; j++)
            cr_assert_str_neq(net_err_code(all[i]), net_err_code(all[j]));
    }
}

Test(err, any_int_is_safe)
{
    const int outside[] = {1, 200, -COUNT, -10000, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        cr_assert_str_eq(net_err_name(outside[i]), "NET_ERR_UNKNOWN");
        cr_assert_str_eq(net_err_code(outside[i]), "unknown");
        cr_assert_str_eq(net_err_text(outside[i]), "unknown error");
        cr_assert_eq(net_err_http(outside[i]), 500);
    }
}

Test(err, from_errno)
{
    static const struct {
        int from, to;
    } pairs[] = {
        {0, NET_OK},
        {ENOSPC, NET_ERR_NO_SPACE},
        {EDQUOT, NET_ERR_NO_SPACE},
        {EROFS, NET_ERR_READ_ONLY},
        {EACCES, NET_ERR_READ_ONLY},
        {EPERM, NET_ERR_READ_ONLY},
        {ENOENT, NET_ERR_NOT_FOUND},
        {EEXIST, NET_ERR_EXISTS},
        {EAGAIN, NET_ERR_AGAIN},
        {ENOBUFS, NET_ERR_AGAIN},
        {ENOMEM, NET_ERR_NO_MEMORY},
        {EBUSY, NET_ERR_BUSY},
        {ECANCELED, NET_ERR_CANCELED},
        {ENOSYS, NET_ERR_UNSUPPORTED},
        {EOPNOTSUPP, NET_ERR_UNSUPPORTED},
        {EINVAL, NET_ERR_INVALID},
        {ETIMEDOUT, NET_ERR_TIMEOUT},
        {EIO, NET_ERR_IO},
        {12345, NET_ERR_IO},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        cr_assert_eq(net_err_from_errno(pairs[i].from), pairs[i].to, "errno %d", pairs[i].from);
}
