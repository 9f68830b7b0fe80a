#include "agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/clock.h"

#define GRACE_MS 2000 /* between SIGTERM and SIGKILL */

struct hook {
    struct loop *loop;
    struct loop_signal *child;
    struct loop_timer *timer;
    pid_t pid; /* 0: nothing is running */
    int fd;    /* read end of its output; -1 when closed */
    struct event *ev;
    struct hook_result result;
    size_t output_len;
    void (*fn)(void *arg, const struct hook_result *r);
    void *arg;
};

static void close_output(struct hook *h)
{
    if (h->ev != NULL)
        event_free(h->ev);
    h->ev = NULL;
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}

/* Takes what is there: the first bytes are kept, the rest is read and dropped, so that a talkative
 * command is not stopped by a full pipe. */
static void read_output(struct hook *h, size_t rounds)
{
    char piece[4096];
    for (size_t i = 0; i < rounds && h->fd >= 0; i++) {
        ssize_t n = read(h->fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_output(h);
            return;
        }
        size_t room = JOURNAL_OUTPUT_MAX - h->output_len;
        size_t take = (size_t)n < room ? (size_t)n : room;
        memcpy(h->result.output + h->output_len, piece, take);
        h->output_len += take;
    }
}

static void on_output(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_output(arg, 16);
}

static void on_timer(void *arg)
{
    struct hook *h = arg;
    if (h->pid == 0)
        return;
    (void)kill(-h->pid, h->result.timed_out ? SIGKILL : SIGTERM);
    h->result.timed_out = true;
    loop_timer_set(h->timer, GRACE_MS);
}

static void on_child(void *arg)
{
    struct hook *h = arg;
    int status;
    if (h->pid == 0 || waitpid(h->pid, &status, WNOHANG) != h->pid)
        return;
    if (h->result.timed_out) /* the shell went at SIGTERM: what it started may not have */
        (void)kill(-h->pid, SIGKILL);
    h->pid = 0;
    loop_timer_cancel(h->timer);
    read_output(h, 256);
    close_output(h);
    h->result.at = clock_now_s();
    h->result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    h->fn(h->arg, &h->result);
}

enum err hook_new(struct hook **out, struct loop *l)
{
    struct hook *h = calloc(1, sizeof *h);
    if (h == NULL)
        return ERR_NOMEM;
    h->loop = l;
    h->fd = -1;
    if (loop_timer_new(&h->timer, l, on_timer, h) != ERR_OK ||
        loop_signal_new(&h->child, l, SIGCHLD, on_child, h) != ERR_OK) {
        hook_free(h);
        return ERR_NOMEM;
    }
    *out = h;
    return ERR_OK;
}

/* Default signals and an empty mask, own process group; input from nowhere, output to `fd`. */
static int spawn_shell(pid_t *pid, const char *command, char *const env[], int fd)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char shell[] = "/bin/sh", dash_c[] = "-c";
    char *copy = strdup(command);
    char *argv[] = { shell, dash_c, copy, NULL };
    if (copy == NULL)
        return ENOMEM;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawnattr_init(&attr);
    int rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, fd, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, fd, 2);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                                 POSIX_SPAWN_SETSIGMASK);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attr, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0)
        rc = posix_spawn(pid, shell, &files, &attr, argv, env);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&files);
    free(copy);
    return rc;
}

enum err hook_run(struct hook *h, const char *command, char *const env[], int64_t timeout_ms,
                  unsigned generation, void (*fn)(void *arg, const struct hook_result *r),
                  void *arg, struct err_info *info)
{
    int ends[2];
    if (h->pid != 0)
        return err_set(info, ERR_ILLEGAL, "the command before is still running");
    close_output(h);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set(info, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    h->fd = ends[0];
    h->ev = event_new(loop_base(h->loop), h->fd, EV_READ | EV_PERSIST, on_output, h);
    pid_t pid = 0;
    int rc = h->ev == NULL || event_add(h->ev, NULL) != 0
                 ? ENOMEM
                 : spawn_shell(&pid, command, env, ends[1]);
    close(ends[1]);
    if (rc != 0) {
        close_output(h);
        return err_set(info, ERR_IO, "cannot start a command: %s", strerror(rc));
    }
    h->pid = pid;
    h->result = (struct hook_result){ .generation = generation };
    h->output_len = 0;
    h->fn = fn;
    h->arg = arg;
    if (timeout_ms != HOOK_NO_LIMIT)
        loop_timer_set(h->timer, timeout_ms);
    return ERR_OK;
}

void hook_end(struct hook *h)
{
    if (h->pid != 0 && !h->result.timed_out)
        on_timer(h);
}

void hook_free(struct hook *h)
{
    if (h == NULL)
        return;
    if (h->pid != 0) {
        (void)kill(-h->pid, SIGKILL);
        (void)waitpid(h->pid, NULL, 0);
    }
    close_output(h);
    loop_signal_free(h->child);
    loop_timer_free(h->timer);
    free(h);
}
