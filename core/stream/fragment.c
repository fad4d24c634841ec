#include "core/stream/fragment.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"

enum { INDEXES = 65536, BITS = 64 };

struct message {
    struct list link; /* reassembly->messages */
    uint64_t stream, first;
    uint8_t *frame; /* `room` bytes: the length, then each slice at index * slice */
    size_t room;
    uint64_t *have; /* a bit for each index below have_bits */
    uint32_t have_bits;
    uint32_t slice;             /* bytes of all but the last; 0: none of those came yet */
    uint32_t count;             /* fragments; 0: the last did not come yet */
    uint32_t received, missing; /* fragments that came; the lowest index that did not */
    uint32_t highest;           /* index that came */
    uint32_t bytes;             /* of the slices that came */
    uint32_t last_len;          /* of the last slice */
    uint8_t *last;              /* the last slice, as long as its place is not known; else NULL */
    uint64_t at, hole_at;       /* the newest fragment came; the hole at `missing` was seen */
    bool reliable;
};

static bool budget_take(struct reassembly *r, size_t bytes)
{
    if (r->own.used + bytes > r->own.limit || r->total->used + bytes > r->total->limit)
        return false; /* a limit may have been lowered below what is in use */
    r->own.used += bytes;
    r->total->used += bytes;
    return true;
}

static void budget_give(struct reassembly *r, size_t bytes)
{
    assert(bytes <= r->own.used && bytes <= r->total->used);
    r->own.used -= bytes;
    r->total->used -= bytes;
}

void reassembly_init(struct reassembly *r, uint32_t max_message, uint64_t limit, struct fragment_budget *total)
{
    assert(max_message <= FRAGMENT_MAX_MESSAGE);
    *r = (struct reassembly){.max_message = max_message, .own = {.limit = limit}, .total = total};
    list_init(&r->messages);
}

static size_t cost(const struct message *m)
{
    return sizeof *m + m->room + m->have_bits / 8 + (m->last ? m->last_len : 0);
}

static void message_free(struct reassembly *r, struct message *m)
{
    budget_give(r, cost(m));
    list_remove(&m->link);
    r->count--;
    free(m->frame);
    free(m->have);
    free(m->last);
    free(m);
}

/* What comes late of it is not the beginning of another one. */
static void remember(struct reassembly *r, uint64_t stream, uint64_t first)
{
    r->ended[r->ended_at].stream = stream;
    r->ended[r->ended_at].first = first;
    r->ended_at = (r->ended_at + 1) % FRAGMENT_REMEMBERED;
    if (r->ended_count < FRAGMENT_REMEMBERED)
        r->ended_count++;
}

static bool remembered(const struct reassembly *r, uint64_t stream, uint64_t first)
{
    for (uint32_t i = 0; i < r->ended_count; i++)
        if (r->ended[i].stream == stream && r->ended[i].first == first)
            return true;
    return false;
}

static void give_up(struct reassembly *r, struct message *m)
{
    remember(r, m->stream, m->first);
    message_free(r, m);
}

uint32_t reassembly_end_all(struct reassembly *r)
{
    uint32_t n = r->count;
    while (!list_empty(&r->messages))
        message_free(r, container_of(list_first(&r->messages), struct message, link));
    r->ended_count = r->ended_at = 0; /* sequences begin anew */
    return n;
}

void reassembly_deinit(struct reassembly *r)
{
    reassembly_end_all(r);
}

uint32_t reassembly_end_stream(struct reassembly *r, uint64_t stream)
{
    uint32_t ended = 0;
    for (struct list *n = r->messages.next, *next; n != &r->messages; n = next) {
        struct message *m = container_of(n, struct message, link);
        next = n->next;
        if (m->stream != stream)
            continue;
        message_free(r, m);
        ended++;
    }
    for (uint32_t i = 0; i < r->ended_count; i++)
        if (r->ended[i].stream == stream)
            r->ended[i].first = UINT64_MAX; /* no message has it: sequences of a stream begin at 0 again */
    return ended;
}

static struct message *message_find(const struct reassembly *r, uint64_t stream, uint64_t first)
{
    for (struct list *n = r->messages.next; n != &r->messages; n = n->next) {
        struct message *m = container_of(n, struct message, link);
        if (m->stream == stream && m->first == first)
            return m;
    }
    return NULL;
}

static int message_begin(struct reassembly *r, const struct fragment *f, uint64_t first, struct message **out)
{
    if (r->count == FRAGMENT_MESSAGES || !budget_take(r, sizeof **out))
        return NET_ERR_LIMIT;
    struct message *m = calloc(1, sizeof *m);
    if (!m) {
        budget_give(r, sizeof *m);
        return NET_ERR_NO_MEMORY;
    }
    m->stream = f->stream;
    m->first = first;
    m->reliable = f->reliable;
    list_push_back(&r->messages, &m->link);
    r->count++;
    *out = m;
    return NET_OK;
}

/* Grows *memory from `from` to `to` bytes within the budgets. */
static int grow(struct reassembly *r, void **memory, size_t from, size_t to)
{
    if (!budget_take(r, to - from))
        return NET_ERR_LIMIT;
    void *grown = realloc(*memory, to);
    if (!grown) {
        budget_give(r, to - from);
        return NET_ERR_NO_MEMORY;
    }
    *memory = grown;
    return NET_OK;
}

/* Room for the frame up to `end` bytes of message. Doubling, so that a large one is not moved for each slice. */
static int make_room(struct reassembly *r, struct message *m, uint32_t end)
{
    size_t need = FRAGMENT_FRAME_HEAD + (size_t)end, most = FRAGMENT_FRAME_HEAD + (size_t)r->max_message;
    if (need <= m->room)
        return NET_OK;
    size_t room = need > 2 * m->room ? need : 2 * m->room;
    if (room > most)
        room = most;
    void *frame = m->frame;
    int err = grow(r, &frame, m->room, room);
    if (err == NET_ERR_LIMIT && room > need && (err = grow(r, &frame, m->room, need)) == NET_OK)
        room = need;
    if (err)
        return err;
    m->frame = frame;
    m->room = room;
    return NET_OK;
}

static bool has(const struct message *m, uint32_t index)
{
    return index < m->have_bits && (m->have[index / BITS] >> (index % BITS) & 1);
}

static int mark(struct reassembly *r, struct message *m, uint32_t index)
{
    if (index >= m->have_bits) {
        uint32_t bits = 2 * m->have_bits > index ? 2 * m->have_bits : (index / BITS + 1) * BITS;
        void *have = m->have;
        int err = grow(r, &have, m->have_bits / 8, bits / 8);
        if (err)
            return err;
        m->have = have;
        memset((uint8_t *)have + m->have_bits / 8, 0, (bits - m->have_bits) / 8);
        m->have_bits = bits;
    }
    m->have[index / BITS] |= UINT64_C(1) << (index % BITS);
    m->received++;
    if (index > m->highest)
        m->highest = index;
    return NET_OK;
}

static int put(struct reassembly *r, struct message *m, uint64_t at, struct cspan slice)
{
    if (at + slice.len > r->max_message)
        return NET_ERR_TOO_LARGE;
    if (at > (uint64_t)m->bytes + FRAGMENT_SPREAD)
        return NET_ERR_LIMIT;
    int err = make_room(r, m, (uint32_t)(at + slice.len));
    if (!err)
        memcpy(m->frame + FRAGMENT_FRAME_HEAD + at, slice.data, slice.len);
    return err;
}

/* The last slice came first: it waits beside, until another one tells how long they are. */
static int keep_last(struct reassembly *r, struct message *m, struct cspan slice)
{
    void *last = NULL;
    int err = grow(r, &last, 0, slice.len);
    if (err)
        return err;
    memcpy(last, slice.data, slice.len);
    m->last = last;
    return NET_OK;
}

static int place_last(struct reassembly *r, struct message *m)
{
    struct cspan slice = {m->last, m->last_len};
    int err = m->last_len > m->slice ? NET_ERR_FORMAT : put(r, m, (uint64_t)(m->count - 1) * m->slice, slice);
    if (err)
        return err;
    budget_give(r, m->last_len);
    free(m->last);
    m->last = NULL;
    return NET_OK;
}

static int take_last(struct reassembly *r, struct message *m, const struct fragment *f)
{
    if (m->count || f->index < m->highest || (m->slice && f->slice.len > m->slice))
        return NET_ERR_FORMAT;
    m->count = f->index + 1u;
    m->last_len = (uint32_t)f->slice.len;
    return m->slice ? put(r, m, (uint64_t)f->index * m->slice, f->slice) : keep_last(r, m, f->slice);
}

static int take_inner(struct reassembly *r, struct message *m, const struct fragment *f)
{
    uint32_t len = (uint32_t)f->slice.len;
    if ((m->slice && len != m->slice) || (m->count && f->index >= m->count - 1))
        return NET_ERR_FORMAT;
    if (m->last && m->last_len > len)
        return NET_ERR_FORMAT;
    int err = put(r, m, (uint64_t)f->index * len, f->slice);
    if (err)
        return err;
    m->slice = len;
    m->bytes += len;
    return m->last ? place_last(r, m) : NET_OK;
}

/* Whether the fragment makes sense on its own. */
static bool sane(const struct fragment *f)
{
    return f->sequence >= f->index && f->id == (uint16_t)(f->sequence - f->index) && f->slice.len > 0 &&
           f->slice.len <= FRAGMENT_MAX_MESSAGE && (f->more ? f->index < INDEXES - 1 : f->index > 0);
}

static void watch_hole(struct message *m, uint64_t now)
{
    uint32_t before = m->missing;
    while (has(m, m->missing))
        m->missing++;
    if (m->missing != before || m->received == 1)
        m->hole_at = now;
    m->at = now;
}

static void hand_over(struct reassembly *r, struct message *m, struct fragment_message *out)
{
    uint32_t len = (m->count - 1) * m->slice + m->last_len;
    store_le32(m->frame, len);
    out->len = FRAGMENT_FRAME_HEAD + (size_t)len;
    uint8_t *exact = realloc(m->frame, out->len);
    out->frame = exact ? exact : m->frame;
    m->frame = NULL;
    give_up(r, m);
}

static int take(struct reassembly *r, struct message *m, const struct fragment *f)
{
    if (f->reliable != m->reliable || (f->reliable && f->index != m->received))
        return NET_ERR_FORMAT;
    int err = f->more ? take_inner(r, m, f) : take_last(r, m, f);
    return err ? err : mark(r, m, f->index);
}

int reassembly_add(struct reassembly *r, const struct fragment *f, uint64_t now, struct fragment_message *out)
{
    *out = (struct fragment_message){NULL, 0};
    if (!sane(f))
        return NET_ERR_FORMAT;
    uint64_t first = f->sequence - f->index;
    if (remembered(r, f->stream, first))
        return NET_ERR_EXISTS;
    struct message *m = message_find(r, f->stream, first);
    int err = m ? NET_OK : message_begin(r, f, first, &m);
    if (err) {
        remember(r, f->stream, first);
        return err;
    }
    if (has(m, f->index))
        return NET_ERR_EXISTS;
    err = take(r, m, f);
    if (err) {
        give_up(r, m);
        return err;
    }
    watch_hole(m, now);
    if (m->received == m->count)
        hand_over(r, m, out);
    return NET_OK;
}

static uint64_t message_deadline(const struct message *m)
{
    if (m->reliable)
        return UINT64_MAX;
    bool hole = m->missing <= m->highest;
    return hole ? m->hole_at + FRAGMENT_REORDER_NS : m->at + FRAGMENT_IDLE_NS;
}

uint64_t reassembly_deadline(const struct reassembly *r)
{
    uint64_t at = UINT64_MAX;
    for (const struct list *n = r->messages.next; n != &r->messages; n = n->next) {
        uint64_t due = message_deadline(container_of(n, const struct message, link));
        if (due < at)
            at = due;
    }
    return at;
}

uint32_t reassembly_tick(struct reassembly *r, uint64_t now)
{
    uint32_t ended = 0;
    for (struct list *n = r->messages.next, *next; n != &r->messages; n = next) {
        struct message *m = container_of(n, struct message, link);
        next = n->next;
        if (now < message_deadline(m))
            continue;
        give_up(r, m);
        ended++;
    }
    return ended;
}
