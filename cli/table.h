/* Tables for people, from JSON values. */
#ifndef NM_CLI_TABLE_H
#define NM_CLI_TABLE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

enum { TABLE_ALIGNED = 1, TABLE_COLORED = 2 };

/*
 * A list of objects is a row each, the columns being the first object's keys; an object is a line for each key, nested
 * ones with dots ("security.peers"). Aligned: columns stand under a header; otherwise tabs separate them, for cut and
 * awk. Colored: states and errors stand out.
 */
void table_print(FILE *, struct json_object *, unsigned flags);

#endif
