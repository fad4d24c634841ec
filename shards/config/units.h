/* Units of the table of keys and of its texts: bytes, and nanoseconds. */
#ifndef NM_SHARDS_CONFIG_UNITS_H
#define NM_SHARDS_CONFIG_UNITS_H

#include <stdint.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define MIN (60 * S)
#define HOUR (60 * MIN)
#define DAY (24 * HOUR)

#endif
