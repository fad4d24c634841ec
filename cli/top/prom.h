/*
 * Prometheus' text format 0.0.4, read sample by sample out of a text that stays the caller's: what `top` makes of
 * /metrics. The text may come from anybody. https://prometheus.io/docs/instrumenting/exposition_formats
 */
#ifndef NM_CLI_TOP_PROM_H
#define NM_CLI_TOP_PROM_H

#include <stdbool.h>
#include <stddef.h>

struct prom_text {
    const char *at, *end;
};

enum { PROM_LABELS_MAX = 16, PROM_NUMBER_MAX = 63 };

/* Pieces of the text, none of them terminated. */
struct prom_piece {
    const char *data;
    size_t len;
};

struct prom_label {
    struct prom_piece name, value; /* the value as written: with its escapes, without its quotes */
};

struct prom_sample {
    struct prom_piece name;
    struct prom_label labels[PROM_LABELS_MAX];
    size_t label_count;
    double value; /* may be infinite or not a number */
};

enum prom_result { PROM_SAMPLE, PROM_MALFORMED, PROM_END };

/* The next sample, comments and empty lines passed over. PROM_MALFORMED: that line is no sample (or has more labels
 * than PROM_LABELS_MAX); the text goes on behind it. */
enum prom_result prom_next(struct prom_text *, struct prom_sample *);

bool prom_is(struct prom_piece, const char *text);
/* The value of a label without its escapes, terminated. False: the sample has no such label, or `room` does not hold
 * it. */
bool prom_label(const struct prom_sample *, const char *name, char *out, size_t room);

#endif
