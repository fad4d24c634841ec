/*
 * A record of `producers~`, 64 bytes, little-endian:
 *
 *      0  "NMPI"              32  u64 first_seq      a mark: "NMPM", with written in first_seq, synced in
 *      4  u32 count           40  u64 sum            sequence, the boot id in producer id, and zeros else
 *      8  16  producer id     48  u64 wall ns
 *     24  u64 sequence        56  XXH3-64 of 0..56
 *
 * Records stand side by side from the beginning of the file, so one that was torn costs no other.
 */
#include "storage/producers/producers_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC_INTENT UINT32_C(0x49504d4e) /* "NMPI" */
#define MAGIC_MARK UINT32_C(0x4d504d4e)   /* "NMPM" */
enum { SUMMED = 56 };

void intent_encode(const struct intent *in, uint8_t out[INTENT_SIZE])
{
    store_le32(out, in->kind == INTENT_MARK ? MAGIC_MARK : MAGIC_INTENT);
    store_le32(out + 4, in->append.count);
    memcpy(out + 8, in->append.id, PRODUCERS_ID_SIZE);
    store_le64(out + 24, in->append.sequence);
    store_le64(out + 32, in->first_seq);
    store_le64(out + 40, in->append.sum);
    store_le64(out + 48, in->wall_ns);
    store_le64(out + SUMMED, XXH3_64bits(out, SUMMED));
}

bool intent_decode(const uint8_t in[INTENT_SIZE], struct intent *out)
{
    uint32_t magic = load_le32(in);
    if ((magic != MAGIC_INTENT && magic != MAGIC_MARK) || load_le64(in + SUMMED) != XXH3_64bits(in, SUMMED))
        return false;
    *out = (struct intent){
        .kind = magic == MAGIC_MARK ? INTENT_MARK : INTENT_APPEND,
        .append = {.sequence = load_le64(in + 24), .sum = load_le64(in + 40), .count = load_le32(in + 4)},
        .first_seq = load_le64(in + 32),
        .wall_ns = load_le64(in + 48),
    };
    memcpy(out->append.id, in + 8, PRODUCERS_ID_SIZE);
    return out->append.sequence < UINT64_MAX && out->first_seq <= UINT64_MAX - out->append.count;
}
