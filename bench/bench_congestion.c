/*
 * Goodput of a reliable stream over a simulated path, in simulated time: what loss recovery, congestion control and
 * pacing make of loss and delay. Figures do not depend on the machine.
 *
 *   bench_congestion [MBIT/S [QUEUE-BDP [SECONDS]]]
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/path.h"

#define MS UINT64_C(1000000)

static void row(struct path p, double bdps, double seconds)
{
    static const double losses[] = {0, 0.001, 0.01, 0.05};
    uint64_t bdp = p.rate * p.rtt_ns / (1000 * MS);
    p.queue = (uint64_t)((double)bdp * bdps);
    if (p.queue < 32768)
        p.queue = 32768;
    printf("%6.0f ms ", (double)p.rtt_ns / 1e6);
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        p.loss = losses[i];
        struct path_result r = path_run(&p, (uint64_t)(seconds * 1e9));
        printf("  %5.1f %5.2f %5.1f", 100.0 * (double)r.goodput / (double)p.rate,
               100.0 * (double)r.lost / (double)r.sent, (double)r.queue_ns / 1e6);
    }
    printf("\n");
}

/* The number in that place of the command line, if there is one. */
static double argument(int argc, char **argv, int place, double otherwise)
{
    if (argc <= place)
        return otherwise;
    char *rest;
    double number = strtod(argv[place], &rest);
    if (*rest || rest == argv[place] || !(number > 0)) {
        fprintf(stderr, "bench_congestion: '%s' is not a number above 0\n", argv[place]);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    static const uint64_t rtts[] = {1, 20, 100};
    double mbit = argument(argc, argv, 1, 100), bdps = argument(argc, argv, 2, 1),
           seconds = argument(argc, argv, 3, 20);
    struct path p = {.rate = (uint64_t)(mbit * 1e6 / 8), .packet = 1472, .seed = 1};
    printf(
        "%g Mbit/s, queue %g bandwidth-delay products; at each loss: goodput %% of the rate, lost %%, mean queue ms\n",
        mbit, bdps);
    printf("   rtt              0 %%               0.1 %%                 1 %%                 5 %%\n");
    for (size_t i = 0; i < sizeof rtts / sizeof rtts[0]; i++) {
        p.rtt_ns = rtts[i] * MS;
        row(p, bdps, seconds);
    }
    return 0;
}
