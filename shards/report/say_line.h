/* A line for whoever runs the node, as bytes. */
#ifndef NM_SHARDS_NODE_SAY_LINE_H
#define NM_SHARDS_NODE_SAY_LINE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "shards/config/config.h"

enum say_style {
    SAY_TEXT,    /* 2026-11-25T12:00:00.123456Z warn shard=1 peer=0x0b416fce7022f88c channel=a/b what happened */
    SAY_JOURNAL, /* <4>shard=1 … what happened: sd-daemon(3), the journal has the time */
    SAY_JSON,    /* {"ts":"…","level":"warn","shard":1,"peer":"0x…","addr":"A:P","channel":"a/b","msg":"…"} */
};

enum {
    SAY_NO_SHARD = -1,
    SAY_MESSAGE_MAX = 1024, /* bytes of a message with its NUL; longer ones are cut */
    SAY_LINE_MAX = 2048     /* bytes of a line with its line feed; likewise */
};

struct say_line {
    uint64_t wall_ns; /* CLOCK_REALTIME */
    enum config_level level;
    int shard;                  /* or SAY_NO_SHARD */
    uint64_t peer;              /* node id; 0: none */
    const char *channel;        /* NULL: none */
    const struct io_addr *addr; /* of the peer; NULL: none */
    const char *message;        /* any bytes: controls are escaped, what is no UTF-8 too (as U+FFFD in JSON) */
};

/* Writes the line and its line feed, no NUL. Returns its length. */
size_t say_format(char out[SAY_LINE_MAX], enum say_style, const struct say_line *);
/* Likewise, of no shard and of this moment. */
__attribute__((format(printf, 4, 0))) size_t say_format_now(char out[SAY_LINE_MAX], enum say_style, enum config_level,
                                                            const char *format, va_list args);

#endif
