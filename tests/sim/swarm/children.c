#include "tests/sim/swarm/children.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void job_plan(const struct job *job, struct plan *p)
{
    plan_draw(p, job->seed, &job->limits);
    plan_cut(p, job->acts, job->without);
}

static void run_job(const struct job *job, struct outcome *o)
{
    struct plan plan;
    job_plan(job, &plan);
    run_plan(&plan, NULL, false, o);
}

void children_init(struct children *c, unsigned at_a_time)
{
    *c = (struct children){.room = at_a_time < CHILDREN_MAX ? at_a_time : CHILDREN_MAX, .run = run_job};
}

static _Noreturn void be_child(const struct children *c, const struct job *job, int out, int output)
{
    struct outcome outcome = {0};
    struct rlimit cpu = {CHILD_CPU_S, CHILD_CPU_S + 5};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CPU, &cpu);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    setvbuf(stdout, NULL, _IONBF, 0);
    c->run(job, &outcome);
    bool told = write(out, &outcome, sizeof outcome) == (ssize_t)sizeof outcome;
    exit(told ? 0 : 1); /* a sanitizer looks for leaks here */
}

void children_start(struct children *c, const struct job *job)
{
    struct child *child = c->all;
    int pipes[2];
    while (child->pid)
        child++;
    assert(child < c->all + c->room);
    child->job = *job;
    child->output = memfd_create("output", MFD_CLOEXEC);
    bool piped = pipe(pipes) == 0;
    assert(piped && child->output >= 0);
    fflush(NULL);
    child->pid = fork();
    assert(child->pid >= 0);
    if (child->pid == 0)
        be_child(c, job, pipes[1], child->output);
    close(pipes[1]);
    child->pipe = pipes[0];
    child->deadline = now_ms() + CHILD_REAL_S * UINT64_C(1000);
    c->running++;
}

/* The child whose end came, or that has had its time. */
static struct child *wait_for_one(struct children *c)
{
    for (;;) {
        struct pollfd fds[CHILDREN_MAX];
        nfds_t count = 0;
        for (unsigned i = 0; i < c->room; i++)
            if (c->all[i].pid)
                fds[count++] = (struct pollfd){.fd = c->all[i].pipe, .events = POLLIN};
        poll(fds, count, 200);
        count = 0;
        for (unsigned i = 0; i < c->room; i++) {
            if (!c->all[i].pid)
                continue;
            if (fds[count++].revents || now_ms() > c->all[i].deadline)
                return &c->all[i];
        }
    }
}

static char *take_output(int fd)
{
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    assert(text && len >= 0);
    if (pread(fd, text, (size_t)len, 0) != (ssize_t)len)
        text[0] = '\0';
    close(fd);
    return text;
}

static void judge_end(struct result *r, bool told, bool late, int status)
{
    struct outcome *o = &r->outcome;
    if (told && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    *o = (struct outcome){.failed = true};
    if (late)
        snprintf(o->what, sizeof o->what, "it did not end within %d s", CHILD_REAL_S);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        snprintf(o->what, sizeof o->what, "it did not end within %d s of CPU time", CHILD_CPU_S);
    else if (WIFSIGNALED(status))
        snprintf(o->what, sizeof o->what, "it died: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(o->what, sizeof o->what, "it exited with %d", WEXITSTATUS(status));
}

struct result children_next(struct children *c)
{
    assert(c->running > 0);
    struct child *child = wait_for_one(c);
    struct result r = {.job = child->job};
    int status = 0;
    bool late = now_ms() > child->deadline;
    if (late)
        kill(child->pid, SIGKILL);
    bool told = read(child->pipe, &r.outcome, sizeof r.outcome) == (ssize_t)sizeof r.outcome;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(child->pipe);
    judge_end(&r, told, late, status);
    r.output = take_output(child->output);
    child->pid = 0;
    c->running--;
    return r;
}

void children_kill(struct children *c)
{
    for (unsigned i = 0; i < c->room; i++)
        if (c->all[i].pid)
            kill(c->all[i].pid, SIGKILL);
    while (c->running > 0)
        free(children_next(c).output);
}
