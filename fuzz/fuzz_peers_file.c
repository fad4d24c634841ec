/* peers.yaml from anyone: what is accepted can be written and read again. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peers_file f, back;
    struct config_error e = {{0}};
    size_t len;
    if (peers_file_parse((const char *)data, size, "peers.yaml", &f, &e) != NET_OK) {
        assert(e.text[0] != '\0');
        return 0;
    }
    char *text = peers_file_render(&f, &len);
    assert(text && peers_file_parse(text, len, "peers.yaml", &back, &e) == NET_OK);
    assert(back.peer_count == f.peer_count && back.subscription_count == f.subscription_count);
    free(text);
    peers_file_free(&f);
    peers_file_free(&back);
    return 0;
}
