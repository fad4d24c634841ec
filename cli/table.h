/* Tables for people, from JSON values. */
#ifndef NM_CLI_TABLE_H
#define NM_CLI_TABLE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

struct table_style {
    bool aligned; /* columns under a header; otherwise tabs separate them, for cut and awk */
    bool colored; /* states and errors stand out */
    int width;    /* of the terminal, in columns; a table that is wider is shown as a block for each row. 0: any */
    const char *columns; /* of a list: keys with a blank between, in the order to show them, as far as the rows have
                            them; "a|b" is b, or a where that is known; "a?" is left out while no row knows it. NULL:
                            all */
};

/*
 * A list of objects is a row each, the columns being the first object's keys, or those that were chosen; an object is a
 * line for each key. Keys of nested objects stand behind a dot ("security.peers").
 */
void table_print(FILE *, struct json_object *, const struct table_style *);

#endif
