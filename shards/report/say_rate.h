/*
 * A bound on lines for whoever runs the node. A kind of line, told by its format's address, may be said so often in a
 * second; the rest are counted, and one line sums them up. While that goes on, the second becomes two, four and so on
 * to a minute: a flood that lasts is a few lines a minute, and hides no other kind.
 */
#ifndef NM_SHARDS_NODE_SAY_RATE_H
#define NM_SHARDS_NODE_SAY_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "shards/config/config.h"

/* Kinds that are told apart at a time; more of them at once share the last place. */
enum { SAY_KINDS = 16, SAY_SAMPLE = 120 };

struct say_summary {
    uint32_t suppressed; /* lines */
    enum config_level level;
    char sample[SAY_SAMPLE]; /* the beginning of a line that was said */
};

struct say_kind {
    const char *format;
    uint64_t since; /* monotonic ns: begin of its span; 0: the place is free */
    uint64_t span;  /* ns */
    uint32_t said;
    struct say_summary summary;
};

struct say_rate {
    struct say_kind kinds[SAY_KINDS];
    uint64_t due; /* monotonic ns of the next summary; UINT64_MAX: none */
};

void say_rate_init(struct say_rate *);
/* May a line of this kind be said? At most `limit` of them in its span; 0: no bound. Then its sample goes to *kind. */
bool say_rate_take(struct say_rate *, const char *format, uint64_t now, uint32_t limit, struct say_kind **kind);
void say_rate_sample(struct say_kind *, enum config_level, const char *message);
/* Takes out what is to be told of a kind whose span is over. False: nothing is, and `due` says when to look again. */
bool say_rate_summary(struct say_rate *, uint64_t now, struct say_summary *);

#endif
