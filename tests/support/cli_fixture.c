#include "tests/support/cli_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* ---- files ---- */

void scratch_make(char path[64])
{
    strcpy(path, "/tmp/nm-cli-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
}

void scratch_remove(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
}

char *scratch_file(const char *dir, const char *name, const void *data, size_t len, mode_t mode)
{
    char *path = NULL;
    cr_assert(asprintf(&path, "%s/%s", dir, name) > 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    cr_assert(fd >= 0);
    cr_assert_eq(fchmod(fd, mode), 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
    return path;
}

static char *read_whole(const char *path, size_t *len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    char *text = malloc((size_t)st.st_size + 1);
    cr_assert_eq(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = '\0';
    *len = (size_t)st.st_size;
    close(fd);
    return text;
}

/* ---- the fake node ---- */

static void *find(const struct fake_node *n, const char *what)
{
    return memmem(n->request, n->request_len, what, strlen(what));
}

/* Head, and a body as long as the head says. */
static bool request_complete(const struct fake_node *n)
{
    const char *end = find(n, "\r\n\r\n"), *length = find(n, "Content-Length: ");
    if (!end)
        return false;
    size_t body = n->request_len - (size_t)(end + 4 - n->request);
    if (find(n, "Transfer-Encoding: chunked"))
        return body >= 5 && memcmp(n->request + n->request_len - 5, "0\r\n\r\n", 5) == 0;
    return body >= (length ? strtoul(length + 16, NULL, 10) : 0);
}

static bool read_some(struct fake_node *n, int fd)
{
    n->request = realloc(n->request, n->request_len + 65537);
    ssize_t got = recv(fd, n->request + n->request_len, 65536, 0);
    n->request_len += got > 0 ? (size_t)got : 0;
    n->request[n->request_len] = '\0';
    return got > 0;
}

static void sleep_ms(unsigned ms)
{
    poll(NULL, 0, (int)ms);
}

static void send_bytes(const struct fake_script *s, int fd, const char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t n = s->piece && s->piece < len - done ? s->piece : len - done;
        ssize_t sent = send(fd, bytes + done, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        done += (size_t)sent;
        if (s->piece)
            sleep_ms(1);
    }
}

static void send_answer(const struct fake_script *s, int fd)
{
    if (s->answer) {
        send_bytes(s, fd, s->answer, s->answer_len ? s->answer_len : strlen(s->answer));
    } else if (s->status) {
        char *whole = NULL;
        int n = asprintf(&whole, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         s->status, strlen(s->body), s->body);
        send_bytes(s, fd, whole, (size_t)n);
        free(whole);
    }
}

static void *serve(void *arg)
{
    struct fake_node *n = arg;
    const struct fake_script *s = &n->script;
    struct pollfd p = {.fd = n->listener, .events = POLLIN};
    if (poll(&p, 1, 20000) != 1)
        return NULL;
    int fd = accept(n->listener, NULL, NULL);
    n->request = calloc(1, 1);
    while (!request_complete(n) && (!s->early || n->request_len < s->early))
        if (!read_some(n, fd))
            break;
    send_answer(s, fd);
    while (!s->reset && !request_complete(n) && read_some(n, fd))
        ;
    sleep_ms(s->hold_ms);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    n->closed_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    close(fd);
    return NULL;
}

void fake_node_start(struct fake_node *n, const struct fake_script *script)
{
    static const char yaml[] = "admin: {listen: \"unix:admin.sock\"}\n";
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memset(n, 0, sizeof *n);
    setenv("NET_MESH_CONFIG", "/nonexistent/config.toml", 0); /* no profiles of whoever runs the tests */
    n->script = *script;
    scratch_make(n->dir);
    free(scratch_file(n->dir, "node.yaml", yaml, sizeof yaml - 1, 0600));
    free(scratch_file(n->dir, "admin.token", FAKE_TOKEN "\n", 65, 0600));
    snprintf(un.sun_path, sizeof un.sun_path, "%s/admin.sock", n->dir);
    n->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(n->listener, (struct sockaddr *)&un, sizeof un), 0);
    cr_assert_eq(listen(n->listener, 1), 0);
    cr_assert_eq(pthread_create(&n->thread, NULL, serve, n), 0);
}

void fake_node_join(struct fake_node *n)
{
    cr_assert_eq(pthread_join(n->thread, NULL), 0);
    cr_assert_not_null(n->request, "nobody connected");
}

void fake_node_end(struct fake_node *n)
{
    close(n->listener);
    free(n->request);
    scratch_remove(n->dir);
}

char *fake_node_body(const struct fake_node *n, size_t *len)
{
    const char *p = (const char *)find(n, "\r\n\r\n") + 4, *end = n->request + n->request_len;
    char *body = malloc(n->request_len + 1);
    *len = 0;
    while (p < end) {
        char *after;
        size_t chunk = strtoul(p, &after, 16);
        cr_assert(after > p && after + 2 + chunk + 2 <= end && memcmp(after, "\r\n", 2) == 0, "a chunk is malformed");
        memcpy(body + *len, after + 2, chunk);
        cr_assert_eq(memcmp(after + 2 + chunk, "\r\n", 2), 0);
        *len += chunk;
        p = after + 2 + chunk + 2;
    }
    return body;
}

/* ---- the program ---- */

static pid_t start(const char *program, const char *const *args, int in, int out, int err)
{
    const char *argv[64] = {program};
    size_t n = 1;
    while (args[n - 1] && n < 63) {
        argv[n] = args[n - 1];
        n++;
    }
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        if (err >= 0)
            dup2(err, STDERR_FILENO);
        setenv("TERM", "xterm", 0); /* a terminal, where there is one, has colours */
        execv(program, (char *const *)argv);
        _exit(126);
    }
    return pid;
}

static int exit_code(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        cr_assert_eq(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct cli_run cli_run(const char *program, const char *input, size_t input_len, const char *const *args)
{
    struct cli_run run = {0};
    char dir[64];
    size_t len;
    scratch_make(dir);
    char *in = scratch_file(dir, "in", input, input_len, 0600), *out = scratch_file(dir, "out", "", 0, 0600);
    char *err = scratch_file(dir, "err", "", 0, 0600);
    int fds[3] = {open(in, O_RDONLY | O_CLOEXEC), open(out, O_WRONLY | O_CLOEXEC), open(err, O_WRONLY | O_CLOEXEC)};
    run.code = exit_code(start(program, args, fds[0], fds[1], fds[2]));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    run.out = read_whole(out, &run.out_len);
    run.err = read_whole(err, &len);
    free(in);
    free(out);
    free(err);
    scratch_remove(dir);
    return run;
}

void cli_run_free(struct cli_run *run)
{
    free(run->out);
    free(run->err);
}

struct cli_process cli_spawn(const char *program, const char *const *args)
{
    int in[2], out[2];
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    struct cli_process p = {.pid = start(program, args, in[0], out[1], -1), .in = in[1], .out = out[0]};
    close(in[0]);
    close(out[1]);
    return p;
}

int cli_wait(struct cli_process *p)
{
    if (p->in >= 0)
        close(p->in);
    int code = exit_code(p->pid);
    if (p->out >= 0)
        close(p->out);
    return code;
}

char *cli_on_terminal(const char *program, const char *const *args)
{
    enum { ROOM = 16384 };
    struct termios raw = {0};
    char *out = malloc(ROOM);
    size_t len = 0;
    int master, slave;
    cfmakeraw(&raw);
    cr_assert(out && openpty(&master, &slave, NULL, &raw, NULL) == 0);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = start(program, args, in, slave, -1);
    close(in);
    close(slave);
    for (ssize_t n; len < ROOM - 1 && (n = read(master, out + len, ROOM - 1 - len)) > 0;) /* EIO when it is gone */
        len += (size_t)n;
    out[len] = '\0';
    close(master);
    cr_assert_eq(exit_code(pid), 0);
    return out;
}
