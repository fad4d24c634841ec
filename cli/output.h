/* Values on stdout: json, ndjson, yaml, table, text. cli.md 3 */
#ifndef NM_CLI_OUTPUT_H
#define NM_CLI_OUTPUT_H

#include <json-c/json.h>
#include <stdio.h>

#include "cli/cli.h"

/* The format asked for, or table on a terminal and json elsewhere (streams: text and ndjson). */
enum output_format output_one_shot(const struct cli_args *);
enum output_format output_stream(const struct cli_args *);

/* Prints one value as the command line wants it. CLI_OK, or CLI_FAILURE when stdout does not take it (said, except a
 * broken pipe). */
int output_value(const struct cli_args *, struct json_object *);
/* The same of a list, of whose columns a table shows these (table.h). */
int output_list(const struct cli_args *, struct json_object *, const char *columns);
/* All of the bytes to stdout, past stdio: 0 or errno. */
int output_bytes(const char *data, size_t len);
/* What went through stdio is out: CLI_OK, or CLI_FAILURE as above. */
int output_flush(void);
/* What an errno of a write to stdout means: CLI_FAILURE, said unless it is EPIPE; CLI_OK for 0. */
int output_error(int error);

/* ---- yaml.c ---- */
/* A YAML document; one of many begins with "---". False: no memory, or characters that no YAML text has. */
bool output_yaml(FILE *, struct json_object *, bool of_many);

#endif
