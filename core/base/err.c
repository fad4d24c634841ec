#include "core/base/err.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

static const struct {
    int value, http;
    const char *name, *text;
} table[] = {
#define X(name, value, text, http) {value, http, #name, text},
    NET_ERR_TABLE(X)
#undef X
};

/* The JSON codes: the enum's name without its prefix, in lower case. Written out so that they are static and stable. */
static const char *const codes[] = {
    "ok",       "again",     "truncated",   "format",    "too_large", "auth",        "replay",   "read_only", "policy",
    "limit",    "not_found", "exists",      "state",     "timeout",   "closed",      "io",       "no_space",  "corrupt",
    "poisoned", "busy",      "unsupported", "no_memory", "invalid",   "unreachable", "canceled", "full",
};
_Static_assert(sizeof codes / sizeof codes[0] == sizeof table / sizeof table[0], "a code for every error");

static size_t index_of(int err)
{
    size_t i = (size_t) - (long)err;
    return err <= 0 && i < sizeof table / sizeof table[0] ? i : SIZE_MAX;
}

const char *net_err_name(int err)
{
    size_t i = index_of(err);
    return i == SIZE_MAX ? "NET_ERR_UNKNOWN" : table[i].name;
}

const char *net_err_code(int err)
{
    size_t i = index_of(err);
    return i == SIZE_MAX ? "unknown" : codes[i];
}

const char *net_err_text(int err)
{
    size_t i = index_of(err);
    return i == SIZE_MAX ? "unknown error" : table[i].text;
}

int net_err_http(int err)
{
    size_t i = index_of(err);
    return i == SIZE_MAX ? 500 : table[i].http;
}

int net_err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return NET_OK;
    case ENOSPC:
    case EDQUOT:
        return NET_ERR_NO_SPACE;
    case EROFS:
    case EACCES:
    case EPERM:
        return NET_ERR_READ_ONLY;
    case ENOENT:
        return NET_ERR_NOT_FOUND;
    case EEXIST:
        return NET_ERR_EXISTS;
    case EAGAIN:
    case ENOBUFS:
        return NET_ERR_AGAIN;
    case ENOMEM:
        return NET_ERR_NO_MEMORY;
    case EBUSY:
        return NET_ERR_BUSY;
    case ECANCELED:
        return NET_ERR_CANCELED;
    case ENOSYS:
    case EOPNOTSUPP:
        return NET_ERR_UNSUPPORTED;
    case EINVAL:
        return NET_ERR_INVALID;
    case ETIMEDOUT:
        return NET_ERR_TIMEOUT;
    default:
        return NET_ERR_IO;
    }
}
