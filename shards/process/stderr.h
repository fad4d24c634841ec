/* The process's stderr, where what a person should know goes (say.h). */
#ifndef NM_SHARDS_PROCESS_STDERR_H
#define NM_SHARDS_PROCESS_STDERR_H

#include "shards/report/say_line.h"

/* Writes whole lines as far as stderr takes them within a moment; any thread. */
void stderr_write(const char *lines, size_t len);
/* What logging.format comes to: under systemd, `auto` is the journal's own way. */
enum say_style stderr_style(enum config_logging);

#endif
