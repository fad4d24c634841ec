/* APPEND and its answer: what decodes, encodes to the same bytes, and its frames are all there. */
#include <assert.h>
#include <stdlib.h>

#include "core/channel/append.h"
#include "core/wire/wire.h"

static void try_append(struct cspan input)
{
    struct append a;
    struct cspan event;
    if (append_decode(input, &a) != 0)
        return;
    assert(channel_name_parse(a.channel.text, a.channel.len, NULL) == CHANNEL_NAME_OK);
    struct wire_frames f = wire_frames(a.frames, a.count);
    while (wire_frames_next(&f, &event))
        assert(event.data >= input.data && event.data + event.len <= input.data + input.len);
    assert(f.left == 0 && f.rest.len == 0);
    uint8_t *again = malloc(input.len);
    assert(again && append_encode(&a, again, input.len) == (int)input.len && memcmp(again, input.data, input.len) == 0);
    assert(append_encode(&a, again, input.len - 1) < 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[APPEND_ANSWER_SIZE];
    struct append_answer answer;
    try_append((struct cspan){data, size});
    if (append_answer_decode((struct cspan){data, size}, &answer) == 0) {
        append_answer_encode(&answer, again);
        assert(size == sizeof again && memcmp(again, data, size) == 0);
        assert((append_status_err(answer.status) == 0) == (answer.status == APPEND_STORED));
    }
    return 0;
}
