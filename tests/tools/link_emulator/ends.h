/* The two ends of the link: network namespaces with a TUN device in each. */
#ifndef NM_TESTS_TOOLS_ENDS_H
#define NM_TESTS_TOOLS_ENDS_H

#include <stdbool.h>
#include <stdint.h>

enum { EXIT_NOT_PERMITTED = 3 };

struct end {
    const char *name; /* the caller's; of the namespace, as `ip netns` knows it */
    bool made;        /* by us, and ours to remove */
    int namespace_fd, tun_fd /* does not block */, counters_fd;
};

/* A zeroed `end` with a name; side 0 is A. Makes the namespace if there is none, and the device in it, and gives both
 * addresses. 0, or the program's exit status with a line on stderr; end_close() in any case. */
int end_open(struct end *end, unsigned side, unsigned mtu);
void end_close(struct end *end);

/* Packets that the device dropped because nobody read them in time. */
uint64_t end_dropped(const struct end *end);

#endif
