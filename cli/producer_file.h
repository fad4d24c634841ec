/*
 * The file of `publish --producer`: who the producer is, its next sequence, and how far an unfinished run has come, so
 * that the same command, run again on the same input, appends nothing twice. JSON, mode 0600; every change replaces it,
 * and is on stable storage before the command goes on.
 */
#ifndef NM_CLI_PRODUCER_FILE_H
#define NM_CLI_PRODUCER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PRODUCER_HEX = 32 };

struct producer_file {
    const char *path; /* as on the command line */
    int lock;         /* of PATH.lock, held while the command runs; -1: none */
    char id[PRODUCER_HEX + 1];
    char channel[256], to[256]; /* what it is for */
    uint64_t sequence;          /* of the next append */
    /* A run that has not come to its end, from the first event of its input on: */
    bool unfinished;
    uint64_t events, bytes, first_seq, last_seq; /* acknowledged; the sequences: if events > 0 */
    uint64_t sum;                                /* XXH3-64 of their frames */
    uint64_t pending;                            /* events behind them in append `sequence`, sent and not answered */
    uint64_t pending_sum;                        /* of their frames */
};

/* Reads it, or makes one for this channel and peer; takes the lock. CLI_OK, or an exit code (said).
 * producer_file_close() in any case. */
int producer_file_open(struct producer_file *, const char *path, const char *channel, const char *to);
int producer_file_save(const struct producer_file *); /* CLI_OK, or an exit code (said) */
void producer_file_close(struct producer_file *);

#endif
