/*
 * Runs the net-mesh program against a fake node: a thread that takes one request, keeps its bytes, and answers with
 * bytes the test gives.
 */
#ifndef NM_TESTS_SUPPORT_CLI_FIXTURE_H
#define NM_TESTS_SUPPORT_CLI_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_TOKEN "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct fake_script {
    const char *status; /* "200 OK": an answer with Content-Length and this body */
    const char *body;
    const char *answer; /* or raw bytes, head and all; both NULL: no answer */
    size_t answer_len;  /* 0: strlen */
    size_t early;       /* answer after so many bytes of the request, and read the rest afterwards */
    unsigned piece;     /* not 0: the answer goes in pieces of so many bytes, 1 ms apart */
    unsigned hold_ms;   /* how long the connection stays open after the answer */
    bool reset;         /* close with bytes unread: the client sees a reset */
};

struct fake_node {
    char dir[64]; /* --endpoint: node.yaml (unix:admin.sock) and admin.token */
    struct fake_script script;
    pthread_t thread;
    int listener;
    char *request; /* what the program sent, NUL behind it */
    size_t request_len;
    uint64_t closed_ns; /* monotonic: when the connection was closed */
};

/* Makes the directory and listens; the thread serves one connection. */
void fake_node_start(struct fake_node *, const struct fake_script *);
/* Waits for the thread; request and request_len are valid from here on. */
void fake_node_join(struct fake_node *);
void fake_node_end(struct fake_node *); /* after join: removes the directory */
/* The request without its chunk heads: the payload of a chunked body. Caller frees. */
char *fake_node_body(const struct fake_node *, size_t *len);

struct cli_run {
    int code;        /* exit code; 128 + signal */
    char *out, *err; /* NUL-terminated */
    size_t out_len;
};
/* NET_MESH_PROGRAM, defined for every test_cli_*, is the program's path. Runs it with these arguments (NULL-terminated)
 * and `input` on stdin. */
struct cli_run cli_run(const char *program, const char *input, size_t input_len, const char *const *args);
void cli_run_free(struct cli_run *);
#define CLI(...) cli_run(NET_MESH_PROGRAM, "", 0, (const char *const[]){__VA_ARGS__, NULL})
#define CLI_INPUT(input, ...)                                                                                          \
    cli_run(NET_MESH_PROGRAM, input, sizeof(input) - 1, (const char *const[]){__VA_ARGS__, NULL})

/* The program in the background, its stdin and stdout on pipes. */
struct cli_process {
    pid_t pid;
    int in, out;
};
struct cli_process cli_spawn(const char *program, const char *const *args);
int cli_wait(struct cli_process *); /* closes the pipes; exit code as above */

/* Runs it to its good end with stdout on a terminal. What it wrote there; caller frees. */
char *cli_on_terminal(const char *program, const char *const *args);

/* A scratch directory, removed by scratch_remove(). */
void scratch_make(char path[64]);
void scratch_remove(const char *path);
/* PATH of a new file DIR/NAME with this content and mode; caller frees. */
char *scratch_file(const char *dir, const char *name, const void *data, size_t len, mode_t mode);

#endif
