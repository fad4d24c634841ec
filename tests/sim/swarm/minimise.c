#include "tests/sim/swarm/minimise.h"

#include <stdlib.h>

static bool fails(struct result r)
{
    free(r.output);
    return r.outcome.failed;
}

/* All prefixes from the empty one on, several at a time, until one fails and all shorter ones have passed: failing is
 * not monotonous, so nothing is skipped. */
static unsigned first_failing(struct children *c, const struct job *job, unsigned *runs)
{
    unsigned next = 0, found = job->acts;
    while (next < found || c->running > 0) {
        while (next < found && c->running < c->room) {
            struct job shorter = *job;
            shorter.acts = next++;
            children_start(c, &shorter);
            ++*runs;
        }
        if (c->running == 0)
            break;
        struct result r = children_next(c);
        unsigned acts = r.job.acts;
        if (fails(r) && acts < found)
            found = acts;
    }
    return found;
}

void minimise(struct children *c, struct job *job, unsigned *runs)
{
    job->acts = first_failing(c, job, runs);
    for (unsigned i = job->acts; i-- > 0;) {
        if (i + 1 == job->acts || job->without[i])
            continue; /* without its last act the prefix passes */
        struct job fewer = *job;
        fewer.without[i] = true;
        children_start(c, &fewer);
        ++*runs;
        if (fails(children_next(c)))
            *job = fewer;
    }
}
