/* What a node takes of its machine besides files and sockets: CPUs and memory. */
#ifndef NM_SHARDS_PROCESS_MACHINE_H
#define NM_SHARDS_PROCESS_MACHINE_H

#include <stdbool.h>

#include "shards/config/config.h"

/* Replaces the "auto" of shards.count and the empty shards.cpus by what the process may use. */
void machine_resolve(struct config *);
/* Pins the calling thread to the CPU of that shard. False with errno. */
bool machine_pin(const struct config *, unsigned shard);
/* No core dump of this process from now on, nor any reading of its memory by others of its user. */
void machine_forbid_core_dumps(void);
/* Keeps all memory, also what is taken later, from being swapped out. False with errno: nothing is locked. */
bool machine_lock_memory(void);

#endif
