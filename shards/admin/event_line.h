/* A line of a publish as NDJSON: {"data":"text"} or {"data_base64":"..."} (RFC 8259, RFC 4648 4). No allocation. */
#ifndef NM_SHARDS_ADMIN_EVENT_LINE_H
#define NM_SHARDS_ADMIN_EVENT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nothing but blanks: no event. */
bool event_line_blank(const uint8_t *line, size_t len);
/* Puts the event's bytes where the line begins: they are never more than the line's. False: it is neither of the two
 * objects, and what is in `line` then is of no use. */
bool event_line_decode(uint8_t *line, size_t len, size_t *event_len);

#endif
