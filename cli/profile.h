/*
 * Profiles: a TOML file of [default] and [profiles.NAME] tables that says which node is meant and how long to wait for
 * it. cli.md 5, gaps G2, G7, G12
 */
#ifndef NM_CLI_PROFILE_H
#define NM_CLI_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

enum { PROFILE_TEXT_MAX = 4096 };

/* What the chosen profile says; empty texts: nothing. */
struct profile {
    char endpoint[PROFILE_TEXT_MAX];   /* as --endpoint takes it, ~ expanded */
    char token_file[PROFILE_TEXT_MAX]; /* for an endpoint that is not a directory */
    char known[512];                   /* the names of all profiles of the file, ", " between them */
};

/* Reads --config, NET_MESH_CONFIG, or the user's net-mesh/config.toml, and takes --profile, NET_MESH_PROFILE, or
 * [default] of it into args->profile and args->timeout_ns. A file that is not there is an empty one. CLI_OK; CLI_CONFIG
 * for a file that cannot be read or is wrong, CLI_USAGE for a profile that is not in it (both said). */
struct cli_args;
int profile_load(struct cli_args *);

/* The same from a text; `file` is its name in messages, `name` the profile, of `args` only level and timeout are used.
 */
int profile_parse(struct cli_args *, const char *text, size_t len, const char *file, const char *name);

#endif
