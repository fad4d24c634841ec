/* Rows of a tail on their way to stdout, in the format asked for. */
#ifndef NM_CLI_ROWS_H
#define NM_CLI_ROWS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

enum { ROWS_OUT = 256 << 10, ROWS_LINE_MAX = 128 << 20 };

struct rows {
    bool raw, colored;
    enum output_format format;
    int error; /* errno of stdout */
    bool malformed;
    size_t out_len;
    /* raw: the frame being read */
    uint8_t length[4];
    unsigned length_have;
    uint32_t left;
    /* formats for people: the line being read */
    char *line;
    size_t line_len, line_room;
    struct json_tokener *tokener;
    bool header_shown;
    char out[ROWS_OUT];
};

bool rows_init(struct rows *, enum output_format, bool raw); /* false: no memory */
void rows_deinit(struct rows *);
/* A piece of the answer: NDJSON, or frames when raw. False: stop (see error, malformed). `ctx` is the rows. */
bool rows_put(void *ctx, const char *data, size_t len);
bool rows_flush(void *ctx);
/* The answer has ended; true when it did so between two rows, and all is written. */
bool rows_end(struct rows *);

#endif
