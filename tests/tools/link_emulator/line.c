#include <stdlib.h>
#include <string.h>

#include "tests/support/splitmix.h"
#include "tests/tools/link_emulator/line.h"

void line_init(struct line *line, const struct line_settings *settings, uint64_t seed, unsigned direction)
{
    *line = (struct line){.settings = *settings};
    uint64_t state = seed ^ (uint64_t)direction << 63;
    for (int effect = 0; effect < EFFECT_COUNT; effect++)
        line->random[effect] = splitmix(&state);
}

void line_deinit(struct line *line)
{
    for (size_t i = 0; i < line->heap_len; i++)
        free(line->heap[i]);
    free(line->heap);
    *line = (struct line){0};
}

/* 0 <= x < 1 */
static double draw(struct line *line, enum line_effect effect)
{
    return (double)(splitmix(&line->random[effect]) >> 11) * 0x1p-53;
}

/* ---- what is on the way: a binary heap ---- */

static bool before(const struct line_packet *a, const struct line_packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_swap(struct line *line, size_t i, size_t j)
{
    struct line_packet *packet = line->heap[i];
    line->heap[i] = line->heap[j];
    line->heap[j] = packet;
}

static bool heap_push(struct line *line, struct line_packet *packet)
{
    if (line->heap_len == line->heap_size) {
        size_t size = line->heap_size ? 2 * line->heap_size : 1024;
        struct line_packet **heap = realloc(line->heap, size * sizeof(struct line_packet *));
        if (!heap)
            return false;
        line->heap = heap;
        line->heap_size = size;
    }
    size_t at = line->heap_len++;
    line->heap[at] = packet;
    for (; at > 0 && before(line->heap[at], line->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_swap(line, at, (at - 1) / 2);
    return true;
}

static struct line_packet *heap_pop(struct line *line)
{
    struct line_packet *first = line->heap[0];
    line->heap[0] = line->heap[--line->heap_len];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < line->heap_len; child++)
            if (before(line->heap[child], line->heap[least]))
                least = child;
        if (least == at)
            return first;
        heap_swap(line, at, least);
        at = least;
    }
}

/* ---- the path ---- */

/* When the bottleneck has sent this packet; false: its queue has no room. The queue is what it has yet to send. */
static bool pass_queue(struct line *line, size_t len, uint64_t now_ns, uint64_t *sent_ns)
{
    const struct line_settings *s = &line->settings;
    *sent_ns = now_ns;
    if (s->rate <= 0)
        return true;
    uint64_t start = line->busy_until_ns > now_ns ? line->busy_until_ns : now_ns;
    uint64_t waiting = (uint64_t)((double)(start - now_ns) * s->rate / 8e9) + len;
    if (waiting > s->queue_bytes) {
        line->counts.queue_dropped++;
        return false;
    }
    if (waiting > line->counts.queue_peak)
        line->counts.queue_peak = waiting;
    line->busy_until_ns = *sent_ns = start + (uint64_t)((double)len * 8e9 / s->rate);
    return true;
}

static uint64_t arrival(struct line *line, uint64_t sent_ns, bool overtaken)
{
    const struct line_settings *s = &line->settings;
    double jitter = (2 * draw(line, EFFECT_JITTER) - 1) * (double)s->jitter_ns, delay = (double)s->delay_ns + jitter;
    uint64_t due = sent_ns + (delay > 0 ? (uint64_t)delay : 0);
    if (due < line->last_due_ns)
        due = line->last_due_ns;
    line->last_due_ns = due;
    return overtaken ? due + s->reorder_ns : due;
}

static struct line_packet *depart(struct line *line, const uint8_t *bytes, size_t len, uint64_t due_ns)
{
    struct line_packet *packet = NULL;
    if (line->flight_bytes + len <= LINE_FLIGHT_BYTES)
        packet = malloc(sizeof *packet + len);
    if (packet) {
        *packet = (struct line_packet){.due_ns = due_ns, .number = line->next_number++, .len = len};
        memcpy(packet->bytes, bytes, len);
        if (heap_push(line, packet)) {
            line->flight_bytes += len;
            return packet;
        }
        free(packet);
    }
    line->counts.overflowed++;
    return NULL;
}

/* One bit of it, wherever. */
static void corrupt(struct line *line, struct line_packet *packet)
{
    uint64_t bit = splitmix_below(&line->random[EFFECT_CORRUPT], packet->len * 8);
    packet->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    line->counts.corrupted++;
}

void line_offer(struct line *line, const uint8_t *bytes, size_t len, uint64_t now_ns)
{
    const struct line_settings *s = &line->settings;
    struct line_counts *counts = &line->counts;
    uint64_t sent_ns;
    counts->offered++;
    counts->offered_bytes += len;
    if (!pass_queue(line, len, now_ns, &sent_ns))
        return;
    bool lost = draw(line, EFFECT_LOSS) < s->loss, twice = draw(line, EFFECT_DUPLICATE) < s->duplicate,
         damaged = draw(line, EFFECT_CORRUPT) < s->corrupt, overtaken = draw(line, EFFECT_REORDER) < s->reorder;
    if (lost) {
        counts->lost++;
        return;
    }
    struct line_packet *packet = depart(line, bytes, len, arrival(line, sent_ns, overtaken));
    if (!packet)
        return;
    counts->reordered += overtaken;
    if (damaged)
        corrupt(line, packet);
    if (twice && depart(line, packet->bytes, len, arrival(line, sent_ns, false)))
        counts->duplicated++;
}

struct line_packet *line_pull(struct line *line, uint64_t now_ns)
{
    struct line_counts *counts = &line->counts;
    if (line_deadline(line) > now_ns)
        return NULL;
    struct line_packet *packet = heap_pop(line);
    uint64_t late = now_ns - packet->due_ns;
    line->flight_bytes -= packet->len;
    counts->delivered++;
    counts->delivered_bytes += packet->len;
    counts->late_ns += late;
    if (late > counts->late_peak_ns)
        counts->late_peak_ns = late;
    return packet;
}

uint64_t line_deadline(const struct line *line)
{
    return line->heap_len ? line->heap[0]->due_ns : UINT64_MAX;
}
