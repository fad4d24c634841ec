/* What link_emulator is asked on its command line. */
#ifndef NM_TESTS_TOOLS_OPTIONS_H
#define NM_TESTS_TOOLS_OPTIONS_H

#include "tests/tools/link_emulator/line.h"

struct options {
    struct line_settings lines[2]; /* A to B, B to A */
    uint64_t seed;
    unsigned mtu; /* bytes */
    const char *names[2];
    char **command; /* NULL: none */
};

/* Ends the program after --help (status 0) and after what cannot be understood (one line on stderr, status 2). */
void options_parse(struct options *options, int argc, char **argv);

#endif
