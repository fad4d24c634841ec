/* Text being written: the answers of the admin port and the rows of `events`. */
#ifndef NM_SHARDS_ADMIN_BUFFER_H
#define NM_SHARDS_ADMIN_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Either a window of fixed size (`limit` 0: the bytes are somebody else's) or heap memory that grows up to `limit`.
 * What does not fit sets `failed` and nothing is written from there on: check once, at the end.
 */
struct buffer {
    char *data;
    size_t len, cap;
    size_t limit; /* bytes; 0: `data` does not grow and is not freed */
    bool failed;
};

void buffer_init_fixed(struct buffer *, void *data, size_t cap);
void buffer_init_heap(struct buffer *, size_t limit);
void buffer_deinit(struct buffer *);
void buffer_clear(struct buffer *); /* empties and forgives; keeps the memory */
/* Back to an earlier length: what was written since did not fit or is not wanted. */
void buffer_rewind(struct buffer *, size_t len);

void buffer_put(struct buffer *, const void *data, size_t len);
void buffer_str(struct buffer *, const char *);
void buffer_u64(struct buffer *, uint64_t); /* decimal */
void buffer_base64(struct buffer *, const uint8_t *data, size_t len);

#endif
