/*
 * What a record costs that crosses shards: one thread pushes, another pops, each reads or writes the body as memcpy
 * does; beside it the same copies within one thread, the part that is not the ring's.
 *
 *   bench_spsc [SIZE…]
 */
#include <pthread.h>
#include <stdatomic.h>

#include "bench/measure.h"
#include "core/base/err.h"
#include "core/ring/spsc.h"

enum { RING = 1 << 20, LARGEST = 65536, BYTES = 1 << 30, RECORDS = 4000000, BURST = 8 };

struct run {
    struct spsc ring;
    size_t size;
    uint64_t records;
    unsigned cpu;
};

static void *produce(void *arg)
{
    struct run *r = arg;
    static uint8_t body[LARGEST];
    struct spsc_record *rec;
    pin_to(r->cpu);
    for (uint64_t i = 0; i < r->records; i++) {
        while (!(rec = spsc_reserve(&r->ring, r->size)))
            sched_yield();
        rec->arg = i;
        memcpy(rec->body, body, r->size);
        spsc_commit(&r->ring, rec, r->size);
    }
    return NULL;
}

static double cross(size_t size, uint64_t records, const unsigned cpus[2])
{
    struct run r = {.size = size, .records = records, .cpu = cpus[1]};
    static uint8_t body[LARGEST];
    pthread_t thread;
    check(spsc_init(&r.ring, RING) == NET_OK, "memory");
    check(pthread_create(&thread, NULL, produce, &r) == 0, "thread");
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < records;) {
        struct spsc_record *rec = spsc_peek(&r.ring);
        if (!rec) {
            sched_yield();
            continue;
        }
        check(rec->arg == i, "order");
        memcpy(body, rec->body, rec->len);
        atomic_signal_fence(memory_order_seq_cst); /* the copy is done */
        spsc_release(&r.ring);
        i++;
    }
    uint64_t took = now_ns() - start;
    pthread_join(thread, NULL);
    spsc_deinit(&r.ring);
    return (double)took / (double)records;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void push(struct spsc *ring, const uint8_t *body, size_t size)
{
    struct spsc_record *rec = spsc_reserve(ring, size);
    check(rec != NULL, "room");
    memcpy(rec->body, body, size);
    spsc_commit(ring, rec, size);
}

static void pop(struct spsc *ring, uint8_t *body)
{
    struct spsc_record *rec = spsc_peek(ring);
    check(rec != NULL, "a record");
    memcpy(body, rec->body, rec->len);
    atomic_signal_fence(memory_order_seq_cst);
    spsc_release(ring);
}

/* As a turn does: some in, all out. */
static double within(size_t size, uint64_t records)
{
    static uint8_t body[LARGEST];
    struct spsc ring;
    check(spsc_init(&ring, RING) == NET_OK, "memory");
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < records; i += BURST) {
        for (int j = 0; j < BURST; j++)
            push(&ring, body, size);
        for (int j = 0; j < BURST; j++)
            pop(&ring, body);
    }
    uint64_t took = cpu_ns() - start;
    spsc_deinit(&ring);
    return (double)took / (double)records;
}

static double copies(size_t size, uint64_t records)
{
    static uint8_t a[LARGEST], b[LARGEST];
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < records; i++) {
        memcpy(a, b, size);
        atomic_signal_fence(memory_order_seq_cst);
        memcpy(b, a, size);
        atomic_signal_fence(memory_order_seq_cst);
    }
    return (double)(cpu_ns() - start) / (double)records;
}

int main(int argc, char **argv)
{
    static const size_t usual[] = {0, 64, 256, 1392, 8192};
    unsigned cpus[2] = {0, 0};
    choose_cpus(cpus);
    check(cpus[0] != cpus[1], "two CPUs are needed");
    pin_to(cpus[0]);
    printf("%8s %14s %14s %14s\n", "bytes", "crossing, ns", "within, ns", "copies, ns");
    for (int i = 0; i < (argc > 1 ? argc - 1 : 5); i++) {
        size_t size = argc > 1 ? strtoul(argv[i + 1], NULL, 10) : usual[i];
        check(size <= LARGEST, "at most 65536 bytes");
        uint64_t records = size ? BYTES / size : RECORDS;
        records = records < RECORDS ? records : RECORDS;
        printf("%8zu %14.1f %14.1f %14.1f\n", size, cross(size, records, cpus), within(size, records),
               copies(size, records));
    }
    return 0;
}
