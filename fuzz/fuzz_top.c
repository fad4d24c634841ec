/* What a node, or who stands in for one, answers to `top`: two looks at it, and a screen of any size. */
#include <assert.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top/text.h"
#include "cli/top/view.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    assert(setlocale(LC_CTYPE, "C.UTF-8"));
    return 0;
}

static bool read_metrics(struct top_look *look, const char *text)
{
    return top_read_metrics(look, text, strlen(text));
}

static bool (*const readers[])(struct top_look *look, const char *text) = {
    top_read_node, top_read_ready, top_read_peers, top_read_channels, read_metrics};
enum { READERS = sizeof readers / sizeof readers[0] };

static void put(void *ctx, unsigned row, unsigned column, enum top_style style, const char *text)
{
    const struct top_canvas *canvas = ctx;
    assert(row < canvas->rows && column + top_text_width(text) <= canvas->columns && style < TOP_STYLES);
    for (; *text; text++)
        assert((unsigned char)*text >= 0x20 && *text != 0x7f);
}

/* Documents, each a byte for its kind and look, its text, and a NUL. */
static void read_documents(struct top_look looks[2], const char *data, size_t size)
{
    while (size > 1) {
        const char *end = memchr(data + 1, '\0', size - 1);
        size_t len = end ? (size_t)(end - data) : size;
        char *text = strndup(data + 1, len - 1);
        readers[(unsigned char)data[0] / 2 % READERS](&looks[data[0] & 1], text);
        free(text);
        data += end ? len + 1 : len;
        size -= end ? len + 1 : len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct top_look looks[2];
    struct top_state state;
    struct top_canvas canvas = {.put = put, .ctx = &canvas};
    if (size < 4)
        return 0;
    canvas.rows = data[0] % 64;
    canvas.columns = data[1];
    top_state_init(&state, "fuzz", UINT64_C(1000000000));
    state.interactive = data[2] & 1;
    state.chosen = data[2] / 2 % TOP_PANES;
    state.panes[state.chosen].scroll = data[3];
    for (unsigned i = 0; i < 2; i++)
        top_look_init(&looks[i], i + 1);
    read_documents(looks, (const char *)data + 4, size - 4);
    top_look_compare(&looks[0], NULL);
    top_look_compare(&looks[1], &looks[0]);
    for (unsigned i = 0; i < 2; i++) {
        top_draw(&canvas, &state, &looks[i]);
        json_object_put(top_look_json(&looks[i]));
        top_state_key(&state, &looks[i], data[3]);
    }
    for (unsigned i = 0; i < 2; i++)
        top_look_deinit(&looks[i]);
    return 0;
}
