#include "shards/node/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "shards/node/shard.h"

void node_say(const struct node *n, enum config_level level, const char *format, ...)
{
    char line[1024];
    va_list args;
    if (!n->options.say || level > node_log_level(n))
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    n->options.say(line);
}
