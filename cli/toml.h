/*
 * The part of TOML 1.0 that profiles need: comments, [tables], bare, quoted and dotted keys, strings on one line,
 * integers and booleans. Anything else that TOML has (arrays, inline tables, floats, dates, strings over several lines)
 * is refused by name. Debian 12 has no TOML library for C.
 */
#ifndef NM_CLI_TOML_H
#define NM_CLI_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOML_SIZE_MAX = 64 << 10, TOML_DEPTH_MAX = 4, TOML_KEY_MAX = 256, TOML_KEYS_MAX = 1024 };

enum toml_type { TOML_TABLE, TOML_STRING, TOML_INTEGER, TOML_BOOLEAN };

struct toml_item {
    const char *const *path; /* its tables and its key */
    size_t depth;            /* 1..TOML_DEPTH_MAX */
    unsigned line;           /* from 1 */
    enum toml_type type;     /* TOML_TABLE: the header of a table, with no value */
    const char *text;        /* of a string, UTF-8 without NUL */
    int64_t integer;
    bool boolean;
};

struct toml_error {
    unsigned line; /* 0: of no line */
    char text[256];
};

/* Takes an item; false: it does not, and filled error->text. Nothing of the item outlives the call. */
typedef bool toml_fn(void *ctx, const struct toml_item *, struct toml_error *);

/* Calls `fn` for each table and key, in order. False with *error: the text is not TOML, has what is not read here, or
 * `fn` did not take an item. What `fn` saw before stays with it. */
bool toml_read(const char *text, size_t len, toml_fn *fn, void *ctx, struct toml_error *error);

#endif
