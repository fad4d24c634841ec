/*
 * Prometheus' text format, version 0.0.4: families of samples. A family is begun once and all its samples follow, so
 * that HELP and TYPE stand once and in front of them.
 */
#ifndef NM_SHARDS_NODE_EXPOSITION_H
#define NM_SHARDS_NODE_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/histogram.h"

/* Values may be anything: they are escaped, and what is not printable ASCII becomes '?'. */
struct exposition_label {
    const char *name, *value;
};

enum { EXPOSITION_LABELS = 4 }; /* of one sample, at most */

struct exposition {
    void (*put)(void *ctx, const char *text, size_t len);
    void *ctx;
    const char *name; /* of the family that is open */
    /* Of the samples that follow; exposition_label() sets them one after the other. */
    struct exposition_label labels[EXPOSITION_LABELS];
    size_t label_count;
};

void exposition_init(struct exposition *, void (*put)(void *ctx, const char *text, size_t len), void *ctx);
/* `name` without "netmesh_" is prefixed with it, unless it begins with "process_"; `type` is counter, gauge or
 * histogram. Both live as long as the family. Drops the labels. */
void exposition_family(struct exposition *, const char *name, const char *type, const char *help);
void exposition_no_labels(struct exposition *);
void exposition_label(struct exposition *, const char *name, const char *value); /* both live until it is dropped */
void exposition_u64(struct exposition *, uint64_t value);
void exposition_ns(struct exposition *, uint64_t ns);                     /* as seconds */
void exposition_double(struct exposition *, double value);                /* finite */
void exposition_histogram(struct exposition *, const struct histogram *); /* of ns, as seconds */

#endif
