/*
 * One direction of the emulated link: packets go in, and come out when and as the settings say. Nothing here looks at a
 * clock or a file. The order of things is that of a real path: a queue in front of a bottleneck (dropped when full),
 * the bottleneck's rate, then the wire (loss, corruption, duplication), then its length (delay, jitter, overtaking).
 */
#ifndef NM_TESTS_TOOLS_LINE_H
#define NM_TESTS_TOOLS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_MAX_PACKET = 65535 };

struct line_settings {
    uint64_t delay_ns,
        jitter_ns; /* a packet takes delay +- jitter, uniform, not below 0; jitter alone overtakes nothing */
    double loss, duplicate, corrupt, reorder; /* of all packets that leave the queue, 0..1 */
    uint64_t reorder_ns;                      /* how much longer those take that are to be overtaken */
    double rate;                              /* bits per second, of IP packets; 0: no limit */
    uint64_t queue_bytes;                     /* that may wait for the rate */
};

struct line_counts {
    uint64_t offered, offered_bytes, delivered, delivered_bytes;
    uint64_t queue_dropped, lost, duplicated, corrupted, reordered;
    uint64_t overflowed;            /* no memory for more packets on the way: LINE_FLIGHT_BYTES */
    uint64_t queue_peak;            /* bytes */
    uint64_t late_ns, late_peak_ns; /* pulled after they were due: sum, and the worst; the emulator's own doing */
};

#define LINE_FLIGHT_BYTES ((size_t)256 << 20)

struct line_packet {
    uint64_t due_ns, number; /* equal times leave in the order they came */
    size_t len;
    uint8_t bytes[];
};

enum line_effect { EFFECT_LOSS, EFFECT_DUPLICATE, EFFECT_CORRUPT, EFFECT_REORDER, EFFECT_JITTER, EFFECT_COUNT };

struct line {
    struct line_settings settings;
    struct line_counts counts;
    uint64_t random[EFFECT_COUNT]; /* of its own for each, so that what befalls the n-th packet is the seed's alone */
    uint64_t busy_until_ns;        /* when the bottleneck has sent what it took */
    uint64_t last_due_ns;          /* of packets that keep their order */
    uint64_t next_number;
    struct line_packet **heap; /* by due_ns, number */
    size_t heap_len, heap_size, flight_bytes;
};

/* Different `direction`s of one seed have nothing in common. */
void line_init(struct line *line, const struct line_settings *settings, uint64_t seed, unsigned direction);
void line_deinit(struct line *line);

/* A packet at the near end, copied; at most LINE_MAX_PACKET bytes. */
void line_offer(struct line *line, const uint8_t *bytes, size_t len, uint64_t now_ns);

/* The next packet that is due at the far end, the caller's to free(); NULL: none is. */
struct line_packet *line_pull(struct line *line, uint64_t now_ns);

/* When line_pull() has something again; UINT64_MAX: nothing is on the way. */
uint64_t line_deadline(const struct line *line);

#endif
