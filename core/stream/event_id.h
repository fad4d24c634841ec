/* What an event of a stream is called: "SEQUENCE:INDEX", the packet's sequence and the event's place in it, in decimal.
 * streams.md 6 and 19 (37). */
#ifndef NM_CORE_STREAM_EVENT_ID_H
#define NM_CORE_STREAM_EVENT_ID_H

#include <stdint.h>

enum { EVENT_ID_MAX = 32 }; /* bytes, with the NUL */

void event_id_format(char out[EVENT_ID_MAX], uint64_t sequence, uint32_t index);
/* Below, at or above 0 as `a` stands before, at or behind `b`: by sequence, then index. When one of them is no such id,
 * both are compared as text. */
int event_id_compare(const char *a, const char *b);

#endif
