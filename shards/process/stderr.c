#include "shards/process/stderr.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"

enum { PATIENCE_MS = 100 };

void stderr_write(const char *lines, size_t len)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    while (len && poll(&p, 1, PATIENCE_MS) == 1 && (p.revents & POLLOUT)) {
        ssize_t n = write(STDERR_FILENO, lines, len < PIPE_BUF ? len : PIPE_BUF); /* a pipe has room for so much */
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return; /* there is nobody to tell */
        lines += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

/* systemd.exec(5): JOURNAL_STREAM names the device and inode of the journal's end. It may be inherited by a process
 * whose stderr went elsewhere since. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char mine[64];
    struct stat st;
    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    text_format(mine, sizeof mine, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, mine) == 0;
}

enum say_style stderr_style(enum config_logging format)
{
    if (format == LOGGING_JSON)
        return SAY_JSON;
    return format == LOGGING_AUTO && is_journal() ? SAY_JOURNAL : SAY_TEXT;
}
