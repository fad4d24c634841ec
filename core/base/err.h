/* Operating errors as values (design: "Errors and limits"). Programming errors are assertions, never these. */
#ifndef NM_CORE_BASE_ERR_H
#define NM_CORE_BASE_ERR_H

/* name, value, text for a person, HTTP status of the admin port. One table; net_err_*() below read it. */
#define NET_ERR_TABLE(X)                                                                                               \
    X(NET_OK, 0, "ok", 200)                                                                                            \
    X(NET_ERR_AGAIN, -1, "no room now, try again", 503)                                                                \
    X(NET_ERR_TRUNCATED, -2, "input ends too early", 400)                                                              \
    X(NET_ERR_FORMAT, -3, "malformed input", 400)                                                                      \
    X(NET_ERR_TOO_LARGE, -4, "larger than the limit", 413)                                                             \
    X(NET_ERR_AUTH, -5, "authentication failed", 403)                                                                  \
    X(NET_ERR_REPLAY, -6, "replayed or too old", 409)                                                                  \
    X(NET_ERR_READ_ONLY, -7, "read-only, or not permitted", 500)                                                       \
    X(NET_ERR_POLICY, -8, "refused by policy", 403)                                                                    \
    X(NET_ERR_LIMIT, -9, "a configured limit is reached", 429)                                                         \
    X(NET_ERR_NOT_FOUND, -10, "not found", 404)                                                                        \
    X(NET_ERR_EXISTS, -11, "exists already", 409)                                                                      \
    X(NET_ERR_STATE, -12, "not possible in this state", 409)                                                           \
    X(NET_ERR_TIMEOUT, -13, "timed out", 504)                                                                          \
    X(NET_ERR_CLOSED, -14, "closed", 410)                                                                              \
    X(NET_ERR_IO, -15, "input/output error", 500)                                                                      \
    X(NET_ERR_NO_SPACE, -16, "no space left on the disk", 507)                                                         \
    X(NET_ERR_CORRUPT, -17, "stored data is damaged", 500)                                                             \
    X(NET_ERR_POISONED, -18, "the log refuses writes after a failed sync", 500)                                        \
    X(NET_ERR_BUSY, -19, "in use by another process", 409)                                                             \
    X(NET_ERR_UNSUPPORTED, -20, "not supported here", 501)                                                             \
    X(NET_ERR_NO_MEMORY, -21, "out of memory", 507)                                                                    \
    X(NET_ERR_INVALID, -22, "invalid argument", 400)                                                                   \
    X(NET_ERR_UNREACHABLE, -23, "peer is not connected", 503)                                                          \
    X(NET_ERR_CANCELED, -24, "canceled", 503)                                                                          \
    X(NET_ERR_FULL, -25, "the log is full: its format takes no more events", 507)

enum net_err {
#define X(name, value, text, http) name = value,
    NET_ERR_TABLE(X)
#undef X
};

/* Each accepts any int; a value outside the table reads as "unknown error" / 500. Static strings, never NULL. */
const char *net_err_name(int err); /* "NET_ERR_AGAIN" */
const char *net_err_code(int err); /* stable lower-case code for JSON: "again" */
const char *net_err_text(int err);
int net_err_http(int err);
/* Maps a positive errno (ENOSPC, EDQUOT, EIO, ...) to the nearest net_err. */
int net_err_from_errno(int errnum);

#endif
