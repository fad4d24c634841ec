#include "shards/process/machine.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void machine_resolve(struct config *c)
{
    cpu_set_t set;
    if (c->cpu_count == 0 && sched_getaffinity(0, sizeof set, &set) == 0)
        for (unsigned cpu = 0; cpu < CPU_SETSIZE && c->cpu_count < CONFIG_MAX_CPUS; cpu++)
            if (CPU_ISSET(cpu, &set))
                c->cpus[c->cpu_count++] = (uint16_t)cpu;
    if (c->shards == 0)
        c->shards = c->cpu_count ? c->cpu_count : 1;
    if (c->shards > CONFIG_MAX_SHARDS)
        c->shards = CONFIG_MAX_SHARDS;
}

bool machine_pin(const struct config *c, unsigned shard)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(c->cpus[shard % c->cpu_count], &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

void machine_forbid_core_dumps(void)
{
    struct rlimit limit;
    prctl(PR_SET_DUMPABLE, 0); /* also where core_pattern is a pipe, which no limit stops; cannot fail */
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
}

bool machine_lock_memory(void)
{
    struct rlimit limit;
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
        return false;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return true;
    /* Without the privilege that lifts it, the limit would count all address space taken from now on, that of logs too,
     * and refuse it. */
    void *probe = mmap(NULL, limit.rlim_cur, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe != MAP_FAILED)
        return munmap(probe, limit.rlim_cur) == 0;
    munlockall();
    errno = ENOMEM;
    return false;
}
