/* Event frames of a plaintext with any announced count (its first two bytes), read, packed one by one, packed as a run.
 */
#include <assert.h>

#include "core/wire/packer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t one[WIRE_MAX_PLAINTEXT], run[WIRE_MAX_PLAINTEXT];
    if (size < 2)
        return 0;
    uint16_t announced = load_le16(data);
    struct cspan plaintext = {data + 2, size - 2}, event;
    struct wire_frames f = wire_frames(plaintext, announced);
    struct packer a, b;
    packer_init(&a, one, sizeof one);
    packer_init(&b, run, sizeof run);
    while (wire_frames_next(&f, &event)) {
        assert(event.data >= plaintext.data && event.data + event.len <= plaintext.data + plaintext.len);
        if (!packer_add(&a, event))
            break;
    }
    /* The reader, the packer of events and the packer of runs agree on where frames end. */
    assert(packer_add_frames(&b, plaintext, announced) == a.count);
    assert(a.len == b.len && a.count <= WIRE_MAX_EVENTS);
    assert(memcmp(one, run, a.len) == 0 && memcmp(one, plaintext.data, a.len) == 0);
    return 0;
}
