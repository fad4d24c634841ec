/* node.yaml from anyone, and what people write on command lines. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct config_error e = {{0}};
    struct io_addr addr;
    uint64_t value;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    int err = config_parse(text, size, "node.yaml", NULL, 0, &c, &e);
    assert(err == NET_OK || e.text[0] != '\0');
    assert(err != NET_OK || c.session_timeout_ns > c.heartbeat_interval_ns);
    const char *override = text;
    err = config_parse("", 0, "node.yaml", &override, 1, &c, &e);
    assert(err == NET_OK || e.text[0] != '\0');
    if (config_parse_addr(text, &addr) == NET_OK) {
        struct io_addr back;
        char again[64];
        config_format_addr(&addr, again);
        assert(config_parse_addr(again, &back) == NET_OK && memcmp(&addr, &back, sizeof addr) == 0);
    }
    (void)config_parse_id(text, &value);
    (void)config_parse_size(text, &value);
    (void)config_parse_duration(text, &value);
    free(text);
    return 0;
}
