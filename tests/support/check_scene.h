/* A small mesh under its checks: three nodes that know each other, all kinds of workloads, live and followed. */
#ifndef NM_TESTS_SUPPORT_CHECK_SCENE_H
#define NM_TESTS_SUPPORT_CHECK_SCENE_H

#include "tests/sim/mesh/check.h"

enum { SCENE_NODES = 3 };

struct scene {
    struct mesh mesh;
    struct check check;
};

void scene_make(struct scene *, uint64_t seed); /* nothing is subscribed to, nothing runs */
void scene_end(struct scene *);
void scene_read_all(struct scene *); /* as workloads want: a/live live; a/log and b/log followed */
void scene_start(struct scene *);
/* Begins workloads on a/live and a/log of node 0 and b/log of node 1, and runs, checked at every step. */
void scene_work(struct scene *, uint64_t ns);
void scene_finish(struct scene *); /* the workloads stop, and are answered */
/* All of the above, and then every check passes. */
void scene_at_rest(struct scene *, uint64_t seed);
/* The check has told something with this text in it. */
void scene_expect(struct scene *, const char *text);

#endif
